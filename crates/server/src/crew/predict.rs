//! Which routes block: small saturating counters, as a processor predicts branches.

use std::time::Duration;

/// Below this a request is quick, and nothing is asked of the thread's clock.
pub(crate) const QUICK: Duration = Duration::from_micros(200);

/// Counters by route. A route that was seen blocking twice is expected to block again.
#[derive(Debug)]
pub(crate) struct Predictor {
    counters: [u8; 256],
}

impl Predictor {
    pub(crate) fn new() -> Self {
        Self { counters: [0; 256] }
    }

    pub(crate) fn expects_block(&self, route: u8) -> bool {
        self.counters[route as usize] >= 2
    }

    pub(crate) fn learn(&mut self, route: u8, blocked: bool) {
        let counter = &mut self.counters[route as usize];
        *counter = if blocked { (*counter + 1).min(3) } else { counter.saturating_sub(1) };
    }
}

/// Whether a request that took `wall`, of which its thread computed `cpu`, was blocked for the larger part.
pub(crate) fn was_blocked(wall: Duration, cpu: Duration) -> bool {
    wall > QUICK && cpu < wall / 2
}

/// The counter of a request: by method and the first two segments of its path (FNV-1a).
pub(crate) fn route(method: &[u8], path: &[u8]) -> u8 {
    let segments = path.split_inclusive(|byte| *byte == b'/').take(3).flatten();
    let mut hash: u32 = 0x811c_9dc5;
    for byte in method.iter().chain(segments).take(48) {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    (hash ^ (hash >> 8) ^ (hash >> 16) ^ (hash >> 24)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_expected_to_block_after_two_times_and_forgiven_after_two_quick_ones() {
        let mut predictor = Predictor::new();
        let route = route(b"GET", b"/slow");
        predictor.learn(route, true);
        assert!(!predictor.expects_block(route));
        predictor.learn(route, true);
        assert!(predictor.expects_block(route));
        predictor.learn(route, false);
        assert!(!predictor.expects_block(route));
    }

    #[test]
    fn a_route_is_the_method_and_two_segments() {
        assert_eq!(route(b"GET", b"/items/all/1"), route(b"GET", b"/items/all/2"));
        assert_ne!(route(b"GET", b"/items/1"), route(b"POST", b"/items/1"));
    }

    #[test]
    fn computing_is_not_blocking() {
        assert!(!was_blocked(Duration::from_millis(50), Duration::from_millis(49)));
        assert!(was_blocked(Duration::from_millis(50), Duration::from_millis(1)));
        assert!(!was_blocked(Duration::from_micros(150), Duration::ZERO));
    }
}
