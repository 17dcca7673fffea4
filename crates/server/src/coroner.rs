//! Who is told of requests that take too long.

use std::sync::Arc;
use std::time::Duration;

use crate::request::Request;

/// Something that takes too long.
#[derive(Debug)]
pub enum Case {
    /// A request has taken [`Deadlines::slow`](crate::Deadlines::slow). It goes on.
    Slow(Late),
    /// A request has taken [`Deadlines::timeout`](crate::Deadlines::timeout); its client has been told. The thread is
    /// still in it: ending that is for whoever knows how.
    TimedOut(Late, Told),
    /// All threads have been in their requests for [`Deadlines::stuck`](crate::Deadlines::stuck), and none has come
    /// out: a deadlock, or next to it. Told once, until one comes out.
    AllStuck(Vec<Late>),
}

/// A request that a thread of the crew is in.
#[derive(Debug, Clone)]
pub struct Late {
    /// It.
    pub request: Arc<Request>,
    /// The request's id.
    pub request_id: String,
    /// How long it waited for a thread.
    pub waited: Duration,
    /// How long it has been in the application.
    pub running: Duration,
}

/// What the client of a request was told whose time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// 504 (RFC 9110 §15.6.5): nothing had been answered.
    Refused,
    /// The answer had begun: the connection was cut.
    Cut,
    /// Nothing: the answer was complete, and the thread is in what follows it.
    Answered,
    /// Nothing: there is nobody to tell, or no way to.
    Nobody,
}

/// Is told of what takes too long. Called by whoever runs the loop: it must not wait, for an interpreter's lock least
/// of all.
pub trait Coroner: Send + Sync + 'static {
    /// Takes a case, to be looked into by another thread.
    fn take(&self, case: Case);
}
