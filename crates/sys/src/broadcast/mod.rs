//! Broadcast between processes: a ring of messages in memory that they share, by name.
//!
//! The memory is mapped before the processes are forked; there is no descriptor, no server and no file. Writers take
//! turns under a `lock` that outlives them; readers take none: each goes its own way, and sees by itself that it was
//! overtaken, and by how many messages. So a reader that is slow costs nothing, and one that is killed neither.
//!
//! `layout` is what stands in the memory, `names` the table of names, `writing` and `reading` what is done with
//! records; these are pure and know nothing of processes. `mapping` makes the memory, `bell` wakes, `waiting` is for
//! descriptors, and `process` what a process has of all this.

mod bell;
mod death;
#[cfg(not(all(test, loom)))]
mod kernel;
mod layout;
#[cfg(not(all(test, loom)))]
mod lock;
#[cfg(not(all(test, loom)))]
mod mapping;
#[cfg(all(test, loom))]
mod model;
mod names;
#[cfg(not(all(test, loom)))]
mod process;
mod reading;
#[cfg(all(test, not(loom)))]
mod tests;
mod waiting;
mod writing;

#[cfg(all(test, loom))]
use loom::sync::atomic::Ordering;
use std::io;
#[cfg(not(all(test, loom)))]
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use layout::NAMES;
#[cfg(not(all(test, loom)))]
pub use process::{Process, forks, here, share, shared};
pub use reading::{Cursor, Fill, Item};
pub use waiting::{Post, Waiter};
pub use writing::MAX_GAP;

use layout::Layout;
#[cfg(all(test, loom))]
use model as kernel;
#[cfg(all(test, loom))]
use model::{Guard, Mapping};
use names::Keys;
use writing::Content;
#[cfg(not(all(test, loom)))]
use {lock::Guard, mapping::Mapping};

/// Bytes of a ring of which nothing else was said.
pub const DEFAULT: usize = 8 << 20;

/// How long a writer waits for its turn. The others need microseconds each; longer takes only one that was stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why something was not written.
#[derive(Debug)]
pub enum Refusal {
    /// There are [`NAMES`] names already.
    TooManyNames,
    /// The message, of so many bytes, is longer than [`Memory::max_message`].
    TooLong(usize),
    /// A process that has its turn does not go on: somebody has stopped it.
    Busy,
    /// The system has refused.
    System(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        if error.raw_os_error() == Some(libc::ETIMEDOUT) { Self::Busy } else { Self::System(error) }
    }
}

/// The name of some messages, in one [`Memory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index(u32);

/// A ring of messages.
#[derive(Debug)]
pub struct Memory {
    mapping: Mapping,
    keys: Keys,
    shared: bool,
}

impl Memory {
    /// A ring of so many bytes, shared with the processes that are forked from now on. Memory is used as messages come.
    pub fn shared(bytes: usize) -> io::Result<Self> {
        Ok(Self { mapping: Mapping::new(bytes, true)?, keys: Keys::default(), shared: true })
    }

    /// A ring of so many bytes, for this process alone.
    pub fn private(bytes: usize) -> io::Result<Self> {
        Ok(Self { mapping: Mapping::new(bytes, false)?, keys: Keys::default(), shared: false })
    }

    /// Whether other processes have it too.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// The ring's size, in bytes.
    pub fn size(&self) -> usize {
        self.layout().words.len() * size_of::<u64>()
    }

    /// The longest message, in bytes: an eighth of the ring.
    pub fn max_message(&self) -> usize {
        self.layout().max_message()
    }

    fn layout(&self) -> Layout<'_> {
        self.mapping.layout()
    }

    /// Takes the lock, and puts right what whoever had it before may have left.
    fn lock(&self, patience: Option<Duration>) -> io::Result<Guard<'_>> {
        let (guard, died) = self.mapping.lock().lock(patience)?;
        let layout = self.layout();
        if died {
            layout.counters.deaths.fetch_add(1, Ordering::Relaxed);
        }
        layout.mend();
        Ok(guard)
    }

    /// How many names there are.
    pub fn names(&self) -> usize {
        self.layout().counters.names.load(Ordering::Relaxed) as usize
    }

    /// How many writers have died in the middle of a send.
    pub fn deaths(&self) -> u32 {
        self.layout().counters.deaths.load(Ordering::Relaxed)
    }

    /// Finds a name, or adds it. Names stay.
    pub fn name(&self, name: &str) -> Result<Index, Refusal> {
        self.name_within(name, PATIENCE)
    }

    /// As [`name`](Self::name), for a caller who has no more than so long to wait for its turn.
    pub fn name_within(&self, name: &str, patience: Duration) -> Result<Index, Refusal> {
        let key = self.keys.key(name);
        if let Ok(index) = self.layout().find(key) {
            return Ok(Index(index));
        }
        let _guard = self.lock(Some(patience))?;
        self.layout().add(key).map(Index).map_err(|names::Full| Refusal::TooManyNames)
    }

    /// Sends a message to all readers of a name. Never waits for readers.
    pub fn send(&self, index: Index, message: &[u8]) -> Result<(), Refusal> {
        self.send_within(index, message, PATIENCE)
    }

    /// As [`send`](Self::send), for a caller who has no more than so long to wait for its turn.
    pub fn send_within(&self, index: Index, message: &[u8], patience: Duration) -> Result<(), Refusal> {
        if message.len() > self.max_message() {
            return Err(Refusal::TooLong(message.len()));
        }
        self.write(index, Content::Message(message), patience)
    }

    /// Notes a gap in the source of the messages, in its place among them: at most [`MAX_GAP`] messages.
    pub fn note_missed(&self, index: Index, count: u64, exact: bool) -> Result<(), Refusal> {
        self.write(index, Content::Gap { count, exact }, PATIENCE)
    }

    fn write(&self, index: Index, content: Content<'_>, patience: Duration) -> Result<(), Refusal> {
        let layout = self.layout();
        let _guard = self.lock(Some(patience))?;
        layout.write(index.0, content);
        layout.counters.ring();
        layout.mend();
        Ok(())
    }

    /// A place behind the last message of a name.
    pub fn cursor(&self, index: Index) -> Cursor {
        Cursor::new(&self.layout(), index.0)
    }

    /// A place before the first message of a name.
    #[allow(clippy::unused_self)] // the place is one in this memory
    pub fn beginning(&self, index: Index) -> Cursor {
        Cursor::beginning(index.0)
    }

    /// Takes the next message, or how many are missing before it. `make` is told a message's length and what copies it;
    /// what it makes is thrown away where the message was overwritten meanwhile. `None`: there is nothing, or nothing
    /// that could be copied before it was overwritten ([`is_behind`](Self::is_behind) tells). After an error of `make`
    /// the message is still there.
    pub fn next<T, E>(
        &self,
        cursor: &mut Cursor,
        make: impl FnMut(usize, Fill<'_>) -> Result<T, E>,
    ) -> Result<Option<Item<T>>, E> {
        cursor.next(&self.layout(), make)
    }

    /// Whether there is something to take.
    pub fn is_behind(&self, cursor: &Cursor) -> bool {
        cursor.is_behind(&self.layout())
    }

    /// The number of the newest message of a name.
    fn newest(&self, index: u32) -> u64 {
        self.layout().names.get(index as usize).map_or(0, |name| name.number.load(Ordering::Acquire))
    }

    /// Says that somebody waits for the bell, if so; returns what it counts now.
    fn expect(&self, awaited: bool) -> u32 {
        // Without patience it fails only where the lock is beyond repair: nobody sends then.
        let _guard = self.lock(None);
        self.layout().counters.expect(awaited)
    }

    /// As [`expect`](Self::expect), within some time.
    fn try_expect(&self, patience: Duration) -> io::Result<()> {
        let _guard = self.lock(Some(patience))?;
        self.layout().counters.expect(true);
        Ok(())
    }

    /// Waits for the bell to count something else.
    fn wait(&self, heard: u32) {
        self.layout().counters.bell.wait(heard);
    }
}
