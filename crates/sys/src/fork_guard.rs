//! Which descriptors a child must not keep when the application forks.
//!
//! A child that lives on with a copy of a client's socket would keep the client waiting for an end of stream that the
//! worker has sent long ago; one that keeps a listener would keep the address taken. They are noted here as they are
//! opened, in a table that needs no lock (the child has one thread, and another may have held any lock), and closed
//! by the child at once.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Descriptors up to this number are guarded. The kernel's default bound on a process's descriptors is lower.
const GUARDED: usize = 1 << 17;

static TABLE: [AtomicU64; GUARDED / 64] = [const { AtomicU64::new(0) }; GUARDED / 64];
static FORKED: AtomicBool = AtomicBool::new(false);

fn place(fd: RawFd) -> Option<(&'static AtomicU64, u64)> {
    let fd = usize::try_from(fd).ok()?;
    Some((TABLE.get(fd / 64)?, 1 << (fd % 64)))
}

/// Notes that a forked child must not keep `fd`. It stays noted until [`release`].
pub fn guard(fd: &impl AsRawFd) {
    if let Some((word, bit)) = place(fd.as_raw_fd()) {
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

/// Forgets `fd`: to be called before it is closed.
pub fn release(fd: &impl AsRawFd) {
    if let Some((word, bit)) = place(fd.as_raw_fd()) {
        word.fetch_and(!bit, Ordering::Relaxed);
    }
}

/// Whether this process is such a child: it serves nobody.
pub fn is_forked_child() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// In the child, right after an application's fork: marks the process, and closes what it must not keep.
pub fn close_in_child() {
    FORKED.store(true, Ordering::Relaxed);
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
        guard(&file);
        assert_ne!(word.load(Ordering::Relaxed) & bit, 0);
        release(&file);
        assert_eq!(word.load(Ordering::Relaxed) & bit, 0);
        assert!(place(-1).is_none() && place(i32::MAX).is_none());
    }
}
