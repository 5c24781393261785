//! What a home has said, on its way into the mesh. Home: each shard and the venue.
//! Invariants: commands are never dropped and keep their order; data for a peer whose queue is full is dropped once and
//! the home is told, which then sends nothing until there is room.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::batch::{Batch, MeshLane, Outgoing};
use crate::mesh::{Endpoint, Full};
use crate::model::ids::HomeId;

/// The mesh between the threads of a server.
pub type MeshEndpoint = Endpoint<Arc<Batch>>;

#[derive(Debug, Default)]
pub struct Carry {
    /// Commands whose queue was full.
    waiting: VecDeque<(HomeId, Arc<Batch>)>,
    /// Peers whose data queue was found full.
    lagging: Vec<HomeId>,
}

impl Carry {
    /// Pushes a batch to all it is for.
    pub fn push(&mut self, mesh: &mut MeshEndpoint, outgoing: &Outgoing) {
        for to in outgoing.to.iter() {
            let batch = Arc::clone(&outgoing.batch);
            match outgoing.lane {
                MeshLane::Data => {
                    if let Err(Full(_)) = mesh.send_data(to.index(), batch) {
                        self.lagging.push(to);
                    }
                }
                MeshLane::Commands => self.waiting.push_back((to, batch)),
            }
        }
        self.retry(mesh);
    }

    /// Pushes the commands that have room now.
    pub fn retry(&mut self, mesh: &mut MeshEndpoint) {
        let mut blocked = 0u64;
        for _ in 0..self.waiting.len() {
            let Some((to, batch)) = self.waiting.pop_front() else { return };
            if blocked >> to.0 & 1 == 1 {
                self.waiting.push_back((to, batch));
            } else if let Err(Full(batch)) = mesh.send_command(to.index(), batch) {
                blocked |= 1 << to.0;
                self.waiting.push_back((to, batch));
            }
        }
    }

    /// A peer whose data queue was found full, to be told to the home.
    pub fn poll_lag(&mut self) -> Option<HomeId> {
        self.lagging.pop()
    }

    /// Whether commands wait for room.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
