//! What is shown of results: of runs beside the limit ([`paired`]), and of graded runs as a table, JSON, CSV and HTML.
//! PURE but for what reads and writes files, in this one and in [`json`].
//! Invariant: each form shows refused runs as refused, with the reason, and never beside a grade.

mod csv;
mod html;
mod json;
mod paired;
mod table;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::{Doing, Failure, Result};
use crate::grade::{self, Thresholds};
use crate::outcome::{Grade, Outcomes};

use table::Style;

pub(crate) use json::read;
pub(crate) use paired::{Comparison, Metric, Row, Sample, median, number, quoted, short, write_json};

/// `loadtest report`: renders what was saved.
#[derive(Debug, Args)]
pub(crate) struct Saved {
    /// Results that were saved as JSON
    file: PathBuf,
    #[command(flatten)]
    files: Files,
    /// Grades again, by the bounds of this file: what would stand in the table `grades` of a scenario
    #[arg(long, value_name = "TOML")]
    thresholds: Option<PathBuf>,
    /// Fails when a run has a worse grade than this, or none: A+, A, B, C, D or F
    #[arg(long, value_name = "GRADE")]
    min_grade: Option<Grade>,
}

/// The files that results are written to.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Files {
    /// Writes all forms into this folder: results.json, results.csv, results.seconds.csv and report.html
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Writes JSON, to be read again by `report` and `compare`
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes one row a run as CSV, and one row a second beside it, as `NAME.seconds.csv`
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Writes one HTML page with plots, which needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Whether what was asked for is met.
pub(crate) fn run(saved: &Saved) -> Result<bool> {
    let mut outcomes = read(&saved.file)?;
    if let Some(path) = &saved.thresholds {
        let thresholds = read_thresholds(path)?;
        for run in &mut outcomes.runs {
            run.graded = grade::grade(run, &thresholds);
        }
    }
    show(&outcomes, &saved.files)?;
    meets(&outcomes, saved.min_grade)
}

/// Prints the table and writes the files asked for.
pub(crate) fn show(outcomes: &Outcomes, files: &Files) -> Result<()> {
    print(&table::text(outcomes, style()))?;
    if let Some(folder) = &files.output {
        let told = |error: std::io::Error| Failure::File(format!("{}: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(told)?;
    }
    let paths = |single: &Option<PathBuf>, name: &str| -> Vec<PathBuf> {
        files.output.iter().map(|folder| folder.join(name)).chain(single.clone()).collect()
    };
    for path in paths(&files.json, "results.json") {
        json::write(&path, outcomes)?;
    }
    for path in paths(&files.csv, "results.csv") {
        write(&path, &csv::runs(outcomes))?;
        write(&path.with_extension("seconds.csv"), &csv::seconds(outcomes))?;
    }
    for path in paths(&files.html, "report.html") {
        write(&path, &html::page(outcomes))?;
    }
    Ok(())
}

/// `--min-grade`: says which runs do not reach it.
pub(crate) fn meets(outcomes: &Outcomes, least: Option<Grade>) -> Result<bool> {
    let below = least.map(|least| grade::below(&outcomes.runs, least)).unwrap_or_default();
    for sentence in &below {
        print(&format!("below: {sentence}\n"))?;
    }
    Ok(below.is_empty())
}

/// Prints what came out.
pub(crate) fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).doing("print the result")
}

/// Colours are for terminals, and for people who want them (no-color.org).
fn style() -> Style {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if std::io::stdout().is_terminal() && !is_unwanted { Style::Coloured } else { Style::Plain }
}

fn read_thresholds(path: &Path) -> Result<Thresholds> {
    let told = |error: &dyn std::fmt::Display| Failure::File(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
    toml::from_str(&text).map_err(|error| told(&error))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| Failure::File(format!("{}: {error}", path.display())))
}
