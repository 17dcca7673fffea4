//! The template: forked from the supervisor, imports the application where that is wanted once, forks the workers.

use std::fmt::Write as _;

use pyo3::prelude::*;
use stdserve_config::Settings;
use stdserve_supervisor::{Level, TemplateSeat, exit_code};
use stdserve_sys::process::{self, Pid};
use stdserve_sys::signals::{SIGINT, SIGQUIT, SIGTERM};

use crate::app;
use crate::command::{Setup, Source};
use crate::fork::PythonHooks;
use crate::worker;

/// A panic in a process that was forked must not unwind into the program that the supervisor was started from.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// The life of a template, and of the workers that are forked from it.
pub(crate) fn live(py: Python<'_>, seat: TemplateSeat, setup: &mut Setup) -> ! {
    let _guard = AbortOnPanic;
    process::set_name("stdserve:templ");
    let _ = process::signal_on_parent_death(SIGTERM);
    if Pid::parent() != seat.supervisor {
        process::exit_now(exit_code::OK);
    }
    match prepare(py, &seat, setup) {
        Ok(()) => {}
        Err(why) => {
            // Without a supervisor there is nobody to tell.
            let _ = seat.load_failed(&why);
            process::exit_now(exit_code::APPLICATION);
        }
    }
    match seat.serve(&mut PythonHooks(py)) {
        Ok(Some(seat)) => worker::live(py, seat, setup),
        Ok(None) => process::exit_now(exit_code::OK),
        Err(error) => {
            setup.log.say(Level::Error, &format!("the template lost its supervisor: {error}"));
            process::exit_now(1)
        }
    }
}

fn prepare(py: Python<'_>, _seat: &TemplateSeat, setup: &mut Setup) -> Result<(), String> {
    let plainly = |error: PyErr| error.to_string();
    signals(py).map_err(plainly)?;
    prepare_path(py, setup.options()).map_err(plainly)?;
    if !setup.options().workers.preload {
        return Ok(());
    }
    if let Source::Named(spec) = &setup.source {
        let application = app::load(py, spec).map_err(|error| error.message)?;
        setup.preloaded = Some(application);
    }
    let threads = process::threads().map_err(|error| error.to_string())?;
    if threads.len() > 1 {
        return Err(left_behind(py, &threads));
    }
    // What the import made is for good: collections in the workers need not touch, and so copy, its pages.
    py.import("gc").and_then(|gc| gc.call_method0("freeze")).map(drop).map_err(plainly)
}

/// The signals of a terminal reach every process of its group: they are the supervisor's business. Set through
/// Python, so that `signal.getsignal` says the same.
fn signals(py: Python<'_>) -> PyResult<()> {
    let module = py.import("signal")?;
    for (number, action) in [(SIGINT, "SIG_IGN"), (SIGQUIT, "SIG_IGN"), (SIGTERM, "SIG_DFL")] {
        module.call_method1("signal", (number, module.getattr(action)?))?;
    }
    Ok(())
}

/// `--pythonpath`.
pub(crate) fn prepare_path(py: Python<'_>, options: &Settings) -> PyResult<()> {
    let path = py.import("sys")?.getattr("path")?;
    for folder in options.process.pythonpath.iter().rev() {
        path.call_method1("insert", (0, folder.as_os_str()))?;
    }
    Ok(())
}

fn left_behind(py: Python<'_>, threads: &[process::ThreadInfo]) -> String {
    let mut text = String::from("the application cannot be preloaded: its import leaves threads behind (");
    let known = py
        .import("threading")
        .and_then(|module| module.call_method0("enumerate"))
        .and_then(|threads| threads.try_iter()?.map(|thread| thread?.str()?.extract()).collect())
        .unwrap_or_else(|_| Vec::<String>::new());
    let others = threads.iter().skip(1).map(|thread| format!("{} {}", thread.tid, thread.name));
    let _ = write!(text, "{}", others.collect::<Vec<_>>().join(", "));
    for thread in known.iter().filter(|thread| !thread.contains("MainThread")) {
        let _ = write!(text, "; {thread}");
    }
    text.push_str(")\nhint: start them when the first request comes, or leave out --preload");
    text
}
