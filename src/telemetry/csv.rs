//! Metrics as CSV (RFC 4180): a line for each sample. PURE.

use super::Snapshot;
use super::prometheus::number;

/// The first line names the columns; labels are `name=value`, with `;` between them.
#[must_use]
pub fn csv(snapshot: &Snapshot<'_>) -> String {
    let mut out = String::from("metric,type,unit,labels,value\r\n");
    for family in snapshot.families() {
        for sample in &family.samples {
            let labels: Vec<String> =
                sample.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
            let (metric, value) = (family.metric, number(family.metric, sample.value));
            let (name, kind, unit, labels) =
                (metric.name, metric.kind.as_str(), metric.unit(), labels.join(";"));
            // No name or label of ours has a comma or a quote.
            out.push_str(&format!("{name},{kind},{unit},{labels},{value}\r\n"));
        }
    }
    out
}
