//! Messages that wait for one connection, in a queue for each priority, and what is told beside them: receipts and who has come
//! or gone. PURE. Home: one shard.
//!
//! Invariants: a connection has these lanes while something waits in them, and no longer; what all of them hold is counted.

use std::collections::VecDeque;

use super::Egress;
use crate::dialect::json_rpc::{message_bytes_max, presence_bytes_max, receipt_bytes_max};
use crate::limits;
use crate::model::message::{Delivery, Presence, Priority, Receipt};

/// What a client is told besides replies and the market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Waiting {
    Message(Delivery),
    Receipt(Receipt),
    Presence(Presence),
}

/// As much waits for a client as may: it does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) struct NoRoom;

/// Lanes that are kept to be used again, and the size of one at most: that of the messages that are under way by default.
const SPARE_LANES_MAX: usize = 64;
const SPARE_LANES_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct MessageLanes {
    /// The least urgent first.
    queues: [VecDeque<Waiting>; 4],
    count: usize,
    /// Of the contents.
    content_bytes: usize,
}

impl Waiting {
    fn priority(&self) -> Priority {
        match self {
            Waiting::Message(delivery) => delivery.priority,
            Waiting::Receipt(_) | Waiting::Presence(_) => Priority::Normal,
        }
    }

    /// Bytes of its content, which its frame is longer than.
    pub(in crate::hub) fn content_bytes(&self) -> usize {
        match self {
            Waiting::Message(delivery) => delivery.content.len(),
            Waiting::Receipt(_) | Waiting::Presence(_) => 0,
        }
    }

    /// Bytes that it takes in a frame at most.
    pub(in crate::hub) fn payload_bytes_max(&self) -> usize {
        match self {
            Waiting::Message(delivery) => message_bytes_max(delivery),
            Waiting::Receipt(receipt) => receipt_bytes_max(receipt),
            Waiting::Presence(presence) => presence_bytes_max(presence),
        }
    }

    /// Whether it leaves alone and at once.
    pub(in crate::hub) fn is_critical(&self) -> bool {
        self.priority() == Priority::Critical
    }
}

impl MessageLanes {
    /// Whether something is not to wait for others.
    pub(super) fn hurry(&self) -> bool {
        !self.queues[Priority::Critical as usize].is_empty()
            || self.content_bytes >= limits::FLUSH_BYTES as usize
    }

    /// Bytes of memory.
    pub(super) fn held_bytes(&self) -> usize {
        self.count * size_of::<Waiting>() + self.content_bytes
    }

    /// About how many bytes they are as frames.
    pub(super) fn frame_bytes(&self) -> usize {
        const FRAME_BYTES: usize = 400;
        self.count * FRAME_BYTES + self.content_bytes
    }

    fn capacity_bytes(&self) -> usize {
        size_of::<MessageLanes>()
            + self.queues.iter().map(|queue| queue.capacity() * size_of::<Waiting>()).sum::<usize>()
    }

    /// In the order in which they are sent.
    fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.queues.iter().rev().flatten()
    }
}

impl Egress {
    /// Queues what a client is to be told.
    ///
    /// # Errors
    /// As much waits for it as may.
    pub(in crate::hub) fn push_message(&mut self, slot: u32, waiting: Waiting) -> Result<(), NoRoom> {
        let lanes = &mut self.lanes[slot as usize];
        let (spare, spare_bytes) = (&mut self.spare_messages, &mut self.spare_bytes);
        let messages = lanes.messages.get_or_insert_with(|| {
            let Some(messages) = spare.pop() else { return Box::default() };
            *spare_bytes -= messages.capacity_bytes();
            messages
        });
        let content_bytes = waiting.content_bytes();
        let is_long = messages.content_bytes > 0
            && messages.content_bytes + content_bytes > limits::MESSAGE_BYTES_WAITING_MAX;
        if messages.count >= limits::MESSAGES_WAITING_MAX || is_long {
            return Err(NoRoom);
        }
        let held_bytes = messages.held_bytes();
        messages.count += 1;
        messages.content_bytes += content_bytes;
        lanes.deliveries_total += 1;
        messages.queues[waiting.priority() as usize].push_back(waiting);
        self.message_bytes_total += messages.held_bytes() - held_bytes;
        if messages.hurry() {
            self.mark_urgent(slot);
        } else {
            self.mark_ready(slot);
        }
        Ok(())
    }

    /// Whether a message or a notice waits.
    pub(in crate::hub) fn has_messages(&self, slot: u32) -> bool {
        self.lanes[slot as usize].messages.is_some()
    }

    /// What waits, in the order in which it is to be sent.
    pub(in crate::hub) fn messages(&self, slot: u32) -> impl Iterator<Item = &Waiting> {
        self.lanes[slot as usize].messages.iter().flat_map(|messages| messages.iter())
    }

    /// The first of [`Egress::messages`] has been put into a send.
    pub(in crate::hub) fn pop_message(&mut self, slot: u32) -> Option<Waiting> {
        let messages = self.lanes[slot as usize].messages.as_mut()?;
        let held_bytes = messages.held_bytes();
        let waiting = messages.queues.iter_mut().rev().find_map(VecDeque::pop_front)?;
        messages.count -= 1;
        messages.content_bytes -= waiting.content_bytes();
        self.message_bytes_total -= held_bytes - messages.held_bytes();
        if messages.count == 0 {
            self.give_back_messages(slot);
        }
        Some(waiting)
    }

    /// Drops all messages and notices of a connection.
    pub(in crate::hub) fn discard_messages(&mut self, slot: u32) {
        if let Some(messages) = self.lanes[slot as usize].messages.as_mut() {
            self.message_bytes_total -= messages.held_bytes();
            messages.queues.iter_mut().for_each(VecDeque::clear);
            (messages.count, messages.content_bytes) = (0, 0);
            self.give_back_messages(slot);
        }
    }

    /// Keeps empty lanes for whoever needs some next.
    fn give_back_messages(&mut self, slot: u32) {
        let Some(empty) = self.lanes[slot as usize].messages.take() else { return };
        let capacity_bytes = empty.capacity_bytes();
        if self.spare_messages.len() < SPARE_LANES_MAX && capacity_bytes <= SPARE_LANES_BYTES_MAX {
            self.spare_bytes += capacity_bytes;
            self.spare_messages.push(empty);
        }
    }
}
