//! What the layers below the hub tell of a connection: TLS, and the network. PURE. Home: one shard.
//! Invariant: of a fault below nothing of the hub's is told to the peer, and what it finds after the first counts for nothing.

use crate::model::ids::ConnId;
use crate::model::time::Now;
use crate::tls;

use super::Hub;
use super::effect::{Effect, Ending};
use super::incident::Incident;
use super::session::{Phase, Session};

impl Hub {
    /// The TLS handshake below is done: from now on the peer can be told something.
    pub fn handle_secured(&mut self, conn: ConnId) {
        if let Some(session) = self.session(conn)
            && matches!(session.phase, Phase::Securing)
        {
            session.phase = Phase::UPGRADING;
            if session.receiver.is_length_prefixed() {
                self.open_length_prefixed(conn);
            }
        }
    }

    /// The connection is about to be cut off, because its peer's network acknowledges nothing or says that it is not there.
    pub fn handle_vanished(&mut self, conn: ConnId, now: Now) {
        self.now = now;
        if self.session(conn).is_some() {
            self.report(conn, Incident::Vanished);
        }
    }

    /// The layer below the hub found a fault and tells the peer itself; nothing of ours gets through any more. After
    /// the first of a connection, none counts.
    pub fn handle_fault(&mut self, conn: ConnId, fault: tls::Fault, now: Now) {
        self.now = now;
        let is_ending =
            |session: &mut Session| matches!(session.phase, Phase::Closing { ending_asked: true, .. });
        if self.session(conn).is_some_and(|session| !is_ending(session)) {
            self.report(conn, Incident::Tls(fault));
            self.unsubscribe_all(conn);
            self.egress.discard_data(conn.slot);
            self.egress.discard_replies(conn.slot);
            self.effects.push_back(Effect::Disconnect { conn, ending: Ending::Graceful });
            self.mark_closing(conn, true);
        }
    }
}
