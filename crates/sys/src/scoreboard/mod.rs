//! The scoreboard: memory shared by the supervisor and its workers, one row a worker.
//!
//! It is mapped before the first fork. A worker writes its own row only; the supervisor reads all rows without asking
//! anybody, so that figures are there also while every worker hangs. All fields are plain atomics: a worker that dies
//! in the middle leaves at worst one figure that is older than its neighbour, and [`Row::is_stale`] tells a row that
//! nobody writes any more. What has to be read as a whole, the requests in flight, is under a sequence number.

mod histogram;
mod in_flight;
mod row;
mod sealed;
mod slate;

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use histogram::{BOUNDS, Durations, Histogram, RANGES};
pub use in_flight::{Entry, InFlight, LINE, Phase, Requests, SHOWN};
pub use row::{CLASSES, Counters, Row, State};
pub use slate::Slate;

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
    slates: Vec<Slate>,
}

// SAFETY: the memory is mapped for as long as the value lives and holds nothing but atomics.
unsafe impl Send for Scoreboard {}
// SAFETY: as above; a shared reference allows atomic operations only.
unsafe impl Sync for Scoreboard {}

impl Scoreboard {
    /// Maps memory for `count` rows, shared with every process that is forked from now on.
    pub fn new(count: usize) -> io::Result<Self> {
        let count = count.max(1);
        let slates = (0..count).map(|_| Slate::new()).collect::<io::Result<_>>()?;
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
        Ok(Self { rows, count, slates })
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

    /// The slate of a row, if there are that many.
    pub fn slate(&self, slot: usize) -> Option<&Slate> {
        self.slates.get(slot)
    }

    /// The fewest connections that a live worker `among` these rows, other than `except`, holds; `None` when there is
    /// no other. Rows that were not written for `age`, or whose interpreter's lock was not had, do not count.
    pub fn fewest_connections(&self, among: Range<usize>, except: usize, age: Duration) -> Option<u64> {
        let rows = self.rows().get(among.clone()).unwrap_or_default();
        let others = among.zip(rows).filter(|(slot, _)| *slot != except);
        others
            .filter(|(_, row)| row.state() == State::Serving && !row.is_stale(age) && !row.is_held_up(age))
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
        board.rows()[2].beat(3);
        assert_eq!(board.fewest_connections(0..3, 0, age), Some(3));
        board.rows()[2].gil_beat.store(now().saturating_sub(5000), Ordering::Relaxed);
        assert_eq!(board.fewest_connections(0..3, 0, age), Some(5));
        board.rows()[1].clear();
        assert_eq!(board.fewest_connections(0..3, 0, age), None);
    }
}
