//! The requests that a worker has in hand, for whoever asks what it is doing: also when it hangs.

use std::array;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::sealed::Sealed;

/// So many requests that run can be shown: those of the first threads of a worker's crew.
pub const RUNNING: usize = 64;

/// So many requests that wait for a thread can be shown: those that have waited longest.
pub const WAITING: usize = 16;

/// So many bytes of a request's line are kept.
pub const LINE: usize = 200;

const LINE_WORDS: usize = LINE / 8;

// The words of a record.
const ID: usize = 0;
const ARRIVED: usize = 1;
const BEGAN: usize = 2;
/// Phase, kind of address, length of the line (a byte each), and the thread (four bytes).
const SUMMARY: usize = 3;
const ADDRESS: usize = 4;
const TEXT: usize = 6;
const WORDS: usize = TEXT + LINE_WORDS;

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It waits for a thread.
    Queued,
    /// It is in the application.
    Running,
}

/// What is written down of a request.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The worker's number for it.
    pub id: u64,
    /// When it was complete, in milliseconds of the [clock](super::now).
    pub arrived: u64,
    /// When a thread took it, in milliseconds of the clock; `None`: it waits.
    pub began: Option<u64>,
    /// That thread, as the kernel numbers it (gettid(2)).
    pub thread: u32,
    /// The client, where it has an address.
    pub client: Option<IpAddr>,
    /// The request's line, in pieces that belong together. Cut after [`LINE`] bytes.
    pub line: [&'a [u8]; 5],
}

/// A request that a worker had in hand when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// The worker's number for it.
    pub id: u64,
    /// How far it has come.
    pub phase: Phase,
    /// When it was complete, in milliseconds of the clock.
    pub arrived: u64,
    /// When a thread took it, in milliseconds of the clock; where it waits, as `arrived`.
    pub began: u64,
    /// That thread, as the kernel numbers it; 0: it waits.
    pub thread: u32,
    /// The client, where it has an address.
    pub client: Option<IpAddr>,
    /// The first bytes of the request's line. Whatever is no UTF-8 is replaced.
    pub line: String,
}

impl InFlight {
    /// How long ago it was complete. `now`: milliseconds of the clock.
    pub fn age(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.arrived))
    }

    /// How long it has been in the application.
    pub fn in_application(&self, now: u64) -> Duration {
        match self.phase {
            Phase::Queued => Duration::ZERO,
            Phase::Running => Duration::from_millis(now.saturating_sub(self.began)),
        }
    }

    /// How long it has waited for a thread, or did.
    pub fn in_queue(&self, now: u64) -> Duration {
        self.age(now).saturating_sub(self.in_application(now))
    }
}

/// One request. One thread at a time may write.
#[derive(Debug, Default)]
#[repr(transparent)]
struct RequestSlot(Sealed<WORDS>);

impl RequestSlot {
    fn write(&self, entry: &Entry<'_>) {
        let mut text = [0; LINE];
        let mut length = 0;
        for piece in entry.line {
            let taken = piece.len().min(LINE - length);
            text[length..length + taken].copy_from_slice(&piece[..taken]);
            length += taken;
        }
        let phase = if entry.began.is_some() { 1 } else { 2 };
        let (kind, high, low) = match entry.client {
            None => (0, 0, 0),
            Some(IpAddr::V4(address)) => (4, 0, u64::from(address.to_bits())),
            Some(IpAddr::V6(address)) => {
                let bits = address.to_bits();
                (6, (bits >> 64) as u64, bits as u64)
            }
        };
        let mut words = [0; WORDS];
        words[ID] = entry.id;
        words[ARRIVED] = entry.arrived;
        words[BEGAN] = entry.began.unwrap_or(entry.arrived);
        words[SUMMARY] = u64::from(entry.thread) << 32 | (length as u64) << 16 | kind << 8 | phase;
        (words[ADDRESS], words[ADDRESS + 1]) = (high, low);
        let used = length.div_ceil(8);
        for (word, bytes) in words[TEXT..].iter_mut().zip(text.as_chunks::<8>().0).take(used) {
            *word = u64::from_ne_bytes(*bytes);
        }
        self.0.write(&words[..TEXT + used]);
    }

    /// There is no request. The record is otherwise as it was, so that nobody has to wait for this.
    fn end(&self) {
        self.0.replace(SUMMARY, 0);
    }

    fn is_empty(&self) -> bool {
        self.0.peek(SUMMARY) == 0
    }

    fn read(&self) -> Option<InFlight> {
        if self.is_empty() {
            return None;
        }
        let words = self.0.read()?;
        let summary = words[SUMMARY];
        let phase = match summary & 0xff {
            1 => Phase::Running,
            2 => Phase::Queued,
            _ => return None,
        };
        let bits = u128::from(words[ADDRESS]) << 64 | u128::from(words[ADDRESS + 1]);
        let client = match summary >> 8 & 0xff {
            4 => Some(IpAddr::V4(Ipv4Addr::from_bits(bits as u32))),
            6 => Some(IpAddr::V6(Ipv6Addr::from_bits(bits))),
            _ => None,
        };
        let mut text = [0; LINE];
        for (bytes, word) in text.as_chunks_mut::<8>().0.iter_mut().zip(&words[TEXT..]) {
            *bytes = word.to_ne_bytes();
        }
        let length = LINE.min((summary >> 16 & 0xffff) as usize);
        Some(InFlight {
            id: words[ID],
            phase,
            arrived: words[ARRIVED],
            began: words[BEGAN],
            thread: (summary >> 32) as u32,
            client,
            line: String::from_utf8_lossy(&text[..length]).into_owned(),
        })
    }

    fn clear(&self) {
        // As a record of its own, so that a reader cannot take an older number for the same one.
        self.0.write(&[0; WORDS]);
    }
}

/// The requests that a worker has in hand: a place for each of its first threads, and some for those that wait.
#[derive(Debug)]
#[repr(C)]
pub struct Requests {
    running: [RequestSlot; RUNNING],
    waiting: [RequestSlot; WAITING],
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            running: array::from_fn(|_| RequestSlot::default()),
            waiting: array::from_fn(|_| RequestSlot::default()),
        }
    }
}

impl Requests {
    /// A thread of the crew, by its place there, goes into the application with a request. Only that thread may say so.
    pub fn begin(&self, seat: usize, entry: &Entry<'_>) {
        if let Some(slot) = self.running.get(seat) {
            slot.write(entry);
        }
    }

    /// A thread of the crew has come back. Only that thread may say so.
    pub fn end(&self, seat: usize) {
        if let Some(slot) = self.running.get(seat) {
            slot.end();
        }
    }

    /// Says anew which requests wait for a thread. `list` hands them over, the oldest first, to a function that says
    /// whether it takes more: no more than [`WAITING`] are kept. One thread at a time may say so.
    pub fn wait(&self, list: impl FnOnce(&mut dyn FnMut(&Entry<'_>) -> bool)) {
        let mut slots = self.waiting.iter();
        list(&mut |entry| {
            if let Some(slot) = slots.next() {
                slot.write(entry);
            }
            slots.len() > 0
        });
        // They are filled from the front, so the first empty one is the last to look at.
        for slot in slots.take_while(|slot| !slot.is_empty()) {
            slot.end();
        }
    }

    /// What runs and waits now, the oldest first. A request that is being written down is left out.
    pub fn in_flight(&self) -> Vec<InFlight> {
        let slots = self.running.iter().chain(&self.waiting);
        let mut found: Vec<InFlight> = slots.filter_map(RequestSlot::read).collect();
        // One that was taken from the queue while we read would be there twice: first as it runs.
        let mut seen = std::collections::HashSet::new();
        found.retain(|request| seen.insert(request.id));
        found.sort_by_key(|request| (request.arrived, request.id));
        found
    }

    pub(super) fn clear(&self) {
        for slot in self.running.iter().chain(&self.waiting) {
            slot.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    fn entry(id: u64, line: &[u8]) -> Entry<'_> {
        Entry { id, arrived: 5, began: Some(7), thread: 9, client: None, line: [line, b"", b"", b"", b""] }
    }

    #[test]
    fn a_request_is_seen_while_it_runs() {
        let requests = Requests::default();
        assert_eq!(requests.in_flight(), []);
        let client = Some("2001:db8::1".parse().unwrap());
        let line: [&[u8]; 5] = [b"GET", b" ", b"/wait?for=ever", b" ", b"HTTP/1.1"];
        requests.begin(3, &Entry { id: 1, arrived: 100, began: Some(250), thread: 77, client, line });
        let found = requests.in_flight();
        let expected = InFlight {
            id: 1,
            phase: Phase::Running,
            arrived: 100,
            began: 250,
            thread: 77,
            client,
            line: "GET /wait?for=ever HTTP/1.1".to_owned(),
        };
        assert_eq!(found, [expected]);
        let times = [found[0].age(1100), found[0].in_queue(1100), found[0].in_application(1100)];
        assert_eq!(times.map(|time| time.as_millis()), [1000, 150, 850]);
        // A shorter line leaves nothing of the longer one.
        requests.begin(3, &entry(2, b"HEAD / HTTP/1.0"));
        assert_eq!(requests.in_flight()[0].line, "HEAD / HTTP/1.0");
        requests.end(3);
        assert_eq!(requests.in_flight(), []);
    }

    #[test]
    fn threads_without_a_place_are_left_out() {
        let requests = Requests::default();
        requests.begin(RUNNING, &entry(1, b"x"));
        requests.end(RUNNING);
        assert_eq!(requests.in_flight(), []);
    }

    #[test]
    fn those_that_wait_are_as_last_said() {
        let requests = Requests::default();
        let queued = |ids: std::ops::Range<u64>| {
            requests.wait(|write| {
                for id in ids {
                    write(&Entry { began: None, thread: 0, arrived: id, ..entry(id, b"x") });
                }
            });
            let found = requests.in_flight();
            assert!(found.iter().all(|request| request.phase == Phase::Queued));
            assert!(found.iter().all(|request| request.in_application(1000).is_zero()));
            found.iter().map(|request| request.id).collect::<Vec<_>>()
        };
        assert_eq!(queued(1..4), [1, 2, 3]);
        assert_eq!(queued(2..100).len(), WAITING);
        assert_eq!(queued(5..6), [5]);
        // Taken by a thread before the queue was looked at again.
        requests.begin(0, &entry(5, b"x"));
        assert_eq!(requests.in_flight().len(), 1);
        assert_eq!(requests.in_flight()[0].phase, Phase::Running);
        requests.clear();
        assert_eq!(requests.in_flight(), []);
    }

    #[test]
    fn no_request_is_mixed_with_another() {
        let requests = Requests::default();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers: [_; 2] = array::from_fn(|seat| {
                let requests = &requests;
                scope.spawn(move || {
                    for round in 0..50_000_u64 {
                        let id = round * 2 + seat as u64;
                        let line = format!("{id} ").repeat(1 + (round % 30) as usize);
                        let client =
                            Some(IpAddr::V6(Ipv6Addr::from_bits(u128::from(id) << 64 | u128::from(id))));
                        let pieces: [&[u8]; 5] = [line.as_bytes(), b"", b"", b"", b""];
                        let entry = Entry {
                            id,
                            arrived: id,
                            began: Some(id),
                            thread: id as u32,
                            client,
                            line: pieces,
                        };
                        requests.begin(seat, &entry);
                        if round % 3 == 0 {
                            requests.end(seat);
                        }
                    }
                })
            });
            let reader = scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    for found in requests.in_flight() {
                        assert_eq!((found.arrived, found.began), (found.id, found.id));
                        assert_eq!(found.thread, found.id as u32);
                        let Some(IpAddr::V6(address)) = found.client else { panic!("{found:?}") };
                        assert_eq!(address.to_bits() >> 64, u128::from(found.id));
                        let whole = format!("{} ", found.id).repeat(30);
                        assert!(whole.starts_with(&found.line), "{found:?}");
                    }
                }
            });
            for writer in writers {
                writer.join().unwrap();
            }
            over.store(true, Ordering::Release);
            reader.join().unwrap();
        });
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            id: u64, arrived: u64, waits: u32, thread: u32, running: bool, client: Option<IpAddr>,
            pieces in prop::array::uniform5("[ -~]{0,90}"),
        ) {
            let slot = RequestSlot::default();
            let began = running.then(|| arrived.wrapping_add(u64::from(waits)));
            let line = pieces.each_ref().map(String::as_bytes);
            slot.write(&Entry { id, arrived, began, thread, client, line });
            let found = slot.read().unwrap();
            let text: String = pieces.concat().chars().take(LINE).collect();
            prop_assert_eq!(found.line, text);
            prop_assert_eq!((found.id, found.arrived, found.thread), (id, arrived, thread));
            prop_assert_eq!(found.began, began.unwrap_or(arrived));
            prop_assert_eq!(found.phase, if running { Phase::Running } else { Phase::Queued });
            prop_assert_eq!(found.client, client);
            slot.clear();
            prop_assert_eq!(slot.read(), None);
        }
    }
}
