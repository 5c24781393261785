//! What the page says of records made up here.

use super::*;
use crate::histogram::Latencies;
use crate::outcome::{Counts, Kind, Outcome, Second, ServerUse};
use crate::peers::record::{Told, Turn};
use crate::peers::roster::Absent;
use crate::samples;

const SECOND_NS: u64 = 1_000_000_000;

/// One second of `done`, each for `cpu_each_ns` of CPU and after `p50_ns`.
fn outcome(kind: Kind, done: u64, cpu_each_ns: u64, p50_ns: u64) -> Outcome {
    let mut latencies = Latencies::new();
    latencies.record_many(p50_ns, done);
    Outcome {
        measured_ns: SECOND_NS,
        counts: Counts { requests_sent: done, replies_received: done, ..Counts::default() },
        latencies: latencies.latency().map(|all| (kind, all)).into_iter().collect(),
        seconds: vec![Second { sent: done, received: done, ..Second::default() }],
        server_use: Some(ServerUse {
            cpu_ns: done * cpu_each_ns,
            busiest_thread_share: 0.5,
            resident_peak_bytes: 20 << 20,
            resident_before_bytes: 10 << 20,
            voluntary_switches: 0,
            involuntary_switches: 0,
        }),
        ..samples::outcome()
    }
}

fn turn(server: &str, round: usize, rate_per_s: u64, outcome: Outcome) -> Turn {
    Turn {
        case: "echo".to_owned(),
        server: server.to_owned(),
        round,
        rate_per_s: Some(rate_per_s),
        is_held: true,
        outcome: Some(outcome),
        failure: None,
    }
}

/// Requests at 1,000/s of the servers named, with no turn yet.
fn record(servers: &[&str]) -> Record {
    let told = |name: &&str| Told {
        name: (*name).to_owned(),
        about: "a server".to_owned(),
        version: Some("1.2".to_owned()),
    };
    Record {
        contenders: servers.iter().map(told).collect(),
        absent: vec![Absent { name: "centrifugo".to_owned(), reason: "on no registry".to_owned() }],
        ..samples::peers(&["echo"], 1_795_305_600)
    }
}

fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let start = page.find(&format!("## {title}\n")).unwrap_or_else(|| panic!("no {title} in {page}"));
    let rest = &page[start + 3..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

#[test]
fn where_we_lose_is_what_the_numbers_say() {
    let mut record = record(&["tickring", "quick", "slow"]);
    for round in 0..2 {
        record.turns.push(turn("tickring", round, 1_000, outcome(Kind::Request, 1_000, 3_000, 200_000)));
        record.turns.push(turn("quick", round, 1_000, outcome(Kind::Request, 1_000, 2_000, 300_000)));
        record.turns.push(turn("slow", round, 1_000, outcome(Kind::Request, 1_000, 9_000, 900_000)));
    }
    let page = results(&[record.clone()]);
    let losses = section(&page, "Where we lose");
    assert!(losses.contains("| echo | CPU per request | 3.00 us | quick: 2.00 us | 1.50 |  |"), "{losses}");
    assert!(!losses.contains("slow") && !losses.contains("p50"), "{losses}");
    assert!(section(&page, "Beside each peer").contains("| echo | slow | 0.33 |"), "{page}");
}

#[test]
fn a_loss_within_the_spread_says_so_and_none_says_so_too() {
    let mut record = record(&["tickring", "other"]);
    for (round, ours, theirs) in [(0, 3_000, 2_000), (1, 5_000, 4_000)] {
        record.turns.push(turn("tickring", round, 1_000, outcome(Kind::Request, 1_000, ours, 100)));
        record.turns.push(turn("other", round, 1_000, outcome(Kind::Request, 1_000, theirs, 200)));
    }
    assert!(section(&results(&[record.clone()]), "Where we lose").contains("| within the spread |"));
    record.turns.retain(|turn| turn.server == "tickring");
    assert!(section(&results(&[record.clone()]), "Where we lose").contains("Nowhere in this measurement."));
}

#[test]
fn servers_at_different_rates_are_not_compared_but_the_lower_rate_is_told() {
    let mut record = record(&["tickring", "other"]);
    let lower = outcome(Kind::Request, 500, 9_000, 900_000);
    record.turns.push(Turn { is_held: false, ..turn("tickring", 0, 1_000, lower.clone()) });
    record.turns.push(turn("tickring", 0, 500, lower));
    record.turns.push(turn("other", 0, 1_000, outcome(Kind::Request, 1_000, 1_000, 100)));
    let page = results(&[record.clone()]);
    assert!(section(&page, "Where we lose").contains("| echo | rate held | 500/s | 1,000/s other | – |  |"));
    assert!(!page.contains("Beside each peer"), "{page}");
    assert!(section(&page, "echo").contains("| tickring | 500/s; more was not held |"), "{page}");
    assert!(section(&page, "Sizing").contains("| 8 | 500 requests/s |"), "{page}");
}

#[test]
fn a_higher_rate_at_which_the_generator_was_the_limit_is_not_said_to_be_not_held() {
    let mut record = record(&["tickring"]);
    let mut late = outcome(Kind::Request, 900, 1_000, 100);
    late.refused.push("the generator was 9 us late at p99".to_owned());
    record.turns.push(Turn { is_held: false, ..turn("tickring", 0, 1_000, late) });
    record.turns.push(turn("tickring", 0, 500, outcome(Kind::Request, 500, 1_000, 100)));
    assert!(section(&results(&[record.clone()]), "echo").contains("| tickring | 500/s; more was refused |"));
}

#[test]
fn a_refused_run_is_no_number_and_its_reason_is_named() {
    let mut record = record(&["tickring", "other", "third"]);
    let mut late = outcome(Kind::Request, 1_000, 1_000, 100);
    late.refused.push("the generator was 9 us late at p99".to_owned());
    record.turns.push(turn("tickring", 0, 1_000, late));
    let failed = Turn {
        outcome: None,
        failure: Some("it | closed".to_owned()),
        ..turn("other", 0, 1_000, outcome(Kind::Request, 1, 1, 1))
    };
    record.turns.push(failed);
    record.turns.push(turn("third", 0, 1_000, outcome(Kind::Request, 1_000, 1_000, 100)));
    let page = results(&[record.clone()]);
    let echo = section(&page, "echo");
    assert!(echo.contains("| tickring | no number, see below |"), "{echo}");
    assert!(echo.contains("- tickring: the generator was 9 us late at p99"), "{echo}");
    assert!(echo.contains("- other: it | closed"), "{echo}");
    assert!(echo.contains("| third | 1,000/s |"), "{echo}");
    assert!(!page.contains("## Sizing"), "{page}");
}

#[test]
fn memory_per_connection_is_its_growth_over_those_that_were_opened() {
    let mut record = record(&["tickring"]);
    record.cases[0].work = Work::Idle;
    let mut idle = outcome(Kind::Connect, 4, 1, 100);
    idle.counts = Counts { connections_wanted: 8, connections_opened: 4, ..Counts::default() };
    idle.seconds[0].server_resident_bytes = Some((10 << 20) + 4 * 3_000);
    record.turns.push(Turn { rate_per_s: None, ..turn("tickring", 0, 0, idle) });
    assert!(section(&results(&[record.clone()]), "echo").contains("| tickring | 50.0 % | 2.93 KiB |"));
}

#[test]
fn a_record_reads_back_as_the_same_page() {
    let mut record = record(&["tickring"]);
    record.turns.push(turn("tickring", 0, 1_000, outcome(Kind::Request, 1_000, 3_000, 200_000)));
    let text = serde_json::to_string(&record).unwrap();
    let again: Record = serde_json::from_str(&text).unwrap();
    assert_eq!(results(&[again]), results(&[record]));
}

#[test]
fn servers_of_several_measurements_are_named_once_and_those_that_cannot_be_had_with_the_reason() {
    let page = method(&[record(&["tickring", "bun"]), record(&["tickring"])]);
    assert_eq!(page.matches("| tickring | 1.2 | a server |").count(), 1, "{page}");
    assert!(page.contains("| centrifugo | not measured | on no registry |"), "{page}");
}
