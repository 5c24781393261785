//! When data is flushed. PURE. Home: one shard.
//!
//! An idle shard sends at once. Near saturation a flush waits until some time after the last one, so that more
//! messages share a send: a send costs several microseconds however little it carries. The wait grows with the share
//! of time that the shard works and shrinks as soon as the sharing has brought that share down, so it settles where
//! the work just fits. Replies and control frames are never paced.

/// Share of its time that a shard works, in thousandths, below which it does not pace.
const LOAD_PACED_FROM: u64 = 500;
/// Share at which the wait is at its maximum.
const LOAD_PACED_FULLY: u64 = 800;
/// Over how long the share is measured.
const WINDOW_NS: u64 = 2_000_000;

#[derive(Debug)]
pub struct Pace {
    wait_ns_max: u64,
    wait_ns: u64,
    flushed_ns: u64,
    window_begun_ns: u64,
    worked_ns: u64,
    /// Smoothed, in thousandths.
    load: u64,
}

impl Pace {
    /// `wait_ns_max` is the longest wait between two flushes; 0 never paces.
    #[must_use]
    pub fn new(wait_ns_max: u64) -> Pace {
        Pace { wait_ns_max, wait_ns: 0, flushed_ns: 0, window_begun_ns: 0, worked_ns: 0, load: 0 }
    }

    /// A turn that did something took this long and ended now.
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
    pub fn observe(&mut self, now_ns: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.window_begun_ns);
        if elapsed_ns < WINDOW_NS {
            return;
        }
        let load = (self.worked_ns * 1000 / elapsed_ns).min(1000);
        // A quarter of the way at each window: a single long turn does not set the pace.
        self.load = (3 * self.load + load) / 4;
        self.worked_ns = 0;
        self.window_begun_ns = now_ns;
        let above = self.load.saturating_sub(LOAD_PACED_FROM).min(LOAD_PACED_FULLY - LOAD_PACED_FROM);
        self.wait_ns = self.wait_ns_max * above / (LOAD_PACED_FULLY - LOAD_PACED_FROM);
    }

    /// The share of its time that the shard worked lately, in thousandths.
    #[must_use]
    pub fn load_permille(&self) -> u64 {
        self.load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wait after a second in which this share of the time was work.
    fn wait_after(load_permille: u64) -> u64 {
        let mut pace = Pace::new(2_000_000);
        for turn in 1..=10_000 {
            pace.worked(100 * load_permille);
            pace.observe(turn * 100_000);
        }
        pace.wait_ns
    }

    #[test]
    fn an_idle_shard_sends_at_once_and_a_saturated_one_waits_fully() {
        assert_eq!(wait_after(0), 0);
        assert_eq!(wait_after(500), 0);
        assert_eq!(wait_after(1000), 2_000_000);
        let half = wait_after(650);
        assert!((900_000..=1_100_000).contains(&half), "{half}");
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
