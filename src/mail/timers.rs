//! Deadlines of messages and the like, on one clock. PURE. Invariant: who set a deadline clears it by the same three values; the
//! earliest comes first, and of equal ones the lowest number.

use std::collections::BTreeSet;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(u64, u64, u32)>,
}

impl Timers {
    pub(super) fn set(&mut self, at: u64, number: u64, slot: u32) {
        self.due.insert((at, number, slot));
    }

    pub(super) fn clear(&mut self, at: u64, number: u64, slot: u32) {
        self.due.remove(&(at, number, slot));
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.due.first().map(|(at, _, _)| *at)
    }

    /// The next slot whose deadline is `until` or earlier.
    pub(super) fn pop(&mut self, until: u64) -> Option<u32> {
        let (at, number, slot) = *self.due.first()?;
        if at > until {
            return None;
        }
        self.due.remove(&(at, number, slot));
        Some(slot)
    }

    /// Nodes are some two thirds full.
    pub(super) fn memory_bytes(&self) -> usize {
        self.due.len() * size_of::<(u64, u64, u32)>() * 3 / 2
    }
}
