//! What all threads of the process hold, told by each and read by all. Home: shared by all threads; each writes its own
//! place only, so there is no read-modify-write and no lock, and what is read is at most a tick old.
//!
//! Invariant: the sum is what was last said, not what is: it decides about levels, never about correctness.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one thread holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    pub memory_bytes: u64,
    /// What waits for the costliest of its slow consumers.
    pub costliest_bytes: u64,
}

/// Two cache lines wide: its thread writes it while others read their neighbours' places.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place {
    memory_bytes: AtomicU64,
    costliest_bytes: AtomicU64,
}

/// One place for each thread.
#[derive(Debug)]
pub struct PressureBoard {
    places: Box<[Place]>,
}

impl PressureBoard {
    #[must_use]
    pub fn new(threads: usize) -> PressureBoard {
        PressureBoard { places: (0..threads).map(|_| Place::default()).collect() }
    }

    /// Says what the thread at `place` holds; called by that thread alone.
    pub fn tell(&self, place: usize, holding: Holding) {
        let place = &self.places[place];
        place.memory_bytes.store(holding.memory_bytes, Ordering::Relaxed);
        place.costliest_bytes.store(holding.costliest_bytes, Ordering::Relaxed);
    }

    /// The memory of all together, and the costliest slow consumer of any.
    #[must_use]
    pub fn total(&self) -> Holding {
        let mut total = Holding::default();
        for place in &self.places {
            total.memory_bytes += place.memory_bytes.load(Ordering::Relaxed);
            total.costliest_bytes = total.costliest_bytes.max(place.costliest_bytes.load(Ordering::Relaxed));
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_what_each_last_said() {
        let board = PressureBoard::new(3);
        assert_eq!(board.total(), Holding::default());
        board.tell(0, Holding { memory_bytes: 5, costliest_bytes: 4 });
        board.tell(2, Holding { memory_bytes: 7, costliest_bytes: 1 });
        board.tell(0, Holding { memory_bytes: 6, costliest_bytes: 3 });
        assert_eq!(board.total(), Holding { memory_bytes: 13, costliest_bytes: 3 });
    }
}
