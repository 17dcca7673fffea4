//! A worker group: its template, and the slots of its workers.

use std::time::Instant;

use stdserve_sys::process::Pid;

use super::{GroupPlan, TemplateId, WorkerId};

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
    pub(super) pid: Option<Pid>,
    pub(super) state: WorkerState,
    /// When it was asked for, then when it was forked.
    pub(super) since: Instant,
    /// It has outlived its first moments.
    pub(super) credited: bool,
}

impl Worker {
    pub(super) fn asked(id: WorkerId, now: Instant) -> Self {
        Self { id, pid: None, state: WorkerState::Asked, since: now, credited: false }
    }
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
    /// Which load of the application the next template makes.
    pub(super) generation: u64,
    pub(super) template: Template,
    pub(super) slots: Vec<Slot>,
    /// The number of its first slot, counted over all groups.
    pub(super) first_slot: usize,
    /// A worker of this group has been ready: the application can be loaded.
    pub(super) had_ready: bool,
}

impl Group {
    pub(super) fn new(plan: &GroupPlan, first_slot: usize) -> Self {
        Self {
            name: plan.name.clone(),
            generation: 1,
            template: Template::None { not_before: None },
            slots: std::iter::repeat_with(Slot::default).take(plan.workers).collect(),
            first_slot,
            had_ready: false,
        }
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().filter_map(|slot| slot.worker.as_ref())
    }

    pub(super) fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.slots.iter_mut().filter_map(|slot| slot.worker.as_mut())
    }

    pub(super) fn is_ready(&self) -> bool {
        self.workers().filter(|worker| worker.state == WorkerState::Ready).count() == self.slots.len()
    }

    /// When something can be asked for that cannot be asked for now.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.template {
            Template::None { not_before } => not_before,
            // Slots wait for the template.
            Template::Asked(_) | Template::Booting(..) => None,
            Template::Ready(..) => {
                let empty = self.slots.iter().filter(|slot| slot.worker.is_none());
                empty.filter_map(|slot| slot.not_before).min()
            }
        }
    }

    /// Gives up the workers that were asked for and have no process.
    pub(super) fn drop_asked(&mut self, now: Instant) -> Vec<(usize, WorkerId)> {
        let mut dropped = Vec::new();
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if let Some(worker) = &slot.worker
                && worker.state == WorkerState::Asked
            {
                dropped.push((self.first_slot + place, worker.id));
                slot.empty(now);
            }
        }
        dropped
    }

    /// No process and none to come.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.template, Template::None { .. }) && self.workers().next().is_none()
    }
}
