//! Calls of methods that backends have: to the shard, which hands them on, and back. PURE. Home: one shard.
//!
//! Invariants: a request has one reply, whatever its backend does: the first of its outcome, its deadline and its cancellation; what
//! comes later for a call that is over is dropped and counted. What waits is bounded for each connection, each backend and the
//! shard before anything is sent, so that a refusal here means that nothing was sent. A call that nobody waits for any more is told
//! of once. An answer goes to the connections that asked, as long as they are who they were.

mod admission;
mod cache;
mod forgetting;
mod outgoing;
mod patterns;
pub mod routes;
mod table;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::dialect::json_rpc::{self, Failure, Id};
use crate::limits;
use crate::model::call::{BackendId, Call, CallFailure, CallKey, CallOutcome, CancelledCall};
use crate::model::ids::{ConnId, Ticket};
use crate::model::invalidation::{Invalidation, Methods};
use crate::model::time::Now;

use super::Hub;
use super::requests::ReplyTo;
use super::text_frame::replace_with_text_frame;
use cache::{AnswerCache, Bounds};
use outgoing::Outgoing;
use table::{Ended, Left, Table};

pub(super) use admission::PROCESS_METHOD;
pub(super) use table::Parcel;

/// Bytes of the notification and its frame around what is said, the longest id among them.
const PROGRESS_BYTES: usize = 256;
const _: () = assert!(PROGRESS_BYTES > json_rpc::ID_BYTES_MAX + 80);

/// Bounds on calls that the configuration sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Requests of one connection that may wait for backends.
    pub per_connection_max: u32,
    /// Results of backends that one shard keeps to be told again, and the bytes of those and what they are known by.
    pub cache_entries_max: usize,
    pub cache_bytes_max: usize,
}

/// As an empty configuration file has it.
impl Default for CallLimits {
    fn default() -> CallLimits {
        CallLimits { per_connection_max: 128, cache_entries_max: 16_384, cache_bytes_max: 64 << 20 }
    }
}

impl CallLimits {
    fn cache_bounds(&self) -> Bounds {
        Bounds { entries_max: self.cache_entries_max, bytes_max: self.cache_bytes_max }
    }
}

/// All that a hub knows of calls.
#[derive(Debug)]
pub(super) struct Calls {
    table: Table,
    cache: AnswerCache,
    outgoing: Outgoing,
    cancelled: VecDeque<CancelledCall>,
}

impl Calls {
    pub(super) fn new(limits: CallLimits, now_ns: u64) -> Calls {
        Calls {
            table: Table::new(now_ns),
            cache: AnswerCache::new(limits.cache_bounds(), now_ns),
            outgoing: Outgoing::default(),
            cancelled: VecDeque::new(),
        }
    }

    /// Whether requests of a connection wait for an answer.
    pub(super) fn has_waiting(&self, conn: ConnId) -> bool {
        self.table.of_conn(conn) > 0
    }

    /// Requests that wait for an answer.
    pub(super) fn waiting_count(&self) -> usize {
        self.table.waiting_count()
    }

    /// Calls that they wait for.
    pub(super) fn under_way_count(&self) -> usize {
        self.table.under_way_count()
    }

    /// Results that are kept, keys whose calls are under way, and the bytes of both.
    pub(super) fn cached(&self) -> (usize, usize) {
        (self.cache.len(), self.cache.held_bytes())
    }

    /// Results that have gone to make room, since their time was over, and since somebody said so.
    pub(super) fn cache_losses(&self) -> [u64; 3] {
        [self.cache.evicted_total, self.cache.expired_total, self.cache.invalidated_total]
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        [self.table.poll_timeout(), self.cache.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.outgoing.memory_bytes() + self.cache.memory_bytes()
    }

    /// Gives back what is only kept to be used again.
    pub(super) fn trim(&mut self, limits: CallLimits) {
        self.outgoing.trim();
        self.cache.clear(limits.cache_bounds());
    }
}

impl Hub {
    /// The next call for a backend, once [`Hub::poll_cancelled`] has no more to say. It is handed on at once, or answered by
    /// [`Hub::handle_outcome`] if that can't be.
    pub fn poll_call(&mut self) -> Option<Call<'_>> {
        let Calls { table, outgoing, .. } = &mut self.calls;
        let queued = loop {
            let queued = outgoing.pop()?;
            // One that was cancelled before it was handed out never is.
            if queued.head.ticket.is_none_or(|ticket| table.hand_out(ticket)) {
                break queued;
            }
        };
        self.counters.calls_sent_total += 1;
        Some(self.calls.outgoing.call(self.me, queued))
    }

    /// The next call that was handed out and that nobody waits for any more.
    pub fn poll_cancelled(&mut self) -> Option<CancelledCall> {
        self.calls.cancelled.pop_front()
    }

    /// A backend has answered a call, or will not.
    ///
    /// # Panics
    /// The call is another hub's.
    pub fn handle_outcome(&mut self, key: CallKey, outcome: CallOutcome<'_>, now: Now) {
        self.now = now;
        if !self.awaits(key) {
            return;
        }
        match outcome {
            CallOutcome::Result(_) => self.counters.calls_answered_total += 1,
            CallOutcome::Error(_) => self.counters.calls_refused_total += 1,
            CallOutcome::Failed(_) => self.counters.calls_failed_total += 1,
        }
        if let (CallOutcome::Result(result), Some((at, ttl_ns))) =
            (outcome, self.calls.table.kept_at(key.ticket))
        {
            let until_ns = self.now.mono_ns.saturating_add(ttl_ns);
            self.calls.cache.keep(at, key.ticket, result, until_ns);
        }
        self.end_call(key.ticket, outcome);
        self.serve_answered();
    }

    /// A backend says how far a call has come, by one valid JSON value. Clients that do not read what they are told are spared it.
    ///
    /// # Panics
    /// The call is another hub's.
    pub fn handle_progress(&mut self, key: CallKey, value: &[u8], now: Now) {
        self.now = now;
        if !self.awaits(key) {
            return;
        }
        let mut behind = None;
        while let Some((at, reply_to)) = self.calls.table.next_waiting(key.ticket, behind) {
            behind = Some(at);
            self.tell_progress(&reply_to.get(), value);
        }
    }

    fn tell_progress(&mut self, reply_to: &ReplyTo<'_>, value: &[u8]) {
        let conn = reply_to.conn;
        let is_caller = self.session(conn).is_none_or(|session| session.is_caller());
        let Some(id) = reply_to.id.filter(|_| !is_caller) else { return };
        // So that it neither pauses nor ends the connection.
        if self.egress.reply_bytes(conn.slot) + value.len() + PROGRESS_BYTES > limits::REPLY_BYTES_PAUSE {
            self.counters.call_progress_dropped_total += 1;
            return;
        }
        self.counters.call_progress_total += 1;
        let mut frame = std::mem::take(&mut self.scratch);
        replace_with_text_frame(&mut frame, |out| json_rpc::write_progress(out, id, value));
        self.work.written(frame.len());
        self.queue_reply(conn, &frame);
        self.scratch = frame;
    }

    /// Whether somebody waits for a call; if not, what came for it is counted.
    fn awaits(&mut self, key: CallKey) -> bool {
        assert_eq!(key.home, self.me, "invariant: what is said of a call goes to the hub that made it");
        let awaits = self.calls.table.has(key.ticket);
        self.counters.call_answers_late_total += u64::from(!awaits);
        awaits
    }

    /// Answers all who wait for a call.
    fn end_call(&mut self, ticket: Ticket, outcome: CallOutcome<'_>) {
        if let Some(parcel) = self.calls.table.end_parcel(ticket) {
            return self.on_processed(parcel, outcome);
        }
        while let Some(Left { reply_to, ended }) = self.calls.table.leave_flight(ticket) {
            if let Some(Ended { kept_at: Some(at), .. }) = ended {
                // A result is there by now.
                self.calls.cache.abandon(at, ticket);
            }
            match outcome {
                CallOutcome::Result(result) => {
                    self.reply_with(&reply_to.get(), |out| out.extend_from_slice(result));
                }
                CallOutcome::Error(error) => self.reply_foreign_error(&reply_to.get(), error),
                CallOutcome::Failed(failure) => {
                    self.reply_error(&reply_to.get(), json_rpc::call_failure(failure));
                }
            }
            self.settle(reply_to.conn);
        }
    }

    /// Ends calls whose time is over, so many at most; others wait for the next look.
    pub(super) fn end_due_calls(&mut self) {
        for _ in 0..limits::CALLS_ENDED_PER_TIMEOUT {
            let Some(due) = self.calls.table.next_due(self.now.mono_ns) else { break };
            self.counters.calls_timed_out_total += 1;
            let failure = if due.is_handed { CallFailure::TimedOut } else { CallFailure::Unavailable };
            self.end_call(due.ticket, CallOutcome::Failed(failure));
            self.calls.cancelled.extend(due.cancelled(self.me));
        }
        self.calls.cache.sweep(self.now.mono_ns);
        self.serve_answered();
    }

    /// `$/cancelRequest`: whether the request was waiting.
    pub(super) fn cancel_call(&mut self, reply_to: &ReplyTo<'_>, id: Id<'_>) {
        let left = self.calls.table.leave_named(reply_to.conn, id.as_str());
        let was_waiting = left.is_some();
        if let Some(left) = left {
            self.end_waiting(left, Some(Failure::CALL_CANCELLED.because("cancelled by its client")));
        }
        self.reply_with(reply_to, |out| out.extend_from_slice(if was_waiting { b"true" } else { b"false" }));
    }

    /// Ends all calls of a connection, which is told why unless it is gone.
    pub(super) fn cancel_calls(&mut self, conn: ConnId, why: Option<Failure>) {
        while let Some(left) = self.calls.table.leave_conn(conn) {
            self.end_waiting(left, why);
        }
    }

    /// Other routes hold from now on, or other bounds: results of before are nothing any more.
    pub(super) fn forget_results(&mut self) {
        self.calls.cache.clear(self.config.calls.cache_bounds());
    }

    /// Results that were asked for up to now are not told to who asks from now on, and calls for such that are under way are not joined: what
    /// comes of them is told to who waits, and not kept.
    pub fn handle_invalidation(&mut self, invalidation: &Arc<Invalidation>, now: Now) {
        self.now = now;
        match &invalidation.backend {
            None => self.invalidate(None, invalidation),
            Some(name) => {
                // One that is not here is another node's, or has just gone, and what was kept of it with it.
                let id = self.config.routes.named(name);
                id.into_iter().for_each(|id| self.invalidate(Some(id), invalidation));
            }
        }
    }

    /// What a backend says by a link of this shard, as other shards are told it; `None` where it has just gone.
    #[must_use]
    pub fn invalidation_of(&self, backend: BackendId, methods: Methods) -> Option<Arc<Invalidation>> {
        let name = self.config.routes.backend(backend)?.name.clone();
        Some(Arc::new(Invalidation { backend: Some(name), methods }))
    }

    fn invalidate(&mut self, backend: Option<BackendId>, invalidation: &Arc<Invalidation>) {
        self.counters.call_cache_invalidations_total += 1;
        self.calls.cache.invalidate(backend, Arc::clone(invalidation));
    }

    fn end_waiting(&mut self, left: Left, why: Option<Failure>) {
        let Left { reply_to, ended } = left;
        self.counters.calls_cancelled_total += 1;
        if let Some(ended) = ended {
            ended.kept_at.into_iter().for_each(|at| self.calls.cache.abandon(at, ended.ticket));
            self.calls.cancelled.extend(ended.cancelled(self.me));
        }
        if let Some(failure) = why {
            self.reply_error(&reply_to.get(), failure);
        }
    }
}
