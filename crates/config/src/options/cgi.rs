//! CGI scripts: which files they are, what they are told, and what they may use.

use std::time::Duration;

use super::CGI;
use super::checks::{account, extension, file_name, line, variable, variable_name};
use crate::field::{Field, PairKind};
use crate::option::{Group, Opt, Scope};
use crate::service_options::ScriptStderr;

const SCRIPTS: Opt = Opt { group: Group::Scripts, verbs: CGI, scope: Scope::Service, ..Opt::BASE };
const CHILDREN: Opt = Opt { group: Group::Children, ..SCRIPTS };

/// Below this no script could answer.
const LEAST: Duration = Duration::from_millis(10);

pub(super) const OPTIONS: &[Opt] = &[
    DIRECTORY,
    INTERPRETER,
    EXTENSION,
    EXECUTABLE,
    INDEX,
    NPH,
    ENVIRONMENT,
    PASS_ENVIRONMENT,
    PASS_AUTHORIZATION,
    BUFFER,
    MAX_HEAD,
    STDERR,
    SOFTWARE,
];

pub(super) const CHILD_OPTIONS: &[Opt] = &[
    PROCESSES,
    QUEUE,
    TIMEOUT,
    HEAD_TIMEOUT,
    GRACE,
    USER,
    GROUP,
    MEMORY,
    CPU,
    FILES,
    CORE,
    FILE_SIZE,
    NPROC,
];

const DIRECTORY: Opt = Opt {
    name: "cgi",
    positional: true,
    metavar: "DIR",
    unset: "has to be named",
    help: "The folder with the scripts",
    doc: "Nothing outside of it is run: links that lead out are as good as absent.",
    field: Field::MaybePath(|s| &mut s.targets.cgi),
    ..SCRIPTS
};

const INTERPRETER: Opt = Opt {
    name: "interpreter",
    metavar: ".EXT=PROGRAM",
    default: Some(""),
    help: "What runs scripts with an extension; repeatable",
    doc: "Arguments may follow the program, with spaces between them; the script's path comes after them: \
        `--interpreter '.py=/usr/bin/python3 -I'`. Such scripts need no executable bit.",
    field: Field::Pairs(|s| &mut s.cgi.interpreters, &INTERPRETER_FORM),
    ..SCRIPTS
};

const INTERPRETER_FORM: PairKind = PairKind {
    separator: '=',
    form: ".EXT=PROGRAM",
    check: |ending, program| match program {
        "" => Err("names no program; write .EXT=PROGRAM, such as .py=/usr/bin/python3".into()),
        program => Ok((extension(ending)?, line(program)?)),
    },
};

const EXTENSION: Opt = Opt {
    name: "cgi-extension",
    metavar: ".EXT",
    default: Some(""),
    unset: "any",
    help: "Only these are scripts; repeatable",
    doc: "Those with an `--interpreter` need not be named.",
    field: Field::Texts(|s| &mut s.cgi.extensions, extension),
    ..SCRIPTS
};

const EXECUTABLE: Opt = Opt {
    name: "cgi-executable",
    default: Some("true"),
    help: "Run only what has an --interpreter",
    doc: "Files whose executable bit is set are scripts; their `#!` line says what runs them.",
    field: Field::Switch(|s| &mut s.cgi.executable),
    ..SCRIPTS
};

const INDEX: Opt = Opt {
    name: "cgi-index",
    metavar: "NAME",
    default: Some("index.cgi"),
    help: "Scripts that stand for their folder",
    doc: "The first that is there.",
    field: Field::Texts(|s| &mut s.cgi.index, file_name),
    ..SCRIPTS
};

const NPH: Opt = Opt {
    name: "cgi-nph",
    default: Some("true"),
    help: "Treat nph- scripts as any other",
    doc: "Scripts whose name begins with `nph-` write the whole answer, status line first (RFC 3875 §5).",
    field: Field::Switch(|s| &mut s.cgi.nph),
    ..SCRIPTS
};

const ENVIRONMENT: Opt = Opt {
    name: "cgi-env",
    metavar: "NAME=VALUE",
    default: Some(""),
    help: "Variable for every script; repeatable",
    doc: "Those of the request win.",
    field: Field::Pairs(|s| &mut s.cgi.environment, &VARIABLE_FORM),
    ..SCRIPTS
};

const VARIABLE_FORM: PairKind = PairKind { separator: '=', form: "NAME=VALUE", check: variable };

const PASS_ENVIRONMENT: Opt = Opt {
    name: "cgi-pass-env",
    metavar: "NAME",
    default: Some("PATH,LANG,LC_ALL,LC_CTYPE,TZ,TMPDIR,LD_LIBRARY_PATH"),
    help: "Variables of the server that scripts get, too",
    doc: "All others stay with the server. `PATH` has a value of its own where the server has none.",
    field: Field::Texts(|s| &mut s.cgi.pass_environment, variable_name),
    ..SCRIPTS
};

const PASS_AUTHORIZATION: Opt = Opt {
    name: "cgi-pass-authorization",
    default: Some("false"),
    help: "Scripts see Authorization",
    doc: "As `HTTP_AUTHORIZATION` and `HTTP_PROXY_AUTHORIZATION`, for scripts that check passwords themselves \
        (RFC 3875 §9.2).",
    field: Field::Switch(|s| &mut s.cgi.pass_authorization),
    ..SCRIPTS
};

const BUFFER: Opt = Opt {
    name: "cgi-buffer-bodies",
    default: Some("false"),
    help: "Start scripts when all of the body is there",
    doc: "`CONTENT_LENGTH` is then always set, and a slow client holds no process. Otherwise large bodies and those in \
        chunks are handed on as they come, and the latter have no `CONTENT_LENGTH`.",
    field: Field::Switch(|s| &mut s.cgi.buffer_bodies),
    ..SCRIPTS
};

const MAX_HEAD: Opt = Opt {
    name: "cgi-max-head",
    metavar: "SIZE",
    default: Some("64KiB"),
    help: "Largest head of a script's answer",
    doc: "Past it the answer is 502.",
    field: Field::Memory(|s| &mut s.cgi.max_head, 256),
    ..SCRIPTS
};

const STDERRS: &[ScriptStderr] = &[ScriptStderr::Log, ScriptStderr::Discard, ScriptStderr::Inherit];

const STDERR: Opt = Opt {
    name: "cgi-stderr",
    metavar: "WHERE",
    default: Some("log"),
    help: "Standard error: log, discard or inherit",
    doc: "`log`: lines of the log with the script's name, bounded for each request; `inherit`: where the server's own \
        goes, unchecked and unbounded.",
    field: Field::Choice(
        &["log", "discard", "inherit"],
        |s, index| s.cgi.stderr = STDERRS[index],
        |s| s.cgi.stderr as usize,
    ),
    ..SCRIPTS
};

const SOFTWARE: Opt = Opt {
    name: "cgi-server-software",
    metavar: "TEXT",
    unset: "stdserve/ and the version",
    help: "SERVER_SOFTWARE",
    doc: "A name and a version, such as `stdserve/0.1.0`.",
    field: Field::MaybeText(|s| &mut s.cgi.server_software, line),
    ..SCRIPTS
};

const PROCESSES: Opt = Opt {
    name: "cgi-processes",
    metavar: "N",
    default: Some("16"),
    help: "Scripts at once, per worker",
    doc: "A request past it waits for `--cgi-queue-timeout`.",
    field: Field::Count(|s| &mut s.cgi.processes, 1, 100_000),
    ..CHILDREN
};

const QUEUE: Opt = Opt {
    name: "cgi-queue-timeout",
    metavar: "TIME",
    default: Some("5s"),
    help: "For a script to end; 503 after it",
    doc: "`--cgi-processes` scripts run meanwhile.",
    field: Field::Time(|s| &mut s.cgi.queue, Duration::ZERO),
    ..CHILDREN
};

const TIMEOUT: Opt = Opt {
    name: "cgi-timeout",
    metavar: "TIME",
    default: Some("5m"),
    help: "For a script in all, or `none`",
    doc: "From its start to the end of its answer. Its whole process group is ended then.",
    field: Field::MaybeTime(|s| &mut s.cgi.timeout, LEAST),
    ..CHILDREN
};

const HEAD_TIMEOUT: Opt = Opt {
    name: "cgi-head-timeout",
    metavar: "TIME",
    default: Some("60s"),
    help: "For the head of its answer, or `none`; 504",
    doc: "`none`: as long as `--cgi-timeout` allows.",
    field: Field::MaybeTime(|s| &mut s.cgi.head_timeout, LEAST),
    ..CHILDREN
};

const GRACE: Opt = Opt {
    name: "cgi-grace",
    metavar: "TIME",
    default: Some("2s"),
    help: "From SIGTERM to SIGKILL",
    doc: "For a script whose time is up or whose client has gone.",
    field: Field::Time(|s| &mut s.cgi.grace, Duration::ZERO),
    ..CHILDREN
};

const USER: Opt = Opt {
    name: "cgi-user",
    metavar: "USER",
    unset: "the server's own",
    help: "User that scripts run as",
    doc: "A name or a number; with it come its group and its further groups. Needs root.",
    field: Field::MaybeText(|s| &mut s.cgi.user, account),
    ..CHILDREN
};

const GROUP: Opt = Opt {
    name: "cgi-group",
    metavar: "GROUP",
    unset: "the user's",
    help: "Group that scripts run as",
    doc: "A name or a number. Needs root.",
    field: Field::MaybeText(|s| &mut s.cgi.group, account),
    ..CHILDREN
};

const MEMORY: Opt = Opt {
    name: "cgi-rlimit-memory",
    aliases: &["cgi-rlimit-as"],
    metavar: "SIZE",
    default: Some("none"),
    help: "Address space (RLIMIT_AS), or `none`",
    doc: "Of each process of a script (setrlimit(2)); `none`: the server's own limit.",
    field: Field::MaybeSize(|s| &mut s.cgi.limits.memory),
    ..CHILDREN
};

const CPU: Opt = Opt {
    name: "cgi-rlimit-cpu",
    metavar: "SECONDS",
    default: Some("none"),
    help: "Processor time (RLIMIT_CPU), or `none`",
    doc: "In seconds, of each process of a script; the kernel ends what uses more.",
    field: Field::MaybeCount(|s| &mut s.cgi.limits.cpu, "none", 1, 1_000_000_000),
    ..CHILDREN
};

const FILES: Opt = Opt {
    name: "cgi-rlimit-files",
    aliases: &["cgi-rlimit-nofile"],
    metavar: "N",
    default: Some("1024"),
    help: "Open descriptors (RLIMIT_NOFILE), or `none`",
    doc: "The server's own limit is high, and programs that walk through all numbers, or use select(2), would suffer \
        from it.",
    field: Field::MaybeCount(|s| &mut s.cgi.limits.files, "none", 8, 1_000_000_000),
    ..CHILDREN
};

const CORE: Opt = Opt {
    name: "cgi-rlimit-core",
    metavar: "SIZE",
    default: Some("0"),
    help: "Core dumps (RLIMIT_CORE), or `none`",
    doc: "0 writes none.",
    field: Field::MaybeSize(|s| &mut s.cgi.limits.core),
    ..CHILDREN
};

const FILE_SIZE: Opt = Opt {
    name: "cgi-rlimit-file-size",
    aliases: &["cgi-rlimit-fsize"],
    metavar: "SIZE",
    default: Some("none"),
    help: "Files that it writes (RLIMIT_FSIZE), or `none`",
    doc: "The largest file that a script may write.",
    field: Field::MaybeSize(|s| &mut s.cgi.limits.file_size),
    ..CHILDREN
};

const NPROC: Opt = Opt {
    name: "cgi-rlimit-processes",
    aliases: &["cgi-rlimit-nproc"],
    metavar: "N",
    default: Some("none"),
    help: "Processes of its user (RLIMIT_NPROC), or `none`",
    doc: "All processes of the user count, whoever started them; root is exempt.",
    field: Field::MaybeCount(|s| &mut s.cgi.limits.processes, "none", 1, 1_000_000_000),
    ..CHILDREN
};
