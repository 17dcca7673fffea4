//! The native half of `stdserve.selectors`: waiting on an epoll instance and telling what is ready.
//!
//! `EpollSelector` keeps its books in Python, as every selector does. What is done for each ready descriptor is done
//! here, in one pass from the kernel's events to the list that `select()` returns.

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use libc::{EPOLLIN, EPOLLOUT, epoll_event};
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

/// `selectors.EVENT_READ`.
const READ: u32 = 1;
/// `selectors.EVENT_WRITE`.
const WRITE: u32 = 2;

/// Where a `SelectorKey` has its events.
const KEY_EVENTS: usize = 2;

thread_local! {
    /// The kernel's events, in memory that is used again.
    static EVENTS: Cell<Vec<epoll_event>> = const { Cell::new(Vec::new()) };
}

/// How long a call waits, and until when.
struct Wait {
    /// What `epoll_wait(2)` is told: -1 for ever.
    milliseconds: i32,
    /// When the time is over, if the end can be reckoned.
    end: Option<Instant>,
}

impl Wait {
    /// As `select()` is told: `None` for ever, what is not positive not at all, else seconds.
    fn new(timeout: Option<f64>) -> PyResult<Self> {
        let seconds = match timeout {
            None => return Ok(Self { milliseconds: -1, end: None }),
            Some(seconds) if seconds <= 0.0 => return Ok(Self { milliseconds: 0, end: None }),
            Some(seconds) => seconds,
        };
        if seconds.is_nan() {
            return Err(PyValueError::new_err("cannot convert float NaN to integer"));
        }
        // Rounded up to what epoll_wait(2) can tell apart: never shorter than asked for.
        let milliseconds = (seconds * 1e3).ceil();
        if milliseconds > f64::from(i32::MAX) {
            return Err(PyOverflowError::new_err("timeout is too large"));
        }
        let milliseconds = milliseconds as i32;
        let end = Instant::now().checked_add(Duration::from_millis(u64::from(milliseconds.unsigned_abs())));
        Ok(Self { milliseconds, end })
    }

    /// After an interruption: what is left to wait.
    fn go_on(&mut self) {
        if let Some(end) = self.end {
            let left = end.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
            self.milliseconds = i32::try_from(left).unwrap_or(i32::MAX);
        }
    }
}

/// Waits on the epoll instance `epoll` for at most `timeout` seconds, and returns a list of `(key, events)` of what is
/// ready.
///
/// `keys` has the `SelectorKey` of each registered descriptor. Without a time-out it waits for ever, with one that is
/// not positive not at all; others are rounded up to whole milliseconds. When a signal comes it waits on (PEP 475),
/// unless the signal's handler raises an exception.
#[pyfunction]
pub(crate) fn epoll_select<'py>(
    epoll: RawFd,
    keys: &Bound<'py, PyDict>,
    timeout: Option<f64>,
) -> PyResult<Bound<'py, PyList>> {
    let py = keys.py();
    let mut wait = Wait::new(timeout)?;
    let mut events = EVENTS.take();
    events.clear();
    events.reserve(keys.len().max(1));
    let room = keys.len().max(1);
    while let Err(error) = py.detach(|| poll(epoll, room, wait.milliseconds, &mut events)) {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error.into());
        }
        py.check_signals()?;
        wait.go_on();
    }
    let ready = PyList::empty(py);
    for event in &events {
        // A descriptor that is not among the keys was closed while a copy of it is still open.
        let Some(key) = keys.get_item(descriptor(event))? else { continue };
        let asked: u32 = key.cast::<PyTuple>()?.get_item(KEY_EVENTS)?.extract()?;
        let told = event.events;
        // An error or a hang-up counts as all that was asked for.
        let mut found = 0;
        if told & !(EPOLLIN as u32) != 0 {
            found |= WRITE;
        }
        if told & !(EPOLLOUT as u32) != 0 {
            found |= READ;
        }
        ready.append((key, found & asked))?;
    }
    EVENTS.set(events);
    Ok(ready)
}

/// One `epoll_wait(2)` for at most `room` events, put into `events`, which is empty and has room for them.
fn poll(epoll: RawFd, room: usize, milliseconds: i32, events: &mut Vec<epoll_event>) -> io::Result<()> {
    debug_assert!(events.is_empty() && events.capacity() >= room);
    let most = i32::try_from(room).unwrap_or(i32::MAX);
    // SAFETY: the kernel writes at most `most` events, for which the vector has room; it checks the descriptor.
    let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), most, milliseconds) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written so many events, no more than there is room for.
    unsafe { events.set_len(count) };
    Ok(())
}

/// The descriptor that `select.epoll` registered an event with: the first half of the kernel's user data, of which the
/// other may hold anything.
fn descriptor(event: &epoll_event) -> RawFd {
    let bytes = { event.u64 }.to_ne_bytes();
    RawFd::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
