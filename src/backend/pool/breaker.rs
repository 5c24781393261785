//! The circuit breaker of one address: after so many faults in a row it gets no calls for a while, then a few to try. PURE. Home: its
//! pool.
//!
//! Invariants: an end counts for the state in which its call was let through, and for no later one; half-open, as many calls are let
//! through as have to end well, no more.

use super::Ending;
use super::backoff::{Backoff, BackoffConfig};

/// When a breaker opens, and how it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Faults in a row that open it; 0: it never opens.
    pub faults: u32,
    /// How long it is open: longer each time that the trial fails.
    pub open: BackoffConfig,
    /// Calls that are let through to try, and have to end well for it to close. At least 1.
    pub probes: u32,
}

/// What a breaker does with the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}

/// The state in which a call was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term(u32);

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { faults: u32 },
    Open { until_ns: u64 },
    HalfOpen { let_through: u32, good: u32 },
}

/// See the file's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
    term: Term,
    backoff: Backoff,
}

impl Breaker {
    pub(super) const fn new(config: BreakerConfig) -> Breaker {
        let (state, backoff) = (State::Closed { faults: 0 }, Backoff::new(config.open));
        Breaker { config, state, term: Term(0), backoff }
    }

    /// Goes by this from now on; what is open stays so for as long as it was told.
    pub(super) fn set_config(&mut self, config: BreakerConfig) {
        self.config = config;
        self.backoff.set_config(config.open);
    }

    /// Whether a call may be let through now.
    pub(super) const fn admits(&self, now_ns: u64) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until_ns } => until_ns <= now_ns,
            State::HalfOpen { let_through, .. } => let_through < self.config.probes,
        }
    }

    /// Lets a call through that is admitted.
    pub(super) fn let_through(&mut self, now_ns: u64) -> Term {
        assert!(self.admits(now_ns), "only what is admitted is let through");
        if let State::Open { .. } = self.state {
            self.enter(State::HalfOpen { let_through: 0, good: 0 });
        }
        if let State::HalfOpen { let_through, .. } = &mut self.state {
            *let_through += 1;
        }
        self.term
    }

    /// A call ended that was let through in that term; whether the breaker opened.
    pub(super) fn end(&mut self, term: Term, ending: Ending, now_ns: u64, chance: u64) -> bool {
        if term != self.term {
            return false;
        }
        match (&mut self.state, ending) {
            (State::Closed { faults }, Ending::Good) => *faults = 0,
            (State::Closed { faults }, Ending::Fault) => {
                *faults = faults.saturating_add(1);
                if self.config.faults != 0 && *faults >= self.config.faults {
                    return self.open(now_ns, chance);
                }
            }
            (State::HalfOpen { good, .. }, Ending::Good) => {
                *good += 1;
                if *good >= self.config.probes {
                    self.backoff.succeed();
                    self.enter(State::Closed { faults: 0 });
                }
            }
            (State::HalfOpen { .. }, Ending::Fault) => return self.open(now_ns, chance),
            (State::HalfOpen { let_through, .. }, Ending::Unjudged) => *let_through -= 1,
            (State::Closed { .. }, Ending::Unjudged) => {}
            (State::Open { .. }, _) => unreachable!("invariant: nothing is let through while it is open"),
        }
        false
    }

    pub(super) const fn state(&self, now_ns: u64) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until_ns } if until_ns > now_ns => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn open(&mut self, now_ns: u64, chance: u64) -> bool {
        let until_ns = now_ns.saturating_add(self.backoff.fail(chance));
        self.enter(State::Open { until_ns });
        true
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.term = Term(self.term.0.wrapping_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: BackoffConfig = BackoffConfig { first_ns: 1000, longest_ns: 4000 };

    fn breaker(faults: u32, probes: u32) -> Breaker {
        Breaker::new(BreakerConfig { faults, open: OPEN, probes })
    }

    /// One call at a time, each with this end.
    fn call(breaker: &mut Breaker, ending: Ending, now_ns: u64) -> bool {
        let term = breaker.let_through(now_ns);
        breaker.end(term, ending, now_ns, 0)
    }

    #[test]
    fn faults_in_a_row_open_it_and_a_good_end_between_them_does_not_let_it() {
        let mut breaker = breaker(3, 1);
        for ending in
            [Ending::Fault, Ending::Fault, Ending::Good, Ending::Fault, Ending::Unjudged, Ending::Fault]
        {
            assert!(!call(&mut breaker, ending, 5));
        }
        assert_eq!(breaker.state(5), BreakerState::Closed);
        assert!(call(&mut breaker, Ending::Fault, 5));
        assert_eq!(breaker.state(5), BreakerState::Open);
        assert!(!breaker.admits(1004));
    }

    #[test]
    fn after_its_time_as_many_are_let_through_as_have_to_end_well() {
        let mut breaker = breaker(1, 2);
        call(&mut breaker, Ending::Fault, 0);
        assert_eq!(breaker.state(1000), BreakerState::HalfOpen);
        let probes = [breaker.let_through(1000), breaker.let_through(1000)];
        assert!(!breaker.admits(1000));
        assert!(!breaker.end(probes[0], Ending::Good, 1001, 0));
        assert_eq!(breaker.state(1001), BreakerState::HalfOpen);
        assert!(!breaker.end(probes[1], Ending::Good, 1001, 0));
        assert_eq!(breaker.state(1001), BreakerState::Closed);
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer() {
        let mut breaker = breaker(1, 1);
        call(&mut breaker, Ending::Fault, 0);
        assert!(call(&mut breaker, Ending::Fault, 1000));
        assert!(!breaker.admits(2999) && breaker.admits(3000));
        call(&mut breaker, Ending::Good, 3000);
        call(&mut breaker, Ending::Fault, 3000);
        assert!(!breaker.admits(3999) && breaker.admits(4000));
    }

    #[test]
    fn a_probe_without_a_verdict_makes_room_for_another() {
        let mut breaker = breaker(1, 1);
        call(&mut breaker, Ending::Fault, 0);
        let probe = breaker.let_through(1000);
        assert!(!breaker.admits(1000));
        breaker.end(probe, Ending::Unjudged, 1000, 0);
        assert!(breaker.admits(1000));
    }

    #[test]
    fn what_was_let_through_before_it_opened_neither_opens_nor_closes_it_later() {
        let mut breaker = breaker(1, 1);
        let early = [breaker.let_through(0), breaker.let_through(0), breaker.let_through(0)];
        breaker.end(early[0], Ending::Fault, 0, 0);
        assert!(!breaker.end(early[1], Ending::Good, 10, 0));
        assert_eq!(breaker.state(10), BreakerState::Open);
        let probe = breaker.let_through(1000);
        breaker.end(early[2], Ending::Fault, 1000, 0);
        assert_eq!(breaker.state(1000), BreakerState::HalfOpen);
        breaker.end(probe, Ending::Good, 1000, 0);
        assert_eq!(breaker.state(1000), BreakerState::Closed);
    }

    #[test]
    fn without_a_number_of_faults_it_never_opens() {
        let mut breaker = breaker(0, 1);
        assert!(!(0..1000).any(|_| call(&mut breaker, Ending::Fault, 0)));
    }
}
