//! An application that forks. The child has a copy of everything, and must answer nothing: when the application
//! returns in it, the child ends.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stdserve_sys::fork_guard::{self, Home};

use super::report;

/// How many [`Watch`]es there are: whether this process serves.
static SERVING: AtomicUsize = AtomicUsize::new(0);

/// While one lives, this process serves, and children that Python code forks off are told that they do not.
#[derive(Debug)]
pub(crate) struct Watch(Home);

impl Watch {
    pub(crate) fn new(py: Python<'_>) -> PyResult<Self> {
        static ONCE: Once = Once::new();
        let mut registered = Ok(());
        ONCE.call_once(|| {
            registered = (|| {
                let arguments = PyDict::new(py);
                arguments.set_item("after_in_child", wrap_pyfunction!(after_fork_in_child, py)?)?;
                py.import("os")?.call_method("register_at_fork", (), Some(&arguments)).map(drop)
            })();
        });
        registered?;
        SERVING.fetch_add(1, Ordering::Relaxed);
        Ok(Self(Home::here()))
    }

    /// Whether the application has forked this process off since.
    pub(crate) fn is_forked(&self) -> bool {
        self.0.is_left()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        SERVING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs in a child of `os.fork`, before `os.fork` returns there.
#[pyfunction]
fn after_fork_in_child() {
    if SERVING.load(Ordering::Relaxed) > 0 {
        fork_guard::close_in_child();
    }
}

/// Ends a child in which the application has returned: with 0, with what `sys.exit` was given, or with 1 after a
/// traceback. Flushes Python's streams, and touches nothing that the parent has too.
pub(crate) fn leave<T>(py: Python<'_>, result: &PyResult<T>) -> ! {
    let code = match result {
        Ok(_) => 0,
        Err(error) if error.is_instance_of::<PySystemExit>(py) => exit_code(py, error),
        Err(error) => {
            eprintln!("{}", report::traceback(py, error));
            1
        }
    };
    for stream in ["stdout", "stderr"] {
        let _ = py.import("sys").and_then(|sys| sys.getattr(stream)?.call_method0("flush"));
    }
    // SAFETY: ends the process without running handlers that belong to the parent.
    unsafe { libc::_exit(code) }
}

/// What `sys.exit(code)` means as an exit code.
fn exit_code(py: Python<'_>, error: &PyErr) -> i32 {
    let Ok(code) = error.value(py).getattr("code") else { return 1 };
    if code.is_none() {
        return 0;
    }
    code.extract().unwrap_or_else(|_| {
        eprintln!(
            "{}",
            code.str().map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
        );
        1
    })
}
