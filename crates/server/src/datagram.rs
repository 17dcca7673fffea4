//! A datagram and the way to answer it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use stdserve_sys::datagrams::{self, Sender};

use crate::crew::{Crew, Done, End};
use crate::exchange::{Inner, ListenerInfo};
use crate::observe::Log;
use stdserve_sys::listener::Listener;

/// What the loop has received, on its way to the service.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) data: Vec<u8>,
    pub(crate) sender: Sender,
    pub(crate) socket: Arc<Listener>,
}

/// The answer to a datagram, on its way to the kernel.
#[derive(Debug)]
pub(crate) struct Answer {
    data: Vec<u8>,
    to: Sender,
    socket: Arc<Listener>,
}

/// Sends answers: those that follow one another on a socket with one system call.
pub(crate) fn send_answers(answers: &[Answer], log: &dyn Log) {
    for answers in answers.chunk_by(|one, next| Arc::ptr_eq(&one.socket, &next.socket)) {
        let Some(first) = answers.first() else { continue };
        let all: Vec<_> = answers.iter().map(|answer| (&*answer.data, &answer.to)).collect();
        datagrams::send_all(first.socket.as_fd(), &all, |index, error| {
            log.debug(&format!("an answer to {:?} is lost: {error}", all[index].1));
        });
    }
}

/// One datagram, and the socket that it came in by.
#[derive(Debug)]
pub struct Datagram {
    received: Received,
    inner: Option<Box<Inner>>,
    crew: Arc<Crew>,
}

impl Datagram {
    pub(crate) fn new(received: Received, inner: Box<Inner>, crew: Arc<Crew>) -> Self {
        Self { received, inner: Some(inner), crew }
    }

    /// What was sent; may be empty.
    pub fn data(&self) -> &[u8] {
        &self.received.data
    }

    /// Who sent it.
    pub fn sender(&self) -> &Sender {
        &self.received.sender
    }

    /// The listener that it came in by.
    pub fn listener(&self) -> &ListenerInfo {
        ListenerInfo::or_none(self.inner.as_ref().and_then(|inner| inner.listener.as_ref()))
    }

    /// A number of this datagram, unlike that of any other of this process.
    pub fn id(&self) -> u64 {
        self.inner.as_ref().map_or(0, |inner| inner.request.id)
    }

    /// The socket, which receives others too: non-blocking.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.received.socket.as_fd()
    }

    /// Answers the sender from the address that it sent to, and ends. The answers of datagrams that came together leave
    /// together (sendmmsg(2)), when the service has had them all or one of them takes long; so nobody is told where the
    /// kernel does not take one, but the log: use [`reply`](Self::reply) to hear of it.
    pub fn answer(self, data: Vec<u8>) {
        let socket = Arc::clone(&self.received.socket);
        self.crew.answer(Answer { data, to: self.received.sender.clone(), socket });
    }

    /// Answers the sender from the address that it sent to, at once and without waiting (sendto(2)). `WouldBlock`: the
    /// socket's buffer is full, and the answer is lost unless it is tried again; datagrams may get lost anywhere.
    pub fn reply(&self, data: &[u8]) -> io::Result<()> {
        datagrams::send(self.socket(), data, &self.received.sender).map(drop)
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.crew.raw_ended(Done { inner, end: End::Keep });
        }
    }
}
