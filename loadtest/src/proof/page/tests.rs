//! What the page and the verdicts say of records made up here.

use super::*;
use crate::outcome::{Host, Tool};
use crate::proof::part::Part;
use crate::proof::record::Proof;
use crate::report::Sample;
use crate::samples;

const PING: &str = "round trip of `public/test`, both ends spinning, p50";
const ECHO: &str = "CPU per `public/test`, 100 connections, saturated, over a bare ring's";
const HELD: &str = "50,000 connections: accepted";

fn sample(name: &'static str, unit: &'static str, value: f64) -> Sample {
    let mut sample = Sample::default();
    sample.add(name, unit, value);
    sample
}

fn comparison(limit: &str, pairs: Vec<(Sample, Sample)>) -> Comparison {
    Comparison {
        case: "a case".to_owned(),
        limit: limit.to_owned(),
        subject: "server".to_owned(),
        pairs,
        refused: Vec::new(),
    }
}

fn measured(part: Part, comparisons: Vec<Comparison>) -> Measured {
    Measured {
        part,
        host: Host {
            kernel: "6.18".to_owned(),
            cpu: "Some CPU".to_owned(),
            cores: 2,
            memory_bytes: 24 << 30,
        },
        tool: Tool { version: "0.1.0".to_owned(), commit: None, arguments: vec!["proof".to_owned()] },
        server: Some("0.1.0 (commit 0123456789ab, features: runtime)".to_owned()),
        began_unix_s: 1_795_322_218,
        took_s: 61,
        pairs: 2,
        warmup_ms: 500,
        measured_ms: 3_000,
        comparisons,
        not_run: None,
    }
}

/// Ping of two pairs, the limit's p50 always 10 us.
fn ping(ours_us: [f64; 2]) -> Measured {
    let pair = |ours| (sample("round trip p50", "us", 10.0), sample("round trip p50", "us", ours));
    measured(Part::Ping, vec![comparison("limit", ours_us.map(pair).to_vec())])
}

fn page(parts: Vec<Measured>, shortfalls: &str) -> String {
    let mut proof = Proof::default();
    for part in parts {
        proof.take(part);
    }
    render(&proof, &Shortfalls::parse(shortfalls).unwrap())
}

/// The row of a bar.
fn bar_line(page: &str, name: &str) -> String {
    let line = page.lines().find(|line| line.starts_with(&format!("| {name} |")));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).to_owned()
}

#[test]
fn a_bar_is_met_by_the_median_and_a_spread_that_crosses_it_is_said() {
    let met = bar_line(&page(vec![ping([11.0, 12.0])], ""), PING);
    let cells = "| ≤ 15.0 us | 11.5 us (11.0 us..12.0 us) | limit: 10.0 us | 2 | met |";
    assert!(met.ends_with(cells), "{met}");
    let close = bar_line(&page(vec![ping([11.0, 17.0])], ""), PING);
    assert!(close.ends_with("| met, within the spread |"), "{close}");
    let missed = bar_line(&page(vec![ping([16.0, 17.0])], ""), PING);
    assert!(missed.ends_with("| **not met** |"), "{missed}");
}

#[test]
fn an_explanation_is_shown_only_where_its_bar_is_missed() {
    let shortfalls = format!("{PING:?} = \"the wire is long.\"");
    let missed = page(vec![ping([16.0, 17.0])], &shortfalls);
    assert!(missed.contains(&format!("- *{PING}*: the wire is long.\n")), "{missed}");
    assert!(!page(vec![ping([11.0, 12.0])], &shortfalls).contains("the wire is long"));
    assert!(page(vec![ping([16.0, 17.0])], "").contains(&format!("- *{PING}*: not explained.\n")));
}

#[test]
fn a_ratio_is_that_of_pairs_and_the_limit_stands_beside_it() {
    let pair = |limit, ours| (sample("CPU per message", "us", limit), sample("CPU per message", "us", ours));
    let echo = comparison("limit", vec![pair(5.0, 5.0), pair(4.0, 5.0)]);
    let line = bar_line(&page(vec![measured(Part::Echo, vec![echo])], ""), ECHO);
    let cells =
        "| ≤ 1.15 | 1.12 (1.00..1.25) | limit: 4.50 us (4.00 us..5.00 us) | 2 | met, within the spread |";
    assert!(line.ends_with(cells), "{line}");
}

#[test]
fn what_was_not_measured_not_run_or_refused_has_no_number_and_says_why() {
    let refused =
        Comparison { refused: vec!["pair 0, limit: late".to_owned()], ..comparison("limit", Vec::new()) };
    let not_run =
        Measured { not_run: Some("not run: too many".to_owned()), ..measured(Part::Held50k, Vec::new()) };
    let page = page(vec![measured(Part::Echo, vec![refused]), not_run], "");
    assert!(bar_line(&page, ECHO).ends_with("| no number: pair 0, limit: late |"), "{page}");
    assert!(bar_line(&page, HELD).ends_with("| not run: too many |"), "{page}");
    assert!(bar_line(&page, PING).ends_with("| not measured |"), "{page}");
}

#[test]
fn a_part_that_is_measured_again_takes_the_place_of_the_old_one_and_says_when_and_of_which_commit() {
    let older = Measured { began_unix_s: 0, ..ping([90.0, 90.0]) };
    let page = page(vec![older, ping([11.0, 12.0])], "");
    assert!(!page.contains("90.0") && !page.contains("1970"), "{page}");
    assert!(page.contains("| `ping` | 2026-11-22 04:36 | 0123456789ab | 2 × 3 s | 61 s |  |"), "{page}");
}

#[test]
fn a_generator_that_was_let_be_later_than_usual_is_told_beside_what_was_measured_so() {
    let mut late = ping([11.0, 12.0]);
    late.tool.arguments.extend(["--lag-us-max".to_owned(), "8000".to_owned()]);
    let said = "a generator that was up to 8000 us late at its p99 counts";
    assert!(page(vec![late.clone()], "").contains(&format!("| 2 × 3 s | 61 s | {said} |")));
    late.tool.arguments = vec!["proof".to_owned(), "--lag-us-max=8000".to_owned()];
    assert!(page(vec![late], "").contains(said));
    let mut proof = Proof::default();
    let mut peers = samples::peers(&["echo"], 100);
    peers.tool.arguments = vec!["--lag-us-max".to_owned(), "8000".to_owned()];
    proof.take_peers(peers);
    assert!(render(&proof, &Shortfalls::default()).contains(&format!("| in turns with peers; {said} |")));
}

#[test]
fn a_record_reads_back_as_the_same_page() {
    let mut proof = Proof::default();
    proof.take(ping([11.0, 12.0]));
    let again: Proof = serde_json::from_str(&serde_json::to_string(&proof).unwrap()).unwrap();
    let none = Shortfalls::default();
    assert_eq!(render(&again, &none), render(&proof, &none));
}

#[test]
fn a_case_that_is_measured_again_leaves_the_others_of_its_old_measurement() {
    let mut proof = Proof::default();
    proof.take_peers(samples::peers(&["echo", "idle"], 100));
    proof.take_peers(samples::peers(&["echo"], 200));
    let kept: Vec<(u64, usize)> =
        proof.peers.iter().map(|record| (record.began_unix_s, record.cases.len())).collect();
    assert_eq!(kept, [(100, 1), (200, 1)]);
    proof.take_peers(samples::peers(&["idle"], 300));
    assert_eq!(proof.peers.iter().map(|record| record.began_unix_s).collect::<Vec<_>>(), [200, 300]);
}
