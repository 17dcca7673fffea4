//! What the supervisor decides, as a pure machine: `handle(event, now)` gives actions.
//!
//! A **group** has one template and a number of slots; a **slot** is a place for a worker, which is filled again when
//! its worker ends. Five rules:
//!
//! - While it runs, every empty slot is filled as soon as the template can and the back-off allows.
//! - Workers that die in their first moments are counted; enough in a row in one group end everything with code 3,
//!   unless all groups were ready once and another still serves. One that could
//!   not load the application before any other did ends everything with code 4.
//! - A reload concerns one group: the new load is tried with one worker beside those that serve, which are replaced
//!   one by one once it serves, and stay if it cannot.
//! - Whoever is to leave while the others serve on (an old load, a limit, a worker's own wish) goes on until another
//!   is ready in its place; one at a time in a group.
//! - Once it is ending it only ever becomes more impatient (gracefully, at once, by SIGKILL), each step has a
//!   deadline, and the last one ends without waiting for anybody.

mod cause;
mod ending;
mod group;
mod plan;
mod reload;
mod replace;
mod report;
#[cfg(test)]
mod tests;
mod upgrade;
mod vocabulary;

use std::time::{Duration, Instant};

use stdserve_sys::process::{Exit, Pid};
use stdserve_sys::signals::SIGKILL;

use crate::exit_code;
pub use cause::Cause;
use ending::Ending;
use group::{Group, Template, Worker, WorkerState};
pub use plan::{GroupPlan, Limits, Policy};
pub use report::{Doing, GroupReport, Report, WorkerReport};
use upgrade::Succession;
pub use vocabulary::{
    Action, Configured, Event, Level, Loader, ScaleTo, Signal, StopHow, TemplateId, WorkerId,
};

/// The machine.
#[derive(Debug)]
pub struct Machine {
    policy: Policy,
    groups: Vec<Group>,
    next_id: u64,
    /// Where the next random number comes from.
    random: u64,
    was_ready: bool,
    ending: Option<Ending>,
    succession: Succession,
    ended: bool,
}

impl Machine {
    /// A machine that has not started.
    pub fn new(plans: &[GroupPlan], policy: Policy) -> Self {
        let mut first_slot = 0;
        let groups = plans
            .iter()
            .map(|plan| {
                let group = Group::new(plan, first_slot);
                first_slot += plan.rows;
                group
            })
            .collect();
        let (random, succession) = (policy.seed, Succession::new(policy.replaces));
        Self { policy, groups, next_id: 0, random, was_ready: false, ending: None, succession, ended: false }
    }

    /// Takes in what happened at `now` and says what is to be done.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.ended {
            return actions;
        }
        for group in &mut self.groups {
            group.forget_past(now);
        }
        self.credit_survivors(now);
        self.note_the_old(now, &mut actions);
        match event {
            Event::Start | Event::Tick => {}
            Event::Upgrade { replace } => self.upgrade(replace, &mut actions),
            Event::SuccessorExecuted(pid) => self.successor_executed(pid),
            Event::SuccessorFailed(why) => self.successor_failed(&why, &mut actions),
            Event::SuccessorSaid(text) => {
                actions.push(Action::Log(Level::Error, format!("the new server: {text}")));
            }
            Event::SuccessorReady => self.successor_ready(now, &mut actions),
            Event::PredecessorEnded => self.predecessor_ended(&mut actions),
            Event::Signal(signal) => self.signal(signal, now, &mut actions),
            Event::Reload(index) => self.reload(index, None, now, &mut actions),
            Event::Reconfigure => self.reconfigure(&mut actions),
            Event::Configured(settings) => self.configured(&settings, now, &mut actions),
            Event::ConfigureFailed(why) => {
                let text = format!("nothing is reloaded: the configuration cannot be used\n{why}");
                actions.push(Action::Log(Level::Error, text));
            }
            Event::Scale { group, workers } => self.scale(group, workers, &mut actions),
            Event::Pause => self.pause(now, &mut actions),
            Event::Drain(pid) => self.drain(pid, &mut actions),
            Event::Retire { worker, why } => self.retire_worker(worker, &why, &mut actions),
            Event::Measured { worker, requests, rss, stuck } => {
                self.measured(worker, requests, rss, stuck, &mut actions);
            }
            Event::TemplateForked { template, pid } => self.template_forked(template, pid, &mut actions),
            Event::TemplateForkFailed { template, reason } => {
                self.template_fork_failed(template, &reason, now, &mut actions);
            }
            Event::TemplateReady(template) => self.template_ready(template),
            Event::WorkerForked { worker, pid } => self.worker_forked(worker, pid, now, &mut actions),
            Event::WorkerForkFailed { worker, reason } => {
                self.worker_fork_failed(worker, &reason, now, &mut actions);
            }
            Event::WorkerReady(worker) => self.worker_ready(worker, now, &mut actions),
            Event::LoadFailed { who, why } => self.load_failed(who, why, now, &mut actions),
            Event::ProcessEnded { pid, exit } => self.process_ended(pid, exit, now, &mut actions),
        }
        if self.ending.is_some() {
            self.press_on(now, &mut actions);
        } else {
            self.fill(now, &mut actions);
            if !self.was_ready && self.is_ready() && self.serving() > 0 {
                self.was_ready = true;
                actions.push(Action::Ready);
            }
        }
        actions
    }

    /// When [`Event::Tick`] is due next; `None`: only events count.
    pub fn deadline(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        match &self.ending {
            Some(ending) => Some(ending.deadline),
            None => self.groups.iter().filter_map(Group::deadline).min(),
        }
    }

    /// Whether all wanted workers are ready, and none of it is ending.
    pub fn is_ready(&self) -> bool {
        self.ending.is_none() && !self.ended && self.groups.iter().all(Group::is_ready)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A random number (Steele and others, "Fast splittable pseudorandom number generators": `SplitMix64`).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A worker that has outlived its first moments ends its group's row of early deaths.
    fn credit_survivors(&mut self, now: Instant) {
        let moments = self.policy.first_moments;
        for group in &mut self.groups {
            let mut survived = false;
            for worker in group.workers_mut() {
                if worker.state == WorkerState::Ready && !worker.credited && now >= worker.since + moments {
                    worker.credited = true;
                    survived = true;
                }
            }
            if survived {
                group.early = 0;
            }
        }
    }

    /// Asks for whatever is missing and due.
    fn fill(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for index in 0..self.groups.len() {
            if let Template::None { not_before } = self.groups[index].template
                && not_before.is_none_or(|time| time <= now)
            {
                let template = TemplateId(self.id());
                let group = &mut self.groups[index];
                group.template = Template::Asked(template);
                let generation = group.generation;
                actions.push(Action::ForkTemplate { group: index, template, generation });
            }
            self.kill_the_late(index, now, actions);
            self.go_on_reloading(index, now, actions);
            self.replace(index, now, actions);
            self.fill_slots(index, now, actions);
        }
    }

    /// Asks for the workers of a group that are missing.
    fn fill_slots(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
        let Template::Ready(template, _) = self.groups[index].template else { return };
        while self.groups[index].is_short()
            && let Some(place) = self.groups[index].free_slot()
        {
            let generation = self.groups[index].generation;
            self.spawn(index, place, template, generation, now, actions);
        }
    }

    /// Asks for a worker in an empty slot.
    fn spawn(
        &mut self,
        index: usize,
        place: usize,
        template: TemplateId,
        generation: u64,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> WorkerId {
        let (worker, draw) = (WorkerId(self.id()), self.draw());
        let group = &mut self.groups[index];
        let tried = group.next.as_ref().filter(|next| next.generation == generation);
        let limits = tried.map_or(&group.limits, |next| &next.limits);
        let asked = Worker::asked(worker, template, generation, limits, draw, now);
        group.slots[place].fill(asked);
        actions.push(Action::Spawn { template, worker, slot: group.first_slot + place, generation });
        worker
    }

    fn template_forked(&mut self, template: TemplateId, pid: Pid, actions: &mut Vec<Action>) {
        let Some(place) = self.template(template) else {
            // It was given up in between.
            actions.push(Action::Kill(pid));
            return;
        };
        *place = Template::Booting(template, pid);
        if let Some(ending) = &self.ending {
            ending.dismiss_template(template, pid, false, actions);
        }
    }

    fn template_fork_failed(
        &mut self,
        template: TemplateId,
        reason: &str,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(index) = self.index_of(template) else { return };
        actions
            .push(Action::Log(Level::Error, format!("the template process could not be started: {reason}")));
        if self.groups[index].is_tried(template) {
            return self.give_up_reload(index, now, actions);
        }
        let wait = self.count_failure(index, now, actions);
        self.groups[index].template = Template::None { not_before: Some(now + wait) };
    }

    fn template_ready(&mut self, template: TemplateId) {
        if let Some(place) = self.template(template)
            && let Template::Booting(id, pid) = *place
        {
            *place = Template::Ready(id, pid);
        }
    }

    fn worker_forked(&mut self, worker: WorkerId, pid: Pid, now: Instant, actions: &mut Vec<Action>) {
        let Some(found) = self.worker(worker) else {
            // Its template was given up in between: it is nobody's.
            actions.push(Action::Kill(pid));
            return;
        };
        found.pid = Some(pid);
        found.since = now;
        if found.state == WorkerState::Asked {
            found.state = WorkerState::Booting;
        }
        let leaves = found.leaving.is_some();
        if let Some(ending) = &self.ending {
            ending.dismiss_worker(worker, pid, false, now, actions);
        } else if leaves {
            // Its load was given up in between; it serves nobody yet.
            actions.push(Action::Terminate(pid));
        }
    }

    fn worker_fork_failed(
        &mut self,
        worker: WorkerId,
        reason: &str,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some((index, place)) = self.place_of(|found| found.id == worker) else { return };
        actions.push(Action::Log(Level::Error, format!("a worker could not be started: {reason}")));
        let tried = self.groups[index].is_tried_with(worker);
        // Short of processes or memory: no reason to end what serves already.
        let serving =
            self.groups.iter_mut().flat_map(Group::workers_mut).any(|w| w.state == WorkerState::Ready);
        let wait = if serving { self.policy.back_off_limit } else { self.count_failure(index, now, actions) };
        let group = &mut self.groups[index];
        group.vacate(place, wait, now);
        group.count(Cause::Early);
        actions.push(Action::Forget { worker, slot: group.first_slot + place });
        if tried {
            self.give_up_reload(index, now, actions);
        }
    }

    fn worker_ready(&mut self, worker: WorkerId, now: Instant, actions: &mut Vec<Action>) {
        let Some((index, place)) = self.place_of(|found| found.id == worker) else { return };
        let group = &mut self.groups[index];
        group.had_ready = true;
        if let Some(worker) = &mut group.slots[place].worker {
            worker.state = WorkerState::Ready;
        }
        if self.groups[index].is_tried_with(worker) {
            self.take_next(index, now, actions);
        }
    }

    fn load_failed(&mut self, who: Loader, why: String, now: Instant, actions: &mut Vec<Action>) {
        // All workers fail alike: the first one's traceback is enough.
        if self.ending.is_some() {
            return;
        }
        let index = match who {
            Loader::Template(template) => self.index_of(template),
            Loader::Worker(worker) => self.place_of(|found| found.id == worker).map(|(index, _)| index),
        };
        let Some(index) = index else { return };
        actions.push(Action::Log(Level::Error, why));
        let group = &self.groups[index];
        if match who {
            Loader::Template(template) => group.is_tried(template),
            Loader::Worker(worker) => group.is_tried_with(worker),
        } {
            return self.give_up_reload(index, now, actions);
        }
        if !self.groups[index].had_ready {
            self.end(exit_code::APPLICATION, StopHow::Now, now, actions);
        }
    }

    fn process_ended(&mut self, pid: Pid, exit: Exit, now: Instant, actions: &mut Vec<Action>) {
        if self.successor_ended(pid, exit, actions) {
            return;
        }
        if let Some((index, place)) = self.place_of(|worker| worker.pid == Some(pid)) {
            self.worker_ended(index, place, exit, now, actions);
        } else if let Some(index) = self.groups.iter().position(|group| group.template.pid() == Some(pid)) {
            self.template_ended(index, exit, now, actions);
        } else {
            self.other_template_ended(pid, exit, now, actions);
        }
        // Anything else is an orphan that came to us as its subreaper.
    }

    fn worker_ended(
        &mut self,
        index: usize,
        place: usize,
        exit: Exit,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let group = &mut self.groups[index];
        let slot = group.first_slot + place;
        let tried = group.slots[place].worker.as_ref().is_some_and(|worker| group.is_tried_with(worker.id));
        let Some(worker) = group.slots[place].worker.take() else { return };
        let had_ready = group.had_ready;
        actions.push(Action::Forget { worker: worker.id, slot });
        let mut wait = Duration::ZERO;
        if self.ending.is_none() {
            let cause = self.cause_of_end(&worker, exit, now);
            self.groups[index].count(cause);
        }
        if self.ending.is_none() && tried {
            let text = format!("the worker of the new load {exit} before it was ready");
            actions.push(Action::Log(Level::Error, text));
            self.give_up_reload(index, now, actions);
        } else if self.ending.is_none() && worker.leaving.is_none() {
            let ready = worker.state == WorkerState::Ready;
            if exit == Exit::Code(exit_code::APPLICATION) && !ready && !had_ready {
                self.end(exit_code::APPLICATION, StopHow::Now, now, actions);
            } else {
                let level = if exit == Exit::Code(0) { Level::Info } else { Level::Error };
                let what = worker.pid.map_or_else(String::new, |pid| format!(" {pid}"));
                let when = if ready { "" } else { " before it was ready" };
                actions.push(Action::Log(level, format!("worker{what} {exit}{when}")));
                if self.died_early(&worker, exit, now) {
                    wait = self.count_failure(index, now, actions);
                }
            }
        }
        self.groups[index].vacate(place, wait, now);
    }

    fn died_early(&self, worker: &Worker, exit: Exit, now: Instant) -> bool {
        // SIGKILL comes from outside, and code 0 is asked for: neither says that the worker cannot run.
        let young = now < worker.since + self.policy.first_moments;
        let harmless = matches!(exit, Exit::Code(0) | Exit::Signal(SIGKILL));
        worker.state != WorkerState::Ready || (young && !harmless)
    }

    fn cause_of_end(&self, worker: &Worker, exit: Exit, now: Instant) -> Cause {
        match (&worker.due, exit) {
            (Some(cause), _) if worker.leaving.is_some() => cause.clone(),
            _ if self.died_early(worker, exit, now) => Cause::Early,
            (_, Exit::Signal(number)) => Cause::Signal(number),
            (_, Exit::Code(_)) => Cause::Exited,
        }
    }

    fn template_ended(&mut self, index: usize, exit: Exit, now: Instant, actions: &mut Vec<Action>) {
        let group = &mut self.groups[index];
        let (name, had_ready) = (group.name.clone(), group.had_ready);
        // What it was asked for and had not forked yet has gone with it.
        if let Some(template) = group.template.id() {
            for (slot, worker) in group.drop_asked(template) {
                actions.push(Action::Forget { worker, slot });
            }
        }
        group.template = Template::None { not_before: None };
        if self.ending.is_some() {
            return;
        }
        if exit == Exit::Code(exit_code::APPLICATION) && !had_ready {
            self.end(exit_code::APPLICATION, StopHow::Now, now, actions);
            return;
        }
        actions.push(Action::Log(Level::Error, format!("the template process of {name} {exit}")));
        let wait = self.count_failure(index, now, actions);
        self.groups[index].template = Template::None { not_before: Some(now + wait) };
    }

    /// Counts an early death of a group. Too many end everything, unless other groups serve what this one cannot
    /// spoil. Returns how long to wait.
    fn count_failure(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) -> Duration {
        let group = &mut self.groups[index];
        group.early += 1;
        let (count, limit) = (group.early, self.policy.early_deaths);
        if count >= limit && self.ending.is_none() {
            let text = format!("{count} processes in a row died within their first seconds");
            // A worker of its own that has outlived its first moments does not owe them to chance.
            let others_serve = self.groups.iter().enumerate().any(|(other, group)| {
                let mut serving = group.staying().filter(|worker| worker.state == WorkerState::Ready);
                serving.any(|worker| other != index || worker.credited)
            });
            if self.was_ready && others_serve {
                if count == limit {
                    let name = &self.groups[index].name;
                    let wait = self.policy.back_off_limit;
                    let text = format!("{name}: {text}: tried again every {wait:?}, while the others serve");
                    actions.push(Action::Log(Level::Error, text));
                }
            } else {
                actions.push(Action::Log(Level::Error, format!("{text}: giving up")));
                let within = self.policy.graceful_timeout;
                self.end(exit_code::WORKERS_FAIL, StopHow::Graceful { within }, now, actions);
            }
        }
        let factor = 1_u32 << (count - 1).min(16);
        self.policy.back_off.saturating_mul(factor).min(self.policy.back_off_limit)
    }

    fn index_of(&self, template: TemplateId) -> Option<usize> {
        let of = |group: &Group| group.template.id() == Some(template) || group.is_tried(template);
        self.groups.iter().position(of)
    }

    /// Where a template that has not been given up stands.
    fn template(&mut self, id: TemplateId) -> Option<&mut Template> {
        let index = self.index_of(id)?;
        let group = &mut self.groups[index];
        if group.template.id() == Some(id) {
            return Some(&mut group.template);
        }
        group.next.as_mut().map(|next| &mut next.template)
    }

    fn worker(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.groups.iter_mut().flat_map(Group::workers_mut).find(|worker| worker.id == id)
    }

    fn place_of(&self, is_it: impl Fn(&Worker) -> bool) -> Option<(usize, usize)> {
        self.groups.iter().enumerate().find_map(|(index, group)| {
            let place = group.slots.iter().position(|slot| slot.worker.as_ref().is_some_and(&is_it))?;
            Some((index, place))
        })
    }
}
