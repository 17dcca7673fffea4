//! A cohort, as the service sees it: requests to be run back to back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::baton::Member;
use super::predict::{QUICK, was_blocked};
use super::{Clock, Core, Crew, Done, End, STEADY};
use crate::datagram::Datagram;
use crate::exchange::{Exchange, Inner, Raw};
use crate::session::Session;

/// What a service may be given.
#[derive(Debug)]
pub enum Arrival {
    /// A request.
    Exchange(Exchange),
    /// A connection.
    Session(Session),
    /// A datagram.
    Datagram(Datagram),
}

/// The right to start requests, for one cohort.
pub struct Run<'a> {
    crew: &'a Arc<Crew>,
    me: Member,
    clock: Clock,
    /// When the first request was started.
    began: Option<Instant>,
    count: usize,
    /// Whose requests are run now; several services share the queue, and each takes those at its front.
    service: u16,
    /// `count` when the last service was given its turn.
    seen: usize,
    /// The cohort has had its share of time, or the right to start more is with another thread.
    over: bool,
    current: Option<Current>,
    /// The thread's clock at the last reading, and when that was.
    computed: Duration,
    read_at: Instant,
}

/// The request that runs.
struct Current {
    since: Instant,
    route: u8,
    /// It was expected to block.
    expected: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(crew: &'a Arc<Crew>, me: Member, clock: Clock, computed: Duration) -> Self {
        Self {
            crew,
            me,
            clock,
            began: None,
            count: 0,
            service: 0,
            seen: 0,
            over: false,
            current: None,
            computed,
            read_at: Instant::now(),
        }
    }

    /// The next request to run. `None`: the cohort is at its end; let go of what was taken for it and return.
    #[allow(clippy::should_implement_trait)] // no iterator: what comes depends on what was done with the last one
    pub fn next(&mut self) -> Option<Exchange> {
        self.take().map(|inner| Exchange::new(inner, Arc::clone(self.crew)))
    }

    /// The next connection of a [stream listener](crate::Builder::streams). `None`: as with [`next`](Self::next).
    pub fn next_session(&mut self) -> Option<Session> {
        loop {
            if let Arrival::Session(session) = self.next_arrival()? {
                return Some(session);
            }
        }
    }

    /// The next [datagram](crate::Builder::datagrams). `None`: as with [`next`](Self::next).
    pub fn next_datagram(&mut self) -> Option<Datagram> {
        loop {
            if let Arrival::Datagram(datagram) = self.next_arrival()? {
                return Some(datagram);
            }
        }
    }

    /// What is next, for a service that takes things of several kinds. `None`: as with [`next`](Self::next).
    pub fn next_arrival(&mut self) -> Option<Arrival> {
        let mut inner = self.take()?;
        let crew = Arc::clone(self.crew);
        Some(match inner.raw.take() {
            None => Arrival::Exchange(Exchange::new(inner, crew)),
            Some(Raw::Session(socket, ahead)) => Arrival::Session(Session::new(socket, ahead, inner, crew)),
            Some(Raw::Datagram(received)) => Arrival::Datagram(Datagram::new(received, inner, crew)),
        })
    }

    /// The service that the front of the queue is for, if the cohort goes on with it.
    pub(super) fn turn_to_next(&mut self) -> Option<u16> {
        let core = self.crew.lock();
        let newest_first = self.crew.settings().queue.newest_first;
        let next = core.next_pending(newest_first, Instant::now())?.mount.service;
        // Each service is given one chance in a row: one that takes nothing has had its.
        if self.count == self.seen && self.began.is_some() || self.over {
            return None;
        }
        self.seen = self.count;
        self.service = next;
        Some(next)
    }

    fn take(&mut self) -> Option<Box<Inner>> {
        let now = Instant::now();
        let learned = self.current.take().map(|current| {
            self.crew.watchers.observer.left(now.saturating_duration_since(current.since));
            self.judge(&current, now)
        });
        let limits = &self.crew.settings().cohort;
        let newest_first = self.crew.settings().queue.newest_first;
        let mut gone = Vec::new();
        let mut core = self.crew.lock();
        if let Some((route, blocked, expected)) = learned {
            core.watch.end(self.me);
            // A quick request on a route that is not expected to block teaches nothing new.
            if blocked || expected {
                core.predictor.learn(route, blocked);
            }
        }
        let began = *self.began.get_or_insert_with(|| {
            self.read_at = now;
            now
        });
        let budget = if core.handover.baton.inside() > 1 { limits.shared } else { limits.alone };
        let spent = self.count >= limits.requests
            || (self.count > 0 && now.saturating_duration_since(began) >= budget);
        let next = core.next_pending(newest_first, now);
        if next.is_some_and(|next| next.mount.service != self.service) {
            return None;
        }
        if spent || !core.handover.baton.start(self.me) {
            self.over = true;
            return None;
        }
        let inner = loop {
            let Some(inner) = core.pop_pending(newest_first, now) else {
                self.hand_over_gone(&mut core, &mut gone);
                return None;
            };
            if inner.raw.is_none() && inner.link.as_ref().is_none_or(|link| link.is_gone()) {
                gone.push(Done { inner, end: End::Abort });
            } else {
                break inner;
            }
        };
        if !core.turned {
            let timing = self.crew.routes.service(self.service).timing();
            core.watch.begin(self.me, Arc::clone(&inner.request), timing, now);
        }
        core.held_up = false;
        core.since = now;
        core.runner_base = (self.computed, self.read_at);
        core.runner_route = inner.route;
        let expected = core.predictor.expects_block(inner.route);
        let mut watcher = None;
        if expected {
            core.handover.baton.let_run_go(self.me);
            let steady = core.last_return.is_some_and(|at| now.saturating_duration_since(at) < STEADY)
                && core.pending.is_empty();
            if !steady {
                watcher = core.handover.hand_over();
            }
        }
        self.hand_over_gone(&mut core, &mut gone);
        drop(core);
        if let Some(watcher) = watcher {
            watcher.unpark();
        }
        self.count += 1;
        self.current = Some(Current { since: now, route: inner.route, expected });
        self.crew.watchers.observer.took(now.saturating_duration_since(inner.request.queued));
        Some(inner)
    }

    /// Requests whose client has gone: the loop takes them away. Where another thread leads, it is told.
    fn hand_over_gone(&self, core: &mut Core, gone: &mut Vec<Done>) {
        if !gone.is_empty() {
            core.handed.ended.append(gone);
            if !core.handover.baton.lies_free() {
                self.crew.wake_loop();
            }
        }
    }

    /// Whether the request that has just ended was blocked.
    fn judge(&mut self, current: &Current, now: Instant) -> (u8, bool, bool) {
        let wall = now.saturating_duration_since(current.since);
        if wall <= QUICK {
            return (current.route, false, current.expected);
        }
        // What was computed since the last reading is at most what this request and quick ones before it took.
        let read = self.clock.read();
        let computed = read.saturating_sub(self.computed);
        let before = current.since.saturating_duration_since(self.read_at);
        (self.computed, self.read_at) = (read, now);
        let in_request = computed.saturating_sub(before);
        (current.route, was_blocked(wall, in_request), current.expected)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if let Some(current) = &self.current {
            self.crew.watchers.observer.left(current.since.elapsed());
        }
    }
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("me", &self.me).field("count", &self.count).finish_non_exhaustive()
    }
}
