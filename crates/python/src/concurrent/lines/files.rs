//! Native threads that read files, inflate what is gzip, and hand over the lines with a given text in batches.
//!
//! The threads know nothing of Python, so that they can run on while it ends. They take the files in their order; what
//! they have found waits in a queue for each file, which is bounded: a thread that is far ahead waits for the reader.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use stdserve_proto::gzip::{Corrupt, MAGIC, Members};
use stdserve_proto::lines::{Matches, TooLong};
use stdserve_sys::pipes::Bell;
use stdserve_sys::signals;

/// How much is read from a file at once, in bytes.
const READ: usize = 64 << 10;
/// A batch with so many bytes, or so many lines, is handed over.
const BATCH_BYTES: usize = 64 << 10;
const BATCH_LINES: usize = 1024;
/// A batch that has waited so long is handed over when the next piece of its file has been searched.
const BATCH_AGE: Duration = Duration::from_millis(20);
/// As many batches of a file as may wait.
const QUEUE: usize = 8;
/// For so many files a thread lines may wait; it begins no other before some are taken.
const AHEAD: usize = 2;

/// Why no more lines come from a file.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It cannot be opened or read.
    Io(io::Error),
    Corrupt(Corrupt),
    TooLong(TooLong),
    /// A fault of ours.
    Panic,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Corrupt> for Trouble {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl From<TooLong> for Trouble {
    fn from(line: TooLong) -> Self {
        Self::TooLong(line)
    }
}

/// Lines of one file, one after the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
    /// What ended the file behind these lines.
    pub(super) trouble: Option<Trouble>,
}

impl Batch {
    fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES || self.ends.len() >= BATCH_LINES
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.trouble.is_none()
    }

    /// The lines without their ends.
    pub(super) fn lines(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends.iter().map(move |end| &self.bytes[std::mem::replace(&mut begin, *end)..*end])
    }
}

/// What waits of a file that a thread has begun.
#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Batch>,
    /// No more comes.
    done: bool,
}

#[derive(Debug, Default)]
struct State {
    /// The file that the next free thread takes.
    next: usize,
    /// The file whose lines were given last, or are to be given now where the order counts.
    at: usize,
    queues: BTreeMap<usize, Queue>,
    /// How many of the queues are not done or not empty.
    held: usize,
    /// The reader has found nothing, and waits for the bell.
    awaited: bool,
    stopped: bool,
    /// Threads that run.
    threads: usize,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Search {
    /// The files, in their order.
    pub(super) paths: Vec<PathBuf>,
    pub(super) needle: Vec<u8>,
    /// The longest line, in bytes.
    pub(super) longest: usize,
    /// Lines are given in the order of the files.
    pub(super) ordered: bool,
}

/// A search that runs.
#[derive(Debug)]
pub(super) struct Files {
    search: Search,
    /// As many queues as may be held.
    most_held: usize,
    state: Mutex<State>,
    /// There is room in a queue or for a queue again, or it was stopped.
    room: Condvar,
    /// Rings when something is there for a reader that has found nothing.
    pub(super) bell: Bell,
}

impl Files {
    /// Begins a search with so many threads, or as many as there can be. An error: there can be none.
    pub(super) fn begin(search: Search, threads: usize) -> io::Result<(Arc<Self>, Vec<JoinHandle<()>>)> {
        let threads = threads.min(search.paths.len());
        let state = Mutex::default();
        let most_held = threads.saturating_mul(AHEAD);
        let files = Arc::new(Self { search, most_held, state, room: Condvar::new(), bell: Bell::new()? });
        let mut handles = Vec::with_capacity(threads);
        for _ in 0..threads {
            let own = Arc::clone(&files);
            files.lock().threads += 1;
            match thread::Builder::new().name("stdserve:lines".into()).spawn(move || own.run()) {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    files.lock().threads -= 1;
                    if handles.is_empty() {
                        return Err(error);
                    }
                    break;
                }
            }
        }
        Ok((files, handles))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lines of one file, named by its number. `None`: none are there; the bell rings when some are, or when the search
    /// [has ended](Self::has_ended).
    pub(super) fn take(&self) -> Option<(usize, Batch)> {
        let mut state = self.lock();
        while let Some(number) = self.pick(&state) {
            let queue = state.queues.get_mut(&number)?;
            let batch = queue.batches.pop_front();
            let is_through = queue.done && queue.batches.is_empty();
            if is_through {
                state.queues.remove(&number);
                state.held -= usize::from(batch.is_some());
            }
            state.at = if is_through || !self.search.ordered { number + 1 } else { number };
            if let Some(batch) = batch {
                self.room.notify_all();
                return Some((number, batch));
            }
        }
        self.silence(&mut state);
        None
    }

    /// The file whose queue is next, if it has something or is done. Without an order they come in turns, so that no
    /// file waits for another to end.
    fn pick(&self, state: &State) -> Option<usize> {
        let is_ready = |queue: &Queue| queue.done || !queue.batches.is_empty();
        if self.search.ordered {
            return state.queues.get(&state.at).filter(|queue| is_ready(queue)).map(|_| state.at);
        }
        let mut turns = state.queues.range(state.at..).chain(state.queues.range(..state.at));
        turns.find(|(_, queue)| is_ready(queue)).map(|(number, _)| *number)
    }

    /// Whether everything was given.
    pub(super) fn has_ended(&self) -> bool {
        let state = self.lock();
        state.queues.is_empty() && state.next == self.search.paths.len()
    }

    /// Has the threads end soon. Whether all have; else the bell rings when they have.
    pub(super) fn stop(&self) -> bool {
        let mut state = self.lock();
        state.stopped = true;
        state.queues.clear();
        self.room.notify_all();
        self.silence(&mut state);
        state.threads == 0
    }

    fn silence(&self, state: &mut State) {
        self.bell.silence();
        state.awaited = true;
    }

    fn ring(&self, state: &mut State) {
        // Once it is stopped, the end of the last thread is all that is awaited.
        if (!state.stopped || state.threads == 0) && std::mem::take(&mut state.awaited) {
            self.bell.ring();
        }
    }

    /// What a thread does.
    fn run(&self) {
        // Signals are for the program's own threads. It fails for a wrong set only, which this is not.
        let _ = signals::block_for_crew();
        let mut matches = Matches::new(&self.search.needle, self.search.longest);
        while let Some(number) = self.claim() {
            let mut output = Output { files: self, number, batch: Batch::default(), since: Instant::now() };
            matches.clear();
            let ended = catch_unwind(AssertUnwindSafe(|| {
                search(&self.search.paths[number], &mut matches, &mut output)
            }));
            output.batch.trouble = match ended {
                Ok(Ok(())) => None,
                Ok(Err(trouble)) => Some(trouble),
                Err(_) => Some(Trouble::Panic),
            };
            output.end();
        }
        let mut state = self.lock();
        state.threads -= 1;
        self.ring(&mut state);
    }

    /// The next file, unless there is none or the search was stopped.
    fn claim(&self) -> Option<usize> {
        let mut state = self.lock();
        while state.held >= self.most_held && !state.stopped && state.next < self.search.paths.len() {
            state = self.wait_for_room(state);
        }
        if state.stopped || state.next == self.search.paths.len() {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.held += 1;
        state.queues.insert(number, Queue::default());
        Some(number)
    }

    fn wait_for_room<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.room.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the lines of a file go.
struct Output<'a> {
    files: &'a Files,
    number: usize,
    batch: Batch,
    /// When the batch was begun.
    since: Instant,
}

impl Output<'_> {
    /// Gathers every line that is complete, and hands over what is due: all of it where the file was read to its
    /// present end, since the next piece of a pipe may be long in coming. False: the search was stopped.
    fn drain(&mut self, matches: &mut Matches, all_read: bool) -> Result<bool, TooLong> {
        while let Some(line) = matches.next()? {
            self.batch.push(line);
            if self.batch.is_full() && !self.hand_over() {
                return Ok(false);
            }
        }
        if !self.batch.is_empty() && (all_read || self.since.elapsed() >= BATCH_AGE) {
            return Ok(self.hand_over());
        }
        Ok(!self.files.lock().stopped)
    }

    /// Waits for room in the queue. False: the search was stopped.
    fn hand_over(&mut self) -> bool {
        let mut state = self.files.lock();
        loop {
            if state.stopped {
                return false;
            }
            match state.queues.get_mut(&self.number) {
                Some(queue) if queue.batches.len() < QUEUE => {
                    queue.batches.push_back(std::mem::take(&mut self.batch));
                    break;
                }
                _ => state = self.files.wait_for_room(state),
            }
        }
        self.files.ring(&mut state);
        drop(state);
        self.since = Instant::now();
        true
    }

    fn end(mut self) {
        if !self.batch.is_empty() && !self.hand_over() {
            return;
        }
        let mut state = self.files.lock();
        if let Some(queue) = state.queues.get_mut(&self.number) {
            queue.done = true;
            if queue.batches.is_empty() {
                state.held -= 1;
                self.files.room.notify_all();
            }
        }
        self.files.ring(&mut state);
    }
}

/// Searches one file, which is gzip if it begins so.
fn search(path: &Path, matches: &mut Matches, output: &mut Output<'_>) -> Result<(), Trouble> {
    let mut file = File::open(path)?;
    let mut raw = vec![0; READ];
    let mut held = 0;
    // A pipe may give one byte at first.
    while held < MAGIC.len() {
        match read(&mut file, &mut raw[held..])? {
            0 => break,
            length => held += length,
        }
    }
    let whole = if raw[..held].starts_with(&MAGIC) {
        inflate(&mut file, &mut raw, held, matches, output)?
    } else {
        matches.space()[..held].copy_from_slice(&raw[..held]);
        let (mut length, mut asked) = (held, READ);
        loop {
            matches.filled(length);
            if !output.drain(matches, length < asked)? {
                break false;
            }
            let space = matches.space();
            asked = space.len();
            length = read(&mut file, space)?;
            if length == 0 {
                break true;
            }
        }
    };
    if whole && let Some(line) = matches.finish()? {
        output.batch.push(line);
    }
    Ok(())
}

/// Searches what is in a gzip file, of which so many bytes are held. False: the search was stopped.
fn inflate(
    file: &mut File,
    raw: &mut [u8],
    held: usize,
    matches: &mut Matches,
    output: &mut Output<'_>,
) -> Result<bool, Trouble> {
    let mut members = Members::default();
    let (mut begin, mut end) = (0, held);
    loop {
        let space = matches.space();
        let (taken, made) = members.inflate(&raw[begin..end], space)?;
        let more = made == space.len();
        begin += taken;
        matches.filled(made);
        let through = begin == end && !more;
        if !output.drain(matches, through && end < raw.len())? {
            return Ok(false);
        }
        if through {
            (begin, end) = (0, read(file, raw)?);
            if end == 0 {
                members.finish()?;
                return Ok(true);
            }
        }
    }
}

fn read(file: &mut File, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
