//! Starting another program from a process with threads: fork and exec in one.
//!
//! Between the two the child does only what is async-signal-safe: system calls on values that were made ready before.
//! No allocation, no lock, no formatting. It runs on the parent's memory (`CLONE_VM | CLONE_VFORK`, as `posix_spawn(3)`
//! does it): nothing is copied, however large the parent is, and the calling thread stands still until the program
//! runs or could not be started. That function itself has no resource limits and no change of user.
//!
//! Where the user changes, the child gets a copy of the memory: a process of another user must not share it, and the
//! kernel would mark the parent as not dumpable (`PR_SET_DUMPABLE`, prctl(2)).
//!
//! What the program starts with: unless it is to stay in the server's own, a session and with it a process group of its
//! own, so that it and what it starts can be ended together and none of them can ask questions on the server's
//! terminal; the three standard streams, the descriptors that are handed to it and no others; every signal with its
//! default action and none blocked.
//!
//! It is not told to die with its parent (`PR_SET_PDEATHSIG`): the kernel means the *thread* that started it, and a
//! thread of the crew may end long before its process does.

use std::ffi::CStr;
use std::fmt;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_char, c_int, c_long, c_void};

use super::{Exit, Pid, wait};
use crate::users::Account;

/// What the kernel bounds for a process (setrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Address space, in bytes.
    Memory,
    /// Processor time, in seconds.
    Cpu,
    /// Descriptors: one more than the highest number.
    Files,
    /// Core dumps, in bytes.
    Core,
    /// Files that are written, in bytes.
    FileSize,
    /// Processes of the user.
    Processes,
}

impl Limit {
    fn resource(self) -> libc::__rlimit_resource_t {
        match self {
            Self::Memory => libc::RLIMIT_AS,
            Self::Cpu => libc::RLIMIT_CPU,
            Self::Files => libc::RLIMIT_NOFILE,
            Self::Core => libc::RLIMIT_CORE,
            Self::FileSize => libc::RLIMIT_FSIZE,
            Self::Processes => libc::RLIMIT_NPROC,
        }
    }
}

/// A program to be started.
#[derive(Debug)]
pub struct Program<'a> {
    /// The path of its file, absolute: no folders are searched.
    pub path: &'a CStr,
    /// Its arguments, the first of which is its name.
    pub arguments: &'a [&'a CStr],
    /// Its environment: `NAME=value` each.
    pub environment: &'a [&'a CStr],
    /// Its working directory.
    pub folder: BorrowedFd<'a>,
    /// Standard input, output and error.
    pub streams: [BorrowedFd<'a>; 3],
    /// Further descriptors, which get the numbers from 3 on.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// Whether it gets a session of its own.
    pub session: bool,
    /// Bounds, soft and hard. One above the hard limit that is in force counts as that.
    pub limits: &'a [(Limit, u64)],
    /// Who it runs as, where that is not who the server is.
    pub account: Option<&'a Account>,
}

/// What was being done when a program could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Step {
    /// Making the process (clone(2)).
    Process,
    /// Giving it its standard streams (dup2(2)).
    Streams,
    /// Bounding it (setrlimit(2)).
    Limits,
    /// Changing its user and groups (setuid(2)).
    Account,
    /// Going to its working directory (fchdir(2)).
    Folder,
    /// Executing it (execve(2)).
    Execute,
}

/// Why a program could not be started.
#[derive(Debug)]
pub struct SpawnError {
    /// Where it failed.
    pub step: Step,
    /// What the kernel said.
    pub error: io::Error,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self.step {
            Step::Process => "cannot make a process",
            Step::Streams => "cannot give it its standard streams",
            Step::Limits => "cannot bound it",
            Step::Account => "cannot change its user",
            Step::Folder => "cannot go to its folder",
            Step::Execute => "cannot execute it",
        };
        write!(f, "{doing}: {}", self.error)
    }
}

impl std::error::Error for SpawnError {}

/// All that the child needs, ready before it exists: numbers, and pointers into memory that outlives it.
struct Plan {
    path: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    folder: c_int,
    streams: [c_int; 3],
    descriptors: *mut c_int,
    descriptor_count: usize,
    session: bool,
    limits: *const (Limit, u64),
    limit_count: usize,
    account: Option<Ids>,
    /// Where the memory is a copy: a pipe to say on what went wrong.
    tell: c_int,
    /// Where it is not: what went wrong, written by the child before it ends.
    failed: Option<(Step, c_int)>,
}

#[derive(Clone, Copy)]
struct Ids {
    user: libc::uid_t,
    group: libc::gid_t,
    groups: *const libc::gid_t,
    group_count: usize,
}

/// The highest number of a signal (`_NSIG`).
const LAST_SIGNAL: c_int = 64;

/// Enough for a dozen system calls; the parent lends it from its own stack.
#[repr(align(16))]
struct Stack([u8; 16 << 10]);

/// Starts `program`. On success it runs: what is wrong with its path, its `#!` line or its user is an error here.
pub fn spawn(program: &Program<'_>) -> Result<Child, SpawnError> {
    let pointers = |strings: &[&CStr]| {
        let pointers = strings.iter().map(|string| string.as_ptr());
        pointers.chain([ptr::null()]).collect::<Vec<_>>()
    };
    let (arguments, environment) = (pointers(program.arguments), pointers(program.environment));
    let mut descriptors: Vec<c_int> = program.descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let pipe = match program.account {
        Some(_) => Some(pipe().map_err(|error| SpawnError { step: Step::Process, error })?),
        None => None,
    };
    let mut plan = Plan {
        path: program.path.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        folder: program.folder.as_raw_fd(),
        streams: program.streams.map(|stream| stream.as_raw_fd()),
        descriptors: descriptors.as_mut_ptr(),
        descriptor_count: descriptors.len(),
        session: program.session,
        limits: program.limits.as_ptr(),
        limit_count: program.limits.len(),
        account: program.account.map(|account| Ids {
            user: account.user,
            group: account.group,
            groups: account.groups.as_ptr(),
            group_count: account.groups.len(),
        }),
        tell: pipe.as_ref().map_or(-1, |(_, writer)| writer.as_raw_fd()),
        failed: None,
    };
    let child = clone(&mut plan).map_err(|error| SpawnError { step: Step::Process, error })?;
    let failed = match pipe {
        None => plan.failed,
        Some((reader, writer)) => {
            drop(writer);
            told(reader)
        }
    };
    match failed {
        None => Ok(child),
        Some((step, errno)) => {
            // It has ended by itself, and the child's drop would only look for a group that never was.
            let _ = child.end();
            Err(SpawnError { step, error: io::Error::from_raw_os_error(errno) })
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// What the child said; nothing where exec(2) has closed the pipe.
fn told(reader: OwnedFd) -> Option<(Step, c_int)> {
    let mut said = [0; 8];
    std::fs::File::from(reader).read_exact(&mut said).ok()?;
    let [s0, s1, s2, s3, e0, e1, e2, e3] = said;
    let step = match i32::from_ne_bytes([s0, s1, s2, s3]) {
        0 => Step::Process,
        1 => Step::Streams,
        2 => Step::Limits,
        3 => Step::Account,
        4 => Step::Folder,
        _ => Step::Execute,
    };
    Some((step, i32::from_ne_bytes([e0, e1, e2, e3])))
}

/// Makes the process, which goes through [`child_main`], and waits until it executes its program or has failed.
fn clone(plan: &mut Plan) -> io::Result<Child> {
    // Written once, so that every page is there: under RLIMIT_AS the child could not grow a stack.
    let mut stack = Stack([0; 16 << 10]);
    let mut flags = libc::SIGCHLD | libc::CLONE_PIDFD | libc::CLONE_VFORK;
    if plan.account.is_none() {
        flags |= libc::CLONE_VM;
    }
    let mut pidfd: c_int = -1;
    let mut full = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: The signal sets are filled before they are read. All signals are blocked meanwhile, so that no handler
    // of this process runs in the child, on memory that both share; the child gives every signal its default action
    // before it lets them through. The stack is as large as said and its top is aligned; it, the plan and everything
    // that the plan points to live until this function's caller returns, and CLONE_VFORK holds this thread until the
    // child has left them by execve or _exit. `child_main` does only what is async-signal-safe. The kernel writes one
    // descriptor to `pidfd`, or nothing (before 5.2, which ignores the flag).
    let (pid, error) = unsafe {
        libc::sigfillset(full.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, full.as_ptr(), before.as_mut_ptr());
        let top = stack.0.as_mut_ptr().add(stack.0.len());
        let pid =
            libc::clone(child_main, top.cast(), flags, ptr::from_mut(plan).cast::<c_void>(), &raw mut pidfd);
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
        (pid, error)
    };
    if pid < 0 {
        return Err(error);
    }
    // SAFETY: the kernel has just made this descriptor, which is close-on-exec (clone(2)).
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Child { pid: Pid(pid as u32), pidfd, reaped: false })
}

/// The child, from its first instruction to its program. `plan` is a [`Plan`].
extern "C" fn child_main(plan: *mut c_void) -> c_int {
    // SAFETY: the parent stands still and has lent us the plan; see `clone`.
    let plan = unsafe { &mut *plan.cast::<Plan>() };
    // SAFETY: the plan's pointers are valid, as its maker says.
    let failed = unsafe { prepare_and_execute(plan) };
    // SAFETY: `errno` is this thread's own, write and _exit are async-signal-safe, and the bytes live through the
    // call.
    unsafe {
        let errno = *libc::__errno_location();
        plan.failed = Some((failed, errno));
        if plan.tell >= 0 {
            let said = [failed as c_int, errno];
            libc::write(plan.tell, said.as_ptr().cast(), size_of_val(&said));
        }
        libc::_exit(127)
    }
}

/// Returns where it failed, with the reason in `errno`. Only system calls, by functions that are nothing else.
///
/// # Safety
/// The plan's pointers are valid, and this is a child that shares no descriptors with its parent.
unsafe fn prepare_and_execute(plan: &mut Plan) -> Step {
    // SAFETY: system calls on numbers, and on pointers that are valid as the caller says.
    unsafe {
        if plan.session {
            libc::setsid();
        }
        if !take_streams(&mut plan.streams, &mut plan.tell) || !take_descriptors(plan) {
            return Step::Streams;
        }
        for at in 0..plan.limit_count {
            let (limit, value) = *plan.limits.add(at);
            let resource = limit.resource();
            let mut bound = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            if libc::getrlimit(resource, &raw mut bound) < 0 {
                return Step::Limits;
            }
            let value = (value as libc::rlim_t).min(bound.rlim_max);
            bound = libc::rlimit { rlim_cur: value, rlim_max: value };
            if libc::setrlimit(resource, &raw const bound) < 0 {
                return Step::Limits;
            }
        }
        if let Some(ids) = &plan.account {
            // The calls themselves: the C library's functions would have every thread of the parent do the same.
            let (user, group) = (c_long::from(ids.user), c_long::from(ids.group));
            if libc::syscall(libc::SYS_setgroups, ids.group_count, ids.groups) < 0
                || libc::syscall(libc::SYS_setresgid, group, group, group) < 0
                || libc::syscall(libc::SYS_setresuid, user, user, user) < 0
            {
                return Step::Account;
            }
        }
        if libc::fchdir(plan.folder) < 0 {
            return Step::Folder;
        }
        reset_signals();
        // What others left open without close-on-exec. Kernels before 5.11 do not know it; ours are all marked.
        libc::syscall(
            libc::SYS_close_range,
            3 + plan.descriptor_count as c_long,
            c_long::from(u32::MAX),
            c_long::from(libc::CLOSE_RANGE_CLOEXEC),
        );
        libc::execve(plan.path, plan.arguments, plan.environment);
        Step::Execute
    }
}

/// Puts the streams to 0, 1 and 2. False: `errno` says why not.
///
/// # Safety
/// To be called in a child that shares no descriptors with its parent.
unsafe fn take_streams(streams: &mut [RawFd; 3], tell: &mut RawFd) -> bool {
    // SAFETY: system calls on numbers; the descriptors are the child's own copies.
    unsafe {
        // One that stands among the three itself would be overwritten before its turn.
        for stream in streams.iter_mut().chain([tell]) {
            if (0..3).contains(stream) {
                *stream = libc::fcntl(*stream, libc::F_DUPFD_CLOEXEC, 3);
                if *stream < 0 {
                    return false;
                }
            }
        }
        for (target, stream) in (0..).zip(streams) {
            if libc::dup2(*stream, target) < 0 {
                return false;
            }
        }
    }
    true
}

/// Puts the further descriptors to the numbers from 3 on. False: `errno` says why not.
///
/// # Safety
/// To be called in a child that shares no descriptors with its parent; the plan's pointers are valid.
unsafe fn take_descriptors(plan: &mut Plan) -> bool {
    let (first, count) = (3, plan.descriptor_count);
    let above = first + count as c_int;
    // SAFETY: system calls on numbers, and writes to the plan's own list within its length.
    unsafe {
        let away = |fd: &mut c_int| {
            *fd = libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, above);
            *fd >= 0
        };
        // Whatever stands among the numbers that are given away would be overwritten before its turn.
        for at in 0..count {
            if !away(&mut *plan.descriptors.add(at)) {
                return false;
            }
        }
        for other in [&mut plan.folder, &mut plan.tell] {
            if (first..above).contains(other) && !away(other) {
                return false;
            }
        }
        for at in 0..count {
            if libc::dup2(*plan.descriptors.add(at), first + at as c_int) < 0 {
                return false;
            }
        }
    }
    true
}

/// Gives all signals their default action and lets them through.
///
/// # Safety
/// To be called in a child whose table of actions is its own.
unsafe fn reset_signals() {
    // The kernel's own form of the record: action, flags, restorer, mask; all zero is the default action. The C
    // library's function would refuse the two signals that it keeps for itself.
    const DEFAULT: [u64; 8] = [0; 8];
    const SET_SIZE: usize = 8;
    // SAFETY: system calls on numbers and on a record that is longer than any that the kernel reads. Those that cannot
    // be set (KILL, STOP) are refused, which is all the same.
    unsafe {
        for signal in 1..=c_long::from(LAST_SIGNAL) {
            let none = ptr::null_mut::<c_void>();
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), none, SET_SIZE);
        }
        let empty: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, ptr::null_mut());
    }
}

/// A program that was started, and the leader of its process group. Dropped, the whole group is ended.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    /// `None` on kernels before 5.2.
    pidfd: Option<OwnedFd>,
    /// It has been waited for: its number may belong to somebody else.
    reaped: bool,
}

impl Child {
    /// Its number, which is that of its process group and its session too.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// A descriptor that is readable once the process has ended (`pidfd_open(2)`); `None` where the kernel has none:
    /// ask [`has_ended`](Self::has_ended) from time to time.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Whether it has ended. It stays a zombie, and its number its own, until [`end`](Self::end). True as well where
    /// somebody else in this process has waited for it.
    pub fn has_ended(&self) -> bool {
        self.look().is_none_or(|info| info.0 != 0)
    }

    /// How it has ended; `None` where it has not, or somebody else has waited for it.
    pub fn how_it_ended(&self) -> Option<Exit> {
        let (_, code, status) = self.look()?;
        match code {
            libc::CLD_EXITED => Some(Exit::Code(status)),
            libc::CLD_KILLED | libc::CLD_DUMPED => Some(Exit::Signal(status)),
            _ => None,
        }
    }

    /// Number, code and status of a process that has ended (waitid(2)), zeros where it has not.
    fn look(&self) -> Option<(i32, i32, i32)> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: the record lives through the call, and zero is a valid value for it.
        unsafe {
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            if libc::waitid(libc::P_PID, self.pid.0, info.as_mut_ptr(), flags) < 0 {
                return None;
            }
            let info = info.assume_init();
            Some((info.si_pid(), info.si_code, info.si_status()))
        }
    }

    /// Sends a signal to every process of the group. Not an error: there is none left.
    pub fn signal_group(&self, signal: i32) {
        if self.reaped || self.pid.0 <= 1 {
            return;
        }
        // SAFETY: a plain system call. The leader has not been waited for, so that the number is still that of its
        // group, which it made before its program began.
        unsafe { libc::kill(-self.pid.raw(), signal) };
    }

    /// Lets it go its own way: whoever reaps this process's children learns of its end.
    pub fn release(mut self) -> Pid {
        self.reaped = true;
        self.pid
    }

    /// Ends what is left of the group (SIGKILL) and waits for the leader. How that one ended; an error where somebody
    /// else has waited for it.
    pub fn end(mut self) -> io::Result<Exit> {
        self.kill_and_wait()
    }

    fn kill_and_wait(&mut self) -> io::Result<Exit> {
        self.signal_group(libc::SIGKILL);
        self.reaped = true;
        wait(self.pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            // How it ended, nobody asks any more.
            let _ = self.kill_and_wait();
        }
    }
}

#[cfg(test)]
mod tests;
