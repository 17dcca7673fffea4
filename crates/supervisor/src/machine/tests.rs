//! The machine against a simulated world: processes that fork, load, die and dawdle in any order.

mod upgrade;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use stdserve_sys::process::{Exit, Pid};

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    Template(TemplateId),
    Worker(WorkerId),
    Successor,
}

/// What the supervisor's surroundings would do, and what must hold in them.
struct World {
    machine: Machine,
    now: Instant,
    plan: Vec<GroupPlan>,
    processes: BTreeMap<Pid, Process>,
    asked: Vec<(TemplateId, WorkerId, usize)>,
    slots: BTreeMap<WorkerId, usize>,
    next_pid: u32,
    exited: Option<i32>,
    killed: Vec<Pid>,
    /// Who was told to leave, politely.
    told: Vec<Pid>,
    ready_said: usize,
    closed: bool,
    /// Whether templates are forked at once when asked for.
    fork_fails: bool,
    log: Vec<String>,
    /// What was said of a server that takes this one's place, or whose place this one takes.
    succession: Vec<Action>,
}

impl World {
    fn new(workers: &[usize]) -> Self {
        let plan: Vec<_> = workers
            .iter()
            .enumerate()
            .map(|(index, workers)| GroupPlan::new(format!("group {index}"), *workers, Limits::default()))
            .collect();
        let mut world = Self {
            machine: Machine::new(&plan, Policy::default()),
            now: Instant::now(),
            plan,
            processes: BTreeMap::new(),
            asked: Vec::new(),
            slots: BTreeMap::new(),
            next_pid: 100,
            exited: None,
            killed: Vec::new(),
            told: Vec::new(),
            ready_said: 0,
            closed: false,
            fork_fails: false,
            log: Vec::new(),
            succession: Vec::new(),
        };
        world.tell(Event::Start);
        world
    }

    fn tell(&mut self, event: Event) {
        let was_over = self.exited.is_some();
        let actions = self.machine.handle(event, self.now);
        assert!(!was_over || actions.is_empty(), "nothing follows the end");
        for action in actions {
            assert!(self.exited.is_none(), "nothing follows Exit");
            self.carry_out(action);
        }
        let total: usize = self.plan.iter().map(|plan| plan.rows).sum();
        assert!(self.slots.len() <= total, "never more workers than there is room for");
    }

    fn pid(&mut self, process: Process) -> Pid {
        self.next_pid += 1;
        self.processes.insert(Pid(self.next_pid), process);
        Pid(self.next_pid)
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::ForkTemplate { template, .. } => {
                if self.fork_fails {
                    self.tell(Event::TemplateForkFailed { template, reason: "no memory".into() });
                } else {
                    let pid = self.pid(Process::Template(template));
                    self.tell(Event::TemplateForked { template, pid });
                }
            }
            Action::CloseListeners => {
                assert!(!self.closed, "said once");
                self.closed = true;
            }
            Action::CloseTemplate(template) => {
                let pid = self.find(Process::Template(template)).expect("a template that is there");
                self.told.push(pid);
            }
            Action::Spawn { template, worker, slot, .. } => {
                assert!(self.find(Process::Template(template)).is_some(), "a template that is there");
                assert!(!self.slots.values().any(|taken| *taken == slot), "one worker a slot");
                self.slots.insert(worker, slot);
                self.asked.push((template, worker, slot));
            }
            Action::Stop { worker, pid, .. } => {
                assert_eq!(self.processes.get(&pid), Some(&Process::Worker(worker)), "no dead pid");
                self.told.push(pid);
            }
            Action::Terminate(pid) => {
                assert!(self.processes.contains_key(&pid), "no dead pid");
                self.told.push(pid);
            }
            Action::Kill(pid) => {
                assert!(self.processes.contains_key(&pid), "no dead pid");
                self.killed.push(pid);
            }
            Action::Forget { worker, slot } => {
                assert_eq!(self.slots.remove(&worker), Some(slot), "a worker is forgotten once");
                self.asked.retain(|asked| asked.1 != worker);
            }
            Action::Tell { .. }
            | Action::Autopsy { .. }
            | Action::Reopen
            | Action::Configure
            | Action::Adopt { .. }
            | Action::Keep { .. } => {}
            Action::Announce(_) | Action::HandOver | Action::Inherit => self.succession.push(action),
            Action::Execute => {
                let pid = self.pid(Process::Successor);
                self.tell(Event::SuccessorExecuted(pid));
            }
            Action::Log(_, text) => self.log.push(text),
            Action::Ready => self.ready_said += 1,
            Action::Exit(code) => {
                assert!(self.closed, "no end without closing");
                self.exited = Some(code);
            }
        }
    }

    fn find(&self, process: Process) -> Option<Pid> {
        self.processes.iter().find(|entry| *entry.1 == process).map(|entry| *entry.0)
    }

    fn any(&self, choice: usize, is_it: impl Fn(&Process) -> bool) -> Option<(Pid, Process)> {
        let found: Vec<_> = self.processes.iter().filter(|entry| is_it(entry.1)).collect();
        (!found.is_empty()).then(|| (*found[choice % found.len()].0, *found[choice % found.len()].1))
    }

    fn die(&mut self, pid: Pid, exit: Exit) {
        let process = self.processes.remove(&pid);
        if let Some(Process::Template(template)) = process {
            self.asked.retain(|asked| asked.0 != template);
        }
        self.tell(Event::ProcessEnded { pid, exit });
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.tell(Event::Tick);
    }

    /// All templates become ready, all asked workers are forked and become ready.
    fn boot(&mut self) {
        for _ in 0..3 {
            for (_, process) in self.processes.clone() {
                match process {
                    Process::Template(template) => self.tell(Event::TemplateReady(template)),
                    Process::Worker(worker) => self.tell(Event::WorkerReady(worker)),
                    Process::Successor => {}
                }
            }
            self.fork_asked();
        }
    }

    /// The same, but for the workers of this group, which are forked and do not become ready.
    fn boot_but(&mut self, group: usize) {
        for _ in 0..2 {
            for (_, process) in self.processes.clone() {
                match process {
                    Process::Template(template) => self.tell(Event::TemplateReady(template)),
                    Process::Worker(id) if !self.machine.groups[group].workers().any(|w| w.id == id) => {
                        self.tell(Event::WorkerReady(id));
                    }
                    Process::Worker(_) | Process::Successor => {}
                }
            }
            self.fork_asked();
        }
    }

    /// Whoever was told to leave does so.
    fn leave(&mut self) {
        for pid in std::mem::take(&mut self.told) {
            if self.processes.contains_key(&pid) {
                self.die(pid, Exit::Code(0));
            }
        }
    }

    /// Time passes, and everybody does what is asked.
    fn settle(&mut self) {
        for _ in 0..12 {
            self.pass(Duration::from_secs(6));
            self.boot();
            self.leave();
        }
    }

    /// The load that each worker of a group serves.
    fn generations(&self, group: usize) -> Vec<u64> {
        self.machine.groups[group].workers().map(|worker| worker.generation).collect()
    }

    fn fork_asked(&mut self) {
        for (_, worker, _) in std::mem::take(&mut self.asked) {
            let pid = self.pid(Process::Worker(worker));
            self.tell(Event::WorkerForked { worker, pid });
        }
    }

    fn workers(&self) -> Vec<Pid> {
        self.processes.iter().filter(|(_, p)| matches!(p, Process::Worker(_))).map(|(pid, _)| *pid).collect()
    }

    fn template(&self) -> Pid {
        self.any(0, |p| matches!(p, Process::Template(_))).expect("a template").0
    }

    fn end_all(&mut self, exit: Exit) {
        for pid in self.processes.keys().copied().collect::<Vec<_>>() {
            self.die(pid, exit);
        }
    }
}

#[test]
fn ready_is_said_once_all_are() {
    let mut world = World::new(&[2, 1]);
    assert!(!world.machine.is_ready());
    world.boot();
    assert!(world.machine.is_ready());
    assert_eq!((world.ready_said, world.workers().len(), world.machine.serving()), (1, 3, 3));
    let worker = world.workers()[0];
    world.pass(Duration::from_secs(60));
    world.die(worker, Exit::Signal(11));
    world.boot();
    assert_eq!((world.ready_said, world.workers().len()), (1, 3));
}

#[test]
fn term_ends_with_0_once_all_have_left() {
    let mut world = World::new(&[2]);
    world.boot();
    world.tell(Event::Signal(Signal::Terminate));
    assert_eq!(world.exited, None);
    world.end_all(Exit::Code(0));
    assert_eq!(world.exited, Some(0));
    assert!(world.killed.is_empty());
}

#[test]
fn term_kills_at_the_deadline() {
    let mut world = World::new(&[2]);
    world.boot();
    world.tell(Event::Signal(Signal::Terminate));
    world.pass(Duration::from_secs(29));
    assert!(world.killed.is_empty());
    world.pass(Duration::from_secs(1));
    assert_eq!(world.killed.len(), 3);
    world.end_all(Exit::Signal(9));
    assert_eq!(world.exited, Some(0));
}

#[test]
fn int_stops_at_once_and_a_second_one_kills() {
    let mut world = World::new(&[1]);
    world.boot();
    world.tell(Event::Signal(Signal::Interrupt));
    assert!(world.killed.is_empty());
    world.tell(Event::Signal(Signal::Quit));
    assert_eq!(world.killed.len(), 2);
    // Processes in uninterruptible sleep do not hold the supervisor up for ever.
    world.pass(Policy::default().kill_timeout);
    assert_eq!(world.exited, Some(0));
}

#[test]
fn int_hastens_a_graceful_end() {
    let mut world = World::new(&[1]);
    world.boot();
    world.tell(Event::Signal(Signal::Terminate));
    world.tell(Event::Signal(Signal::Interrupt));
    world.pass(Policy::default().stop_timeout);
    assert_eq!(world.killed.len(), 2);
}

#[test]
fn a_second_term_changes_nothing() {
    let mut world = World::new(&[1]);
    world.boot();
    world.tell(Event::Signal(Signal::Terminate));
    world.pass(Duration::from_secs(20));
    world.tell(Event::Signal(Signal::Terminate));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.killed.len(), 2);
}

#[test]
fn five_early_deaths_in_a_row_end_with_3() {
    let mut world = World::new(&[1]);
    for death in 1..=5 {
        world.boot();
        let worker = world.workers()[0];
        world.die(worker, Exit::Code(1));
        assert_eq!(world.machine.ending.is_some(), death == 5);
        world.pass(Duration::from_secs(2));
    }
    world.end_all(Exit::Code(0));
    assert_eq!(world.exited, Some(3));
}

#[test]
fn a_group_that_keeps_failing_does_not_end_the_others() {
    let mut world = World::new(&[1, 1]);
    world.boot();
    world.pass(Duration::from_secs(60));
    // The first worker of the second group, and whoever takes its place.
    for _ in 0..12 {
        let worker = world.machine.groups[1].workers().find_map(|worker| worker.pid).expect("a worker");
        world.die(worker, Exit::Signal(11));
        world.pass(Policy::default().back_off_limit);
        world.boot();
    }
    assert!(world.machine.ending.is_none());
    assert_eq!(world.log.iter().filter(|line| line.contains("while the others serve")).count(), 1);
    // Without the other nobody serves.
    let other = world.machine.groups[0].workers().find_map(|worker| worker.pid).expect("a worker");
    world.die(other, Exit::Signal(9));
    let worker = world.machine.groups[1].workers().find_map(|worker| worker.pid).expect("a worker");
    world.die(worker, Exit::Signal(11));
    assert!(world.machine.ending.is_some());
}

#[test]
fn a_group_that_never_came_up_ends_all() {
    let mut world = World::new(&[1, 1]);
    for _ in 0..5 {
        world.boot_but(1);
        world.pass(Duration::from_secs(2));
        world.fork_asked();
        let worker = world.machine.groups[1].workers().find_map(|worker| worker.pid).expect("a worker");
        world.die(worker, Exit::Code(1));
        world.pass(Duration::from_secs(2));
    }
    assert!(world.machine.ending.is_some());
}

#[test]
fn deaths_before_ready_count_whatever_killed_them() {
    let mut world = World::new(&[1]);
    let template = world.template();
    let Process::Template(id) = world.processes[&template] else { unreachable!() };
    world.tell(Event::TemplateReady(id));
    for _ in 0..5 {
        world.fork_asked();
        let worker = world.workers()[0];
        world.die(worker, Exit::Signal(9));
        world.pass(Duration::from_secs(2));
    }
    world.end_all(Exit::Code(0));
    assert_eq!(world.exited, Some(3));
}

#[test]
fn one_that_survives_ends_the_row() {
    let mut world = World::new(&[1]);
    for _ in 0..30 {
        for _ in 0..4 {
            world.boot();
            let worker = world.workers()[0];
            world.die(worker, Exit::Signal(11));
            world.pass(Duration::from_secs(2));
        }
        world.boot();
        world.pass(Duration::from_secs(6));
    }
    assert!(world.machine.ending.is_none());
}

#[test]
fn killing_ready_workers_for_ever_ends_nothing_and_they_are_back_at_once() {
    let mut world = World::new(&[2]);
    world.boot();
    for _ in 0..50 {
        world.pass(Duration::from_millis(300));
        let worker = world.workers()[0];
        world.die(worker, Exit::Signal(9));
        world.fork_asked();
        assert_eq!(world.workers().len(), 2);
        world.boot();
    }
    assert!(world.machine.ending.is_none());
}

#[test]
fn early_deaths_wait_longer_each_time() {
    let mut world = World::new(&[1]);
    for wait in [100, 200, 400, 800] {
        world.boot();
        let worker = world.workers()[0];
        world.die(worker, Exit::Code(1));
        world.pass(Duration::from_millis(wait - 1));
        assert!(world.asked.is_empty());
        world.pass(Duration::from_millis(1));
        assert_eq!(world.asked.len(), 1);
    }
}

#[test]
fn an_application_that_cannot_be_loaded_ends_with_4() {
    let mut world = World::new(&[2]);
    let Process::Template(id) = world.processes[&world.template()] else { unreachable!() };
    world.tell(Event::TemplateReady(id));
    world.fork_asked();
    let worker = world.workers()[0];
    world.die(worker, Exit::Code(4));
    world.end_all(Exit::Code(4));
    assert_eq!(world.exited, Some(4));
}

#[test]
fn the_same_in_the_template() {
    let mut world = World::new(&[2]);
    let template = world.template();
    world.die(template, Exit::Code(4));
    assert_eq!(world.exited, Some(4));
}

#[test]
fn why_it_cannot_be_loaded_is_said_once() {
    let mut world = World::new(&[2]);
    let Process::Template(id) = world.processes[&world.template()] else { unreachable!() };
    world.tell(Event::TemplateReady(id));
    world.fork_asked();
    for pid in world.workers() {
        let Process::Worker(worker) = world.processes[&pid] else { unreachable!() };
        world.tell(Event::LoadFailed { who: Loader::Worker(worker), why: "Traceback".into() });
    }
    world.end_all(Exit::Signal(15));
    assert_eq!(world.log.iter().filter(|line| line.contains("Traceback")).count(), 1);
    assert_eq!(world.exited, Some(4));
}

#[test]
fn later_it_is_a_death_like_any_other() {
    let mut world = World::new(&[2]);
    world.boot();
    world.pass(Duration::from_secs(60));
    let worker = world.workers()[0];
    world.die(worker, Exit::Signal(11));
    world.fork_asked();
    let worker = world.workers()[1];
    world.die(worker, Exit::Code(4));
    assert!(world.machine.ending.is_none());
}

#[test]
fn a_template_that_dies_is_replaced_and_takes_what_it_had_not_done_along() {
    let mut world = World::new(&[2]);
    world.boot();
    world.pass(Duration::from_secs(60));
    let (template, worker) = (world.template(), world.workers()[0]);
    world.die(worker, Exit::Signal(11));
    assert_eq!(world.asked.len(), 1);
    world.die(template, Exit::Signal(9));
    assert!(world.asked.is_empty());
    world.pass(Duration::from_millis(100));
    world.boot();
    assert_eq!(world.workers().len(), 2);
    assert!(world.machine.is_ready());
}

#[test]
fn a_worker_forked_after_term_is_sent_away() {
    let mut world = World::new(&[1]);
    let Process::Template(id) = world.processes[&world.template()] else { unreachable!() };
    world.tell(Event::TemplateReady(id));
    world.tell(Event::Signal(Signal::Terminate));
    world.fork_asked();
    let template = world.template();
    world.die(template, Exit::Code(0));
    assert_eq!(world.exited, None);
    let worker = world.workers()[0];
    world.die(worker, Exit::Signal(15));
    assert_eq!(world.exited, Some(0));
}

#[test]
fn a_supervisor_that_cannot_fork_gives_up() {
    let mut world = World::new(&[1]);
    world.fork_fails = true;
    let template = world.template();
    world.die(template, Exit::Code(1));
    for _ in 0..5 {
        world.pass(Duration::from_secs(5));
    }
    assert_eq!(world.exited, Some(3));
    assert!(world.log.iter().any(|line| line.contains("no memory")));
}

#[test]
fn a_reload_has_a_new_worker_ready_before_an_old_one_leaves() {
    let mut world = World::new(&[2]);
    world.boot();
    world.tell(Event::Reload(0));
    assert_eq!(world.machine.serving(), 2);
    for _ in 0..2 {
        world.boot();
        assert_eq!(world.told.iter().filter(|pid| world.workers().contains(pid)).count(), 1, "one at a time");
        assert_eq!(world.machine.serving(), 2);
        world.leave();
    }
    world.settle();
    assert_eq!((world.generations(0), world.machine.serving()), (vec![2, 2], 2));
    assert_eq!(world.processes.len(), 3, "no template is left over");
    assert!(world.killed.is_empty() && world.machine.groups[0].early == 0);
}

#[test]
fn a_reload_concerns_its_group_alone() {
    let mut world = World::new(&[1, 1]);
    world.boot();
    let before = world.workers();
    world.tell(Event::Reload(1));
    world.settle();
    assert_eq!((world.generations(0), world.generations(1)), (vec![1], vec![2]));
    assert!(world.workers().contains(&before[0]) || world.workers().contains(&before[1]));
    // One that is not there.
    world.tell(Event::Reload(2));
    world.settle();
    assert_eq!((world.generations(0), world.generations(1)), (vec![1], vec![2]));
}

#[test]
fn a_load_that_fails_leaves_the_old_one_serving() {
    for in_template in [true, false] {
        let mut world = World::new(&[2]);
        world.boot();
        for _ in 0..10 {
            let before = world.workers();
            world.tell(Event::Reload(0));
            let (pid, who) = if in_template {
                let pid = *world.processes.keys().max().expect("a template");
                let Process::Template(id) = world.processes[&pid] else { unreachable!() };
                (pid, Loader::Template(id))
            } else {
                let pid = *world.processes.keys().max().expect("a template");
                let Process::Template(id) = world.processes[&pid] else { unreachable!() };
                world.tell(Event::TemplateReady(id));
                world.fork_asked();
                let pid = *world.processes.keys().max().expect("a worker");
                let Process::Worker(id) = world.processes[&pid] else { unreachable!() };
                (pid, Loader::Worker(id))
            };
            world.tell(Event::LoadFailed { who, why: "Traceback".into() });
            world.die(pid, Exit::Code(4));
            world.settle();
            assert_eq!(world.workers(), before);
            assert_eq!((world.machine.serving(), world.processes.len()), (2, 3));
        }
        assert!(world.machine.ending.is_none());
        assert_eq!(world.log.iter().filter(|line| line.contains("serves on")).count(), 10);
    }
}

#[test]
fn a_new_load_that_crashes_leaves_the_old_one_serving() {
    let mut world = World::new(&[1]);
    world.boot();
    let before = world.workers();
    world.tell(Event::Reload(0));
    let pid = *world.processes.keys().max().expect("a template");
    world.die(pid, Exit::Signal(11));
    world.settle();
    assert_eq!(world.workers(), before);
    assert_eq!(world.generations(0), [1]);
}

#[test]
fn a_second_reload_takes_the_place_of_one_that_hangs() {
    let mut world = World::new(&[1]);
    world.boot();
    world.tell(Event::Reload(0));
    // The new template imports for ever.
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.generations(0), [1]);
    world.tell(Event::Reload(0));
    world.leave();
    world.settle();
    assert_eq!((world.generations(0), world.processes.len()), (vec![3], 2));
}

#[test]
fn a_second_reload_while_the_first_still_replaces_workers() {
    let mut world = World::new(&[2]);
    world.boot();
    world.tell(Event::Reload(0));
    // The first worker is replaced, and the one that replaces the second is asked for.
    world.boot();
    world.leave();
    world.fork_asked();
    assert_eq!(world.generations(0).len(), 3);
    world.tell(Event::Reload(0));
    world.settle();
    assert_eq!((world.generations(0), world.machine.serving()), (vec![3, 3], 2));
}

#[test]
fn an_old_worker_that_does_not_leave_is_killed() {
    let mut world = World::new(&[1]);
    world.boot();
    let before = world.workers();
    world.tell(Event::Reload(0));
    world.boot();
    assert_eq!(world.generations(0), [1, 2]);
    let due = world.machine.deadline().expect("a time for it to leave");
    let time = due.saturating_duration_since(world.now);
    assert!(time >= Policy::default().graceful_timeout);
    world.pass(time);
    assert_eq!(world.killed, before);
    world.die(before[0], Exit::Signal(9));
    assert_eq!((world.generations(0), world.machine.groups[0].early), (vec![2], 0));
}

/// One step of the world; numbers choose among what is possible.
#[derive(Debug, Clone)]
enum Step {
    TemplateReady(usize),
    Fork(usize),
    ForkFails(usize),
    WorkerReady(usize),
    Die(usize, i32, bool),
    Orphan,
    Pass(u64),
    Signal(usize),
    Reload(usize),
    Leave,
    ForkFailing(bool),
    Upgrade(bool),
    SuccessorReady,
    PredecessorEnded,
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0_usize..8;
    prop_oneof![
        3 => number.clone().prop_map(Step::TemplateReady),
        6 => number.clone().prop_map(Step::Fork),
        1 => number.clone().prop_map(Step::ForkFails),
        6 => number.clone().prop_map(Step::WorkerReady),
        4 => (number, prop_oneof![Just(0), Just(1), Just(3), Just(4), Just(9), Just(11)], any::<bool>())
            .prop_map(|(which, number, signal)| Step::Die(which, number, signal)),
        1 => Just(Step::Orphan),
        4 => prop_oneof![0_u64..50, 50_u64..2_000, 2_000_u64..40_000].prop_map(Step::Pass),
        1 => (0_usize..8).prop_map(Step::Signal),
        2 => (0_usize..3).prop_map(Step::Reload),
        3 => Just(Step::Leave),
        1 => any::<bool>().prop_map(Step::ForkFailing),
        1 => any::<bool>().prop_map(Step::Upgrade),
        1 => prop_oneof![Just(Step::SuccessorReady), Just(Step::PredecessorEnded)],
    ]
}

fn play(world: &mut World, step: &Step) {
    match *step {
        Step::TemplateReady(which) => {
            if let Some((_, Process::Template(id))) = world.any(which, |p| matches!(p, Process::Template(_)))
            {
                world.tell(Event::TemplateReady(id));
            }
        }
        Step::Fork(which) if !world.asked.is_empty() => {
            let (_, worker, _) = world.asked.remove(which % world.asked.len());
            let pid = world.pid(Process::Worker(worker));
            world.tell(Event::WorkerForked { worker, pid });
        }
        Step::ForkFails(which) if !world.asked.is_empty() => {
            let (_, worker, _) = world.asked.remove(which % world.asked.len());
            world.tell(Event::WorkerForkFailed { worker, reason: "no pids".into() });
        }
        Step::Fork(_) | Step::ForkFails(_) => {}
        Step::WorkerReady(which) => {
            if let Some((_, Process::Worker(id))) = world.any(which, |p| matches!(p, Process::Worker(_))) {
                world.tell(Event::WorkerReady(id));
            }
        }
        Step::Die(which, number, signal) => {
            if let Some((pid, _)) = world.any(which, |_| true) {
                world.die(pid, if signal { Exit::Signal(number.max(1)) } else { Exit::Code(number) });
            }
        }
        Step::Orphan => world.tell(Event::ProcessEnded { pid: Pid(7), exit: Exit::Code(0) }),
        Step::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
        Step::Signal(which) => {
            let signals =
                [Signal::Terminate, Signal::Interrupt, Signal::Quit, Signal::Hangup, Signal::Other(10)];
            world.tell(Event::Signal(signals[which % signals.len()]));
        }
        Step::Reload(which) => world.tell(Event::Reload(which)),
        Step::Leave => world.leave(),
        Step::ForkFailing(fails) => world.fork_fails = fails,
        Step::Upgrade(replace) => world.tell(Event::Upgrade { replace }),
        Step::SuccessorReady => world.tell(Event::SuccessorReady),
        Step::PredecessorEnded => world.tell(Event::PredecessorEnded),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn in_any_order_it_heals_or_ends(
        workers in proptest::collection::vec(1_usize..4, 1..3),
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(&workers);
        for step in steps {
            play(&mut world, &step);
        }
        if world.exited.is_some() {
            return Ok(());
        }
        let total: usize = workers.iter().sum();
        if world.machine.ending.is_none() {
            // Left in peace it fills every slot.
            world.fork_fails = false;
            world.settle();
            prop_assert_eq!(world.machine.serving(), total);
            prop_assert!(world.machine.is_ready());
            world.tell(Event::Signal(Signal::Terminate));
        }
        // Whatever is ending ends by its deadline, though nobody ever leaves by itself.
        let policy = Policy::default();
        let end = world.now + policy.graceful_timeout + policy.kill_timeout;
        while world.exited.is_none() {
            let due = world.machine.deadline().expect("a deadline while ending");
            prop_assert!(due <= end, "ends by its deadline");
            let time = due.saturating_duration_since(world.now);
            world.pass(time);
        }
    }

    #[test]
    fn what_is_ending_ends_as_soon_as_all_have_left(
        workers in 1_usize..5,
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new(&[workers]);
        for step in steps {
            play(&mut world, &step);
        }
        world.tell(Event::Signal(Signal::Terminate));
        for _ in 0..4 {
            world.end_all(Exit::Code(0));
        }
        prop_assert!(world.exited.is_some());
    }
}
