//! The end of a connection whose requests still wait for other threads: its close frame, or the end of our side, follows
//! their replies. PURE. Home: one shard.
//!
//! Invariants: a connection settles once, and for half of its close timeout at most; the other half is for its peer to take
//! what it is told, so that it ends within the timeout as any other does.

use crate::model::ids::ConnId;
use crate::model::order::Departure;
use crate::ws::close::CloseCode;

use super::Hub;
use super::effect::{Effect, Ending};
use super::session::Phase;

/// What follows the replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    CloseFrame {
        code: Option<CloseCode>,
        reason: &'static str,
    },
    /// The peer has ended its side without a close frame.
    OfStream,
}

/// Nanoseconds that a connection may settle for.
pub(super) fn settling_ns(close_timeout_ns: u64) -> u64 {
    close_timeout_ns / 2
}

impl Hub {
    /// Ends a connection as soon as what it has asked is answered; data that wait are dropped.
    pub(super) fn end_after_replies(&mut self, conn: ConnId, end: End) {
        self.depart(conn, Departure::Disconnected);
        self.unsubscribe_all(conn);
        self.egress.discard_data(conn.slot);
        let waits = self.awaits_replies(conn);
        let since_ns = self.now.mono_ns;
        let Some(session) = self.session(conn) else { return };
        if !session.is_open() || !waits {
            return self.end(conn, end);
        }
        session.phase = Phase::Settling { since_ns, end };
        session.heartbeat = None;
        self.forget_unfinished(conn);
        self.arm_deadline(conn);
    }

    /// Another thread has answered: whether a connection that settles has waited for no more than that.
    pub(super) fn settle(&mut self, conn: ConnId) {
        let settles =
            self.session(conn).is_some_and(|session| matches!(session.phase, Phase::Settling { .. }));
        if settles && !self.awaits_replies(conn) {
            self.end_settling(conn);
        }
    }

    /// Ends a connection that settles, whether or not all of its replies are there.
    pub(super) fn end_settling(&mut self, conn: ConnId) {
        if let Some(Phase::Settling { end, .. }) = self.session(conn).map(|session| &session.phase) {
            let end = *end;
            self.end(conn, end);
        }
    }

    fn awaits_replies(&mut self, conn: ConnId) -> bool {
        let waits = self
            .session(conn)
            .is_some_and(|session| session.requests_pending > 0 || session.awaits_verdict());
        waits || self.calls.has_waiting(conn) || self.egress.is_held(conn)
    }

    pub(super) fn end(&mut self, conn: ConnId, end: End) {
        match end {
            End::CloseFrame { code, reason } => self.close_now(conn, code, reason),
            End::OfStream => {
                let drained = self.egress.is_drained(conn.slot);
                if drained {
                    self.effects.push_back(Effect::Disconnect { conn, ending: Ending::Graceful });
                }
                self.mark_closing(conn, drained);
            }
        }
    }
}
