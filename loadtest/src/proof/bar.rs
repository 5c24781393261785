//! The numbers that tickring is to reach, and where each is found in a record. PURE.
//! Invariants: a bar is met or missed by the median of what was measured; what was not measured is neither.

use crate::peers::case::Case;
use crate::peers::record::{Figure, LIMIT, OURS, Record, Spread, Unit};
use crate::proof::part::Part;
use crate::proof::record::{Measured, Proof};
use crate::report::{Comparison, Row};
use crate::scenarios::NO_LIMIT;

/// One number.
#[derive(Debug)]
pub(crate) struct Bar {
    /// What is measured, as the page and the explanations name it.
    pub(crate) name: &'static str,
    pub(crate) of: Of,
    pub(crate) bound: Bound,
}

/// Where a number is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    /// A metric of the server, in one of a part's comparisons.
    Ours { part: Part, at: usize, metric: &'static str },
    /// The server's over the limit's, pair by pair.
    Ratio { part: Part, at: usize, metric: &'static str },
    /// A figure of ours in a case beside peers.
    Case { case: &'static str, figure: Figure },
    /// Ours over a peer's, round by round.
    Peer { case: &'static str, peer: &'static str, figure: Figure },
    /// The rate at which a case's figures were taken.
    Held { case: &'static str },
    /// Pairs of a case and a peer which is better in CPU and at p99, of all cases that have both.
    BehindInBoth,
}

/// In the unit of the number: nanoseconds, bytes, percent, a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Told, not judged.
    Stated,
}

/// What was found of a bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) spread: Spread,
    pub(crate) unit: Unit,
    /// The limit arm or the peer of the same run: who, and how much.
    pub(crate) beside: Option<(String, Spread, Unit)>,
    /// What else is to be said.
    pub(crate) remark: Option<String>,
}

/// What becomes of a bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    Met(Found),
    Missed(Found),
    Stated(Found),
    /// This host does not allow it, or no run was valid: why.
    NotRun(String),
    /// It is no part of this record.
    NotMeasured,
}

const US: f64 = 1e3;
const MS: f64 = 1e6;

/// In the order of the page.
pub(crate) const ALL: &[Bar] = &[
    ours(
        "round trip of `public/test`, both ends spinning, p50",
        Part::Ping,
        0,
        "round trip p50",
        Bound::AtMost(15.0 * US),
    ),
    ratio(
        "CPU per `public/test`, 100 connections, saturated, over a bare ring's",
        Part::Echo,
        0,
        "CPU per message",
        1.15,
    ),
    ratio(
        "CPU per delivery to 1,000, saturated, over a plain `send()` loop's",
        Part::Fanout,
        0,
        "CPU per delivery",
        1.0,
    ),
    ratio("p99 to 1,000 at half of that loop's capacity, over its own", Part::Fanout, 1, "latency p99", 1.2),
    ratio("p99 to 1,000 at 80 % of that loop's capacity, over its own", Part::Fanout, 2, "latency p99", 1.2),
    ours("100 × 5,000/s: CPU per delivery", Part::Burst, 0, "CPU per delivery", Bound::AtMost(0.8 * US)),
    ours("100 × 5,000/s: p99", Part::Burst, 0, "latency p99", Bound::AtMost(4.0 * MS)),
    ours("100 × 5,000/s: lost", Part::Burst, 0, "lost", Bound::AtMost(0.0)),
    ours("100 × 5,000/s: p50, beside the same unpaced", Part::Burst, 0, "latency p50", Bound::Stated),
    ours(
        "ticks through one shard's cache, no subscriber",
        Part::Ingest,
        0,
        "ticks",
        Bound::AtLeast(500_000.0),
    ),
    ratio("a quote in SBE: bytes, over JSON's", Part::Sbe, 0, "notification", 1.0 / 3.0),
    Bar {
        name: "quotes in SBE to 100: CPU per delivery, over JSON's",
        of: Of::Ratio { part: Part::Sbe, at: 0, metric: "CPU per delivery" },
        bound: Bound::Stated,
    },
    ours("a quote in SBE: encoded", Part::SbeAlone, 0, "quote encoded", Bound::AtMost(25.0)),
    ours("a quote in SBE: decoded, every field", Part::SbeAlone, 0, "quote decoded", Bound::AtMost(15.0)),
    ratio(
        "an order in SBE to its answer, through hub, desk and paper venue, no socket: time, over JSON's",
        Part::SbeAlone,
        0,
        "order to its answer",
        0.5,
    ),
    ratio("ticks in SBE to 1, no socket: time, over JSON's", Part::SbeAlone, 0, "64 ticks to 1", 0.5),
    ratio("ticks in SBE to 10, no socket: time, over JSON's", Part::SbeAlone, 0, "64 ticks to 10", 0.5),
    ratio("ticks in SBE to 100, no socket: time, over JSON's", Part::SbeAlone, 0, "64 ticks to 100", 0.5),
    ours(
        "order round trips on one core, paper venue",
        Part::Orders,
        0,
        "round trips",
        Bound::AtLeast(60_000.0),
    ),
    ours("order round trip at half of that, p99", Part::Orders, 1, "latency p99", Bound::AtMost(MS)),
    ours(
        "the same beside 1,000 who are told of 20 trades/s, p99",
        Part::Orders,
        3,
        "latency p99",
        Bound::Stated,
    ),
    Bar {
        name: "orders in SBE, 16 at a time on each connection: a second on one core, over JSON's",
        of: Of::Ratio { part: Part::SbeOrders, at: 1, metric: "orders" },
        bound: Bound::AtLeast(1.3),
    },
    Bar {
        name: "the same with one at a time, a send and a receive each",
        of: Of::Ratio { part: Part::SbeOrders, at: 0, metric: "orders" },
        bound: Bound::Stated,
    },
    ours("18,000 connections on one ring: accepted", Part::Held18k, 0, "accepted", Bound::AtLeast(100.0)),
    ours(
        "18,000 connections: resident memory each",
        Part::Held18k,
        0,
        "resident each",
        Bound::AtMost(2_048.0),
    ),
    ours(
        "18,000 connections: CPU of a core while they are idle",
        Part::Held18k,
        0,
        "idle CPU",
        Bound::AtMost(1.0),
    ),
    ours("38,000 connections on two rings: accepted", Part::Held38k, 0, "accepted", Bound::AtLeast(100.0)),
    ours(
        "38,000 connections: resident memory each",
        Part::Held38k,
        0,
        "resident each",
        Bound::AtMost(2_048.0),
    ),
    ours(
        "38,000 connections: CPU of a core while they are idle",
        Part::Held38k,
        0,
        "idle CPU",
        Bound::AtMost(1.0),
    ),
    ours("50,000 connections: accepted", Part::Held50k, 0, "accepted", Bound::AtLeast(100.0)),
    ours(
        "18,000 active, 60,000 messages/s in all: connections held",
        Part::Active18k,
        0,
        "connections held",
        Bound::AtLeast(100.0),
    ),
    ours("18,000 active: answered", Part::Active18k, 0, "answered", Bound::AtLeast(100.0)),
    ours("18,000 active: p99", Part::Active18k, 0, "latency p99", Bound::Stated),
    ours(
        "38,000 active, 60,000 messages/s in all: connections held",
        Part::Active38k,
        0,
        "connections held",
        Bound::AtLeast(100.0),
    ),
    ours("38,000 active: answered", Part::Active38k, 0, "answered", Bound::AtLeast(100.0)),
    ours("38,000 active: p99", Part::Active38k, 0, "latency p99", Bound::Stated),
    ratio(
        "CPU per delivery with two shards over one's, 1,000 × 80/s",
        Part::Shards,
        0,
        "CPU per delivery",
        1.15,
    ),
    ratio(
        "CPU per delivery with two shards over one's, 100 × 2,000/s",
        Part::Shards,
        1,
        "CPU per delivery",
        1.15,
    ),
    ours(
        "start to the address line, which follows READY=1",
        Part::Start,
        0,
        "start to address line",
        Bound::AtMost(100.0 * MS),
    ),
    ours("drain of 10,000 connections", Part::Drain, 0, "drain", Bound::AtMost(2_000.0 * MS)),
    ours("drain: closed with 1001", Part::Drain, 0, "closed with 1001", Bound::AtLeast(100.0)),
    Bar {
        name: "requests a second on one core, 10,000 connections",
        of: Of::Held { case: "requests-60k" },
        bound: Bound::AtLeast(60_000.0),
    },
    case("10,000 connections at half load: p50", "requests-30k", Figure::P50, Bound::AtMost(2.3 * MS)),
    case("10,000 connections at half load: p99.9", "requests-30k", Figure::P999, Bound::AtMost(20.0 * MS)),
    case("5,000 connections at once: opened", "connect", Figure::Opened, Bound::AtLeast(100.0)),
    case("5,000 connections at once: p99", "connect", Figure::P99, Bound::AtMost(250.0 * MS)),
    peer("100 × 5,000/s: CPU per delivery over Bun's", "fanout-burst", Figure::CpuEach, 0.6),
    peer("100 × 5,000/s: p99 over Bun's", "fanout-burst", Figure::P99, 1.0),
    peer("1,000 × 200/s: CPU per delivery over Bun's", "fanout-wide", Figure::CpuEach, 1.0),
    peer("1,000 × 200/s: p99 over Bun's", "fanout-wide", Figure::P99, 1.0),
    Bar {
        name: "peers that are better in CPU and at p99 both, over all cases",
        of: Of::BehindInBoth,
        bound: Bound::AtMost(0.0),
    },
];

const fn ours(name: &'static str, part: Part, at: usize, metric: &'static str, bound: Bound) -> Bar {
    Bar { name, of: Of::Ours { part, at, metric }, bound }
}

const fn ratio(name: &'static str, part: Part, at: usize, metric: &'static str, most: f64) -> Bar {
    Bar { name, of: Of::Ratio { part, at, metric }, bound: Bound::AtMost(most) }
}

const fn case(name: &'static str, case: &'static str, figure: Figure, bound: Bound) -> Bar {
    Bar { name, of: Of::Case { case, figure }, bound }
}

const fn peer(name: &'static str, case: &'static str, figure: Figure, most: f64) -> Bar {
    Bar { name, of: Of::Peer { case, peer: "bun", figure }, bound: Bound::AtMost(most) }
}

impl Bound {
    /// `None` where nothing is judged.
    pub(crate) fn holds(self, value: f64) -> Option<bool> {
        match self {
            Bound::AtMost(most) => Some(value <= most),
            Bound::AtLeast(least) => Some(least <= value),
            Bound::Stated => None,
        }
    }
}

impl Bar {
    pub(crate) fn standing(&self, proof: &Proof) -> Standing {
        match self.find(proof) {
            Ok(found) => match self.bound.holds(found.spread.median) {
                Some(true) => Standing::Met(found),
                Some(false) => Standing::Missed(found),
                None => Standing::Stated(found),
            },
            Err(why) => why.map_or(Standing::NotMeasured, Standing::NotRun),
        }
    }

    /// The error is why there is no number, or nothing where it was not asked for.
    fn find(&self, proof: &Proof) -> Result<Found, Option<String>> {
        match self.of {
            Of::Ours { part, at, metric } => ours_of(proof.part(part).ok_or(None)?, at, metric),
            Of::Ratio { part, at, metric } => ratio_of(proof.part(part).ok_or(None)?, at, metric),
            Of::Case { case, figure } => {
                let (record, case) = case_of(proof, case)?;
                figure_of(record, case, figure)
            }
            Of::Peer { case, peer, figure } => {
                let (record, case) = case_of(proof, case)?;
                beside_peer(record, case, peer, figure)
            }
            Of::Held { case } => {
                let (record, case) = case_of(proof, case)?;
                held_of(record, case)
            }
            Of::BehindInBoth => behind_in_both(proof),
        }
    }
}

fn comparison_of(measured: &Measured, at: usize) -> Result<&Comparison, Option<String>> {
    if let Some(reason) = &measured.not_run {
        return Err(Some(reason.clone()));
    }
    let comparison = measured.comparisons.get(at);
    let comparison = comparison.ok_or_else(|| Some("what it rests on gave no number".to_owned()))?;
    if comparison.pairs.is_empty() {
        return Err(Some(format!("no number: {}", comparison.refused.join("; "))));
    }
    Ok(comparison)
}

fn row_of(comparison: &Comparison, metric: &str) -> Result<Row, Option<String>> {
    let row = comparison.rows().into_iter().find(|row| row.name == metric);
    row.ok_or_else(|| Some(format!("no metric {metric}")))
}

fn ours_of(measured: &Measured, at: usize, metric: &str) -> Result<Found, Option<String>> {
    let comparison = comparison_of(measured, at)?;
    let row = row_of(comparison, metric)?;
    let (factor, unit) = unit_of(&row.unit);
    let spread = |values: &[f64]| Spread::of(&values.iter().map(|value| factor * value).collect::<Vec<_>>());
    let found = spread(&row.subject).ok_or(None)?;
    let beside = spread(&row.limit).filter(|_| comparison.limit != NO_LIMIT);
    Ok(Found {
        spread: found,
        unit,
        beside: beside.map(|spread| (comparison.limit.clone(), spread, unit)),
        remark: refusals(comparison),
    })
}

fn ratio_of(measured: &Measured, at: usize, metric: &str) -> Result<Found, Option<String>> {
    let absolute = ours_of(measured, at, metric)?;
    let row = row_of(comparison_of(measured, at)?, metric)?;
    let spread = Spread::of(&row.ratios()).ok_or_else(|| Some("the limit gave no number".to_owned()))?;
    Ok(Found { spread, unit: Unit::Ratio, ..absolute })
}

fn refusals(comparison: &Comparison) -> Option<String> {
    let count = comparison.refused.len();
    (0 < count).then(|| format!("{count} refused"))
}

/// What a metric's unit is multiplied by, and what it is then.
fn unit_of(unit: &str) -> (f64, Unit) {
    match unit {
        "ns" => (1.0, Unit::Nanoseconds),
        "us" => (US, Unit::Nanoseconds),
        "1/s" => (1.0, Unit::PerSecond),
        "%" | "% of a core" => (1.0, Unit::Percent),
        "bytes" => (1.0, Unit::Bytes),
        "KiB" => (1_024.0, Unit::Bytes),
        "core" => (1.0, Unit::Cores),
        "share" => (100.0, Unit::Percent),
        _ => (1.0, Unit::Count),
    }
}

fn case_of<'a>(proof: &'a Proof, name: &str) -> Result<(&'a Record, &'a Case), Option<String>> {
    let record = proof.case(name).ok_or(None)?;
    let case = record.cases.iter().find(|case| case.name == name).ok_or(None)?;
    Ok((record, case))
}

fn no_valid_run(record: &Record, case: &Case, server: &str) -> Option<String> {
    let reasons = record.reasons(case, server).join("; ");
    Some(if reasons.is_empty() { format!("{server} was not there") } else { format!("no number: {reasons}") })
}

/// Only where it held what the case asks for: figures at a lower rate are of other work.
fn figure_of(record: &Record, case: &Case, figure: Figure) -> Result<Found, Option<String>> {
    let (rate, _) = record.rate(case, OURS).ok_or_else(|| no_valid_run(record, case, OURS))?;
    if rate != case.work.rate_per_s() {
        return Err(Some("the rate was not held".to_owned()));
    }
    let spread = record.spread(case, OURS, figure).ok_or_else(|| no_valid_run(record, case, OURS))?;
    let limit = record.spread(case, LIMIT, figure).filter(|_| record.is_same_work(case, OURS, LIMIT));
    let unit = figure.unit();
    Ok(Found { spread, unit, beside: limit.map(|limit| (LIMIT.to_owned(), limit, unit)), remark: None })
}

fn beside_peer(record: &Record, case: &Case, peer: &str, figure: Figure) -> Result<Found, Option<String>> {
    let theirs = record.spread(case, peer, figure).ok_or_else(|| no_valid_run(record, case, peer))?;
    let ratio = record.ratio(case, peer, figure);
    let spread = ratio.ok_or_else(|| Some(format!("{peer} did not hold the same rate")))?;
    let beside = Some((peer.to_owned(), theirs, figure.unit()));
    Ok(Found { spread, unit: Unit::Ratio, beside, remark: None })
}

fn held_of(record: &Record, case: &Case) -> Result<Found, Option<String>> {
    let rate = |server| record.rate(case, server).and_then(|(rate, _)| rate);
    let (ours, is_held) = record.rate(case, OURS).ok_or_else(|| no_valid_run(record, case, OURS))?;
    let exactly = |rate| Spread::of(&[crate::scenarios::ratio(rate, 1)]);
    let runs = record.counted(case, OURS).len();
    let spread = ours.filter(|_| is_held).and_then(exactly);
    let spread = spread.ok_or_else(|| Some("no rate was held".to_owned()))?;
    let beside = rate(LIMIT).and_then(exactly).map(|limit| (LIMIT.to_owned(), limit, Unit::PerSecond));
    Ok(Found { spread: Spread { runs, ..spread }, unit: Unit::PerSecond, beside, remark: None })
}

fn behind_in_both(proof: &Proof) -> Result<Found, Option<String>> {
    let mut behind: Vec<String> = Vec::new();
    let mut compared = 0;
    for record in &proof.peers {
        for case in &record.cases {
            for told in record.contenders.iter().filter(|told| ![OURS, LIMIT].contains(&told.name.as_str())) {
                let ratio = |figure| record.ratio(case, &told.name, figure);
                let Some((cpu, p99)) = ratio(Figure::CpuEach).zip(ratio(Figure::P99)) else { continue };
                compared += 1;
                if 1.0 < cpu.median && 1.0 < p99.median {
                    behind.push(format!("{} at {}", told.name, case.name));
                }
            }
        }
    }
    if compared == 0 {
        return Err(None);
    }
    let spread = Spread::of(&[crate::scenarios::ratio(behind.len() as u64, 1)]).ok_or(None)?;
    let of = format!("of {compared} comparisons");
    let remark = if behind.is_empty() { of } else { format!("{of}: {}", behind.join(", ")) };
    Ok(Found { spread, unit: Unit::Count, beside: None, remark: Some(remark) })
}
