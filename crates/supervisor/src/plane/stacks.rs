//! The stacks of workers, on demand: asked for by message, and where no answer comes by a signal that needs no
//! interpreter, gathered until all have answered or patience ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stdserve_sys::process::Pid;

use super::documents;
use super::routes::{Answer, Order};
use super::view::View;
use crate::machine::{Action, Doing, WorkerId};
use crate::messages::ToWorker;

/// After this time those who have not answered are asked by signal.
const BY_MESSAGE: Duration = Duration::from_secs(1);
/// After this time what has come is answered.
const PATIENCE: Duration = Duration::from_secs(3);

/// Stacks that were asked for.
#[derive(Debug)]
pub(super) struct Stacks {
    of: Vec<(WorkerId, Pid)>,
    /// What the journal had before.
    after: u64,
    /// When those are asked by signal who have not answered; none: they were.
    signal: Option<Instant>,
    end: Instant,
}

impl Stacks {
    /// Asks a worker, or all.
    pub(super) fn ask(view: &View<'_>, of: Option<Pid>, orders: &mut Vec<Order>) -> Self {
        let workers = view.report.groups.iter().flat_map(|group| &group.workers);
        let of: Vec<_> = workers
            .filter(|worker| matches!(worker.state, Doing::Booting | Doing::Ready | Doing::Draining))
            .filter_map(|worker| Some((worker.id, worker.pid?)))
            .filter(|(_, pid)| of.is_none_or(|wanted| wanted == *pid))
            .collect();
        for (worker, _) in &of {
            orders.push(Order::Act(Action::Tell { worker: *worker, message: ToWorker::Stacks }));
        }
        let (after, signal, end) = (view.journal.last(), Some(view.now + BY_MESSAGE), view.now + PATIENCE);
        Self { of, after, signal, end }
    }

    /// When to look again at the latest.
    pub(super) fn due(&self) -> Instant {
        self.signal.unwrap_or(self.end)
    }

    /// The answer, once it can be made.
    pub(super) fn answer(&mut self, view: &View<'_>, orders: &mut Vec<Order>) -> Option<Answer> {
        let come: Vec<_> = view
            .journal
            .autopsies(self.after)
            .filter(|autopsy| self.of.iter().any(|(worker, _)| *worker == autopsy.worker))
            .collect();
        let missing: Vec<_> = self
            .of
            .iter()
            .filter(|(worker, _)| !come.iter().any(|autopsy| autopsy.worker == *worker))
            .collect();
        if missing.is_empty() || view.now >= self.end {
            let stacks: Vec<Value> = come.into_iter().map(documents::autopsy).collect();
            let missing: Vec<_> = missing.iter().map(|(_, pid)| pid.0).collect();
            return Some(Answer::json(200, &json!({ "stacks": stacks, "missing": missing })));
        }
        if self.signal.is_some_and(|time| view.now >= time) {
            self.signal = None;
            for (worker, pid) in missing {
                orders.push(Order::Act(Action::Autopsy { worker: *worker, pid: *pid }));
            }
        }
        None
    }
}
