//! Who is connected to the plane, and who has to leave where there are too many.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Instant;

use stdserve_sys::listener::{Kind, Listener};
use stdserve_sys::net;
use stdserve_sys::poller::{Poller, Readiness};

use super::connection::{Connection, Turn};
use super::routes::Order;
use super::{LISTENERS, TOKENS};

/// The most clients at once. One more takes the place of the one that has kept the plane waiting for longest.
const CLIENTS: usize = 32;
/// The most of them that are sent events.
const FOLLOWERS: usize = 16;
/// The most that are taken in before others have their turn.
const AT_A_TURN: usize = 64;

/// All clients, by their tokens, which rise with their coming.
#[derive(Debug, Default)]
pub(super) struct Clients {
    list: BTreeMap<usize, Connection>,
    come: usize,
}

impl Clients {
    /// When the first of them is to be driven at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.list.values().filter_map(Connection::deadline).min()
    }

    /// The poller has seen something.
    pub(super) fn woken(&mut self, readiness: &Readiness) {
        if let Some(client) = self.list.get_mut(&readiness.token) {
            client.woken(readiness);
        }
    }

    /// Lets all of them go on, or go.
    pub(super) fn drive(&mut self, poller: &Poller, turn: &Turn<'_>, orders: &mut Vec<Order>) {
        let tokens: Vec<usize> = self.list.keys().copied().collect();
        for token in tokens {
            self.drive_one(token, poller, turn, orders);
        }
    }

    fn drive_one(&mut self, token: usize, poller: &Poller, turn: &Turn<'_>, orders: &mut Vec<Order>) {
        let room = self.list.values().filter(|client| client.follows()).count() < FOLLOWERS;
        if let Some(client) = self.list.get_mut(&token)
            && !client.drive(turn, room, orders)
        {
            self.close(token, poller);
        }
    }

    /// Takes in who waits at a listener. Whether there may be more.
    pub(super) fn accept(
        &mut self,
        listener: &Listener,
        poller: &Poller,
        turn: &Turn<'_>,
        orders: &mut Vec<Order>,
    ) -> bool {
        for _ in 0..AT_A_TURN {
            // Where descriptors have run out, or a client has left again, the next wake-up tries anew.
            let Ok((socket, address)) = net::accept(listener.as_fd(), false) else { return false };
            // Who may open a Unix socket is of this machine.
            let near = |address: std::net::SocketAddr| address.ip().to_canonical().is_loopback();
            let local = listener.kind() == Kind::Unix || address.is_some_and(near);
            self.make_room(poller);
            self.come += 1;
            let token = TOKENS + LISTENERS + self.come;
            let client = Connection::new(socket, local, turn.now);
            if poller.add(&client, token).is_ok() {
                self.list.insert(token, client);
                // What it asks for is mostly there already: nobody who comes next can take its place before.
                self.drive_one(token, poller, turn, orders);
            }
        }
        true
    }

    /// Closes the connection that has kept the plane waiting for longest, where there are too many.
    fn make_room(&mut self, poller: &Poller) {
        if self.list.len() < CLIENTS {
            return;
        }
        let waiting = self.list.iter().filter_map(|(token, client)| Some((client.waits_since()?, *token)));
        // Where nobody can be blamed the oldest goes.
        let token = waiting.min().map(|(_, token)| token).or_else(|| self.list.keys().next().copied());
        if let Some(token) = token {
            self.close(token, poller);
        }
    }

    fn close(&mut self, token: usize, poller: &Poller) {
        if let Some(client) = self.list.remove(&token) {
            // A template may have been forked meanwhile and not have closed its copy yet: closing alone would not
            // take it out of the poller.
            let _ = poller.remove(&client);
        }
    }
}
