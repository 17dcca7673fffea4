//! How an application learns that its worker, or its server, is about to end: `environ["stdserve.draining"]`, and
//! `self.server.draining` of handler classes.
//!
//! Set by whoever runs the loop, who never waits for the interpreter: so this is an eventfd, and nothing of Python's is
//! called. An application waits for it together with what it waits for anyway; a child that it forks may, too.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use stdserve_sys::pipes::{self, Bell, For};

/// Whether the server has begun to drain: it accepts no more, and ends as soon as nothing runs.
#[pyclass(frozen, name = "Draining", module = "stdserve._stdserve")]
#[derive(Debug, Clone)]
pub(crate) struct Draining {
    /// Rings once, and is never silenced: whoever waits for it is woken.
    bell: Arc<Bell>,
}

impl Draining {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { bell: Arc::new(Bell::new()?) })
    }

    /// It drains from now on. Needs no interpreter, and never waits.
    pub(crate) fn set(&self) {
        self.bell.ring();
    }
}

#[pymethods]
impl Draining {
    /// Whether it drains.
    fn is_set(&self) -> PyResult<bool> {
        // Not by a flag, of which a forked child would have a copy.
        let [rings] = pipes::wait([Some((self.bell.as_fd(), For::Reading))], Duration::ZERO)?;
        Ok(rings)
    }

    /// A descriptor that is readable from then on, for `select` and its kin. Not to be read, nor closed.
    fn fileno(&self) -> i32 {
        self.bell.as_fd().as_raw_fd()
    }

    fn __repr__(&self) -> PyResult<&'static str> {
        Ok(if self.is_set()? { "<stdserve draining>" } else { "<stdserve serving>" })
    }
}
