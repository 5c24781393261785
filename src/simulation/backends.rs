//! Backends of calls in the simulated world: values that answer, are slow, answer twice or with rubbish, fall silent and die; the links of
//! each shard to them, and what a shard's loop does between them and its hub. PURE. A run is its seed.
//!
//! What is held against it beside the replies (`caller`): a call is told of once; what may not be done twice reaches a backend once; what
//! may be under way to a backend, or of a connection, is; of calls for one kept result one is under way; once all has come to rest, nothing is
//! under way anywhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::backend::pool::{
    BackoffConfig, BreakerConfig, HealthConfig, MemberConfig, Pick, PoolConfig, RetryConfig,
};
use crate::backend::rpc::{
    Action, Batching, Exchange, LinkId, Moment, News, ServiceConfig, ServiceMember, Tell,
};
use crate::dialect::json_rpc::Access;
use crate::hub::{BackendTerms, Caching, Route, Routes, Sharing};
use crate::model::call::{BackendId, CallFailure, CallKey, CallOutcome};
use crate::model::ids::ConnId;

use super::caller::Caller;
use super::random::Random;
use super::world::{Options, World};

const MS: u64 = 1_000_000;
const STEPS: usize = 3_000;
/// How often a run comes to rest and is judged.
const RESTS: usize = 3;
/// Calls of one shard to a backend, and of one connection.
const UNDER_WAY_MAX: u32 = 12;
const PER_CONNECTION_MAX: u32 = 5;
/// After which a call is given up.
const TIMEOUT_NS: u64 = 900 * MS;
pub(super) const LINE_BYTES_MAX: usize = 300;
/// Requests that a backend may answer when nobody waits any more.
pub(super) const OLD_MAX: usize = 40;

/// What has come to backends, and what must not.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Calls, by their serial numbers.
    reached: BTreeSet<u64>,
    /// Calls that were said not to have been sent.
    unsent: BTreeSet<u64>,
}

impl Seen {
    /// A client was told that its call was not sent.
    pub(super) fn note_unsent(&mut self, serial: u64) {
        assert!(!self.reached.contains(&serial), "call {serial} was sent");
        self.unsent.insert(serial);
    }

    pub(super) fn note_reached(&mut self, serial: u64, is_idempotent: bool) {
        let is_new = self.reached.insert(serial);
        assert!(is_new || is_idempotent, "call {serial} reaches a backend twice");
        assert!(!self.unsent.contains(&serial), "call {serial} was not sent, its client was told");
    }
}

/// A call that a shard has handed on, until it was told of or cancelled.
#[derive(Debug)]
struct Handed {
    backend: BackendId,
    conn: ConnId,
    method: String,
    params: String,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Backends {
    /// By shard.
    pub(super) sides: Vec<Side>,
    pub(super) seen: Seen,
    handed: BTreeMap<CallKey, Handed>,
    serial: u64,
}

/// One shard's links.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) exchange: Exchange,
    /// Connections that are being made, by their tags.
    pub(super) attempts: Vec<u32>,
    pub(super) pipes: BTreeMap<ConnId, Pipe>,
    /// Connections that were closed, of which something may still come.
    pub(super) closed: VecDeque<(LinkId, ConnId)>,
    pub(super) conns: u32,
    /// Requests that have come by any of its links, the newest first; another shard's have the same numbers.
    pub(super) old: VecDeque<Request>,
}

/// One connection and the backend at its other end.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) link: LinkId,
    /// Sent and not yet read.
    pub(super) upward: Vec<u8>,
    pub(super) is_sending: bool,
    /// Said and not yet received.
    pub(super) downward: Vec<u8>,
    /// Requests without an answer.
    pub(super) open: Vec<Request>,
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) method: String,
    pub(super) params: String,
}

/// [`News`] until the hub hears it.
#[derive(Debug)]
enum Heard {
    Progress(Vec<u8>),
    Result(Vec<u8>),
    Error(Vec<u8>),
    Failed(CallFailure),
}

/// Runs one seed of clients that call and backends that do as they please, and says how often what happened in it.
///
/// # Panics
/// Where a request has no reply or two, or one of another call, or anything is left: that is the verdict.
#[must_use]
pub fn run_calls(seed: u64) -> BTreeMap<&'static str, u64> {
    let mut random = Random::new(seed);
    let mut options = Options::new(&mut random);
    (options.hostile, options.forgets, options.overloads) = (0, false, false);
    options.routes = routes();
    let mut world = World::new(random, options);
    world.clients.iter_mut().for_each(|client| client.caller = Some(Box::new(Caller::default())));
    let sides = world.shards.iter().map(|_| Side::default()).collect();
    let (seen, handed) = (Seen::default(), BTreeMap::new());
    world.backends = Some(Box::new(Backends { sides, seen, handed, serial: 0 }));
    (0..world.shards.len()).for_each(|shard| world.set_services(shard, 0));
    for _ in 0..RESTS {
        (0..STEPS / RESTS).for_each(|_| world.step_calls());
        world.rest_and_judge_calls();
    }
    super::end(&mut world);
    world.judge_links();
    let statuses = world.backends().sides.iter().flat_map(|side| side.exchange.statuses(0));
    let counted: Vec<(u64, u64)> =
        statuses.map(|status| (status.retried_total, status.counters.stray_total)).collect();
    for (retried, strays) in counted {
        *world.oracle.coverage.entry("retried").or_default() += retried;
        *world.oracle.coverage.entry("stray answers").or_default() += strays;
    }
    super::coverage(world)
}

fn routes() -> Arc<Routes> {
    let terms = |name: &str| BackendTerms {
        name: name.into(),
        under_way_max: UNDER_WAY_MAX,
        per_connection_max: PER_CONNECTION_MAX,
        timeout_ns: TIMEOUT_NS,
    };
    let kept = Caching { ttl_ns: 200 * MS, sharing: Sharing::Everybody };
    let route = |pattern: &str, is_idempotent, caching| Route {
        pattern: pattern.into(),
        backend: BackendId(u16::from(pattern.starts_with("two/"))),
        access: Access::Everybody,
        is_idempotent,
        caching,
    };
    let routes = [
        route("one/*", false, None),
        route("two/*", false, None),
        route("two/again", true, None),
        route("two/get_*", true, Some(kept)),
    ];
    let backends = [(BackendId(0), terms("one")), (BackendId(1), terms("two"))];
    Arc::new(Routes::new(backends, routes).expect("they are legal"))
}

/// What may be configured: both; one address fewer; one backend alone; more links, and no arrays.
fn services(nth: usize) -> Vec<(BackendId, ServiceConfig)> {
    let wait = |first_ns| BackoffConfig { first_ns, longest_ns: 10 * first_ns };
    let member = |address: &str| ServiceMember {
        config: MemberConfig { address: address.into(), weight: 1 },
        addresses: vec![address.parse::<SocketAddr>().expect("it is one")],
    };
    let one = ServiceConfig {
        name: "one".into(),
        members: vec![member("10.0.0.1:1")],
        pool: PoolConfig {
            pick: Pick::RoundRobin,
            breaker: BreakerConfig { faults: 0, open: wait(MS), probes: 1 },
            ejection: None,
            health: None,
        },
        links: 1,
        idle_ns: 0,
        connect_timeout_ns: MS,
        backoff: wait(5 * MS),
        retry: RetryConfig { attempts_max: 0, percent_max: 0 },
        batching: None,
        health_method: "".into(),
        line_bytes_max: LINE_BYTES_MAX,
    };
    let health = HealthConfig { every_ns: 80 * MS, timeout_ns: 40 * MS, ill_after: 2, well_after: 1 };
    let mut two = ServiceConfig {
        name: "two".into(),
        members: vec![member("10.0.0.2:1"), member("10.0.0.3:1")],
        pool: PoolConfig {
            pick: Pick::LeastConnections,
            breaker: BreakerConfig { faults: 4, open: wait(10 * MS), probes: 1 },
            ejection: None,
            health: Some(health),
        },
        idle_ns: 60 * MS,
        retry: RetryConfig { attempts_max: 2, percent_max: 100 },
        batching: Some(Batching { count_max: 3, bytes_max: 500, wait_ns: MS, is_adaptive: true }),
        health_method: "ping".into(),
        ..one.clone()
    };
    let with_one = nth != 2;
    match nth {
        1 => two.members.truncate(1),
        3 => (two.links, two.batching) = (2, None),
        _ => {}
    }
    let one = with_one.then_some((BackendId(0), one));
    one.into_iter().chain([(BackendId(1), two)]).collect()
}

impl Backends {
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A call is handed on: what may be under way, is.
    fn note_handed(&mut self, key: CallKey, handed: Handed) {
        let own = self.handed.iter().filter(|(other, _)| other.home == key.home).map(|(_, handed)| handed);
        let of_backend = own.clone().filter(|other| other.backend == handed.backend).count();
        assert!(of_backend < UNDER_WAY_MAX as usize, "{of_backend} calls to {:?}", handed.backend);
        // Others may wait for a result that is kept when who asked first does no more.
        let is_own = |other: &&Handed| other.conn == handed.conn && !other.method.contains("get_");
        let of_conn = own.clone().filter(|other| other.backend == handed.backend && is_own(other));
        assert!(of_conn.count() < PER_CONNECTION_MAX as usize, "calls of {:?}", handed.conn);
        if handed.method.contains("get_") {
            let is_same = |other: &Handed| other.method == handed.method && other.params == handed.params;
            assert!(!own.clone().any(is_same), "two calls for one result: {handed:?}");
        }
        let before = self.handed.insert(key, handed);
        assert!(before.is_none(), "{key:?} is handed on twice");
    }
}

impl Side {
    pub(super) fn take_actions(&mut self) {
        while let Some(action) = self.exchange.poll_action() {
            match action {
                Action::Connect { tag, .. } => self.attempts.push(tag),
                Action::Close(conn) => {
                    if let Some(pipe) = self.pipes.remove(&conn) {
                        self.closed.push_back((pipe.link, conn));
                        self.closed.truncate(8);
                    }
                }
            }
        }
    }

    pub(super) fn nth_conn(&self, draw: usize) -> Option<ConnId> {
        let count = self.pipes.len();
        (count > 0).then(|| *self.pipes.keys().nth(draw % count).expect("below their count"))
    }
}

impl World {
    pub(super) fn backends(&mut self) -> &mut Backends {
        self.backends.as_deref_mut().expect("it is a world of callers")
    }

    pub(super) fn side(&mut self, shard: usize) -> &mut Side {
        &mut self.backends().sides[shard]
    }

    /// Something happens.
    fn step_calls(&mut self) {
        match self.random.below(100) {
            0..30 => self.act_caller(),
            30..55 => self.progress_link(),
            55..90 => {
                let shard = self.random.below(self.shards.len());
                self.move_links(shard);
            }
            90..98 => {
                let ns = if self.random.chance(95) { self.random.below(4_000_000) } else { 300_000_000 };
                self.advance(ns as u64);
            }
            98 => {
                let (shard, nth) = (self.random.below(self.shards.len()), self.random.below(4));
                self.set_services(shard, nth);
            }
            _ => _ = self.carry_one(),
        }
        for home in 0..=self.shards.len() {
            if self.random.chance(50) {
                self.end_turn(home);
            }
        }
    }

    fn rest_and_judge_calls(&mut self) {
        (0..self.shards.len()).for_each(|shard| self.set_services(shard, 0));
        // Beyond each call's deadline.
        self.come_to_rest();
        self.judge_connected();
        for client in &self.clients {
            if let Some(caller) = client.caller.as_ref().filter(|_| client.open && !client.closing) {
                caller.judge_rest();
            }
        }
        for shard in 0..self.shards.len() {
            let occupancy = self.shards[shard].hub.occupancy();
            assert_eq!((occupancy.calls, occupancy.calls_waiting), (0, 0), "shard {shard} waits for calls");
        }
        self.judge_links();
    }

    /// At rest nothing is under way, and all that was handed on was told of or cancelled.
    fn judge_links(&mut self) {
        for side in &self.backends().sides {
            assert_eq!(side.exchange.under_way(), 0, "something is under way on links");
        }
        assert!(self.backends().handed.is_empty(), "never told of: {:?}", self.backends().handed);
    }

    fn set_services(&mut self, shard: usize, nth: usize) {
        self.with_exchange(shard, |exchange, moment, _| exchange.set_services(services(nth), moment));
    }

    // The shard's driver.

    /// Hands on what a hub says to backends, as its shard does.
    pub(super) fn hand_on_calls(&mut self, shard: usize) {
        if self.backends.is_none() {
            return;
        }
        loop {
            while let Some(cancelled) = self.shards[shard].hub.poll_cancelled() {
                self.backends().handed.remove(&cancelled.key);
                self.with_exchange(shard, |exchange, moment, tell| {
                    exchange.handle_cancelled(cancelled, moment, tell);
                });
            }
            let moment = Moment { now_ns: self.now.mono_ns, chance: self.random.bits() };
            let World { shards, backends, .. } = self;
            let backends = backends.as_deref_mut().expect("it is a world of callers");
            let Some(call) = shards[shard].hub.poll_call() else { break };
            let key = call.key;
            if let Some(key) = key {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a part of a text");
                let params = call.params.map_or_else(String::new, text);
                let (backend, conn, method) = (call.backend, call.conn, call.method.to_owned());
                backends.note_handed(key, Handed { backend, conn, method, params });
            }
            let Side { exchange, .. } = &mut backends.sides[shard];
            // That of kind `tcp` is gone: nobody else has the method here.
            let taken = if exchange.has(call.backend) {
                exchange.handle_call(&call, moment)
            } else {
                Err(CallFailure::Unavailable)
            };
            if let (Err(failure), Some(key)) = (taken, key) {
                self.hear_backend(shard, key, &Heard::Failed(failure));
            }
        }
        self.side(shard).take_actions();
    }

    pub(super) fn with_exchange(
        &mut self,
        shard: usize,
        act: impl FnOnce(&mut Exchange, Moment, &mut Tell<'_>),
    ) {
        let moment = Moment { now_ns: self.now.mono_ns, chance: self.random.bits() };
        let mut heard = Vec::new();
        let side = self.side(shard);
        act(&mut side.exchange, moment, &mut |key, news| {
            let what = match news {
                News::Progress(value) => Heard::Progress(value.to_vec()),
                News::Ended(CallOutcome::Result(result)) => Heard::Result(result.to_vec()),
                News::Ended(CallOutcome::Error(error)) => Heard::Error(error.to_vec()),
                News::Ended(CallOutcome::Failed(failure)) => Heard::Failed(failure),
            };
            heard.push((key, what));
        });
        side.take_actions();
        for (key, what) in heard {
            self.hear_backend(shard, key, &what);
        }
    }

    fn hear_backend(&mut self, shard: usize, key: CallKey, what: &Heard) {
        let now = self.now;
        let outcome = match what {
            Heard::Progress(value) => {
                return self.with_hub(shard, |hub| hub.handle_progress(key, value, now));
            }
            Heard::Result(result) => CallOutcome::Result(result),
            Heard::Error(error) => CallOutcome::Error(error),
            Heard::Failed(failure) => CallOutcome::Failed(*failure),
        };
        let handed = self.backends().handed.remove(&key);
        assert!(handed.is_some(), "{key:?} is told of again, or was cancelled: {what:?}");
        self.with_hub(shard, |hub| hub.handle_outcome(key, outcome, now));
    }

    /// Does what is due on a shard's links.
    pub(super) fn advance_links(&mut self, shard: usize) {
        if self.backends.is_some() {
            self.with_exchange(shard, Exchange::handle_timeout);
        }
    }
}
