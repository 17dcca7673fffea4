//! The CPU clock of a thread, read from another thread.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// How much CPU time one thread has used. A clock that does not advance while the thread is inside the application
/// says that it is blocked; one that advances, that it computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadClock(libc::clockid_t);

impl ThreadClock {
    /// The clock of the calling thread (`pthread_getcpuclockid(3)`), to be given to other threads of the process.
    pub fn of_this_thread() -> io::Result<Self> {
        let mut id = MaybeUninit::uninit();
        // SAFETY: the calling thread is alive, and `id` lives through the call.
        match unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), id.as_mut_ptr()) } {
            // SAFETY: the call has succeeded, so the id is written.
            0 => Ok(Self(unsafe { id.assume_init() })),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// CPU time used so far; `None` when the thread has ended. (Its number may be given to a new thread later: whoever
    /// keeps the clock knows when its thread ends.)
    pub fn read(self) -> Option<Duration> {
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: `time` lives through the call; a clock of a thread that has ended is refused by the kernel.
        if unsafe { libc::clock_gettime(self.0, time.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: the call has succeeded, so the time is written.
        let time = unsafe { time.assume_init() };
        Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn tells_a_computing_thread_from_a_blocked_one() {
        let (give, take) = channel();
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            give.send(ThreadClock::of_this_thread().unwrap()).unwrap();
            stopped.recv().ok();
            let mine = ThreadClock::of_this_thread().unwrap();
            let start = mine.read().unwrap();
            while mine.read().unwrap() < start + Duration::from_millis(5) {}
            give.send(mine).unwrap();
            stopped.recv().ok();
        });
        let clock = take.recv().unwrap();
        let mut before = clock.read().unwrap();
        // It stands still as soon as the thread waits, which it may not yet do.
        loop {
            std::thread::sleep(Duration::from_millis(20));
            let now = clock.read().unwrap();
            if now == before {
                break;
            }
            before = now;
        }
        stop.send(()).unwrap();
        take.recv().unwrap();
        assert!(clock.read().unwrap() >= before + Duration::from_millis(5));
        drop(stop);
        thread.join().unwrap();
    }
}
