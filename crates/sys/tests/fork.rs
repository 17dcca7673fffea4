//! Forking, in a process that has one thread: the test harness has several, so this one has none.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stdserve_sys::channel::Channel;
use stdserve_sys::process::{self, Exit, Fork, ForkHooks, NoHooks, Others, Pid};
use stdserve_sys::scoreboard::{Scoreboard, State};

#[derive(Default)]
struct Counting(Vec<&'static str>);

impl ForkHooks for Counting {
    fn before(&mut self) {
        self.0.push("before");
    }
    fn after_in_parent(&mut self) {
        self.0.push("parent");
    }
    fn after_in_child(&mut self) {
        self.0.push("child");
    }
}

fn main() {
    a_child_runs_its_hooks_and_its_code_is_read();
    a_process_can_be_given_an_end();
    a_reparented_child_is_announced_before_it_goes_on();
    a_child_that_cannot_be_announced_ends();
    the_scoreboard_is_shared();
    println!("fork: 5 passed");
}

fn a_process_can_be_given_an_end() {
    let Fork::Parent(pid) = process::fork(&mut NoHooks).expect("fork") else {
        process::end_after(Duration::from_millis(20)).expect("timer");
        loop {
            std::hint::spin_loop();
        }
    };
    assert_eq!(process::wait(pid).expect("wait"), Exit::Signal(9));
}

fn a_child_runs_its_hooks_and_its_code_is_read() {
    let mut hooks = Counting::default();
    match process::fork(&mut hooks).expect("fork") {
        Fork::Child => process::exit_now(if hooks.0 == ["before", "child"] { 7 } else { 1 }),
        Fork::Parent(pid) => {
            assert_eq!(process::wait(pid).expect("wait"), Exit::Code(7));
            assert_eq!(hooks.0, ["before", "parent"]);
        }
    }
    match process::fork(&mut NoHooks).expect("fork") {
        Fork::Child => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        Fork::Parent(pid) => {
            assert!(process::reap().is_empty());
            process::kill(pid, stdserve_sys::signals::SIGKILL).expect("kill");
            assert_eq!(process::wait(pid).expect("wait"), Exit::Signal(9));
        }
    }
}

/// The next two processes that end, `first` before the other.
fn reap_two(first: Pid) -> [(Pid, Exit); 2] {
    let end = Instant::now() + Duration::from_secs(10);
    let mut ended = Vec::new();
    while ended.len() < 2 {
        ended.extend(process::reap());
        assert!(Instant::now() < end, "nothing to reap but {ended:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    ended.sort_by_key(|(pid, _)| *pid != first);
    ended.try_into().expect("two")
}

fn a_reparented_child_is_announced_before_it_goes_on() {
    process::become_subreaper().expect("subreaper");
    let supervisor = Pid::this();
    let (ours, theirs) = Channel::pair().expect("channel");
    let Fork::Parent(template) = process::fork(&mut NoHooks).expect("fork") else {
        let mut hooks = Counting::default();
        let announce = |pid: Pid| theirs.send(&pid.0.to_ne_bytes(), None);
        match process::fork_reparented(&mut hooks, Others::Refused, announce) {
            Ok(Fork::Child) => {
                let right = Pid::parent() == supervisor && hooks.0 == ["before", "child"];
                process::exit_now(i32::from(!right));
            }
            Ok(Fork::Parent(_)) => process::exit_now(if hooks.0 == ["before", "parent"] { 20 } else { 2 }),
            Err(_) => process::exit_now(3),
        }
    };
    let announced = ours.receive().expect("receive").expect("message");
    let worker = Pid(u32::from_ne_bytes(announced.bytes.try_into().expect("four bytes")));
    let ended = reap_two(template);
    assert_eq!(ended, [(template, Exit::Code(20)), (worker, Exit::Code(0))]);
}

fn a_child_that_cannot_be_announced_ends() {
    let Fork::Parent(template) = process::fork(&mut NoHooks).expect("fork") else {
        let outcome = process::fork_reparented(&mut NoHooks, Others::Refused, |_| {
            Err(std::io::ErrorKind::BrokenPipe.into())
        });
        process::exit_now(match outcome {
            Err(_) => 21,
            // The worker must not get here.
            Ok(_) => 1,
        });
    };
    let ended = reap_two(template);
    assert_eq!((ended[0], ended[1].1), ((template, Exit::Code(21)), Exit::Code(0)));
}

fn the_scoreboard_is_shared() {
    let board = Scoreboard::new(2).expect("scoreboard");
    let Fork::Parent(pid) = process::fork(&mut NoHooks).expect("fork") else {
        let row = &board.rows()[1];
        row.claim(3);
        row.set_state(State::Serving);
        row.beat(11);
        process::exit_now(0);
    };
    process::wait(pid).expect("wait");
    let row = &board.rows()[1];
    assert_eq!(row.pid.load(Ordering::Relaxed), pid.0);
    assert_eq!(row.connections.load(Ordering::Relaxed), 11);
    assert_eq!(row.state(), State::Serving);
    assert_eq!(board.rows()[0].state(), State::Free);
}
