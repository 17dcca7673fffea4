//! A slate for each row: memory with a descriptor, for what can only be written to one. A worker whose interpreter's
//! lock is held for ever can still have its stacks written by a signal's handler; the supervisor reads them here.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, OFlags};

/// So much of a slate is read, in bytes.
const READ: usize = 256 << 10;

/// One slate. Whoever writes to its descriptor writes at its end; close-on-exec.
#[derive(Debug)]
pub struct Slate(File);

impl Slate {
    /// An empty one (`memfd_create(2)`).
    pub(super) fn new() -> io::Result<Self> {
        let file = rustix::fs::memfd_create(c"stdserve-slate", MemfdFlags::CLOEXEC)?;
        // The position is shared with those who write; at the end is at the beginning once it is wiped.
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
        Ok(Self(file.into()))
    }

    /// Makes it empty.
    pub fn wipe(&self) -> io::Result<()> {
        self.0.set_len(0)
    }

    /// What stands on it; whatever is no UTF-8 is replaced.
    pub fn read(&self) -> io::Result<String> {
        let length = self.0.metadata()?.len().min(READ as u64) as usize;
        let mut bytes = vec![0; length];
        let count = self.0.read_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }
}

impl AsFd for Slate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_its_descriptor_is_read_until_it_is_wiped() {
        let slate = Slate::new().unwrap();
        for text in ["first", "second and longer"] {
            slate.wipe().unwrap();
            assert_eq!(slate.read().unwrap(), "");
            for piece in text.split_inclusive(' ') {
                rustix::io::write(slate.as_fd(), piece.as_bytes()).unwrap();
            }
            assert_eq!(slate.read().unwrap(), text);
        }
    }
}
