//! Pipes to and from other programs, and waiting for several descriptors at once.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;

/// A pipe out of which this process reads, without blocking, and the end for the other program. Close-on-exec, both.
pub fn to_read() -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    Ok((reader.into(), writer))
}

/// A pipe into which this process writes, without blocking, and the end for the other program. Close-on-exec, both.
pub fn to_write() -> io::Result<(OwnedFd, File)> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK)?;
    Ok((reader, writer.into()))
}

/// `/dev/null`, for reading and writing.
pub fn null() -> io::Result<OwnedFd> {
    Ok(File::options().read(true).write(true).open("/dev/null")?.into())
}

/// Wakes a thread that [waits](wait), from any other (eventfd(2)).
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// One that has not rung.
    pub fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Makes it readable. Never waits.
    pub fn ring(&self) {
        // A counter at its limit is readable all the same.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable until it rings again: before one looks for what it rang for.
    pub fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// In a forked child, whose copy of the descriptor rings with the parent's: puts a bell of its own under the same
    /// number. It has not rung.
    pub fn renew(&mut self) -> io::Result<()> {
        let fresh = Self::new()?;
        rustix::io::dup3(&fresh.0, &mut self.0, rustix::io::DupFlags::CLOEXEC)?;
        Ok(())
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What is waited for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// There is something to read, or nothing will come any more.
    Reading,
    /// There is room to write, or nobody reads any more.
    Writing,
}

/// Waits until one of the descriptors is ready, or `limit` has passed (poll(2)). Which are, in their order; none where
/// the time is up or a signal came. `None` in place of a descriptor is never ready.
pub fn wait<const N: usize>(
    descriptors: [Option<(BorrowedFd<'_>, For)>; N],
    limit: Duration,
) -> io::Result<[bool; N]> {
    let mut ready = [false; N];
    let mut polled = Vec::with_capacity(N);
    polled.extend(descriptors.iter().flatten().map(|(descriptor, what)| {
        let events = match what {
            For::Reading => PollFlags::IN,
            For::Writing => PollFlags::OUT,
        };
        PollFd::from_borrowed_fd(*descriptor, events)
    }));
    let limit = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    match rustix::event::poll(&mut polled, Some(&limit)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(ready),
        Err(error) => return Err(error.into()),
    }
    let mut results = polled.iter();
    for (ready, descriptor) in ready.iter_mut().zip(&descriptors) {
        if descriptor.is_some() {
            *ready = results.next().is_some_and(|result| !result.revents().is_empty());
        }
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_bell_rings_until_it_is_silenced() {
        let bell = Bell::new().unwrap();
        let rings = || wait([Some((bell.as_fd(), For::Reading))], Duration::ZERO).unwrap()[0];
        assert!(!rings());
        bell.ring();
        bell.ring();
        assert!(rings() && rings());
        bell.silence();
        assert!(!rings());
    }

    #[test]
    fn what_is_ready_is_told() {
        let (mut reader, writer) = to_read().unwrap();
        let (unread, mut full) = to_write().unwrap();
        let ready = |reader: &File, full: &File| {
            wait(
                [Some((reader.as_fd(), For::Reading)), None, Some((full.as_fd(), For::Writing))],
                Duration::ZERO,
            )
            .unwrap()
        };
        assert_eq!(ready(&reader, &full), [false, false, true]);
        while full.write(&[0; 4096]).is_ok() {}
        File::from(writer.try_clone().unwrap()).write_all(b"x").unwrap();
        assert_eq!(ready(&reader, &full), [true, false, false]);
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 1);
        assert_eq!(reader.read(&mut [0; 9]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop((writer, unread));
        assert_eq!(ready(&reader, &full), [true, false, true], "the other end has gone");
    }
}
