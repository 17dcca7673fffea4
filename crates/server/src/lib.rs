//! The engine of stdserve: a loop, its crew, its connections, and the services they run.
//!
//! A [`Server`] accepts connections on its [listeners](stdserve_sys::listener), reads requests, hands them to a
//! [`Service`] and writes what it answers. Two ideas make it quick and keep it answering when the service blocks:
//!
//! - **The baton.** One thread of the crew, the leader, polls, reads and runs the service itself, so that a quick
//!   request crosses no thread. Before it enters the service it puts the loop down where another thread can take it.
//! - **The cohort.** All requests that are ready in one turn are read, then run back to back, then written.
//!
//! The crate needs no Python. See `ARCHITECTURE.md` for the map and `docs/engine.md` for the rules.
#![forbid(unsafe_code)]

mod body;
pub mod cgi;
mod connection;
mod crew;
mod datagram;
mod event_loop;
mod exchange;
pub mod files;
mod incoming;
mod link;
mod observe;
mod outbound;
mod routes;
mod server;
mod service;
mod session;
mod settings;
mod spool;
mod stream;
mod transport;

pub use body::Body;
pub use crew::{Arrival, Run, StdThreads, ThreadSource};
pub use datagram::Datagram;
pub use exchange::{Exchange, ListenerInfo, Outcome, Peer};
pub use incoming::Incoming;
pub use observe::{Log, Observer, Record, SilentLog};
pub use routes::Mount;
pub use server::{Builder, Control, Order, Server, Watch};
pub use service::{Bodies, Service};
pub use session::{Session, SessionGuard};
pub use settings::{CohortLimits, Settings, Timeouts};
pub use stream::{Gone, Stream};
