//! One deadline per connection, or per call, in a timing wheel. PURE. Home: one shard.
//!
//! Each is known by its place in a table of the hub's, and stands in the wheel at most once: its entry lies at the same place and is
//! linked into the list of the wheel's slot, so that what the wheel holds is bounded by those there are at a time, however many
//! come and go. Activity does not touch the wheel: when the slot comes due the hub looks at what the connection's
//! deadlines are by then and puts it back, so a busy connection costs one look per period and nothing per message.

use crate::limits::{WHEEL_SLOT_NS, WHEEL_SLOTS};
/// No entry: the end of a list.
const NONE: u32 = u32::MAX;

/// One's place in the list of a slot.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The slot's place in the wheel, or `NONE` while it stands in none.
    place: u32,
    next: u32,
    previous: u32,
}

#[derive(Debug)]
pub(super) struct Wheel {
    /// The first entry of each slot's list.
    heads: Vec<u32>,
    /// By the places in the hub's table.
    entries: Vec<Entry>,
    /// The first slot, counted since time 0, that has not been handled.
    next_slot: u64,
    count: usize,
}

impl Wheel {
    #[must_use]
    pub(super) fn new(now_ns: u64) -> Wheel {
        let next_slot = now_ns / WHEEL_SLOT_NS;
        Wheel { heads: vec![NONE; WHEEL_SLOTS], entries: Vec::new(), next_slot, count: 0 }
    }

    /// How many stand in it.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Comes due at `deadline_ns`, up to a slot later, instead of any time before; a deadline beyond the wheel's turn comes
    /// due at its end, to be put back then.
    pub(super) fn arm(&mut self, who: u32, deadline_ns: u64) {
        let at = who as usize;
        if self.entries.len() <= at {
            let unarmed = Entry { place: NONE, next: NONE, previous: NONE };
            self.entries.resize(at + 1, unarmed);
        }
        self.disarm(who);
        let slot = deadline_ns.div_ceil(WHEEL_SLOT_NS);
        let slot = slot.clamp(self.next_slot, self.next_slot + WHEEL_SLOTS as u64 - 1);
        let place = place(slot);
        let next = std::mem::replace(&mut self.heads[place], who);
        if next != NONE {
            self.entries[next as usize].previous = who;
        }
        let place = u32::try_from(place).expect("invariant: a remainder of WHEEL_SLOTS is less");
        self.entries[at] = Entry { place, next, previous: NONE };
        self.count += 1;
    }

    /// Takes one out, if it stands in the wheel.
    pub(super) fn disarm(&mut self, who: u32) {
        let Some(entry) = self.entries.get_mut(who as usize).filter(|entry| entry.place != NONE) else {
            return;
        };
        let Entry { place, next, previous, .. } = *entry;
        entry.place = NONE;
        if previous == NONE {
            self.heads[place as usize] = next;
        } else {
            self.entries[previous as usize].next = next;
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        self.count -= 1;
    }

    /// Moves all that is due into `due`.
    pub(super) fn expire(&mut self, now_ns: u64, due: &mut Vec<u32>) {
        let now_slot = now_ns / WHEEL_SLOT_NS;
        if now_slot < self.next_slot {
            return;
        }
        let passed = (now_slot - self.next_slot + 1).min(WHEEL_SLOTS as u64);
        for slot in self.next_slot..self.next_slot + passed {
            let mut at = std::mem::replace(&mut self.heads[place(slot)], NONE);
            while at != NONE {
                let entry = &mut self.entries[at as usize];
                entry.place = NONE;
                due.push(at);
                self.count -= 1;
                at = entry.next;
            }
        }
        self.next_slot = now_slot + 1;
    }

    /// When the next one comes due.
    #[must_use]
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        (self.next_slot..self.next_slot + WHEEL_SLOTS as u64)
            .find(|slot| self.heads[place(*slot)] != NONE)
            .map(|slot| slot * WHEEL_SLOT_NS)
    }
}

fn place(slot: u64) -> usize {
    usize::try_from(slot % WHEEL_SLOTS as u64).expect("invariant: a remainder of WHEEL_SLOTS is less")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(wheel: &mut Wheel, now_ns: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(now_ns, &mut due);
        due
    }

    #[test]
    fn comes_due_once_and_never_early() {
        let mut wheel = Wheel::new(0);
        let second = 1_000_000_000;
        wheel.arm(1, second);
        wheel.arm(2, 2 * second);
        assert_eq!(wheel.next_deadline_ns(), Some(second.div_ceil(WHEEL_SLOT_NS) * WHEEL_SLOT_NS));
        assert!(expired(&mut wheel, second - WHEEL_SLOT_NS).is_empty());
        assert_eq!(expired(&mut wheel, second + WHEEL_SLOT_NS), [1]);
        assert_eq!(expired(&mut wheel, 5 * second), [2]);
        assert_eq!(wheel.next_deadline_ns(), None);
    }

    #[test]
    fn a_deadline_beyond_the_wheel_or_in_the_past_is_looked_at_in_time() {
        let turn = WHEEL_SLOTS as u64 * WHEEL_SLOT_NS;
        let mut wheel = Wheel::new(3 * turn);
        wheel.arm(1, 100 * turn);
        wheel.arm(2, 0);
        assert_eq!(expired(&mut wheel, 3 * turn), [2]);
        assert_eq!(expired(&mut wheel, 4 * turn), [1]);
    }

    #[test]
    fn time_that_jumps_over_many_turns_loses_nobody() {
        let turn = WHEEL_SLOTS as u64 * WHEEL_SLOT_NS;
        let mut wheel = Wheel::new(0);
        for slot in 0..100 {
            wheel.arm(slot, u64::from(slot) * turn / 100);
        }
        let mut seen = expired(&mut wheel, 1000 * turn);
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn each_stands_in_it_once_and_leaves_it_when_it_goes() {
        let second = 1_000_000_000;
        let mut wheel = Wheel::new(0);
        for round in 1..=1000 {
            for slot in 0..8 {
                let deadline_ns = second * (1 + (round + u64::from(slot)) % 9);
                wheel.arm(slot, deadline_ns);
            }
            wheel.disarm(u32::try_from(round % 8).unwrap());
        }
        assert_eq!((wheel.count(), wheel.entries.len()), (7, 8));
        let mut due = Vec::new();
        wheel.expire(20 * second, &mut due);
        due.sort_unstable();
        assert_eq!((due, wheel.next_deadline_ns()), ((1..8).collect::<Vec<_>>(), None));
    }

    #[test]
    fn an_entry_leaves_from_anywhere_in_its_list() {
        for gone in 0..4 {
            let mut wheel = Wheel::new(0);
            (0..4).for_each(|slot| wheel.arm(slot, WHEEL_SLOT_NS));
            wheel.disarm(gone);
            wheel.disarm(gone);
            let mut seen = expired(&mut wheel, WHEEL_SLOT_NS);
            seen.sort_unstable();
            assert_eq!(seen, (0..4).filter(|slot| *slot != gone).collect::<Vec<_>>());
        }
    }
}
