//! The native parts of `stdserve.concurrent`.
//!
//! Nothing here waits: a thread that waits in Rust while the interpreter ends could not be ended without aborting the
//! process (CPython before 3.14 ends it by `pthread_exit`). Waiting is done by the Python half of each part. What has a
//! state touches it with the GIL held and runs no Python code meanwhile, so that a fork never finds it half changed.
//!
//! A part is a module here, and its classes and functions are exported in `lib.rs`.

use std::io;

use pyo3::exceptions::{PyMemoryError, PyOSError};
use pyo3::prelude::*;

pub(crate) mod exchange;
pub(crate) mod lines;
pub(crate) mod processes;
pub(crate) mod queue;
pub(crate) mod tasks;

/// An `OSError` with its `errno`, which pyo3's own conversion leaves out; a `MemoryError` for want of memory. Runs no
/// Python code, so that it can be made where something is locked.
fn os_error(error: io::Error) -> PyErr {
    if error.kind() == io::ErrorKind::OutOfMemory {
        return PyMemoryError::new_err(error.to_string());
    }
    let Some(number) = error.raw_os_error() else { return error.into() };
    let text = error.to_string();
    let message = text.strip_suffix(&format!(" (os error {number})")).unwrap_or(&text);
    PyOSError::new_err((number, message.to_owned()))
}
