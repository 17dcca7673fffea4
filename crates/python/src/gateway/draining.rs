//! `environ["stdserve.draining"]`: how an application learns that its worker, or its server, is about to end.
//!
//! Set by whoever runs the loop, who never waits for the interpreter: so this is an eventfd and a flag, and nothing
//! of Python's is called. An application waits for it together with what it waits for anyway.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use stdserve_sys::pipes::Bell;

/// Whether the server has begun to drain: it accepts no more, and ends as soon as no request runs.
#[pyclass(frozen, name = "Draining", module = "stdserve._stdserve")]
#[derive(Debug, Clone)]
pub(crate) struct Draining(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    set: AtomicBool,
    /// Rings once, and is never silenced: whoever waits on it is woken.
    bell: Bell,
}

impl Draining {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Shared { set: AtomicBool::new(false), bell: Bell::new()? })))
    }

    /// It drains from now on. Needs no interpreter, and never waits.
    pub(crate) fn set(&self) {
        self.0.set.store(true, Ordering::Release);
        self.0.bell.ring();
    }
}

#[pymethods]
impl Draining {
    /// Whether it drains.
    fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// A descriptor that is readable from then on, for `select` and its kin. Not to be read, nor closed.
    fn fileno(&self) -> i32 {
        self.0.bell.as_fd().as_raw_fd()
    }

    fn __repr__(&self) -> &'static str {
        if self.is_set() { "<stdserve draining>" } else { "<stdserve serving>" }
    }
}
