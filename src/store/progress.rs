//! What the store's thread and its sender tell of themselves, for metrics. Home: shared; each number has one writer.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::storage::{StoreBatch, StoreFault, StoreOp, StoreState};
use crate::telemetry::StoreReading;

/// A number that one thread writes and others read.
#[derive(Debug, Default)]
pub(super) struct Told(AtomicU64);

impl Told {
    pub(super) fn set(&self, value: u64) {
        // Who reads it sees what was done before it was told.
        self.0.store(value, Ordering::Release);
    }

    pub(super) fn add(&self, value: u64) {
        self.set(self.0.load(Ordering::Relaxed).wrapping_add(value));
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Progress {
    /// As [`code`] has it.
    state: Told,
    /// By the sender: batches and their bytes, all in all.
    pub(super) sent_batches: Told,
    pub(super) sent_bytes: Told,
    /// Of those, by the store: the ones that were answered.
    answered_batches: Told,
    answered_bytes: Told,
    pub(super) commits: Told,
    stored_batches: Told,
    operations: Told,
    bytes: Told,
    pub(super) commit_ns: Told,
    pub(super) commit_ns_max: Told,
    /// When the commit that is under way began; 0 where none is.
    pub(super) commit_since_ns: Told,
    /// In the order of [`StoreFault::ALL`].
    refused: [Told; StoreFault::ALL.len()],
    pub(super) loaded_entries: Told,
    pub(super) load_ns: Told,
    pub(super) file_bytes: Told,
    /// By the thread that gives them.
    pub(super) backups: Told,
    pub(super) backups_failed: Told,
}

impl Progress {
    pub(super) fn set_state(&self, state: StoreState) {
        self.state.set(code(state));
    }

    /// That batch is on the disk.
    pub(super) fn store(&self, batch: &StoreBatch) {
        self.operations.add(batch.ops.len() as u64);
        let of_value =
            |op: &StoreOp| if let StoreOp::Put { value, .. } = op { value.len() as u64 } else { 0 };
        self.bytes.add(batch.ops.iter().map(of_value).sum());
        self.stored_batches.add(1);
        self.answer(batch);
    }

    /// That batch is not.
    pub(super) fn refuse(&self, batch: &StoreBatch, fault: StoreFault) {
        let place = StoreFault::ALL.iter().position(|known| *known == fault);
        self.refused[place.expect("invariant: all faults are among all")].add(1);
        self.answer(batch);
    }

    fn answer(&self, batch: &StoreBatch) {
        self.answered_batches.add(1);
        self.answered_bytes.add(batch.weight_bytes() as u64);
    }

    /// Bytes that were sent and are not answered, as the sender counts them.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.sent_bytes.read().wrapping_sub(self.answered_bytes.read())
    }

    /// All of it at about one moment, on the monotonic clock.
    #[must_use]
    pub fn reading(&self, now_ns: u64) -> StoreReading {
        // First, so that what is answered meanwhile makes no negative queue.
        let (answered_batches, answered_bytes) = (self.answered_batches.read(), self.answered_bytes.read());
        let since_ns = self.commit_since_ns.read();
        StoreReading {
            state: self.state.read(),
            commits_total: self.commits.read(),
            batches_total: self.stored_batches.read(),
            operations_total: self.operations.read(),
            bytes_total: self.bytes.read(),
            commit_ns_total: self.commit_ns.read(),
            commit_ns_max: self.commit_ns_max.read(),
            commit_under_way_ns: if since_ns == 0 { 0 } else { now_ns.saturating_sub(since_ns) },
            queued_batches: self.sent_batches.read().saturating_sub(answered_batches),
            queued_bytes: self.sent_bytes.read().saturating_sub(answered_bytes),
            refused_total: std::array::from_fn(|place| self.refused[place].read()),
            loaded_entries: self.loaded_entries.read(),
            load_ns: self.load_ns.read(),
            file_bytes: self.file_bytes.read(),
            backups_total: self.backups.read(),
            backups_failed_total: self.backups_failed.read(),
        }
    }
}

/// As the metric has it.
const fn code(state: StoreState) -> u64 {
    match state {
        StoreState::Absent => 0,
        StoreState::Loading => 1,
        StoreState::Ready => 2,
        StoreState::Faulty(_) => 3,
    }
}
