//! The ring against what it promises: in order, whole, and exact about what is missing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::death::die_after;
use super::writing::Content;
use super::{Cursor, Index, Item, Memory, NAMES, Refusal};

/// The smallest ring there is: it goes round often.
const RING: usize = 64 << 10;
/// The other writer has its turn within this time, whatever else the machine does.
const TURN: Duration = Duration::from_secs(60);

fn take(memory: &Memory, cursor: &mut Cursor) -> Option<Item<Vec<u8>>> {
    let make = |length, fill: super::Fill<'_>| {
        let mut bytes = vec![0; length];
        fill(&mut bytes);
        Ok::<_, Infallible>(bytes)
    };
    memory.next(cursor, make).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Send {
        name: usize,
        length: usize,
    },
    /// A writer that is killed on its way, after so many points.
    SendAndDie {
        name: usize,
        length: usize,
        points: usize,
    },
    Note {
        name: usize,
        count: u64,
        exact: bool,
    },
    Open {
        name: usize,
    },
    /// A reader takes so many.
    Take {
        reader: usize,
        most: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    // Short ones, which nearly all are, and some up to the longest.
    let length = prop_oneof![4 => 0..100_usize, 1 => 0..=RING / 8];
    let name = 0..3_usize;
    prop_oneof![
        6 => (name.clone(), length.clone()).prop_map(|(name, length)| Step::Send { name, length }),
        // As many points as there can be: one a word, and one for each word of the tables.
        2 => (name.clone(), 0..200_usize, 0..40_usize)
            .prop_map(|(name, length, points)| Step::SendAndDie { name, length, points }),
        1 => (name.clone(), 0..RING / 8, 0..1100_usize)
            .prop_map(|(name, length, points)| Step::SendAndDie { name, length, points }),
        1 => (name.clone(), 1..5_u64, any::<bool>())
            .prop_map(|(name, count, exact)| Step::Note { name, count, exact }),
        1 => name.prop_map(|name| Step::Open { name }),
        3 => (0..6_usize, 1..40_usize).prop_map(|(reader, most)| Step::Take { reader, most }),
    ]
}

/// What was written: the last number that it stands for is its key.
#[derive(Debug, Clone)]
struct Written {
    first: u64,
    start: u64,
    content: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Message(Vec<u8>),
    Gap { exact: bool },
}

/// All that a name was ever sent.
#[derive(Debug, Default)]
struct Sent(BTreeMap<u64, Written>);

impl Sent {
    fn newest(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(number, _)| *number)
    }

    fn add(&mut self, start: u64, span: u64, content: Kind) {
        let first = self.newest() + 1;
        self.0.insert(first + span - 1, Written { first, start, content });
    }

    /// Holds what a reader got against what it should have.
    fn check(&self, memory: &Memory, seen: &mut u64, item: Item<Vec<u8>>) {
        let (number, next) = self.0.range(*seen + 1..).next().expect("nothing was sent");
        assert_eq!(next.first, *seen + 1);
        let layout = memory.layout();
        let lost = !layout.is_there(next.start);
        match (item, &next.content) {
            (Item::Message(bytes), Kind::Message(sent)) => {
                assert!(bytes == *sent, "{number} is torn");
                *seen = *number;
            }
            (Item::Missed { count, exact }, Kind::Gap { exact: was }) if !lost => {
                assert_eq!((count, exact), (number - *seen, *was));
                *seen = *number;
            }
            (Item::Missed { count, exact }, _) => {
                assert!(lost, "{number} is there, and was not given");
                let end = *seen + count;
                assert!(self.0.contains_key(&end), "{count} are missing from {seen}, which ends within one");
                let inexact =
                    |(_, written): (&u64, &Written)| matches!(written.content, Kind::Gap { exact: false });
                if self.0.range(*seen + 1..=end).any(inexact) {
                    assert!(!exact);
                } else if !self.0.range(*seen + 1..).any(inexact) {
                    assert!(exact);
                }
                *seen = end;
            }
            (item, next) => panic!("{item:?} instead of {next:?}"),
        }
    }
}

fn message(length: usize, salt: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 + salt * 7) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_reader_gets_what_was_sent_or_is_told_what_is_missing(steps in prop::collection::vec(step(), 1..250)) {
        let memory = Memory::private(RING).unwrap();
        let names = ["one", "two", "three"];
        let mut sent: [Sent; 3] = Default::default();
        let mut readers: Vec<(usize, Cursor, u64)> = Vec::new();
        for (salt, step) in steps.into_iter().enumerate() {
            match step {
                Step::Send { name, length } => {
                    let index = memory.name(names[name]).unwrap();
                    let (start, bytes) = (memory.layout().end(), message(length, salt));
                    memory.send(index, &bytes).unwrap();
                    sent[name].add(start, 1, Kind::Message(bytes));
                }
                Step::SendAndDie { name, length, points } => {
                    let (start, bytes) = (memory.layout().end(), message(length, salt));
                    let before = memory.layout().counters.bell.get();
                    die_after(points, || {
                        let index = memory.name(names[name]).unwrap();
                        memory.send(index, &bytes).unwrap();
                    });
                    // Sent or not: there is nothing between.
                    if memory.layout().counters.bell.get() != before {
                        sent[name].add(start, 1, Kind::Message(bytes));
                    }
                    // Somebody else takes the lock, which mends what is left.
                    drop(memory.lock(None).unwrap());
                }
                Step::Note { name, count, exact } => {
                    let index = memory.name(names[name]).unwrap();
                    let start = memory.layout().end();
                    memory.note_missed(index, count, exact).unwrap();
                    sent[name].add(start, count, Kind::Gap { exact });
                }
                Step::Open { name } => {
                    let index = memory.name(names[name]).unwrap();
                    readers.push((name, memory.cursor(index), sent[name].newest()));
                }
                Step::Take { reader, most } => {
                    let Some((name, cursor, seen)) = readers.get_mut(reader) else { continue };
                    for _ in 0..most {
                        let Some(item) = take(&memory, cursor) else {
                            prop_assert_eq!(*seen, sent[*name].newest());
                            break;
                        };
                        sent[*name].check(&memory, seen, item);
                    }
                }
            }
        }
        for (name, mut cursor, mut seen) in readers {
            while let Some(item) = take(&memory, &mut cursor) {
                sent[name].check(&memory, &mut seen, item);
            }
            prop_assert_eq!(seen, sent[name].newest());
        }
    }
}

/// At each of the points that a send passes, and the one after goes well.
#[test]
fn a_writer_may_die_anywhere() {
    for awaited in [false, true] {
        for points in 0.. {
            let memory = Memory::private(RING).unwrap();
            let mut cursors: Vec<Cursor> =
                ["one", "two"].map(|name| memory.cursor(memory.name(name).unwrap())).into();
            let one = memory.name("one").unwrap();
            memory.send(one, b"before").unwrap();
            if awaited {
                memory.expect(true);
            }
            let killed = die_after(points, || {
                let three = memory.name("three").unwrap();
                memory.send(one, b"the last words").unwrap();
                memory.note_missed(three, 3, false).unwrap();
            });
            memory.send(one, b"after").unwrap();
            memory.send(memory.name("three").unwrap(), b"new").unwrap();
            let got: Vec<_> = std::iter::from_fn(|| take(&memory, &mut cursors[0])).collect();
            let message = |text: &[u8]| Item::Message(text.to_vec());
            let all = [message(b"before"), message(b"the last words"), message(b"after")];
            assert!(got == all || got == [message(b"before"), message(b"after")], "{points}: {got:?}");
            assert_eq!(take(&memory, &mut cursors[1]), None);
            if !killed {
                assert!(points > 20);
                break;
            }
        }
    }
}

#[test]
fn readers_that_are_overtaken_get_nothing_torn() {
    const WRITERS: u64 = 2;
    const EACH: u64 = 20_000;
    let memory = Memory::private(RING).unwrap();
    let index = memory.name("name").unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let read = |most: u64| {
            let (memory, over) = (&memory, &over);
            let mut cursor = memory.cursor(index);
            move || {
                let (mut got, mut missed, mut last) = (0, 0, [None; WRITERS as usize]);
                loop {
                    // In this order: what was sent before the end is seen.
                    let ended = over.load(Ordering::Acquire);
                    let mut some = false;
                    for _ in 0..most {
                        match take(memory, &mut cursor) {
                            None => break,
                            Some(Item::Missed { count, exact }) => {
                                assert!(exact);
                                missed += count;
                            }
                            Some(Item::Message(bytes)) => {
                                let word = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                                assert!(bytes.chunks(8).all(|piece| piece == &bytes[..8]), "torn");
                                let (writer, number) = (word % WRITERS, word / WRITERS);
                                assert!(last[writer as usize] < Some(number), "{number} out of order");
                                last[writer as usize] = Some(number);
                                got += 1;
                            }
                        }
                        some = true;
                    }
                    if ended && !some {
                        return (got, missed);
                    }
                    if most == 1 && !ended {
                        thread::yield_now();
                    }
                }
            }
        };
        let readers = [scope.spawn(read(64)), scope.spawn(read(1))];
        let write = |writer: u64| {
            let memory = &memory;
            move || {
                for number in 0..EACH {
                    let word = (number * WRITERS + writer).to_le_bytes();
                    let length = 1 + (number * 7 % if number % 50 == 0 { 1000 } else { 20 }) as usize;
                    memory.send_within(index, &word.repeat(length), TURN).unwrap();
                }
            }
        };
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(write(writer))).collect();
        let written: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        // Also where one has failed: the readers would not end.
        over.store(true, Ordering::Release);
        assert!(written.iter().all(Result::is_ok));
        for reader in readers {
            let (got, missed) = reader.join().unwrap();
            println!("{got} read, {missed} missed");
            assert_eq!(got + missed, WRITERS * EACH);
            assert!(got > 0);
        }
    });
}

#[test]
fn a_reader_far_behind_gets_most_of_what_is_there() {
    let memory = Memory::private(RING).unwrap();
    let (index, other) = (memory.name("name").unwrap(), memory.name("other").unwrap());
    let (mut cursor, mut idle) = (memory.cursor(index), memory.cursor(other));
    memory.send(other, b"soon gone").unwrap();
    for number in 0..10_000_u64 {
        memory.send(index, &number.to_le_bytes()).unwrap();
    }
    let Some(Item::Missed { count, exact: true }) = take(&memory, &mut cursor) else {
        panic!("nothing missed")
    };
    // Five words each: seven eighths of what the ring holds.
    let rest = 10_000 - count;
    let held = (RING / 40) as u64;
    assert!((held * 6 / 8..=held).contains(&rest), "{rest} of {held}");
    for number in count..10_000 {
        assert_eq!(take(&memory, &mut cursor), Some(Item::Message(number.to_le_bytes().to_vec())));
    }
    assert_eq!(take(&memory, &mut cursor), None);
    // A name whose only message is overwritten.
    assert_eq!(take(&memory, &mut idle), Some(Item::Missed { count: 1, exact: true }));
    assert_eq!(take(&memory, &mut idle), None);
    // One that was quiet while others went round goes on without a gap.
    memory.send(other, b"again").unwrap();
    assert_eq!(take(&memory, &mut idle), Some(Item::Message(b"again".to_vec())));
}

/// Nothing in the memory is trusted: nonsense is skipped over, and the reader goes on.
#[test]
fn nonsense_in_the_memory_does_no_harm() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let words =
        prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u64>(), 0..200_u64]), 1..60);
    runner
        .run(&words, |nonsense| {
            let memory = Memory::private(RING).unwrap();
            let index = memory.name("name").unwrap();
            let mut cursor = memory.cursor(index);
            for length in 0..40 {
                memory.send(index, &message(length, length)).unwrap();
            }
            let layout = memory.layout();
            for (place, word) in &nonsense {
                layout.words[place.index(300)].store(*word, Ordering::Relaxed);
            }
            if let Some((place, word)) = nonsense.first() {
                let name = &layout.names[0];
                let places = [
                    &name.last,
                    &name.number,
                    &name.inexact,
                    &layout.counters.ends[0],
                    &layout.counters.reserved,
                ];
                places[place.index(5)].store(*word, Ordering::Relaxed);
            }
            // Bounded by the numbers of the messages, which are nonsense too: so many, or all.
            for _ in 0..1000 {
                if take(&memory, &mut cursor).is_none() {
                    break;
                }
            }
            let _ = memory.send(index, b"goes on");
            let _ = take(&memory, &mut cursor);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_does_not_fit_is_refused() {
    let memory = Memory::private(1).unwrap();
    assert_eq!((memory.size(), memory.max_message()), (RING, RING / 8));
    let index = memory.name("name").unwrap();
    let mut cursor = memory.cursor(index);
    let longest = message(memory.max_message(), 1);
    memory.send(index, &longest).unwrap();
    assert!(matches!(memory.send(index, &vec![0; longest.len() + 1]), Err(Refusal::TooLong(_))));
    assert_eq!(take(&memory, &mut cursor), Some(Item::Message(longest)));
    assert!(Memory::private(usize::MAX).is_err() && Memory::private(usize::MAX / 4).is_err());
}

#[test]
fn there_is_an_end_of_names() {
    let memory = Memory::private(RING).unwrap();
    let found: Vec<Index> = (0..NAMES).map(|number| memory.name(&number.to_string()).unwrap()).collect();
    assert!(matches!(memory.name("one more"), Err(Refusal::TooManyNames)));
    assert_eq!(memory.names(), NAMES);
    // Those that are there go on.
    for number in [0, NAMES / 2, NAMES - 1] {
        let index = memory.name(&number.to_string()).unwrap();
        assert_eq!(index, found[number]);
        let mut cursor = memory.cursor(index);
        memory.send(index, b"still").unwrap();
        assert_eq!(take(&memory, &mut cursor), Some(Item::Message(b"still".to_vec())));
    }
}

#[test]
fn numbers_go_round() {
    let memory = Memory::private(RING).unwrap();
    let index = memory.name("name").unwrap();
    // The count of records just before it starts again, in memory where nothing was written.
    let layout = memory.layout();
    layout.counters.linked.store(u32::MAX - 2, Ordering::Relaxed);
    layout.counters.bell.set(u32::MAX - 2);
    let mut cursor = memory.cursor(index);
    for number in 0..10_u8 {
        let _guard = memory.lock(None).unwrap();
        layout.write(index.0, Content::Message(&[number]));
        layout.counters.ring();
    }
    drop(memory.lock(None).unwrap());
    for number in 0..10 {
        assert_eq!(take(&memory, &mut cursor), Some(Item::Message(vec![number])));
    }
}
