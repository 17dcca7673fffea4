//! The warden: a worker's main thread. It sleeps in native code, has the interpreter run the application's signal
//! handlers when there is something for them, shows that its lock can be had, and leaves when the server has ended.
//!
//! Orders do not depend on it: the lifeline is watched by the loop, which needs no lock of the interpreter's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stdserve_server::{Control, Coroner, Order, Watch};
use stdserve_supervisor::{Level, ToWorker, WorkerSeat};
use stdserve_sys::process;
use stdserve_sys::signals::{SIGTERM, SIGXCPU, Wake, WakePipe};

use crate::autopsy::{Examiner, Inbox};
use crate::interpreter::{Hook, Interpreter, Woken};
use crate::log::ErrorLog;
use crate::watcher::Watcher;

/// How often the interpreter's lock is tried.
const BEAT: Duration = Duration::from_secs(1);

/// How often the warden looks whether the server has ended, once it is ending.
const LOOK: Duration = Duration::from_millis(10);

/// How long the loop has to cut what is late, before the warden leaves.
const MOMENT: Duration = Duration::from_millis(100);

/// The most of the time to drain that is kept for ending what cannot simply be cut.
const MARGIN: Duration = Duration::from_secs(3);

/// How long after an order to stop at once the warden leaves, whoever is still in the application.
const AT_ONCE: Duration = Duration::from_millis(200);

/// How long a worker that nobody watches may take for the end of its Python side, after its time to drain.
const LAST_THINGS: Duration = Duration::from_secs(5);

/// The note that an order has come; signals have lower numbers.
const ORDERED: u8 = 127;

/// The logs of a worker.
#[derive(Clone)]
pub(crate) struct Logs {
    pub(crate) errors: Arc<ErrorLog>,
    /// Writes the access log.
    pub(crate) watcher: Arc<Watcher>,
}

impl Logs {
    /// Opens the files again by their paths.
    fn reopen(&self) {
        self.errors.reopen();
        self.watcher.reopen();
    }
}

pub(crate) struct Warden {
    pipe: &'static WakePipe,
    seat: Arc<WorkerSeat>,
    logs: Logs,
    graceful: Duration,
    /// When to leave whatever the server does; set with the first order.
    leave: Arc<Mutex<Option<Instant>>>,
    /// It was told to stop at once, and the application has not been told of it.
    interrupted: Arc<AtomicBool>,
    /// What is to be looked into.
    inbox: Arc<Inbox>,
}

impl Warden {
    /// `graceful`: how long a drain may take that the supervisor has not asked for.
    pub(crate) fn new(seat: Arc<WorkerSeat>, logs: Logs, graceful: Duration) -> io::Result<Self> {
        let pipe = WakePipe::new()?;
        Ok(Self {
            pipe,
            seat,
            logs,
            graceful,
            leave: Arc::default(),
            interrupted: Arc::default(),
            inbox: Inbox::new(pipe),
        })
    }

    /// Who takes the cases that the warden looks into.
    pub(crate) fn coroner(&self) -> Arc<dyn Coroner> {
        Arc::clone(&self.inbox) as Arc<dyn Coroner>
    }

    /// Who looks into them. `all`: every autopsy shows all threads.
    pub(crate) fn examiner(&self, all: bool) -> Examiner {
        Examiner::new(Arc::clone(&self.inbox), Arc::clone(&self.seat), Arc::clone(&self.logs.errors), all)
    }

    /// What the loop watches: the supervisor's orders, and the end of the supervisor.
    pub(crate) fn lifeline(&self) -> Box<dyn Watch> {
        Box::new(Lifeline {
            seat: Arc::clone(&self.seat),
            logs: self.logs.clone(),
            pipe: self.pipe,
            graceful: self.graceful,
            leave: Arc::clone(&self.leave),
            interrupted: Arc::clone(&self.interrupted),
            inbox: Arc::clone(&self.inbox),
            ended: false,
        })
    }

    /// Signals wake the warden from now on. SIGTERM drains, unless the application has a handler of its own for it.
    pub(crate) fn catch_signals(&self, interpreter: &dyn Interpreter) -> io::Result<()> {
        if interpreter.catch_signals(self.pipe)? {
            self.pipe.catch(SIGTERM)?;
        }
        // Without a limit on processor time nobody sends it.
        self.pipe.catch(SIGXCPU)
    }

    /// Watches until the server has ended. `beat` and `examine` are called while the interpreter's lock is held; the
    /// second looks into what takes too long. `late` is called once where the time to drain is nearly over, with what
    /// is left of it: at its end the supervisor kills this process.
    pub(crate) fn watch(
        &self,
        interpreter: &dyn Interpreter,
        control: &Control,
        beat: impl Fn(),
        mut examine: impl FnMut(),
        late: impl FnOnce(Duration),
    ) {
        let (mut late, mut ordered, mut spent) = (Some(late), None, false);
        loop {
            let leave = *self.leave.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut wakes, mut ended) = (Vec::new(), false);
            interpreter.apart(&mut || {
                wakes = self.pipe.wait(if leave.is_some() { LOOK } else { BEAT });
                ended = control.wait(Some(Duration::ZERO));
                // The kernel says so again each second.
                if wakes.contains(&Wake::Caught(SIGXCPU)) && !std::mem::replace(&mut spent, true) {
                    self.retire_spent();
                }
            });
            beat();
            examine();
            if let Some(leave) = leave {
                let now = Instant::now();
                let end = leave.checked_sub(MOMENT).unwrap_or(leave);
                let ordered = *ordered.get_or_insert(now);
                let margin = (end.saturating_duration_since(ordered) / 4).min(MARGIN);
                let left = end.saturating_duration_since(now);
                if left <= margin
                    && let Some(late) = late.take()
                {
                    late(left);
                }
            }
            if self.interrupted.swap(false, Ordering::AcqRel)
                && let Err(why) = interpreter.hook(Hook::Interrupted)
            {
                self.logs.errors.say(Level::Error, &why);
            }
            if wakes.contains(&Wake::Caught(SIGTERM)) {
                self.drain(control);
            }
            match interpreter.handle_signals() {
                Woken::GoOn => {}
                Woken::Leave => self.drain(control),
                Woken::Failed(traceback) => self.logs.errors.say(Level::Error, &traceback),
            }
            if ended || leave.is_some_and(|time| Instant::now() >= time) {
                return;
            }
        }
    }

    /// The processor time of `--rlimit-cpu` is used up: says where all threads are, and asks to be replaced. Does not
    /// wait for the interpreter's lock, which whoever uses it all may hold.
    fn retire_spent(&self) {
        let what = "cpu: the processor time of --rlimit-cpu is used up";
        // Without a supervisor it ends anyway.
        let _ = self.seat.retire(what);
        self.inbox.ask_for_stacks();
    }

    /// Somebody other than the supervisor wants this worker to go: it drains, and is replaced.
    fn drain(&self, control: &Control) {
        control.order(Order::Drain { within: self.graceful });
        set_leave(&self.leave, self.graceful);
        // The supervisor does not know of it, so nobody else would end a worker that hangs.
        let _ = process::end_after(self.graceful.saturating_add(LAST_THINGS));
    }
}

fn set_leave(leave: &Mutex<Option<Instant>>, within: Duration) {
    // The loop cuts what is late by itself; it gets a moment to do so.
    let time = Instant::now() + within.min(Duration::from_secs(366 * 86_400)) + MOMENT;
    let mut leave = leave.lock().unwrap_or_else(PoisonError::into_inner);
    *leave = Some(leave.map_or(time, |before| before.min(time)));
}

struct Lifeline {
    seat: Arc<WorkerSeat>,
    logs: Logs,
    pipe: &'static WakePipe,
    graceful: Duration,
    leave: Arc<Mutex<Option<Instant>>>,
    interrupted: Arc<AtomicBool>,
    inbox: Arc<Inbox>,
    ended: bool,
}

/// An order to stop.
enum Stop {
    Drain(Duration),
    Now,
}

impl Lifeline {
    /// The next order to stop; does at once what else was asked for.
    fn next(&self) -> io::Result<Option<Stop>> {
        while let Some(order) = self.seat.order()? {
            match order {
                ToWorker::Drain(within) => return Ok(Some(Stop::Drain(within))),
                ToWorker::StopNow => return Ok(Some(Stop::Now)),
                ToWorker::Reopen => self.logs.reopen(),
                ToWorker::LogLevel(rank) => self.logs.errors.set_level(rank),
                ToWorker::Stacks => self.inbox.ask_for_stacks(),
            }
        }
        Ok(None)
    }
}

impl AsFd for Lifeline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.seat.as_fd()
    }
}

impl Watch for Lifeline {
    fn ready(&mut self) -> Option<Order> {
        if self.ended {
            return None;
        }
        let (order, within) = match self.next() {
            Ok(None) => return None,
            Ok(Some(Stop::Drain(within))) => (Order::Drain { within }, within),
            Ok(Some(Stop::Now)) => {
                self.interrupted.store(true, Ordering::Release);
                (Order::Stop, AT_ONCE)
            }
            Err(_) => {
                // The supervisor is gone: what runs is finished, and nobody is left to end a worker that hangs.
                self.ended = true;
                let _ = process::end_after(self.graceful.saturating_add(LAST_THINGS));
                (Order::Drain { within: self.graceful }, self.graceful)
            }
        };
        set_leave(&self.leave, within);
        self.pipe.note(ORDERED);
        Some(order)
    }
}
