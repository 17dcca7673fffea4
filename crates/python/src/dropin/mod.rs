//! The engine under the drop-in modules: it accepts, waits and reads requests for a server object of
//! `stdserve.socketserver`, and calls the steps that are the program's in Python.
//!
//! `stdserve/_engine.py` has the other half: it decides what is handed to whom, and holds the server object. Here
//! [`DropIn`] is the running engine, [`requests`] hands requests to handlers, [`writer`] takes what they write.

mod calls;
mod requests;
mod writer;

use std::os::fd::{IntoRawFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use stdserve_proto::forwarded::Trust;
use stdserve_proto::h1::HeadLimits;
use stdserve_server::{
    Arrival, Datagram, Exchange, Observer, Order, Peer, Run, Server, Service, Session, Settings, Timeouts,
};
use stdserve_sys::listener::{BindAddress, Registry};

use crate::crew_threads::PythonThreads;
use crate::embedded::StandardError;
use crate::ending;
use crate::gateway::child;
use crate::gateway::context::Contexts;
use crate::gateway::report;
use crate::gateway::wsgi::{Options, WsgiGateway};
use calls::Calls;
use requests::Requests;
pub(crate) use writer::Writer;

/// What does not fit the engine's clock: for ever.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The engine of one `serve_forever`.
///
/// `descriptor` is the server's socket, of which the engine makes itself a copy. `kind`: "http", "wsgi", "stream" or
/// "datagram", "xmlrpc". `driver` has the methods that are called: `open` and `serve` for requests, `session` for
/// connections, `datagram` for datagrams; `application`, `environ` and `log` for an application. `threads`: how many
/// may run at once; 0 where `turn` is called.
#[pyclass(frozen, weakref, module = "stdserve._stdserve")]
pub(crate) struct DropIn {
    server: Server,
    gateway: Arc<Gateway>,
    closed: Arc<Closed>,
}

/// Whether the engine has let go of the server's socket.
#[derive(Default)]
struct Closed {
    is: Mutex<bool>,
    changed: Condvar,
}

impl Observer for Closed {
    fn closed(&self) {
        *self.is.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

impl Closed {
    fn wait(&self, limit: Duration) -> bool {
        let is = self.is.lock().unwrap_or_else(PoisonError::into_inner);
        *self.changed.wait_timeout_while(is, limit, |is| !*is).unwrap_or_else(PoisonError::into_inner).0
    }
}

#[pymethods]
impl DropIn {
    #[new]
    #[pyo3(signature = (descriptor, kind, driver, threads, **limits))]
    fn new(
        py: Python<'_>,
        descriptor: RawFd,
        kind: &str,
        driver: &Bound<'_, PyAny>,
        threads: usize,
        limits: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let settings = settings(threads, limits)?;
        let registry = Registry::open(&[(None, BindAddress::Descriptor(descriptor))], 1)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let gateway = Arc::new(Gateway::new(driver, kind, threads == 0)?);
        let service = Arc::clone(&gateway) as Arc<dyn Service>;
        let closed = Arc::new(Closed::default());
        let observer = Arc::clone(&closed) as Arc<dyn Observer>;
        let builder = Server::builder(settings).log(Arc::new(StandardError)).observer(observer);
        let listeners = registry.into_listeners();
        let builder = match kind {
            "wsgi" => {
                let service = Arc::new(application(py, driver, threads > 1)?);
                let server =
                    builder.listeners(listeners).build(service, Arc::new(PythonThreads::default()))?;
                return Ok(Self { server, gateway, closed });
            }
            "http" | "xmlrpc" => builder.listeners(listeners),
            "stream" => builder.streams(listeners, Arc::clone(&service)),
            "datagram" => builder.datagrams(listeners, Arc::clone(&service)),
            _ => return Err(PyValueError::new_err("kind is http, wsgi, xmlrpc, stream or datagram")),
        };
        let server = builder.build(service, Arc::new(PythonThreads::default()))?;
        Ok(Self { server, gateway, closed })
    }

    /// Serves from now on, in threads of its own.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.server.start())?)
    }

    /// One turn on the calling thread: waits at most `timeout` seconds, and handles what is there. False: it has
    /// ended. Raises what a handler let through.
    fn turn(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout).unwrap_or_default();
        let goes_on = py.detach(|| self.server.turn(Some(timeout)));
        py.check_signals()?;
        match self.gateway.raised.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(goes_on),
        }
    }

    /// Accepts no more, and lets what runs finish, however long that takes. Waits until the engine has let go of the
    /// server's socket. False: it has not for five seconds, since nothing more could be accepted of what waits.
    fn drain(&self, py: Python<'_>) -> bool {
        self.server.control().order(Order::Drain { within: FOREVER });
        py.detach(|| self.closed.wait(Duration::from_secs(5)))
    }

    /// Ends at once: connections are cut.
    fn stop(&self) {
        self.server.control().order(Order::Stop);
    }

    /// Makes the present `turn` return at once, or the next one.
    fn wake(&self) {
        self.server.control().wake();
    }

    /// Waits until it has ended, at most `timeout` seconds. False: it has not.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> bool {
        let timeout = timeout.map(|timeout| Duration::try_from_secs_f64(timeout).unwrap_or_default());
        py.detach(|| {
            let ended = self.server.wait(timeout);
            if ended {
                self.server.join();
            }
            ended
        })
    }
}

impl Drop for DropIn {
    fn drop(&mut self) {
        // Handlers that still run finish, as the threads of the standard library do.
        self.server.control().order(Order::Drain { within: FOREVER });
    }
}

/// The application of a `wsgiref` server.
fn application(py: Python<'_>, driver: &Bound<'_, PyAny>, multithread: bool) -> PyResult<WsgiGateway> {
    let options = Options {
        multithread,
        environ: Some(driver.call_method0("environ")?.cast_into::<PyDict>()?.unbind()),
        log: Some(driver.getattr("log")?.unbind()),
        ..Options::default()
    };
    let application = driver.call_method0("application")?.unbind();
    WsgiGateway::new(py, application, options, Arc::new(StandardError))
}

/// What the engine is told: the limits of the handler class and the server, by the names of these here.
fn settings(threads: usize, limits: Option<&Bound<'_, PyDict>>) -> PyResult<Settings> {
    let number = |name: &str, default: usize| -> PyResult<usize> {
        limits.map(|limits| limits.get_item(name)).transpose()?.flatten().map_or(Ok(default), |n| n.extract())
    };
    // Seconds, or None for no limit.
    let seconds = |name: &str| -> PyResult<Duration> {
        let given = limits.map(|limits| limits.get_item(name)).transpose()?.flatten();
        let given: Option<f64> = given.map(|seconds| seconds.extract()).transpose()?.flatten();
        Ok(given
            .map_or(FOREVER, |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(FOREVER))
            .min(FOREVER))
    };
    let text = |name: &str| -> PyResult<Option<String>> {
        limits
            .map(|limits| limits.get_item(name))
            .transpose()?
            .flatten()
            .map(|text| text.extract())
            .transpose()
    };
    let fields = number("max_header_size", 128 << 10)?;
    Ok(Settings {
        head: HeadLimits {
            request_line: 64 << 10,
            fields: number("max_header_fields", 100)?,
            field_size: 64 << 10,
            head_total: fields.saturating_add(64 << 10),
        },
        max_body: number("max_body_size", usize::MAX >> 1)? as u64,
        timeouts: Timeouts {
            head: seconds("header_timeout")?,
            keep_alive: seconds("keep_alive_timeout")?,
            body_period: seconds("body_timeout")?,
            body_rate: 0,
            write: seconds("write_timeout")?,
            queue: FOREVER,
            drain_idle: Duration::ZERO,
            ..Timeouts::default()
        },
        threads: threads.clamp(1, 10_000),
        // The handler sees the fields as they came; nothing is concluded from them.
        trust: Trust::indifferent(),
        server_name: text("server_name")?,
        hand_over_refused: text("server_name")?.is_none(),
        ..Settings::default()
    })
}

/// Hands what arrives to the driver.
struct Gateway {
    /// Answers calls of an unchanged handler of XML-RPC.
    calls: Option<Calls>,
    requests: Requests,
    session: Py<PyAny>,
    datagram: Py<PyAny>,
    /// The program's own thread does all the work: what a handler lets through is raised there.
    turned: bool,
    raised: Mutex<Option<PyErr>>,
    contexts: Mutex<Vec<Contexts>>,
    forks: child::Watch,
}

impl Gateway {
    fn new(driver: &Bound<'_, PyAny>, kind: &str, turned: bool) -> PyResult<Self> {
        Ok(Self {
            calls: (kind == "xmlrpc").then(|| Calls::new(driver)).transpose()?,
            requests: Requests::new(driver)?,
            session: driver.getattr("session")?.unbind(),
            datagram: driver.getattr("datagram")?.unbind(),
            turned,
            raised: Mutex::default(),
            contexts: Mutex::default(),
            forks: child::Watch::new(driver.py())?,
        })
    }

    fn serve(&self, py: Python<'_>, contexts: &mut Contexts, arrival: Arrival) -> PyResult<()> {
        // One turn for all where the program's own thread does the work: its context stays.
        let context = if self.turned { None } else { Some(contexts.enter(py)?) };
        let served = match arrival {
            Arrival::Exchange(exchange) => self.exchange(py, exchange),
            Arrival::Session(session) => self.session(py, session),
            Arrival::Datagram(datagram) => self.datagram(py, &datagram),
        };
        if self.forks.is_forked() {
            child::leave(py, &served);
        }
        if let Some(context) = context {
            contexts.exit(context)?;
        }
        served
    }

    fn exchange(&self, py: Python<'_>, exchange: Exchange) -> PyResult<()> {
        let left = match &self.calls {
            Some(calls) => calls.serve(py, exchange)?,
            None => Some(exchange),
        };
        left.map_or(Ok(()), |exchange| self.requests.serve(py, exchange))
    }

    fn session(&self, py: Python<'_>, mut session: Session) -> PyResult<()> {
        let ahead = PyBytes::new(py, &session.take_ahead());
        let peer = peer(py, session.peer())?;
        let (socket, guard) = session.into_socket();
        let answer = ending::call(self.session.bind(py), (socket.into_raw_fd(), peer, ahead));
        drop(guard);
        answer.map(drop)
    }

    fn datagram(&self, py: Python<'_>, datagram: &Datagram) -> PyResult<()> {
        let sender = datagram.sender();
        let address = match (sender.ip(), sender.path()) {
            (Some(address), _) => peer(py, &Peer::Ip(address))?,
            (None, Some(path)) if path.starts_with(b"\0") => PyBytes::new(py, &path).into_any(),
            (None, Some(path)) => std::path::PathBuf::from(String::from_utf8_lossy(&path).into_owned())
                .into_os_string()
                .into_pyobject(py)?
                .into_any(),
            (None, None) => py.None().into_bound(py),
        };
        ending::call(self.datagram.bind(py), (PyBytes::new(py, datagram.data()), address)).map(drop)
    }

    /// What a driver lets through ends the program's loop, or is told to the hook of threads.
    fn failed(&self, py: Python<'_>, error: PyErr) {
        if self.turned {
            *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        } else {
            eprintln!("{}", report::traceback(py, &error));
        }
    }
}

impl Service for Gateway {
    fn run(&self, run: &mut Run<'_>) {
        let attached = ending::attach(|py| {
            let spare = self.contexts.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut contexts = spare.unwrap_or_default();
            while let Some(arrival) = run.next_arrival() {
                if let Err(error) = self.serve(py, &mut contexts, arrival) {
                    self.failed(py, error);
                    if self.turned {
                        break;
                    }
                }
            }
            self.contexts.lock().unwrap_or_else(PoisonError::into_inner).push(contexts);
        });
        if attached.is_none() {
            // The interpreter is ending: what is left is dropped, which cuts the connections.
            while run.next_arrival().is_some() {}
        }
    }
}

/// An address as the `socket` module has it.
fn peer<'py>(py: Python<'py>, peer: &Peer) -> PyResult<Bound<'py, PyAny>> {
    use std::net::SocketAddr;
    Ok(match peer {
        Peer::Ip(SocketAddr::V4(address)) => {
            (address.ip().to_string(), address.port()).into_pyobject(py)?.into_any()
        }
        Peer::Ip(SocketAddr::V6(address)) => {
            (address.ip().to_string(), address.port(), address.flowinfo(), address.scope_id())
                .into_pyobject(py)?
                .into_any()
        }
        Peer::Unix => pyo3::types::PyString::new(py, "").into_any(),
    })
}
