//! The hand-over: the loop itself, and who is woken so that it is never left lying.
//!
//! [`Baton`] says who may; this is where the loop lies when nobody runs it, and which thread watches over it. All of
//! it stands under the crew's lock. Time stays outside: callers say whether a take-over is due, which lets loom try
//! it at every moment.

use super::baton::{Baton, Member};

/// `L` is the loop, `P` wakes a thread.
#[derive(Debug)]
pub(crate) struct Handover<L, P> {
    pub(crate) baton: Baton,
    /// The loop, when nobody runs it.
    lying: Option<L>,
    members: Vec<P>,
    /// Threads that rest without watching, the newest last.
    idle: Vec<Member>,
    /// The standby sleeps until it is woken.
    standby_is_deep: bool,
}

/// What a resting thread does.
#[derive(Debug)]
pub(crate) enum Rest<L> {
    Lead(L),
    Sleep(Sleep),
}

/// How long a resting thread sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// Until the runner is late: it watches over a loop that lies.
    UntilDue,
    /// For the time of a take-over: it watches, while another leads.
    Watch,
    /// Until it is woken.
    UntilWoken,
}

impl<L, P: Clone> Handover<L, P> {
    pub(crate) fn new(baton: Baton, event_loop: L) -> Self {
        Self { baton, lying: Some(event_loop), members: Vec::new(), idle: Vec::new(), standby_is_deep: false }
    }

    /// A thread joins; `waker` wakes it, also when it is woken before it sleeps.
    pub(crate) fn join(&mut self, waker: P) -> Member {
        self.members.push(waker);
        self.baton.join()
    }

    pub(crate) fn wakers(&self) -> Vec<P> {
        self.members.clone()
    }

    /// A thread that is not in the application asks what to do. `due`: the runner is late. `quiet`: there was no
    /// work for a while.
    pub(crate) fn rest(&mut self, me: Member, due: bool, quiet: bool) -> Rest<L> {
        let lies = self.lying.is_some() && self.baton.lies_free();
        if lies && (due || self.baton.is_handed_over()) {
            self.idle.retain(|idle| *idle != me);
            if let Some(event_loop) = self.take(me) {
                return Rest::Lead(event_loop);
            }
        }
        Rest::Sleep(if !self.baton.stand_by(me) {
            if !self.idle.contains(&me) {
                self.idle.push(me);
            }
            Sleep::UntilWoken
        } else if lies {
            Sleep::UntilDue
        } else if quiet {
            self.standby_is_deep = true;
            Sleep::UntilWoken
        } else {
            Sleep::Watch
        })
    }

    /// Takes the loop, if it lies.
    pub(crate) fn take(&mut self, me: Member) -> Option<L> {
        if self.lying.is_some() && self.baton.seize(me) { self.lying.take() } else { None }
    }

    /// The leader puts the loop down and goes into the application. Whoever is returned must be woken: nobody watches
    /// over the loop otherwise.
    #[must_use]
    pub(crate) fn enter(&mut self, me: Member, event_loop: L) -> Option<P> {
        self.baton.enter(me);
        self.lying = Some(event_loop);
        if self.standby_is_deep || self.baton.standby().is_none() { self.watcher() } else { None }
    }

    /// A thread comes out of the application: with the loop, if it still lies.
    pub(crate) fn leave(&mut self, me: Member) -> Option<L> {
        if self.baton.leave(me) { self.lying.take() } else { None }
    }

    /// The loop shall be taken at once, if it lies: whoever is returned must be woken for it.
    #[must_use]
    pub(crate) fn hand_over(&mut self) -> Option<P> {
        if self.baton.hand_over() { self.watcher() } else { None }
    }

    /// The leader lets the loop lie without going anywhere.
    pub(crate) fn put_down(&mut self, me: Member, event_loop: L) {
        self.baton.put_down(me);
        self.lying = Some(event_loop);
    }

    /// The standby; else an idle thread, which becomes the standby.
    fn watcher(&mut self) -> Option<P> {
        let member = if let Some(standby) = self.baton.standby() {
            standby
        } else {
            let idle = self.idle.pop()?;
            self.baton.stand_by(idle);
            idle
        };
        self.standby_is_deep = false;
        self.members.get(usize::from(member)).cloned()
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::super::baton::Entry;
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// A loop, two requests, and a crew of three. The first request to run returns only when the other is answered,
    /// so that a take-over that is lost is a deadlock, which loom finds.
    struct World {
        handover: Handover<(), thread::Thread>,
        pending: u32,
        started: u32,
        published: u32,
        written: u32,
    }

    const REQUESTS: u32 = 2;

    type Shared = (Mutex<World>, Condvar);

    /// One thread of the crew, as `member.rs` has it. Take-overs are always due, which is a time-out at any moment;
    /// whoever watches over a loop that is led sleeps until it is woken, which is the hardest case.
    fn member(shared: &Shared) {
        let (world, changed) = shared;
        let me = world.lock().unwrap().handover.join(thread::current());
        // As `Crew::serve` wakes the loop: the leader may have waited for one more thread.
        changed.notify_all();
        loop {
            let mut now = world.lock().unwrap();
            if now.written == REQUESTS {
                return;
            }
            match now.handover.rest(me, true, true) {
                Rest::Lead(()) => {
                    drop(now);
                    lead(me, world, changed);
                }
                Rest::Sleep(sleep) => {
                    assert_eq!(sleep, Sleep::UntilWoken);
                    drop(now);
                    thread::park();
                }
            }
        }
    }

    fn lead(me: Member, world: &Mutex<World>, changed: &Condvar) {
        let mut now = world.lock().unwrap();
        loop {
            now.written += std::mem::take(&mut now.published);
            changed.notify_all();
            if now.written == REQUESTS {
                let wakers = now.handover.wakers();
                drop(now);
                for waker in wakers {
                    waker.unpark();
                }
                return;
            }
            now.handover.baton.steal_run();
            if now.pending == 0 || now.handover.baton.entry() != Entry::Yes {
                // Polls, until something happens or one more thread has come.
                now = changed.wait(now).unwrap();
                continue;
            }
            let watcher = now.handover.enter(me, ());
            drop(now);
            if let Some(watcher) = watcher {
                watcher.unpark();
            }
            now = world.lock().unwrap();
            if now.handover.baton.start(me) && now.pending > 0 {
                now.pending -= 1;
                now.started += 1;
                // A leader who found that the runner had not started yet looks again after a while.
                changed.notify_all();
                let first = now.started == 1;
                while first && now.written == 0 {
                    now = changed.wait(now).unwrap();
                }
                if now.handover.baton.lies_free() {
                    now.published += 1;
                } else {
                    now.written += 1;
                    changed.notify_all();
                }
            }
            if now.handover.leave(me).is_none() {
                // As `Crew::enter` wakes the loop: one thread more is free.
                changed.notify_all();
                return;
            }
        }
    }

    #[test]
    fn lost_takeover_a_request_that_waits_for_another_is_answered() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let handover = Handover::new(Baton::new(2), ());
            let shared: Arc<Shared> = Arc::new((
                Mutex::new(World { handover, pending: REQUESTS, started: 0, published: 0, written: 0 }),
                Condvar::new(),
            ));
            let members = [(); 3].map(|()| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || member(&shared))
            });
            for member in members {
                member.join().unwrap();
            }
            assert_eq!(shared.0.lock().unwrap().written, REQUESTS);
        });
    }
}
