//! A server that executes another to take its place.

use super::*;

impl World {
    fn successor(&self) -> Pid {
        self.find(Process::Successor).expect("a new server")
    }

    fn replacing() -> Self {
        let mut world = Self::new(&[1]);
        let policy = Policy { replaces: true, ..Policy::default() };
        world.machine = Machine::new(&world.plan, policy);
        world.processes.clear();
        world.tell(Event::Start);
        world
    }

    fn said(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}

#[test]
fn both_serve_until_the_old_one_is_ended() {
    let mut world = World::new(&[2]);
    world.boot();
    world.tell(Event::Signal(Signal::User2));
    let pid = world.successor();
    world.tell(Event::SuccessorReady);
    assert!(world.machine.is_ready() && world.said("both serve"));
    world.tell(Event::Signal(Signal::Terminate));
    assert_eq!(world.succession, [Action::Announce(pid)]);
    // The new one is not waited for.
    for pid in world.workers() {
        world.die(pid, Exit::Code(0));
    }
    let template = world.template();
    world.die(template, Exit::Code(0));
    assert_eq!(world.exited, Some(0));
    assert_eq!(world.succession, [Action::Announce(pid), Action::HandOver]);
    assert!(!world.killed.contains(&pid) && !world.told.contains(&pid));
}

#[test]
fn one_that_is_to_be_replaced_leaves_once_the_new_one_serves() {
    let mut world = World::new(&[1]);
    world.boot();
    world.tell(Event::Upgrade { replace: true });
    world.pass(Duration::from_secs(600));
    assert!(world.machine.ending.is_none());
    world.tell(Event::SuccessorReady);
    assert!(world.machine.ending.is_some());
}

#[test]
fn a_new_server_that_fails_changes_nothing_and_another_can_be_tried() {
    let mut world = World::new(&[1]);
    world.boot();
    for ready in [false, true] {
        world.tell(Event::Upgrade { replace: !ready });
        world.tell(Event::SuccessorSaid("error: no such option".into()));
        if ready {
            world.tell(Event::SuccessorReady);
        }
        let pid = world.successor();
        world.die(pid, Exit::Code(2));
        assert!(world.machine.is_ready() && world.said("this one serves on") && world.said("no such option"));
    }
    world.tell(Event::Signal(Signal::Terminate));
    world.end_all(Exit::Code(0));
    assert_eq!((world.exited, world.succession.as_slice()), (Some(0), &[][..]));
}

#[test]
fn one_that_cannot_be_executed_changes_nothing() {
    let mut world = World::new(&[1]);
    world.boot();
    // Told twice, as after a process that was executed and failed: nothing is there to fail.
    world.machine.handle(Event::Upgrade { replace: true }, world.now);
    world.tell(Event::SuccessorFailed("no such file".into()));
    assert!(world.machine.is_ready() && world.said("no such file"));
    world.tell(Event::SuccessorReady);
    assert!(world.machine.ending.is_none());
}

#[test]
fn there_is_one_new_server_at_a_time() {
    let mut world = World::new(&[1]);
    world.boot();
    world.tell(Event::Upgrade { replace: false });
    world.tell(Event::Upgrade { replace: false });
    assert_eq!(world.processes.values().filter(|process| **process == Process::Successor).count(), 1);
    assert!(world.said("is there already"));
    // Nor does one that is ending make another.
    let pid = world.successor();
    world.die(pid, Exit::Code(1));
    world.tell(Event::Signal(Signal::Terminate));
    world.tell(Event::Upgrade { replace: false });
    assert!(world.find(Process::Successor).is_none() && world.said("this one is ending"));
}

#[test]
fn a_new_server_takes_over_when_the_old_one_has_gone() {
    let mut world = World::replacing();
    world.boot();
    world.tell(Event::Signal(Signal::User2));
    assert!(world.find(Process::Successor).is_none() && world.said("is still there"));
    world.tell(Event::PredecessorEnded);
    world.tell(Event::PredecessorEnded);
    assert_eq!(world.succession, [Action::Inherit]);
    world.tell(Event::Signal(Signal::User2));
    assert!(world.find(Process::Successor).is_some());
}

#[test]
fn a_new_server_that_dies_while_the_old_one_ends_is_not_handed_anything() {
    let mut world = World::new(&[1]);
    world.boot();
    world.tell(Event::Upgrade { replace: true });
    world.tell(Event::SuccessorReady);
    let pid = world.successor();
    world.die(pid, Exit::Signal(9));
    world.end_all(Exit::Code(0));
    assert_eq!(world.exited, Some(0));
    assert_eq!(world.succession, [Action::Announce(pid)]);
}
