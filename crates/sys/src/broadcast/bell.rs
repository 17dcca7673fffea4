//! Counting a record and waking who waits for it, in one step.
//!
//! Both are the same word, the futex. Where nobody waits it is a plain addition; where somebody does the kernel adds and
//! wakes in one call (`FUTEX_WAKE_OP`, futex(2)), so that no writer can be killed between the two. Whether somebody
//! waits is said under the lock, as the writer reads it under the lock: it cannot change in between. A wake-up takes the
//! sign down; whoever goes on waiting puts it up again. So a waiter that has died costs one wake-up, and no more.

use std::sync::atomic::Ordering;

use rustix::io::Errno;
use rustix::thread::futex;

use super::layout::Counters;

impl Counters {
    /// Counts one record more. Under the lock.
    pub(super) fn ring(&self) {
        if self.awaited.load(Ordering::Relaxed) == 0 {
            self.bell.fetch_add(1, Ordering::Release);
            return;
        }
        let everybody = i32::MAX as u32;
        let (bell, flags) = (&self.bell, futex::Flags::empty());
        // The call could wake others elsewhere, too, by a comparison: there is nobody left.
        let rung =
            futex::wake_op(bell, flags, everybody, 0, bell, futex::WakeOp::Add, futex::WakeOpCmp::Lt, 1, 0);
        if rung.is_err() {
            // A kernel without the call.
            self.bell.fetch_add(1, Ordering::Release);
            let _ = futex::wake(bell, flags, everybody);
        }
        self.awaited.store(0, Ordering::Relaxed);
    }

    /// Says that somebody waits; returns what the bell counts. Under the lock.
    pub(super) fn expect(&self, awaited: bool) -> u32 {
        if awaited {
            self.awaited.store(1, Ordering::Relaxed);
        }
        self.bell.load(Ordering::Relaxed)
    }

    /// Waits until the bell counts something else, or for no reason at all.
    pub(super) fn wait(&self, heard: u32) {
        match futex::wait(&self.bell, futex::Flags::empty(), heard, None) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
            // Nothing else can happen with a word that is mapped; if it does, it must not be a busy loop.
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
}
