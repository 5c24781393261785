//! What waits for one receiver: a list for each priority, and trees for what came back or waits for its next attempt. PURE.
//!
//! Invariants: a list is in the order of places, since who joins comes last; what returns keeps its place, in a tree, so that a list
//! needs no search. Who is next is told by the heads alone, in constant time but for the trees' logarithm.

use std::collections::BTreeSet;
use std::ops::Index;

use slab::Slab;

use super::entries::{Entries, NONE, Slot, State, slot_of};
use crate::model::message::Priority;

/// What waits for one receiver.
#[derive(Debug)]
pub(super) struct Mailbox {
    heads: [Slot; LANES],
    tails: [Slot; LANES],
    returned: u32,
    /// What could be delivered now.
    pub(super) ready: u32,
    /// With what waits for its next attempt.
    pub(super) waiting: u32,
    pub(super) bytes: u64,
}

/// Which priorities have a connection with room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) critical: bool,
    pub(super) other: bool,
}

/// What comes first: the higher priority as it counts now, then the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) slot: Slot,
    counts_as: u8,
    place: u64,
}

impl Head {
    pub(super) fn is_before(&self, other: &Head) -> bool {
        (other.counts_as, self.place) < (self.counts_as, other.place)
    }
}

/// Priority, place and slot, by mailbox.
type Tree = BTreeSet<(Slot, u8, u64, Slot)>;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    boxes: Slab<Mailbox>,
    returned: Tree,
    resting: Tree,
    queued: [u64; LANES],
}

const LANES: usize = 4;
const CRITICAL: u8 = Priority::Critical as u8;
const HIGH: u8 = Priority::High as u8;

impl Mailboxes {
    pub(super) fn open(&mut self) -> Slot {
        slot_of(self.boxes.insert(Mailbox {
            heads: [NONE; LANES],
            tails: [NONE; LANES],
            returned: 0,
            ready: 0,
            waiting: 0,
            bytes: 0,
        }))
    }

    /// It is empty.
    pub(super) fn close(&mut self, mailbox: Slot) {
        let closed = self.boxes.remove(mailbox as usize);
        assert_eq!(closed.waiting, 0, "invariant: a mailbox is emptied before it is closed");
    }

    /// The entry, which is in no structure, comes last of its priority.
    pub(super) fn push(&mut self, entries: &mut Entries, slot: Slot) {
        let entry = &entries[slot];
        let (at, lane) = (entry.mailbox, entry.priority as usize);
        let tail = self.boxes[at as usize].tails[lane];
        entries[slot].state = State::Queued;
        entries[slot].prev = tail;
        entries[slot].next = NONE;
        if tail == NONE {
            self.boxes[at as usize].heads[lane] = slot;
        } else {
            entries[tail].next = slot;
        }
        self.boxes[at as usize].tails[lane] = slot;
        self.count_in(entries, slot);
    }

    /// It comes back to its place.
    pub(super) fn put_back(&mut self, entries: &mut Entries, slot: Slot) {
        entries[slot].state = State::Returned;
        self.returned.insert(key(entries, slot));
        self.boxes[entries[slot].mailbox as usize].returned += 1;
        self.count_in(entries, slot);
    }

    /// It waits for its next attempt.
    pub(super) fn rest(&mut self, entries: &mut Entries, slot: Slot) {
        entries[slot].state = State::Resting;
        self.resting.insert(key(entries, slot));
        self.count_in(entries, slot);
    }

    /// It leaves, whichever of the three it was in.
    pub(super) fn take(&mut self, entries: &mut Entries, slot: Slot) {
        let entry = &entries[slot];
        let (at, lane) = (entry.mailbox as usize, entry.priority as usize);
        match entry.state {
            State::Queued => {
                let (next, prev) = (entry.next, entry.prev);
                if prev == NONE {
                    self.boxes[at].heads[lane] = next;
                } else {
                    entries[prev].next = next;
                }
                if next == NONE {
                    self.boxes[at].tails[lane] = prev;
                } else {
                    entries[next].prev = prev;
                }
            }
            State::Returned => {
                self.returned.remove(&key(entries, slot));
                self.boxes[at].returned -= 1;
            }
            State::Resting => {
                self.resting.remove(&key(entries, slot));
            }
            State::Storing | State::Scheduled | State::Delivered => {
                panic!("invariant: {:?} is in no mailbox", entries[slot].state)
            }
        }
        let entry = &entries[slot];
        let mailbox = &mut self.boxes[at];
        mailbox.waiting -= 1;
        mailbox.bytes -= entry.content_bytes();
        if entry.state != State::Resting {
            mailbox.ready -= 1;
            self.queued[lane] -= 1;
        }
    }

    /// What goes next, of the priorities that have room. `ageing_ns` of 0 is none.
    pub(super) fn best(
        &self,
        entries: &Entries,
        at: Slot,
        room: Room,
        now_ns: u64,
        ageing_ns: u64,
    ) -> Option<Head> {
        if self.boxes[at as usize].ready == 0 {
            return None;
        }
        if room.critical
            && let Some((slot, place)) = self.head(entries, at, CRITICAL)
        {
            return Some(Head { slot, counts_as: CRITICAL, place });
        }
        if !room.other {
            return None;
        }
        let mut best: Option<Head> = None;
        for lane in (0..CRITICAL).rev() {
            let Some((slot, place)) = self.head(entries, at, lane) else { continue };
            let periods = now_ns.saturating_sub(place).checked_div(ageing_ns).unwrap_or(0);
            let counts_as = u8::try_from(periods).unwrap_or(HIGH).saturating_add(lane).min(HIGH);
            let head = Head { slot, counts_as, place };
            if best.is_none_or(|best| head.is_before(&best)) {
                best = Some(head);
            }
        }
        best
    }

    /// What is given up first: the oldest of the lowest priority.
    pub(super) fn victim(&self, entries: &Entries, at: Slot) -> Option<Slot> {
        (0..=CRITICAL).find_map(|lane| {
            let resting = first(&self.resting, at, lane);
            let ready = self.head(entries, at, lane);
            [ready, resting].into_iter().flatten().min_by_key(|(_, place)| *place).map(|(slot, _)| slot)
        })
    }

    /// What waits, in the order in which it is listed, from behind `after` on, which is there.
    pub(super) fn list(
        &self,
        entries: &Entries,
        at: Slot,
        after: Option<Slot>,
        count: usize,
        mut take: impl FnMut(Slot),
    ) {
        let mut left = count;
        let mut from = after;
        for lane in (0..=CRITICAL).rev() {
            if from.is_some_and(|slot| {
                entries[slot].state == State::Resting || (entries[slot].priority as u8) < lane
            }) {
                continue;
            }
            if from.is_none_or(|slot| entries[slot].state == State::Returned) {
                for slot in range(&self.returned, at, lane, from.map(|slot| entries[slot].place)).take(left) {
                    left -= 1;
                    take(slot);
                }
                from = None;
            }
            let mut slot = match from.take() {
                Some(slot) => entries[slot].next,
                None => self.boxes[at as usize].heads[usize::from(lane)],
            };
            while slot != NONE && left > 0 {
                left -= 1;
                take(slot);
                slot = entries[slot].next;
            }
        }
        let behind = from.map(|slot| (entries[slot].priority as u8, entries[slot].place));
        for lane in (0..=behind.map_or(CRITICAL, |(lane, _)| lane)).rev() {
            let place = behind.filter(|(of, _)| *of == lane).map(|(_, place)| place);
            for slot in range(&self.resting, at, lane, place).take(left) {
                left -= 1;
                take(slot);
            }
        }
    }

    /// What waits for a connection with room, of all, by priority.
    pub(super) fn queued(&self) -> [u64; LANES] {
        self.queued
    }

    pub(super) fn resting(&self) -> usize {
        self.resting.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let in_trees =
            (self.returned.len() + self.resting.len()) * size_of::<(Slot, u8, u64, Slot)>() * 3 / 2;
        self.boxes.capacity() * size_of::<Mailbox>() + in_trees
    }

    /// The oldest that could be delivered of one priority, and its place.
    fn head(&self, entries: &Entries, at: Slot, lane: u8) -> Option<(Slot, u64)> {
        let mailbox = &self.boxes[at as usize];
        let listed = mailbox.heads[usize::from(lane)];
        let listed = (listed != NONE).then(|| (listed, entries[listed].place));
        let returned = (mailbox.returned > 0).then(|| first(&self.returned, at, lane)).flatten();
        [listed, returned].into_iter().flatten().min_by_key(|(_, place)| *place)
    }

    fn count_in(&mut self, entries: &Entries, slot: Slot) {
        let entry = &entries[slot];
        let mailbox = &mut self.boxes[entry.mailbox as usize];
        mailbox.waiting += 1;
        mailbox.bytes += entry.content_bytes();
        if entry.state != State::Resting {
            mailbox.ready += 1;
            self.queued[entry.priority as usize] += 1;
        }
    }
}

impl Index<Slot> for Mailboxes {
    type Output = Mailbox;

    fn index(&self, mailbox: Slot) -> &Mailbox {
        &self.boxes[mailbox as usize]
    }
}

fn key(entries: &Entries, slot: Slot) -> (Slot, u8, u64, Slot) {
    let entry = &entries[slot];
    (entry.mailbox, entry.priority as u8, entry.place, slot)
}

fn first(tree: &Tree, at: Slot, lane: u8) -> Option<(Slot, u64)> {
    let (_, _, place, slot) = tree.range((at, lane, 0, 0)..=(at, lane, u64::MAX, Slot::MAX)).next()?;
    Some((*slot, *place))
}

/// Those of one mailbox and priority whose place is behind `after`.
fn range(tree: &Tree, at: Slot, lane: u8, after: Option<u64>) -> impl Iterator<Item = Slot> {
    let from = after.map_or(0, |place| place + 1);
    tree.range((at, lane, from, 0)..=(at, lane, u64::MAX, Slot::MAX)).map(|(_, _, _, slot)| *slot)
}
