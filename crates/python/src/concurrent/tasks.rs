//! What `TaskScheduler` has of the operating system: an epoll instance, its bell and its timer.
//!
//! Python waits on a copy of its descriptor (`select.epoll`), in C; here descriptors are registered and the waiting is
//! ended, in system calls that never wait themselves. They are made with the GIL held: a bell that is closed in one
//! thread while another rings it is either whole or gone, so that no descriptor that has its number afterwards is
//! written to.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use stdserve_sys::interests::Interests as Native;

use super::os_error;

/// What tasks wait for: descriptors, each told once until it is asked for again, a bell and a timer.
#[pyclass(frozen, module = "stdserve._stdserve")]
pub(crate) struct Interests(Mutex<Option<Native>>);

#[pymethods]
impl Interests {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self(Mutex::new(Some(Native::new().map_err(os_error)?))))
    }

    /// The epoll instance's descriptor. `ValueError`: it is closed.
    fn fileno(&self) -> PyResult<RawFd> {
        self.lock().as_ref().map(AsRawFd::as_raw_fd).ok_or_else(closed)
    }

    /// Tells once of any of `events` on `fd`, under `token`, which is not 0. The number of the error, or 0.
    fn add(&self, fd: RawFd, events: u32, token: u32) -> PyResult<i32> {
        let native = self.lock();
        Ok(number(native.as_ref().ok_or_else(closed)?.add(fd, events, token).map_err(Into::into)))
    }

    /// The same for a descriptor that is known already. The number of the error, or 0.
    fn change(&self, fd: RawFd, events: u32, token: u32) -> PyResult<i32> {
        let native = self.lock();
        Ok(number(native.as_ref().ok_or_else(closed)?.change(fd, events, token).map_err(Into::into)))
    }

    /// Ends the wait that is under way, or the next one. From any thread and from signal handlers; nothing when closed.
    fn ring(&self) {
        if let Some(native) = &*self.lock() {
            native.ring();
        }
    }

    /// Rings when so many seconds have passed, in place of what was set before; never: None.
    fn ring_after(&self, seconds: Option<f64>) -> PyResult<()> {
        let after = seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        self.lock().as_ref().ok_or_else(closed)?.ring_after(after).map_err(os_error)
    }

    /// Gives the descriptors back.
    fn close(&self) {
        drop(self.lock().take());
    }
}

impl Interests {
    fn lock(&self) -> MutexGuard<'_, Option<Native>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> PyErr {
    PyValueError::new_err("closed")
}

/// What `errno` calls it.
fn number(outcome: Result<(), std::io::Error>) -> i32 {
    outcome.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EINVAL))
}
