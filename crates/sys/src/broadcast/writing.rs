//! What a writer does under the lock: it writes a record, has it counted, and links it.
//!
//! A record is written behind the last one, where no reader looks. The moment at which it is there is the one at which
//! the bell counts it, which also wakes who waits: a writer that dies before has sent nothing, one that dies after has
//! sent it and told so. What is left then is to link the record, which [`Layout::mend`] does in the place of a writer
//! that did not come to it; it can be done twice.

#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::death;
use super::layout::{HEAD, Head, Layout, link, words_of};

/// A gap whose size is given stands for at most so many messages.
pub const MAX_GAP: u64 = 1 << 48;

/// What is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    /// A message.
    Message(&'a [u8]),
    /// That so many messages before this place are missing in what they were taken from.
    Gap { count: u64, exact: bool },
}

impl Layout<'_> {
    /// Writes a record behind the last, and makes ready to count it; the next thing to be done is to ring the bell.
    /// Under the lock, and mended.
    pub(super) fn write(&self, index: u32, content: Content<'_>) {
        let Some(name) = self.names.get(index as usize) else { return };
        let count = self.counters.bell.get();
        let start = self.end();
        let coded: [u8; 16];
        let (bytes, is_gap, span) = match content {
            Content::Message(bytes) => (bytes, false, 1),
            Content::Gap { count, exact } => {
                let count = count.clamp(1, MAX_GAP);
                coded = code(count, exact);
                (&coded[..], true, count)
            }
        };
        let head = Head {
            index,
            length: bytes.len() as u32,
            is_gap,
            number: name.number.load(Ordering::Relaxed).wrapping_add(span),
            previous: name.last.load(Ordering::Relaxed).checked_sub(1),
            next: None,
        };
        let end = start.saturating_add(HEAD + words_of(bytes.len()));
        // It never goes back: a writer that has died has overwritten what it has reserved.
        let reserved = self.counters.reserved.load(Ordering::Relaxed).max(end);
        self.counters.reserved.store(reserved, Ordering::Relaxed);
        // Whoever sees one of the words below sees the mark too.
        fence(Ordering::Release);
        death::point();
        for (place, word) in (0..).zip(head.encode()) {
            self.word(start, place).store(word, Ordering::Relaxed);
            death::point();
        }
        let mut rest = bytes;
        for run in self.run(start, HEAD, words_of(bytes.len()) as usize) {
            let (now, later) = rest.split_at(rest.len().min(run.len() * size_of::<u64>()));
            store(run, now);
            rest = later;
        }
        self.counters.ends[(count.wrapping_add(1) & 1) as usize].store(end, Ordering::Relaxed);
        death::point();
    }

    /// Links the last record, if whoever wrote it did not. Under the lock; before anything is written, and after.
    pub(super) fn mend(&self) {
        let count = self.counters.bell.get();
        if self.counters.linked.load(Ordering::Relaxed) == count {
            return;
        }
        let start = self.end_of(count.wrapping_sub(1));
        if let Some(head) = self.head(start)
            && let Some(name) = self.names.get(head.index as usize)
        {
            let here = link(Some(start));
            if let Some(previous) =
                head.previous.filter(|previous| *previous < start && self.is_there(*previous))
            {
                self.word(previous, HEAD - 1).store(here, Ordering::Release);
                death::point();
            }
            if head.is_gap && !self.gap(start).1 {
                name.inexact.store(head.number, Ordering::Release);
                death::point();
            }
            name.last.store(here, Ordering::Release);
            death::point();
            name.number.store(head.number, Ordering::Release);
            death::point();
        }
        self.counters.linked.store(count, Ordering::Relaxed);
    }

    /// The gap that a record notes: its size, and whether that is known exactly.
    pub(super) fn gap(&self, start: u64) -> (u64, bool) {
        let word = |place| self.word(start, HEAD + place).load(Ordering::Relaxed);
        (word(0).clamp(1, MAX_GAP), word(1) != 0)
    }
}

/// Puts bytes into words; the last may not be filled.
fn store(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        death::point();
    }
    if let Some(word) = words.get(whole.len()) {
        let mut last = [0; size_of::<u64>()];
        last[..rest.len()].copy_from_slice(rest);
        word.store(u64::from_ne_bytes(last), Ordering::Relaxed);
        death::point();
    }
}

/// A gap, as a record has it.
fn code(count: u64, exact: bool) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&count.to_ne_bytes());
    bytes[8..].copy_from_slice(&u64::from(exact).to_ne_bytes());
    bytes
}
