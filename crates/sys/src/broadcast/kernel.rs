//! What is asked of the kernel: a futex to wait for, and descriptors that can be polled. `model` has both for loom.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex;

/// A descriptor that is readable or not.
pub(super) use crate::pipes::Bell as Descriptor;

const EVERYBODY: u32 = i32::MAX as u32;

/// A number in shared memory that can be waited for (futex(2)).
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Futex(AtomicU32);

impl Futex {
    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(super) fn set(&self, number: u32) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// Adds one.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// Adds one and wakes everybody, in one call: nobody is killed between the two.
    pub(super) fn add_and_wake(&self) {
        let flags = futex::Flags::empty();
        // The call could wake others elsewhere, too, by a comparison: there is nobody left.
        let (op, compare) = (futex::WakeOp::Add, futex::WakeOpCmp::Lt);
        if futex::wake_op(&self.0, flags, EVERYBODY, 0, &self.0, op, compare, 1, 0).is_err() {
            // A kernel without the call.
            self.add();
            let _ = futex::wake(&self.0, flags, EVERYBODY);
        }
    }

    /// Waits while it is `heard`; may end for no reason at all.
    pub(super) fn wait(&self, heard: u32) {
        match futex::wait(&self.0, futex::Flags::empty(), heard, None) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
            // Nothing else can happen with a word that is mapped; if it does, it must not be a busy loop.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
