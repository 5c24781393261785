//! Calls of methods that backends have: to the shard, which hands them on, and back. PURE. Home: one shard.
//!
//! Invariants: a request has one reply, whatever its backend does: the first of its outcome, its deadline and its cancellation; what
//! comes later for a call that is over is dropped and counted. What waits is bounded for each connection, each backend and the
//! shard before anything is sent, so that a refusal here means that nothing was sent. A call that nobody waits for any more is told
//! of once. An answer goes to the connection that asked, as long as that is who it was.

mod outgoing;
pub mod routes;
mod table;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::dialect::json_rpc::{self, Failure, ForeignCall, Id};
use crate::limits;
use crate::model::call::{Call, CallFailure, CallKey, CallOutcome, CancelledCall};
use crate::model::ids::{ConnId, Ticket};
use crate::model::time::Now;

use super::Hub;
use super::incident::{Declined, Incident};
use super::requests::ReplyTo;
use outgoing::{Head, Outgoing};
use routes::Route;
use table::{Ended, Left, Table};

/// Bounds on calls that the configuration sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Requests of one connection that may wait for backends.
    pub per_connection_max: u32,
}

/// As an empty configuration file has it.
impl Default for CallLimits {
    fn default() -> CallLimits {
        CallLimits { per_connection_max: 128 }
    }
}

/// All that a hub knows of calls.
#[derive(Debug)]
pub(super) struct Calls {
    table: Table,
    outgoing: Outgoing,
    cancelled: VecDeque<CancelledCall>,
}

impl Calls {
    pub(super) fn new(now_ns: u64) -> Calls {
        Calls { table: Table::new(now_ns), outgoing: Outgoing::default(), cancelled: VecDeque::new() }
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

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.table.poll_timeout()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.outgoing.memory_bytes()
    }

    pub(super) fn trim(&mut self) {
        self.outgoing.trim();
    }
}

impl Hub {
    /// The next call for a backend. It is handed on at once, or answered by [`Hub::handle_outcome`] if that can't be.
    pub fn poll_call(&mut self) -> Option<Call<'_>> {
        let Calls { table, outgoing, .. } = &mut self.calls;
        let queued = loop {
            let queued = outgoing.pop()?;
            // One that was cancelled before it was handed out never is.
            if queued.head.ticket.is_none_or(|ticket| table.hand_out(ticket).is_some()) {
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
        assert_eq!(key.home, self.me, "invariant: an outcome goes to the hub that asked");
        self.now = now;
        if !self.calls.table.has(key.ticket) {
            self.counters.call_answers_late_total += 1;
            return;
        }
        match outcome {
            CallOutcome::Result(_) => self.counters.calls_answered_total += 1,
            CallOutcome::Error(_) => self.counters.calls_refused_total += 1,
            CallOutcome::Failed(_) => self.counters.calls_failed_total += 1,
        }
        self.end_call(key.ticket, outcome);
    }

    /// Answers all who wait for a call.
    fn end_call(&mut self, ticket: Ticket, outcome: CallOutcome<'_>) {
        while let Some(Left { reply_to, .. }) = self.calls.table.leave_flight(ticket) {
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
            self.give_up(due);
        }
    }

    /// A method that a backend may have.
    pub(super) fn call_backend(&mut self, reply_to: ReplyTo<'_>, call: &ForeignCall<'_>) {
        let routes = Arc::clone(&self.config.routes);
        let Some(route) = routes.find(&call.method) else {
            return self.reply_error(&reply_to, Failure::METHOD_NOT_FOUND);
        };
        if let Err(failure) = self.check_call_of(reply_to.conn, route) {
            return self.reply_error(&reply_to, failure);
        }
        let terms = routes.backend(route.backend).expect("invariant: a route's backend is there");
        if let Err(failure) = self.admit_call_of(&reply_to, route, terms.under_way_max, call) {
            return self.reply_error(&reply_to, failure);
        }
        let conn = reply_to.conn;
        let due_ns = self.now.mono_ns.saturating_add(terms.timeout_ns);
        let ticket = reply_to.id.map(|_| self.calls.table.begin(route.backend, due_ns));
        match ticket {
            Some(ticket) => self.calls.table.join(ticket, reply_to.keep()),
            // It ends its share of a batch.
            None => self.reply_with(&reply_to, |_| {}),
        }
        let account = self.account_of(conn);
        let Route { backend, is_idempotent, .. } = *route;
        let head = Head { ticket, backend, conn, account, is_idempotent, due_ns };
        self.calls.outgoing.push(head, &call.method, call.params);
    }

    /// `$/cancelRequest`: whether the request was waiting.
    pub(super) fn cancel_call(&mut self, reply_to: &ReplyTo<'_>, id: Id<'_>) {
        let left = self.calls.table.leave_named(reply_to.conn, id.as_str());
        let was_waiting = left.is_some();
        if let Some(left) = left {
            self.counters.calls_cancelled_total += 1;
            self.end_waiting(left, Some(Failure::CALL_CANCELLED.because("cancelled by its client")));
        }
        self.reply_with(reply_to, |out| out.extend_from_slice(if was_waiting { b"true" } else { b"false" }));
    }

    /// Ends all calls of a connection, which is told why unless it is gone.
    pub(super) fn cancel_calls(&mut self, conn: ConnId, why: Option<Failure>) {
        while let Some(left) = self.calls.table.leave_conn(conn) {
            self.counters.calls_cancelled_total += 1;
            self.end_waiting(left, why);
        }
    }

    fn end_waiting(&mut self, left: Left, why: Option<Failure>) {
        let Left { reply_to, ended } = left;
        if let Some(ended) = ended {
            self.give_up(ended);
        }
        if let Some(failure) = why {
            self.reply_error(&reply_to.get(), failure);
        }
    }

    /// A call is over before its backend has answered.
    fn give_up(&mut self, ended: Ended) {
        self.calls.cancelled.extend(ended.cancelled(self.me));
    }

    /// Whether a client may call a method of a route.
    fn check_call_of(&mut self, conn: ConnId, route: &Route) -> Result<(), Failure> {
        let scopes = self.session(conn).and_then(|session| session.login()).map(|login| login.scopes);
        route.access.refused_to(scopes).map_or(Ok(()), Err)
    }

    /// Whether one more call may be under way.
    fn admit_call_of(
        &mut self,
        reply_to: &ReplyTo<'_>,
        route: &Route,
        under_way_max: u32,
        call: &ForeignCall<'_>,
    ) -> Result<(), Failure> {
        let conn = reply_to.conn;
        if !self.session(conn).is_some_and(|session| session.is_open()) {
            return Err(Failure::RETRY.because("not sent: the connection ends"));
        }
        let table = &self.calls.table;
        let why = if table.of_conn(conn) >= self.config.calls.per_connection_max {
            "not sent: as many calls of this connection are under way as may be"
        } else if table.of_backend(route.backend) >= under_way_max {
            "not sent: as much is under way to the backend as may be"
        } else if table.waiting_count() >= limits::CALLS_WAITING_MAX
            || !self.calls.outgoing.has_room(&call.method, call.params)
        {
            "not sent: too many calls are under way"
        } else {
            return Ok(());
        };
        self.report(conn, Incident::Declined(Declined::CallsUnderWay));
        Err(Failure::RETRY.because(why))
    }
}
