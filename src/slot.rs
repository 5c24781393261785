//! Room for one value that the main thread hands to one thread that runs: settings, when they are read again.
//!
//! Home: shared by the two. Invariants: nobody waits; the newest value wins; who takes looks at one flag a turn, and at nothing more
//! while there is nothing new. After a `put` the taker's doorbell is to be rung.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

/// See the file's head.
#[derive(Debug)]
pub struct Slot<T> {
    is_new: AtomicBool,
    newest: ArcSwapOption<T>,
}

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot { is_new: AtomicBool::new(false), newest: ArcSwapOption::empty() }
    }
}

impl<T> Slot<T> {
    /// Leaves a value, in place of one that was not taken.
    pub fn put(&self, value: T) {
        self.newest.store(Some(Arc::new(value)));
        self.is_new.store(true, Ordering::Release);
    }

    /// The newest value, once. Called by one thread alone.
    pub fn take(&self) -> Option<Arc<T>> {
        if !self.is_new.load(Ordering::Acquire) {
            return None;
        }
        // Before the value: one that is put in between is found now, or is new again.
        self.is_new.store(false, Ordering::Relaxed);
        self.newest.swap(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_taken_once() {
        let slot = Slot::default();
        assert!(slot.take().is_none());
        slot.put(1);
        slot.put(2);
        assert_eq!(slot.take().as_deref(), Some(&2));
        assert!(slot.take().is_none());
        slot.put(3);
        assert_eq!(slot.take().as_deref(), Some(&3));
    }

    #[test]
    fn the_last_of_many_arrives_while_somebody_takes_all_the_time() {
        const LAST: u32 = 10_000;
        let slot: Arc<Slot<u32>> = Arc::default();
        let putting = Arc::clone(&slot);
        let putter = std::thread::spawn(move || (1..=LAST).for_each(|value| putting.put(value)));
        let mut seen = 0;
        while seen < LAST {
            if let Some(value) = slot.take() {
                assert!(*value > seen, "values come in their order, none twice");
                seen = *value;
            }
        }
        putter.join().unwrap();
    }
}
