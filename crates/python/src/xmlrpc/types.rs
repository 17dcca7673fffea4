//! The classes of Python's own modules that documents are made of.

use std::borrow::Cow;

use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};
use stdserve_proto::xmlrpc::{ByteTable, Limits, Problem, to_utf8};

use super::errors::Refusal;

/// What is looked up once in an interpreter.
pub(crate) struct Types {
    pub(super) date_time: Py<PyType>,
    pub(super) binary: Py<PyType>,
    pub(super) fault: Py<PyType>,
    pub(super) response_error: Py<PyType>,
    pub(super) expat_error: Py<PyType>,
    pub(super) decimal: Py<PyType>,
    pub(super) datetime: Py<PyType>,
    pub(super) strptime: Py<PyAny>,
    pub(super) a2b_base64: Py<PyAny>,
    /// `object.__new__`
    pub(super) new_object: Py<PyAny>,
    pub(super) value: Py<PyString>,
    pub(super) data: Py<PyString>,
}

static TYPES: PyOnceLock<Types> = PyOnceLock::new();

impl Types {
    pub(crate) fn get(py: Python<'_>) -> PyResult<&Self> {
        TYPES.get_or_try_init(py, || {
            let client = py.import("xmlrpc.client")?;
            let class = |name: &str| -> PyResult<Py<PyType>> {
                Ok(client.getattr(name)?.cast_into::<PyType>()?.unbind())
            };
            let datetime = py.import("datetime")?.getattr("datetime")?;
            let decimal = py.import("decimal")?.getattr("Decimal")?;
            let expat_error = py.import("xml.parsers.expat")?.getattr("ExpatError")?;
            Ok(Self {
                date_time: class("DateTime")?,
                binary: class("Binary")?,
                fault: class("Fault")?,
                response_error: class("ResponseError")?,
                expat_error: expat_error.cast_into::<PyType>()?.unbind(),
                decimal: decimal.cast_into::<PyType>()?.unbind(),
                strptime: datetime.getattr("strptime")?.unbind(),
                datetime: datetime.cast_into::<PyType>()?.unbind(),
                a2b_base64: py.import("binascii")?.getattr("a2b_base64")?.unbind(),
                new_object: py.import("builtins")?.getattr("object")?.getattr("__new__")?.unbind(),
                value: PyString::intern(py, "value").unbind(),
                data: PyString::intern(py, "data").unbind(),
            })
        })
    }

    pub(super) fn response_error(&self, py: Python<'_>, message: Option<String>) -> PyErr {
        let class = self.response_error.bind(py);
        let made = match message {
            Some(message) => class.call1((message,)),
            None => class.call0(),
        };
        made.map_or_else(|failure| failure, PyErr::from_value)
    }

    /// The class `Fault`.
    pub(crate) fn fault<'py>(&self, py: Python<'py>) -> &Bound<'py, PyType> {
        self.fault.bind(py)
    }

    /// `Fault(**value)`
    pub(crate) fn raised(&self, py: Python<'_>, value: Option<&Bound<'_, PyAny>>) -> PyErr {
        let Some(value) = value else { return PyIndexError::new_err("list index out of range") };
        let Ok(members) = value.cast::<PyDict>() else {
            let kind = crate::gateway::report::type_name(value);
            let message = format!("argument after ** must be a mapping, not {kind}");
            return PyTypeError::new_err(message);
        };
        let made = self.fault.bind(py).call((), Some(members));
        made.map_or_else(|failure| failure, PyErr::from_value)
    }

    /// Code and text, where `error` is a `Fault` that has such.
    pub(crate) fn of_fault(&self, py: Python<'_>, error: &PyErr) -> Option<(i32, String)> {
        let fault = error.value(py);
        if !fault.is_instance(self.fault.bind(py)).unwrap_or(false) {
            return None;
        }
        let code = fault.getattr("faultCode").ok()?.extract().ok()?;
        let text = fault.getattr("faultString").ok()?.cast_into::<PyString>().ok()?;
        Some((code, text.to_string_lossy().into_owned()))
    }

    /// An instance of `class` with one attribute, made without running its `__init__`.
    pub(super) fn instance<'py>(
        &self,
        class: &Bound<'py, PyType>,
        name: &Py<PyString>,
        value: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        let instance = self.new_object.bind(py).call1((class,))?;
        instance.setattr(name, value)?;
        Ok(instance)
    }
}

/// The text of a document. An encoding that only Python knows is taken where it has one byte a character, as expat's
/// binding does it.
pub(crate) fn text<'a>(py: Python<'_>, document: &'a [u8], limits: &Limits) -> Result<Cow<'a, str>, Refusal> {
    // Before it is copied. The decoder would only see it afterwards.
    if document.len() > limits.body {
        let problem = Problem::Limit("bytes");
        return Err(Refusal::Document(stdserve_proto::xmlrpc::DecodeError { problem, line: 1, column: 0 }));
    }
    let mut failure = None;
    let text = to_utf8(document, |name| match table(py, name) {
        Ok(table) => Some(table),
        Err(error) => {
            failure = Some(error);
            None
        }
    });
    match failure {
        Some(error) => Err(Refusal::Python(error)),
        None => Ok(text?),
    }
}

fn table(py: Python<'_>, name: &str) -> PyResult<Box<ByteTable>> {
    let bytes: [u8; 256] = std::array::from_fn(|byte| byte as u8);
    let text = PyBytes::new(py, &bytes).call_method1("decode", (name, "replace"))?;
    let text: String = text.extract()?;
    let characters: Vec<_> =
        text.chars().map(|found| (found != char::REPLACEMENT_CHARACTER).then_some(found)).collect();
    <Box<ByteTable>>::try_from(characters.into_boxed_slice())
        .map_err(|_| PyValueError::new_err("multi-byte encodings are not supported"))
}
