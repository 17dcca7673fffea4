//! Crew threads that Python knows: each a real `threading.Thread` with one thread state for life, so that
//! `threading.local`, profilers and debuggers see what they expect.
//!
//! Where gevent or eventlet have put greenlets in the place of threads, the crew's are made without `threading`; also
//! where Python makes no more threads: CPython 3.12.1 when the main thread has ended, though others go on serving.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};
use stdserve_server::ThreadSource;

use crate::ending;

/// Stack of a crew thread, in bytes: what applications are used to from other servers.
const STACK: usize = 8 << 20;

/// What a thread of the crew does.
type Work = Box<dyn FnOnce() + Send>;

/// Makes `threading.Thread(daemon=True)` objects that run native code.
#[derive(Debug, Clone, Default)]
pub(crate) struct PythonThreads {
    made: Arc<Mutex<Vec<Made>>>,
}

/// A thread that was made.
#[derive(Debug)]
enum Made {
    Known(Py<PyAny>),
    Unknown(thread::JoinHandle<()>),
}

impl PythonThreads {
    fn lock(&self) -> MutexGuard<'_, Vec<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ThreadSource for PythonThreads {
    fn spawn(&self, name: String, entry: Work) -> io::Result<()> {
        let entry = Entry(Arc::new(Mutex::new(Some(entry))));
        let made = ending::attach(|py| -> PyResult<Option<Py<PyAny>>> {
            // A function written in Python: what was built in has been swapped.
            if !py.import("_thread")?.getattr("start_new_thread")?.is_instance_of::<PyCFunction>() {
                return Ok(None);
            }
            match start(py, &name, entry.clone()) {
                Ok(thread) => Ok(Some(thread)),
                Err(error) if error.is_instance_of::<PyRuntimeError>(py) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let made = match made {
            Some(Ok(Some(thread))) => Made::Known(thread),
            Some(Ok(None)) => match entry.take() {
                Some(entry) => Made::Unknown(start_unknown(name, entry)?),
                None => return Ok(()),
            },
            Some(Err(error)) => return Err(io::Error::other(format!("no thread could be made: {error}"))),
            None => return Err(io::Error::other("no thread could be made: the interpreter is ending")),
        };
        self.lock().push(made);
        Ok(())
    }

    /// Before the interpreter ends: CPython ends a thread that comes back to it then in the middle of native code
    /// (before 3.14), and the process with it.
    fn join(&self) {
        for thread in std::mem::take(&mut *self.lock()) {
            match thread {
                // An error: it is the thread that calls, or the interpreter is ending.
                Made::Known(thread) => {
                    ending::attach(|py| {
                        let join = thread.bind(py).getattr("join");
                        drop(join.and_then(|join| ending::call(&join, ())));
                    });
                }
                Made::Unknown(handle) => drop(handle.join()),
            }
        }
    }
}

/// A thread that Python learns of when it first enters it. Its thread state is for life all the same.
fn start_unknown(name: String, entry: Work) -> io::Result<thread::JoinHandle<()>> {
    let run = || {
        ending::attach(|py| py.detach(|| enter(entry)));
    };
    thread::Builder::new().name(name).stack_size(STACK).spawn(run)
}

/// Runs the crew's part of a thread.
fn enter(entry: Work) {
    // Signals are for the main thread. It fails for a wrong set only, which this is not.
    let _ = stdserve_sys::signals::block_for_crew();
    entry();
}

fn start(py: Python<'_>, name: &str, entry: Entry) -> PyResult<Py<PyAny>> {
    let threading = py.import("threading")?;
    let arguments = PyDict::new(py);
    arguments.set_item("name", name)?;
    arguments.set_item("daemon", true)?;
    arguments.set_item("target", Bound::new(py, entry)?)?;
    let thread = ending::call_with(&threading.getattr("Thread")?, &PyTuple::empty(py), Some(&arguments))?;
    // The size is the interpreter's, for the next threads that are made. Nobody else runs between the two calls but
    // at a switch of threads, and a larger stack for one more would do no harm.
    let before = threading.call_method1("stack_size", (STACK,))?;
    let started = ending::call(&thread.getattr("start")?, ());
    threading.call_method1("stack_size", (before,))?;
    started?;
    Ok(thread.unbind())
}

/// The target of a thread. Called once.
#[pyclass(frozen, name = "CrewThread", module = "stdserve._stdserve")]
#[derive(Clone)]
struct Entry(Arc<Mutex<Option<Work>>>);

impl Entry {
    fn take(&self) -> Option<Work> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Entry {
    fn __call__(&self, py: Python<'_>) {
        if let Some(entry) = self.take() {
            py.detach(|| enter(entry));
        }
    }
}
