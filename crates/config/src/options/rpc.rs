//! Remote calls.

use super::RPC;
use super::checks::line;
use crate::field::Field;
use crate::option::{Group, Opt, Scope};

const CALLS: Opt = Opt { group: Group::Rpc, verbs: RPC, scope: Scope::Service, ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[
    OBJECT,
    PATH,
    JSON,
    INTROSPECTION,
    MULTICALL,
    MAX_CALLS,
    EXTENSIONS,
    BUILTIN_TYPES,
    ERROR_MESSAGES,
    GZIP_MINIMUM,
    MAX_BODY,
    MAX_DEPTH,
    MAX_VALUES,
    MAX_RATIO,
];

const OBJECT: Opt = Opt {
    name: "rpc",
    positional: true,
    metavar: "MODULE:OBJECT",
    unset: "has to be named",
    help: "The object whose methods may be called",
    doc: "The dotted name of a module or the path of a Python file, and after a `:` the object in it; one that ends in \
        `()` is called once in each worker and returns the object. Its public methods may be called; names that begin \
        with `_` and dotted ones never.",
    field: Field::App(|s| &mut s.targets.rpc, Some("object")),
    ..CALLS
};

const PATH: Opt = Opt {
    name: "rpc-path",
    aliases: &["rpc-paths"],
    metavar: "PATH",
    default: Some("/,/RPC2"),
    help: "Where calls are taken; repeatable; 404 elsewhere",
    doc: "Behind the mount. `*` takes them at every path.",
    field: Field::Texts(|s| &mut s.rpc.paths, path),
    ..CALLS
};

const JSON: Opt = Opt {
    name: "json-rpc",
    default: Some("true"),
    help: "No JSON-RPC 2.0; 415 for it",
    doc: "Requests of `Content-Type: application/json` are JSON-RPC 2.0, with batches, on the same object.",
    field: Field::Switch(|s| &mut s.rpc.json_rpc),
    ..CALLS
};

const INTROSPECTION: Opt = Opt {
    name: "introspection",
    default: Some("true"),
    help: "No system.listMethods and its kin, no page",
    doc: "`system.listMethods`, `system.methodHelp` and `system.methodSignature` are there, and GET is answered with a \
        page that documents the methods.",
    field: Field::Switch(|s| &mut s.rpc.introspection),
    ..CALLS
};

const MULTICALL: Opt = Opt {
    name: "multicall",
    default: Some("true"),
    help: "No system.multicall",
    doc: "`system.multicall` runs several calls of one request.",
    field: Field::Switch(|s| &mut s.rpc.multicall),
    ..CALLS
};

const MAX_CALLS: Opt = Opt {
    name: "max-calls",
    metavar: "N",
    default: Some("1000"),
    help: "Most calls of a request",
    doc: "Of a `system.multicall`, or of a batch of JSON-RPC.",
    field: Field::Count(|s| &mut s.rpc.max_calls, 1, 10_000_000),
    ..CALLS
};

const EXTENSIONS: Opt = Opt {
    name: "rpc-extensions",
    default: Some("true"),
    help: "Faults in place of <nil/> and <i8>",
    doc: "Answers may hold `None`, as `<nil/>`, and integers beyond 32 bits, as `<i8>`: old clients do not know them.",
    field: Field::Switch(|s| &mut s.rpc.extensions),
    ..CALLS
};

const BUILTIN_TYPES: Opt = Opt {
    name: "builtin-types",
    aliases: &["use-builtin-types"],
    default: Some("true"),
    help: "Hand on xmlrpc.client.DateTime and Binary",
    doc: "Dates and base64 reach the object as `datetime.datetime` and `bytes`.",
    field: Field::Switch(|s| &mut s.rpc.builtin_types),
    ..CALLS
};

const ERROR_MESSAGES: Opt = Opt {
    name: "error-messages",
    default: Some("true"),
    help: "Faults do not say what went wrong",
    doc: "Faults name the type and the message of the exception. Without it they say \"internal error\" and the number \
        under which the log has the traceback. No fault ever holds a traceback.",
    field: Field::Switch(|s| &mut s.rpc.error_messages),
    ..CALLS
};

const GZIP_MINIMUM: Opt = Opt {
    name: "gzip-minimum",
    metavar: "SIZE",
    default: Some("1400"),
    help: "Smallest answer that is compressed, or `none`",
    doc: "For clients that take gzip. `none` compresses nothing.",
    field: Field::MaybeSize(|s| &mut s.rpc.gzip_minimum),
    ..CALLS
};

const MAX_BODY: Opt = Opt {
    name: "max-rpc-body",
    metavar: "SIZE",
    default: Some("20MiB"),
    help: "Largest request, inflated",
    doc: "`--max-body` bounds what comes over the network.",
    field: Field::Memory(|s| &mut s.rpc.max_body, 1024),
    ..CALLS
};

const MAX_DEPTH: Opt = Opt {
    name: "max-rpc-depth",
    metavar: "N",
    default: Some("200"),
    help: "How deep arrays and structs may nest",
    doc: "In requests and in answers.",
    field: Field::Count(|s| &mut s.rpc.max_depth, 1, 10_000),
    ..CALLS
};

const MAX_VALUES: Opt = Opt {
    name: "max-rpc-values",
    metavar: "N",
    default: Some("2000000"),
    help: "Most elements of a request",
    doc: "XML elements; a member of a struct takes four.",
    field: Field::Count(|s| &mut s.rpc.max_values, 1, 1_000_000_000),
    ..CALLS
};

const MAX_RATIO: Opt = Opt {
    name: "max-rpc-ratio",
    metavar: "N",
    default: Some("200"),
    help: "How many times its size a body may grow",
    doc: "A body in gzip, once it is past 1 MiB (CVE-2013-1753).",
    field: Field::Count(|s| &mut s.rpc.max_ratio, 1, 1_000_000),
    ..CALLS
};

fn path(text: &str) -> Result<String, String> {
    if text != "*" && !text.starts_with('/') {
        return Err(format!("does not start with `/`; write /{text}"));
    }
    line(text)
}
