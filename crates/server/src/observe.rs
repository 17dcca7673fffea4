//! Who is told what the engine does: log lines, and a record of each exchange.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::request::Request;
use crate::request_id::{RequestId, RequestIds};

/// Takes the engine's own messages. Called by threads that run the loop: it must not wait.
pub trait Log: Send + Sync + 'static {
    /// Something went wrong that an operator should see.
    fn error(&self, message: &str);
    /// A client was refused, or cut off: of interest when one looks for it.
    fn debug(&self, message: &str);
    /// Something went wrong with the request of this id.
    fn request_error(&self, request_id: &str, message: &str) {
        self.error(&with_id(message, request_id));
    }
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct SilentLog;

impl Log for SilentLog {
    fn error(&self, _message: &str) {}
    fn debug(&self, _message: &str) {}
}

/// What is known of an exchange at its end.
#[derive(Debug)]
pub struct Record<'a> {
    /// What was asked, and by whom.
    pub request: &'a Request,
    /// The status that was answered; 0: none.
    pub status: u16,
    /// The answer's head, if `record_answer` is set.
    pub answer: &'a [u8],
    /// Bytes of the answer's body.
    pub sent: u64,
    /// The connection was cut before the answer was whole.
    pub aborted: bool,
    /// Where the request's id comes from.
    pub request_ids: &'a RequestIds,
}

impl<'a> Record<'a> {
    /// The request's id.
    pub fn request_id(&self) -> RequestId<'a> {
        self.request_ids.of(self.request)
    }
}

/// A request that a server has in hand.
#[derive(Debug)]
pub struct InHand<'a> {
    /// It.
    pub request: &'a Request,
    /// When a thread of the crew took it, and that thread, as the kernel numbers it (gettid(2)); `None`: it waits for
    /// one.
    pub taken: Option<(Instant, u32)>,
}

/// What has come and gone over a server's connections. Those that a service has to itself are not looked into.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Connections accepted.
    pub accepted: u64,
    /// Requests that were complete and went to the crew; also connections and datagrams that a service has to itself.
    pub arrived: u64,
    /// Bytes received.
    pub received: u64,
    /// Bytes that the sockets have taken.
    pub sent: u64,
}

/// How busy a crew is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Its threads.
    pub threads: usize,
    /// Those of them that are in the application.
    pub busy: usize,
    /// Requests that wait for one.
    pub queued: usize,
}

/// Watches a server, and tells it of its siblings. Called by whoever runs the loop, but for
/// [`took`](Self::took), [`left`](Self::left) and [`load`](Self::load): it must not wait.
pub trait Observer: Send + Sync + 'static {
    /// A thread takes a request into the application, or a connection, or a datagram, that has `waited` so long for it.
    /// Called by that thread, which may hold an interpreter's lock.
    fn took(&self, waited: Duration) {
        let _ = waited;
    }

    /// The thread is through with what it [took](Self::took), also with what follows the answer. Called by it.
    /// `inside`: how long it was in the application.
    fn left(&self, inside: Duration) {
        let _ = inside;
    }

    /// Exchanges have ended, now and together; refused ones too. There is one at least.
    fn ended(&self, records: &mut dyn Iterator<Item = Record<'_>>) {
        let _ = records;
    }

    /// So many connections are open now. Called when it changes.
    fn connections(&self, open: usize) {
        let _ = open;
    }

    /// A turn begins: the loop lives. Called at least once a second, with what has come and gone since the last time.
    fn turned(&self, traffic: &Traffic) {
        let _ = traffic;
    }

    /// How busy the crew is now. Called when it may have changed, under the crew's lock: it must be quick.
    fn load(&self, load: &Load) {
        let _ = load;
    }

    /// The server has these requests in hand: those that run, then those that wait for a thread, in the order in which
    /// they came. Called while a thread is in the application for longer than a moment, ten times a second, and once
    /// when none is any more; under the crew's lock: it must be quick, and takes only as many as it needs.
    fn in_hand(&self, requests: &mut dyn Iterator<Item = InHand<'_>>) {
        let _ = requests;
    }

    /// The server accepts no more, and finishes what runs.
    fn draining(&self) {}

    /// The last listener was closed. May be called again.
    fn closed(&self) {}

    /// The fewest connections that another live server on the same listeners has; `None`: there is no other.
    fn fewest_elsewhere(&self) -> Option<usize> {
        None
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoObserver;

impl Observer for NoObserver {}

/// A message about a request, with its id at the end of the first line.
pub fn with_id(message: &str, request_id: &str) -> String {
    let (first, rest) = message.split_at(message.find('\n').unwrap_or(message.len()));
    format!("{first} (request {request_id}){rest}")
}

/// Text in which nothing can pass for something else: control characters and what is not UTF-8 as escapes.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() && character != '\t' {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}
