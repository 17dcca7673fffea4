//! A record in shared memory that is read whole or not at all: one writes, others read, nobody waits.
//!
//! A sequence lock: the number is odd while the record is being written, and another one afterwards. A reader that
//! finds it odd, or changed while it read, has nothing. So a writer that dies halfway leaves a record that nobody
//! believes.

use std::array;
#[cfg(not(all(test, loom)))]
use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// How often a reader tries again where the record was written meanwhile.
const ATTEMPTS: usize = if cfg!(loom) { 1 } else { 8 };

/// `WORDS` words under a sequence number. One thread at a time may write.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Sealed<const WORDS: usize> {
    number: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl<const WORDS: usize> Default for Sealed<WORDS> {
    fn default() -> Self {
        Self { number: AtomicU64::new(0), words: array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl<const WORDS: usize> Sealed<WORDS> {
    /// Replaces the first of the words by these; the others stay as they are.
    pub(super) fn write(&self, words: &[u64]) {
        // Odd also where a writer before us has died halfway.
        let odd = self.number.load(Ordering::Relaxed) | 1;
        self.number.store(odd, Ordering::Relaxed);
        // Whoever sees one of the words below sees the odd number too.
        fence(Ordering::Release);
        for (place, word) in self.words.iter().zip(words) {
            place.store(*word, Ordering::Relaxed);
        }
        self.number.store(odd.wrapping_add(1), Ordering::Release);
    }

    /// All words as one writer left them. `None`: they are being written, or a writer has died over them.
    pub(super) fn read(&self) -> Option<[u64; WORDS]> {
        for _ in 0..ATTEMPTS {
            let before = self.number.load(Ordering::Acquire);
            if before & 1 == 0 {
                let words = array::from_fn(|place| self.words[place].load(Ordering::Relaxed));
                // Whatever was read above was read before the number is looked at again.
                fence(Ordering::Acquire);
                if self.number.load(Ordering::Relaxed) == before {
                    return Some(words);
                }
            }
            std::hint::spin_loop();
        }
        None
    }
}

/// In every order that the processor may show one thread's stores to another.
#[cfg(all(test, loom))]
mod orders {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn a_reader_never_sees_a_mix() {
        loom::model(|| {
            let record = Arc::new(Sealed::<2>::default());
            let theirs = Arc::clone(&record);
            let writer = thread::spawn(move || {
                theirs.write(&[1, 1]);
                theirs.write(&[2, 2]);
            });
            if let Some([one, other]) = record.read() {
                assert_eq!(one, other);
            }
            writer.join().unwrap();
            assert_eq!(record.read(), Some([2, 2]));
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    /// As a writer leaves it that dies halfway.
    fn die_over<const WORDS: usize>(record: &Sealed<WORDS>) {
        record.number.fetch_or(1, Ordering::Relaxed);
        record.words[0].store(99, Ordering::Relaxed);
    }

    #[test]
    fn a_reader_never_sees_a_mix() {
        const ROUNDS: u64 = 200_000;
        let record = Sealed::<32>::default();
        let over = AtomicBool::new(false);
        let seen = thread::scope(|scope| {
            let read = || {
                let (mut last, mut seen) = (0, 0);
                while !over.load(Ordering::Acquire) {
                    let Some(words) = record.read() else { continue };
                    assert!(words.iter().all(|word| *word == words[0]), "{words:?}");
                    assert!(words[0] >= last, "{} after {last}", words[0]);
                    last = words[0];
                    seen += 1;
                }
                // What was written last is what everybody sees in the end.
                assert_eq!(record.read(), Some([ROUNDS; 32]));
                seen
            };
            let readers = [scope.spawn(read), scope.spawn(read)];
            for round in 1..=ROUNDS {
                record.write(&[round; 32]);
            }
            over.store(true, Ordering::Release);
            readers.map(|reader| reader.join().unwrap())
        });
        // A machine with one processor may have let them in only once the writer was done.
        println!("{seen:?} whole records read");
    }

    #[test]
    fn a_writer_that_died_halfway_leaves_nothing() {
        let record = Sealed::<4>::default();
        record.write(&[1, 2, 3, 4]);
        assert_eq!(record.read(), Some([1, 2, 3, 4]));
        die_over(&record);
        assert_eq!(record.read(), None);
        // The next writer's is whole again.
        record.write(&[5, 6, 7, 8]);
        assert_eq!(record.read(), Some([5, 6, 7, 8]));
    }

    #[test]
    fn a_number_is_never_used_twice() {
        let record = Sealed::<1>::default();
        let mut before = record.number.load(Ordering::Relaxed);
        for round in 0..10 {
            if round % 3 == 0 {
                die_over(&record);
            }
            record.write(&[round]);
            let number = record.number.load(Ordering::Relaxed);
            assert!(number > before && number % 2 == 0);
            before = number;
        }
    }
}
