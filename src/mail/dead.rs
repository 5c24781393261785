//! Dead letters: messages that were not confirmed and will not be tried again, until they are requeued or purged. PURE. Invariant:
//! they are in the order in which they died (time, then number), of all and of each receiver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use slab::Slab;

use super::entries::{Slot, slot_of};
use crate::model::message::{DeathCause, Guarantee, MessageId, Priority, Via};
use crate::model::order::Label;

/// One dead letter.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) id: MessageId,
    pub(super) from: Slot,
    pub(super) to: Slot,
    pub(super) priority: Priority,
    pub(super) guarantee: Guarantee,
    pub(super) attempts: u8,
    pub(super) receipts: bool,
    pub(super) was_handed: bool,
    pub(super) sent_ms: u64,
    pub(super) due_ms: u64,
    pub(super) expires_ms: u64,
    pub(super) died_ms: u64,
    pub(super) cause: DeathCause,
    pub(super) client_id: Option<Label>,
    pub(super) reply_to: Option<MessageId>,
    pub(super) via: Option<Via>,
    pub(super) reason: Option<Label>,
    pub(super) content: Arc<[u8]>,
}

impl Letter {
    pub(super) fn is_durable(&self) -> bool {
        self.guarantee == Guarantee::AtLeastOnce
    }
}

/// When it died, and its number.
pub(super) type Order = (u64, u64);

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    slots: Slab<Letter>,
    by_id: BTreeMap<u64, Slot>,
    by_order: BTreeMap<Order, Slot>,
    by_receiver: BTreeSet<(Slot, Order, Slot)>,
    bytes: u64,
}

impl DeadLetters {
    pub(super) fn add(&mut self, letter: Letter) {
        let (id, order, to) = (letter.id.0, (letter.died_ms, letter.id.0), letter.to);
        self.bytes += letter.content.len() as u64;
        let slot = slot_of(self.slots.insert(letter));
        self.by_id.insert(id, slot);
        self.by_order.insert(order, slot);
        self.by_receiver.insert((to, order, slot));
    }

    pub(super) fn remove(&mut self, id: MessageId) -> Option<Letter> {
        let slot = self.by_id.remove(&id.0)?;
        let letter = self.slots.remove(slot as usize);
        let order = (letter.died_ms, id.0);
        self.bytes -= letter.content.len() as u64;
        self.by_order.remove(&order);
        self.by_receiver.remove(&(letter.to, order, slot));
        Some(letter)
    }

    pub(super) fn find(&self, id: MessageId) -> Option<&Letter> {
        self.by_id.get(&id.0).map(|slot| &self.slots[*slot as usize])
    }

    /// The oldest, or the oldest behind this one.
    pub(super) fn next(&self, after: Option<Order>) -> Option<&Letter> {
        self.behind(after).next()
    }

    /// From the oldest on, or from behind `after` on.
    pub(super) fn behind(&self, after: Option<Order>) -> impl Iterator<Item = &Letter> {
        self.by_order.range(from(after)..).map(|(_, slot)| &self.slots[*slot as usize])
    }

    /// The same of one receiver.
    pub(super) fn of(&self, to: Slot, after: Option<Order>) -> impl Iterator<Item = &Letter> {
        let to_end = (to, (u64::MAX, u64::MAX), Slot::MAX);
        self.by_receiver.range((to, from(after), 0)..=to_end).map(|(_, _, slot)| &self.slots[*slot as usize])
    }

    pub(super) fn newest(&self) -> Option<Order> {
        self.by_order.last_key_value().map(|(order, _)| *order)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let indices = self.slots.len() * (2 * size_of::<(u64, Slot)>() + 4 * size_of::<(Order, Slot)>());
        self.slots.capacity() * size_of::<Letter>()
            + indices
            + usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

fn from(after: Option<Order>) -> Order {
    after.map_or((0, 0), |(died_ms, id)| (died_ms, id + 1))
}
