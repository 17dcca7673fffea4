//! Forking, while single-threaded.
//!
//! A fork copies one thread and all locks, so whatever lock another thread held stays taken for ever in the child.
//! The functions here therefore refuse to fork a process that has more than one thread, and they call the hooks of
//! the host language around the fork, as CPython's `os.fork` does.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::pipe::PipeFlags;

use super::{Exit, Pid, exit_now, wait};

/// One thread of this process, as `/proc/self/task` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadInfo {
    /// The kernel's id of the thread.
    pub tid: u32,
    /// Its name (`comm`, at most 15 bytes).
    pub name: String,
}

/// The threads of this process, the main thread first.
pub fn threads() -> io::Result<Vec<ThreadInfo>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        let Ok(tid) = entry.file_name().to_string_lossy().parse() else { continue };
        // A thread may end between the listing and the reading.
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        found.push(ThreadInfo { tid, name: name.trim_end().to_owned() });
    }
    let main = std::process::id();
    found.sort_by_key(|thread| (thread.tid != main, thread.tid));
    Ok(found)
}

/// Why a process could not be forked.
#[derive(Debug)]
pub enum ForkError {
    /// Other threads than the calling one are alive: a fork would copy their locks, but not them.
    Threads(Vec<ThreadInfo>),
    /// The kernel refused (fork(2), pipe(2)).
    System(io::Error),
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads(threads) => {
                write!(f, "cannot fork: {} threads are alive (", threads.len())?;
                for (index, thread) in threads.iter().enumerate() {
                    write!(f, "{}{} {}", if index == 0 { "" } else { ", " }, thread.tid, thread.name)?;
                }
                write!(f, "); start threads in the workers, after the fork")
            }
            Self::System(error) => write!(f, "cannot fork: {error}"),
        }
    }
}

impl std::error::Error for ForkError {}

impl From<io::Error> for ForkError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// What the host language does around a fork. For CPython: `PyOS_BeforeFork`, `PyOS_AfterFork_Parent`,
/// `PyOS_AfterFork_Child`.
pub trait ForkHooks {
    /// In the parent, before the fork.
    fn before(&mut self);
    /// In the parent, after it, also when the fork failed.
    fn after_in_parent(&mut self);
    /// In the child.
    fn after_in_child(&mut self);
}

/// Hooks for a process that hosts no other language.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl ForkHooks for NoHooks {
    fn before(&mut self) {}
    fn after_in_parent(&mut self) {}
    fn after_in_child(&mut self) {}
}

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The process that called; the child's id.
    Parent(Pid),
    /// The new process.
    Child,
}

/// What is done about threads other than the one that forks. They are not in the child, and locks that they hold stay
/// taken there for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Nothing is forked while there are any.
    Refused,
    /// They are left behind; whoever asked for this has been warned.
    Left,
}

/// Refuses where other threads than the calling one are alive.
pub fn assert_single_threaded() -> Result<(), ForkError> {
    let threads = threads()?;
    if threads.len() > 1 { Err(ForkError::Threads(threads)) } else { Ok(()) }
}

/// Forks a process that has one thread.
pub fn fork(hooks: &mut dyn ForkHooks) -> Result<Fork, ForkError> {
    assert_single_threaded()?;
    hooks.before();
    // SAFETY: the process has one thread, so that no lock is left taken in the child and it may do whatever the
    // parent may.
    let result = unsafe { raw_fork() };
    match result {
        Ok(Fork::Child) => hooks.after_in_child(),
        _ => hooks.after_in_parent(),
    }
    Ok(result?)
}

/// Forks a process that has one thread, or whose `others` are left behind, so that the child's parent is not this
/// process but its subreaper (or pid 1).
///
/// `announce` is called in this process with the child's id, before the child goes on: what it sends to the subreaper
/// arrives before the child can end. Where it fails the child ends at once. The hooks stand around the whole
/// sequence; the process in between only forks and ends.
pub fn fork_reparented(
    hooks: &mut dyn ForkHooks,
    others: Others,
    announce: impl FnOnce(Pid) -> io::Result<()>,
) -> Result<Fork, ForkError> {
    if others == Others::Refused {
        assert_single_threaded()?;
    }
    let (id_reader, id_writer) = pipe()?;
    let (gate_reader, gate_writer) = pipe()?;
    hooks.before();
    // SAFETY: the process has one thread; see `fork`. Where it has more the host language has taken its own locks in
    // `before` and the C library takes those of its allocator; for all others the caller has answered.
    match unsafe { raw_fork() } {
        Err(error) => {
            hooks.after_in_parent();
            Err(error.into())
        }
        Ok(Fork::Child) => {
            drop((id_reader, gate_writer));
            // SAFETY: as above: the copy of a process with one thread has one thread.
            match unsafe { raw_fork() } {
                Ok(Fork::Child) => {
                    drop(id_writer);
                    let mut go = [0];
                    // No byte: the parent has ended, or could not announce this process.
                    if !matches!(File::from(gate_reader).read(&mut go), Ok(1)) {
                        exit_now(0);
                    }
                    hooks.after_in_child();
                    Ok(Fork::Child)
                }
                Ok(Fork::Parent(pid)) => {
                    let told = File::from(id_writer).write_all(&pid.0.to_ne_bytes());
                    exit_now(i32::from(told.is_err()))
                }
                Err(error) => exit_now(error.raw_os_error().unwrap_or(libc::EAGAIN)),
            }
        }
        Ok(Fork::Parent(between)) => {
            drop((id_writer, gate_reader));
            let mut id = [0; 4];
            let read = File::from(id_reader).read_exact(&mut id);
            let exit = wait(between);
            let outcome = match (read, exit) {
                (Ok(()), _) => {
                    let pid = Pid(u32::from_ne_bytes(id));
                    announce(pid).and_then(|()| File::from(gate_writer).write_all(&[1])).map(|()| pid)
                }
                (Err(_), Ok(Exit::Code(code))) if code != 0 => Err(io::Error::from_raw_os_error(code)),
                (Err(error), _) => Err(error),
            };
            hooks.after_in_parent();
            Ok(Fork::Parent(outcome?))
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}

/// # Safety
/// In a process with several threads the child may only do what is async-signal-safe (fork(2)).
unsafe fn raw_fork() -> io::Result<Fork> {
    // SAFETY: the call itself has no precondition; the caller answers for what the child does.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid(pid as u32))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_forked_and_the_threads_are_named() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("left-behind".into())
            .spawn(move || {
                ready.send(()).unwrap();
                held.recv().ok()
            })
            .unwrap();
        is_ready.recv().unwrap();
        let refused = fork(&mut NoHooks).unwrap_err().to_string();
        assert!(refused.contains("left-behind"), "{refused}");
        drop(hold);
        thread.join().unwrap();
    }
}
