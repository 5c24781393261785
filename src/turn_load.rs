//! How long a shard's turns are, as those feel it who wait for one. PURE. Home: one shard.
//!
//! A shard that works all the time is no overload: pacing and conflation take up what exceeds its core, and turns of a
//! millisecond serve everybody. What shows overload is that turns get long, since whatever comes in waits for the turn
//! under way and is answered in the next. So a turn counts by its length: the mean over time of the turn that is under
//! way, 0 while there is none.

/// Over how long turns are gathered, and in how many such windows the mean forgets: about a second.
const WINDOW_NS: u64 = 100_000_000;
const WINDOWS: u64 = 8;
/// What one turn counts at most: a process that the host has put aside for a while is not overloaded.
const TURN_NS_MAX: u64 = 200_000_000;

#[derive(Debug, Default)]
pub struct TurnLoad {
    window_begun_ns: u64,
    /// Of the turns in this window: the sum of their lengths' squares.
    squares: u128,
    mean_ns: u64,
}

impl TurnLoad {
    /// A turn that did something took this long.
    pub fn worked(&mut self, work_ns: u64) {
        let work_ns = u128::from(work_ns.min(TURN_NS_MAX));
        self.squares += work_ns * work_ns;
    }

    /// The mean as it was last looked at.
    #[must_use]
    pub fn mean_ns(&self) -> u64 {
        self.mean_ns
    }

    /// The mean over about the last second, in nanoseconds.
    pub fn observe(&mut self, now_ns: u64) -> u64 {
        let elapsed_ns = now_ns.saturating_sub(self.window_begun_ns);
        if elapsed_ns >= WINDOW_NS {
            let window_ns = u64::try_from(self.squares / u128::from(elapsed_ns)).unwrap_or(u64::MAX);
            let window_ns = window_ns.min(TURN_NS_MAX);
            // Downwards each window that went by counts, since a shard that slept did not look.
            let windows = if window_ns < self.mean_ns { (elapsed_ns / WINDOW_NS).min(128) } else { 1 };
            for _ in 0..windows {
                self.mean_ns = ((WINDOWS - 1) * self.mean_ns + window_ns) / WINDOWS;
            }
            self.squares = 0;
            self.window_begun_ns = now_ns;
        }
        self.mean_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// The load after four seconds of turns this long, with pauses this long between them.
    fn check(turn_ns: u64, pause_ns: u64, expected_ns: std::ops::RangeInclusive<u64>) {
        let mut load = TurnLoad::default();
        let (mut now_ns, mut mean_ns) = (0, 0);
        while now_ns < 4_000 * MS {
            now_ns += turn_ns + pause_ns;
            load.worked(turn_ns);
            mean_ns = load.observe(now_ns);
        }
        assert!(expected_ns.contains(&mean_ns), "{turn_ns} and {pause_ns}: {mean_ns}");
    }

    #[test]
    fn a_saturated_shard_of_short_turns_has_little_load_and_one_of_long_turns_much() {
        check(MS, 0, MS * 9 / 10..=MS);
        check(20 * MS, 0, 18 * MS..=20 * MS);
        check(100 * MS, 0, 80 * MS..=100 * MS);
        check(20 * MS, 20 * MS, 9 * MS..=10 * MS);
        check(0, MS, 0..=0);
    }

    #[test]
    fn one_long_turn_is_no_overload_and_is_forgotten() {
        let mut load = TurnLoad::default();
        load.worked(60_000 * MS);
        assert!(load.observe(60_000 * MS) < 50 * MS);
        load.worked(5_000 * MS);
        assert!(load.observe(65_000 * MS) < 50 * MS);
        assert!(load.observe(70_000 * MS) < MS);
    }
}
