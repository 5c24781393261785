//! Connecting to a venue, again and again: which address next, and when. PURE. Home: the venue's thread.
//!
//! Invariants: one attempt at a time; a wait between two, doubled with each failure in a row up to
//! `limits::LINK_RETRY_DELAYS_MAX` times the first; after `max_retries` of them in a row, none any more.

use std::net::SocketAddr;

use crate::limits;
use crate::model::time::Now;

const NS_PER_MS: u64 = 1_000_000;

/// How a venue is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachConfig {
    /// At least one.
    pub addresses: Vec<SocketAddr>,
    /// The first to try.
    pub first: usize,
    /// Attempts in a row; 0 has no end.
    pub max_retries: u32,
    pub retry_delay_ms: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { until_ns: u64 },
    Connecting,
    Connected,
    GivenUp,
}

/// See the file's head.
#[derive(Debug)]
pub struct Reach {
    config: ReachConfig,
    state: State,
    /// Counts attempts, by which addresses take turns.
    attempt: usize,
    /// In a row.
    failures: u32,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Connect(SocketAddr),
    Nothing,
}

impl Reach {
    /// # Panics
    /// Without an address: our own bug.
    #[must_use]
    pub fn new(config: ReachConfig, now: Now) -> Reach {
        assert!(!config.addresses.is_empty(), "invariant: who connects has an address");
        let attempt = config.first;
        Reach { config, state: State::Waiting { until_ns: now.mono_ns }, attempt, failures: 0 }
    }

    /// What is due; an attempt counts as under way from here on.
    pub fn poll(&mut self, now: Now) -> Step {
        match self.state {
            State::Waiting { until_ns } if until_ns <= now.mono_ns => {
                self.state = State::Connecting;
                Step::Connect(self.address())
            }
            State::Waiting { .. } | State::Connecting | State::Connected | State::GivenUp => Step::Nothing,
        }
    }

    /// Where the attempt that is under way, or the next one, leads.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.config.addresses[self.attempt % self.config.addresses.len()]
    }

    pub fn handle_connected(&mut self) {
        self.state = State::Connected;
    }

    /// The venue has welcomed us: failures before count no more.
    pub fn handle_up(&mut self) {
        self.failures = 0;
    }

    /// There was no connection, or it is over. A link that was up is tried at the same address first.
    pub fn handle_over(&mut self, now: Now) {
        if self.failures > 0 || self.state == State::Connecting {
            self.attempt = self.attempt.wrapping_add(1);
        }
        self.failures = self.failures.saturating_add(1);
        if self.config.max_retries != 0 && self.failures > self.config.max_retries {
            self.state = State::GivenUp;
            return;
        }
        let doublings = (self.failures - 1).min(limits::LINK_RETRY_DELAYS_MAX.ilog2());
        let wait_ns = (u64::from(self.config.retry_delay_ms) * NS_PER_MS) << doublings;
        self.state = State::Waiting { until_ns: now.mono_ns + wait_ns };
    }

    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.state == State::GivenUp
    }

    /// When [`Reach::poll`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        match self.state {
            State::Waiting { until_ns } => Some(until_ns),
            State::Connecting | State::Connected | State::GivenUp => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono_ns: ms * NS_PER_MS, unix_ns: 0 }
    }

    fn reach(max_retries: u32) -> (Reach, [SocketAddr; 2]) {
        let addresses = ["127.0.0.1:1", "127.0.0.1:2"].map(|text| text.parse().unwrap());
        let config =
            ReachConfig { addresses: addresses.to_vec(), first: 0, max_retries, retry_delay_ms: 100 };
        (Reach::new(config, at(0)), addresses)
    }

    #[test]
    fn addresses_take_turns_after_longer_and_longer_waits() {
        let (mut reach, [first, second]) = reach(0);
        let mut now_ms = 0;
        for (address, wait_ms) in
            [(first, 100), (second, 200), (first, 400), (second, 800), (first, 1600), (second, 1600)]
        {
            assert_eq!(reach.poll(at(now_ms)), Step::Connect(address));
            assert_eq!(reach.poll(at(now_ms)), Step::Nothing);
            reach.handle_over(at(now_ms));
            assert_eq!(reach.poll_timeout(), Some(at(now_ms + wait_ms).mono_ns));
            assert_eq!(reach.poll(at(now_ms + wait_ms - 1)), Step::Nothing);
            now_ms += wait_ms;
        }
    }

    #[test]
    fn a_link_that_was_up_begins_anew_at_its_own_address() {
        let (mut reach, [first, second]) = reach(0);
        reach.poll(at(0));
        reach.handle_over(at(0));
        assert_eq!(reach.poll(at(100)), Step::Connect(second));
        reach.handle_connected();
        reach.handle_up();
        reach.handle_over(at(100));
        assert_eq!(reach.poll(at(200)), Step::Connect(second));
        reach.handle_over(at(200));
        assert_eq!(reach.poll(at(400)), Step::Connect(first));
    }

    #[test]
    fn who_closes_before_the_welcome_counts_as_a_failure() {
        let (mut reach, [first, second]) = reach(1);
        assert_eq!(reach.poll(at(0)), Step::Connect(first));
        reach.handle_connected();
        reach.handle_over(at(0));
        assert_eq!(reach.poll(at(100)), Step::Connect(first));
        reach.handle_connected();
        reach.handle_over(at(100));
        assert!(reach.is_given_up());
        assert_eq!((reach.poll(at(100_000)), reach.poll_timeout()), (Step::Nothing, None));
        let _ = second;
    }
}
