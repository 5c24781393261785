//! The queues between the homes: for each ordered pair one for data, which is short and loses what does not fit, and
//! one for commands, which loses nothing. PURE. A queue keeps its order; the two of a pair are not ordered to each other,
//! and each waits as long as chance has it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::batch::{Batch, MeshLane};
use crate::model::ids::HomeId;

use super::random::Random;

#[derive(Debug, Default)]
struct Pair {
    data: VecDeque<Arc<Batch>>,
    commands: VecDeque<Arc<Batch>>,
    /// A batch was lost and the sender has not been told of room since.
    lagging: bool,
}

/// Whether the data queue could take a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Taken,
    Lost,
}

#[derive(Debug)]
pub(super) struct Mesh {
    homes: usize,
    pairs: Vec<Pair>,
    data_batches_max: usize,
    pub(super) batches_lost: u64,
}

impl Mesh {
    #[must_use]
    pub(super) fn new(homes: usize, data_batches_max: usize) -> Mesh {
        let pairs = (0..homes * homes).map(|_| Pair::default()).collect();
        Mesh { homes, pairs, data_batches_max, batches_lost: 0 }
    }

    pub(super) fn push(&mut self, from: HomeId, to: HomeId, lane: MeshLane, batch: &Arc<Batch>) -> Pushed {
        let pair = &mut self.pairs[from.index() * self.homes + to.index()];
        match lane {
            MeshLane::Commands => pair.commands.push_back(Arc::clone(batch)),
            MeshLane::Data if pair.data.len() >= self.data_batches_max => {
                pair.lagging = true;
                self.batches_lost += 1;
                return Pushed::Lost;
            }
            MeshLane::Data => pair.data.push_back(Arc::clone(batch)),
        }
        Pushed::Taken
    }

    /// The head of a queue that chance picks among those that hold something.
    pub(super) fn pop(&mut self, random: &mut Random) -> Option<(HomeId, HomeId, Arc<Batch>)> {
        let start = random.below(self.pairs.len());
        for turn in 0..self.pairs.len() {
            let at = (start + turn) % self.pairs.len();
            let pair = &mut self.pairs[at];
            let batch = if random.chance(50) {
                pair.data.pop_front().or_else(|| pair.commands.pop_front())
            } else {
                pair.commands.pop_front().or_else(|| pair.data.pop_front())
            };
            if let Some(batch) = batch {
                return Some((self.home(at / self.homes), self.home(at % self.homes), batch));
            }
        }
        None
    }

    /// A sender and a peer that lagged and has room again; the sender is to be told.
    pub(super) fn room(&mut self) -> Option<(HomeId, HomeId)> {
        let data_batches_max = self.data_batches_max;
        let at = self.pairs.iter().position(|pair| pair.lagging && pair.data.len() < data_batches_max)?;
        self.pairs[at].lagging = false;
        Some((self.home(at / self.homes), self.home(at % self.homes)))
    }

    fn home(&self, at: usize) -> HomeId {
        HomeId(u8::try_from(at).expect("a handful of homes"))
    }
}
