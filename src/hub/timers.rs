//! One deadline per connection in a timing wheel. PURE. Home: one shard.
//!
//! A connection stands in the wheel once, at the earliest of its deadlines when it was put there; an entry that was
//! replaced by an earlier one is recognised by its token and passed over. Activity does not touch the wheel: when the slot comes due the hub looks at what the connection's deadlines are by then and puts it
//! back, so a busy connection costs one look per period and nothing per message.

use crate::limits::{WHEEL_SLOT_NS, WHEEL_SLOTS};
use crate::model::ids::ConnId;

/// A connection's entry. Only the entry with the connection's newest token counts; others have been replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Armed {
    pub(super) conn: ConnId,
    pub(super) token: u32,
}

#[derive(Debug)]
pub(super) struct Wheel {
    slots: Vec<Vec<Armed>>,
    /// The first slot, counted since time 0, that has not been handled.
    next_slot: u64,
    count: usize,
}

impl Wheel {
    #[must_use]
    pub(super) fn new(now_ns: u64) -> Wheel {
        let slots = (0..WHEEL_SLOTS).map(|_| Vec::new()).collect();
        Wheel { slots, next_slot: now_ns / WHEEL_SLOT_NS, count: 0 }
    }

    /// Entries, replaced ones included.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Comes due at `deadline_ns`, up to a slot later; a deadline beyond the wheel's turn comes due at its end, to be
    /// put back then.
    pub(super) fn arm(&mut self, armed: Armed, deadline_ns: u64) {
        let slot = deadline_ns.div_ceil(WHEEL_SLOT_NS);
        let slot = slot.clamp(self.next_slot, self.next_slot + WHEEL_SLOTS as u64 - 1);
        self.slots[place(slot)].push(armed);
        self.count += 1;
    }

    /// Moves all that is due into `due`.
    pub(super) fn expire(&mut self, now_ns: u64, due: &mut Vec<Armed>) {
        let now_slot = now_ns / WHEEL_SLOT_NS;
        if now_slot < self.next_slot {
            return;
        }
        let passed = (now_slot - self.next_slot + 1).min(WHEEL_SLOTS as u64);
        for slot in self.next_slot..self.next_slot + passed {
            let slot = &mut self.slots[place(slot)];
            self.count -= slot.len();
            due.append(slot);
        }
        self.next_slot = now_slot + 1;
    }

    /// When the next connection comes due.
    #[must_use]
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        (self.next_slot..self.next_slot + WHEEL_SLOTS as u64)
            .find(|slot| !self.slots[place(*slot)].is_empty())
            .map(|slot| slot * WHEEL_SLOT_NS)
    }
}

fn place(slot: u64) -> usize {
    usize::try_from(slot % WHEEL_SLOTS as u64).expect("less than WHEEL_SLOTS")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(slot: u32) -> Armed {
        Armed { conn: ConnId { slot, generation: 0 }, token: 0 }
    }

    fn expired(wheel: &mut Wheel, now_ns: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(now_ns, &mut due);
        due.iter().map(|due| due.conn.slot).collect()
    }

    #[test]
    fn comes_due_once_and_never_early() {
        let mut wheel = Wheel::new(0);
        let second = 1_000_000_000;
        wheel.arm(conn(1), second);
        wheel.arm(conn(2), 2 * second);
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
        wheel.arm(conn(1), 100 * turn);
        wheel.arm(conn(2), 0);
        assert_eq!(expired(&mut wheel, 3 * turn), [2]);
        assert_eq!(expired(&mut wheel, 4 * turn), [1]);
    }

    #[test]
    fn time_that_jumps_over_many_turns_loses_nobody() {
        let turn = WHEEL_SLOTS as u64 * WHEEL_SLOT_NS;
        let mut wheel = Wheel::new(0);
        for slot in 0..100 {
            wheel.arm(conn(slot), u64::from(slot) * turn / 100);
        }
        let mut seen = expired(&mut wheel, 1000 * turn);
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }
}
