//! Results as one HTML page that needs nothing else: facts, an overview, and for each scenario its plots, tables, grades
//! and configuration. PURE.
//! Invariants: the page is well-formed XML too; every text from outside is escaped; what a plot shows is in a table as well;
//! it reads the same without its script, which only tells the values below the pointer.

mod markup;
mod over_time;
mod plot;
mod tables;

use std::fmt::Write as _;

use crate::figures::{KINDS, kind_about, kind_name};
use crate::outcome::{Kind, Outcome, Outcomes};

use markup::{Text, WRITES};
use plot::{Axis, Line, Plot};

/// Nothing may be fetched, sent or framed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Ends the name of a run that says nothing about its server.
const REFUSED: &str = " (refused)";

pub(super) fn page(outcomes: &Outcomes) -> String {
    let sections = sections(&outcomes.runs);
    let names: Vec<&str> = sections.iter().map(|section| section.scenario).collect();
    let title = format!("Load test: {}", names.join(", "));
    let mut page = String::new();
    write!(
        page,
        concat!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n",
            "<meta name=\"color-scheme\" content=\"light dark\"/>\n",
            "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\"/>\n",
            "<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n<h1>{}</h1>\n",
        ),
        Text(POLICY),
        Text(&title),
        include_str!("page.css"),
        Text(&title),
    )
    .expect(WRITES);
    tables::push_facts(&mut page, outcomes);
    tables::push_overview(&mut page, &outcomes.runs);
    for (at, section) in sections.iter().enumerate() {
        push_section(&mut page, section, at);
    }
    write!(page, "</main>\n<script>\n{}</script>\n</body>\n</html>\n", include_str!("page.js"))
        .expect(WRITES);
    page
}

/// The runs of one scenario.
struct Section<'a> {
    scenario: &'a str,
    runs: Vec<Shown<'a>>,
}

/// A run and how it is drawn.
struct Shown<'a> {
    run: &'a Outcome,
    /// From 1, in the order of the file.
    number: usize,
    /// The server, and which of its runs where there are several.
    name: String,
    /// That of its server: the runs of a server share a colour.
    colour: usize,
}

fn sections(runs: &[Outcome]) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let place = sections.iter().position(|section| section.scenario == run.scenario);
        let place = place.unwrap_or_else(|| {
            sections.push(Section { scenario: &run.scenario, runs: Vec::new() });
            sections.len() - 1
        });
        let shown = &mut sections[place].runs;
        let same = shown.iter().filter(|other| other.run.server == run.server).count();
        let colour = shown.iter().find(|other| other.run.server == run.server).map(|other| other.colour);
        let next = shown.iter().map(|other| other.colour + 1).max().unwrap_or(0);
        let total =
            runs.iter().filter(|other| other.server == run.server && other.scenario == run.scenario).count();
        let repetition = if total > 1 { format!(", run {} of {total}", same + 1) } else { String::new() };
        let refused = if run.refused.is_empty() { "" } else { REFUSED };
        let name = format!("{}{repetition}{refused}", run.server);
        shown.push(Shown { run, number: at + 1, name, colour: colour.unwrap_or(next) });
    }
    sections
}

fn push_section(page: &mut String, section: &Section<'_>, at: usize) {
    write!(page, "<section id=\"s{at}\">\n<h2>{}</h2>\n<div class=\"plots\">\n", Text(section.scenario))
        .expect(WRITES);
    let curves = KINDS.iter().filter_map(|kind| curve(section, *kind));
    for (number, plot) in curves.chain(over_time::plots(section)).enumerate() {
        plot.push(page, &format!("s{at}p{number}"));
    }
    page.push_str("</div>\n");
    tables::push_latencies(page, section);
    for shown in &section.runs {
        tables::push_run(page, shown, section.runs.len() == 1);
    }
    page.push_str("</section>\n");
}

/// The percentile curve of all runs that measured this kind.
fn curve(section: &Section<'_>, kind: Kind) -> Option<Plot> {
    let measured: Vec<_> = section
        .runs
        .iter()
        .filter_map(|shown| Some((shown, shown.run.latencies.get(&kind)?)))
        .filter(|(_, latency)| latency.count > 0)
        .collect();
    let lines: Vec<Line> = measured
        .iter()
        .map(|(shown, latency)| {
            let mut points: Vec<(f64, u64)> = latency.curve.clone();
            // The largest value, where the curve ends before it.
            let last = 1.0 - 1.0 / latency.count as f64;
            if points.last().is_none_or(|(quantile, _)| *quantile < last) {
                points.push((last, latency.max_ns));
            }
            let points = points.into_iter().filter(|(quantile, _)| (0.0..1.0).contains(quantile));
            let points = points.map(|(quantile, ns)| (nines(quantile), Some(ns as f64)));
            Line { name: shown.name.clone(), colour: shown.colour, points: points.collect() }
        })
        .collect();
    (!lines.is_empty()).then(|| Plot {
        title: format!("{} latency by percentile", markup::capitalised(kind_name(kind))),
        about: format!("From the {}.", kind_about(kind)),
        x: Axis::Percentile,
        y: Axis::Duration,
        lines,
    })
}

/// The axis of a percentile plot: how many nines.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// `99.9` of a quantile below 1.
fn percentile(nines: f64) -> String {
    let share = 1.0 - 10.0_f64.powf(-nines);
    // As many digits as the distance from the whole needs, and one more.
    let places = (0..9_u8).find(|places| nines <= f64::from(*places) + 1.0).unwrap_or(9);
    let text = format!("{:.*}", usize::from(places), share * 100.0);
    let trimmed = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    trimmed.to_owned()
}

#[cfg(test)]
mod tests;
