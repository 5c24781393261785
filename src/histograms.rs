//! Who asks threads for their histograms: wakes those that sleep, and waits for the answers no longer than a moment.
//!
//! Home: shared by the main and the control thread. Invariant: no thread that has clients takes the lock, or waits for who does.

#![expect(clippy::disallowed_types, reason = "two threads share it that have no clients to keep waiting")]

pub mod file;

use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::doorbell::Doorbell;
use crate::limits;
use crate::telemetry::latency::{Collection, Gathered};

/// How often it is looked whether threads have answered.
const LOOK: Duration = Duration::from_millis(1);

/// See the file's head.
#[derive(Debug)]
pub struct Histograms {
    collection: Mutex<Collection>,
    /// Of all threads that measure.
    doorbells: Vec<Doorbell>,
}

impl Histograms {
    #[must_use]
    pub fn new(collection: Collection, doorbells: Vec<Doorbell>) -> Histograms {
        Histograms { collection: Mutex::new(collection), doorbells }
    }

    /// What was gathered last.
    pub fn collection(&self) -> MutexGuard<'_, Collection> {
        self.collection.lock().expect("invariant: who panics takes the process down")
    }

    /// Has every thread hand over what it has recorded, and waits for it; who does not turn is then told as missing.
    #[expect(clippy::disallowed_methods, reason = "the main thread has no shard to stall")]
    pub fn gather(&self) {
        self.ask();
        let by_ns = clock::now().mono_ns + limits::HISTOGRAMS_WAIT_NS;
        while self.is_awaited(by_ns) {
            thread::sleep(LOOK);
        }
    }

    /// The same for who must not block; nothing is asked for where what is known is new enough for operators.
    pub async fn gather_for_operators(&self) {
        if self.collection().is_newer_than(limits::HISTOGRAMS_AGE_NS, clock::now()) {
            return;
        }
        self.ask();
        let by_ns = clock::now().mono_ns + limits::HISTOGRAMS_WAIT_NS;
        while self.is_awaited(by_ns) {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn ask(&self) {
        self.collection().ask(clock::now());
        self.doorbells.iter().for_each(Doorbell::ring);
    }

    /// Takes what threads have handed over by now.
    pub fn take(&self) {
        self.collection().take(clock::now());
    }

    /// Takes what has come in; whether there is more to wait for, and time left to.
    fn is_awaited(&self, by_ns: u64) -> bool {
        let now = clock::now();
        let mut collection = self.collection();
        let gathered = collection.take(now);
        let is_late = now.mono_ns >= by_ns;
        if is_late {
            collection.give_up(limits::HISTOGRAMS_WAIT_NS, now);
        }
        gathered == Gathered::Awaited && !is_late
    }
}
