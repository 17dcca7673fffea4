//! A contextvars context for each request (PEP 567): what one request sets, no other sees.

use pyo3::ffi;
use pyo3::prelude::*;

use crate::gateway::text::references;

/// Hands out contexts. One that was left empty, and that nobody has kept, serves again.
#[derive(Default)]
pub(crate) struct Contexts {
    spare: Option<Py<PyAny>>,
}

impl Contexts {
    /// Enters an empty context on this thread.
    pub(crate) fn enter<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let context = match self.spare.take() {
            Some(context) => context.into_bound(py),
            // SAFETY: we are attached; the answer is a new reference, or null with an exception.
            None => unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_New())? },
        };
        // SAFETY: `context` is a context.
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(context)
    }

    /// Leaves the context. Fails where the application has left the thread in another one.
    pub(crate) fn exit(&mut self, context: Bound<'_, PyAny>) -> PyResult<()> {
        let py = context.py();
        // SAFETY: `context` is a context; the call fails cleanly where it is not this thread's.
        if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
            return Err(PyErr::fetch(py));
        }
        let is_empty = context.len()? == 0;
        let context = context.unbind();
        if is_empty && references(py, &context) == 1 {
            self.spare = Some(context);
        }
        Ok(())
    }
}
