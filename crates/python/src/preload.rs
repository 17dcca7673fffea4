//! Preloading: watches what an import leaves behind that forked workers cannot use or share, and settles for the fork.
//!
//! Threads are not in a forked child; connections, listening sockets and event loops would be used by all workers at
//! once. What there is, is seen in `/proc/self`; who made it, by CPython's audit events (PEP 578): a native hook that
//! looks at new sockets and at each import. It cannot be taken away again, so it only looks at a flag afterwards.
//! `python/stdserve/_fork_audit.py` is the half that knows Python's objects.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

unsafe extern "C" {
    /// Of CPython's stable interface; pyo3 does not declare it.
    /// <https://docs.python.org/3/c-api/sys.html#c.PySys_AddAuditHook>
    fn PySys_AddAuditHook(
        hook: unsafe extern "C" fn(*const c_char, *mut ffi::PyObject, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
}

/// Whether an import is watched.
static WATCHES: AtomicBool = AtomicBool::new(false);
/// Whether the hook was added.
static ADDED: AtomicBool = AtomicBool::new(false);

/// An import that is watched.
pub(crate) struct Audit(Py<PyAny>);

impl Audit {
    /// Watches from now on; what is there already is no fault of the import.
    pub(crate) fn begin(py: Python<'_>) -> PyResult<Self> {
        let watch = py.import("stdserve._fork_audit")?.call_method0("begin")?.unbind();
        if !ADDED.swap(true, Ordering::Relaxed) {
            // SAFETY: attached; the function lives as long as the program, and takes no data.
            let added = unsafe { PySys_AddAuditHook(heard, ptr::null_mut()) };
            if added < 0 {
                return Err(PyErr::fetch(py));
            }
        }
        WATCHES.store(true, Ordering::Relaxed);
        Ok(Self(watch))
    }

    /// Watches no more: what was left behind, a line each.
    pub(crate) fn end(this: Option<Self>, py: Python<'_>) -> PyResult<Option<String>> {
        WATCHES.store(false, Ordering::Relaxed);
        let Some(Self(watch)) = this else { return Ok(None) };
        let lines: Vec<String> = watch.bind(py).call_method0("left")?.extract()?;
        Ok((!lines.is_empty()).then(|| format!("  {}\n", lines.join("\n  "))))
    }
}

/// # Safety
/// Called by CPython for each audit event: attached, `event` a text, `args` a tuple or null.
unsafe extern "C" fn heard(event: *const c_char, args: *mut ffi::PyObject, _: *mut c_void) -> c_int {
    if !WATCHES.load(Ordering::Relaxed) {
        return 0;
    }
    // SAFETY: the caller's.
    let event = unsafe { CStr::from_ptr(event) };
    if event == c"socket.__new__" || event == c"import" {
        // SAFETY: attached, and `args` is null or an object that lives through the call.
        let (py, args) = unsafe {
            let py = Python::assume_attached();
            (py, Bound::from_borrowed_ptr_or_opt(py, args))
        };
        // What it says is of use to nobody here: an import must not fail for it.
        let _ = py
            .import("stdserve._fork_audit")
            .and_then(|module| module.call_method1("heard", (event.to_str().unwrap_or_default(), args)));
    }
    0
}

/// Collections need not look at what was imported. In workers that were forked afterwards they would copy its pages;
/// in others a request to Flask takes some 2 % less time without.
pub(crate) fn freeze(py: Python<'_>) -> PyResult<()> {
    let gc = py.import("gc")?;
    gc.call_method0("collect")?;
    gc.call_method0("freeze").map(drop)
}

/// Why the application is not preloaded.
pub(crate) fn refusal(left: &str) -> String {
    format!(
        "the application cannot be preloaded: its import leaves behind what forked workers cannot use or share\n{left}\
         hint: make these in each worker (the hooks post_fork and post_worker_init, or the first request), or close \
         them before the import ends, or leave out --preload; --preload=force goes on all the same"
    )
}

/// What is said where it goes on all the same.
pub(crate) fn warning(left: &str) -> String {
    format!("preloaded by force: threads are not in the workers, and all workers share the rest\n{left}")
        .trim_end()
        .to_owned()
}
