//! Whether a thread turns: a count that it moves on with each turn, and that who watches over it reads.
//! Home: one for each thread; its owner alone writes it, the main thread reads it. Invariant: a turn costs a store to a line of
//! its own, which nobody else takes away but a few times a watchdog's interval; no read-modify-write.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the file's head. Two cache lines wide, because adjacent lines are fetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// Owner: one more turn.
    pub fn beat(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Turns so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
