//! What a turn has finished and since when it waited, for whoever measures: the hub has no clock that tells when a turn ends.
//! PURE. Home: each shard's hub, emptied by its driver.
//!
//! Invariants: nothing here allocates; where more moments are told than there is room for, the last ones count as the earliest of
//! them, so that what is measured is never too short.

use crate::limits;
use crate::model::channel::DeliveryClass;

use super::egress::DataLane;

/// Moments on the monotonic clock, and how many things began at each.
#[derive(Debug)]
pub struct Tally {
    moments: Vec<(u64, u64)>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { moments: Vec::with_capacity(limits::TALLY_MOMENTS_MAX) }
    }
}

impl Tally {
    /// So many things that began then.
    pub fn add(&mut self, since_ns: u64, count: u64) {
        if count == 0 {
            return;
        }
        let is_full = self.moments.len() == limits::TALLY_MOMENTS_MAX;
        match self.moments.last_mut() {
            // What ends together mostly began together.
            Some((last_ns, of_last)) if *last_ns == since_ns || is_full => {
                *last_ns = since_ns.min(*last_ns);
                *of_last += count;
            }
            Some(_) | None => self.moments.push((since_ns, count)),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    /// All of them, which are then forgotten.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, u64)> {
        self.moments.drain(..)
    }
}

/// Events that went into queues, by the class of who follows; an event that both follow counts for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub lossless: u64,
    pub latest: u64,
    /// Of accounts: sent at once, whatever their followers' class.
    pub reports: u64,
}

/// What has come to its end since it was last looked at.
#[derive(Debug, Default)]
pub struct Marks {
    /// Requests that were answered, by when they were received, but for those whose answer was a backend's to give.
    pub replies: Tally,
    /// Those, whatever came of them, but for those of batches.
    pub calls: Tally,
    /// Of those, what the desk has answered.
    pub orders: Tally,
    /// Connections whose upgrade was granted, by when they were accepted.
    pub upgrades: Tally,
    told: Told,
}

impl Marks {
    /// What was told since this was last asked.
    pub fn take_told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// An event went into queues by this lane; which classes follow it.
    pub(super) fn tell(&mut self, lane: DataLane, classes: Classes) {
        match lane {
            DataLane::Reports => self.told.reports += u64::from(classes.lossless || classes.latest),
            DataLane::Market => {
                self.told.lossless += u64::from(classes.lossless);
                self.told.latest += u64::from(classes.latest);
            }
        }
    }
}

/// Whether anybody of a class was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Classes {
    lossless: bool,
    latest: bool,
}

impl Classes {
    pub(super) fn add(&mut self, class: DeliveryClass) {
        self.lossless |= class == DeliveryClass::Lossless;
        self.latest |= class == DeliveryClass::Latest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_together_takes_one_place_and_what_has_none_counts_as_the_earliest() {
        let mut tally = Tally::default();
        tally.add(7, 0);
        assert!(tally.is_empty());
        (0..100_000).for_each(|_| tally.add(7, 2));
        tally.add(9, 1);
        assert_eq!(tally.drain().collect::<Vec<_>>(), [(7, 200_000), (9, 1)]);
        let last = limits::TALLY_MOMENTS_MAX as u64 - 1;
        (0..=last).chain([500_000, 3]).for_each(|since_ns| tally.add(since_ns, 1));
        let moments: Vec<(u64, u64)> = tally.drain().collect();
        assert_eq!(moments.len(), limits::TALLY_MOMENTS_MAX);
        assert_eq!(moments.last(), Some(&(3, 3)));
        assert_eq!(tally.moments.capacity(), limits::TALLY_MOMENTS_MAX);
    }

    #[test]
    fn an_event_counts_once_for_each_class_that_follows_it_and_reports_by_themselves() {
        let mut marks = Marks::default();
        let classes = |of: &[DeliveryClass]| {
            let mut classes = Classes::default();
            of.iter().for_each(|class| classes.add(*class));
            classes
        };
        marks.tell(DataLane::Market, classes(&[DeliveryClass::Lossless, DeliveryClass::Latest]));
        marks.tell(DataLane::Market, classes(&[DeliveryClass::Latest, DeliveryClass::Latest]));
        marks.tell(DataLane::Market, classes(&[]));
        marks.tell(DataLane::Reports, classes(&[DeliveryClass::Lossless]));
        assert_eq!(marks.take_told(), Told { lossless: 1, latest: 2, reports: 1 });
        assert_eq!(marks.take_told(), Told::default());
    }
}
