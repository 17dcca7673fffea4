//! Workers that are to leave while the others serve on.

use super::*;
use crate::messages::ToWorker;

impl World {
    /// The workers of the first group that serve and are to stay, the oldest first.
    fn serving(&self) -> Vec<WorkerId> {
        let mut serving = serving(&self.machine.groups[0]);
        serving.sort_unstable();
        serving
    }

    fn pid_of(&self, worker: WorkerId) -> Pid {
        self.find(Process::Worker(worker)).expect("a process")
    }

    fn measure(&mut self, worker: WorkerId, requests: u64, rss: u64, stuck: u64) {
        let stuck = Duration::from_secs(stuck);
        self.tell(Event::Measured { worker, requests, rss, stuck });
    }

    /// How many workers have ended by this cause.
    fn ended(&self, word: &str) -> u64 {
        let report = self.machine.report();
        let restarts = report.groups.iter().flat_map(|group| &group.restarts);
        restarts.filter(|(cause, _)| cause.word() == word).map(|(_, count)| count).sum()
    }

    fn times_said(&self, text: &str) -> usize {
        self.log.iter().filter(|line| line.contains(text)).count()
    }
}

#[test]
fn a_worker_that_has_answered_enough_is_replaced_when_another_serves() {
    let mut world = World::with(2, Limits { requests: Some(100), ..Limits::default() });
    world.boot();
    let before = world.serving();
    world.measure(before[0], 99, 0, 0);
    assert!(world.asked.is_empty());
    world.measure(before[0], 100, 0, 0);
    world.measure(before[0], 101, 0, 0);
    assert_eq!((world.asked.len(), world.times_said("--max-requests"), world.told.len()), (1, 1, 0));
    world.fork_asked();
    assert_eq!(world.serving(), before);
    world.boot();
    assert_eq!(world.told, [world.pid_of(before[0])]);
    world.leave();
    assert_eq!((world.serving().len(), world.ended("max-requests")), (2, 1));
}

#[test]
fn workers_that_are_due_together_leave_one_by_one() {
    let mut world = World::with(3, Limits { requests: Some(100), ..Limits::default() });
    world.boot();
    let before = world.serving();
    for worker in &before {
        world.measure(*worker, 1000, 0, 0);
    }
    for left in [3, 2, 1] {
        assert_eq!(world.asked.len(), 1);
        world.boot();
        // Nobody else is asked for, and nobody else told, until it has gone.
        assert_eq!((world.asked.len(), world.told.len()), (0, 1));
        assert_eq!(world.serving().iter().filter(|worker| before.contains(worker)).count(), left - 1);
        world.leave();
    }
    assert_eq!((world.asked.len(), world.ended("max-requests")), (0, 3));
}

#[test]
fn jitter_spreads_the_ends_and_the_seed_decides() {
    let quotas = |seed| {
        let limits = Limits {
            requests: Some(1000),
            requests_jitter: 500,
            lifetime: Some(Duration::from_secs(1000)),
            ..Limits::default()
        };
        let mut world = World::limited([(8, limits)], Policy { seed, ..Policy::default() });
        world.boot();
        let workers = world.machine.groups[0].workers();
        workers.map(|worker| (worker.quota, worker.lifetime)).collect::<Vec<_>>()
    };
    let found = quotas(1);
    assert_eq!(found, quotas(1));
    assert_ne!(found, quotas(2));
    for (quota, lifetime) in &found {
        assert!((1000..=1500).contains(&quota.expect("a quota")));
        let lifetime = lifetime.expect("a lifetime").as_secs();
        assert!((900..=1000).contains(&lifetime), "{lifetime}");
    }
    let mut distinct = found.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 8);
}

#[test]
fn a_worker_lives_as_long_as_it_may() {
    let mut world = World::with(1, Limits { lifetime: Some(Duration::from_secs(100)), ..Limits::default() });
    world.boot();
    let (before, born) = (world.serving(), world.now);
    let due = world.machine.deadline().expect("its end");
    assert!((90..=100).contains(&due.saturating_duration_since(born).as_secs()));
    let time = due.saturating_duration_since(world.now);
    world.pass(time.saturating_sub(Duration::from_millis(1)));
    assert!(world.asked.is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.asked.len(), 1);
    world.boot();
    world.leave();
    assert!(!world.serving().contains(&before[0]));
    assert_eq!(world.ended("max-lifetime"), 1);
}

#[test]
fn a_worker_that_uses_too_much_is_replaced() {
    let mut world = World::with(1, Limits { rss: Some(1 << 20), ..Limits::default() });
    world.boot();
    let before = world.serving();
    world.measure(before[0], 0, 1 << 20, 0);
    assert!(world.asked.is_empty());
    world.measure(before[0], 0, (1 << 20) + 1, 0);
    world.settle();
    assert_eq!((world.ended("max-rss"), world.serving().len()), (1, 1));
    assert!(!world.serving().contains(&before[0]));
}

#[test]
fn one_whose_lock_cannot_be_had_is_looked_into_and_goes_first() {
    let stuck = Some(Duration::from_secs(35));
    let mut world = World::with(2, Limits { requests: Some(10), stuck, ..Limits::default() });
    world.boot();
    let before = world.serving();
    world.measure(before[0], 10, 0, 0);
    world.measure(before[1], 0, 0, 35);
    assert!(world.ordered.is_empty());
    world.measure(before[1], 0, 0, 36);
    world.measure(before[1], 0, 0, 37);
    let pid = world.pid_of(before[1]);
    assert_eq!(world.ordered, [Action::Autopsy { worker: before[1], pid }]);
    world.boot();
    // It goes first, and the other is not held up by one that does not hear of it.
    assert_eq!(world.told, [pid, world.pid_of(before[0])]);
    assert!(world.asked.is_empty());
    world.pass(Policy::default().stop_timeout * 2);
    assert_eq!(world.killed, [pid]);
    world.leave();
    assert_eq!((world.ended("stuck"), world.ended("max-requests")), (1, 1));
    assert_eq!(world.machine.groups[0].early, 0);
}

#[test]
fn a_worker_may_want_to_be_replaced() {
    let mut world = World::new(&[1]);
    world.boot();
    // Nor may it take a word that means something else.
    for why in ["timeout: request 7 after 31 s", "a reason with spaces", "drain"] {
        let worker = world.serving()[0];
        world.tell(Event::Retire { worker, why: why.into() });
        world.tell(Event::Retire { worker, why: why.into() });
        assert_eq!(world.times_said(&format!("is replaced: {why}")), 1);
        world.settle();
        assert!(!world.serving().contains(&worker));
    }
    assert_eq!((world.ended("timeout"), world.ended("retired"), world.ended("drain")), (1, 2, 0));
}

#[test]
fn words_of_workers_do_not_fill_the_figures() {
    let mut world = World::new(&[1]);
    world.boot();
    for number in 0..60_u8 {
        let (worker, word) = (world.serving()[0], [b'a' + number / 26, b'a' + number % 26]);
        let why = String::from_utf8_lossy(&word).into_owned();
        world.tell(Event::Retire { worker, why });
        world.boot();
        world.leave();
    }
    let report = world.machine.report();
    assert!(report.groups[0].restarts.len() <= 33);
    assert_eq!(report.groups[0].restarts.iter().map(|(_, count)| count).sum::<u64>(), 60);
}

#[test]
fn a_replacement_that_cannot_start_leaves_the_old_one_serving() {
    let mut world = World::new(&[1]);
    world.boot();
    world.pass(Duration::from_secs(60));
    let before = world.serving();
    let pid = world.pid_of(before[0]);
    world.tell(Event::Drain(pid));
    for _ in 0..20 {
        world.fork_asked();
        for pid in world.workers() {
            if world.processes[&pid] != Process::Worker(before[0]) {
                world.die(pid, Exit::Code(1));
            }
        }
        assert!(world.asked.is_empty(), "not at once again");
        world.pass(Policy::default().back_off_limit);
    }
    assert!(world.machine.ending.is_none() && world.told.is_empty());
    assert_eq!((world.serving(), world.ended("early")), (before, 20));
    // Nor does it keep another that dies from being replaced at once.
    world.fork_asked();
    let spare = *world.workers().last().expect("a spare worker");
    world.die(spare, Exit::Code(1));
    world.die(pid, Exit::Signal(9));
    assert_eq!(world.asked.len(), 1);
    world.settle();
    assert_eq!((world.serving().len(), world.ended("SIGKILL")), (1, 1));
}

#[test]
fn a_worker_that_is_due_gives_what_dies_early_no_second_chance_at_once() {
    let mut world = World::new(&[2]);
    world.boot();
    let before = world.serving();
    let (first, second) = (world.pid_of(before[0]), world.pid_of(before[1]));
    world.die(first, Exit::Code(1));
    world.tell(Event::Drain(second));
    assert!(world.asked.is_empty());
    world.pass(Policy::default().back_off);
    assert_eq!(world.asked.len(), 1);
    world.settle();
    assert_eq!((world.serving().len(), world.ended("drain")), (2, 1));
}

#[test]
fn an_operator_drains_one_worker() {
    let mut world = World::new(&[2]);
    world.boot();
    let before = world.serving();
    let pid = world.pid_of(before[1]);
    world.tell(Event::Drain(pid));
    world.tell(Event::Drain(pid));
    world.tell(Event::Drain(Pid(7)));
    assert_eq!(
        (world.times_said("as asked"), world.times_said("already"), world.times_said("no worker")),
        (1, 1, 1)
    );
    world.settle();
    assert!(world.serving().contains(&before[0]) && !world.serving().contains(&before[1]));
    assert_eq!((world.serving().len(), world.ended("drain")), (2, 1));
}

#[test]
fn a_worker_that_does_not_serve_yet_is_sent_away_at_once() {
    let mut world = World::new(&[1]);
    let Process::Template(id) = world.processes[&world.template()] else { unreachable!() };
    world.tell(Event::TemplateReady(id));
    world.fork_asked();
    let worker = world.workers()[0];
    world.tell(Event::Drain(worker));
    assert!(world.told.contains(&worker));
    world.settle();
    assert_eq!((world.serving().len(), world.ended("drain")), (1, 1));
}

#[test]
fn a_group_is_scaled_within_its_room() {
    let mut world = World::new(&[2]);
    world.boot();
    let most = world.plan[0].most();
    for _ in 0..most {
        world.tell(Event::Signal(Signal::TtyIn));
    }
    world.settle();
    assert_eq!((world.serving().len(), world.times_said("is the most")), (most, 2));
    world.tell(Event::Scale { group: 0, workers: ScaleTo::To(3) });
    assert_eq!(world.told.len(), most - 3, "those that are too many leave together");
    world.settle();
    for _ in 0..3 {
        world.tell(Event::Signal(Signal::TtyOut));
    }
    world.tell(Event::Scale { group: 0, workers: ScaleTo::To(0) });
    world.tell(Event::Scale { group: 9, workers: ScaleTo::To(5) });
    world.settle();
    assert_eq!((world.serving().len(), world.times_said("is the least")), (1, 2));
    assert_eq!(world.ended("scale"), most as u64 - 1);
    assert!(world.machine.is_ready() && world.machine.groups[0].early == 0);
}

#[test]
fn those_that_do_not_serve_yet_are_too_many_first() {
    let mut world = World::new(&[1]);
    world.boot();
    let before = world.serving();
    world.tell(Event::Signal(Signal::TtyIn));
    world.fork_asked();
    world.tell(Event::Signal(Signal::TtyOut));
    world.settle();
    assert_eq!(world.serving(), before);
}

#[test]
fn a_group_that_was_scaled_down_to_those_that_serve_is_ready() {
    let mut world = World::new(&[2]);
    world.boot_but(0);
    let worker = world.machine.groups[0].workers().next().expect("a worker").id;
    world.tell(Event::WorkerReady(worker));
    assert_eq!(world.ready_said, 0);
    world.tell(Event::Signal(Signal::TtyOut));
    assert_eq!(world.ready_said, 1);
}

#[test]
fn a_pause_ends_all_workers_and_a_reload_or_scaling_brings_them_back() {
    for reload in [true, false] {
        let policy = Policy { winch_pauses: true, ..Policy::default() };
        let mut world = World::limited([(2, Limits::default()), (1, Limits::default())], policy);
        world.boot();
        world.tell(Event::Reload(0));
        world.tell(Event::Signal(Signal::Winch));
        // There is no worker to lose.
        world.tell(Event::Signal(Signal::TtyOut));
        world.settle();
        assert_eq!((world.machine.serving(), world.workers().len(), world.exited), (0, 0, None));
        assert!(!world.machine.report().ready);
        let event = if reload { Event::Reload(0) } else { Event::Signal(Signal::TtyIn) };
        world.tell(event);
        world.settle();
        let workers: Vec<_> = world.machine.report().groups.iter().map(|group| group.workers.len()).collect();
        assert_eq!(workers, if reload { [2, 0] } else { [1, 1] });
    }
}

#[test]
fn the_size_of_a_terminal_changes_nothing() {
    let mut world = World::new(&[2]);
    world.boot();
    world.tell(Event::Signal(Signal::Winch));
    world.settle();
    assert_eq!((world.machine.serving(), world.log.len()), (2, 0));
}

#[test]
fn logs_are_opened_again_everywhere() {
    let mut world = World::new(&[2]);
    world.boot();
    let workers = world.serving();
    world.tell(Event::Signal(Signal::User1));
    let tell = |worker: &WorkerId| Action::Tell { worker: *worker, message: ToWorker::Reopen };
    let expected: Vec<_> = std::iter::once(Action::Reopen).chain(workers.iter().map(tell)).collect();
    assert_eq!(world.ordered, expected);
}

#[test]
fn nothing_is_replaced_while_it_ends() {
    let limits = Limits { requests: Some(1), lifetime: Some(Duration::from_secs(5)), ..Limits::default() };
    let mut world = World::with(1, limits);
    world.boot();
    let worker = world.serving()[0];
    let pid = world.pid_of(worker);
    world.tell(Event::Signal(Signal::Terminate));
    let before = world.log.len();
    world.pass(Duration::from_secs(6));
    world.measure(worker, 10, 0, 0);
    world.tell(Event::Retire { worker, why: "timeout".into() });
    world.tell(Event::Drain(pid));
    world.tell(Event::Signal(Signal::TtyIn));
    world.tell(Event::Signal(Signal::Hangup));
    world.tell(Event::Pause);
    assert_eq!((world.log.len(), world.asked.len(), world.to_configure), (before, 0, 0));
}

#[test]
fn the_report_tells_what_each_worker_does() {
    let mut world = World::new(&[2]);
    world.boot();
    let before = world.serving();
    let pid = world.pid_of(before[0]);
    world.tell(Event::Drain(pid));
    world.boot();
    let report = world.machine.report();
    let group = &report.groups[0];
    let doing: Vec<_> = group.workers.iter().map(|worker| (worker.slot, worker.state)).collect();
    assert_eq!(doing, [(0, Doing::Draining), (1, Doing::Ready), (2, Doing::Ready)]);
    assert_eq!(group.workers[0].leaves, Some(Cause::Drain));
    assert_eq!((group.wanted, group.slots.clone(), group.generation), (2, 0..10, 1));
    assert!(report.ready && !report.draining && group.template_ready);
    world.tell(Event::Reload(0));
    assert_eq!(world.machine.report().groups[0].loading, Some(2));
    world.tell(Event::Signal(Signal::Terminate));
    assert!(world.machine.report().draining && !world.machine.report().ready);
}
