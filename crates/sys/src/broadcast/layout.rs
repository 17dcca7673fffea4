//! What stands in the memory: counters, names, and the ring of records.
//!
//! A **record** is a message: its name's index and its length (and, in the highest bit, whether it is a note of a gap),
//! its number among its name's, a link to the record before it of the same name, a link to the one after it, and the
//! bytes. All is counted in words of eight bytes, and so are positions: the first word ever written is 0, the ring
//! holds the last ones. A link is a position plus one; 0: none.
//!
//! The processes that share the memory may die at any point, so nothing in it is trusted: an index is looked up, a
//! length is compared, a link must lead the right way, and a position is reduced to a place in the ring.

#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::kernel::Futex;

/// Names that there can be.
pub const NAMES: usize = 1 << 16;

/// Words of a record before its bytes.
pub(super) const HEAD: u64 = 4;
/// Set in a record's first word: it notes a gap.
pub(super) const GAP: u64 = 1 << 63;

/// The counters. Written under the lock only.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Counters {
    /// Where the records end: of an even and of an odd number of them.
    pub(super) ends: [AtomicU64; 2],
    /// The end of what was ever begun to be written: what lies a whole ring before it is overwritten.
    pub(super) reserved: AtomicU64,
    /// How many names there are.
    pub(super) names: AtomicU64,
    /// How many of the records are linked: all, or all but one.
    pub(super) linked: AtomicU32,
    /// How many records there are (modulo 2³²). One is there from the moment that this counts it. The futex.
    pub(super) bell: Futex,
    /// Whether somebody waits for the bell.
    pub(super) awaited: AtomicU32,
    /// How many have died with the lock.
    pub(super) deaths: AtomicU32,
}

/// A name, found by its key.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Name {
    pub(super) key: [AtomicU64; 2],
    /// The link to its newest record.
    pub(super) last: AtomicU64,
    /// That one's number.
    pub(super) number: AtomicU64,
    /// The number of the newest gap whose size is not known.
    pub(super) inexact: AtomicU64,
}

/// All of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout<'m> {
    pub(super) counters: &'m Counters,
    /// Indexes of names, plus one; 0: free.
    pub(super) slots: &'m [AtomicU32],
    pub(super) names: &'m [Name],
    pub(super) words: &'m [AtomicU64],
}

impl<'m> Layout<'m> {
    /// The ring's length in words.
    pub(super) fn capacity(&self) -> u64 {
        self.words.len() as u64
    }

    /// The longest payload, in bytes: an eighth of the ring.
    pub(super) fn max_message(&self) -> usize {
        self.words.len()
    }

    /// The word at a position, or so many behind it. What was read may be any number.
    pub(super) fn word(&self, position: u64, offset: u64) -> &'m AtomicU64 {
        &self.words[(position.wrapping_add(offset) % self.capacity()) as usize]
    }

    /// So many words from one behind a position, at most all: up to the end of the ring, and from its beginning.
    pub(super) fn run(&self, position: u64, offset: u64, count: usize) -> [&'m [AtomicU64]; 2] {
        let count = count.min(self.words.len());
        let begin = (position.wrapping_add(offset) % self.capacity()) as usize;
        let end = begin.saturating_add(count).min(self.words.len());
        let first = &self.words[begin..end];
        [first, &self.words[..count - first.len()]]
    }

    /// Whether what was read from a position before was not overwritten meanwhile.
    pub(super) fn is_there(&self, position: u64) -> bool {
        // Whatever was read was read before the mark is looked at.
        fence(Ordering::Acquire);
        let reserved = self.counters.reserved.load(Ordering::Relaxed);
        reserved <= position.saturating_add(self.capacity())
    }

    /// Where the records end. Under the lock.
    pub(super) fn end(&self) -> u64 {
        self.end_of(self.counters.bell.get())
    }

    /// Where that many records end, if they are the last or the last but one.
    pub(super) fn end_of(&self, count: u32) -> u64 {
        self.counters.ends[(count & 1) as usize].load(Ordering::Relaxed)
    }

    /// The fixed part of the record at a position. `None`: it is overwritten.
    pub(super) fn head(&self, position: u64) -> Option<Head> {
        let words: [u64; HEAD as usize] =
            std::array::from_fn(|offset| self.word(position, offset as u64).load(Ordering::Acquire));
        self.is_there(position).then(|| Head::decode(words))
    }
}

/// The fixed part of a record, as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) index: u32,
    pub(super) length: u32,
    pub(super) is_gap: bool,
    pub(super) number: u64,
    pub(super) previous: Option<u64>,
    pub(super) next: Option<u64>,
}

impl Head {
    /// As it stands in the ring.
    pub(super) fn encode(&self) -> [u64; HEAD as usize] {
        let gap = if self.is_gap { GAP } else { 0 };
        let first = gap | u64::from(self.index) << 32 | u64::from(self.length);
        [first, self.number, link(self.previous), link(self.next)]
    }

    fn decode([first, number, previous, next]: [u64; HEAD as usize]) -> Self {
        Self {
            index: ((first & !GAP) >> 32) as u32,
            length: first as u32,
            is_gap: first & GAP != 0,
            number,
            previous: previous.checked_sub(1),
            next: next.checked_sub(1),
        }
    }
}

/// A position as a link.
pub(super) fn link(position: Option<u64>) -> u64 {
    position.map_or(0, |position| position.wrapping_add(1))
}

/// Words that so many bytes take.
pub(super) fn words_of(bytes: usize) -> u64 {
    bytes.div_ceil(size_of::<u64>()) as u64
}
