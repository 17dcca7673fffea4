//! The loop's half of a connection: what is being read, and where the connection stands.
//!
//! ```text
//!            head and body complete           answer complete, sent
//!  Reading ------------------------> Running ----------------------> Reading (kept alive)
//!    |  ^ \                              |                      \---> closed
//!    |  |  body too large for memory     | answer complete, queued
//!    |  +-- Spooling                     +--> Flushing --> as above
//!    | refused
//!    +--> Lingering --> closed
//! ```

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use stdserve_proto::h1::RequestReader;

use crate::crew::End;
use crate::exchange::{Inner, Peer};
use crate::incoming::Inlet;
use crate::link::Link;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for a request, or reads one.
    Reading,
    /// A piece of the body is being written to a file: nothing is read until that is done.
    Spooling,
    /// The crew has the request.
    Running,
    /// The answer is complete and the socket has not taken all of it.
    Flushing(End),
    /// Refused: what the client still sends is thrown away for a while, so that the answer reaches it.
    Lingering {
        /// The answer has gone, and our side is shut.
        shut: bool,
    },
}

/// The time-out that a connection is under; each has its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    Head,
    KeepAlive,
    Body,
    Write,
    Linger,
}

/// How many lists of timers connections use.
pub(crate) const TIMERS: usize = 5;

/// A body on its way in.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    pub(crate) memory: Vec<u8>,
    /// Bytes taken from the common budget.
    pub(crate) reserved: usize,
    pub(crate) file: Option<File>,
    /// Bytes in the file, or on their way there.
    pub(crate) spooled: u64,
    pub(crate) total: u64,
    /// `total` when the rate was last judged.
    pub(crate) judged: u64,
    pub(crate) complete: bool,
}

/// One connection.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts, each set and cleared on its own
pub(crate) struct Connection {
    pub(crate) link: Arc<Link>,
    pub(crate) token: usize,
    pub(crate) listener: usize,
    pub(crate) peer: Peer,
    pub(crate) phase: Phase,
    pub(crate) reader: RequestReader,
    /// The request that is being read; none between requests.
    pub(crate) inner: Option<Box<Inner>>,
    pub(crate) upload: Option<Box<Upload>>,
    /// The body that a running service reads.
    pub(crate) inlet: Option<Inlet>,
    /// Its total when the rate was last judged.
    pub(crate) judged: u64,
    /// Bytes that were read and not yet understood.
    pub(crate) leftover: Vec<u8>,
    /// Bytes of the common budget that `leftover` holds.
    pub(crate) held: usize,
    /// `leftover` may hold something that was not looked at.
    pub(crate) unseen: bool,
    /// Number of the exchange that runs, or ran last.
    pub(crate) number: u32,
    /// Sticky: cleared when the kernel has no more.
    pub(crate) readable: bool,
    /// The client has shut its sending half.
    pub(crate) read_closed: bool,
    /// In the ready queue.
    pub(crate) queued: bool,
    pub(crate) timer: Timer,
    pub(crate) deadline: Instant,
    /// The lists that hold an entry of this connection.
    armed: u8,
}

impl Connection {
    pub(crate) fn new(link: Arc<Link>, token: usize, listener: usize, peer: Peer, deadline: Instant) -> Self {
        Self {
            link,
            token,
            listener,
            peer,
            phase: Phase::Reading,
            reader: RequestReader::new(),
            inner: None,
            upload: None,
            inlet: None,
            judged: 0,
            leftover: Vec::new(),
            held: 0,
            unseen: false,
            number: 0,
            readable: true,
            read_closed: false,
            queued: false,
            timer: Timer::Head,
            deadline,
            armed: 0,
        }
    }

    /// Sets the time-out. True: an entry has to be added to the timer's list; otherwise one is there already, and
    /// will find the new deadline when it rings.
    pub(crate) fn set_timer(&mut self, timer: Timer, deadline: Instant) -> bool {
        self.timer = timer;
        self.deadline = deadline;
        let bit = 1 << timer as u8;
        let armed = self.armed & bit != 0;
        self.armed |= bit;
        !armed
    }

    /// An entry of `timer` has rung and is off its list.
    pub(crate) fn rang(&mut self, timer: usize) {
        self.armed &= !(1 << timer);
    }

    /// Whether what comes from the client can be understood now.
    pub(crate) fn takes_input(&self) -> bool {
        match self.phase {
            Phase::Reading => true,
            Phase::Running => self.inlet.as_ref().is_some_and(|inlet| inlet.0.has_room()),
            _ => false,
        }
    }

    /// Nothing of a next request has come.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Reading && self.inner.is_none() && self.leftover.is_empty()
    }
}
