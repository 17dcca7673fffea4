//! The words of the machine: what it is told (events), what it says (actions), and what both are about.

use std::time::Duration;

use stdserve_sys::process::{Exit, Pid};

use super::GroupPlan;
use crate::messages::ToWorker;

/// One template process; never used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(pub u64);

/// One worker process; never used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u64);

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
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGTTIN.
    TtyIn,
    /// SIGTTOU.
    TtyOut,
    /// SIGWINCH.
    Winch,
    /// Any other, by number.
    Other(i32),
}

/// How many workers a group is to have from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleTo {
    /// So many more, or fewer.
    By(i32),
    /// So many.
    To(usize),
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
    /// The application of a group, by its place in the plan, is to be loaded anew, with the settings that it has.
    Reload(usize),
    /// The configuration is to be read again, and all groups loaded anew with it: what SIGHUP does, wherever that
    /// does not end.
    Reconfigure,
    /// [`Action::Configure`] was carried out.
    Configured(Configured),
    /// [`Action::Configure`] failed.
    ConfigureFailed(String),
    /// A group, by its place in the plan, is to have another number of workers: at least one, and at most as many as
    /// there is room for.
    Scale {
        /// Which.
        group: usize,
        /// How many.
        workers: ScaleTo,
    },
    /// The worker that has this process is to be replaced. What has another one, or is no worker of ours, is not.
    Drain(Pid),
    /// A new server is to be executed beside this one, as SIGUSR2 has it.
    Upgrade {
        /// This one ends when that one is ready.
        replace: bool,
    },
    /// [`Action::Execute`] was carried out: the new server's process.
    SuccessorExecuted(Pid),
    /// [`Action::Execute`] failed.
    SuccessorFailed(String),
    /// What the new server complains of while it starts.
    SuccessorSaid(String),
    /// The new server serves.
    SuccessorReady,
    /// The server that this one replaces has ended.
    PredecessorEnded,
    /// All workers are to leave, and none to come until the next reload or scaling: the supervisor stays.
    Pause,
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
    /// A worker wants to be replaced; it goes on until it is told to drain.
    Retire {
        /// Which.
        worker: WorkerId,
        /// Why: a word for the figures (`timeout`), where wanted followed by a colon and more for the log.
        why: String,
    },
    /// What a worker uses, as seen from outside, once a second.
    Measured {
        /// Which.
        worker: WorkerId,
        /// Requests answered since its start.
        requests: u64,
        /// Resident memory, in bytes.
        rss: u64,
        /// For how long the interpreter's lock could not be had while requests ran.
        stuck: Duration,
    },
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

/// What was read anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// All groups: as many as at the start, in that order. Their rows stay what they were.
    pub plans: Vec<GroupPlan>,
    /// [`Policy::graceful_timeout`](super::Policy::graceful_timeout).
    pub graceful_timeout: Duration,
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
    /// Tell a worker something that is no order to stop. One that does not listen is none the wiser.
    Tell {
        /// Which.
        worker: WorkerId,
        /// What.
        message: ToWorker,
    },
    /// Have the stacks of a worker's threads written whose interpreter's lock cannot be had.
    Autopsy {
        /// Which.
        worker: WorkerId,
        /// Its process.
        pid: Pid,
    },
    /// Open the supervisor's own log files again by their paths.
    Reopen,
    /// Read the configuration again, and keep it ready for [`Action::Adopt`]. [`Event::Configured`] or
    /// [`Event::ConfigureFailed`] says how that went.
    Configure,
    /// The settings that were read last are those of this load of a group, and of later ones.
    Adopt {
        /// The group, by its place in the plan.
        group: usize,
        /// Which load.
        generation: u64,
    },
    /// This load of a group serves, or serves on: the settings of all others are needed no more.
    Keep {
        /// The group, by its place in the plan.
        group: usize,
        /// Which load.
        generation: u64,
    },
    /// Execute a new server, with the listeners. [`Event::SuccessorExecuted`] or [`Event::SuccessorFailed`] says how
    /// that went.
    Execute,
    /// The end has begun, and this server goes on: whoever watches this process is to watch that one. Said before
    /// [`Action::CloseListeners`].
    Announce(Pid),
    /// The last but for [`Action::Exit`]: what only one server can have (files of sockets, the pid file) is left to the
    /// one that goes on.
    HandOver,
    /// What only one server can have is this one's: the one that it replaces has ended.
    Inherit,
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
