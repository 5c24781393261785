//! The tables of the page: facts, overview, latencies, and of each run its grades, counts, seconds and configuration. PURE.
//! Invariant: the numbers of the plots are here for those who do not see them.

use std::fmt::Write as _;

use crate::figures::{KINDS, kind_name};
use crate::outcome::{Outcome, Outcomes};
use crate::report::table::{main_kind, verdict};
use crate::units;

use super::markup::{Text, WRITES, begin_table, capitalised, end_table, push_row};
use super::over_time::{gathered, step};
use super::{Section, Shown};

/// Rows of a run's seconds; longer runs are shown in steps.
const ROWS_MAX: usize = 120;

pub(super) fn push_facts(page: &mut String, outcomes: &Outcomes) {
    let (host, tool) = (&outcomes.host, &outcomes.tool);
    let memory = units::bytes(host.memory_bytes as f64);
    let commit = tool.commit.as_deref().unwrap_or("no commit known");
    let begun = outcomes.runs.iter().map(|run| run.started_unix_ms).min();
    let facts = [
        ("Processor", format!("{}, {} cores", host.cpu, host.cores)),
        ("Memory", memory),
        ("Kernel", format!("Linux {}", host.kernel)),
        ("Program", format!("loadtest {} ({commit})", tool.version)),
        ("Arguments", if tool.arguments.is_empty() { "none".to_owned() } else { tool.arguments.join(" ") }),
        ("Begun", begun.map_or_else(|| "no run".to_owned(), units::date)),
    ];
    page.push_str("<dl class=\"facts\">\n");
    for (name, fact) in facts {
        writeln!(page, "<div><dt>{name}</dt><dd>{}</dd></div>", Text(&fact)).expect(WRITES);
    }
    page.push_str("</dl>\n");
}

pub(super) fn push_overview(page: &mut String, runs: &[Outcome]) {
    begin_table(
        page,
        "All runs",
        &[
            "Run",
            "Scenario",
            "Server",
            "Latency of",
            "p50",
            "p99",
            "CPU a message",
            "Cores",
            "Memory",
            "Grade",
        ],
    );
    for (at, run) in runs.iter().enumerate() {
        let none = || "-".to_owned();
        let kind = main_kind(run);
        let latency = kind.and_then(|kind| run.latencies.get(&kind));
        let resident = run.server_use.as_ref().map(|used| used.resident_peak_bytes as f64);
        let cells = [
            run.scenario.clone(),
            run.server.clone(),
            kind.map_or_else(none, |kind| kind_name(kind).to_owned()),
            latency.map_or_else(none, |latency| units::duration(latency.p50_ns as f64)),
            latency.map_or_else(none, |latency| units::duration(latency.p99_ns as f64)),
            run.cpu_ns_per_message().map_or_else(none, units::duration),
            run.cpu_cores().map_or_else(none, units::digits),
            resident.map_or_else(none, units::bytes),
        ];
        let number = at + 1;
        write!(page, "<tr><th scope=\"row\"><a href=\"#r{number}\">{number}</a></th>").expect(WRITES);
        for cell in cells {
            write!(page, "<td>{}</td>", Text(&cell)).expect(WRITES);
        }
        writeln!(page, "<td>{}</td></tr>", Badge(run)).expect(WRITES);
    }
    end_table(page);
}

/// The grade as a coloured letter, whose class is that of the letter.
struct Badge<'a>(&'a Outcome);

impl std::fmt::Display for Badge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = verdict(self.0);
        let class = verdict.chars().next().filter(char::is_ascii_uppercase).unwrap_or('N');
        write!(f, "<b class=\"grade g{class}\">{}</b>", Text(&verdict))
    }
}

pub(super) fn push_latencies(page: &mut String, section: &Section<'_>) {
    let heads =
        ["Run", "Kind", "Count", "Min", "Mean", "p50", "p90", "p99", "p99.9", "p99.99", "Max"].as_slice();
    begin_table(page, "Latencies", heads);
    for shown in &section.runs {
        for kind in KINDS {
            let Some(latency) = shown.run.latencies.get(&kind) else { continue };
            let quantiles = [
                latency.p50_ns,
                latency.p90_ns,
                latency.p99_ns,
                latency.p999_ns,
                latency.p9999_ns,
                latency.max_ns,
            ];
            let mut cells = vec![
                shown.name.clone(),
                kind_name(kind).to_owned(),
                units::count(latency.count),
                units::duration(latency.min_ns as f64),
                units::duration(latency.mean_ns),
            ];
            cells.extend(quantiles.map(|ns| units::duration(ns as f64)));
            push_row(page, &cells);
        }
    }
    end_table(page);
}

pub(super) fn push_run(page: &mut String, shown: &Shown<'_>, is_alone: bool) {
    let run = shown.run;
    let number = shown.number;
    let version = run.server_version.as_ref().map(|version| format!(" ({version})")).unwrap_or_default();
    writeln!(
        page,
        "<article id=\"r{number}\">\n<h3>Run {number}: {}{} {}</h3>\n<p>{}, {} from {}</p>",
        Text(&shown.name),
        Text(&version),
        Badge(run),
        Text(&run.url),
        units::duration(run.measured_ns as f64),
        units::date(run.started_unix_ms)
    )
    .expect(WRITES);
    for note in &run.notes {
        writeln!(page, "<p>Note: {}</p>", Text(note)).expect(WRITES);
    }
    push_grades(page, run);
    // One run shows all of it, many are to be found first.
    let state = if is_alone { " open=\"open\"" } else { "" };
    writeln!(page, "<details{state}><summary>Counts and resources</summary>").expect(WRITES);
    push_counts(page, run);
    push_resources(page, run);
    page.push_str("</details>\n");
    push_seconds(page, run);
    writeln!(
        page,
        "<details><summary>Configuration</summary><pre>{}</pre></details>\n</article>",
        Text(&run.scenario_toml)
    )
    .expect(WRITES);
}

fn push_grades(page: &mut String, run: &Outcome) {
    if !run.refused.is_empty() {
        page.push_str(
            "<p>This run says nothing about the server and has no grade:</p>\n<ul class=\"refused\">",
        );
        for reason in &run.refused {
            write!(page, "<li>{}</li>", Text(reason)).expect(WRITES);
        }
        page.push_str("</ul>\n");
        return;
    }
    let Some(graded) = &run.graded else {
        page.push_str("<p>This run was not graded.</p>\n");
        return;
    };
    begin_table(page, "Grades: the run's is the worst of them", &["Criterion", "Grade", "Reason"]);
    for criterion in &graded.criteria {
        let name = capitalised(&criterion.name);
        let grade = criterion.grade.to_string();
        let letter = grade.chars().next().unwrap_or('N');
        writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td><b class=\"grade g{letter}\">{grade}</b></td>\
             <td class=\"words\">{}</td></tr>",
            Text(&name),
            Text(&criterion.reason)
        )
        .expect(WRITES);
    }
    end_table(page);
}

fn push_counts(page: &mut String, run: &Outcome) {
    let counts = &run.counts;
    let per_s = |count| run.per_second(count).map_or_else(|| "-".to_owned(), units::digits);
    begin_table(page, "Counts", &["What", "Number", "A second"]);
    let numbers = [
        ("Connections wanted", counts.connections_wanted),
        ("Connections opened", counts.connections_opened),
        ("Connections lost", counts.connections_lost),
        ("Requests sent", counts.requests_sent),
        ("Replies received", counts.replies_received),
        ("Published", counts.published),
        ("Deliveries expected", counts.deliveries_expected),
        ("Deliveries received", counts.deliveries_received),
        ("Gaps", counts.gaps),
        ("Duplicates", counts.duplicates),
        ("Out of order", counts.reordered),
        ("Bytes sent", counts.bytes_sent),
        ("Bytes received", counts.bytes_received),
    ];
    for (at, (name, number)) in numbers.into_iter().enumerate() {
        // Connections are a number, all else flows.
        let rate = if at < 3 { String::new() } else { per_s(number) };
        push_row(page, &[name, &units::count(number), &rate]);
    }
    for (kind, number) in &counts.errors {
        push_row(page, &[&format!("Errors: {kind}"), &units::count(*number), &per_s(*number)]);
    }
    end_table(page);
}

fn push_resources(page: &mut String, run: &Outcome) {
    begin_table(page, "Resources", &["What", "Value"]);
    if let Some(used) = &run.server_use {
        let cores = run.cpu_cores().map_or_else(|| "-".to_owned(), units::digits);
        push_row(page, &["Server, cores in use", &cores]);
        push_row(page, &["Server, busiest thread", &units::percent(used.busiest_thread_share)]);
        push_row(page, &["Server, resident before", &units::bytes(used.resident_before_bytes as f64)]);
        push_row(page, &["Server, resident at most", &units::bytes(used.resident_peak_bytes as f64)]);
        let each = run.resident_per_connection().map_or_else(|| "-".to_owned(), units::bytes);
        push_row(page, &["Server, more a connection", &each]);
        push_row(page, &["Context switches of its own", &units::count(used.voluntary_switches)]);
        push_row(page, &["Context switches forced", &units::count(used.involuntary_switches)]);
    }
    let generator = &run.generator;
    push_row(page, &["Generator, processes", &generator.processes.to_string()]);
    push_row(page, &["Generator, busiest thread", &units::percent(generator.busy_share)]);
    push_row(page, &["Generator, late at p50", &units::duration(generator.lag_p50_ns as f64)]);
    push_row(page, &["Generator, late at p99", &units::duration(generator.lag_p99_ns as f64)]);
    let stolen = generator.steal_share.map_or_else(|| "not told".to_owned(), units::percent);
    push_row(page, &["Time stolen from this machine", &stolen]);
    end_table(page);
}

fn push_seconds(page: &mut String, run: &Outcome) {
    let step = step(run, ROWS_MAX);
    let caption = match step {
        1 => "Second by second".to_owned(),
        _ => format!("Steps of {step} s: the worst latency and the mean rate of each"),
    };
    page.push_str("<details><summary>Second by second</summary>\n");
    begin_table(
        page,
        &caption,
        &["At", "Connections", "Sent/s", "Received/s", "Errors/s", "p50", "p99", "Max", "Cores", "Resident"],
    );
    let or_none = |value: Option<f64>, text: fn(f64) -> String| value.map_or_else(|| "-".to_owned(), text);
    for row in gathered(run, step) {
        let cells = [
            format!("{} s", units::digits(row.at_s)),
            units::digits(row.connections),
            units::digits(row.sent),
            units::digits(row.received),
            units::digits(row.errors),
            or_none(row.p50_ns, units::duration),
            or_none(row.p99_ns, units::duration),
            or_none(row.max_ns, units::duration),
            or_none(row.cpu_cores, units::digits),
            or_none(row.resident_bytes, units::bytes),
        ];
        push_row(page, &cells);
    }
    end_table(page);
    page.push_str("</details>\n");
}
