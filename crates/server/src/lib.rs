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
//!
//! # What do you want to serve?
//!
//! | what | which call | handler | `cargo run --example` |
//! |---|---|---|---|
//! | HTTP, from code | [`Builder::listeners`], [`Builder::build`] | [`exchanges`], or a [`Service`] that takes [`Run::next`] | `hello` |
//! | a folder | the same | [`files::Files`] | `files` |
//! | CGI scripts | the same | [`cgi::Cgi`] | `cgi`, `git` |
//! | XML-RPC | the same | a [`Service`] and [`proto::xmlrpc`] | `xmlrpc` |
//! | several of these, by path and host | [`Builder::mount`] | any of them | `mounts` |
//! | TCP | [`Builder::streams`] | [`sessions`], or [`Run::next_session`] | `tcp_echo` |
//! | Unix streams | the same, with [`BindAddress::Unix`](sys::listener::BindAddress::Unix) | the same | `unix_echo` |
//! | UDP | [`Builder::datagrams`] | [`datagrams`], or [`Run::next_datagram`] | `udp_echo` |
//! | Unix datagrams | the same, with [`BindAddress::Unixgram`](sys::listener::BindAddress::Unixgram) | the same | `udp_echo` |
//!
//! HTTP may come in by Unix sockets too: that is for the address to say. One server may have all of this at once.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::sync::Arc;
//! use stdserve_server::sys::listener::{BindAddress, Registry};
//! use stdserve_server::{Order, Server, Settings, StdThreads, exchanges};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Where to listen. The registry removes the files of its Unix sockets when it is dropped: keep it till the end.
//! let mut registry = Registry::open(&[(None, BindAddress::Tcp("127.0.0.1:0".parse()?))], 128)?;
//! let address = registry.listeners()[0].local().ip().expect("TCP has an address");
//!
//! let hello = exchanges(|mut exchange| {
//!     if exchange.begin(200, b"OK").is_ok() {
//!         exchange.complete(b"Hello, world!\n");
//!     }
//! });
//! let server = Server::builder(Settings::default())
//!     .listeners(registry.take())
//!     .build(Arc::new(hello), Arc::new(StdThreads))?;
//! server.start()?;
//!
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.ends_with("Hello, world!\n"));
//!
//! server.control().order(Order::Stop);
//! server.wait(None);
//! # Ok(())
//! # }
//! ```
//!
//! Beside the application: connections of one listener, datagrams of another, a folder beneath a path.
//!
//! ```no_run
//! use std::io::Write;
//! use std::sync::Arc;
//! use stdserve_server::files::{Files, Options};
//! use stdserve_server::sys::listener::{BindAddress, Registry};
//! use stdserve_server::{Mount, NotFound, Server, Settings, StdThreads, datagrams, sessions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let open = |address| Registry::open(&[(None, address)], 2048);
//! let mut http = open(BindAddress::Tcp("127.0.0.1:8000".parse()?))?;
//! let mut tcp = open(BindAddress::Unix { path: "/run/greeter.sock".into(), mode: Some(0o660) })?;
//! let mut udp = open(BindAddress::Udp("127.0.0.1:9000".parse()?))?;
//! let greeter = sessions(|mut session| {
//!     let _ = session.write_all(b"Hello\n");
//! });
//! let echo = datagrams(|datagram| {
//!     let _ = datagram.reply(datagram.data());
//! });
//! let files = Files::new(Options { root: "/srv/www".into(), ..Options::default() })?;
//! let server = Server::builder(Settings::default())
//!     .listeners(http.take())
//!     .mount(Mount { host: None, prefix: "/static".to_owned() }, Arc::new(files))
//!     .streams(tcp.take(), Arc::new(greeter))
//!     .datagrams(udp.take(), Arc::new(echo))
//!     .build(Arc::new(NotFound), Arc::new(StdThreads))?;
//! server.start()?;
//! server.wait(None);
//! # Ok(())
//! # }
//! ```
//!
//! # How many at once?
//!
//! The model is chosen where the server is run; services stay as they are.
//!
//! | model | how | at once | `cargo run --example` |
//! |---|---|---|---|
//! | serial | [`Server::turn`], again and again, on a thread of yours | 1 | `serial` |
//! | threads | [`Server::start`], with a large [`Settings::threads`] | as many; a thread is made when one is missing | `threads` |
//! | pool | [`Server::start`], with a small [`Settings::threads`] and a [`Settings::concurrency`] | as many; more wait, and past the bound HTTP is answered 503 | `pool` |
//! | forks, before | [`sys::process::fork`] first, then a server in each child | workers × threads | `forks` |
//! | forks, each | [`Server::turn`], and a service that forks | [`Settings::connections`] | `fork_each` |
//!
//! Serial, with no other thread in the process:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use stdserve_server::{NotFound, Server, Settings, StdThreads};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listeners = Vec::new();
//! let server =
//!     Server::builder(Settings::default()).listeners(listeners).build(Arc::new(NotFound), Arc::new(StdThreads))?;
//! while server.turn(None) {}
//! # Ok(())
//! # }
//! ```
//!
//! Threads without much of a bound, and a bounded pool:
//!
//! ```
//! use stdserve_server::Settings;
//!
//! let threads = Settings { threads: 1_000, ..Settings::default() };
//! let pool = Settings { threads: 4, concurrency: Some(100), ..Settings::default() };
//! # let _ = (threads, pool);
//! ```
//!
//! Processes that share their listeners. Fork before [`Server::start`]: a process with several threads is refused.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use stdserve_server::{NotFound, Server, Settings, StdThreads};
//! use stdserve_server::sys::listener::{BindAddress, Registry};
//! use stdserve_server::sys::process::{self, Fork, NoHooks};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut registry = Registry::open(&[(None, BindAddress::Tcp("127.0.0.1:8000".parse()?))], 2048)?;
//! let mut workers = Vec::new();
//! for _ in 0..4 {
//!     match process::fork(&mut NoHooks)? {
//!         Fork::Parent(worker) => workers.push(worker),
//!         Fork::Child => {
//!             let builder = Server::builder(Settings::default()).listeners(registry.take());
//!             let server = builder.build(Arc::new(NotFound), Arc::new(StdThreads))?;
//!             server.start()?;
//!             server.wait(None);
//!             return Ok(());
//!         }
//!     }
//! }
//! for worker in workers {
//!     process::wait(worker)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How does it end?
//!
//! [`Server::control`] gives orders from any thread: [`Order::Drain`] accepts no more and lets what runs finish,
//! [`Order::Stop`] does not wait. A [`Watch`] gives them from within the loop, by a descriptor: that of signals, say,
//! as the example `pool` has it. A server that is dropped while its crew runs goes on; give it an order.
#![forbid(unsafe_code)]

mod body;
pub mod cgi;
mod connection;
mod coroner;
mod crew;
mod datagram;
mod event_loop;
mod exchange;
pub mod files;
mod incoming;
mod link;
mod observe;
mod outbound;
mod request;
mod request_id;
mod routes;
mod server;
mod service;
mod session;
mod settings;
mod spool;
mod stream;
mod transport;

pub use body::Body;
pub use coroner::{Case, Coroner, Late, Told};
pub use crew::{Arrival, Run, StdThreads, ThreadSource};
pub use datagram::Datagram;
pub use exchange::{Exchange, ListenerInfo, Outcome, Peer, with_date};
pub use incoming::Incoming;
pub use observe::{InHand, Load, Log, Observer, Record, SilentLog, Traffic, with_id};
pub use request::Request;
pub use request_id::{RequestId, RequestIds};
pub use routes::Mount;
pub use server::{Builder, Control, Order, Server, Watch};
pub use service::{Bodies, NotFound, Service, Timing, datagrams, exchanges, sessions};
pub use session::{Session, SessionGuard};
pub use settings::{CohortLimits, Deadlines, Queue, Settings, Timeouts};
pub use stream::{Gone, Stream};

/// What HTTP, CGI and XML-RPC are made of: bytes in, values out.
pub use stdserve_proto as proto;
/// Listeners, processes, signals: what is asked of the kernel.
pub use stdserve_sys as sys;
