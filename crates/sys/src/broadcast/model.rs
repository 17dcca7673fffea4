//! The kernel and the mapping as loom sees them, and what it is to find: a wake-up that is lost, a message that is
//! torn.

use std::io;
use std::time::Duration;

use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::sync::{Condvar, Mutex, MutexGuard};

use super::layout::{Counters, Layout, Name};

/// A futex: its number, and who sleeps.
#[derive(Debug)]
pub(super) struct Futex {
    number: Mutex<u32>,
    woken: Condvar,
}

impl Futex {
    pub(super) fn get(&self) -> u32 {
        *self.number.lock().unwrap()
    }

    pub(super) fn add(&self) {
        *self.number.lock().unwrap() += 1;
    }

    pub(super) fn add_and_wake(&self) {
        *self.number.lock().unwrap() += 1;
        self.woken.notify_all();
    }

    pub(super) fn wait(&self, heard: u32) {
        let number = self.number.lock().unwrap();
        if *number == heard {
            // Once, as the kernel does: an addition alone wakes nobody.
            drop(self.woken.wait(number));
        }
    }
}

/// A descriptor: whether it is readable, and who polls it.
#[derive(Debug)]
pub(super) struct Descriptor {
    readable: Mutex<bool>,
    changed: Condvar,
}

impl Descriptor {
    #[allow(clippy::unnecessary_wraps)] // as the kernel's
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { readable: Mutex::new(false), changed: Condvar::new() })
    }

    pub(super) fn ring(&self) {
        *self.readable.lock().unwrap() = true;
        self.changed.notify_all();
    }

    pub(super) fn silence(&self) {
        *self.readable.lock().unwrap() = false;
    }

    pub(super) fn poll(&self) {
        let mut readable = self.readable.lock().unwrap();
        while !*readable {
            readable = self.changed.wait(readable).unwrap();
        }
    }
}

/// Who dies with the lock leaves it to the next, as with the robust mutex: here he lets it go.
pub(super) type Guard<'m> = MutexGuard<'m, ()>;

#[derive(Debug)]
pub(super) struct Lock(Mutex<()>);

impl Lock {
    #[allow(clippy::unnecessary_wraps)] // as the system's
    pub(super) fn lock(&self, _patience: Option<Duration>) -> io::Result<(Guard<'_>, bool)> {
        Ok((self.0.lock().unwrap(), false))
    }
}

/// Memory for a ring of so many bytes, with two names.
#[derive(Debug)]
pub(super) struct Mapping {
    lock: Lock,
    counters: Counters,
    slots: Vec<AtomicU32>,
    names: Vec<Name>,
    words: Vec<AtomicU64>,
}

fn zero() -> AtomicU64 {
    AtomicU64::new(0)
}

impl Mapping {
    #[allow(clippy::unnecessary_wraps)] // as the system's
    pub(super) fn new(bytes: usize, _shared: bool) -> io::Result<Self> {
        let counters = Counters {
            ends: [zero(), zero()],
            reserved: zero(),
            names: zero(),
            linked: AtomicU32::new(0),
            bell: Futex { number: Mutex::new(0), woken: Condvar::new() },
            awaited: AtomicU32::new(0),
            deaths: AtomicU32::new(0),
        };
        let name = || Name { key: [zero(), zero()], last: zero(), number: zero(), inexact: zero() };
        Ok(Self {
            lock: Lock(Mutex::new(())),
            counters,
            slots: (0..4).map(|_| AtomicU32::new(0)).collect(),
            names: (0..2).map(|_| name()).collect(),
            words: (0..bytes / 8).map(|_| zero()).collect(),
        })
    }

    pub(super) fn lock(&self) -> &Lock {
        &self.lock
    }

    pub(super) fn layout(&self) -> Layout<'_> {
        Layout { counters: &self.counters, slots: &self.slots, names: &self.names, words: &self.words }
    }
}

mod orders {
    use std::convert::Infallible;

    use loom::model::Builder;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;

    use super::super::writing::Content;
    use super::super::{Cursor, Index, Item, Memory, Post, Waiter};

    /// Where a writer dies.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Death {
        Before,
        BeforeItIsLinked,
        Never,
    }

    impl Memory {
        fn send_and_die(&self, index: Index, message: &[u8], death: Death) {
            let layout = self.layout();
            let _guard = self.lock(None).unwrap();
            layout.write(index.0, Content::Message(message));
            if death == Death::Before {
                return;
            }
            layout.counters.ring();
            if death == Death::BeforeItIsLinked {
                return;
            }
            layout.mend();
        }

        fn take(&self, cursor: &mut Cursor) -> Vec<Item<Vec<u8>>> {
            let mut taken = Vec::new();
            let make = |length, fill: super::super::Fill<'_>| {
                let mut bytes = vec![0; length];
                fill(&mut bytes);
                Ok::<_, Infallible>(bytes)
            };
            while let Ok(Some(item)) = self.next(cursor, make) {
                taken.push(item);
            }
            taken
        }
    }

    /// How often a thread is stopped where it could go on: with more of them it takes hours.
    const PREEMPTIONS: usize = 2;

    fn explore(scenario: impl Fn() + Sync + Send + 'static) {
        let mut builder = Builder::new();
        builder.preemption_bound = Some(PREEMPTIONS);
        builder.check(scenario);
    }

    fn memory(bytes: usize) -> (Arc<Memory>, Index) {
        let memory = Memory::shared(bytes).unwrap();
        let index = memory.name("name").unwrap();
        (Arc::new(memory), index)
    }

    /// A ring for two records and a half: the first is overwritten while the reader copies it.
    #[test]
    fn a_reader_never_sees_a_mix() {
        explore(|| {
            let (memory, index) = memory(13 * 8);
            let mut cursor = memory.cursor(index);
            memory.send(index, &[1; 8]).unwrap();
            memory.send(index, &[2; 8]).unwrap();
            let writer = {
                let memory = Arc::clone(&memory);
                thread::spawn(move || memory.send(index, &[3; 8]).unwrap())
            };
            let mut seen = 0;
            let check = |items: Vec<Item<Vec<u8>>>, seen: &mut u64| {
                for item in items {
                    match item {
                        Item::Message(bytes) => {
                            *seen += 1;
                            assert_eq!(bytes, [*seen as u8; 8]);
                        }
                        Item::Missed { count, exact } => {
                            assert!(exact);
                            *seen += count;
                        }
                    }
                }
            };
            check(memory.take(&mut cursor), &mut seen);
            writer.join().unwrap();
            check(memory.take(&mut cursor), &mut seen);
            assert_eq!(seen, 3);
        });
    }

    /// Messages to the reader's name, or to another, by writers that die. A wake-up that is lost leaves everybody
    /// asleep, which loom calls a deadlock.
    fn the_reader_is_always_woken(sends: [(bool, Death); 2]) {
        explore(move || {
            let (memory, index) = memory(64 * 8);
            let other = memory.name("other").unwrap();
            let post = Arc::new(Post::default());
            let over = Arc::new(AtomicBool::new(false));
            let mut cursor = memory.cursor(index);
            // SAFETY: both live until the threads have ended.
            let (lent, lent_post): (&'static Memory, &'static Post) =
                unsafe { (&*std::ptr::from_ref(&*memory), &*std::ptr::from_ref(&*post)) };
            let waiter = Waiter::new(lent, lent_post, &cursor).unwrap();
            let notifier = {
                let (memory, post, over) = (Arc::clone(&memory), Arc::clone(&post), Arc::clone(&over));
                thread::spawn(move || {
                    // The waiter has said that it waits.
                    let mut awaited = false;
                    while !over.load(Ordering::Acquire) {
                        let heard = post.go_round(&memory, &mut awaited);
                        if !over.load(Ordering::Acquire) {
                            memory.wait(heard);
                        }
                    }
                })
            };
            let writer = {
                let memory = Arc::clone(&memory);
                thread::spawn(move || {
                    for (own, death) in sends {
                        memory.send_and_die(if own { index } else { other }, b"", death);
                    }
                })
            };
            let wanted = sends.iter().filter(|(own, death)| *own && *death != Death::Before).count();
            let mut taken = 0;
            while taken < wanted {
                waiter.poll();
                taken += memory.take(&mut cursor).len();
                waiter.settle(&cursor);
            }
            writer.join().unwrap();
            over.store(true, Ordering::Release);
            memory.layout().counters.bell.add_and_wake();
            notifier.join().unwrap();
            drop(waiter);
        });
    }

    #[test]
    fn no_wake_up_is_lost() {
        the_reader_is_always_woken([(true, Death::Never), (true, Death::Never)]);
    }

    #[test]
    fn no_wake_up_is_lost_after_one_for_others() {
        the_reader_is_always_woken([(false, Death::Never), (true, Death::Never)]);
    }

    #[test]
    fn no_wake_up_is_lost_where_writers_die() {
        the_reader_is_always_woken([(true, Death::Before), (true, Death::BeforeItIsLinked)]);
    }
}
