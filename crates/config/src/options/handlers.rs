//! Handler classes for connections and datagrams, and which services of a file are run.

use std::time::Duration;

use super::checks::file_name;
use super::{HANDLERS, TCP, UDP};
use crate::field::Field;
use crate::option::{Group, Opt, Scope};
use crate::service_options::HandlerModel;
use crate::verb::Verb;

const HANDLER: Opt = Opt { group: Group::Handlers, verbs: HANDLERS, scope: Scope::Service, ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] =
    &[TCP_HANDLER, UDP_HANDLER, MODEL, MAX_CHILDREN, REQUEST_TIMEOUT, MAX_PACKET_SIZE];
pub(super) const SERVICES: &[Opt] = &[ONLY];

const TCP_HANDLER: Opt = Opt {
    name: "tcp",
    positional: true,
    verbs: TCP,
    metavar: "MODULE:HANDLER",
    unset: "has to be named",
    help: "The handler class for connections",
    doc: "A subclass of `socketserver.BaseRequestHandler` or `StreamRequestHandler`: the dotted name of a module or the \
        path of a Python file, and after a `:` the class in it. An instance handles each connection.",
    field: Field::App(|s| &mut s.targets.tcp, Some("handler class")),
    ..HANDLER
};

const UDP_HANDLER: Opt = Opt {
    name: "udp",
    positional: true,
    verbs: UDP,
    metavar: "MODULE:HANDLER",
    unset: "has to be named",
    help: "The handler class for datagrams",
    doc: "A subclass of `socketserver.BaseRequestHandler` or `DatagramRequestHandler`, as for `stdserve tcp`. An \
        instance handles each datagram.",
    field: Field::App(|s| &mut s.targets.udp, Some("handler class")),
    ..HANDLER
};

const MODELS: &[HandlerModel] = &[HandlerModel::Threads, HandlerModel::Forks];

const MODEL: Opt = Opt {
    name: "handlers",
    metavar: "MODEL",
    default: Some("threads"),
    help: "Where handlers run: threads or forks",
    doc: "`threads`: on the worker's threads, at most `--threads` at once; `forks`: each in a process of its own, at \
        most `--max-children` at once.",
    field: Field::Choice(
        &["threads", "forks"],
        |s, index| s.handler.model = MODELS[index],
        |s| s.handler.model as usize,
    ),
    ..HANDLER
};

const MAX_CHILDREN: Opt = Opt {
    name: "max-children",
    metavar: "N",
    default: Some("40"),
    help: "Forks at once, per worker",
    doc: "The name and the default of `socketserver.ForkingMixIn`.",
    field: Field::Count(|s| &mut s.handler.max_children, 1, 100_000),
    ..HANDLER
};

const REQUEST_TIMEOUT: Opt = Opt {
    name: "request-timeout",
    verbs: TCP,
    metavar: "TIME",
    default: Some("5m"),
    help: "For each operation on a connection, or `none`",
    doc: "The handler gets `TimeoutError` (socket.settimeout). A class with a `timeout` of its own overrides it.",
    field: Field::MaybeTime(|s| &mut s.handler.request_timeout, Duration::from_millis(10)),
    ..HANDLER
};

const MAX_PACKET_SIZE: Opt = Opt {
    name: "max-packet-size",
    verbs: UDP,
    metavar: "SIZE",
    default: Some("8KiB"),
    help: "Largest datagram; longer ones are cut",
    doc: "The name and the default of `socketserver.UDPServer`.",
    field: Field::Memory(|s| &mut s.handler.max_packet_size, 1),
    ..HANDLER
};

const ONLY: Opt = Opt {
    name: "only",
    group: Group::Services,
    verbs: &[Verb::Up],
    scope: Scope::Supervisor,
    reload: false,
    metavar: "NAME",
    default: Some(""),
    unset: "all",
    help: "Run these services alone; repeatable",
    doc: "The others in the file are checked, and left out.",
    field: Field::Texts(|s| &mut s.only, file_name),
    ..Opt::BASE
};
