//! The way out: gracefully, at once, by SIGKILL. It only ever becomes more impatient.

use std::time::Instant;

use stdserve_sys::process::Pid;

use super::group::{Template, WorkerState};
use super::{Action, Level, Machine, ScaleTo, Signal, StopHow, TemplateId, WorkerId};
use crate::exit_code;
use crate::messages::ToWorker;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Graceful,
    Now,
    Kill,
}

#[derive(Debug)]
pub(super) struct Ending {
    code: i32,
    step: Step,
    /// Until when what runs may finish.
    finish: Instant,
    /// When the next step is due; after the last one: when to leave without those who are still there.
    pub(super) deadline: Instant,
}

impl Ending {
    /// Sends away a template, as impatient as this step is.
    pub(super) fn dismiss_template(&self, id: TemplateId, pid: Pid, ready: bool, actions: &mut Vec<Action>) {
        actions.push(Action::CloseTemplate(id));
        if self.step == Step::Kill {
            actions.push(Action::Kill(pid));
        } else if !ready {
            // One that is importing does not look at its channel.
            actions.push(Action::Terminate(pid));
        }
    }

    /// Sends away a worker, as impatient as this step is.
    pub(super) fn dismiss_worker(
        &self,
        worker: WorkerId,
        pid: Pid,
        ready: bool,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let how = match self.step {
            Step::Graceful => StopHow::Graceful { within: self.finish.saturating_duration_since(now) },
            Step::Now => StopHow::Now,
            Step::Kill => {
                actions.push(Action::Kill(pid));
                return;
            }
        };
        actions.push(Action::Stop { worker, pid, how });
        if !ready {
            // It serves nobody yet, and does not look at its channel while it imports.
            actions.push(Action::Terminate(pid));
        }
    }
}

impl Machine {
    pub(super) fn signal(&mut self, signal: Signal, now: Instant, actions: &mut Vec<Action>) {
        let graceful = StopHow::Graceful { within: self.policy.graceful_timeout };
        match signal {
            Signal::Terminate => self.end(exit_code::OK, graceful, now, actions),
            Signal::Hangup if self.policy.hangup_ends => self.end(exit_code::OK, graceful, now, actions),
            Signal::Interrupt | Signal::Quit => match self.ending.as_ref().map(|ending| ending.step) {
                Some(Step::Kill) => {}
                Some(Step::Now) => {
                    actions.push(Action::Log(Level::Warning, "asked again: killing what is left".to_owned()));
                    self.step(Step::Kill, now, actions);
                }
                Some(Step::Graceful) => {
                    actions.push(Action::Log(Level::Info, "ending at once".to_owned()));
                    self.step(Step::Now, now, actions);
                }
                None => self.end(exit_code::OK, StopHow::Now, now, actions),
            },
            Signal::Hangup => self.reconfigure(actions),
            Signal::User1 => self.reopen(actions),
            Signal::TtyIn | Signal::TtyOut => {
                let by = ScaleTo::By(if signal == Signal::TtyIn { 1 } else { -1 });
                for index in 0..self.groups.len() {
                    self.scale(index, by, actions);
                }
            }
            Signal::Winch if self.policy.winch_pauses => self.pause(now, actions),
            // The size of a terminal is nothing to us.
            Signal::Winch => {}
            Signal::User2 => self.upgrade(false, actions),
            Signal::Other(number) => {
                let name = stdserve_sys::signals::name(number);
                let text = format!("{name} means nothing to this version: ignored");
                actions.push(Action::Log(Level::Warning, text));
            }
        }
    }

    /// Log files were moved away.
    fn reopen(&mut self, actions: &mut Vec<Action>) {
        actions.push(Action::Reopen);
        for worker in self.groups.iter().flat_map(super::Group::workers).filter(|worker| worker.pid.is_some())
        {
            actions.push(Action::Tell { worker: worker.id, message: ToWorker::Reopen });
        }
        actions.push(Action::Log(Level::Info, "log files are opened again".to_owned()));
    }

    /// Begins to end with `code`, unless it is ending already.
    pub(super) fn end(&mut self, code: i32, how: StopHow, now: Instant, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        let step = if how == StopHow::Now { Step::Now } else { Step::Graceful };
        let text = match how {
            StopHow::Graceful { within } => format!("ending: what runs is finished, within {within:?}"),
            StopHow::Now => "ending at once".to_owned(),
        };
        actions.push(Action::Log(Level::Info, text));
        self.ending = Some(Ending { code, step, finish: now, deadline: now });
        if let Some(pid) = self.successor() {
            actions.push(Action::Announce(pid));
        }
        actions.push(Action::CloseListeners);
        self.step(step, now, actions);
    }

    /// Takes a step, and everybody with it.
    fn step(&mut self, step: Step, now: Instant, actions: &mut Vec<Action>) {
        let limit = match step {
            Step::Graceful => self.policy.graceful_timeout + self.policy.leave_timeout,
            Step::Now => self.policy.stop_timeout,
            Step::Kill => self.policy.kill_timeout,
        };
        let Some(ending) = &mut self.ending else { return };
        // Less patience must not mean more time. (The deadline of a new ending, and of the kill, is only set here.)
        let earlier = step == Step::Now && ending.step == Step::Graceful;
        let deadline = if earlier { ending.deadline.min(now + limit) } else { now + limit };
        (ending.step, ending.deadline) = (step, deadline);
        ending.finish = now + self.policy.graceful_timeout;
        for group in &self.groups {
            for template in group.templates() {
                if let (Some(id), Some(pid)) = (template.id(), template.pid()) {
                    ending.dismiss_template(id, pid, matches!(template, Template::Ready(..)), actions);
                }
            }
            for worker in group.workers() {
                if let Some(pid) = worker.pid {
                    let ready = worker.state == WorkerState::Ready;
                    ending.dismiss_worker(worker.id, pid, ready, now, actions);
                }
            }
        }
    }

    /// While ending: the next step when it is due, and the end when everybody has left.
    pub(super) fn press_on(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let Some(ending) = &self.ending
            && now >= ending.deadline
            && !self.groups.iter().all(super::Group::is_gone)
        {
            let left = self.groups.iter().flat_map(super::Group::workers);
            let pids: Vec<_> = left.filter_map(|worker| worker.pid).map(|pid| pid.to_string()).collect();
            if ending.step == Step::Kill {
                let text = format!("leaving without {}: killed, but not gone", pids.join(", "));
                actions.push(Action::Log(Level::Error, text));
                return self.leave(actions);
            }
            if !pids.is_empty() {
                let text = format!("workers that did not end in time are killed: {}", pids.join(", "));
                actions.push(Action::Log(Level::Warning, text));
            }
            self.step(Step::Kill, now, actions);
        }
        if self.groups.iter().all(super::Group::is_gone) {
            self.leave(actions);
        }
    }

    fn leave(&mut self, actions: &mut Vec<Action>) {
        let Some(ending) = self.ending.take() else { return };
        self.ended = true;
        if self.successor().is_some() {
            actions.push(Action::HandOver);
        }
        actions.push(Action::Exit(ending.code));
    }

    /// How many workers serve.
    pub fn serving(&self) -> usize {
        self.groups
            .iter()
            .flat_map(super::Group::staying)
            .filter(|worker| worker.state == WorkerState::Ready)
            .count()
    }
}
