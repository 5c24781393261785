//! The venue in a shard's thread, where they share a core (decision 0014). Home: the shard.
//!
//! It turns behind what the shard's clients have asked for and before the flush, so that an order's answer goes out in the turn
//! that received the order, with all else that the turn has to say.

use crate::clock;
use crate::ring::Wait;
use crate::venue::{Resident, VenueReport};

use super::{Shard, ShardError, ShardReport};

impl Shard {
    /// Has the venue turn if it has something to do, and takes what it says; whether it did.
    pub(super) fn turn_resident(&mut self) -> bool {
        let Some(resident) = &mut self.resident else { return false };
        if !resident.has_work(self.now) {
            return false;
        }
        resident.turn();
        // What the venue took is on the answers' stamps.
        self.now = clock::now();
        self.take_batches();
        self.act();
        self.say();
        true
    }

    /// Somebody rang, perhaps for the venue.
    pub(super) fn rouse_resident(&mut self) {
        if let Some(resident) = &mut self.resident {
            resident.rouse();
        }
    }

    /// Before the thread parks: the venue's deadline, if it lets the thread park.
    pub(super) fn prepare_resident(&mut self) -> Option<Option<u64>> {
        let Some(resident) = &mut self.resident else { return Some(None) };
        match resident.prepare_sleep(self.now)? {
            Wait::Poll => None,
            Wait::Until(deadline_ns) => Some(Some(deadline_ns)),
            Wait::Forever => Some(None),
        }
    }

    /// However the thread woke.
    pub(super) fn wake(&mut self) {
        self.mesh.wake();
        if let Some(resident) = &mut self.resident {
            resident.wake();
        }
    }

    pub(super) fn beat(&self) {
        self.pulse.beat();
        if let Some(resident) = &self.resident {
            resident.beat();
        }
    }

    /// Hands over what was measured; all else that it has is gone when this returns, so that nobody waits for it.
    fn leave(self) {
        self.timing.recorder.finish();
    }

    /// The end of the thread: the shard's, then the venue's, which waits for other shards' clients.
    pub(super) fn end(mut self) -> Result<(ShardReport, Option<VenueReport>), ShardError> {
        let report = self.report();
        let resident = self.resident.take();
        self.leave();
        let venue = resident.map(Resident::finish).transpose().map_err(ShardError::Venue)?;
        Ok((report, venue))
    }
}
