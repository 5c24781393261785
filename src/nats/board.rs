//! How the connections to NATS are, for operators.
//!
//! Home: shared; the thread that speaks to NATS writes, any thread reads. Invariant: every number has that one writer, and all but times and `is_up` only grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

/// See the file's head.
#[derive(Debug, Default)]
pub struct NatsBoard {
    pub(super) is_up: AtomicBool,
    pub(super) server: ArcSwapOption<String>,
    pub(super) reconnects: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) told_messages: AtomicU64,
    pub(super) told_bytes: AtomicU64,
    pub(super) heard_messages: AtomicU64,
    pub(super) heard_bytes: AtomicU64,
    pub(super) dropped_away: AtomicU64,
    pub(super) dropped_refused: AtomicU64,
    pub(super) dropped_behind: AtomicU64,
    pub(super) dropped_slow: AtomicU64,
    pub(super) dropped_strange: AtomicU64,
    pub(super) lease_unknown: AtomicU64,
    pub(super) lease_strange: AtomicU64,
    pub(super) session_requests: AtomicU64,
    pub(super) session_unknown: AtomicU64,
    pub(super) session_strange: AtomicU64,
    pub(super) presence_written: AtomicU64,
    pub(super) presence_unwritten: AtomicU64,
    pub(super) presence_strange: AtomicU64,
    pub(super) round_trip_ns: AtomicU64,
}

/// What a [`NatsBoard`] says at one time. Totals are since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatsReading {
    /// All connections are there.
    pub is_up: bool,
    /// The server that carries market data, or the last that did: its name, address and version, as it says.
    pub server: Option<Arc<String>>,
    /// Connections made but for the first of each.
    pub reconnects: u64,
    /// Rounds of tries to connect, of each connection, in which no server took this node.
    pub failures: u64,
    /// Parts, requests and answers that were handed to NATS, and their bytes.
    pub told_messages: u64,
    pub told_bytes: u64,
    /// Those that came from NATS and were handed to the market's thread.
    pub heard_messages: u64,
    pub heard_bytes: u64,
    /// Not told, since NATS was away.
    pub dropped_away: u64,
    /// Not told, since NATS takes no message so long, or no such subject.
    pub dropped_refused: u64,
    /// Heard, and the market's thread was too far behind.
    pub dropped_behind: u64,
    /// Heard, and this thread was too far behind: so many at least.
    pub dropped_slow: u64,
    /// Heard, and asked for an answer to where no node is.
    pub dropped_strange: u64,
    /// Requests about the lease that nobody has answered in time.
    pub lease_unknown: u64,
    /// Values of the lease that are none.
    pub lease_strange: u64,
    /// Requests about named sessions, those of them that nobody has answered in time, and values of their bucket that are none.
    pub session_requests: u64,
    pub session_unknown: u64,
    pub session_strange: u64,
    /// Changes of who is present that NATS has, and those that it did not take at once.
    pub presence_written: u64,
    pub presence_unwritten: u64,
    /// Values of who is present that are none.
    pub presence_strange: u64,
    /// The last time from telling NATS something to hearing it, in nanoseconds; 0 before there is one.
    pub round_trip_ns: u64,
}

impl NatsBoard {
    #[must_use]
    pub fn reading(&self) -> NatsReading {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        NatsReading {
            is_up: self.is_up.load(Ordering::Relaxed),
            server: self.server.load_full(),
            reconnects: of(&self.reconnects),
            failures: of(&self.failures),
            told_messages: of(&self.told_messages),
            told_bytes: of(&self.told_bytes),
            heard_messages: of(&self.heard_messages),
            heard_bytes: of(&self.heard_bytes),
            dropped_away: of(&self.dropped_away),
            dropped_refused: of(&self.dropped_refused),
            dropped_behind: of(&self.dropped_behind),
            dropped_slow: of(&self.dropped_slow),
            dropped_strange: of(&self.dropped_strange),
            lease_unknown: of(&self.lease_unknown),
            lease_strange: of(&self.lease_strange),
            session_requests: of(&self.session_requests),
            session_unknown: of(&self.session_unknown),
            session_strange: of(&self.session_strange),
            presence_written: of(&self.presence_written),
            presence_unwritten: of(&self.presence_unwritten),
            presence_strange: of(&self.presence_strange),
            round_trip_ns: of(&self.round_trip_ns),
        }
    }
}

/// By the one who writes.
pub(super) fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
