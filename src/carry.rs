//! What a home has said, on its way into the mesh. Home: each shard and the venue.
//! Invariants: commands are never dropped and keep their order; data for a peer whose queue is full is dropped once and
//! the home is told, which then sends nothing until there is room.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::batch::{Batch, MeshLane, Outgoing};
use crate::mesh::{Endpoint, Full};
use crate::model::ids::HomeId;

/// The mesh between the threads of a server.
pub type MeshEndpoint = Endpoint<Parcel>;

/// A batch on its way, with what is measured of it.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub batch: Arc<Batch>,
    pub stamps: Stamps,
}

/// Of one turn's batches, on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// The time by which the turn's events were stamped: its begin.
    pub stamped_ns: u64,
    pub sealed_ns: u64,
}

#[derive(Debug, Default)]
pub struct Carry {
    /// Commands whose queue was full.
    waiting: VecDeque<(HomeId, Parcel)>,
    /// Peers whose data queue was found full.
    lagging: Vec<HomeId>,
}

impl Carry {
    /// Pushes a batch to all it is for.
    pub fn push(&mut self, mesh: &mut MeshEndpoint, outgoing: &Outgoing, stamps: Stamps) {
        for to in outgoing.to.iter() {
            let parcel = Parcel { batch: Arc::clone(&outgoing.batch), stamps };
            match outgoing.lane {
                MeshLane::Data => {
                    if let Err(Full(_)) = mesh.send_data(to.index(), parcel) {
                        self.lagging.push(to);
                    }
                }
                MeshLane::Commands => self.waiting.push_back((to, parcel)),
            }
        }
        self.retry(mesh);
    }

    /// Pushes the commands that have room now.
    pub fn retry(&mut self, mesh: &mut MeshEndpoint) {
        let mut blocked = 0u64;
        for _ in 0..self.waiting.len() {
            let Some((to, parcel)) = self.waiting.pop_front() else { return };
            if blocked >> to.0 & 1 == 1 {
                self.waiting.push_back((to, parcel));
            } else if let Err(Full(parcel)) = mesh.send_command(to.index(), parcel) {
                blocked |= 1 << to.0;
                self.waiting.push_back((to, parcel));
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
