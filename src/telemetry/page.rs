//! docs/metrics.md, as the tables have it. PURE.

use super::table::{BACKEND, INCIDENTS, Kind, LATENCY, Metric, PROCESS, SHARD, SHARED, VENUE};

const HEAD: &str = "\
# Metrics

This page is generated from the tables in `src/telemetry/table.rs`; a test compares them
(`TICKRING_WRITE_DOCS=1 cargo test --test metrics_page` writes it anew). `GET /metrics` has them for
Prometheus and OpenMetrics, `GET /api/metrics?format=json` and `?format=csv` for others: [control.md](control.md).

Counters begin at 0 with the process and only grow. Each thread tells its values at most every 100 ms and before it sleeps, so
what is read is at most that old. Times are in seconds.
";

/// The whole page.
#[must_use]
pub fn page() -> String {
    let mut out = HEAD.to_owned();
    let (incidents, latency) = ([INCIDENTS], [LATENCY]);
    for (title, own, metrics) in [
        ("Threads: shards and venue", &["thread"][..], SHARED),
        ("Shards", &["thread"], SHARD),
        ("Incidents", &["thread", "reason"], &incidents[..]),
        ("Venue", &["thread"], VENUE),
        ("Latency", &["stage"], &latency[..]),
        ("Process", &[], PROCESS),
        ("Backends", &["backend"], BACKEND),
    ] {
        out.push_str(&format!(
            "\n## {title}\n\n| metric | type | labels | what | from |\n|---|---|---|---|---|\n"
        ));
        for metric in metrics {
            out.push_str(&row(metric, own));
        }
    }
    out
}

fn row(metric: &Metric, own: &[&str]) -> String {
    let Metric { name, kind, labels, help, source } = metric;
    let build = |value: &str| value == env!("CARGO_PKG_VERSION");
    let fixed =
        labels.iter().map(
            |(label, value)| {
                if build(value) { format!("`{label}`") } else { format!("`{label}=\"{value}\"`") }
            },
        );
    let labels: Vec<String> = own.iter().map(|label| format!("`{label}`")).chain(fixed).collect();
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let help = if help.is_empty() { "as above" } else { help };
    format!("| `{name}` | {kind} | {} | {help} | `{source}` |\n", labels.join(", "))
}
