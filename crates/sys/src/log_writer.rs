//! Log files: lines that never wait for a disk, and are never lost in silence.
//!
//! A worker has a [`LogWriter`]: its lines go to a bounded buffer, which a thread of its own writes out. When the
//! buffer is full, lines are counted instead, and the count is written as a line of its own as soon as there is room.
//! The supervisor, which may have no threads, writes to a [`LogFile`] directly.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the thread waits for more lines before it writes, so that a busy worker costs few calls. 10 ms.
const GATHER: Duration = Duration::from_millis(10);

/// The most that is written to a pipe in one call: other writers cannot get in between (`PIPE_BUF`, pipe(7)).
const PIPE_PIECE: usize = 4096;

/// The most that is written to a file in one call; `O_APPEND` keeps each call whole (open(2)).
const FILE_PIECE: usize = 64 * 1024;

/// A file, or a stream that was open already, to which lines are appended.
#[derive(Debug)]
pub struct LogFile {
    path: Option<PathBuf>,
    file: File,
    piece: usize,
}

impl LogFile {
    /// Opens a file for appending and makes it if need be, mode 0644 less the umask.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = append(path)?;
        Ok(Self { path: Some(path.to_owned()), piece: piece_of(&file), file })
    }

    /// A copy of the standard error stream.
    pub fn stderr() -> io::Result<Self> {
        Ok(Self::of(io::stderr().as_fd().try_clone_to_owned()?))
    }

    /// A copy of the standard output stream.
    pub fn stdout() -> io::Result<Self> {
        Ok(Self::of(io::stdout().as_fd().try_clone_to_owned()?))
    }

    fn of(fd: OwnedFd) -> Self {
        let file = File::from(fd);
        Self { path: None, piece: piece_of(&file), file }
    }

    /// Opens the file again by its path, after it was moved away by logrotate(8). On failure the old one stays.
    pub fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.file = append(path)?;
        }
        Ok(())
    }

    /// As [`append`](Self::append), for a thread that must not wait: where a pipe is full, or a terminal is stopped,
    /// the rest is not written.
    pub fn append_at_once(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        /// A reader that is only slow has read something by then.
        const MOMENT: Duration = Duration::from_millis(20);
        if self.piece == FILE_PIECE {
            return self.append(lines);
        }
        let mut written = 0;
        while written < lines.len() {
            let rest = &lines[written..];
            // A pipe with any room takes so much whole, pipe(7).
            let piece = &rest[..whole_lines(rest, self.piece).min(self.piece)];
            if !wait_writable(&self.file, MOMENT) {
                return (written, Err(io::ErrorKind::WouldBlock.into()));
            }
            let (count, result) = self.append(piece);
            written += count;
            if result.is_err() {
                return (written, result);
            }
        }
        (written, Ok(()))
    }

    /// Appends whole lines, each call as few pieces as keep lines whole. Returns how many bytes were written, with
    /// the error that stopped it.
    pub fn append(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < lines.len() {
            let rest = &lines[written..];
            match self.file.write(&rest[..whole_lines(rest, self.piece)]) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A pipe that somebody made non-blocking, and whose reader is slow.
                    if !wait_writable(&self.file, Duration::from_secs(1)) {
                        return (written, Err(error));
                    }
                }
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOCTTY)
        .open(path)
}

fn piece_of(file: &File) -> usize {
    if file.metadata().is_ok_and(|meta| meta.is_file()) { FILE_PIECE } else { PIPE_PIECE }
}

fn wait_writable(file: &File, limit: Duration) -> bool {
    let mut poll = [rustix::event::PollFd::new(file, rustix::event::PollFlags::OUT)];
    let limit =
        rustix::event::Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
    rustix::event::poll(&mut poll, Some(&limit)).is_ok_and(|ready| ready > 0)
}

/// How much of `bytes` to write at once: as many whole lines as fit in `piece`, at least one.
fn whole_lines(bytes: &[u8], piece: usize) -> usize {
    if bytes.len() <= piece {
        return bytes.len();
    }
    let newline = |byte: &u8| *byte == b'\n';
    match bytes[..piece].iter().rposition(newline) {
        Some(at) => at + 1,
        None => bytes.iter().position(newline).map_or(bytes.len(), |at| at + 1),
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Go,
    /// Write out what is left, then end.
    Close,
    /// The thread has ended.
    Ended,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Not said yet.
    dropped: u64,
    total_dropped: u64,
    /// What the thread is to do.
    order: Order,
    reopen: bool,
    /// The thread sleeps until it is notified.
    waiting: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    idle: Condvar,
    capacity: usize,
    notice: Notice,
}

/// Puts into words how many lines were not written, as a line of the log.
pub type Notice = fn(u64) -> String;

/// The notice of logs whose lines are text.
pub fn text_notice(dropped: u64) -> String {
    format!("stdserve: {dropped} log lines were not written\n")
}

impl Shared {
    /// No code panics with the lock held, and a queue would still be whole if it did.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log file with a thread that writes it. Shared by reference; closing writes out what is left.
pub struct LogWriter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter").field("capacity", &self.shared.capacity).finish_non_exhaustive()
    }
}

impl LogWriter {
    /// Starts the thread (which takes no signals). `capacity` bounds what waits to be written, in bytes. `notice` puts
    /// into words that lines were not written, once some can be again.
    pub fn start(file: LogFile, capacity: usize, notice: Notice) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            more: Condvar::new(),
            idle: Condvar::new(),
            capacity: capacity.max(PIPE_PIECE),
            notice,
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("stdserve-log".into()).stack_size(128 * 1024).spawn(
            move || {
                // Blocking cannot fail for a mask that is valid.
                let _ = crate::signals::block_for_crew();
                write_out(&theirs, file);
            },
        )?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Adds one line, without or with its newline. Never waits for the file; a line that finds no room is counted.
    pub fn line(&self, line: &[u8]) {
        self.lines().add(|queue| queue.extend_from_slice(line));
    }

    /// Several lines at once: nobody else adds any meanwhile, and none is written.
    pub fn lines(&self) -> Lines<'_> {
        Lines { shared: &self.shared, queue: self.shared.lock() }
    }

    /// Opens the file again by its path, after the lines that are queued now.
    pub fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.more.notify_one();
    }

    /// How many lines were not written, since the start.
    pub fn dropped(&self) -> u64 {
        let queue = self.shared.lock();
        queue.total_dropped
    }

    /// Writes out what is left and ends the thread, but waits no longer than `limit`. Returns whether all is written.
    pub fn close(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut queue = self.shared.lock();
        if queue.order == Order::Go {
            queue.order = Order::Close;
        }
        self.shared.more.notify_one();
        while queue.order != Order::Ended {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.shared.idle.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(queue);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It has said that it is done; a panic in it has nothing left to spoil.
            let _ = thread.join();
        }
        true
    }
}

/// The queue of a [`LogWriter`], held for those who add to it.
pub struct Lines<'a> {
    shared: &'a Shared,
    queue: MutexGuard<'a, Queue>,
}

impl fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines<'_> {
    /// As [`LogWriter::line`], for a line that `render` puts at the end of what is queued, in place. It must be quick,
    /// and not log.
    pub fn add(&mut self, render: impl FnOnce(&mut Vec<u8>)) {
        let queue = &mut *self.queue;
        let start = queue.bytes.len();
        if queue.order == Order::Go && start < self.shared.capacity {
            render(&mut queue.bytes);
            if queue.bytes.last() != Some(&b'\n') || queue.bytes.len() == start {
                queue.bytes.push(b'\n');
            }
        }
        if queue.order != Order::Go || start == queue.bytes.len() || queue.bytes.len() > self.shared.capacity
        {
            queue.bytes.truncate(start);
            queue.dropped += 1;
            queue.total_dropped += 1;
            return;
        }
        if queue.waiting {
            queue.waiting = false;
            self.shared.more.notify_one();
        }
    }
}

fn write_out(shared: &Shared, mut file: LogFile) {
    let mut batch = Vec::new();
    loop {
        let mut queue = shared.lock();
        while queue.bytes.is_empty() && queue.dropped == 0 && !queue.reopen && queue.order == Order::Go {
            queue.waiting = true;
            queue = shared.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.waiting = false;
        let (closed, reopen) = (queue.order == Order::Close, std::mem::take(&mut queue.reopen));
        if !closed && queue.bytes.len() < FILE_PIECE {
            drop(queue);
            std::thread::sleep(GATHER);
            queue = shared.lock();
        }
        std::mem::swap(&mut queue.bytes, &mut batch);
        let dropped = std::mem::take(&mut queue.dropped);
        drop(queue);
        let lines_end = batch.len();
        if dropped > 0 {
            batch.extend_from_slice((shared.notice)(dropped).as_bytes());
        }
        let (written, result) = file.append(&batch);
        if result.is_err() {
            let lost = count_lines(&batch[written.min(lines_end)..lines_end]);
            let mut queue = shared.lock();
            // The notice comes last, so it is lost too, and what it said is still to be said.
            queue.dropped += lost + dropped;
            queue.total_dropped += lost;
            drop(queue);
            if closed {
                return finish(shared);
            }
            // A full disk or a closed pipe: try again, but do not spin.
            std::thread::sleep(Duration::from_millis(200));
        }
        batch.clear();
        batch.shrink_to(4 * FILE_PIECE);
        if reopen {
            // Where that fails the old file goes on: better in the wrong place than nowhere.
            let _ = file.reopen();
        }
        if closed {
            let queue = shared.lock();
            let more = !queue.bytes.is_empty();
            drop(queue);
            if !more {
                return finish(shared);
            }
        }
    }
}

#[allow(clippy::naive_bytecount)] // only when a disk is full
fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn finish(shared: &Shared) {
    shared.lock().order = Order::Ended;
    shared.idle.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Nothing here takes so long.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("stdserve-log-{}-{name}", std::process::id()))
    }

    #[test]
    fn lines_are_written_in_order_and_reopening_moves_on() {
        let (path, moved) = (path("a"), path("b"));
        let writer = LogWriter::start(LogFile::open(&path).unwrap(), 1 << 20, text_notice).unwrap();
        writer.line(b"one");
        writer.line(b"two\n");
        while fs::read(&path).unwrap() != b"one\ntwo\n" {
            std::thread::sleep(Duration::from_millis(2));
        }
        fs::rename(&path, &moved).unwrap();
        writer.reopen();
        while !path.exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        writer.line(b"three");
        assert!(writer.close(PATIENCE));
        assert_eq!(fs::read(&path).unwrap(), b"three\n");
        assert_eq!(fs::read(&moved).unwrap(), b"one\ntwo\n");
        assert_eq!(writer.dropped(), 0);
        fs::remove_file(path).unwrap();
        fs::remove_file(moved).unwrap();
    }

    #[test]
    fn what_finds_no_room_is_counted_and_said() {
        let (reader, pipe) = rustix::pipe::pipe().unwrap();
        let writer = LogWriter::start(LogFile::of(pipe), 8192, text_notice).unwrap();
        let line = [b'x'; 99];
        for _ in 0..3000 {
            writer.line(&line);
        }
        let dropped = writer.dropped();
        assert!(dropped > 0);
        let reading = std::thread::spawn(move || io::read_to_string(File::from(reader)).unwrap());
        assert!(writer.close(PATIENCE));
        drop(writer);
        let text = reading.join().unwrap();
        let said: u64 = text
            .lines()
            .filter_map(|line| line.strip_prefix("stdserve: ")?.split(' ').next()?.parse::<u64>().ok())
            .sum();
        let kept = text.lines().filter(|line| line.starts_with('x')).count() as u64;
        assert_eq!((said, kept + said), (dropped, 3000));
    }

    #[test]
    fn a_full_disk_is_counted_and_does_not_stop_the_caller() {
        let writer =
            LogWriter::start(LogFile::open(Path::new("/dev/full")).unwrap(), 8192, text_notice).unwrap();
        for _ in 0..10 {
            writer.line(b"lost");
        }
        assert!(writer.close(PATIENCE));
        assert_eq!(writer.dropped(), 10);
    }

    #[test]
    fn a_pipe_that_nobody_reads_keeps_nobody() {
        let (reader, pipe) = rustix::pipe::pipe().unwrap();
        let mut file = LogFile::of(pipe);
        let line = [&[b'x'; 9_999][..], b"\n"].concat();
        let mut written = 0;
        let error = loop {
            let (count, result) = file.append_at_once(&line);
            written += count;
            if let Err(error) = result {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(file);
        assert_eq!(io::read_to_string(File::from(reader)).unwrap().len(), written);
    }

    #[test]
    fn pieces_end_at_lines() {
        assert_eq!(whole_lines(b"aa\nbb\ncc\n", 7), 6);
        assert_eq!(whole_lines(b"aaaaaaaa\nbb\n", 3), 9);
        assert_eq!(whole_lines(b"aaaaaaaa", 3), 8);
        assert_eq!(whole_lines(b"aa\n", 7), 3);
    }
}
