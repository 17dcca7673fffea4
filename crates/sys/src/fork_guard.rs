//! Which descriptors a child must not keep when the application forks.
//!
//! A child that lives on with a copy of a client's socket would keep the client waiting for an end of stream that the
//! worker has sent long ago; one that keeps a listener would keep the address taken. They are noted here as they are
//! opened, in a table that needs no lock (the child has one thread, and another may have held any lock), and closed
//! by the child at once.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Descriptors up to this number are guarded. The kernel's default bound on a process's descriptors is lower.
const GUARDED: usize = 1 << 17;

static TABLE: [AtomicU64; GUARDED / 64] = [const { AtomicU64::new(0) }; GUARDED / 64];
/// How many forks of applications lie between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process in which something was made. A copy of it in a child that the application forked has no business with
/// the parent's clients; what the child makes itself is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home(u32);

impl Home {
    /// This process.
    pub fn here() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether this process is a child, forked off by the application since.
    pub fn is_left(self) -> bool {
        self != Self::here()
    }
}

/// Keeps a descriptor noted as long as it lives: to be dropped before the descriptor is closed.
#[derive(Debug)]
#[must_use]
pub struct Guard {
    fd: RawFd,
    home: Home,
}

impl Guard {
    /// Notes that a forked child must not keep `fd`.
    pub fn new(fd: &impl AsRawFd) -> Self {
        let fd = fd.as_raw_fd();
        if let Some((word, bit)) = place(fd) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Self { fd, home: Home::here() }
    }

    /// Where the descriptor was opened.
    pub fn home(&self) -> Home {
        self.home
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // In a child the number may stand for something of the child's own by now.
        if !self.home.is_left()
            && let Some((word, bit)) = place(self.fd)
        {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

fn place(fd: RawFd) -> Option<(&'static AtomicU64, u64)> {
    let fd = usize::try_from(fd).ok()?;
    Some((TABLE.get(fd / 64)?, 1 << (fd % 64)))
}

/// In the child, right after an application's fork: marks the process, and closes what it must not keep.
pub fn close_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    for (index, word) in TABLE.iter().enumerate() {
        let mut bits = word.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let fd = (index * 64) as RawFd + bits.trailing_zeros() as RawFd;
            bits &= bits - 1;
            // SAFETY: the descriptor was noted by its owner in the parent; in this child, which serves nobody and
            // leaves by `_exit`, that owner is never used or dropped again, so nothing else refers to it.
            unsafe { libc::close(fd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_guarded_is_in_the_table() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let (word, bit) = place(file.as_raw_fd()).unwrap();
        let guard = Guard::new(&file);
        assert_ne!(word.load(Ordering::Relaxed) & bit, 0);
        assert!(!guard.home().is_left());
        drop(guard);
        assert_eq!(word.load(Ordering::Relaxed) & bit, 0);
        assert!(place(-1).is_none() && place(i32::MAX).is_none());
    }
}
