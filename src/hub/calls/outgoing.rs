//! Calls of one turn until the shard takes them: their bytes one behind another in one buffer. PURE. Home: one shard.
//!
//! Invariants: what waits is bounded in number and bytes; once all is taken the next call begins the buffer anew, so that it does not
//! grow in a steady state.

use std::collections::VecDeque;

use crate::limits;
use crate::model::call::{BackendId, Call, CallKey};
use crate::model::ids::{ConnId, HomeId, Ticket};
use crate::model::order::AccountId;

/// What a call is but for its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// `None` for a notification.
    pub(super) ticket: Option<Ticket>,
    pub(super) backend: BackendId,
    pub(super) conn: ConnId,
    pub(super) account: Option<AccountId>,
    pub(super) is_idempotent: bool,
    pub(super) due_ns: u64,
}

/// A call that waits to be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    pub(super) head: Head,
    method: Span,
    params: Option<Span>,
    trace_parent: Option<Span>,
}

/// A call's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    pub(super) method: &'a str,
    pub(super) params: Option<&'a [u8]>,
    pub(super) trace_parent: Option<&'a str>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Queued>,
    bytes: Vec<u8>,
}

impl Outgoing {
    /// Whether a call has room.
    pub(super) fn has_room(&self, body: Body<'_>) -> bool {
        let held_bytes = if self.queue.is_empty() { 0 } else { self.bytes.len() };
        let Body { method, params, trace_parent } = body;
        let own_bytes = method.len() + params.map_or(0, <[u8]>::len) + trace_parent.map_or(0, str::len);
        let bytes = held_bytes + own_bytes;
        self.queue.len() < limits::CALLS_OUTGOING_MAX && bytes <= limits::CALL_BYTES_OUTGOING_MAX
    }

    /// Puts a call behind the others; there is room for it.
    pub(super) fn push(&mut self, head: Head, body: Body<'_>) {
        if self.queue.is_empty() {
            self.bytes.clear();
        }
        let method = self.keep(body.method.as_bytes());
        let params = body.params.map(|params| self.keep(params));
        let trace_parent = body.trace_parent.map(|trace_parent| self.keep(trace_parent.as_bytes()));
        self.queue.push_back(Queued { head, method, params, trace_parent });
    }

    /// The first call; its bytes are there until the next is put.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        self.queue.pop_front()
    }

    /// A call of a hub as its carrier is told of it.
    pub(super) fn call(&self, home: HomeId, queued: Queued) -> Call<'_> {
        let Queued { head, method, params, trace_parent } = queued;
        let Head { ticket, backend, conn, account, is_idempotent, due_ns } = head;
        Call {
            key: ticket.map(|ticket| CallKey { home, ticket }),
            backend,
            conn,
            account,
            method: self.text_of(method),
            params: params.map(|params| self.bytes_of(params)),
            trace_parent: trace_parent.map(|trace_parent| self.text_of(trace_parent)),
            is_idempotent,
            due_ns,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.queue.capacity() * size_of::<Queued>()
    }

    /// Gives back what is only kept to be used again.
    pub(super) fn trim(&mut self) {
        if self.queue.is_empty() {
            *self = Outgoing::default();
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.place();
        self.bytes.extend_from_slice(bytes);
        Span { start, end: self.place() }
    }

    fn place(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("invariant: at most CALL_BYTES_OUTGOING_MAX")
    }

    fn text_of(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes_of(span))
            .expect("invariant: the bytes were a text when they were kept")
    }

    fn bytes_of(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }
}
