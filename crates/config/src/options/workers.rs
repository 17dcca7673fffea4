//! Processes and threads.

use super::PYTHON;
use crate::field::Field;
use crate::option::{Group, Opt};

const WORKERS_GROUP: Opt = Opt { group: Group::Workers, ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[WORKERS, THREADS, COHORT, PRELOAD];

const WORKERS: Opt = Opt {
    name: "workers",
    short: Some('w'),
    variables: &["WEB_CONCURRENCY"],
    embedded: false,
    metavar: "N",
    unset: "the CPUs",
    help: "Worker processes",
    doc: "`auto`, the default, counts the CPUs that the process may use, with a container's quota taken into account.",
    field: Field::MaybeCount(|s| &mut s.workers.count, "auto", 1, 4096),
    ..WORKERS_GROUP
};

const THREADS: Opt = Opt {
    name: "threads",
    aliases: &["blocking-threads"],
    metavar: "N",
    default: Some("16"),
    help: "Requests that run at once, per worker",
    doc: "Threads are started when requests block, up to this number; an application that keeps state in the \
        process must expect them. With 1 the application never runs in two threads at once.",
    field: Field::Count(|s| &mut s.workers.threads, 1, 10_000),
    ..WORKERS_GROUP
};

const COHORT: Opt = Opt {
    name: "cohort",
    metavar: "N",
    default: Some("64"),
    help: "Most requests that are run back to back",
    doc: "Requests that are ready at the same time are read, run one after the other, and then written: this keeps \
        the processor's caches warm. With 1 each is answered before the next is run. A cohort also ends after 4 ms, \
        or after 1 ms where another thread is in the application.",
    field: Field::Count(|s| &mut s.workers.cohort, 1, 1024),
    ..WORKERS_GROUP
};

const PRELOAD: Opt = Opt {
    name: "preload",
    verbs: PYTHON,
    aliases: &["preload-app"],
    embedded: false,
    default: Some("false"),
    help: "Import the application once, before forking",
    doc: "Saves memory and time to start; connections that the import opens are then shared by all workers, \
        which most database drivers do not stand.",
    field: Field::Switch(|s| &mut s.workers.preload),
    ..WORKERS_GROUP
};
