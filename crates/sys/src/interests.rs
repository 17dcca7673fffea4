//! An epoll instance that tells of each interest once, for a loop whose waiting is done elsewhere.
//!
//! The toolkit's task scheduler waits in Python (a thread that the interpreter leaves behind must not stand in Rust);
//! this says what for. Every interest is one-shot: it is told once and then sleeps until it is changed, so that a
//! descriptor that was closed here while a copy of it lives on in another process is told of once more at most, and
//! never again and again. The caller's token comes back with what is told, so that what was registered under a number
//! of a descriptor can be told from what stands under that number now. A bell and a timer make the instance readable by
//! themselves.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::pipes::Bell;

/// The token of the bell and the timer.
pub const BELL: u32 = 0;

/// An epoll(7) instance, its bell and its timer.
#[derive(Debug)]
pub struct Interests {
    epoll: OwnedFd,
    bell: Bell,
    /// Made when it is first set.
    timer: OnceLock<OwnedFd>,
}

impl Interests {
    /// Nothing is waited for yet.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = Bell::new()?;
        told_once_a_change(&epoll, &bell)?;
        Ok(Self { epoll, bell, timer: OnceLock::new() })
    }

    /// Tells once of any of `events` (`EPOLLIN`, `EPOLLOUT`) on `fd`, under `token`, which is not [`BELL`]. `EEXIST`:
    /// it is known already, to be [changed](Self::change). `EPERM`: files of its kind are always ready. `EBADF`: no
    /// descriptor.
    pub fn add(&self, fd: RawFd, events: u32, token: u32) -> Result<(), Errno> {
        epoll::add(&self.epoll, borrow(fd)?, data(token), once(events))
    }

    /// The same for one that is known. `ENOENT`: the number stands for another file now.
    pub fn change(&self, fd: RawFd, events: u32, token: u32) -> Result<(), Errno> {
        epoll::modify(&self.epoll, borrow(fd)?, data(token), once(events))
    }

    /// Makes the instance readable, for one wait.
    pub fn ring(&self) {
        // Edge-triggered, it is never silenced; its counter would be full after 2^64 rings.
        self.bell.ring();
    }

    /// Makes the instance readable when `after` has passed (at once when it is zero), in place of what was set before.
    /// `None`: not at all.
    pub fn ring_after(&self, after: Option<Duration>) -> io::Result<()> {
        let timer = match self.timer.get() {
            Some(timer) => timer,
            None if after.is_none() => return Ok(()),
            None => {
                let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
                let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
                told_once_a_change(&self.epoll, &timer)?;
                self.timer.get_or_init(|| timer)
            }
        };
        let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Zero would be never.
        let value = after.map_or(nothing, |after| {
            let after = after.max(Duration::from_nanos(1));
            Timespec {
                tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: after.subsec_nanos().into(),
            }
        });
        let once = Itimerspec { it_interval: nothing, it_value: value };
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

impl AsRawFd for Interests {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

impl AsFd for Interests {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Registers what is told of once whenever it is written to or rings, and needs no reading.
fn told_once_a_change(epoll: &OwnedFd, fd: &impl AsFd) -> Result<(), Errno> {
    epoll::add(epoll, fd, data(BELL), epoll::EventFlags::IN | epoll::EventFlags::ET)
}

fn data(token: u32) -> epoll::EventData {
    epoll::EventData::new_u64(token.into())
}

fn once(events: u32) -> epoll::EventFlags {
    epoll::EventFlags::from_bits_truncate(events) | epoll::EventFlags::ONESHOT
}

fn borrow<'a>(fd: RawFd) -> Result<BorrowedFd<'a>, Errno> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: it is not -1, and epoll_ctl(2) only looks it up: a number that stands for nothing gives EBADF.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    const IN: u32 = 1;

    /// The tokens that a wait of no length tells.
    fn told(interests: &Interests) -> Vec<u64> {
        let mut events = Vec::with_capacity(8);
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(interests, rustix::buffer::spare_capacity(&mut events), Some(&none)).unwrap();
        events.iter().map(|event| event.data.u64()).collect()
    }

    #[test]
    fn an_interest_is_told_once_until_it_is_changed() {
        let interests = Interests::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        interests.add(ours.as_raw_fd(), IN, 7).unwrap();
        assert_eq!(told(&interests), []);
        rustix::io::write(&theirs, b"x").unwrap();
        assert_eq!(told(&interests), [7]);
        assert_eq!(told(&interests), []);
        interests.change(ours.as_raw_fd(), IN, 8).unwrap();
        assert_eq!(told(&interests), [8]);
        assert_eq!(interests.add(ours.as_raw_fd(), IN, 9), Err(Errno::EXIST));
    }

    #[test]
    fn a_number_that_is_used_again_is_another_file() {
        let interests = Interests::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        interests.add(ours.as_raw_fd(), IN, 7).unwrap();
        // Under the same number, while a copy of the first lives on.
        let copy = ours.try_clone().unwrap();
        let other = UnixStream::pair().unwrap();
        let mut ours = OwnedFd::from(ours);
        rustix::io::dup2(&other.0, &mut ours).unwrap();
        assert_eq!(interests.change(ours.as_raw_fd(), IN, 7), Err(Errno::NOENT));
        interests.add(ours.as_raw_fd(), IN, 8).unwrap();
        rustix::io::write(&theirs, b"x").unwrap();
        assert_eq!(told(&interests), [7]);
        rustix::io::write(&other.1, b"x").unwrap();
        assert_eq!(told(&interests), [8]);
        drop(copy);
        let number = ours.as_raw_fd();
        drop(ours);
        // Unless another thread has the number by now.
        assert!(matches!(interests.change(number, IN, 8), Err(Errno::BADF | Errno::NOENT)));
        assert_eq!(interests.add(-1, IN, 8), Err(Errno::BADF));
    }

    #[test]
    fn the_bell_and_the_timer_are_told_once() {
        let interests = Interests::new().unwrap();
        interests.ring_after(None).unwrap();
        interests.ring();
        assert_eq!(told(&interests), [0]);
        assert_eq!(told(&interests), []);
        interests.ring_after(Some(Duration::from_secs(3600))).unwrap();
        assert_eq!(told(&interests), []);
        interests.ring_after(Some(Duration::ZERO)).unwrap();
        let mut poll = [rustix::event::PollFd::new(&interests, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut poll, None).unwrap();
        assert_eq!(told(&interests), [0]);
        assert_eq!(told(&interests), []);
    }
}
