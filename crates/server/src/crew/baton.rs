//! Who may run the loop, and who may start requests: the decisions, apart from any thread, lock or clock.
//!
//! There are two rights. The **baton** is the right to run the loop; the **run token** is the right to start requests
//! in the application. They usually sit with one thread, the leader, and part when the application takes long:
//!
//! ```text
//!              enter                       seize (the runner is late, or hands over)
//!   leading ----------> in the application ---------------------------------> another thread leads
//!      ^   the loop lies free, |                                                        |
//!      |   the run token stays |  leave: the loop still lies free                       | steal_run:
//!      +-----------------------+                                                        | blocked or
//!      |                                                                                v late
//!   resting <--------------- leave: the loop was taken                            it may enter in turn
//! ```
//!
//! 1. Whoever leads is not in the application; whoever enters puts the loop down first.
//! 2. At least one thread is never in the application, so that a loop that lies free is always taken up again.
//! 3. A run token that waits for the interpreter is not stolen: one thread queues for the pending requests, not all.
//!
//! Time is not known here: time-outs are calls that may come at any moment, which is how the tests explore them.

/// A thread of the crew, by number.
pub(crate) type Member = u16;

/// The state of both rights.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Baton {
    leader: Option<Member>,
    runner: Option<Runner>,
    standby: Option<Member>,
    /// Threads in the application, or on their way in.
    inside: u16,
    members: u16,
    limit: u16,
    /// Whoever rests may take the loop at once.
    handover: bool,
}

/// Who has the run token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Runner {
    member: Member,
    /// It has started a request: it no longer waits for the interpreter.
    started: bool,
}

/// Whether the leader may enter the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Yes,
    /// It is the last free thread, and the crew may grow.
    Grow,
    /// As many threads as may be are in the application.
    Full,
    /// Another thread has the run token and waits for the interpreter.
    RunnerWaits,
    /// Another thread has the run token and is in a request.
    RunnerBusy,
}

impl Baton {
    /// For `threads` requests at once. The loop lies free.
    pub(crate) fn new(threads: u16) -> Self {
        Self {
            leader: None,
            runner: None,
            standby: None,
            inside: 0,
            members: 0,
            limit: threads.saturating_add(1),
            handover: true,
        }
    }

    /// A thread joins the crew.
    pub(crate) fn join(&mut self) -> Member {
        self.members += 1;
        self.members - 1
    }

    pub(crate) fn members(&self) -> u16 {
        self.members
    }

    pub(crate) fn inside(&self) -> u16 {
        self.inside
    }

    pub(crate) fn may_grow(&self) -> bool {
        self.members < self.limit
    }

    pub(crate) fn lies_free(&self) -> bool {
        self.leader.is_none()
    }

    pub(crate) fn standby(&self) -> Option<Member> {
        self.standby
    }

    /// Who has the run token.
    pub(crate) fn runner(&self) -> Option<Member> {
        self.runner.map(|runner| runner.member)
    }

    pub(crate) fn is_runner(&self, me: Member) -> bool {
        self.runner.is_some_and(|runner| runner.member == me)
    }

    /// Whether the leader may enter.
    pub(crate) fn entry(&self) -> Entry {
        match self.runner {
            Some(Runner { started: false, .. }) => Entry::RunnerWaits,
            Some(_) => Entry::RunnerBusy,
            None if self.inside + 2 <= self.members => Entry::Yes,
            None if self.may_grow() => Entry::Grow,
            None => Entry::Full,
        }
    }

    /// The leader puts the loop down and enters the application, with the run token.
    pub(crate) fn enter(&mut self, me: Member) {
        debug_assert!(self.leader == Some(me) && self.entry() == Entry::Yes);
        self.leader = None;
        self.runner = Some(Runner { member: me, started: false });
        self.inside += 1;
        self.handover = false;
    }

    /// A thread in the application starts a request. False: its run token was taken.
    pub(crate) fn start(&mut self, me: Member) -> bool {
        match &mut self.runner {
            Some(runner) if runner.member == me => {
                runner.started = true;
                true
            }
            _ => false,
        }
    }

    /// The request that starts is expected to block: its thread lets the run token go beforehand.
    pub(crate) fn let_run_go(&mut self, me: Member) {
        if self.is_runner(me) {
            self.runner = None;
        }
    }

    /// Whoever rests may take the loop at once. False: it is held.
    pub(crate) fn hand_over(&mut self) -> bool {
        self.handover = self.lies_free();
        self.handover
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.handover
    }

    /// The leader takes the run token from a runner that is late in its request. False: there is none to take.
    pub(crate) fn steal_run(&mut self) -> bool {
        match self.runner {
            Some(Runner { started: true, .. }) => {
                self.runner = None;
                true
            }
            _ => false,
        }
    }

    /// A thread that is not in the application takes the loop. False: it is held.
    pub(crate) fn seize(&mut self, me: Member) -> bool {
        if self.leader.is_some() {
            return false;
        }
        self.leader = Some(me);
        self.handover = false;
        if self.standby == Some(me) {
            self.standby = None;
        }
        true
    }

    /// The leader lets the loop lie, without going anywhere: a loop that is driven turn by turn.
    pub(crate) fn put_down(&mut self, me: Member) {
        debug_assert_eq!(self.leader, Some(me));
        self.leader = None;
    }

    /// A thread comes out of the application. True: it leads again, since the loop lay free.
    pub(crate) fn leave(&mut self, me: Member) -> bool {
        self.inside -= 1;
        self.let_run_go(me);
        self.seize(me)
    }

    /// A resting thread asks to be the standby. True: it is.
    pub(crate) fn stand_by(&mut self, me: Member) -> bool {
        if self.standby.is_none() {
            self.standby = Some(me);
        }
        self.standby == Some(me)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet, VecDeque};

    /// What a modelled thread is doing.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    enum At {
        Resting,
        Leading,
        /// Waits for the interpreter.
        Attaching,
        /// In a request that may return now, or never.
        InRequest,
    }

    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct World {
        baton: Baton,
        at: Vec<At>,
        /// Requests that will still arrive, that wait, whose answer waits for a leader, and that are answered.
        coming: u8,
        pending: u8,
        published: u8,
        answered: u8,
    }

    impl World {
        fn new(threads: usize, requests: u8) -> Self {
            let mut baton = Baton::new(threads as Member);
            for _ in 0..=threads {
                baton.join();
            }
            Self {
                baton,
                at: vec![At::Resting; threads + 1],
                coming: requests,
                pending: 0,
                published: 0,
                answered: 0,
            }
        }

        fn answer_of(&mut self) {
            if self.baton.lies_free() {
                self.published += 1;
            } else {
                self.answered += 1;
            }
        }

        /// Every state that can follow. `returns` says whether requests may return.
        fn next(&self, returns: bool) -> Vec<World> {
            let mut out = Vec::new();
            for (index, at) in self.at.iter().enumerate() {
                let me = index as Member;
                let mut with = |change: &dyn Fn(&mut World) -> bool| {
                    let mut world = self.clone();
                    if change(&mut world) {
                        out.push(world);
                    }
                };
                match at {
                    // The time-out of a standby may come at any moment.
                    At::Resting => with(&|w| {
                        let taken = w.baton.stand_by(me) && w.baton.seize(me);
                        if taken {
                            w.at[index] = At::Leading;
                        }
                        taken
                    }),
                    At::Leading => {
                        with(&|w| {
                            w.answered += std::mem::take(&mut w.published);
                            w.coming > 0 && {
                                w.coming -= 1;
                                w.pending += 1;
                                true
                            }
                        });
                        with(&|w| {
                            w.answered += std::mem::take(&mut w.published);
                            true
                        });
                        with(&|w| {
                            w.published == 0 && w.pending > 0 && w.baton.entry() == Entry::Yes && {
                                w.baton.enter(me);
                                w.at[index] = At::Attaching;
                                true
                            }
                        });
                        // The runner is found late.
                        with(&|w| w.pending > 0 && w.baton.steal_run());
                    }
                    // Comes to start a request, as the first one or after another; or leaves.
                    At::Attaching => with(&|w| {
                        let starts = w.pending > 0 && w.baton.start(me);
                        w.at[index] = if starts {
                            w.pending -= 1;
                            At::InRequest
                        } else if w.baton.leave(me) {
                            At::Leading
                        } else {
                            At::Resting
                        };
                        true
                    }),
                    At::InRequest if returns => with(&|w| {
                        w.answer_of();
                        w.at[index] = At::Attaching;
                        true
                    }),
                    // One that is expected to block lets the run token go and hands the loop over.
                    At::InRequest => with(&|w| {
                        w.baton.let_run_go(me);
                        w.baton.hand_over();
                        w != self
                    }),
                }
            }
            out
        }

        fn check(&self) {
            let leading = self.at.iter().filter(|at| **at == At::Leading).count();
            assert!(leading <= 1, "two lead: {self:?}");
            assert_eq!(leading == 0, self.baton.lies_free(), "{self:?}");
            let inside = self.at.iter().filter(|at| matches!(at, At::Attaching | At::InRequest)).count();
            assert_eq!(inside, self.baton.inside() as usize, "{self:?}");
            assert!(inside < self.at.len(), "nobody is left for the loop: {self:?}");
        }
    }

    fn explore(start: World, returns: bool) -> HashSet<World> {
        let mut seen = HashSet::from([start.clone()]);
        let mut queue = VecDeque::from([start]);
        while let Some(world) = queue.pop_front() {
            world.check();
            for next in world.next(returns) {
                if seen.insert(next.clone()) {
                    queue.push_back(next);
                }
            }
        }
        seen
    }

    #[test]
    fn lost_takeover_cannot_happen_in_any_order_of_events() {
        for threads in 1..=3 {
            for world in explore(World::new(threads, 4), true) {
                // Even if no request that runs ever returns, a published answer gets out and the loop is led.
                let later = explore(world.clone(), false);
                assert!(later.iter().any(|w| !w.baton.lies_free()), "the loop is lost: {world:?}");
                assert!(later.iter().any(|w| w.published == 0), "an answer is lost: {world:?}");
            }
        }
    }

    #[test]
    fn every_request_can_be_answered_from_every_state() {
        let start = World::new(2, 4);
        let all = explore(start, true);
        let mut before: HashMap<World, Vec<World>> = HashMap::new();
        for world in &all {
            for next in world.next(true) {
                before.entry(next).or_default().push(world.clone());
            }
        }
        let mut good: HashSet<World> = all.iter().filter(|w| w.answered == 4).cloned().collect();
        let mut queue: VecDeque<World> = good.iter().cloned().collect();
        while let Some(world) = queue.pop_front() {
            for earlier in before.get(&world).into_iter().flatten() {
                if good.insert(earlier.clone()) {
                    queue.push_back(earlier.clone());
                }
            }
        }
        assert_eq!(good.len(), all.len());
    }

    #[test]
    fn a_run_token_that_waits_for_the_interpreter_is_not_stolen() {
        let mut baton = Baton::new(4);
        let (a, b) = (baton.join(), baton.join());
        assert!(baton.seize(a));
        baton.enter(a);
        assert!(baton.seize(b));
        assert!(!baton.steal_run());
        assert_eq!(baton.entry(), Entry::RunnerWaits);
        assert!(baton.start(a));
        assert!(baton.steal_run());
        assert_eq!(baton.entry(), Entry::Grow);
        assert!(!baton.start(a));
    }
}
