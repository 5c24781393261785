//! Histograms as texts: JSON and CSV of percentiles, and buckets for Prometheus. PURE.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::{Collection, Histograms, Stage};

/// The upper ends of Prometheus' buckets.
pub const BUCKETS_NS: [u64; 15] = [
    10_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
];

/// The thread's name where all are told together.
const ALL: &str = "all";

/// One stage of one thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    pub stage: Stage,
    pub thread: &'a str,
    pub count: u64,
    pub min_ns: u64,
    pub mean_ns: f64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
}

impl<'a> Row<'a> {
    #[must_use]
    pub fn of(stage: Stage, thread: &'a str, histogram: &Histogram<u64>) -> Row<'a> {
        Row {
            stage,
            thread,
            count: histogram.len(),
            min_ns: histogram.min(),
            mean_ns: histogram.mean(),
            p50_ns: percentile(histogram, 50.0),
            p90_ns: percentile(histogram, 90.0),
            p99_ns: percentile(histogram, 99.0),
            p999_ns: percentile(histogram, 99.9),
            max_ns: percentile(histogram, 100.0),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a mean of what is not negative"
    )]
    fn mean(&self) -> u64 {
        self.mean_ns.round() as u64
    }
}

/// One stage in the last moments, all threads together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recent {
    pub stage: Stage,
    pub count: u64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p95_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
}

impl Recent {
    #[must_use]
    pub fn of(stage: Stage, histogram: &Histogram<u64>) -> Recent {
        let at = |percent| percentile(histogram, percent);
        let (p50_ns, p90_ns, p95_ns) = (at(50.0), at(90.0), at(95.0));
        let (p99_ns, p999_ns, max_ns) = (at(99.0), at(99.9), at(100.0));
        Recent { stage, count: histogram.len(), p50_ns, p90_ns, p95_ns, p99_ns, p999_ns, max_ns }
    }
}

/// A percentile in nanoseconds, no more than the largest value; 0 where nothing was recorded.
#[must_use]
pub fn percentile(histogram: &Histogram<u64>, percentile: f64) -> u64 {
    // The upper end of the value's bucket may lie above all that was recorded.
    histogram.value_at_percentile(percentile).min(histogram.max())
}

/// A time for people: three digits and a unit.
#[must_use]
pub fn in_unit(ns: u64) -> String {
    let units = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    let ns = ns as f64;
    // What rounds to a thousand of a unit is one of the next.
    let (unit, of) = units.into_iter().rev().find(|(_, of)| ns >= *of * 0.9995).unwrap_or(units[0]);
    let value = ns / of;
    let decimals = if unit == "ns" || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {unit}")
}

/// The interval under way, each stage once for each thread that measures it and once for all together.
#[must_use]
pub fn json(collection: &Collection) -> Value {
    let stages: Vec<Value> = with_rows(collection, |row| {
        json!({
            "stage": row.stage.label(), "thread": row.thread, "count": row.count, "min_ns": row.min_ns,
            "mean_ns": row.mean(), "p50_ns": row.p50_ns, "p90_ns": row.p90_ns, "p99_ns": row.p99_ns,
            "p999_ns": row.p999_ns, "max_ns": row.max_ns,
        })
    });
    json!({
        "interval_begun_unix_ms": collection.interval_begun().unix_ns / 1_000_000,
        "missing_threads": collection.missing().collect::<Vec<_>>(),
        "stages": stages,
    })
}

/// The same as CSV (RFC 4180).
#[must_use]
pub fn csv(collection: &Collection) -> String {
    let lines: Vec<String> = with_rows(collection, |row| {
        let Row { thread, count, min_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns, .. } = *row;
        let (stage, mean_ns) = (row.stage.label(), row.mean());
        format!(
            "{stage},{thread},{count},{min_ns},{mean_ns},{p50_ns},{p90_ns},{p99_ns},{p999_ns},{max_ns}\r\n"
        )
    });
    let head = "stage,thread,count,min_ns,mean_ns,p50_ns,p90_ns,p99_ns,p999_ns,max_ns\r\n";
    [head.to_owned(), lines.concat()].concat()
}

fn with_rows<T>(collection: &Collection, mut each: impl FnMut(&Row<'_>) -> T) -> Vec<T> {
    let all = collection.interval_of_all();
    let threads = collection.interval().chain([(ALL, &all)]);
    let rows = threads.flat_map(|(thread, of)| of.each().map(move |(stage, of)| Row::of(stage, thread, of)));
    rows.map(|row| each(&row)).collect()
}

/// One stage as Prometheus' histograms have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    pub stage: Stage,
    /// Up to and with each of [`BUCKETS_NS`].
    pub up_to: [u64; BUCKETS_NS.len()],
    pub count: u64,
    /// To the digits that a histogram has.
    pub sum_ns: u64,
}

/// Of each stage. Values are known to three digits: one just beyond a bucket's end may count as within.
#[must_use]
pub fn buckets(histograms: &Histograms) -> Vec<Buckets> {
    let of_stage = |(stage, histogram): (Stage, &Histogram<u64>)| {
        let mut buckets = Buckets { stage, up_to: [0; BUCKETS_NS.len()], count: histogram.len(), sum_ns: 0 };
        for value in histogram.iter_recorded() {
            let (ns, count) = (value.value_iterated_to(), value.count_at_value());
            let mean_ns = histogram.median_equivalent(ns);
            buckets.sum_ns = buckets.sum_ns.saturating_add(mean_ns.saturating_mul(count));
            for (up_to, end_ns) in buckets.up_to.iter_mut().zip(BUCKETS_NS) {
                *up_to += if histogram.lowest_equivalent(ns) <= end_ns { count } else { 0 };
            }
        }
        buckets
    };
    histograms.each().map(of_stage).collect()
}
