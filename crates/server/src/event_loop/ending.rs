//! Ending things: exchanges that are answered, requests that are refused, connections that are over.

use std::borrow::Cow;
use std::iter;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use stdserve_proto::h1::{Refusal, ResponseContext, Version, encode_error};

use super::{EventLoop, NO_CONNECTION, Stage};
use crate::connection::{Connection, Phase, Timer};
use crate::crew::{Done, End};
use crate::datagram::send_answers;
use crate::exchange::{Inner, with_date};
use crate::incoming::Ending;
use crate::link::Flushed;
use crate::observe::Record;
use crate::request_id::insert_field;

/// Reads of one lingering connection in a turn.
const LINGER_READS: usize = 16;
/// A drain looks for idle connections no more often than this.
const AGAIN: Duration = Duration::from_millis(10);

/// What a client is told that is not served.
pub(super) struct Refused {
    status: u16,
    why: Cow<'static, str>,
    /// In how many seconds the client may try again.
    retry_after: Option<u32>,
}

/// When a client may try again that met an overload, in seconds: most are over by then.
const RETRY_AFTER: u32 = 1;

impl Refused {
    pub(super) fn of(refusal: Refusal) -> Self {
        Self { status: refusal.status(), why: Cow::Borrowed(refusal.reason()), retry_after: None }
    }

    pub(super) fn body_too_large(limit: u64) -> Self {
        let why = Cow::Owned(format!("the body is larger than {limit} bytes"));
        Self { status: 413, why, retry_after: None }
    }

    /// A tunnel is not an origin server's to give (RFC 9110 §9.3.6).
    pub(super) fn no_proxy() -> Self {
        Self { status: 501, why: Cow::Borrowed("CONNECT is for proxies"), retry_after: None }
    }

    pub(super) fn no_room() -> Self {
        Self::too_busy("there is no room for the body now")
    }

    pub(super) fn too_busy(why: &'static str) -> Self {
        Self { status: 503, why: Cow::Borrowed(why), retry_after: Some(RETRY_AFTER) }
    }

    fn too_slow(why: &'static str) -> Self {
        Self { status: 408, why: Cow::Borrowed(why), retry_after: None }
    }
}

impl EventLoop {
    pub(crate) fn is_draining(&self) -> bool {
        self.stage != Stage::Serving
    }

    /// Takes over what the crew handed in: writes what is published, goes on with what has ended.
    pub(crate) fn settle(&mut self) {
        if self.handed.is_empty() {
            return;
        }
        let mut handed = std::mem::take(&mut self.handed);
        let mut concluded = std::mem::take(&mut self.concluded);
        for token in handed.held.drain(..) {
            if let Some(slot) = self.slot(token) {
                self.flush(slot);
            }
        }
        send_answers(&handed.answers, &*self.log);
        handed.answers.clear();
        for mut done in handed.published.drain(..) {
            done.inner.place = None;
            let Some(sent) = done.inner.send_answer(done.end, Some(self.now)) else { continue };
            let queued = if let Ok(sent) = sent {
                !sent.all
            } else {
                done.end = End::Abort;
                false
            };
            concluded.push((done, queued));
        }
        for done in handed.ended.drain(..) {
            let queued = done.inner.link.as_ref().is_some_and(|link| link.stalled_since().is_some());
            concluded.push((done, queued));
        }
        self.conclude(&mut concluded);
        self.concluded = concluded;
        for spooled in handed.spooled.drain(..) {
            self.spooled(spooled);
        }
        for token in handed.resumed.drain(..) {
            if let Some(slot) = self.slot(token) {
                let connection = &mut self.connections[slot];
                // Even where nothing is left over: the body may be at its end.
                connection.unseen = connection.inlet.is_some() || !connection.leftover.is_empty();
                self.make_ready(slot);
            }
        }
        for order in handed.orders.drain(..) {
            self.obey(order);
        }
        // The lists keep their room for the next time.
        self.handed = handed;
        self.bury();
    }

    /// Exchanges have ended; with each: whether the socket has not taken all of its answer. All are told of in one go,
    /// after what was sent: as with the application, what is done for one finds the caches warm from the last.
    fn conclude(&mut self, concluded: &mut Vec<(Done, bool)>) {
        let of_requests = concluded.iter().map(|(done, _)| done).filter(|done| {
            // One whose time was over was told of when its client was answered.
            let link = done.inner.link.as_ref();
            done.inner.request.token != NO_CONNECTION && !link.is_some_and(|link| link.is_timed_out())
        });
        let mut records = of_requests.map(|done| self.record(&done.inner, done.end == End::Abort)).peekable();
        if records.peek().is_some() {
            self.observer.ended(&mut records);
        }
        for (done, queued) in concluded.drain(..) {
            self.go_on_after(done, queued);
        }
    }

    fn go_on_after(&mut self, done: Done, queued: bool) {
        let Done { inner, end } = done;
        if inner.request.token == NO_CONNECTION {
            self.observer.connections(self.open());
            return self.recycle(Some(inner));
        }
        let slot = self.slot(inner.request.token).filter(|slot| {
            let connection = &self.connections[*slot];
            connection.number == inner.request.number && connection.phase == Phase::Running
        });
        self.budget.give_back(inner.reserved);
        self.recycle(Some(inner));
        let Some(slot) = slot else { return };
        if end == End::Abort {
            self.doom(slot);
        } else if queued {
            self.connections[slot].phase = Phase::Flushing(end);
            // The socket may have got room since it refused, and the edge may have been seen already.
            self.make_ready(slot);
        } else {
            self.answered(slot, end);
        }
    }

    fn record<'a>(&'a self, inner: &'a Inner, aborted: bool) -> Record<'a> {
        Record {
            request: &inner.request,
            status: inner.status,
            answer: &inner.answer,
            sent: inner.sent,
            aborted,
            request_ids: &self.settings.request_ids,
        }
    }

    /// Tells the observer of one exchange.
    fn report(&self, inner: &Inner, aborted: bool) {
        self.observer.ended(&mut iter::once(self.record(inner, aborted)));
    }

    /// Keeps a box for a later exchange.
    pub(super) fn recycle(&mut self, inner: Option<Box<Inner>>) {
        if let Some(mut inner) = inner {
            inner.clear();
            if self.spare.len() < super::SPARE {
                self.spare.push(inner);
            }
        }
    }

    /// The answer has gone out whole: on to the next request, or the end.
    fn answered(&mut self, slot: usize, end: End) {
        let connection = &mut self.connections[slot];
        if end == End::Close {
            // Closing with bytes unread would send a reset, which can take the answer with it.
            if connection.readable || !connection.leftover.is_empty() || connection.inlet.is_some() {
                connection.link.transport.shutdown(Shutdown::Write);
                self.begin_linger(slot, true);
            } else {
                self.doom(slot);
            }
            return;
        }
        connection.phase = Phase::Reading;
        connection.reader.next_request();
        connection.unseen = !connection.leftover.is_empty();
        if connection.unseen || connection.readable {
            self.make_ready(slot);
        }
        self.set_timer(slot, Timer::KeepAlive, self.settings.timeouts.keep_alive);
    }

    /// Goes on with what is queued for a connection.
    pub(super) fn flush(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        match connection.link.flush(self.now) {
            Ok(Flushed::Empty { .. }) => match connection.phase {
                Phase::Flushing(end) => self.answered(slot, end),
                Phase::Lingering { shut: false } => {
                    connection.link.transport.shutdown(Shutdown::Write);
                    connection.phase = Phase::Lingering { shut: true };
                }
                _ => {}
            },
            Ok(Flushed::More) => self.make_ready(slot),
            Ok(Flushed::Full) => {}
            Err(_) => self.doom(slot),
        }
    }

    /// Answers a request that will not be served, and closes. What is left of it is read and thrown away for a while,
    /// so that the answer is not lost to a reset; it never becomes a request.
    pub(super) fn refuse(&mut self, slot: usize, refused: &Refused) {
        let connection = &mut self.connections[slot];
        let mut inner = connection.inner.take().unwrap_or_else(|| Box::new(Inner::new(self.now)));
        inner.status = refused.status;
        let request = inner.request_mut();
        request.peer = connection.peer;
        if request.id == 0 {
            // It never was complete.
            self.next_id = self.next_id.wrapping_add(1);
            request.id = self.next_id;
            request.queued = self.now;
        }
        inner.out.clear();
        let server = self.settings.server_name.as_deref().map(str::as_bytes);
        let head_only = inner.request.head.method() == b"HEAD";
        let context = ResponseContext { version: Version::Http11, head_only, keep_alive: false };
        with_date(|date| {
            let text = (&*refused.why, refused.retry_after);
            encode_error(&mut inner.out, context, refused.status, text, date, server);
        });
        if let Some(name) = &self.settings.request_id_field {
            let id = self.settings.request_ids.of(&inner.request);
            insert_field(&mut inner.out, name, id.as_str());
        }
        let sent = connection.link.send_whole(&mut inner.out, false, Some(self.now));
        self.log.debug(&format!("refused with {}: {}", refused.status, refused.why));
        self.report(&inner, false);
        self.recycle(Some(inner));
        match sent {
            Ok(sent) => {
                if sent.all {
                    self.connections[slot].link.transport.shutdown(Shutdown::Write);
                }
                self.begin_linger(slot, sent.all);
            }
            Err(_) => self.doom(slot),
        }
    }

    pub(super) fn begin_linger(&mut self, slot: usize, shut: bool) {
        let connection = &mut self.connections[slot];
        connection.phase = Phase::Lingering { shut };
        connection.inlet = None;
        connection.leftover = Vec::new();
        self.budget.give_back(std::mem::take(&mut connection.held));
        self.set_timer(slot, Timer::Linger, self.settings.timeouts.linger);
        self.make_ready(slot);
    }

    /// Reads and throws away, until the client ends or the time is over.
    pub(super) fn linger(&mut self, slot: usize) {
        self.flush(slot);
        let mut scratch = std::mem::take(&mut self.scratch);
        for turn in 0..=LINGER_READS {
            let connection = &mut self.connections[slot];
            if !connection.readable {
                break;
            }
            if turn == LINGER_READS {
                self.make_ready(slot);
                break;
            }
            match connection.link.transport.read(&mut scratch) {
                Ok(count) if count > 0 => {
                    self.traffic.received += count as u64;
                    connection.readable = count == scratch.len() || connection.read_closed;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => connection.readable = false,
                Ok(_) | Err(_) => {
                    connection.readable = false;
                    self.doom(slot);
                }
            }
        }
        self.scratch = scratch;
    }

    /// The time-out of a connection has passed.
    pub(super) fn time_out(&mut self, slot: usize) {
        let settings = Arc::clone(&self.settings);
        let connection = &mut self.connections[slot];
        match connection.timer {
            // It ended earlier in this turn, and nobody is there to be told that it was slow.
            Timer::Head | Timer::KeepAlive | Timer::Body
                if !matches!(connection.phase, Phase::Reading | Phase::Spooling)
                    && connection.inlet.is_none() => {}
            Timer::Head => {
                if connection.is_idle() && connection.number == 0 {
                    self.doom(slot);
                } else {
                    self.refuse(slot, &Refused::too_slow("the request head did not come in time"));
                }
            }
            Timer::KeepAlive => {
                if connection.is_idle() {
                    self.doom(slot);
                }
            }
            Timer::Body if connection.inlet.is_some() => self.judge_inlet(slot),
            Timer::Body => {
                let Some(upload) = &mut connection.upload else { return };
                let enough = upload.total - upload.judged >= settings.timeouts.least_of_body()
                    || connection.phase == Phase::Spooling;
                upload.judged = upload.total;
                if enough {
                    self.set_timer(slot, Timer::Body, settings.timeouts.body_period);
                } else {
                    self.refuse(slot, &Refused::too_slow("the request body came too slowly"));
                }
            }
            Timer::Write => {
                if !matches!(connection.phase, Phase::Running | Phase::Flushing(_)) {
                    return;
                }
                let patience = settings.timeouts.write;
                // The kernel reports room only when a third of its buffer is free: a client that reads slowly may have
                // made some and brought no edge.
                self.flush(slot);
                let connection = &mut self.connections[slot];
                if !matches!(connection.phase, Phase::Running | Phase::Flushing(_)) {
                    return;
                }
                match connection.link.stalled_since() {
                    Some(since) if self.now.saturating_duration_since(since) >= patience => {
                        self.log.debug("a client took nothing of its answer for too long: cut");
                        // Without a thread that holds on to it the close comes at once: as a reset, since what was
                        // sent so far may look like a whole answer.
                        if matches!(connection.phase, Phase::Flushing(_)) {
                            connection.link.will_reset();
                        }
                        connection.link.give_up();
                        self.doom(slot);
                    }
                    _ => self.set_timer(slot, Timer::Write, patience),
                }
            }
            Timer::Linger => self.doom(slot),
        }
    }

    /// Whether a body that a service reads comes fast enough; time that the service takes counts for nothing.
    fn judge_inlet(&mut self, slot: usize) {
        let settings = Arc::clone(&self.settings);
        let connection = &mut self.connections[slot];
        let Some(inlet) = &connection.inlet else { return };
        let total = inlet.0.total();
        if total - connection.judged >= settings.timeouts.least_of_body() || inlet.0.is_waiting_for_service()
        {
            connection.judged = total;
            self.set_timer(slot, Timer::Body, settings.timeouts.body_period);
        } else {
            inlet.0.end(Ending::TooSlow);
            connection.inlet = None;
            self.set_timer(slot, Timer::Write, settings.timeouts.write);
        }
    }

    /// Draining: closes what has been idle for the time of grace, and looks again after half of it.
    pub(super) fn close_idle(&mut self) {
        let (now, grace) = (self.now, self.settings.timeouts.drain_idle);
        let keep_alive = self.settings.timeouts.keep_alive;
        let over = |connection: &Connection| match connection.timer {
            Timer::KeepAlive => connection.deadline <= now + keep_alive.saturating_sub(grace),
            // Nothing has come since it was accepted.
            _ => true,
        };
        let idle: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.is_idle() && over(connection))
            .map(|(slot, _)| slot)
            .collect();
        self.timers.arm(super::DRAIN_IDLE, now + (grace / 2).max(AGAIN), 0);
        for slot in idle {
            self.doom(slot);
        }
    }

    /// A connection is over. It is taken away at the end of the turn: until then its slot stays its own.
    pub(super) fn doom(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if connection.phase == Phase::Running || connection.link.is_timed_out() {
            // A crew thread may still write: it sees that this reaches nobody. The last owner closes.
            connection.link.give_up();
        }
        connection.phase = Phase::Lingering { shut: true };
        connection.inlet = None;
        connection.readable = false;
        self.doomed.push(connection.token);
    }

    /// The loop ends: whatever is still connected is cut, also where a crew thread holds on to it.
    pub(crate) fn cut_all(&mut self) {
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.doom(slot);
        }
        self.bury();
    }

    /// Takes away what is over.
    pub(super) fn bury(&mut self) {
        while let Some(token) = self.doomed.pop() {
            let Some(slot) = self.slot(token) else { continue };
            let mut connection = self.connections.remove(slot);
            self.budget.give_back(connection.held);
            if let Some(upload) = &mut connection.upload {
                self.budget.give_back(std::mem::take(&mut upload.reserved));
            }
            let mut inner = connection.inner.take();
            if connection.upload.is_some()
                && let Some(inner) = &mut inner
            {
                // Its head had come, and not all of its body.
                self.next_id = self.next_id.wrapping_add(1);
                let request = inner.request_mut();
                request.id = self.next_id;
                request.peer = connection.peer;
                request.queued = self.now;
                self.report(inner, true);
            }
            self.recycle(inner);
            self.connection_ended();
        }
    }
}
