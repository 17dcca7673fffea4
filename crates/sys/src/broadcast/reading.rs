//! What a reader does, without a lock: it follows the links of its name, copies, and looks whether it was overtaken.

#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::{HEAD, Head, Layout, words_of};

/// Where a reader looks that was overtaken: in so many eighths of the ring, the newest. Fewer each time that it is
/// overtaken again before it has one message, so that it gets somewhere however fast the writers are.
const KEPT: [u64; 4] = [7, 5, 3, 1];

/// A place among the messages of one name.
#[derive(Debug, Clone)]
pub struct Cursor {
    index: u32,
    /// The number of the last message that was taken, or is known to be missed.
    seen: u64,
    /// Where the record of that number is.
    at: Option<u64>,
    /// Where the next one is, if it was looked for.
    ahead: Option<u64>,
}

/// What a reader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<T> {
    /// A message, as the reader wanted it.
    Message(T),
    /// Here so many messages are missing. `exact`: that is their number; else it is a guess of who noted the gap.
    Missed {
        /// How many.
        count: u64,
        /// Whether that is known.
        exact: bool,
    },
}

/// Copies a message into memory of its length.
pub type Fill<'a> = &'a mut dyn FnMut(&mut [u8]);

/// Where the next record is.
enum Next {
    At(u64),
    /// What there was is overwritten up to this number.
    Gone(u64),
}

/// Why a record was not read.
enum Unread<E> {
    /// It is overwritten.
    Overtaken,
    /// It is none that a writer has left here for this reader.
    Foreign,
    /// What was to be made of it could not be made.
    Failed(E),
}

impl Cursor {
    /// Behind the last message of a name.
    pub(super) fn new(layout: &Layout<'_>, index: u32) -> Self {
        let mut cursor = Self::beginning(index);
        cursor.seen = cursor.newest(layout);
        cursor
    }

    /// Before the first message of a name.
    pub(super) fn beginning(index: u32) -> Self {
        Self { index, seen: 0, at: None, ahead: None }
    }

    /// The number of the newest message of its name.
    fn newest(&self, layout: &Layout<'_>) -> u64 {
        layout.names.get(self.index as usize).map_or(self.seen, |name| name.number.load(Ordering::Acquire))
    }

    /// Whether there is something that was not taken.
    pub(super) fn is_behind(&self, layout: &Layout<'_>) -> bool {
        self.newest(layout) != self.seen
    }

    /// The number up to which all was taken or missed.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// The next message, or how many are missing before it. `make` is told a message's length and what copies it; what
    /// it makes is thrown away where the message was overwritten meanwhile. `None`: there is nothing (or the writers
    /// are so fast that not one message could be copied: [`is_behind`](Self::is_behind) tells). After an error of
    /// `make` the message is still there.
    pub(super) fn next<T, E>(
        &mut self,
        layout: &Layout<'_>,
        mut make: impl FnMut(usize, Fill<'_>) -> Result<T, E>,
    ) -> Result<Option<Item<T>>, E> {
        for kept in KEPT {
            if !self.is_behind(layout) {
                return Ok(None);
            }
            let start = match self.locate(layout, kept) {
                Next::At(start) => start,
                Next::Gone(number) => return Ok(Some(self.miss(layout, number))),
            };
            let (head, item) = match self.copy(layout, start, &mut make) {
                Ok(copied) => copied,
                Err(Unread::Overtaken) => {
                    self.at = None;
                    continue;
                }
                Err(Unread::Foreign) => {
                    let number = self.newest(layout);
                    return Ok(Some(self.miss(layout, number)));
                }
                Err(Unread::Failed(error)) => return Err(error),
            };
            let span = if let Item::Missed { count, .. } = item { count } else { 1 };
            let before = head.number.wrapping_sub(span);
            if before > self.seen {
                let missed = self.miss(layout, before);
                self.ahead = Some(start);
                return Ok(Some(missed));
            }
            self.seen = head.number;
            self.at = Some(start);
            return Ok(Some(item));
        }
        Ok(None)
    }

    /// Goes on to a number, over what is missing.
    fn miss<T>(&mut self, layout: &Layout<'_>, number: u64) -> Item<T> {
        let count = number.wrapping_sub(self.seen);
        let name = layout.names.get(self.index as usize);
        let inexact = name.map_or(0, |name| name.inexact.load(Ordering::Acquire));
        let exact = inexact <= self.seen;
        self.seen = number;
        self.at = None;
        Item::Missed { count, exact }
    }

    /// Finds the next record: by what was found before, by the link of the last one, or by going back from the newest.
    fn locate(&mut self, layout: &Layout<'_>, kept: u64) -> Next {
        if let Some(start) = self.ahead.take() {
            return Next::At(start);
        }
        let linked = self.at.and_then(|at| {
            let next = layout.head(at)?.next?;
            (next > at).then_some(next)
        });
        linked.map_or_else(|| self.go_back(layout, kept), Next::At)
    }

    /// Goes back from the newest record of the name to the first that was not taken, or to the oldest that will not be
    /// overwritten soon.
    fn go_back(&self, layout: &Layout<'_>, kept: u64) -> Next {
        let number = self.newest(layout);
        let Some(name) = layout.names.get(self.index as usize) else { return Next::Gone(number) };
        let capacity = layout.capacity();
        let floor = layout.counters.reserved.load(Ordering::Relaxed).saturating_sub(capacity / 8 * kept);
        let mut place = name.last.load(Ordering::Acquire).checked_sub(1);
        let mut found = None;
        while let Some(start) = place
            && let Some(head) = layout.head(start)
            && head.index == self.index
            && head.number > self.seen
        {
            if found.is_none() || start >= floor {
                found = Some(start);
            }
            // It need not be there any more when it is found to be the one: then this is done again.
            let span = if head.is_gap { layout.gap(start).0 } else { 1 };
            if head.number.wrapping_sub(span) <= self.seen {
                return Next::At(start);
            }
            place = head.previous.filter(|previous| *previous < start);
        }
        found.map_or(Next::Gone(number), Next::At)
    }

    /// Copies a record.
    fn copy<T, E>(
        &self,
        layout: &Layout<'_>,
        start: u64,
        make: &mut impl FnMut(usize, Fill<'_>) -> Result<T, E>,
    ) -> Result<(Head, Item<T>), Unread<E>> {
        let head = layout.head(start).ok_or(Unread::Overtaken)?;
        let length = head.length as usize;
        if head.index != self.index || head.number <= self.seen || length > layout.max_message() {
            return Err(Unread::Foreign);
        }
        let item = if head.is_gap {
            let (count, exact) = layout.gap(start);
            Item::Missed { count, exact }
        } else {
            let runs = layout.run(start, HEAD, words_of(length) as usize);
            let mut fill = |bytes: &mut [u8]| {
                let mut rest = bytes;
                for run in runs {
                    let (now, later) = rest.split_at_mut(rest.len().min(run.len() * size_of::<u64>()));
                    load(run, now);
                    rest = later;
                }
            };
            Item::Message(make(length, &mut fill).map_err(Unread::Failed)?)
        };
        if layout.is_there(start) { Ok((head, item)) } else { Err(Unread::Overtaken) }
    }
}

/// Takes bytes out of words; of the last not all may be wanted.
fn load(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut();
    for (word, bytes) in words.iter().zip(&mut *whole) {
        *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
    }
    if let Some(word) = words.get(whole.len()) {
        let last: [u8; size_of::<u64>()] = word.load(Ordering::Relaxed).to_ne_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}
