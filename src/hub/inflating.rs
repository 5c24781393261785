//! Which connections hold an inflater for a message that is not whole, in the order in which those messages began. PURE.
//! Home: one shard.
//!
//! Inflaters are few. Where one more message begins than there are for, the connection that has held one for the longest
//! is closed: who only begins messages pays for it, not who comes late. The order is a list through a table by the
//! connections' slots, so that entering, leaving and finding the first take the same time however many hold one.
//! Invariant: a connection stands in the order once, exactly while its receiver holds an inflater.

use crate::limits;
use crate::model::ids::ConnId;
use crate::ws::Fault;

use super::Hub;

/// No entry: the end of the list.
const NONE: u32 = u32::MAX;

/// The one that is closed for it is another than the one that has just begun.
const _: () = assert!(limits::INCOMPLETE_DEFLATED_MAX > 0);

#[derive(Clone, Copy, Debug)]
struct Entry {
    conn: ConnId,
    is_listed: bool,
    previous: u32,
    next: u32,
}

/// The order.
#[derive(Debug)]
pub(super) struct Inflating {
    /// By the connections' slots.
    entries: Vec<Entry>,
    first: u32,
    last: u32,
    count: usize,
}

impl Default for Inflating {
    fn default() -> Inflating {
        Inflating { entries: Vec::new(), first: NONE, last: NONE, count: 0 }
    }
}

impl Inflating {
    /// The connection has begun a message.
    fn enter(&mut self, conn: ConnId) {
        let at = conn.slot as usize;
        if self.entries.len() <= at {
            self.entries.resize(at + 1, Entry { conn, is_listed: false, previous: NONE, next: NONE });
        }
        assert!(!self.entries[at].is_listed, "a receiver holds one inflater");
        self.entries[at] = Entry { conn, is_listed: true, previous: self.last, next: NONE };
        match self.last {
            NONE => self.first = conn.slot,
            last => self.entries[last as usize].next = conn.slot,
        }
        self.last = conn.slot;
        self.count += 1;
    }

    /// The connection of this slot holds no inflater any more, if it held one.
    pub(super) fn leave(&mut self, slot: u32) {
        let Some(entry) = self.entries.get_mut(slot as usize).filter(|entry| entry.is_listed) else { return };
        let Entry { previous, next, .. } = *entry;
        entry.is_listed = false;
        match previous {
            NONE => self.first = next,
            previous => self.entries[previous as usize].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => self.entries[next as usize].previous = previous,
        }
        self.count -= 1;
    }

    /// Who began first.
    fn first(&self) -> Option<ConnId> {
        self.entries.get(self.first as usize).map(|entry| entry.conn)
    }
}

impl Hub {
    /// A step of a connection's receiver is over, before which so many inflaters were lent: whether it has begun or ended
    /// a message, and who has to make room.
    pub(super) fn note_inflater(&mut self, conn: ConnId, lent_before: usize) {
        let lent = self.inflaters.lent();
        if lent < lent_before {
            self.inflating.leave(conn.slot);
        } else if lent > lent_before {
            self.inflating.enter(conn);
            if lent > limits::INCOMPLETE_DEFLATED_MAX {
                let oldest = self
                    .inflating
                    .first()
                    .expect("invariant: each inflater that is lent has its connection in the order");
                self.close_broken(oldest, Fault::InflatersExhausted);
            }
        }
        debug_assert_eq!(self.inflating.count, self.inflaters.lent(), "each has its place in the order");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(slot: u32) -> ConnId {
        ConnId { slot, generation: slot + 7 }
    }

    fn in_order(mut inflating: Inflating) -> Vec<u32> {
        let mut slots = Vec::new();
        while let Some(first) = inflating.first() {
            assert_eq!(first, conn(first.slot));
            slots.push(first.slot);
            inflating.leave(first.slot);
        }
        assert_eq!(inflating.count, 0);
        slots
    }

    #[test]
    fn the_first_is_who_began_first_of_those_who_have_not_left() {
        for left in [&[][..], &[3], &[0], &[2], &[3, 2], &[2, 0, 3], &[1, 3, 2, 0], &[9, 1, 1]] {
            let mut inflating = Inflating::default();
            [3, 1, 0, 2].into_iter().for_each(|slot| inflating.enter(conn(slot)));
            left.iter().for_each(|slot| inflating.leave(*slot));
            inflating.enter(conn(5));
            let mut expected = vec![3, 1, 0, 2, 5];
            expected.retain(|slot| !left.contains(slot));
            assert_eq!(in_order(inflating), expected, "{left:?}");
        }
    }
}
