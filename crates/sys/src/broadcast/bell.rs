//! Counting a record and waking who waits for it, in one step.
//!
//! Both are the same word, the futex. Where nobody waits it is a plain addition; where somebody does the kernel adds
//! and wakes in one call (`FUTEX_WAKE_OP`, futex(2)), so that no writer can be killed between the two. Whether somebody
//! waits is said under the lock, as the writer reads it under the lock: it cannot change in between. A wake-up takes
//! the sign down; whoever goes on waiting puts it up again. So a waiter that has died costs one wake-up, and no more.

#[cfg(all(test, loom))]
use loom::sync::atomic::Ordering;
#[cfg(not(all(test, loom)))]
use std::sync::atomic::Ordering;

use super::death;
use super::layout::Counters;

impl Counters {
    /// Counts one record more. Under the lock.
    pub(super) fn ring(&self) {
        if self.awaited.load(Ordering::Relaxed) == 0 {
            self.bell.add();
        } else {
            self.bell.add_and_wake();
            // Who dies before this line has others woken once more.
            death::point();
            self.awaited.store(0, Ordering::Relaxed);
        }
        death::point();
    }

    /// Says that somebody waits, if so; returns what the bell counts. Under the lock.
    pub(super) fn expect(&self, awaited: bool) -> u32 {
        if awaited {
            self.awaited.store(1, Ordering::Relaxed);
        }
        self.bell.get()
    }
}
