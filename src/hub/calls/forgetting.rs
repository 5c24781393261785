//! Which of the kept results are to be forgotten and were not come by yet. PURE. Home: one shard.
//!
//! Somebody says that results of these methods hold no more; to go through all that is kept takes several turns. Invariants: from that
//! moment on a result that was asked for before is not told, whether the walk has come by it or not; one that was asked for afterwards
//! is kept, but where so much waits at once that everything is forgotten; what waits is bounded.

use std::sync::Arc;

use crate::limits;
use crate::model::call::BackendId;
use crate::model::invalidation::Invalidation;

/// When a result was asked for: how many invalidations there had been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked(u64);

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Forgetting {
    pending: Vec<Pending>,
    /// Methods of those.
    methods: usize,
    now: Asked,
    /// Places that what was asked for before may be at, the one of them that is gone to next, and how many are still to be gone to.
    places: usize,
    at: usize,
    left: usize,
}

#[derive(Debug)]
struct Pending {
    /// Of what was asked for before.
    before: Asked,
    /// One backend's results, or all.
    backend: Option<BackendId>,
    invalidation: Arc<Invalidation>,
}

impl Forgetting {
    /// What is asked for from here on.
    pub(super) fn now(&self) -> Asked {
        self.now
    }

    /// Forgets what was asked for up to now; `backend` is the one that the invalidation names, and there are so many places to go to.
    pub(super) fn add(&mut self, backend: Option<BackendId>, invalidation: Arc<Invalidation>, places: usize) {
        self.now.0 += 1;
        let mut new = Pending { before: self.now, backend, invalidation };
        self.methods += new.invalidation.methods.patterns().len();
        if self.pending.len() == limits::CACHE_INVALIDATIONS_MAX
            || self.methods > limits::CACHE_INVALIDATED_METHODS_MAX
        {
            self.pending.clear();
            (new.backend, new.invalidation) = (None, Arc::new(Invalidation::everything()));
            self.methods = 1;
        }
        self.pending.push(new);
        (self.places, self.left) = (places, places);
        self.end_walk();
    }

    /// Whether a result that was asked for then is to be forgotten.
    pub(super) fn has(&self, asked: Asked, backend: BackendId, method: &[u8]) -> bool {
        self.pending.iter().any(|pending| {
            asked < pending.before
                && pending.backend.is_none_or(|own| own == backend)
                && pending.invalidation.methods.fit(method)
        })
    }

    /// Whether there are places still to go to.
    pub(super) fn is_under_way(&self) -> bool {
        self.left > 0
    }

    /// The place to go to next; what is there is looked at before the one after it is asked for.
    pub(super) fn next_place(&mut self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        let at = self.at % self.places;
        self.at = at + 1;
        Some(at)
    }

    /// What is at the place that was gone to last was looked at.
    pub(super) fn passed(&mut self) {
        self.left -= 1;
        self.end_walk();
    }

    fn end_walk(&mut self) {
        if self.left == 0 {
            self.pending.clear();
            self.methods = 0;
        }
    }
}
