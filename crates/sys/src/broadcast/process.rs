//! What a process has of it: the memory that it shares, memory of its own, and who waits. A forked child shares the
//! first, and begins the others anew.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};

use super::{DEFAULT, Memory, Post, mapping};

/// What is shared. The memory is never given back.
///
/// Locked for moments only, by the one thread that a process has when it starts or by one that has the interpreter's
/// lock: no fork finds it locked.
static SHARED: Mutex<Sharing> = Mutex::new(Sharing::Unsaid);
#[derive(Clone, Copy)]
enum Sharing {
    /// Nobody has asked yet.
    Unsaid,
    /// It was said that there be none.
    Nothing,
    Memory(&'static Memory),
}

static HERE: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());
static FORKS: AtomicU64 = AtomicU64::new(0);

/// What belongs to one process alone. It is never given back, so that threads may use it to the very end.
#[derive(Debug, Default)]
pub struct Process {
    /// The readers of the shared memory.
    pub post: Post,
    /// The readers of the private memory.
    pub private_post: Post,
    private: OnceLock<Memory>,
}

/// How many forks lie between the first process and this one. Counted since the first call of [`here`].
pub fn forks() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

/// Makes the memory that this process shares with those that are forked from now on: a ring of `bytes`, or none at all.
/// False: there is memory of another size already, and names in it; it stays.
pub fn share(bytes: usize) -> io::Result<bool> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Sharing::Memory(memory) = *shared
        && memory.names() > 0
    {
        return Ok(bytes > 0 && mapping::rounded(bytes) == Some(memory.size()));
    }
    *shared = if bytes == 0 { Sharing::Nothing } else { map(bytes)? };
    Ok(true)
}

/// The memory that is shared, if it was not said that there be none. Made now where nothing was said.
pub fn shared() -> io::Result<Option<&'static Memory>> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(*shared, Sharing::Unsaid) {
        *shared = map(DEFAULT)?;
    }
    Ok(shared.memory())
}

fn map(bytes: usize) -> io::Result<Sharing> {
    Ok(Sharing::Memory(Box::leak(Box::new(Memory::shared(bytes)?))))
}

impl Sharing {
    fn memory(self) -> Option<&'static Memory> {
        if let Self::Memory(memory) = self { Some(memory) } else { None }
    }
}

/// What this process has for itself.
pub fn here() -> &'static Process {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function may be called in a child of a process with threads: it stores two numbers.
        unsafe { libc::pthread_atfork(None, None, Some(leave_behind)) };
    });
    let mut found = HERE.load(Ordering::Acquire);
    if found.is_null() {
        let made = Box::into_raw(Box::<Process>::default());
        match HERE.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => found = made,
            Err(other) => {
                found = other;
                // SAFETY: it was made above, and nobody has seen it.
                drop(unsafe { Box::from_raw(made) });
            }
        }
    }
    // SAFETY: what is stored there was made by a box, and is never freed.
    unsafe { &*found }
}

/// In a forked child. What the parent had may be locked by a thread that is not here: it is left alone.
extern "C" fn leave_behind() {
    HERE.store(ptr::null_mut(), Ordering::Release);
    FORKS.fetch_add(1, Ordering::Relaxed);
}

impl Process {
    /// Memory of this process alone, as large as the shared one.
    pub fn private(&self) -> io::Result<&Memory> {
        if let Some(memory) = self.private.get() {
            return Ok(memory);
        }
        let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner).memory();
        let memory = Memory::private(shared.map_or(DEFAULT, Memory::size))?;
        Ok(self.private.get_or_init(|| memory))
    }
}
