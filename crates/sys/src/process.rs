//! Processes: ids, waiting, killing, and what the kernel is asked for on behalf of one. [`fork()`] is a file of its
//! own.

mod fork;
mod handle;
mod look;
mod origin;
mod sample;
mod spawn;

pub use fork::{
    Fork, ForkError, ForkHooks, NoHooks, Others, ThreadInfo, assert_single_threaded, fork, fork_reparented,
    threads,
};

pub use handle::Handle;
pub use look::{Look, children, look};
pub use origin::Origin;
pub use sample::{Sample, sample};
pub use spawn::{Child, Limit, Program, SpawnError, Step, spawn};

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

/// The id of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

impl Pid {
    /// This process.
    pub fn this() -> Self {
        Self(std::process::id())
    }

    /// The parent of this process, or its subreaper once the parent has ended (getppid(2)).
    pub fn parent() -> Self {
        Self(std::os::unix::process::parent_id())
    }

    fn raw(self) -> libc::pid_t {
        self.0 as libc::pid_t
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The calling thread, as the kernel numbers it (gettid(2)). Asked for once a thread: it costs a system call.
pub fn this_thread() -> u32 {
    thread_local! {
        static THREAD: Cell<u32> = const { Cell::new(0) };
    }
    THREAD.with(|known| {
        if known.get() == 0 {
            known.set(rustix::thread::gettid().as_raw_nonzero().get() as u32);
        }
        known.get()
    })
}

/// How a process ended (waitpid(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself, with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl Exit {
    /// Reads a status as waitpid(2) gives it; `None` where the process was only stopped or continued.
    pub fn from_wait_status(status: i32) -> Option<Self> {
        if libc::WIFEXITED(status) {
            Some(Self::Code(libc::WEXITSTATUS(status)))
        } else if libc::WIFSIGNALED(status) {
            Some(Self::Signal(libc::WTERMSIG(status)))
        } else {
            None
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with code {code}"),
            Self::Signal(number) => write!(f, "was ended by {}", crate::signals::name(*number)),
        }
    }
}

/// Waits for one child to end (waitpid(2)).
pub fn wait(pid: Pid) -> io::Result<Exit> {
    loop {
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        if unsafe { libc::waitpid(pid.raw(), &raw mut status, 0) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        } else if let Some(exit) = Exit::from_wait_status(status) {
            return Ok(exit);
        }
    }
}

/// All children that have ended, and orphans that came to this process as their subreaper or as pid 1. Does not wait.
pub fn reap() -> Vec<(Pid, Exit)> {
    let mut ended = Vec::new();
    loop {
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
            continue;
        }
        if pid <= 0 {
            return ended;
        }
        if let Some(exit) = Exit::from_wait_status(status) {
            ended.push((Pid(pid as u32), exit));
        }
    }
}

/// Sends a signal to a process (kill(2)). Pid 0, which would mean the whole process group, is refused.
pub fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    if pid.0 == 0 || pid.raw() < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: a plain system call without pointers.
    if unsafe { libc::kill(pid.raw(), signal) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes this process the parent of descendants whose own parent has ended (`PR_SET_CHILD_SUBREAPER`, prctl(2)).
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: this option takes no pointer.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Asks the kernel for `signal` when the present parent ends (`PR_SET_PDEATHSIG`, prctl(2)); 0 takes that back. A
/// parent that has ended before the call is not noticed: compare [`Pid::parent`] afterwards.
pub fn signal_on_parent_death(signal: i32) -> io::Result<()> {
    // SAFETY: this option takes no pointer.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Has the kernel end this process by SIGKILL after `time`, whatever its threads do (`timer_create(2)`). For a process
/// that nobody watches any more. Cannot be taken back.
pub fn end_after(time: Duration) -> io::Result<()> {
    // SAFETY: zero is a valid value for every field of these structures; they live through the calls, and the id is
    // written by the call that succeeded.
    unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        let mut timer: libc::timer_t = std::ptr::null_mut();
        if libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut setting: libc::itimerspec = std::mem::zeroed();
        setting.it_value.tv_sec = libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX);
        // All zero would disarm it.
        setting.it_value.tv_nsec = libc::c_long::from(time.subsec_nanos().max(1));
        if libc::timer_settime(timer, 0, &raw const setting, std::ptr::null_mut()) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Sets the permissions that files made from now on do not get (umask(2)).
pub fn set_umask(mode: u32) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mode));
}

/// Takes variables out of this process's environment: they are not for its children. The process must have one thread,
/// or nothing is done.
pub fn forget_variables(names: &[&str]) {
    if assert_single_threaded().is_err() {
        return;
    }
    for name in names {
        // SAFETY: there is no other thread that could read or write the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
}

/// Names this process for `ps` and `top` (`PR_SET_NAME`; the kernel keeps 15 bytes).
pub fn set_name(name: &str) {
    let Ok(name) = std::ffi::CString::new(name) else { return };
    // SAFETY: the string ends with a NUL and lives through the call. Failing costs a nicer name only.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Ends the process at once: no destructors, no `atexit` functions (_exit(2)).
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no precondition and does not return.
    unsafe { libc::_exit(code) }
}

/// Takes the descriptor out of the numbers that exec(2) hands on, or puts it there.
pub fn set_inheritable(fd: std::os::fd::BorrowedFd<'_>, inheritable: bool) -> io::Result<()> {
    let flags = if inheritable { rustix::io::FdFlags::empty() } else { rustix::io::FdFlags::CLOEXEC };
    Ok(rustix::io::fcntl_setfd(fd, flags)?)
}

/// Opens `/dev/null` as those of the three standard streams that are closed. Otherwise the next socket or file would
/// get their numbers, and receive what somebody prints.
pub fn fill_standard_streams() -> io::Result<()> {
    loop {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        // The lowest number that is free (open(2)): the file stays where it fills a gap, and is closed when none is
        // left.
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        let _ = null.into_raw_fd();
    }
}

/// Takes over a descriptor that was handed to this process by number (`fd://N`, `LISTEN_FDS`). Refuses the three
/// standard ones and numbers that are not open.
pub fn adopt_descriptor(number: i32) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "descriptors 0, 1 and 2 are the standard streams",
        ));
    }
    // SAFETY: F_GETFD only looks whether the number is open.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open and was named by the user as one that is handed to us, so nothing else in this
    // process owns it. The copy made here is ours alone; the number itself is left as it was.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fcntl has just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Takes a descriptor that the program which executed this one has made for it, and marks it close-on-exec. Refuses the
/// three standard ones and numbers that are not open.
///
/// Nothing else in this process may have it: to be called with numbers that were agreed upon, and once for each.
pub fn take_descriptor(number: i32) -> io::Result<OwnedFd> {
    let copy = adopt_descriptor(number)?;
    // SAFETY: the number is open, as has just been seen, and was made for the caller alone.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart() {
        assert_eq!(Exit::from_wait_status(4 << 8), Some(Exit::Code(4)));
        assert_eq!(Exit::from_wait_status(9), Some(Exit::Signal(9)));
        assert_eq!(Exit::from_wait_status(9 | 0x80), Some(Exit::Signal(9)));
        assert_eq!(Exit::from_wait_status(0x7f | (19 << 8)), None);
        assert_eq!(Exit::Signal(9).to_string(), "was ended by SIGKILL");
    }

    #[test]
    fn no_signal_goes_to_a_process_group() {
        assert!(kill(Pid(0), 0).is_err());
        assert!(kill(Pid(u32::MAX), 0).is_err());
    }
}
