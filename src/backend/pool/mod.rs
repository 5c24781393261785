//! Which of a backend's addresses gets the next call, and which gets none. PURE. Home: whoever carries the backend's calls: each shard
//! has a pool of its own of each `tcp` backend, control one of each other.
//!
//! The caller says who can be sent to ([`Pool::set_ready`]), asks for a member for each call ([`Pool::pick`]), and says how it ended
//! ([`Pool::end`]). Time and chance are arguments.
//!
//! Invariants: each pick is ended once; who is not ready, ill, ejected, drained or behind an open breaker is not picked; a place is
//! another member's only once nothing is under way to the one before.

mod backoff;
mod breaker;
mod ejection;
mod health;
mod retry;

#[cfg(test)]
mod tests;

pub use self::backoff::{Backoff, BackoffConfig};
pub use self::breaker::{BreakerConfig, BreakerState};
pub use self::ejection::EjectionConfig;
pub use self::health::HealthConfig;
pub use self::retry::{RetryBudget, RetryConfig, is_sent, told_of};

use self::breaker::{Breaker, Term};
use self::ejection::Record;
use self::health::Health;
use crate::model::call::{CallFailure, CallOutcome};

/// How one of several addresses is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    /// Each in its turn, whatever their weights.
    #[default]
    RoundRobin,
    /// The one with the fewest calls under way for its weight; of equals, each in its turn.
    LeastConnections,
    /// In proportion to their weights, spread as evenly as they can be.
    Weighted,
}

/// How a pool chooses, and whom it leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    pub pick: Pick,
    pub breaker: BreakerConfig,
    pub ejection: Option<EjectionConfig>,
    pub health: Option<HealthConfig>,
}

/// One address of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberConfig {
    /// As the configuration has it; what a member is known by when that is read again.
    pub address: Box<str>,
    /// At least 1.
    pub weight: u32,
}

/// A member by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(pub u16);

impl MemberId {
    /// As an index into a table of members.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A call that a member got: to be ended once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a pick is ended, or its member counts it for good"]
pub struct Picked {
    pub member: MemberId,
    term: Term,
}

/// What the end of a call says of its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It answered, be it with an error of its own.
    Good,
    /// It was not there, or did not answer as it should.
    Fault,
    /// Nothing: the call was not sent for another reason, or nobody waits for its answer any more.
    Unjudged,
}

impl Ending {
    /// What an outcome says of who brought it.
    #[must_use]
    pub const fn of(outcome: CallOutcome<'_>) -> Ending {
        match outcome {
            CallOutcome::Result(_) | CallOutcome::Error(_) => Ending::Good,
            CallOutcome::Failed(CallFailure::Busy) => Ending::Unjudged,
            CallOutcome::Failed(
                CallFailure::Unavailable
                | CallFailure::TimedOut
                | CallFailure::Lost
                | CallFailure::Garbled
                | CallFailure::TooLong,
            ) => Ending::Fault,
        }
    }
}

/// Why a member gets no calls, the first reason that holds; or that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    Up,
    /// It gets a few calls, to try.
    Trying,
    /// Nobody can send to it: there is no link, or none with room.
    Down,
    /// Its probes fail.
    Ill,
    /// Its breaker is open.
    Broken,
    /// It failed more often than the others.
    Ejected,
    /// It gets no further calls: it is leaving.
    Draining,
}

impl MemberState {
    /// As operators are told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            MemberState::Up => "up",
            MemberState::Trying => "trying",
            MemberState::Down => "down",
            MemberState::Ill => "ill",
            MemberState::Broken => "broken",
            MemberState::Ejected => "ejected",
            MemberState::Draining => "draining",
        }
    }
}

/// One member, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberStatus<'a> {
    pub address: &'a str,
    pub weight: u32,
    pub state: MemberState,
    pub under_way: u32,
}

/// What a pool has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounters {
    pub picked_total: u64,
    /// Calls for which no member was there.
    pub unserved_total: u64,
    pub faults_total: u64,
    /// Breakers that opened.
    pub opened_total: u64,
    pub ejected_total: u64,
    pub probes_total: u64,
    pub probes_failed_total: u64,
}

/// See the file's head.
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
    members: Vec<Member>,
    /// Where the next pick looks first.
    next: usize,
    /// When members are compared next.
    judging_ns: u64,
    is_draining: bool,
    counters: PoolCounters,
}

#[derive(Debug)]
struct Member {
    config: MemberConfig,
    is_ready: bool,
    is_leaving: bool,
    under_way: u32,
    /// Of the weighted choice: what it is ahead of its share; negative once it was picked.
    credit: i64,
    breaker: Breaker,
    record: Record,
    health: Health,
}

impl Pool {
    /// A pool of members that are not ready yet; `chance` is any number, for each pool another.
    #[must_use]
    pub fn new(config: PoolConfig, members: Vec<MemberConfig>, now_ns: u64, chance: u64) -> Pool {
        let next = usize::try_from(chance % members.len().max(1) as u64).unwrap_or(0);
        let mut pool = Pool {
            config,
            members: Vec::new(),
            next,
            judging_ns: 0,
            is_draining: false,
            counters: PoolCounters::default(),
        };
        pool.set_config(config, members, now_ns, chance);
        pool
    }

    /// Goes by these from now on. A member is known again by its address; one that is not among them leaves.
    pub fn set_config(&mut self, config: PoolConfig, members: Vec<MemberConfig>, now_ns: u64, chance: u64) {
        self.config = config;
        self.judging_ns = now_ns.saturating_add(config.ejection.map_or(0, |ejection| ejection.interval_ns));
        for member in &mut self.members {
            member.is_leaving = !members.iter().any(|newer| newer.address == member.config.address);
            member.breaker.set_config(config.breaker);
            if config.health.is_none() {
                member.health.forget();
            }
        }
        for (nth, newer) in (0..).zip(members) {
            let known = self.members.iter_mut().find(|member| member.config.address == newer.address);
            if let Some(member) = known {
                member.config = newer;
                continue;
            }
            let member = Member::new(newer, config, now_ns, chance.wrapping_mul(nth + 1));
            match self.members.iter_mut().find(|old| old.is_leaving && old.under_way == 0) {
                Some(place) => *place = member,
                None => self.members.push(member),
            }
        }
    }

    /// Whether a member can be sent to.
    pub fn set_ready(&mut self, member: MemberId, is_ready: bool) {
        self.members[member.index()].is_ready = is_ready;
    }

    /// No member is picked any more.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Who gets the next call, if anybody: another than `but` where there is one.
    pub fn pick(&mut self, but: Option<MemberId>, now_ns: u64) -> Option<Picked> {
        let Some(place) = self.choose(but, now_ns).or_else(|| but.and_then(|_| self.choose(None, now_ns)))
        else {
            self.counters.unserved_total += 1;
            return None;
        };
        self.next = if place + 1 == self.members.len() { 0 } else { place + 1 };
        self.counters.picked_total += 1;
        let member = &mut self.members[place];
        member.under_way += 1;
        let term = member.breaker.let_through(now_ns);
        Some(Picked { member: id(place), term })
    }

    /// A call ended.
    ///
    /// # Panics
    /// On more ends than picks: our own bug.
    pub fn end(&mut self, picked: Picked, ending: Ending, now_ns: u64, chance: u64) {
        let member = &mut self.members[picked.member.index()];
        member.under_way = member.under_way.checked_sub(1).expect("invariant: a pick is ended once");
        if ending != Ending::Unjudged {
            member.record.end(ending == Ending::Fault);
        }
        self.counters.faults_total += u64::from(ending == Ending::Fault);
        if member.breaker.end(picked.term, ending, now_ns, chance) {
            self.counters.opened_total += 1;
        }
    }

    /// Does what is due: compares members.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        let Some(config) = self.config.ejection else { return };
        if self.judging_ns > now_ns {
            return;
        }
        self.judging_ns = now_ns.saturating_add(config.interval_ns);
        let staying = self.members.iter_mut().filter(|member| !member.is_leaving);
        let mut records: Vec<&mut Record> = staying.map(|member| &mut member.record).collect();
        self.counters.ejected_total += ejection::judge(&mut records, config, now_ns);
    }

    /// Whom to send a probe now, which [`Pool::end_probe`] ends; to be asked until it says nobody.
    pub fn poll_probe(&mut self, now_ns: u64) -> Option<MemberId> {
        let config = self.config.health?;
        let is_due = |member: &mut Member| !member.is_leaving && member.health.poll(config, now_ns);
        let place = self.members.iter_mut().position(is_due)?;
        self.counters.probes_total += 1;
        Some(id(place))
    }

    /// A probe ended: well, or not, or not in time.
    pub fn end_probe(&mut self, member: MemberId, is_good: bool) {
        let Some(config) = self.config.health else { return };
        self.counters.probes_failed_total += u64::from(!is_good);
        self.members[member.index()].health.end(config, is_good);
    }

    /// A probe could not be sent: it says nothing.
    pub fn skip_probe(&mut self, member: MemberId) {
        self.members[member.index()].health.skip();
    }

    /// When [`Pool::handle_timeout`] or [`Pool::poll_probe`] has something to do next, on the monotonic clock, in nanoseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let judging = self.config.ejection.map(|_| self.judging_ns);
        let staying = self.members.iter().filter(|member| !member.is_leaving);
        let probes = staying.filter_map(|member| self.config.health.and(member.health.poll_timeout()));
        probes.chain(judging).min()
    }

    /// Calls under way.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.members.iter().map(|member| member.under_way).sum()
    }

    /// All members with their places; one that leaves as long as something is under way to it.
    pub fn members(&self, now_ns: u64) -> impl Iterator<Item = (MemberId, MemberStatus<'_>)> {
        let shown =
            self.members.iter().enumerate().filter(|(_, member)| !member.is_leaving || member.under_way > 0);
        shown.map(move |(place, member)| {
            let MemberConfig { address, weight } = &member.config;
            let state = member.state(self.is_draining, now_ns);
            (id(place), MemberStatus { address, weight: *weight, state, under_way: member.under_way })
        })
    }

    /// Whether a call would find a member now.
    #[must_use]
    pub fn is_available(&self, now_ns: u64) -> bool {
        self.members.iter().any(|member| member.takes_calls(self.is_draining, now_ns))
    }

    #[must_use]
    pub const fn counters(&self) -> PoolCounters {
        self.counters
    }

    fn choose(&mut self, but: Option<MemberId>, now_ns: u64) -> Option<usize> {
        let count = self.members.len();
        let is_draining = self.is_draining;
        let next = self.next;
        let in_turn = (0..count).map(|nth| if next + nth < count { next + nth } else { next + nth - count });
        let members = &mut self.members;
        let takes = |members: &[Member], place: usize| {
            Some(id(place)) != but && members[place].takes_calls(is_draining, now_ns)
        };
        match self.config.pick {
            Pick::RoundRobin => in_turn.into_iter().find(|place| takes(members, *place)),
            Pick::LeastConnections => {
                let load = |place: &usize| members[*place].load();
                in_turn.filter(|place| takes(members, *place)).min_by_key(load)
            }
            Pick::Weighted => {
                let (mut total, mut chosen) = (0, None::<usize>);
                for place in 0..count {
                    if !takes(members, place) {
                        continue;
                    }
                    let weight = i64::from(members[place].config.weight);
                    total += weight;
                    members[place].credit += weight;
                    if chosen.is_none_or(|best| members[place].credit > members[best].credit) {
                        chosen = Some(place);
                    }
                }
                members[chosen?].credit -= total;
                chosen
            }
        }
    }
}

impl Member {
    fn new(config: MemberConfig, of: PoolConfig, now_ns: u64, chance: u64) -> Member {
        Member {
            config,
            is_ready: false,
            is_leaving: false,
            under_way: 0,
            credit: 0,
            breaker: Breaker::new(of.breaker),
            record: Record::default(),
            health: Health::new(of.health, now_ns, chance),
        }
    }

    fn takes_calls(&self, is_draining: bool, now_ns: u64) -> bool {
        match self.state(is_draining, now_ns) {
            MemberState::Up => true,
            MemberState::Trying => self.breaker.admits(now_ns),
            MemberState::Down
            | MemberState::Ill
            | MemberState::Broken
            | MemberState::Ejected
            | MemberState::Draining => false,
        }
    }

    fn state(&self, is_draining: bool, now_ns: u64) -> MemberState {
        if is_draining || self.is_leaving {
            MemberState::Draining
        } else if !self.is_ready {
            MemberState::Down
        } else if self.health.is_ill() {
            MemberState::Ill
        } else if self.record.is_ejected(now_ns) {
            MemberState::Ejected
        } else {
            match self.breaker.state(now_ns) {
                BreakerState::Closed => MemberState::Up,
                BreakerState::HalfOpen => MemberState::Trying,
                BreakerState::Open => MemberState::Broken,
            }
        }
    }

    /// Calls under way for a weight of 2^32, so that none is a fraction.
    fn load(&self) -> u64 {
        (u64::from(self.under_way) << 32) / u64::from(self.config.weight.max(1))
    }
}

fn id(place: usize) -> MemberId {
    MemberId(
        u16::try_from(place)
            .expect("invariant: at most BACKEND_ADDRESSES_MAX members, and as many that leave"),
    )
}
