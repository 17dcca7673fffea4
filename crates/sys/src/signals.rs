//! Signals: read from a descriptor in the supervisor, kept away from the crew, made a byte in a pipe in workers.
//!
//! The supervisor blocks what it handles and reads it from a signalfd(2): no handler runs at a bad moment and Python
//! sees none of it. Children unblock everything again.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;

pub use libc::{
    SIGABRT, SIGBUS, SIGCHLD, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSEGV, SIGTERM,
    SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH, SIGXCPU,
};

/// The signal that has a worker write the stacks of its threads, whoever holds the interpreter's lock: a real-time
/// signal, since an application may have a use for any other.
pub fn autopsy() -> i32 {
    libc::SIGRTMIN() + 7
}

/// The name of a signal (`SIGTERM`), as signal(7) has it.
pub fn name(signal: i32) -> String {
    let known = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGCHLD => "SIGCHLD",
        libc::SIGTTIN => "SIGTTIN",
        libc::SIGTTOU => "SIGTTOU",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGWINCH => "SIGWINCH",
        libc::SIGSYS => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    known.to_owned()
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills the set before sigaddset changes it; an unknown number changes nothing.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset fills the whole set.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn change_mask(how: i32, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is initialised; the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(how, set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Blocks all signals for the calling thread, except those that a fault of its own raises (SEGV, BUS, FPE, ILL): they
/// go to the main thread instead. For crew threads.
pub fn block_for_crew() -> io::Result<()> {
    let mut set = full_set();
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL] {
        // SAFETY: the set is initialised.
        unsafe { libc::sigdelset(&raw mut set, signal) };
    }
    change_mask(libc::SIG_SETMASK, &set)
}

/// Lets all signals through to the calling thread. For the main thread of a child, whose parent blocked some.
pub fn unblock_all() -> io::Result<()> {
    change_mask(libc::SIG_SETMASK, &set_of(&[]))
}

/// Gives a signal its default action.
pub fn set_default(signal: i32) -> io::Result<()> {
    set_action(signal, libc::SIG_DFL)
}

/// Ignores a signal, also in programs that are executed later.
pub fn ignore(signal: i32) -> io::Result<()> {
    set_action(signal, libc::SIG_IGN)
}

fn set_action(signal: i32, action: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: zero is a valid value for every field of sigaction; the action is SIG_DFL, SIG_IGN or a function of the
    // right signature that does only what is async-signal-safe.
    let done = unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = action;
        new.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut new.sa_mask);
        libc::sigaction(signal, &raw const new, std::ptr::null_mut())
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Where the handler of [`WakePipe::catch`] writes, and the process that it serves.
static PIPE: AtomicI32 = AtomicI32::new(-1);
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Set in a byte of a [`WakePipe`] that a [caught](WakePipe::catch) signal wrote.
const CAUGHT: u8 = 0x80;

/// What wakes a thread that waits on a [`WakePipe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// A signal that was caught here.
    Caught(i32),
    /// A number that somebody else has written: for the interpreter's own wake-up descriptor, a signal.
    Note(u8),
}

/// A pipe to sleep on, which signals and other threads can write to (the self-pipe trick). It lives as long as the
/// process, since a signal may come at any time.
#[derive(Debug)]
pub struct WakePipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl WakePipe {
    /// A pipe for this process; non-blocking and close-on-exec.
    pub fn new() -> io::Result<&'static Self> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Box::leak(Box::new(Self { reader, writer })))
    }

    /// Turns `signal` into a byte in this pipe, in this process. A forked child to which the signal is sent takes the
    /// signal's default action. All signals share the pipe that was named last.
    pub fn catch(&'static self, signal: i32) -> io::Result<()> {
        extern "C" fn handler(signal: libc::c_int) {
            // SAFETY: getpid, sigaction (in `set_action`), raise and write are async-signal-safe; the byte lives
            // through the call; errno, which the interrupted code may be about to read, is put back.
            unsafe {
                if libc::getpid() as u32 != OWNER.load(Ordering::Relaxed) {
                    let _ = set_action(signal, libc::SIG_DFL);
                    libc::raise(signal);
                    return;
                }
                let errno = *libc::__errno_location();
                let byte = signal as u8 | CAUGHT;
                libc::write(PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1);
                *libc::__errno_location() = errno;
            }
        }
        PIPE.store(self.writer.as_raw_fd(), Ordering::Relaxed);
        OWNER.store(std::process::id(), Ordering::Relaxed);
        set_action(signal, handler as extern "C" fn(libc::c_int) as libc::sighandler_t)
    }

    /// Wakes the thread that waits, with a number below 128. When the pipe is full, it is awake anyway.
    pub fn note(&self, number: u8) {
        let _ = rustix::io::write(&self.writer, &[number & !CAUGHT]);
    }

    /// The end to write to, for the interpreter's wake-up descriptor.
    pub fn writing_end(&self) -> RawFd {
        self.writer.as_raw_fd()
    }

    /// Waits until there is something, or `limit` has passed; returns all that there is.
    pub fn wait(&self, limit: Duration) -> Vec<Wake> {
        let mut poll = [PollFd::new(&self.reader, PollFlags::IN)];
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        // A signal that interrupts the wait has written its byte.
        let _ = rustix::event::poll(&mut poll, Some(&limit));
        let mut found = Vec::new();
        let mut bytes = [0; 64];
        while let Ok(count @ 1..) = rustix::io::read(&self.reader, &mut bytes) {
            found.extend(bytes[..count].iter().map(|byte| match byte & CAUGHT {
                0 => Wake::Note(*byte),
                _ => Wake::Caught(i32::from(byte & !CAUGHT)),
            }));
        }
        found
    }
}

/// Signals as something to read (signalfd(2)).
#[derive(Debug)]
pub struct SignalReader(OwnedFd);

impl SignalReader {
    /// Blocks `signals` in the calling thread and reads them from now on. Other threads must not exist yet, or must
    /// have them blocked as well.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let set = set_of(signals);
        change_mask(libc::SIG_BLOCK, &set)?;
        // SIGCHLD that is ignored (as it may be inherited) would make the kernel throw exit codes away.
        if signals.contains(&libc::SIGCHLD) {
            set_default(libc::SIGCHLD)?;
        }
        // SAFETY: the set is initialised and lives through the call.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd has just made this descriptor.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal that is pending, if any. Does not wait.
    pub fn next(&self) -> Option<i32> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is as long as said.
        let read = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if read as usize != size {
            return None;
        }
        // SAFETY: the kernel has filled the whole record.
        Some(unsafe { info.assume_init() }.ssi_signo as i32)
    }
}

impl AsFd for SignalReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for SignalReader {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read() {
        let reader = SignalReader::new(&[libc::SIGUSR2]).unwrap();
        assert_eq!(reader.next(), None);
        // SAFETY: the signal is blocked in this thread, to which alone it is sent.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
        assert_eq!(reader.next(), Some(libc::SIGUSR2));
        assert_eq!(reader.next(), None);
    }

    #[test]
    fn a_handled_signal_is_a_byte() {
        let pipe = WakePipe::new().unwrap();
        pipe.catch(libc::SIGWINCH).unwrap();
        // SAFETY: the handler writes a byte and returns.
        unsafe { libc::raise(libc::SIGWINCH) };
        pipe.note(7);
        assert_eq!(pipe.wait(Duration::from_secs(9)), [Wake::Caught(libc::SIGWINCH), Wake::Note(7)]);
        assert_eq!(pipe.wait(Duration::ZERO), []);
        set_default(libc::SIGWINCH).unwrap();
    }
}
