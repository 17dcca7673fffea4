//! The extension module `stdserve._stdserve`: gateways to Python, and the command.
//!
//! `gateway` runs Python applications for the engine, `app` finds and imports them, `services` makes services of them,
//! `crew_threads` makes the threads they run on, `embedded` is `stdserve.Server`. `command` is the command: the crate
//! `stdserve-program` has its processes, and asks of Python what [`interpreter`] can; [`preload`] looks at what an
//! import leaves behind, [`hooks`] runs configuration files, [`stacks`] looks at what threads do, [`ending`] at
//! what becomes of them when the interpreter ends. `dropin` is the engine under the drop-in modules; `selectors` waits
//! for `stdserve.selectors`, `xmlrpc` is the codec of remote calls. [`concurrent`] has what `stdserve.concurrent` stands
//! on.
#[cfg(not(target_os = "linux"))]
compile_error!("stdserve runs on Linux only: its engine stands on epoll, signalfd and sendfile.");

mod app;
mod command;
mod concurrent;
mod crew_threads;
mod dropin;
mod embedded;
mod ending;
mod gateway;
mod hooks;
mod interpreter;
mod preload;
mod selectors;
mod services;
mod stacks;
mod xmlrpc;

/// The native half of stdserve.
// Objects are used again where their reference count says that nobody else has them: that asks for the GIL.
#[pyo3::pymodule(gil_used = true)]
mod _stdserve {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::command::{main, run};
    #[pymodule_export]
    use super::concurrent::exchange::{Channel, Reader, share_exchange_memory};
    #[pymodule_export]
    use super::concurrent::lines::LineSearch;
    #[pymodule_export]
    use super::concurrent::processes::{PidFile, detach, never_free, pid_file_holder};
    #[pymodule_export]
    use super::concurrent::queue::{Queue, queues_after_fork};
    #[pymodule_export]
    use super::concurrent::tasks::Interests;
    #[pymodule_export]
    use super::dropin::{DropIn, Writer};
    #[pymodule_export]
    use super::embedded::Embedded;
    #[pymodule_export]
    use super::gateway::handler::end_with_parent;
    #[pymodule_export]
    use super::selectors::epoll_select;
    #[pymodule_export]
    use super::xmlrpc::{Unchanged, compress, gunzip, xmlrpc_dumps, xmlrpc_loads};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
