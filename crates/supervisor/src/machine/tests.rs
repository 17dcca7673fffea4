//! The machine against a simulated world: processes that fork, load, die and dawdle in any order.

mod boot;
mod random;
mod reload;
mod replace;
mod upgrade;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

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
    /// How often the configuration was asked for and not given yet.
    to_configure: usize,
    /// What else was ordered: of settings, of logs, of stacks.
    ordered: Vec<Action>,
    /// What was said of a server that takes this one's place, or whose place this one takes.
    succession: Vec<Action>,
}

impl World {
    fn new(workers: &[usize]) -> Self {
        let groups = workers.iter().map(|workers| (*workers, Limits::default()));
        Self::limited(groups, Policy::default())
    }

    /// One group whose workers are replaced by these limits.
    fn with(workers: usize, limits: Limits) -> Self {
        Self::limited([(workers, limits)], Policy::default())
    }

    fn limited(groups: impl IntoIterator<Item = (usize, Limits)>, policy: Policy) -> Self {
        let plan: Vec<_> = groups
            .into_iter()
            .enumerate()
            .map(|(index, (workers, limits))| GroupPlan::new(format!("group {index}"), workers, limits))
            .collect();
        Self::of(plan, policy)
    }

    fn of(plan: Vec<GroupPlan>, policy: Policy) -> Self {
        let mut world = Self {
            machine: Machine::new(&plan, policy),
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
            to_configure: 0,
            ordered: Vec::new(),
            succession: Vec::new(),
        };
        world.tell(Event::Start);
        world
    }

    fn tell(&mut self, event: Event) {
        let was_over = self.exited.is_some();
        let served: Vec<_> = self.machine.groups.iter().flat_map(serving).collect();
        let ticked = event == Event::Tick;
        let actions = self.machine.handle(event, self.now);
        if self.machine.ending.is_none() && !self.machine.ended {
            self.check(&actions, &served);
        }
        if ticked {
            let due = self.machine.deadline();
            assert!(due.is_none_or(|due| due > self.now), "what is due is done, and not asked for again");
        }
        assert!(!was_over || actions.is_empty(), "nothing follows the end");
        for action in actions {
            assert!(self.exited.is_none(), "nothing follows Exit");
            self.carry_out(action);
        }
        let total: usize = self.plan.iter().map(|plan| plan.rows).sum();
        assert!(self.slots.len() <= total, "never more workers than there is room for");
    }

    /// What must hold of everything that is decided while the server goes on. `served`: who served before.
    fn check(&self, actions: &[Action], served: &[WorkerId]) {
        for action in actions {
            let (worker, spawned) = match action {
                Action::Stop { worker, .. } => (*worker, false),
                Action::Spawn { worker, .. } => (*worker, true),
                _ => continue,
            };
            let holds = |group: &&Group| group.workers().any(|found| found.id == worker);
            let Some(group) = self.machine.groups.iter().find(holds) else { continue };
            let taken = group.workers().filter(|found| found.takes_room()).count();
            let tried = usize::from(group.next.as_ref().is_some_and(|next| next.worker.is_some()));
            if spawned && !group.is_tried_with(worker) {
                assert!(group.staying().count() <= group.wanted + 1, "one spare worker at a time");
                let replaces = group.staying().count() > group.wanted;
                assert!(!replaces || taken <= group.wanted + 1 + tried, "one leaves at a time");
            }
            if !spawned && served.contains(&worker) {
                assert!(group.ready() >= group.wanted, "none leaves before another serves");
            }
        }
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
            Action::Configure => self.to_configure += 1,
            Action::Tell { .. }
            | Action::Autopsy { .. }
            | Action::Reopen
            | Action::Adopt { .. }
            | Action::Keep { .. } => self.ordered.push(action),
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

    /// Whoever was told to leave does so, and whoever was killed ends.
    fn leave(&mut self) {
        for pid in std::mem::take(&mut self.killed) {
            if self.processes.contains_key(&pid) {
                self.die(pid, Exit::Signal(9));
            }
        }
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

/// The workers of a group that serve and are to stay.
fn serving(group: &Group) -> Vec<WorkerId> {
    let serving = group.staying().filter(|worker| worker.state == WorkerState::Ready);
    serving.map(|worker| worker.id).collect()
}
