//! CPython's hooks around a fork, as `os.fork` calls them.

use pyo3::ffi;
use pyo3::prelude::*;
use stdserve_sys::process::ForkHooks;

/// Calls them. Having the token says that this thread is attached, which they ask for.
pub(crate) struct PythonHooks<'py>(pub(crate) Python<'py>);

impl ForkHooks for PythonHooks<'_> {
    fn before(&mut self) {
        // SAFETY: this thread is attached to the interpreter.
        unsafe { ffi::PyOS_BeforeFork() }
    }

    fn after_in_parent(&mut self) {
        // SAFETY: attached, and `before` was called.
        unsafe { ffi::PyOS_AfterFork_Parent() }
    }

    fn after_in_child(&mut self) {
        // SAFETY: attached in the parent, whose state this child has a copy of, and `before` was called there.
        unsafe { ffi::PyOS_AfterFork_Child() }
    }
}
