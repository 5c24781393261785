//! Latencies in an HDR histogram: nanoseconds, three significant digits. PURE.
//! Invariant: every sample is counted; one above the range counts as the range's end, never as nothing.

use hdrhistogram::Histogram;

use crate::outcome::Latency;

/// The longest latency told apart, in nanoseconds: one minute, far beyond every deadline of a run.
pub(crate) const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Points of the percentile curve for each halving of the distance to 100 %.
const CURVE_TICKS: u32 = 5;

/// Latencies of one run.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// What is reported of them, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
}

impl Latencies {
    pub(crate) fn new() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Latencies(histogram.expect("invariant: 1 < LATENCY_NS_MAX and 3 digits are legal bounds"))
    }

    /// Counts one latency.
    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns);
    }

    /// Counts `count` equal latencies, as a child process reports them.
    pub(crate) fn record_many(&mut self, latency_ns: u64, count: u64) {
        self.0.saturating_record_n(latency_ns, count);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// The distribution as an outcome has it; `None` where nothing was counted.
    pub(crate) fn latency(&self) -> Option<Latency> {
        if self.is_empty() {
            return None;
        }
        let quantile = |quantile| self.0.value_at_quantile(quantile);
        let steps = self.0.iter_quantiles(CURVE_TICKS);
        let curve = steps.map(|step| (step.quantile_iterated_to(), step.value_iterated_to()));
        Some(Latency {
            count: self.0.len(),
            min_ns: self.0.min(),
            mean_ns: self.0.mean(),
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            p999_ns: quantile(0.999),
            p9999_ns: quantile(0.9999),
            max_ns: self.0.max(),
            curve: curve.filter(|(quantile, _)| *quantile < 1.0).collect(),
        })
    }

    /// Distinct values with their counts, to hand the histogram to another process.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            count: self.0.len(),
            p50_ns: self.0.value_at_quantile(0.5),
            p99_ns: self.0.value_at_quantile(0.99),
            p999_ns: self.0.value_at_quantile(0.999),
            max_ns: self.0.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_three_digits() {
        let mut latencies = Latencies::new();
        for us in 1..=1_000_u64 {
            latencies.record(us * 1_000);
        }
        let summary = latencies.summary();
        assert_eq!(summary.count, 1_000);
        assert!(summary.p50_ns.abs_diff(500_000) <= 500, "{summary:?}");
        assert!(summary.p99_ns.abs_diff(990_000) <= 1_000, "{summary:?}");
    }

    #[test]
    fn a_latency_beyond_the_range_is_counted_at_its_end() {
        let mut latencies = Latencies::new();
        latencies.record(u64::MAX);
        assert_eq!(latencies.summary().count, 1);
        assert!(LATENCY_NS_MAX <= latencies.summary().max_ns);
    }

    #[test]
    fn counts_rebuild_the_same_histogram() {
        let mut latencies = Latencies::new();
        for ns in [5, 5, 70_000, 1_234_567] {
            latencies.record(ns);
        }
        let mut rebuilt = Latencies::new();
        for (ns, count) in latencies.counts() {
            rebuilt.record_many(ns, count);
        }
        assert_eq!(rebuilt.summary(), latencies.summary());
    }
}
