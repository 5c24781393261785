//! What a hub holds in bytes, at any moment and without a walk: each part counts as it grows and shrinks. PURE. Home: one
//! shard.
//!
//! Counted is what clients can make grow: queues, logs, replies, those of batches that wait too, unfinished messages,
//! subscriptions, values, histories, batches and log-ins under way. Not counted: what lives within a turn (a message being read), the
//! rounding of the allocator, and room that tables keep for entries that are gone.

use crate::model::ids::ConnId;
use crate::model::market::InstrumentState;

use super::Hub;
use super::batch_reply::PendingBatch;
use super::messages::PendingMessageAsk;
use super::orders::PendingAsk;
use super::publish::PendingPublish;
use super::session::Session;
use super::subscribe::{Join, PendingSubscribe};

/// A session with its share of the timer wheel.
const SESSION_BYTES: usize = size_of::<Session>() + 64;

/// Bytes above which the buffer that replies are written in is not kept at a raised stance.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

impl Hub {
    /// Bytes of memory that the hub holds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let sessions = self.sessions.capacity() * size_of::<Option<Box<Session>>>();
        let live = self.counters.connections_opened_total - self.counters.connections_closed_total;
        let live = usize::try_from(live).unwrap_or(usize::MAX);
        let waiting = self.joins.entries.len() * size_of::<Join>()
            + self.subscribes.entries.len() * size_of::<PendingSubscribe>()
            + self.publishes.entries.len() * size_of::<PendingPublish>()
            + self.asks.entries.len() * size_of::<PendingAsk>()
            + self.message_asks.entries.len() * size_of::<PendingMessageAsk>()
            + self.batches.entries.len() * size_of::<PendingBatch>()
            + self.login_bytes;
        sessions
            + live * SESSION_BYTES
            + self.unfinished_bytes
            + self.batched_bytes
            + waiting
            + self.forwardings.memory_bytes()
            + self.egress.memory_bytes()
            + self.topics.memory_bytes()
            + self.home.memory_bytes()
            + self.outbox.memory_bytes()
            + self.calls.memory_bytes()
            + self.cache.instruments().len() * InstrumentState::MEMORY_BYTES
            + self.scratch.capacity()
            + self.inflaters.memory_bytes()
    }

    /// Takes the memory that busy turns need now rather than then.
    pub fn make_ready(&mut self) {
        self.outbox.make_ready();
    }

    /// Gives back what is only kept to be used again.
    pub(super) fn trim(&mut self) {
        self.egress.trim();
        self.outbox.trim();
        self.calls.trim(self.config.calls);
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
    }

    /// Takes note of what a session's unfinished request or message holds by now.
    pub(super) fn note_unfinished(&mut self, conn: ConnId) {
        let Some(session) = self.session(conn) else { return };
        let noted_bytes = session.noted_bytes;
        let unfinished_bytes = session.unfinished_bytes();
        session.noted_bytes = u32::try_from(unfinished_bytes)
            .expect("invariant: the receive limits, and those on reads that wait, leave it far below 4 GiB");
        self.unfinished_bytes = self.unfinished_bytes - noted_bytes as usize + unfinished_bytes;
    }

    /// Drops what a session has not finished: nothing more of it is read.
    pub(super) fn forget_unfinished(&mut self, conn: ConnId) {
        let Some(session) = self.sessions[conn.slot as usize].as_mut().filter(|session| session.conn == conn)
        else {
            return;
        };
        session.drop_unread();
        session.receiver.release(&mut self.inflaters);
        self.inflating.leave(conn.slot);
        let noted_bytes = std::mem::take(&mut session.noted_bytes);
        self.unfinished_bytes -= noted_bytes as usize;
    }
}
