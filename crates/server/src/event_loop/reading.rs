//! Reading requests: from the socket's bytes to an exchange that is complete.

use std::io;
use std::sync::Arc;

use stdserve_proto::forwarded;
use stdserve_proto::h1::{BodyLength, Event};

use super::EventLoop;
use super::ending::Refused;
use crate::body::Body;
use crate::connection::{Phase, Timer, Upload};
use crate::crew::predict;
use crate::exchange::{Inner, Peer, Place, Raw};
use crate::incoming::{Ending, Incoming, Inlet, Passage};
use crate::service::Bodies;
use crate::spool::{Job, Spooled};

/// Reads of one connection in a turn, so that one that sends fast does not hold up the others.
const READS: usize = 4;
/// What is reserved for a body before more of it has come: a length that is only promised costs nothing.
const FIRST_RESERVE: u64 = 64 << 10;

impl EventLoop {
    /// Reads and understands until a request is complete, or nothing more is there.
    pub(super) fn read(&mut self, slot: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut reads = READS;
        while self.connections[slot].takes_input() {
            let connection = &mut self.connections[slot];
            if connection.unseen {
                connection.unseen = false;
                let leftover = std::mem::take(&mut connection.leftover);
                self.feed_and_keep(slot, leftover);
                continue;
            }
            if !connection.readable {
                break;
            }
            if reads == 0 {
                self.make_ready(slot);
                break;
            }
            reads -= 1;
            match connection.link.transport.read(&mut scratch) {
                Ok(0) => {
                    self.end_of_stream(slot);
                    break;
                }
                Ok(count) => {
                    self.traffic.received += count as u64;
                    // A short read means that there is no more (epoll(7)); an end of stream is still to be read.
                    connection.readable = count == scratch.len() || connection.read_closed;
                    if connection.leftover.is_empty() {
                        let used = self.feed(slot, &scratch[..count]);
                        if used < count {
                            self.keep(slot, scratch[used..count].to_vec());
                        }
                    } else {
                        let mut data = std::mem::take(&mut connection.leftover);
                        data.extend_from_slice(&scratch[..count]);
                        self.feed_and_keep(slot, data);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.readable = false,
                Err(_) => self.doom(slot),
            }
        }
        self.scratch = scratch;
        self.ask_for_the_end(slot);
    }

    /// What stands behind a request that runs brings no edge: its end has to be told, or the rest waits for the next
    /// turn that something else brings.
    fn ask_for_the_end(&self, slot: usize) {
        let connection = &self.connections[slot];
        if connection.phase == Phase::Running && (connection.readable || !connection.leftover.is_empty()) {
            connection.link.loop_wants_to_know();
        }
    }

    fn feed_and_keep(&mut self, slot: usize, mut data: Vec<u8>) {
        let used = self.feed(slot, &data);
        if used < data.len() {
            data.drain(..used);
        } else {
            data = Vec::new();
        }
        self.keep(slot, data);
    }

    /// Keeps what was not understood yet. Heads in pieces count for the common budget as bodies do: many connections
    /// that each send most of one cost no more than that.
    fn keep(&mut self, slot: usize, data: Vec<u8>) {
        let connection = &mut self.connections[slot];
        let (before, now) = (connection.held, data.len());
        if now <= before {
            self.budget.give_back(before - now);
        } else if !self.budget.take(now - before) {
            if connection.phase == Phase::Reading && connection.upload.is_none() {
                return self.refuse(slot, &Refused::too_busy("there is no room for the request now"));
            }
            self.budget.take_anyway(now - before);
        }
        let connection = &mut self.connections[slot];
        connection.held = now;
        connection.leftover = data;
    }

    /// Hands bytes to the protocol, to the end of one request at most. Returns how many were understood.
    fn feed(&mut self, slot: usize, data: &[u8]) -> usize {
        let mut at = 0;
        let connection = &self.connections[slot];
        if connection.inner.is_none() && connection.inlet.is_none() {
            let inner = self.spare.pop().unwrap_or_else(|| Box::new(Inner::new(self.now)));
            self.connections[slot].inner = Some(inner);
        }
        let mut all_seen = false;
        while self.connections[slot].takes_input() {
            let connection = &mut self.connections[slot];
            let head = match &mut connection.inner {
                Some(inner) => &mut inner.request_mut().head,
                // Of a body that the service reads while it runs, the head is with the service.
                None => &mut self.no_head,
            };
            match connection.reader.read(&data[at..], &self.settings.head, head) {
                Ok((used, Event::Incomplete)) => {
                    at += used;
                    if connection.phase == Phase::Reading
                        && connection.upload.is_none()
                        && connection.timer != Timer::Head
                    {
                        self.set_timer(slot, Timer::Head, self.settings.timeouts.head);
                    }
                    if at == data.len() && self.connections[slot].reader.is_idle() {
                        // Only empty lines so far: nothing of a request.
                        let inner = self.connections[slot].inner.take();
                        self.recycle(inner);
                    }
                    all_seen = true;
                    break;
                }
                Ok((used, Event::Head)) => {
                    at += used;
                    self.head_complete(slot, at < data.len());
                }
                Ok((used, Event::Body { start, len })) => {
                    let piece = at + start;
                    at += used;
                    self.body_piece(slot, &data[piece..piece + len]);
                }
                Ok((used, Event::End)) => {
                    at += used;
                    if self.connections[slot].inlet.is_some() {
                        self.streamed_whole(slot);
                    } else {
                        self.request_complete(slot);
                    }
                }
                // The answer may be on its way already: all that can be said is that nothing more is believed.
                Err(_) if self.connections[slot].phase == Phase::Running => {
                    self.doom(slot);
                    at = data.len();
                }
                Err(refusal) => {
                    if !(self.settings.hand_over_refused && self.hand_over(slot, &data[at..])) {
                        self.refuse(slot, &Refused::of(refusal));
                    }
                    at = data.len();
                }
            }
        }
        let connection = &mut self.connections[slot];
        if connection.inlet.is_some() && !all_seen {
            // It has stopped for want of room, of which there may be some again at the next look: then nobody tells.
            connection.unseen = true;
        }
        at
    }

    /// Gives a connection whose next head is refused to its service. False: it cannot be.
    fn hand_over(&mut self, slot: usize, head: &[u8]) -> bool {
        let connection = &self.connections[slot];
        if connection.upload.is_some() {
            return false;
        }
        let Ok(transport) = connection.link.transport.try_clone_blocking() else { return false };
        let (peer, door) = (connection.peer, connection.listener);
        let _ = self.poller.remove(&connection.link.transport);
        self.hand_on(Raw::Session(transport, head.to_vec()), peer, door, 0);
        self.doom(slot);
        true
    }

    /// The head is complete: what it asks for is decided before any of the body is read. `more`: bytes follow.
    fn head_complete(&mut self, slot: usize, more: bool) {
        let connection = &mut self.connections[slot];
        let Some(inner) = &mut connection.inner else { return };
        let peer = match connection.peer {
            Peer::Ip(address) => Some(address.ip()),
            Peer::Unix => None,
        };
        let request = inner.request_mut();
        request.origin = forwarded::apply(request.head.fields(), peer, &self.settings.trust);
        if request.origin.strip {
            request.head.remove_fields(forwarded::is_forwarding_field);
        }
        let head = &inner.request.head;
        inner.mount = self.routes.find(head);
        if head.method() == b"CONNECT" {
            return self.refuse(slot, &Refused::no_proxy());
        }
        let length = head.body_length();
        if let BodyLength::Length(length) = length
            && length > self.settings.max_body
        {
            return self.refuse(slot, &Refused::body_too_large(self.settings.max_body));
        }
        if length == BodyLength::None {
            return;
        }
        let expects = head.expects_continue() && !more;
        let streamed = self.routes.service(inner.mount.service).bodies(head) == Bodies::Streamed;
        if !streamed {
            connection.upload = Some(Box::default());
        }
        if expects
            && connection.link.send_pieces([stdserve_proto::h1::CONTINUE, b"", b""], usize::MAX).is_err()
        {
            return self.doom(slot);
        }
        if streamed {
            self.begin_streamed(slot, length);
        }
        self.set_timer(slot, Timer::Body, self.settings.timeouts.body_period);
    }

    /// Runs a request whose body its service reads.
    fn begin_streamed(&mut self, slot: usize, length: BodyLength) {
        let connection = &mut self.connections[slot];
        let declared = if let BodyLength::Length(length) = length { Some(length) } else { None };
        let passage =
            Passage::new(connection.token, Arc::clone(&self.budget), std::sync::Weak::clone(&self.crew));
        if let Some(inner) = &mut connection.inner {
            inner.passage = Some(Arc::clone(&passage));
        }
        connection.judged = 0;
        let body = Body::Stream(Incoming::new(Arc::clone(&passage), declared));
        self.dispatch(slot, body, 0);
        let connection = &mut self.connections[slot];
        if connection.phase == Phase::Running {
            connection.inlet = Some(Inlet(passage));
        }
    }

    /// The body that a running service reads has come to its end.
    fn streamed_whole(&mut self, slot: usize) {
        if let Some(inlet) = self.connections[slot].inlet.take() {
            inlet.0.end(Ending::Whole);
        }
        self.set_timer(slot, Timer::Write, self.settings.timeouts.write);
    }

    fn body_piece(&mut self, slot: usize, piece: &[u8]) {
        let connection = &mut self.connections[slot];
        if let Some(inlet) = &connection.inlet {
            if inlet.0.push(piece) > self.settings.max_body {
                inlet.0.end(Ending::TooLarge);
                connection.inlet = None;
            }
            return;
        }
        let Some(upload) = &mut connection.upload else { return };
        upload.total += piece.len() as u64;
        if upload.total > self.settings.max_body {
            return self.refuse(slot, &Refused::body_too_large(self.settings.max_body));
        }
        let fits = self.budget.take(piece.len());
        if fits {
            upload.reserved += piece.len();
            if upload.memory.is_empty()
                && let Some(BodyLength::Length(length)) =
                    connection.inner.as_ref().map(|i| i.request.head.body_length())
            {
                upload.memory.reserve(length.min(FIRST_RESERVE) as usize);
            }
        }
        upload.memory.extend_from_slice(piece);
        if !fits || upload.memory.len() > self.settings.body_buffer {
            self.spool(slot);
        }
    }

    /// Hands what is in memory of a body to the spool.
    fn spool(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let Some(upload) = &mut connection.upload else { return };
        let job = Job {
            token: connection.token,
            file: upload.file.take(),
            offset: upload.spooled,
            data: std::mem::take(&mut upload.memory),
        };
        upload.spooled += job.data.len() as u64;
        connection.phase = Phase::Spooling;
        if let Some(Err(error)) = self.spool.as_mut().map(|spool| spool.hand(job)) {
            self.cannot_spool(slot, &error);
        }
    }

    /// The spool has written a piece, or failed to.
    pub(super) fn spooled(&mut self, spooled: Spooled) {
        let Some(slot) = self.slot(spooled.token) else { return };
        let connection = &mut self.connections[slot];
        if connection.phase != Phase::Spooling {
            return;
        }
        let Some(upload) = &mut connection.upload else { return };
        self.budget.give_back(upload.reserved);
        upload.reserved = 0;
        match spooled.file {
            Ok(file) => {
                upload.file = Some(file);
                connection.phase = Phase::Reading;
                if upload.complete {
                    self.request_complete(slot);
                    self.ask_for_the_end(slot);
                } else {
                    // Even where nothing is left over: the body may be at its end.
                    connection.unseen = true;
                    self.make_ready(slot);
                }
            }
            Err(error) => self.cannot_spool(slot, &error),
        }
    }

    fn cannot_spool(&mut self, slot: usize, error: &io::Error) {
        self.log.error(&format!(
            "cannot keep a request body in {}: {error}; answered 503",
            self.settings.temporary.display()
        ));
        self.refuse(slot, &Refused::no_room());
    }

    /// The request is complete, its body too: it goes to the crew.
    fn request_complete(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let mut body = Body::Empty;
        let mut reserved = 0;
        if let Some(upload) = &mut connection.upload {
            upload.complete = true;
            if upload.spooled > 0 && !upload.memory.is_empty() {
                return self.spool(slot);
            }
        }
        if let Some(mut upload) = connection.upload.take() {
            reserved = std::mem::take(&mut upload.reserved);
            body = match upload.file.take() {
                Some(file) => Body::File { file, len: upload.total },
                None if upload.memory.is_empty() => Body::Empty,
                None => Body::Memory(std::mem::take(&mut upload.memory)),
            };
        }
        self.dispatch(slot, body, reserved);
    }

    /// Hands the request to the crew.
    fn dispatch(&mut self, slot: usize, body: Body, reserved: usize) {
        let connection = &mut self.connections[slot];
        if connection.read_closed && self.settings.half_close_is_gone {
            self.budget.give_back(reserved);
            return self.doom(slot);
        }
        let mut place = None;
        if let Some(limit) = self.settings.concurrency {
            place = Place::take(&self.places, limit);
            if place.is_none() {
                self.budget.give_back(reserved);
                return self
                    .refuse(slot, &Refused::too_busy("more requests than --limit-concurrency allows"));
            }
        }
        let Some(mut inner) = connection.inner.take() else { return };
        connection.number = connection.number.wrapping_add(1);
        connection.phase = Phase::Running;
        connection.link.begin();
        inner.body = body;
        inner.reserved = reserved;
        inner.place = place;
        inner.link = Some(Arc::clone(&connection.link));
        self.next_id = self.next_id.wrapping_add(1);
        let request = inner.request_mut();
        request.token = connection.token;
        request.number = connection.number;
        request.id = self.next_id;
        request.peer = connection.peer;
        request.queued = self.now;
        inner.listener = self.doors.get(connection.listener).map(|door| Arc::clone(&door.info));
        inner.deadline = self.now + self.settings.timeouts.queue;
        inner.draining.get_or_insert_with(|| Arc::clone(&self.draining));
        let head = &inner.request.head;
        inner.keep_alive =
            head.keep_alive() && !self.is_draining() && !self.settings.timeouts.keep_alive.is_zero();
        inner.route = predict::route(head.method(), head.path());
        self.traffic.arrived += 1;
        self.arrived.push(inner);
        self.set_timer(slot, Timer::Write, self.settings.timeouts.write);
    }

    /// The client has shut its sending half, and no request is complete.
    fn end_of_stream(&mut self, slot: usize) {
        self.doom(slot);
    }
}

impl Drop for Upload {
    /// Every byte taken from the budget is given back before an upload ends: see [`EventLoop::bury`].
    fn drop(&mut self) {
        debug_assert_eq!(self.reserved, 0);
    }
}
