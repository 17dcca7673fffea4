//! Cheap readings of the time.

use rustix::time::{ClockId, clock_gettime};

/// Seconds since 1970, a few milliseconds behind at most (`CLOCK_REALTIME_COARSE`, `clock_gettime(2)`): costs no system
/// call.
pub fn unix_seconds() -> i64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec
}

/// A number that differs from process to process, forked ones too: where request ids begin.
pub fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) == Ok(8) {
        return u64::from_ne_bytes(bytes);
    }
    // Before Linux 3.17, or early at boot: the time and the process are enough for an id.
    let now = clock_gettime(ClockId::Realtime);
    (now.tv_sec as u64) << 32 ^ (now.tv_nsec as u64) << 16 ^ u64::from(std::process::id())
}
