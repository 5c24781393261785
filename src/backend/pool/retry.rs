//! Whether a call that failed is tried again. PURE. Home: whoever carries the backend's calls.
//!
//! Invariants: what may have been done is tried again only where its method is declared idempotent; retries are a share of the calls
//! and a small reserve, so that a backend that fails every call is not asked twice as much; what was sent is never told of as not sent.

use crate::limits;
use crate::model::call::CallFailure;

/// How much is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Further attempts of one call; 0: none.
    pub attempts_max: u32,
    /// Retries for 100 calls, beyond a reserve of `limits::RETRIES_IN_RESERVE`; 0 to 100.
    pub percent_max: u32,
}

/// What the calls of one backend have left for retries.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    config: RetryConfig,
    /// In hundredths of a retry.
    left: u32,
    retried_total: u64,
    denied_total: u64,
}

/// A retry in hundredths.
const WHOLE: u32 = 100;
const RESERVE: u32 = WHOLE * limits::RETRIES_IN_RESERVE;

impl RetryBudget {
    #[must_use]
    pub const fn new(config: RetryConfig) -> RetryBudget {
        RetryBudget { config, left: RESERVE, retried_total: 0, denied_total: 0 }
    }

    pub fn set_config(&mut self, config: RetryConfig) {
        self.config = config;
    }

    /// A call begins, which gives its share to the budget.
    pub fn begin(&mut self) {
        self.left = RESERVE.min(self.left.saturating_add(self.config.percent_max));
    }

    /// Whether a call that failed so, and was tried again `retries` times before, is tried once more; if so that is paid.
    pub fn take(&mut self, failure: CallFailure, is_idempotent: bool, retries: u32) -> bool {
        if retries >= self.config.attempts_max || !helps(failure, is_idempotent) {
            return false;
        }
        let Some(left) = self.left.checked_sub(WHOLE) else {
            self.denied_total += 1;
            return false;
        };
        self.left = left;
        self.retried_total += 1;
        true
    }

    #[must_use]
    pub const fn retried_total(&self) -> u64 {
        self.retried_total
    }

    /// Retries that the budget did not have.
    #[must_use]
    pub const fn denied_total(&self) -> u64 {
        self.denied_total
    }
}

/// What is told of a call whose last attempt failed so, where one before it may have been done: not that it was not sent.
#[must_use]
pub const fn told_of(failure: CallFailure, was_sent: bool) -> CallFailure {
    if was_sent && !is_sent(failure) { CallFailure::Lost } else { failure }
}

/// Whether an attempt that failed so may have been done.
#[must_use]
pub const fn is_sent(failure: CallFailure) -> bool {
    match failure {
        CallFailure::Unavailable | CallFailure::Busy => false,
        CallFailure::TimedOut | CallFailure::Lost | CallFailure::Garbled | CallFailure::TooLong => true,
    }
}

/// Whether another attempt may do better, and does no harm.
const fn helps(failure: CallFailure, is_idempotent: bool) -> bool {
    match failure {
        // Nothing was sent.
        CallFailure::Unavailable => true,
        CallFailure::Lost | CallFailure::Garbled => is_idempotent,
        // More of the same would only make it busier; no time is left; the next answer is as long.
        CallFailure::Busy | CallFailure::TimedOut | CallFailure::TooLong => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURES: [CallFailure; 6] = [
        CallFailure::Unavailable,
        CallFailure::Busy,
        CallFailure::TimedOut,
        CallFailure::Lost,
        CallFailure::Garbled,
        CallFailure::TooLong,
    ];

    #[test]
    fn what_may_have_been_done_is_tried_again_only_if_it_is_idempotent() {
        let mut budget = RetryBudget::new(RetryConfig { attempts_max: 1, percent_max: 100 });
        let mut tried = |is_idempotent| FAILURES.map(|failure| budget.take(failure, is_idempotent, 0));
        assert_eq!(tried(false), [true, false, false, false, false, false]);
        assert_eq!(tried(true), [true, false, false, true, true, false]);
    }

    #[test]
    fn what_an_attempt_before_may_have_done_was_sent() {
        assert_eq!(FAILURES.map(|failure| told_of(failure, false)), FAILURES);
        let told = FAILURES.map(|failure| told_of(failure, true));
        let [_, _, sent @ ..] = FAILURES;
        assert_eq!((told[0], told[1], told[2..] == sent), (CallFailure::Lost, CallFailure::Lost, true));
    }

    #[test]
    fn a_call_is_tried_again_so_often_at_most() {
        let mut budget = RetryBudget::new(RetryConfig { attempts_max: 2, percent_max: 100 });
        let tried = [0, 1, 2, 3].map(|retries| budget.take(CallFailure::Unavailable, false, retries));
        assert_eq!(tried, [true, true, false, false]);
        let mut none = RetryBudget::new(RetryConfig { attempts_max: 0, percent_max: 100 });
        assert!(!none.take(CallFailure::Unavailable, true, 0));
    }

    #[test]
    fn retries_are_a_share_of_the_calls_beyond_the_reserve() {
        let mut budget = RetryBudget::new(RetryConfig { attempts_max: 1, percent_max: 20 });
        let calls = 1000;
        let retried = (0..calls).filter(|_| {
            budget.begin();
            budget.take(CallFailure::Lost, true, 0)
        });
        let expected = calls * 20 / 100 + limits::RETRIES_IN_RESERVE - 1;
        assert_eq!(retried.count(), expected as usize);
        assert_eq!(budget.retried_total() + budget.denied_total(), u64::from(calls));
    }
}
