//! Topics of messages: which connections subscribe to each now. PURE. Invariant: a topic without a subscriber is forgotten.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use slab::Slab;

use super::entries::{Slot, slot_of};
use crate::model::hasher::FixedHasher;
use crate::model::message::Name;

#[derive(Debug)]
struct Topic {
    name: Name,
    sessions: Vec<Slot>,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Topics {
    slots: Slab<Topic>,
    by_name: HashMap<Name, Slot, BuildHasherDefault<FixedHasher>>,
    /// Of all topics.
    subscriptions: usize,
}

impl Topics {
    /// In the order in which they subscribed, but that the last takes the place of one who left.
    pub(super) fn subscribers(&self, name: &Name) -> &[Slot] {
        self.by_name.get(name).map_or(&[], |topic| &self.slots[*topic as usize].sessions)
    }

    /// The connection, which does not subscribe to it yet, does.
    pub(super) fn join(&mut self, name: &Name, session: Slot) -> Slot {
        let slots = &mut self.slots;
        let topic = *self
            .by_name
            .entry(*name)
            .or_insert_with(|| slot_of(slots.insert(Topic { name: *name, sessions: Vec::new() })));
        self.slots[topic as usize].sessions.push(session);
        self.subscriptions += 1;
        topic
    }

    pub(super) fn leave(&mut self, topic: Slot, session: Slot) {
        let of = &mut self.slots[topic as usize];
        if let Some(at) = of.sessions.iter().position(|other| *other == session) {
            of.sessions.swap_remove(at);
            self.subscriptions -= 1;
        }
        if of.sessions.is_empty() {
            let name = self.slots.remove(topic as usize).name;
            self.by_name.remove(&name);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Topic>()
            + self.by_name.capacity() * (size_of::<(Name, Slot)>() + 1)
            + 2 * self.subscriptions * size_of::<Slot>()
    }
}
