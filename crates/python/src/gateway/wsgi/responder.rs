//! `start_response` and `write` (PEP 3333, "The `start_response()` Callable").
//!
//! The state of an answer lies on the heap, behind two built-in functions that Python calls without a detour. An
//! application may keep them and call them late, from another thread or a greenlet: they find the request over and
//! say so. Where nothing was kept, the objects serve the next request.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
use stdserve_server::Exchange;
use stdserve_sys::fork_guard::Home;

use super::sendfile::{Handed, Named, Says, SendFile};
use super::sending::{self, Outgoing};
use crate::gateway::report::{from_exc_info, type_name};
use crate::gateway::text::{as_bytes, native_bytes, references};

/// How far an answer is.
#[derive(Debug)]
pub(super) enum Phase {
    /// There is no request.
    Over,
    /// `start_response` has not been called, or not with success.
    Fresh(Exchange),
    /// The head stands, with this status, and nothing has been sent.
    Begun(Exchange, u16),
    /// The head stands, and names a file that the server sends.
    Handed(Exchange, Box<Handed>),
    /// The head has been sent.
    Sending(Outgoing),
    /// The head has been sent, and the client has gone.
    Gone,
    /// A thread is sending.
    Busy,
}

/// What `start_response` and `write` share.
#[pyclass(frozen, name = "Response", module = "stdserve._stdserve")]
pub(super) struct Responder {
    phase: Mutex<Phase>,
    sendfile: Option<Arc<SendFile>>,
    pub(super) home: Home,
    /// The `write` function, for as long as its [`Callables`] live. Not a reference: it would be a circular one.
    write: AtomicPtr<ffi::PyObject>,
}

impl Responder {
    /// Held for a few instructions, never while Python code may run.
    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the answer out; `left` stands in its place.
    pub(super) fn take(&self, left: Phase) -> Phase {
        std::mem::replace(&mut *self.lock(), left)
    }

    /// Asks something of the answer in its place.
    pub(super) fn look<R>(&self, ask: impl FnOnce(&Phase) -> R) -> R {
        ask(&self.lock())
    }

    /// Begins a request.
    pub(super) fn begin(&self, exchange: Exchange) {
        *self.lock() = Phase::Fresh(exchange);
    }

    /// Puts the answer back after [`take`](Self::take) has left `Busy`. If the request has ended meanwhile, the answer
    /// is dropped, which cuts the connection.
    pub(super) fn put_back(&self, phase: Phase) {
        let mut place = self.lock();
        if matches!(*place, Phase::Busy) {
            *place = phase;
        } else {
            drop(place);
            drop(phase);
        }
    }

    fn start(
        &self,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = status.py();
        let Ok(status) = status.cast::<PyString>() else {
            return Err(PyTypeError::new_err(format!("the status must be a str, not {}", type_name(status))));
        };
        let copied;
        let headers = if let Ok(headers) = headers.cast::<PyList>() {
            headers
        } else {
            // The specification asks for a list; other sequences of pairs are common and do no harm.
            copied = PyList::new(py, headers.try_iter()?.collect::<PyResult<Vec<_>>>()?)?;
            &copied
        };
        let mut phase = self.lock();
        let mut exchange = match std::mem::replace(&mut *phase, Phase::Busy) {
            Phase::Fresh(exchange) => exchange,
            Phase::Begun(exchange, _) | Phase::Handed(exchange, _) if exc_info.is_some() => exchange,
            other => {
                let error = refusal(&other, exc_info.is_some());
                *phase = other;
                drop(phase);
                return Err(error.unwrap_or_else(|| match exc_info {
                    // The head is out: the application's error goes on its way.
                    Some(exc_info) => from_exc_info(exc_info),
                    None => PyRuntimeError::new_err("start_response() was called again without exc_info"),
                }));
            }
        };
        // No Python code runs in here: exact memory layouts are read, and nothing else.
        match write_head(&mut exchange, status, headers, self.sendfile.as_deref()) {
            Ok(Head { status, handed, forbidden }) => {
                *phase = match handed {
                    Some(handed) => Phase::Handed(exchange, handed),
                    None => Phase::Begun(exchange, status),
                };
                drop(phase);
                if let (Some(path), Some(sendfile)) = (forbidden, &self.sendfile) {
                    py.detach(|| sendfile.complain(&path));
                }
                Ok(())
            }
            Err(problem) => {
                *phase = Phase::Fresh(exchange);
                drop(phase);
                Err(problem.into_error(status, headers))
            }
        }
    }
}

/// Why `start_response` cannot be obeyed; `None` where the head is out already.
fn refusal(phase: &Phase, has_exc_info: bool) -> Option<PyErr> {
    match phase {
        Phase::Over => {
            Some(PyRuntimeError::new_err("start_response() was called after the request was over"))
        }
        Phase::Busy if !has_exc_info => Some(PyRuntimeError::new_err(
            "start_response() was called while another thread was sending the response",
        )),
        _ => None,
    }
}

/// What is wrong with a head, and in which header (by its number) it is.
enum Problem {
    Status(&'static str),
    Refused(stdserve_proto::h1::HeadError),
    Header(isize, &'static str),
    RefusedHeader(isize, stdserve_proto::h1::HeadError),
}

impl Problem {
    /// The exception for the application. Runs Python code.
    fn into_error(self, status: &Bound<'_, PyString>, headers: &Bound<'_, PyList>) -> PyErr {
        let header = |number: isize| {
            let text = headers.get_item(number.cast_unsigned()).and_then(|header| header.repr());
            text.map_or_else(|_| format!("number {number}"), |text| text.to_string_lossy().into_owned())
        };
        let status =
            || status.repr().map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned());
        match self {
            Self::Status(what) => PyValueError::new_err(format!("status {}: {what}", status())),
            Self::Refused(error) => PyValueError::new_err(format!("status {}: {error}", status())),
            Self::Header(number, what) => PyTypeError::new_err(format!("header {}: {what}", header(number))),
            Self::RefusedHeader(number, error) => {
                PyValueError::new_err(format!("header {}: {error}", header(number)))
            }
        }
    }
}

/// What an application has begun.
struct Head {
    status: u16,
    /// What the server is to send in the application's stead.
    handed: Option<Box<Handed>>,
    /// A file that was named and may not be sent.
    forbidden: Option<Vec<u8>>,
}

/// Checks status and headers and writes them.
fn write_head(
    exchange: &mut Exchange,
    status: &Bound<'_, PyString>,
    headers: &Bound<'_, PyList>,
    sendfile: Option<&SendFile>,
) -> Result<Head, Problem> {
    let text = native_bytes(status).ok_or(Problem::Status("it has a character that is not in latin-1"))?;
    let (code, reason) = match text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
            let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            match rest {
                [] => (code, rest),
                [b' ', reason @ ..] => (code, reason),
                _ => return Err(Problem::Status("after the three digits a space is expected")),
            }
        }
        _ => return Err(Problem::Status("three digits, a space and a reason are expected: '200 OK'")),
    };
    exchange.begin(code, reason).map_err(Problem::Refused)?;
    let (mut file, mut forbidden) = (None, None);
    each_field(headers, |number, name, value| {
        match sendfile.map_or(Says::Other, |sendfile| sendfile.read(name, value)) {
            Says::Other => {
                exchange.field(name, value).map_err(|error| Problem::RefusedHeader(number, error))?;
            }
            Says::Send(named) => file = Some(named),
            // It is nobody's business but ours, and is not sent.
            Says::Forbidden => forbidden = Some(value.to_vec()),
        }
        Ok(())
    })?;
    let handed = file.map(|file| handed(code, reason, headers, file)).transpose()?;
    Ok(Head { status: code, handed: handed.map(Box::new), forbidden })
}

/// Copies an answer's head, for whoever sends the file.
fn handed(status: u16, reason: &[u8], headers: &Bound<'_, PyList>, file: Named) -> Result<Handed, Problem> {
    let mut fields = Vec::new();
    each_field(headers, |_, name, value| {
        fields.push((name.to_vec(), value.to_vec()));
        Ok(())
    })?;
    Ok(Handed { status, reason: reason.to_vec(), fields, file })
}

/// Calls `take` with the number, name and value of each header. It must run no Python code.
fn each_field(
    headers: &Bound<'_, PyList>,
    mut take: impl FnMut(isize, &[u8], &[u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    // SAFETY: `headers` is a list; we are attached and run no Python code, so neither it nor what it holds changes
    // below us. The items are borrowed for no longer than that.
    let size = unsafe { ffi::PyList_GET_SIZE(headers.as_ptr()) };
    for number in 0..size {
        // SAFETY: as above, and `number` is within the list.
        let pair = unsafe { pair(headers.py(), ffi::PyList_GET_ITEM(headers.as_ptr(), number)) };
        let (name, value) = pair.ok_or(Problem::Header(number, "a tuple of two is expected"))?;
        let (Ok(name), Ok(value)) = (name.cast::<PyString>(), value.cast::<PyString>()) else {
            return Err(Problem::Header(number, "name and value must be str"));
        };
        let (Some(name), Some(value)) = (native_bytes(&name), native_bytes(&value)) else {
            return Err(Problem::Header(number, "it has a character that is not in latin-1"));
        };
        take(number, name, value)?;
    }
    Ok(())
}

/// The two items of a tuple, or of a list, which does no harm.
///
/// # Safety
/// `item` is a live object, and stays so, unchanged, for as long as the answer is used.
unsafe fn pair<'a>(
    py: Python<'_>,
    item: *mut ffi::PyObject,
) -> Option<(Borrowed<'a, '_, PyAny>, Borrowed<'a, '_, PyAny>)> {
    // SAFETY: the caller's; the kinds and sizes are checked before the items are read.
    unsafe {
        if ffi::PyTuple_Check(item) != 0 && ffi::PyTuple_GET_SIZE(item) == 2 {
            let (name, value) = (ffi::PyTuple_GET_ITEM(item, 0), ffi::PyTuple_GET_ITEM(item, 1));
            return Some((Borrowed::from_ptr(py, name), Borrowed::from_ptr(py, value)));
        }
        if ffi::PyList_Check(item) != 0 && ffi::PyList_GET_SIZE(item) == 2 {
            let (name, value) = (ffi::PyList_GET_ITEM(item, 0), ffi::PyList_GET_ITEM(item, 1));
            return Some((Borrowed::from_ptr(py, name), Borrowed::from_ptr(py, value)));
        }
    }
    None
}

/// The objects that one request after another uses, for as long as no application keeps any of them.
pub(super) struct Callables {
    responder: Py<Responder>,
    start_response: Py<PyAny>,
    write: Py<PyAny>,
}

impl Callables {
    /// `sendfile`: the folders whose files may be named.
    pub(super) fn new(py: Python<'_>, sendfile: Option<Arc<SendFile>>) -> PyResult<Self> {
        let responder = Responder {
            phase: Mutex::new(Phase::Over),
            sendfile,
            home: Home::here(),
            write: AtomicPtr::default(),
        };
        let responder = Bound::new(py, responder)?;
        // SAFETY: the definitions are static, as CPython asks; the functions are called with `responder` as their
        // first argument, to which they hold a reference. The answers are new references, or null with an exception.
        let (start_response, write) = unsafe {
            let self_ = responder.as_ptr();
            let new = |definition: &'static Definition| {
                let definition = ptr::from_ref(&definition.0).cast_mut();
                Bound::from_owned_ptr_or_err(py, ffi::PyCFunction_NewEx(definition, self_, ptr::null_mut()))
            };
            (new(&START_RESPONSE)?, new(&WRITE)?)
        };
        responder.get().write.store(write.as_ptr(), Ordering::Relaxed);
        Ok(Self {
            responder: responder.unbind(),
            start_response: start_response.unbind(),
            write: write.unbind(),
        })
    }

    pub(super) fn responder(&self) -> &Responder {
        self.responder.get()
    }

    pub(super) fn start_response<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.start_response.bind(py)
    }

    /// Whether nobody else holds any of the three: each function holds the responder.
    pub(super) fn are_ours(&self, py: Python<'_>) -> bool {
        references(py, &self.start_response) == 1
            && references(py, &self.write) == 1
            && references(py, &self.responder) == 3
    }
}

impl Drop for Callables {
    fn drop(&mut self) {
        self.responder.get().write.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

/// A definition that CPython reads and does not change.
struct Definition(ffi::PyMethodDef);

// SAFETY: it holds pointers to static data only, which nobody writes.
unsafe impl Sync for Definition {}

static START_RESPONSE: Definition = Definition(ffi::PyMethodDef {
    ml_name: c"start_response".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: call_start_response },
    ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    ml_doc: DOC_START_RESPONSE.as_ptr(),
});

static WRITE: Definition = Definition(ffi::PyMethodDef {
    ml_name: c"write".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunction: call_write },
    ml_flags: ffi::METH_O,
    ml_doc: DOC_WRITE.as_ptr(),
});

const DOC_START_RESPONSE: &CStr =
    c"start_response(status, headers, exc_info=None, /)\n--\n\nBegins the response (PEP 3333).";
const DOC_WRITE: &CStr = c"write(data, /)\n--\n\nSends a piece of the body (PEP 3333).";

/// # Safety
/// Called by CPython as the definition says: attached, `self_` is a [`Responder`], `args` holds `nargs` objects and
/// then one for each name in `kwnames`.
unsafe extern "C" fn call_start_response(
    self_: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the caller's. All that is borrowed here lives until the call returns.
    unsafe {
        let py = Python::assume_attached();
        let responder = Borrowed::from_ptr(py, self_).cast_unchecked::<Responder>();
        let named = if kwnames.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(kwnames) };
        let argument = |number: isize| Borrowed::from_ptr(py, *args.offset(number));
        let exc_info = match (nargs, named) {
            (2, 0) => None,
            (3, 0) => Some(argument(2)),
            (2, 1) if is_exc_info(py, kwnames) => Some(argument(2)),
            _ => {
                return raise(
                    py,
                    PyTypeError::new_err("start_response() takes a status, headers and exc_info=None"),
                );
            }
        };
        let exc_info = exc_info.filter(|exc_info| !exc_info.is_none());
        match responder.get().start(&argument(0), &argument(1), exc_info.as_deref()) {
            Ok(()) => {
                let write = responder.get().write.load(Ordering::Relaxed);
                // A request runs, so its Callables live; the check costs nothing.
                if write.is_null() {
                    return raise(py, PyRuntimeError::new_err("the request is over"));
                }
                ffi::Py_NewRef(write)
            }
            Err(error) => raise(py, error),
        }
    }
}

/// Whether the only keyword is `exc_info`.
///
/// # Safety
/// `kwnames` is a tuple of one str.
unsafe fn is_exc_info(py: Python<'_>, kwnames: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's.
    let name = unsafe { Borrowed::from_ptr(py, kwnames).cast_unchecked::<PyTuple>() };
    name.get_item(0).is_ok_and(|name| name.eq("exc_info").unwrap_or(false))
}

/// # Safety
/// Called by CPython as the definition says: attached, `self_` is a [`Responder`], `data` an object.
unsafe extern "C" fn call_write(self_: *mut ffi::PyObject, data: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the caller's.
    let (py, responder, data) = unsafe {
        let py = Python::assume_attached();
        (py, Borrowed::from_ptr(py, self_).cast_unchecked::<Responder>(), Borrowed::from_ptr(py, data))
    };
    let Some(bytes) = as_bytes(&data) else {
        return raise(py, PyTypeError::new_err(format!("write() takes bytes, not {}", type_name(&data))));
    };
    match sending::write(py, responder.get(), bytes) {
        Ok(()) => py.None().into_ptr(),
        Err(error) => raise(py, error),
    }
}

fn raise(py: Python<'_>, error: PyErr) -> *mut ffi::PyObject {
    error.restore(py);
    ptr::null_mut()
}
