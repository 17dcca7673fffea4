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

use super::group::{Group, Next, Template};
use super::{Action, Cause, Configured, GroupPlan, Level, Machine, TemplateId, WorkerId};

impl Group {
    /// Whether this template is that of a load that is tried.
    pub(super) fn is_tried(&self, template: TemplateId) -> bool {
        self.next.as_ref().is_some_and(|next| next.template.id() == Some(template))
    }

    /// Whether a load is tried with this worker.
    pub(super) fn is_tried_with(&self, worker: WorkerId) -> bool {
        self.next.as_ref().is_some_and(|next| next.worker == Some(worker))
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
    /// Has the configuration read again; its answer is the next event.
    pub(super) fn reconfigure(&mut self, actions: &mut Vec<Action>) {
        if self.ending.is_none() {
            actions.push(Action::Configure);
        }
    }

    /// The configuration was read again: all groups are loaded with it.
    pub(super) fn configured(&mut self, settings: &Configured, now: Instant, actions: &mut Vec<Action>) {
        self.policy.graceful_timeout = settings.graceful_timeout;
        for (index, plan) in settings.plans.iter().enumerate() {
            self.reload(index, Some(plan), now, actions);
        }
    }

    /// Begins to load the application of a group anew, with other settings where there are any. A load that is still
    /// being tried is given up for it.
    pub(super) fn reload(
        &mut self,
        index: usize,
        plan: Option<&GroupPlan>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if self.ending.is_some() || index >= self.groups.len() {
            return;
        }
        let given_up = self.drop_next(index, now, actions);
        let group = &mut self.groups[index];
        actions.push(Action::Log(Level::Info, format!("reloading {}", group.name)));
        group.newest += 1;
        let (generation, template) = (group.newest, Template::None { not_before: None });
        let (mut wanted, limits) = match (plan, given_up) {
            (Some(plan), _) => {
                actions.push(Action::Adopt { group: index, generation });
                if plan.workers > group.most {
                    let (name, most) = (&group.name, group.most);
                    let text = format!("{name}: more than {most} workers need a restart: there is no room");
                    actions.push(Action::Log(Level::Warning, text));
                }
                (plan.workers.clamp(1, group.most), plan.limits.clone())
            }
            // The settings that were read last are still to be tried.
            (None, Some(before)) => (before.wanted, before.limits),
            (None, None) => (group.wanted, group.limits.clone()),
        };
        if wanted == 0 {
            wanted = group.configured;
        }
        let next = Next { generation, template, worker: None, wanted, limits };
        if group.had_ready {
            group.next = Some(next);
            return;
        }
        // Nothing serves that could go on: the new load takes the place of the old one.
        self.install(index, next, actions);
        let never_ready: Vec<_> = self.groups[index].workers().map(|worker| worker.id).collect();
        for worker in never_ready {
            self.send_away(index, worker, Cause::Reload, now, actions);
        }
    }

    /// This load is the present one from now on.
    fn install(&mut self, index: usize, next: Next, actions: &mut Vec<Action>) -> Template {
        let group = &mut self.groups[index];
        let before = std::mem::replace(&mut group.template, next.template);
        group.generation = next.generation;
        (group.wanted, group.configured, group.limits) = (next.wanted, next.wanted, next.limits);
        actions.push(Action::Keep { group: index, generation: next.generation });
        group.retire(before, actions);
        before
    }

    /// Takes the next step of a reload, if one is due.
    pub(super) fn go_on_reloading(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
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
            Some(Next { template: Template::Ready(template, _), generation, worker: None, .. }) => {
                let (template, generation) = (*template, *generation);
                // A reload before this one may not have replaced all workers yet: that frees one.
                let Some(place) = group.free_slot() else { return };
                let worker = self.spawn(index, place, template, generation, now, actions);
                if let Some(next) = &mut self.groups[index].next {
                    next.worker = Some(worker);
                }
            }
            _ => {}
        }
    }

    /// The load that was tried serves: it is the present one from now on.
    pub(super) fn take_next(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
        let group = &mut self.groups[index];
        let Some(next) = group.next.take() else { return };
        let before = self.install(index, next, actions);
        // What it was asked for is wanted from its successor.
        let group = &self.groups[index];
        let asked =
            group.workers().filter(|worker| Some(worker.template) == before.id() && worker.pid.is_none());
        let asked: Vec<_> = asked.map(|worker| worker.id).collect();
        let text = format!("{} is loaded anew: its workers are replaced one by one", group.name);
        actions.push(Action::Log(Level::Info, text));
        for worker in asked {
            self.send_away(index, worker, Cause::Reload, now, actions);
        }
    }

    /// The load that was tried cannot serve: the one before it goes on.
    pub(super) fn give_up_reload(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
        let text = format!("{} is not reloaded: what was loaded before serves on", self.groups[index].name);
        actions.push(Action::Log(Level::Error, text));
        self.drop_next(index, now, actions);
        let generation = self.groups[index].generation;
        actions.push(Action::Keep { group: index, generation });
    }

    /// Gives up the load that is tried, and returns it.
    pub(super) fn drop_next(
        &mut self,
        index: usize,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Option<Next> {
        let group = &mut self.groups[index];
        let next = group.next.take()?;
        group.retire(next.template, actions);
        if let Some(worker) = next.worker {
            self.send_away(index, worker, Cause::Reload, now, actions);
        }
        Some(next)
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
                for (slot, worker) in group.drop_asked(id) {
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
