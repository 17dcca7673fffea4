//! The memory itself: mapped before the processes that share it are forked.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::layout::{Counters, Layout, NAMES, Name};
use super::lock::RobustMutex;

/// Places of the table in which names are looked up: at most half are taken.
const SLOTS: usize = 2 * NAMES;
/// The smallest ring, in bytes.
const LEAST: usize = 64 << 10;

/// What stands before the ring.
#[repr(C, align(4096))]
struct Front {
    lock: RobustMutex,
    // Apart from the lock, which whoever waits for it writes.
    counters: Apart<Counters>,
    slots: [AtomicU32; SLOTS],
    names: [Name; NAMES],
}

#[repr(C, align(128))]
struct Apart<T>(T);

/// Memory with a ring of so many words behind its front.
#[derive(Debug)]
pub(super) struct Mapping {
    front: NonNull<Front>,
    words: usize,
}

// SAFETY: the memory is mapped for as long as the value lives and holds nothing but atomics and a mutex.
unsafe impl Send for Mapping {}
// SAFETY: as above; a shared reference allows atomic operations and locking only.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps memory for a ring of so many bytes, in whole pages. Pages that are never used take no memory. `shared`:
    /// with every process that is forked from now on; else a child gets a copy.
    pub(super) fn new(bytes: usize, shared: bool) -> io::Result<Self> {
        let bytes = rounded(bytes).ok_or(io::ErrorKind::OutOfMemory)?;
        let words = bytes / size_of::<u64>();
        let length = length(words).ok_or(io::ErrorKind::OutOfMemory)?;
        let sharing = if shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
        // SAFETY: a fresh mapping at an address of the kernel's choice disturbs nothing.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                sharing | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let front = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Self { front, words };
        // SAFETY: nobody else knows the memory yet, and it stays mapped as long as it is used.
        unsafe { mapping.lock().prepare() }?;
        Ok(mapping)
    }

    fn front(&self) -> &Front {
        // SAFETY: the mapping is page-aligned, long enough, zeroed by the kernel (valid for atomic integers), and lives
        // as long as `self`. Other processes change it through atomics, and the mutex by its functions, only.
        unsafe { self.front.as_ref() }
    }

    pub(super) fn lock(&self) -> &RobustMutex {
        &self.front().lock
    }

    pub(super) fn layout(&self) -> Layout<'_> {
        let front = self.front();
        // SAFETY: behind the front lie so many words, as in `front`; the front's size is whole pages.
        let words =
            unsafe { std::slice::from_raw_parts(self.front.add(1).cast::<AtomicU64>().as_ptr(), self.words) };
        Layout { counters: &front.counters.0, slots: &front.slots, names: &front.names, words }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` with this length, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.front.as_ptr().cast(), length(self.words).unwrap_or_default()) };
    }
}

/// How large a ring becomes for which so many bytes are asked; `None`: larger than any memory.
pub(super) fn rounded(bytes: usize) -> Option<usize> {
    bytes.max(LEAST).checked_next_multiple_of(4096)
}

fn length(words: usize) -> Option<usize> {
    words.checked_mul(size_of::<u64>())?.checked_add(size_of::<Front>())
}
