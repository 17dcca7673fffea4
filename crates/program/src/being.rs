//! The server as a process: in the background or not, its pid file, who its workers run as, whom it tells how it goes,
//! and which server it replaces or is replaced by.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Instant;

use stdserve_config::{Configuration, GroupSpec, LogTarget, UsageError};
use stdserve_supervisor::{Level, Machine, exit_code};
use stdserve_sys::channel::Channel;
use stdserve_sys::listener::{Inherited, Listener};
use stdserve_sys::notify;
use stdserve_sys::pidfile::{self, PidFile, PidFileError};
use stdserve_sys::process::{self, Origin, Pid};
use stdserve_sys::scoreboard::Scoreboard;
use stdserve_sys::users::{self, Account};

use crate::control;
use crate::interpreter::Interpreter;
use crate::launch::{Launch, Start};
use crate::manager::Manager;
use crate::succession::{self, Predecessor};

/// What this process is, beside what it serves.
#[derive(Debug, Default)]
pub(crate) struct Being {
    launch: Launch,
    /// It went on in the background: nobody takes its exit code.
    background: bool,
    pid_path: Option<PathBuf>,
    /// The name that the pid file has when no other server is there.
    last_pid_path: PathBuf,
    pid_file: Option<PidFile>,
    manager: Manager,
    /// Who template and workers run as, where that is not who the supervisor is.
    account: Option<Account>,
    /// How it was started, to be started again. `None`: that could not be found out.
    origin: Option<Origin>,
    /// The server that it replaces, while that is there.
    predecessor: Option<Predecessor>,
}

impl Being {
    /// How this process was started, and by whom; to be called before it leaves its folder.
    pub(crate) fn new() -> Self {
        let origin = Origin::of_process().ok();
        let predecessor = succession::predecessor();
        let launch = predecessor.as_ref().map(Predecessor::launch).unwrap_or_default();
        let manager = Manager::of_environment(predecessor.as_ref().map(Predecessor::pid));
        Self { launch, manager, origin, predecessor, ..Self::default() }
    }

    /// Takes what the options say of the process, once the folder is changed, and before any file is opened.
    pub(crate) fn prepare(
        &mut self,
        configuration: &Configuration,
        groups: &[GroupSpec],
    ) -> Result<(), UsageError> {
        self.account = account(configuration)?;
        if let Some(mode) = configuration.settings.process.umask {
            process::set_umask(mode);
        }
        match &self.account {
            Some(account) => logs_for(account, groups).map_err(|why| configuration.refuse("user", why)),
            None => Ok(()),
        }
    }

    /// All that can be seen to be wrong was said: goes on in the background, if it is to. `restart`: a server that has
    /// the pid file is ended first. A code: this process is done.
    pub(crate) fn begin(
        &mut self,
        interpreter: &mut dyn Interpreter,
        configuration: &Configuration,
        restart: bool,
    ) -> Result<Option<i32>, UsageError> {
        let options = &configuration.settings.process;
        if let Some(path) = &options.pid {
            // Whoever changes the folder later does not move the file.
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let first = self.predecessor.is_none();
            let own = if first { path.clone() } else { control::successor(&path) };
            if restart && first {
                control::stop(&own).map_err(|error| refuse_pid(configuration, &own, &error))?;
            }
            match pidfile::holder(&own) {
                Ok(None) => (self.pid_path, self.last_pid_path) = (Some(own), path),
                Ok(Some(pid)) => return Ok(Some(self.held(&own, &PidFileError::Held(pid)))),
                Err(error) => return Err(refuse_pid(configuration, &own, &error)),
            }
        }
        if options.daemon && self.predecessor.is_none() {
            match Launch::detach(interpreter)
                .map_err(|error| configuration.refuse("daemon", error.to_string()))?
            {
                Start::Told(code) => return Ok(Some(code)),
                Start::GoOn(launch) => {
                    (self.launch, self.background) = (launch, true);
                    // The watchdog may be meant for whoever has this number: the one before had another.
                    self.manager = Manager::of_environment(None);
                }
            }
        }
        Ok(None)
    }

    /// The listeners that come from the server that is replaced.
    pub(crate) fn inherited(&mut self) -> Inherited {
        self.predecessor.as_mut().map(Predecessor::listeners).unwrap_or_default()
    }

    /// A variable of the environment. Where it is meant for one process, that may be the one that this replaces.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let value = std::env::var(name).ok()?;
        let replaced = self.predecessor.as_ref().is_some_and(|before| before.pid().to_string() == value);
        if name == "LISTEN_PID" && replaced { Some(Pid::this().to_string()) } else { Some(value) }
    }

    /// The listeners are open: writes the pid file, and forgets what the environment says to this process alone. A
    /// code: somebody else was quicker.
    pub(crate) fn bound(
        &mut self,
        interpreter: &mut dyn Interpreter,
        configuration: &Configuration,
    ) -> Result<Option<i32>, UsageError> {
        interpreter.forget_variables(&notify::VARIABLES);
        interpreter.forget_variables(&[succession::VARIABLE]);
        let Some(path) = &self.pid_path else { return Ok(None) };
        match PidFile::take(path) {
            Ok(file) => self.pid_file = Some(file),
            Err(error @ PidFileError::Held(_)) => return Ok(Some(self.held(path, &error))),
            Err(error) => return Err(refuse_pid(configuration, path, &error)),
        }
        Ok(None)
    }

    fn held(&self, path: &Path, error: &PidFileError) -> i32 {
        let text = format!(
            "{} {error}\n  Give this server another one, or end that one: stdserve stop --pid {}",
            path.display(),
            path.display()
        );
        self.complain(&text, exit_code::ADDRESS)
    }

    /// Tells the user, and whoever waits, of an error; returns the code.
    pub(crate) fn complain(&self, error: &dyn std::fmt::Display, code: i32) -> i32 {
        if self.launch.is_awaited() {
            let text = error.to_string();
            let text = if text.starts_with("error: ") { text } else { format!("error: {text}") };
            self.launch.say(&text);
            if self.background {
                return code;
            }
        }
        crate::complain(error, code)
    }

    /// A line of the log: what is wrong is also told to whoever waits.
    pub(crate) fn logged(&self, level: Level, text: &str) {
        if level >= Level::Warning && self.launch.is_awaited() {
            self.launch.say(text);
        }
    }

    /// Who template and workers run as.
    pub(crate) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// The log files were moved away: makes new ones that the workers can write to.
    pub(crate) fn before_reopening(&self, groups: &[GroupSpec]) {
        if let Some(account) = &self.account {
            // Who opens them says what is wrong.
            let _ = logs_for(account, groups);
        }
    }

    /// All workers are ready for the first time.
    pub(crate) fn ready(&mut self) {
        self.launch.ready();
        self.manager.ready();
    }

    /// The configuration is read anew.
    pub(crate) fn reloading(&mut self) {
        self.manager.reloading();
    }

    /// The end has begun, and that server goes on.
    pub(crate) fn announce(&mut self, successor: Pid) {
        self.manager.stopping(Some(successor));
    }

    /// The end has begun.
    pub(crate) fn stopping(&mut self) {
        self.manager.stopping(None);
    }

    /// In a child: all this is the supervisor's.
    pub(crate) fn leave(&mut self) {
        *self = Self::default();
    }

    /// Whether there is no terminal that could send signals of its own.
    pub(crate) fn is_detached(&self) -> bool {
        self.background || OpenOptions::new().read(true).open("/dev/tty").is_err()
    }

    /// Whether the server that this one replaces is there.
    pub(crate) fn replaces(&self) -> bool {
        self.predecessor.is_some()
    }

    /// The end of a server that another one replaces: the pid file is that one's.
    pub(crate) fn hand_over(&mut self) {
        if let Some(file) = self.pid_file.take() {
            file.leave();
        }
    }

    /// The server that this one replaces has ended. An error concerns the pid file.
    pub(crate) fn alone(&mut self) -> io::Result<()> {
        self.predecessor = None;
        self.manager.alone();
        match &mut self.pid_file {
            Some(file) => file.rename(&self.last_pid_path),
            None => Ok(()),
        }
    }

    /// The way to the server that this one replaces: its end is that one's end.
    pub(crate) fn lifeline(&mut self) -> Option<Channel> {
        self.predecessor.as_mut().and_then(Predecessor::take_channel)
    }

    /// Executes a new server, which is given these listeners and the other end of the way to it.
    pub(crate) fn execute_successor(
        &self,
        channel: BorrowedFd<'_>,
        listeners: &[&Listener],
    ) -> io::Result<Pid> {
        let missing = || io::Error::other("how this server was started could not be found out");
        let origin = self.origin.as_ref().ok_or_else(missing)?;
        succession::execute(origin, channel, listeners)
    }

    /// Tells the service manager what is new.
    pub(crate) fn turn(&mut self, machine: &Machine, board: &Scoreboard, now: Instant) -> Option<Instant> {
        if !self.manager.listens() {
            return None;
        }
        self.manager.turn(&machine.report(), board, now)
    }

    /// It has ended, with this code. Does not return in a process that went on in the background: what called it is
    /// nobody's there.
    pub(crate) fn ended(mut self, interpreter: &dyn Interpreter, code: i32) -> i32 {
        self.launch.ended(code);
        let background = self.background;
        drop(self);
        if background {
            interpreter.flush();
            process::exit_now(code);
        }
        code
    }

    /// The same for an error of usage, which the caller tells of where there is one.
    pub(crate) fn refused(self, interpreter: &dyn Interpreter, error: UsageError) -> UsageError {
        if self.launch.is_awaited() {
            self.launch.say(&error.to_string());
        }
        self.ended(interpreter, exit_code::USAGE);
        error
    }
}

fn refuse_pid(configuration: &Configuration, path: &Path, error: &PidFileError) -> UsageError {
    let colon = if matches!(error, PidFileError::System(_)) { ":" } else { "" };
    configuration.refuse("pid", format!("{}{colon} {error}", path.display()))
}

/// Who workers run as, where that is somebody else.
fn account(configuration: &Configuration) -> Result<Option<Account>, UsageError> {
    let options = &configuration.settings.process;
    let option = if options.user.is_some() { "user" } else { "group" };
    let meant = users::meant(options.user.as_deref(), options.group.as_deref());
    let Some(account) = meant.map_err(|error| configuration.refuse(option, error.to_string()))? else {
        return Ok(None);
    };
    if users::own() == 0 {
        return Ok(Some(account));
    }
    // Who is already who is asked for has nothing to change.
    if account.user == users::own() && options.group.is_none() {
        return Ok(None);
    }
    Err(configuration.refuse(option, "needs a server that root has started: nobody else may change users"))
}

/// Makes log files that are not there yet, for the workers to write to. One that is there is left as it is: it could be
/// a link that somebody else has put there.
fn logs_for(account: &Account, groups: &[GroupSpec]) -> Result<(), String> {
    for logging in groups.iter().map(|group| &group.settings.logging) {
        for target in [&logging.error, &logging.access] {
            let LogTarget::File(path) = target else { continue };
            let made = OpenOptions::new().append(true).create_new(true).mode(0o644).open(path);
            let given = match made {
                Ok(file) => fchown(file, Some(account.user), Some(account.group)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                // Who opens it says what is wrong, as for every other user.
                Err(_) => Ok(()),
            };
            given.map_err(|error| format!("cannot be given {}: {error}", path.display()))?;
        }
    }
    Ok(())
}
