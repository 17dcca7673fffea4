//! What goes to the log when an application fails: its traceback, and the request that it failed on.

use std::fmt::Write as _;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use stdserve_server::Exchange;

/// The traceback of `error` in words, as Python prints it. Nothing that the exception does keeps it from being
/// reported: where it cannot be formatted, its type is named.
pub(crate) fn traceback(py: Python<'_>, error: &PyErr) -> String {
    // `traceback` and not PyErr_Print: that one ends the process on SystemExit.
    let formatted = || -> PyResult<String> {
        let kind = error.get_type(py);
        let lines = py
            .import("traceback")?
            .call_method1("format_exception", (kind, error.value(py), error.traceback(py)))?;
        let text = pyo3::types::PyString::new(py, "").call_method1("join", (lines,))?;
        // `backslashreplace`: an exception may carry lone surrogates, which are no UTF-8.
        let bytes = text.call_method1("encode", ("utf-8", "backslashreplace"))?;
        Ok(String::from_utf8_lossy(bytes.extract::<&[u8]>()?).into_owned())
    };
    let mut text = formatted().unwrap_or_else(|failure| {
        let mut text = name_of_type(py, error);
        let _ = write!(text, " (its traceback cannot be shown: {})", name_of_type(py, &failure));
        text
    });
    text.truncate(text.trim_end().len());
    text
}

fn name_of_type(py: Python<'_>, error: &PyErr) -> String {
    error
        .get_type(py)
        .name()
        .map_or_else(|_| "exception".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The request in words: method, target and number. Control characters cannot forge a line of the log: the target
/// has none, since a request with one is refused.
pub(crate) fn request(exchange: &Exchange) -> String {
    let head = exchange.head();
    let mut target = String::from_utf8_lossy(head.target()).into_owned();
    if target.len() > 200 {
        let cut = (0..=200).rev().find(|&at| target.is_char_boundary(at)).unwrap_or(0);
        target.truncate(cut);
        target.push('…');
    }
    format!("{} {target}", String::from_utf8_lossy(head.method()))
}

/// The type of a value, for messages on what an application returned.
pub(crate) fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Raises again what `sys.exc_info()` gave.
pub(crate) fn from_exc_info(exc_info: &Bound<'_, PyAny>) -> PyErr {
    let value = exc_info.cast::<PyTuple>().ok().and_then(|triple| {
        let value = triple.get_item(1).ok()?;
        if value.is_none() { None } else { Some((value, triple.get_item(2).ok()?)) }
    });
    let Some((value, traceback)) = value else {
        return pyo3::exceptions::PyTypeError::new_err(
            "exc_info must be what sys.exc_info() returns inside an except block",
        );
    };
    if !traceback.is_none() {
        let _ = value.setattr("__traceback__", traceback);
    }
    PyErr::from_value(value)
}
