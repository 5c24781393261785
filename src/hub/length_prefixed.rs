//! Connections of binary TCP, where they are not as WebSockets are: how they begin, are told why they end, and are sent to. PURE.
//! Home: one shard.
//!
//! Invariant: what waits to be sent are a WebSocket's frames, as for all others; they become length-prefixed in the buffer of a send.

use crate::dialect::json_rpc;
use crate::model::ids::ConnId;
use crate::ws::close::CloseCode;

use super::Hub;
use super::incident::Incident;
use super::session::Phase;
use super::settling::End;
use super::text_frame::replace_with_text_frame;

impl Hub {
    /// What is said gets through by now: there is no upgrade to wait for. Where there is no room for it, it is told so.
    pub(super) fn open_length_prefixed(&mut self, conn: ConnId) {
        let overload = self.overload_rejection();
        let Some(session) = self.session(conn) else { return };
        session.phase = Phase::Open;
        let refused = session.refused.or(overload);
        self.egress.send_length_prefixed(conn.slot);
        if let Some(rejection) = refused {
            self.report(conn, Incident::Refused(rejection));
            return self.close_now(conn, Some(CloseCode::TRY_AGAIN_LATER), rejection.advice());
        }
        self.arm_deadline(conn);
    }

    /// Queues the word that the connection ends, and why, behind the replies that are known; what else waits is dropped.
    pub(super) fn close_length_prefixed(&mut self, conn: ConnId, code: Option<CloseCode>, reason: &str) {
        let slot = conn.slot;
        self.egress.discard_data(slot);
        let Some(code) = code else { return self.end(conn, End::OfStream) };
        let mut frame = std::mem::take(&mut self.scratch);
        replace_with_text_frame(&mut frame, |out| json_rpc::write_closing(out, code.value(), reason));
        let held_bytes = self.egress.held_bytes(slot);
        self.egress.push_reply(slot, &[], &frame);
        self.egress.note_held(slot, held_bytes);
        self.scratch = frame;
        self.mark_closing(conn, false);
    }
}
