//! What a home says to the others in a turn: one data batch for all who listen, and one batch of commands per peer.
//! PURE. Home: each shard, the venue, and a bridge in its place.
//!
//! Invariants: batches leave in the order in which they were sealed; a lagging peer gets no data until it is told of
//! the gap; commands are never held back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::limits;
use crate::model::ids::{HomeId, HomeSet};

use super::batch::{Batch, BatchPool, MeshLane, Outgoing, Record};

#[derive(Debug)]
pub(crate) struct Outbox {
    data: Arc<Batch>,
    commands: Vec<Option<Arc<Batch>>>,
    /// Whom there are commands for.
    commanded: HomeSet,
    pool: BatchPool,
    outgoing: VecDeque<Outgoing>,
    lagging: HomeSet,
    /// Gap notices sent: how often a peer fell so far behind that data for it was dropped.
    pub(crate) gaps_total: u64,
}

impl Outbox {
    #[must_use]
    pub(crate) fn new() -> Outbox {
        Outbox {
            data: Arc::new(Batch::default()),
            commands: (0..limits::HOMES_MAX).map(|_| None).collect(),
            commanded: HomeSet::EMPTY,
            pool: BatchPool::default(),
            outgoing: VecDeque::new(),
            lagging: HomeSet::EMPTY,
            gaps_total: 0,
        }
    }

    /// The turn's data batch.
    pub(crate) fn data(&mut self) -> &mut Batch {
        unshared(&mut self.data)
    }

    /// The turn's commands for one peer.
    pub(crate) fn command(&mut self, to: HomeId) -> &mut Batch {
        let pool = &mut self.pool;
        self.commanded.insert(to);
        unshared(self.commands[to.index()].get_or_insert_with(|| pool.take()))
    }

    /// Makes the batches that busy turns take.
    pub(crate) fn make_ready(&mut self) {
        self.pool.make_ready();
        self.data = self.pool.take();
    }

    /// Bytes of memory that batches take: the turn's own, those under way and those kept to be used again.
    #[must_use]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.data.memory_bytes() + self.pool.memory_bytes()
    }

    /// Whether peers have so much to take that they are not to be sent history besides.
    #[must_use]
    pub(crate) fn peers_are_behind(&self) -> bool {
        self.pool.long_bytes() >= limits::LONG_BATCH_BYTES_UNDER_WAY_MAX
    }

    /// Looks which batches peers have taken since.
    pub(crate) fn settle_long(&mut self) {
        self.pool.settle_long();
    }

    /// Gives back what is only kept to be used again.
    pub(crate) fn trim(&mut self) {
        self.pool.trim();
    }

    /// Takes a batch that was applied here back for reuse.
    pub(crate) fn recycle(&mut self, batch: Arc<Batch>) {
        self.pool.sealed(batch);
    }

    /// Takes the commands for one peer without sending them: those of a home to itself.
    pub(crate) fn take_commands(&mut self, to: HomeId) -> Option<Arc<Batch>> {
        self.commanded.remove(to);
        self.commands[to.index()].take()
    }

    /// Ends the turn's data batch and queues it for its audience; returns it for the home's own use. `None` if nothing
    /// was said.
    pub(crate) fn seal_data(&mut self) -> Option<Arc<Batch>> {
        if self.data.is_empty() {
            // Frames that were encoded for a history only: nobody listens.
            self.data().clear();
            return None;
        }
        let batch = std::mem::replace(&mut self.data, self.pool.take());
        let to = HomeSet(batch.audience.0 & !self.lagging.0);
        if !to.is_empty() {
            self.outgoing.push_back(Outgoing { to, lane: MeshLane::Data, batch: Arc::clone(&batch) });
        }
        self.pool.sealed(Arc::clone(&batch));
        Some(batch)
    }

    /// Ends the turn's commands and queues them.
    pub(crate) fn seal_commands(&mut self) {
        for home in std::mem::replace(&mut self.commanded, HomeSet::EMPTY).iter() {
            if let Some(batch) = self.commands[home.index()].take() {
                let mut to = HomeSet::EMPTY;
                to.insert(home);
                self.outgoing.push_back(Outgoing { to, lane: MeshLane::Commands, batch: Arc::clone(&batch) });
                self.pool.sealed(batch);
            }
        }
    }

    /// The next batch to carry. One that was sealed before a peer was found to lag is not for that peer any more: it
    /// would come after a hole.
    pub(crate) fn poll(&mut self) -> Option<Outgoing> {
        loop {
            let mut outgoing = self.outgoing.pop_front()?;
            match outgoing.lane {
                MeshLane::Data => outgoing.to = HomeSet(outgoing.to.0 & !self.lagging.0),
                MeshLane::Commands => {}
            }
            if !outgoing.to.is_empty() {
                return Some(outgoing);
            }
        }
    }

    /// The data queue to `peer` was full: what was for it is lost, and so is all until [`Outbox::recover`].
    pub(crate) fn lag(&mut self, peer: HomeId) {
        self.lagging.insert(peer);
    }

    #[must_use]
    pub(crate) fn lagging(&self) -> HomeSet {
        self.lagging
    }

    /// The data queue to `peer` has room again: it is told of the gap, with `image` after the notice in the same batch.
    pub(crate) fn recover(&mut self, peer: HomeId, image: impl FnOnce(&mut Batch)) {
        self.lagging.remove(peer);
        self.gaps_total += 1;
        let mut notice = self.pool.take();
        let batch = unshared(&mut notice);
        batch.records.push(Record::Gap { to: peer });
        image(batch);
        batch.audience.insert(peer);
        let to = batch.audience;
        self.outgoing.push_back(Outgoing { to, lane: MeshLane::Data, batch: Arc::clone(&notice) });
        self.pool.sealed(notice);
    }
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox::new()
    }
}

fn unshared(batch: &mut Arc<Batch>) -> &mut Batch {
    Arc::get_mut(batch).expect("invariant: a batch is shared only after it was sealed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::TopicId;

    #[test]
    fn a_batch_sealed_before_its_peer_lagged_is_not_for_it_any_more() {
        let mut outbox = Outbox::new();
        let topic = TopicId { home: HomeId(0), slot: 0, generation: 0 };
        for _ in 0..2 {
            let data = outbox.data();
            data.records.push(Record::Leave { topic });
            data.audience.insert(HomeId(1));
            assert!(outbox.seal_data().is_some());
        }
        assert!(outbox.poll().is_some());
        outbox.lag(HomeId(1));
        assert!(outbox.poll().is_none());
        outbox.recover(HomeId(1), |_| {});
        assert!(outbox.poll().is_some());
    }
}
