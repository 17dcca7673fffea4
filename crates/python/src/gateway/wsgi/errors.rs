//! `wsgi.errors`: the log as a text stream (PEP 3333, "Input and Error Streams").

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

use pyo3::prelude::*;

/// A line that goes on for longer is cut into pieces of this many bytes.
const LONGEST: usize = 64 << 10;

/// Writes whole lines to standard error, so that what several threads say at once does not mix.
#[pyclass(frozen, name = "ErrorStream", module = "stdserve._stdserve")]
#[derive(Default)]
pub(super) struct ErrorStream {
    /// What each thread has begun and not ended with a newline.
    begun: Mutex<HashMap<ThreadId, Vec<u8>>>,
}

impl ErrorStream {
    /// Adds `text` to the thread's line and returns what is complete, or all of it for a flush.
    fn add(&self, text: &[u8], all: bool) -> Vec<u8> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = thread::current().id();
        let mut line = begun.remove(&thread).unwrap_or_default();
        line.extend_from_slice(text);
        let end = if all || line.len() > LONGEST {
            line.len()
        } else {
            line.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1)
        };
        let rest = line.split_off(end);
        if !rest.is_empty() {
            begun.insert(thread, rest);
        }
        line
    }
}

#[pymethods]
#[allow(clippy::unused_self)] // methods of a file, to Python
impl ErrorStream {
    fn write(&self, py: Python<'_>, text: &Bound<'_, pyo3::types::PyString>) -> PyResult<usize> {
        let bytes = text.call_method1("encode", ("utf-8", "backslashreplace"))?;
        let lines = self.add(bytes.extract()?, false);
        write_out(py, lines);
        text.len()
    }

    fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(py, line?.cast()?)?;
        }
        Ok(())
    }

    fn flush(&self, py: Python<'_>) {
        let mut rest = self.add(b"", true);
        if !rest.is_empty() {
            rest.push(b'\n');
        }
        write_out(py, rest);
    }

    /// Does nothing: the stream belongs to the server.
    fn close(&self) {}

    fn isatty(&self) -> bool {
        false
    }

    fn writable(&self) -> bool {
        true
    }

    #[getter]
    fn encoding(&self) -> &'static str {
        "utf-8"
    }
}

/// One system call for all lines, without the interpreter's lock: a pipe may be full.
fn write_out(py: Python<'_>, lines: Vec<u8>) {
    if !lines.is_empty() {
        py.detach(move || {
            use std::io::Write;
            let _ = std::io::stderr().write_all(&lines);
        });
    }
}
