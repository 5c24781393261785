//! What `docs/benchmarks.md` says of records: tables, plots, and where we lose. PURE.
//! Invariants: every number and every verdict is computed from the record; nothing is said of what was not measured.

use std::fmt::Write as _;

use crate::markdown::{row, shown, table_head, value};
use crate::peers::case::{Case, Work};
use crate::peers::record::{Figure, LIMIT, OURS, Record, Spread, Unit};
use crate::units::count;

/// Characters of the longest bar of a plot.
const BAR_CHARACTERS: f64 = 50.0;

/// What was measured: of one or several measurements, each with cases of its own.
pub(crate) fn results(records: &[Record]) -> String {
    [sizing(records), losses(records), beside(records), records.iter().map(cases).collect()].concat()
}

/// How it was measured, and of whom.
pub(crate) fn method(records: &[Record]) -> String {
    let Some(first) = records.first() else { return String::new() };
    [ways(first), servers(records)].concat()
}

/// What tickring held on its one core.
fn sizing(records: &[Record]) -> String {
    let rows: String = records.iter().flat_map(sizes).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "## Sizing\n\nWhat one shard on one core held, and with how much. A row is a measured point, not a bound.\n\n{}{rows}\n",
        table_head(&["connections", "work", "cores used", "resident, peak", "p99"])
    )
}

fn sizes(record: &Record) -> impl Iterator<Item = String> {
    record.cases.iter().filter_map(|case| {
        let (rate, is_held) = record.rate(case, OURS)?;
        let cell = |figure| shown(record.spread(case, OURS, figure), figure.unit());
        let asked = match (case.work, rate) {
            (Work::Fanout { .. }, Some(rate)) => {
                format!("{} deliveries/s", count(rate * case.connections as u64))
            }
            (Work::EchoOpen { .. }, Some(rate)) => format!("{} requests/s", count(rate)),
            (Work::EchoClosed, _) => format!("{} requests/s", cell(Figure::Rate)),
            (Work::Connect, _) => "opened at once".to_owned(),
            (Work::Idle, _) => "idle".to_owned(),
            (Work::Fanout { .. } | Work::EchoOpen { .. }, None) => return None,
        };
        let asked = if is_held { asked } else { format!("{asked}: not held") };
        let latency = if case.work == Work::Idle { "–".to_owned() } else { cell(Figure::P99) };
        let cells = [cell(Figure::Cores), cell(Figure::ResidentPeak), latency];
        Some(row(&[&[count(case.connections as u64), asked], &cells[..]].concat()))
    })
}

/// Every figure in which a peer was better at the same work.
fn losses(records: &[Record]) -> String {
    let mut rows = String::new();
    for (record, case, other) in pairs(records) {
        if let (Some((ours, _)), Some((theirs, _))) = (record.rate(case, OURS), record.rate(case, other))
            && ours < theirs
        {
            let rate =
                |rate: Option<u64>| rate.map_or("none".to_owned(), |rate| format!("{}/s", count(rate)));
            rows += &row(&[
                case.name.clone(),
                "rate held".to_owned(),
                rate(ours),
                format!("{} {other}", rate(theirs)),
                "–".to_owned(),
                String::new(),
            ]);
        }
        for figure in judged(case.work) {
            rows += &loss(record, case, other, *figure).unwrap_or_default();
        }
    }
    let text = "## Where we lose\n\nEvery figure in which a server of a registry was better than tickring at the same work, by the \
                medians. *Within the spread* says that the runs of the two overlap, so that it may as well be chance.\n\n";
    if rows.is_empty() {
        return format!("{text}Nowhere in this measurement.\n\n");
    }
    format!("{text}{}{rows}\n", table_head(&["case", "figure", "tickring", "better", "ratio", ""]))
}

fn loss(record: &Record, case: &Case, other: &str, figure: Figure) -> Option<String> {
    if !record.is_same_work(case, OURS, other) {
        return None;
    }
    let ours = record.spread(case, OURS, figure)?;
    let theirs = record.spread(case, other, figure)?;
    let is_lost =
        if figure.is_more_better() { ours.median < theirs.median } else { theirs.median < ours.median };
    if !is_lost {
        return None;
    }
    let remark = if ours.overlaps(&theirs) { "within the spread" } else { "" };
    Some(row(&[
        case.name.clone(),
        figure.name(case.work),
        shown(Some(ours), figure.unit()),
        format!("{other}: {}", shown(Some(theirs), figure.unit())),
        if theirs.median == 0.0 { "–".to_owned() } else { format!("{:.2}", ours.median / theirs.median) },
        remark.to_owned(),
    ]))
}

/// Ours over each peer's, round by round.
fn beside(records: &[Record]) -> String {
    let mut rows = String::new();
    for (record, case, other) in pairs(records) {
        let figure =
            |figure| record.ratio(case, other, figure).map(|spread| shown(Some(spread), Unit::Ratio));
        let of = match case.work {
            Work::Idle => [figure(Figure::ResidentEach), None, None],
            Work::EchoClosed | Work::EchoOpen { .. } | Work::Fanout { .. } | Work::Connect => {
                [figure(Figure::CpuEach), figure(Figure::P50), figure(Figure::P99)]
            }
        };
        if of[0].is_some() {
            let [first, p50, p99] = of.map(|cell| cell.unwrap_or_else(|| "–".to_owned()));
            rows += &row(&[case.name.clone(), other.to_owned(), first, p50, p99]);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "## Beside each peer\n\ntickring's figure over the peer's, within each round: below 1 is better. Only servers that did the \
         same work are compared; for `idle` the first column is memory per connection.\n\n{}{rows}\n",
        table_head(&["case", "peer", "CPU each", "p50", "p99"])
    )
}

fn cases(record: &Record) -> String {
    record.cases.iter().map(|case| one_case(record, case)).collect()
}

fn one_case(record: &Record, case: &Case) -> String {
    let figures = Figure::of(case.work);
    let has_rate = case.work.rate_per_s().is_some();
    let mut names = vec!["server".to_owned()];
    names.extend(has_rate.then(|| "rate".to_owned()));
    names.extend(figures.iter().map(|figure| figure.name(case.work)));
    let mut text = format!("## {}\n\n{}.{}\n\n", case.name, case.about, shape(case));
    text += &table_head(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut notes = String::new();
    for told in &record.contenders {
        let server = told.name.as_str();
        if record.rate(case, server).is_some() {
            let mut cells = vec![server.to_owned()];
            cells.extend(has_rate.then(|| held(record, case, server)));
            let figure = |figure: &Figure| shown(record.spread(case, server, *figure), figure.unit());
            cells.extend(figures.iter().map(figure));
            text += &row(&cells);
        } else {
            let mut cells = vec![server.to_owned(), "no number, see below".to_owned()];
            cells.resize(names.len(), String::new());
            text += &row(&cells);
        }
        for reason in record.reasons(case, server) {
            writeln!(notes, "- {server}: {}", reason.trim())
                .expect("invariant: writing to a String cannot fail");
        }
    }
    text.push('\n');
    if !notes.is_empty() {
        text += &format!("Runs that do not count, and connections that were not opened:\n\n{notes}\n");
    }
    let first = if case.work == Work::Idle { Figure::ResidentEach } else { Figure::CpuEach };
    text + &plot(record, case, first) + &plot(record, case, Figure::P99)
}

/// The rate, and what became of the case's own.
fn held(record: &Record, case: &Case, server: &str) -> String {
    let Some((rate, is_held)) = record.rate(case, server) else { return String::new() };
    let shown = rate.map(|rate| format!("{}/s", count(rate))).unwrap_or_default();
    match (is_held, rate == case.work.rate_per_s()) {
        (true, true) => shown,
        (true, false) if record.is_refused_above(case, server) => format!("{shown}; more was refused"),
        (true, false) => format!("{shown}; more was not held"),
        (false, _) => format!("{shown} not held"),
    }
}

/// What is not said by the case's own words.
fn shape(case: &Case) -> String {
    match case.work {
        Work::Fanout { data_bytes, .. } => format!(" {data_bytes} bytes of data each"),
        Work::EchoClosed => " Closed loop: a latency is from the request's departure to its reply".to_owned(),
        Work::Connect => " From the begin of each connect to the last answer before the load. Where the load was busy all the time, the server \
                           was quicker than that".to_owned(),
        Work::Idle => " Memory per connection is the growth of the resident memory, which the kernel's sockets are no part of".to_owned(),
        Work::EchoOpen { .. } => String::new(),
    }
}

/// One bar a server.
fn plot(record: &Record, case: &Case, figure: Figure) -> String {
    if !Figure::of(case.work).contains(&figure) {
        return String::new();
    }
    let bars: Vec<(&str, Spread)> = record
        .contenders
        .iter()
        .filter_map(|told| Some((told.name.as_str(), record.spread(case, &told.name, figure)?)))
        .collect();
    let most = bars.iter().map(|(_, spread)| spread.median).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let width = bars.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines: String = bars
        .iter()
        .map(|(name, spread)| {
            let bar: String = std::iter::repeat_n('█', bar_characters(spread.median / most)).collect();
            let rate = match record.rate(case, name) {
                Some((rate, _)) if rate != case.work.rate_per_s() => {
                    format!(" at {}/s", rate.map(count).unwrap_or_default())
                }
                Some(_) | None => String::new(),
            };
            format!("{name:<width$}  {bar} {}{rate}\n", value(spread.median, figure.unit()))
        })
        .collect();
    format!("{}:\n\n```text\n{lines}```\n\n", capital(&figure.name(case.work)))
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small constant")]
fn bar_characters(share: f64) -> usize {
    (BAR_CHARACTERS * share).round().max(1.0) as usize
}

fn ways(record: &Record) -> String {
    let cores: Vec<String> = record.cpus_server.iter().map(ToString::to_string).collect();
    format!(
        "## Beside peers: method\n\n\
         - Every server runs alone, afresh for each run, on core {} with all its threads; the load runs on core {}. The servers take \
         turns within each round (A B C … A B C …), so that what the machine does meanwhile meets them all.\n\
         - A server's CPU is that of all its threads in the measured time, over what it did in it.\n\
         - Open loop: requests and publishes leave at fixed times whatever the server does, and a latency counts from the intended \
         time, so that waiting is not omitted. HDR histograms of three digits.\n\
         - A rate counts as held if of what was due in the measured time no more than 2 %, or the last 50 ms', came after it. One \
         that is not is halved for that server until it is; a server at another rate is in no comparison.\n\
         - A run is refused if the generator was late by more than a millisecond at its 99th percentile (or by more than its row above says), if a \
         server was not at saturation where that is measured, or if over 5 % of the host's time was stolen.\n\
         - Each server speaks the simplest protocol of its own kind: the dialect files have the very bytes. tickring's requests and \
         notifications are JSON-RPC with time stamps and sequence numbers; those of the others bear nothing but the data.\n\
         - `limit` is no server: the raw loops of this program, which answer with canned bytes (io_uring for requests, a plain \
         `send()` for each delivery). It shows what the kernel's TCP takes of it all.\n\n",
        cores.join(", "),
        record.cpu_client,
    )
}

fn servers(records: &[Record]) -> String {
    let told = records.iter().flat_map(|record| &record.contenders).map(|told| {
        let version = told.version.clone().unwrap_or_else(|| "unknown".to_owned());
        row(&[told.name.clone(), version, told.about.clone()])
    });
    let absent = records.iter().flat_map(|record| &record.absent);
    let absent =
        absent.map(|absent| row(&[absent.name.clone(), "not measured".to_owned(), absent.reason.clone()]));
    let mut rows: Vec<String> = Vec::new();
    for row in told.chain(absent) {
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    format!("## Servers\n\n{}{}", table_head(&["server", "version", "what"]), rows.concat())
}

/// Every case with every server that a user might have instead.
fn pairs(records: &[Record]) -> impl Iterator<Item = (&Record, &Case, &str)> {
    records.iter().flat_map(move |record| record.cases.iter().map(move |case| (record, case))).flat_map(
        |(record, case)| {
            let names = record.contenders.iter().map(|told| told.name.as_str());
            names.filter(|name| ![OURS, LIMIT].contains(name)).map(move |name| (record, case, name))
        },
    )
}

/// What counts when servers are compared; memory only where it is what the case is about.
fn judged(work: Work) -> &'static [Figure] {
    match work {
        Work::EchoClosed => &[Figure::Rate, Figure::CpuEach, Figure::P50, Figure::P99, Figure::P999],
        Work::EchoOpen { .. } | Work::Fanout { .. } => {
            &[Figure::CpuEach, Figure::P50, Figure::P99, Figure::P999, Figure::Lost, Figure::ResidentPeak]
        }
        Work::Connect => &[Figure::Opened, Figure::P50, Figure::P99, Figure::P999, Figure::CpuEach],
        Work::Idle => &[Figure::Opened, Figure::ResidentEach, Figure::Cores],
    }
}

/// A run's figures in one line of text.
pub(crate) fn short_line(case: &Case, outcome: &crate::outcome::Outcome, is_held: bool) -> String {
    let mut line = String::new();
    for figure in Figure::of(case.work).iter().filter(|figure| is_held || **figure != Figure::Lost) {
        if let Some(measured) = figure.value(case.work, outcome) {
            write!(line, "  {} {}", figure.name(case.work), value(measured, figure.unit()))
                .expect("invariant: writing to a String cannot fail");
        }
    }
    line
}

#[cfg(test)]
mod tests;
