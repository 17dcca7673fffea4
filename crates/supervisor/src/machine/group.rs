//! A worker group: its template, and the slots of its workers.

use std::collections::BTreeMap;
use std::time::Instant;

use stdserve_sys::process::Pid;

use super::{Cause, GroupPlan, TemplateId, WorkerId};

/// Where a group's template stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    /// There is none; a new one is due at `not_before`, or at once.
    None { not_before: Option<Instant> },
    /// It is being forked.
    Asked(TemplateId),
    /// It runs, and may be importing.
    Booting(TemplateId, Pid),
    /// It forks workers.
    Ready(TemplateId, Pid),
}

impl Template {
    pub(super) fn id(self) -> Option<TemplateId> {
        match self {
            Self::None { .. } => None,
            Self::Asked(id) | Self::Booting(id, _) | Self::Ready(id, _) => Some(id),
        }
    }

    pub(super) fn pid(self) -> Option<Pid> {
        match self {
            Self::None { .. } | Self::Asked(_) => None,
            Self::Booting(_, pid) | Self::Ready(_, pid) => Some(pid),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerState {
    /// The template was asked for it.
    Asked,
    /// It has a process, which is loading the application.
    Booting,
    /// It serves.
    Ready,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    /// Who forks it.
    pub(super) template: TemplateId,
    /// Which load of the application it serves.
    pub(super) generation: u64,
    pub(super) pid: Option<Pid>,
    pub(super) state: WorkerState,
    /// Why it is to leave, once another can take its place; or why it leaves.
    pub(super) due: Option<Cause>,
    /// It was told to leave, since another takes its place.
    pub(super) leaving: Option<Leaving>,
    /// When it was asked for, then when it was forked.
    pub(super) since: Instant,
    /// It has outlived its first moments.
    pub(super) credited: bool,
}

/// How far a worker is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It is killed at this time.
    Until(Instant),
    /// It was killed.
    Killed,
}

impl Worker {
    pub(super) fn asked(id: WorkerId, template: TemplateId, generation: u64, now: Instant) -> Self {
        let state = WorkerState::Asked;
        Self {
            id,
            template,
            generation,
            pid: None,
            state,
            due: None,
            leaving: None,
            since: now,
            credited: false,
        }
    }
}

/// A load of the application that is tried while the one before it serves.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) generation: u64,
    pub(super) template: Template,
    /// The worker that it is tried with.
    pub(super) worker: Option<WorkerId>,
}

/// A place for a worker.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) worker: Option<Worker>,
    not_before: Option<Instant>,
}

impl Slot {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.worker.is_none() && self.not_before.is_none_or(|time| time <= now)
    }

    pub(super) fn fill(&mut self, worker: Worker) {
        *self = Self { worker: Some(worker), not_before: None };
    }

    pub(super) fn empty(&mut self, not_before: Instant) {
        *self = Self { worker: None, not_before: Some(not_before) };
    }
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    /// Which load of the application its template makes.
    pub(super) generation: u64,
    /// The newest load that was ever tried.
    pub(super) newest: u64,
    pub(super) template: Template,
    /// A load that is tried, while this one serves.
    pub(super) next: Option<Next>,
    /// Templates that another has taken the place of, until they have ended.
    pub(super) retired: Vec<(TemplateId, Pid)>,
    /// How many workers there should be.
    pub(super) wanted: usize,
    /// One more than that: for the worker that takes another's place.
    pub(super) slots: Vec<Slot>,
    /// The number of its first slot, counted over all groups.
    pub(super) first_slot: usize,
    /// Early deaths in a row.
    pub(super) early: u32,
    /// A worker of this group has been ready: the application can be loaded.
    pub(super) had_ready: bool,
    /// How many workers have ended, by cause.
    pub(super) restarts: BTreeMap<Cause, u64>,
}

impl Group {
    pub(super) fn new(plan: &GroupPlan, first_slot: usize) -> Self {
        Self {
            name: plan.name.clone(),
            generation: 1,
            newest: 1,
            template: Template::None { not_before: None },
            next: None,
            retired: Vec::new(),
            wanted: plan.workers,
            slots: std::iter::repeat_with(Slot::default).take(plan.rows).collect(),
            first_slot,
            early: 0,
            had_ready: false,
            restarts: BTreeMap::new(),
        }
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().filter_map(|slot| slot.worker.as_ref())
    }

    pub(super) fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.slots.iter_mut().filter_map(|slot| slot.worker.as_mut())
    }

    /// The workers that are to stay, but for one that a load is tried with.
    pub(super) fn staying(&self) -> impl Iterator<Item = &Worker> {
        let tried = self.next.as_ref().and_then(|next| next.worker);
        self.workers().filter(move |worker| worker.leaving.is_none() && Some(worker.id) != tried)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.staying().filter(|worker| worker.state == WorkerState::Ready).count() >= self.wanted
    }

    /// Whether workers are missing that may be asked for now. A slot that is kept empty for a while counts as taken:
    /// the spare one is not for what has failed.
    pub(super) fn is_short(&self, now: Instant) -> bool {
        let kept = self.slots.iter().filter(|slot| slot.worker.is_none() && !slot.is_due(now)).count();
        self.staying().count() + kept < self.wanted
    }

    /// The templates that there are: that of the present load, one that is tried, and those that leave.
    pub(super) fn templates(&self) -> impl Iterator<Item = Template> {
        let retired = self.retired.iter().map(|(id, pid)| Template::Ready(*id, *pid));
        [Some(self.template), self.next.as_ref().map(|next| next.template)]
            .into_iter()
            .flatten()
            .chain(retired)
    }

    /// When something can be asked for that cannot be asked for now.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let leaving = self.workers().filter_map(|worker| match worker.leaving {
            Some(Leaving::Until(time)) => Some(time),
            _ => None,
        });
        let filled = match self.template {
            Template::None { not_before } => not_before,
            // Slots wait for the template.
            Template::Asked(_) | Template::Booting(..) => None,
            Template::Ready(..) => {
                let empty = self.slots.iter().filter(|slot| slot.worker.is_none());
                let full = self.staying().count() >= self.wanted;
                empty.filter_map(|slot| slot.not_before).min().filter(|_| !full)
            }
        };
        leaving.chain(filled).min()
    }

    /// Gives up the workers that this template was asked for and that have no process.
    pub(super) fn drop_asked(&mut self, template: TemplateId, now: Instant) -> Vec<(usize, WorkerId)> {
        let mut dropped = Vec::new();
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if let Some(worker) = &slot.worker
                && worker.state == WorkerState::Asked
                && worker.template == template
            {
                dropped.push((self.first_slot + place, worker.id));
                slot.empty(now);
            }
        }
        dropped
    }

    /// No process and none to come.
    pub(super) fn is_gone(&self) -> bool {
        self.templates().all(|template| matches!(template, Template::None { .. }))
            && self.workers().next().is_none()
    }
}
