//! What fuzzing needs: numbers, a clock, mutations, and a way to repeat a failure.

use std::env;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

/// splitmix64: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to `end`, which it does not reach; 0 for 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Runs `check` with one seed after another for the time that is set. A failure names the seed that repeats it.
pub fn run(file: &str, target: &str, check: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let first = number("STDSERVE_FUZZ_SEED");
    let seconds = number("STDSERVE_FUZZ_SECONDS").unwrap_or(3);
    let until = Instant::now() + Duration::from_secs(seconds);
    // A long run explores seeds of its own; the short one is the same every time, as far as it comes.
    let start = first.unwrap_or(if seconds > 3 { u64::from(std::process::id()) << 32 } else { 0 });
    for seed in start.. {
        assert!(
            catch_unwind(|| check(seed)).is_ok(),
            "{target}: repeat with STDSERVE_FUZZ_SEED={seed} cargo test -p stdserve-proto --test {file} {target}"
        );
        if first.is_some() || Instant::now() >= until {
            println!("{target}: {} inputs from seed {start}", seed - start + 1);
            return;
        }
    }
}

/// Spoils `raw` a little: bits, bytes, pieces of other inputs, `words` that mean something to a parser.
pub fn mutate(raw: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&[u8]], random: &mut Random) {
    for _ in 0..random.below(6) {
        let at = random.below(raw.len() + 1);
        match random.below(8) {
            0 if at < raw.len() => raw[at] ^= 1 << random.below(8),
            1 if at < raw.len() => raw[at] = random.next() as u8,
            2 => raw.truncate(at),
            3 => drop(raw.drain(at..(at + 1 + random.below(8)).min(raw.len()).max(at))),
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                raw.truncate(at);
                raw.extend_from_slice(&other[from..]);
            }
            5 => {
                let to = (at + random.below(40)).min(raw.len());
                let copy = raw[at..to].to_vec();
                let into = random.below(raw.len() + 1);
                raw.splice(into..into, copy);
            }
            _ => drop(raw.splice(at..at, random.pick(words).iter().copied())),
        }
    }
}

/// Rising places to cut an input at, which end at `length`.
pub fn cuts(length: usize, random: &mut Random) -> Vec<usize> {
    if random.one_in(4) {
        return (1..=length).collect();
    }
    let mut cuts: Vec<_> = (0..random.below(6)).map(|_| random.below(length + 1)).collect();
    cuts.push(length);
    cuts.sort_unstable();
    cuts
}

/// Shows the input of a failure, which the panic of a rule need not do.
pub fn show_on_panic(raw: &[u8], check: impl FnOnce()) {
    struct Shown<'a>(&'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("input: \"{}\"", self.0.escape_ascii());
            }
        }
    }
    let _shown = Shown(raw);
    check();
}
