//! A server: listeners, a loop, its crew, and the ways to stop it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use stdserve_sys::listener::Listener;

use crate::coroner::Coroner;
use crate::crew::{Crew, ThreadSource, Watchers};
use crate::event_loop::{Door, EventLoop};
use crate::observe::{Log, NoObserver, Observer, SilentLog};
use crate::routes::{Mount, Routes};
use crate::service::Service;
use crate::settings::Settings;

/// What may be asked of a server while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Accepts no more, finishes what runs and what waits, and ends; what is not done `within` this is cut.
    Drain {
        /// The time to finish.
        within: Duration,
    },
    /// Ends at once.
    Stop,
}

/// A descriptor that the loop watches and that gives it orders: the way to a supervisor.
pub trait Watch: AsFd + Send {
    /// Called when the descriptor is readable, until it answers `None`. Must not block.
    fn ready(&mut self) -> Option<Order>;
}

/// A server of one service on its listeners, run by one loop and its crew.
pub struct Server {
    crew: Arc<Crew>,
}

/// Makes a [`Server`] out of its parts.
pub struct Builder {
    settings: Settings,
    listeners: Vec<Listener>,
    raw: Vec<(Vec<Listener>, Arc<dyn Service>)>,
    mounts: Vec<(Mount, Arc<dyn Service>)>,
    watches: Vec<Box<dyn Watch>>,
    observer: Arc<dyn Observer>,
    coroner: Option<Arc<dyn Coroner>>,
    log: Arc<dyn Log>,
}

impl Builder {
    /// Serves HTTP on `listeners` too.
    #[must_use]
    pub fn listeners(mut self, listeners: impl IntoIterator<Item = Listener>) -> Self {
        self.listeners.extend(listeners);
        self
    }

    /// Hands requests beneath `mount` to a service of their own. A named host comes before any, a longer prefix
    /// before a shorter; what no mount takes goes to the service that the server is [built](Self::build) with.
    #[must_use]
    pub fn mount(mut self, mount: Mount, service: Arc<dyn Service>) -> Self {
        self.mounts.push((mount, service));
        self
    }

    /// Hands the connections of these `listeners` to `service` as they are: see [`Run::next_session`](crate::Run).
    #[must_use]
    pub fn streams(
        mut self,
        listeners: impl IntoIterator<Item = Listener>,
        service: Arc<dyn Service>,
    ) -> Self {
        self.raw.push((listeners.into_iter().collect(), service));
        self
    }

    /// Hands what these sockets receive to `service`: see [`Run::next_datagram`](crate::Run).
    #[must_use]
    pub fn datagrams(
        mut self,
        sockets: impl IntoIterator<Item = Listener>,
        service: Arc<dyn Service>,
    ) -> Self {
        self.raw.push((sockets.into_iter().collect(), service));
        self
    }

    /// Obeys `watch`.
    #[must_use]
    pub fn watch(mut self, watch: Box<dyn Watch>) -> Self {
        self.watches.push(watch);
        self
    }

    /// Tells `observer` what happens.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Tells `coroner` of requests that take too long, as [`Settings::deadlines`] has it.
    #[must_use]
    pub fn coroner(mut self, coroner: Arc<dyn Coroner>) -> Self {
        self.coroner = Some(coroner);
        self
    }

    /// Sends its messages to `log`.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn Log>) -> Self {
        self.log = log;
        self
    }

    /// The server, ready to be [started](Server::start) or [turned](Server::turn).
    pub fn build(self, service: Arc<dyn Service>, threads: Arc<dyn ThreadSource>) -> io::Result<Server> {
        let settings = Arc::new(self.settings);
        let mut routes = Routes::new(service);
        for (mount, service) in self.mounts {
            routes.mount(mount, service);
        }
        let mut doors: Vec<Door> =
            self.listeners.into_iter().map(|listener| Door::new(listener, None)).collect();
        for (listeners, service) in self.raw {
            let number = routes.add(service);
            doors.extend(listeners.into_iter().map(|listener| Door::new(listener, Some(number))));
        }
        let routes = Arc::new(routes);
        let (event_loop, waker) = EventLoop::new(
            doors,
            self.watches,
            Arc::clone(&routes),
            Arc::clone(&settings),
            Arc::clone(&self.observer),
            Arc::clone(&self.log),
        )?;
        let watchers = Watchers { observer: self.observer, coroner: self.coroner };
        let crew = Crew::new(Box::new(event_loop), waker, settings, routes, threads, (watchers, self.log));
        Ok(Server { crew })
    }
}

impl Server {
    /// Begins to put a server together.
    pub fn builder(settings: Settings) -> Builder {
        Builder {
            settings,
            listeners: Vec::new(),
            raw: Vec::new(),
            mounts: Vec::new(),
            watches: Vec::new(),
            observer: Arc::new(NoObserver),
            coroner: None,
            log: Arc::new(SilentLog),
        }
    }

    /// Starts the crew, and with it the service.
    pub fn start(&self) -> io::Result<()> {
        self.crew.start()
    }

    /// One turn on the calling thread, for a server that was not started: waits at most `timeout` for something to
    /// do, reads, runs what is complete, writes. False: the server has ended.
    pub fn turn(&self, timeout: Option<Duration>) -> bool {
        self.crew.turn(timeout)
    }

    /// The descriptor that another loop watches for the server's sake: readable when a [turn](Self::turn) has something
    /// to do. What it has to do at some time makes nothing readable: [`until_due`](Self::until_due). `None`: it has
    /// ended, and its descriptor is closed.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.crew.descriptor()
    }

    /// How long until the next [turn](Self::turn) is wanted though the descriptor stays quiet: a time-out, or work that
    /// the last turn has left. A second at most.
    pub fn until_due(&self) -> Duration {
        self.crew.until_due()
    }

    /// A way to give it orders from anywhere.
    pub fn control(&self) -> Control {
        Control { crew: Arc::clone(&self.crew) }
    }

    /// Waits until the server has ended. False: `timeout` has passed before.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.crew.wait_stopped(timeout)
    }

    /// Waits until the threads that it has made have ended, as far as their [source](ThreadSource::join) keeps track of
    /// them. To be called when it has ended, by none of its own threads.
    pub fn join(&self) {
        self.crew.join();
    }

    /// How many threads the crew has, and how many of them are in the service.
    pub fn threads(&self) -> (usize, usize) {
        let (members, inside) = self.crew.figures();
        (usize::from(members), usize::from(inside))
    }

    /// How many requests wait for a thread.
    pub fn queued(&self) -> usize {
        self.crew.lock().pending.len()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Gives a server orders.
#[derive(Debug, Clone)]
pub struct Control {
    crew: Arc<Crew>,
}

impl Control {
    /// Hands `order` to the loop, and returns at once.
    pub fn order(&self, order: Order) {
        self.crew.order(order);
    }

    /// Ends the loop's present wait, or its next one: a [turn](Server::turn) returns.
    pub fn wake(&self) {
        self.crew.wake_loop();
    }

    /// Waits until the server has ended. False: `timeout` has passed before.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.crew.wait_stopped(timeout)
    }
}
