//! A load of the application beside the one that serves.

use super::*;

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

impl World {
    /// The configuration was read again, with so many workers.
    fn configured(&mut self, workers: usize, limits: &Limits) {
        let plan = |plan: &GroupPlan| GroupPlan { workers, limits: limits.clone(), ..plan.clone() };
        let plans = self.plan.iter().map(plan).collect();
        let graceful_timeout = Duration::from_secs(7);
        self.tell(Event::Configured(Configured { plans, graceful_timeout }));
    }
}

#[test]
fn a_hang_up_has_the_configuration_read_and_loads_with_it() {
    let mut world = World::new(&[2]);
    world.boot();
    world.tell(Event::Signal(Signal::Hangup));
    assert_eq!((world.to_configure, world.machine.groups[0].next.is_some()), (1, false));
    world.configured(3, &Limits { requests: Some(5), ..Limits::default() });
    assert_eq!(world.ordered, [Action::Adopt { group: 0, generation: 2 }]);
    // What serves goes by the old settings until the new load does.
    assert_eq!((world.machine.groups[0].wanted, world.machine.needs_figures()), (2, false));
    world.settle();
    assert_eq!(world.ordered.last(), Some(&Action::Keep { group: 0, generation: 2 }));
    assert_eq!(world.generations(0), [2, 2, 2]);
    assert!(world.machine.needs_figures());
    assert_eq!(world.machine.policy.graceful_timeout, Duration::from_secs(7));
}

#[test]
fn where_a_hang_up_ends_an_order_does_not() {
    let mut world = World::of(
        vec![GroupPlan::new("main", 1, Limits::default())],
        Policy { hangup_ends: true, ..Policy::default() },
    );
    world.boot();
    world.tell(Event::Reconfigure);
    assert!(world.machine.ending.is_none() && world.to_configure == 1);
    world.tell(Event::Signal(Signal::Hangup));
    assert!(world.machine.ending.is_some());
}

#[test]
fn a_configuration_that_cannot_be_used_changes_nothing() {
    let mut world = World::new(&[2]);
    world.boot();
    world.tell(Event::Signal(Signal::Hangup));
    world.tell(Event::ConfigureFailed("stdserve.toml:3: no such option".into()));
    world.settle();
    assert_eq!((world.generations(0), world.ordered.len()), (vec![1, 1], 0));
    assert!(world.log.iter().any(|line| line.contains("stdserve.toml:3")));
}

#[test]
fn a_load_that_fails_leaves_the_old_settings() {
    let mut world = World::new(&[2]);
    world.boot();
    world.configured(4, &Limits { requests: Some(1), ..Limits::default() });
    let pid = *world.processes.keys().max().expect("a template");
    world.die(pid, Exit::Code(4));
    world.settle();
    assert_eq!(world.ordered.last(), Some(&Action::Keep { group: 0, generation: 1 }));
    assert_eq!((world.generations(0), world.machine.needs_figures()), (vec![1, 1], false));
}

#[test]
fn a_reload_without_settings_tries_those_that_were_read_last() {
    let mut world = World::new(&[1]);
    world.boot();
    world.configured(3, &Limits::default());
    // The load hangs, and is tried again.
    world.tell(Event::Reload(0));
    world.leave();
    world.settle();
    assert_eq!(world.generations(0), [3, 3, 3]);
}

#[test]
fn a_hang_up_sets_the_number_of_workers_back() {
    let mut world = World::new(&[1]);
    world.boot();
    for _ in 0..3 {
        world.tell(Event::Signal(Signal::TtyIn));
    }
    world.settle();
    assert_eq!(world.machine.serving(), 4);
    world.tell(Event::Reload(0));
    world.settle();
    assert_eq!(world.generations(0), [2, 2, 2, 2]);
    world.configured(1, &Limits::default());
    world.settle();
    assert_eq!(world.generations(0), [3]);
}

#[test]
fn more_workers_than_there_is_room_for_are_as_many_as_there_is() {
    let mut world = World::new(&[1]);
    world.boot();
    world.configured(100, &Limits::default());
    world.settle();
    assert_eq!(world.machine.serving(), world.plan[0].most());
    assert!(world.log.iter().any(|line| line.contains("need a restart")));
}

#[test]
fn a_load_before_any_other_served_takes_its_place_at_once() {
    let mut world = World::new(&[2]);
    world.boot_but(0);
    world.configured(1, &Limits::default());
    assert_eq!(world.ordered.last(), Some(&Action::Keep { group: 0, generation: 2 }));
    world.leave();
    world.settle();
    assert_eq!((world.generations(0), world.machine.serving()), (vec![2], 1));
}

#[test]
fn workers_are_replaced_while_a_load_hangs() {
    let mut world = World::with(1, Limits { rss: Some(10), ..Limits::default() });
    world.boot();
    let worker = world.machine.groups[0].workers().next().expect("a worker").id;
    world.tell(Event::Reload(0));
    world.tell(Event::Measured { worker, requests: 0, rss: 11, stuck: Duration::ZERO });
    world.fork_asked();
    let pid = *world.workers().last().expect("another");
    let Process::Worker(other) = world.processes[&pid] else { unreachable!() };
    world.tell(Event::WorkerReady(other));
    world.leave();
    assert_eq!((world.generations(0), world.machine.serving()), (vec![1], 1));
    assert!(world.machine.groups[0].next.is_some());
}

#[test]
fn a_group_that_is_scaled_while_it_loads_is_so_afterwards() {
    let mut world = World::new(&[1]);
    world.boot();
    world.configured(4, &Limits::default());
    world.tell(Event::Signal(Signal::TtyIn));
    assert_eq!(world.machine.groups[0].wanted, 2);
    world.settle();
    assert_eq!(world.generations(0), [2; 5]);
}
