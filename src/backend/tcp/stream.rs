//! Numbered messages of a venue link: what was said and is kept until the peer has it, and what was heard. PURE.
//!
//! Invariants: numbers begin at 1 and have no gap; what is kept is exactly what was said and not acknowledged.

use std::collections::VecDeque;

use crate::limits;

/// What one side has said.
#[derive(Debug)]
pub(super) struct Said<T> {
    kept: VecDeque<T>,
    /// The number of the first that is kept.
    first: u64,
}

impl<T: Copy> Said<T> {
    pub(super) const fn new() -> Said<T> {
        Said { kept: VecDeque::new(), first: 1 }
    }

    /// The number of what is said next.
    pub(super) fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// Keeps a message; its number, or `None` where the peer is too far behind.
    pub(super) fn push(&mut self, message: T) -> Option<u64> {
        if self.kept.len() == limits::LINK_UNACKNOWLEDGED_MAX {
            return None;
        }
        let seq = self.next();
        self.kept.push_back(message);
        Some(seq)
    }

    /// The peer has all before `next`. False where that can't be: it was forgotten before, or never said.
    pub(super) fn acknowledge(&mut self, next: u64) -> bool {
        if next < self.first || next > self.next() {
            return false;
        }
        while self.first < next {
            self.kept.pop_front();
            self.first += 1;
        }
        true
    }

    /// What is kept, with numbers.
    pub(super) fn kept(&self) -> impl Iterator<Item = (u64, T)> + '_ {
        (self.first..).zip(self.kept.iter().copied())
    }

    pub(super) fn kept_count(&self) -> usize {
        self.kept.len()
    }

    /// Takes back all that is kept; the numbers are given again.
    pub(super) fn take_back(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.kept)
    }

    /// Forgets all; numbers begin at 1 again.
    pub(super) fn restart(&mut self) {
        *self = Said::new();
    }
}

/// What one side has heard.
#[derive(Debug)]
pub(super) struct Heard {
    /// The number that is expected next.
    pub(super) next: u64,
    /// How many were heard since that was last told.
    unacknowledged: u32,
}

/// What a numbered message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    New,
    /// It was here before.
    Repeated,
    /// Something before it is missing.
    Gap,
}

impl Heard {
    pub(super) const fn new() -> Heard {
        Heard { next: 1, unacknowledged: 0 }
    }

    pub(super) fn take(&mut self, seq: u64) -> Arrival {
        if seq > self.next {
            return Arrival::Gap;
        }
        if seq < self.next {
            return Arrival::Repeated;
        }
        self.next += 1;
        self.unacknowledged += 1;
        Arrival::New
    }

    /// Whether the peer should be told now how far we are.
    pub(super) const fn is_due(&self) -> bool {
        self.unacknowledged >= limits::LINK_ACKNOWLEDGED_EVERY
    }

    pub(super) fn told(&mut self) {
        self.unacknowledged = 0;
    }

    pub(super) fn restart(&mut self) {
        *self = Heard::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_not_acknowledged() {
        let mut said = Said::new();
        assert_eq!([said.push('a'), said.push('b'), said.push('c')], [Some(1), Some(2), Some(3)]);
        assert!(said.acknowledge(3));
        assert_eq!(said.kept().collect::<Vec<_>>(), [(3, 'c')]);
        assert!(!said.acknowledge(2) && !said.acknowledge(5));
        assert!(said.acknowledge(4));
        assert_eq!((said.next(), said.kept().count()), (4, 0));
    }

    #[test]
    fn is_full_at_its_bound() {
        let mut said = Said::new();
        assert!((0..limits::LINK_UNACKNOWLEDGED_MAX).all(|_| said.push(()).is_some()));
        assert_eq!(said.push(()), None);
        assert!(said.acknowledge(2));
        assert!(said.push(()).is_some());
    }

    #[test]
    fn knows_what_is_new() {
        let mut heard = Heard::new();
        assert_eq!(
            [1, 1, 2, 4].map(|seq| heard.take(seq)),
            [Arrival::New, Arrival::Repeated, Arrival::New, Arrival::Gap]
        );
        assert_eq!(heard.next, 3);
    }
}
