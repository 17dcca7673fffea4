//! What the machine is given: the worker groups, their limits, and the times and counts that hold for all.

use std::time::Duration;

/// The workers of one listener set, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    /// What logs call it.
    pub name: String,
    /// How many workers.
    pub workers: usize,
    /// How many there can ever be at once, and so rows of the scoreboard. Fixed at the start, since the rows are
    /// mapped before the first fork.
    pub rows: usize,
    /// When a worker is replaced that does nothing wrong.
    pub limits: Limits,
}

impl GroupPlan {
    /// A group with room for twice as many workers, or eight more.
    pub fn new(name: impl Into<String>, workers: usize, limits: Limits) -> Self {
        Self { name: name.into(), workers, rows: (workers * 2).max(workers + 8), limits }
    }

    /// The most workers that the group can be scaled to: two rows are for one that takes another's place, and for one
    /// that a new load is tried with.
    pub fn most(&self) -> usize {
        self.rows.saturating_sub(2).max(1)
    }
}

/// When a worker is replaced that does nothing wrong. None by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// After so many requests.
    pub requests: Option<u64>,
    /// Up to so many requests more, at random for each worker.
    pub requests_jitter: u64,
    /// After this time, less up to a tenth of it, at random for each worker.
    pub lifetime: Option<Duration>,
    /// When it uses so many bytes of memory (resident).
    pub rss: Option<u64>,
    /// When the interpreter's lock cannot be had for this time while requests run: a time-out of requests and a grace.
    pub stuck: Option<Duration>,
}

impl Limits {
    /// After how many requests a worker is replaced that has drawn this number.
    pub(super) fn quota(&self, draw: u64) -> Option<u64> {
        // Of the number's two halves each limit takes one.
        let jitter = share(self.requests_jitter, draw as u32);
        self.requests.map(|requests| requests.saturating_add(jitter).max(1))
    }

    /// After what time.
    pub(super) fn life(&self, draw: u64) -> Option<Duration> {
        let share = share(1000, (draw >> 32) as u32) as u32;
        self.lifetime.map(|lifetime| lifetime.saturating_sub(lifetime / 10_000 * share))
    }

    /// Whether workers need to be measured.
    pub fn needs_figures(&self) -> bool {
        self.requests.is_some() || self.rss.is_some() || self.stuck.is_some()
    }
}

/// The part of `whole` that `draw` is of its own range.
fn share(whole: u64, draw: u32) -> u64 {
    // Less than `whole` + 1, so that it fits.
    (((u128::from(whole) + 1) * u128::from(draw)) >> 32) as u64
}

/// Times and counts of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long requests that run may take to end after SIGTERM. 30 s.
    pub graceful_timeout: Duration,
    /// How long workers may take to leave when that time is over: to cut what runs, and to write their logs. 1 s.
    pub leave_timeout: Duration,
    /// How long workers that were told to stop at once may take. 3 s.
    pub stop_timeout: Duration,
    /// How long the kernel may take to end what was killed, before the supervisor leaves without it. 2 s.
    pub kill_timeout: Duration,
    /// A worker that dies within this time after its start died early. 5 s.
    pub first_moments: Duration,
    /// So many early deaths in a row end everything. 5.
    pub early_deaths: u32,
    /// How long a slot stays empty after one early death; doubled with each further one. 100 ms.
    pub back_off: Duration,
    /// The longest that a slot stays empty. 5 s.
    pub back_off_limit: Duration,
    /// Whether a hang-up (SIGHUP) ends, as it should where a terminal was closed.
    pub hangup_ends: bool,
    /// Whether SIGWINCH has all workers leave, as it should where no terminal sends it.
    pub winch_pauses: bool,
    /// Whether this server replaces another, which is still there.
    pub replaces: bool,
    /// Where the random numbers begin that keep workers from being replaced all at once.
    pub seed: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            graceful_timeout: Duration::from_secs(30),
            leave_timeout: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(3),
            kill_timeout: Duration::from_secs(2),
            first_moments: Duration::from_secs(5),
            early_deaths: 5,
            back_off: Duration::from_millis(100),
            back_off_limit: Duration::from_secs(5),
            hangup_ends: false,
            winch_pauses: false,
            replaces: false,
            seed: 0,
        }
    }
}
