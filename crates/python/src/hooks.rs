//! Configuration files in Python: their settings are read in a process of its own, their functions are called in
//! templates and workers. `python/stdserve/_conf.py` and `_hooks.py` are the halves that know Python's objects.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};
use stdserve_config::gunicorn_settings;
use stdserve_program::{ErrorLog, Hook, Level, Scene};
use stdserve_sys::process::{self, Fork, ForkHooks};
use stdserve_sys::signals::{self, SIGKILL};

use crate::gateway::report;

/// Runs the file in a child, for at most `limit`, and gives what it says of its settings.
pub(crate) fn describe(
    py: Python<'_>,
    hooks: &mut dyn ForkHooks,
    file: &Path,
    limit: Option<Duration>,
) -> Result<String, String> {
    let (reader, writer) = std::io::pipe().map_err(|error| error.to_string())?;
    let child = match process::fork(hooks).map_err(|error| error.to_string())? {
        Fork::Child => {
            drop(reader);
            // A supervisor has signals blocked.
            let _ = signals::unblock_all();
            if let Some(limit) = limit {
                let _ = process::end_after(limit);
            }
            // Nobody would read what it says.
            let _ = process::signal_on_parent_death(SIGKILL);
            let told = tell(py, file, File::from(std::os::fd::OwnedFd::from(writer)));
            process::exit_now(i32::from(told.is_err()));
        }
        Fork::Parent(child) => child,
    };
    drop(writer);
    let mut text = Vec::new();
    let read = File::from(std::os::fd::OwnedFd::from(reader)).read_to_end(&mut text);
    let exit = process::wait(child).map_err(|error| error.to_string())?;
    read.map_err(|error| error.to_string())?;
    if exit != process::Exit::Code(0) {
        return Err(format!("the process that ran it {exit}"));
    }
    String::from_utf8(text).map_err(|error| error.to_string())
}

fn tell(py: Python<'_>, file: &Path, mut to: File) -> PyResult<()> {
    let text: String =
        py.import("stdserve._conf")?.call_method1("describe", (file.as_os_str(),))?.extract()?;
    for stream in ["stdout", "stderr"] {
        py.import("sys")?.getattr(stream)?.call_method0("flush")?;
    }
    to.write_all(text.as_bytes())?;
    Ok(())
}

/// Runs the file where its functions are to be called.
pub(crate) fn load(py: Python<'_>, file: &Path, scene: Scene<'_>) -> PyResult<()> {
    let settings = gunicorn_settings(scene.settings);
    let write = writer(py, scene.log)?;
    let args = (file.as_os_str(), settings, scene.supervisor.0, scene.workers, scene.addresses, write);
    py.import("stdserve._hooks")?.call_method1("load", args).map(drop)
}

/// Messages go there from now on.
pub(crate) fn log_to(py: Python<'_>, log: Arc<ErrorLog>) -> PyResult<()> {
    py.import("stdserve._hooks")?.call_method1("log_to", (writer(py, log)?,)).map(drop)
}

/// A function of Python's that writes a message of a level, as `logging` counts them.
fn writer(py: Python<'_>, log: Arc<ErrorLog>) -> PyResult<Bound<'_, PyCFunction>> {
    PyCFunction::new_closure(
        py,
        None,
        None,
        move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            let (number, text): (i64, String) = args.extract()?;
            let level = match number {
                ..20 => Level::Debug,
                20..30 => Level::Info,
                30..40 => Level::Warning,
                40.. => Level::Error,
            };
            args.py().detach(|| log.say(level, &text));
            PyResult::Ok(())
        },
    )
}

/// The name of the function for this.
fn name(hook: Hook) -> &'static str {
    match hook {
        Hook::Starting => "on_starting",
        Hook::Reloaded => "on_reload",
        Hook::Ready => "when_ready",
        Hook::Workers { .. } => "nworkers_changed",
        Hook::Forking | Hook::Forked(_) => "pre_fork",
        Hook::Born => "post_fork",
        Hook::Loaded => "post_worker_init",
        Hook::Interrupted => "worker_int",
        Hook::Aborted => "worker_abort",
        Hook::Leaving => "worker_exit",
        Hook::Ended(_) => "child_exit",
        Hook::Upgrading => "pre_exec",
        Hook::Exit => "on_exit",
    }
}

/// Whether the file has a function for this.
pub(crate) fn has(py: Python<'_>, hook: Hook) -> PyResult<bool> {
    py.import("stdserve._hooks")?.call_method1("has", (name(hook),))?.is_truthy()
}

/// Calls the function for this, if there is one. `application` is what the worker serves.
pub(crate) fn call(py: Python<'_>, hook: Hook, application: Option<&Py<PyAny>>) -> Result<(), String> {
    let called = py.import("stdserve._hooks").and_then(|module| match hook {
        Hook::Starting | Hook::Reloaded | Hook::Ready | Hook::Upgrading | Hook::Exit => {
            module.call_method1("server_hook", (name(hook),))
        }
        Hook::Workers { before, now } => module.call_method1("workers_changed", (now, before)),
        Hook::Forking => module.call_method0("forking"),
        Hook::Forked(pid) => module.call_method1("forked", (pid.0,)),
        Hook::Born => module.call_method0("born"),
        Hook::Loaded => module.call_method1("loaded", (application,)),
        Hook::Interrupted => module.call_method1("worker_hook", (name(hook),)),
        Hook::Aborted => module.call_method0("aborted"),
        Hook::Leaving => module.call_method0("leaving"),
        Hook::Ended(pid) => module.call_method1("ended", (pid.0,)),
    });
    called.map(drop).map_err(|error| format!("{} failed\n{}", name(hook), report::traceback(py, &error)))
}
