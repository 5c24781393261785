//! When a client is read no further: it does not take its replies, or waits for somebody else's. PURE. Home: one shard.
//! Invariant: who is paused is read again once nothing of that holds, or is closed.

use crate::limits;
use crate::model::ids::ConnId;

use super::Hub;
use super::effect::Effect;
use super::incident::Closing;
use super::session::Session;

impl Hub {
    /// Queues a reply's frame, pausing or closing a client that does not take its replies.
    pub(super) fn queue_reply(&mut self, conn: ConnId, frame: &[u8]) {
        self.queue_reply_parts(conn, &[], frame, limits::REPLY_BYTES_MAX);
    }

    /// Like `queue_reply`, of a frame in two parts; `unread_bytes_max` is how much may wait.
    pub(super) fn queue_reply_parts(
        &mut self,
        conn: ConnId,
        header: &[u8],
        payload: &[u8],
        unread_bytes_max: usize,
    ) {
        let Some(session) = self.session(conn).filter(|session| session.is_answered()) else { return };
        let paused = session.reading_paused;
        let held_bytes = self.egress.held_bytes(conn.slot);
        let waiting = self.egress.push_reply(conn.slot, header, payload);
        let all_bytes = self.egress.note_held(conn.slot, held_bytes);
        self.counters.replies_total += 1;
        let all_bytes = all_bytes + self.batched_bytes;
        let crowded = all_bytes > limits::REPLY_BYTES_PER_SHARD_MAX && waiting > limits::REPLY_BYTES_PAUSE;
        if waiting > unread_bytes_max || crowded {
            self.begin_close(conn, Closing::RepliesUnread);
        } else if waiting > limits::REPLY_BYTES_PAUSE && !paused {
            self.counters.reads_paused_total += 1;
            self.effects.push_back(Effect::PauseReading { conn });
            if let Some(session) = self.session(conn) {
                session.reading_paused = true;
            }
        }
    }

    pub(super) fn resume_reading(&mut self, conn: ConnId) {
        let below = self.egress.reply_bytes(conn.slot) < limits::REPLY_BYTES_RESUME;
        let now_ns = self.now.mono_ns;
        let may_go_on = |session: &&mut Session| {
            let waits = session.awaits_verdict() || session.awaits_answer() || session.awaits_control();
            session.reading_paused && below && !waits
        };
        if let Some(session) = self.session(conn).filter(may_go_on) {
            session.reading_paused = false;
            session.message_begun_ns = session.message_begun_ns.map(|_| now_ns);
            self.effects.push_back(Effect::ResumeReading { conn });
        }
    }
}
