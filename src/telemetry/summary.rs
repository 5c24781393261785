//! One line for the log that sums up what has been since the last: rates, latencies, connections. PURE. Home: the main thread.

use super::Snapshot;
use super::latency::{Histograms, Stage, in_unit, percentile};

/// What was counted by the last line, or by the start.
#[derive(Debug)]
pub struct Summary {
    mono_ns: u64,
    opened: u64,
    closed: u64,
    messages: u64,
    deliveries: u64,
    latency: Histograms,
}

impl Summary {
    /// Nothing has been yet.
    #[must_use]
    pub fn begin(mono_ns: u64) -> Summary {
        Summary {
            mono_ns,
            opened: 0,
            closed: 0,
            messages: 0,
            deliveries: 0,
            latency: Histograms::of(&Stage::ALL),
        }
    }

    /// The line of now; the next one begins here.
    pub fn line(&mut self, snapshot: &Snapshot<'_>, latency: &Histograms, mono_ns: u64) -> String {
        let next = Summary {
            mono_ns,
            opened: snapshot.total("tickring_connections_opened_total"),
            closed: snapshot.total("tickring_connections_closed_total"),
            messages: snapshot.total("tickring_messages_received_total"),
            deliveries: snapshot.total("tickring_deliveries_total"),
            latency: latency.clone(),
        };
        let last = std::mem::replace(self, next);
        let elapsed_ns = mono_ns.saturating_sub(last.mono_ns).max(1);
        let rate = |now: u64, then: u64| {
            u128::from(now.saturating_sub(then)) * 1_000_000_000 / u128::from(elapsed_ns)
        };
        let latency = self.latency.since(&last.latency);
        let [turn, publish] = [&[Stage::Turn][..], &[Stage::PublishLossless, Stage::PublishLatest]]
            .map(|stages| percentiles(&latency, stages));
        format!(
            "{} connections, {} opened and {} closed in {} s; {} messages/s, {} deliveries/s; turns {turn}; publish {publish}",
            snapshot.total("tickring_shard_connections"),
            self.opened.saturating_sub(last.opened),
            self.closed.saturating_sub(last.closed),
            elapsed_ns.div_ceil(1_000_000_000),
            rate(self.messages, last.messages),
            rate(self.deliveries, last.deliveries),
        )
    }
}

/// Of some stages together.
fn percentiles(latency: &Histograms, stages: &[Stage]) -> String {
    let all = latency.merged(stages);
    if all.is_empty() {
        return "none".to_owned();
    }
    let of = |percent: f64| in_unit(percentile(&all, percent));
    format!("p50 {} p99 {}", of(50.0), of(99.0))
}
