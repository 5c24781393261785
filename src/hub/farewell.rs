//! How clients are sent away when the server stops. PURE. Home: the shard's thread.

use super::session::Phase;
use super::{Effect, Ending, Hub};
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
        self.leaving = self.sessions.iter().flatten().map(|session| session.conn).collect();
        self.leaving.len()
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
                Some(Phase::Securing | Phase::Upgrading { .. }) => {
                    self.effects.push_back(Effect::Disconnect { conn, ending: Ending::Graceful });
                    self.mark_closing(conn, true);
                }
                Some(Phase::Settling { .. } | Phase::Closing { .. }) | None => {}
            }
        }
    }
}
