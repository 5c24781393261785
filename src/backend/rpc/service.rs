//! One backend as a shard has it: its settings, its pool, its links. PURE. Home: one shard.
//!
//! Invariant: a member is ready for the pool while one of its links takes calls.

use std::net::SocketAddr;

use slab::Slab;

use super::flights::WireId;
use super::link::{Link, LinkId, Phase};
use super::outbox::Batching;
use crate::backend::pool::{
    BackoffConfig, HealthConfig, MemberConfig, MemberId, Pool, PoolConfig, RetryBudget, RetryConfig,
};
use crate::model::call::BackendId;
use crate::model::invalidation::Paced;

/// A service by its place; that of one which left may be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServiceId(pub(super) u16);

impl ServiceId {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A backend that is spoken to over TCP, in lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    pub name: Box<str>,
    pub members: Vec<ServiceMember>,
    pub pool: PoolConfig,
    /// Links of one shard to each member, at least 1.
    pub links: u16,
    /// How long a link may have nothing to do before it is closed, in nanoseconds; 0: for good.
    pub idle_ns: u64,
    pub connect_timeout_ns: u64,
    /// Between attempts to connect.
    pub backoff: BackoffConfig,
    pub retry: RetryConfig,
    /// Of requests to it; `None`: it takes no arrays.
    pub batching: Option<Batching>,
    /// What it is asked to see whether it is well, where `pool.health` says that it is.
    pub health_method: Box<str>,
    /// Of an answer.
    pub line_bytes_max: usize,
}

/// One address of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceMember {
    pub config: MemberConfig,
    /// What its name means; at least one.
    pub addresses: Vec<SocketAddr>,
}

/// What a service has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    /// Calls and notifications for it, also those that it did not get.
    pub calls_total: u64,
    /// By a result or an error of its own.
    pub answered_total: u64,
    /// Calls that have no answer of it: not sent, lost, too late, garbled or too long.
    pub failed_total: u64,
    pub connects_total: u64,
    pub connects_failed_total: u64,
    pub links_lost_total: u64,
    /// Arrays of requests.
    pub batches_total: u64,
    /// Lines, and answers, that were no messages, and invalidations of what can be no method.
    pub garbage_total: u64,
    /// Answers to what was no call under way: late ones, second ones.
    pub stray_total: u64,
    /// Times when it said that results of its methods hold no more, as they were told on.
    pub invalidations_total: u64,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) backend: BackendId,
    pub(super) config: ServiceConfig,
    pub(super) pool: Pool,
    pub(super) retries: RetryBudget,
    /// By member; few.
    pub(super) links: Vec<Vec<LinkId>>,
    /// By member: links that take calls.
    with_room: Vec<u16>,
    /// Under way, one for each member at most, beside some that are over.
    pub(super) probes: Vec<WireId>,
    /// It is configured no more.
    pub(super) is_leaving: bool,
    /// Methods whose results hold no more.
    pub(super) invalidated: Paced,
    pub(super) counters: ServiceCounters,
}

impl Service {
    pub(super) fn new(backend: BackendId, config: ServiceConfig, now_ns: u64, chance: u64) -> Service {
        let pool = Pool::new(config.pool, members_of(&config), now_ns, chance);
        let retries = RetryBudget::new(config.retry);
        Service {
            backend,
            config,
            pool,
            retries,
            links: Vec::new(),
            with_room: Vec::new(),
            probes: Vec::new(),
            is_leaving: false,
            invalidated: Paced::default(),
            counters: ServiceCounters::default(),
        }
    }

    pub(super) fn set_config(&mut self, config: ServiceConfig, now_ns: u64, chance: u64) {
        self.pool.set_config(config.pool, members_of(&config), now_ns, chance);
        self.retries.set_config(config.retry);
        self.config = config;
    }

    /// What a member's name means.
    pub(super) fn addresses(&self, address: &str) -> &[SocketAddr] {
        let member = self.config.members.iter().find(|member| &*member.config.address == address);
        member.map_or(&[], |member| &member.addresses)
    }

    pub(super) const fn health(&self) -> Option<HealthConfig> {
        self.config.pool.health
    }

    /// A link of a member takes calls, or does so no more.
    pub(super) fn note_room(&mut self, member: MemberId, has_room: bool) {
        let place = member.index();
        if self.with_room.len() <= place {
            self.with_room.resize(place + 1, 0);
        }
        let count = &mut self.with_room[place];
        *count = if has_room { *count + 1 } else { *count - 1 };
        self.pool.set_ready(member, *count > 0);
    }

    /// Where a member's next call goes: the link with the least to do, of those that are up if there are any, else of those that are
    /// being connected.
    pub(super) fn best_link(&self, member: MemberId, links: &Slab<Link>) -> LinkId {
        let takes = |id: &&LinkId| links[id.index()].takes_calls();
        let least = |id: &&LinkId| {
            let link = &links[id.index()];
            (link.conn().is_none(), link.phase == Phase::Idle, link.in_flight)
        };
        let best = self.links[member.index()].iter().filter(takes).min_by_key(least);
        *best.expect("invariant: a member is ready while one of its links takes calls")
    }

    /// A link of a member that is idle, to be connected while the others are busy.
    pub(super) fn idle_link(&self, member: MemberId, links: &Slab<Link>) -> Option<LinkId> {
        let is_idle = |id: &&LinkId| links[id.index()].phase == Phase::Idle;
        self.links[member.index()].iter().find(is_idle).copied()
    }

    /// Whether a link is up but full.
    pub(super) fn is_full(&self, links: &Slab<Link>) -> bool {
        self.links.iter().flatten().any(|id| links[id.index()].is_full())
    }
}

fn members_of(config: &ServiceConfig) -> Vec<MemberConfig> {
    config.members.iter().map(|member| member.config.clone()).collect()
}
