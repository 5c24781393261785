//! Groups: their members, whose turn it is, and when they are over. PURE. Invariants: a group's number is never another's, since it
//! is the key of its record; each member is a user once.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::ops::{Index, IndexMut};

use slab::Slab;

use super::entries::{NEVER, Slot, slot_of};
use super::mailboxes::Mailboxes;
use super::timers::Timers;
use super::users::Users;
use crate::model::hasher::FixedHasher;
use crate::model::message::{Name, Selection};

/// A member of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) user: Slot,
    pub(super) weight: u32,
    /// What smooth weighted round robin owes it.
    credit: i64,
}

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) number: u64,
    pub(super) name: Name,
    /// Who made it.
    pub(super) owner: Name,
    /// When it is over; `NEVER`.
    pub(super) expires_ms: u64,
    pub(super) message_ttl_ms: Option<u64>,
    /// In the order in which they joined.
    pub(super) members: Vec<Member>,
    /// From which member on one is looked for.
    turn: usize,
}

impl Group {
    pub(super) fn new(
        number: u64,
        name: Name,
        owner: Name,
        expires_ms: u64,
        message_ttl_ms: Option<u64>,
    ) -> Group {
        Group { number, name, owner, expires_ms, message_ttl_ms, members: Vec::new(), turn: 0 }
    }

    /// Whether the user is a new member; one that was has another weight now.
    pub(super) fn join(&mut self, user: Slot, weight: u32) -> bool {
        if let Some(member) = self.members.iter_mut().find(|member| member.user == user) {
            member.weight = weight;
            return false;
        }
        self.members.push(Member { user, weight, credit: 0 });
        true
    }

    /// Whether it was a member.
    fn leave(&mut self, user: Slot) -> bool {
        let Some(at) = self.members.iter().position(|member| member.user == user) else { return false };
        self.members.remove(at);
        if at < self.turn {
            self.turn -= 1;
        }
        true
    }

    pub(super) fn has(&self, user: Slot) -> bool {
        self.members.iter().any(|member| member.user == user)
    }

    /// The members that a message goes to, in the order in which they joined.
    pub(super) fn select(
        &mut self,
        to: Selection,
        users: &Users,
        mailboxes: &Mailboxes,
        mut take: impl FnMut(Slot),
    ) {
        if to == Selection::All {
            return self.members.iter().for_each(|member| take(member.user));
        }
        let anybody = self.members.iter().any(|member| users[member.user].is_present());
        let may = |member: &Member| !anybody || users[member.user].is_present();
        let count = self.members.len();
        let from_turn = (0..count).map(|step| (self.turn + step) % count);
        let chosen = match to {
            Selection::RoundRobin => from_turn.into_iter().find(|at| may(&self.members[*at])),
            Selection::LeastLoaded => {
                let load = |at: &usize| load(users, mailboxes, self.members[*at].user);
                from_turn.filter(|at| may(&self.members[*at])).min_by_key(load)
            }
            Selection::Weighted => self.heaviest(may),
            Selection::All => None,
        };
        if let Some(at) = chosen {
            self.turn = at + 1;
            take(self.members[at].user);
        }
    }

    /// Smooth weighted round robin: each is owed its weight a round, who is owed most has the turn and gives back the round.
    fn heaviest(&mut self, may: impl Fn(&Member) -> bool) -> Option<usize> {
        let mut round = 0;
        let mut best: Option<usize> = None;
        for at in 0..self.members.len() {
            if !may(&self.members[at]) {
                continue;
            }
            let weight = i64::from(self.members[at].weight);
            self.members[at].credit += weight;
            round += weight;
            if best.is_none_or(|best| self.members[at].credit > self.members[best].credit) {
                best = Some(at);
            }
        }
        if let Some(best) = best {
            self.members[best].credit -= round;
        }
        best
    }
}

/// Messages that wait for the user or are unconfirmed.
pub(super) fn load(users: &Users, mailboxes: &Mailboxes, user: Slot) -> u32 {
    mailboxes[users[user].mailbox].waiting + users[user].unconfirmed
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Groups {
    slots: Slab<Group>,
    by_name: HashMap<Name, Slot, BuildHasherDefault<FixedHasher>>,
    by_number: BTreeMap<u64, Slot>,
    pub(super) expiries: Timers,
    /// The last number that was used.
    pub(super) numbers: u64,
    /// Of all groups.
    members: usize,
}

impl Groups {
    /// None; numbers are above this one.
    pub(super) fn above(number: u64) -> Groups {
        Groups { numbers: number, ..Groups::default() }
    }

    pub(super) fn add(&mut self, group: Group) -> Slot {
        let (number, name, expires_ms) = (group.number, group.name, group.expires_ms);
        self.numbers = self.numbers.max(number);
        self.members += group.members.len();
        let slot = slot_of(self.slots.insert(group));
        self.by_name.insert(name, slot);
        self.by_number.insert(number, slot);
        if expires_ms != NEVER {
            self.expiries.set(expires_ms, number, slot);
        }
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Group {
        let group = self.slots.remove(slot as usize);
        self.members -= group.members.len();
        self.by_name.remove(&group.name);
        self.by_number.remove(&group.number);
        self.expiries.clear(group.expires_ms, group.number, slot);
        group
    }

    /// As [`Group::join`].
    pub(super) fn join(&mut self, slot: Slot, user: Slot, weight: u32) -> bool {
        let is_new = self.slots[slot as usize].join(user, weight);
        self.members += usize::from(is_new);
        is_new
    }

    /// As [`Group::leave`].
    pub(super) fn leave(&mut self, slot: Slot, user: Slot) -> bool {
        let was_member = self.slots[slot as usize].leave(user);
        self.members -= usize::from(was_member);
        was_member
    }

    pub(super) fn find(&self, name: &Name) -> Option<Slot> {
        self.by_name.get(name).copied()
    }

    pub(super) fn by_number(&self, number: u64) -> Option<&Group> {
        self.by_number.get(&number).map(|slot| &self.slots[*slot as usize])
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Group>()
            + self.by_name.capacity() * (size_of::<(Name, Slot)>() + 1)
            + self.by_number.len() * 2 * size_of::<(u64, Slot)>()
            + self.expiries.memory_bytes()
            + 2 * self.members * size_of::<Member>()
    }
}

impl Index<Slot> for Groups {
    type Output = Group;

    fn index(&self, group: Slot) -> &Group {
        &self.slots[group as usize]
    }
}

impl IndexMut<Slot> for Groups {
    fn index_mut(&mut self, group: Slot) -> &mut Group {
        &mut self.slots[group as usize]
    }
}
