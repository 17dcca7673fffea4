//! A worker: loads what it serves, serves, drains, and ends its interpreter in order.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use stdserve_config::Settings;
use stdserve_server::{Log, Observer, Server};
use stdserve_supervisor::{Level, WorkerSeat, exit_code};
use stdserve_sys::fork_guard::Guard;
use stdserve_sys::limits;
use stdserve_sys::process::{self, Limit, Pid};
use stdserve_sys::scoreboard::{Scoreboard, State};
use stdserve_sys::signals::SIGTERM;

use crate::changes::Changes;
use crate::engine;
use crate::interpreter::{Hook, Interpreter, Place};
use crate::log::ErrorLog;
use crate::services;
use crate::setup::{Group, Setup};
use crate::warden::{Logs, Warden};
use crate::watcher::{Seats, Watcher};

/// How long the logs may take in the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A panic in a process that was forked must not unwind into the program that the supervisor was started from.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// The life of a worker.
pub(crate) fn live(
    interpreter: &mut dyn Interpreter,
    seat: WorkerSeat,
    setup: &Setup,
    group: &mut Group,
) -> ! {
    let _guard = AbortOnPanic;
    process::set_name("stdserve:worker");
    let _ = process::signal_on_parent_death(SIGTERM);
    if Pid::parent() != seat.supervisor {
        process::exit_now(exit_code::OK);
    }
    if let Some(row) = setup.board.row(seat.slot) {
        row.claim(seat.generation);
    }
    // What changes while it is loaded counts.
    let changes = group.options().reload.on.then(|| Changes::new(&group.spec)).and_then(Result::ok);
    let failed = bound(group.options()).and_then(|()| load(interpreter, group)).err();
    if let Some(why) = failed.as_ref().filter(|_| changes.is_none() || !may_show(&seat, setup, group)) {
        let _ = seat.load_failed(why);
        interpreter.flush();
        process::exit_now(exit_code::APPLICATION);
    }
    // From here on this process is the worker's alone: nothing is handed back.
    match serve(interpreter, seat, setup, group, Watched { changes, failed }) {
        Ok(()) => process::exit_now(exit_code::OK),
        Err(error) => {
            setup.log.say(Level::Error, &format!("the worker could not start: {error}"));
            interpreter.flush();
            process::exit_now(1)
        }
    }
}

/// How much more processor time a worker may use once it was told that it has had enough, in seconds. Then the kernel
/// ends it.
const LAST_SECONDS: u64 = 10;

/// `--rlimit-…`. What the application starts has the same bounds.
fn bound(options: &Settings) -> Result<(), String> {
    let rlimits = &options.process.rlimits;
    let cpu = rlimits.cpu.map(|time| time.as_secs().max(1));
    let bounds = [
        (Limit::Memory, rlimits.address_space, rlimits.address_space),
        (Limit::Cpu, cpu, cpu.map(|seconds| seconds.saturating_add(LAST_SECONDS))),
        (Limit::Files, rlimits.files.map(|files| files as u64), rlimits.files.map(|files| files as u64)),
        (Limit::Core, rlimits.core, rlimits.core),
    ];
    for (limit, soft, hard) in bounds {
        if let (Some(soft), Some(hard)) = (soft, hard) {
            limits::bound(limit, soft, hard)
                .map_err(|error| format!("the worker could not be bounded ({limit:?}): {error}"))?;
        }
    }
    Ok(())
}

/// Loads what is served, between the functions of the configuration file for that.
fn load(interpreter: &mut dyn Interpreter, group: &Group) -> Result<(), String> {
    interpreter.hook(Hook::Born)?;
    for service in &group.spec.services {
        interpreter.load(service)?;
    }
    interpreter.hook(Hook::Loaded)?;
    interpreter.settle_in();
    Ok(())
}

/// What `--reload` makes of a worker.
struct Watched {
    changes: Option<Changes>,
    /// Why the application could not be loaded: that is what is served.
    failed: Option<String>,
}

/// Whether a worker that could not load the application says so to browsers: none that could is there to go on.
fn may_show(seat: &WorkerSeat, setup: &Setup, group: &Group) -> bool {
    let others = group.slots.clone().filter(|slot| *slot != seat.slot);
    group.spec.services.iter().all(|service| service.kind.speaks_http())
        && others.filter_map(|slot| setup.board.row(slot)).all(|row| row.state() != State::Serving)
}

/// Whether this worker is the first of its group: what concerns all is said once.
fn is_first(slot: usize, board: &Scoreboard, group: &Range<usize>) -> bool {
    let before = group.clone().take_while(|other| *other < slot);
    before.filter_map(|other| board.row(other)).all(|row| row.state() == State::Free)
}

fn serve(
    interpreter: &mut dyn Interpreter,
    seat: WorkerSeat,
    setup: &Setup,
    group: &mut Group,
    watched: Watched,
) -> io::Result<()> {
    let slot = seat.slot;
    let listeners = group.registry.take();
    let options = group.options();
    let log = Arc::new(ErrorLog::open(&options.logging)?.queued()?);
    interpreter.log_to(Arc::clone(&log));
    let told = Arc::clone(&log) as Arc<dyn Log>;
    let place = Place { settings: options, workers: group.workers(), log: &told };
    let services = match &watched.failed {
        Some(why) => {
            if is_first(slot, &setup.board, &group.slots) {
                log.say(Level::Error, why);
                log.say(Level::Info, "a page shows this until a file changes");
            }
            services::page(why)
        }
        None => services::make(interpreter, &group.spec.services, &place)?,
    };
    let seats =
        Seats { board: Arc::clone(&setup.board), log: Arc::clone(&log), slot, group: group.slots.clone() };
    let watcher = Arc::new(Watcher::of_worker(options, seats)?);
    let _guard = Guard::new(&seat);
    let seat = Arc::new(seat);
    let logs = Logs { errors: Arc::clone(&log), watcher: Arc::clone(&watcher) };
    let warden = Warden::new(Arc::clone(&seat), logs, options.timeouts.graceful)?;
    let builder = Server::builder(engine::settings(options))
        .watch(warden.lifeline())
        .observer(Arc::clone(&watcher) as Arc<dyn Observer>)
        .coroner(warden.coroner())
        .log(told);
    let server = services.build(builder, listeners, interpreter.threads())?;
    warden.catch_signals(interpreter)?;
    if let Some(Err(error)) = setup.board.slate(slot).map(|slate| interpreter.write_stacks_to(slate.as_fd()))
    {
        log.say(
            Level::Warning,
            &format!("no stacks can be had while the interpreter's lock cannot: {error}"),
        );
    }
    let row = setup.board.row(slot);
    let modules = watched.changes.as_ref().map(Changes::modules);
    let beat = || {
        if let Some(row) = row {
            row.gil_beat.store(stdserve_sys::scoreboard::now(), Ordering::Relaxed);
        }
        if let Some(modules) = &modules {
            *modules.lock().unwrap_or_else(PoisonError::into_inner) = interpreter.files();
        }
    };
    // Loading may have taken long: the first request must not look as if it held the lock since then.
    beat();
    let mut started = Ok(());
    interpreter.apart(&mut || started = server.start());
    started?;
    if let Some(row) = row {
        row.set_state(if watched.failed.is_some() { State::Failing } else { State::Serving });
    }
    if let Some(changes) = watched.changes {
        let (log, board, group) = (Arc::clone(&log), Arc::clone(&setup.board), group.slots.clone());
        changes.watch(Arc::clone(&seat), move |names| {
            if is_first(slot, &board, &group) {
                log.say(Level::Info, &format!("changed: {names}"));
            }
        })?;
    }
    // A supervisor that is gone shows as the end of the lifeline.
    let _ = seat.ready();
    let mut examiner = warden.examiner(options.timeouts.autopsy_all);
    let examine = || examiner.work(interpreter);
    warden.watch(interpreter, &server.control(), beat, examine, |left| services.end_within(left));
    services.end();
    if let Err(why) = interpreter.hook(Hook::Leaving) {
        log.say(Level::Error, &why);
    }
    interpreter.end(&|trouble| log.say(Level::Error, trouble));
    watcher.close(LAST_LINES);
    log.close(LAST_LINES);
    Ok(())
}
