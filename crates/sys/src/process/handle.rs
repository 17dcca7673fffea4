//! Another process, held so that its number cannot come to mean somebody else.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Pid, kill};

/// How often a process is looked for where it cannot be waited for.
const LOOK: Duration = Duration::from_millis(50);

/// A process that need not be a child (`pidfd_open(2)`). Kernels before 5.3 have no such thing: there it is a number.
#[derive(Debug)]
pub struct Handle {
    pid: Pid,
    fd: Option<OwnedFd>,
}

impl Handle {
    /// Takes hold of a process. `NotFound`: there is none of that number.
    pub fn open(pid: Pid) -> io::Result<Self> {
        let number = Some(pid.raw()).filter(|number| *number > 0);
        let raw = number.and_then(rustix::process::Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(fd) => Ok(Self { pid, fd: Some(fd) }),
            Err(rustix::io::Errno::SRCH) => Err(io::ErrorKind::NotFound.into()),
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
                kill(pid, 0).map_err(not_found)?;
                Ok(Self { pid, fd: None })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends it a signal. `NotFound`: it has ended.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        match (&self.fd, Signal::from_named_raw(signal)) {
            (Some(fd), Some(signal)) => {
                pidfd_send_signal(fd, signal).map_err(|error| not_found(error.into()))
            }
            _ => kill(self.pid, signal).map_err(not_found),
        }
    }

    /// Waits until it has ended, for at most `limit`; whether it has.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        let end = limit.map(|limit| Instant::now() + limit);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let Some(fd) = &self.fd else {
                if kill(self.pid, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH)) {
                    return Ok(true);
                }
                if left == Some(Duration::ZERO) {
                    return Ok(false);
                }
                std::thread::sleep(left.map_or(LOOK, |left| left.min(LOOK)));
                continue;
            };
            let time = left.map(|left| Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            match rustix::event::poll(&mut [PollFd::new(fd, PollFlags::IN)], time.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn not_found(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::ESRCH) { io::ErrorKind::NotFound.into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_is_signalled_and_its_end_waited_for() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let handle = Handle::open(Pid(child.id())).unwrap();
        assert!(!handle.wait(Some(Duration::ZERO)).unwrap());
        handle.signal(libc::SIGTERM).unwrap();
        assert!(handle.wait(None).unwrap());
        child.wait().unwrap();
        // Whoever gets the number next is not meant.
        assert_eq!(handle.signal(libc::SIGTERM).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn no_process_is_an_error() {
        for pid in [Pid(0), Pid(u32::MAX)] {
            assert_eq!(Handle::open(pid).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(Handle::open(Pid(child.id())).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
