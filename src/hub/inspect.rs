//! What operators are told of connections and topics, found a bounded number of slots at a time; how long the sends of
//! some connections take. PURE. Home: one shard.
//!
//! Invariants: a walk comes to each slot once, in their order: who is connected all along is met once, and who comes or
//! goes meanwhile at most once. Nothing is allocated but for rows that were asked for, and no more of them than were.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::limits;
use crate::model::channel::TopicKey;
use crate::model::encoding::Encoding;
use crate::model::ids::{ConnId, Seq};
use crate::model::instrument::Symbol;

use super::Hub;
use super::session::{Phase, Service, Session};

/// Whether a walk has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    ToTheEnd,
    AsFarAsAllowed,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    pub conn: ConnId,
    pub peer: Option<SocketAddr>,
    pub state: ConnectionState,
    /// None before its request is read.
    pub dialect: Option<&'static str>,
    /// Of the key that it logged in by.
    pub client_id: Option<Arc<str>>,
    pub age_ns: u64,
    pub topics: usize,
    /// Bytes that wait for it, in all lanes.
    pub queued_bytes: u64,
    pub deliveries_total: u64,
    pub conflated_total: u64,
    /// How long its sends took, where they are timed.
    pub sends: Option<SendTimes>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    Upgrading,
    Open,
    Closing,
}

impl ConnectionState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ConnectionState::Upgrading => "upgrading",
            ConnectionState::Open => "open",
            ConnectionState::Closing => "closing",
        }
    }
}

/// How many sends took how long, from the turn that handed them to the kernel to the one that heard that they are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendTimes {
    /// By the bound that they are below; the last are those above all.
    pub counts: [u64; SendTimes::BOUNDS_NS.len() + 1],
}

impl SendTimes {
    pub const BOUNDS_NS: [u64; 5] = [100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

    fn note(&mut self, took_ns: u64) {
        let place = SendTimes::BOUNDS_NS.iter().position(|bound_ns| took_ns <= *bound_ns);
        self.counts[place.unwrap_or(SendTimes::BOUNDS_NS.len())] += 1;
    }
}

/// A connection whose sends are timed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traced {
    conn: ConnId,
    times: SendTimes,
}

/// What has come of an ask to time a connection's sends, or not to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceOutcome {
    Done,
    /// There is no such connection.
    Gone,
    /// As many are timed as may be.
    Full,
}

/// Which connections a walk gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionOrder {
    /// Those from this slot on.
    FromSlot(u32),
    /// Those for whom the most bytes wait.
    Queued,
}

/// A walk over the connections of a shard.
#[derive(Debug)]
pub struct ConnectionsWalk {
    order: ConnectionOrder,
    next: usize,
    is_cut: bool,
    rows: Rows<ConnectionRow>,
}

impl ConnectionsWalk {
    /// To find so many of them at most.
    #[must_use]
    pub fn new(order: ConnectionOrder, limit: usize) -> ConnectionsWalk {
        let next = match order {
            ConnectionOrder::FromSlot(slot) => slot as usize,
            ConnectionOrder::Queued => 0,
        };
        ConnectionsWalk { order, next, is_cut: false, rows: Rows::new(limit) }
    }

    /// Whether there may be more behind those that were found.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// What was found: by slot, or in no order where those with the most were asked for.
    #[must_use]
    pub fn into_rows(self) -> Vec<ConnectionRow> {
        self.rows.into_vec()
    }
}

/// One topic, as a shard has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicRow {
    pub key: TopicKey,
    /// The name of the instrument that the key has.
    pub symbol: Option<Symbol>,
    pub subscribers: u64,
    /// Since somebody on the shard subscribed who found nobody else there.
    pub deliveries_total: u64,
    pub seq: Seq,
}

impl TopicRow {
    /// The channel, as clients write it.
    #[must_use]
    pub fn channel(&self) -> String {
        let mut out = Vec::new();
        let name_of = |_| self.symbol.expect("invariant: a key with an instrument comes with its name");
        match self.key {
            TopicKey::Client(name) => {
                out.extend_from_slice(b"topic.");
                out.extend_from_slice(name.as_bytes());
            }
            TopicKey::Market { instrument, channel, .. } => channel.write(&mut out, &name_of(instrument)),
            TopicKey::Private { view, .. } => view.channel(name_of).write(&mut out),
        }
        String::from_utf8(out).expect("invariant: channels are ASCII by their grammar")
    }

    /// What it is ranked by.
    #[must_use]
    pub fn measure(&self, order: TopicOrder) -> u64 {
        match order {
            TopicOrder::Deliveries => self.deliveries_total,
            TopicOrder::Subscribers => self.subscribers,
        }
    }
}

/// Which topics a walk gives: those with the most of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicOrder {
    Deliveries,
    Subscribers,
}

/// A walk over the topics of a shard.
#[derive(Debug)]
pub struct TopicsWalk {
    order: TopicOrder,
    next: usize,
    rows: Rows<TopicRow>,
}

impl TopicsWalk {
    /// To find so many of them at most.
    #[must_use]
    pub fn new(order: TopicOrder, limit: usize) -> TopicsWalk {
        TopicsWalk { order, next: 0, rows: Rows::new(limit) }
    }

    /// What was found, in no order.
    #[must_use]
    pub fn into_rows(self) -> Vec<TopicRow> {
        self.rows.into_vec()
    }
}

impl Hub {
    /// Goes on by so many slots and values at most, those of the last connection on top; `peer_of` says where a connection
    /// comes from.
    pub fn walk_connections(
        &self,
        walk: &mut ConnectionsWalk,
        steps: usize,
        now_ns: u64,
        peer_of: impl Fn(ConnId) -> Option<SocketAddr>,
    ) -> Walked {
        let mut left = steps;
        while left > 0 {
            let Some(place) = self.sessions.get(walk.next) else { return Walked::ToTheEnd };
            let is_by_slot = walk.order != ConnectionOrder::Queued;
            if is_by_slot && walk.rows.are_full() {
                walk.is_cut = true;
                return Walked::ToTheEnd;
            }
            walk.next += 1;
            left -= 1;
            let Some(session) = place.as_deref() else { continue };
            // Those found first, where they come by slot.
            let measure = if is_by_slot { u64::MAX } else { self.waiting_bytes(session.conn).total() };
            if walk.rows.would_keep(measure) {
                let listed = self.listed_values(session.conn);
                left = left.saturating_sub(listed.0);
                walk.rows.keep(measure, self.connection_row(session, listed.1, now_ns, &peer_of));
            }
        }
        Walked::AsFarAsAllowed
    }

    /// Goes on by so many slots at most.
    pub fn walk_topics(&self, walk: &mut TopicsWalk, steps: usize) -> Walked {
        let end = self.topics.topics.capacity();
        for _ in 0..steps {
            if walk.next >= end {
                return Walked::ToTheEnd;
            }
            walk.next += 1;
            let Some(topic) = self.topics.topics.get(walk.next - 1) else { continue };
            let instrument = match topic.key {
                TopicKey::Client(_) => None,
                TopicKey::Market { instrument, .. } => Some(instrument),
                TopicKey::Private { view, .. } => view.filter.instrument,
            };
            let row = TopicRow {
                key: topic.key,
                symbol: instrument.map(|instrument| self.cache.state(instrument).definition.name),
                subscribers: topic.subscriptions.into(),
                deliveries_total: topic.deliveries_total,
                seq: topic.seq,
            };
            let measure = row.measure(walk.order);
            if walk.rows.would_keep(measure) {
                walk.rows.keep(measure, row);
            }
        }
        if walk.next >= end { Walked::ToTheEnd } else { Walked::AsFarAsAllowed }
    }

    /// Has the sends of a connection timed from now on, or no longer.
    pub fn trace(&mut self, conn: ConnId, is_on: bool) -> TraceOutcome {
        let traced = self.traced.len();
        let Some(session) = self.session(conn) else { return TraceOutcome::Gone };
        if session.is_traced == is_on {
            return TraceOutcome::Done;
        }
        if is_on && traced >= limits::TRACED_CONNECTIONS_MAX {
            return TraceOutcome::Full;
        }
        session.is_traced = is_on;
        if is_on {
            self.traced.push(Traced { conn, times: SendTimes::default() });
        } else {
            self.traced.retain(|traced| traced.conn != conn);
        }
        TraceOutcome::Done
    }

    /// A send of a connection that is timed has taken so long.
    pub(super) fn note_sent(&mut self, conn: ConnId, took_ns: u64) {
        if let Some(traced) = self.traced.iter_mut().find(|traced| traced.conn == conn) {
            traced.times.note(took_ns);
        }
    }

    fn connection_row(
        &self,
        session: &Session,
        listed_conflated: u64,
        now_ns: u64,
        peer_of: impl Fn(ConnId) -> Option<SocketAddr>,
    ) -> ConnectionRow {
        let conn = session.conn;
        let (deliveries_total, conflated_total) = self.egress.totals(conn.slot);
        let sends = || self.traced.iter().find(|traced| traced.conn == conn).map(|traced| traced.times);
        ConnectionRow {
            conn,
            peer: peer_of(conn),
            state: match session.phase {
                Phase::Introducing | Phase::Securing | Phase::Upgrading { .. } => ConnectionState::Upgrading,
                Phase::Open => ConnectionState::Open,
                Phase::Settling { .. } | Phase::Closing { .. } => ConnectionState::Closing,
            },
            dialect: match (&session.phase, session.service) {
                (Phase::Introducing | Phase::Securing | Phase::Upgrading { .. }, _) => None,
                (_, Service::JsonRpc) if session.is_caller() => Some("http"),
                (_, Service::JsonRpc) if session.receiver.is_length_prefixed() => Some("binary-tcp"),
                (_, Service::JsonRpc) if session.encoding == Encoding::Sbe => Some("sbe"),
                (_, Service::JsonRpc) => Some("json-rpc"),
                (_, Service::Echo) => Some("echo"),
                (_, Service::Mcp) => Some("mcp"),
            },
            client_id: session.login().map(|login| Arc::clone(&login.credential.client_id)),
            age_ns: now_ns.saturating_sub(session.opened_ns),
            topics: session.subscriptions.len(),
            queued_bytes: self.waiting_bytes(conn).total(),
            deliveries_total,
            conflated_total: conflated_total + listed_conflated,
            sends: session.is_traced.then(sends).flatten(),
        }
    }

    /// How many values a connection has listed, and the events that were conflated into them.
    fn listed_values(&self, conn: ConnId) -> (usize, u64) {
        let mut listed = self.egress.first_listed(conn.slot);
        let (mut count, mut conflated) = (0, 0);
        while let Some(subscription) = listed {
            let entry = &self.topics.subscriptions[subscription as usize];
            (count, conflated) = (count + 1, conflated + u64::from(entry.conflated));
            listed = entry.next_listed;
        }
        (count, conflated)
    }
}

/// The rows with the largest measures, so many of them at most.
#[derive(Debug)]
struct Rows<T> {
    limit: usize,
    /// The smallest first.
    heap: BinaryHeap<Reverse<Ranked<T>>>,
    /// How many there were.
    kept: u64,
}

/// Of equal measures the earlier is the larger.
#[derive(Debug)]
struct Ranked<T> {
    measure: u64,
    number: u64,
    row: T,
}

impl<T> Rows<T> {
    fn new(limit: usize) -> Rows<T> {
        Rows { limit: limit.min(limits::INSPECTED_ROWS_MAX), heap: BinaryHeap::new(), kept: 0 }
    }

    fn are_full(&self) -> bool {
        self.heap.len() >= self.limit
    }

    fn would_keep(&self, measure: u64) -> bool {
        !self.are_full() || self.heap.peek().is_some_and(|Reverse(least)| measure > least.measure)
    }

    fn keep(&mut self, measure: u64, row: T) {
        if self.are_full() {
            self.heap.pop();
        }
        self.kept += 1;
        self.heap.push(Reverse(Ranked { measure, number: self.kept, row }));
    }

    /// In no order, but for rows of one measure: those as they came.
    fn into_vec(self) -> Vec<T> {
        let mut ranked = self.heap.into_vec();
        ranked.sort_unstable_by_key(|Reverse(ranked)| ranked.number);
        ranked.into_iter().map(|Reverse(ranked)| ranked.row).collect()
    }
}

impl<T> Ord for Ranked<T> {
    fn cmp(&self, other: &Ranked<T>) -> Ordering {
        (self.measure, Reverse(self.number)).cmp(&(other.measure, Reverse(other.number)))
    }
}

impl<T> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Ranked<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Ranked<T> {
    fn eq(&self, other: &Ranked<T>) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Ranked<T> {}
