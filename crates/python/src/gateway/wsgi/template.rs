//! The part of an environ that is the same in every request of a listener, or was in the last one.

use std::net::IpAddr;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString, PyTuple};
use stdserve_proto::forwarded::Scheme;
use stdserve_proto::percent::decode_path;
use stdserve_server::{Exchange, ListenerInfo, Peer};

use super::Fixed;
use super::input::Input;
use crate::gateway::text::{native, native_bytes};

/// So many entries make CPython give a dict room for 42 (`dictobject.c`: `USABLE_FRACTION` and `GROWTH_RATE`), and the
/// copy has the same room: some twenty headers go in without a resize.
const ENTRIES: usize = 22;

/// A key of the template, and the value that stands there now.
struct Entry {
    key: Py<PyString>,
    value: Py<PyString>,
}

impl Entry {
    fn new(template: &Bound<'_, PyDict>, key: &str, value: &[u8]) -> PyResult<Self> {
        let py = template.py();
        let key = PyString::intern(py, key);
        let value = native(py, value)?;
        template.set_item(&key, &value)?;
        Ok(Self { key: key.unbind(), value: value.unbind() })
    }

    /// Whether the value is `bytes` already.
    fn is(&self, py: Python<'_>, bytes: &[u8]) -> bool {
        native_bytes(self.value.bind(py)) == Some(bytes)
    }

    fn set(&mut self, template: &Bound<'_, PyDict>, value: Bound<'_, PyString>) -> PyResult<()> {
        template.set_item(self.key.bind(template.py()), &value)?;
        self.value = value.unbind();
        Ok(())
    }

    fn update(&mut self, template: &Bound<'_, PyDict>, bytes: &[u8]) -> PyResult<()> {
        let py = template.py();
        if self.is(py, bytes) { Ok(()) } else { self.set(template, native(py, bytes)?) }
    }
}

/// The template of one listener.
pub(super) struct Template {
    listener: ListenerInfo,
    dict: Py<PyDict>,
    method: Entry,
    protocol: Entry,
    scheme: Entry,
    script_name: Entry,
    path_info: Entry,
    query_string: Entry,
    request_uri: Entry,
    raw_uri: Entry,
    host: Entry,
    remote_addr: Entry,
    remote_port: Entry,
    request_id: Entry,
    /// What the entries of the client's address stand for.
    remote: Option<IpAddr>,
    /// The input object that stands in the template.
    input: Option<Py<Input>>,
    ports: Ports,
    scratch: Vec<u8>,
}

impl Template {
    pub(super) fn new(py: Python<'_>, fixed: &Fixed, listener: &ListenerInfo) -> PyResult<Self> {
        let dict = PyDict::new(py);
        let put = |key: &str, value: &Bound<'_, PyAny>| dict.set_item(PyString::intern(py, key), value);
        put("wsgi.version", PyTuple::new(py, [1, 0])?.as_any())?;
        put("wsgi.errors", fixed.errors.bind(py))?;
        put("wsgi.multithread", PyBool::new(py, fixed.options.multithread).as_any())?;
        put("wsgi.multiprocess", PyBool::new(py, fixed.options.multiprocess).as_any())?;
        put("wsgi.run_once", PyBool::new(py, false).as_any())?;
        put("wsgi.input", py.None().bind(py))?;
        put("wsgi.input_terminated", PyBool::new(py, true).as_any())?;
        put("wsgi.file_wrapper", fixed.file_wrapper.bind(py))?;
        put("stdserve.draining", fixed.draining.1.bind(py))?;
        put("SERVER_SOFTWARE", PyString::new(py, concat!("stdserve/", env!("CARGO_PKG_VERSION"))).as_any())?;
        // Neither may be empty (PEP 3333); a Unix socket has neither.
        let (server, port) = listener.address.map_or_else(
            || ("localhost".to_owned(), 80),
            |address| (address.ip().to_canonical().to_string(), address.port()),
        );
        put("SERVER_NAME", PyString::new(py, &server).as_any())?;
        put("SERVER_PORT", PyString::new(py, &port.to_string()).as_any())?;
        if let Some(environ) = &fixed.options.environ {
            dict.update(environ.bind(py).as_mapping())?;
        }
        let entry = |key, value: &str| Entry::new(&dict, key, value.as_bytes());
        let template = Self {
            listener: listener.clone(),
            method: entry("REQUEST_METHOD", "GET")?,
            protocol: entry("SERVER_PROTOCOL", "HTTP/1.1")?,
            scheme: entry("wsgi.url_scheme", "http")?,
            script_name: entry("SCRIPT_NAME", "")?,
            path_info: entry("PATH_INFO", "")?,
            query_string: entry("QUERY_STRING", "")?,
            request_uri: entry("REQUEST_URI", "")?,
            raw_uri: entry("RAW_URI", "")?,
            host: entry("HTTP_HOST", "")?,
            remote_addr: entry("REMOTE_ADDR", "")?,
            remote_port: entry("REMOTE_PORT", "")?,
            request_id: entry("stdserve.request_id", "")?,
            remote: None,
            input: None,
            ports: Ports::default(),
            scratch: Vec::new(),
            dict: dict.clone().unbind(),
        };
        debug_assert!(dict.len() >= ENTRIES, "the copies have no room for headers");
        Ok(template)
    }

    pub(super) fn is_of(&self, listener: &ListenerInfo) -> bool {
        self.listener == *listener
    }

    /// Whether `input` stands in the template.
    pub(super) fn holds(&self, input: &Py<Input>) -> bool {
        self.input.as_ref().is_some_and(|held| held.is(input))
    }

    pub(super) fn dict<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyDict> {
        self.dict.bind(py)
    }

    /// What the last request asked for: method and target as sent.
    pub(super) fn request_line(&self, py: Python<'_>) -> String {
        format!("{} {}", self.method.value.bind(py), self.raw_uri.value.bind(py))
    }

    /// The id of the last request.
    pub(super) fn request_id(&self, py: Python<'_>) -> String {
        self.request_id.value.bind(py).to_string()
    }

    /// Brings the template up to date with a request.
    pub(super) fn update(
        &mut self,
        py: Python<'_>,
        fixed: &Fixed,
        exchange: &Exchange,
        input: &Bound<'_, Input>,
    ) -> PyResult<()> {
        let dict = self.dict.bind(py);
        let head = exchange.head();
        let origin = exchange.origin();
        if self.input.as_ref().is_none_or(|current| !current.is(input)) {
            dict.set_item(fixed.keys.input.bind(py), input)?;
            self.input = Some(input.clone().unbind());
        }
        self.request_id.set(dict, native(py, exchange.request_id().as_str().as_bytes())?)?;
        self.method.update(dict, head.method())?;
        self.protocol.update(dict, head.version().as_str().as_bytes())?;
        self.scheme.update(dict, origin.scheme.map_or("http", Scheme::as_str).as_bytes())?;
        if let Some(host) = origin.host.as_deref().map(str::as_bytes).or_else(|| head.host()) {
            self.host.update(dict, host)?;
        }
        let prefix = origin.prefix.as_deref().unwrap_or(fixed.options.root_path.as_bytes());
        // The path and the query follow from the target, the prefix, and where the application is mounted.
        if exchange.mount().is_empty() {
            if !self.raw_uri.is(py, head.target()) || !self.script_name.is(py, prefix) {
                self.update_path(py, exchange, prefix, prefix)?;
            }
        } else {
            let mut script_name = prefix.to_vec();
            decode_path(exchange.mount(), &mut script_name);
            if !self.raw_uri.is(py, head.target()) || !self.script_name.is(py, &script_name) {
                // The mount was found at the very beginning of the path.
                self.update_path(py, exchange, &script_name, b"")?;
            }
        }
        self.update_remote(py, exchange)
    }

    /// `prefix` is what of the script's name may stand before the path that is left to the application.
    fn update_path(
        &mut self,
        py: Python<'_>,
        exchange: &Exchange,
        script_name: &[u8],
        prefix: &[u8],
    ) -> PyResult<()> {
        let dict = self.dict.bind(py);
        let head = exchange.head();
        self.script_name.update(dict, script_name)?;
        let target = native(py, head.target())?;
        self.scratch.clear();
        decode_path(exchange.path(), &mut self.scratch);
        let path = below(&self.scratch, prefix);
        let path = if path == head.target() { target.clone() } else { native(py, path)? };
        self.path_info.set(dict, path)?;
        self.query_string.update(dict, head.query())?;
        self.request_uri.set(dict, target.clone())?;
        self.raw_uri.set(dict, target)
    }

    fn update_remote(&mut self, py: Python<'_>, exchange: &Exchange) -> PyResult<()> {
        let dict = self.dict.bind(py);
        // Whom a proxy speaks for has a port that only the proxy knows.
        let origin = exchange.origin();
        let (address, port) = match (origin.address, exchange.peer()) {
            (Some(address), _) => (Some(address), origin.port.unwrap_or(0)),
            (None, Peer::Ip(peer)) => (Some(peer.ip()), peer.port()),
            (None, Peer::Unix) => (None, 0),
        };
        if address != self.remote {
            self.remote = address;
            let text = address.map(|address| address.to_canonical().to_string()).unwrap_or_default();
            self.remote_addr.set(dict, native(py, text.as_bytes())?)?;
        }
        let port = self.ports.text(py, port)?;
        if !port.is(&self.remote_port.value) {
            self.remote_port.set(dict, port)?;
        }
        Ok(())
    }
}

/// What is left of `path` below `prefix`. A proxy that has taken the prefix away already leaves nothing to do.
fn below<'a>(path: &'a [u8], prefix: &[u8]) -> &'a [u8] {
    match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
        _ => path,
    }
}

/// Port numbers in words: those of the connections that are open come again and again.
struct Ports(Box<[PortText; 256]>);

type PortText = Option<(u16, Py<PyString>)>;

impl Default for Ports {
    fn default() -> Self {
        Self(Box::new([const { None }; 256]))
    }
}

impl Ports {
    fn text<'py>(&mut self, py: Python<'py>, port: u16) -> PyResult<Bound<'py, PyString>> {
        let place = &mut self.0[usize::from(port % 256)];
        if let Some((of, text)) = place
            && *of == port
        {
            return Ok(text.bind(py).clone());
        }
        let text = native(py, port.to_string().as_bytes())?;
        *place = Some((port, text.clone().unbind()));
        Ok(text)
    }
}
