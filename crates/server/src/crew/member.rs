//! What a thread of the crew does: rest, lead, enter the application, and come back.

use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::baton::Member;
use super::handover::{Rest, Sleep};
use super::threads::Grower;
use super::watch::{Finding, Seat};
use super::{Clock, Core, Crew, GIVEN_UP, Next, QUIET, Run, TAKEOVER};
use crate::coroner::{Case, Late, Told};
use crate::event_loop::EventLoop;
use crate::event_loop::late::Waited;
use crate::request::Request;

/// A panic outside the application leaves a loop that nobody runs: the process ends, and its supervisor replaces it.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            abort();
        }
    }
}

impl Crew {
    /// Makes the first threads: one to lead and one to stand by. Returns when they exist, not when they run.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        for number in 0..2 {
            self.grower.make(number, Arc::clone(self))?;
        }
        Grower::start(self)
    }

    /// The life of one thread.
    pub(super) fn serve(self: &Arc<Self>) {
        let _guard = AbortOnPanic;
        stdserve_sys::process::set_name("stdserve-crew");
        let clock = Clock::of_this_thread();
        let me = {
            let mut core = self.lock();
            core.clocks.push(clock);
            core.held_up = false;
            if !core.pending.is_empty() {
                // The leader may have waited for one more thread before it goes in.
                self.waker.wake();
            }
            core.handover.join(thread::current())
        };
        self.grower.arrived();
        while let Some(event_loop) = self.rest(me) {
            self.lead(me, clock, event_loop);
        }
    }

    /// Waits for the loop. `None`: the crew ends.
    fn rest(&self, me: Member) -> Option<Box<EventLoop>> {
        let mut core = self.lock();
        loop {
            if core.stopped {
                return None;
            }
            let now = Instant::now();
            let due = core.since + TAKEOVER;
            let quiet = now.saturating_duration_since(core.since) >= QUIET;
            let wait = match core.handover.rest(me, due <= now, quiet) {
                Rest::Lead(event_loop) => {
                    core.takeovers += 1;
                    return Some(event_loop);
                }
                Rest::Sleep(Sleep::UntilDue) => Some(due.saturating_duration_since(now)),
                Rest::Sleep(Sleep::Watch) => Some(TAKEOVER),
                Rest::Sleep(Sleep::UntilWoken) => None,
            };
            drop(core);
            match wait {
                Some(wait) => thread::park_timeout(wait),
                None => thread::park(),
            }
            core = self.lock();
            core.standby_wakes += 1;
        }
    }

    /// Runs the loop, and the application between its turns, until another thread has taken the loop.
    fn lead(self: &Arc<Self>, me: Member, clock: Clock, mut event_loop: Box<EventLoop>) {
        let mut patience = {
            let mut core = self.lock();
            std::mem::swap(&mut core.handed, event_loop.handed());
            self.tell_load(&mut core);
            core.patience()
        };
        event_loop.settle();
        loop {
            event_loop.turn(patience, self);
            let mut core = self.lock();
            core.pending.extend(event_loop.arrived());
            core.draining = event_loop.is_draining();
            let now = event_loop.now();
            event_loop.set_held_up(core.is_held_up(now));
            self.shed(&mut core, &mut event_loop, now);
            self.look_after(&mut core, &mut event_loop, now);
            self.tell_load(&mut core);
            self.list_in_hand(&mut core, now);
            let given_up = if core.draining { core.watch.given_up(GIVEN_UP, now) } else { 0 };
            let awaited = usize::from(core.handover.baton.inside()).saturating_sub(given_up);
            if event_loop.is_finished(awaited == 0 && core.pending.is_empty()) {
                return self.stop(core, event_loop);
            }
            match core.next(self, now) {
                Next::Enter => {
                    let Some(back) = self.enter(me, clock, core, event_loop) else { return };
                    (event_loop, patience) = back;
                    event_loop.settle();
                }
                Next::Lead(after) => {
                    let times =
                        [after, core.until_expiry(now), core.watch.until_next(now), core.until_listing(now)];
                    patience = times.into_iter().flatten().min();
                    if !core.handed.is_empty() {
                        std::mem::swap(&mut core.handed, event_loop.handed());
                        drop(core);
                        event_loop.settle();
                    }
                }
            }
        }
    }

    /// Requests that have waited too long for a thread, or are too many that do, are refused by the loop.
    fn shed(&self, core: &mut Core, event_loop: &mut EventLoop, now: Instant) {
        while core.pending.front().is_some_and(|first| first.deadline <= now) {
            if let Some(inner) = core.pending.pop_front() {
                event_loop.refuse_queued(inner, Waited::TooLong);
            }
        }
        let Some(room) = core.room(&self.settings, now) else { return };
        while core.pending.len() > room {
            // Whoever would be served last.
            let last = if self.settings.queue.newest_first {
                core.pending.pop_front()
            } else {
                core.pending.pop_back()
            };
            if let Some(inner) = last {
                event_loop.refuse_queued(inner, Waited::TooMany);
            }
        }
    }

    /// Does what is to be done about requests that are in the application for too long.
    fn look_after(&self, core: &mut Core, event_loop: &mut EventLoop, now: Instant) {
        for finding in core.watch.look(now) {
            let late = |seat: &Seat<Arc<Request>>| Late {
                request: Arc::clone(&seat.what),
                request_id: self.settings.request_ids.of(&seat.what).to_string(),
                waited: seat.started.saturating_duration_since(seat.what.queued),
                running: now.saturating_duration_since(seat.started),
            };
            let case = match finding {
                Finding::Slow(member) => core.watch.seat(member).map(|seat| Case::Slow(late(seat))),
                Finding::TimedOut(member) => {
                    let case = core.watch.seat(member).map(|seat| {
                        let told = event_loop.answer_late(&seat.what);
                        Case::TimedOut(late(seat), told)
                    });
                    if let Some(Case::TimedOut(_, Told::Cut)) = case {
                        core.watch.cut(member);
                    }
                    case
                }
                Finding::AllStuck => {
                    Some(Case::AllStuck(core.watch.all().map(|(_, seat)| late(seat)).collect()))
                }
            };
            if let (Some(case), Some(coroner)) = (case, &self.watchers.coroner) {
                coroner.take(case);
            }
        }
    }

    /// Puts the loop down, runs a cohort, and takes the loop up again; with it comes how long it may poll first.
    /// `None`: another thread has it.
    fn enter(
        self: &Arc<Self>,
        me: Member,
        clock: Clock,
        mut core: std::sync::MutexGuard<'_, Core>,
        event_loop: Box<EventLoop>,
    ) -> Option<(Box<EventLoop>, Option<Duration>)> {
        let computed = clock.read();
        let began = Instant::now();
        let watcher = core.handover.enter(me, event_loop);
        self.tell_load(&mut core);
        core.since = began;
        core.runner_base = (computed, began);
        drop(core);
        if let Some(watcher) = watcher {
            watcher.unpark();
        }
        self.run_service(me, clock, computed);
        let mut core = self.lock();
        core.watch.end(me);
        core.held_up = false;
        let late = !core.handover.baton.is_runner(me);
        if let Some(mut event_loop) = core.handover.leave(me) {
            if late {
                core.last_return = Some(Instant::now());
            }
            std::mem::swap(&mut core.handed, event_loop.handed());
            self.tell_load(&mut core);
            return Some((event_loop, core.patience()));
        }
        core.last_return = Some(Instant::now());
        self.tell_load(&mut core);
        // Another leads: it has one thread more now, or nothing to wait for.
        if !core.pending.is_empty() || core.draining {
            drop(core);
            self.waker.wake();
        }
        None
    }

    /// One cohort. A panic of the service costs the request in which it happened.
    fn run_service(self: &Arc<Self>, me: Member, clock: Clock, computed: Duration) {
        let mut run = Run::new(self, me, clock, computed);
        let cohort = AssertUnwindSafe(|| {
            if self.routes.is_single() {
                return self.routes.service(0).run(&mut run);
            }
            while let Some(service) = run.turn_to_next() {
                self.routes.service(service).run(&mut run);
            }
        });
        if catch_unwind(cohort).is_err() {
            self.log.error("the service panicked; the request is lost, its connection is cut");
        }
    }

    /// The loop has ended: so does the crew.
    fn stop(&self, mut core: std::sync::MutexGuard<'_, Core>, mut event_loop: Box<EventLoop>) {
        core.stopped = true;
        let members = core.handover.wakers();
        let (takeovers, wakes) = (core.takeovers, core.standby_wakes);
        let left = (std::mem::take(&mut core.pending), std::mem::take(&mut core.handed));
        // Their threads will find nobody to tell of their ends.
        let unfinished = core.watch.all().map(|(_, seat)| seat);
        let unfinished = unfinished.filter(|seat| seat.is_cut() || event_loop.runs(&seat.what));
        let unfinished: Vec<Arc<Request>> = unfinished.map(|seat| Arc::clone(&seat.what)).collect();
        drop(core);
        for request in &unfinished {
            event_loop.report_unfinished(request);
        }
        // Closes the listeners and what connections are left, outside the lock.
        event_loop.cut_all();
        drop(event_loop);
        drop(left);
        for member in &members {
            member.unpark();
        }
        self.grower.stop();
        self.log.debug(&format!(
            "{} threads; {takeovers} take-overs, {wakes} times a resting thread woke",
            members.len()
        ));
        self.stopped.notify_all();
    }

    /// One turn, and the cohort that it brought, on the calling thread: for a server without a crew, driven from
    /// another loop. False: the loop has ended.
    pub(crate) fn turn(self: &Arc<Self>, timeout: Option<Duration>) -> bool {
        let clock = Clock::of_this_thread();
        let me = {
            let mut core = self.lock();
            core.turned = true;
            while core.handover.baton.members() < 2 {
                core.handover.join(thread::current());
                core.clocks.push(clock);
            }
            0
        };
        let mut core = self.lock();
        if core.stopped {
            return false;
        }
        let Some(mut event_loop) = core.handover.take(me) else { return false };
        std::mem::swap(&mut core.handed, event_loop.handed());
        drop(core);
        event_loop.settle();
        event_loop.turn(timeout, self);
        let mut core = self.lock();
        core.pending.extend(event_loop.arrived());
        if event_loop.is_finished(core.pending.is_empty()) {
            self.stop(core, event_loop);
            return false;
        }
        while !core.pending.is_empty() {
            let Some((mut back, _)) = self.enter(me, clock, core, event_loop) else { return false };
            back.settle();
            event_loop = back;
            core = self.lock();
        }
        core.due = Instant::now() + event_loop.until_turn();
        core.handover.put_down(me, event_loop);
        true
    }

    /// The poller's descriptor, until the loop has ended.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        (!self.lock().stopped).then_some(self.descriptor)
    }

    /// How long until the next [turn](Self::turn) is wanted, though the descriptor stays quiet.
    pub(crate) fn until_due(&self) -> Duration {
        self.lock().due.saturating_duration_since(Instant::now())
    }
}
