//! When data is flushed. PURE. Home: one shard.
//!
//! An idle shard sends at once. Near saturation a flush waits until some time after the last one, so that more
//! messages share a send: a send costs several microseconds however little it carries. What counts is not the load as
//! it is but as it would be if each message had a send of its own, since a pace that set itself by what it achieves
//! would undo itself. Replies and control frames are never paced.

/// Load without sharing, in thousandths of a core, below which there is no pace.
const LOAD_PACED_FROM: u64 = 500;
/// Load without sharing at which the wait is at its longest: twice what a core can do. In between it grows evenly, so
/// that a shard that could nearly do without sharing waits little.
const LOAD_PACED_FULLY: u64 = 2000;
/// Over how long the load is measured.
const WINDOW_NS: u64 = 4_000_000;

/// Running totals of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages put into queues, one per subscriber.
    pub deliveries: u64,
    /// Sends handed to the kernel.
    pub sends: u64,
}

#[derive(Debug)]
pub struct Pace {
    wait_ns_max: u64,
    wait_ns: u64,
    flushed_ns: u64,
    window_begun_ns: u64,
    window_totals: Totals,
    worked_ns: u64,
    /// Without sharing, smoothed, in thousandths.
    load: u64,
}

impl Pace {
    /// `wait_ns_max` is the longest wait between two flushes; 0 never paces.
    #[must_use]
    pub fn new(wait_ns_max: u64) -> Pace {
        Pace {
            wait_ns_max,
            wait_ns: 0,
            flushed_ns: 0,
            window_begun_ns: 0,
            window_totals: Totals::default(),
            worked_ns: 0,
            load: 0,
        }
    }

    /// Waits at most so long from the next look at the load on; 0 never paces.
    pub fn set_wait_max(&mut self, wait_ns_max: u64) {
        self.wait_ns_max = wait_ns_max;
        self.wait_ns = self.wait_ns.min(wait_ns_max);
    }

    /// A turn that did something took this long, the kernel's part of it included.
    pub fn worked(&mut self, work_ns: u64) {
        self.worked_ns += work_ns;
    }

    /// Whether data may be flushed now.
    #[must_use]
    pub fn may_flush(&self, now_ns: u64) -> bool {
        now_ns >= self.due_ns()
    }

    /// When data may be flushed next.
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        self.flushed_ns + self.wait_ns
    }

    /// Data was flushed.
    pub fn flushed(&mut self, now_ns: u64) {
        self.flushed_ns = now_ns;
    }

    /// To be called each turn: measures the load and sets the wait.
    pub fn observe(&mut self, now_ns: u64, totals: Totals) {
        let elapsed_ns = now_ns.saturating_sub(self.window_begun_ns);
        if elapsed_ns < WINDOW_NS {
            return;
        }
        let sends = (totals.sends - self.window_totals.sends).max(1);
        let deliveries = (totals.deliveries - self.window_totals.deliveries).max(sends);
        let worked = (self.worked_ns * 1000 / elapsed_ns).min(1000);
        let load = (worked * deliveries / sends).min(2 * LOAD_PACED_FULLY);
        // A quarter of the way at each window: a single long turn does not set the pace. Downwards each window that went
        // by counts, since a shard that slept did not look.
        let windows = if load < self.load { (elapsed_ns / WINDOW_NS).min(32) } else { 1 };
        for _ in 0..windows {
            self.load = (3 * self.load + load) / 4;
        }
        self.worked_ns = 0;
        self.window_begun_ns = now_ns;
        self.window_totals = totals;
        let above = self.load.saturating_sub(LOAD_PACED_FROM).min(LOAD_PACED_FULLY - LOAD_PACED_FROM);
        self.wait_ns = self.wait_ns_max * above / (LOAD_PACED_FULLY - LOAD_PACED_FROM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wait after a second in which this share of the time was work and so many deliveries shared a send.
    fn wait_after(worked_permille: u64, deliveries_per_send: u64) -> u64 {
        let mut pace = Pace::new(2_000_000);
        let mut totals = Totals::default();
        for turn in 1..=10_000 {
            pace.worked(100 * worked_permille);
            totals.sends += 10;
            totals.deliveries += 10 * deliveries_per_send;
            pace.observe(turn * 100_000, totals);
        }
        pace.wait_ns
    }

    #[test]
    fn an_idle_shard_sends_at_once_and_a_saturated_one_waits_the_more_it_would_gain() {
        assert_eq!(wait_after(0, 1), 0);
        assert_eq!(wait_after(500, 1), 0);
        let half = wait_after(1000, 1);
        assert!((600_000..=700_000).contains(&half), "{half}");
        assert_eq!(wait_after(1000, 3), 2_000_000);
    }

    #[test]
    fn a_pace_that_has_brought_the_load_down_is_kept() {
        assert_eq!(wait_after(300, 10), 2_000_000);
        assert_eq!(wait_after(40, 10), 0);
    }

    #[test]
    fn another_longest_wait_holds_for_the_wait_under_way() {
        let mut pace = Pace::new(2_000_000);
        pace.wait_ns = 2_000_000;
        pace.set_wait_max(500_000);
        assert_eq!(pace.due_ns(), 500_000);
        pace.set_wait_max(0);
        assert!(pace.may_flush(0));
    }

    #[test]
    fn replies_do_not_count_as_shared_sends() {
        assert_eq!(wait_after(1000, 0), wait_after(1000, 1));
    }

    #[test]
    fn a_sleep_ends_the_pace() {
        let mut pace = Pace::new(2_000_000);
        (pace.load, pace.wait_ns) = (4_000, 2_000_000);
        pace.observe(1_000_000_000, Totals::default());
        assert_eq!(pace.wait_ns, 0);
    }

    #[test]
    fn a_flush_opens_the_wait_anew() {
        let mut pace = Pace::new(2_000_000);
        pace.wait_ns = 1_000;
        pace.flushed(5_000);
        assert!(!pace.may_flush(5_999));
        assert!(pace.may_flush(6_000));
    }
}
