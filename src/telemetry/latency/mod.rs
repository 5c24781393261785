//! How long things take: HDR histograms of each stage of each thread, in nanoseconds, of three digits. PURE: who records has the
//! clock.
//!
//! Home: each thread records into its own, with plain numbers; a [`Collection`] asks for them by an exchange of boxes and adds
//! them up. Invariants: nothing is allocated after the start by who records; who asks never makes a thread wait.

mod collection;
mod exchange;
mod interval_log;
mod report;

use hdrhistogram::Histogram;

use crate::limits;

pub use collection::{Collection, Gathered};
pub use exchange::{Recorder, Taker, exchange};
pub use interval_log::{Entry, LogFault, interval_log, read as read_interval_log};
pub use report::{BUCKETS_NS, Buckets, Recent, Row, buckets, csv, in_unit, json, percentile};

#[cfg(test)]
mod tests;

/// Decimal digits to which a value is told.
const DIGITS: u8 = 3;

/// What is measured. docs/operations.md says of each where it begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Received → all messages of the turn decoded and looked at.
    Decode,
    /// Received → the reply handed to the ring.
    Request,
    /// An event stamped → its last write handed to the ring, where it is followed losslessly.
    PublishLossless,
    /// The same where newer events may take its place.
    PublishLatest,
    /// An order received → the venue → its reply handed to the ring.
    Order,
    /// A turn that did something.
    Turn,
    /// A batch sealed → taken by another thread.
    Mesh,
    /// A connection accepted → its upgrade's answer handed to the ring.
    Upgrade,
    /// A request for a backend received → its reply handed to the ring, whatever the backend takes.
    Call,
}

impl Stage {
    pub const ALL: [Stage; 9] = [
        Stage::Decode,
        Stage::Request,
        Stage::PublishLossless,
        Stage::PublishLatest,
        Stage::Order,
        Stage::Turn,
        Stage::Mesh,
        Stage::Upgrade,
        Stage::Call,
    ];
    /// Those of the venue's thread.
    pub const OF_VENUE: [Stage; 2] = [Stage::Turn, Stage::Mesh];

    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Request => "request",
            Stage::PublishLossless => "publish_lossless",
            Stage::PublishLatest => "publish_latest",
            Stage::Order => "order",
            Stage::Turn => "turn",
            Stage::Mesh => "mesh",
            Stage::Upgrade => "upgrade",
            Stage::Call => "call",
        }
    }
}

/// A histogram for each of some stages.
#[derive(Clone, Debug)]
pub struct Histograms {
    stages: &'static [Stage],
    of_stages: Vec<Histogram<u64>>,
}

impl Histograms {
    /// Empty ones.
    #[must_use]
    pub fn of(stages: &'static [Stage]) -> Histograms {
        Histograms { stages, of_stages: stages.iter().map(|_| empty()).collect() }
    }

    /// So many things that took so long. Longer ones than can be told count as the longest, shorter ones as 1 ns.
    pub fn record(&mut self, stage: Stage, ns: u64, count: u64) {
        if let Some(at) = self.stages.iter().position(|known| *known == stage) {
            self.of_stages[at].saturating_record_n(ns.clamp(1, limits::LATENCY_NS_MAX), count);
        }
    }

    /// Adds what others have counted.
    pub fn add(&mut self, others: &Histograms) {
        for (stage, other) in others.each() {
            if let Some(at) = self.stages.iter().position(|known| *known == stage) {
                self.of_stages[at].add(other).expect("invariant: all histograms have the same bounds");
            }
        }
    }

    pub fn clear(&mut self) {
        self.of_stages.iter_mut().filter(|of| !of.is_empty()).for_each(Histogram::reset);
    }

    pub fn each(&self) -> impl Iterator<Item = (Stage, &Histogram<u64>)> {
        self.stages.iter().copied().zip(&self.of_stages)
    }

    /// What has been added since these were as they are in `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Histograms) -> Histograms {
        let mut since = self.clone();
        for ((_, earlier), of) in earlier.each().zip(&mut since.of_stages) {
            of.subtract(earlier).expect("invariant: counts only grow, within the same bounds");
        }
        since
    }

    /// Some stages together.
    #[must_use]
    pub fn merged(&self, stages: &[Stage]) -> Histogram<u64> {
        let mut all = empty();
        for (_, of) in self.each().filter(|(stage, _)| stages.contains(stage)) {
            all.add(of).expect("invariant: all histograms have the same bounds");
        }
        all
    }

    /// Of one stage; none where it is not measured here.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Option<&Histogram<u64>> {
        self.each().find(|(known, _)| *known == stage).map(|(_, of)| of)
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, limits::LATENCY_NS_MAX, DIGITS)
        .expect("invariant: 1 ns to a minute in three digits are bounds of a histogram")
}
