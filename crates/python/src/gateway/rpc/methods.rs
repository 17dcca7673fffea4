//! What may be called, and calling it.

use std::fmt::Write as _;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use stdserve_config::RpcOptions;
use stdserve_server::Exchange;

use super::RpcGateway;
use crate::gateway::{report, running};
use crate::xmlrpc::Types;

/// Numbers of faults that clients of both languages know
/// (<http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php>, JSON-RPC 2.0 §5.1).
pub(super) mod code {
    pub(crate) const PARSE: i32 = -32700;
    pub(crate) const UNSUPPORTED_ENCODING: i32 = -32701;
    pub(crate) const INVALID_REQUEST: i32 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
    pub(crate) const INVALID_PARAMS: i32 = -32602;
    pub(crate) const INTERNAL: i32 = -32603;
    /// An exception of the application.
    pub(crate) const APPLICATION: i32 = -32500;
}

/// A call that has failed, as its client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: i32,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(code: i32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// The methods of one object.
pub(super) struct Methods {
    /// Every name that may be called, and what it calls. Nothing else is ever looked up.
    table: Py<PyDict>,
    page: Vec<u8>,
    /// `json.JSONDecoder().decode` and its counterpart.
    pub(super) read_json: Py<PyAny>,
    pub(super) write_json: Py<PyAny>,
    /// Writes with `xmlrpc.client` what native code does not.
    pub(super) write_xml: Py<PyAny>,
}

/// The public methods of `object` by name. `ValueError`: it has none, or some that cannot be served.
pub(super) fn table<'py>(py: Python<'py>, object: &Py<PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let table = py.import("stdserve._rpc")?.call_method1("methods_of", (object,))?;
    Ok(table.cast_into::<PyDict>()?)
}

impl Methods {
    pub(super) fn new(
        py: Python<'_>,
        object: &Py<PyAny>,
        name: &str,
        options: &RpcOptions,
    ) -> PyResult<Self> {
        let helper = py.import("stdserve._rpc")?;
        let table = table(py, object)?;
        let mut page = Vec::new();
        if options.introspection {
            helper.call_method1("add_introspection", (&table, options.multicall))?;
            page = helper.call_method1("page", (name, &table))?.extract()?;
        }
        Ok(Self {
            table: table.unbind(),
            page,
            read_json: helper.getattr("read_json")?.unbind(),
            write_json: helper.getattr("write_json")?.unbind(),
            write_xml: helper.getattr("write_xml")?.unbind(),
        })
    }

    pub(super) fn page(&self) -> &[u8] {
        &self.page
    }
}

impl RpcGateway {
    /// Calls the method `name`. What it raises is logged, and becomes a failure.
    pub(super) fn call<'py>(
        &self,
        py: Python<'py>,
        exchange: &Exchange,
        name: &str,
        arguments: &Bound<'py, PyTuple>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> Result<Bound<'py, PyAny>, Failure> {
        // Of many calls in one document the rest is not begun.
        if running::is_over() {
            return Err(Failure::new(code::INTERNAL, "the request took too long"));
        }
        let method = self.methods.table.bind(py).get_item(PyString::new(py, name)).ok().flatten();
        let Some(method) = method else {
            let name: String = name.chars().take(100).collect();
            return Err(Failure::new(code::METHOD_NOT_FOUND, format!("method \"{name}\" is not supported")));
        };
        let error = match method.call(arguments, keywords) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if let Ok(types) = Types::get(py)
            && let Some((code, text)) = types.of_fault(py, &error)
        {
            return Err(Failure { code, text });
        }
        // No line of the method has run: it does not take these arguments.
        if error.is_instance_of::<PyTypeError>(py) && error.traceback(py).is_none() {
            return Err(Failure::new(code::INVALID_PARAMS, error.value(py).to_string()));
        }
        Err(self.failed(py, exchange, &format!("method {name} failed"), &error, code::APPLICATION))
    }

    /// Logs an error with its traceback; what the client is told of it.
    pub(super) fn failed(
        &self,
        py: Python<'_>,
        exchange: &Exchange,
        what: &str,
        error: &PyErr,
        code: i32,
    ) -> Failure {
        let number = exchange.id();
        if !running::is_time_out(py, error) {
            let message = format!("rpc: {what} (number {number})\n{}", report::traceback(py, error));
            py.detach(|| self.log.request_error(exchange.request_id().as_str(), &message));
        }
        if !self.options.error_messages {
            return Failure::new(code, format!("internal error, number {number}"));
        }
        let mut text = error
            .get_type(py)
            .name()
            .map_or_else(|_| "exception".to_owned(), |name| name.to_string_lossy().into_owned());
        // An exception may not be able to say what it is.
        if let Ok(message) = error.value(py).str() {
            let message = message.to_string_lossy();
            if !message.is_empty() {
                let _ = write!(text, ": {message}");
            }
        }
        Failure { code, text }
    }
}
