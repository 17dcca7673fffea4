//! One worker's row of the scoreboard.

use std::array;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::{Durations, Histogram};
use super::in_flight::{InFlight, Requests};
use super::now;

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Nobody uses the row.
    Free = 0,
    /// Forked, loading the application.
    Booting = 1,
    /// Accepting and answering.
    Serving = 2,
    /// Accepts no more, finishes what runs.
    Draining = 3,
    /// Answering every request with why the application could not be loaded (`--reload`).
    Failing = 4,
}

/// Classes of status: 1xx to 5xx at 1 to 5; at 0 what was aborted.
pub const CLASSES: usize = 6;

/// The figures of one worker. Aligned to two cache lines, since processors fetch lines in pairs.
///
/// Counters only grow while a worker lives and start at zero with it. What earlier workers of the row have counted is
/// kept by the supervisor: see [`counters`](Self::counters).
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Row {
    /// The worker's process; 0: none.
    pub pid: AtomicU32,
    state: AtomicU32,
    /// Which load of the application it runs.
    pub generation: AtomicU64,
    /// When the worker began, in milliseconds of the [clock](now).
    pub started: AtomicU64,
    /// When the loop last turned, in milliseconds of the clock.
    pub loop_beat: AtomicU64,
    /// When the interpreter's lock was last had by the warden, in milliseconds of the clock.
    pub gil_beat: AtomicU64,
    /// When the row was last written, in milliseconds of the clock.
    pub updated: AtomicU64,
    /// Connections that are open now.
    pub connections: AtomicU64,
    /// Threads of the crew that are in the application now.
    pub running: AtomicU64,
    /// Requests that wait for a thread now.
    pub queued: AtomicU64,
    /// Threads of the crew, whatever they do now.
    pub threads: AtomicU64,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Requests that came in whole and were handed to the crew.
    pub arrived: AtomicU64,
    /// Requests that have ended: answered, refused or aborted.
    pub requests: AtomicU64,
    /// Bytes received from clients.
    pub bytes_in: AtomicU64,
    /// Bytes sent to clients, heads of answers too.
    pub bytes_out: AtomicU64,
    /// Requests that have ended, by [class](CLASSES) of status.
    pub status: [AtomicU64; CLASSES],
    /// Log lines that could not be written.
    pub log_dropped: AtomicU64,
    /// How long requests waited for a thread that took them.
    pub queue_time: Histogram,
    /// How long the application took to answer.
    pub app_time: Histogram,
    /// What the worker has in hand.
    pub in_hand: Requests,
}

impl Row {
    /// Makes the row this process's own: all figures zero.
    pub fn claim(&self, generation: u64) {
        self.clear();
        let now = now();
        self.generation.store(generation, Ordering::Relaxed);
        for time in [&self.started, &self.updated, &self.loop_beat, &self.gil_beat] {
            time.store(now, Ordering::Relaxed);
        }
        self.set_state(State::Booting);
        self.pid.store(std::process::id(), Ordering::Release);
    }

    /// Empties the row: by the supervisor, when the worker has ended. Whoever wants its [counters](Self::counters) has
    /// taken them before.
    pub fn clear(&self) {
        self.pid.store(0, Ordering::Release);
        self.set_state(State::Free);
        let figures = [
            &self.generation,
            &self.started,
            &self.loop_beat,
            &self.gil_beat,
            &self.updated,
            &self.connections,
            &self.running,
            &self.queued,
            &self.threads,
            &self.accepted,
            &self.arrived,
            &self.requests,
            &self.bytes_in,
            &self.bytes_out,
            &self.log_dropped,
        ];
        for figure in figures.into_iter().chain(&self.status) {
            figure.store(0, Ordering::Relaxed);
        }
        self.queue_time.clear();
        self.app_time.clear();
        self.in_hand.clear();
    }

    /// The requests that the worker has in hand now, the oldest first.
    pub fn in_flight(&self) -> Vec<InFlight> {
        self.in_hand.in_flight()
    }

    /// What the worker is doing.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            1 => State::Booting,
            2 => State::Serving,
            3 => State::Draining,
            4 => State::Failing,
            _ => State::Free,
        }
    }

    /// Says what the worker is doing.
    pub fn set_state(&self, state: State) {
        self.state.store(state as u32, Ordering::Release);
    }

    /// The loop says that it turns; costs three relaxed stores.
    pub fn beat(&self, connections: u64) {
        let now = now();
        self.connections.store(connections, Ordering::Relaxed);
        self.loop_beat.store(now, Ordering::Relaxed);
        self.updated.store(now, Ordering::Relaxed);
    }

    /// Counts what has come and gone. Costs nothing where nothing has.
    pub fn count(&self, accepted: u64, arrived: u64, received: u64, sent: u64) {
        let counters = [&self.accepted, &self.arrived, &self.bytes_in, &self.bytes_out];
        for (counter, more) in counters.into_iter().zip([accepted, arrived, received, sent]) {
            if more > 0 {
                counter.fetch_add(more, Ordering::Relaxed);
            }
        }
    }

    /// Whether the worker has not written for `age`, or there is none.
    pub fn is_stale(&self, age: Duration) -> bool {
        let silent = now().saturating_sub(self.updated.load(Ordering::Relaxed));
        self.pid.load(Ordering::Acquire) == 0 || Duration::from_millis(silent) > age
    }

    /// Whether the worker's interpreter's lock was not had for `age`.
    pub fn is_held_up(&self, age: Duration) -> bool {
        Duration::from_millis(now().saturating_sub(self.gil_beat.load(Ordering::Relaxed))) > age
    }

    /// Counts a request that has ended, under its class; anything that is no status counts as aborted.
    pub fn count_status(&self, status: u16) {
        let class = usize::from(status / 100);
        self.status[if class < CLASSES { class } else { 0 }].fetch_add(1, Ordering::Relaxed);
    }

    /// What the worker has counted up to now.
    pub fn counters(&self) -> Counters {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Counters {
            accepted: read(&self.accepted),
            // Before those that it may not be fewer than: a request arrives before it ends.
            requests: read(&self.requests),
            status: array::from_fn(|class| read(&self.status[class])),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            log_dropped: read(&self.log_dropped),
            app_time: self.app_time.counts(),
            queue_time: self.queue_time.counts(),
            arrived: read(&self.arrived),
        }
    }
}

/// The counters of a row at one moment, or those of several together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// See [`Row::accepted`].
    pub accepted: u64,
    /// See [`Row::arrived`].
    pub arrived: u64,
    /// See [`Row::requests`].
    pub requests: u64,
    /// See [`Row::status`].
    pub status: [u64; CLASSES],
    /// See [`Row::bytes_in`].
    pub bytes_in: u64,
    /// See [`Row::bytes_out`].
    pub bytes_out: u64,
    /// See [`Row::log_dropped`].
    pub log_dropped: u64,
    /// See [`Row::queue_time`].
    pub queue_time: Durations,
    /// See [`Row::app_time`].
    pub app_time: Durations,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.arrived += other.arrived;
        self.requests += other.requests;
        for (own, more) in self.status.iter_mut().zip(other.status) {
            *own += more;
        }
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.log_dropped += other.log_dropped;
        self.queue_time += other.queue_time;
        self.app_time += other.app_time;
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_flight::Entry;
    use super::*;

    #[test]
    fn statuses_are_counted_by_class() {
        let row = Row::default();
        for status in [200, 204, 404, 503, 999] {
            row.count_status(status);
        }
        assert_eq!(row.counters().status, [1, 0, 2, 0, 1, 1]);
    }

    #[test]
    fn counters_add_up() {
        let row = Row::default();
        let figures = [
            (&row.accepted, 1),
            (&row.arrived, 2),
            (&row.requests, 3),
            (&row.bytes_in, 4),
            (&row.bytes_out, 5),
            (&row.log_dropped, 6),
        ];
        for (figure, value) in figures {
            figure.store(value, Ordering::Relaxed);
        }
        row.count_status(200);
        row.queue_time.observe(Duration::from_micros(3));
        row.app_time.observe(Duration::from_millis(4));
        let mut sum = row.counters();
        sum += row.counters();
        let figures = [sum.accepted, sum.arrived, sum.requests, sum.bytes_in, sum.bytes_out, sum.log_dropped];
        assert_eq!(figures, [2, 4, 6, 8, 10, 12]);
        assert_eq!(sum.status, [0, 0, 2, 0, 0, 0]);
        assert_eq!((sum.queue_time.count(), sum.queue_time.nanos), (2, 6_000));
        assert_eq!((sum.app_time.count(), sum.app_time.nanos), (2, 8_000_000));
    }

    #[test]
    fn a_row_that_is_claimed_or_cleared_has_nothing_of_the_one_before() {
        let row = Row::default();
        let leave_something = || {
            for figure in [&row.arrived, &row.requests, &row.running, &row.queued, &row.threads] {
                figure.store(7, Ordering::Relaxed);
            }
            row.count_status(200);
            row.queue_time.observe(Duration::from_micros(3));
            row.app_time.observe(Duration::from_millis(4));
            let line: [&[u8]; 5] = [b"GET", b" ", b"/", b" ", b"HTTP/1.1"];
            let entry = Entry { id: 1, arrived: 1, began: Some(1), thread: 1, client: None, line };
            row.in_hand.tell(std::iter::once(entry));
        };
        let is_empty = || {
            let gauges = [&row.running, &row.queued, &row.threads, &row.connections];
            row.counters() == Counters::default()
                && row.in_flight().is_empty()
                && gauges.iter().all(|gauge| gauge.load(Ordering::Relaxed) == 0)
        };
        leave_something();
        assert!(!is_empty());
        row.claim(4);
        assert!(is_empty());
        assert_eq!((row.state(), row.generation.load(Ordering::Relaxed)), (State::Booting, 4));
        leave_something();
        row.clear();
        assert!(is_empty());
        assert_eq!((row.state(), row.pid.load(Ordering::Relaxed)), (State::Free, 0));
    }
}
