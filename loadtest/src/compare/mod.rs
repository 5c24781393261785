//! `loadtest compare`: did anything get worse between two sets of saved runs? PURE but for reading and printing.
//! Method: runs of one scenario against one server are repetitions. For each metric the medians and, over the repetitions,
//! the exact Mann–Whitney U test (see [`rank`]); since many questions are asked at once, Holm's step-down over all of them
//! holds the chance of one false alarm of the whole command at `--alpha`.
//! Invariants: a refused run is left out and named; a difference decides only if it is significant and beyond the threshold;
//! where so few runs cannot be significant, nothing is decided, and it is said.

mod metrics;
mod rank;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::failure::{Failure, Result};
use crate::outcome::{Outcome, Outcomes};
use crate::report;
use crate::units;

use metrics::{METRICS, Metric, Worse};

const WRITES: &str = "invariant: writing to a String cannot fail";

/// `loadtest compare`: fails on a regression.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Saved runs to compare with, such as those of the main branch
    before: PathBuf,
    /// Saved runs to judge
    after: PathBuf,
    /// Medians may be worse by so much before it counts
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    threshold: f64,
    /// Decide by this metric (repeatable), such as request_p99; without it by p50 and p99, losses, CPU a message and memory
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// The chance of a false alarm of the whole comparison
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    alpha: f64,
}

/// Whether nothing is known to be worse.
pub(crate) fn run(arguments: &Compare) -> Result<bool> {
    let is_named = |name: &String| METRICS.iter().any(|metric| metric.name == *name);
    if let Some(unknown) = arguments.metrics.iter().find(|name| !is_named(name)) {
        let names: Vec<&str> = METRICS.iter().map(|metric| metric.name.as_str()).collect();
        return Err(Failure::File(format!("no metric `{unknown}`; there are {}", names.join(", "))));
    }
    if !(0.0..1.0).contains(&arguments.alpha) || arguments.threshold.is_nan() || arguments.threshold < 0.0 {
        return Err(Failure::File("--alpha is from 0 to below 1, --threshold 0 or more".to_owned()));
    }
    let (before, after) = (report::read(&arguments.before)?, report::read(&arguments.after)?);
    let comparison = compare(&before, &after, arguments)?;
    report::print(&comparison.text(arguments))?;
    Ok(comparison.regressions() == 0)
}

/// Runs of one scenario against one server, before and after.
struct Pair<'a> {
    name: String,
    before: Vec<&'a Outcome>,
    after: Vec<&'a Outcome>,
    rows: Vec<Row>,
}

/// One metric of one pair.
struct Row {
    metric: &'static Metric,
    before: f64,
    after: f64,
    p: f64,
    /// Whether any run differs from another.
    varies: bool,
    judgement: Judgement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    /// Significant and beyond the threshold.
    Worse,
    Better,
    /// Significant, but within the threshold.
    Small,
    /// What chance does as well.
    Chance,
    /// Not even runs that lie wholly apart would be significant.
    TooFew,
    /// It was not asked to decide.
    Described,
}

struct Comparison<'a> {
    pairs: Vec<Pair<'a>>,
    /// What was left out or differs, as sentences.
    notes: Vec<String>,
    /// Over all pairs: metrics that decide and are not the same in all runs.
    questions: usize,
}

fn compare<'a>(before: &'a Outcomes, after: &'a Outcomes, arguments: &Compare) -> Result<Comparison<'a>> {
    let mut notes = Vec::new();
    if before.host != after.host {
        let named = |outcomes: &Outcomes| format!("{}, Linux {}", outcomes.host.cpu, outcomes.host.kernel);
        notes.push(format!("not the same machine: {} before, {} after", named(before), named(after)));
    }
    let mut pairs = pairs(before, after, &mut notes)?;
    for pair in &mut pairs {
        pair.rows = METRICS.iter().filter_map(|metric| row(metric, &pair.before, &pair.after)).collect();
    }
    let decides = |metric: &Metric| match arguments.metrics.as_slice() {
        [] => metric.decides,
        named => named.contains(&metric.name),
    };
    let questions = judge(&mut pairs, decides, arguments);
    Ok(Comparison { pairs, notes, questions })
}

fn pairs<'a>(before: &'a Outcomes, after: &'a Outcomes, notes: &mut Vec<String>) -> Result<Vec<Pair<'a>>> {
    let (before, after) = (groups(before, "before", notes), groups(after, "after", notes));
    let mut pairs = Vec::new();
    for (name, befores) in &before {
        let Some(afters) = after.get(name) else {
            notes.push(format!("left out, not measured after: {name}"));
            continue;
        };
        let configuration = befores[0].scenario_toml.as_str();
        if befores.iter().chain(afters).any(|run| run.scenario_toml != configuration) {
            notes.push(format!("left out, since not all runs have the same configuration: {name}"));
            continue;
        }
        if befores.len().max(afters.len()) > rank::RUNS_MAX {
            let most = rank::RUNS_MAX;
            return Err(Failure::File(format!("{name}: more than {most} runs are not compared")));
        }
        pairs.push(Pair {
            name: name.clone(),
            before: befores.clone(),
            after: afters.clone(),
            rows: Vec::new(),
        });
    }
    let only_after = after.keys().filter(|name| !before.contains_key(*name));
    notes.extend(only_after.map(|name| format!("left out, not measured before: {name}")));
    if pairs.is_empty() {
        let reasons = if notes.is_empty() { "both are empty".to_owned() } else { notes.join("; ") };
        return Err(Failure::File(format!("nothing to compare: {reasons}")));
    }
    Ok(pairs)
}

fn groups<'a>(
    outcomes: &'a Outcomes,
    side: &str,
    notes: &mut Vec<String>,
) -> BTreeMap<String, Vec<&'a Outcome>> {
    let mut groups: BTreeMap<String, Vec<&Outcome>> = BTreeMap::new();
    for (at, run) in outcomes.runs.iter().enumerate() {
        let name = format!("{} against {}", run.scenario, run.server);
        if run.refused.is_empty() {
            groups.entry(name).or_default().push(run);
        } else {
            let reasons = run.refused.join("; ");
            notes.push(format!("left out, run {} {side} was refused: {name}: {reasons}", at + 1));
        }
    }
    groups
}

/// `None` where one of the runs did not measure it: medians of different runs are not compared.
fn row(metric: &'static Metric, before: &[&Outcome], after: &[&Outcome]) -> Option<Row> {
    let values =
        |runs: &[&Outcome]| -> Option<Vec<f64>> { runs.iter().map(|run| (metric.value)(run)).collect() };
    let (before, after) = (values(before)?, values(after)?);
    let p = rank::p_value(&before, &after);
    let first = before.first().copied()?;
    let varies = before.iter().chain(&after).any(|value| *value != first);
    let (before, after) = (report::median(before)?, report::median(after)?);
    Some(Row { metric, before, after, p, varies, judgement: Judgement::Described })
}

/// Holm: the smallest of n values is held against alpha/n, the next against alpha/(n-1), and so on to the first that fails.
/// What is the same in all runs asks nothing (Tarone): whatever came of it, it could not have been significant.
fn judge(pairs: &mut [Pair<'_>], decides: impl Fn(&Metric) -> bool, arguments: &Compare) -> usize {
    let mut asked: Vec<(f64, &mut Row)> = Vec::new();
    for pair in pairs {
        let least = rank::p_least(pair.before.len(), pair.after.len());
        let rows = pair.rows.iter_mut().filter(|row| decides(row.metric));
        for row in rows {
            row.judgement = Judgement::Chance;
            if row.varies {
                asked.push((least, row));
            }
        }
    }
    let questions = asked.len();
    asked.sort_by(|(_, a), (_, b)| a.p.total_cmp(&b.p));
    let mut is_open = true;
    for (at, (least, row)) in asked.into_iter().enumerate() {
        let level = arguments.alpha / (questions - at) as f64;
        is_open = is_open && row.p <= level;
        row.judgement = if is_open {
            significant(row, arguments.threshold)
        } else if arguments.alpha / (questions as f64) < least {
            Judgement::TooFew
        } else {
            Judgement::Chance
        };
    }
    questions
}

fn significant(row: &Row, threshold: f64) -> Judgement {
    let change = change_percent(row);
    let is_worse = match row.metric.worse {
        Worse::Higher => row.before < row.after,
        Worse::Lower => row.after < row.before,
    };
    match change.is_none_or(|change| threshold < change.abs()) {
        true if is_worse => Judgement::Worse,
        true => Judgement::Better,
        false => Judgement::Small,
    }
}

/// `None` where there is a change from nothing.
fn change_percent(row: &Row) -> Option<f64> {
    if row.before == row.after {
        return Some(0.0);
    }
    (row.before != 0.0).then(|| (row.after - row.before) / row.before * 100.0)
}

impl Comparison<'_> {
    fn regressions(&self) -> usize {
        let rows = self.pairs.iter().flat_map(|pair| &pair.rows);
        rows.filter(|row| row.judgement == Judgement::Worse).count()
    }

    fn text(&self, arguments: &Compare) -> String {
        let mut text = String::new();
        for pair in &self.pairs {
            pair.push_text(&mut text);
        }
        for note in &self.notes {
            writeln!(text, "\nnote: {note}").expect(WRITES);
        }
        self.push_too_few(&mut text, arguments.alpha);
        let (threshold, alpha) = (units::digits(arguments.threshold), units::percent(arguments.alpha));
        writeln!(
            text,
            "\nMann-Whitney U, exact and two-sided; Holm over {} questions, {alpha} for a false alarm in all; \
             worse counts beyond {threshold} %.",
            self.questions
        )
        .expect(WRITES);
        match self.regressions() {
            0 => writeln!(text, "No regression was found.").expect(WRITES),
            1 => writeln!(text, "1 regression.").expect(WRITES),
            count => writeln!(text, "{count} regressions.").expect(WRITES),
        }
        text
    }

    fn push_too_few(&self, text: &mut String, alpha: f64) {
        let is_too_few = |pair: &&Pair<'_>| pair.rows.iter().any(|row| row.judgement == Judgement::TooFew);
        for pair in self.pairs.iter().filter(is_too_few) {
            let needed = rank::runs_for(alpha / self.questions as f64);
            let (before, after) = (pair.before.len(), pair.after.len());
            writeln!(
                text,
                "\nnot enough runs to tell: {}: {before} before and {after} after, {} questions in all. It takes \
                 {needed} each, or fewer questions (--metric): {} each for one.",
                pair.name,
                self.questions,
                rank::runs_for(alpha)
            )
            .expect(WRITES);
        }
    }
}

impl Pair<'_> {
    fn push_text(&self, text: &mut String) {
        let (before, after) = (self.before.len(), self.after.len());
        writeln!(text, "\n{} ({before} runs before, {after} after)", self.name).expect(WRITES);
        let head = ["median of", "before", "after", "change", "p"];
        writeln!(text, "  {:<24}{:>12}{:>12}{:>12}{:>9}", head[0], head[1], head[2], head[3], head[4])
            .expect(WRITES);
        for row in &self.rows {
            let (was, is) = ((row.metric.text)(row.before), (row.metric.text)(row.after));
            let change = match change_percent(row) {
                Some(0.0) => "0 %".to_owned(),
                Some(change) => format!("{change:+.1} %"),
                None => "from 0".to_owned(),
            };
            let judgement = match row.judgement {
                Judgement::Worse => "  WORSE",
                Judgement::Better => "  better",
                Judgement::Small => "  within the threshold",
                Judgement::TooFew => "  not enough runs to tell",
                Judgement::Chance | Judgement::Described => "",
            };
            let name = &row.metric.name;
            writeln!(text, "  {name:<24}{was:>12}{is:>12}{change:>12}{:>9.4}{judgement}", row.p)
                .expect(WRITES);
        }
    }
}

#[cfg(test)]
mod tests;
