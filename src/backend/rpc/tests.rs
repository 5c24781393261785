//! An exchange by hand: its links' far ends are texts, its hub a list of what was told.

mod answers;
mod chance;
mod links;

use std::collections::BTreeMap;

use super::*;
use crate::backend::pool::{
    BackoffConfig, BreakerConfig, HealthConfig, MemberConfig, Pick, PoolConfig, RetryConfig,
};
use crate::model::ids::{HomeId, Ticket};

const MS: u64 = 1_000_000;
const BACKEND: BackendId = BackendId(3);

fn config<const N: usize>(addresses: [&str; N]) -> ServiceConfig {
    let breaker =
        BreakerConfig { faults: 0, open: BackoffConfig { first_ns: MS, longest_ns: MS }, probes: 1 };
    let member = |address: &str| ServiceMember {
        config: MemberConfig { address: address.into(), weight: 1 },
        addresses: vec![address.parse().unwrap()],
    };
    ServiceConfig {
        name: "risk".into(),
        members: addresses.iter().map(|address| member(address)).collect(),
        pool: PoolConfig { pick: Pick::RoundRobin, breaker, ejection: None, health: None },
        links: 1,
        idle_ns: 0,
        connect_timeout_ns: MS,
        backoff: BackoffConfig { first_ns: 100 * MS, longest_ns: 100 * MS },
        retry: RetryConfig { attempts_max: 0, percent_max: 100 },
        batching: None,
        health_method: "ping".into(),
        line_bytes_max: 1000,
    }
}

const A: &str = "127.0.0.1:1001";
const B: &str = "127.0.0.1:1002";

/// An exchange, what its ring would have, and what was told of calls.
struct World {
    exchange: Exchange,
    now_ns: u64,
    /// Attempts: where to, and their tags.
    attempts: Vec<(String, u32)>,
    /// Connections that are open: their links.
    open: BTreeMap<ConnId, LinkId>,
    conns: u32,
    told: Vec<(u32, String)>,
    calls: u32,
    /// Of those, that were not taken.
    refused: u32,
}

impl World {
    fn new(config: ServiceConfig) -> World {
        let mut world = World {
            exchange: Exchange::default(),
            now_ns: 0,
            attempts: Vec::new(),
            open: BTreeMap::new(),
            conns: 0,
            told: Vec::new(),
            calls: 0,
            refused: 0,
        };
        world.set(Some(config));
        world.wait(0);
        world
    }

    /// One with a link up to each address.
    fn up(config: ServiceConfig) -> World {
        let mut world = World::new(config);
        world.connect_all();
        world.wait(0);
        world
    }

    fn moment(&self) -> Moment {
        Moment { now_ns: self.now_ns, chance: 0 }
    }

    fn set(&mut self, config: Option<ServiceConfig>) {
        let moment = self.moment();
        self.exchange.set_services(config.map(|config| (BACKEND, config)).into_iter().collect(), moment);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.exchange.poll_action() {
            match action {
                Action::Connect { address, tag, .. } => self.attempts.push((address.to_string(), tag)),
                Action::Close(conn) => drop(self.open.remove(&conn)),
            }
        }
    }

    /// Lets time pass, and does what is due then.
    fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
        self.with_tell(|exchange, moment, tell| exchange.handle_timeout(moment, tell));
    }

    fn with_tell<R>(&mut self, act: impl FnOnce(&mut Exchange, Moment, &mut Tell<'_>) -> R) -> R {
        let moment = self.moment();
        let told = &mut self.told;
        let done = act(&mut self.exchange, moment, &mut |key, news| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let outcome = match news {
                News::Progress(value) => format!("progress {}", text(value)),
                News::Ended(CallOutcome::Result(result)) => format!("result {}", text(result)),
                News::Ended(CallOutcome::Error(error)) => format!("error {}", text(error)),
                News::Ended(CallOutcome::Failed(failure)) => format!("{failure:?}"),
            };
            told.push((key.ticket.slot, outcome));
        });
        self.act();
        done
    }

    /// Has every attempt succeed.
    fn connect_all(&mut self) -> Vec<ConnId> {
        let attempts = std::mem::take(&mut self.attempts);
        attempts.into_iter().filter_map(|(_, tag)| self.connect(tag)).collect()
    }

    fn connect(&mut self, tag: u32) -> Option<ConnId> {
        self.conns += 1;
        let conn = ConnId { slot: self.conns, generation: 1 };
        let link = self.exchange.handle_connected(conn, tag, self.moment())?;
        self.open.insert(conn, link);
        Some(conn)
    }

    fn fail_attempt(&mut self) {
        let (_, tag) = self.attempts.remove(0);
        self.with_tell(|exchange, moment, tell| exchange.handle_connect_failed(tag, moment, tell));
    }

    fn key(slot: u32) -> CallKey {
        CallKey { home: HomeId(0), ticket: Ticket { slot, generation: 1 } }
    }

    fn call_with(&mut self, method: &str, is_idempotent: bool, timeout_ns: u64) -> Result<u32, CallFailure> {
        let slot = self.calls;
        self.calls += 1;
        let call = Call {
            key: Some(World::key(slot)),
            backend: BACKEND,
            conn: ConnId { slot: 0, generation: 1 },
            account: None,
            method,
            params: Some(b"[]"),
            trace_parent: None,
            is_idempotent,
            due_ns: self.now_ns + timeout_ns,
        };
        let moment = self.moment();
        let taken = self.exchange.handle_call(&call, moment);
        self.refused += u32::from(taken.is_err());
        taken.map(|()| slot)
    }

    fn call(&mut self) -> Result<u32, CallFailure> {
        self.call_with("risk/var", false, 1000 * MS)
    }

    fn cancel(&mut self, slot: u32) {
        let cancelled = CancelledCall { key: World::key(slot), backend: BACKEND };
        self.with_tell(|exchange, moment, tell| {
            exchange.handle_cancelled(cancelled, moment, tell);
        });
    }

    /// What is sent now, by connection.
    fn sent(&mut self) -> Vec<(u32, String)> {
        let mut all = Vec::new();
        while let Some(id) = self.exchange.poll_dirty(self.now_ns) {
            let (conn, bytes) = self.exchange.unsent(id).unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.exchange.handle_handed(id, text.len());
            all.push((conn.slot, text));
        }
        all
    }

    /// The ids of requests that are sent now, in order.
    fn sent_ids(&mut self) -> Vec<String> {
        let sent = self.sent();
        let lines = sent.iter().flat_map(|(_, text)| text.lines());
        let id = |line: &str| Some(line.split_once("\"id\":")?.1.split_once(',')?.0.to_owned());
        lines.filter_map(id).collect()
    }

    fn receive(&mut self, conn: ConnId, text: &str) {
        let Some(link) = self.open.get(&conn).copied() else { return };
        self.with_tell(|exchange, moment, tell| {
            exchange.handle_bytes(link, conn, text.as_bytes(), moment, tell)
        });
    }

    fn over(&mut self, conn: ConnId) {
        let link = self.open[&conn];
        self.with_tell(|exchange, moment, tell| exchange.handle_over(link, conn, moment, tell));
    }

    fn told(&mut self) -> Vec<(u32, String)> {
        std::mem::take(&mut self.told)
    }

    fn first(&self) -> ConnId {
        *self.open.keys().next().unwrap()
    }

    fn status(&self) -> ServiceStatus<'_> {
        self.exchange.statuses(self.now_ns).next().unwrap()
    }

    /// Links, and those that are up.
    fn links(&self) -> (usize, usize) {
        let links = &self.exchange.links;
        (links.len(), links.iter().filter(|(_, link)| link.conn().is_some()).count())
    }

    fn states(&self) -> Vec<&'static str> {
        self.status().members.iter().map(|member| member.state.as_str()).collect()
    }
}

fn told(slot: u32, outcome: &str) -> (u32, String) {
    (slot, outcome.to_owned())
}
