//! What the parts of one send share, and the names by which a repeated send is recognised. PURE.
//!
//! Invariants: a sending is kept while one of its parts is not over; a sender's name means one sending, or after its end what became
//! of it, until the window is over. Messages to which nothing is common but their content have no sending.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::ops::{Index, IndexMut};

use slab::Slab;

use super::entries::{Slot, slot_of};
use super::timers::Timers;
use crate::model::hasher::FixedHasher;
use crate::model::message::{Guarantee, MessageId, MessageState, Priority, Via};
use crate::model::order::Label;

/// What the parts of one send share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    pub(super) from: Slot,
    pub(super) first: MessageId,
    /// Its parts, and how many of them are not over.
    pub(super) count: u32,
    pub(super) live: u32,
    pub(super) client_id: Option<Label>,
    pub(super) reply_to: Option<MessageId>,
    pub(super) via: Option<Via>,
}

/// A send that is over, of which the name is remembered; what it says of a message it says of the last part that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) from: Slot,
    pub(super) to: Slot,
    pub(super) client_id: Label,
    pub(super) first: MessageId,
    pub(super) count: u32,
    pub(super) state: MessageState,
    pub(super) priority: Priority,
    pub(super) guarantee: Guarantee,
    pub(super) attempts: u8,
    pub(super) sent_ms: u64,
    pub(super) expires_ms: u64,
    /// When it is forgotten.
    pub(super) until_ms: u64,
}

/// What a sender's name for a message means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Live(Slot),
    Done(Slot),
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Sendings {
    live: Slab<Sending>,
    done: Slab<Done>,
    names: HashMap<(Slot, Label), Named, BuildHasherDefault<FixedHasher>>,
    done_by_first: BTreeMap<u64, Slot>,
    forgettings: Timers,
}

impl Sendings {
    /// Its name, if it has one that means nothing else, means it from now on.
    pub(super) fn add(&mut self, sending: Sending) -> Slot {
        let slot = slot_of(self.live.insert(sending));
        if let Some(client_id) = sending.client_id {
            self.names.entry((sending.from, client_id)).or_insert(Named::Live(slot));
        }
        slot
    }

    /// One whose name, if it has one, means something else.
    pub(super) fn add_nameless(&mut self, sending: Sending) -> Slot {
        slot_of(self.live.insert(sending))
    }

    pub(super) fn named(&self, from: Slot, client_id: Label) -> Option<Named> {
        self.names.get(&(from, client_id)).copied()
    }

    /// All parts are over. If it had a name, that is free, unless it means something else.
    pub(super) fn remove(&mut self, slot: Slot) -> Sending {
        let sending = self.live.remove(slot as usize);
        if let Some(client_id) = sending.client_id
            && self.named(sending.from, client_id) == Some(Named::Live(slot))
        {
            self.names.remove(&(sending.from, client_id));
        }
        sending
    }

    /// Whether its name is free, or means the same send.
    pub(super) fn may_remember(&self, done: &Done) -> bool {
        match self.named(done.from, done.client_id) {
            Some(Named::Done(before)) => self.done[before as usize].first == done.first,
            Some(Named::Live(_)) => false,
            None => true,
        }
    }

    /// Remembers the name, which it may; what was remembered of the same send before.
    pub(super) fn remember(&mut self, done: Done) -> Option<Done> {
        let before = match self.named(done.from, done.client_id) {
            Some(Named::Done(before)) => Some(self.forget(before)),
            Some(Named::Live(_)) | None => None,
        };
        let slot = slot_of(self.done.insert(done));
        self.names.insert((done.from, done.client_id), Named::Done(slot));
        self.done_by_first.insert(done.first.0, slot);
        self.forgettings.set(done.until_ms, done.first.0, slot);
        before
    }

    pub(super) fn forget(&mut self, slot: Slot) -> Done {
        let done = self.done.remove(slot as usize);
        self.names.remove(&(done.from, done.client_id));
        self.done_by_first.remove(&done.first.0);
        self.forgettings.clear(done.until_ms, done.first.0, slot);
        done
    }

    pub(super) fn done(&self, slot: Slot) -> &Done {
        &self.done[slot as usize]
    }

    pub(super) fn done_by_first(&self, first: MessageId) -> Option<Slot> {
        self.done_by_first.get(&first.0).copied()
    }

    /// What is to be forgotten next, and when.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.forgettings.first()
    }

    /// What is to be forgotten by then.
    pub(super) fn due(&mut self, until_ms: u64) -> Option<Slot> {
        self.forgettings.pop(until_ms)
    }

    /// Names of what is over.
    pub(super) fn done_len(&self) -> usize {
        self.done.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.live.capacity() * size_of::<Sending>()
            + self.done.capacity() * size_of::<Done>()
            + self.names.capacity() * (size_of::<((Slot, Label), Named)>() + 1)
            + self.done_by_first.len() * 2 * size_of::<(u64, Slot)>()
            + self.forgettings.memory_bytes()
    }
}

impl Index<Slot> for Sendings {
    type Output = Sending;

    fn index(&self, sending: Slot) -> &Sending {
        &self.live[sending as usize]
    }
}

impl IndexMut<Slot> for Sendings {
    fn index_mut(&mut self, sending: Slot) -> &mut Sending {
        &mut self.live[sending as usize]
    }
}
