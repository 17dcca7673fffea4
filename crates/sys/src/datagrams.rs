//! Datagrams, received and sent many at a time (recvmmsg(2), sendmmsg(2)).

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use socket2::{SockAddr, SockAddrStorage};

/// Datagrams taken with one call.
pub const AT_ONCE: usize = 32;

/// The largest datagram: UDP has no larger ones, and those of Unix sockets are cut here.
pub const LARGEST: usize = 65_536;

/// Who sent a datagram, and where an answer goes.
#[derive(Clone)]
pub struct Sender(SockAddr);

impl Sender {
    /// The address and port; `None` for a Unix socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        self.0.as_socket()
    }

    /// The path of a Unix socket, or its abstract name behind a zero byte; `None` where it has none.
    pub fn path(&self) -> Option<Vec<u8>> {
        let path = self.0.as_pathname().map(|path| path.as_os_str().as_bytes().to_vec());
        path.or_else(|| self.0.as_abstract_namespace().map(|name| [b"\0", name].concat()))
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            Some(address) => address.fmt(f),
            None => write!(f, "unix:{}", String::from_utf8_lossy(&self.path().unwrap_or_default())),
        }
    }
}

/// Room for the datagrams of one call: 2 MiB, of which the kernel touches what it fills.
pub struct Batch {
    data: Vec<u8>,
    addresses: Vec<SockAddrStorage>,
}

impl Batch {
    /// Room for [`AT_ONCE`] datagrams.
    pub fn new() -> Self {
        let addresses = (0..AT_ONCE).map(|_| SockAddrStorage::zeroed()).collect();
        Self { data: vec![0; AT_ONCE * LARGEST], addresses }
    }

    /// Takes what has come, without waiting, and hands each datagram to `take`. Returns how many there were; fewer
    /// than [`AT_ONCE`] means that no more are there now. `WouldBlock`: there was none.
    pub fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        mut take: impl FnMut(&[u8], Sender),
    ) -> io::Result<usize> {
        let mut vectors = [const { MaybeUninit::<libc::iovec>::zeroed() }; AT_ONCE];
        // SAFETY: zeroes are a valid mmsghdr: null pointers and lengths of 0.
        let mut headers: [libc::mmsghdr; AT_ONCE] = unsafe { std::mem::zeroed() };
        let rooms = self.data.chunks_exact_mut(LARGEST).zip(&mut self.addresses);
        for ((header, vector), (room, address)) in headers.iter_mut().zip(&mut vectors).zip(rooms) {
            vector.write(libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() });
            header.msg_hdr.msg_iov = vector.as_mut_ptr();
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
            header.msg_hdr.msg_namelen = size_of::<SockAddrStorage>() as libc::socklen_t;
        }
        // SAFETY: every header points to one vector, one room and one address, each its own, all of which outlive the
        // call; the lengths are theirs.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                AT_ONCE as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (index, header) in headers.iter().take(count).enumerate() {
            let storage = std::mem::replace(&mut self.addresses[index], SockAddrStorage::zeroed());
            // SAFETY: the kernel has written the address, of this length, into the storage.
            let sender = unsafe { SockAddr::new(storage, header.msg_hdr.msg_namelen) };
            let length = (header.msg_len as usize).min(LARGEST);
            take(&self.data[index * LARGEST..index * LARGEST + length], Sender(sender));
        }
        Ok(count)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

/// Sends one datagram without waiting (sendto(2)). `WouldBlock`: the socket's buffer is full.
pub fn send(socket: BorrowedFd<'_>, data: &[u8], to: &Sender) -> io::Result<usize> {
    socket2::SockRef::from(&socket).send_to_with_flags(data, &to.0, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
}

/// Sends datagrams in this order, [`AT_ONCE`] with one call (sendmmsg(2)), without waiting. What the kernel does not
/// take is told to `failed`, with its place in `all`, and the next ones are sent all the same.
pub fn send_all(socket: BorrowedFd<'_>, all: &[(&[u8], &Sender)], mut failed: impl FnMut(usize, io::Error)) {
    let mut done = 0;
    while let Some(rest) = all.get(done..).filter(|rest| !rest.is_empty()) {
        match send_some(socket, rest) {
            Ok(count) => done += count.max(1),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                // It is about the first of them.
                failed(done, error);
                done += 1;
            }
        }
    }
}

fn send_some(socket: BorrowedFd<'_>, all: &[(&[u8], &Sender)]) -> io::Result<usize> {
    let mut vectors = [const { MaybeUninit::<libc::iovec>::zeroed() }; AT_ONCE];
    // SAFETY: zeroes are a valid mmsghdr: null pointers and lengths of 0.
    let mut headers: [libc::mmsghdr; AT_ONCE] = unsafe { std::mem::zeroed() };
    let count = all.len().min(AT_ONCE);
    for ((header, vector), (data, to)) in headers.iter_mut().zip(&mut vectors).zip(all) {
        // The kernel only reads from both; its types have no const.
        vector.write(libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() });
        header.msg_hdr.msg_iov = vector.as_mut_ptr();
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = to.0.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = to.0.len();
    }
    // SAFETY: each of the first `count` headers points to one vector, one datagram and one address, which outlive the
    // call and have these lengths.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn takes_all_that_has_come_and_answers_each() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(socket.local_addr().unwrap()).unwrap();
        for text in ["one", "", "three"] {
            client.send(text.as_bytes()).unwrap();
        }
        let mut got = Vec::new();
        let mut batch = Batch::new();
        let count = batch
            .receive(socket.as_fd(), |data, sender| {
                assert_eq!(sender.ip(), client.local_addr().ok());
                send(socket.as_fd(), data, &sender).unwrap();
                got.push(data.to_vec());
            })
            .unwrap();
        assert_eq!((count, got), (3, vec![b"one".to_vec(), b"".to_vec(), b"three".to_vec()]));
        let mut room = [0; 16];
        assert_eq!(client.recv(&mut room).unwrap(), 3);
        assert_eq!(batch.receive(socket.as_fd(), |_, _| ()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn what_cannot_be_sent_is_told_and_holds_up_nothing() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        client.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        let mut to = None;
        Batch::new().receive(socket.as_fd(), |_, sender| to = Some(sender)).unwrap();
        let to = to.unwrap();
        let large = vec![0; LARGEST];
        let small: Vec<_> = (0..=AT_ONCE as u8).map(|number| [number]).collect();
        let mut all: Vec<(&[u8], &Sender)> = small.iter().map(|data| (&data[..], &to)).collect();
        all.insert(0, (&large, &to));
        all.insert(5, (&large, &to));
        let mut failed = Vec::new();
        send_all(socket.as_fd(), &all, |index, error| failed.push((index, error.raw_os_error())));
        assert_eq!(failed, [(0, Some(libc::EMSGSIZE)), (5, Some(libc::EMSGSIZE))]);
        for number in 0..=AT_ONCE as u8 {
            let mut room = [0; 8];
            assert_eq!(client.recv(&mut room).unwrap(), 1);
            assert_eq!(room[0], number);
        }
    }

    #[test]
    fn a_sender_without_a_name_has_no_path() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.send(b"x").unwrap();
        let mut seen = None;
        Batch::new().receive(ours.as_fd(), |_, sender| seen = Some(sender)).unwrap();
        let sender = seen.unwrap();
        assert_eq!((sender.ip(), sender.path()), (None, None));
    }
}
