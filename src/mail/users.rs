//! Users as the office knows them: by name, with their mailbox and their connections. PURE. Invariants: a user to whom nothing is
//! tied is *idle*, and is forgotten when room for another is needed, the longest idle first; nobody else is ever forgotten.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::ops::{Index, IndexMut};

use slab::Slab;

use super::entries::{Slot, slot_of};
use super::keeping::Kept;
use super::mailboxes::Mailboxes;
use crate::model::hasher::FixedHasher;
use crate::model::message::Name;

/// One user.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: Name,
    pub(super) mailbox: Slot,
    /// Its connections that subscribe to messages, in the order in which they came.
    pub(super) sessions: Vec<Slot>,
    /// Connections that are told when it comes or goes.
    pub(super) watchers: Vec<Slot>,
    /// Messages from it that are not over.
    pub(super) sent: u32,
    /// Delivered to it and not confirmed.
    pub(super) unconfirmed: u32,
    /// When it last came or went.
    pub(super) since_ms: Option<u64>,
    /// It is told as present though no connection of it is known (`keeping.rs`).
    pub(super) is_held: bool,
    /// What is kept of its presence outside, and its place among those of whom that is to change.
    pub(super) kept: Option<Kept>,
    pub(super) changed: Option<u64>,
    /// Whether it is among those whose messages are to be dispatched.
    pub(super) is_stirred: bool,
    /// What else is kept that names it.
    ties: u32,
    idle_since: u64,
}

impl User {
    pub(super) fn is_present(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// Whether who asks for it, or watches it, is told that it is present.
    pub(super) fn is_told_present(&self) -> bool {
        self.is_present() || self.is_held
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Users {
    slots: Slab<User>,
    by_name: HashMap<Name, Slot, BuildHasherDefault<FixedHasher>>,
    /// In the order in which they became idle.
    idle: BTreeMap<u64, Slot>,
    idles: u64,
    pub(super) present: u32,
}

impl Users {
    pub(super) fn find(&self, name: &Name) -> Option<Slot> {
        self.by_name.get(name).copied()
    }

    /// The user of this name, new if need be; `None` where there are `users_max` and none of them is idle.
    pub(super) fn ensure(&mut self, name: &Name, users_max: u32, mailboxes: &mut Mailboxes) -> Option<Slot> {
        if let Some(known) = self.find(name) {
            return Some(known);
        }
        if self.slots.len() >= users_max as usize {
            let (_, idle) = self.idle.pop_first()?;
            let forgotten = self.slots.remove(idle as usize);
            self.by_name.remove(&forgotten.name);
            mailboxes.close(forgotten.mailbox);
        }
        Some(self.add(name, mailboxes))
    }

    /// Something that is kept names it.
    pub(super) fn tie(&mut self, slot: Slot) {
        let user = &mut self.slots[slot as usize];
        user.ties += 1;
        if user.ties == 1 {
            self.idle.remove(&user.idle_since);
        }
    }

    /// Something that named it is not kept any more.
    pub(super) fn untie(&mut self, slot: Slot) {
        let user = &mut self.slots[slot as usize];
        user.ties -= 1;
        if user.ties == 0 {
            self.idles += 1;
            user.idle_since = self.idles;
            self.idle.insert(self.idles, slot);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.slots.iter().map(|(key, _)| slot_of(key))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<User>()
            + self.by_name.capacity() * (size_of::<(Name, Slot)>() + 1)
            + self.idle.len() * 2 * size_of::<(u64, Slot)>()
    }

    fn add(&mut self, name: &Name, mailboxes: &mut Mailboxes) -> Slot {
        self.idles += 1;
        let entry = self.slots.vacant_entry();
        let slot = slot_of(entry.key());
        entry.insert(User {
            name: *name,
            mailbox: mailboxes.open(),
            sessions: Vec::new(),
            watchers: Vec::new(),
            sent: 0,
            unconfirmed: 0,
            since_ms: None,
            is_held: false,
            kept: None,
            changed: None,
            is_stirred: false,
            ties: 0,
            idle_since: self.idles,
        });
        self.idle.insert(self.idles, slot);
        self.by_name.insert(*name, slot);
        slot
    }
}

impl Index<Slot> for Users {
    type Output = User;

    fn index(&self, slot: Slot) -> &User {
        &self.slots[slot as usize]
    }
}

impl IndexMut<Slot> for Users {
    fn index_mut(&mut self, slot: Slot) -> &mut User {
        &mut self.slots[slot as usize]
    }
}
