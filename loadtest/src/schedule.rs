//! An open-loop schedule: when each message ought to leave, whatever the server does. PURE.
//! Invariant: every intended time is handed out exactly once and in order; a late caller gets all that is due,
//! none is omitted, so the wait of a late message counts as latency (coordinated omission).

use crate::clock::SECOND_NS;

/// A constant rate for a bounded time.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    start_ns: u64,
    rate_per_s: u64,
    count: u64,
    next: u64,
}

impl Schedule {
    /// `rate_per_s` messages a second, evenly spaced from `start_ns` on, for `duration_ns`. The rate is at least 1.
    pub(crate) fn new(start_ns: u64, rate_per_s: u64, duration_ns: u64) -> Schedule {
        assert!(rate_per_s > 0, "a schedule needs a rate");
        let count = u128::from(rate_per_s) * u128::from(duration_ns) / u128::from(SECOND_NS);
        let count = u64::try_from(count).expect("invariant: runs last seconds, not centuries");
        Schedule { start_ns, rate_per_s, count, next: 0 }
    }

    /// When message `index` ought to leave. Computed from the start, so rounding never adds up.
    pub(crate) fn intended_ns(&self, index: u64) -> u64 {
        let offset_ns = u128::from(index) * u128::from(SECOND_NS) / u128::from(self.rate_per_s);
        self.start_ns + u64::try_from(offset_ns).expect("invariant: runs last seconds, not centuries")
    }

    /// The next message that is due at `now_ns`: its index and intended time. Call until `None`.
    pub(crate) fn poll_due(&mut self, now_ns: u64) -> Option<(u64, u64)> {
        if self.is_done() {
            return None;
        }
        let intended_ns = self.intended_ns(self.next);
        if now_ns < intended_ns {
            return None;
        }
        self.next += 1;
        Some((self.next - 1, intended_ns))
    }

    /// Whether every message has been handed out.
    pub(crate) fn is_done(&self) -> bool {
        self.count <= self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_nothing_before_the_intended_time() {
        let mut schedule = Schedule::new(1_000, 10, SECOND_NS);
        assert_eq!(schedule.poll_due(999), None);
        assert_eq!(schedule.poll_due(1_000), Some((0, 1_000)));
        assert_eq!(schedule.poll_due(1_000), None);
    }

    #[test]
    fn a_late_caller_gets_all_that_is_due_with_its_intended_time() {
        let mut schedule = Schedule::new(0, 10, SECOND_NS);
        let due: Vec<u64> = std::iter::from_fn(|| schedule.poll_due(350_000_000)).map(|(_, at)| at).collect();
        assert_eq!(due, [0, 100_000_000, 200_000_000, 300_000_000]);
    }

    #[test]
    fn a_rate_that_does_not_divide_the_second_does_not_drift() {
        let schedule = Schedule::new(0, 3, 1_000 * SECOND_NS);
        assert_eq!(schedule.intended_ns(3), SECOND_NS);
        assert_eq!(schedule.intended_ns(2_997), 999 * SECOND_NS);
    }

    #[test]
    fn ends_after_rate_times_duration() {
        let mut schedule = Schedule::new(0, 7, 2 * SECOND_NS);
        assert_eq!(std::iter::from_fn(|| schedule.poll_due(u64::MAX)).count(), 14);
        assert!(schedule.is_done());
    }
}
