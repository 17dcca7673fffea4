//! A worker: imports the application, serves, drains, and ends its Python side in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pyo3::prelude::*;
use stdserve_server::Server;
use stdserve_supervisor::{Level, WorkerSeat, exit_code};
use stdserve_sys::fork_guard;
use stdserve_sys::log_writer::{LogFile, LogWriter};
use stdserve_sys::process::{self, Pid};
use stdserve_sys::scoreboard::{Scoreboard, State};
use stdserve_sys::signals::SIGTERM;

use crate::app;
use crate::command::{Setup, Source};
use crate::crew_threads::PythonThreads;
use crate::engine::{self, AccessLog, Watcher};
use crate::gateway::report;
use crate::gateway::wsgi::{Options, WsgiGateway};
use crate::log::{self, ErrorLog};
use crate::template::AbortOnPanic;
use crate::warden::Warden;

/// How much of the access log may wait to be written, in bytes.
const ACCESS_QUEUE: usize = 4 << 20;

/// How long the logs may take in the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The life of a worker.
pub(crate) fn live(py: Python<'_>, seat: WorkerSeat, setup: &mut Setup) -> ! {
    let _guard = AbortOnPanic;
    process::set_name("stdserve:worker");
    let _ = process::signal_on_parent_death(SIGTERM);
    if Pid::parent() != seat.supervisor {
        process::exit_now(exit_code::OK);
    }
    let board = Arc::clone(&setup.board);
    if let Some(row) = board.row(seat.slot) {
        row.claim(seat.generation);
    }
    let application = match load(py, setup) {
        Ok(application) => application,
        Err(why) => {
            let _ = seat.load_failed(&why);
            flush(py);
            process::exit_now(exit_code::APPLICATION);
        }
    };
    // From here on this process is the worker's alone: nothing is handed back.
    match serve(py, application, seat, setup, &board) {
        Ok(()) => process::exit_now(exit_code::OK),
        Err(error) => {
            setup.log.say(Level::Error, &format!("the worker could not start: {error}"));
            flush(py);
            process::exit_now(1)
        }
    }
}

fn load(py: Python<'_>, setup: &mut Setup) -> Result<Py<PyAny>, String> {
    if let Some(application) = setup.preloaded.take() {
        return Ok(application);
    }
    match &setup.source {
        Source::Named(spec) => app::load(py, spec).map_err(|error| error.message),
        Source::Object(object) => Ok(object.clone_ref(py)),
    }
}

fn serve(
    py: Python<'_>,
    application: Py<PyAny>,
    seat: WorkerSeat,
    setup: &mut Setup,
    board: &Arc<Scoreboard>,
) -> PyResult<()> {
    let slot = seat.slot;
    let log = Arc::new(ErrorLog::open(&setup.options().logging)?.queued()?);
    let options = setup.options();
    let gateway = WsgiGateway::new(
        py,
        application,
        Options {
            root_path: options.wsgi.root_path.clone(),
            multithread: options.workers.threads > 1,
            multiprocess: setup.workers > 1,
        },
        Arc::clone(&log) as Arc<dyn stdserve_server::Log>,
    )?;
    let watcher = Arc::new(Watcher::new(access_log(setup)?, Some((Arc::clone(board), slot))));
    fork_guard::guard(&seat);
    let seat = Arc::new(seat);
    let warden = Warden::new(Arc::clone(&seat), Arc::clone(&log), options.timeouts.graceful)?;
    let server = Server::builder(engine::settings(options))
        .watch(warden.lifeline())
        .observer(Arc::clone(&watcher) as Arc<dyn stdserve_server::Observer>)
        .log(Arc::clone(&log) as Arc<dyn stdserve_server::Log>)
        .listeners(setup.registry.take())
        .build(Arc::new(gateway), Arc::new(PythonThreads))?;
    warden.catch_signals(py)?;
    py.detach(|| server.start())?;
    if let Some(row) = board.row(slot) {
        row.set_state(State::Serving);
    }
    // A supervisor that is gone shows as the end of the lifeline.
    let _ = seat.ready();
    warden.watch(py, &server.control(), || {
        if let Some(row) = board.row(slot) {
            row.gil_beat.store(stdserve_sys::scoreboard::now(), Ordering::Relaxed);
        }
    });
    end_python(py, &log);
    watcher.close(LAST_LINES);
    log.close(LAST_LINES);
    Ok(())
}

fn access_log(setup: &Setup) -> PyResult<Option<AccessLog>> {
    let options = setup.options();
    let Some(file) = log::file(&options.logging.access, LogFile::stdout)? else { return Ok(None) };
    // Checked when the command was started.
    let Ok(format) = engine::access_format(options) else { return Ok(None) };
    Ok(Some(AccessLog { format, writer: LogWriter::start(file, ACCESS_QUEUE)? }))
}

/// What the interpreter does at its end, but for taking itself down: threads of the application may still run.
fn end_python(py: Python<'_>, log: &ErrorLog) {
    for (module, function) in [("threading", "_shutdown"), ("atexit", "_run_exitfuncs")] {
        if let Err(error) = py.import(module).and_then(|module| module.call_method0(function)) {
            log.say(Level::Error, &report::traceback(py, &error));
        }
    }
    flush(py);
}

fn flush(py: Python<'_>) {
    for stream in ["stdout", "stderr"] {
        let _ = py.import("sys").and_then(|sys| sys.getattr(stream)?.call_method0("flush"));
    }
}
