//! The crew: the threads of a loop, and the state that they share.
//!
//! [`baton`] decides, [`handover`] is where the loop lies between two leaders, [`member`] is what a thread does,
//! [`run`] is what a service sees of a cohort, [`watch`] knows who is in the application since when, [`threads`] makes
//! the threads. All of it stands under one lock, taken for a few instructions at a time; no thread holds it while it
//! polls, writes, or runs the application.

pub(crate) mod baton;
mod handover;
mod member;
pub(crate) mod predict;
mod run;
mod threads;
mod watch;

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use stdserve_sys::poller::Waker;
use stdserve_sys::thread_clock::ThreadClock;

pub use run::{Arrival, Run};
pub use threads::{StdThreads, ThreadSource};

use crate::coroner::Coroner;
use crate::datagram::{Answer, send_answers};
use crate::event_loop::EventLoop;
use crate::exchange::{Inner, Place};
use crate::link::Link;
use crate::observe::{InHand, Load, Log, Observer};
use crate::request::Request;
use crate::routes::Routes;
use crate::server::Order;
use crate::settings::Settings;
use baton::{Baton, Entry, Member};
use handover::Handover;
use predict::Predictor;
use threads::Grower;
use watch::{Limits, Watch};

/// How long a runner may be in one request before the standby takes the loop.
pub(crate) const TAKEOVER: Duration = Duration::from_millis(1);

/// How long a runner may compute in one request before another thread may queue for the interpreter.
const COMPUTING: Duration = Duration::from_millis(4);

/// After so long without work the standby sleeps without a time limit.
const QUIET: Duration = Duration::from_millis(50);

/// A request that has waited so long says that there are more than can be run.
const OVERLOAD: Duration = Duration::from_millis(100);

/// Python hands its lock on every 5 ms: who has waited for it so long waits for native code.
const HELD_UP: Duration = Duration::from_millis(100);

/// How long a thread whose request's time is over may take to end before a server that ends goes without it.
const GIVEN_UP: Duration = Duration::from_secs(1);

/// The observer is told what is in hand no more often than this: it costs more than most requests.
const LISTING: Duration = Duration::from_millis(100);

/// Where a thread came out of a blocking request so recently, the next is expected soon: nobody is woken beforehand.
const STEADY: Duration = Duration::from_micros(250);

/// The processor time of one thread of the crew. Where the kernel does not tell it, it stands still, and whoever is
/// late counts as blocked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    time: Option<ThreadClock>,
    /// The thread, as the kernel numbers it (gettid(2)).
    thread: u32,
}

impl Clock {
    fn of_this_thread() -> Self {
        Self { time: ThreadClock::of_this_thread().ok(), thread: stdserve_sys::process::this_thread() }
    }

    fn read(self) -> Duration {
        self.time.and_then(ThreadClock::read).unwrap_or_default()
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer is whole, and the connection may be used again.
    Keep,
    /// The answer is whole, and the connection ends.
    Close,
    /// The connection is cut.
    Abort,
}

/// An exchange that ended, on its way to the loop.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) inner: Box<Inner>,
    pub(crate) end: End,
}

/// What the loop takes over from the crew.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// Complete answers that the leader writes.
    pub(crate) published: Vec<Done>,
    /// Answers to datagrams.
    pub(crate) answers: Vec<Answer>,
    /// Exchanges whose answer was written by another thread.
    pub(crate) ended: Vec<Done>,
    /// What the spool has written, or failed to.
    pub(crate) spooled: Vec<crate::spool::Spooled>,
    /// Connections whose service has made room for more of a body.
    pub(crate) resumed: Vec<usize>,
    /// Connections with something held back that goes out now.
    pub(crate) held: Vec<usize>,
    /// What was asked of the server.
    pub(crate) orders: Vec<Order>,
}

impl Handed {
    pub(crate) fn is_empty(&self) -> bool {
        self.published.is_empty()
            && self.answers.is_empty()
            && self.ended.is_empty()
            && self.spooled.is_empty()
            && self.resumed.is_empty()
            && self.held.is_empty()
            && self.orders.is_empty()
    }
}

/// What stands under the lock.
#[allow(clippy::struct_excessive_bools)] // independent facts, each set and cleared on its own
pub(crate) struct Core {
    handover: Handover<Box<EventLoop>, Thread>,
    pub(crate) pending: VecDeque<Box<Inner>>,
    pub(crate) handed: Handed,
    /// When the runner began to wait for the interpreter, or started its request.
    since: Instant,
    clocks: Vec<Clock>,
    /// The runner's clock when its cohort began, and when that was.
    runner_base: (Duration, Instant),
    runner_route: u8,
    last_return: Option<Instant>,
    predictor: Predictor,
    watch: Watch<Arc<Request>>,
    /// See [`is_held_up`](Self::is_held_up).
    held_up: bool,
    /// The loop accepts no more and waits for what runs.
    draining: bool,
    /// When the observer was last told what is in hand.
    listed: Option<Instant>,
    /// It was told of something, and not yet that there is nothing any more.
    is_listed: bool,
    stopped: bool,
    /// One thread does everything: see [`turn`](crate::Server::turn).
    turned: bool,
    /// When it wants its next turn, though nothing comes: what the last turn has left, or its earliest timer.
    due: Instant,
    /// Figures for the bench and the scoreboard.
    pub(crate) takeovers: u64,
    pub(crate) standby_wakes: u64,
}

/// Who is told of what happens in the crew.
pub(crate) struct Watchers {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) coroner: Option<Arc<dyn Coroner>>,
}

/// The crew of one loop.
pub(crate) struct Crew {
    core: Mutex<Core>,
    /// The poller's descriptor, open until the loop has ended.
    descriptor: RawFd,
    stopped: Condvar,
    waker: Waker,
    settings: Arc<Settings>,
    routes: Arc<Routes>,
    watchers: Watchers,
    log: Arc<dyn Log>,
    grower: Grower,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").finish_non_exhaustive()
    }
}

impl Crew {
    pub(crate) fn new(
        event_loop: Box<EventLoop>,
        waker: Waker,
        settings: Arc<Settings>,
        routes: Arc<Routes>,
        threads: Arc<dyn ThreadSource>,
        (watchers, log): (Watchers, Arc<dyn Log>),
    ) -> Arc<Self> {
        let now = Instant::now();
        let deadlines = &settings.deadlines;
        let limit_of = |time: Duration, told: bool| (told && !time.is_zero()).then_some(time);
        let is_told = watchers.coroner.is_some();
        let limits = Limits {
            timeout: limit_of(deadlines.timeout, true),
            slow: limit_of(deadlines.slow, is_told),
            stuck: limit_of(deadlines.stuck, is_told),
        };
        let limit = settings.threads.clamp(1, usize::from(Member::MAX) - 1) as Member;
        Arc::new(Self {
            descriptor: event_loop.as_raw_fd(),
            core: Mutex::new(Core {
                handover: Handover::new(Baton::new(limit), event_loop),
                pending: VecDeque::new(),
                handed: Handed::default(),
                since: now,
                clocks: Vec::new(),
                runner_base: (Duration::ZERO, now),
                runner_route: 0,
                last_return: None,
                predictor: Predictor::new(),
                watch: Watch::new(limits, usize::from(limit)),
                held_up: false,
                draining: false,
                listed: None,
                is_listed: false,
                stopped: false,
                turned: false,
                due: now,
                takeovers: 0,
                standby_wakes: 0,
            }),
            stopped: Condvar::new(),
            waker,
            settings,
            routes,
            watchers,
            log,
            grower: Grower::new(threads, usize::from(limit) + 1),
        })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A panic under this lock is a bug of ours, and ends the process: see [`member`].
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks something of the loop.
    pub(crate) fn order(&self, order: Order) {
        self.lock().handed.orders.push(order);
        self.waker.wake();
    }

    /// A complete answer: for whoever takes the loop next, or, where another thread leads, written here and now. So it
    /// is where the program's own thread does everything and has more to run first: no other would take the loop.
    pub(crate) fn publish(&self, mut done: Done) {
        done.inner.tell_outcome();
        let mut core = self.lock();
        let is_next = !core.turned || core.pending.is_empty();
        if is_next && core.handover.baton.lies_free() {
            core.handed.published.push(done);
            return;
        }
        drop(core);
        self.finish(done);
    }

    /// The answer to a datagram: as [`publish`](Self::publish).
    pub(crate) fn answer(&self, answer: Answer) {
        let mut core = self.lock();
        let is_next = !core.turned || core.pending.is_empty();
        if is_next && core.handover.baton.lies_free() {
            core.handed.answers.push(answer);
            return;
        }
        drop(core);
        send_answers(&[answer], &*self.log);
    }

    /// Writes what is published and waits for a leader.
    pub(crate) fn write_published(&self) {
        let mut core = self.lock();
        let is_nothing = core.handed.published.is_empty() && core.handed.answers.is_empty();
        if is_nothing || !core.handover.baton.lies_free() {
            return;
        }
        let published = std::mem::take(&mut core.handed.published);
        let answers = std::mem::take(&mut core.handed.answers);
        drop(core);
        send_answers(&answers, &*self.log);
        for done in published {
            self.finish(done);
        }
    }

    /// Writes a complete answer, or the end of one, from a thread that does not lead.
    pub(crate) fn finish(&self, mut done: Done) {
        done.inner.place = None;
        let has_file = done.inner.tail.is_some();
        let mut more = false;
        let sent = done.inner.send_answer(done.end, None).unwrap_or(Err(crate::stream::Gone));
        match sent {
            Ok(sent) => {
                // Of a file one stretch has gone, and the socket may have room: no edge will come.
                more = has_file && !sent.all;
                if sent.all
                    && done.end == End::Close
                    && let Some(link) = &done.inner.link
                {
                    link.transport.shutdown(std::net::Shutdown::Write);
                }
            }
            Err(_) => done.end = End::Abort,
        }
        self.ended(done);
        if more {
            self.waker.wake();
        }
    }

    /// Holds `data` back for whoever takes the loop next, if that is this thread or one that finds it late. False: it
    /// has to be sent now.
    pub(crate) fn hold(&self, link: &Link, token: usize, data: &[u8]) -> Result<bool, crate::stream::Gone> {
        const BOUND: usize = 64 << 10;
        let mut core = self.lock();
        if !core.handover.baton.lies_free() || core.turned || !link.hold(data, BOUND)? {
            return Ok(false);
        }
        if core.handed.held.last() != Some(&token) {
            core.handed.held.push(token);
        }
        Ok(true)
    }

    /// Tells the loop that an exchange has ended whose answer is written, or never will be.
    pub(crate) fn ended(&self, mut done: Done) {
        done.inner.tell_outcome();
        let link = done.inner.link.clone();
        let urgent = done.end != End::Keep;
        // Where the loop has answered in its place the connection is the loop's.
        if done.end == End::Abort
            && let Some(link) = &link
            && !link.is_timed_out()
        {
            link.give_up();
        }
        let mut core = self.lock();
        core.handed.ended.push(done);
        // Whoever takes the loop up looks there first.
        let is_seen = core.handover.baton.lies_free() && !core.draining;
        drop(core);
        if is_seen {
            return;
        }
        // Asked after the push: either the loop finds what was pushed, or it is seen here that it waits.
        if urgent || link.is_some_and(|link| link.loop_waits()) {
            self.waker.wake();
        }
    }

    /// A session or a datagram has ended. The loop need not hear of it at once, unless it has stopped accepting.
    pub(crate) fn raw_ended(&self, mut done: Done) {
        let was_full = done.inner.place.take().is_some_and(Place::give_up);
        let mut core = self.lock();
        core.handed.ended.push(done);
        let wake = (was_full || core.draining) && !core.handover.baton.lies_free();
        drop(core);
        if wake {
            self.waker.wake();
        }
    }

    /// There is room again for the body that a connection sends.
    pub(crate) fn resume(&self, token: usize) {
        self.lock().handed.resumed.push(token);
        self.waker.wake();
    }

    /// Ends the loop's present wait, or its next one.
    pub(crate) fn wake_loop(&self) {
        self.waker.wake();
    }

    /// Hands something to the loop and wakes it.
    pub(crate) fn spooled(&self, spooled: crate::spool::Spooled) {
        self.lock().handed.spooled.push(spooled);
        self.waker.wake();
    }

    /// Waits until the loop has ended. False: `timeout` has passed before.
    pub(crate) fn wait_stopped(&self, timeout: Option<Duration>) -> bool {
        let mut core = self.lock();
        let until = timeout.map(|timeout| Instant::now() + timeout);
        while !core.stopped {
            core = match until {
                None => self.stopped.wait(core).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.stopped.wait_timeout(core, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// Waits until the threads have ended; the loop has.
    pub(crate) fn join(&self) {
        self.grower.join();
    }

    /// Tells the observer how busy the crew is.
    fn tell_load(&self, core: &mut Core) {
        let (threads, busy) = (core.handover.baton.members(), core.handover.baton.inside());
        let queued = core.pending.len();
        self.watchers.observer.load(&Load { threads: threads.into(), busy: busy.into(), queued });
        if busy == 0 && std::mem::take(&mut core.is_listed) {
            self.watchers.observer.in_hand(&mut std::iter::empty());
        }
    }

    /// Tells the observer what is in hand, if it is time to.
    fn list_in_hand(&self, core: &mut Core, now: Instant) {
        if core.until_listing(now) != Some(Duration::ZERO) {
            return;
        }
        (core.listed, core.is_listed) = (Some(now), true);
        let running = core.watch.all().map(|(member, seat)| InHand {
            request: &seat.what,
            taken: Some((seat.started, core.clocks.get(usize::from(member)).map_or(0, |clock| clock.thread))),
        });
        let waiting = core.pending.iter().map(|inner| InHand { request: &inner.request, taken: None });
        self.watchers.observer.in_hand(&mut running.chain(waiting));
    }

    /// The loop, as a thread takes it that leads from now on.
    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    pub(crate) fn take_for_test(&self) -> Box<EventLoop> {
        let mut core = self.lock();
        let me = core.handover.join(std::thread::current());
        core.handover.take(me).unwrap()
    }

    /// How many threads exist, and how many of them are in the application.
    pub(crate) fn figures(&self) -> (u16, u16) {
        let core = self.lock();
        (core.handover.baton.members(), core.handover.baton.inside())
    }
}

/// What the leader does next.
enum Next {
    Enter,
    /// Goes on polling; looks again at the latest after so long.
    Lead(Option<Duration>),
}

impl Core {
    /// How long a leader may poll first: not at all where requests wait to be run, for which no event will come.
    fn patience(&self) -> Option<Duration> {
        if !self.pending.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        [self.watch.until_next(now), self.until_listing(now)].into_iter().flatten().min()
    }

    /// How long until the first request that waits has waited too long.
    fn until_expiry(&self, now: Instant) -> Option<Duration> {
        Some(self.pending.front()?.deadline.saturating_duration_since(now))
    }

    /// How long until the observer is to be told what is in hand; `None`: nothing is that takes longer than a moment,
    /// since whoever leads finds nobody in the application.
    fn until_listing(&self, now: Instant) -> Option<Duration> {
        if self.handover.baton.inside() == 0 {
            return None;
        }
        let since = self.listed.map_or(LISTING, |listed| now.saturating_duration_since(listed));
        Some(LISTING.saturating_sub(since))
    }

    /// The request that is next in turn. In an overload that may be the one that came last: its client is the
    /// likeliest to wait still.
    fn next_pending(&self, newest_first: bool, now: Instant) -> Option<&Inner> {
        let first = self.pending.front()?;
        if newest_first && now.saturating_duration_since(first.request.queued) >= OVERLOAD {
            return self.pending.back().map(|last| &**last);
        }
        Some(first)
    }

    fn pop_pending(&mut self, newest_first: bool, now: Instant) -> Option<Box<Inner>> {
        let first = self.pending.front()?;
        if newest_first && now.saturating_duration_since(first.request.queued) >= OVERLOAD {
            return self.pending.pop_back();
        }
        self.pending.pop_front()
    }

    /// Whether requests wait, or have, for an interpreter that cannot be had: a thread waits for it, or one that is to
    /// be made does. Until something is seen of it again.
    fn is_held_up(&mut self, now: Instant) -> bool {
        if let Some(first) = self.pending.front()
            && matches!(self.handover.baton.entry(), Entry::RunnerWaits | Entry::Grow)
            && now.saturating_duration_since(first.request.queued) >= HELD_UP
        {
            self.held_up = true;
        }
        self.held_up
    }

    /// How many requests may wait beside those that can be run now.
    fn room(&self, settings: &Settings, now: Instant) -> Option<usize> {
        let size = settings.queue.size?;
        let held_up = match self.handover.baton.entry() {
            Entry::Yes | Entry::Grow => false,
            Entry::Full => true,
            Entry::RunnerWaits | Entry::RunnerBusy => now.saturating_duration_since(self.since) >= COMPUTING,
        };
        Some(if held_up { size } else { size + settings.cohort.requests })
    }

    /// Whether the leader enters the application.
    fn next(&mut self, crew: &Crew, now: Instant) -> Next {
        if self.pending.is_empty() {
            return Next::Lead(None);
        }
        if self.handover.baton.entry() == Entry::RunnerBusy {
            let late = now.saturating_duration_since(self.since);
            let after = if late < TAKEOVER {
                Some(TAKEOVER.saturating_sub(late))
            } else if late < COMPUTING && !self.runner_is_blocked(now) {
                Some(COMPUTING.saturating_sub(late))
            } else {
                self.handover.baton.steal_run();
                None
            };
            if after.is_some() {
                return Next::Lead(after);
            }
        }
        match self.handover.baton.entry() {
            Entry::Yes => Next::Enter,
            Entry::Grow => {
                crew.grower.ask();
                Next::Lead(None)
            }
            Entry::Full => Next::Lead(None),
            Entry::RunnerWaits | Entry::RunnerBusy => Next::Lead(Some(TAKEOVER)),
        }
    }

    /// Whether the runner's thread has computed for less than half of the time that its request has taken.
    fn runner_is_blocked(&mut self, now: Instant) -> bool {
        let Some(runner) = self.handover.baton.runner() else { return false };
        let Some(clock) = self.clocks.get(usize::from(runner)) else { return false };
        let (base, began) = self.runner_base;
        let computed = clock.read().saturating_sub(base);
        let before = self.since.saturating_duration_since(began);
        let in_request = computed.saturating_sub(before);
        let blocked = predict::was_blocked(now.saturating_duration_since(self.since), in_request);
        if blocked {
            self.predictor.learn(self.runner_route, true);
        }
        blocked
    }
}
