//! What is printed of a comparison: per case the median and spread of each arm over its runs, and the ratio per pair of runs;
//! the same as JSON. PURE but for `write_json`.
//! Invariant: a ratio is taken within a pair of neighbouring runs only, never between medians of different times.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::failure::{Doing, Result};

/// One measured value. Names and units are this program's own, or were read back from a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metric {
    pub(crate) name: Cow<'static, str>,
    pub(crate) unit: Cow<'static, str>,
    pub(crate) value: f64,
}

/// All that one run of one arm measured, in the order of the table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) metrics: Vec<Metric>,
    /// What a reader must know to judge the numbers of this run.
    pub(crate) caveats: Vec<String>,
}

impl Sample {
    pub(crate) fn add(&mut self, name: &'static str, unit: &'static str, value: f64) {
        self.metrics.push(Metric { name: name.into(), unit: unit.into(), value });
    }

    /// A duration, shown in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "durations of a run are far below 2^53 ns")]
    pub(crate) fn add_us(&mut self, name: &'static str, ns: u64) {
        self.add(name, "us", ns as f64 / 1_000.0);
    }

    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    }
}

/// The runs of one case: pairs of the limit's sample and the subject's. A case without a limit has empty samples in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) case: String,
    pub(crate) limit: String,
    pub(crate) subject: String,
    pub(crate) pairs: Vec<(Sample, Sample)>,
    /// Runs that gave no number, with the reason.
    pub(crate) refused: Vec<String>,
}

impl Comparison {
    /// The limit's median of one metric.
    pub(crate) fn limit_median(&self, name: &str) -> Option<f64> {
        median(self.pairs.iter().filter_map(|(limit, _)| limit.value(name)).collect())
    }

    /// The subject's median of one metric.
    pub(crate) fn subject_median(&self, name: &str) -> Option<f64> {
        median(self.pairs.iter().filter_map(|(_, subject)| subject.value(name)).collect())
    }

    /// The table as text.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("\n{} ({} pairs)\n", self.case, self.pairs.len());
        let head = ("metric", self.limit.as_str(), self.subject.as_str(), "ratio per pair");
        writeln!(text, "  {:<28}{:>32}{:>32}{:>26}", head.0, head.1, head.2, head.3)
            .expect("invariant: writing to a String cannot fail");
        for row in self.rows() {
            let limit = spread(&row.limit);
            let subject = spread(&row.subject);
            let ratio = spread(&row.ratios());
            let name = format!("{} [{}]", row.name, row.unit);
            writeln!(text, "  {name:<28}{limit:>32}{subject:>32}{ratio:>26}")
                .expect("invariant: writing to a String cannot fail");
        }
        for caveat in self.caveats() {
            writeln!(text, "  note: {caveat}").expect("invariant: writing to a String cannot fail");
        }
        for reason in &self.refused {
            writeln!(text, "  refused: {reason}").expect("invariant: writing to a String cannot fail");
        }
        text
    }

    /// The comparison as one JSON object.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<String> = self
            .rows()
            .iter()
            .map(|row| {
                format!(
                    r#"{{"metric":{},"unit":{},"limit":{},"subject":{},"ratio":{},"ratio_median":{}}}"#,
                    quoted(&row.name),
                    quoted(&row.unit),
                    array(&row.limit),
                    array(&row.subject),
                    array(&row.ratios()),
                    median(row.ratios()).map_or("null".to_owned(), number),
                )
            })
            .collect();
        let texts = |texts: Vec<String>| texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(",");
        format!(
            r#"{{"case":{},"limit":{},"subject":{},"pairs":{},"rows":[{}],"notes":[{}],"refused":[{}]}}"#,
            quoted(&self.case),
            quoted(&self.limit),
            quoted(&self.subject),
            self.pairs.len(),
            rows.join(","),
            texts(self.caveats()),
            texts(self.refused.clone()),
        )
    }

    /// Each metric of the subject, over all pairs.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let Some((_, first)) = self.pairs.first() else { return Vec::new() };
        let rows = first.metrics.iter().map(|metric| Row {
            name: metric.name.to_string(),
            unit: metric.unit.to_string(),
            limit: self.pairs.iter().filter_map(|(limit, _)| limit.value(&metric.name)).collect(),
            subject: self.pairs.iter().filter_map(|(_, subject)| subject.value(&metric.name)).collect(),
        });
        rows.collect()
    }

    /// What a reader must know of the runs, each once.
    pub(crate) fn caveats(&self) -> Vec<String> {
        let mut caveats: Vec<String> = Vec::new();
        for (limit, subject) in &self.pairs {
            let limits = limit.caveats.iter().map(|caveat| format!("{}: {caveat}", self.limit));
            let subjects = subject.caveats.iter().map(|caveat| format!("{}: {caveat}", self.subject));
            caveats.extend(limits.chain(subjects));
        }
        caveats.sort();
        caveats.dedup();
        caveats
    }
}

/// One metric of a comparison.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) limit: Vec<f64>,
    pub(crate) subject: Vec<f64>,
}

impl Row {
    /// Subject over limit, pair by pair; a pair whose limit is zero has no ratio.
    /// Neither has what only describes the run.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        if matches!(self.unit.as_str(), "share" | "count") {
            return Vec::new();
        }
        let pairs = self.limit.iter().zip(&self.subject);
        pairs.filter(|(limit, _)| 0.0 < **limit).map(|(limit, subject)| subject / limit).collect()
    }
}

/// The middle value, or the mean of the two middle ones.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        return values.get(middle).copied();
    }
    Some(f64::midpoint(*values.get(middle.checked_sub(1)?)?, *values.get(middle)?))
}

fn spread(values: &[f64]) -> String {
    let Some(middle) = median(values.to_vec()) else { return "-".to_owned() };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({}..{})", short(middle), short(least), short(most))
}

pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        large if 1_000.0 <= large => format!("{value:.0}"),
        medium if 10.0 <= medium => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

pub(crate) fn number(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { "null".to_owned() }
}

fn array(values: &[f64]) -> String {
    let values: Vec<String> = values.iter().copied().map(number).collect();
    format!("[{}]", values.join(","))
}

pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control < ' ' => {
                write!(quoted, "\\u{:04x}", u32::from(control))
                    .expect("invariant: writing to a String cannot fail");
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Writes the JSON objects of all cases to `path`.
pub(crate) fn write_json(path: &Path, objects: &[String]) -> Result<()> {
    std::fs::write(path, format!("[{}]\n", objects.join(",\n"))).doing("write the JSON file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(pairs: &[(f64, f64)]) -> Comparison {
        let sample = |value| {
            let mut sample = Sample::default();
            sample.add("p50", "us", value);
            sample
        };
        Comparison {
            case: "ping \"one\"".to_owned(),
            limit: "limit".to_owned(),
            subject: "server".to_owned(),
            pairs: pairs.iter().map(|(limit, subject)| (sample(*limit), sample(*subject))).collect(),
            refused: vec!["too slow".to_owned()],
        }
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        let rows = comparison(&[(1.0, 2.0), (2.0, 2.0), (4.0, 2.0)]).rows();
        assert_eq!(rows[0].ratios(), [2.0, 1.0, 0.5]);
    }

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle_two() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_limit_of_zero_gives_no_ratio_instead_of_infinity() {
        let comparison = comparison(&[(0.0, 2.0)]);
        assert!(comparison.json().contains(r#""ratio":[],"ratio_median":null"#), "{}", comparison.json());
    }

    #[test]
    fn refusals_and_quotes_reach_the_json() {
        let json = comparison(&[]).json();
        assert!(json.starts_with(r#"{"case":"ping \"one\"","limit":"limit""#), "{json}");
        assert!(json.ends_with(r#""refused":["too slow"]}"#), "{json}");
    }
}
