//! What the loop and the crew share of one connection: the socket's sending side, under one lock.
//!
//! The loop reads; whoever has the answer writes: the leader for a cohort, a crew thread that comes late for its own,
//! a streaming thread for its pieces. None of them blocks in a send: what the socket refuses is queued here, and the
//! loop goes on with it when the socket has room. The descriptor is closed when the last of them lets go, never
//! under another's feet.

use std::any::Any;
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stdserve_sys::fork_guard::Guard;

use crate::observe::Log;
use crate::outbound::{Broken, Budget, Outbound, send_from_file};
use crate::stream::Gone;
use crate::transport::Transport;

/// Bytes of an answer that go in one system call: head or chunk size, data, and what ends the chunk.
pub(crate) type Pieces<'a> = [&'a [u8]; 3];

/// The shared half of a connection.
pub(crate) struct Link {
    guard: Guard,
    pub(crate) transport: Transport,
    gone: AtomicBool,
    /// The loop has answered in the service's place; what the service still sends reaches nobody.
    timed_out: AtomicBool,
    /// The end of the connection is the end of the answer.
    open_ended: AtomicBool,
    /// It was shut down on our side.
    shut: AtomicBool,
    /// The loop wants to be woken when the answer is finished: there is more to read.
    loop_waits: AtomicBool,
    sending: Mutex<Sending>,
    room: Condvar,
    budget: Arc<Budget>,
    /// What the service keeps with the connection.
    attachment: Mutex<Attachment>,
    log: Arc<dyn Log>,
}

/// See [`Exchange::attachment`](crate::Exchange::attachment).
pub(crate) type Attachment = Option<Box<dyn Any + Send>>;

#[derive(Debug)]
pub(crate) struct Sending {
    queue: Outbound,
    /// The answer of the request that runs is complete, sent or queued.
    finished: bool,
    /// Something of it has been sent, or queued.
    begun: bool,
    /// When the socket last took something, or had nothing to take.
    progress: Instant,
}

/// A stretch of a file, the end of an answer.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    pub(crate) left: u64,
}

/// How an answer came out when it was handed to the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Nothing is queued.
    pub(crate) all: bool,
}

/// How far the answer was of a request whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimedOut {
    /// Nothing was sent: the loop's answer has gone in its place.
    Answered(Sent),
    /// Something was sent.
    Begun,
    /// All was sent.
    Finished,
    /// There is no client.
    Gone,
}

/// What became of the queue when the loop went on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// The queue is empty; `finished` says whether the answer is complete.
    Empty { finished: bool },
    /// The socket is full: an edge will come.
    Full,
    /// A stretch of a file has gone and the socket has room: no edge will come.
    More,
}

impl Link {
    pub(crate) fn new(transport: Transport, budget: Arc<Budget>, log: Arc<dyn Log>, now: Instant) -> Self {
        Self {
            guard: Guard::new(&transport),
            transport,
            gone: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
            open_ended: AtomicBool::new(false),
            shut: AtomicBool::new(false),
            loop_waits: AtomicBool::new(false),
            sending: Mutex::new(Sending {
                queue: Outbound::new(Arc::clone(&budget)),
                finished: true,
                begun: false,
                progress: now,
            }),
            budget,
            room: Condvar::new(),
            attachment: Mutex::default(),
            log,
        }
    }

    /// What the service keeps with the connection.
    pub(crate) fn attachment(&self) -> MutexGuard<'_, Attachment> {
        self.attachment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues `data` behind what is queued, and sends nothing. False: there is no room for it.
    pub(crate) fn hold(&self, data: &[u8], bound: usize) -> Result<bool, Gone> {
        let mut sending = self.lock();
        if self.is_gone() {
            return Err(Gone);
        }
        if sending.queue.in_memory() + data.len() > bound {
            return Ok(false);
        }
        if sending.queue.is_empty() {
            sending.progress = Instant::now();
        }
        sending.begun = true;
        sending.queue.push_rest(data.to_vec(), 0);
        Ok(true)
    }

    /// A panic while the lock is held leaves at worst a half-sent answer, which `gone` covers.
    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client has gone, or the connection was given up, or the loop has answered: nothing more can be sent.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || self.is_timed_out()
    }

    /// The loop has answered in the service's place. The connection is for no other request.
    pub(crate) fn is_timed_out(&self) -> bool {
        self.timed_out.load(Ordering::Relaxed)
    }

    /// The answer that begins is delimited by the end of the connection alone.
    pub(crate) fn is_open_ended(&self) {
        self.open_ended.store(true, Ordering::Relaxed);
    }

    /// The time of the request that runs is over: sends `answer` if nothing was sent. What the service sends from then
    /// on is refused, since the answer is won under the lock.
    pub(crate) fn time_out(&self, answer: &mut Vec<u8>, now: Instant) -> TimedOut {
        let mut sending = self.lock();
        if sending.finished {
            return TimedOut::Finished;
        }
        if self.is_gone() {
            return TimedOut::Gone;
        }
        if sending.begun {
            return TimedOut::Begun;
        }
        match self.send_or_queue(&mut sending, answer, false, Some(now)) {
            Ok(sent) => {
                self.timed_out.store(true, Ordering::Relaxed);
                TimedOut::Answered(sent)
            }
            Err(Gone) => TimedOut::Gone,
        }
    }

    /// Ends an answer in its middle, so that the client can tell.
    pub(crate) fn cut(&self) {
        if self.open_ended.load(Ordering::Relaxed) {
            self.transport.reset();
        }
        self.give_up();
    }

    /// Gives the connection up: what is queued is dropped, who waits for room is told, the peer sees the end.
    pub(crate) fn give_up(&self) {
        // Once: a shutdown is an edge of its own, so that answering the edge by another one would never end.
        self.gone.store(true, Ordering::Relaxed);
        self.lock().queue.clear();
        self.room.notify_all();
        if !self.shut.swap(true, Ordering::Relaxed) {
            self.transport.shutdown(Shutdown::Both);
        }
    }

    /// Makes the socket's close a reset (RST), which no client takes for the end of an answer.
    pub(crate) fn will_reset(&self) {
        self.gone.store(true, Ordering::Relaxed);
        // A shutdown would say with a FIN that all is well; the last owner closes instead.
        self.shut.store(true, Ordering::Relaxed);
        self.transport.reset_on_close();
    }

    /// A request of this connection goes to the crew.
    pub(crate) fn begin(&self) {
        self.loop_waits.store(false, Ordering::SeqCst);
        self.open_ended.store(false, Ordering::Relaxed);
        let mut sending = self.lock();
        sending.finished = false;
        sending.begun = false;
    }

    /// The loop has something to do on this connection as soon as the answer is finished. Said before it looks for
    /// ended exchanges and polls; whoever ends one asks [`loop_waits`](Self::loop_waits) after telling it.
    pub(crate) fn loop_wants_to_know(&self) {
        self.loop_waits.store(true, Ordering::SeqCst);
    }

    pub(crate) fn loop_waits(&self) -> bool {
        self.loop_waits.load(Ordering::SeqCst)
    }

    /// Sends a complete answer, or queues what the socket does not take. `bytes` is left empty where it was queued.
    /// `closing`: the connection is closed at once where all was sent, and the last packet waits for that.
    pub(crate) fn send_whole(
        &self,
        bytes: &mut Vec<u8>,
        closing: bool,
        now: Option<Instant>,
    ) -> Result<Sent, Gone> {
        let mut sending = self.lock();
        if self.is_gone() {
            return Err(Gone);
        }
        self.send_or_queue(&mut sending, bytes, closing, now)
    }

    fn send_or_queue(
        &self,
        sending: &mut Sending,
        bytes: &mut Vec<u8>,
        closing: bool,
        now: Option<Instant>,
    ) -> Result<Sent, Gone> {
        let mut taken = 0;
        // The end of a stream has often nothing left to say.
        if sending.queue.is_empty() && !bytes.is_empty() {
            let write = if closing { Transport::write_more } else { Transport::write };
            taken = self.try_send(|transport| write(transport, bytes))?;
        }
        let all = taken == bytes.len();
        if !all {
            if sending.queue.is_empty() {
                sending.progress = now.unwrap_or_else(Instant::now);
            }
            sending.queue.push_rest(std::mem::take(bytes), taken);
        }
        sending.finished = true;
        let all = sending.queue.is_empty();
        Ok(Sent { all })
    }

    /// The same for an answer that ends with a stretch of a file, of which no more than one stretch goes at once: the
    /// loop sends the rest in its turns.
    pub(crate) fn send_with_file(
        &self,
        head: &mut Vec<u8>,
        tail: Tail,
        now: Option<Instant>,
    ) -> Result<Sent, Gone> {
        let mut sending = self.lock();
        if self.is_gone() {
            return Err(Gone);
        }
        let idle = sending.queue.is_empty();
        let mut taken = 0;
        if idle {
            // With nothing behind it the head would be held back until the kernel's patience ends: 200 ms.
            let write = if tail.left > 0 { Transport::write_more } else { Transport::write };
            taken = self.try_send(|transport| write(transport, head))?;
            sending.progress = now.unwrap_or_else(Instant::now);
        }
        let whole = taken == head.len();
        if !whole {
            sending.queue.push_rest(std::mem::take(head), taken);
        }
        sending.queue.push_file(tail.file, tail.offset, tail.left);
        if idle && whole {
            sending.queue.flush(&self.transport).map_err(|broken| self.failed(&broken))?;
        }
        sending.finished = true;
        let all = sending.queue.is_empty();
        Ok(Sent { all })
    }

    /// Sends `pieces`, or queues them as far as `bound` bytes allow. Returns how many bytes are taken over.
    pub(crate) fn send_pieces(&self, pieces: Pieces<'_>, bound: usize) -> Result<usize, Gone> {
        let mut sending = self.lock();
        if self.is_gone() {
            return Err(Gone);
        }
        sending.begun = true;
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut taken = 0;
        // The loop goes on with what is queued when an edge comes; there may be room already. Files are left to it.
        if !sending.queue.is_empty() && !sending.queue.has_files() {
            match sending.queue.flush(&self.transport) {
                Ok(0) => {}
                Ok(_) => sending.progress = Instant::now(),
                Err(broken) => return Err(self.failed(&broken)),
            }
        }
        if sending.queue.is_empty() {
            taken = self.try_send(|transport| {
                if pieces[1].is_empty() && pieces[2].is_empty() {
                    transport.write(pieces[0])
                } else {
                    transport.write_pieces(&pieces.map(IoSlice::new))
                }
            })?;
            sending.progress = Instant::now();
        }
        if taken < total {
            let room = sending.queue.room(bound);
            let rest = copy_behind(&pieces, taken, room);
            taken += rest.len();
            sending.queue.push_rest(rest, 0);
        }
        Ok(taken)
    }

    /// Queues a stretch of a file that holds what memory had no room for.
    pub(crate) fn queue_spooled(&self, file: &Arc<File>, offset: u64, length: u64) -> Result<(), Gone> {
        let mut sending = self.lock();
        if self.is_gone() {
            return Err(Gone);
        }
        let idle = sending.queue.is_empty();
        sending.queue.push_file(Arc::clone(file), offset, length);
        // While the file was written the loop may have sent all that was queued, and no edge is to come: sent until
        // the socket refuses.
        while idle && !sending.queue.is_empty() {
            sending.progress = Instant::now();
            match sending.queue.flush(&self.transport) {
                Ok(0) => break,
                Ok(_) => {}
                Err(broken) => return Err(self.failed(&broken)),
            }
        }
        Ok(())
    }

    /// Whether nothing is queued.
    pub(crate) fn is_drained(&self) -> bool {
        self.lock().queue.is_empty()
    }

    /// Sends `head`, then a stretch of a file, behind what is queued.
    pub(crate) fn send_file(
        &self,
        head: Vec<u8>,
        file: Arc<File>,
        mut offset: u64,
        mut left: u64,
    ) -> Result<(), Gone> {
        let mut sending = self.lock();
        if self.is_gone() {
            return Err(Gone);
        }
        sending.begun = true;
        let mut taken = 0;
        if sending.queue.is_empty() {
            // With nothing behind it the head would be held back until the kernel's patience ends: 200 ms.
            let write = if left > 0 { Transport::write_more } else { Transport::write };
            taken = self.try_send(|transport| write(transport, &head))?;
        }
        sending.queue.push_rest(head, taken);
        let mut stretches = 0;
        while sending.queue.is_empty() && left > 0 {
            if stretches > 0 {
                // Whoever runs the loop may want a word with this connection: it never waits for a whole file.
                drop(sending);
                std::thread::yield_now();
                sending = self.lock();
                if self.is_gone() {
                    return Err(Gone);
                }
            }
            stretches += 1;
            let stretch = left.min(1 << 20) as usize;
            match send_from_file(&self.transport, &file, offset, stretch) {
                Ok(Some(count)) => {
                    self.budget.has_gone(count);
                    offset += count as u64;
                    left -= count as u64;
                }
                Ok(None) => {
                    sending.progress = Instant::now();
                    break;
                }
                Err(broken) => return Err(self.failed(&broken)),
            }
        }
        sending.queue.push_file(file, offset, left);
        Ok(())
    }

    /// Waits until at most `queued` bytes wait in memory, and nothing in files. At most `patience` without the client
    /// taking anything.
    pub(crate) fn wait_for_room(&self, queued: usize, patience: Duration) -> Result<(), Gone> {
        let mut sending = self.lock();
        loop {
            if self.is_gone() {
                return Err(Gone);
            }
            if !sending.queue.has_files() && sending.queue.in_memory() <= queued {
                return Ok(());
            }
            let waited = sending.progress.elapsed();
            if waited >= patience {
                // There may be room that brought no edge: the kernel reports it when a third of its buffer is free.
                if sending.queue.flush(&self.transport).map_err(|broken| self.failed(&broken))? > 0 {
                    sending.progress = Instant::now();
                    continue;
                }
                drop(sending);
                self.give_up();
                return Err(Gone);
            }
            let answer = self.room.wait_timeout(sending, patience.saturating_sub(waited));
            sending = answer.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Goes on with the queue: the loop's part, when the socket has room again.
    pub(crate) fn flush(&self, now: Instant) -> Result<Flushed, Gone> {
        let mut sending = self.lock();
        if sending.queue.is_empty() {
            return Ok(Flushed::Empty { finished: sending.finished });
        }
        match sending.queue.flush(&self.transport) {
            Ok(0) => Ok(Flushed::Full),
            Ok(_) => {
                sending.progress = now;
                self.room.notify_all();
                if sending.queue.is_empty() {
                    return Ok(Flushed::Empty { finished: sending.finished });
                }
                Ok(Flushed::More)
            }
            Err(broken) => Err(self.failed(&broken)),
        }
    }

    /// Since when the client takes nothing of what is queued; `None` when nothing is queued.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        let sending = self.lock();
        if sending.queue.is_empty() { None } else { Some(sending.progress) }
    }

    fn try_send(&self, send: impl FnOnce(&Transport) -> io::Result<usize>) -> Result<usize, Gone> {
        // A child that the application forked has no business with its parent's clients.
        if self.is_gone() || self.guard.home().is_left() {
            return Err(Gone);
        }
        match send(&self.transport) {
            Ok(count) => {
                self.budget.has_gone(count);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(self.failed(&Broken::Client)),
        }
    }

    fn failed(&self, broken: &Broken) -> Gone {
        if let Broken::File(what) = broken {
            self.log.error(&format!("an answer is cut off: {what}"));
        }
        self.gone.store(true, Ordering::Relaxed);
        self.room.notify_all();
        Gone
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// Copies at most `room` bytes of what stands behind the first `skip` bytes of `pieces`.
pub(crate) fn copy_behind(pieces: &Pieces<'_>, mut skip: usize, room: usize) -> Vec<u8> {
    let mut rest = Vec::new();
    for piece in pieces {
        let from = skip.min(piece.len());
        skip -= from;
        let count = (piece.len() - from).min(room - rest.len());
        rest.extend_from_slice(&piece[from..from + count]);
    }
    rest
}

#[cfg(test)]
mod tests;
