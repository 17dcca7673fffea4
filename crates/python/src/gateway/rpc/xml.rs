//! Calls by XML-RPC.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use stdserve_proto::xmlrpc::{Kind, Problem};
use stdserve_server::Exchange;

use super::RpcGateway;
use super::methods::{Failure, code};
use crate::xmlrpc::{Extensions, Refusal, Types, Unfit, Wishes, load, text, write_fault, write_response};

/// The method that calls others.
const MULTICALL: &str = "system.multicall";

impl RpcGateway {
    /// The answer to a document.
    pub(super) fn answer_xml(&self, py: Python<'_>, exchange: &Exchange, document: &[u8]) -> Vec<u8> {
        self.try_xml(py, exchange, document)
            .unwrap_or_else(|failure| write_fault(failure.code, &printable(failure.text)))
    }

    fn try_xml(&self, py: Python<'_>, exchange: &Exchange, document: &[u8]) -> Result<Vec<u8>, Failure> {
        let types = Types::get(py).map_err(|error| internal(&error))?;
        let wishes = Wishes { date_times: self.options.builtin_types, bytes: self.options.builtin_types };
        let loaded = text(py, document, &self.limits)
            .and_then(|text| load(py, types, &text, &self.limits, wishes))
            .map_err(|refusal| not_read(py, refusal))?;
        let (Some(method), Kind::Params | Kind::MethodName) = (loaded.method, loaded.kind) else {
            return Err(Failure::new(code::INVALID_REQUEST, "the document is no method call"));
        };
        let params = PyTuple::new(py, loaded.params).map_err(|error| internal(&error))?;
        let value = if method == MULTICALL && self.options.multicall {
            self.multicall(py, exchange, &params)?
        } else {
            self.call(py, exchange, &method, &params, None)?
        };
        self.write_xml(py, exchange, types, &method, &value)
    }

    fn write_xml(
        &self,
        py: Python<'_>,
        exchange: &Exchange,
        types: &Types,
        method: &str,
        value: &Bound<'_, PyAny>,
    ) -> Result<Vec<u8>, Failure> {
        let extensions = Extensions { nil: self.options.extensions, i8: self.options.extensions };
        match write_response(types, value, extensions) {
            Ok(document) => return Ok(document),
            Err(Unfit::Character) => {
                let text = format!(
                    "the result of {method} has a character that XML does not have; return bytes for binary data"
                );
                self.say(py, &format!("rpc: {text}"));
                return Err(Failure::new(code::INTERNAL, text));
            }
            Err(Unfit::Value) => {}
        }
        // What else there is, `xmlrpc.client` writes, or says why it does not.
        self.methods
            .write_xml
            .bind(py)
            .call1((value, extensions.nil))
            .and_then(|document| document.extract())
            .map_err(|error| {
                let what = format!("the result of {method} cannot be written");
                self.failed(py, exchange, &what, &error, code::INTERNAL)
            })
    }

    /// `system.multicall`: a list of structs, `methodName` and `params`; a list of one-item lists and of faults.
    fn multicall<'py>(
        &self,
        py: Python<'py>,
        exchange: &Exchange,
        params: &Bound<'py, PyTuple>,
    ) -> Result<Bound<'py, PyAny>, Failure> {
        let wrong = || Failure::new(code::INVALID_PARAMS, "system.multicall takes one array of structs");
        let calls = params.get_item(0).map_err(|_| wrong())?;
        let calls = calls.cast_into::<PyList>().map_err(|_| wrong())?;
        if params.len() != 1 {
            return Err(wrong());
        }
        if calls.len() > self.options.max_calls {
            let text = format!("more than {} calls in one", self.options.max_calls);
            return Err(Failure::new(code::INVALID_PARAMS, text));
        }
        let results = PyList::empty(py);
        for call in calls.iter() {
            let put = match self.one_of_many(py, exchange, &call) {
                Ok(value) => PyList::new(py, [value]).and_then(|single| results.append(single)),
                Err(failure) => fault(py, &failure).and_then(|fault| results.append(fault)),
            };
            put.map_err(|error| internal(&error))?;
        }
        Ok(results.into_any())
    }

    fn one_of_many<'py>(
        &self,
        py: Python<'py>,
        exchange: &Exchange,
        call: &Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyAny>, Failure> {
        let wrong = || Failure::new(code::INVALID_PARAMS, "a call is a struct of methodName and params");
        let call = call.cast::<PyDict>().map_err(|_| wrong())?;
        let name = call.get_item("methodName").ok().flatten().ok_or_else(wrong)?;
        let name = name.cast_into::<PyString>().map_err(|_| wrong())?;
        let params = call.get_item("params").ok().flatten().ok_or_else(wrong)?;
        let params = params.cast_into::<PyList>().map_err(|_| wrong())?;
        let name = name.to_str().map_err(|_| wrong())?;
        if name == MULTICALL {
            return Err(Failure::new(code::INVALID_PARAMS, "system.multicall does not call itself"));
        }
        self.call(py, exchange, name, &params.to_tuple(), None)
    }
}

fn fault<'py>(py: Python<'py>, failure: &Failure) -> PyResult<Bound<'py, PyDict>> {
    let fault = PyDict::new(py);
    fault.set_item("faultCode", failure.code)?;
    fault.set_item("faultString", printable(failure.text.clone()))?;
    Ok(fault)
}

/// What the client is told of a document that cannot be read: what is wrong with it is its own matter.
fn not_read(py: Python<'_>, refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Document(error) => {
            let code = match error.problem {
                Problem::UnknownEncoding => code::UNSUPPORTED_ENCODING,
                ref problem if problem.expat_code().is_some() => code::PARSE,
                _ => code::INVALID_REQUEST,
            };
            Failure::new(code, error.to_string())
        }
        Refusal::Python(error) if error.is_instance_of::<pyo3::exceptions::PyLookupError>(py) => {
            Failure::new(code::UNSUPPORTED_ENCODING, error.value(py).to_string())
        }
        Refusal::Python(error) => Failure::new(code::INVALID_REQUEST, error.value(py).to_string()),
    }
}

fn internal(error: &PyErr) -> Failure {
    Failure::new(code::INTERNAL, error.to_string())
}

/// Control characters, which XML does not have, become question marks.
fn printable(text: String) -> String {
    if stdserve_proto::xmlrpc::is_xml(&text) {
        return text;
    }
    let is_xml = |character: char| {
        character >= ' ' && !matches!(character, '\u{fffe}' | '\u{ffff}')
            || matches!(character, '\t' | '\n' | '\r')
    };
    text.chars().map(|character| if is_xml(character) { character } else { '?' }).collect()
}
