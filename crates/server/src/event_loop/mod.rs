//! The loop: a poller, its connections and its timers. Run by whoever holds the baton; it never enters the service.
//!
//! A turn polls once, accepts, reads what is ready, and keeps the time-outs. Complete requests come out by
//! [`arrived`](EventLoop::arrived); answers go in by [`settle`](EventLoop::settle).
//! [`accepting`], [`reading`], [`ending`] and [`late`] hold the parts.

mod accepting;
mod ending;
pub(crate) mod late;
mod reading;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use slab::Slab;
use stdserve_proto::h1::RequestHead;
use stdserve_sys::datagrams::Batch;
use stdserve_sys::fork_guard::Guard;
use stdserve_sys::poller::{Poller, Readiness, Waker};
use stdserve_sys::timers::Timers;

use crate::connection::{Connection, Phase, TIMERS, Timer};
use crate::crew::{Crew, Done, Handed};
use crate::exchange::Inner;
use crate::observe::{Log, Observer, Traffic};
use crate::outbound::Budget;
use crate::routes::Routes;
use crate::server::{Order, Watch};
use crate::settings::Settings;
use crate::spool::Spool;
pub(crate) use accepting::Door;

/// Room for one read; shared by all connections.
const SCRATCH: usize = 64 << 10;
/// Events taken from the kernel in one turn.
const EVENTS: usize = 512;
/// Boxes of ended exchanges that are kept for later ones.
const SPARE: usize = 256;
/// The loop shows that it lives at least so often.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Tokens of what is no connection have this bit.
const SPECIAL: usize = 1 << 63;
const WAKER: usize = SPECIAL;
const DOORS: usize = SPECIAL | 1 << 32;
const WATCHES: usize = SPECIAL | 2 << 32;

/// The token of what belongs to no connection of the loop: its slot is never taken.
const NO_CONNECTION: usize = usize::MAX;

/// Timer lists after those of the connections.
const DRAIN_IDLE: usize = TIMERS;
const DRAIN_END: usize = TIMERS + 1;

/// How far the loop is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// No more is accepted; what runs is finished.
    Draining,
    /// At once.
    Stopping,
}

/// See the module.
#[allow(clippy::vec_box)] // the boxes move between threads and lists as they are
pub(crate) struct EventLoop {
    _guard: Guard,
    poller: Poller,
    doors: Vec<Door>,
    watches: Vec<Box<dyn Watch>>,
    connections: Slab<Connection>,
    /// Distinguishes the connections that had the same slot.
    generation: u32,
    ready: VecDeque<usize>,
    timers: Timers,
    scratch: Vec<u8>,
    now: Instant,
    arrived: Vec<Box<Inner>>,
    handed: Handed,
    /// What of it has ended, and whether the socket has not taken all of the answer. Empty between two calls.
    concluded: Vec<(Done, bool)>,
    doomed: Vec<usize>,
    spare: Vec<Box<Inner>>,
    next_id: u64,
    /// Requests that arrived and are not answered, where their number is limited.
    places: Arc<AtomicUsize>,
    stage: Stage,
    /// For whoever answers: what runs now is the last of its connection.
    draining: Arc<AtomicBool>,
    /// When to accept again after declining or running out of descriptors.
    accept_again: Option<Instant>,
    /// Requests wait since the service cannot be entered: others may be better off elsewhere.
    held_up: bool,
    /// The last attempt to accept found no descriptor or no memory.
    exhausted: bool,
    budget: Arc<Budget>,
    spool: Option<Spool>,
    /// The crew that runs it; known from the first turn on.
    crew: Weak<Crew>,
    routes: Arc<Routes>,
    /// Stands where the reader wants a head and none can come: in a body whose head is with its service.
    no_head: RequestHead,
    /// Connections of raw services, and datagrams, that wait or are with their service.
    sessions: Arc<AtomicUsize>,
    datagrams: Arc<AtomicUsize>,
    batch: Option<Batch>,
    pub(crate) settings: Arc<Settings>,
    /// What has come and gone since the observer was told.
    traffic: Traffic,
    observer: Arc<dyn Observer>,
    log: Arc<dyn Log>,
}

impl EventLoop {
    pub(crate) fn new(
        doors: Vec<Door>,
        watches: Vec<Box<dyn Watch>>,
        routes: Arc<Routes>,
        settings: Arc<Settings>,
        observer: Arc<dyn Observer>,
        log: Arc<dyn Log>,
    ) -> io::Result<(Self, Waker)> {
        let poller = Poller::new(EVENTS)?;
        for (index, door) in doors.iter().enumerate() {
            if let Some(fd) = door.fd() {
                poller.add_readable(&fd, DOORS | index)?;
            }
        }
        for (index, watch) in watches.iter().enumerate() {
            poller.add_readable(&watch.as_fd().as_raw_fd(), WATCHES | index)?;
        }
        let waker = poller.waker(WAKER)?;
        let event_loop = Self {
            _guard: Guard::new(&poller),
            poller,
            doors,
            watches,
            connections: Slab::new(),
            generation: 0,
            ready: VecDeque::new(),
            timers: Timers::new(TIMERS + 2),
            scratch: vec![0; SCRATCH],
            now: Instant::now(),
            arrived: Vec::new(),
            handed: Handed::default(),
            concluded: Vec::new(),
            doomed: Vec::new(),
            spare: Vec::new(),
            next_id: stdserve_sys::clock::random_seed(),
            places: Arc::default(),
            stage: Stage::Serving,
            draining: Arc::default(),
            accept_again: None,
            held_up: false,
            exhausted: false,
            budget: Arc::new(Budget::new(settings.buffer_total)),
            spool: None,
            crew: Weak::new(),
            routes,
            no_head: RequestHead::default(),
            sessions: Arc::default(),
            datagrams: Arc::default(),
            batch: None,
            settings,
            traffic: Traffic::default(),
            observer,
            log,
        };
        Ok((event_loop, waker))
    }

    /// The time at which the last turn began its work.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Says whether requests wait since the service cannot be entered.
    pub(crate) fn set_held_up(&mut self, held_up: bool) {
        self.held_up = held_up;
    }

    /// The requests that have become complete.
    pub(crate) fn arrived(&mut self) -> std::vec::Drain<'_, Box<Inner>> {
        self.arrived.drain(..)
    }

    /// What the crew hands over, to be filled before [`settle`](Self::settle).
    pub(crate) fn handed(&mut self) -> &mut Handed {
        &mut self.handed
    }

    /// Whether there is work that no edge will announce.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty() || self.has_callers()
    }

    /// Whether the loop has come to its end. `idle`: nothing runs or waits in the crew.
    pub(crate) fn is_finished(&self, idle: bool) -> bool {
        match self.stage {
            Stage::Serving => false,
            Stage::Draining => {
                idle && self.is_closed() && self.connections.is_empty() && self.handed.is_empty()
            }
            Stage::Stopping => true,
        }
    }

    /// One pass: waits at most `patience` (`None`: as long as nothing is due), then does what is ready.
    pub(crate) fn turn(&mut self, patience: Option<Duration>, crew: &Arc<Crew>) {
        if self.spool.is_none() {
            self.crew = Arc::downgrade(crew);
            self.spool = Some(Spool::new(self.settings.temporary.clone(), Weak::clone(&self.crew)));
        }
        self.traffic.sent = self.budget.take_gone();
        self.observer.turned(&std::mem::take(&mut self.traffic));
        let wait = self.until_turn().min(patience.unwrap_or(HEARTBEAT));
        if let Err(error) = self.poller.wait(Some(wait)) {
            self.log.error(&format!("cannot wait for connections: {error}"));
        }
        self.now = Instant::now();
        // At most as many events as there were before: those of connections that end meanwhile are stale.
        let ready: Vec<Readiness> = self.poller.ready().collect();
        for event in ready {
            self.notice(event);
        }
        self.accept();
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else { break };
            if let Some(slot) = self.slot(token) {
                self.connections[slot].queued = false;
                self.serve(slot);
            }
        }
        while let Some((kind, key)) = self.timers.pop(self.now) {
            self.ring(kind, key);
        }
        self.bury();
    }

    /// How long may be waited for an edge before the next turn.
    pub(crate) fn until_turn(&self) -> Duration {
        if self.has_ready() {
            return Duration::ZERO;
        }
        let mut wait = HEARTBEAT;
        let now = Instant::now();
        if let Some(timer) = self.timers.until_next(now) {
            wait = wait.min(timer);
        }
        if let Some(at) = self.accept_again {
            wait = wait.min(at.saturating_duration_since(now));
        }
        wait
    }

    /// Remembers what the kernel says of a descriptor.
    fn notice(&mut self, event: Readiness) {
        if event.token & SPECIAL != 0 {
            let index = event.token & 0xffff_ffff;
            match event.token & !0xffff_ffff {
                DOORS => self.doors[index].calls(),
                WATCHES => self.ask_watch(index),
                _ => {}
            }
            return;
        }
        let Some(slot) = self.slot(event.token) else { return };
        let connection = &mut self.connections[slot];
        connection.readable |= event.readable || event.read_closed;
        connection.read_closed |= event.read_closed;
        let gone = event.gone
            || (event.read_closed && connection.phase == Phase::Running && self.settings.half_close_is_gone);
        match connection.phase {
            _ if !gone => self.make_ready(slot),
            // Its thread sees that nobody waits for the answer; the loop hears when it ends.
            Phase::Running => {
                connection.inlet = None;
                connection.link.give_up();
            }
            _ => self.doom(slot),
        }
    }

    fn ask_watch(&mut self, index: usize) {
        while let Some(order) = self.watches[index].ready() {
            self.obey(order);
        }
    }

    /// The slot of a token, unless its connection has ended.
    fn slot(&self, token: usize) -> Option<usize> {
        let slot = token & 0xffff_ffff;
        (self.connections.get(slot)?.token == token).then_some(slot)
    }

    fn make_ready(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if !connection.queued {
            connection.queued = true;
            self.ready.push_back(connection.token);
        }
    }

    /// Does what a connection is ready for.
    fn serve(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        match connection.phase {
            Phase::Reading => self.read(slot),
            Phase::Spooling => {}
            Phase::Running if connection.inlet.is_some() => {
                self.read(slot);
                self.flush(slot);
            }
            Phase::Running => {
                if connection.readable || connection.read_closed {
                    connection.link.loop_wants_to_know();
                }
                self.flush(slot);
            }
            Phase::Flushing(_) => self.flush(slot),
            Phase::Lingering { .. } => self.linger(slot),
        }
    }

    fn set_timer(&mut self, slot: usize, timer: Timer, after: Duration) {
        let deadline = self.now + after;
        let connection = &mut self.connections[slot];
        if connection.set_timer(timer, deadline) {
            self.timers.arm(timer as usize, deadline, connection.token);
        }
    }

    /// A timer has rung: of a connection, if it is still under that time-out and the deadline has not moved.
    fn ring(&mut self, kind: usize, key: usize) {
        match kind {
            DRAIN_IDLE => return self.close_idle(),
            DRAIN_END => {
                self.log.error("the time to finish is over: what still runs is cut");
                self.stage = Stage::Stopping;
                return;
            }
            _ => {}
        }
        let Some(slot) = self.slot(key) else { return };
        let connection = &mut self.connections[slot];
        connection.rang(kind);
        if connection.timer as usize != kind {
            return;
        }
        if connection.deadline > self.now {
            let (timer, deadline) = (connection.timer, connection.deadline);
            connection.set_timer(timer, deadline);
            self.timers.arm(kind, deadline, key);
            return;
        }
        self.time_out(slot);
    }

    /// Does what is asked of the server.
    fn obey(&mut self, order: Order) {
        match order {
            Order::Drain { within } => {
                if self.stage != Stage::Serving {
                    return;
                }
                self.stage = Stage::Draining;
                self.draining.store(true, Ordering::Relaxed);
                self.observer.draining();
                self.routes.draining();
                self.accept_the_last();
                self.timers.arm(DRAIN_IDLE, self.now + self.settings.timeouts.drain_idle, 0);
                self.timers.arm(DRAIN_END, self.now + within, 0);
            }
            Order::Stop => self.stage = Stage::Stopping,
        }
    }
}

impl AsRawFd for EventLoop {
    /// Its poller's descriptor, which another loop may watch.
    fn as_raw_fd(&self) -> RawFd {
        self.poller.as_raw_fd()
    }
}

impl std::fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLoop").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crew::{End, StdThreads, Watchers};
    use crate::link::{Link, Tail};
    use crate::observe::{NoObserver, SilentLog};
    use crate::service::NotFound;
    use crate::transport::Transport;
    use std::os::unix::net::UnixStream;

    /// A thread that came late sent the first stretch of a file, and the loop slept on until its next heartbeat.
    #[test]
    fn the_loop_is_woken_for_the_rest_of_a_file() {
        let (routes, settings) = (Arc::new(Routes::new(Arc::new(NotFound))), Arc::new(Settings::default()));
        let (log, observer) = (Arc::new(SilentLog), Arc::new(NoObserver));
        let (event_loop, waker) = EventLoop::new(
            Vec::new(),
            Vec::new(),
            Arc::clone(&routes),
            Arc::clone(&settings),
            Arc::clone(&observer) as Arc<dyn Observer>,
            Arc::clone(&log) as Arc<dyn Log>,
        )
        .unwrap();
        let watchers = Watchers { observer, coroner: None };
        let crew =
            Crew::new(Box::new(event_loop), waker, settings, routes, Arc::new(StdThreads), (watchers, log));
        let mut event_loop = crew.take_for_test();
        let woken = |event_loop: &mut EventLoop| {
            event_loop.poller.wait(Some(Duration::ZERO)).unwrap();
            event_loop.poller.ready().any(|event| event.token == WAKER)
        };
        assert!(!woken(&mut event_loop));

        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let link = Link::new(
            Transport::Unix(ours),
            Arc::clone(&event_loop.budget),
            Arc::new(SilentLog),
            Instant::now(),
        );
        let file = stdserve_sys::tempfile::unlinked(&std::env::temp_dir()).unwrap();
        file.set_len(8 << 20).unwrap();
        let mut inner = Box::new(Inner::new(Instant::now()));
        inner.out = b"the head".to_vec();
        inner.link = Some(Arc::new(link));
        inner.tail = Some(Tail { file: Arc::new(file), offset: 0, left: 8 << 20 });
        crew.finish(Done { inner, end: End::Keep });
        assert!(woken(&mut event_loop));
    }
}
