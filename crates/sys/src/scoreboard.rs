//! The scoreboard: memory shared by the supervisor and its workers, one row a worker.
//!
//! It is mapped before the first fork. A worker writes its own row only; the supervisor reads all rows without asking
//! anybody, so that figures are there also while every worker hangs. All fields are plain atomics: a worker that dies
//! in the middle leaves at worst one figure that is older than its neighbour, and [`Row::is_stale`] tells a row that
//! nobody writes any more.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

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
}

/// The figures of one worker. Aligned to two cache lines, since processors fetch lines in pairs.
///
/// Counters only grow while a worker lives and start at zero with it.
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
    /// Requests that run in the application now.
    pub running: AtomicU64,
    /// Requests that wait for a thread now.
    pub queued: AtomicU64,
    /// Threads of the crew.
    pub threads: AtomicU64,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Requests answered.
    pub requests: AtomicU64,
    /// Bytes received from clients.
    pub bytes_in: AtomicU64,
    /// Bytes sent to clients.
    pub bytes_out: AtomicU64,
    /// Answers by class of status: 1xx to 5xx at 1 to 5; at 0 what was aborted.
    pub status: [AtomicU64; 6],
    /// Log lines that could not be written.
    pub log_dropped: AtomicU64,
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

    /// Empties the row: by the supervisor, when the worker has ended.
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
            &self.requests,
            &self.bytes_in,
            &self.bytes_out,
            &self.log_dropped,
        ];
        for figure in figures.into_iter().chain(&self.status) {
            figure.store(0, Ordering::Relaxed);
        }
    }

    /// What the worker is doing.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            1 => State::Booting,
            2 => State::Serving,
            3 => State::Draining,
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

    /// Whether the worker has not written for `age`, or there is none.
    pub fn is_stale(&self, age: Duration) -> bool {
        let silent = now().saturating_sub(self.updated.load(Ordering::Relaxed));
        self.pid.load(Ordering::Acquire) == 0 || Duration::from_millis(silent) > age
    }

    /// Counts an answer under its class; anything that is no status counts as aborted.
    pub fn count_status(&self, status: u16) {
        let class = usize::from(status / 100);
        self.status[if class <= 5 { class } else { 0 }].fetch_add(1, Ordering::Relaxed);
    }
}

/// Milliseconds of `CLOCK_MONOTONIC`, which all processes of the machine share.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// All rows.
#[derive(Debug)]
pub struct Scoreboard {
    rows: NonNull<Row>,
    count: usize,
}

// SAFETY: the memory is mapped for as long as the value lives and holds nothing but atomics.
unsafe impl Send for Scoreboard {}
// SAFETY: as above; a shared reference allows atomic operations only.
unsafe impl Sync for Scoreboard {}

impl Scoreboard {
    /// Maps memory for `count` rows, shared with every process that is forked from now on.
    pub fn new(count: usize) -> io::Result<Self> {
        let count = count.max(1);
        let length = size_of::<Row>().checked_mul(count).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice disturbs nothing.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let rows = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { rows, count })
    }

    /// The rows, in the order of the worker slots.
    pub fn rows(&self) -> &[Row] {
        // SAFETY: the mapping is page-aligned, long enough, zeroed by the kernel (a valid row: all fields are atomic
        // integers), and lives as long as `self`. Other processes change it through atomics only.
        unsafe { std::slice::from_raw_parts(self.rows.as_ptr(), self.count) }
    }

    /// One row, if there are that many.
    pub fn row(&self, slot: usize) -> Option<&Row> {
        self.rows().get(slot)
    }

    /// The fewest connections that a live worker `among` these rows, other than `except`, holds; `None` when there is
    /// no other. Rows that were not written for `age` do not count.
    pub fn fewest_connections(&self, among: Range<usize>, except: usize, age: Duration) -> Option<u64> {
        let rows = self.rows().get(among.clone()).unwrap_or_default();
        let others = among.zip(rows).filter(|(slot, _)| *slot != except);
        others
            .filter(|(_, row)| row.state() == State::Serving && !row.is_stale(age))
            .map(|(_, row)| row.connections.load(Ordering::Relaxed))
            .min()
    }
}

impl Drop for Scoreboard {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` with this length, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.rows.as_ptr().cast(), size_of::<Row>() * self.count) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_apart_and_start_free() {
        assert_eq!(size_of::<Row>() % 128, 0);
        let board = Scoreboard::new(3).unwrap();
        assert_eq!(board.rows().len(), 3);
        for row in board.rows() {
            assert_eq!(row.state(), State::Free);
            assert_eq!(std::ptr::from_ref(row) as usize % 128, 0);
        }
        assert!(board.row(3).is_none());
    }

    #[test]
    fn stale_rows_do_not_count() {
        let board = Scoreboard::new(3).unwrap();
        let age = Duration::from_secs(1);
        assert_eq!(board.fewest_connections(0..3, 0, age), None);
        for (slot, connections) in [(0, 1), (1, 5), (2, 3)] {
            let row = &board.rows()[slot];
            row.claim(1);
            row.set_state(State::Serving);
            row.beat(connections);
        }
        assert_eq!(board.fewest_connections(0..3, 0, age), Some(3));
        // Those of another group.
        assert_eq!(board.fewest_connections(0..2, 0, age), Some(5));
        assert_eq!(board.fewest_connections(1..3, 2, age), Some(5));
        board.rows()[2].updated.store(now().saturating_sub(5000), Ordering::Relaxed);
        assert_eq!(board.fewest_connections(0..3, 0, age), Some(5));
        board.rows()[1].clear();
        assert_eq!(board.fewest_connections(0..3, 0, age), None);
    }

    #[test]
    fn statuses_are_counted_by_class() {
        let board = Scoreboard::new(1).unwrap();
        for status in [200, 204, 404, 503, 999] {
            board.rows()[0].count_status(status);
        }
        let counts: Vec<_> = board.rows()[0].status.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [1, 0, 2, 0, 1, 1]);
    }
}
