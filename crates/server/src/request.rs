//! A request, as everybody sees it who has to do with it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use stdserve_proto::forwarded::Origin;
use stdserve_proto::h1::RequestHead;

use crate::exchange::Peer;

/// What is known of a request, or of a connection or datagram that a service has to itself.
///
/// There is one record of each: the thread that serves it, the crew that watches how long that takes, and whoever is
/// told of it share it. It is written by the loop, and stays as it is from when the crew has it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its number, unlike that of any other of this process; 0: it has none yet.
    pub id: u64,
    /// Who is connected.
    pub peer: Peer,
    /// What trusted proxies say.
    pub origin: Origin,
    /// The head, whole unless the request was refused; empty for connections and datagrams.
    pub head: RequestHead,
    /// When it was complete.
    pub queued: Instant,
    /// Slot and generation of its connection.
    pub(crate) token: usize,
    /// Which of the connection's exchanges it is.
    pub(crate) number: u32,
}

impl Request {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            id: 0,
            peer: Peer::Unix,
            origin: Origin::default(),
            head: RequestHead::default(),
            queued: now,
            token: 0,
            number: 0,
        }
    }

    /// Forgets what was known, and keeps the head's buffers, unless somebody still tells of it.
    pub(crate) fn clear(this: &mut Arc<Self>) {
        if let Some(request) = Arc::get_mut(this) {
            request.id = 0;
            request.origin = Origin::default();
            request.head.clear();
        } else {
            *this = Arc::new(Self::new(this.queued));
        }
    }

    /// The client's address: what a trusted proxy says, else who is connected; `None`: a local process.
    pub fn client(&self) -> Option<IpAddr> {
        self.origin.address.or(match self.peer {
            Peer::Ip(address) => Some(address.ip()),
            Peer::Unix => None,
        })
    }
}
