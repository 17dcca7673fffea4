//! How long things took: counts by fixed ranges, in shared memory.

use std::array;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the ranges, in nanoseconds: 10 µs to 60 s, about one for each doubling. What took longer than
/// the last is in one more range.
pub const BOUNDS: [u64; 21] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// How many ranges there are.
pub const RANGES: usize = BOUNDS.len() + 1;

/// Durations, counted. Any thread may write, and any process that shares the memory may read.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Histogram {
    ranges: [AtomicU64; RANGES],
    /// Nanoseconds of all together; overflows after 584 years.
    sum: AtomicU64,
}

impl Histogram {
    /// Counts a duration. Costs two atomic additions.
    pub fn observe(&self, duration: Duration) {
        let nanos = duration.as_nanos() as u64;
        let range = BOUNDS.partition_point(|bound| *bound < nanos);
        self.ranges[range].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was counted. The sum may lack, or have, what is being counted at this moment.
    pub fn counts(&self) -> Durations {
        Durations {
            ranges: array::from_fn(|range| self.ranges[range].load(Ordering::Relaxed)),
            nanos: self.sum.load(Ordering::Relaxed),
        }
    }

    pub(super) fn clear(&self) {
        for figure in self.ranges.iter().chain([&self.sum]) {
            figure.store(0, Ordering::Relaxed);
        }
    }
}

/// What a [`Histogram`] has counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Durations {
    /// How many, by range: each is above the bound before its own, and at most its own.
    pub ranges: [u64; RANGES],
    /// All of them together, in nanoseconds.
    pub nanos: u64,
}

impl Durations {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.ranges.iter().sum()
    }
}

impl AddAssign for Durations {
    fn add_assign(&mut self, other: Self) {
        for (own, more) in self.ranges.iter_mut().zip(other.ranges) {
            *own += more;
        }
        self.nanos = self.nanos.wrapping_add(other.nanos);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_rise() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_bound_is_in_its_own_range() {
        let histogram = Histogram::default();
        for bound in BOUNDS {
            histogram.observe(Duration::from_nanos(bound));
        }
        histogram.observe(Duration::from_secs(61));
        histogram.observe(Duration::ZERO);
        let mut expected = [1; RANGES];
        expected[0] = 2;
        assert_eq!(histogram.counts().ranges, expected);
        histogram.clear();
        assert_eq!(histogram.counts(), Durations::default());
    }

    proptest! {
        #[test]
        fn everything_is_counted_once(nanos in prop::collection::vec(0..200_000_000_000_u64, 0..100)) {
            let histogram = Histogram::default();
            for duration in &nanos {
                histogram.observe(Duration::from_nanos(*duration));
            }
            let counts = histogram.counts();
            prop_assert_eq!(counts.count(), nanos.len() as u64);
            prop_assert_eq!(counts.nanos, nanos.iter().sum::<u64>());
            let mut at_most = 0;
            for (bound, count) in BOUNDS.iter().zip(counts.ranges) {
                at_most += count;
                prop_assert_eq!(at_most, nanos.iter().filter(|duration| *duration <= bound).count() as u64);
            }
        }
    }
}
