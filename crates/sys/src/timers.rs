//! Timers: one first-in first-out list a duration, deadlines checked lazily.
//!
//! All timers of one kind have the same duration, so a list is in order of its deadlines by itself and arming costs
//! no heap operation. A timer is never disarmed: whoever owns the key looks, when the timer rings, whether its
//! deadline has moved in the meantime, and arms it again for the rest.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// First-in first-out lists of `(deadline, key)`.
#[derive(Debug)]
pub struct Timers {
    lists: Vec<VecDeque<(Instant, usize)>>,
}

impl Timers {
    /// `kinds` empty lists, numbered from 0.
    pub fn new(kinds: usize) -> Self {
        Self { lists: (0..kinds).map(|_| VecDeque::new()).collect() }
    }

    /// Rings `key` under `kind` at `deadline`. A deadline before the latest of its list waits for that one: the
    /// callers of one kind use one duration, so that this shifts a timer by what the clock stood still at most.
    pub fn arm(&mut self, kind: usize, deadline: Instant, key: usize) {
        let list = &mut self.lists[kind];
        let deadline = list.back().map_or(deadline, |last| last.0.max(deadline));
        list.push_back((deadline, key));
    }

    /// The next timer that has rung by `now`, as `(kind, key)`.
    pub fn pop(&mut self, now: Instant) -> Option<(usize, usize)> {
        for (kind, list) in self.lists.iter_mut().enumerate() {
            if let Some(&(deadline, key)) = list.front()
                && deadline <= now
            {
                list.pop_front();
                return Some((kind, key));
            }
        }
        None
    }

    /// When the next timer rings.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.lists.iter().filter_map(|list| list.front()).map(|entry| entry.0).min()
    }

    /// How long until the next timer rings: zero when it is due.
    pub fn until_next(&self, now: Instant) -> Option<Duration> {
        self.next_deadline().map(|deadline| deadline.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rings_each_timer_once_and_none_early(steps in proptest::collection::vec((0_usize..3, 0_u64..50), 1..80)) {
            let durations = [10_u64, 30, 70];
            let start = Instant::now();
            let (mut timers, mut now, mut rung) = (Timers::new(3), start, 0);
            let mut deadlines = Vec::new();
            for (kind, pause) in &steps {
                now += Duration::from_millis(*pause);
                deadlines.push(now + Duration::from_millis(durations[*kind]));
                timers.arm(*kind, deadlines[deadlines.len() - 1], deadlines.len() - 1);
                while let Some((_, key)) = timers.pop(now) {
                    prop_assert!(deadlines[key] <= now);
                    rung += 1;
                }
                prop_assert!(timers.next_deadline().is_none_or(|next| next > now));
            }
            while timers.pop(now + Duration::from_secs(1)).is_some() {
                rung += 1;
            }
            prop_assert_eq!(rung, steps.len());
        }
    }
}
