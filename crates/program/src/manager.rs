//! What the service manager is told (`sd_notify(3)`), and when: ready, reloading, stopping, a line of status, who the
//! main process is, and that all is well.
//!
//! A server that is about to replace another says nothing until it is the only one: the manager listens to its main
//! process, and that is still the old one.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stdserve_supervisor::{Doing, Report};
use stdserve_sys::notify::{self, Notifier};
use stdserve_sys::process::Pid;
use stdserve_sys::scoreboard::{self, Scoreboard};

/// A worker whose interpreter's lock could not be had for so long is not well. Where `--timeout` replaces it sooner,
/// it never comes to that.
const SILENCE: Duration = Duration::from_secs(30);

/// How soon messages are tried again that there was no room for.
const AGAIN: Duration = Duration::from_millis(100);

/// The way to the manager, and what it was told last.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    notifier: Option<Notifier>,
    /// Half of what it waits for a sign of life.
    interval: Option<Duration>,
    fed: Option<Instant>,
    phase: Phase,
    was_ready: bool,
    status: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Starting,
    Ready,
    Reloading,
    Stopping,
    /// Another server is the main process.
    Aside,
}

impl Manager {
    /// As the environment says. `predecessor`: the server that this one is to replace, which the manager watches.
    pub(crate) fn of_environment(predecessor: Option<Pid>) -> Self {
        let lookup = |name: &str| std::env::var(name).ok();
        let notifier = std::env::var_os("NOTIFY_SOCKET").and_then(|path| Notifier::new(&path).ok());
        let meant: Vec<_> = [Some(Pid::this()), predecessor].into_iter().flatten().collect();
        let interval = notify::watchdog(lookup, &meant).map(|limit| limit / 2);
        let phase = if predecessor.is_some() { Phase::Aside } else { Phase::Starting };
        Self { notifier, interval, phase, ..Self::default() }
    }

    /// All workers are ready for the first time.
    pub(crate) fn ready(&mut self) {
        self.was_ready = true;
        if self.phase == Phase::Starting {
            self.phase = Phase::Ready;
            self.send("READY=1".to_owned());
        }
    }

    /// A reload has begun; [`turn`](Self::turn) sees its end.
    pub(crate) fn reloading(&mut self) {
        if matches!(self.phase, Phase::Ready | Phase::Reloading) {
            self.phase = Phase::Reloading;
            self.send(format!("RELOADING=1\nMONOTONIC_USEC={}", notify::monotonic_usec()));
        }
    }

    /// The end has begun. Where another server goes on it is the main process from now on.
    pub(crate) fn stopping(&mut self, successor: Option<Pid>) {
        if self.phase == Phase::Aside {
            return;
        }
        if let Some(pid) = successor {
            self.phase = Phase::Aside;
            self.send(format!("MAINPID={pid}"));
        } else {
            self.phase = Phase::Stopping;
            self.send("STOPPING=1".to_owned());
        }
    }

    /// The server that this one replaces has ended.
    pub(crate) fn alone(&mut self) {
        if self.phase != Phase::Aside {
            return;
        }
        // It may have left before this one was ready.
        let (phase, ready) = if self.was_ready { (Phase::Ready, "\nREADY=1") } else { (Phase::Starting, "") };
        self.phase = phase;
        self.send(format!("MAINPID={}{ready}", Pid::this()));
    }

    /// Whether anything is to be told at all.
    pub(crate) fn listens(&self) -> bool {
        self.notifier.is_some()
    }

    /// Tells what has changed, and that all is well. Returns when it wants to be called again.
    pub(crate) fn turn(&mut self, report: &Report, board: &Scoreboard, now: Instant) -> Option<Instant> {
        self.notifier.as_ref()?;
        if self.phase == Phase::Reloading && !is_reloading(report) {
            self.phase = Phase::Ready;
            self.send("READY=1".to_owned());
        }
        let status = status(report);
        if status != self.status && self.phase != Phase::Aside {
            self.send(format!("STATUS={status}"));
            self.status = status;
        }
        let mut due = None;
        if let Some(interval) = self.interval {
            if self.fed.is_none_or(|fed| now >= fed + interval) {
                self.fed = Some(now);
                if is_well(report, board, self.phase) {
                    self.send("WATCHDOG=1".to_owned());
                }
            }
            due = self.fed.map(|fed| fed + interval);
        }
        if let Some(notifier) = self.notifier.as_mut().filter(|notifier| notifier.is_behind()) {
            // One that is gone is told nothing.
            let _ = notifier.flush();
            due = Some(due.map_or(now + AGAIN, |due: Instant| due.min(now + AGAIN)));
        }
        due
    }

    fn send(&mut self, message: String) {
        if let Some(notifier) = &mut self.notifier {
            // A manager that is not there any more misses nothing.
            let _ = notifier.send(message);
        }
    }
}

/// Whether a load is tried, or old workers still wait for theirs to be replaced.
fn is_reloading(report: &Report) -> bool {
    report.groups.iter().any(|group| {
        let old = group
            .workers
            .iter()
            .any(|worker| worker.state == Doing::Ready && worker.generation < group.generation);
        group.loading.is_some() || old
    })
}

/// One line on how it goes.
fn status(report: &Report) -> String {
    if report.draining {
        return "Ending".to_owned();
    }
    let of = |state: Doing| {
        report.groups.iter().flat_map(|group| &group.workers).filter(|worker| worker.state == state).count()
    };
    let wanted: usize = report.groups.iter().map(|group| group.wanted).sum();
    let mut text = format!("{} of {wanted} workers ready", of(Doing::Ready));
    let leaving = of(Doing::Draining) + of(Doing::Killed);
    if leaving > 0 {
        text = format!("{text}, {leaving} leaving");
    }
    if is_reloading(report) { format!("Reloading: {text}") } else { text }
}

/// Whether each group has a worker that serves and is not stuck. At the start and in the end the manager has other
/// deadlines.
fn is_well(report: &Report, board: &Scoreboard, phase: Phase) -> bool {
    if report.draining || phase == Phase::Starting {
        return true;
    }
    let since = scoreboard::now().saturating_sub(SILENCE.as_millis() as u64);
    let beats = |slot| board.row(slot).is_some_and(|row| row.gil_beat.load(Ordering::Relaxed) >= since);
    report.groups.iter().all(|group| {
        let mut serving = group.workers.iter().filter(|worker| worker.state == Doing::Ready);
        group.wanted == 0 || serving.any(|worker| beats(worker.slot))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use stdserve_supervisor::{GroupReport, WorkerId, WorkerReport};

    struct Heard(UnixDatagram);

    impl Heard {
        fn new(name: &str) -> (Self, Manager) {
            let name = format!("stdserve-manager-{}-{name}", std::process::id());
            let address = SocketAddr::from_abstract_name(&name).expect("a name");
            let socket = UnixDatagram::bind_addr(&address).expect("a socket");
            socket.set_nonblocking(true).expect("an option");
            let notifier = Notifier::new(format!("@{name}").as_ref()).expect("a notifier");
            let interval = Some(Duration::from_secs(5));
            (Self(socket), Manager { notifier: Some(notifier), interval, ..Manager::default() })
        }

        fn all(&self) -> Vec<String> {
            let mut bytes = [0; 256];
            std::iter::from_fn(|| {
                let count = self.0.recv(&mut bytes).ok()?;
                Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
            })
            .collect()
        }
    }

    /// Workers of one group: what each does, and which load it serves.
    fn report(generation: u64, loading: bool, workers: &[(Doing, u64)]) -> Report {
        let workers = workers.iter().enumerate().map(|(slot, (state, generation))| WorkerReport {
            id: WorkerId(slot as u64),
            pid: Some(Pid(1)),
            slot,
            state: *state,
            since: Instant::now(),
            generation: *generation,
            leaves: None,
        });
        let group = GroupReport {
            name: "app".into(),
            generation,
            loading: loading.then_some(generation + 1),
            wanted: 1,
            slots: 0..4,
            template: None,
            template_ready: true,
            workers: workers.collect(),
            restarts: Vec::new(),
        };
        Report { ready: true, draining: false, groups: vec![group] }
    }

    #[test]
    fn a_reload_ends_when_no_old_worker_is_left() {
        let (heard, mut manager) = Heard::new("reload");
        let board = Scoreboard::new(4).expect("memory");
        let now = Instant::now();
        manager.interval = None;
        manager.ready();
        manager.turn(&report(1, false, &[(Doing::Ready, 1)]), &board, now);
        assert_eq!(heard.all(), ["READY=1", "STATUS=1 of 1 workers ready"]);
        manager.reloading();
        let said = heard.all();
        assert!(said[0].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{said:?}");
        manager.turn(&report(1, true, &[(Doing::Ready, 1)]), &board, now);
        manager.turn(&report(2, false, &[(Doing::Ready, 1), (Doing::Ready, 2)]), &board, now);
        assert_eq!(heard.all().iter().filter(|said| said.contains("READY")).count(), 0);
        manager.turn(&report(2, false, &[(Doing::Draining, 1), (Doing::Ready, 2)]), &board, now);
        assert_eq!(heard.all()[0], "READY=1");
        manager.stopping(None);
        manager.reloading();
        assert_eq!(heard.all(), ["STOPPING=1"]);
    }

    #[test]
    fn the_watchdog_is_fed_only_while_a_worker_is_well() {
        let (heard, mut manager) = Heard::new("watchdog");
        let board = Scoreboard::new(4).expect("memory");
        let serving = report(1, false, &[(Doing::Ready, 1)]);
        let beat = &board.row(0).expect("a row").gil_beat;
        manager.ready();
        let start = Instant::now();
        let fed = |manager: &mut Manager, report: &Report, seconds: u64| {
            manager.turn(report, &board, start + Duration::from_secs(seconds));
            heard.all().contains(&"WATCHDOG=1".to_owned())
        };
        // The clock of beats starts with the machine: a beat of long ago is one of never.
        beat.store(scoreboard::now(), Ordering::Relaxed);
        assert!(fed(&mut manager, &serving, 0));
        assert!(!fed(&mut manager, &serving, 4), "not before it is due");
        assert!(fed(&mut manager, &serving, 5));
        beat.store(scoreboard::now().saturating_sub(31_000), Ordering::Relaxed);
        assert!(!fed(&mut manager, &serving, 10));
        beat.store(scoreboard::now(), Ordering::Relaxed);
        assert!(fed(&mut manager, &serving, 15));
        assert!(!fed(&mut manager, &report(1, false, &[]), 20), "nobody serves");
    }

    #[test]
    fn a_server_that_replaces_another_says_nothing_until_it_is_alone() {
        let (heard, mut manager) = Heard::new("aside");
        let board = Scoreboard::new(4).expect("memory");
        manager.phase = Phase::Aside;
        manager.interval = None;
        manager.ready();
        manager.reloading();
        manager.turn(&report(1, false, &[(Doing::Ready, 1)]), &board, Instant::now());
        assert_eq!(heard.all(), Vec::<String>::new());
        manager.alone();
        assert_eq!(heard.all(), [format!("MAINPID={}\nREADY=1", Pid::this())]);
        // And is the one that is replaced, later.
        manager.stopping(Some(Pid(77)));
        manager.turn(&report(1, false, &[]), &board, Instant::now());
        assert_eq!(heard.all(), ["MAINPID=77"]);
    }
}
