//! The server as a process: who it runs as, what says which process it is, and what its workers may use.

use std::time::Duration;

use super::checks::account;
use super::{CONTROLLED, PYTHON};
use crate::field::Field;
use crate::option::{Group, Opt, Scope};

const PROCESS: Opt =
    Opt { group: Group::Process, scope: Scope::Supervisor, reload: false, embedded: false, ..Opt::BASE };
const LIMITS: Opt = Opt { scope: Scope::Group, reload: true, ..PROCESS };

pub(super) const OPTIONS: &[Opt] =
    &[PID, DAEMON, USER, GROUP, UMASK, EXCHANGE_MEMORY, RLIMIT_AS, RLIMIT_CPU, RLIMIT_NOFILE, RLIMIT_CORE];

const PID: Opt = Opt {
    name: "pid",
    short: Some('p'),
    aliases: &["pidfile"],
    verbs: CONTROLLED,
    metavar: "FILE",
    unset: "none",
    help: "Write the supervisor's number to this file",
    doc: "It is written once the listeners are open, locked while the server lives, and removed in the end. One that a \
        server left behind is taken over; one of a server that lives is not, and the error says whose it is. A \
        relative path begins at `--chdir`. See docs/processes.md.",
    field: Field::MaybePath(|s| &mut s.process.pid),
    ..PROCESS
};

const DAEMON: Opt = Opt {
    name: "daemon",
    short: Some('D'),
    default: Some("false"),
    help: "Go on in the background, once it is ready",
    doc: "The command returns when the server is ready (code 0) or has failed, with its message and its code. Standard \
        streams are `/dev/null` from then on: give the error log a file. Under systemd or in a container leave it out.",
    field: Field::Switch(|s| &mut s.process.daemon),
    ..PROCESS
};

const USER: Opt = Opt {
    name: "user",
    short: Some('u'),
    metavar: "USER",
    unset: "whoever starts it",
    help: "User that workers run as",
    doc: "A name or a number; with it come its group and its further groups. Template and workers change to it before \
        they load anything; the supervisor keeps what it was started with, since it opens ports and logs and ends \
        workers, and runs none of the application. Needs root.",
    field: Field::MaybeText(|s| &mut s.process.user, account),
    ..PROCESS
};

const GROUP: Opt = Opt {
    name: "group",
    short: Some('g'),
    metavar: "GROUP",
    unset: "the user's",
    help: "Group that workers run as",
    doc: "A name or a number. Needs root.",
    field: Field::MaybeText(|s| &mut s.process.group, account),
    ..PROCESS
};

const UMASK: Opt = Opt {
    name: "umask",
    short: Some('m'),
    metavar: "MODE",
    unset: "as it is",
    help: "What new files may not be (umask(2))",
    doc: "In octal digits, such as 027; of the supervisor and all workers. Unix sockets have `--unix-mode`.",
    field: Field::MaybeMode(|s| &mut s.process.umask),
    ..PROCESS
};

const EXCHANGE_MEMORY: Opt = Opt {
    name: "exchange-memory",
    verbs: PYTHON,
    metavar: "SIZE",
    default: Some("8MiB"),
    help: "Memory for messages between workers; 0: none",
    doc: "All workers share it, for the named exchanges of `stdserve.concurrent`: it holds the last messages that were \
        sent, and a message may be as long as an eighth of it. A reader that is so slow that its messages are \
        overwritten is told how many it has missed. At least 64 KiB, in whole pages; what is never used takes no \
        memory. See docs/exchange.md.",
    field: Field::Memory(|s| &mut s.process.exchange_memory, 0),
    ..PROCESS
};

const RLIMIT_AS: Opt = Opt {
    name: "rlimit-as",
    metavar: "SIZE",
    default: Some("none"),
    help: "Address space of a worker (RLIMIT_AS), or `none`",
    doc: "What Python cannot have raises `MemoryError`, and the answer is 500; the worker goes on. Where the server \
        itself is refused memory the worker ends and is replaced. Threads and libraries count, too: give it room.",
    field: Field::MaybeSize(|s| &mut s.process.rlimits.address_space),
    ..LIMITS
};

const RLIMIT_CPU: Opt = Opt {
    name: "rlimit-cpu",
    metavar: "TIME",
    default: Some("none"),
    help: "Processor time of a worker (RLIMIT_CPU), or `none`",
    doc: "A worker that has used so much, in whole seconds, writes where each of its threads is to the error log, and is \
        replaced: it finishes what runs while another takes its place. Where it still uses 10 s more, the kernel ends it.",
    field: Field::MaybeTime(|s| &mut s.process.rlimits.cpu, Duration::from_secs(1)),
    ..LIMITS
};

const RLIMIT_NOFILE: Opt = Opt {
    name: "rlimit-nofile",
    metavar: "N",
    default: Some("none"),
    help: "Descriptors of a worker (RLIMIT_NOFILE), or `none`",
    doc: "A worker that has none left accepts no connections until some are closed. `none`: as many as the server may \
        have.",
    field: Field::MaybeCount(|s| &mut s.process.rlimits.files, "none", 64, 1_000_000_000),
    ..LIMITS
};

const RLIMIT_CORE: Opt = Opt {
    name: "rlimit-core",
    metavar: "SIZE",
    default: Some("none"),
    help: "Core dump of a worker (RLIMIT_CORE), or `none`",
    doc: "0 writes none; `none` leaves the limit as it is. Where a dump goes is the machine's to say (core(5)).",
    field: Field::MaybeSize(|s| &mut s.process.rlimits.core),
    ..LIMITS
};
