//! The messages that are not over, each a slot of one table, found by slot and by number. PURE. Invariants: a slot is a message's
//! from its acceptance to its end; `state` says which one of the office's structures holds it, and only there is it held.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use slab::Slab;

use super::journal::Item;
use crate::model::message::{Guarantee, MessageId, Priority, SessionId};

/// A place in a table. [`NONE`] stands for nothing.
pub(super) type Slot = u32;
pub(super) const NONE: Slot = Slot::MAX;
/// A deadline that is not set.
pub(super) const NEVER: u64 = u64::MAX;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// On its way to the disk; its sender is not answered yet.
    Storing,
    /// In the wall clock's timers until it is due.
    Scheduled,
    /// In its mailbox's list, never delivered since it came there.
    Queued,
    /// In the tree of those that came back to their place.
    Returned,
    /// Held by connections.
    Delivered,
    /// In the tree of those that wait for their next attempt.
    Resting,
}

/// One message for one receiver.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: MessageId,
    pub(super) content: Arc<[u8]>,
    /// The only connection that it is for; 0 for none.
    pub(super) session: SessionId,
    pub(super) sent_ms: u64,
    /// When it is due; 0 for at once.
    pub(super) due_ms: u64,
    /// When its time to live is over; [`NEVER`].
    pub(super) expires_ms: u64,
    /// When it came into its mailbox, in nanoseconds of the monotonic clock, later than all that came before.
    pub(super) place: u64,
    /// What is set in the timers of either clock: [`NEVER`] for nothing.
    pub(super) wall_ms: u64,
    pub(super) mono_ns: u64,
    pub(super) from: Slot,
    pub(super) to: Slot,
    pub(super) mailbox: Slot,
    /// Neighbours in the mailbox's list.
    pub(super) next: Slot,
    pub(super) prev: Slot,
    /// What it shares with other parts; [`NONE`].
    pub(super) sending: Slot,
    /// The first of the connections that have it; [`NONE`].
    pub(super) holding: Slot,
    pub(super) priority: Priority,
    pub(super) guarantee: Guarantee,
    pub(super) state: State,
    pub(super) attempts: u8,
    pub(super) receipts: bool,
    /// Whether its receiver may have had it: here, or before the process began.
    pub(super) was_handed: bool,
    /// Whether it was a dead letter in this process: the store may have that record still.
    pub(super) was_letter: bool,
}

const _: () = assert!(size_of::<Entry>() <= 128, "a million of them are to fit beside their content");

impl Entry {
    /// One that is in no structure, fire and forget, for a user.
    pub(super) fn new(id: MessageId, content: Arc<[u8]>, from: Slot, to: Slot) -> Entry {
        Entry {
            id,
            content,
            session: SessionId(0),
            sent_ms: 0,
            due_ms: 0,
            expires_ms: NEVER,
            place: 0,
            wall_ms: NEVER,
            mono_ns: NEVER,
            from,
            to,
            mailbox: NONE,
            next: NONE,
            prev: NONE,
            sending: NONE,
            holding: NONE,
            priority: Priority::Normal,
            guarantee: Guarantee::FireAndForget,
            state: State::Queued,
            attempts: 0,
            receipts: false,
            was_handed: false,
            was_letter: false,
        }
    }

    pub(super) fn is_durable(&self) -> bool {
        self.guarantee == Guarantee::AtLeastOnce
    }

    /// What its records are found by.
    pub(super) fn item(&self) -> Item {
        if self.was_letter { Item::Letter(self.id.0) } else { Item::Message(self.id.0) }
    }

    pub(super) fn content_bytes(&self) -> u64 {
        self.content.len() as u64
    }

    /// From when its age counts.
    pub(super) fn begins_ms(&self) -> u64 {
        self.sent_ms.max(self.due_ms)
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Entries {
    slots: Slab<Entry>,
    /// A tree, not a table of hashes: that would be copied as a whole within one turn when it grows.
    by_id: BTreeMap<u64, Slot>,
    bytes: u64,
}

impl Entries {
    pub(super) fn insert(&mut self, entry: Entry) -> Slot {
        self.bytes += entry.content_bytes();
        let id = entry.id.0;
        let slot = slot_of(self.slots.insert(entry));
        let before = self.by_id.insert(id, slot);
        assert!(before.is_none(), "invariant: a number is one message's: {id}");
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Entry {
        let entry = self.slots.remove(slot as usize);
        self.bytes -= entry.content_bytes();
        self.by_id.remove(&entry.id.0);
        entry
    }

    pub(super) fn find(&self, id: MessageId) -> Option<Slot> {
        self.by_id.get(&id.0).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Of all content.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.slots.iter_mut().map(|(_, entry)| entry)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let index = self.by_id.len() * size_of::<(u64, Slot)>() * 2;
        // Two counters stand before the bytes of each content.
        let contents =
            usize::try_from(self.bytes).unwrap_or(usize::MAX).saturating_add(16 * self.slots.len());
        self.slots.capacity() * size_of::<Entry>() + index + contents
    }
}

impl Index<Slot> for Entries {
    type Output = Entry;

    fn index(&self, slot: Slot) -> &Entry {
        &self.slots[slot as usize]
    }
}

impl IndexMut<Slot> for Entries {
    fn index_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.slots[slot as usize]
    }
}

/// A key of one of the office's slabs.
pub(super) fn slot_of(key: usize) -> Slot {
    Slot::try_from(key).expect("invariant: limits.rs bounds each table far below 2^32")
}
