//! Metrics as Prometheus reads them: its text format 0.0.4, and OpenMetrics 1.0. PURE.

use super::latency::{BUCKETS_NS, Buckets, Histograms, buckets};
use super::table::{Kind, LATENCY, Metric};
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

/// All metrics as text, and latencies where they are known.
#[must_use]
pub fn exposition(snapshot: &Snapshot<'_>, latency: Option<&Histograms>, form: Form) -> String {
    let mut out = String::with_capacity(64 * 1024);
    for family in snapshot.families() {
        write_head(&mut out, family.metric, form);
        for sample in &family.samples {
            write_sample(&mut out, family.metric, sample);
        }
    }
    if let Some(latency) = latency {
        write_head(&mut out, &LATENCY, form);
        buckets(latency).iter().for_each(|stage| write_histogram(&mut out, stage));
    }
    if form == Form::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn write_head(out: &mut String, metric: &Metric, form: Form) {
    let Metric { name, kind, help, .. } = metric;
    // OpenMetrics names a counter without the ending of its samples.
    let title = match (form, kind) {
        (Form::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
        (Form::Text, _) | (Form::OpenMetrics, Kind::Gauge | Kind::Histogram) => name,
    };
    push(out, &["# HELP ", title, " ", help, "\n# TYPE ", title, " ", kind.as_str(), "\n"]);
    let unit = metric.unit();
    if form == Form::OpenMetrics && !unit.is_empty() {
        push(out, &["# UNIT ", title, " ", unit, "\n"]);
    }
}

/// One stage: what took no longer than the end of each bucket, then all.
fn write_histogram(out: &mut String, of: &Buckets) {
    let (name, stage, count) = (LATENCY.name, of.stage.label(), of.count.to_string());
    let ends = BUCKETS_NS.iter().map(|end_ns| number(&LATENCY, *end_ns)).chain(["+Inf".to_owned()]);
    for (end, up_to) in ends.zip(of.up_to.iter().chain([&of.count])) {
        push(out, &[name, "_bucket{stage=\"", stage, "\",le=\"", &end, "\"} ", &up_to.to_string(), "\n"]);
    }
    push(out, &[name, "_sum{stage=\"", stage, "\"} ", &number(&LATENCY, of.sum_ns), "\n"]);
    push(out, &[name, "_count{stage=\"", stage, "\"} ", &count, "\n"]);
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
