//! One connection between a client and a shard as two streams of bytes with room for a few: what a socket and its
//! kernel do, in parts of any size, as late as chance has it. PURE.

use std::collections::VecDeque;

use crate::hub::Incident;
use crate::model::ids::ConnId;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) shard: usize,
    pub(super) conn: ConnId,
    /// `None` once the client is gone.
    pub(super) client: Option<usize>,
    /// Sent by the client and not yet received by the shard.
    pub(super) upward: VecDeque<u8>,
    /// Written by the shard and not yet read by the client; at most `room`.
    pub(super) downward: VecDeque<u8>,
    pub(super) room: usize,
    /// Handed out by the hub and not yet written.
    pub(super) sending: VecDeque<u8>,
    /// The last send is written and the hub has not been told.
    pub(super) sent_due: bool,
    /// The client reads nothing.
    pub(super) stalled: bool,
    pub(super) reading_paused: bool,
    /// The client sends no more.
    pub(super) client_ended: bool,
    /// The shard has been told so.
    pub(super) end_told: bool,
    /// The shard sends no more once all is written.
    pub(super) server_ended: bool,
    /// The connection was cut: nothing gets through any more.
    pub(super) cut: bool,
    /// The client's end is gone and nobody will say so: no byte comes from it, none is taken beyond what there is room for.
    pub(super) vanished: bool,
    /// The shard has closed it.
    pub(super) closed: bool,
    /// The shard has closed it without waiting for the client.
    pub(super) aborted: bool,
    pub(super) opened_ns: u64,
    /// When its end began: its hub reported why, or the client said close, or was found to send no more.
    pub(super) ending_ns: Option<u64>,
    /// Why its hub ends it.
    pub(super) incident: Option<Incident>,
}

impl Link {
    #[must_use]
    pub(super) fn new(shard: usize, conn: ConnId, client: usize, room: usize, opened_ns: u64) -> Link {
        Link {
            shard,
            conn,
            client: Some(client),
            upward: VecDeque::new(),
            downward: VecDeque::new(),
            room,
            sending: VecDeque::new(),
            sent_due: false,
            stalled: false,
            reading_paused: false,
            client_ended: false,
            end_told: false,
            server_ended: false,
            cut: false,
            vanished: false,
            closed: false,
            aborted: false,
            opened_ns,
            ending_ns: None,
            incident: None,
        }
    }

    /// Moves at most `count` bytes of the send under way into the socket; the number moved.
    pub(super) fn write(&mut self, count: usize) -> usize {
        let count = count.min(self.sending.len()).min(self.room.saturating_sub(self.downward.len()));
        self.downward.extend(self.sending.drain(..count));
        if count > 0 && self.sending.is_empty() {
            self.sent_due = true;
        }
        count
    }

    /// Takes at most `count` bytes as the client reads them.
    pub(super) fn read(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.downward.len());
        self.downward.drain(..count).collect()
    }

    /// Takes at most `count` bytes as the shard receives them.
    pub(super) fn receive(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.upward.len());
        self.upward.drain(..count).collect()
    }

    /// Nothing more will come down.
    #[must_use]
    pub(super) fn is_ended(&self) -> bool {
        (self.server_ended || self.closed) && self.sending.is_empty() && self.downward.is_empty()
    }

    /// Bytes that are on their way down.
    #[must_use]
    pub(super) fn downward_bytes(&self) -> usize {
        self.sending.len() + self.downward.len()
    }
}
