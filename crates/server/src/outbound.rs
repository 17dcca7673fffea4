//! What a connection's socket has not taken yet: pieces in memory and stretches of files, in order.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::observe::printable;
use crate::transport::Transport;

/// At most so much of a file is sent before other connections have their turn.
const FILE_STRETCH: u64 = 1 << 20;

/// Pieces that go in one system call.
const AT_ONCE: usize = 16;

/// What a connection may queue even where the common budget is used up.
const LEAST_ROOM: usize = 64 << 10;

/// Counts the bytes that all buffers of a server hold, so that they stay under one bound; and those that have gone out.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
    sent: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit, sent: AtomicU64::new(0) }
    }

    /// Takes `bytes` out of the budget, or says that they are not there.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        if self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit {
            return true;
        }
        self.give_back(bytes);
        false
    }

    /// Takes `bytes` even past the limit: for what is already there and cannot be refused any more.
    pub(crate) fn take_anyway(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What is left of the budget.
    pub(crate) fn left(&self) -> usize {
        self.limit.saturating_sub(self.used.load(Ordering::Relaxed))
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A socket has taken `bytes`.
    pub(crate) fn has_gone(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that the sockets have taken, since this was last asked.
    pub(crate) fn take_gone(&self) -> u64 {
        // Most turns find none.
        if self.sent.load(Ordering::Relaxed) == 0 { 0 } else { self.sent.swap(0, Ordering::Relaxed) }
    }
}

/// Why nothing more can be sent.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The client has gone.
    Client,
    /// What was promised of a file cannot be had: in words for the log.
    File(String),
}

impl Broken {
    /// What went wrong when a file was sent. The name is that which the file has now.
    fn file(file: &File, what: impl std::fmt::Display) -> Self {
        match std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) {
            Ok(path) => Self::File(format!("{} {what}", printable(path.as_os_str().as_bytes()))),
            Err(_) => Self::File(format!("a file {what}")),
        }
    }
}

/// Sends at most `length` bytes of a file. `None`: the socket is full.
pub(crate) fn send_from_file(
    transport: &Transport,
    file: &File,
    offset: u64,
    length: usize,
) -> Result<Option<usize>, Broken> {
    match transport.write_file(file, offset, length) {
        Ok(0) => Err(Broken::file(file, "has become shorter than was promised")),
        Ok(count) => Ok(Some(count)),
        // sendfile(2) has one error for both of its ends; these are the socket's.
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock => Ok(None),
            ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown => Err(Broken::Client),
            _ => Err(Broken::file(file, format_args!("cannot be read: {error}"))),
        },
    }
}

#[derive(Debug)]
enum Piece {
    Bytes { data: Vec<u8>, sent: usize },
    File { file: Arc<File>, offset: u64, left: u64 },
}

/// The queue of one connection.
#[derive(Debug)]
pub(crate) struct Outbound {
    pieces: VecDeque<Piece>,
    in_memory: usize,
    budget: Arc<Budget>,
}

impl Outbound {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { pieces: VecDeque::new(), in_memory: 0, budget }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that wait in memory.
    pub(crate) fn in_memory(&self) -> usize {
        self.in_memory
    }

    pub(crate) fn has_files(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::File { .. }))
    }

    /// How many more bytes may be queued: up to `bound` of this connection and what all of them share. An empty queue
    /// always has some room, so that no answer stands still for the others' sake.
    pub(crate) fn room(&self, bound: usize) -> usize {
        let own = bound.saturating_sub(self.in_memory);
        let floor = if self.is_empty() { LEAST_ROOM } else { 0 };
        own.min(self.budget.left().max(floor))
    }

    /// Queues what of `data` stands behind `sent`, without copying it.
    pub(crate) fn push_rest(&mut self, data: Vec<u8>, sent: usize) {
        if sent < data.len() {
            self.in_memory += data.len() - sent;
            self.budget.take_anyway(data.len() - sent);
            self.pieces.push_back(Piece::Bytes { data, sent });
        }
    }

    /// Queues a stretch of a file, as part of the last one where it follows it.
    pub(crate) fn push_file(&mut self, file: Arc<File>, offset: u64, left: u64) {
        if let Some(Piece::File { file: last, offset: at, left: before }) = self.pieces.back_mut()
            && Arc::ptr_eq(last, &file)
            && *at + *before == offset
        {
            *before += left;
            return;
        }
        if left > 0 {
            self.pieces.push_back(Piece::File { file, offset, left });
        }
    }

    /// Sends until the queue is empty, the socket is full, or a stretch of a file has gone. Returns the bytes sent.
    ///
    /// A full socket is no error: what stays queued says it.
    pub(crate) fn flush(&mut self, transport: &Transport) -> Result<u64, Broken> {
        let mut total = 0;
        let mut stretch = FILE_STRETCH;
        while stretch > 0
            && let Some(first) = self.pieces.front()
        {
            let step = match first {
                Piece::Bytes { .. } => self.send_from_memory(transport)?,
                Piece::File { file, offset, left } => {
                    send_from_file(transport, file, *offset, (*left).min(stretch) as usize)?
                }
            };
            let Some(count) = step else { return Ok(total) };
            self.budget.has_gone(count);
            total += count as u64;
            stretch = stretch.saturating_sub(self.take_off(count) as u64);
        }
        Ok(total)
    }

    /// Sends the pieces in memory at the front of the queue, as many as go in one system call. `None`: the socket is
    /// full.
    fn send_from_memory(&self, transport: &Transport) -> Result<Option<usize>, Broken> {
        let mut slices = [IoSlice::new(b""); AT_ONCE];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            let Piece::Bytes { data, sent } = piece else { break };
            *slice = IoSlice::new(&data[*sent..]);
            count += 1;
        }
        let sent = match &slices[..count] {
            [one] => transport.write(one),
            several => transport.write_pieces(several),
        };
        match sent {
            Ok(count) if count > 0 => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Ok(_) | Err(_) => Err(Broken::Client),
        }
    }

    /// Takes `count` bytes off the front, which were sent. Returns how many of them came from a file.
    fn take_off(&mut self, mut count: usize) -> usize {
        let mut from_file = 0;
        while count > 0
            && let Some(piece) = self.pieces.front_mut()
        {
            let done = match piece {
                Piece::Bytes { data, sent } => {
                    let step = count.min(data.len() - *sent);
                    *sent += step;
                    count -= step;
                    self.in_memory -= step;
                    self.budget.give_back(step);
                    *sent == data.len()
                }
                Piece::File { offset, left, .. } => {
                    *offset += count as u64;
                    *left = left.saturating_sub(count as u64);
                    from_file += std::mem::take(&mut count);
                    *left == 0
                }
            };
            if done {
                self.pieces.pop_front();
            }
        }
        from_file
    }

    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.budget.give_back(self.in_memory);
        self.in_memory = 0;
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.budget.give_back(self.in_memory);
    }
}
