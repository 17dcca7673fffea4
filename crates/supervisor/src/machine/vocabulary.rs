//! The words of the machine: what it is told (events), what it says (actions), and what both are about.

use std::time::Duration;

use stdserve_sys::process::{Exit, Pid};

/// One template process; never used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(pub u64);

/// One worker process; never used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u64);

/// The workers of one listener set, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    /// What logs call it.
    pub name: String,
    /// How many workers.
    pub workers: usize,
}

impl GroupPlan {
    /// How many workers there can be at once, and so rows of the scoreboard: one more, which takes another's place.
    pub fn rows(&self) -> usize {
        self.workers + 1
    }
}

/// Times and counts of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long requests that run may take to end after SIGTERM. 30 s.
    pub graceful_timeout: Duration,
    /// How long workers that were told to stop at once may take. 3 s.
    pub stop_timeout: Duration,
    /// How long the kernel may take to end what was killed, before the supervisor leaves without it. 2 s.
    pub kill_timeout: Duration,
    /// A worker that dies within this time after its start died early. 5 s.
    pub first_moments: Duration,
    /// So many early deaths in a row end everything. 5.
    pub early_deaths: u32,
    /// How long a slot stays empty after one early death; doubled with each further one. 100 ms.
    pub back_off: Duration,
    /// The longest that a slot stays empty. 5 s.
    pub back_off_limit: Duration,
    /// Whether a hang-up (SIGHUP) ends, as it should where a terminal was closed.
    pub hangup_ends: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            graceful_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(3),
            kill_timeout: Duration::from_secs(2),
            first_moments: Duration::from_secs(5),
            early_deaths: 5,
            back_off: Duration::from_millis(100),
            back_off_limit: Duration::from_secs(5),
            hangup_ends: false,
        }
    }
}

/// A signal that came to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hangup,
    /// Any other, by number.
    Other(i32),
}

/// Who loads the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// A template that preloads it.
    Template(TemplateId),
    /// A worker.
    Worker(WorkerId),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The first event of all.
    Start,
    /// A signal came.
    Signal(Signal),
    /// The application of a group, by its place in the plan, is to be loaded anew.
    Reload(usize),
    /// [`Action::ForkTemplate`] was carried out.
    TemplateForked {
        /// Which.
        template: TemplateId,
        /// Its process.
        pid: Pid,
    },
    /// [`Action::ForkTemplate`] failed.
    TemplateForkFailed {
        /// Which.
        template: TemplateId,
        /// Why, for the log.
        reason: String,
    },
    /// A template can fork workers.
    TemplateReady(TemplateId),
    /// A worker was forked; it goes on only after this was sent.
    WorkerForked {
        /// Which.
        worker: WorkerId,
        /// Its process.
        pid: Pid,
    },
    /// A template could not fork a worker.
    WorkerForkFailed {
        /// Which.
        worker: WorkerId,
        /// Why, for the log.
        reason: String,
    },
    /// A worker accepts connections.
    WorkerReady(WorkerId),
    /// The application could not be loaded; whoever tried ends with code 4.
    LoadFailed {
        /// Who tried.
        who: Loader,
        /// Why: the application's own traceback, for the log.
        why: String,
    },
    /// A child, or an orphan, ended.
    ProcessEnded {
        /// Its process; not always one of ours.
        pid: Pid,
        /// How.
        exit: Exit,
    },
    /// A deadline may have passed.
    Tick,
}

/// How a worker is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopHow {
    /// Accept no more, finish what runs and what is queued.
    Graceful {
        /// Within this time; afterwards it is killed.
        within: Duration,
    },
    /// Leave at once.
    Now,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Helps to find an error.
    Debug,
    /// What an operator wants to know.
    Info,
    /// May need a look.
    Warning,
    /// Something failed.
    Error,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fork a template from the supervisor.
    ForkTemplate {
        /// The group, by its place in the plan.
        group: usize,
        /// What it is called from now on.
        template: TemplateId,
        /// Which load of the application it makes.
        generation: u64,
    },
    /// The end has begun: workers that drain accept what is queued, and nobody else shall queue. Said once.
    CloseListeners,
    /// Say to a template that nothing more is asked of it: it ends by itself.
    CloseTemplate(TemplateId),
    /// Ask a template for a worker.
    Spawn {
        /// Whom to ask.
        template: TemplateId,
        /// What the worker is called from now on.
        worker: WorkerId,
        /// Its slot: unique over all groups, the row of the scoreboard.
        slot: usize,
        /// Which load of the application it serves.
        generation: u64,
    },
    /// Tell a worker to stop.
    Stop {
        /// Which.
        worker: WorkerId,
        /// Its process, for where it cannot be told.
        pid: Pid,
        /// How.
        how: StopHow,
    },
    /// Send SIGTERM: to a process that does not look at its channel yet.
    Terminate(Pid),
    /// Send SIGKILL.
    Kill(Pid),
    /// A worker has ended: its channel and its row are free.
    Forget {
        /// Which.
        worker: WorkerId,
        /// Its slot.
        slot: usize,
    },
    /// Write a log line.
    Log(Level, String),
    /// All workers were ready for the first time.
    Ready,
    /// End with this code. Nothing follows.
    Exit(i32),
}
