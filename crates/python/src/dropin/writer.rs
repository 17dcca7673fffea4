//! `wfile`: what a handler writes, status line and fields too, goes to its client as it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBrokenPipeError, PyValueError};
use pyo3::prelude::*;
use stdserve_server::{Exchange, Stream};

enum State {
    /// Nothing was written.
    Untouched(Exchange),
    Writing(Stream),
    /// A thread waits for the client, with the interpreter's lock let go.
    Busy,
    Ended,
}

/// A file to write a response to: unbuffered to the handler, whose writes go out together where they come at once.
#[pyclass(frozen, name = "ResponseWriter", module = "stdserve._stdserve")]
pub(crate) struct Writer(Mutex<State>);

impl Writer {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self(Mutex::new(State::Untouched(exchange)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handler is done. `keep`: what it wrote delimits itself.
    pub(super) fn end(&self, keep: bool) {
        let state = std::mem::replace(&mut *self.lock(), State::Ended);
        match state {
            State::Untouched(exchange) => exchange.complete_verbatim(0, Vec::new(), keep),
            State::Writing(stream) if keep => stream.end(),
            State::Writing(stream) => stream.end_and_close(),
            State::Busy | State::Ended => {}
        }
    }
}

/// The status that a response begins with; 200 where it has no status line (HTTP/0.9).
fn status(start: &[u8]) -> u16 {
    let digits = start.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(200)
}

#[pymethods]
#[allow(clippy::unused_self)] // methods of a file, to Python
impl Writer {
    /// Sends `data`, waiting for the client where it is slow. Raises `BrokenPipeError` where it has gone.
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let copied;
        let bytes = if let Ok(bytes) = data.cast::<pyo3::types::PyBytes>() {
            bytes.as_bytes()
        } else {
            copied = PyBuffer::<u8>::get(data)?.to_vec(py)?;
            &copied
        };
        if bytes.is_empty() {
            return Ok(0);
        }
        let state = std::mem::replace(&mut *self.lock(), State::Busy);
        let mut stream = match state {
            State::Untouched(exchange) => exchange.start_verbatim(status(bytes)),
            State::Writing(stream) => stream,
            State::Busy => return Err(PyValueError::new_err("another thread writes to this response")),
            State::Ended => {
                *self.lock() = State::Ended;
                return Err(PyValueError::new_err("the response has ended"));
            }
        };
        let mut rest = bytes;
        let sent = loop {
            match stream.send_soon(rest) {
                Ok(count) if count == rest.len() => break Ok(()),
                Ok(count) => rest = &rest[count..],
                Err(gone) => break Err(gone),
            }
            if let Err(gone) = py.detach(|| stream.wait()) {
                break Err(gone);
            }
        };
        let mut state = self.lock();
        // The handler may have returned meanwhile, where another of its threads writes.
        if matches!(*state, State::Busy) {
            *state = State::Writing(stream);
        }
        drop(state);
        match sent {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(PyBrokenPipeError::new_err((32, "Broken pipe"))),
        }
    }

    fn writelines(&self, py: Python<'_>, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(py, &line?)?;
        }
        Ok(())
    }

    /// Nothing: what was written is on its way.
    fn flush(&self) {}

    /// Nothing: the connection goes on, or ends, when the handler returns.
    fn close(&self) {}

    fn writable(&self) -> bool {
        true
    }

    fn readable(&self) -> bool {
        false
    }

    fn seekable(&self) -> bool {
        false
    }

    fn isatty(&self) -> bool {
        false
    }

    #[getter]
    fn closed(&self) -> bool {
        matches!(*self.lock(), State::Ended)
    }
}
