//! What workers use, looked at once a second where a limit wants to know it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stdserve_sys::memory;
use stdserve_sys::scoreboard::{self, Row, Scoreboard, State};

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
    /// When workers are to be looked at next; `None` where nothing wants to know.
    pub(crate) fn deadline(&self, machine: &Machine, now: Instant) -> Option<Instant> {
        machine.needs_figures().then(|| self.last.map_or(now, |last| last + PERIOD))
    }

    /// Looks, where it is time.
    pub(crate) fn look(&mut self, machine: &Machine, board: &Scoreboard, now: Instant) -> Vec<Event> {
        if self.deadline(machine, now).is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.last = Some(now);
        let clock = scoreboard::now();
        let measured = machine.to_measure().into_iter().filter_map(|(worker, pid, slot)| {
            let row = board.row(slot).filter(|row| row.pid.load(Ordering::Acquire) == pid.0)?;
            let requests = row.requests.load(Ordering::Relaxed);
            // One that has just ended is looked at no more.
            let rss = memory::resident(pid).ok()?;
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
