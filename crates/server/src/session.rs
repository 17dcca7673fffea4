//! A connection that a raw service has to itself: bytes, and nothing of ours between them and the handler.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::crew::{Crew, Done, End};
use crate::exchange::{Inner, ListenerInfo, Peer};
use crate::transport::Transport;

/// One connection of a stream listener, for as long as its handler has it. Its socket blocks; closed when dropped.
///
/// While a handler waits for its client another thread of the crew runs the loop, and the next handler: there may be
/// as many sessions at once as [`Settings::threads`](crate::Settings::threads) says; more wait for their turn.
#[derive(Debug)]
pub struct Session {
    socket: Transport,
    /// What the engine has read before.
    ahead: Vec<u8>,
    guard: SessionGuard,
}

/// Keeps a session's place among the connections of its server, where the socket has gone elsewhere.
#[derive(Debug)]
pub struct SessionGuard {
    /// Taken out when the session ends.
    inner: Option<Box<Inner>>,
    peer: Peer,
    listener: Option<Arc<ListenerInfo>>,
    crew: Arc<Crew>,
}

impl Session {
    pub(crate) fn new(socket: Transport, ahead: Vec<u8>, inner: Box<Inner>, crew: Arc<Crew>) -> Self {
        let (peer, listener) = (inner.request.peer, inner.listener.clone());
        Self { socket, ahead, guard: SessionGuard { inner: Some(inner), peer, listener, crew } }
    }

    /// Who is connected.
    pub fn peer(&self) -> &Peer {
        &self.guard.peer
    }

    /// The listener that the connection came in on.
    pub fn listener(&self) -> &ListenerInfo {
        self.guard.listener()
    }

    /// A number of this session, unlike that of any other of this process.
    pub fn id(&self) -> u64 {
        self.guard.inner.as_ref().map_or(0, |inner| inner.request.id)
    }

    /// What the engine has read of the connection before it became a session: only where
    /// [`Settings::hand_over_refused`](crate::Settings::hand_over_refused) is set. For those who read from the socket
    /// itself; empty afterwards.
    pub fn take_ahead(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ahead)
    }

    /// The socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket itself, for those who close it in their own way; the session ends when the guard is dropped.
    pub fn into_socket(self) -> (OwnedFd, SessionGuard) {
        (self.socket.into_fd(), self.guard)
    }

    /// Shuts the connection down, one way or both (shutdown(2)).
    pub fn shutdown(&self, how: Shutdown) {
        self.socket.shutdown(how);
    }
}

impl SessionGuard {
    /// The listener that the connection came in on.
    pub fn listener(&self) -> &ListenerInfo {
        ListenerInfo::or_none(self.listener.as_ref())
    }
}

impl Read for Session {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            return self.socket.read(into);
        }
        let count = into.len().min(self.ahead.len());
        into[..count].copy_from_slice(&self.ahead[..count]);
        self.ahead.drain(..count);
        Ok(count)
    }
}

impl Write for Session {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.socket.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.crew.raw_ended(Done { inner, end: End::Keep });
        }
    }
}
