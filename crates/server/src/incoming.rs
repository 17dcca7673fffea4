//! A request body that is read while the service runs: the loop fills it, the service's thread takes from it.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::crew::Crew;
use crate::outbound::Budget;

/// Bytes that wait for the service; at this the loop stops reading from the client.
const ROOM: usize = 256 << 10;

/// What loop and service share of one body.
pub(crate) struct Passage {
    state: Mutex<State>,
    /// There is something to read, or the end.
    news: Condvar,
    budget: Arc<Budget>,
    token: usize,
    crew: Weak<Crew>,
}

/// Called when there is something to read, or the end.
type Callback = Box<dyn Fn() + Send>;

#[derive(Default)]
struct State {
    call: Option<Callback>,
    pieces: VecDeque<Vec<u8>>,
    held: usize,
    /// Bytes that have come in all.
    total: u64,
    end: Option<Ending>,
    /// The loop has stopped reading for want of room.
    paused: bool,
    /// Nobody reads any more.
    dropped: bool,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Whole,
    Gone,
    TooSlow,
    TooLarge,
}

impl Passage {
    pub(crate) fn new(token: usize, budget: Arc<Budget>, crew: Weak<Crew>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), news: Condvar::new(), budget, token, crew })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the loop may read on; if not, it is told when it may.
    pub(crate) fn has_room(&self) -> bool {
        let mut state = self.lock();
        state.paused = state.held >= ROOM && !state.dropped;
        !state.paused
    }

    /// A piece has come. What nobody reads any more is thrown away. Returns how many bytes have come in all.
    pub(crate) fn push(&self, piece: &[u8]) -> u64 {
        let mut state = self.lock();
        state.total += piece.len() as u64;
        if state.end.is_none() && !state.dropped && !piece.is_empty() {
            self.budget.take_anyway(piece.len());
            state.held += piece.len();
            state.pieces.push_back(piece.to_vec());
            self.tell_service(&state);
        }
        state.total
    }

    /// Nothing more comes.
    pub(crate) fn end(&self, how: Ending) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(how);
            self.tell_service(&state);
        }
    }

    fn tell_service(&self, state: &State) {
        self.news.notify_all();
        if let Some(call) = &state.call {
            call();
        }
    }

    /// Whether all of the body has come.
    pub(crate) fn is_whole(&self) -> bool {
        self.lock().end == Some(Ending::Whole)
    }

    /// Whether the service has something to read that it has not taken.
    pub(crate) fn is_waiting_for_service(&self) -> bool {
        self.lock().held > 0
    }

    /// Bytes that have come in all.
    pub(crate) fn total(&self) -> u64 {
        self.lock().total
    }

    /// Tells the loop that there is room again.
    fn tell_loop(&self) {
        if let Some(crew) = self.crew.upgrade() {
            crew.resume(self.token);
        }
    }
}

impl std::fmt::Debug for Passage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passage").field("token", &self.token).finish_non_exhaustive()
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let held = self.state.get_mut().unwrap_or_else(PoisonError::into_inner).held;
        self.budget.give_back(held);
    }
}

/// The loop's end of a passage. Dropped before the body was whole, it tells the service that the client has gone.
#[derive(Debug)]
pub(crate) struct Inlet(pub(crate) Arc<Passage>);

impl Drop for Inlet {
    fn drop(&mut self) {
        self.0.end(Ending::Gone);
    }
}

/// A request body on its way in. Reading waits for the client: let go of any lock that others need before.
///
/// Errors: `ConnectionAborted`, the client has gone; `TimedOut`, it was slower than the settings allow;
/// `FileTooLarge`, the body is larger than the settings allow.
#[derive(Debug)]
pub struct Incoming {
    passage: Arc<Passage>,
    length: Option<u64>,
    /// The piece that is being read, and how much of it was.
    piece: Vec<u8>,
    at: usize,
}

impl Incoming {
    pub(crate) fn new(passage: Arc<Passage>, length: Option<u64>) -> Self {
        Self { passage, length, piece: Vec::new(), at: 0 }
    }

    /// The number of bytes that the request declares; `None` where the body comes in chunks.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next piece, as it came from the client, or what is left of the present one; empty at the end.
    pub fn next_piece(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len() && !self.fill()? {
            return Ok(&[]);
        }
        let from = std::mem::replace(&mut self.at, self.piece.len());
        Ok(&self.piece[from..])
    }

    /// As [`next_piece`](Self::next_piece), without waiting: `WouldBlock` where nothing has come. For those who wait
    /// for other things too: see [`when_ready`](Self::when_ready).
    pub fn try_piece(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len() {
            let state = self.passage.lock();
            if state.pieces.is_empty() && state.end.is_none() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        self.next_piece()
    }

    /// From now on `call` is called whenever something has come, or the end, and once at first if that is so already.
    /// By the thread that runs the loop: it must not wait, nor read. It may be called more often than needed.
    pub fn when_ready(&self, call: impl Fn() + Send + 'static) {
        let mut state = self.passage.lock();
        if !state.pieces.is_empty() || state.end.is_some() {
            call();
        }
        state.call = Some(Box::new(call));
    }

    /// Waits for a piece. False: the body is at its end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut state = self.passage.lock();
        loop {
            if let Some(piece) = state.pieces.pop_front() {
                state.held -= piece.len();
                self.passage.budget.give_back(piece.len());
                let resume = state.held < ROOM / 2 && std::mem::take(&mut state.paused);
                drop(state);
                if resume {
                    self.passage.tell_loop();
                }
                (self.piece, self.at) = (piece, 0);
                return Ok(true);
            }
            match state.end {
                None => {
                    state = self.passage.news.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Some(Ending::Whole) => return Ok(false),
                Some(Ending::Gone) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Some(Ending::TooSlow) => return Err(io::ErrorKind::TimedOut.into()),
                Some(Ending::TooLarge) => return Err(io::ErrorKind::FileTooLarge.into()),
            }
        }
    }
}

impl Read for Incoming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || (self.at == self.piece.len() && !self.fill()?) {
            return Ok(0);
        }
        let count = into.len().min(self.piece.len() - self.at);
        into[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut state = self.passage.lock();
        state.dropped = true;
        state.call = None;
        state.pieces.clear();
        self.passage.budget.give_back(std::mem::take(&mut state.held));
        let resume = std::mem::take(&mut state.paused);
        drop(state);
        if resume {
            self.passage.tell_loop();
        }
    }
}
