//! Leaving the terminal and whoever started this process behind (daemon(7)).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::process::{Exit, Fork, ForkError, ForkHooks, exit_now, fork, wait};

/// Which process this is after [`detach`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detached {
    /// The one that called.
    Starter,
    /// The one that goes on: in a session of its own that it does not lead, so that it can never get a terminal; its
    /// parent is pid 1, or a subreaper.
    Daemon,
}

/// Forks twice, with a session in between. The process must have one thread.
pub fn detach(hooks: &mut dyn ForkHooks) -> Result<Detached, ForkError> {
    if let Fork::Parent(between) = fork(hooks)? {
        return match wait(between)? {
            Exit::Code(0) => Ok(Detached::Starter),
            Exit::Code(errno) => Err(io::Error::from_raw_os_error(errno).into()),
            Exit::Signal(_) => Err(io::Error::other("the process in between was killed").into()),
        };
    }
    // A child that was just forked leads no group, so this cannot fail.
    let _ = rustix::process::setsid();
    match fork(hooks) {
        Ok(Fork::Parent(_)) => exit_now(0),
        Ok(Fork::Child) => Ok(Detached::Daemon),
        Err(ForkError::System(error)) => exit_now(error.raw_os_error().unwrap_or(libc::EAGAIN)),
        Err(ForkError::Threads(_)) => exit_now(libc::EAGAIN),
    }
}

/// Puts `/dev/null` in the place of the three standard streams.
pub fn silence() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for stream in 0..3 {
        // SAFETY: both numbers are descriptors; those of the standard streams are nobody's in particular, and code that
        // uses them expects them to lead anywhere.
        if unsafe { libc::dup2(null.as_raw_fd(), stream) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
