//! `wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling").

use std::fs::File;
use std::os::fd::{BorrowedFd, RawFd};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Wraps a file-like object into an iterable of blocks, which the server sends without reading them where it can.
#[pyclass(frozen, name = "FileWrapper", module = "stdserve._stdserve")]
pub(super) struct FileWrapper {
    #[pyo3(get)]
    filelike: Py<PyAny>,
    #[pyo3(get)]
    blksize: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize = 8192))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> PyResult<Self> {
        if blksize == 0 {
            return Err(PyValueError::new_err("the block size must not be 0"));
        }
        Ok(Self { filelike, blksize })
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self.filelike.bind(py).call_method1("read", (self.blksize,))?;
        Ok(if block.is_truthy()? { Some(block) } else { None })
    }

    /// Closes the file, if it has a `close`.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.filelike.bind(py).getattr_opt("close")? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.filelike)
    }
}

/// The types whose descriptor says what `read` would give.
pub(super) struct FileTypes {
    raw: Py<PyType>,
    buffered: [Py<PyType>; 2],
}

/// A stretch of a regular file.
pub(super) struct Stretch {
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl FileTypes {
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let io = py.import("io")?;
        let class = |name| -> PyResult<Py<PyType>> { Ok(io.getattr(name)?.cast_into::<PyType>()?.unbind()) };
        Ok(Self { raw: class("FileIO")?, buffered: [class("BufferedReader")?, class("BufferedRandom")?] })
    }

    /// What is left of the wrapped file, where it can be sent by descriptor: `None` for everything that is not
    /// exactly a file of `io`, since objects like `GzipFile` have a descriptor that holds something else.
    pub(super) fn stretch(&self, py: Python<'_>, wrapper: &FileWrapper) -> PyResult<Option<Stretch>> {
        let file = wrapper.filelike.bind(py);
        let class = file.get_type();
        if !class.is(&self.raw) {
            if !self.buffered.iter().any(|buffered| class.is(buffered)) {
                return Ok(None);
            }
            if !file.getattr("raw")?.get_type().is(&self.raw) {
                return Ok(None);
            }
            // What was written and not flushed is not in the file yet.
            if class.is(&self.buffered[1]) {
                file.call_method0("flush")?;
            }
        }
        if !file.call_method0("readable")?.is_truthy()? {
            return Ok(None);
        }
        let descriptor: RawFd = file.call_method0("fileno")?.extract()?;
        // SAFETY: the descriptor is open: Python's file object, which we hold a reference to, gave it just now, and
        // no other thread can close it while we are attached. The copy is ours.
        let copy = unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()?;
        let copy = File::from(copy);
        let metadata = copy.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let offset: u64 = file.call_method0("tell")?.extract()?;
        let length = metadata.len().saturating_sub(offset);
        if length == 0 {
            // The kernel's own files (/proc) say that they are empty, and are not: reading tells.
            return Ok(None);
        }
        Ok(Some(Stretch { file: copy, offset, length }))
    }
}
