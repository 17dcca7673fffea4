//! What a service that runs a `socketserver` handler class is told: plain values, each with its unit and default.

use std::time::Duration;

/// In what a handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Model {
    /// A thread of the worker, of which there are as many as `--threads` says; with one thread, one after the other.
    #[default]
    Threads,
    /// A process of its own, forked from the worker, of which there are at most [`Options::max_children`].
    Forks,
}

/// All that a handler service is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// In what a handler runs: `threads` or `forks`. Threads.
    pub(crate) model: Model,
    /// How many processes a worker has at once, where it forks; the next connection or datagram waits until one has
    /// ended. 40, as `socketserver.ForkingMixIn.max_children`.
    pub(crate) max_children: usize,
    /// How long one operation on a connection may take (`socket.settimeout`); the handler gets `TimeoutError`. A handler
    /// class with a `timeout` of its own overrides it. `None`: for ever. 5 minutes.
    pub(crate) request_timeout: Option<Duration>,
    /// The largest datagram in bytes; longer ones are cut. 8,192, as `socketserver.UDPServer.max_packet_size`.
    pub(crate) max_packet_size: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model: Model::default(),
            max_children: 40,
            request_timeout: Some(Duration::from_secs(300)),
            max_packet_size: 8192,
        }
    }
}
