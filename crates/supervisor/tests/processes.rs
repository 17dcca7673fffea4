//! The supervisor with real processes: forking needs a process with one thread, so there is no test harness here.
//! Each case runs in a child of its own, and ends it with the case's exit code.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use stdserve_supervisor::{
    Configured, GroupPlan, Host, Level, Limits, Policy, TemplateSeat, ToWorker, WorkerSeat, run,
};
use stdserve_sys::process::{self, Exit, Fork, ForkError, NoHooks, Pid};
use stdserve_sys::scoreboard::Scoreboard;
use stdserve_sys::signals;

type WorkerLife = fn(&WorkerSeat, &Notes) -> i32;

/// Files in a folder: what the processes of a case tell the test.
struct Notes(PathBuf);

impl Notes {
    fn write(&self, name: &str) {
        let _ = fs::write(self.0.join(name), "");
    }

    fn count(&self, prefix: &str) -> usize {
        let Ok(entries) = fs::read_dir(&self.0) else { return 0 };
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).count()
    }

    fn wait(&self, prefix: &str, count: usize) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.count(prefix) < count {
            assert!(Instant::now() < end, "{prefix}: {} of {count}", self.count(prefix));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn pid(&self, prefix: &str) -> Pid {
        let entries = fs::read_dir(&self.0).expect("folder");
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let name = names.filter(|name| name.starts_with(prefix)).max().expect("a note");
        Pid(name.rsplit('-').next().and_then(|pid| pid.parse().ok()).expect("a pid"))
    }
}

struct TestHost<'a> {
    notes: &'a Notes,
    workers: usize,
    worker: WorkerLife,
    log: RefCell<Vec<String>>,
}

impl Host for TestHost<'_> {
    fn fork(&mut self) -> Result<Fork, ForkError> {
        process::fork(&mut NoHooks)
    }

    fn template(&mut self, seat: TemplateSeat) -> ! {
        self.notes.write(&format!("template-{}", Pid::this()));
        match seat.serve(&mut NoHooks) {
            Ok(Some(worker)) => {
                assert_eq!(Pid::parent(), worker.supervisor);
                process::exit_now((self.worker)(&worker, self.notes))
            }
            Ok(None) => process::exit_now(0),
            Err(_) => process::exit_now(1),
        }
    }

    fn log(&mut self, _: Level, text: &str) {
        self.log.borrow_mut().push(text.to_owned());
    }

    fn close_listeners(&mut self) {
        self.notes.write("closed");
    }

    fn reopen(&mut self) {
        self.notes.write("reopened");
    }

    fn configure(&mut self) -> Result<Configured, String> {
        self.notes.write("configured");
        let plans = vec![GroupPlan::new("main", self.workers, Limits::default())];
        Ok(Configured { plans, graceful_timeout: GRACE })
    }

    fn adopt(&mut self, _: usize, generation: u64) {
        self.notes.write(&format!("adopted-{generation}"));
    }

    fn keep(&mut self, _: usize, generation: u64) {
        self.notes.write(&format!("kept-{generation}"));
    }

    fn ready(&mut self) {
        self.notes.write("ready");
    }
}

/// Serves until it is told to stop, or its lifeline ends.
fn obedient(seat: &WorkerSeat, notes: &Notes) -> i32 {
    // Sent to one of which the supervisor has not yet heard that it is ready; the order comes all the same.
    let _ = signals::ignore(signals::SIGTERM);
    if seat.ready().is_err() {
        return 1;
    }
    notes.write(&format!("worker-{:03}-{}", seat.worker, Pid::this()));
    loop {
        match seat.order() {
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Ok(Some(ToWorker::Reopen)) => notes.write(&format!("reopens-{}", Pid::this())),
            Ok(Some(ToWorker::LogLevel(_) | ToWorker::Stacks)) => {}
            Ok(Some(ToWorker::Drain(_))) => {
                notes.write(&format!("drained-{}", Pid::this()));
                return 0;
            }
            Ok(Some(ToWorker::StopNow)) => {
                notes.write(&format!("stopped-{}", Pid::this()));
                return 0;
            }
            Err(_) => {
                notes.write(&format!("orphaned-{}", Pid::this()));
                return 0;
            }
        }
    }
}

fn stubborn(seat: &WorkerSeat, notes: &Notes) -> i32 {
    let _ = seat.ready();
    notes.write(&format!("worker-{:03}-{}", seat.worker, Pid::this()));
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn unloadable(_: &WorkerSeat, _: &Notes) -> i32 {
    4
}

fn crashing(_: &WorkerSeat, _: &Notes) -> i32 {
    1
}

/// Workers that obey need a moment of it.
const GRACE: Duration = Duration::from_secs(60);

/// Runs a supervisor in a child; `drive` does something to it. Returns how it ended, and its notes.
fn case(name: &str, workers: usize, worker: WorkerLife, drive: fn(Pid, &Notes)) -> (Exit, Notes) {
    case_within(GRACE, name, workers, worker, drive)
}

/// The same, where workers have this long to finish.
fn case_within(
    grace: Duration,
    name: &str,
    workers: usize,
    worker: WorkerLife,
    drive: fn(Pid, &Notes),
) -> (Exit, Notes) {
    let folder = std::env::temp_dir().join(format!("stdserve-supervisor-{}-{name}", Pid::this()));
    fs::create_dir_all(&folder).expect("folder");
    let notes = Notes(folder);
    let Fork::Parent(supervisor) = process::fork(&mut NoHooks).expect("fork") else {
        // A case that fails must leave nobody behind.
        let _ = process::signal_on_parent_death(signals::SIGKILL);
        let plan = [GroupPlan::new("main", workers, Limits::default())];
        let board = Scoreboard::new(plan[0].rows).expect("scoreboard");
        let policy = Policy {
            graceful_timeout: grace,
            back_off: Duration::from_millis(5),
            winch_pauses: true,
            ..Policy::default()
        };
        let mut host = TestHost { notes: &notes, workers, worker, log: RefCell::default() };
        let code = run(&plan, policy, &board, &mut host).unwrap_or(99);
        process::exit_now(code);
    };
    drive(supervisor, &notes);
    let exit = process::wait(supervisor).expect("wait");
    (exit, notes)
}

fn main() {
    let clean = |(exit, notes): (Exit, Notes)| {
        let counts = (notes.count("worker-"), notes.count("drained-"), notes.count("stopped-"));
        let _ = fs::remove_dir_all(&notes.0);
        (exit, counts)
    };

    let result = case("term", 3, obedient, |supervisor, notes| {
        notes.wait("ready", 1);
        process::kill(supervisor, signals::SIGTERM).expect("kill");
    });
    assert_eq!(clean(result), (Exit::Code(0), (3, 3, 0)), "TERM drains");

    let result = case("int", 2, obedient, |supervisor, notes| {
        notes.wait("ready", 1);
        process::kill(supervisor, signals::SIGINT).expect("kill");
    });
    assert_eq!(clean(result), (Exit::Code(0), (2, 0, 2)), "INT stops at once");

    let result = case_within(Duration::from_millis(500), "stubborn", 2, stubborn, |supervisor, notes| {
        notes.wait("worker-", 2);
        notes.wait("ready", 1);
        process::kill(supervisor, signals::SIGTERM).expect("kill");
    });
    assert_eq!(clean(result), (Exit::Code(0), (2, 0, 0)), "the deadline kills");

    let result = case("replace", 2, obedient, |supervisor, notes| {
        notes.wait("ready", 1);
        process::kill(notes.pid("worker-"), signals::SIGKILL).expect("kill");
        notes.wait("worker-", 3);
        process::kill(notes.pid("template-"), signals::SIGKILL).expect("kill");
        notes.wait("template-", 2);
        process::kill(notes.pid("worker-"), signals::SIGKILL).expect("kill");
        notes.wait("worker-", 4);
        process::kill(supervisor, signals::SIGTERM).expect("kill");
    });
    assert_eq!(clean(result), (Exit::Code(0), (4, 2, 0)), "the dead are replaced, templates too");

    let result = case("reload", 2, obedient, |supervisor, notes| {
        notes.wait("ready", 1);
        process::kill(supervisor, signals::SIGHUP).expect("kill");
        notes.wait("worker-", 4);
        notes.wait("drained-", 2);
        process::kill(supervisor, signals::SIGTERM).expect("kill");
    });
    assert_eq!(clean(result), (Exit::Code(0), (4, 4, 0)), "a reload replaces all workers");

    let result = case("orders", 2, obedient, |supervisor, notes| {
        notes.wait("ready", 1);
        let signal = |number| process::kill(supervisor, number).expect("kill");
        signal(signals::SIGTTIN);
        notes.wait("worker-", 3);
        signal(signals::SIGUSR1);
        notes.wait("reopened", 1);
        notes.wait("reopens-", 3);
        signal(signals::SIGTTOU);
        notes.wait("drained-", 1);
        signal(signals::SIGWINCH);
        notes.wait("drained-", 3);
        signal(signals::SIGHUP);
        notes.wait("adopted-2", 1);
        notes.wait("kept-2", 1);
        notes.wait("worker-", 5);
        signal(signals::SIGTERM);
    });
    assert_eq!(clean(result), (Exit::Code(0), (5, 5, 0)), "signals scale, pause and configure");

    let result = case("unloadable", 2, unloadable, |_, _| {});
    assert_eq!(clean(result).0, Exit::Code(4), "an application that cannot be loaded");

    let result = case("crashing", 1, crashing, |_, _| {});
    assert_eq!(clean(result).0, Exit::Code(3), "workers that keep failing");

    let result = case("orphans", 2, obedient, |supervisor, notes| {
        notes.wait("ready", 1);
        process::kill(supervisor, signals::SIGKILL).expect("kill");
        notes.wait("orphaned-", 2);
    });
    assert_eq!(clean(result).0, Exit::Signal(9), "workers end with their lifeline");

    println!("supervisor: 9 cases passed");
}
