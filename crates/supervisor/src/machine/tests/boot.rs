//! Starts, deaths and ends.

use super::*;

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
    // What runs may finish for 30 s; its worker has a second to say so and leave.
    world.pass(Duration::from_secs(30));
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
    world.pass(Duration::from_secs(11));
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
