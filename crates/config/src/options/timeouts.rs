//! Times: how long a client, a request and an end may take.

use std::time::Duration;

use super::{HTTP, PYTHON};
use crate::field::Field;
use crate::option::{Group, Opt, Scope};
use crate::verb::Verb;

const TIMEOUTS: Opt = Opt { group: Group::Timeouts, verbs: HTTP, metavar: "TIME", ..Opt::BASE };

/// Below this a time-out would end honest requests.
const LEAST: Duration = Duration::from_millis(10);

pub(super) const OPTIONS: &[Opt] = &[
    HEADER,
    BODY_PERIOD,
    KEEP_ALIVE,
    QUEUE,
    REQUEST,
    SLOW,
    DEADLOCK,
    AUTOPSY_ALL,
    WRITE,
    LINGER,
    GRACEFUL,
    DRAIN_IDLE,
];

const HEADER: Opt = Opt {
    name: "header-timeout",
    default: Some("30s"),
    help: "For a request head to arrive; 408 after it",
    doc: "Counted from the connection's start, or from the first byte of a later request.",
    field: Field::Time(|s| &mut s.timeouts.header, LEAST),
    ..TIMEOUTS
};

const BODY_PERIOD: Opt = Opt {
    name: "body-period",
    default: Some("10s"),
    help: "Over which --body-rate is judged",
    doc: "A body that brings less than `--body-rate` times this in one such period is answered 408.",
    field: Field::Time(|s| &mut s.timeouts.body_period, LEAST),
    ..TIMEOUTS
};

const KEEP_ALIVE: Opt = Opt {
    name: "keep-alive",
    aliases: &["keepalive", "timeout-keep-alive"],
    default: Some("5s"),
    help: "For the next request; 0 keeps none",
    doc: "Behind a proxy it should be longer than the proxy's own, so that the proxy never reuses a connection \
        that is being closed.",
    field: Field::Time(|s| &mut s.timeouts.keep_alive, Duration::ZERO),
    ..TIMEOUTS
};

const QUEUE: Opt = Opt {
    name: "queue-timeout",
    default: Some("30s"),
    help: "For a free thread; 503 after it",
    doc: "All threads of the worker are busy meanwhile; see `--threads`.",
    field: Field::Time(|s| &mut s.timeouts.queue, LEAST),
    ..TIMEOUTS
};

const REQUEST: Opt = Opt {
    name: "timeout",
    short: Some('t'),
    verbs: PYTHON,
    embedded: false,
    default: Some("0"),
    help: "For one request in the application; 504 after it",
    doc: "`0` means no limit. When it has passed, an autopsy is logged, the client is answered 504 (or cut off, where \
        the answer has begun), and `stdserve.RequestTimeout` is raised in the thread; the worker finishes its other \
        requests and is replaced. For `tcp` and `udp` it is the time that a handler may take, and nothing is \
        answered. See [deadlines](deadlines.md).",
    field: Field::Time(|s| &mut s.timeouts.request, Duration::ZERO),
    ..TIMEOUTS
};

/// What runs Python for requests.
const REQUESTS: &[Verb] = &[Verb::Serve, Verb::Rpc];

const SLOW: Opt = Opt {
    name: "slow-request",
    verbs: REQUESTS,
    embedded: false,
    default: Some("30s"),
    help: "After which a request's stack is logged; 0 never",
    doc: "The request goes on. At most once a minute for the same place in the code.",
    field: Field::Time(|s| &mut s.timeouts.slow, Duration::ZERO),
    ..TIMEOUTS
};

const DEADLOCK: Opt = Opt {
    name: "deadlock-timeout",
    verbs: REQUESTS,
    embedded: false,
    default: Some("60s"),
    help: "After which all threads being busy is logged",
    doc: "All `--threads` are inside the application, and none has come out for so long: it is said once, with the \
        stacks of all threads, until one comes out. `0` means never.",
    field: Field::Time(|s| &mut s.timeouts.deadlock, Duration::ZERO),
    ..TIMEOUTS
};

const AUTOPSY_ALL: Opt = Opt {
    name: "autopsy-all",
    verbs: PYTHON,
    embedded: false,
    default: Some("false"),
    help: "Show all threads in autopsies",
    doc: "Otherwise that of the request alone; of a deadlock all are always shown.",
    field: Field::Switch(|s| &mut s.timeouts.autopsy_all),
    ..TIMEOUTS
};

const WRITE: Opt = Opt {
    name: "write-timeout",
    default: Some("30s"),
    help: "For a client to take more of its answer",
    doc: "A client that takes nothing for so long is cut off.",
    field: Field::Time(|s| &mut s.timeouts.write, LEAST),
    ..TIMEOUTS
};

const LINGER: Opt = Opt {
    name: "linger-timeout",
    default: Some("2s"),
    help: "For reading on after a refusal",
    doc: "What a refused client still sends is read and thrown away for so long; closing at once would make the \
        kernel drop the answer that is under way.",
    field: Field::Time(|s| &mut s.timeouts.linger, Duration::ZERO),
    ..TIMEOUTS
};

const GRACEFUL: Opt = Opt {
    name: "graceful-timeout",
    aliases: &["timeout-graceful-shutdown", "workers-kill-timeout"],
    verbs: &Verb::SERVICES,
    scope: Scope::Supervisor,
    default: Some("30s"),
    help: "For running requests to end at a stop",
    doc: "Workers that still run after it are killed.",
    field: Field::Time(|s| &mut s.timeouts.graceful, Duration::ZERO),
    ..TIMEOUTS
};

const DRAIN_IDLE: Opt = Opt {
    name: "drain-idle-timeout",
    default: Some("1s"),
    help: "For idle connections at a stop",
    doc: "A client may just be sending its next request: it is still served, with `Connection: close`.",
    field: Field::Time(|s| &mut s.timeouts.drain_idle, Duration::ZERO),
    ..TIMEOUTS
};
