//! Waits for descriptors: one poller serves the loop of a worker and the supervisor alike.
//!
//! A thin layer over [`mio::Poll`] (epoll(7), edge-triggered): a descriptor is added once, for reading and writing,
//! and is never changed again. Whoever gets an edge must remember it until the kernel says `WouldBlock`, or until a
//! stream socket gave less than was asked for, which epoll(7) names as the same thing.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker as MioWaker};

/// What one descriptor became ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // the kernel's own flags, one each
pub struct Readiness {
    /// The number under which the descriptor was added.
    pub token: usize,
    /// There is something to read, or an end of stream.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The peer has shut down its sending half (`EPOLLRDHUP`), or all of it.
    pub read_closed: bool,
    /// The connection is gone both ways (`EPOLLHUP`) or in error (`EPOLLERR`).
    pub gone: bool,
}

/// An epoll instance and room for its answers.
#[derive(Debug)]
pub struct Poller {
    poll: Poll,
    events: Events,
}

/// Ends a [`Poller::wait`] from any thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<MioWaker>);

impl Waker {
    /// Makes the present wait, or the next one, return at once.
    pub fn wake(&self) {
        // The eventfd can refuse only when its counter is full, and then the wait is due to return anyway.
        let _ = self.0.wake();
    }
}

impl Poller {
    /// A poller that reports at most `capacity` descriptors a wait.
    pub fn new(capacity: usize) -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(capacity) })
    }

    /// Watches `fd`, for reading and writing, until it is closed or removed.
    pub fn add(&self, fd: &impl AsRawFd, token: usize) -> io::Result<()> {
        self.register(fd.as_raw_fd(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Watches `fd` for reading only (listeners, pipes, channels).
    pub fn add_readable(&self, fd: &impl AsRawFd, token: usize) -> io::Result<()> {
        self.register(fd.as_raw_fd(), token, Interest::READABLE)
    }

    fn register(&self, fd: RawFd, token: usize, interest: Interest) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&fd), Token(token), interest)
    }

    /// Stops watching `fd`. Closing the last copy of a descriptor does the same.
    pub fn remove(&self, fd: &impl AsRawFd) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()))
    }

    /// A waker that is reported under `token`. One a poller.
    pub fn waker(&self, token: usize) -> io::Result<Waker> {
        Ok(Waker(Arc::new(MioWaker::new(self.poll.registry(), Token(token))?)))
    }

    /// Waits until something is ready or `timeout` has passed (`None`: without limit), rounding up to a millisecond
    /// (`epoll_wait(2)`). A signal ends the wait with nothing ready.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            other => other,
        }
    }

    /// What the last wait found.
    pub fn ready(&self) -> impl Iterator<Item = Readiness> + '_ {
        self.events.iter().map(|event| Readiness {
            token: event.token().0,
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            // mio calls a stream write-closed on EPOLLHUP, and on EPOLLOUT together with EPOLLERR.
            gone: event.is_error() || (event.is_write_closed() && event.is_read_closed()),
        })
    }
}

impl AsRawFd for Poller {
    /// The epoll descriptor, which another poller may watch in turn.
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn reports_what_became_ready_under_its_token() {
        let mut poller = Poller::new(8).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        poller.add(&ours, 7).unwrap();
        theirs.write_all(b"x").unwrap();
        poller.wait(None).unwrap();
        let seen: Vec<_> = poller.ready().collect();
        assert_eq!(seen.len(), 1);
        assert!(seen[0].token == 7 && seen[0].readable && seen[0].writable && !seen[0].gone);
    }

    #[test]
    fn a_hang_up_is_gone_and_a_half_close_is_not() {
        let mut poller = Poller::new(8).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        poller.add(&ours, 1).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        poller.wait(None).unwrap();
        assert!(poller.ready().any(|r| r.read_closed && !r.gone));
        drop(theirs);
        poller.wait(None).unwrap();
        assert!(poller.ready().any(|r| r.gone));
    }

    #[test]
    fn a_waker_ends_a_wait_that_has_not_begun() {
        let mut poller = Poller::new(8).unwrap();
        let waker = poller.waker(3).unwrap();
        waker.wake();
        poller.wait(None).unwrap();
        assert_eq!(poller.ready().map(|r| r.token).collect::<Vec<_>>(), [3]);
    }
}
