//! What is served: the interface between the engine and a gateway.

use stdserve_proto::h1::RequestHead;

use crate::crew::Run;

/// How a service wants request bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bodies {
    /// Complete before the request is run: in memory up to a bound, then in an unlinked temporary file.
    #[default]
    Buffered,
    /// The request is run when its head is complete, and reads its body itself: [`Body::Stream`](crate::Body).
    Streamed,
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

    /// Runs requests: called on a thread of the crew, which does not hold the loop, when requests are pending.
    ///
    /// Take them one by one until there is none: with [`Run::next`] requests, with [`Run::next_session`] the
    /// connections of [stream listeners](crate::Builder::streams), with [`Run::next_datagram`] what comes
    /// [without connections](crate::Builder::datagrams). What has to be held for the whole cohort
    /// (an interpreter's lock) is taken here, before the first. A panic loses the request it happens in, no more.
    fn run(&self, run: &mut Run<'_>);
}
