//! What the machine knows, as plain data: for figures, status pages and the service manager.

use std::ops::Range;
use std::time::Instant;

use stdserve_sys::process::Pid;

use super::group::{Leaving, Template, WorkerState};
use super::{Cause, Machine, WorkerId};

/// The state of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether all wanted workers are ready, there are some, and none of it is ending.
    pub ready: bool,
    /// Whether it is ending.
    pub draining: bool,
    /// The groups, in the order of the plan.
    pub groups: Vec<GroupReport>,
}

/// The state of a worker group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupReport {
    /// What logs call it.
    pub name: String,
    /// Which load of the application serves.
    pub generation: u64,
    /// A load that is being tried beside it.
    pub loading: Option<u64>,
    /// How many workers there should be.
    pub wanted: usize,
    /// Its rows of the scoreboard.
    pub slots: Range<usize>,
    /// The process that forks its workers, where it has one at the moment.
    pub template: Option<Pid>,
    /// Whether that can fork.
    pub template_ready: bool,
    /// The workers, by slot.
    pub workers: Vec<WorkerReport>,
    /// How many workers have ended since the start, by cause. Those that the end of the server has ended do not count.
    pub restarts: Vec<(Cause, u64)>,
}

/// The state of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerReport {
    /// The supervisor's name for it.
    pub id: WorkerId,
    /// Its process; none while it is being forked.
    pub pid: Option<Pid>,
    /// Its row of the scoreboard.
    pub slot: usize,
    /// What it does.
    pub state: Doing,
    /// When it was forked, or asked for.
    pub since: Instant,
    /// Which load of the application it serves.
    pub generation: u64,
    /// Why it is to leave, or leaves.
    pub leaves: Option<Cause>,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It is being forked.
    Asked,
    /// It loads the application.
    Booting,
    /// It serves.
    Ready,
    /// It was told to leave.
    Draining,
    /// It did not leave in time and was killed.
    Killed,
}

impl Doing {
    /// In one word: `asked`, `booting`, `ready`, `draining`, `killed`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Booting => "booting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Killed => "killed",
        }
    }
}

impl Machine {
    /// The state of everything.
    pub fn report(&self) -> Report {
        let draining = self.ending.is_some() || self.ended;
        Report {
            ready: self.is_ready() && self.serving() > 0,
            draining,
            groups: self.groups.iter().map(|group| group_report(group, draining)).collect(),
        }
    }
}

impl Machine {
    /// The process of a worker, where it has one.
    pub fn pid_of(&self, id: WorkerId) -> Option<Pid> {
        self.groups.iter().flat_map(super::Group::workers).find(|worker| worker.id == id)?.pid
    }
}

fn group_report(group: &super::Group, ending: bool) -> GroupReport {
    let worker = |(place, slot): (usize, &super::group::Slot)| {
        let worker = slot.worker.as_ref()?;
        let state = match (worker.leaving, worker.state) {
            (Some(Leaving::Killed), _) => Doing::Killed,
            (None, WorkerState::Ready) if ending => Doing::Draining,
            (None, WorkerState::Ready) => Doing::Ready,
            (Some(Leaving::Until(_)), _) => Doing::Draining,
            (None, WorkerState::Asked) => Doing::Asked,
            (None, WorkerState::Booting) => Doing::Booting,
        };
        Some(WorkerReport {
            id: worker.id,
            pid: worker.pid,
            slot: group.first_slot + place,
            state,
            since: worker.since,
            generation: worker.generation,
            leaves: worker.due.clone(),
        })
    };
    GroupReport {
        name: group.name.clone(),
        generation: group.generation,
        loading: group.next.as_ref().map(|next| next.generation),
        wanted: group.wanted,
        slots: group.first_slot..group.first_slot + group.slots.len(),
        template: group.template.pid(),
        template_ready: matches!(group.template, Template::Ready(..)),
        workers: group.slots.iter().enumerate().filter_map(worker).collect(),
        restarts: group.restarts.iter().map(|(cause, count)| (cause.clone(), *count)).collect(),
    }
}
