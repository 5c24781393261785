//! How long to wait between attempts that fail. PURE. Home: whoever tries again: links, breakers, processes.
//!
//! Invariant: a wait is between half and the whole of a span that doubles with each failure in a row, up to its longest: many that
//! fail at one moment do not all come back at one moment.

/// How long waits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffConfig {
    /// The span after the first failure, in nanoseconds.
    pub first_ns: u64,
    /// The longest span, in nanoseconds.
    pub longest_ns: u64,
}

/// See the file's head.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    config: BackoffConfig,
    failures: u32,
}

impl Backoff {
    #[must_use]
    pub const fn new(config: BackoffConfig) -> Backoff {
        Backoff { config, failures: 0 }
    }

    /// Counts a failure; how long to wait after it, in nanoseconds. `chance` is any number, each time another.
    pub fn fail(&mut self, chance: u64) -> u64 {
        let BackoffConfig { first_ns, longest_ns } = self.config;
        let doubled_ns = first_ns.checked_shl(self.failures).filter(|ns| ns >> self.failures == first_ns);
        let span_ns = doubled_ns.map_or(longest_ns, |ns| ns.min(longest_ns));
        self.failures = self.failures.saturating_add(1);
        span_ns - chance % (span_ns / 2 + 1)
    }

    /// What failed before counts no more.
    pub fn succeed(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Goes by these spans from the next failure on.
    pub fn set_config(&mut self, config: BackoffConfig) {
        self.config = config;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BackoffConfig = BackoffConfig { first_ns: 100, longest_ns: 500 };

    #[test]
    fn spans_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(CONFIG);
        let spans: Vec<u64> = (0..5).map(|_| backoff.fail(0)).collect();
        assert_eq!((spans, backoff.failures()), (vec![100, 200, 400, 500, 500], 5));
        backoff.succeed();
        assert_eq!((backoff.fail(0), backoff.failures()), (100, 1));
    }

    #[test]
    fn a_wait_is_between_half_and_the_whole_of_its_span_whatever_the_chance() {
        for chance in [0, 1, 49, 50, 51, 1_000_000_007, u64::MAX] {
            let wait_ns = Backoff::new(CONFIG).fail(chance);
            assert!((50..=100).contains(&wait_ns), "{wait_ns}");
        }
        assert_eq!(Backoff::new(CONFIG).fail(50), 50);
    }

    #[test]
    fn a_thousand_failures_are_no_overflow() {
        let mut backoff = Backoff::new(BackoffConfig { first_ns: 3, longest_ns: u64::MAX });
        let waits: Vec<u64> = (0..1000).map(|_| backoff.fail(0)).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits[999], u64::MAX);
    }
}
