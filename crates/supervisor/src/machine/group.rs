//! A worker group: its template, and the slots of its workers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use stdserve_sys::process::Pid;

use super::{Cause, GroupPlan, Limits, TemplateId, WorkerId};

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
    /// After so many requests it is to be replaced.
    pub(super) quota: Option<u64>,
    /// After this time as well.
    pub(super) lifetime: Option<Duration>,
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
    /// `draw`: a random number, by which its limits differ from those of others.
    pub(super) fn asked(
        id: WorkerId,
        template: TemplateId,
        generation: u64,
        limits: &Limits,
        draw: u64,
        now: Instant,
    ) -> Self {
        Self {
            id,
            template,
            generation,
            pid: None,
            state: WorkerState::Asked,
            due: None,
            leaving: None,
            since: now,
            credited: false,
            quota: limits.quota(draw),
            lifetime: limits.life(draw),
        }
    }

    /// It serves, and nothing has been decided about it.
    pub(super) fn is_settled(&self) -> bool {
        self.state == WorkerState::Ready && self.due.is_none() && self.leaving.is_none()
    }

    /// When its time is over, where nothing else has been decided.
    pub(super) fn end_of_life(&self) -> Option<Instant> {
        self.lifetime.filter(|_| self.is_settled()).map(|lifetime| self.since + lifetime)
    }

    /// Whether it takes up room beside those that serve: what was killed, or is about to be, is as good as gone.
    pub(super) fn takes_room(&self) -> bool {
        match self.leaving {
            None => true,
            Some(Leaving::Until(_)) => self.due != Some(Cause::Stuck),
            Some(Leaving::Killed) => false,
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
    /// How many workers there should be, once it serves.
    pub(super) wanted: usize,
    /// When its workers are replaced.
    pub(super) limits: Limits,
}

/// A place for a worker.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) worker: Option<Worker>,
    not_before: Option<Instant>,
}

impl Slot {
    pub(super) fn is_free(&self) -> bool {
        self.worker.is_none() && self.not_before.is_none()
    }

    pub(super) fn fill(&mut self, worker: Worker) {
        *self = Self { worker: Some(worker), not_before: None };
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
    /// How many workers there should be; none while it is paused.
    pub(super) wanted: usize,
    /// How many there were to be when the settings were read.
    pub(super) configured: usize,
    /// The most that there may be.
    pub(super) most: usize,
    /// When workers are replaced.
    pub(super) limits: Limits,
    /// More than are ever wanted: for the workers that take another's place.
    pub(super) slots: Vec<Slot>,
    /// No worker is asked for before this time to take another's place: the last one failed.
    pub(super) no_spare_before: Option<Instant>,
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
            wanted: plan.workers.min(plan.most()),
            configured: plan.workers.min(plan.most()),
            most: plan.most(),
            limits: plan.limits.clone(),
            slots: std::iter::repeat_with(Slot::default).take(plan.rows).collect(),
            no_spare_before: None,
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

    /// How many workers that are to stay serve.
    pub(super) fn ready(&self) -> usize {
        self.staying().filter(|worker| worker.state == WorkerState::Ready).count()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready() >= self.wanted
    }

    /// What was to wait until now waits no more.
    pub(super) fn forget_past(&mut self, now: Instant) {
        let times = self.slots.iter_mut().map(|slot| &mut slot.not_before).chain([&mut self.no_spare_before]);
        for time in times {
            *time = time.filter(|time| *time > now);
        }
    }

    /// Whether workers are missing that may be asked for now. A slot that is kept empty for a while counts as taken:
    /// another one is not for what has failed.
    pub(super) fn is_short(&self) -> bool {
        let kept = self.slots.iter().filter(|slot| slot.not_before.is_some()).count();
        self.staying().count() + kept < self.wanted
    }

    /// A slot that can take a worker now.
    pub(super) fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(Slot::is_free)
    }

    /// A slot for a worker that is to take another's place: there is one such at a time, the one that leaves counted.
    pub(super) fn spare_slot(&self) -> Option<usize> {
        let tried = self.next.as_ref().and_then(|next| next.worker);
        let taken = self.workers().filter(|worker| worker.takes_room() && Some(worker.id) != tried).count();
        self.free_slot().filter(|_| self.no_spare_before.is_none() && taken <= self.wanted)
    }

    /// A worker has gone from this place. After `wait` another may be asked for.
    pub(super) fn vacate(&mut self, place: usize, wait: Duration, now: Instant) {
        self.slots[place] = Slot::default();
        if wait.is_zero() {
        } else if self.staying().count() < self.wanted {
            self.slots[place].not_before = Some(now + wait);
        } else {
            self.no_spare_before = Some(now + wait);
        }
    }

    /// Counts a worker that has ended, or never began.
    pub(super) fn count(&mut self, cause: Cause) {
        // Words of workers' own are not made up without end.
        let is_new = matches!(cause, Cause::Retired(_)) && !self.restarts.contains_key(&cause);
        let cause = if is_new && self.restarts.len() >= 32 { Cause::retired("") } else { cause };
        *self.restarts.entry(cause).or_default() += 1;
    }

    /// The templates that there are: that of the present load, one that is tried, and those that leave.
    pub(super) fn templates(&self) -> impl Iterator<Item = Template> {
        let retired = self.retired.iter().map(|(id, pid)| Template::Ready(*id, *pid));
        [Some(self.template), self.next.as_ref().map(|next| next.template)]
            .into_iter()
            .flatten()
            .chain(retired)
    }

    /// When something is due that is not due yet.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let leaving = self.workers().filter_map(|worker| match (worker.leaving, worker.pid) {
            (Some(Leaving::Until(time)), Some(_)) => Some(time),
            // One that is still to be forked cannot be killed.
            _ => None,
        });
        let ends = self.staying().filter_map(Worker::end_of_life);
        let filled = match self.template {
            Template::None { not_before } => not_before,
            // Slots wait for the template.
            Template::Asked(_) | Template::Booting(..) => None,
            Template::Ready(..) => {
                let kept = self.slots.iter().filter_map(|slot| slot.not_before);
                kept.chain(self.no_spare_before).min()
            }
        };
        leaving.chain(ends).chain(filled).min()
    }

    /// Gives up the workers that this template was asked for and that have no process.
    pub(super) fn drop_asked(&mut self, template: TemplateId) -> Vec<(usize, WorkerId)> {
        let mut dropped = Vec::new();
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if let Some(worker) = &slot.worker
                && worker.state == WorkerState::Asked
                && worker.template == template
            {
                dropped.push((self.first_slot + place, worker.id));
                *slot = Slot::default();
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
