//! `stdserve.Server`: serves an application in the calling process, without a supervisor. For tests, notebooks and
//! programs that bring a process of their own.

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyMapping, PyString, PyTuple};
use stdserve_config::{AppSpec, Configuration, LogTarget, Raw};
use stdserve_program::{ErrorLog, Watcher};
use stdserve_server::{Log, Observer, Order, Server};
use stdserve_sys::listener::{Listener, LocalAddress, Registry};

use crate::app;
use crate::crew_threads::PythonThreads;
use crate::gateway::wsgi::{Options, SendFile, WsgiGateway};

/// Serves a WSGI application in this process.
///
/// `app` is the application, or its name as the command takes it. Listens as soon as it is made; serves from
/// `start()` on, in threads of its own, or while `turn()` is called.
#[pyclass(frozen, name = "Server", module = "stdserve", subclass)]
pub(crate) struct Embedded {
    state: Mutex<State>,
    /// Where it listens: what stays known after the end.
    addresses: Vec<LocalAddress>,
    urls: Vec<String>,
    /// How long `stop` lets requests finish.
    patience: Duration,
}

/// How long the access log may take in the end.
const LAST_LINES: Duration = Duration::from_secs(1);

enum State {
    Ready(Arc<Serving>),
    Started(Arc<Serving>),
    Stopped,
}

struct Serving {
    server: Server,
    /// Writes the access log.
    watcher: Arc<Watcher>,
    /// Removes the files of Unix sockets in the end.
    _registry: Registry,
}

#[pymethods]
impl Embedded {
    #[new]
    #[pyo3(signature = (app, /, **options))]
    fn new(py: Python<'_>, app: &Bound<'_, PyAny>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let configuration = configuration(options)?;
        let application = application(py, app, &configuration)?;
        let options = &configuration.settings;
        let addresses = stdserve_program::addresses(&options.listen.bind, options.listen.unix_mode);
        let registry = py
            .detach(|| Registry::open(&addresses, options.listen.backlog))
            .map_err(|error| PyOSError::new_err(error.to_string()))?;
        let listeners: Vec<_> =
            registry.listeners().iter().map(Listener::try_clone).collect::<Result<_, _>>()?;
        let opened = |what: &str, error: std::io::Error| PyOSError::new_err(format!("{what}: {error}"));
        let log: Arc<dyn Log> = match options.logging.error {
            LogTarget::Standard => Arc::new(StandardError),
            _ => Arc::new(ErrorLog::open(&options.logging).map_err(|error| opened("error-logfile", error))?),
        };
        let watcher = Watcher::alone(options).map_err(|error| opened("access-logfile", error))?;
        let watcher = Arc::new(watcher);
        let gateway = WsgiGateway::new(
            py,
            application,
            Options {
                root_path: options.wsgi.root_path.clone(),
                multithread: options.workers.threads > 1,
                multiprocess: false,
                environ: None,
                log: None,
                sendfile: SendFile::new(&options.wsgi, Arc::clone(&log))?.map(Arc::new),
                around: None,
            },
            Arc::clone(&log),
        )?;
        let addresses = registry.listeners().iter().map(|listener| listener.local().clone()).collect();
        let urls = registry.listeners().iter().map(Listener::url).collect();
        let server = Server::builder(stdserve_program::settings(options))
            .listeners(listeners)
            .observer(Arc::clone(&watcher) as Arc<dyn Observer>)
            .log(log)
            .build(Arc::new(gateway), Arc::new(PythonThreads::default()))?;
        let serving = Arc::new(Serving { server, watcher, _registry: registry });
        Ok(Self {
            state: Mutex::new(State::Ready(serving)),
            addresses,
            urls,
            patience: options.timeouts.graceful,
        })
    }

    /// Serves from now on, in threads of its own.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let serving = {
            let mut state = self.lock();
            match &*state {
                State::Ready(serving) => {
                    let serving = Arc::clone(serving);
                    *state = State::Started(Arc::clone(&serving));
                    serving
                }
                State::Started(_) => return Err(PyRuntimeError::new_err("the server was started already")),
                State::Stopped => return Err(stopped()),
            }
        };
        Ok(py.detach(|| serving.server.start())?)
    }

    /// Accepts no more, lets what runs finish, and ends. What is not done after `timeout` seconds
    /// (`graceful_timeout` unless given) is cut. Does nothing when called again.
    #[pyo3(signature = (timeout=None))]
    fn stop(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let patience = duration(timeout)?.unwrap_or(self.patience);
        let before = std::mem::replace(&mut *self.lock(), State::Stopped);
        py.detach(|| match before {
            State::Started(serving) => {
                let control = serving.server.control();
                control.order(Order::Drain { within: patience });
                // The loop cuts what is late by itself; a second is for it to do so.
                if control.wait(Some(patience + Duration::from_secs(1))) && serving.server.threads().1 == 0 {
                    serving.server.join();
                } else {
                    control.order(Order::Stop);
                    control.wait(Some(Duration::from_secs(1)));
                }
                serving.watcher.close(LAST_LINES);
            }
            State::Ready(serving) => {
                serving.watcher.close(LAST_LINES);
            }
            State::Stopped => {}
        });
        Ok(())
    }

    /// One turn on the calling thread, for a server that was not started: waits at most `timeout` seconds for
    /// something to do, and does it. False: the server has ended.
    #[pyo3(signature = (timeout=None))]
    fn turn(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = duration(timeout)?;
        let Some(serving) = self.turned()? else { return Ok(false) };
        let goes_on = py.detach(|| serving.server.turn(timeout));
        // Ctrl-C while it waited.
        py.check_signals()?;
        Ok(goes_on)
    }

    /// The descriptor of its loop, for a server that was not started: readable when `turn(0)` has something to do. What
    /// has its time makes nothing readable: see `due()`. `ValueError`: the server has ended.
    fn fileno(&self) -> PyResult<RawFd> {
        let ended = || PyValueError::new_err("the server has ended");
        self.turned()?.ok_or_else(ended)?.server.descriptor().ok_or_else(ended)
    }

    /// In how many seconds it wants its next turn even though its descriptor stays quiet: 0 where the last turn has
    /// left something, 1 at most.
    fn due(&self) -> PyResult<f64> {
        Ok(self.turned()?.map_or(0.0, |serving| serving.server.until_due().as_secs_f64()))
    }

    /// Where it listens: `(host, port)`, or the path of a Unix socket. The first of several.
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.addresses.first().map_or_else(|| Ok(py.None().into_bound(py)), |address| as_python(py, address))
    }

    /// All addresses that it listens on.
    #[getter]
    fn addresses<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        self.addresses.iter().map(|address| as_python(py, address)).collect()
    }

    /// The first address as a link: `http://127.0.0.1:8000`.
    #[getter]
    fn url(&self) -> &str {
        self.urls.first().map_or("", String::as_str)
    }

    fn __enter__(this: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        this.get().start(this.py())?;
        Ok(this)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.stop(py, None)
    }

    fn __repr__(&self) -> String {
        let state = match &*self.lock() {
            State::Ready(_) => "ready",
            State::Started(_) => "serving",
            State::Stopped => "stopped",
        };
        format!("<stdserve.Server {} {state}>", self.urls.join(" "))
    }
}

impl Embedded {
    /// What the program itself turns. `None`: it was stopped.
    fn turned(&self) -> PyResult<Option<Arc<Serving>>> {
        match &*self.lock() {
            State::Ready(serving) => Ok(Some(Arc::clone(serving))),
            State::Started(_) => {
                Err(PyRuntimeError::new_err("the server was started: its own threads turn it"))
            }
            State::Stopped => Ok(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Nobody can ask it to stop any more.
        if let State::Started(serving) | State::Ready(serving) = &*self.lock() {
            serving.server.control().order(Order::Stop);
            serving.watcher.close(LAST_LINES);
        }
    }
}

/// The engine's messages, and tracebacks of the application, where the standard error stream leads at that time: a
/// program or a test may turn it elsewhere.
pub(crate) struct StandardError;

impl Log for StandardError {
    fn error(&self, message: &str) {
        eprintln!("stdserve: {message}");
    }

    fn debug(&self, _message: &str) {}
}

fn stopped() -> PyErr {
    PyRuntimeError::new_err("the server was stopped; make another one")
}

fn duration(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    seconds
        .map(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| PyValueError::new_err("a time-out is a number of seconds, not below 0"))
        })
        .transpose()
}

fn as_python<'py>(py: Python<'py>, address: &LocalAddress) -> PyResult<Bound<'py, PyAny>> {
    Ok(match address {
        LocalAddress::Tcp(address) | LocalAddress::Udp(address) => {
            (address.ip().to_string(), address.port()).into_pyobject(py)?.into_any()
        }
        LocalAddress::Unix(path) | LocalAddress::Unixgram(path) => {
            PyString::new(py, &path.display().to_string()).into_any()
        }
    })
}

/// The application itself, or the one that is named.
fn application(py: Python<'_>, app: &Bound<'_, PyAny>, configuration: &Configuration) -> PyResult<Py<PyAny>> {
    let Ok(name) = app.cast::<PyString>() else {
        if !app.is_callable() {
            return Err(PyTypeError::new_err("the application must be a WSGI callable, or the name of one"));
        }
        return Ok(app.clone().unbind());
    };
    let _ = configuration;
    let spec =
        AppSpec::parse(name.to_str()?).map_err(|why| PyValueError::new_err(format!("`{name}` {why}")))?;
    app::load(py, &spec).map_err(|error| PyValueError::new_err(error.message))
}

fn configuration(options: Option<&Bound<'_, PyDict>>) -> PyResult<Configuration> {
    let keywords = options.map(keywords).transpose()?.unwrap_or_default();
    stdserve_config::parse_server(keywords).map_err(|error| PyValueError::new_err(error.plain()))
}

/// Keyword arguments as the option table takes them.
pub(crate) fn keywords(options: &Bound<'_, PyDict>) -> PyResult<Vec<(String, Raw)>> {
    let mut given = Vec::with_capacity(options.len());
    for (name, value) in options {
        // None: as if it were not given.
        if !value.is_none() {
            given.push((name.extract()?, raw(&value)?));
        }
    }
    Ok(given)
}

fn raw(value: &Bound<'_, PyAny>) -> PyResult<Raw> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Raw::Text(text.to_str()?.to_owned()));
    }
    if value.is_instance_of::<PyBool>() {
        return Ok(Raw::Text(value.is_truthy()?.to_string()));
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(Raw::Integer(value.extract()?));
    }
    if value.is_instance_of::<PyFloat>() {
        return Ok(Raw::Text(value.extract::<f64>()?.to_string()));
    }
    if value.hasattr("__fspath__")? {
        return Ok(Raw::Text(value.extract::<std::path::PathBuf>()?.display().to_string()));
    }
    if let Ok(pairs) = value.cast::<PyMapping>() {
        let pair = |entry: Bound<'_, PyAny>| {
            let (key, value) = entry.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            // A path is a text too.
            match (key.extract::<String>(), raw(&value)?) {
                (Ok(key), Raw::Text(value)) => Ok((key, value)),
                _ => {
                    Err(PyTypeError::new_err("a mapping that is an option has texts for its keys and values"))
                }
            }
        };
        return pairs.items()?.iter().map(pair).collect::<PyResult<_>>().map(Raw::Table);
    }
    let list = value.try_iter().map_err(|_| {
        PyTypeError::new_err(format!("an option cannot be a {}", crate::gateway::report::type_name(value)))
    })?;
    let texts = list.map(|entry| match raw(&entry?)? {
        Raw::Text(text) => Ok(text),
        Raw::Integer(number) => Ok(number.to_string()),
        Raw::List(_) | Raw::Table(_) => Err(PyTypeError::new_err("an option cannot be a list of lists")),
    });
    texts.collect::<PyResult<_>>().map(Raw::List)
}
