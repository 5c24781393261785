//! Tables that keep their rules, and every text of one small gateway.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::latency::{Histograms, Stage};
use super::*;
use crate::desk::DeskCounters;
use crate::hub::home::HomeCounters;
use crate::hub::market::MarketCounters;
use crate::hub::{HubCounters, IncidentCounts};
use crate::mail::{OfficeCounters, OfficeGauges};
use crate::model::link::{LinkIdentity, LinkKind, LinkState, LinkStatus};

fn tables() -> impl Iterator<Item = &'static Metric> {
    let of_process = PROCESS.iter().chain(BACKEND);
    SHARED.iter().chain(SHARD).chain([&INCIDENTS]).chain(VENUE).chain([&LATENCY]).chain(of_process)
}

fn thread_reading<'a>(topics: &'a HomeCounters, ring: &'a RingCounters) -> ThreadReading<'a> {
    ThreadReading {
        topics,
        topics_count: 3,
        history_bytes: 0,
        memory_bytes: 4096,
        ring,
        mesh: MeshReading { data_pushed_total: 5, commands_pushed_total: 6, ..MeshReading::default() },
        turns_total: 10,
        parks_total: 2,
    }
}

/// Two shards with 7 and 8 requests, and a venue.
fn boards() -> Vec<Arc<Board>> {
    let boards = vec![Board::of_shard(0), Board::of_shard(1), Board::of_venue()];
    let (topics, ring) = (HomeCounters::default(), RingCounters::default());
    for (board, requests_total) in boards.iter().zip([7, 8]) {
        let hub = HubCounters { requests_total, ..HubCounters::default() };
        let shard = ShardReading {
            hub: &hub,
            incidents: &IncidentCounts::default(),
            connections: 4,
            connections_peak: 5,
            busy_turns_total: 9,
            busy_ns_total: 1_500_000_000,
            turn_ns_max: 2_000,
            turn_ns_mean: 0,
            costliest_bytes: 0,
            deepest_frames: 0,
        };
        board.tell_shard(&thread_reading(&topics, &ring), &shard);
    }
    let identity = LinkIdentity { kind: LinkKind::Paper, venue: "paper".into(), link: "paper".into() };
    let links =
        [LinkStatus { identity, state: LinkState::Up, since_ms: 0, instruments: 12, last_reason: None }];
    let venue = VenueReading {
        market: &MarketCounters { trades_total: 11, ..MarketCounters::default() },
        desk: &DeskCounters::default(),
        office: &OfficeCounters::default(),
        held: &OfficeGauges::default(),
        is_halted: true,
        instruments: 12,
        links: &links,
        node: NodeReading::default(),
    };
    boards[2].tell_venue(&thread_reading(&topics, &ring), &venue);
    boards.into_iter().map(Arc::new).collect()
}

fn process() -> ProcessReading {
    ProcessReading { startup_ns: 20_500_000, connections_max: 50_000, ..ProcessReading::default() }
}

#[test]
fn names_types_and_helps_follow_the_rules_of_prometheus() {
    let mut names = BTreeSet::new();
    let mut before = "";
    for metric in tables() {
        let Metric { name, kind, help, .. } = metric;
        assert!(name.starts_with("tickring_") || name.starts_with("process_"), "{name}");
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{name}"
        );
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert_eq!(help.is_empty(), *name == before, "{name}: the first of a name has its help, no other");
        assert!(!help.contains(['\\', '\n', '|']), "{name}");
        assert!(*name == before || names.insert(*name), "{name} stands in two places");
        let words: Vec<&str> = name.split('_').collect();
        for odd in ["ms", "ns", "us", "sec", "kb", "counter", "gauge"] {
            assert!(!words.contains(&odd), "{name} has {odd}");
        }
        before = name;
    }
}

#[test]
fn every_counter_of_a_thread_is_told() {
    let told = |of: &str| tables().filter(|metric| metric.source.contains(of)).count();
    assert_eq!(told("shard.hub."), HubCounters::default().each().count());
    // Fields of the others, as `Debug` lists them.
    let fields = |debug: String| debug.matches(": ").count();
    assert_eq!(told("thread.ring."), fields(format!("{:?}", RingCounters::default())));
    assert_eq!(told("thread.topics."), fields(format!("{:?}", HomeCounters::default())));
    assert_eq!(told("thread.mesh."), fields(format!("{:?}", MeshReading::default())));
    assert_eq!(told("venue.market."), fields(format!("{:?}", MarketCounters::default())));
    assert_eq!(told("venue.desk."), fields(format!("{:?}", DeskCounters::default())));
    // A list is one for each of its elements.
    let numbers = |debug: String| debug.matches('0').count();
    assert_eq!(told("venue.office."), numbers(format!("{:?}", OfficeCounters::default())));
    assert_eq!(told("venue.held."), numbers(format!("{:?}", OfficeGauges::default())) + 4, "and four states");
    assert_eq!(told("process.") + 1, PROCESS.len(), "all but build_info");
}

#[test]
fn a_snapshot_adds_up_what_threads_told() {
    let boards = boards();
    let counters = BackendCounters { calls_total: 5, ..BackendCounters::default() };
    let risk = BackendStatus { name: "risk".into(), counters, ..BackendStatus::default() };
    let backends = [risk, BackendStatus { name: "margin".into(), counters, ..BackendStatus::default() }];
    let snapshot = Snapshot::take(&boards, &process()).with_backends(&backends);
    assert_eq!(snapshot.labelled("tickring_backend_calls_total", ("backend", "risk")), 5);
    assert_eq!(snapshot.total("tickring_backend_calls_total"), 10);
    assert_eq!(snapshot.total("tickring_requests_total"), 15);
    assert_eq!(snapshot.largest("tickring_requests_total"), 8);
    assert_eq!(snapshot.total("tickring_turns_total"), 30);
    assert_eq!(snapshot.total("tickring_trades_total"), 11);
    assert_eq!(snapshot.labelled("tickring_mesh_pushed_total", ("lane", "data")), 15);
    assert_eq!(snapshot.labelled("tickring_links", ("state", "up")), 1);
    assert_eq!(snapshot.total("tickring_links"), 1);
    assert_eq!(snapshot.total("tickring_connections_max"), 50_000);
    let incidents = snapshot.samples("tickring_incidents_total");
    assert_eq!(incidents.len(), 2 * crate::hub::Incident::COUNT);
    assert_eq!(snapshot.families().len(), {
        let of_boards = tables().filter(|metric| metric.kind != Kind::Histogram);
        let mut names: Vec<&str> = of_boards.map(|metric| metric.name).collect();
        names.dedup();
        names.len()
    });
}

#[test]
fn prometheus_reads_families_with_help_type_and_labels() {
    let boards = boards();
    let mut latency = Histograms::of(&Stage::ALL);
    latency.record(Stage::Turn, 40_000, 3);
    let text = exposition(&Snapshot::take(&boards, &process()), Some(&latency), Form::Text);
    let turn = "tickring_latency_seconds_bucket{stage=\"turn\",le=";
    assert!(text.contains(&format!("{turn}\"0.00001\"}} 0\n{turn}\"0.00005\"}} 3\n")), "{text}");
    assert!(text.contains(&format!("{turn}\"1\"}} 3\n{turn}\"+Inf\"}} 3\n")), "{text}");
    assert!(text.contains("tickring_latency_seconds_count{stage=\"turn\"} 3\n"), "{text}");
    let requests = "# HELP tickring_requests_total Requests of clients.\n# TYPE tickring_requests_total counter\n\
                    tickring_requests_total{thread=\"shard-0\"} 7\ntickring_requests_total{thread=\"shard-1\"} 8\n";
    assert!(text.contains(requests), "{text}");
    assert!(text.contains("tickring_busy_seconds_total{thread=\"shard-0\"} 1.5\n"), "{text}");
    assert!(text.contains("tickring_turn_max_seconds{thread=\"shard-1\"} 0.000002\n"), "{text}");
    assert!(text.contains("tickring_links{thread=\"venue\",state=\"up\"} 1\n"), "{text}");
    assert!(text.contains("\ntickring_startup_seconds 0.0205\n"), "{text}");
    assert!(!text.contains("# EOF") && text.ends_with('\n'));
}

#[test]
fn open_metrics_names_counters_without_their_ending_and_has_an_end() {
    let boards = boards();
    let text = exposition(&Snapshot::take(&boards, &process()), None, Form::OpenMetrics);
    assert!(
        text.contains("# TYPE tickring_requests counter\ntickring_requests_total{thread=\"shard-0\"} 7\n"),
        "{text}"
    );
    assert!(text.contains("# UNIT tickring_busy_seconds seconds\n"), "{text}");
    assert!(text.contains("# UNIT tickring_received_bytes bytes\n"), "{text}");
    assert!(text.ends_with("\n# EOF\n"));
}

#[test]
fn an_accept_field_chooses_the_form() {
    let check = |accept: &str, expected: Form| assert_eq!(Form::of_accept(accept), expected, "{accept:?}");
    check("", Form::Text);
    check("*/*", Form::Text);
    check("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Form::Text);
    check("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3", Form::OpenMetrics);
    check("application/openmetrics-text;q=0, text/plain", Form::Text);
}

#[test]
fn json_and_csv_have_every_sample() {
    let boards = boards();
    let snapshot = Snapshot::take(&boards, &process());
    let samples: usize = snapshot.families().iter().map(|family| family.samples.len()).sum();
    let parsed: Value = serde_json::from_str(&json(&snapshot, 1_700_000_000_000_000_000)).unwrap();
    assert_eq!(parsed["timestamp_ms"], 1_700_000_000_000_u64);
    let families = parsed["metrics"].as_array().unwrap();
    assert_eq!(
        families.iter().map(|family| family["samples"].as_array().unwrap().len()).sum::<usize>(),
        samples
    );
    let requests = families.iter().find(|family| family["name"] == "tickring_requests_total").unwrap();
    assert_eq!(requests["samples"][1]["value"], 8);
    assert_eq!(requests["samples"][1]["labels"]["thread"], "shard-1");
    let csv = csv(&snapshot);
    assert_eq!(csv.lines().count(), 1 + samples);
    assert!(csv.lines().all(|line| line.split(',').count() == 5));
    assert!(csv.contains("\r\ntickring_mesh_pushed_total,counter,,thread=venue;lane=data,5\r\n"), "{csv}");
    assert!(csv.contains("tickring_busy_seconds_total,counter,seconds,thread=shard-0,1.5\r\n"), "{csv}");
}

#[test]
fn rates_are_over_the_looks_that_are_kept() {
    let mut rates = Rates::default();
    for second in 0..=30_u64 {
        rates.note(Totals {
            mono_ns: second * 1_000_000_000,
            requests: second * second,
            ..Totals::default()
        });
    }
    let newest = Totals { mono_ns: 31_000_000_000, requests: 31 * 31, ..Totals::default() };
    let (added, seconds) = rates.since_oldest(&newest);
    assert_eq!((added.requests, seconds), (31 * 31 - 20 * 20, 11.0));
    assert_eq!(Rates::default().since_oldest(&newest), (Totals::default(), 0.0));
}

#[test]
fn a_summary_tells_what_was_since_the_last() {
    let boards = boards();
    let mut latency = Histograms::of(&Stage::ALL);
    let mut summary = Summary::begin(0);
    latency.record(Stage::Turn, 5_000_000, 1);
    let process = process();
    let snapshot = Snapshot::take(&boards, &process);
    let first = summary.line(&snapshot, &latency, 10_000_000_000);
    assert!(first.starts_with("8 connections, 0 opened and 0 closed in 10 s; 0 messages/s"), "{first}");
    assert!(first.ends_with("turns p50 5.00 ms p99 5.00 ms; publish none"), "{first}");
    latency.record(Stage::Turn, 1_000, 1);
    latency.record(Stage::PublishLossless, 2_000, 1);
    latency.record(Stage::PublishLatest, 4_000, 1);
    let hub = HubCounters {
        connections_opened_total: 50,
        connections_closed_total: 20,
        messages_received_total: 700,
        deliveries_total: 9_000,
        ..HubCounters::default()
    };
    let (topics, ring) = (HomeCounters::default(), RingCounters::default());
    let shard = ShardReading {
        hub: &hub,
        incidents: &IncidentCounts::default(),
        connections: 30,
        connections_peak: 0,
        busy_turns_total: 0,
        busy_ns_total: 0,
        turn_ns_max: 0,
        turn_ns_mean: 0,
        costliest_bytes: 0,
        deepest_frames: 0,
    };
    boards[0].tell_shard(&thread_reading(&topics, &ring), &shard);
    let second = summary.line(&Snapshot::take(&boards, &process), &latency, 30_000_000_000);
    let expected = "34 connections, 50 opened and 20 closed in 20 s; 35 messages/s, 450 deliveries/s; \
                    turns p50 1.00 us p99 1.00 us; publish p50 2.00 us p99 4.00 us";
    assert_eq!(second, expected);
}
