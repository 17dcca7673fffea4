//! The bytes of a connection, as the kernel gives and takes them.
//!
//! Everything above sees only [`Transport`]: TLS will be a further kind here, and nothing else changes.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// A connected, non-blocking stream socket.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Transport {
    pub(crate) fn tcp(fd: OwnedFd) -> Self {
        Self::Tcp(fd.into())
    }

    pub(crate) fn unix(fd: OwnedFd) -> Self {
        Self::Unix(fd.into())
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        match self {
            Self::Tcp(socket) => socket.into(),
            Self::Unix(socket) => socket.into(),
        }
    }

    /// A second descriptor of the same socket, which blocks from now on.
    pub(crate) fn try_clone_blocking(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => {
                let socket = socket.try_clone()?;
                socket.set_nonblocking(false)?;
                Self::Tcp(socket)
            }
            Self::Unix(socket) => {
                let socket = socket.try_clone()?;
                socket.set_nonblocking(false)?;
                Self::Unix(socket)
            }
        })
    }

    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        retry(|| match self {
            Self::Tcp(socket) => (&*socket).read(into),
            Self::Unix(socket) => (&*socket).read(into),
        })
    }

    pub(crate) fn write(&self, from: &[u8]) -> io::Result<usize> {
        retry(|| match self {
            Self::Tcp(socket) => (&*socket).write(from),
            Self::Unix(socket) => (&*socket).write(from),
        })
    }

    /// Writes what a file or the connection's end will follow: the kernel holds it back until then, so that they share
    /// packets.
    pub(crate) fn write_more(&self, from: &[u8]) -> io::Result<usize> {
        retry(|| stdserve_sys::net::send_more(self.as_fd(), from))
    }

    /// Writes several pieces with one system call (sendmsg(2)), as far as the socket takes them.
    pub(crate) fn write_pieces(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        retry(|| stdserve_sys::net::send_pieces(self.as_fd(), pieces))
    }

    /// Writes from a file (sendfile(2)), from `offset`, at most `length` bytes.
    pub(crate) fn write_file(&self, file: &File, offset: u64, length: usize) -> io::Result<usize> {
        retry(|| stdserve_sys::net::send_file(self.as_fd(), file, offset, length))
    }

    /// Closing throws away what the socket has not sent, and tells a TCP client so.
    pub(crate) fn reset_on_close(&self) {
        let _ = stdserve_sys::net::reset_on_close(self.as_fd());
    }

    /// Tells a TCP client at once that the connection has failed.
    pub(crate) fn reset(&self) {
        if let Self::Tcp(socket) = self {
            let _ = stdserve_sys::net::reset(socket.as_fd());
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        // Fails only where the peer has ended the connection already.
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(how),
            Self::Unix(socket) => socket.shutdown(how),
        };
    }
}

/// A signal that interrupts a call is no reason to give up on a client.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
