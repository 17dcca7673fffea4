//! Sizes and counts: what one request, one worker and one peer may cost.

use super::{HTTP, STREAMS};
use crate::field::Field;
use crate::option::{Group, Opt};

const LIMITS: Opt = Opt { group: Group::Limits, verbs: HTTP, metavar: "SIZE", ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[
    REQUEST_LINE,
    REQUEST_FIELDS,
    REQUEST_FIELD_SIZE,
    REQUEST_HEAD,
    MAX_BODY,
    BODY_BUFFER,
    BODY_RATE,
    BUFFER_TOTAL,
    RESPONSE_BUFFER,
    WORKER_CONNECTIONS,
    CONCURRENCY,
    QUEUE_SIZE,
    LIFO,
];

const REQUEST_LINE: Opt = Opt {
    name: "limit-request-line",
    default: Some("4094"),
    help: "Longest request line; 414 past it",
    doc: "Method, target and version together, in bytes.",
    field: Field::Memory(|s| &mut s.limits.request_line, 64),
    ..LIMITS
};

const REQUEST_FIELDS: Opt = Opt {
    name: "limit-request-fields",
    metavar: "N",
    default: Some("100"),
    help: "Most header fields; 431 past it",
    doc: "Trailer fields count for themselves.",
    field: Field::Count(|s| &mut s.limits.request_fields, 1, 32_768),
    ..LIMITS
};

const REQUEST_FIELD_SIZE: Opt = Opt {
    name: "limit-request-field_size",
    default: Some("8190"),
    help: "Longest header field; 431 past it",
    doc: "Name and value together, in bytes.",
    field: Field::Memory(|s| &mut s.limits.request_field_size, 64),
    ..LIMITS
};

const REQUEST_HEAD: Opt = Opt {
    name: "limit-request-head",
    default: Some("64KiB"),
    help: "Largest request head; 431 past it",
    doc: "Request line and all header fields together. It bounds the memory that one connection can ask for \
        before its request is known.",
    field: Field::Memory(|s| &mut s.limits.request_head, 1024),
    ..LIMITS
};

const MAX_BODY: Opt = Opt {
    name: "max-body",
    default: Some("1GiB"),
    help: "Largest request body; 413 past it",
    doc: "A body whose declared length is larger is refused before it is read, one in chunks as soon as it has \
        grown past it.",
    field: Field::Size(|s| &mut s.limits.max_body),
    ..LIMITS
};

const BODY_BUFFER: Opt = Opt {
    name: "body-buffer",
    default: Some("1MiB"),
    help: "Part of a body that is kept in memory",
    doc: "What is larger goes to an unlinked file in `--temp-dir`.",
    field: Field::Memory(|s| &mut s.limits.body_buffer, 0),
    ..LIMITS
};

const BODY_RATE: Opt = Opt {
    name: "body-rate",
    default: Some("240"),
    help: "Fewest bytes of a body per second; 408 below",
    doc: "In bytes a second, judged over each `--body-period`; 0 takes any rate.",
    field: Field::Size(|s| &mut s.limits.body_rate),
    ..LIMITS
};

const BUFFER_TOTAL: Opt = Opt {
    name: "buffer-total",
    default: Some("256MiB"),
    help: "Most that a worker buffers in all",
    doc: "Request bodies in memory and responses that wait for their clients, together. Where it is used up, bodies \
        go to files at once, and no more than a little of a response is kept for a slow client.",
    field: Field::Memory(|s| &mut s.limits.buffer_total, 1 << 20),
    ..LIMITS
};

const RESPONSE_BUFFER: Opt = Opt {
    name: "response-buffer",
    default: Some("16MiB"),
    help: "Most that is buffered for a slow client",
    doc: "An application thread does not wait for a slow client until this bound is reached, and then at most \
        `--write-timeout` without progress.",
    field: Field::Memory(|s| &mut s.limits.response_buffer, 64 << 10),
    ..LIMITS
};

const WORKER_CONNECTIONS: Opt = Opt {
    name: "worker-connections",
    verbs: STREAMS,
    metavar: "N",
    default: Some("15000"),
    help: "Most connections of a worker",
    doc: "More wait in the backlog. An idle connection costs at most 2 KiB of memory. The number of descriptors that the process may open \
        is a bound, too: the soft limit is raised to the hard one at start.",
    field: Field::Count(|s| &mut s.limits.worker_connections, 1, 10_000_000),
    ..LIMITS
};

const CONCURRENCY: Opt = Opt {
    name: "limit-concurrency",
    metavar: "N",
    unset: "no limit",
    help: "Most requests of a worker; 503 past it",
    doc: "Counts requests that run and those that wait for a thread. `0` means no limit.",
    field: Field::MaybeCount(|s| &mut s.limits.concurrency, "0", 1, usize::MAX),
    ..LIMITS
};

const QUEUE_SIZE: Opt = Opt {
    name: "queue-size",
    metavar: "N",
    unset: "no limit",
    help: "Most requests that wait for a thread; 503 past it",
    doc: "Counted while no thread is free. One more is answered 503 at once, with `Retry-After`. `0` means no limit: \
        as many as there are connections.",
    field: Field::MaybeCount(|s| &mut s.limits.queue, "0", 1, usize::MAX),
    ..LIMITS
};

const LIFO: Opt = Opt {
    name: "lifo",
    metavar: "",
    default: Some("false"),
    help: "Serve the newest request first when overloaded",
    doc: "That is, when one has waited for 100 ms. Some requests are then answered in time where otherwise all would be \
        late; those that wait in vain end by `--queue-timeout`. With `--queue-size` the oldest is refused, not the \
        newest.",
    field: Field::Switch(|s| &mut s.limits.lifo),
    ..LIMITS
};
