//! The gateway for `socketserver` handler classes: `stdserve tcp` and `stdserve udp`.
//!
//! The engine hands over whole connections, and datagrams; each is given to the Python server object of its listener
//! (`stdserve/_handlers.py`), which makes an instance of the handler class. With `threads` that happens on the crew's
//! thread, with `forks` in a process that the thread waits for.

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use stdserve_config::{HandlerModel, HandlerOptions};
use stdserve_server::{Datagram, ListenerInfo, Log, Peer, Run, Service, Session, Timing};
use stdserve_sys::process;

use super::context::Contexts;
use super::draining::Draining;
use super::{child, report, running};
use crate::app;
use crate::ending;

/// What a handler class handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Connections.
    Stream,
    /// Datagrams.
    Datagram,
}

/// A handler class as a service.
pub(crate) struct HandlerGateway {
    kind: Kind,
    handler: Py<PyAny>,
    options: HandlerOptions,
    /// The right to fork, where handlers run in processes of their own.
    children: Option<Py<PyAny>>,
    /// What handlers have for a server, by the listener's address in words.
    servers: Mutex<HashMap<String, Py<PyAny>>>,
    /// Contexts that no thread is in.
    contexts: Mutex<Vec<Contexts>>,
    log: Arc<dyn Log>,
    /// `self.server.draining`, as the loop and as handlers see it.
    draining: (Draining, Py<Draining>),
    forks: child::Watch,
}

/// Whether `object` can be a handler class for `kind`: what is wrong with it, in words for the user.
pub(crate) fn check(py: Python<'_>, kind: Kind, object: &Py<PyAny>) -> Result<(), String> {
    let object = object.bind(py);
    if !object.is_callable() {
        return Err(format!("{} is no handler class: it cannot be called", report::type_name(object)));
    }
    if app::can_be_called(object, 3) == Some(false) {
        return Err(
            "it is no handler class: it cannot be called with a request, the client's address and a \
                    server; derive it from socketserver.BaseRequestHandler"
                .to_owned(),
        );
    }
    let (other, verb, what) = match kind {
        Kind::Stream => ("DatagramRequestHandler", "udp", "datagrams"),
        Kind::Datagram => ("StreamRequestHandler", "tcp", "connections"),
    };
    if begins_as(object, other).unwrap_or(false) {
        return Err(format!("it is a {other}, which handles {what}; serve it with stdserve {verb}"));
    }
    Ok(())
}

/// Whether a class has the `setup` of this class of `socketserver`, so that it takes the requests of that one alone.
fn begins_as(object: &Bound<'_, PyAny>, class: &str) -> PyResult<bool> {
    let setup = object.getattr("setup")?;
    for module in ["socketserver", "stdserve.socketserver"] {
        let theirs = object.py().import(module)?.getattr(class)?.getattr("setup")?;
        if setup.is(&theirs) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl HandlerGateway {
    /// Readies the class `handler`. What its instances raise is told to `log`.
    pub(crate) fn new(
        py: Python<'_>,
        kind: Kind,
        handler: Py<PyAny>,
        options: HandlerOptions,
        log: Arc<dyn Log>,
    ) -> PyResult<Self> {
        let module = py.import("stdserve._handlers")?;
        let children = match options.model {
            HandlerModel::Threads => None,
            HandlerModel::Forks => Some(module.call_method1("children", (options.max_children,))?.unbind()),
        };
        let draining = Draining::new()?;
        Ok(Self {
            kind,
            handler,
            options,
            children,
            servers: Mutex::default(),
            contexts: Mutex::default(),
            log,
            draining: (draining.clone(), Py::new(py, draining)?),
            forks: child::Watch::new(py)?,
        })
    }

    /// The server of a listener. `ready` is called once for each new one.
    fn server<'py>(
        &self,
        py: Python<'py>,
        listener: &ListenerInfo,
        ready: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<()>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let known = self.lock_servers().get(&listener.text).map(|server| server.clone_ref(py));
        if let Some(server) = known {
            return Ok(server.into_bound(py));
        }
        let (address, family) = match listener.address {
            Some(address) => (ip(py, address)?, family(address)),
            None => (unix(py, listener)?, libc::AF_UNIX),
        };
        let class = match self.kind {
            Kind::Stream => "StreamServer",
            Kind::Datagram => "DatagramServer",
        };
        let timeout = self.options.request_timeout.map(|time| time.as_secs_f64());
        let draining = &self.draining.1;
        let arguments =
            (self.handler.clone_ref(py), address, family, timeout, self.children.as_ref(), draining);
        let server = py.import("stdserve._handlers")?.call_method1(class, arguments)?;
        ready(&server)?;
        // Another thread may have made one meanwhile; either will do, but all see the same from now on.
        let mut servers = self.lock_servers();
        let kept = servers.entry(listener.text.clone()).or_insert_with(|| server.unbind());
        Ok(kept.clone_ref(py).into_bound(py))
    }

    fn lock_servers(&self) -> std::sync::MutexGuard<'_, HashMap<String, Py<PyAny>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, py: Python<'_>, session: Session) -> PyResult<()> {
        let server = self.server(py, session.listener(), |_| Ok(()))?;
        let address = match *session.peer() {
            Peer::Ip(address) => ip(py, address)?,
            Peer::Unix => "".into_pyobject(py)?.into_any(),
        };
        let (socket, guard) = session.into_socket();
        let served = server.call_method1("serve", (socket.into_raw_fd(), address));
        drop(guard);
        served.map(drop)
    }

    fn datagram(&self, py: Python<'_>, datagram: &Datagram) -> PyResult<()> {
        let server = self.server(py, datagram.listener(), |server| {
            let socket = datagram.socket().as_fd().try_clone_to_owned()?;
            server.call_method1("attach", (socket.into_raw_fd(),)).map(drop)
        })?;
        let sender = datagram.sender();
        let address = match (sender.ip(), sender.path()) {
            (Some(address), _) => ip(py, address)?,
            (None, Some(name)) if name.first() == Some(&0) => PyBytes::new(py, &name).into_any(),
            (None, Some(path)) => OsString::from_vec(path).into_pyobject(py)?.into_any(),
            (None, None) => py.None().into_bound(py),
        };
        let data = datagram.data();
        let data = PyBytes::new(py, &data[..data.len().min(self.options.max_packet_size)]);
        server.call_method1("serve", (data, address)).map(drop)
    }

    /// Calls the handler in a context of its own, and tells the log what it raises.
    fn handle(&self, py: Python<'_>, client: &str, call: impl FnOnce() -> PyResult<()>) {
        let mut contexts =
            self.contexts.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let called = contexts.enter(py).and_then(|context| {
            let called = call();
            contexts.exit(context)?;
            called
        });
        if self.forks.is_forked() {
            child::leave(py, &called);
        }
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner).push(contexts);
        // `sys.exit()` in a handler ends it, and no more.
        if let Err(error) = called
            && !error.is_instance_of::<PySystemExit>(py)
            && !running::is_time_out(py, &error)
        {
            let message = format!("the handler failed for {client}:\n{}", report::traceback(py, &error));
            py.detach(|| self.log.error(&message));
        }
    }
}

impl Service for HandlerGateway {
    fn timing(&self) -> Timing {
        Timing::Session
    }

    fn draining(&self) {
        self.draining.0.set();
    }

    fn run(&self, run: &mut Run<'_>) {
        let attached = ending::attach(|py| match self.kind {
            Kind::Stream => {
                while let Some(session) = run.next_session() {
                    let client = match session.peer() {
                        Peer::Ip(address) => address.to_string(),
                        Peer::Unix => "a local process".to_owned(),
                    };
                    let _inside = running::enter(py, session.id());
                    self.handle(py, &client, || self.session(py, session));
                }
            }
            Kind::Datagram => {
                while let Some(datagram) = run.next_datagram() {
                    let client = format!("{:?}", datagram.sender());
                    let _inside = running::enter(py, datagram.id());
                    self.handle(py, &client, || self.datagram(py, &datagram));
                }
            }
        });
        if attached.is_none() {
            // The interpreter is ending: what is left is dropped.
            while run.next().is_some() {}
        }
    }
}

fn family(address: SocketAddr) -> i32 {
    if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET }
}

/// An address as Python's `socket` writes it.
fn ip(py: Python<'_>, address: SocketAddr) -> PyResult<Bound<'_, PyAny>> {
    Ok(match address {
        SocketAddr::V4(address) => (address.ip().to_string(), address.port()).into_pyobject(py)?.into_any(),
        SocketAddr::V6(address) => {
            (address.ip().to_string(), address.port(), address.flowinfo(), address.scope_id())
                .into_pyobject(py)?
                .into_any()
        }
    })
}

/// The path of a Unix socket.
fn unix<'py>(py: Python<'py>, listener: &ListenerInfo) -> PyResult<Bound<'py, PyAny>> {
    let text = listener.text.as_str();
    let path = text.split_once(':').map_or(text, |(_, path)| path);
    Ok(path.into_pyobject(py)?.into_any())
}

/// Has the kernel end this process with its parent, so that nothing a worker has forked outlives it.
#[pyfunction]
pub(crate) fn end_with_parent() -> PyResult<()> {
    Ok(process::signal_on_parent_death(libc::SIGKILL)?)
}
