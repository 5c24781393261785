//! `docs/benchmarks.md` from a record: tables, plots, and where we lose. PURE.
//! Invariants: every number and every verdict is computed from the record; nothing is said of what was not measured.

use std::fmt::Write as _;

use crate::peers::case::{Case, Work};
use crate::peers::record::{Figure, LIMIT, OURS, Record, Spread, Unit};

/// Characters of the longest bar of a plot.
const BAR_CHARACTERS: f64 = 50.0;

/// The whole page.
pub(crate) fn render(record: &Record) -> String {
    let sections = [
        head(record),
        sizing(record),
        losses(record),
        beside(record),
        cases(record),
        method(record),
        machine(record),
        servers(record),
    ];
    sections.concat()
}

fn head(record: &Record) -> String {
    let commit = record.tool.commit.as_deref().unwrap_or("unknown");
    format!(
        "# Benchmarks\n\n\
         <!-- Written by `loadtest peers --markdown`; changes are lost. -->\n\n\
         Measured on {} at commit `{commit}`: {} servers, {} kinds of work, {} {} of {}, in turns, within {} minutes. Every number \
         on this page is of that one measurement; medians, and in parentheses the least and the most. Numbers of different \
         measurements are not to be compared: the machine itself wanders.\n\n\
         ```sh\n{}\n```\n\n",
        date(record.began_unix_s),
        record.contenders.len(),
        record.cases.len(),
        record.rounds,
        if record.rounds == 1 { "run" } else { "runs" },
        milliseconds(record.measured_ms),
        record.took_s.div_ceil(60),
        command(&record.tool.arguments),
    )
}

/// What tickring held on its one core.
fn sizing(record: &Record) -> String {
    let rows = record.cases.iter().filter_map(|case| {
        let (rate, is_held) = record.rate(case, OURS)?;
        let cell = |figure| shown(record.spread(case, OURS, figure), figure.unit());
        let asked = match (case.work, rate) {
            (Work::Fanout { .. }, Some(rate)) => {
                format!("{} deliveries/s", grouped(rate * case.connections as u64))
            }
            (Work::EchoOpen { .. }, Some(rate)) => format!("{} requests/s", grouped(rate)),
            (Work::EchoClosed, _) => format!("{} requests/s", cell(Figure::Rate)),
            (Work::Connect, _) => "opened at once".to_owned(),
            (Work::Idle, _) => "idle".to_owned(),
            (Work::Fanout { .. } | Work::EchoOpen { .. }, None) => return None,
        };
        let asked = if is_held { asked } else { format!("{asked}: not held") };
        let latency = if case.work == Work::Idle { "–".to_owned() } else { cell(Figure::P99) };
        let cells = [cell(Figure::Cores), cell(Figure::ResidentPeak), latency];
        Some(row(&[&[grouped(case.connections as u64), asked], &cells[..]].concat()))
    });
    let rows: String = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "## Sizing\n\nWhat one shard on one core held, and with how much. A row is a measured point, not a bound.\n\n{}{rows}\n",
        table_head(&["connections", "work", "cores used", "resident, peak", "p99"])
    )
}

/// Every figure in which a peer was better at the same work.
fn losses(record: &Record) -> String {
    let mut rows = String::new();
    for (case, other) in pairs(record) {
        if let (Some((ours, _)), Some((theirs, _))) = (record.rate(case, OURS), record.rate(case, other))
            && ours < theirs
        {
            let rate =
                |rate: Option<u64>| rate.map_or("none".to_owned(), |rate| format!("{}/s", grouped(rate)));
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
fn beside(record: &Record) -> String {
    let mut rows = String::new();
    for (case, other) in pairs(record) {
        let figure = |figure| record.ratio(case, other, figure).map(|spread| ratios(&spread));
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
    let shown = rate.map(|rate| format!("{}/s", grouped(rate))).unwrap_or_default();
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
                    format!(" at {}/s", rate.map(grouped).unwrap_or_default())
                }
                Some(_) | None => String::new(),
            };
            format!("{name:<width$}  {bar} {}{rate}\n", value(spread.median, figure.unit()))
        })
        .collect();
    format!("{}:\n\n```text\n{lines}```\n\n", capital(&figure.name(case.work)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small constant")]
fn bar_characters(share: f64) -> usize {
    (BAR_CHARACTERS * share).round().max(1.0) as usize
}

fn method(record: &Record) -> String {
    let cores: Vec<String> = record.cpus_server.iter().map(ToString::to_string).collect();
    format!(
        "## Method\n\n\
         - Every server runs alone, afresh for each run, on core {} with all its threads; the load runs on core {}. The servers take \
         turns within each round (A B C … A B C …), so that what the machine does meanwhile meets them all.\n\
         - Warm-up {}, then {} are measured. A server's CPU is that of all its threads in the measured time, over what it did in it.\n\
         - Open loop: requests and publishes leave at fixed times whatever the server does, and a latency counts from the intended \
         time, so that waiting is not omitted. HDR histograms of three digits.\n\
         - A rate counts as held if of what was due in the measured time no more than 2 %, or the last 50 ms', came after it. One \
         that is not is halved for that server until it is; a server at another rate is in no comparison.\n\
         - A run is refused if the generator was late by more than a millisecond at its 99th percentile (or as it was told), if a \
         server was not at saturation where that is measured, or if over 5 % of the host's time was stolen.\n\
         - Each server speaks the simplest protocol of its own kind: the dialect files have the very bytes. tickring's requests and \
         notifications are JSON-RPC with time stamps and sequence numbers; those of the others bear nothing but the data.\n\
         - `limit` is no server: the raw loops of this program, which answer with canned bytes (io_uring for requests, a plain \
         `send()` for each delivery). It shows what the kernel's TCP takes of it all.\n\n",
        cores.join(", "),
        record.cpu_client,
        milliseconds(record.warmup_ms),
        milliseconds(record.measured_ms),
    )
}

fn machine(record: &Record) -> String {
    let host = &record.host;
    let rows = [
        row(&["CPU".to_owned(), host.cpu.clone()]),
        row(&["cores".to_owned(), host.cores.to_string()]),
        row(&["memory".to_owned(), value(bytes_of(host.memory_bytes), Unit::Bytes)]),
        row(&["kernel".to_owned(), host.kernel.clone()]),
    ];
    format!("## Machine\n\n{}{}\n", table_head(&["what", "is"]), rows.concat())
}

fn servers(record: &Record) -> String {
    let told = record.contenders.iter().map(|told| {
        let version = told.version.clone().unwrap_or_else(|| "unknown".to_owned());
        row(&[told.name.clone(), version, told.about.clone()])
    });
    let absent = record
        .absent
        .iter()
        .map(|absent| row(&[absent.name.clone(), "not measured".to_owned(), absent.reason.clone()]));
    let rows: String = told.chain(absent).collect();
    format!("## Servers\n\n{}{rows}", table_head(&["server", "version", "what"]))
}

/// Every case with every server that a user might have instead.
fn pairs(record: &Record) -> impl Iterator<Item = (&Case, &str)> {
    let others = || record.contenders.iter().map(|told| told.name.as_str());
    record.cases.iter().flat_map(move |case| {
        others().filter(|name| ![OURS, LIMIT].contains(name)).map(move |name| (case, name))
    })
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

fn table_head(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    format!("{}|{}\n", row(&names), " --- |".repeat(names.len()))
}

fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn shown(spread: Option<Spread>, unit: Unit) -> String {
    match spread {
        None => "–".to_owned(),
        Some(spread) if spread.least == spread.most => value(spread.median, unit),
        Some(spread) => format!(
            "{} ({}..{})",
            value(spread.median, unit),
            value(spread.least, unit),
            value(spread.most, unit)
        ),
    }
}

fn ratios(spread: &Spread) -> String {
    if spread.runs == 1 {
        return format!("{:.2}", spread.median);
    }
    format!("{:.2} ({:.2}..{:.2})", spread.median, spread.least, spread.most)
}

fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond | Unit::Count => grouped(rounded(value)),
        Unit::Nanoseconds if value < 10_000.0 => format!("{:.2} µs", value / 1e3),
        Unit::Nanoseconds if value < 1e6 => format!("{:.0} µs", value / 1e3),
        Unit::Nanoseconds if value < 1e7 => format!("{:.2} ms", value / 1e6),
        Unit::Nanoseconds if value < 1e9 => format!("{:.0} ms", value / 1e6),
        Unit::Nanoseconds => format!("{:.1} s", value / 1e9),
        Unit::Percent => format!("{value:.1} %"),
        Unit::Cores => format!("{value:.2}"),
        Unit::Bytes if value < 10_240.0 => format!("{value:.0} B"),
        Unit::Bytes if value < 10.0 * 1_048_576.0 => format!("{:.0} KiB", value / 1_024.0),
        Unit::Bytes if value < 10_240.0 * 1_048_576.0 => format!("{:.0} MiB", value / 1_048_576.0),
        Unit::Bytes => format!("{:.1} GiB", value / 1_073_741_824.0),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are positive and below 2^53"
)]
fn rounded(value: f64) -> u64 {
    value.round().max(0.0) as u64
}

#[expect(clippy::cast_precision_loss, reason = "a machine's memory is far below 2^53 bytes")]
fn bytes_of(bytes: u64) -> f64 {
    bytes as f64
}

fn milliseconds(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{ms} ms") }
}

/// A whole number with its thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// The command line, without the folders of the machine that it ran on.
fn command(arguments: &[String]) -> String {
    let short = |argument: &String| match argument.rsplit_once('/') {
        Some((folder, name)) if folder.starts_with('/') => format!("…/{name}"),
        Some(_) | None => argument.clone(),
    };
    std::iter::once("loadtest".to_owned()).chain(arguments.iter().map(short)).collect::<Vec<_>>().join(" ")
}

/// The day of a time, in UTC.
fn date(unix_s: u64) -> String {
    let mut days = unix_s / 86_400;
    let mut year = 1970;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while 365 + u64::from(is_leap(year)) <= days {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
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
