//! What of a run is compared, under which name, and which way is worse. PURE.
//! Invariant: a name means one number and one unit.

use std::sync::LazyLock;

use crate::figures::{KINDS, kind_name};
use crate::outcome::{Kind, Latency, Outcome};
use crate::units;

/// Which way is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worse {
    Higher,
    Lower,
}

type Value = Box<dyn Fn(&Outcome) -> Option<f64> + Send + Sync>;

pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) worse: Worse,
    /// Decides where no metric is named. Quantiles that rest on a few values only describe.
    pub(crate) decides: bool,
    pub(crate) value: Value,
    pub(crate) text: fn(f64) -> String,
}

/// All of them, in the order of the table.
pub(crate) static METRICS: LazyLock<Vec<Metric>> = LazyLock::new(|| {
    let mut metrics: Vec<Metric> = KINDS.into_iter().flat_map(latency_metrics).collect();
    metrics.extend(others());
    metrics
});

fn latency_metrics(kind: Kind) -> [Metric; 5] {
    type Quantile = fn(&Latency) -> u64;
    let quantiles: [(&str, bool, Quantile); 5] = [
        ("p50", true, |latency| latency.p50_ns),
        ("p90", false, |latency| latency.p90_ns),
        ("p99", true, |latency| latency.p99_ns),
        ("p99.9", false, |latency| latency.p999_ns),
        ("max", false, |latency| latency.max_ns),
    ];
    quantiles.map(|(name, decides, quantile)| Metric {
        name: format!("{}_{name}", kind_name(kind)),
        worse: Worse::Higher,
        decides,
        value: Box::new(move |run| {
            let latency = run.latencies.get(&kind).filter(|latency| latency.count > 0)?;
            Some(quantile(latency) as f64)
        }),
        text: units::duration,
    })
}

fn others() -> [Metric; 10] {
    type Plain = fn(&Outcome) -> Option<f64>;
    let metric = |name: &str, worse, decides, value: Plain, text| Metric {
        name: name.to_owned(),
        worse,
        decides,
        value: Box::new(value),
        text,
    };
    let percent = units::percent as fn(f64) -> String;
    [
        metric("errors", Worse::Higher, true, Outcome::error_share, percent),
        metric("connections_lost", Worse::Higher, true, Outcome::connection_loss_share, percent),
        metric("replies_lost", Worse::Higher, true, Outcome::reply_loss_share, percent),
        metric("deliveries_lost", Worse::Higher, true, Outcome::delivery_loss_share, percent),
        metric("disordered", Worse::Higher, true, Outcome::disorder_share, percent),
        metric("replies_per_s", Worse::Lower, false, replies_per_s, units::digits),
        metric("deliveries_per_s", Worse::Lower, false, deliveries_per_s, units::digits),
        metric("cpu_per_message", Worse::Higher, true, Outcome::cpu_ns_per_message, units::duration),
        metric("memory_peak", Worse::Higher, true, resident_peak, units::bytes),
        metric("memory_per_connection", Worse::Higher, false, Outcome::resident_per_connection, units::bytes),
    ]
}

fn replies_per_s(run: &Outcome) -> Option<f64> {
    let count = run.counts.replies_received;
    run.per_second(count).filter(|_| run.counts.requests_sent > 0)
}

fn deliveries_per_s(run: &Outcome) -> Option<f64> {
    let count = run.counts.deliveries_received;
    run.per_second(count).filter(|_| run.counts.deliveries_expected > 0)
}

fn resident_peak(run: &Outcome) -> Option<f64> {
    Some(run.server_use.as_ref()?.resident_peak_bytes as f64)
}
