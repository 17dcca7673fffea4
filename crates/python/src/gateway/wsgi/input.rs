//! `wsgi.input`: a request's body as a file-like object (PEP 3333, "Input and Error Streams").
//!
//! The body is complete before the application runs, so nothing here waits for a client, and reading past the end
//! gives the empty string, as for a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use stdserve_server::Body;

/// How much of a spooled body is read at once to find the end of a line, in bytes.
const STRETCH: usize = 64 << 10;

/// The body of one request. Fails with `ValueError` once the request is over, so that a late reader cannot see the
/// body of another.
#[pyclass(frozen, name = "Input", module = "stdserve._stdserve")]
pub(super) struct Input {
    source: Mutex<Source>,
}

enum Source {
    Memory {
        data: Vec<u8>,
        at: usize,
    },
    File {
        file: File,
        len: u64,
        /// Where `ahead` ends in the file.
        at: u64,
        /// What was read to find the end of a line, and how much of it is used up.
        ahead: Vec<u8>,
        used: usize,
    },
    /// A thread is reading, with the interpreter's lock let go.
    Busy,
    /// The request is over, or the application closed the object.
    Ended,
}

impl Source {
    fn new(body: Body) -> Self {
        match body {
            // Bodies were asked for whole.
            Body::Empty | Body::Stream(_) => Self::Memory { data: Vec::new(), at: 0 },
            Body::Memory(data) => Self::Memory { data, at: 0 },
            Body::File { file, len } => Self::File { file, len, at: 0, ahead: Vec::new(), used: 0 },
        }
    }

    /// Bytes that are left.
    fn left(&self) -> u64 {
        match self {
            Self::Memory { data, at } => (data.len() - at) as u64,
            Self::File { len, at, ahead, used, .. } => len - at + (ahead.len() - used) as u64,
            Self::Busy | Self::Ended => 0,
        }
    }

    /// Moves the next bytes into `out`, which is no longer than [`left`](Self::left).
    fn take(&mut self, out: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Memory { data, at } => {
                out.copy_from_slice(&data[*at..*at + out.len()]);
                *at += out.len();
                // A body that has been read is held once, by the application.
                if *at == data.len() {
                    *data = Vec::new();
                    *at = 0;
                }
            }
            Self::File { file, at, ahead, used, .. } => {
                let (first, rest) = out.split_at_mut(out.len().min(ahead.len() - *used));
                first.copy_from_slice(&ahead[*used..*used + first.len()]);
                *used += first.len();
                file.read_exact_at(rest, *at)?;
                *at += rest.len() as u64;
            }
            Self::Busy | Self::Ended => {}
        }
        Ok(())
    }

    /// How many bytes the next line has, its newline included, if it is at most `limit` long.
    fn line(&mut self, limit: u64) -> io::Result<u64> {
        match self {
            Self::Memory { data, at } => {
                let rest = &data[*at..];
                let rest = &rest[..rest.len().min(usize::try_from(limit).unwrap_or(usize::MAX))];
                Ok(find_newline(rest).map_or(rest.len(), |newline| newline + 1) as u64)
            }
            Self::File { file, len, at, ahead, used } => {
                // Found in what was read before, as nearly always, it costs no more than the line's own length.
                let mut searched = 0;
                loop {
                    let rest = &ahead[*used..];
                    let rest = &rest[..rest.len().min(usize::try_from(limit).unwrap_or(usize::MAX))];
                    if let Some(newline) = find_newline(&rest[searched..]) {
                        return Ok((searched + newline + 1) as u64);
                    }
                    searched = rest.len();
                    let more = STRETCH.min(usize::try_from(*len - *at).unwrap_or(STRETCH));
                    if searched as u64 >= limit || more == 0 {
                        return Ok(searched as u64);
                    }
                    // All of what was read before belongs to this line: what stands before it is not needed any more.
                    ahead.drain(..std::mem::take(used));
                    ahead.resize(searched + more, 0);
                    if let Err(error) = file.read_exact_at(&mut ahead[searched..], *at) {
                        ahead.truncate(searched);
                        return Err(error);
                    }
                    *at += more as u64;
                }
            }
            Self::Busy | Self::Ended => Ok(0),
        }
    }

    /// Whether `wanted` bytes, or a line of at most so many, may have to come from the disk.
    fn is_slow(&self, wanted: Wanted) -> bool {
        match (self, wanted) {
            (Self::File { ahead, used, .. }, Wanted::Bytes(size)) => ahead.len() - used < size,
            (Self::File { ahead, used, .. }, Wanted::Line(limit)) => {
                let rest = &ahead[*used..];
                (rest.len() as u64) < limit && find_newline(rest).is_none()
            }
            _ => false,
        }
    }
}

/// What is to be read.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Bytes(usize),
    Line(u64),
}

fn find_newline(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes)
}

/// A size argument: `None` and negative numbers mean all.
fn bound(size: Option<isize>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(u64::MAX)
}

impl Input {
    pub(super) fn new() -> Self {
        Self { source: Mutex::new(Source::Ended) }
    }

    /// Begins a request.
    pub(super) fn begin(&self, body: Body) {
        *self.lock() = Source::new(body);
    }

    /// The request is over.
    pub(super) fn end(&self) {
        *self.lock() = Source::Ended;
    }

    /// Held for a few instructions at a time, never while Python code may run.
    fn lock(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `read` on the source; without the interpreter's lock where it may have to wait for a disk. The source
    /// is out of its place meanwhile, so that the mutex is never held while a thread waits for the interpreter.
    fn with<R: Send>(
        &self,
        py: Python<'_>,
        wanted: Wanted,
        read: impl FnOnce(&mut Source) -> io::Result<R> + Send,
    ) -> PyResult<R> {
        let mut place = self.lock();
        match &mut *place {
            Source::Ended => {
                return Err(PyValueError::new_err("the request that this input belongs to is over"));
            }
            Source::Busy => {
                return Err(PyRuntimeError::new_err("another thread is reading this input at the moment"));
            }
            source if !source.is_slow(wanted) => return Ok(read(source)?),
            _ => {}
        }
        let mut source = std::mem::replace(&mut *place, Source::Busy);
        drop(place);
        let answer = py.detach(|| {
            let answer = read(&mut source);
            (answer, source)
        });
        let mut place = self.lock();
        // The application may have closed it meanwhile.
        if matches!(*place, Source::Busy) {
            *place = answer.1;
        }
        Ok(answer.0?)
    }

    fn take<'py>(&self, py: Python<'py>, size: u64) -> PyResult<Bound<'py, PyBytes>> {
        let left = self.with(py, Wanted::Bytes(0), |source| Ok(source.left()))?;
        let size = usize::try_from(size.min(left)).unwrap_or(usize::MAX);
        if size == 0 {
            return Ok(PyBytes::new(py, b""));
        }
        PyBytes::new_with(py, size, |out| {
            self.with(py, Wanted::Bytes(size), |source| {
                if out.len() as u64 <= source.left() {
                    source.take(out)
                } else {
                    Err(io::Error::other("another thread has read this input"))
                }
            })
        })
    }

    fn line<'py>(&self, py: Python<'py>, size: u64) -> PyResult<Bound<'py, PyBytes>> {
        let size = self.with(py, Wanted::Line(size), |source| source.line(size))?;
        self.take(py, size)
    }
}

#[pymethods]
#[allow(clippy::unused_self)] // methods of a file, to Python
impl Input {
    /// Reads at most `size` bytes, or all that are left.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.take(py, bound(size))
    }

    /// Reads a line with its newline, at most `size` bytes of it.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.line(py, bound(size))
    }

    /// Reads lines until `hint` bytes have come, or all that are left.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        // As for files, no hint and none above zero mean all.
        let hint = hint.filter(|hint| *hint > 0).map_or(usize::MAX, isize::cast_unsigned);
        let lines = PyList::empty(py);
        let mut total = 0;
        while total < hint {
            let line = self.line(py, u64::MAX)?;
            if line.as_bytes().is_empty() {
                break;
            }
            total += line.as_bytes().len();
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.line(py, u64::MAX)?;
        Ok(if line.as_bytes().is_empty() { None } else { Some(line) })
    }

    /// Reads into a writable buffer and returns how many bytes: what `io.BufferedReader` calls.
    fn readinto(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
        let view =
            py.import("builtins")?.getattr("memoryview")?.call1((buffer,))?.call_method1("cast", ("B",))?;
        let data = self.take(py, view.len()? as u64)?;
        let size = data.as_bytes().len();
        view.set_item(pyo3::types::PySlice::new(py, 0, size as isize, 1), data)?;
        Ok(size)
    }

    /// True.
    fn readable(&self) -> bool {
        true
    }

    /// False.
    fn writable(&self) -> bool {
        false
    }

    /// False: what has been read is gone.
    fn seekable(&self) -> bool {
        false
    }

    /// Does nothing.
    fn flush(&self) {}

    /// Forgets the rest of the body.
    fn close(&self) {
        self.end();
    }

    #[getter]
    fn closed(&self) -> bool {
        matches!(*self.lock(), Source::Ended)
    }
}
