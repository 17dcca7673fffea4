//! Daemons and their pid files, and what a forked child must not free: the native part of `processes.py` and
//! `connections.py`.

use std::path::PathBuf;

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use stdserve_sys::daemon::{self, Detached};
use stdserve_sys::pidfile::{self, PidFileError};
use stdserve_sys::process::ForkError;

use super::os_error;
use crate::interpreter::CPython;

/// Goes on in a child's child, which has a session of its own that it does not lead: true there, false in the process
/// that called. Raises where there are other threads, and names them.
#[pyfunction]
pub(crate) fn detach(py: Python<'_>) -> PyResult<bool> {
    match daemon::detach(&mut CPython::new(py, None)) {
        Ok(side) => Ok(side == Detached::Daemon),
        Err(ForkError::System(error)) => Err(os_error(error)),
        Err(error @ ForkError::Threads(_)) => Err(PyRuntimeError::new_err(error.to_string())),
    }
}

/// The file that says which process this is, locked for as long as it lives.
#[pyclass(frozen, module = "stdserve._stdserve")]
#[derive(Debug)]
pub(crate) struct PidFile {
    file: std::sync::Mutex<Option<pidfile::PidFile>>,
}

#[pymethods]
impl PidFile {
    /// Takes it. Raises `RuntimeError` where a process that lives has it, or where it is no pid file.
    #[new]
    fn new(path: PathBuf) -> PyResult<Self> {
        let file = pidfile::PidFile::take(&path).map_err(|error| raised(path, error))?;
        Ok(Self { file: std::sync::Mutex::new(Some(file)) })
    }

    /// Removes it, where it still is this process's.
    fn remove(&self) {
        let file = self.file.lock().map(|mut file| file.take());
        drop(file);
    }
}

/// The id of the process that has a pid file. Not for a file that this process has.
#[pyfunction]
pub(crate) fn pid_file_holder(path: PathBuf) -> PyResult<Option<u32>> {
    let holder = pidfile::holder(&path).map_err(|error| raised(path, error))?;
    Ok(holder.map(|pid| pid.0))
}

/// Keeps an object for ever: in a forked child that of its parent, where to free it would speak for that one.
#[pyfunction]
pub(crate) fn never_free(object: Py<PyAny>) {
    let _ = object.into_ptr();
}

/// The file is named as an `OSError` names its own.
fn raised(path: PathBuf, error: PidFileError) -> PyErr {
    match error {
        PidFileError::System(error) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default().to_owned();
            PyOSError::new_err((error.raw_os_error(), text, path.into_os_string()))
        }
        _ => PyRuntimeError::new_err(format!("{} {error}", path.display())),
    }
}
