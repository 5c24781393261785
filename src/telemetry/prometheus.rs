//! Metrics as Prometheus reads them: its text format 0.0.4, and OpenMetrics 1.0. PURE.

use super::table::{Kind, Metric};
use super::{Sample, Snapshot};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `text/plain; version=0.0.4`
    Text,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}

impl Form {
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Form::Text => "text/plain; version=0.0.4; charset=utf-8",
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The form that an `Accept` field asks for: OpenMetrics where it is named and not refused by `q=0`.
    #[must_use]
    pub fn of_accept(accept: &str) -> Form {
        let names = |part: &&str| {
            let mut words = part.split(';').map(str::trim);
            let is_named =
                words.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            let is_refused = |word: &str| {
                word.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
            };
            is_named && !words.any(is_refused)
        };
        if accept.split(',').any(|part| names(&part)) { Form::OpenMetrics } else { Form::Text }
    }
}

/// All metrics as text.
#[must_use]
pub fn exposition(snapshot: &Snapshot<'_>, form: Form) -> String {
    let mut out = String::with_capacity(64 * 1024);
    for family in snapshot.families() {
        let Metric { name, kind, help, .. } = family.metric;
        // OpenMetrics names a counter without the ending of its samples.
        let title = match (form, kind) {
            (Form::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
            (Form::Text, _) | (Form::OpenMetrics, Kind::Gauge) => name,
        };
        push(&mut out, &["# HELP ", title, " ", help, "\n# TYPE ", title, " ", kind.as_str(), "\n"]);
        let unit = family.metric.unit();
        if form == Form::OpenMetrics && !unit.is_empty() {
            push(&mut out, &["# UNIT ", title, " ", unit, "\n"]);
        }
        for sample in &family.samples {
            write_sample(&mut out, family.metric, sample);
        }
    }
    if form == Form::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn write_sample(out: &mut String, metric: &Metric, sample: &Sample<'_>) {
    out.push_str(metric.name);
    for (nth, (label, value)) in sample.labels.iter().enumerate() {
        // Values are thread names, versions and names from our own lists: nothing is to be escaped.
        push(out, &[if nth == 0 { "{" } else { "," }, label, "=\"", value, "\""]);
    }
    push(out, &[if sample.labels.is_empty() { " " } else { "} " }, &number(metric, sample.value), "\n"]);
}

/// A value as decimal digits; what is told in nanoseconds, in seconds.
pub(super) fn number(metric: &Metric, value: u64) -> String {
    const NS_PER_S: u64 = 1_000_000_000;
    if !metric.is_time() || value == 0 {
        return value.to_string();
    }
    let decimal = format!("{}.{:09}", value / NS_PER_S, value % NS_PER_S);
    decimal.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn push(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}
