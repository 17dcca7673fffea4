//! The command: reads the options, opens the listeners, and becomes the supervisor.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use stdserve_config::{
    AppSpec, Command, Configuration, ServiceKind, ServiceSpec, Settings, Surroundings, UsageError,
};
use stdserve_supervisor::{GroupPlan, Host, Level, Policy, TemplateSeat, exit_code};
use stdserve_sys::listener::Registry;
use stdserve_sys::process::{self, Fork, ForkError};
use stdserve_sys::scoreboard::Scoreboard;
use stdserve_sys::{cpus, limits, memory, signals, tempfile};

use crate::fork::PythonHooks;
use crate::log::{self, ErrorLog};
use crate::{app, banner, embedded, engine, listen, template};

/// Arenas of the allocator: more would keep what many threads have freed.
const ARENAS: i32 = 2;

/// What is served.
pub(crate) enum Source {
    /// An application that is still to be imported.
    Named(AppSpec),
    /// One that the program has made already.
    Object(Py<PyAny>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(spec) => spec.fmt(f),
            Self::Object(object) => Python::attach(|py| {
                let name = object.bind(py).getattr("__name__").and_then(|name| name.extract::<String>());
                f.write_str(name.as_deref().unwrap_or("application object"))
            }),
        }
    }
}

/// What the supervisor has made ready, and what its children take over by being forked.
pub(crate) struct Setup {
    pub(crate) source: Source,
    pub(crate) configuration: Configuration,
    pub(crate) registry: Registry,
    pub(crate) board: Arc<Scoreboard>,
    pub(crate) log: ErrorLog,
    pub(crate) workers: usize,
    /// What a template has imported for its workers.
    pub(crate) preloaded: Option<Py<PyAny>>,
}

impl Setup {
    pub(crate) fn options(&self) -> &Settings {
        &self.configuration.settings
    }
}

/// Runs the command with these arguments and returns its exit code.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, argv: Vec<OsString>) -> i32 {
    if let Err(error) = process::fill_standard_streams() {
        return complain(&format!("/dev/null cannot be opened: {error}"), exit_code::USAGE);
    }
    let serve = match stdserve_config::parse(argv, &Surroundings::of_process()) {
        Ok(Command::Print(text)) => {
            // A reader that has left wants no more of it.
            let _ = io::stdout().write_all(text.as_bytes());
            return exit_code::OK;
        }
        Ok(Command::Serve(serve)) => serve,
        Ok(Command::Run(_)) => return complain(&"`run` is not in this version", exit_code::USAGE),
        Err(error) => return complain(&error, exit_code::USAGE),
    };
    let service = serve.groups.into_iter().flat_map(|group| group.services).next();
    let Some(ServiceSpec { kind: ServiceKind::Wsgi { app, .. }, .. }) = service else {
        return complain(&"this service is not in this version", exit_code::USAGE);
    };
    let source = Source::Named(app);
    if serve.check {
        return check(py, &source, &serve.configuration);
    }
    start(py, source, serve.configuration).unwrap_or_else(|error| complain(&error, exit_code::USAGE))
}

/// Runs the command for an application, with options as keywords.
#[pyfunction]
pub(crate) fn run(py: Python<'_>, app: &Bound<'_, PyAny>, options: &Bound<'_, PyDict>) -> PyResult<i32> {
    let usage = |error: UsageError| PyValueError::new_err(error.plain());
    let keywords = embedded::keywords(options)?;
    let configuration = stdserve_config::parse_run(keywords, &Surroundings::of_process()).map_err(usage)?;
    let source = match app.cast::<PyString>() {
        Ok(name) => Source::Named(
            AppSpec::parse(name.to_str()?).map_err(|why| PyValueError::new_err(format!("`{name}` {why}")))?,
        ),
        Err(_) if app.is_callable() => Source::Object(app.clone().unbind()),
        Err(_) => {
            let message = "the application must be a WSGI callable, or the name of one";
            return Err(PyTypeError::new_err(message));
        }
    };
    process::assert_single_threaded().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let code = start(py, source, configuration).map_err(usage);
    // The program goes on, and wants its signals back.
    signals::unblock_all()?;
    code
}

/// `--check-config`: loads the application, and says whether that went well.
fn check(py: Python<'_>, source: &Source, configuration: &Configuration) -> i32 {
    let options = &configuration.settings;
    if let Err(error) = change_folder(configuration).and_then(|()| check_files(configuration)) {
        return complain(&error, exit_code::USAGE);
    }
    let Source::Named(spec) = source else { return exit_code::OK };
    let loaded = template::prepare_path(py, options)
        .map_err(|error| error.to_string())
        .and_then(|()| app::load(py, spec).map_err(|error| error.message));
    match loaded {
        Ok(_) => {
            let _ = writeln!(io::stdout(), "{spec} can be served");
            exit_code::OK
        }
        Err(why) => complain(&why, exit_code::APPLICATION),
    }
}

fn complain(error: &dyn fmt::Display, code: i32) -> i32 {
    let text = error.to_string();
    let prefix = if text.starts_with("error: ") { "" } else { "error: " };
    let _ = writeln!(io::stderr(), "{prefix}{text}");
    code
}

fn change_folder(configuration: &Configuration) -> Result<(), UsageError> {
    let Some(folder) = &configuration.settings.process.chdir else { return Ok(()) };
    std::env::set_current_dir(folder)
        .map_err(|error| configuration.refuse("chdir", format!("{}: {error}", folder.display())))
}

/// What is wrong with a log, or with the folder for large bodies, is said before anything is served.
fn check_files(configuration: &Configuration) -> Result<(), UsageError> {
    let options = &configuration.settings;
    engine::access_format(options)
        .map_err(|error| configuration.refuse("access-logformat", error.to_string()))?;
    log::file(&options.logging.access, stdserve_sys::log_writer::LogFile::stdout)
        .map_err(|error| configuration.refuse("access-logfile", error.to_string()))?;
    if let Some(folder) = &options.process.temp_dir {
        tempfile::unlinked(folder)
            .map_err(|error| configuration.refuse("temp-dir", format!("{}: {error}", folder.display())))?;
    }
    Ok(())
}

/// Becomes the supervisor, until the end. An error is one of usage.
fn start(py: Python<'_>, source: Source, configuration: Configuration) -> Result<i32, UsageError> {
    let root = Path::new("/");
    if let Some(objection) = limits::kernel_objection(root) {
        return Ok(complain(&objection, exit_code::WORKERS_FAIL));
    }
    change_folder(&configuration)?;
    check_files(&configuration)?;
    let options = &configuration.settings;
    let log = ErrorLog::open(&options.logging)
        .map_err(|error| configuration.refuse("error-logfile", error.to_string()))?;
    let workers = options.workers.count.unwrap_or_else(|| cpus::usable(root));
    let registry = match Registry::open(&listen::of_command(&configuration), options.listen.backlog) {
        Ok(registry) => registry,
        Err(error) => return Ok(complain(&error, exit_code::ADDRESS)),
    };
    memory::limit_arenas(ARENAS);
    if let Err(error) = limits::raise_descriptors() {
        log.say(Level::Warning, &format!("the limit on open files could not be raised: {error}"));
    }
    let board = match Scoreboard::new(workers) {
        Ok(board) => Arc::new(board),
        Err(error) => return Ok(complain(&error, exit_code::WORKERS_FAIL)),
    };
    let policy = Policy {
        graceful_timeout: options.timeouts.graceful,
        // A terminal that was closed; a hang-up by an operator means something else.
        hangup_ends: io::stdin().is_terminal(),
        ..Policy::default()
    };
    let plan = [GroupPlan { name: "the application".to_owned(), workers }];
    let setup =
        Setup { source, configuration, registry, board: Arc::clone(&board), log, workers, preloaded: None };
    let mut supervisor = Supervisor { py, setup };
    let ended = stdserve_supervisor::run(&plan, policy, &board, &mut supervisor);
    Ok(ended.unwrap_or_else(|error| complain(&error, exit_code::WORKERS_FAIL)))
}

/// What the supervisor asks of Python.
struct Supervisor<'py> {
    py: Python<'py>,
    setup: Setup,
}

impl Host for Supervisor<'_> {
    fn fork(&mut self) -> Result<Fork, ForkError> {
        process::fork(&mut PythonHooks(self.py))
    }

    fn template(&mut self, seat: TemplateSeat) -> ! {
        template::live(self.py, seat, &mut self.setup)
    }

    fn log(&mut self, level: Level, text: &str) {
        self.setup.log.say(level, text);
    }

    fn ready(&mut self) {
        if self.setup.log.says(Level::Info) {
            self.setup.log.write(&banner::lines(self.py, &self.setup));
        }
    }

    fn close_listeners(&mut self) {
        self.setup.registry.close();
    }
}
