//! XML-RPC for Python: `xmlrpc.client.loads` and `dumps` in native code, with the same classes and exceptions.
//!
//! `objects` builds Python's objects while the decoder reads, `marshal` writes them, `types` knows the classes of
//! `xmlrpc.client` that stand for what Python has no type for.

mod errors;
mod marshal;
mod objects;
mod types;
mod unchanged;

use std::borrow::Cow;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString, PyTuple};
use stdserve_proto::gzip;
use stdserve_proto::xmlrpc::{Kind, Limits};

pub(crate) use errors::Refusal;
pub(crate) use marshal::{Extensions, Unfit, write_document, write_fault, write_response};
pub(crate) use objects::{Wishes, load};
pub(crate) use types::{Types, text};
pub(crate) use unchanged::Unchanged;

/// `xmlrpc.client.loads`: the parameters, and the name of the method where there is one.
///
/// `data` is bytes, or a str, whose XML declaration then says nothing about its encoding. A fault is raised as
/// `xmlrpc.client.Fault`. Documents with a DOCTYPE, or beyond the limits, are refused as `ExpatError`.
#[pyfunction]
#[pyo3(signature = (data, use_datetime=false, use_builtin_types=false, *, max_bytes=None, max_depth=None, max_elements=None))]
pub(crate) fn xmlrpc_loads<'py>(
    data: &Bound<'py, PyAny>,
    use_datetime: bool,
    use_builtin_types: bool,
    max_bytes: Option<usize>,
    max_depth: Option<usize>,
    max_elements: Option<usize>,
) -> PyResult<(Bound<'py, PyTuple>, Option<String>)> {
    let py = data.py();
    let types = Types::get(py)?;
    let standard = Limits::default();
    let limits = Limits {
        body: max_bytes.unwrap_or(standard.body),
        string: max_bytes.unwrap_or(standard.string),
        depth: max_depth.unwrap_or(standard.depth),
        elements: max_elements.unwrap_or(standard.elements),
        ..standard
    };
    let wishes = Wishes { date_times: use_datetime || use_builtin_types, bytes: use_builtin_types };
    let loaded = with_text(data, &limits, |text| load(py, types, text, &limits, wishes))
        .map_err(|refusal| refusal.into_python(py, types))?;
    if loaded.kind == Kind::Fault {
        return Err(types.raised(py, loaded.params.first()));
    }
    Ok((PyTuple::new(py, loaded.params)?, loaded.method))
}

/// Hands `data` to `read` as text.
fn with_text<R>(
    data: &Bound<'_, PyAny>,
    limits: &Limits,
    read: impl FnOnce(&str) -> Result<R, Refusal>,
) -> Result<R, Refusal> {
    if let Ok(text) = data.cast::<PyString>() {
        return read(text.to_str().map_err(Refusal::Python)?);
    }
    let bytes: Cow<'_, [u8]> = if let Ok(bytes) = data.cast::<PyBytes>() {
        Cow::Borrowed(bytes.as_bytes())
    } else if let Ok(bytes) = data.cast::<PyByteArray>() {
        Cow::Owned(bytes.to_vec())
    } else {
        let name = crate::gateway::report::type_name(data);
        let message = format!("a bytes-like object is required, not '{name}'");
        return Err(Refusal::Python(PyTypeError::new_err(message)));
    };
    read(&types::text(data.py(), &bytes, limits)?)
}

/// `xmlrpc.client.dumps`, or `None` where there is something that native code does not write: what is to be raised
/// for it, and values that a program has taught `xmlrpc.client` to write, are left to that one.
///
/// With `as_bytes`, the document as UTF-8.
#[pyfunction]
#[pyo3(signature = (params, methodname=None, methodresponse=false, encoding=None, allow_none=false, *, as_bytes=false))]
pub(crate) fn xmlrpc_dumps<'py>(
    params: &Bound<'py, PyAny>,
    methodname: Option<&Bound<'py, PyAny>>,
    methodresponse: bool,
    encoding: Option<&str>,
    allow_none: bool,
    as_bytes: bool,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = params.py();
    let types = Types::get(py)?;
    let encoding = encoding.filter(|name| !name.is_empty() && *name != "utf-8");
    let written = marshal::write_document(types, params, methodname, methodresponse, encoding, allow_none);
    let Ok(document) = written else { return Ok(None) };
    if as_bytes {
        return Ok(Some(PyBytes::new(py, &document).into_any()));
    }
    let text = std::str::from_utf8(&document).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(Some(PyString::new(py, text).into_any()))
}

/// Inflates `data`, whose size must stay below `max_bytes` and `max_ratio` times its own; `ValueError` if not.
#[pyfunction]
#[pyo3(signature = (data, max_bytes, max_ratio))]
pub(crate) fn gunzip<'py>(
    py: Python<'py>,
    data: &[u8],
    max_bytes: usize,
    max_ratio: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let inflated = py
        .detach(|| gzip::gunzip(data, max_bytes, max_ratio))
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, &inflated))
}

/// `data`, compressed quickly rather than well.
#[pyfunction]
#[pyo3(name = "gzip")]
pub(crate) fn compress<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &py.detach(|| gzip::gzip(data)))
}
