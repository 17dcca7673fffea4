//! A reload of one group: the new load is tried beside the old one, then takes its place worker by worker.
//!
//! ```text
//!           template, one worker              it serves            no old worker left
//! ─ Reload ────────────────────────> tried ─────────────> rolling ────────────────────> done
//!                                      │ it fails            a new worker is ready, an old one
//!                                      v                     drains and leaves; then the next
//!                              the old load stays
//! ```

use std::time::Instant;

use stdserve_sys::process::{Exit, Pid};

use super::group::{Group, Leaving, Next, Template, WorkerState};
use super::{Action, Level, Machine, StopHow, TemplateId, WorkerId};

impl Group {
    /// Whether this template is that of a load that is tried.
    pub(super) fn is_tried(&self, template: TemplateId) -> bool {
        self.next.as_ref().is_some_and(|next| next.template.id() == Some(template))
    }

    /// Whether a load is tried with this worker.
    pub(super) fn is_tried_with(&self, worker: WorkerId) -> bool {
        self.next.as_ref().is_some_and(|next| next.worker == Some(worker))
    }

    /// A slot that can take another worker now.
    fn free_slot(&self, now: Instant) -> Option<usize> {
        self.slots.iter().position(|slot| slot.is_due(now))
    }

    /// Nothing more is asked of this template.
    fn retire(&mut self, template: Template, actions: &mut Vec<Action>) {
        let (Some(id), Some(pid)) = (template.id(), template.pid()) else { return };
        actions.push(Action::CloseTemplate(id));
        if matches!(template, Template::Booting(..)) {
            // One that is importing does not look at its channel.
            actions.push(Action::Terminate(pid));
        }
        self.retired.push((id, pid));
    }
}

impl Machine {
    /// Begins to load the application of a group anew. A load that is still being tried is given up for it.
    pub(super) fn reload(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
        if self.ending.is_some() || index >= self.groups.len() {
            return;
        }
        self.drop_next(index, now, actions);
        let group = &mut self.groups[index];
        actions.push(Action::Log(Level::Info, format!("reloading {}", group.name)));
        group.newest += 1;
        let (generation, template) = (group.newest, Template::None { not_before: None });
        if group.had_ready {
            group.next = Some(Next { generation, template, worker: None });
            return;
        }
        // Nothing serves that could go on: the new load takes the place of the old one.
        group.generation = generation;
        let before = std::mem::replace(&mut group.template, template);
        group.retire(before, actions);
        let never_ready: Vec<_> = group.workers().map(|worker| worker.id).collect();
        for worker in never_ready {
            self.send_away(index, worker, now, actions);
        }
    }

    /// Takes the next step of a reload, if one is due.
    pub(super) fn go_on_reloading(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
        self.kill_the_late(index, now, actions);
        let group = &mut self.groups[index];
        match &group.next {
            Some(Next { template: Template::None { .. }, generation, .. }) => {
                let generation = *generation;
                let template = TemplateId(self.id());
                if let Some(next) = &mut self.groups[index].next {
                    next.template = Template::Asked(template);
                }
                actions.push(Action::ForkTemplate { group: index, template, generation });
            }
            Some(Next { template: Template::Ready(template, _), generation, worker: None }) => {
                let (template, generation) = (*template, *generation);
                let Some(place) = group.free_slot(now) else {
                    // A reload before this one has not replaced all workers yet: that frees one.
                    return self.roll(index, now, actions);
                };
                let worker = self.spawn(index, place, template, generation, now, actions);
                if let Some(next) = &mut self.groups[index].next {
                    next.worker = Some(worker);
                }
            }
            Some(Next { worker: Some(_), .. }) => {}
            Some(Next { worker: None, .. }) | None => self.roll(index, now, actions),
        }
    }

    /// The present load serves: where an old worker is left, another takes its place.
    fn roll(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
        let group = &self.groups[index];
        let present = group.generation;
        let old = group.staying().filter(|worker| worker.generation < present);
        let Some(oldest) = old.min_by_key(|worker| worker.id).map(|worker| worker.id) else { return };
        let waits = group.staying().any(|new| new.generation == present && new.state != WorkerState::Ready);
        if waits {
            return;
        }
        if group.staying().count() > group.wanted {
            self.send_away(index, oldest, now, actions);
        } else if let (Template::Ready(template, _), Some(place)) = (group.template, group.free_slot(now)) {
            self.spawn(index, place, template, present, now, actions);
        }
    }

    /// The load that was tried serves: it is the present one from now on.
    pub(super) fn take_next(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
        let group = &mut self.groups[index];
        let Some(next) = group.next.take() else { return };
        let before = std::mem::replace(&mut group.template, next.template);
        group.generation = next.generation;
        // What it was asked for is wanted from its successor.
        let asked =
            group.workers().filter(|worker| Some(worker.template) == before.id() && worker.pid.is_none());
        let asked: Vec<_> = asked.map(|worker| worker.id).collect();
        group.retire(before, actions);
        let text = format!("{} is loaded anew: its workers are replaced one by one", group.name);
        actions.push(Action::Log(Level::Info, text));
        for worker in asked {
            self.send_away(index, worker, now, actions);
        }
    }

    /// The load that was tried cannot serve: the one before it goes on.
    pub(super) fn give_up_reload(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
        let text = format!("{} is not reloaded: what was loaded before serves on", self.groups[index].name);
        actions.push(Action::Log(Level::Error, text));
        self.drop_next(index, now, actions);
    }

    fn drop_next(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
        let group = &mut self.groups[index];
        let Some(next) = group.next.take() else { return };
        group.retire(next.template, actions);
        if let Some(worker) = next.worker {
            self.send_away(index, worker, now, actions);
        }
    }

    /// Tells a worker to leave, which another has taken the place of, or will.
    fn send_away(&mut self, index: usize, id: WorkerId, now: Instant, actions: &mut Vec<Action>) {
        let within = self.policy.graceful_timeout;
        let Some(worker) = self.groups[index].workers_mut().find(|worker| worker.id == id) else { return };
        // The loop cuts what is late by itself; it gets a moment to do so.
        worker.leaving = Some(Leaving::Until(now + within + self.policy.stop_timeout));
        let Some(pid) = worker.pid else { return };
        actions.push(Action::Stop { worker: id, pid, how: StopHow::Graceful { within } });
        if worker.state != WorkerState::Ready {
            // It serves nobody yet, and does not look at its channel while it imports.
            actions.push(Action::Terminate(pid));
        }
    }

    fn kill_the_late(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
        for worker in self.groups[index].workers_mut() {
            if let (Some(Leaving::Until(time)), Some(pid)) = (worker.leaving, worker.pid)
                && time <= now
            {
                worker.leaving = Some(Leaving::Killed);
                let text = format!("worker {pid} did not leave in time and is killed");
                actions.push(Action::Log(Level::Warning, text));
                actions.push(Action::Kill(pid));
            }
        }
    }

    /// A template has ended that is not a group's present one.
    pub(super) fn other_template_ended(
        &mut self,
        pid: Pid,
        exit: Exit,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        for index in 0..self.groups.len() {
            let group = &mut self.groups[index];
            let tried =
                group.next.as_ref().map(|next| next.template).filter(|tried| tried.pid() == Some(pid));
            let retired = group.retired.iter().position(|(_, of)| *of == pid);
            let id = match (tried, retired) {
                (Some(template), _) => template.id(),
                (None, Some(at)) => Some(group.retired.swap_remove(at).0),
                (None, None) => continue,
            };
            // What it was asked for and had not forked yet has gone with it.
            if let Some(id) = id {
                for (slot, worker) in group.drop_asked(id, now) {
                    actions.push(Action::Forget { worker, slot });
                }
            }
            if tried.is_some() {
                if let Some(next) = &mut group.next {
                    next.template = Template::None { not_before: None };
                }
                if self.ending.is_none() {
                    let text = format!("the template process of the new load {exit}");
                    actions.push(Action::Log(Level::Error, text));
                    self.give_up_reload(index, now, actions);
                } else {
                    self.groups[index].next = None;
                }
            }
            return;
        }
    }
}
