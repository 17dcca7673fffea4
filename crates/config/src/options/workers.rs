//! Processes and threads.

use super::PYTHON;
use crate::field::Field;
use crate::option::{Group, Opt};
use crate::settings::Preload;

const WORKERS_GROUP: Opt = Opt { group: Group::Workers, ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] =
    &[WORKERS, THREADS, COHORT, PRELOAD, RELOAD, RELOAD_INCLUDE, RELOAD_EXCLUDE];

const PRELOAD_KINDS: [Preload; 3] = [Preload::Off, Preload::On, Preload::Force];

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
    doc: "Saves memory and time to start. What the import leaves behind and forked workers cannot use or share \
        (threads, open connections, listening sockets, event loops) is named, and nothing is served; \
        `--preload=force` goes on all the same.",
    field: Field::SwitchOr(
        &["false", "true", "force"],
        |s, index| s.workers.preload = PRELOAD_KINDS[index],
        |s| PRELOAD_KINDS.iter().position(|&kind| kind == s.workers.preload).unwrap_or(0),
    ),
    ..WORKERS_GROUP
};

const RELOAD: Opt = Opt {
    name: "reload",
    verbs: PYTHON,
    embedded: false,
    default: Some("false"),
    help: "Replace workers when files change; for development",
    doc: "Watched are the Python files beneath the folder of the start and those of modules that were imported from \
        outside of it, but for installed packages, and the file of the configuration. A change is loaded by a new \
        worker, which takes the place of the old one without losing a request. What cannot be loaded is shown in the \
        terminal, and the old worker stays until it is mended; at the start, where there is no old one, a page shows \
        it. `--preload` means nothing beside it.",
    field: Field::Switch(|s| &mut s.reload.on),
    ..WORKERS_GROUP
};

const RELOAD_INCLUDE: Opt = Opt {
    name: "reload-include",
    verbs: PYTHON,
    aliases: &["reload-extra-file", "reload-extra-files"],
    embedded: false,
    metavar: "GLOB",
    default: Some(""),
    unset: "Python files only",
    help: "With --reload: watch these files too; repeatable",
    doc: "A path, or a pattern with `*`, `?` and `**`, from the folder of the start: `templates/**`, `*.toml`.",
    field: Field::Texts(|s| &mut s.reload.include, |text| Ok(text.to_owned())),
    ..WORKERS_GROUP
};

const RELOAD_EXCLUDE: Opt = Opt {
    name: "reload-exclude",
    verbs: PYTHON,
    embedded: false,
    metavar: "GLOB",
    default: Some(""),
    unset: "nothing",
    help: "With --reload: do not watch these files; repeatable",
    doc: "Patterns as those of `--reload-include`. Folders whose names begin with a dot, virtual environments, \
        `node_modules` and `__pycache__` are never looked into.",
    field: Field::Texts(|s| &mut s.reload.exclude, |text| Ok(text.to_owned())),
    ..WORKERS_GROUP
};
