//! The clocks of the load generator, in nanoseconds. Home: any thread.
//! Invariant: `mono_ns` is CLOCK_MONOTONIC, which all processes of one machine share, so a stamp made by one
//! of them may be subtracted in another.

use nix::time::{ClockId, clock_gettime};

/// One second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// One millisecond.
pub(crate) const MILLISECOND_NS: u64 = 1_000_000;

fn read_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("invariant: Linux always has this clock");
    let seconds = u64::try_from(time.tv_sec()).expect("invariant: the clock is past its origin");
    let rest_ns = u64::try_from(time.tv_nsec()).expect("invariant: nanoseconds are in 0..1e9");
    seconds * SECOND_NS + rest_ns
}

/// Time since the machine started.
pub(crate) fn mono_ns() -> u64 {
    read_ns(ClockId::CLOCK_MONOTONIC)
}

/// Time since 1970-01-01 UTC.
pub(crate) fn unix_ns() -> u64 {
    read_ns(ClockId::CLOCK_REALTIME)
}
