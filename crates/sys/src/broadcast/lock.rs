//! The lock of the writers: a mutex that several processes share, and that outlives whoever holds it.
//!
//! `pthread_mutexattr_setrobust(3)`: the kernel keeps a list of what a thread holds, and when the thread dies with its
//! process the next one gets the lock. What the dead one has left is then put right by who got it.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// `PTHREAD_MUTEX_ROBUST` of `<pthread.h>`.
const ROBUST: i32 = 1;

/// How long a waiter sleeps before it looks again whether the mutex is free. Whoever gives it up wakes one waiter; where
/// that one is killed before it has taken it, and a third has taken it meanwhile, nobody wakes the others: the kernel,
/// which wakes another in the place of the dead, does so only while the mutex is free.
const LOOK: Duration = Duration::from_millis(20);

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
            result = self.wait(patience.map(|patience| Instant::now() + patience));
        }
        let died = result == libc::EOWNERDEAD;
        if died {
            // SAFETY: this thread holds the mutex, whose last owner has died. Who dies before this line leaves it as
            // it was.
            result = unsafe { libc::pthread_mutex_consistent(self.0.get()) };
        }
        check(result).map(|()| (Guard(self), died))
    }

    /// Waits for the mutex in turns of [`LOOK`] each; the result is that of `pthread_mutex_lock(3)`, or `ETIMEDOUT`.
    fn wait(&self, end: Option<Instant>) -> i32 {
        loop {
            let turn = end.map_or(LOOK, |end| end.saturating_duration_since(Instant::now()).min(LOOK));
            // The only clock that the function knows.
            let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(turn);
            let until = libc::timespec {
                tv_sec: until.as_secs() as libc::time_t,
                tv_nsec: libc::c_long::from(until.subsec_nanos() as i32),
            };
            // SAFETY: the mutex was prepared; the time lives through the call.
            let result = unsafe { libc::pthread_mutex_timedlock(self.0.get(), &raw const until) };
            if result != libc::ETIMEDOUT || turn.is_zero() {
                return result;
            }
        }
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
    use std::thread;

    use rustix::thread::futex;

    use super::*;

    /// Waits until the thread of this number, which is set when it begins, sleeps.
    fn until_it_sleeps(number: &AtomicI32) {
        loop {
            let stat = fs::read_to_string(format!("/proc/self/task/{}/stat", number.load(Ordering::Acquire)));
            if stat.unwrap_or_default().rsplit(") ").next().is_some_and(|rest| rest.starts_with('S')) {
                return;
            }
            thread::yield_now();
        }
    }

    fn begin(number: &AtomicI32) {
        number.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Release);
    }

    #[test]
    fn a_wake_up_that_went_to_one_who_died_is_made_up_for() {
        // SAFETY: a mutex is plain memory, for which zeros are good.
        let mutex = RobustMutex(UnsafeCell::new(unsafe { std::mem::zeroed() }));
        // SAFETY: nobody uses it yet, and it stays where it is.
        unsafe { mutex.prepare() }.unwrap();
        // SAFETY: the word that all wait for is the first of a mutex, and changed by atomic operations only.
        let word = unsafe { &*mutex.0.get().cast::<AtomicU32>() };
        let [dead, other] = [const { AtomicI32::new(0) }; 2];
        thread::scope(|scope| {
            let (guard, _) = mutex.lock(None).unwrap();
            // It comes first, and does nothing where it is woken, as if it were killed then.
            scope.spawn(|| {
                let owner = word.load(Ordering::Relaxed);
                begin(&dead);
                let _ = futex::wait(word, futex::Flags::empty(), owner, None);
            });
            until_it_sleeps(&dead);
            scope.spawn(|| {
                begin(&other);
                mutex.lock(None).map(drop).unwrap();
            });
            until_it_sleeps(&other);
            drop(guard);
        });
    }
}
