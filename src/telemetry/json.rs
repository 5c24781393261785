//! Metrics as JSON: one object for each name, with its samples. PURE.

use serde_json::{Map, Value, json};

use super::Snapshot;
use super::table::Metric;

/// All metrics as one JSON text.
#[must_use]
pub fn json(snapshot: &Snapshot<'_>, unix_ns: u64) -> String {
    let families = snapshot.families().iter().map(|family| {
        let samples = family.samples.iter().map(|sample| {
            let labels: Map<String, Value> = sample
                .labels
                .iter()
                .map(|(label, value)| ((*label).to_owned(), Value::from(*value)))
                .collect();
            json!({"labels": labels, "value": value(family.metric, sample.value)})
        });
        json!({
            "name": family.metric.name,
            "type": family.metric.kind.as_str(),
            "unit": family.metric.unit(),
            "help": family.metric.help,
            "samples": samples.collect::<Vec<_>>(),
        })
    });
    json!({"timestamp_ms": unix_ns / 1_000_000, "metrics": families.collect::<Vec<_>>()}).to_string()
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people; the nanoseconds stay exact for 104 days")]
fn value(metric: &Metric, value: u64) -> Value {
    if metric.is_time() { Value::from(value as f64 / 1e9) } else { Value::from(value) }
}
