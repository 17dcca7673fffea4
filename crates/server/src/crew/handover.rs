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
    use super::*;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    struct World {
        handover: Handover<u32, thread::Thread>,
        pending: u32,
        published: u32,
        written: u32,
    }

    const REQUESTS: u32 = 2;

    /// One thread of the crew, as `member.rs` has it, with a time-out that may pass at any moment and requests that
    /// block only as long as the scheduler likes.
    fn member(shared: &Mutex<World>) {
        let me = shared.lock().unwrap().handover.join(thread::current());
        loop {
            let mut world = shared.lock().unwrap();
            if world.written == REQUESTS {
                break;
            }
            match world.handover.rest(me, true, true) {
                Rest::Sleep(Sleep::UntilWoken) => {
                    drop(world);
                    thread::park();
                    continue;
                }
                Rest::Sleep(_) => {
                    drop(world);
                    thread::yield_now();
                    continue;
                }
                Rest::Lead(mut turns) => loop {
                    turns += 1;
                    world.written += std::mem::take(&mut world.published);
                    if world.written == REQUESTS {
                        // The crew ends: everyone is woken, as `Crew::stop` does.
                        for other in world.handover.wakers() {
                            other.unpark();
                        }
                        return;
                    }
                    world.handover.baton.steal_run();
                    if world.pending == 0 || world.handover.baton.entry() != super::super::baton::Entry::Yes {
                        // Polls on: in the model, lets the others come.
                        world.handover.put_down(me, turns);
                        let watcher = world.handover.hand_over();
                        drop(world);
                        if let Some(watcher) = watcher {
                            watcher.unpark();
                        }
                        thread::yield_now();
                        break;
                    }
                    let watcher = world.handover.enter(me, turns);
                    drop(world);
                    if let Some(watcher) = watcher {
                        watcher.unpark();
                    }
                    let mut inside = shared.lock().unwrap();
                    if inside.pending > 0 && inside.handover.baton.start(me) {
                        inside.pending -= 1;
                        drop(inside);
                        thread::yield_now();
                        inside = shared.lock().unwrap();
                        if inside.handover.baton.lies_free() {
                            inside.published += 1;
                        } else {
                            inside.written += 1;
                        }
                    }
                    match inside.handover.leave(me) {
                        Some(back) => (turns, world) = (back, inside),
                        None => break,
                    }
                },
            }
        }
        // The last word to those who sleep.
        for other in shared.lock().unwrap().handover.wakers() {
            other.unpark();
        }
    }

    #[test]
    fn the_loop_is_never_lost_and_every_answer_is_written() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let world = World {
                handover: Handover::new(Baton::new(2), 0),
                pending: REQUESTS,
                published: 0,
                written: 0,
            };
            let shared = Arc::new(Mutex::new(world));
            let other = Arc::clone(&shared);
            let second = thread::spawn(move || member(&other));
            member(&shared);
            second.join().unwrap();
            assert_eq!(shared.lock().unwrap().written, REQUESTS);
        });
    }
}
