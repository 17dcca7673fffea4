//! CPython as the processes see it: what is loaded, its threads, its signals, its end.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stdserve_config::{AppSpec, Program, RunScript, ServiceKind, ServiceSpec, Settings};
use stdserve_program::{ErrorLog, Hook, Interpreter, Place, Scene, Stack, Woken};
use stdserve_server::{Service, ThreadSource};
use stdserve_sys::process::ForkHooks;
use stdserve_sys::signals::{self, SIGINT, SIGQUIT, SIGTERM, WakePipe};

use crate::crew_threads::PythonThreads;
use crate::gateway::{report, running};
use crate::{hooks, preload, services, stacks};

/// The interpreter that runs this extension. Having the token says that the main thread is attached to it.
pub(crate) struct CPython<'py> {
    py: Python<'py>,
    /// An application that the program has made already, in the place of one that is named.
    object: Option<Py<PyAny>>,
    /// What was loaded, by the name of its service.
    loaded: HashMap<String, Py<PyAny>>,
    /// What the program that was run has raised.
    raised: Option<PyErr>,
    /// Watches the import while it preloads.
    audit: Option<preload::Audit>,
    /// Functions of a configuration file are there to be called.
    hooked: bool,
}

impl<'py> CPython<'py> {
    /// `object`: the application, where the program has made one already.
    pub(crate) fn new(py: Python<'py>, object: Option<Py<PyAny>>) -> Self {
        Self { py, object, loaded: HashMap::new(), raised: None, audit: None, hooked: false }
    }

    /// What ended the program that was run, if it was an exception.
    pub(crate) fn raised(self) -> Option<PyErr> {
        self.raised
    }

    /// What a service runs.
    fn object(&self, service: &ServiceSpec) -> Option<Py<PyAny>> {
        let found = self.object.as_ref().or_else(|| self.loaded.get(&service.name));
        found.map(|object| object.clone_ref(self.py))
    }
}

impl ForkHooks for CPython<'_> {
    fn before(&mut self) {
        // SAFETY: this thread is attached to the interpreter.
        unsafe { ffi::PyOS_BeforeFork() }
    }

    fn after_in_parent(&mut self) {
        // SAFETY: attached, and `before` was called.
        unsafe { ffi::PyOS_AfterFork_Parent() }
    }

    fn after_in_child(&mut self) {
        // SAFETY: attached in the parent, whose state this child has a copy of, and `before` was called there.
        unsafe { ffi::PyOS_AfterFork_Child() }
    }
}

impl Interpreter for CPython<'_> {
    fn facts(&self) -> Vec<(&'static str, String)> {
        let version = self.py.version_info();
        vec![("Python", format!("{}.{}.{}", version.major, version.minor, version.patch))]
    }

    /// What the program raises (`SystemExit` above all) is kept for the caller, to be raised there.
    fn run_script(&mut self, script: RunScript) -> i32 {
        let (kind, program) = match script.program {
            Program::Script(path) => ("script", path.into_os_string()),
            Program::Module(name) => ("module", name.into()),
            Program::Code(text) => ("code", text.into()),
        };
        let run = self.py.import("stdserve._run").and_then(|module| {
            module.call_method1("run", (kind, program, script.arguments))?.extract::<i32>()
        });
        run.unwrap_or_else(|error| {
            self.raised = Some(error);
            1
        })
    }

    fn name_of(&self, service: &ServiceSpec) -> Option<String> {
        // Beside it stand folders only.
        let object = self.object.as_ref().filter(|_| service.kind.needs_python())?.bind(self.py);
        let name = object.getattr("__name__").and_then(|name| name.extract::<String>());
        Some(name.unwrap_or_else(|_| "application object".to_owned()))
    }

    /// Through Python, whose `os.environ` is a copy.
    fn forget_variables(&mut self, names: &[&str]) {
        stdserve_sys::process::forget_variables(names);
        if let Ok(environ) = self.py.import("os").and_then(|os| os.getattr("environ")) {
            for name in names {
                let _ = environ.call_method1("pop", (*name, self.py.None()));
            }
        }
    }

    /// Through Python, so that `signal.getsignal` says the same.
    fn take_signals(&mut self) -> Result<(), String> {
        let set = || -> PyResult<()> {
            let module = self.py.import("signal")?;
            for (number, action) in [
                (SIGINT, "SIG_IGN"),
                (SIGQUIT, "SIG_IGN"),
                (SIGTERM, "SIG_DFL"),
                (signals::autopsy(), "SIG_IGN"),
            ] {
                module.call_method1("signal", (number, module.getattr(action)?))?;
            }
            Ok(())
        };
        set().map_err(|error| error.to_string())
    }

    /// `--env`, `--pythonpath`, and the configuration of `logging`.
    fn prepare(&mut self, settings: &Settings) -> Result<(), String> {
        let insert = || -> PyResult<()> {
            let environment = self.py.import("os")?.getattr("environ")?;
            for (name, value) in &settings.process.env {
                environment.set_item(name, value)?;
            }
            let path = self.py.import("sys")?.getattr("path")?;
            for folder in settings.process.pythonpath.iter().rev() {
                path.call_method1("insert", (0, folder.as_os_str()))?;
            }
            Ok(())
        };
        insert().map_err(|error| error.to_string())?;
        let (file, dict) = (&settings.logging.python_file, &settings.logging.python_dict);
        if file.is_none() && dict.is_none() {
            return Ok(());
        }
        let configure = || {
            self.py.import("stdserve._logging")?.call_method1("configure", (file.as_deref(), dict.as_deref()))
        };
        configure().map(drop).map_err(|error| {
            format!("Python's logging cannot be configured\n{}", report::traceback(self.py, &error))
        })
    }

    fn load(&mut self, service: &ServiceSpec) -> Result<(), String> {
        if self.object.is_some() || self.loaded.contains_key(&service.name) {
            return Ok(());
        }
        let Some(spec) = named(&service.kind) else { return Ok(()) };
        let object = services::load(self.py, &service.kind, spec).map_err(|error| error.message)?;
        self.loaded.insert(service.name.clone(), object);
        Ok(())
    }

    fn read_configuration(&mut self, file: &Path, limit: Option<Duration>) -> Result<String, String> {
        hooks::describe(self.py, self, file, limit)
    }

    fn load_hooks(&mut self, scene: Scene<'_>) -> Result<(), String> {
        let Some(file) = scene.settings.process.python_file.clone() else { return Ok(()) };
        hooks::load(self.py, &file, scene)
            .map_err(|error| format!("{} failed\n{}", file.display(), report::traceback(self.py, &error)))?;
        self.hooked = true;
        Ok(())
    }

    fn has_hook(&self, hook: Hook) -> bool {
        self.hooked && hooks::has(self.py, hook).unwrap_or(false)
    }

    fn hook(&self, hook: Hook) -> Result<(), String> {
        if !self.hooked {
            return Ok(());
        }
        let application = self.object.as_ref().or_else(|| self.loaded.values().next());
        hooks::call(self.py, hook, application)
    }

    fn log_to(&mut self, log: Arc<ErrorLog>) {
        if self.hooked {
            let _ = hooks::log_to(self.py, log);
        }
    }

    fn settle_in(&mut self) {
        // What was imported is for good: collections need not look at it each time.
        let _ = preload::freeze(self.py);
    }

    fn files(&self) -> Vec<PathBuf> {
        let files =
            self.py.import("stdserve._changes").and_then(|module| module.call_method0("files")?.extract());
        files.unwrap_or_default()
    }

    fn begin_preload(&mut self) {
        self.audit = preload::Audit::begin(self.py).ok();
    }

    fn settle(&mut self, force: bool) -> Result<Option<String>, String> {
        let left = preload::Audit::end(self.audit.take(), self.py);
        let left = left.map_err(|error| report::traceback(self.py, &error))?;
        match left {
            Some(left) if !force => return Err(preload::refusal(&left)),
            _ => preload::freeze(self.py).map_err(|error| error.to_string())?,
        }
        Ok(left.as_deref().map(preload::warning))
    }

    fn service(&mut self, service: &ServiceSpec, place: &Place<'_>) -> io::Result<Arc<dyn Service>> {
        let object = self.object(service).ok_or_else(|| io::Error::other("it was not loaded"))?;
        Ok(services::service(self.py, service, object, place)?)
    }

    fn threads(&self) -> Arc<dyn ThreadSource> {
        Arc::new(PythonThreads::default())
    }

    fn apart(&self, work: &mut (dyn FnMut() + Send)) {
        self.py.detach(work);
    }

    fn catch_signals(&self, pipe: &WakePipe) -> io::Result<bool> {
        let signal = self.py.import("signal")?;
        let options = PyDict::new(self.py);
        options.set_item("warn_on_full_buffer", false)?;
        signal.call_method("set_wakeup_fd", (pipe.writing_end(),), Some(&options))?;
        Ok(signal.call_method1("getsignal", (SIGTERM,))?.eq(signal.getattr("SIG_DFL")?)?)
    }

    fn handle_signals(&self) -> Woken {
        let Err(error) = self.py.check_signals() else { return Woken::GoOn };
        let leaves = error.is_instance_of::<PySystemExit>(self.py)
            || error.is_instance_of::<PyKeyboardInterrupt>(self.py);
        if leaves { Woken::Leave } else { Woken::Failed(report::traceback(self.py, &error)) }
    }

    fn stacks(&self, request: Option<u64>) -> Vec<Stack> {
        stacks::stacks(self.py, request).unwrap_or_default()
    }

    fn end_request(&self, request: u64) -> bool {
        running::end(self.py, request).unwrap_or(false)
    }

    /// By `faulthandler`, which needs no lock to write.
    fn write_stacks_to(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let options = PyDict::new(self.py);
        options.set_item("file", descriptor.as_raw_fd())?;
        options.set_item("all_threads", true)?;
        options.set_item("chain", false)?;
        let module = self.py.import("faulthandler")?;
        module.call_method("register", (signals::autopsy(),), Some(&options))?;
        // Not when they are needed: an import may wait for a lock that a stuck thread holds.
        for module in ["linecache", "sysconfig", "threading", "tokenize"] {
            self.py.import(module)?;
        }
        Ok(())
    }

    /// Threads of the application may still run.
    fn end(&self, complain: &dyn Fn(&str)) {
        for (module, function) in [("threading", "_shutdown"), ("atexit", "_run_exitfuncs")] {
            if let Err(error) = self.py.import(module).and_then(|module| module.call_method0(function)) {
                complain(&report::traceback(self.py, &error));
            }
        }
        self.flush();
    }

    fn flush(&self) {
        for stream in ["stdout", "stderr"] {
            let _ = self.py.import("sys").and_then(|sys| sys.getattr(stream)?.call_method0("flush"));
        }
    }
}

/// What a service names in Python.
fn named(kind: &ServiceKind) -> Option<&AppSpec> {
    match kind {
        ServiceKind::Wsgi { app: spec, .. }
        | ServiceKind::Rpc { object: spec, .. }
        | ServiceKind::Stream { handler: spec, .. }
        | ServiceKind::Datagram { handler: spec, .. } => Some(spec),
        ServiceKind::Files(_) | ServiceKind::Cgi(_) => None,
    }
}
