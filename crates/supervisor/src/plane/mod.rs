//! The operations plane: health, figures and orders over HTTP/1.1, served by the supervisor itself.
//!
//! It needs no worker and no interpreter, so it answers within milliseconds also while every worker hangs. The
//! supervisor has one thread and must never wait for a client: all that is here is bounded (connections, sizes, times)
//! and driven by the supervisor's own poller.
//!
//! | module | what it does |
//! |---|---|
//! | [`clients`] | who is connected, and who has to leave where there are too many |
//! | [`connection`] | one client: bytes in, requests out, answers back, deadlines |
//! | [`guard`] | who may ask what: names of hosts, origins, orders (pure) |
//! | [`routes`] | what is answered to a request (pure) |
//! | [`documents`] | what is told, as JSON (pure) |
//! | [`history`] | the last ten minutes, a sample a second |
//! | [`stacks`] | what threads do, asked of the workers |
//! | [`page`] | the page at `/` |

mod clients;
mod connection;
mod documents;
mod guard;
mod history;
mod page;
mod routes;
mod stacks;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use stdserve_sys::listener::{Listener, Registry};
use stdserve_sys::poller::{Poller, Readiness};

use clients::Clients;
use connection::Turn;
pub use guard::Hosts;
use history::History;
pub(crate) use routes::Order;
pub use view::Setting;
pub(crate) use view::View;

/// The first of the plane's tokens; those of templates and workers are counted from 1 and never come so far.
const TOKENS: usize = 1 << 40;
/// The most listeners.
const LISTENERS: usize = 64;
/// How often followers are told, and a sample is taken.
const BEAT: Duration = Duration::from_secs(1);

/// The operations plane.
#[derive(Debug)]
pub struct Plane {
    listeners: Vec<Registry>,
    hosts: Hosts,
    clients: Clients,
    history: History,
    /// When the next sample is due.
    beat: Instant,
    /// Listeners at which somebody may be waiting.
    asked: BTreeSet<usize>,
    /// Another server answers at the addresses that both have.
    handed_over: bool,
}

impl Plane {
    /// A plane on these listeners, which are for connections. `hosts`: the names that it may be asked for by.
    pub fn new(listeners: Vec<Registry>, hosts: Hosts) -> Self {
        let (clients, history, asked) = (Clients::default(), History::default(), BTreeSet::new());
        Self { listeners, hosts, clients, history, beat: Instant::now(), asked, handed_over: false }
    }

    /// The listeners that another server may take over.
    pub(crate) fn shareable(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().flat_map(Registry::shareable)
    }

    /// The addresses that were named, as links.
    pub fn urls(&self) -> Vec<String> {
        self.shareable().map(Listener::url).collect()
    }

    /// Another server goes on with them.
    pub(crate) fn leave_files(&mut self) {
        self.handed_over = true;
        self.listeners.iter_mut().for_each(Registry::leave_files);
    }

    /// The server that they came from has ended.
    pub(crate) fn claim(&mut self) {
        self.listeners.iter_mut().for_each(Registry::claim);
    }

    /// Whether a token of the poller is the plane's.
    pub(crate) fn owns(token: usize) -> bool {
        token >= TOKENS
    }

    /// Has the poller watch the listeners.
    pub(crate) fn watch(&self, poller: &Poller) -> io::Result<()> {
        let listeners = self.listeners.iter().flat_map(Registry::listeners);
        for (index, listener) in listeners.take(LISTENERS).enumerate() {
            poller.add_readable(listener, TOKENS + index)?;
        }
        Ok(())
    }

    /// When [`serve`](Self::serve) is due at the latest.
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        let beat = if self.asked.is_empty() { self.beat } else { now };
        self.clients.deadline().map_or(beat, |deadline| deadline.min(beat))
    }

    /// Does all that can be done without waiting. Returns what clients have ordered.
    pub(crate) fn serve(
        &mut self,
        ready: &[Readiness],
        poller: &Poller,
        view: &View<'_>,
        now: Instant,
    ) -> Vec<Order> {
        let mut orders = Vec::new();
        let due = now >= self.beat;
        if due {
            self.beat = now + BEAT;
            self.history.sample(view);
        }
        for readiness in ready.iter().filter(|readiness| Self::owns(readiness.token)) {
            if readiness.token < TOKENS + LISTENERS {
                self.asked.insert(readiness.token - TOKENS);
            } else {
                self.clients.woken(readiness);
            }
        }
        let turn = Turn { view, hosts: &self.hosts, history: &self.history, due, now };
        self.clients.drive(poller, &turn, &mut orders);
        // What was handed over is accepted by the other server alone.
        let listeners: Vec<_> = self
            .listeners
            .iter()
            .flat_map(|registry| {
                let taken = self.handed_over && registry.shareable().next().is_some();
                registry.listeners().iter().map(move |listener| (!taken).then_some(listener))
            })
            .collect();
        self.asked.retain(|index| {
            let listener = listeners.get(*index).copied().flatten();
            listener.is_some_and(|listener| self.clients.accept(listener, poller, &turn, &mut orders))
        });
        orders
    }
}
