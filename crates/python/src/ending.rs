//! Threads that are in Python code while the interpreter ends.
//!
//! CPython before 3.14 ends such a thread by `pthread_exit(3)` when it asks for the interpreter's lock. That unwinds
//! its stack, through the Rust code that has called Python too, where destructors let go of Python objects without the
//! lock, or where nothing is ready for it and the process aborts. CPython 3.14 holds the thread for good, and so is
//! done here, as in pyo3 where Rust asks for the lock. The process ends all the same: threads that programs wait for
//! are ended before.

use std::{mem, thread};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// `PyObject_Call` and `PyObject_Vectorcall` as they are: something may unwind through them. pyo3 declares that nothing
/// does, and where that is known nothing is made ready for it. So the compiler must not see which functions these are.
mod raw {
    use std::hint::black_box;
    use std::mem::transmute;

    use super::{PyObject, ffi};

    type Plain = unsafe extern "C" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
    type Call = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
    type PlainVector =
        unsafe extern "C" fn(*mut PyObject, *const *mut PyObject, usize, *mut PyObject) -> *mut PyObject;
    type Vectorcall = unsafe extern "C-unwind" fn(
        *mut PyObject,
        *const *mut PyObject,
        usize,
        *mut PyObject,
    ) -> *mut PyObject;

    pub(super) fn call() -> Call {
        // SAFETY: the two types differ in what is said of unwinding only, and this one promises less.
        unsafe { transmute::<Plain, Call>(black_box(ffi::PyObject_Call as Plain)) }
    }

    pub(super) fn vectorcall() -> Vectorcall {
        // SAFETY: as above.
        unsafe { transmute::<PlainVector, Vectorcall>(black_box(ffi::PyObject_Vectorcall as PlainVector)) }
    }
}

/// Runs `work` attached to the interpreter. `None`: it is ending.
pub(crate) fn attach<R>(work: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    Python::try_attach(|py| hold_at_end(|| work(py)))
}

/// Calls what runs Python code, which may wait or take long.
pub(crate) fn call<'py, A>(callable: &Bound<'py, PyAny>, arguments: A) -> PyResult<Bound<'py, PyAny>>
where
    A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error: Into<PyErr>>,
{
    call_with(callable, &arguments.into_pyobject(callable.py()).map_err(Into::into)?, None)
}

/// The same with keywords.
pub(crate) fn call_with<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (callee, arguments) = (callable.as_ptr(), arguments.as_ptr());
    let keywords = keywords.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: we are attached, and hold the references for the call. The answer is a new reference, or null with an
    // exception.
    unsafe {
        let returned = hold_at_end(|| raw::call()(callee, arguments, keywords));
        Bound::from_owned_ptr_or_err(callable.py(), returned)
    }
}

/// The same with two arguments and without a tuple.
pub(crate) fn call_with_two<'py>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // The place before the first argument is lent to the callee, which bound methods use (PEP 590).
    let mut arguments = [std::ptr::null_mut(), first.as_ptr(), second.as_ptr()];
    // SAFETY: we are attached; the arguments are borrowed for the call, for which all references are held. The answer
    // is a new reference, or null with an exception.
    unsafe {
        let arguments = arguments.as_mut_ptr().add(1);
        let count = 2 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let returned =
            hold_at_end(|| raw::vectorcall()(callable.as_ptr(), arguments, count, std::ptr::null_mut()));
        Bound::from_owned_ptr_or_err(callable.py(), returned)
    }
}

/// Runs `work`, and lets no unwinding but a panic go further than to here.
fn hold_at_end<R>(work: impl FnOnce() -> R) -> R {
    let hold = Hold;
    let result = work();
    mem::forget(hold);
    result
}

struct Hold;

impl Drop for Hold {
    fn drop(&mut self) {
        // A panic goes on to whoever catches it.
        while !thread::panicking() {
            thread::park();
        }
    }
}
