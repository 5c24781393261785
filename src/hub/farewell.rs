//! How clients are sent away when the server stops: who listens to `platform_state` is told at once, a bounded number a turn,
//! and everybody is closed when its time has come. PURE. Home: the shard's thread.
//! Invariant: who listens is told once, and before its close frame.

use super::session::Phase;
use super::text_frame::replace_with_text_frame;
use super::{Effect, Ending, Hub};
use crate::dialect::json_rpc;
use crate::model::ids::ConnId;
use crate::model::time::Now;
use crate::ws::close::CloseCode;

impl Hub {
    /// The server is going away: every client is told by close code 1001.
    pub fn handle_shutdown(&mut self, now: Now) {
        let clients = self.begin_shutdown(now);
        self.shut_down(clients, now);
    }

    /// The server is going away: who comes from now on is turned away. How many are to be sent away.
    pub fn begin_shutdown(&mut self, now: Now) -> usize {
        self.now = now;
        self.stopping = true;
        self.stop_processors();
        self.leaving = self.sessions.iter().flatten().map(|session| session.conn).collect();
        self.leaving.len()
    }

    /// Tells those who listen to `platform_state`, of so many slots.
    pub fn tell_platform(&mut self, slots: usize, now: Now) {
        self.now = now;
        for slot in self.untold..self.sessions.len().min(self.untold + slots) {
            self.untold = slot + 1;
            let Some(conn) = self.sessions[slot].as_deref().map(|session| session.conn) else { continue };
            // While a reply is awaited that may announce the channel, the word comes after it: before the close frame.
            if !self.egress.is_held(conn) {
                self.tell_going(conn);
            }
        }
    }

    /// Whether [`Hub::tell_platform`] has not come to all by now.
    #[must_use]
    pub fn has_untold(&self) -> bool {
        self.stopping && self.untold < self.sessions.len()
    }

    /// Tells a client that the server is about to go, if it is and the client listens and does not know.
    pub(super) fn tell_going(&mut self, conn: ConnId) {
        let is_stopping = self.stopping;
        let Some(session) = self.session(conn).filter(|session| is_stopping && session.is_answered()) else {
            return;
        };
        if !std::mem::take(&mut session.hears_platform) {
            return;
        }
        let (mut frame, unix_ns) = (std::mem::take(&mut self.scratch), self.now.unix_ns);
        replace_with_text_frame(&mut frame, |out| json_rpc::write_maintenance(out, unix_ns));
        let held_bytes = self.egress.held_bytes(conn.slot);
        self.egress.push_reply(conn.slot, &[], &frame);
        self.egress.note_held(conn.slot, held_bytes);
        self.counters.deliveries_total += 1;
        self.scratch = frame;
    }

    /// Whether a client listens to `platform_state` from now on; whether it did before.
    pub(super) fn hear_platform(&mut self, conn: ConnId, hears: bool) -> bool {
        self.session(conn).is_some_and(|session| std::mem::replace(&mut session.hears_platform, hears))
    }

    /// So many of them are told by close code 1001; until then they are served.
    pub fn shut_down(&mut self, count: usize, now: Now) {
        self.now = now;
        let left = self.leaving.len().saturating_sub(count);
        for conn in self.leaving.split_off(left) {
            match self.session(conn).map(|session| &session.phase) {
                Some(Phase::Open) => {
                    self.begin_close_with(conn, Some(CloseCode::GOING_AWAY), "server is shutting down");
                }
                Some(Phase::Introducing | Phase::Securing | Phase::Upgrading { .. }) => {
                    self.effects.push_back(Effect::Disconnect { conn, ending: Ending::Graceful });
                    self.mark_closing(conn, true);
                }
                Some(Phase::Settling { .. } | Phase::Closing { .. }) | None => {}
            }
        }
    }
}
