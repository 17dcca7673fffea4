//! The native half of `stdserve.concurrent.matching_lines`: [`files`] has the threads, this what Python sees of them.

mod files;

use std::ffi::OsString;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use stdserve_sys::cpus;

use super::os_error;
use files::{Files, Search, Trouble};

/// What went wrong with a file: its kind, an `errno` or an offset, words.
type Told = (&'static str, u64, String);
/// Number of a file, lines of it, and what went wrong behind them.
type Taken<'py> = (usize, Bound<'py, PyList>, Option<Told>);

/// A search through files, by threads that begin when it is made. Nothing here waits.
#[pyclass(frozen, module = "stdserve._stdserve")]
pub(crate) struct LineSearch {
    files: Arc<Files>,
    /// Locked while the GIL is held only, by code that runs no Python.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The process that the threads are in.
    process: u32,
}

#[pymethods]
impl LineSearch {
    /// Searches the files of these names. `threads`: at most so many, 0 for one a CPU.
    #[new]
    fn new(
        names: Vec<Vec<u8>>,
        needle: Vec<u8>,
        threads: usize,
        max_line: usize,
        ordered: bool,
    ) -> PyResult<Self> {
        let paths = names.into_iter().map(|name| OsString::from_vec(name).into()).collect();
        let threads = if threads == 0 { cpus::usable(Path::new("/")) } else { threads };
        let search = Search { paths, needle, longest: max_line, ordered };
        let (files, threads) = Files::begin(search, threads).map_err(os_error)?;
        Ok(Self { files, threads: Mutex::new(threads), process: process::id() })
    }

    /// Number of a file, lines of it, and what went wrong behind them. None: nothing is there (`ended` may be true).
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Taken<'py>>> {
        if self.is_left() {
            let text = "the search runs in the process that began it, not in a forked child of that";
            return Err(PyRuntimeError::new_err(text));
        }
        let Some((number, batch)) = self.files.take() else { return Ok(None) };
        let lines = PyList::new(py, batch.lines().map(|line| PyBytes::new(py, line)))?;
        Ok(Some((number, lines, batch.trouble.as_ref().map(tell))))
    }

    /// Whether `take()` has given everything.
    #[getter]
    fn ended(&self) -> bool {
        !self.is_left() && self.files.has_ended()
    }

    /// Readable when something is there for a `take()` that has returned None, and when it has ended.
    fn fileno(&self) -> RawFd {
        self.files.bell.as_fd().as_raw_fd()
    }

    /// Has the threads end soon. True: they have. False: `fileno()` becomes readable when they have.
    fn close(&self) -> bool {
        if self.is_left() {
            return true;
        }
        let ended = self.files.stop();
        if ended {
            // They are through with everything: this does not wait.
            for thread in self.take_threads() {
                let _ = thread.join();
            }
        }
        ended
    }
}

impl LineSearch {
    /// Whether this is a forked child, which has none of the threads, and a copy of a lock that one may have held.
    fn is_left(&self) -> bool {
        self.process != process::id()
    }

    fn take_threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for LineSearch {
    fn drop(&mut self) {
        if self.is_left() {
            // They stand for threads of the parent.
            std::mem::forget(self.take_threads());
        } else {
            self.files.stop();
        }
    }
}

fn tell(trouble: &Trouble) -> Told {
    match trouble {
        Trouble::Io(error) => {
            let number = error.raw_os_error().and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
            ("os", number, error.to_string())
        }
        Trouble::Corrupt(corrupt) => ("gzip", corrupt.offset, corrupt.what.into()),
        Trouble::TooLong(line) => ("line", line.offset, line.to_string()),
        Trouble::Panic => ("fault", 0, "a fault of stdserve's own".into()),
    }
}
