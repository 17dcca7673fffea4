//! The command: reads the options, opens the listeners, and becomes the supervisor.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stdserve_config::{
    Command, Configuration, GroupSpec, Serve, Shown, Surroundings, UsageError, without_python,
};
use stdserve_supervisor::{
    Configured, Host, Level, Machine, Plane, Policy, Setting, TemplateSeat, exit_code,
};
use stdserve_sys::channel::Channel;
use stdserve_sys::listener::{BindCause, BindError, Inherited, Listener};
use stdserve_sys::log_writer::LogFile;
use stdserve_sys::process::{self, Fork, ForkError, Pid};
use stdserve_sys::scoreboard::Scoreboard;
use stdserve_sys::{broadcast, cpus, limits, memory, tempfile};

use crate::being::Being;
use crate::interpreter::Interpreter;
use crate::log::{self, ErrorLog};
use crate::setup::{Group, Setup};
use crate::{admin, banner, control, ctl, listen, ready_made, services, template, watcher};

/// Arenas of the allocator: more would keep what many threads have freed.
const ARENAS: i32 = 2;

/// How long a configuration file in Python may run while a server waits for what it says.
pub const SHORT: Duration = Duration::from_secs(5);

/// Runs the command with these arguments (without the program's name), and returns its exit code.
pub fn main(interpreter: &mut dyn Interpreter, argv: &[OsString]) -> i32 {
    if let Err(error) = process::fill_standard_streams() {
        return complain(&format!("/dev/null cannot be opened: {error}"), exit_code::USAGE);
    }
    let around = Surroundings::of_process(&without_python);
    let serve = match parse(interpreter, argv, &around, None) {
        Ok(Command::Print(text)) => {
            // A reader that has left wants no more of it.
            let _ = io::stdout().write_all(text.as_bytes());
            return exit_code::OK;
        }
        Ok(Command::Serve(serve)) => *serve,
        Ok(Command::Run(script)) => return interpreter.run_script(script),
        Ok(Command::Ctl(ctl)) => return ctl::carry_out(&ctl),
        Ok(Command::Control(control)) => return control::carry_out(&control),
        // A server that waits to be replaced by this one hears of it.
        Err(error) => return complain(&Being::new().refused(interpreter, error), exit_code::USAGE),
    };
    if serve.check {
        return check(interpreter, &serve);
    }
    let again = |interpreter: &mut dyn Interpreter| match parse(interpreter, argv, &around, Some(SHORT))? {
        Command::Serve(serve) => Ok(*serve),
        // The same words ask for the same thing, whatever the files say.
        _ => Err(UsageError::new(None, "the command line does not say what to serve", None)),
    };
    start(interpreter, serve, &again).unwrap_or_else(|error| complain(&error, exit_code::USAGE))
}

/// Reads the options. A configuration file in Python is run by a child of this process, for at most `limit`.
fn parse(
    interpreter: &mut dyn Interpreter,
    argv: &[OsString],
    around: &Surroundings<'_>,
    limit: Option<Duration>,
) -> Result<Command, UsageError> {
    let interpreter = RefCell::new(interpreter);
    let python = |file: &Path| interpreter.borrow_mut().read_configuration(file, limit);
    stdserve_config::parse(argv.iter().cloned(), &around.with_python(&python))
}

/// Prints an error for the user, and returns `code`.
pub fn complain(error: &dyn fmt::Display, code: i32) -> i32 {
    let text = error.to_string();
    let prefix = if text.starts_with("error: ") { "" } else { "error: " };
    let _ = writeln!(io::stderr(), "{prefix}{text}");
    code
}

/// `--check-config`: loads what is served, and says whether that went well.
fn check(interpreter: &mut dyn Interpreter, serve: &Serve) -> i32 {
    if let Err(error) = change_folder(&serve.configuration).and_then(|()| check_files(serve)) {
        return complain(&error, exit_code::USAGE);
    }
    for note in notes(serve) {
        let _ = writeln!(io::stderr(), "warning: {note}");
    }
    for group in &serve.groups {
        if let Err(why) = interpreter.prepare(&group.settings) {
            return complain(&why, exit_code::APPLICATION);
        }
        for service in &group.services {
            if let Err(why) = interpreter.serves(service) {
                return complain(&why, exit_code::USAGE);
            }
            if let Err(why) = interpreter.load(service) {
                return complain(&why, exit_code::APPLICATION);
            }
            let _ = writeln!(io::stdout(), "{} can be served", service.kind.target());
        }
    }
    exit_code::OK
}

fn change_folder(configuration: &Configuration) -> Result<(), UsageError> {
    let Some(folder) = &configuration.settings.process.chdir else { return Ok(()) };
    std::env::set_current_dir(folder)
        .map_err(|error| configuration.refuse("chdir", format!("{}: {error}", folder.display())))
}

/// What is said in warnings: of the configuration, and of what its services name.
fn notes(serve: &Serve) -> Vec<String> {
    let services = serve.groups.iter().flat_map(|group| &group.services);
    let doubts = services.flat_map(|service| ready_made::doubts(&service.kind));
    serve.configuration.notes.iter().cloned().chain(doubts).collect()
}

/// What is wrong with a log, or with a folder, is said before anything is served.
fn check_files(serve: &Serve) -> Result<(), UsageError> {
    for group in &serve.groups {
        for service in &group.services {
            services::check(service, group)?;
        }
        let options = &group.settings;
        watcher::access_format(options)
            .map_err(|error| group.refuse("access-logformat", error.to_string()))?;
        log::file(&options.logging.access, LogFile::stdout)
            .map_err(|error| group.refuse("access-logfile", error.to_string()))?;
        if let (Some(file), None) = (&options.logging.python_file, &options.logging.python_dict) {
            file.metadata()
                .map_err(|error| group.refuse("log-config", format!("{}: {error}", file.display())))?;
        }
        if let Some(folder) = &options.process.temp_dir {
            tempfile::unlinked(folder)
                .map_err(|error| group.refuse("temp-dir", format!("{}: {error}", folder.display())))?;
        }
    }
    Ok(())
}

/// Becomes the supervisor, until the end; returns the exit code. An error is one of usage.
///
/// The process must have one thread. Signals that the supervisor takes stay blocked afterwards.
///
/// `again` reads the configuration anew, from where `serve` came from.
pub fn start(interpreter: &mut dyn Interpreter, serve: Serve, again: Again<'_>) -> Result<i32, UsageError> {
    let mut being = Being::new();
    match supervise(interpreter, serve, again, &mut being) {
        Ok(code) => Ok(being.ended(interpreter, code)),
        Err(error) => Err(being.refused(interpreter, error)),
    }
}

fn supervise(
    interpreter: &mut dyn Interpreter,
    serve: Serve,
    again: Again<'_>,
    being: &mut Being,
) -> Result<i32, UsageError> {
    let root = Path::new("/");
    for service in serve.groups.iter().flat_map(|group| &group.services) {
        if let Err(why) = interpreter.serves(service) {
            return Ok(being.complain(&why, exit_code::USAGE));
        }
    }
    if let Some(objection) = limits::kernel_objection(root) {
        return Ok(being.complain(&objection, exit_code::WORKERS_FAIL));
    }
    change_folder(&serve.configuration)?;
    being.prepare(&serve.configuration, &serve.groups)?;
    check_files(&serve)?;
    if let Some(code) = being.begin(interpreter, &serve.configuration, serve.restart)? {
        return Ok(code);
    }
    let options = &serve.configuration.settings;
    let log = open_log(&serve.configuration)?;
    let mut inherited = being.inherited();
    let groups = match open(&serve.groups, cpus::usable(root), being, &mut inherited) {
        Ok(groups) => groups,
        Err(error) => return Ok(being.complain(&error, exit_code::ADDRESS)),
    };
    let (plane, trouble) = match admin::open(options, &mut inherited) {
        Ok(opened) => opened,
        Err(error) => return Ok(being.complain(&error, exit_code::ADDRESS)),
    };
    // What the options do not ask for any more.
    drop(inherited);
    if let Some(code) = being.bound(interpreter, &serve.configuration)? {
        return Ok(code);
    }
    if let Some(trouble) = trouble {
        log.say(Level::Info, &trouble);
    }
    for note in notes(&serve) {
        log.say(Level::Warning, &note);
    }
    memory::limit_arenas(ARENAS);
    if let Err(error) = limits::raise_descriptors() {
        log.say(Level::Warning, &format!("the limit on open files could not be raised: {error}"));
    }
    let board = match Scoreboard::new(groups.iter().map(|group| group.slots.len()).sum()) {
        Ok(board) => Arc::new(board),
        Err(error) => return Ok(being.complain(&error, exit_code::WORKERS_FAIL)),
    };
    share_memory(&serve.configuration, &log)?;
    let policy = Policy {
        graceful_timeout: options.timeouts.graceful,
        // A terminal that was closed; a hang-up by an operator means something else.
        hangup_ends: io::stdin().is_terminal(),
        winch_pauses: being.is_detached(),
        replaces: being.replaces(),
        seed: seed(),
        ..Policy::default()
    };
    let admin = plane.as_ref().map(Plane::urls).unwrap_or_default();
    let plan: Vec<_> = groups.iter().map(Group::plan).collect();
    let account = being.account().cloned();
    let setup = Setup { groups, board: Arc::clone(&board), log: Arc::new(log), account };
    let mut supervisor = Supervisor { interpreter, setup, plane, admin, serve, again, being };
    let ended = stdserve_supervisor::run(&plan, policy, &board, &mut supervisor);
    Ok(ended.unwrap_or_else(|error| supervisor.being.complain(&error, exit_code::WORKERS_FAIL)))
}

/// Reads the configuration again.
pub type Again<'a> = &'a dyn Fn(&mut dyn Interpreter) -> Result<Serve, UsageError>;

fn open_log(configuration: &Configuration) -> Result<ErrorLog, UsageError> {
    ErrorLog::open(&configuration.settings.logging)
        .map_err(|error| configuration.refuse("error-logfile", error.to_string()))
}

/// Makes the memory of exchanges, which all workers share because it is there before the first of them.
fn share_memory(configuration: &Configuration, log: &ErrorLog) -> Result<(), UsageError> {
    let shared = broadcast::share(configuration.settings.process.exchange_memory);
    let stays = !shared.map_err(|error| configuration.refuse("exchange-memory", error.to_string()))?;
    if stays {
        log.say(
            Level::Warning,
            "--exchange-memory: exchanges were in use before the server; their memory stays",
        );
    }
    Ok(())
}

/// Opens the listeners of all groups. `workers`: how many a group has that does not say.
fn open(
    specs: &[GroupSpec],
    workers: usize,
    being: &Being,
    inherited: &mut Inherited,
) -> Result<Vec<Group>, BindError> {
    let mut groups: Vec<Group> = Vec::with_capacity(specs.len());
    for spec in specs {
        let first = groups.last().map_or(0, |group| group.slots.end);
        let registry = listen::open(spec, |name| being.variable(name), inherited)?;
        groups.push(Group::new(spec.clone(), registry, workers, first));
    }
    if let Some(account) = being.account() {
        for group in &groups {
            group.registry.give_files(account).map_err(|error| BindError {
                address: group.spec.name.clone(),
                cause: BindCause::System(error),
            })?;
        }
    }
    Ok(groups)
}

/// A number that differs from start to start.
fn seed() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    time.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
}

/// What the supervisor asks of the program.
struct Supervisor<'a> {
    interpreter: &'a mut dyn Interpreter,
    setup: Setup,
    plane: Option<Plane>,
    /// Where that listens, as far as the options say where.
    admin: Vec<String>,
    /// What was read last.
    serve: Serve,
    again: Again<'a>,
    being: &'a mut Being,
}

impl Supervisor<'_> {
    /// Reads the configuration again, and checks it. The supervisor's own log follows it at once.
    fn read_again(&mut self) -> Result<(), UsageError> {
        let (serve, kept) = stdserve_config::keep_fixed(&self.serve, (self.again)(self.interpreter)?);
        check_files(&serve)?;
        self.setup.log = Arc::new(open_log(&serve.configuration)?);
        self.serve = serve;
        for note in notes(&self.serve) {
            self.setup.log.say(Level::Warning, &note);
        }
        for text in kept.warnings() {
            self.setup.log.say(Level::Warning, &text);
        }
        Ok(())
    }
}

impl Host for Supervisor<'_> {
    fn fork(&mut self) -> Result<Fork, ForkError> {
        process::fork(&mut *self.interpreter)
    }

    fn template(&mut self, seat: TemplateSeat) -> ! {
        self.being.leave();
        template::live(self.interpreter, seat, &mut self.setup)
    }

    fn log(&mut self, level: Level, text: &str) {
        self.setup.log.say(level, text);
        self.being.logged(level, text);
    }

    fn reopen(&mut self) {
        self.being.before_reopening(&self.serve.groups);
        self.setup.log.reopen();
    }

    fn ready(&mut self) {
        self.setup.log.announce(&banner::lines(self.interpreter, &self.setup, &self.admin));
        self.being.ready();
    }

    fn reloading(&mut self) {
        self.being.reloading();
    }

    fn announce(&mut self, successor: Pid) {
        self.being.announce(successor);
    }

    fn execute(&mut self, channel: BorrowedFd<'_>, plane: &[&Listener]) -> io::Result<Pid> {
        let own = self.setup.groups.iter().flat_map(|group| group.registry.listeners());
        let listeners: Vec<_> = own.chain(plane.iter().copied()).collect();
        self.being.execute_successor(channel, &listeners)
    }

    fn hand_over(&mut self) {
        self.being.hand_over();
        for group in &mut self.setup.groups {
            group.registry.leave_files();
        }
    }

    fn predecessor(&mut self) -> Option<Channel> {
        self.being.lifeline()
    }

    fn inherit(&mut self) {
        if let Err(error) = self.being.alone() {
            self.setup.log.say(Level::Error, &format!("the pid file could not be renamed: {error}"));
        }
        for group in &mut self.setup.groups {
            group.registry.claim();
        }
    }

    fn turn(&mut self, machine: &Machine, now: Instant) -> Option<Instant> {
        self.being.turn(machine, &self.setup.board, now)
    }

    fn configure(&mut self) -> Result<Configured, String> {
        self.read_again().map_err(|error| error.to_string())?;
        let groups = self.setup.groups.iter().zip(&self.serve.groups);
        let plans = groups.map(|(group, spec)| group.plan_of(spec)).collect();
        let graceful_timeout = self.serve.configuration.settings.timeouts.graceful;
        Ok(Configured { plans, graceful_timeout })
    }

    fn adopt(&mut self, group: usize, generation: u64) {
        if let (Some(group), Some(spec)) = (self.setup.groups.get_mut(group), self.serve.groups.get(group)) {
            group.adopt(generation, spec.clone());
        }
    }

    fn keep(&mut self, group: usize, generation: u64) {
        if let Some(group) = self.setup.groups.get_mut(group) {
            group.keep(generation);
        }
    }

    fn close_listeners(&mut self) {
        self.being.stopping();
        for group in &mut self.setup.groups {
            group.registry.close();
        }
    }

    fn plane(&mut self) -> Option<Plane> {
        self.plane.take()
    }

    fn set_log_level(&mut self, rank: u8) {
        self.setup.log.set_level(rank);
    }

    fn options(&self) -> Vec<Setting> {
        let setting = |shown: &Shown| Setting {
            service: shown.service.clone(),
            name: shown.name.to_owned(),
            value: shown.value.clone(),
            unset: shown.unset.to_owned(),
            source: shown.source.clone(),
        };
        self.serve.shown.iter().map(setting).collect()
    }
}
