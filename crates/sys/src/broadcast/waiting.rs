//! Waiting, in one process: descriptors that are readable while there is something to read.
//!
//! A process has one thread for this, the notifier, whatever the number of its readers; it is started when the first of
//! them is waited for. It listens to the bell and makes the descriptors readable whose readers have something new. It
//! is no business of the interpreter's. A reader whose descriptor is readable already costs it nothing, and where all
//! are, nobody wakes it: writers that are faster than the readers make no system calls.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::event::EventfdFlags;

use super::{Cursor, Memory};

/// How long a reader that has nothing waits for the lock of the writers: longer only where one was stopped in the middle.
const PATIENCE: Duration = Duration::from_millis(20);

/// The readers of a process that may be waited for.
#[derive(Debug, Default)]
pub struct Post(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Those whose descriptor is not readable.
    quiet: Vec<Weak<Signal>>,
    /// The notifier runs.
    started: bool,
}

/// A descriptor, and what its reader has seen.
#[derive(Debug)]
struct Signal {
    descriptor: OwnedFd,
    index: u32,
    seen: AtomicU64,
    /// The descriptor is readable. Changed under the lock of the post.
    loud: AtomicBool,
}

/// A descriptor that is readable while a reader has something to take.
#[derive(Debug)]
pub struct Waiter {
    memory: &'static Memory,
    post: &'static Post,
    signal: Arc<Signal>,
}

impl Post {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the descriptors readable whose readers have something new. Whether there are others.
    pub fn look(&self, memory: &Memory) -> bool {
        let mut inner = self.lock();
        inner.quiet.retain(|signal| {
            let Some(signal) = signal.upgrade() else { return false };
            let news = memory.newest(signal.index) != signal.seen.load(Ordering::Relaxed);
            if news {
                signal.raise();
            }
            !news
        });
        !inner.quiet.is_empty()
    }

    /// What the notifier does, for ever.
    fn notify(&self, memory: &Memory) {
        let mut awaited = true;
        loop {
            let heard = memory.expect(awaited);
            let left = self.look(memory);
            if left && !awaited {
                // One that came after the last look, when nobody was expected.
                awaited = true;
                continue;
            }
            awaited = left;
            memory.wait(heard);
        }
    }

    /// Starts the notifier, if it does not run.
    fn start(&'static self, memory: &'static Memory) -> io::Result<()> {
        let mut inner = self.lock();
        if !inner.started {
            let thread = std::thread::Builder::new().name("stdserve-exchange".to_owned());
            thread.stack_size(128 * 1024).spawn(move || {
                // Blocking cannot fail for a mask that is valid.
                let _ = crate::signals::block_for_crew();
                self.notify(memory);
            })?;
            inner.started = true;
        }
        Ok(())
    }
}

impl Signal {
    fn raise(&self) {
        self.loud.store(true, Ordering::Relaxed);
        // Of its 64 bits one is used: there is room.
        let _ = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
    }

    fn lower(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.descriptor, &mut count);
        self.loud.store(false, Ordering::Relaxed);
    }
}

impl Waiter {
    /// For the reader at this place. Starts the notifier where the memory is shared; in memory of one process whoever
    /// sends must [look](Post::look) himself.
    pub fn new(memory: &'static Memory, post: &'static Post, cursor: &Cursor) -> io::Result<Self> {
        let descriptor = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        if memory.is_shared() {
            post.start(memory)?;
        }
        let signal = Signal {
            descriptor,
            index: cursor.index(),
            seen: AtomicU64::new(cursor.seen()),
            loud: AtomicBool::new(true),
        };
        let waiter = Self { memory, post, signal: Arc::new(signal) };
        waiter.settle(cursor);
        Ok(waiter)
    }

    /// The descriptor, for poll(2). It lives as long as `self`.
    pub fn descriptor(&self) -> RawFd {
        self.signal.descriptor.as_raw_fd()
    }

    /// After the reader has taken what it wanted: readable if there is more, else quiet until there is.
    pub fn settle(&self, cursor: &Cursor) {
        if self.memory.is_behind(cursor) {
            self.raise();
            return;
        }
        {
            let mut inner = self.post.lock();
            self.signal.seen.store(cursor.seen(), Ordering::Relaxed);
            if !self.signal.loud.load(Ordering::Relaxed) {
                // It was expected already.
                return;
            }
            self.signal.lower();
            inner.quiet.push(Arc::downgrade(&self.signal));
        }
        if self.memory.is_shared() && self.memory.try_expect(PATIENCE).is_err()
            || self.memory.is_behind(cursor)
        {
            self.raise();
        }
    }

    /// Makes the descriptor readable.
    pub fn raise(&self) {
        let mut inner = self.post.lock();
        if !self.signal.loud.load(Ordering::Relaxed) {
            let here = Arc::as_ptr(&self.signal);
            inner.quiet.retain(|other| other.as_ptr() != here);
            self.signal.raise();
        }
    }
}
