//! The lock of the writers: a mutex that several processes share, and that outlives whoever holds it.
//!
//! `pthread_mutexattr_setrobust(3)`: the kernel keeps a list of what a thread holds, and when the thread dies with its
//! process the next one gets the lock. What the dead one has left is then put right by who got it.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `PTHREAD_MUTEX_ROBUST` of `<pthread.h>`.
const ROBUST: i32 = 1;

/// A mutex in shared memory.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex is there to be used by several threads at once.
unsafe impl Sync for RobustMutex {}

/// Whoever has it has the lock.
pub(super) struct Guard<'m>(&'m RobustMutex);

impl RobustMutex {
    /// Makes a mutex of memory that is zero.
    ///
    /// # Safety
    ///
    /// Nobody uses the mutex yet, and it stays where it is for as long as somebody does.
    pub(super) unsafe fn prepare(&self) -> io::Result<()> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the attributes live through the calls, and are made by the first; the mutex is nobody else's.
        unsafe {
            check(libc::pthread_mutexattr_init(attributes.as_mut_ptr()))?;
            let made = check(libc::pthread_mutexattr_setpshared(
                attributes.as_mut_ptr(),
                libc::PTHREAD_PROCESS_SHARED,
            ))
            .and_then(|()| check(libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), ROBUST)))
            .and_then(|()| check(libc::pthread_mutex_init(self.0.get(), attributes.as_ptr())));
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
            made
        }
    }

    /// Waits for the lock as long as it takes, or at most so long: then the error is `ETIMEDOUT`. Also tells whether
    /// whoever had it before has died with it.
    pub(super) fn lock(&self, patience: Option<Duration>) -> io::Result<(Guard<'_>, bool)> {
        // SAFETY: the mutex was prepared.
        let mut result = unsafe { libc::pthread_mutex_trylock(self.0.get()) };
        if result == libc::EBUSY {
            result = match patience {
                // SAFETY: as above.
                None => unsafe { libc::pthread_mutex_lock(self.0.get()) },
                Some(patience) => {
                    // The only clock that the function knows.
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    let end = now.saturating_add(patience);
                    let end = libc::timespec {
                        tv_sec: end.as_secs() as libc::time_t,
                        tv_nsec: libc::c_long::from(end.subsec_nanos() as i32),
                    };
                    // SAFETY: as above; the time lives through the call.
                    unsafe { libc::pthread_mutex_timedlock(self.0.get(), &raw const end) }
                }
            };
        }
        let died = result == libc::EOWNERDEAD;
        if died {
            // SAFETY: this thread holds the mutex, whose last owner has died. Who dies before this line leaves it as
            // it was.
            result = unsafe { libc::pthread_mutex_consistent(self.0.get()) };
        }
        check(result).map(|()| (Guard(self), died))
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // SAFETY: this thread holds the mutex.
        unsafe { libc::pthread_mutex_unlock(self.0.0.get()) };
    }
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}
