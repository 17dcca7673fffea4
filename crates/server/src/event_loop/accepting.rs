//! Accepting: evenly over the workers that share a listener, and never in a spin.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stdserve_sys::datagrams;
use stdserve_sys::fork_guard::Guard;
use stdserve_sys::listener::Listener;

use super::{EventLoop, NO_CONNECTION, Stage};
use crate::connection::{Connection, Timer};
use crate::crew::predict;
use crate::datagram::Received;
use crate::exchange::{Inner, ListenerInfo, Peer, Place, Raw};
use crate::link::Link;
use crate::routes::Route;
use crate::transport::Transport;

/// Connections accepted in one turn.
const AT_ONCE: usize = 8;
/// Connections accepted when the loop drains: what lay in the queue.
const AT_THE_END: usize = 65_536;
/// After declining in favour of another worker, one connection is accepted whatever the others have.
const RETRY: Duration = Duration::from_millis(2);
/// Without descriptors or memory nothing is accepted for so long.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Datagrams that are taken from the kernel before their service has taken them; more wait in the socket's buffer.
const DATAGRAMS: usize = 1024;
const A_LONG_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A listener of this loop.
pub(crate) struct Door {
    /// `None`: nothing more is accepted, and this process does not hold the address any more.
    listener: Option<(Guard, Arc<Listener>)>,
    pub(super) info: Arc<ListenerInfo>,
    /// What comes here is handed to this service as it is; `None`: it speaks HTTP.
    raw: Option<u16>,
    /// Sticky: connections may be waiting.
    calling: bool,
}

impl Door {
    pub(crate) fn new(listener: Listener, raw: Option<u16>) -> Self {
        let guard = Guard::new(&listener);
        let info = ListenerInfo {
            name: listener.name().to_owned(),
            address: listener.local().ip(),
            text: listener.local().to_string(),
        };
        Self { listener: Some((guard, Arc::new(listener))), info: Arc::new(info), raw, calling: true }
    }

    pub(super) fn fd(&self) -> Option<RawFd> {
        self.listener.as_ref().map(|(_, listener)| listener.as_fd().as_raw_fd())
    }

    pub(super) fn calls(&mut self) {
        self.calling = self.listener.is_some();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.listener.is_none()
    }
}

impl EventLoop {
    /// Whether a connection waits that may be accepted now.
    pub(super) fn has_callers(&self) -> bool {
        self.accept_again.is_none() && self.doors.iter().any(|door| door.calling && self.has_room_for(door))
    }

    /// Whether what comes by this listener could be kept.
    fn has_room_for(&self, door: &Door) -> bool {
        let limit = self.settings.connections;
        match (&door.listener, door.raw) {
            (Some((_, listener)), Some(_)) if listener.kind().is_datagram() => {
                self.datagrams.load(Ordering::Acquire) + datagrams::AT_ONCE <= DATAGRAMS
            }
            (_, Some(_)) => self.sessions.load(Ordering::Acquire) < limit,
            (_, None) => self.connections.len() < limit,
        }
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> usize {
        self.connections.len() + self.sessions.load(Ordering::Relaxed)
    }

    /// Accepts what may be accepted in this turn.
    pub(super) fn accept(&mut self) {
        let mut unconditional = false;
        if let Some(at) = self.accept_again {
            if at > self.now {
                return;
            }
            self.accept_again = None;
            unconditional = true;
        }
        if self.is_draining() {
            self.accept_the_last();
            return;
        }
        if !self.has_callers() {
            return;
        }
        let fewest = self.observer.fewest_elsewhere();
        let ahead = fewest.is_some_and(|fewest| self.open() > fewest + 1);
        // Whoever is accepted while the service cannot be entered could only be refused.
        if ahead && !unconditional || self.held_up && fewest.is_some() {
            self.accept_again = Some(self.now + RETRY);
            return;
        }
        let quota = if ahead { 1 } else { AT_ONCE };
        self.accept_up_to(quota);
        self.observer.connections(self.open());
    }

    /// Draining: accepts what lies in the queues, as far as connections may be held, and closes each listener whose
    /// queue is empty. A queue is lost with the last process that closes its listener, so no other may come first.
    pub(super) fn accept_the_last(&mut self) {
        if self.doors.iter().all(Door::is_closed) {
            return;
        }
        for door in &mut self.doors {
            door.calls();
        }
        self.accept_up_to(AT_THE_END);
        for door in &mut self.doors {
            if !door.calling
                && let Some((guard, listener)) = door.listener.take()
            {
                // Other workers may share the descriptor: closing ours alone would not take it out of the poller.
                let _ = self.poller.remove(&listener.as_fd().as_raw_fd());
                drop(guard);
            }
        }
        if self.is_closed() {
            self.observer.closed();
        }
        self.observer.connections(self.open());
    }

    /// Whether nothing more will be accepted.
    pub(super) fn is_closed(&self) -> bool {
        self.doors.iter().all(Door::is_closed)
    }

    fn accept_up_to(&mut self, quota: usize) {
        for index in 0..self.doors.len() {
            for _ in 0..quota {
                let door = &self.doors[index];
                if !door.calling || !self.has_room_for(door) {
                    break;
                }
                let Some((_, listener)) = &door.listener else { break };
                if let Some(service) = door.raw
                    && listener.kind().is_datagram()
                {
                    let listener = Arc::clone(listener);
                    self.receive(&listener, index, service);
                    continue;
                }
                // A handler of a raw service waits for its client in its own thread.
                let blocking = door.raw.is_some();
                match stdserve_sys::net::accept(listener.as_fd(), blocking) {
                    Ok((socket, address)) => {
                        let (transport, peer) = match address {
                            Some(address) => (Transport::tcp(socket), Peer::Ip(address)),
                            None => (Transport::unix(socket), Peer::Unix),
                        };
                        self.exhausted = false;
                        self.traffic.accepted += 1;
                        match self.doors[index].raw {
                            None => self.welcome(transport, peer, index),
                            Some(service) => {
                                self.hand_on(Raw::Session(transport, Vec::new()), peer, index, service);
                            }
                        }
                    }
                    Err(error) => {
                        if !self.cannot_accept(index, &error) {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// False: nothing can be accepted for a while, from any listener.
    fn cannot_accept(&mut self, index: usize, error: &io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::WouldBlock => self.doors[index].calling = false,
            // The client left while it waited: the next may be there.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
            _ => {
                if self.stage == Stage::Serving && !self.exhausted {
                    self.log.error(&format!(
                        "cannot accept on {}: {error}; trying again every {} ms",
                        self.doors[index].info.text,
                        EXHAUSTED.as_millis()
                    ));
                }
                // Said once, until one is accepted again.
                self.exhausted = true;
                self.accept_again = Some(self.now + EXHAUSTED);
                return false;
            }
        }
        true
    }

    /// Takes the datagrams that have come, as many as one call brings.
    fn receive(&mut self, socket: &Arc<Listener>, door: usize, service: u16) {
        let mut batch = self.batch.take().unwrap_or_default();
        let received = batch.receive(socket.as_fd(), |data, sender| {
            let peer = sender.ip().map_or(Peer::Unix, Peer::Ip);
            let received = Received { data: data.to_vec(), sender, socket: Arc::clone(socket) };
            self.hand_on(Raw::Datagram(received), peer, door, service);
        });
        self.batch = Some(batch);
        match received {
            Ok(count) => self.doors[door].calling = count == datagrams::AT_ONCE,
            // What an earlier answer brought back (ICMP) is told here, and concerns nobody any more.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                self.cannot_accept(door, &error);
            }
        }
    }

    /// What came for a raw service goes to the crew.
    pub(super) fn hand_on(&mut self, raw: Raw, peer: Peer, door: usize, service: u16) {
        let (places, limit) = match &raw {
            Raw::Session(..) => (&self.sessions, self.settings.connections),
            Raw::Datagram(_) => (&self.datagrams, DATAGRAMS),
        };
        let Some(place) = Place::take(places, limit) else { return };
        let mut inner = self.spare.pop().unwrap_or_else(|| Box::new(Inner::new(self.now)));
        let info = Arc::clone(&self.doors[door].info);
        inner.raw = Some(raw);
        inner.place = Some(place);
        inner.mount = Route { service, taken: 0 };
        self.next_id = self.next_id.wrapping_add(1);
        let request = inner.request_mut();
        request.token = NO_CONNECTION;
        request.id = self.next_id;
        request.peer = peer;
        request.queued = self.now;
        // It waits for its turn as long as its client does.
        inner.deadline = self.now + A_LONG_TIME;
        inner.route = predict::route(b"", info.text.as_bytes());
        inner.listener = Some(info);
        self.traffic.arrived += 1;
        self.arrived.push(inner);
    }

    fn welcome(&mut self, transport: Transport, peer: Peer, listener: usize) {
        let slot = self.connections.vacant_key();
        self.generation = (self.generation + 1) & 0x7fff_ffff;
        let token = (self.generation as usize) << 32 | slot;
        if let Err(error) = self.poller.add(&transport, token) {
            self.log.error(&format!("cannot watch a connection: {error}"));
            return;
        }
        let link = Arc::new(Link::new(transport, Arc::clone(&self.budget), Arc::clone(&self.log), self.now));
        let deadline = self.now + self.settings.timeouts.head;
        self.connections.insert(Connection::new(link, token, listener, peer, deadline));
        self.set_timer(slot, Timer::Head, self.settings.timeouts.head);
        // The request is often there already: read it without waiting for its edge.
        self.make_ready(slot);
    }

    /// Whether accepting was stopped because there were too many connections, and may go on.
    pub(super) fn connection_ended(&mut self) {
        self.observer.connections(self.open());
    }
}
