//! Results as text for a terminal: each run by itself, then one line a run where there are several. PURE.
//! Invariant: without colours the text is the same, but for the escapes.

use std::fmt::Write as _;

use crate::figures::{KINDS, kind_name};
use crate::outcome::{Grade, Kind, Outcome, Outcomes};
use crate::units;

const WRITES: &str = "invariant: writing to a String cannot fail";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Coloured,
}

pub(super) fn text(outcomes: &Outcomes, style: Style) -> String {
    let mut text = String::new();
    for run in &outcomes.runs {
        push_run(&mut text, run, style);
    }
    if outcomes.runs.len() > 1 {
        push_overview(&mut text, &outcomes.runs, style);
    }
    let host = &outcomes.host;
    let memory = units::bytes(host.memory_bytes as f64);
    let commit = outcomes.tool.commit.as_deref().unwrap_or("no commit");
    writeln!(text, "\n{}, {} cores, {memory}, Linux {}", host.cpu, host.cores, host.kernel).expect(WRITES);
    writeln!(text, "loadtest {} ({commit}) {}", outcomes.tool.version, outcomes.tool.arguments.join(" "))
        .expect(WRITES);
    text
}

/// What one line of a list says of a run: the kind that matters most, which is that of the busiest traffic.
pub(super) fn main_kind(run: &Outcome) -> Option<Kind> {
    let order = [Kind::Delivery, Kind::Order, Kind::Request, Kind::Reconnect, Kind::Connect];
    order.into_iter().find(|kind| run.latencies.get(kind).is_some_and(|latency| latency.count > 0))
}

/// `A`, `refused`, or `-` where nothing was graded.
pub(super) fn verdict(run: &Outcome) -> String {
    match &run.graded {
        _ if !run.refused.is_empty() => "refused".to_owned(),
        Some(graded) => graded.grade.to_string(),
        None => "-".to_owned(),
    }
}

fn push_run(text: &mut String, run: &Outcome, style: Style) {
    let version = run.server_version.as_ref().map(|version| format!(" ({version})")).unwrap_or_default();
    let title = format!("{} against {}{version}", run.scenario, run.server);
    let grade = coloured(&verdict(run), run, style);
    writeln!(text, "\n{}   {grade}", bold(&title, style)).expect(WRITES);
    let measured = units::duration(run.measured_ns as f64);
    writeln!(text, "  {}, {measured} from {}", run.url, units::date(run.started_unix_ms)).expect(WRITES);
    for reason in &run.refused {
        writeln!(text, "  refused: {reason}").expect(WRITES);
    }
    for note in &run.notes {
        writeln!(text, "  note: {note}").expect(WRITES);
    }
    push_counts(text, run);
    push_latencies(text, run);
    push_use(text, run);
    let Some(graded) = run.graded.as_ref().filter(|_| run.refused.is_empty()) else { return };
    let width = graded.criteria.iter().map(|criterion| criterion.name.len()).max().unwrap_or(0);
    writeln!(text, "  grades").expect(WRITES);
    for criterion in &graded.criteria {
        let letter = paint(&format!("{:<2}", criterion.grade), criterion.grade, style);
        writeln!(text, "    {letter}  {:<width$}  {}", criterion.name, criterion.reason).expect(WRITES);
    }
}

fn push_counts(text: &mut String, run: &Outcome) {
    let counts = &run.counts;
    let mut line = |name: &str, what: String| writeln!(text, "  {name:<12}{what}").expect(WRITES);
    let number = units::count;
    let rate = |count| run.per_second(count).map_or_else(|| "-".to_owned(), units::digits);
    let (opened, wanted) = (number(counts.connections_opened), number(counts.connections_wanted));
    line("connections", format!("{opened} of {wanted} opened, {} lost", number(counts.connections_lost)));
    if counts.requests_sent > 0 {
        let (sent, replies) = (number(counts.requests_sent), number(counts.replies_received));
        line("requests", format!("{sent} sent ({}/s), {replies} replies", rate(counts.requests_sent)));
    }
    if counts.published > 0 {
        line("publishes", format!("{} ({}/s)", number(counts.published), rate(counts.published)));
    }
    if counts.deliveries_expected > 0 || counts.deliveries_received > 0 {
        let (came, expected) = (number(counts.deliveries_received), number(counts.deliveries_expected));
        line("deliveries", format!("{came} of {expected} ({}/s)", rate(counts.deliveries_received)));
        let (gaps, twice) = (number(counts.gaps), number(counts.duplicates));
        line("", format!("{gaps} gaps, {twice} duplicates, {} out of order", number(counts.reordered)));
    }
    let (sent, received) = (counts.bytes_sent as f64, counts.bytes_received as f64);
    line("bytes", format!("{} sent, {} received", units::bytes(sent), units::bytes(received)));
    let errors: Vec<String> =
        counts.errors.iter().map(|(kind, count)| format!("{kind} x {}", number(*count))).collect();
    line("errors", if errors.is_empty() { "none".to_owned() } else { errors.join(", ") });
}

fn push_latencies(text: &mut String, run: &Outcome) {
    let mut row = |cells: [&str; 8]| {
        let [name, count, rest @ ..] = cells;
        write!(text, "  {name:<12}{count:>11}").expect(WRITES);
        for cell in rest {
            write!(text, "{cell:>10}").expect(WRITES);
        }
        text.push('\n');
    };
    let mut is_first = true;
    for kind in KINDS {
        let Some(latency) = run.latencies.get(&kind).filter(|latency| latency.count > 0) else { continue };
        if is_first {
            row(["latency", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
            is_first = false;
        }
        let [p50, p90, p99, p999, p9999, max] = [
            latency.p50_ns,
            latency.p90_ns,
            latency.p99_ns,
            latency.p999_ns,
            latency.p9999_ns,
            latency.max_ns,
        ]
        .map(|ns| units::duration(ns as f64));
        let name = format!("  {}", kind_name(kind));
        row([&name, &units::count(latency.count), &p50, &p90, &p99, &p999, &p9999, &max]);
    }
}

fn push_use(text: &mut String, run: &Outcome) {
    match &run.server_use {
        None => writeln!(text, "  {:<12}not measured", "server").expect(WRITES),
        Some(used) => {
            let cores = run.cpu_cores().map_or_else(|| "-".to_owned(), units::digits);
            let cost = run.cpu_ns_per_message().map_or_else(|| "-".to_owned(), units::duration);
            let busiest = units::percent(used.busiest_thread_share);
            writeln!(text, "  {:<12}{cores} cores, {cost} a message, busiest thread {busiest}", "server")
                .expect(WRITES);
            let peak = units::bytes(used.resident_peak_bytes as f64);
            let each = run.resident_per_connection().map_or_else(|| "-".to_owned(), units::bytes);
            let (own, forced) =
                (units::count(used.voluntary_switches), units::count(used.involuntary_switches));
            writeln!(text, "  {:<12}{peak} resident at most, {each} more a connection", "").expect(WRITES);
            writeln!(text, "  {:<12}{own} context switches of its own, {forced} forced", "").expect(WRITES);
        }
    }
    let generator = &run.generator;
    let (busy, late) = (units::percent(generator.busy_share), units::duration(generator.lag_p99_ns as f64));
    let stolen = generator.steal_share.map_or_else(|| "not told".to_owned(), units::percent);
    writeln!(text, "  {:<12}busy {busy}, late by {late} at p99, stolen time {stolen}", "generator")
        .expect(WRITES);
}

fn push_overview(text: &mut String, runs: &[Outcome], style: Style) {
    let rows: Vec<[String; 8]> = runs.iter().map(overview).collect();
    let head = ["scenario", "server", "of", "p50", "p99", "us/message", "memory", "grade"].map(str::to_owned);
    let width =
        |column: usize| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    text.push('\n');
    let mut line = |row: &[String; 8], grade: &str| {
        text.push_str("  ");
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Names begin, numbers end together.
            if column < 3 {
                write!(text, "{cell:<width$}  ").expect(WRITES);
            } else {
                write!(text, "{cell:>width$}  ").expect(WRITES);
            }
        }
        writeln!(text, "{grade}").expect(WRITES);
    };
    line(&head, &head[7]);
    for (row, run) in rows.iter().zip(runs) {
        line(row, &coloured(&row[7], run, style));
    }
}

fn overview(run: &Outcome) -> [String; 8] {
    let none = || "-".to_owned();
    let kind = main_kind(run);
    let latency = kind.and_then(|kind| run.latencies.get(&kind));
    let cost = run.cpu_ns_per_message().map(|ns| units::digits(ns / 1_000.0));
    let memory = run.server_use.as_ref().map(|used| units::bytes(used.resident_peak_bytes as f64));
    [
        run.scenario.clone(),
        run.server.clone(),
        kind.map_or_else(none, |kind| kind_name(kind).to_owned()),
        latency.map_or_else(none, |latency| units::duration(latency.p50_ns as f64)),
        latency.map_or_else(none, |latency| units::duration(latency.p99_ns as f64)),
        cost.unwrap_or_else(none),
        memory.unwrap_or_else(none),
        verdict(run),
    ]
}

fn bold(text: &str, style: Style) -> String {
    match style {
        Style::Plain => text.to_owned(),
        Style::Coloured => format!("\x1b[1m{text}\x1b[0m"),
    }
}

/// A run's verdict in its grade's colour.
fn coloured(verdict: &str, run: &Outcome, style: Style) -> String {
    match &run.graded {
        Some(graded) if run.refused.is_empty() => paint(verdict, graded.grade, style),
        Some(_) | None => bold(verdict, style),
    }
}

fn paint(text: &str, grade: Grade, style: Style) -> String {
    let colour = match grade {
        Grade::APlus | Grade::A => 32,
        Grade::B => 36,
        Grade::C | Grade::D => 33,
        Grade::F => 31,
    };
    match style {
        Style::Plain => text.to_owned(),
        Style::Coloured => format!("\x1b[1;{colour}m{text}\x1b[0m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grade::{Thresholds, grade};
    use crate::samples;

    const RUN: &str = "
baseline against tickring (tickring 0.1.0)   A
  ws://127.0.0.1:9001/ws, 10.0 s from 2026-11-22 04:36:58 UTC
  connections 100 of 100 opened, 0 lost
  requests    10,000 sent (1,000/s), 10,000 replies
  publishes   500 (50.0/s)
  deliveries  50,000 of 50,000 (5,000/s)
              0 gaps, 0 duplicates, 0 out of order
  bytes       977 KiB sent, 8.58 MiB received
  errors      close 1013 x 2
  latency           count       p50       p90       p99     p99.9    p99.99       max
    connect           100   3.00 ms   4.50 ms   6.00 ms   12.0 ms   24.0 ms   30.0 ms
    request        10,000    200 us    300 us    400 us    800 us   1.60 ms   2.00 ms
    delivery       50,000   1.20 ms   1.80 ms   2.40 ms   4.80 ms   9.60 ms   12.0 ms
  server      0.0705 cores, 10.0 us a message, busiest thread 7.00 %
              38.3 MiB resident at most, 2.00 KiB more a connection
              1,234 context switches of its own, 5 forced
  generator   busy 12.5 %, late by 25.0 us at p99, stolen time 0 %
  grades
    A+  connect latency        6.00 ms at p99, within the 100 ms of A+
    A+  request latency        0.400 ms at p99, within the 1 ms of A+
    A+  connections lost       0 % of the connections were not opened or not kept, within the 0 % of A+
    A+  replies lost           0 % of the requests had no reply, within the 0 % of A+
    A+  deliveries lost        0 % of the deliveries are missing, within the 0 % of A+
    A+  deliveries disordered  0 % of the deliveries came twice or out of order, within the 0 % of A+
    A+  memory                 38.3 MiB of memory in all, within the 64 MiB of A+
    A   delivery latency       2.40 ms at p99, within the 4 ms of A; A+ needs 2 ms at most
    A   processor              10.0 us of processor time for a message, within the 10 us of A; A+ needs 5 us at most
    C   errors                 0.0189 % of the attempts ended in an error, within the 0.1 % of C; B needs 0.01 % at most
";

    const FOOT: &str = "
Example CPU @ 2.00GHz, 2 cores, 8.00 GiB, Linux 6.1.0-test
loadtest 0.1.0 (0123456789ab) run --scenario baseline
";

    fn graded() -> Outcome {
        let mut run = samples::outcome();
        run.counts.errors.insert("close 1013".to_owned(), 2);
        run.graded = grade(&run, &Thresholds::default());
        run
    }

    #[test]
    fn a_run_is_shown_with_all_that_was_measured_and_the_reasons_of_its_grade() {
        let expected = RUN.replacen("   A\n", "   C\n", 1) + FOOT;
        assert_eq!(text(&samples::outcomes(vec![graded()]), Style::Plain), expected);
    }

    #[test]
    fn several_runs_are_shown_line_by_line_as_well_and_a_refused_one_has_no_grade() {
        let mut refused = graded();
        refused.server = "bun".to_owned();
        refused.refused.push("the generator's core was busy for 99 % of the time".to_owned());
        refused.server_use = None;
        refused.notes.push("the server's core was not to be had".to_owned());
        let shown = text(&samples::outcomes(vec![graded(), refused]), Style::Plain);
        let overview = "
  scenario  server    of            p50      p99  us/message    memory  grade
  baseline  tickring  delivery  1.20 ms  2.40 ms        10.0  38.3 MiB  C
  baseline  bun       delivery  1.20 ms  2.40 ms           -         -  refused
";
        assert!(shown.ends_with(&format!("{overview}{FOOT}")), "{shown}");
        let run = shown.split("\nbaseline against bun").nth(1).expect("it is shown");
        assert!(run.contains("  refused: the generator's core was busy for 99 % of the time\n"), "{run}");
        assert!(run.contains("  note: the server's core was not to be had\n"), "{run}");
        assert!(!run.contains("grades\n"), "{run}");
    }

    #[test]
    fn colours_are_all_that_a_terminal_is_given_more() {
        let outcomes = samples::outcomes(vec![graded(), samples::outcome()]);
        let coloured = text(&outcomes, Style::Coloured);
        assert!(coloured.contains("   \x1b[1;33mC\x1b[0m\n"), "{coloured}");
        let mut plain = coloured;
        for escape in ["0", "1", "1;31", "1;32", "1;33", "1;36"] {
            plain = plain.replace(&format!("\x1b[{escape}m"), "");
        }
        assert_eq!(plain, text(&outcomes, Style::Plain));
    }
}
