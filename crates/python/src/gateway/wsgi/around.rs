//! `pre_request` and `post_request` of a configuration file: what is called around each request, where there are any.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use stdserve_proto::forwarded::Scheme;
use stdserve_server::{Exchange, Outcome, Peer};

use crate::gateway::text::native;

/// The functions, bound to their worker.
#[derive(Debug)]
pub(crate) struct Around {
    before: Py<PyAny>,
    after: Option<Py<PyAny>>,
}

/// A request that they were told of.
pub(super) struct Told<'a, 'py> {
    after: &'a Py<PyAny>,
    request: Bound<'py, PyAny>,
    environ: Bound<'py, PyDict>,
    outcome: Arc<Outcome>,
}

impl Around {
    /// What `stdserve._hooks` has for requests; none: nothing is called.
    pub(crate) fn of_configuration(py: Python<'_>) -> PyResult<Option<Self>> {
        let hooks = py.import("stdserve._hooks")?.call_method0("for_requests")?;
        if hooks.is_none() {
            return Ok(None);
        }
        let after = hooks.getattr("ends")?.is_truthy()?.then(|| hooks.getattr("after")).transpose()?;
        Ok(Some(Self { before: hooks.getattr("before")?.unbind(), after: after.map(Bound::unbind) }))
    }

    /// Before the application. What the function raises is as if the application had.
    pub(super) fn before<'a, 'py>(
        &'a self,
        environ: &Bound<'py, PyDict>,
        exchange: &mut Exchange,
    ) -> PyResult<Option<Told<'a, 'py>>> {
        let py = environ.py();
        let outcome = exchange.outcome();
        let (head, origin) = (exchange.head(), exchange.origin());
        let headers = PyList::empty(py);
        for (name, value) in head.fields() {
            headers.append((native(py, &name.to_ascii_uppercase())?, native(py, value)?))?;
        }
        let version = if head.version().as_str() == "HTTP/1.0" { (1, 0) } else { (1, 1) };
        let scheme = origin.scheme.map_or("http", Scheme::as_str);
        let peer = match exchange.peer() {
            Peer::Ip(peer) => Some((peer.ip().to_canonical().to_string(), peer.port())),
            Peer::Unix => None,
        };
        let (method, target) = (native(py, head.method())?, native(py, head.target())?);
        let request = self.before.bind(py).call1((method, target, version, headers, scheme, peer))?;
        let environ = environ.clone();
        Ok(self.after.as_ref().map(|after| Told { after, request, environ, outcome }))
    }
}

impl Told<'_, '_> {
    /// After the answer.
    pub(super) fn after(self) -> PyResult<()> {
        let (status, sent) = (self.outcome.status(), self.outcome.sent());
        self.after.bind(self.request.py()).call1((self.request, self.environ, status, sent)).map(drop)
    }
}
