//! What was added in the last seconds, of any counter: all values as they were, once a second. PURE. Home: whoever answers
//! operators.
//!
//! Invariant: one process has the same boards and tables from its start to its end, so that the same place holds the same sample.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Snapshot;

/// Looks that are kept, one a second.
const LOOKS_MAX: usize = 11;

/// Each value of a snapshot, in its order, at one moment.
#[derive(Debug)]
struct Look {
    mono_ns: u64,
    values: Box<[u64]>,
}

/// The last looks, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    looks: VecDeque<Arc<Look>>,
}

/// From a look to a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    snapshot: &'a Snapshot<'a>,
    values: &'a [u64],
    seconds: f64,
}

impl Looks {
    /// Takes note of a look.
    pub fn note(&mut self, snapshot: &Snapshot<'_>, mono_ns: u64) {
        if self.looks.len() == LOOKS_MAX {
            self.looks.pop_front();
        }
        let samples = snapshot.families().iter().flat_map(|family| &family.samples);
        self.looks
            .push_back(Arc::new(Look { mono_ns, values: samples.map(|sample| sample.value).collect() }));
    }

    /// To this moment, from that many seconds before or the oldest look after it; `None` where no time has gone by.
    #[must_use]
    pub fn window<'a>(
        &'a self,
        snapshot: &'a Snapshot<'a>,
        mono_ns: u64,
        seconds: u64,
    ) -> Option<Window<'a>> {
        // Looks come a little late.
        let since_ns = mono_ns.saturating_sub(seconds * 1_000_000_000 + 500_000_000);
        let look =
            self.looks.iter().find(|look| look.mono_ns >= since_ns).filter(|look| look.mono_ns < mono_ns)?;
        Some(Window { snapshot, values: &look.values, seconds: (mono_ns - look.mono_ns) as f64 / 1e9 })
    }
}

impl<'a> Window<'a> {
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// How much each sample of a counter has grown, with its labels.
    pub fn added(
        &self,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a [(&'static str, &'a str)], u64)> + use<'a> {
        let (values, snapshot) = (self.values, self.snapshot);
        let families = snapshot.families();
        let at = families.iter().position(|family| family.metric.name == name).unwrap_or(families.len());
        let before: usize = families[..at].iter().map(|family| family.samples.len()).sum();
        let samples = families.get(at).map_or(&[][..], |family| family.samples.as_slice());
        samples.iter().enumerate().map(move |(nth, sample)| {
            let then = values.get(before + nth).copied().unwrap_or(0);
            (sample.labels.as_slice(), sample.value.saturating_sub(then))
        })
    }

    /// How much all samples of a counter have grown a second; what is told in nanoseconds, in seconds.
    #[must_use]
    pub fn per_s(&self, name: &'a str) -> f64 {
        self.added(name).map(|(_, added)| added).sum::<u64>() as f64 / self.scale(name)
    }

    /// The same of those that have one of these labels.
    #[must_use]
    pub fn per_s_of(&self, name: &'a str, labels: &[(&str, &str)]) -> f64 {
        let has = |of: &[(&str, &str)]| of.iter().any(|label| labels.contains(label));
        self.added(name).filter(|(of, _)| has(of)).map(|(_, added)| added).sum::<u64>() as f64
            / self.scale(name)
    }

    /// The same of each sample by itself.
    pub fn each_per_s(&self, name: &'a str) -> impl Iterator<Item = f64> + use<'a> {
        let scale = self.scale(name);
        self.added(name).map(move |(_, added)| added as f64 / scale)
    }

    fn scale(&self, name: &str) -> f64 {
        let is_time = |family: &&super::Family<'_>| family.metric.name == name && family.metric.is_time();
        if self.snapshot.families().iter().any(|family| is_time(&family)) {
            self.seconds * 1e9
        } else {
            self.seconds
        }
    }
}
