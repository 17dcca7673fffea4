//! Socket calls that the standard library lacks: accepting without a second call, sendmsg(2) and sendfile(2).

use std::fs::File;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{SendAncillaryBuffer, SendFlags, SocketFlags};

/// Accepts a connection, close-on-exec, `blocking` or not (accept4(2)). The address is `None` on Unix sockets.
pub fn accept(listener: BorrowedFd<'_>, blocking: bool) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let mut flags = SocketFlags::CLOEXEC;
    flags.set(SocketFlags::NONBLOCK, !blocking);
    let (socket, address) = rustix::net::acceptfrom_with(listener, flags)?;
    let address = address.and_then(|any| SocketAddr::try_from(any).ok());
    Ok((socket, address))
}

/// Sends several pieces with one call (sendmsg(2)); no SIGPIPE. Returns how many bytes the socket took.
pub fn send_pieces(socket: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(rustix::net::sendmsg(socket, pieces, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
}

/// Sends bytes that more will follow at once (send(2) with `MSG_MORE`); no SIGPIPE.
pub fn send_more(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::MORE)?)
}

/// Sends up to `length` bytes of `file` from `offset` (sendfile(2)); the file's own position does not move.
pub fn send_file(socket: BorrowedFd<'_>, file: &File, offset: u64, length: usize) -> io::Result<usize> {
    let mut offset = offset;
    Ok(rustix::fs::sendfile(socket, file, Some(&mut offset), length)?)
}

/// Whether the byte at `offset` of a file can be read without waiting for the disk (preadv2(2) with `RWF_NOWAIT`).
/// False where the file system cannot tell.
pub fn is_at_hand(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    rustix::io::preadv2(file, &mut [io::IoSliceMut::new(&mut byte)], offset, flags).is_ok()
}

/// Resets a TCP connection at once, though others hold descriptors of it (connect(2) with `AF_UNSPEC`).
pub fn reset(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::connect_unspec(socket)?)
}

/// Makes the close of a TCP socket a reset (`SO_LINGER` of 0, socket(7)): what it has not sent is thrown away.
pub fn reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(set_socket_linger(socket, Some(Duration::ZERO))?)
}
