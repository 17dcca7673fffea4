//! Waiting, in one process: descriptors that are readable while there is something to read.
//!
//! A process has one thread for this, the notifier, whatever the number of its readers; it is started when the first of
//! them is waited for. It listens to the bell and makes the descriptors readable whose readers have something new. It
//! is no business of the interpreter's. A reader whose descriptor is readable already costs it nothing, and where all
//! are, nobody wakes it: writers that are faster than the readers make no system calls.

use std::io;
#[cfg(not(all(test, loom)))]
use std::os::fd::{AsFd, AsRawFd, RawFd};
#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
#[cfg(not(all(test, loom)))]
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(all(test, loom))]
use loom::sync::{Mutex, MutexGuard};

use super::kernel::Descriptor;
use super::{Cursor, Memory};

/// How long a reader that has nothing waits for the lock of the writers: longer only where one was stopped in the
/// middle.
const PATIENCE: Duration = Duration::from_millis(20);

/// The readers of a process that may be waited for.
#[derive(Debug, Default)]
pub struct Post(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Those whose descriptor is not readable.
    quiet: Vec<Weak<Signal>>,
    /// The notifier runs.
    #[cfg(not(all(test, loom)))]
    started: bool,
    /// A thread waits for the lock of the writers in the place of readers.
    #[cfg(not(all(test, loom)))]
    stands_in: bool,
    /// There are such readers since it has begun to wait.
    #[cfg(not(all(test, loom)))]
    wanted: bool,
}

/// A descriptor, and what its reader has seen.
#[derive(Debug)]
struct Signal {
    descriptor: Descriptor,
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

    /// What the notifier does between two times that it waits: makes readable what there is to read, and has itself
    /// expected if there is anybody to whom it matters. Returns what the bell counted before that.
    pub(super) fn go_round(&self, memory: &Memory, awaited: &mut bool) -> u32 {
        loop {
            let heard = memory.expect(*awaited);
            let left = self.look(memory);
            // One may have come since the last look, when nobody was expected.
            let again = left && !*awaited;
            *awaited = left;
            if !again {
                return heard;
            }
        }
    }

    /// Starts the notifier, if it does not run.
    #[cfg(not(all(test, loom)))]
    fn start(&'static self, memory: &'static Memory) -> io::Result<()> {
        let mut inner = self.lock();
        if !inner.started {
            let thread = std::thread::Builder::new().name("stdserve-exchange".to_owned());
            thread.stack_size(128 * 1024).spawn(move || {
                // Blocking cannot fail for a mask that is valid.
                let _ = crate::signals::block_for_crew();
                let mut awaited = true;
                loop {
                    let heard = self.go_round(memory, &mut awaited);
                    memory.wait(heard);
                }
            })?;
            inner.started = true;
        }
        Ok(())
    }

    /// For readers that are quiet and could not say that they wait, as a writer was stopped with the lock: a thread
    /// waits for it. A descriptor that were readable instead would have its reader try without an end. False: no thread
    /// can be had.
    #[cfg(not(all(test, loom)))]
    fn expect_later(&'static self, memory: &'static Memory) -> bool {
        let mut inner = self.lock();
        inner.wanted = true;
        if inner.stands_in {
            return true;
        }
        let thread = std::thread::Builder::new().name("stdserve-exchange".to_owned()).stack_size(128 * 1024);
        let begun = thread.spawn(move || {
            // Blocking cannot fail for a mask that is valid.
            let _ = crate::signals::block_for_crew();
            while self.is_wanted() {
                memory.expect(true);
                // What was sent before that rang for nobody.
                self.look(memory);
            }
        });
        inner.stands_in = begun.is_ok();
        inner.stands_in
    }

    /// Whether a reader came since the last time; if not, who asks stands in no more.
    #[cfg(not(all(test, loom)))]
    fn is_wanted(&self) -> bool {
        let mut inner = self.lock();
        inner.stands_in = inner.wanted;
        std::mem::take(&mut inner.wanted)
    }

    /// The model's lock is never refused.
    #[cfg(all(test, loom))]
    fn expect_later(&self, _: &Memory) -> bool {
        false
    }
}

impl Signal {
    fn raise(&self) {
        self.loud.store(true, Ordering::Relaxed);
        self.descriptor.ring();
    }

    fn lower(&self) {
        self.descriptor.silence();
        self.loud.store(false, Ordering::Relaxed);
    }
}

impl Waiter {
    /// For the reader at this place. Starts the notifier where the memory is shared; in memory of one process whoever
    /// sends must [look](Post::look) himself.
    pub fn new(memory: &'static Memory, post: &'static Post, cursor: &Cursor) -> io::Result<Self> {
        let descriptor = Descriptor::new()?;
        #[cfg(not(all(test, loom)))]
        if memory.is_shared() {
            post.start(memory)?;
        }
        let signal = Signal {
            descriptor,
            index: cursor.index(),
            seen: AtomicU64::new(cursor.seen()),
            loud: AtomicBool::new(false),
        };
        signal.raise();
        let waiter = Self { memory, post, signal: Arc::new(signal) };
        waiter.settle(cursor);
        Ok(waiter)
    }

    /// The descriptor, for poll(2). It lives as long as `self`.
    #[cfg(not(all(test, loom)))]
    pub fn descriptor(&self) -> RawFd {
        self.signal.descriptor.as_fd().as_raw_fd()
    }

    #[cfg(all(test, loom))]
    pub(super) fn poll(&self) {
        self.signal.descriptor.poll();
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
        let is_expected = !self.memory.is_shared()
            || self.memory.try_expect(PATIENCE).is_ok()
            || self.post.expect_later(self.memory);
        if !is_expected || self.memory.is_behind(cursor) {
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
