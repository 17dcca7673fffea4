//! The last ten minutes, a sample a second: rates and percentiles, from what has been counted since the last one.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use stdserve_sys::scoreboard::{BOUNDS, Counters, Durations, RANGES, Row, State};

use super::view::View;
use crate::machine::Doing;

/// So many samples are kept.
pub(super) const SAMPLES: usize = 600;

/// What a sample holds, in this order. Times are in milliseconds, rates are per second.
pub(super) const COLUMNS: [&str; 14] = [
    "time",
    "rate",
    "errors",
    "p50",
    "p95",
    "p99",
    "wait",
    "ready",
    "wanted",
    "running",
    "queued",
    "threads",
    "connections",
    "sent",
];

/// One sample: a figure a [column](COLUMNS); none where there was nothing to measure.
pub(super) type Sample = [Option<f64>; COLUMNS.len()];

/// The samples of the last ten minutes.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    /// What each row had counted at the last sample, and whose it was.
    before: HashMap<usize, (Owner, Counters)>,
    last: Option<std::time::Instant>,
}

/// The process that a row belongs to; the number of a process alone may be given twice.
type Owner = (u32, u64);

impl History {
    /// All samples, the oldest first.
    pub(super) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }

    /// The newest one.
    pub(super) fn newest(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// Takes a sample. Due once a second.
    pub(super) fn sample(&mut self, view: &View<'_>) {
        let since = self.last.replace(view.now).map(|last| (view.now - last).as_secs_f64());
        let grown = self.grown(view);
        // Before the first sample nothing is known of how long it took.
        let rate = |count: u64| since.filter(|since| *since > 0.0).map(|since| count as f64 / since);
        let rows = || view.board.rows().iter().filter(|row| row.state() != State::Free);
        let sum = |figure: fn(&Row) -> u64| Some(rows().map(figure).sum::<u64>() as f64);
        let workers = || view.report.groups.iter().flat_map(|group| &group.workers);
        let ready = workers().filter(|worker| worker.state == Doing::Ready).count();
        let wanted: usize = view.report.groups.iter().map(|group| group.wanted).sum();
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let sample = [
            Some(time),
            rate(grown.requests),
            rate(grown.errors),
            percentile(&grown.app, 0.5),
            percentile(&grown.app, 0.95),
            percentile(&grown.app, 0.99),
            percentile(&grown.wait, 0.95),
            Some(ready as f64),
            Some(wanted as f64),
            sum(|row| row.running.load(Relaxed)),
            sum(|row| row.queued.load(Relaxed)),
            sum(|row| row.threads.load(Relaxed)),
            sum(|row| row.connections.load(Relaxed)),
            rate(grown.sent),
        ];
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample.map(|figure| figure.map(|figure| (figure * 1000.0).round() / 1000.0)));
    }

    /// What was counted since the last call.
    fn grown(&mut self, view: &View<'_>) -> Grown {
        let mut grown = Grown::default();
        let before = std::mem::take(&mut self.before);
        for (slot, row) in view.board.rows().iter().enumerate() {
            if row.state() == State::Free {
                continue;
            }
            let owner = (row.pid.load(Relaxed), row.started.load(Relaxed));
            let counters = row.counters();
            let old = before.get(&slot).filter(|(known, _)| *known == owner).map(|(_, old)| *old);
            grown.add(&counters, &old.unwrap_or_default());
            self.before.insert(slot, (owner, counters));
        }
        grown
    }
}

/// What was counted in a time.
#[derive(Default)]
struct Grown {
    requests: u64,
    errors: u64,
    sent: u64,
    app: [u64; RANGES],
    wait: [u64; RANGES],
}

impl Grown {
    fn add(&mut self, new: &Counters, old: &Counters) {
        self.requests += new.requests.saturating_sub(old.requests);
        self.errors += new.status[5].saturating_sub(old.status[5]);
        self.sent += new.bytes_out.saturating_sub(old.bytes_out);
        add_ranges(&mut self.app, &new.app_time, &old.app_time);
        add_ranges(&mut self.wait, &new.queue_time, &old.queue_time);
    }
}

fn add_ranges(to: &mut [u64; RANGES], new: &Durations, old: &Durations) {
    for (to, (new, old)) in to.iter_mut().zip(new.ranges.iter().zip(old.ranges)) {
        *to += new.saturating_sub(old);
    }
}

/// The time, in milliseconds, that this share of what was counted took at most; within a range as if all were spread
/// evenly over it. None where nothing was counted.
fn percentile(ranges: &[u64; RANGES], share: f64) -> Option<f64> {
    let all: u64 = ranges.iter().sum();
    let wanted = all as f64 * share;
    let mut below = 0;
    for (range, count) in ranges.iter().enumerate().filter(|(_, count)| **count > 0) {
        if (below + count) as f64 >= wanted {
            let from = if range == 0 { 0 } else { BOUNDS[range - 1] } as f64;
            // What took longer than the last bound has no upper one.
            let to = BOUNDS.get(range).map_or(from, |bound| *bound as f64);
            let within = (wanted - below as f64) / *count as f64;
            return Some((from + (to - from) * within) / 1e6);
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use stdserve_sys::scoreboard::{self, Scoreboard};

    use super::*;
    use crate::figures::Figures;
    use crate::journal::Journal;
    use crate::machine::Report;

    #[test]
    fn percentiles_lie_within_their_range() {
        assert_eq!(percentile(&[0; RANGES], 0.5), None);
        let mut ranges = [0; RANGES];
        // 100 within (1 ms, 2.5 ms].
        let range = BOUNDS.iter().position(|bound| *bound == 2_500_000).expect("a bound");
        ranges[range] = 100;
        assert_eq!(percentile(&ranges, 0.5), Some(1.75));
        assert_eq!(percentile(&ranges, 1.0), Some(2.5));
        // One that took longer than every bound.
        ranges[RANGES - 1] = 1;
        assert_eq!(percentile(&ranges, 1.0), Some(60_000.0));
    }

    #[test]
    fn rates_are_of_the_time_between_and_survive_the_end_of_a_worker() {
        let board = Scoreboard::new(2).expect("memory");
        let report = Report { ready: true, draining: false, groups: Vec::new() };
        let figures = Figures::new(2, SystemTime::now(), scoreboard::now());
        let (journal, began) = (Journal::default(), Instant::now());
        let view = |seconds| View {
            report: &report,
            board: &board,
            figures: &figures,
            journal: &journal,
            began,
            now: began + Duration::from_secs(seconds),
            clock: scoreboard::now(),
            options: &Vec::new,
        };
        let mut history = History::default();
        let rate = |history: &History| history.newest().and_then(|sample| sample[1]);
        let count = |row: usize, more: u64| board.rows()[row].requests.fetch_add(more, Relaxed);
        board.rows()[0].claim(1);
        history.sample(&view(0));
        assert_eq!(rate(&history), None);
        count(0, 10);
        history.sample(&view(2));
        assert_eq!(rate(&history), Some(5.0));
        // Another worker takes the row: what it has counted is all new.
        board.rows()[0].clear();
        board.rows()[0].claim(2);
        board.rows()[0].started.fetch_add(1, Relaxed);
        count(0, 7);
        board.rows()[1].claim(2);
        count(1, 1);
        history.sample(&view(3));
        assert_eq!(rate(&history), Some(8.0));
        for second in 4..2 * SAMPLES as u64 {
            history.sample(&view(second));
        }
        assert_eq!(history.samples().count(), SAMPLES);
        assert_eq!(rate(&history), Some(0.0));
    }
}
