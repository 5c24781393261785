//! Connections that subscribe to messages, what is under way to each, and which connections hold a delivered message. PURE.
//!
//! Invariants: a holding joins one delivered message with one connection, and is in the list of both. What is unconfirmed of a
//! connection is what it holds; what is unwritten the shard has not said to be written yet.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::{Index, IndexMut};

use slab::Slab;

use super::entries::{Entries, NONE, Slot, slot_of};
use super::mailboxes::Room;
use crate::model::hasher::FixedHasher;
use crate::model::message::{Priority, SessionId};
use crate::model::order::Client;

/// A user whose presence a connection is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    pub(super) user: Slot,
    /// It came or went, and there was no room to say so.
    pub(super) is_owed: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) id: SessionId,
    pub(super) user: Slot,
    /// Of what is for it alone; [`NONE`] until there was something.
    pub(super) mailbox: Slot,
    pub(super) topics: Vec<Slot>,
    pub(super) watching: Vec<Watch>,
    /// Users that it is to be told of.
    pub(super) owed: u32,
    pub(super) under_way_max: u32,
    /// A shard hands on what is delivered to it to a backend, and answers for each.
    pub(super) is_processor: bool,
    under_way: UnderWay,
    critical: UnderWay,
    holding: Slot,
}

#[derive(Clone, Copy, Debug, Default)]
struct UnderWay {
    unconfirmed: u32,
    unwritten: u32,
}

impl UnderWay {
    fn count(self) -> u32 {
        self.unconfirmed + self.unwritten
    }
}

impl Session {
    /// For which priorities it may have more under way. A processor has one bound for all of them.
    pub(super) fn room(&self, critical_max: u32) -> Room {
        if self.is_processor {
            let has_room = self.under_way.count() + self.critical.count() < self.under_way_max;
            return Room { critical: has_room, other: has_room };
        }
        Room {
            critical: self.critical.count() < critical_max,
            other: self.under_way.count() < self.under_way_max,
        }
    }

    /// It was sent something that it does not confirm.
    pub(super) fn count_unwritten(&mut self, priority: Priority) {
        self.of(priority).unwritten += 1;
    }

    /// So much of that is written. What is critical leaves first, and so is taken to have left first.
    pub(super) fn count_written(&mut self, count: u32) {
        let critical = count.min(self.critical.unwritten);
        self.critical.unwritten -= critical;
        self.under_way.unwritten = self.under_way.unwritten.saturating_sub(count - critical);
    }

    fn of(&mut self, priority: Priority) -> &mut UnderWay {
        if priority == Priority::Critical { &mut self.critical } else { &mut self.under_way }
    }
}

#[derive(Debug)]
struct Holding {
    entry: Slot,
    session: Slot,
    /// The next connection of the same message.
    next_of_entry: Slot,
    /// Neighbours in the connection's list.
    next: Slot,
    prev: Slot,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Slab<Session>,
    by_client: HashMap<Client, Slot, BuildHasherDefault<FixedHasher>>,
    by_id: HashMap<u64, Slot, BuildHasherDefault<FixedHasher>>,
    holdings: Slab<Holding>,
    ids: u64,
}

impl Sessions {
    pub(super) fn add(&mut self, client: Client, user: Slot, under_way_max: u32) -> Slot {
        self.ids += 1;
        let slot = self.insert(client, SessionId(self.ids), user);
        self.slots[slot as usize].under_way_max = under_way_max;
        self.by_id.insert(self.ids, slot);
        slot
    }

    /// One that nobody knows by a number: what is for its backend comes by a type.
    pub(super) fn add_processor(&mut self, client: Client, user: Slot) -> Slot {
        let slot = self.insert(client, SessionId(0), user);
        self.slots[slot as usize].is_processor = true;
        slot
    }

    fn insert(&mut self, client: Client, id: SessionId, user: Slot) -> Slot {
        let slot = slot_of(self.slots.insert(Session {
            client,
            id,
            user,
            mailbox: NONE,
            topics: Vec::new(),
            watching: Vec::new(),
            owed: 0,
            under_way_max: 0,
            is_processor: false,
            under_way: UnderWay::default(),
            critical: UnderWay::default(),
            holding: NONE,
        }));
        self.by_client.insert(client, slot);
        slot
    }

    /// It holds nothing any more.
    pub(super) fn remove(&mut self, slot: Slot) -> Session {
        let session = self.slots.remove(slot as usize);
        assert_eq!(session.holding, NONE, "invariant: what a connection holds is taken back before it goes");
        self.by_client.remove(&session.client);
        self.by_id.remove(&session.id.0);
        session
    }

    pub(super) fn of_client(&self, client: Client) -> Option<Slot> {
        self.by_client.get(&client).copied()
    }

    pub(super) fn find(&self, id: SessionId) -> Option<Slot> {
        self.by_id.get(&id.0).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The connection holds the message.
    pub(super) fn hold(&mut self, entries: &mut Entries, entry: Slot, session: Slot) {
        let of = &mut self.slots[session as usize];
        of.of(entries[entry].priority).unconfirmed += 1;
        let holding = slot_of(self.holdings.insert(Holding {
            entry,
            session,
            next_of_entry: entries[entry].holding,
            next: of.holding,
            prev: NONE,
        }));
        if of.holding != NONE {
            self.holdings[of.holding as usize].prev = holding;
        }
        of.holding = holding;
        entries[entry].holding = holding;
    }

    /// Nobody holds the message any more; all who did are named.
    pub(super) fn release(&mut self, entries: &mut Entries, entry: Slot) {
        let mut at = std::mem::replace(&mut entries[entry].holding, NONE);
        while at != NONE {
            let holding = self.holdings.remove(at as usize);
            self.unlink(&holding, entries[entry].priority);
            at = holding.next_of_entry;
        }
    }

    /// One message that the connection holds is taken from it; whether somebody else has it still.
    pub(super) fn take_back(&mut self, entries: &mut Entries, session: Slot) -> Option<(Slot, bool)> {
        let at = self.slots[session as usize].holding;
        if at == NONE {
            return None;
        }
        let holding = self.holdings.remove(at as usize);
        let entry = holding.entry;
        self.unlink(&holding, entries[entry].priority);
        if entries[entry].holding == at {
            entries[entry].holding = holding.next_of_entry;
        } else {
            let mut before = entries[entry].holding;
            while self.holdings[before as usize].next_of_entry != at {
                before = self.holdings[before as usize].next_of_entry;
            }
            self.holdings[before as usize].next_of_entry = holding.next_of_entry;
        }
        Some((entry, entries[entry].holding != NONE))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Session>()
            + self.by_client.capacity() * (size_of::<(Client, Slot)>() + 1)
            + self.by_id.capacity() * (size_of::<(u64, Slot)>() + 1)
            + self.holdings.capacity() * size_of::<Holding>()
    }

    fn unlink(&mut self, holding: &Holding, priority: Priority) {
        if holding.prev == NONE {
            self.slots[holding.session as usize].holding = holding.next;
        } else {
            self.holdings[holding.prev as usize].next = holding.next;
        }
        if holding.next != NONE {
            self.holdings[holding.next as usize].prev = holding.prev;
        }
        self.slots[holding.session as usize].of(priority).unconfirmed -= 1;
    }
}

impl Index<Slot> for Sessions {
    type Output = Session;

    fn index(&self, slot: Slot) -> &Session {
        &self.slots[slot as usize]
    }
}

impl IndexMut<Slot> for Sessions {
    fn index_mut(&mut self, slot: Slot) -> &mut Session {
        &mut self.slots[slot as usize]
    }
}
