//! One link to a backend: how far it is, what waits on it. PURE. Home: one shard.
//!
//! Invariant: a link has one connection at most, and takes calls only while somebody will soon send them.

use super::lines::Lines;
use super::outbox::{Batching, Outbox};
use super::service::ServiceId;
use crate::backend::pool::{Backoff, MemberId};
use crate::limits;
use crate::model::ids::ConnId;

/// A link by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(pub(super) u16);

impl LinkId {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was to be sent for long: the next call connects it.
    Idle,
    /// A connection is asked for, but not before.
    Wanted {
        not_before_ns: u64,
    },
    Connecting,
    Up(ConnId),
    /// An attempt failed, or the connection was lost.
    Waiting {
        until_ns: u64,
    },
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) service: ServiceId,
    pub(super) member: MemberId,
    /// As the configuration has it.
    pub(super) address: Box<str>,
    pub(super) phase: Phase,
    /// Of the attempt that is under way.
    pub(super) tag: u32,
    /// Counts attempts, by which the addresses of a name take turns.
    pub(super) attempt: usize,
    pub(super) backoff: Backoff,
    pub(super) outbox: Outbox,
    pub(super) lines: Lines,
    /// Calls and probes.
    pub(super) in_flight: u32,
    /// It takes no more: once nothing is under way it goes.
    pub(super) is_leaving: bool,
    /// It is in the list of those that have something to send.
    pub(super) is_dirty: bool,
    /// As its service was told.
    pub(super) has_room: bool,
    pub(super) used_ns: u64,
    pub(super) received_ns: u64,
    /// Calls in a row that ended at their deadline without a byte since they were sent.
    pub(super) silent_timeouts: u32,
    /// Lines in a row that were no messages.
    pub(super) garbage_lines: u32,
    /// What it said can't be: it is to be closed.
    pub(super) is_broken: bool,
}

impl Link {
    pub(super) fn new(
        service: ServiceId,
        member: MemberId,
        address: Box<str>,
        attempt: usize,
        backoff: Backoff,
        line_bytes_max: usize,
    ) -> Link {
        Link {
            service,
            member,
            address,
            phase: Phase::Wanted { not_before_ns: 0 },
            tag: 0,
            attempt,
            backoff,
            outbox: Outbox::default(),
            lines: Lines::new(line_bytes_max),
            in_flight: 0,
            is_leaving: false,
            is_dirty: false,
            has_room: false,
            used_ns: 0,
            received_ns: 0,
            silent_timeouts: 0,
            garbage_lines: 0,
            is_broken: false,
        }
    }

    pub(super) const fn conn(&self) -> Option<ConnId> {
        match self.phase {
            Phase::Up(conn) => Some(conn),
            Phase::Idle | Phase::Wanted { .. } | Phase::Connecting | Phase::Waiting { .. } => None,
        }
    }

    /// Whether a call may be put on it. One that failed to connect takes none until it is up.
    pub(super) fn takes_calls(&self) -> bool {
        let is_reached = match self.phase {
            Phase::Up(_) => true,
            Phase::Idle | Phase::Wanted { .. } | Phase::Connecting => self.backoff.failures() == 0,
            Phase::Waiting { .. } => false,
        };
        is_reached
            && !self.is_leaving
            && self.in_flight < limits::RPC_CALLS_PER_LINK_MAX
            && self.outbox.waiting_bytes() < limits::RPC_UNSENT_BYTES_MAX
    }

    /// Whether it is up, but takes no calls, as too much is under way.
    pub(super) fn is_full(&self) -> bool {
        matches!(self.phase, Phase::Up(_)) && !self.is_leaving && !self.takes_calls()
    }

    /// Closes the array that is gathered if it is time; whether there is anything to send.
    pub(super) fn close_due(&mut self, batching: Option<Batching>, now_ns: u64) -> bool {
        let is_quiet = self.in_flight <= self.outbox.gathered();
        self.outbox.close_due(now_ns, batching, is_quiet);
        !self.outbox.unsent().is_empty()
    }

    pub(super) fn has_gone_quiet(&self) -> bool {
        self.in_flight == 0 && self.outbox.waiting_bytes() == 0
    }
}
