//! What the processes ask of an interpreter, and how they do without one.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stdserve_config::{GroupSpec, RunScript, ServiceSpec, Settings};
use stdserve_server::{Log, Service, StdThreads, ThreadSource};
use stdserve_supervisor::exit_code;
use stdserve_sys::process::{self, ForkHooks, NoHooks, Pid};
use stdserve_sys::signals::{self, SIGINT, SIGQUIT, SIGTERM, WakePipe};

use crate::log::ErrorLog;

/// What a service is told of where it stands.
pub struct Place<'a> {
    /// What its worker keeps to.
    pub settings: &'a Settings,
    /// How many workers its group has.
    pub workers: usize,
    /// Where it tells what went wrong.
    pub log: &'a Arc<dyn Log>,
}

/// What woke an interpreter, and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Woken {
    /// Nothing, or nothing that concerns the worker.
    GoOn,
    /// A signal handler wants the worker to leave.
    Leave,
    /// A signal handler failed: its traceback, for the log.
    Failed(String),
}

/// What the functions of a configuration file in Python are told of where they are called.
pub struct Scene<'a> {
    /// What the group keeps to.
    pub settings: &'a Settings,
    /// The supervisor's process.
    pub supervisor: Pid,
    /// How many workers the group is to have.
    pub workers: usize,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// Where their messages go.
    pub log: Arc<ErrorLog>,
}

/// When functions of a configuration file in Python are called, with gunicorn's names for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// `on_starting`: the server starts.
    Starting,
    /// `on_reload`: everything is loaded anew.
    Reloaded,
    /// `when_ready`: workers are about to be forked for the first time.
    Ready,
    /// `nworkers_changed`.
    Workers {
        /// How many there were to be; none: nobody had said.
        before: Option<u64>,
        /// How many from now on.
        now: u64,
    },
    /// `pre_fork`, in the template.
    Forking,
    /// In the template: a worker was forked. Nothing is called.
    Forked(Pid),
    /// `post_fork`, in the worker.
    Born,
    /// `post_worker_init`: the worker has loaded the application.
    Loaded,
    /// `worker_int`: the worker was told to stop at once.
    Interrupted,
    /// `worker_abort`: a request of the worker took too long.
    Aborted,
    /// `worker_exit`: the worker is about to end.
    Leaving,
    /// `child_exit`, in the template: a worker has ended.
    Ended(Pid),
    /// `pre_exec`: the supervisor is about to be replaced by a newly executed one.
    Upgrading,
    /// `on_exit`: the server has ended.
    Exit,
}

/// What a thread of the interpreter's was doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// The request that it is in, by its number.
    pub request: Option<u64>,
    /// The thread: its name, and its number for the kernel where that is known.
    pub thread: String,
    /// Where in the application it is: file and line of the innermost call that is no library's.
    pub place: String,
    /// Its calls, the most recent last: two lines each, indented.
    pub calls: String,
}

/// An interpreter, as the processes see it. One thread has it: the main thread of each process, which holds the
/// interpreter's lock but where [`apart`](Interpreter::apart) lets it go.
///
/// The methods of [`ForkHooks`] stand around every fork. In a group that needs no interpreter nothing else is called.
pub trait Interpreter: ForkHooks {
    /// Facts for the lines at the start, each with its name: which interpreter it is.
    fn facts(&self) -> Vec<(&'static str, String)>;

    /// Whether the service can be served at all; an error says why not, and what to do.
    fn serves(&self, service: &ServiceSpec) -> Result<(), String> {
        let _ = service;
        Ok(())
    }

    /// Runs a program with the standard servers replaced (`stdserve run`); returns its exit code.
    fn run_script(&mut self, script: RunScript) -> i32;

    /// Takes variables out of the environment: they are not for the application, nor for what it starts.
    fn forget_variables(&mut self, names: &[&str]) {
        process::forget_variables(names);
    }

    /// What users call a service, where the options do not say.
    fn name_of(&self, service: &ServiceSpec) -> Option<String> {
        let _ = service;
        None
    }

    /// In a fresh template: takes signals as a child of a supervisor does. Those of a terminal reach every process of
    /// its group; SIGINT and SIGQUIT are the supervisor's business, and SIGTERM ends.
    fn take_signals(&mut self) -> Result<(), String>;

    /// Makes ready for loading: where modules are looked for.
    fn prepare(&mut self, settings: &Settings) -> Result<(), String>;

    /// Loads what the service names. What is loaded already, in a template that this process was forked from, stays.
    ///
    /// An error is for the user: a sentence and what helps, or a traceback.
    fn load(&mut self, service: &ServiceSpec) -> Result<(), String>;

    /// What is to be preloaded is loaded next: what is there already is no fault of it.
    fn begin_preload(&mut self) {}

    /// All is loaded in a template: checks that its workers can be forked, and settles for that. What the import has
    /// left behind that forked workers cannot use or share is an error, unless `force` says to go on: then it is
    /// returned, for the log.
    fn settle(&mut self, force: bool) -> Result<Option<String>, String>;

    /// Reads a configuration file in Python, in a process of its own: its settings as a TOML document
    /// (`stdserve_config::Surroundings` says of what form). That process is ended after `limit`.
    fn read_configuration(&mut self, file: &Path, limit: Option<Duration>) -> Result<String, String> {
        let _ = (file, limit);
        Err(NO_PYTHON.to_owned())
    }

    /// In a template, after [`prepare`](Self::prepare): loads the functions of the configuration file in Python, if
    /// there is one.
    fn load_hooks(&mut self, scene: Scene<'_>) -> Result<(), String> {
        let _ = scene;
        Ok(())
    }

    /// All is loaded in a worker: it settles for a long life of serving that.
    fn settle_in(&mut self) {}

    /// Whether the configuration file has this function.
    fn has_hook(&self, hook: Hook) -> bool {
        let _ = hook;
        false
    }

    /// Calls a function of the configuration file, where there is one. An error is its traceback.
    fn hook(&self, hook: Hook) -> Result<(), String> {
        let _ = hook;
        Ok(())
    }

    /// In a worker: where messages go from now on.
    fn log_to(&mut self, log: Arc<ErrorLog>) {
        let _ = log;
    }

    /// The files of all modules that were imported, for those who wait for changes.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Makes the service out of what was loaded.
    fn service(&mut self, service: &ServiceSpec, place: &Place<'_>) -> io::Result<Arc<dyn Service>>;

    /// Where the threads of a worker's crew come from.
    fn threads(&self) -> Arc<dyn ThreadSource>;

    /// Calls `work` without the interpreter's lock.
    fn apart(&self, work: &mut (dyn FnMut() + Send));

    /// Has signals wake the pipe. True: SIGTERM is left to the worker.
    fn catch_signals(&self, pipe: &WakePipe) -> io::Result<bool>;

    /// Runs the handlers of signals that have come.
    fn handle_signals(&self) -> Woken;

    /// What the threads are doing that run the interpreter's code: all of them, or the one that has this request.
    fn stacks(&self, request: Option<u64>) -> Vec<Stack> {
        let _ = request;
        Vec::new()
    }

    /// Ends a request whose time is over: raises an exception in its thread, which comes when native code returns
    /// there. False: no thread of the interpreter's is in that request.
    fn end_request(&self, request: u64) -> bool {
        let _ = request;
        false
    }

    /// Has the [signal](stdserve_sys::signals::autopsy) write the stacks of all threads to a descriptor, whoever holds
    /// the interpreter's lock.
    fn write_stacks_to(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let _ = descriptor;
        Ok(())
    }

    /// What an interpreter does at its end, but for taking itself down; failures go to `complain`.
    fn end(&self, complain: &dyn Fn(&str));

    /// Writes out what the streams of the interpreter hold.
    fn flush(&self);
}

/// No interpreter: for the program without one, and for worker groups that need none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoInterpreter;

/// What to do where an interpreter is needed.
const NO_PYTHON: &str =
    "this program runs no Python\n  The command of the Python package does: pip install stdserve";

impl ForkHooks for NoInterpreter {
    fn before(&mut self) {
        NoHooks.before();
    }

    fn after_in_parent(&mut self) {
        NoHooks.after_in_parent();
    }

    fn after_in_child(&mut self) {
        NoHooks.after_in_child();
    }
}

impl Interpreter for NoInterpreter {
    fn facts(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn serves(&self, service: &ServiceSpec) -> Result<(), String> {
        if service.kind.needs_python() {
            return Err(format!("{} cannot be served: {NO_PYTHON}", service.kind.target()));
        }
        Ok(())
    }

    fn run_script(&mut self, _: RunScript) -> i32 {
        crate::complain(&NO_PYTHON, exit_code::USAGE)
    }

    fn take_signals(&mut self) -> Result<(), String> {
        let ignored = [SIGINT, SIGQUIT, signals::autopsy()].map(signals::ignore);
        ignored
            .into_iter()
            .chain([signals::set_default(SIGTERM)])
            .collect::<io::Result<()>>()
            .map_err(|error| error.to_string())
    }

    fn prepare(&mut self, _: &Settings) -> Result<(), String> {
        Ok(())
    }

    fn load(&mut self, service: &ServiceSpec) -> Result<(), String> {
        self.serves(service)
    }

    fn settle(&mut self, _: bool) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn service(&mut self, _: &ServiceSpec, _: &Place<'_>) -> io::Result<Arc<dyn Service>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, NO_PYTHON))
    }

    fn threads(&self) -> Arc<dyn ThreadSource> {
        Arc::new(StdThreads)
    }

    fn apart(&self, work: &mut (dyn FnMut() + Send)) {
        work();
    }

    fn catch_signals(&self, _: &WakePipe) -> io::Result<bool> {
        Ok(true)
    }

    fn handle_signals(&self) -> Woken {
        Woken::GoOn
    }

    fn end(&self, _: &dyn Fn(&str)) {}

    fn flush(&self) {}
}

/// Whether a group runs anything that an interpreter is needed for.
pub(crate) fn is_needed(group: &GroupSpec) -> bool {
    group.services.iter().any(|service| service.kind.needs_python())
}
