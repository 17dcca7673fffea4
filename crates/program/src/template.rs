//! The template: forked from the supervisor, loads what is served where that is wanted once, forks the workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stdserve_config::Preload;
use stdserve_supervisor::{Level, Notice, Nursery, TemplateSeat, exit_code};
use stdserve_sys::listener::Listener;
use stdserve_sys::process::{self, ForkHooks, Pid};
use stdserve_sys::signals::SIGTERM;
use stdserve_sys::users;

use crate::interpreter::{self, Hook, Interpreter, NoInterpreter, Scene};
use crate::setup::{Group, Setup};
use crate::worker::{self, AbortOnPanic};

/// How often a template looks whether the workers have left, in the end.
const LOOK: Duration = Duration::from_millis(10);

/// The life of a template, and of the workers that are forked from it.
pub(crate) fn live(interpreter: &mut dyn Interpreter, seat: TemplateSeat, setup: &mut Setup) -> ! {
    let _guard = AbortOnPanic;
    process::set_name("stdserve:templ");
    if let Some(account) = &setup.account
        && let Err(error) = users::become_account(account)
    {
        let _ = seat.load_failed(&format!("the user could not be changed: {error}"));
        process::exit_now(exit_code::APPLICATION);
    }
    // The kernel forgets it when the user changes.
    let _ = process::signal_on_parent_death(SIGTERM);
    if Pid::parent() != seat.supervisor {
        process::exit_now(exit_code::OK);
    }
    let Some(mut group) = setup.take_group(seat.group, seat.generation) else {
        process::exit_now(exit_code::WORKERS_FAIL)
    };
    // What needs no interpreter is served without: its lock and its signals are nothing to such a worker.
    let (mut none, needed) = (NoInterpreter, interpreter::is_needed(&group.spec));
    let prepared = prepare(if needed { &mut *interpreter } else { &mut none }, &group, &seat, setup);
    if let Err(why) = prepared {
        // Without a supervisor there is nobody to tell.
        let _ = seat.load_failed(&why);
        process::exit_now(exit_code::APPLICATION);
    }
    // The interpreter is there all the same, so its hooks stand around the fork.
    let mut keeper = Keeper {
        interpreter: &mut *interpreter,
        setup,
        group: &mut group,
        needed,
        live: Vec::new(),
        ends: false,
    };
    match seat.serve(&mut keeper) {
        Ok(Some(seat)) => worker::live(if needed { interpreter } else { &mut none }, seat, setup, &mut group),
        Ok(None) => {
            keeper.see_out();
            process::exit_now(exit_code::OK)
        }
        Err(error) => {
            setup.log.say(Level::Error, &format!("the template lost its supervisor: {error}"));
            process::exit_now(1)
        }
    }
}

fn prepare(
    interpreter: &mut dyn Interpreter,
    group: &Group,
    seat: &TemplateSeat,
    setup: &Setup,
) -> Result<(), String> {
    interpreter.take_signals()?;
    let settings = group.options();
    interpreter.prepare(settings)?;
    interpreter.load_hooks(Scene {
        settings,
        supervisor: seat.supervisor,
        workers: group.workers(),
        addresses: group.registry.listeners().iter().map(Listener::url).collect(),
        log: Arc::clone(&setup.log),
    })?;
    interpreter.hook(Hook::Workers { before: None, now: group.workers() as u64 })?;
    // Workers that are replaced for every change of a file cannot have it from here.
    if settings.workers.preload != Preload::Off && !settings.reload.on {
        interpreter.begin_preload();
        for service in &group.spec.services {
            interpreter.load(service)?;
        }
        if let Some(left) = interpreter.settle(settings.workers.preload == Preload::Force)? {
            setup.log.say(Level::Warning, &left);
        }
    }
    // In gunicorn's order.
    if seat.generation > 1 {
        return interpreter.hook(Hook::Reloaded);
    }
    interpreter.hook(Hook::Starting)?;
    interpreter.hook(Hook::Ready)
}

/// What a template does besides forking: it calls the functions of the configuration file.
struct Keeper<'a> {
    interpreter: &'a mut dyn Interpreter,
    setup: &'a Setup,
    group: &'a mut Group,
    /// Whether the group runs anything in the interpreter.
    needed: bool,
    /// The workers that were forked here and have not ended.
    live: Vec<Pid>,
    /// The server ends.
    ends: bool,
}

impl Keeper<'_> {
    /// Calls a function of the configuration file. What it raises is logged.
    fn call(&self, hook: Hook) {
        if self.needed
            && let Err(why) = self.interpreter.hook(hook)
        {
            self.setup.log.say(Level::Error, &why);
        }
    }

    fn ended(&mut self, pid: Pid) {
        self.live.retain(|live| *live != pid);
        self.call(Hook::Ended(pid));
    }

    /// The supervisor wants nothing more. Where the server ends `on_exit` is the last to be called, after all workers.
    fn see_out(mut self) {
        let waits = [Hook::Exit, Hook::Ended(Pid(0))].into_iter().any(|hook| self.interpreter.has_hook(hook));
        if !self.ends || !self.needed || !waits {
            return;
        }
        // The supervisor empties the row of a worker that has ended. It kills this process when time is up.
        let rows = || self.group.slots.clone().filter_map(|slot| self.setup.board.row(slot));
        loop {
            let serving: Vec<Pid> = rows().map(|row| Pid(row.pid.load(Ordering::Acquire))).collect();
            let gone: Vec<_> = self.live.iter().copied().filter(|pid| !serving.contains(pid)).collect();
            for pid in gone {
                self.live.retain(|live| *live != pid);
                self.call(Hook::Ended(pid));
            }
            if serving.iter().all(|pid| pid.0 == 0) {
                break;
            }
            std::thread::sleep(LOOK);
        }
        self.call(Hook::Exit);
        self.interpreter.flush();
    }
}

impl Nursery for Keeper<'_> {
    fn hooks(&mut self) -> &mut dyn ForkHooks {
        &mut *self.interpreter
    }

    fn leaves_threads(&self) -> bool {
        self.group.options().workers.preload == Preload::Force
    }

    fn forking(&mut self, _: u64) {
        self.call(Hook::Forking);
    }

    fn forked(&mut self, _: u64, pid: Pid) {
        self.live.push(pid);
        self.call(Hook::Forked(pid));
    }

    fn told(&mut self, notice: Notice) {
        match notice {
            Notice::WorkerEnded { pid, .. } => self.ended(pid),
            Notice::Workers { before, now } => self.call(Hook::Workers { before: Some(before), now }),
            Notice::Upgrading => self.call(Hook::Upgrading),
            Notice::Reopen => self.setup.log.reopen(),
            Notice::Ending => {
                self.ends = true;
                // Nobody shall queue who is not served.
                drop(self.group.registry.take());
            }
        }
    }
}
