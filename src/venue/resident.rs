//! A venue that lives in the thread of the shard whose core it shares (decision 0014): what shard and venue say to each other costs
//! no doorbell and no switch of threads, and an order is answered in the turn that received it.
//!
//! Home: that shard's thread, which has it turn and waits for both, in the shard's ring: peers ring the same doorbell for both, and
//! so does the venue's ring when it has work. Invariant: nothing but what [`Resident::has_work`] looks
//! at makes a turn of the venue due, so one that it does not ask for would have done nothing.

use std::sync::Arc;

use crate::clock;
use crate::limits;
use crate::model::time::Now;
use crate::pulse::Pulse;
use crate::ring::{Ring, Wait};

use super::storing::Storing;
use super::{Venue, VenueError, VenueReport, VenueSetup};

/// See the file's head.
pub(crate) struct Resident {
    venue: Venue,
    /// When it is to turn though nobody says anything.
    due: Wait,
    pulse: Arc<Pulse>,
    /// Why it does nothing any more; its thread lives on until the shard's clients are gone.
    failure: Option<VenueError>,
}

impl Resident {
    /// Its first turn is taken: the first instruments are on their way.
    ///
    /// # Errors
    /// Those of [`super::run`].
    pub(crate) fn new(setup: VenueSetup) -> Result<Resident, VenueError> {
        let pulse = Arc::clone(&setup.pulse);
        let ring = Ring::beside(&VenueSetup::ring_config(), setup.mesh.doorbell().clone())
            .map_err(VenueError::Ring)?;
        let venue = Venue::new(setup, ring).map_err(VenueError::Ring)?;
        let mut resident = Resident { venue, due: Wait::Poll, pulse, failure: None };
        resident.try_turn()?;
        Ok(resident)
    }

    /// Whether a turn would do something by now.
    pub(crate) fn has_work(&mut self, now: Now) -> bool {
        if self.failure.is_some() {
            return false;
        }
        let is_due = match self.due {
            Wait::Poll => true,
            Wait::Until(deadline_ns) => deadline_ns <= now.mono_ns,
            Wait::Forever => false,
        };
        is_due || self.venue.mesh.has_received() || self.venue.ring.has_work()
    }

    /// The doorbell was rung: perhaps for it.
    pub(crate) fn rouse(&mut self) {
        self.due = Wait::Poll;
    }

    /// The thread turns.
    pub(crate) fn beat(&self) {
        self.pulse.beat();
    }

    /// If it cannot go on, all threads stop, and [`Resident::finish`] says why.
    pub(crate) fn turn(&mut self) {
        if let Err(error) = self.try_turn() {
            self.failure = Some(error);
            self.venue.stop.tell();
            self.venue.mesh.ring_everybody();
        }
    }

    fn try_turn(&mut self) -> Result<(), VenueError> {
        let venue = &mut self.venue;
        venue.ring.turn(Wait::Poll, venue.now.mono_ns).map_err(VenueError::Turn)?;
        venue.turn()?;
        venue.note_turn();
        // What it sends over links goes now: its next turn may be far.
        venue.ring.turn(Wait::Poll, venue.now.mono_ns).map_err(VenueError::Turn)?;
        self.due = match (venue.due(), venue.ring.deadline_ns()) {
            (Wait::Until(deadline_ns), Some(own_ns)) => Wait::Until(deadline_ns.min(own_ns)),
            (Wait::Forever, Some(own_ns)) => Wait::Until(own_ns),
            (due, _) => due,
        };
        Ok(())
    }

    /// Whether the store has something to commit: there is no core without a shard where a venue lives with one, so that the thread of
    /// the store needs this one.
    pub(crate) fn waits_for_store(&self) -> bool {
        self.venue.store.as_ref().is_some_and(Storing::is_at_work)
    }

    /// Before its thread parks: until when it may, if it may.
    pub(crate) fn prepare_sleep(&mut self, now: Now) -> Option<Wait> {
        if self.failure.is_some() {
            return Some(Wait::Forever);
        }
        let venue = &mut self.venue;
        venue.mesh.prepare_sleep();
        if !venue.mesh.may_sleep() {
            return None;
        }
        if self.has_work(now) {
            self.wake();
            return None;
        }
        let venue = &mut self.venue;
        venue.parks_total += 1;
        venue.tell_board();
        Some(self.due)
    }

    /// However its thread woke.
    pub(crate) fn wake(&mut self) {
        self.venue.mesh.wake();
    }

    /// Ends it, once its shard has ended and nobody has clients any more.
    ///
    /// # Errors
    /// Those of [`super::run`].
    pub(crate) fn finish(mut self) -> Result<VenueReport, VenueError> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        let venue = &mut self.venue;
        while !venue.stop.is_deserted() || !venue.may_leave() {
            venue.turn()?;
            self.pulse.beat();
            let wait = Wait::Until(clock::now().mono_ns + limits::RETRY_NS);
            venue.ring.turn(wait, venue.now.mono_ns).map_err(VenueError::Turn)?;
        }
        venue.take_last_batches();
        venue.send_last_batches();
        venue.take_leave()?;
        let report = venue.report();
        self.venue.recorder.finish();
        Ok(report)
    }
}
