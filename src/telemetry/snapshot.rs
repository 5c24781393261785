//! All metrics of one moment, by families. PURE.

use std::sync::Arc;

use super::BackendStatus;
use super::Board;
use super::table::{
    BACKEND, INCIDENTS, Metric, PROCESS, ProcessReading, SHARD, SHARED, VENUE, tell_backend, tell_process,
};

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    pub labels: Vec<(&'static str, &'a str)>,
    pub value: u64,
}

/// All values of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family<'a> {
    /// The first of that name in its table.
    pub metric: &'static Metric,
    pub samples: Vec<Sample<'a>>,
}

/// What all boards and the process said at about one moment.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    families: Vec<Family<'a>>,
}

impl<'a> Snapshot<'a> {
    /// Reads all boards.
    #[must_use]
    pub fn take(boards: &'a [Arc<Board>], process: &ProcessReading) -> Snapshot<'a> {
        let mut families: Vec<Family<'a>> = Vec::new();
        let tables = SHARED.iter().chain(SHARD).chain([&INCIDENTS]).chain(VENUE).chain(PROCESS);
        for metric in tables {
            if families.last().is_none_or(|last| last.metric.name != metric.name) {
                families.push(Family { metric, samples: Vec::new() });
            }
        }
        for board in boards {
            // Families and boards are both in the order of the tables.
            let mut at = 0;
            for (metric, label, value) in board.read() {
                while families[at].metric.name != metric.name {
                    at += 1;
                }
                let labels = [("thread", board.thread())].into_iter().chain(metric.labels.iter().copied());
                families[at].samples.push(Sample { labels: labels.chain(label).collect(), value });
            }
        }
        let mut of_process = PROCESS.iter();
        let mut at = 0;
        tell_process(process, |value| {
            let metric =
                of_process.next().expect("invariant: the table tells as many values as it has metrics");
            while families[at].metric.name != metric.name {
                at += 1;
            }
            families[at].samples.push(Sample { labels: metric.labels.to_vec(), value });
        });
        families.retain(|family| !family.samples.is_empty());
        Snapshot { families }
    }

    /// The same, and what backends have to say of themselves: behind all else, since they come and go.
    #[must_use]
    pub fn with_backends(mut self, backends: &'a [BackendStatus]) -> Snapshot<'a> {
        if backends.is_empty() {
            return self;
        }
        let first = self.families.len();
        self.families.extend(BACKEND.iter().map(|metric| Family { metric, samples: Vec::new() }));
        for backend in backends {
            let mut families = self.families[first..].iter_mut();
            tell_backend(backend, |value| {
                let family =
                    families.next().expect("invariant: the table tells as many values as it has metrics");
                family.samples.push(Sample { labels: vec![("backend", &*backend.name)], value });
            });
        }
        self
    }

    #[must_use]
    pub fn families(&self) -> &[Family<'a>] {
        &self.families
    }

    /// The sum of all samples of a name.
    #[must_use]
    pub fn total(&self, name: &str) -> u64 {
        self.samples(name).iter().map(|sample| sample.value).sum()
    }

    /// The largest sample of a name.
    #[must_use]
    pub fn largest(&self, name: &str) -> u64 {
        self.samples(name).iter().map(|sample| sample.value).max().unwrap_or(0)
    }

    /// The sum of those that have this label.
    #[must_use]
    pub fn labelled(&self, name: &str, label: (&str, &str)) -> u64 {
        let has = |sample: &&Sample<'_>| sample.labels.contains(&label);
        self.samples(name).iter().filter(has).map(|sample| sample.value).sum()
    }

    /// All of a name; none where no board has it.
    #[must_use]
    pub fn samples(&self, name: &str) -> &[Sample<'a>] {
        self.families
            .iter()
            .find(|family| family.metric.name == name)
            .map_or(&[], |family| family.samples.as_slice())
    }
}
