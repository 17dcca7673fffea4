//! Figures: what all workers together have counted since the start, also those that have ended; and what the processes
//! use.
//!
//! A worker counts in its own row of the scoreboard, from zero. When it ends, however it ends, the supervisor adds its
//! last figures to what it [keeps](Figures) of that row before it empties it, so that a sum never falls. Nothing here
//! reads a clock, a file or a worker: whoever calls does.
//!
//! | module | what it does |
//! |---|---|
//! | [`summary`] | the figures of each group and worker, added up |
//! | [`prometheus`] | the summary as Prometheus' text format |

mod prometheus;
mod summary;
#[cfg(test)]
mod tests;

use std::ops::AddAssign;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stdserve_sys::process::{Pid, Sample};
use stdserve_sys::scoreboard::{Counters, Row};

use crate::machine::Report;
pub(crate) use prometheus::{CONTENT_TYPE, prometheus};
pub(crate) use summary::{GroupFigures, WorkerFigures, summary};

/// What is counted, of one worker or of many.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    /// What the workers themselves count.
    pub(crate) counters: Counters,
    /// Requests (and connections or datagrams that a service has to itself) in the application when their worker
    /// ended.
    pub(crate) unfinished: u64,
    /// Processor time, as far as it was seen.
    pub(crate) cpu: Duration,
}

impl AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.counters += other.counters;
        self.unfinished += other.unfinished;
        self.cpu += other.cpu;
    }
}

/// What is kept of one row of the scoreboard.
#[derive(Debug, Default, Clone)]
struct Kept {
    /// What the workers counted that had it and have ended.
    ended: Counted,
    /// How many those are.
    workers: u64,
    /// What the process that has it now was last seen to use.
    process: Option<(Pid, Sample)>,
}

/// What the supervisor knows beside the scoreboard.
#[derive(Debug)]
pub(crate) struct Figures {
    kept: Vec<Kept>,
    own: Sample,
    /// When the supervisor began, in seconds since 1970, and in milliseconds of the scoreboard's clock.
    began: (f64, u64),
}

impl Figures {
    /// For a scoreboard of so many rows. `time` and `clock`, which is the scoreboard's, are the same moment.
    pub(crate) fn new(rows: usize, time: SystemTime, clock: u64) -> Self {
        let began = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64 / 1000.0;
        Self { kept: vec![Kept::default(); rows], own: Sample::default(), began: (began, clock) }
    }

    /// The worker of a row was seen to use so much.
    pub(crate) fn saw(&mut self, slot: usize, pid: Pid, sample: Sample) {
        if let Some(kept) = self.kept.get_mut(slot) {
            kept.process = Some((pid, sample));
        }
    }

    /// The supervisor itself was seen to use so much.
    pub(crate) fn saw_own(&mut self, sample: Sample) {
        self.own = sample;
    }

    /// What the process was last seen to use, if it has that row.
    pub(crate) fn process(&self, slot: usize, pid: Pid) -> Option<Sample> {
        let (of, sample) = self.kept.get(slot)?.process?;
        (of == pid).then_some(sample)
    }

    /// The worker of a row has ended, and the row is about to be emptied.
    pub(crate) fn ended(&mut self, slot: usize, row: &Row) {
        let counted = self.counted_by(slot, row);
        let Some(kept) = self.kept.get_mut(slot) else { return };
        kept.ended += counted;
        kept.workers += 1;
        kept.process = None;
    }

    /// What the worker that has the row now has counted.
    fn counted_by(&self, slot: usize, row: &Row) -> Counted {
        let counters = row.counters();
        let cpu = self.kept.get(slot).and_then(|kept| kept.process).map_or(Duration::ZERO, |(_, s)| s.cpu);
        // Whoever took one has not said that it is through with it. Only the dead are asked: the two figures are not
        // read at one moment.
        let unfinished = counters.queue_time.count().saturating_sub(counters.app_time.count());
        Counted { counters, unfinished, cpu }
    }

    /// What all workers have counted that ever had the row.
    fn counted(&self, slot: usize, row: &Row) -> Counted {
        let mut sum = self.kept.get(slot).map(|kept| kept.ended).unwrap_or_default();
        sum += Counted { unfinished: 0, ..self.counted_by(slot, row) };
        sum
    }

    /// Whether a worker ever had the row and has ended.
    fn was_used(&self, slot: usize) -> bool {
        self.kept.get(slot).is_some_and(|kept| kept.workers > 0)
    }

    /// A time of the scoreboard's clock, in seconds since 1970.
    fn unix_time(&self, clock: u64) -> f64 {
        let (time, of) = self.began;
        ((time * 1000.0 + clock as f64 - of as f64).round()) / 1000.0
    }
}

/// All that figures are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture<'a> {
    /// What the machine knows.
    pub(crate) report: &'a Report,
    /// The scoreboard.
    pub(crate) rows: &'a [Row],
    /// What the supervisor knows beside it.
    pub(crate) figures: &'a Figures,
    /// Now, in milliseconds of the scoreboard's [clock](stdserve_sys::scoreboard::now).
    pub(crate) clock: u64,
}
