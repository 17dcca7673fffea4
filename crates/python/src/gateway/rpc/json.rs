//! Calls by JSON-RPC 2.0. Values are read and written by Python's own `json`.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use stdserve_proto::jsonrpc::{Call, Code, Limits, Refused, Request, parse, write_error, write_result};
use stdserve_server::Exchange;

use super::RpcGateway;
use super::methods::{Failure, code};

impl RpcGateway {
    /// The answer to a document; `None` where it holds notifications alone.
    pub(super) fn answer_json(
        &self,
        py: Python<'_>,
        exchange: &Exchange,
        document: &[u8],
    ) -> Option<Vec<u8>> {
        let limits = Limits {
            // The request and the batch around it.
            depth: self.limits.depth.saturating_add(2),
            values: self.limits.elements,
            calls: self.options.max_calls,
        };
        let mut out = Vec::new();
        if document.len() > self.limits.body {
            write_error(&mut out, "null", Code::InvalidRequest, "the request is too large");
            return Some(out);
        }
        match parse(document, &limits) {
            Err(refused) => write_error(&mut out, "null", refused.code, refused.message),
            Ok(Request::Single(call)) => {
                self.one(py, exchange, &call, &mut out);
                if out.is_empty() {
                    return None;
                }
            }
            Ok(Request::Batch(calls)) => {
                out.push(b'[');
                for call in &calls {
                    let before = out.len();
                    self.one(py, exchange, call, &mut out);
                    if out.len() > before {
                        out.push(b',');
                    }
                }
                if out.len() == 1 {
                    return None;
                }
                out.pop();
                out.push(b']');
            }
        }
        Some(out)
    }

    /// Runs one call; appends its answer, unless it wants none.
    fn one(&self, py: Python<'_>, exchange: &Exchange, call: &Result<Call<'_>, Refused>, out: &mut Vec<u8>) {
        let call = match call {
            Ok(call) => call,
            Err(refused) => return write_error(out, "null", refused.code, refused.message),
        };
        let result = self.call_json(py, exchange, call);
        let Some(id) = call.id else { return };
        match result {
            Ok(result) => write_result(out, id, &result),
            Err(failure) => {
                // Those of XML-RPC and of JSON-RPC are the same but for this one.
                let number = if failure.code == code::APPLICATION { -32000 } else { failure.code };
                write_error(out, id, Code::Other(number.into()), &failure.text);
            }
        }
    }

    fn call_json(&self, py: Python<'_>, exchange: &Exchange, call: &Call<'_>) -> Result<String, Failure> {
        let wrong = |error: PyErr| Failure::new(code::INVALID_PARAMS, error.value(py).to_string());
        let params = match call.params {
            Some(params) => self.methods.read_json.bind(py).call1((params,)).map_err(wrong)?,
            None => PyTuple::empty(py).into_any(),
        };
        let (arguments, keywords) = match params.cast::<PyDict>() {
            Ok(keywords) => (PyTuple::empty(py), Some(keywords)),
            Err(_) => match params.cast::<PyList>() {
                Ok(list) => (list.to_tuple(), None),
                Err(_) => (PyTuple::empty(py), None),
            },
        };
        let value = self.call(py, exchange, &call.method, &arguments, keywords)?;
        if call.id.is_none() {
            return Ok(String::new());
        }
        let written = self.methods.write_json.bind(py).call1((value,));
        written.and_then(|text| Ok(text.cast_into::<PyString>()?.to_str()?.to_owned())).map_err(|error| {
            let what = format!("the result of {} cannot be written", call.method);
            self.failed(py, exchange, &what, &error, code::INTERNAL)
        })
    }
}
