//! Workers that are to leave while the others serve on: who, why, and in which order.
//!
//! ```text
//!            a limit, a wish, a reload          another is ready            it has left
//! ─ ready ────────────────────────────> due ───────────────────> leaving ──────────────> gone
//!                                        │                          │ not in time
//!                                        │ there are enough         v
//!                                        └─────────────────────> killed
//! ```
//!
//! One worker of a group leaves at a time, and another is ready before. Only where there are to be fewer do several
//! leave at once.

use std::time::{Duration, Instant};

use stdserve_sys::process::Pid;

use super::group::{Group, Leaving, Template, WorkerState};
use super::{Action, Cause, Level, Machine, ScaleTo, StopHow, WorkerId};

/// Who is to go next.
enum Next {
    /// This one, as soon as enough others serve.
    Due(WorkerId, Cause),
    /// This one, since there are more than wanted.
    Surplus(WorkerId),
    Nobody,
}

impl Group {
    /// Who is to go next. One that does not serve yet goes first, then one that cannot, then the oldest.
    fn next_to_go(&self) -> Next {
        let loading = self.next.is_some();
        let due = self.staying().filter_map(|worker| {
            // While another load is tried, it will be the one that takes the place of what is old.
            let old = worker.generation < self.generation && !loading;
            let cause = worker.due.clone().or(old.then_some(Cause::Reload))?;
            let rank = match (worker.state, &cause) {
                (WorkerState::Asked | WorkerState::Booting, _) => 0,
                (_, Cause::Stuck) => 1,
                (_, Cause::Retired(_)) => 2,
                _ => 3,
            };
            Some((rank, worker.id, cause))
        });
        if let Some((_, worker, cause)) = due.min_by_key(|(rank, id, _)| (*rank, *id)) {
            return Next::Due(worker, cause);
        }
        if self.staying().count() <= self.wanted {
            return Next::Nobody;
        }
        let surplus = self.staying().min_by_key(|worker| (worker.state == WorkerState::Ready, worker.id));
        surplus.map_or(Next::Nobody, |worker| Next::Surplus(worker.id))
    }
}

impl Machine {
    /// Sends away whoever is to go and can be spared, and asks for another where nobody can.
    pub(super) fn replace(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
        loop {
            let group = &self.groups[index];
            match group.next_to_go() {
                Next::Nobody => return,
                Next::Surplus(worker) => self.send_away(index, worker, Cause::Scale, now, actions),
                Next::Due(id, cause) => {
                    let serves = group.staying().any(|w| w.id == id && w.state == WorkerState::Ready);
                    if !serves || group.ready() > group.wanted {
                        self.send_away(index, id, cause, now, actions);
                        continue;
                    }
                    if group.staying().count() == group.wanted
                        && let (Template::Ready(template, _), Some(place)) =
                            (group.template, group.spare_slot())
                    {
                        let generation = group.generation;
                        self.spawn(index, place, template, generation, now, actions);
                    }
                    return;
                }
            }
        }
    }

    /// Tells a worker to leave, which another has taken the place of, or will.
    pub(super) fn send_away(
        &mut self,
        index: usize,
        id: WorkerId,
        cause: Cause,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let stop = self.policy.stop_timeout;
        // Nothing that holds the interpreter's lock is finished by waiting; its loop can still refuse what is queued.
        let within = if cause == Cause::Stuck { stop } else { self.policy.graceful_timeout };
        let Some(worker) = self.groups[index].workers_mut().find(|worker| worker.id == id) else { return };
        worker.due = Some(cause);
        // The loop cuts what is late by itself; it gets a moment to do so.
        worker.leaving = Some(Leaving::Until(now + within + stop));
        let Some(pid) = worker.pid else { return };
        actions.push(Action::Stop { worker: id, pid, how: StopHow::Graceful { within } });
        if worker.state != WorkerState::Ready {
            // It serves nobody yet, and does not look at its channel while it imports.
            actions.push(Action::Terminate(pid));
        }
    }

    pub(super) fn kill_the_late(&mut self, index: usize, now: Instant, actions: &mut Vec<Action>) {
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

    /// Notes who has lived as long as it may.
    pub(super) fn note_the_old(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        for worker in self.groups.iter_mut().flat_map(Group::workers_mut) {
            if worker.end_of_life().is_some_and(|end| end <= now) {
                worker.due = Some(Cause::Lifetime);
                let (pid, age) = (shown(worker.pid), (now - worker.since).as_secs());
                let text = format!("worker {pid} is replaced: it has lived for {age} s (--max-lifetime)");
                actions.push(Action::Log(Level::Info, text));
            }
        }
    }

    /// Whether a limit wants workers to be measured.
    pub(crate) fn needs_figures(&self) -> bool {
        self.ending.is_none() && self.groups.iter().any(|group| group.limits.needs_figures())
    }

    /// Who is to be measured: process and slot.
    pub(crate) fn to_measure(&self) -> Vec<(WorkerId, Pid, usize)> {
        let groups = self.groups.iter().filter(|group| group.limits.needs_figures());
        let workers = groups.flat_map(|group| {
            let slots = group.slots.iter().enumerate();
            slots.filter_map(|(place, slot)| {
                let worker = slot.worker.as_ref().filter(|worker| worker.state == WorkerState::Ready)?;
                Some((worker.id, worker.pid?, group.first_slot + place))
            })
        });
        workers.collect()
    }

    /// A worker was measured.
    pub(super) fn measured(
        &mut self,
        id: WorkerId,
        requests: u64,
        rss: u64,
        stuck: Duration,
        actions: &mut Vec<Action>,
    ) {
        if self.ending.is_some() {
            return;
        }
        let Some((index, place)) = self.place_of(|worker| worker.id == id) else { return };
        let group = &mut self.groups[index];
        let limits = &group.limits;
        let Some(worker) = &mut group.slots[place].worker else { return };
        let Some(pid) = worker.pid.filter(|_| worker.leaving.is_none()) else { return };
        if limits.stuck.is_some_and(|limit| stuck > limit) && worker.due != Some(Cause::Stuck) {
            worker.due = Some(Cause::Stuck);
            let text = format!(
                "worker {pid} is replaced: the interpreter's lock could not be had for {} s",
                stuck.as_secs()
            );
            actions.push(Action::Log(Level::Error, text));
            actions.push(Action::Autopsy { worker: id, pid });
            return;
        }
        if !worker.is_settled() {
            return;
        }
        let (cause, why) = if worker.quota.is_some_and(|quota| requests >= quota) {
            (Cause::Requests, format!("it has answered {requests} requests (--max-requests)"))
        } else if limits.rss.is_some_and(|limit| rss > limit) {
            (Cause::Rss, format!("it uses {} MiB of memory (--max-rss)", rss >> 20))
        } else {
            return;
        };
        worker.due = Some(cause);
        actions.push(Action::Log(Level::Info, format!("worker {pid} is replaced: {why}")));
    }

    /// A worker wants to be replaced.
    pub(super) fn retire_worker(&mut self, id: WorkerId, why: &str, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        let Some(worker) = self.worker(id) else { return };
        if worker.leaving.is_some() || worker.due.is_some() {
            return;
        }
        worker.due = Some(Cause::retired(why));
        let text = format!("worker {} is replaced: {why}", shown(worker.pid));
        actions.push(Action::Log(Level::Warning, text));
    }

    /// An operator wants a worker to be replaced.
    pub(super) fn drain(&mut self, pid: Pid, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        let found =
            self.groups.iter_mut().flat_map(Group::workers_mut).find(|worker| worker.pid == Some(pid));
        let text = match found {
            Some(worker) if worker.leaving.is_none() && worker.due.is_none() => {
                worker.due = Some(Cause::Drain);
                format!("worker {pid} is replaced, as asked")
            }
            Some(_) => format!("worker {pid} is being replaced already"),
            None => format!("{pid} is no worker of this server: nothing is drained"),
        };
        actions.push(Action::Log(Level::Info, text));
    }

    /// A group is to have more workers, or fewer.
    pub(super) fn scale(&mut self, index: usize, to: ScaleTo, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        let Some(group) = self.groups.get_mut(index) else { return };
        if matches!(to, ScaleTo::By(by) if by < 0) && group.wanted == 0 {
            // A group that is paused has no worker to lose.
            return;
        }
        let most = group.most;
        let scaled = |from: usize| {
            let asked = match to {
                ScaleTo::To(count) => count,
                ScaleTo::By(by) => from.saturating_add_signed(by as isize),
            };
            (asked, asked.clamp(1, most))
        };
        // A load that is tried may be configured for another number.
        if let Some(next) = &mut group.next {
            next.wanted = scaled(next.wanted).1;
        }
        let (asked, wanted) = scaled(group.wanted);
        let (name, before) = (group.name.clone(), std::mem::replace(&mut group.wanted, wanted));
        if wanted != asked {
            let bound = if asked == 0 { "least" } else { "most" };
            let text = format!("{name}: {wanted} is the {bound} that it can have in workers");
            actions.push(Action::Log(Level::Warning, text));
        }
        if wanted != before {
            let workers = if before == 1 { "worker becomes" } else { "workers become" };
            actions.push(Action::Log(Level::Info, format!("{name}: {before} {workers} {wanted}")));
        }
    }

    /// All workers are to leave, and none to come for now.
    pub(super) fn pause(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        actions.push(Action::Log(Level::Info, "all workers leave; a reload brings others".to_owned()));
        for index in 0..self.groups.len() {
            if self.drop_next(index, now, actions).is_some() {
                let generation = self.groups[index].generation;
                actions.push(Action::Keep { group: index, generation });
            }
            self.groups[index].wanted = 0;
        }
    }
}

fn shown(pid: Option<Pid>) -> String {
    pid.map_or_else(|| "that is being forked".to_owned(), |pid| pid.to_string())
}
