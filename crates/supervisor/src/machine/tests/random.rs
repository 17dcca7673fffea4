//! Whatever happens, in any order.

use proptest::prelude::*;

use super::*;

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
    Scale(usize, i32),
    Pause,
    Drain(usize),
    Retire(usize),
    Measured(usize, u64, u64, u64),
    Configured(usize),
    ConfigureFailed,
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
        1 => (0_usize..10).prop_map(Step::Signal),
        2 => (0_usize..3).prop_map(Step::Reload),
        3 => Just(Step::Leave),
        1 => any::<bool>().prop_map(Step::ForkFailing),
        2 => (0_usize..3, -3_i32..4).prop_map(|(group, by)| Step::Scale(group, by)),
        1 => prop_oneof![3 => Just(Step::ConfigureFailed), 1 => Just(Step::Pause)],
        1 => (0_usize..8).prop_map(Step::Drain),
        1 => (0_usize..8).prop_map(Step::Retire),
        4 => (0_usize..8, 0_u64..200, 0_u64..200, 0_u64..20)
            .prop_map(|(which, requests, rss, stuck)| Step::Measured(which, requests, rss, stuck)),
        2 => (1_usize..5).prop_map(Step::Configured),
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
            // Those that end the server would leave little to see.
            let signals = [
                Signal::Terminate,
                Signal::Interrupt,
                Signal::Quit,
                Signal::Hangup,
                Signal::Hangup,
                Signal::User1,
                Signal::TtyIn,
                Signal::TtyOut,
                Signal::Winch,
                Signal::Other(10),
            ];
            world.tell(Event::Signal(signals[which % signals.len()]));
        }
        Step::Scale(group, by) => world.tell(Event::Scale { group, workers: ScaleTo::By(by) }),
        Step::Pause => world.tell(Event::Pause),
        Step::Drain(which) => {
            let pid = world.any(which, |_| true).map_or(Pid(7), |(pid, _)| pid);
            world.tell(Event::Drain(pid));
        }
        Step::Retire(which) => {
            if let Some((_, Process::Worker(worker))) = world.any(which, |p| matches!(p, Process::Worker(_)))
            {
                world.tell(Event::Retire { worker, why: "timeout: too long".into() });
            }
        }
        Step::Measured(which, requests, rss, stuck) => {
            if let Some((_, Process::Worker(worker))) = world.any(which, |p| matches!(p, Process::Worker(_)))
            {
                let stuck = Duration::from_secs(stuck);
                world.tell(Event::Measured { worker, requests, rss, stuck });
            }
        }
        Step::Configured(workers) => {
            if world.to_configure > 0 {
                world.to_configure -= 1;
                let plans = world.plan.iter().map(|plan| GroupPlan { workers, ..plan.clone() }).collect();
                let graceful_timeout = Policy::default().graceful_timeout;
                world.tell(Event::Configured(Configured { plans, graceful_timeout }));
            }
        }
        Step::ConfigureFailed => world.tell(Event::ConfigureFailed("no such option".into())),
        Step::Reload(which) => world.tell(Event::Reload(which)),
        Step::Leave => world.leave(),
        Step::ForkFailing(fails) => world.fork_fails = fails,
        Step::Upgrade(replace) => world.tell(Event::Upgrade { replace }),
        Step::SuccessorReady => world.tell(Event::SuccessorReady),
        Step::PredecessorEnded => world.tell(Event::PredecessorEnded),
    }
}

/// A group with little room, and limits that are met now and then.
fn plan() -> impl Strategy<Value = GroupPlan> {
    let limits = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (1_usize..4, 2_usize..5, limits).prop_map(|(workers, room, (requests, lifetime, rss, stuck))| {
        let limits = Limits {
            requests: requests.then_some(100),
            requests_jitter: 50,
            lifetime: lifetime.then_some(Duration::from_secs(50)),
            rss: rss.then_some(150),
            stuck: stuck.then_some(Duration::from_secs(15)),
        };
        GroupPlan { rows: workers + room, ..GroupPlan::new("group", workers, limits) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn in_any_order_it_heals_or_ends(
        plan in proptest::collection::vec(plan(), 1..3),
        seed: u64,
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut world = World::of(plan, Policy { seed, winch_pauses: seed % 2 == 0, ..Policy::default() });
        for step in steps {
            play(&mut world, &step);
        }
        if world.exited.is_some() {
            return Ok(());
        }
        if world.machine.ending.is_none() {
            // Left in peace it fills every slot.
            world.fork_fails = false;
            world.settle();
            for group in &world.machine.groups {
                prop_assert_eq!(group.ready(), group.wanted);
                prop_assert!(group.wanted <= group.most);
            }
            prop_assert!(world.machine.is_ready());
            world.tell(Event::Signal(Signal::Terminate));
        }
        // Whatever is ending ends by its deadline, though nobody ever leaves by itself.
        let policy = Policy::default();
        let end = world.now + policy.graceful_timeout + policy.leave_timeout + policy.kill_timeout;
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
