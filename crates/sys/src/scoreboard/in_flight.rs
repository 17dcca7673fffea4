//! The requests that a worker has in hand, for whoever asks what it is doing: also when it hangs.
//!
//! They lie one after another in one record, each as long as its line: the list that is read is the list that was told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::sealed::Sealed;

/// So many requests can be shown at least: with shorter lines, more.
pub const SHOWN: usize = 80;

/// So many bytes of a request's line are kept.
pub const LINE: usize = 200;

// The words of a request.
const ID: usize = 0;
const ARRIVED: usize = 1;
const BEGAN: usize = 2;
/// Phase, kind of address, length of the line (a byte each), and the thread (four bytes).
const SUMMARY: usize = 3;
const ADDRESS: usize = 4;
const TEXT: usize = 6;

/// How many there are, and room for them.
const WORDS: usize = 1 + SHOWN * (TEXT + LINE / 8);

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

impl Entry<'_> {
    /// Adds it to a list.
    fn put(&self, words: &mut Vec<u64>) {
        let mut text = [0; LINE];
        let mut length = 0;
        for piece in self.line {
            let taken = piece.len().min(LINE - length);
            text[length..length + taken].copy_from_slice(&piece[..taken]);
            length += taken;
        }
        let phase = if self.began.is_some() { 1 } else { 2 };
        let (kind, high, low) = match self.client {
            None => (0, 0, 0),
            Some(IpAddr::V4(address)) => (4, 0, u64::from(address.to_bits())),
            Some(IpAddr::V6(address)) => {
                let bits = address.to_bits();
                (6, (bits >> 64) as u64, bits as u64)
            }
        };
        let mut fixed = [0; TEXT];
        fixed[ID] = self.id;
        fixed[ARRIVED] = self.arrived;
        fixed[BEGAN] = self.began.unwrap_or(self.arrived);
        fixed[SUMMARY] = u64::from(self.thread) << 32 | (length as u64) << 16 | kind << 8 | phase;
        (fixed[ADDRESS], fixed[ADDRESS + 1]) = (high, low);
        words.extend(fixed);
        let text = text.as_chunks::<8>().0.iter().take(length.div_ceil(8));
        words.extend(text.map(|bytes| u64::from_ne_bytes(*bytes)));
    }
}

impl InFlight {
    /// Takes the first one off a list.
    fn take(words: &mut &[u64]) -> Option<Self> {
        let (fixed, rest) = words.split_first_chunk::<TEXT>()?;
        let summary = fixed[SUMMARY];
        let length = (summary >> 16 & 0xffff) as usize;
        let (text, rest) = rest.split_at_checked(length.div_ceil(8))?;
        *words = rest;
        let bits = u128::from(fixed[ADDRESS]) << 64 | u128::from(fixed[ADDRESS + 1]);
        let client = match summary >> 8 & 0xff {
            4 => Some(IpAddr::V4(Ipv4Addr::from_bits(bits as u32))),
            6 => Some(IpAddr::V6(Ipv6Addr::from_bits(bits))),
            _ => None,
        };
        let text: Vec<u8> = text.iter().flat_map(|word| word.to_ne_bytes()).take(length).collect();
        Some(Self {
            id: fixed[ID],
            phase: if summary & 0xff == 1 { Phase::Running } else { Phase::Queued },
            arrived: fixed[ARRIVED],
            began: fixed[BEGAN],
            thread: (summary >> 32) as u32,
            client,
            line: String::from_utf8_lossy(&text).into_owned(),
        })
    }
}

/// The requests that a worker has in hand, as it has last told them.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Requests(Sealed<WORDS>);

impl Requests {
    /// Tells them anew; what finds no room is left out. One thread at a time may.
    pub fn tell<'a>(&self, requests: impl Iterator<Item = Entry<'a>>) {
        let mut words = vec![0];
        for entry in requests {
            let before = words.len();
            entry.put(&mut words);
            if words.len() > WORDS {
                words.truncate(before);
                break;
            }
            words[0] += 1;
        }
        self.0.write(&words);
    }

    /// What was told last, the oldest first. Nothing while it is being told anew, or where the worker died over it.
    pub fn in_flight(&self) -> Vec<InFlight> {
        let Some(words) = self.0.read() else { return Vec::new() };
        let (count, mut rest) = (words[0], &words[1..]);
        let mut found: Vec<InFlight> = (0..count).map_while(|_| InFlight::take(&mut rest)).collect();
        found.sort_by_key(|request| (request.arrived, request.id));
        found
    }

    pub(super) fn clear(&self) {
        self.0.write(&[0]);
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
    fn what_is_told_is_seen_until_something_else_is() {
        let requests = Requests::default();
        assert_eq!(requests.in_flight(), []);
        let client = Some("2001:db8::1".parse().unwrap());
        let line: [&[u8]; 5] = [b"GET", b" ", b"/wait?for=ever", b" ", b"HTTP/1.1"];
        let running = Entry { id: 2, arrived: 100, began: Some(250), thread: 77, client, line };
        let older = Entry { began: None, thread: 0, arrived: 90, ..entry(1, b"x") };
        requests.tell([running, older].into_iter());
        let found = requests.in_flight();
        assert_eq!((found[0].phase, found[0].in_application(1000)), (Phase::Queued, Duration::ZERO));
        let expected = InFlight {
            id: 2,
            phase: Phase::Running,
            arrived: 100,
            began: 250,
            thread: 77,
            client,
            line: "GET /wait?for=ever HTTP/1.1".to_owned(),
        };
        assert_eq!(found[1..], [expected]);
        let times = [found[1].age(1100), found[1].in_queue(1100), found[1].in_application(1100)];
        assert_eq!(times.map(|time| time.as_millis()), [1000, 150, 850]);
        // A shorter list leaves nothing of the longer one.
        requests.tell(std::iter::once(entry(3, b"HEAD / HTTP/1.0")));
        let lines: Vec<_> = requests.in_flight().into_iter().map(|request| request.line).collect();
        assert_eq!(lines, ["HEAD / HTTP/1.0"]);
        requests.tell(std::iter::empty());
        assert_eq!(requests.in_flight(), []);
    }

    #[test]
    fn what_finds_no_room_is_left_out() {
        let requests = Requests::default();
        let told = |line: &[u8]| {
            requests.tell((0..1000).map(|id| entry(id, line)));
            let ids: Vec<_> = requests.in_flight().into_iter().map(|request| request.id).collect();
            assert!(ids.iter().copied().eq(0..ids.len() as u64));
            ids.len()
        };
        assert_eq!(told(&[b'x'; 3 * LINE]), SHOWN);
        assert!(told(b"GET / HTTP/1.1") > 3 * SHOWN);
        requests.clear();
        assert_eq!(requests.in_flight(), []);
    }

    #[test]
    fn no_list_is_mixed_with_another() {
        let requests = Requests::default();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    let found = requests.in_flight();
                    let Some(first) = found.first() else { continue };
                    let told = first.arrived;
                    assert_eq!(found.len() as u64, 1 + told % 30, "{found:?}");
                    for (place, request) in found.iter().enumerate() {
                        assert_eq!((request.id, request.arrived, request.began), (place as u64, told, told));
                        assert_eq!(request.line, format!("{told} ").repeat(1 + place));
                    }
                }
            });
            for told in 0..20_000_u64 {
                let lines: Vec<String> =
                    (1..=1 + told % 30).map(|times| format!("{told} ").repeat(times as usize)).collect();
                requests.tell(lines.iter().enumerate().map(|(place, line)| Entry {
                    arrived: told,
                    began: Some(told),
                    ..entry(place as u64, line.as_bytes())
                }));
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
            let requests = Requests::default();
            let began = running.then(|| arrived.wrapping_add(u64::from(waits)));
            let line = pieces.each_ref().map(String::as_bytes);
            requests.tell(std::iter::once(Entry { id, arrived, began, thread, client, line }));
            let [found] = &requests.in_flight()[..] else { panic!("not one") };
            let text: String = pieces.concat().chars().take(LINE).collect();
            prop_assert_eq!(&found.line, &text);
            prop_assert_eq!((found.id, found.arrived, found.thread), (id, arrived, thread));
            prop_assert_eq!(found.began, began.unwrap_or(arrived));
            prop_assert_eq!(found.phase, if running { Phase::Running } else { Phase::Queued });
            prop_assert_eq!(found.client, client);
        }
    }
}
