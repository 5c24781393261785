//! Who measures what: a recorder for each thread, and the other ends of all of them. Home: the main thread.

use std::sync::Arc;

use crate::clock;
use crate::doorbell::Doorbell;
use crate::histograms::Histograms;
use crate::telemetry::Board;
use crate::telemetry::latency::{Collection, Recorder, Stage, exchange};

/// For each thread in the order of its board and its doorbell: the shards, then the venue.
pub(super) fn recorders(boards: &[Arc<Board>], doorbells: &[Doorbell]) -> (Vec<Recorder>, Arc<Histograms>) {
    let mut recorders = Vec::with_capacity(boards.len());
    let mut takers = Vec::with_capacity(boards.len());
    for (at, board) in boards.iter().enumerate() {
        let is_venue = at + 1 == boards.len();
        let stages: &'static [Stage] = if is_venue { &Stage::OF_VENUE } else { &Stage::ALL };
        let (recorder, taker) = exchange(stages);
        recorders.push(recorder);
        takers.push((board.thread().to_owned(), stages, taker));
    }
    let collection = Collection::new(takers, clock::now());
    (recorders, Arc::new(Histograms::new(collection, doorbells.to_vec())))
}
