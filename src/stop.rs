//! How the threads of a server stop: each is told, and none goes while clients of another may still wait for its answers.
//! Home: shared by all threads. Invariant: a thread that ends for whatever reason holds nobody up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// See the module's page.
#[derive(Debug, Default)]
pub struct Stop {
    told: AtomicBool,
    /// Shards that may have clients.
    serving: AtomicUsize,
}

/// A shard that may have clients; dropped when it has none any more.
#[derive(Debug)]
pub struct Serving(Arc<Stop>);

impl Stop {
    /// One more shard is about to serve: before it says that it is ready.
    #[must_use]
    pub fn enter(self: &Arc<Stop>) -> Serving {
        self.serving.fetch_add(1, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    /// Tells every thread; those that sleep have to be woken.
    pub fn tell(&self) {
        self.told.store(true, Ordering::Release);
    }

    /// Whether it was told.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Whether nobody waits for any thread's answers; what shards have said until they left is in their queues then.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.serving.load(Ordering::Acquire) == 0
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // What it has said before comes with it.
        self.0.serving.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_once_the_last_shard_has_left_or_failed() {
        let stop = Arc::new(Stop::default());
        let (first, second) = (stop.enter(), stop.enter());
        assert!(!stop.is_told() && !stop.is_deserted());
        stop.tell();
        drop(first);
        assert!(stop.is_told() && !stop.is_deserted());
        let failed = std::thread::spawn(move || {
            let _serving = second;
            std::panic::resume_unwind(Box::new("a shard that fails"));
        });
        assert!(failed.join().is_err());
        assert!(stop.is_deserted());
    }
}
