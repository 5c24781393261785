//! The replies of a JSON-RPC batch, gathered until the last of them is known, which may be up to another shard. PURE.
//! Home: one shard.
//!
//! Invariants: what all batches gather is counted, and bounded for each batch, for each connection and, with the unread
//! replies, for the shard; nothing is gathered for a connection that is closing or gone.

use crate::dialect::json_rpc::{BatchReply, Id, Stamps};
use crate::limits;
use crate::model::ids::ConnId;

use super::Hub;
use super::batch::Ticket;
use super::incident::Closing;
use super::requests::ReplyTo;
use super::text_frame::replace_with_text_frame;

/// A batch whose replies are not all known.
#[derive(Debug)]
pub(super) struct PendingBatch {
    conn: ConnId,
    text: Vec<u8>,
    reply: BatchReply,
    outstanding: usize,
    received_ns: u64,
    /// Requests that are answered, one by one, within the reply.
    answers: u64,
}

impl Hub {
    /// A batch of so many requests has come; each of them ends its share by [`Hub::reply_in_batch`].
    pub(super) fn open_batch(&mut self, conn: ConnId, requests: usize) -> Ticket {
        let (text, reply) = (Vec::new(), BatchReply::default());
        let received_ns = self.now.mono_ns;
        let batch = self.batches.issue(PendingBatch {
            conn,
            text,
            reply,
            outstanding: requests,
            received_ns,
            answers: 0,
        });
        // What a subscribe among them announces waits for the reply, which may wait for another shard.
        self.egress.hold(conn);
        if let Some(session) = self.session(conn) {
            session.batches.push(batch);
        }
        batch
    }

    /// One request of a batch is answered; the last sends the reply.
    pub(super) fn reply_in_batch(
        &mut self,
        reply_to: &ReplyTo<'_>,
        batch: Ticket,
        stamps: Stamps,
        write: impl FnOnce(&mut Vec<u8>, Id<'_>, Stamps),
    ) {
        let Some(pending) = self.batches.peek_mut(batch) else { return };
        let (before_bytes, held_before_bytes) = (pending.text.len(), pending.text.capacity());
        if let Some(id) = reply_to.id {
            pending.answers += 1;
            pending.reply.open_entry(&mut pending.text);
            write(&mut pending.text, id, stamps);
        }
        pending.outstanding -= 1;
        let (conn, is_whole, text_bytes) = (pending.conn, pending.outstanding == 0, pending.text.len());
        let grown_bytes = text_bytes - before_bytes;
        self.batched_bytes += pending.text.capacity() - held_before_bytes;
        self.work.written(grown_bytes);
        let Some(session) = self.session(conn) else { return };
        session.batched_bytes += grown_bytes;
        if text_bytes > limits::BATCH_REPLY_BYTES_MAX || self.gathers_too_much(conn) {
            // A small batch can ask for much: its reply is one message, so it is not built beyond what may wait.
            self.begin_close(conn, Closing::BatchTooBig);
        } else if is_whole {
            self.end_batch(batch);
        }
    }

    /// Whether a connection's batches have gathered more than it may, or much while all connections' hold too much.
    fn gathers_too_much(&mut self, conn: ConnId) -> bool {
        let all_bytes = self.egress.held_bytes_total() + self.batched_bytes;
        let bytes = self.session(conn).map_or(0, |session| session.batched_bytes);
        bytes > limits::REPLY_BYTES_MAX
            || (all_bytes > limits::REPLY_BYTES_PER_SHARD_MAX && bytes > limits::REPLY_BYTES_PAUSE)
    }

    /// Sends the reply of a batch that is whole.
    fn end_batch(&mut self, batch: Ticket) {
        let Some(pending) = self.take_batch(batch) else { return };
        let PendingBatch { conn, mut text, reply, received_ns, answers, .. } = pending;
        self.marks.replies.add(received_ns, answers);
        if let Some(session) = self.session(conn) {
            session.batches.retain(|known| *known != batch);
        }
        reply.close(&mut text);
        if self.session(conn).is_some_and(|session| session.is_caller()) {
            self.answer_call(conn, None, &text);
        } else if !text.is_empty() {
            let mut frame = std::mem::take(&mut self.scratch);
            replace_with_text_frame(&mut frame, |out| out.extend_from_slice(&text));
            self.queue_reply(conn, &frame);
            self.scratch = frame;
        }
    }

    /// Forgets what a connection's batches have gathered: nobody is told any more.
    pub(super) fn drop_batches(&mut self, conn: ConnId) {
        let batches = self.session(conn).map(|session| std::mem::take(&mut session.batches));
        for batch in batches.into_iter().flatten() {
            self.take_batch(batch);
        }
    }

    fn take_batch(&mut self, batch: Ticket) -> Option<PendingBatch> {
        let pending = self.batches.redeem(batch)?;
        self.batched_bytes -= pending.text.capacity();
        if let Some(session) = self.session(pending.conn) {
            session.batched_bytes -= pending.text.len();
        }
        self.egress.release_hold(pending.conn);
        Some(pending)
    }
}
