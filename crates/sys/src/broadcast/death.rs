//! The places at which a writer may be killed, for tests that kill it at each.

/// A writer that is killed here has done what stands before, and nothing of what stands after.
#[cfg(any(not(test), loom))]
#[inline]
pub(super) fn point() {}

#[cfg(all(test, not(loom)))]
pub(super) use killing::{die_after, point};

#[cfg(all(test, not(loom)))]
mod killing {
    use std::cell::Cell;
    use std::panic::{self, AssertUnwindSafe};

    thread_local! {
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    struct Killed;

    pub(in super::super) fn point() {
        match LEFT.get() {
            None => {}
            Some(0) => {
                LEFT.set(None);
                // Without a message. On its way the lock is given up, as the kernel does for the dead.
                panic::resume_unwind(Box::new(Killed));
            }
            Some(left) => LEFT.set(Some(left - 1)),
        }
    }

    /// Runs something that is killed at a point, after it has passed so many. False: it came to its end.
    pub(in super::super) fn die_after(points: usize, work: impl FnOnce()) -> bool {
        LEFT.set(Some(points));
        let ended = panic::catch_unwind(AssertUnwindSafe(work));
        LEFT.set(None);
        match ended {
            Ok(()) => false,
            Err(payload) if payload.is::<Killed>() => true,
            Err(payload) => panic::resume_unwind(payload),
        }
    }
}
