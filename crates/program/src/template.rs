//! The template: forked from the supervisor, loads what is served where that is wanted once, forks the workers.

use stdserve_config::Preload;
use stdserve_supervisor::{Level, TemplateSeat, exit_code};
use stdserve_sys::process::{self, Pid};
use stdserve_sys::signals::SIGTERM;

use crate::interpreter::{self, Interpreter, NoInterpreter};
use crate::setup::{Group, Setup};
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
pub(crate) fn live(interpreter: &mut dyn Interpreter, seat: TemplateSeat, setup: &mut Setup) -> ! {
    let _guard = AbortOnPanic;
    process::set_name("stdserve:templ");
    let _ = process::signal_on_parent_death(SIGTERM);
    if Pid::parent() != seat.supervisor {
        process::exit_now(exit_code::OK);
    }
    let Some(mut group) = setup.take_group(seat.group) else { process::exit_now(exit_code::WORKERS_FAIL) };
    // What needs no interpreter is served without: its lock and its signals are nothing to such a worker.
    let (mut none, needed) = (NoInterpreter, interpreter::is_needed(&group.spec));
    let prepared = prepare(if needed { &mut *interpreter } else { &mut none }, &group);
    if let Err(why) = prepared {
        // Without a supervisor there is nobody to tell.
        let _ = seat.load_failed(&why);
        process::exit_now(exit_code::APPLICATION);
    }
    // The interpreter is there all the same, so its hooks stand around the fork.
    match seat.serve(&mut *interpreter) {
        Ok(Some(seat)) => worker::live(if needed { interpreter } else { &mut none }, seat, setup, &mut group),
        Ok(None) => process::exit_now(exit_code::OK),
        Err(error) => {
            setup.log.say(Level::Error, &format!("the template lost its supervisor: {error}"));
            process::exit_now(1)
        }
    }
}

fn prepare(interpreter: &mut dyn Interpreter, group: &Group) -> Result<(), String> {
    interpreter.take_signals()?;
    interpreter.prepare(group.options())?;
    if group.options().workers.preload == Preload::Off {
        return Ok(());
    }
    for service in &group.spec.services {
        interpreter.load(service)?;
    }
    interpreter.settle()
}
