//! What the processes use, looked at once a second: for the figures, and for the limits of workers.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stdserve_sys::process::{self, Pid};
use stdserve_sys::scoreboard::{self, Row, Scoreboard, State};

use crate::figures::Figures;
use crate::machine::{Event, Machine};

/// How often workers are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// How old the sign that the interpreter's lock can be had becomes while it can: the warden gives one a second.
const BEAT: Duration = Duration::from_secs(1);

/// When workers are looked at.
#[derive(Debug, Default)]
pub(crate) struct Measure {
    last: Option<Instant>,
}

impl Measure {
    /// When workers are to be looked at next; `None` where no limit wants to know. Figures wait for whatever wakes the
    /// supervisor.
    pub(crate) fn deadline(&self, machine: &Machine, now: Instant) -> Option<Instant> {
        machine.needs_figures().then(|| self.last.map_or(now, |last| last + PERIOD))
    }

    /// Looks, where it is time. What was seen goes to the figures; what limits want to know comes back.
    pub(crate) fn look(
        &mut self,
        machine: &Machine,
        board: &Scoreboard,
        figures: &mut Figures,
        now: Instant,
    ) -> Vec<Event> {
        if self.last.is_some_and(|last| last + PERIOD > now) {
            return Vec::new();
        }
        self.last = Some(now);
        for worker in machine.report().groups.iter().flat_map(|group| &group.workers) {
            // One that cannot be looked at has just ended.
            if let Some(pid) = worker.pid
                && let Ok(sample) = process::sample(pid)
            {
                figures.saw(worker.slot, pid, sample);
            }
        }
        if let Ok(sample) = process::sample(Pid::this()) {
            figures.saw_own(sample);
        }
        let clock = scoreboard::now();
        let measured = machine.to_measure().into_iter().filter_map(|(worker, pid, slot)| {
            let row = board.row(slot).filter(|row| row.pid.load(Ordering::Acquire) == pid.0)?;
            let requests = row.requests.load(Ordering::Relaxed);
            let rss = figures.process(slot, pid)?.rss;
            Some(Event::Measured { worker, requests, rss, stuck: stuck(row, clock) })
        });
        measured.collect()
    }
}

/// For how long the interpreter's lock could not be had, while requests ran.
fn stuck(row: &Row, clock: u64) -> Duration {
    if row.state() != State::Serving || row.running.load(Ordering::Relaxed) == 0 {
        return Duration::ZERO;
    }
    let silent = clock.saturating_sub(row.gil_beat.load(Ordering::Relaxed));
    Duration::from_millis(silent).saturating_sub(BEAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_missed_only_while_requests_run() {
        let row = Row::default();
        row.claim(1);
        let clock = scoreboard::now();
        row.gil_beat.store(clock.saturating_sub(60_000), Ordering::Relaxed);
        row.running.store(1, Ordering::Relaxed);
        assert_eq!(stuck(&row, clock), Duration::ZERO, "it loads its application");
        row.set_state(State::Serving);
        let missed = Duration::from_millis(clock.min(60_000)).saturating_sub(BEAT);
        assert_eq!(stuck(&row, clock), missed);
        row.running.store(0, Ordering::Relaxed);
        assert_eq!(stuck(&row, clock), Duration::ZERO);
    }
}
