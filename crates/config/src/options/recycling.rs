//! When workers are replaced that do nothing wrong.

use std::time::Duration;

use crate::field::Field;
use crate::option::{Group, Opt};

const RECYCLING: Opt = Opt { group: Group::Workers, embedded: false, ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[MAX_REQUESTS, MAX_REQUESTS_JITTER, MAX_LIFETIME, MAX_RSS];

const MAX_REQUESTS: Opt = Opt {
    name: "max-requests",
    aliases: &["limit-max-requests"],
    metavar: "N",
    default: Some("0"),
    help: "Requests after which a worker is replaced; 0: never",
    doc: "Against memory that an application loses bit by bit. Another worker is ready before the old one stops \
        accepting, and of a group one is replaced at a time, so that nothing is lost. Requests are counted once a \
        second: a busy worker answers some more.",
    field: Field::Count(|s| &mut s.recycling.requests, 0, 1 << 40),
    ..RECYCLING
};

const MAX_REQUESTS_JITTER: Opt = Opt {
    name: "max-requests-jitter",
    metavar: "N",
    unset: "a tenth of --max-requests",
    help: "Up to this many more requests, at random",
    doc: "So that workers which were started together do not all come to their end together.",
    field: Field::MaybeCount(|s| &mut s.recycling.requests_jitter, "", 0, 1 << 40),
    ..RECYCLING
};

const MAX_LIFETIME: Opt = Opt {
    name: "max-lifetime",
    aliases: &["workers-lifetime"],
    metavar: "TIME",
    default: Some("0s"),
    help: "Time after which a worker is replaced; 0: never",
    doc: "Less up to a tenth of it, at random for each worker.",
    field: Field::Time(|s| &mut s.recycling.lifetime, Duration::ZERO),
    ..RECYCLING
};

const MAX_RSS: Opt = Opt {
    name: "max-rss",
    metavar: "SIZE",
    default: Some("none"),
    help: "Memory beyond which a worker is replaced",
    doc: "Resident memory of one worker, measured once a second, in bytes (`512MiB`) or as a part of what the control \
        group may use (`40%`; of the machine's memory where that has no limit). Pages that workers share count in \
        each of them.",
    field: Field::MaybeMemory(|s| &mut s.recycling.rss),
    ..RECYCLING
};
