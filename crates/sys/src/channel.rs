//! Messages between processes: a pair of sockets that keeps the bounds of messages and can pass descriptors.
//!
//! A channel is also a lifeline: when the other end has ended, receiving says so at once, whatever ended it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The longest message in bytes; longer ones are refused when they are sent.
pub const MESSAGE_LIMIT: usize = 32 * 1024;

/// One end of a pair (`SOCK_SEQPACKET`, unix(7)). Close-on-exec.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What came through a channel.
#[derive(Debug)]
pub struct Message {
    /// The bytes, as they were sent in one call.
    pub bytes: Vec<u8>,
    /// A descriptor that came along, already close-on-exec.
    pub descriptor: Option<OwnedFd>,
}

impl Channel {
    /// Two ends that are connected with each other.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Sends one message, and a descriptor with it. Never waits: a full channel is an error (`WouldBlock`).
    pub fn send(&self, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        if bytes.is_empty() || bytes.len() > MESSAGE_LIMIT {
            // An empty message could not be told from the end of the channel.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.map(|fd| [fd]);
        if let Some(descriptors) = &descriptors {
            ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        loop {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::sendmsg(&self.0, &[IoSlice::new(bytes)], &mut ancillary, flags) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Tells the other end that nothing more will come (shutdown(2)); what it says can still be received.
    pub fn end_sending(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write)?)
    }

    /// Waits for the next message. `None`: the other end is closed.
    pub fn receive(&self) -> io::Result<Option<Message>> {
        self.receive_with(RecvFlags::empty())
    }

    /// The next message if there is one, else `WouldBlock`. `None`: the other end is closed.
    pub fn try_receive(&self) -> io::Result<Option<Message>> {
        self.receive_with(RecvFlags::DONTWAIT)
    }

    fn receive_with(&self, flags: RecvFlags) -> io::Result<Option<Message>> {
        let mut bytes = vec![0; MESSAGE_LIMIT];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let flags = flags | RecvFlags::CMSG_CLOEXEC;
            let received = match rustix::net::recvmsg(
                &self.0,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                flags,
            ) {
                Ok(received) => received,
                Err(rustix::io::Errno::INTR) => continue,
                // The other end died with unread messages of ours: it is closed, nothing more.
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let descriptor = ancillary.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
                _ => None,
            });
            if received.bytes == 0 {
                return Ok(None);
            }
            bytes.truncate(received.bytes);
            bytes.shrink_to_fit();
            return Ok(Some(Message { bytes, descriptor }));
        }
    }
}

impl From<OwnedFd> for Channel {
    /// Takes an end that came through another channel.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_carry_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        assert_eq!(other.try_receive().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let (third, fourth) = Channel::pair().unwrap();
        one.send(b"first", None).unwrap();
        one.send(b"second", Some(fourth.as_fd())).unwrap();
        drop(fourth);
        assert_eq!(other.receive().unwrap().unwrap().bytes, b"first");
        let second = other.receive().unwrap().unwrap();
        assert_eq!(second.bytes, b"second");
        let fourth = Channel::from(second.descriptor.unwrap());
        assert!(rustix::io::fcntl_getfd(&fourth).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        fourth.send(b"through", None).unwrap();
        assert_eq!(third.receive().unwrap().unwrap().bytes, b"through");
    }

    #[test]
    fn a_closed_end_is_an_end() {
        let (one, other) = Channel::pair().unwrap();
        other.send(b"unread", None).unwrap();
        one.send(b"last", None).unwrap();
        drop(one);
        // What was sent before the end is not lost, and the end is no error.
        let mut seen = Vec::new();
        while let Some(message) = other.receive().unwrap() {
            seen.push(message.bytes);
        }
        assert!(seen.is_empty() || seen == [b"last"]);
        assert!(other.send(b"x", None).is_err());
    }

    #[test]
    fn ending_one_direction_leaves_the_other() {
        let (one, other) = Channel::pair().unwrap();
        one.send(b"last", None).unwrap();
        one.end_sending().unwrap();
        assert_eq!(other.receive().unwrap().unwrap().bytes, b"last");
        assert!(other.receive().unwrap().is_none());
        other.send(b"answer", None).unwrap();
        assert_eq!(one.receive().unwrap().unwrap().bytes, b"answer");
    }

    #[test]
    fn empty_and_oversized_messages_are_refused() {
        let (one, _other) = Channel::pair().unwrap();
        assert!(one.send(b"", None).is_err());
        assert!(one.send(&vec![0; MESSAGE_LIMIT + 1], None).is_err());
    }
}
