//! How much waits to be sent, and how much memory that takes. PURE. Home: one shard.

use super::super::control_frame::CONTROL_FRAME_BYTES_MAX;
use super::{Egress, Lanes, WaitingBytes};
use crate::binary_tcp::buffer_bytes;
use crate::model::ids::ConnId;

impl WaitingBytes {
    /// Of all lanes.
    #[must_use]
    pub const fn total(self) -> u64 {
        (self.begun + self.pongs + self.replies + self.queued + self.messages) as u64
    }
}

impl Egress {
    /// Messages that were queued for a connection, and events that were conflated but for those of values that are listed.
    pub(in crate::hub) fn totals(&self, slot: u32) -> (u64, u64) {
        let lanes = &self.lanes[slot as usize];
        (lanes.deliveries_total, lanes.conflated_total)
    }

    /// The first subscription of a connection with a value to send.
    pub(in crate::hub) fn first_listed(&self, slot: u32) -> Option<u32> {
        self.lanes[slot as usize].values_head
    }

    /// Bytes that wait, values not counted: how large a buffer serves.
    pub(in crate::hub) fn pending_bytes(&self, slot: u32) -> usize {
        let lanes = &self.lanes[slot as usize];
        let values = if lanes.values_head.is_some() { 4096 } else { 0 };
        let control = lanes.control.as_ref().map_or(0, |it| it.pongs.len() + 2 * CONTROL_FRAME_BYTES_MAX);
        let messages = lanes.messages.as_ref().map_or(0, |messages| messages.frame_bytes());
        let data = if lanes.held > 0 { 0 } else { lanes.queued_bytes as usize + values + messages };
        let all = self.begun_bytes(slot) + control + self.reply_bytes(slot) + data;
        let all = if lanes.is_batched { buffer_bytes(all) } else { all };
        if lanes.length_prefixed { buffer_bytes(all) } else { all }
    }

    /// Bytes that are left of what has begun to be sent.
    pub(in crate::hub) fn begun_bytes(&self, slot: u32) -> usize {
        self.lanes[slot as usize].started.as_ref().map_or(0, |started| started.left_bytes())
    }

    /// Of these, the bytes of the frame whose header has been sent.
    pub(in crate::hub) fn begun_frame_bytes(&self, slot: u32) -> usize {
        self.lanes[slot as usize].started.as_ref().map_or(0, |started| started.left_of_frame_bytes())
    }

    /// The most frames that waited in one queue since this was last asked.
    pub(in crate::hub) fn take_deepest_frames(&mut self) -> u32 {
        // A queue that stands is as deep as before, though nothing is put into it.
        let lanes = self.lanes.get(self.deepest_slot as usize);
        let still = lanes.map_or(0, |lanes| lanes.queue.count().max(lanes.reports.count()));
        std::mem::replace(&mut self.deepest_frames, still)
    }

    pub(in crate::hub) fn deepest_frames(&self) -> u32 {
        self.deepest_frames
    }

    /// Bytes that wait, by lane; nothing for a connection that is gone.
    pub(in crate::hub) fn waiting_bytes(&self, conn: ConnId) -> WaitingBytes {
        let lanes = self.lanes.get(conn.slot as usize).filter(|lanes| lanes.generation == conn.generation);
        lanes.map_or_else(WaitingBytes::default, |lanes| WaitingBytes {
            begun: self.begun_bytes(conn.slot),
            pongs: lanes.control.as_ref().map_or(0, |control| control.pongs.len()),
            replies: self.reply_bytes(conn.slot),
            queued: lanes.queued_bytes as usize,
            messages: lanes.messages.as_ref().map_or(0, |messages| messages.held_bytes()),
        })
    }

    /// Bytes of the frames in the data queue; 0 for a connection that is gone.
    pub(in crate::hub) fn queued_bytes(&self, conn: ConnId) -> usize {
        let lanes = self.lanes.get(conn.slot as usize).filter(|lanes| lanes.generation == conn.generation);
        lanes.map_or(0, |lanes| lanes.queued_bytes as usize)
    }

    /// Bytes that may be queued beyond the configured bound.
    pub(in crate::hub) fn allowed_bytes(&self, conn: ConnId) -> usize {
        let lanes = self.lanes.get(conn.slot as usize).filter(|lanes| lanes.generation == conn.generation);
        lanes.map_or(0, |lanes| lanes.allowed_bytes as usize)
    }

    /// Bytes that the messages of all connections hold.
    pub(in crate::hub) fn message_bytes_total(&self) -> usize {
        self.message_bytes_total
    }

    /// Chunks of the pool of queues that are taken.
    pub(in crate::hub) fn chunks_in_use(&self) -> usize {
        self.pool.chunks_in_use()
    }

    /// Bytes that all lanes, queues, replies and the log hold.
    pub(in crate::hub) fn memory_bytes(&self) -> usize {
        self.log.held_bytes()
            + self.pool.memory_bytes()
            + self.held_bytes_total
            + self.message_bytes_total
            + self.spare_bytes
            + self.lanes.capacity() * size_of::<Lanes>()
            + (self.urgent.capacity() + self.ready.capacity()) * size_of::<u32>()
    }

    /// Bytes that a connection keeps waiting here because it does not read: replies, and what is queued behind a send
    /// that the peer has not taken.
    pub(in crate::hub) fn unread_bytes(&self, slot: u32) -> usize {
        let lanes = &self.lanes[slot as usize];
        let messages = lanes.messages.as_ref().map_or(0, |messages| messages.held_bytes());
        let queued_bytes = if lanes.writing { lanes.queued_bytes as usize + messages } else { 0 };
        self.held_bytes(slot) + queued_bytes
    }

    /// Whether more waits unread than a shard that keeps up has.
    pub(in crate::hub) fn holds_unread(&self) -> bool {
        self.held_bytes_total + self.message_bytes_total > 0 || self.pool.chunks_in_use() > 0
    }

    pub(in crate::hub) fn has_started(&self, slot: u32) -> bool {
        self.lanes[slot as usize].started.is_some()
    }

    /// Whether no frame and no message waits, and none has begun.
    pub(in crate::hub) fn data_is_sent(&self, slot: u32) -> bool {
        let lanes = &self.lanes[slot as usize];
        lanes.queues_are_empty() && lanes.messages.is_none() && lanes.started.is_none()
    }

    /// Whether neither reports nor messages wait: all that may is the market's.
    pub(in crate::hub) fn has_market_only(&self, slot: u32) -> bool {
        let lanes = &self.lanes[slot as usize];
        lanes.reports.is_empty() && lanes.messages.is_none()
    }

    /// Whether no report waits.
    pub(in crate::hub) fn has_no_reports(&self, slot: u32) -> bool {
        self.lanes[slot as usize].reports.is_empty()
    }
}
