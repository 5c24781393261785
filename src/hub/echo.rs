//! `/echo`: every message comes back as it is, text as text and binary as binary. For conformance suites. PURE.
//! Home: one shard. Invariant: what one client makes wait is bounded, as with replies.

use crate::limits;
use crate::model::ids::ConnId;
use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_header};
use crate::ws::receiver::ReceiveLimits;

use super::Hub;

/// Where it is served.
pub(super) const PATH: &str = "/echo";

/// What it takes of a client: the largest that the suites send.
pub(super) const RECEIVE: ReceiveLimits = ReceiveLimits {
    frame_bytes_max: limits::ECHO_MESSAGE_BYTES_MAX,
    message_bytes_max: limits::ECHO_MESSAGE_BYTES_MAX,
    fragments_max: limits::ECHO_FRAGMENTS_MAX,
};

/// Bytes of unread echoes at which the connection is closed: a whole message may come on top of what made the reading
/// pause.
const UNREAD_BYTES_MAX: usize = limits::ECHO_MESSAGE_BYTES_MAX as usize + limits::REPLY_BYTES_MAX;

impl Hub {
    /// Sends a message back.
    pub(super) fn echo(&mut self, conn: ConnId, opcode: Opcode, payload: &[u8]) {
        self.counters.messages_received_total += 1;
        let window = self.session(conn).and_then(|session| session.compression.window());
        if let Some(window) = window
            && self.config.deflation.serves(payload)
            && let Some(frame) = self.home.deflater.frame(opcode, window, payload).map(<[u8]>::to_vec)
        {
            return self.queue_reply_parts(conn, &frame, &[], UNREAD_BYTES_MAX);
        }
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let header_len = encode_header(opcode, payload.len(), &mut header);
        self.queue_reply_parts(conn, &header[..header_len], payload, UNREAD_BYTES_MAX);
    }
}
