//! What is served: the interface between the engine and a gateway.

use stdserve_proto::h1::RequestHead;

use crate::crew::Run;
use crate::datagram::Datagram;
use crate::exchange::Exchange;
use crate::session::Session;

/// How a service wants request bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bodies {
    /// Complete before the request is run: in memory up to a bound, then in an unlinked temporary file.
    #[default]
    Buffered,
    /// The request is run when its head is complete, and reads its body itself: [`Body::Stream`](crate::Body).
    Streamed,
}

/// What of the limits on a request's time concerns a service: see [`Deadlines`](crate::Deadlines).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timing {
    /// All of them.
    #[default]
    Request,
    /// The time-out alone: what it handles may last, and is not called slow.
    Session,
    /// None: it keeps times of its own.
    Own,
}

/// One thing that is served: an application, a folder, a set of scripts.
///
/// ```
/// use stdserve_server::{Run, Service};
///
/// struct Hello;
///
/// impl Service for Hello {
///     fn run(&self, run: &mut Run<'_>) {
///         while let Some(mut exchange) = run.next() {
///             if exchange.begin(200, b"OK").is_ok() {
///                 exchange.complete(b"Hello, world!\n");
///             }
///         }
///     }
/// }
/// ```
pub trait Service: Send + Sync + 'static {
    /// How the body of a request with this head is handed over. Asked by whoever runs the loop: it must not wait.
    /// Buffered unless said otherwise.
    fn bodies(&self, head: &RequestHead) -> Bodies {
        let _ = head;
        Bodies::Buffered
    }

    /// What of the limits on a request's time concerns it. All of them unless said otherwise.
    fn timing(&self) -> Timing {
        Timing::Request
    }

    /// The server drains: it accepts no more, and ends as soon as nothing runs. Told once, by whoever runs the loop: it
    /// must not wait. For those whose answers have no end of their own, such as streams of events: they had better come
    /// to one now, since at the end of the time to drain they are cut.
    fn draining(&self) {}

    /// Runs requests: called on a thread of the crew, which does not hold the loop, when requests are pending.
    ///
    /// Take them one by one until there is none: with [`Run::next`] requests, with [`Run::next_session`] the
    /// connections of [stream listeners](crate::Builder::streams), with [`Run::next_datagram`] what comes
    /// [without connections](crate::Builder::datagrams). What has to be held for the whole cohort
    /// (an interpreter's lock) is taken here, before the first. A panic loses the request it happens in, no more.
    fn run(&self, run: &mut Run<'_>);
}

/// A service that hands each request to `answer`.
///
/// ```
/// use stdserve_server::exchanges;
///
/// let hello = exchanges(|mut exchange| {
///     if exchange.begin(200, b"OK").is_ok() {
///         exchange.complete(b"Hello, world!\n");
///     }
/// });
/// # let _: Box<dyn stdserve_server::Service> = Box::new(hello);
/// ```
pub fn exchanges(answer: impl Fn(Exchange) + Send + Sync + 'static) -> impl Service {
    Exchanges(answer)
}

/// A service that hands each connection of its [stream listeners](crate::Builder::streams) to `handle`, which has a
/// thread to itself until it returns.
///
/// ```
/// use std::io::Write;
///
/// use stdserve_server::sessions;
///
/// let greeter = sessions(|mut session| {
///     // A client that has gone already is none of our business.
///     let _ = session.write_all(b"Hello, world!\n");
/// });
/// # let _: Box<dyn stdserve_server::Service> = Box::new(greeter);
/// ```
pub fn sessions(handle: impl Fn(Session) + Send + Sync + 'static) -> impl Service {
    Sessions(handle)
}

/// A service that hands each [datagram](crate::Builder::datagrams) to `handle`.
///
/// ```
/// use stdserve_server::datagrams;
///
/// let echo = datagrams(|datagram| {
///     let data = datagram.data().to_vec();
///     datagram.answer(data);
/// });
/// # let _: Box<dyn stdserve_server::Service> = Box::new(echo);
/// ```
pub fn datagrams(handle: impl Fn(Datagram) + Send + Sync + 'static) -> impl Service {
    Datagrams(handle)
}

struct Exchanges<F>(F);

impl<F: Fn(Exchange) + Send + Sync + 'static> Service for Exchanges<F> {
    fn run(&self, run: &mut Run<'_>) {
        while let Some(exchange) = run.next() {
            (self.0)(exchange);
        }
    }
}

struct Sessions<F>(F);

impl<F: Fn(Session) + Send + Sync + 'static> Service for Sessions<F> {
    fn timing(&self) -> Timing {
        Timing::Session
    }

    fn run(&self, run: &mut Run<'_>) {
        while let Some(session) = run.next_session() {
            (self.0)(session);
        }
    }
}

struct Datagrams<F>(F);

impl<F: Fn(Datagram) + Send + Sync + 'static> Service for Datagrams<F> {
    fn timing(&self) -> Timing {
        Timing::Session
    }

    fn run(&self, run: &mut Run<'_>) {
        while let Some(datagram) = run.next_datagram() {
            (self.0)(datagram);
        }
    }
}

/// Answers 404 to every request: what a server is [built](crate::Builder::build) with that has mounts, streams or
/// datagrams alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotFound;

impl Service for NotFound {
    fn run(&self, run: &mut Run<'_>) {
        while let Some(mut exchange) = run.next() {
            let begun = exchange.begin(404, b"Not Found");
            if begun.and_then(|()| exchange.field(b"Content-Type", b"text/plain")).is_ok() {
                exchange.complete(b"Not found\n");
            }
        }
    }
}
