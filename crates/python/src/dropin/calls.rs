//! XML-RPC for an unchanged request handler of `stdserve.xmlrpc.server`: what its `do_POST` does, natively.
//!
//! From the body to the answer nothing is called in Python but what is the program's: the server's `_dispatch`, or
//! `_marshaled_dispatch` where a class of servers has one of its own. What is rare (compressed bodies, other paths, a
//! changed `xmlrpc.client`) goes to the handler, which does the same in Python.

use std::os::unix::fs::FileExt;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use stdserve_proto::gzip;
use stdserve_proto::h1::BodyLength;
use stdserve_proto::xmlrpc::{Kind, Limits};
use stdserve_server::{Body, Exchange, Peer, with_date};

use crate::ending;
use crate::gateway::text::native;
use crate::xmlrpc::{Refusal, Types, Unchanged, Wishes, load, text, write_document};

/// What the driver says of the server and its handler class.
pub(super) struct Calls {
    server: Py<PyAny>,
    /// Makes the answer of a value that is not written natively, and of an exception.
    answer: Py<PyAny>,
    failure: Py<PyAny>,
    /// Header lines of an answer of 500, and a line of the log.
    told_of: Py<PyAny>,
    log: Py<PyAny>,
    unchanged: Py<Unchanged>,
    /// The paths that are answered; none: all.
    paths: Vec<Vec<u8>>,
    /// Answers that are larger are compressed for who accepts it.
    threshold: Option<usize>,
    /// What the field `Server` says.
    name: String,
    /// Whether HTTP/1.1 is spoken, and connections are kept.
    keeps: bool,
    /// Whether `_marshaled_dispatch` is that of every dispatcher, and can be done here.
    plain: bool,
}

/// What a call came to.
enum Outcome {
    Answer(Vec<u8>),
    /// Not even a fault could be made of what went wrong.
    Failure(PyErr),
}

impl Calls {
    pub(super) fn new(driver: &Bound<'_, PyAny>) -> PyResult<Self> {
        let calls = driver.getattr("calls")?;
        let get = |name: &str| calls.get_item(name);
        Ok(Self {
            server: get("server")?.unbind(),
            answer: get("answer")?.unbind(),
            failure: get("failure")?.unbind(),
            told_of: get("told_of")?.unbind(),
            log: get("log")?.unbind(),
            unchanged: get("unchanged")?.cast_into::<Unchanged>()?.unbind(),
            paths: get("paths")?.extract()?,
            threshold: get("threshold")?.extract()?,
            name: get("name")?.extract()?,
            keeps: get("keeps")?.extract()?,
            plain: get("plain")?.extract()?,
        })
    }

    /// Answers a call. Given back: a request that the handler has to see.
    pub(super) fn serve(&self, py: Python<'_>, mut exchange: Exchange) -> PyResult<Option<Exchange>> {
        let Some(accepts_gzip) = self.takes(&exchange) else { return Ok(Some(exchange)) };
        if !self.unchanged.get().check(py)? {
            return Ok(Some(exchange));
        }
        let body = exchange.take_body();
        let outcome = match bytes(body).and_then(|body| self.call(py, &exchange, body)) {
            Ok(answer) => Outcome::Answer(answer),
            Err(error) => Outcome::Failure(error),
        };
        let status = if matches!(outcome, Outcome::Answer(_)) { 200 } else { 500 };
        let logs = self.server.bind(py).getattr(intern!(py, "logRequests")).and_then(|logs| logs.is_truthy());
        if logs.unwrap_or(true) {
            self.log(py, &exchange, status)?;
        }
        let keep = self.keeps && exchange.may_keep() && exchange.head().version().as_str() == "HTTP/1.1";
        let response = match outcome {
            Outcome::Answer(body) => {
                let compressed = accepts_gzip && self.threshold.is_some_and(|most| body.len() > most);
                let body = if compressed { py.detach(|| gzip::gzip(&body)) } else { body };
                let fields: &[u8] = if compressed {
                    b"Content-type: text/xml\r\nContent-Encoding: gzip\r\n"
                } else {
                    b"Content-type: text/xml\r\n"
                };
                self.response("200 OK", fields, &body, keep)
            }
            Outcome::Failure(error) => {
                let fields = self.told_of.bind(py).call1((error.value(py),))?.cast_into::<PyBytes>()?;
                self.response("500 Internal Server Error", fields.as_bytes(), b"", keep)
            }
        };
        exchange.complete_verbatim(status, response, keep);
        Ok(None)
    }

    /// Whether the request is a plain call, and whether its answer may be compressed.
    fn takes(&self, exchange: &Exchange) -> Option<bool> {
        let head = exchange.head();
        let target = head.target();
        if head.method() != b"POST"
            || !matches!(head.body_length(), BodyLength::Length(1..))
            // The handler makes one slash of them.
            || target.starts_with(b"//")
            || !(self.paths.is_empty() || self.paths.iter().any(|path| path == target))
            || !matches!(exchange.peer(), Peer::Ip(_))
        {
            return None;
        }
        let mut accepts_gzip = false;
        for (name, value) in head.fields() {
            match name.len() {
                15 if name.eq_ignore_ascii_case(b"accept-encoding") => {
                    if value != b"gzip" {
                        return None;
                    }
                    accepts_gzip = true;
                }
                16 if name.eq_ignore_ascii_case(b"content-encoding") => return None,
                _ => {}
            }
        }
        Some(accepts_gzip)
    }

    /// The document that answers the call in `body`. An error: there is none.
    fn call(&self, py: Python<'_>, exchange: &Exchange, body: Vec<u8>) -> PyResult<Vec<u8>> {
        let server = self.server.bind(py);
        if !self.plain {
            let path = native(py, exchange.head().target())?;
            let dispatch = server.getattr(intern!(py, "_marshaled_dispatch"))?;
            let answer = ending::call(&dispatch, (PyBytes::new(py, &body), py.None(), path))?;
            return answer.extract();
        }
        let types = Types::get(py)?;
        let value = match self.dispatch(py, types, body) {
            Ok(value) => value,
            Err(error) => return self.failure.bind(py).call1((server, error.value(py)))?.extract(),
        };
        let encoding = server.getattr(intern!(py, "encoding"))?;
        let is_utf8 = encoding.cast::<PyString>().is_ok_and(|name| name.to_str().is_ok_and(|n| n == "utf-8"));
        if is_utf8 {
            let nil = server.getattr(intern!(py, "allow_none"))?.is_truthy()?;
            let params = if value.is_instance(types.fault(py))? {
                value.clone()
            } else {
                PyTuple::new(py, [&value])?.into_any()
            };
            if let Ok(document) = write_document(types, &params, None, true, None, nil) {
                return Ok(document);
            }
        }
        self.answer.bind(py).call1((server, value))?.extract()
    }

    /// Reads the document, and has the server call what it means.
    fn dispatch<'py>(&self, py: Python<'py>, types: &Types, body: Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
        let server = self.server.bind(py);
        let limit = |name: &Bound<'py, PyString>, default: usize| -> PyResult<usize> {
            Ok(server.getattr(name)?.extract::<Option<usize>>()?.unwrap_or(default))
        };
        let standard = Limits::default();
        let bytes = server.getattr(intern!(py, "max_request_size"))?.extract::<Option<usize>>()?;
        let limits = Limits {
            body: bytes.unwrap_or(standard.body),
            string: bytes.unwrap_or(standard.string),
            depth: limit(intern!(py, "max_depth"), standard.depth)?,
            elements: limit(intern!(py, "max_elements"), standard.elements)?,
            ..standard
        };
        let builtin = server.getattr(intern!(py, "use_builtin_types"))?.is_truthy()?;
        let wishes = Wishes { date_times: builtin, bytes: builtin };
        let loaded = text(py, &body, &limits)
            .and_then(|text| load(py, types, &text, &limits, wishes))
            .map_err(|refusal: Refusal| refusal.into_python(py, types))?;
        drop(body);
        if loaded.kind == Kind::Fault {
            return Err(types.raised(py, loaded.params.first()));
        }
        let params = PyTuple::new(py, loaded.params)?;
        ending::call(&server.getattr(intern!(py, "_dispatch"))?, (loaded.method, params))
    }

    fn log(&self, py: Python<'_>, exchange: &Exchange, status: u16) -> PyResult<()> {
        let head = exchange.head();
        let line = [head.method(), b" ", head.target(), b" ", head.version().as_str().as_bytes()].concat();
        let peer = super::peer(py, exchange.peer())?;
        self.log.bind(py).call1((peer, native(py, &line)?, status)).map(drop)
    }

    fn response(&self, status: &str, fields: &[u8], body: &[u8], keep: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + fields.len() + body.len());
        let version = if self.keeps { "HTTP/1.1" } else { "HTTP/1.0" };
        for piece in [version, " ", status, "\r\nServer: ", &self.name, "\r\nDate: "] {
            out.extend_from_slice(piece.as_bytes());
        }
        with_date(|date| out.extend_from_slice(date));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(fields);
        out.extend_from_slice(format!("Content-length: {}\r\n", body.len()).as_bytes());
        if self.keeps && !keep {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        out
    }
}

fn bytes(body: Body) -> PyResult<Vec<u8>> {
    Ok(match body {
        Body::Memory(bytes) => bytes,
        Body::File { file, len } => {
            let mut bytes = vec![0; usize::try_from(len)?];
            file.read_exact_at(&mut bytes, 0)?;
            bytes
        }
        Body::Empty | Body::Stream(_) => Vec::new(),
    })
}
