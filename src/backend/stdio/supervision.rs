//! When a child is started, restarted and given up. PURE. Home: whoever starts it.
//!
//! Invariants: one that failed is started again after a wait that grows, and not at all after so many failures in a row; one that
//! answered a call or has run for a minute has not failed, however it ends.

use crate::backend::pool::{Backoff, BackoffConfig};
use crate::limits;

/// One place for a child.
#[derive(Debug)]
pub struct Place {
    state: State,
    backoff: Backoff,
    failures: u32,
    failures_max: u32,
    restarts_total: u64,
}

/// How such a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody is there, and nobody is missing: the next call starts one.
    Idle,
    /// Since then; whether it has answered a call.
    Running { since_ns: u64, is_useful: bool },
    /// It failed, and is started again then.
    Waiting { until_ns: u64 },
    /// It failed too often.
    GivenUp,
}

impl State {
    /// As operators are told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Running { .. } => "running",
            State::Waiting { .. } => "waiting",
            State::GivenUp => "given_up",
        }
    }
}

/// What becomes of a place whose child has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Restarts { after_ns: u64 },
    GivenUp,
}

impl Place {
    /// `failures_max` of 0 never gives up.
    #[must_use]
    pub fn new(backoff: BackoffConfig, failures_max: u32) -> Place {
        Place {
            state: State::Idle,
            backoff: Backoff::new(backoff),
            failures: 0,
            failures_max,
            restarts_total: 0,
        }
    }

    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Starts after the first one.
    #[must_use]
    pub const fn restarts_total(&self) -> u64 {
        self.restarts_total
    }

    /// Whether one is to be started now.
    #[must_use]
    pub fn is_due(&self, now_ns: u64) -> bool {
        matches!(self.state, State::Waiting { until_ns } if until_ns <= now_ns)
    }

    /// When one is to be started.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        match self.state {
            State::Waiting { until_ns } => Some(until_ns),
            State::Idle | State::Running { .. } | State::GivenUp => None,
        }
    }

    /// The first one is to be started then.
    pub fn handle_boot(&mut self, at_ns: u64) {
        self.state = State::Waiting { until_ns: at_ns };
    }

    /// One runs.
    pub fn handle_start(&mut self, now_ns: u64) {
        self.restarts_total += u64::from(self.failures > 0);
        self.state = State::Running { since_ns: now_ns, is_useful: false };
    }

    /// It answered a call.
    pub fn handle_answer(&mut self) {
        if let State::Running { is_useful, .. } = &mut self.state {
            *is_useful = true;
        }
    }

    /// It is told to end, and its end is no news; another one comes by the next call.
    pub fn handle_stop(&mut self) {
        self.state = State::Idle;
    }

    /// It has ended, or could not be started. `chance` is any number, each time another.
    pub fn handle_end(&mut self, now_ns: u64, chance: u64) -> Next {
        match self.state {
            State::Running { since_ns, is_useful } => {
                if is_useful || now_ns.saturating_sub(since_ns) >= limits::CHILD_SETTLED_NS {
                    self.failures = 0;
                    self.backoff.succeed();
                }
            }
            State::Idle | State::Waiting { .. } | State::GivenUp => {}
        }
        self.failures += 1;
        if self.failures_max > 0 && self.failures >= self.failures_max {
            self.state = State::GivenUp;
            return Next::GivenUp;
        }
        let after_ns = self.backoff.fail(chance);
        self.state = State::Waiting { until_ns: now_ns.saturating_add(after_ns) };
        Next::Restarts { after_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    /// In the middle of what the wait may be shorter or longer.
    const CHANCE: u64 = 0;

    fn place(failures_max: u32) -> Place {
        Place::new(BackoffConfig { first_ns: S, longest_ns: 64 * S }, failures_max)
    }

    fn wait_ns(next: Next) -> u64 {
        let Next::Restarts { after_ns } = next else { panic!("{next:?}") };
        after_ns
    }

    #[test]
    fn one_that_fails_at_once_waits_longer_each_time_and_is_given_up() {
        let (mut place, mut now_ns, mut waits) = (place(4), 0, Vec::new());
        for _ in 0..3 {
            place.handle_start(now_ns);
            now_ns += 1;
            let wait = wait_ns(place.handle_end(now_ns, CHANCE));
            assert!(!place.is_due(now_ns + wait - 1) && place.is_due(now_ns + wait));
            assert_eq!(place.poll_timeout(), Some(now_ns + wait));
            now_ns += wait;
            waits.push(wait);
        }
        assert!(waits[0] < waits[1] && waits[1] < waits[2], "{waits:?}");
        place.handle_start(now_ns);
        assert_eq!(place.handle_end(now_ns, CHANCE), Next::GivenUp);
        assert_eq!((place.state(), place.restarts_total(), place.poll_timeout()), (State::GivenUp, 3, None));
    }

    #[test]
    fn one_that_answered_or_ran_for_a_minute_has_not_failed() {
        for (answers, ran_ns) in [(true, 1), (false, limits::CHILD_SETTLED_NS)] {
            let mut place = place(2);
            for round in 0..5 {
                place.handle_start(round * 100 * S);
                if answers {
                    place.handle_answer();
                }
                let next = place.handle_end(round * 100 * S + ran_ns, CHANCE);
                assert!(wait_ns(next) <= 2 * S, "{next:?}");
                assert_eq!(place.failures(), 1);
            }
        }
    }

    #[test]
    fn one_that_cannot_be_started_has_failed() {
        let mut place = place(2);
        wait_ns(place.handle_end(0, CHANCE));
        assert_eq!(place.handle_end(S, CHANCE), Next::GivenUp);
    }

    #[test]
    fn one_that_was_told_to_end_is_not_missed() {
        let mut place = place(1);
        place.handle_start(0);
        place.handle_stop();
        assert_eq!((place.state(), place.failures(), place.poll_timeout()), (State::Idle, 0, None));
    }
}
