//! The only file that reads a clock.
//!
//! Home: every thread has its own; nothing is shared but the origin of `mono_ns`.
//! `mono_ns` is CLOCK_MONOTONIC (through `Instant`, a vDSO call) since the process first asked. `unix_ns` is
//! `mono_ns` plus the offset of the wall clock, measured again at most once a second. Linux steers both clocks
//! with one frequency, so that the offset is a constant except where the wall clock is *stepped*:
//!
//! - forwards: followed within a second;
//! - backwards by at most `STEP_BACK_HELD_NS_MAX`: `unix_ns` stands still until the wall clock has caught up;
//! - backwards by more: somebody set the clock right. Followed within a second, so `unix_ns` goes back once, and
//!   `wall_steps_back` counts it. Nothing is ordered by `unix_ns`: topics by `(epoch, seq)`, deadlines by `mono_ns`.
//!
//! Threads measure at different moments, so that for up to a second after a step two of them may disagree by it.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::Now;

/// How old a measured offset may grow. A second bounds how long a stepped wall clock goes unnoticed; the
/// measurement is three vDSO calls.
const OFFSET_AGE_NS_MAX: u64 = 1_000_000_000;
/// A step back that is ridden out by standing still: a leap second, or a time daemon that corrects at start.
const STEP_BACK_HELD_NS_MAX: u64 = 1_000_000_000;
/// A measurement between whose two monotonic reads more time went by was preempted, and is taken again.
const SPREAD_NS_MAX: u64 = 20_000;
/// A busy machine may preempt every attempt; the last one is then taken, and its spread widens what it tolerates.
const ATTEMPTS_MAX: u32 = 4;
/// Differences below this are the measurement's own noise, not a step.
const NOISE_NS: u64 = 2_000;

/// Both clocks, now. One vDSO call, and once a second three more.
#[expect(clippy::disallowed_methods, reason = "the one place that reads a clock")]
pub fn now() -> Now {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    thread_local!(static WALL: Cell<Wall> = const { Cell::new(Wall::UNKNOWN) });

    let origin = *ORIGIN.get_or_init(Instant::now);
    let mono_ns = nanoseconds(origin.elapsed());
    WALL.with(|cell| {
        let mut wall = cell.get();
        if mono_ns >= wall.measure_at_ns {
            wall.follow(measure(origin));
            cell.set(wall);
        }
        Now { mono_ns, unix_ns: wall.unix_ns(mono_ns) }
    })
}

/// CLOCK_MONOTONIC itself in microseconds, for who compares it with another process's: a service manager.
#[must_use]
pub fn system_monotonic_us() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .expect("invariant: the kernel has this clock");
    u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1000
}

/// The wall clock beside the monotonic one; of several attempts the first that was not preempted.
#[expect(clippy::disallowed_methods, reason = "the one place that reads a clock")]
fn measure(origin: Instant) -> Measurement {
    let mut attempts = 0;
    loop {
        let before_ns = nanoseconds(origin.elapsed());
        // Before 1970 there is no market: a wall clock set there reads as its first nanosecond.
        let unix_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanoseconds);
        let spread_ns = nanoseconds(origin.elapsed()) - before_ns;
        attempts += 1;
        if spread_ns <= SPREAD_NS_MAX || attempts == ATTEMPTS_MAX {
            return Measurement { mono_ns: before_ns + spread_ns / 2, unix_ns, spread_ns };
        }
    }
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos())
        .expect("invariant: 584 years fit, and the kernel counts 292 of them in its own nanoseconds")
}

#[derive(Clone, Copy)]
struct Measurement {
    mono_ns: u64,
    unix_ns: u64,
    spread_ns: u64,
}

/// One thread's idea of the wall clock: a line beside `mono_ns`, and a floor under it.
#[derive(Clone, Copy)]
struct Wall {
    /// `unix_ns - mono_ns`. The origin lies after 1970, so it is not negative.
    offset_ns: u64,
    /// `unix_ns` stands here until the line has come up to it.
    floor_ns: u64,
    measure_at_ns: u64,
}

impl Wall {
    const UNKNOWN: Wall = Wall { offset_ns: 0, floor_ns: 0, measure_at_ns: 0 };

    fn unix_ns(&self, mono_ns: u64) -> u64 {
        (mono_ns + self.offset_ns).max(self.floor_ns)
    }

    fn follow(&mut self, measured: Measurement) {
        let shown_ns = self.unix_ns(measured.mono_ns);
        let known = self.measure_at_ns != 0;
        self.measure_at_ns = measured.mono_ns + OFFSET_AGE_NS_MAX;
        let offset_ns = measured.unix_ns.saturating_sub(measured.mono_ns);
        if known && offset_ns.abs_diff(self.offset_ns) <= NOISE_NS + measured.spread_ns {
            return;
        }
        let back_ns = self.offset_ns.saturating_sub(offset_ns);
        self.offset_ns = offset_ns;
        if known && back_ns > STEP_BACK_HELD_NS_MAX {
            self.floor_ns = 0;
            STEPS_BACK.with(|steps| steps.set(steps.get() + 1));
        } else {
            self.floor_ns = shown_ns;
        }
    }
}

thread_local!(static STEPS_BACK: Cell<u64> = const { Cell::new(0) });

/// How often this thread's `unix_ns` went back with a wall clock that was set back by more than a second.
pub fn wall_steps_back() -> u64 {
    STEPS_BACK.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_700_000_000 * SECOND;

    /// A wall measured at second 1, then measured again at second 2 with the wall clock `stepped_ns` off the line.
    fn stepped(stepped_ns: i64) -> Wall {
        let mut wall = Wall::UNKNOWN;
        wall.follow(Measurement { mono_ns: SECOND, unix_ns: START + SECOND, spread_ns: 40 });
        let unix_ns = (START + 2 * SECOND).checked_add_signed(stepped_ns).unwrap();
        wall.follow(Measurement { mono_ns: 2 * SECOND, unix_ns, spread_ns: 40 });
        wall
    }

    #[test]
    fn runs_beside_the_monotonic_clock() {
        assert_eq!(stepped(0).unix_ns(2 * SECOND + 7), START + 2 * SECOND + 7);
    }

    #[test]
    fn takes_noise_for_noise() {
        assert_eq!(stepped(1_500).unix_ns(3 * SECOND), START + 3 * SECOND);
        assert_eq!(stepped(-1_500).unix_ns(3 * SECOND), START + 3 * SECOND);
    }

    #[test]
    fn follows_a_step_forwards_at_once() {
        assert_eq!(stepped(3600 * 1_000_000_000).unix_ns(2 * SECOND), START + 3602 * SECOND);
    }

    #[test]
    fn stands_still_while_a_small_step_back_is_caught_up() {
        let wall = stepped(-500_000_000);
        assert_eq!(wall.unix_ns(2 * SECOND), START + 2 * SECOND);
        assert_eq!(wall.unix_ns(2 * SECOND + 400_000_000), START + 2 * SECOND);
        assert_eq!(wall.unix_ns(2 * SECOND + 600_000_000), START + 2 * SECOND + 100_000_000);
    }

    #[test]
    fn follows_a_large_step_back_and_counts_it() {
        let before = wall_steps_back();
        assert_eq!(stepped(-7200 * 1_000_000_000).unix_ns(2 * SECOND), START - 7198 * SECOND);
        assert_eq!(wall_steps_back(), before + 1);
    }

    #[test]
    fn reads_both_clocks_and_neither_goes_back() {
        let mut last = now();
        assert!(last.unix_ns > START, "the machine's clock is set");
        for _ in 0..10_000 {
            let next = now();
            assert!(next.mono_ns >= last.mono_ns && next.unix_ns >= last.unix_ns);
            last = next;
        }
    }
}
