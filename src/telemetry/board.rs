//! A thread's board: what it last told of each of its metrics. PURE.
//!
//! Home: shared; its thread alone writes, at most every [`crate::limits::BOARD_TICK_NS`] and before it sleeps, so that counting
//! itself needs no atomics. Anybody reads, without asking and without holding anybody up.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::hub::Incident;

use super::table::{
    INCIDENTS, Metric, SHARD, SHARED, ShardReading, ThreadReading, VENUE, VenueReading, tell_shard,
    tell_thread, tell_venue,
};

/// Two cache lines wide at its begin: others read their own boards next to it.
#[derive(Debug)]
#[repr(align(128))]
pub struct Board {
    thread: String,
    /// What it has besides [`SHARED`].
    own: &'static [Metric],
    /// [`SHARED`], then `own`, then incidents where it is a shard's.
    places: Box<[AtomicU64]>,
}

impl Board {
    /// Of a shard, by its number.
    #[must_use]
    pub fn of_shard(number: usize) -> Board {
        Board::new(format!("shard-{number}"), SHARD, Incident::COUNT)
    }

    #[must_use]
    pub fn of_venue() -> Board {
        Board::new("venue".to_owned(), VENUE, 0)
    }

    fn new(thread: String, own: &'static [Metric], incidents: usize) -> Board {
        let count = SHARED.len() + own.len() + incidents;
        Board { thread, own, places: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }

    #[must_use]
    pub fn thread(&self) -> &str {
        &self.thread
    }

    /// Called by its thread alone.
    pub fn tell_shard(&self, thread: &ThreadReading<'_>, shard: &ShardReading<'_>) {
        let mut places = self.places.iter();
        let mut tell = |value| store(places.next(), value);
        tell_thread(thread, &mut tell);
        tell_shard(shard, &mut tell);
        shard.incidents.each().for_each(|(_, count)| tell(count));
    }

    /// Called by its thread alone.
    pub fn tell_venue(&self, thread: &ThreadReading<'_>, venue: &VenueReading<'_>) {
        let mut places = self.places.iter();
        let mut tell = |value| store(places.next(), value);
        tell_thread(thread, &mut tell);
        tell_venue(venue, &mut tell);
    }

    /// What was last told, with the metric of each and its label where that is not the metric's own.
    pub(super) fn read(
        &self,
    ) -> impl Iterator<Item = (&'static Metric, Option<(&'static str, &'static str)>, u64)> {
        let of_tables = SHARED.iter().chain(self.own).map(|metric| (metric, None));
        let reasons = Incident::all().map(|incident| (&INCIDENTS, Some(("reason", incident.label()))));
        let values = self.places.iter().map(|place| place.load(Ordering::Relaxed));
        // Where there are no incidents their values are missing, and the pairs end.
        of_tables.chain(reasons).zip(values).map(|((metric, label), value)| (metric, label, value))
    }
}

fn store(place: Option<&AtomicU64>, value: u64) {
    place
        .expect("invariant: a board has a place for each metric of its tables")
        .store(value, Ordering::Relaxed);
}
