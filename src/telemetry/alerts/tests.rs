//! Alerts fire when they should, and not before; the table keeps its rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::hub::home::HomeCounters;
use crate::hub::{HubCounters, IncidentCounts};
use crate::telemetry::latency::Stage;
use crate::telemetry::{
    Board, Looks, MeshReading, ProcessReading, RingCounters, ShardReading, ThreadReading,
};

const S: u64 = 1_000_000_000;

/// A gateway of one shard, looked at once a second.
struct Gateway {
    boards: [Arc<Board>; 1],
    looks: Looks,
    alerts: Alerts,
    hub: HubCounters,
    busy_ns_total: u64,
    process: ProcessReading,
    latency: Vec<Recent>,
    second: u64,
}

impl Gateway {
    fn new() -> Gateway {
        let process = ProcessReading {
            is_ready: true,
            connections_max: 1000,
            memory_held_bytes: 85,
            memory_budget_bytes: 100,
            ..ProcessReading::default()
        };
        Gateway {
            boards: [Arc::new(Board::of_shard(0))],
            looks: Looks::default(),
            alerts: Alerts::default(),
            hub: HubCounters::default(),
            busy_ns_total: 0,
            process,
            latency: Vec::new(),
            second: 0,
        }
    }

    /// For so many seconds, in each of which this is done.
    fn run(&mut self, seconds: u64, mut each: impl FnMut(&mut Gateway)) {
        for _ in 0..seconds {
            each(self);
            self.second += 1;
            self.tell();
            let now = Now { mono_ns: self.second * S, unix_ns: 1_700_000_000 * S + self.second * S };
            let snapshot = Snapshot::take(&self.boards, &self.process);
            if let Some(window) = self.looks.window(&snapshot, now.mono_ns, WINDOW_S) {
                self.alerts.note(&snapshot, window, &self.latency, now);
            }
            self.looks.note(&snapshot, now.mono_ns);
        }
    }

    fn tell(&self) {
        let (topics, ring) = (HomeCounters::default(), RingCounters::default());
        let thread = ThreadReading {
            topics: &topics,
            topics_count: 0,
            history_bytes: 0,
            memory_bytes: 0,
            ring: &ring,
            mesh: MeshReading::default(),
            turns_total: 0,
            parks_total: 0,
        };
        let shard = ShardReading {
            hub: &self.hub,
            incidents: &IncidentCounts::default(),
            connections: 0,
            connections_peak: 0,
            busy_turns_total: 0,
            busy_ns_total: self.busy_ns_total,
            turn_ns_max: 0,
            turn_ns_mean: 0,
            costliest_bytes: 0,
            deepest_frames: 0,
        };
        self.boards[0].tell_shard(&thread, &shard);
    }

    /// Those that are active, with `!` where they fire.
    fn active(&self) -> Vec<String> {
        let name = |alert: &Alert| format!("{}{}", alert.rule.name, if alert.is_firing { "!" } else { "" });
        self.alerts.active().map(name).collect()
    }
}

#[test]
fn a_gateway_right_below_the_thresholds_has_no_alert() {
    let mut gateway = Gateway::new();
    gateway.run(400, |of| {
        of.hub.requests_total += 100;
        of.hub.requests_failed_total += 5;
        of.busy_ns_total += 8 * S / 10;
    });
    assert_eq!(gateway.active(), Vec::<String>::new());
}

#[test]
fn an_alert_is_pending_until_its_condition_has_held_for_as_long_as_the_table_says() {
    let mut gateway = Gateway::new();
    gateway.run(5, |_| {});
    gateway.process.memory_held_bytes = 86;
    gateway.run(30, |_| {});
    assert_eq!(gateway.active(), ["TickringMemoryHigh"]);
    gateway.run(1, |_| {});
    assert_eq!(gateway.active(), ["TickringMemoryHigh!"]);
    let alert = *gateway.alerts.active().next().unwrap();
    assert_eq!((alert.value, alert.since_unix_ms), (0.86, 1_700_000_006_000));
    // One look at which all is well, and it begins anew.
    gateway.process.memory_held_bytes = 85;
    gateway.run(1, |_| {});
    assert_eq!(gateway.active(), Vec::<String>::new());
    gateway.process.memory_held_bytes = 86;
    gateway.run(1, |_| {});
    assert_eq!(gateway.active(), ["TickringMemoryHigh"]);
}

#[test]
fn rates_are_those_of_the_last_seconds() {
    let mut gateway = Gateway::new();
    gateway.run(100, |of| {
        of.hub.requests_total += 100;
        of.hub.requests_failed_total += 6;
        of.busy_ns_total += 81 * S / 100;
    });
    assert_eq!(gateway.active(), ["TickringErrorsHigh!", "TickringShardBusy"]);
    // Nobody asks, and nothing fails.
    gateway.run(WINDOW_S, |_| {});
    assert_eq!(gateway.active(), Vec::<String>::new());
}

#[test]
fn latency_is_judged_by_the_slowest_stage_that_clients_wait_for() {
    let mut gateway = Gateway::new();
    let recent = |stage, p95_ns, p99_ns| Recent {
        stage,
        count: 1,
        p50_ns: 0,
        p90_ns: 0,
        p95_ns,
        p99_ns,
        p999_ns: p99_ns,
        max_ns: p99_ns,
    };
    gateway.latency = vec![recent(Stage::Mesh, S, S), recent(Stage::Request, S / 10, S / 5)];
    gateway.run(3, |_| {});
    assert_eq!(gateway.active(), Vec::<String>::new());
    gateway.latency.push(recent(Stage::Order, S / 10 + 1, S / 5));
    gateway.run(3, |_| {});
    assert_eq!(gateway.active(), ["TickringLatencyP95High"]);
    gateway.latency.push(recent(Stage::PublishLatest, S / 5 + 1, S / 5 + 1));
    gateway.run(61, |_| {});
    assert_eq!(gateway.active(), ["TickringLatencyP99High!", "TickringLatencyP95High!"]);
}

#[test]
fn few_requests_are_told_of_where_many_are_usual() {
    let mut gateway = Gateway::new();
    gateway.run(400, |of| of.hub.requests_total += 10);
    assert_eq!(gateway.active(), Vec::<String>::new());
    gateway.run(3600, |of| of.hub.requests_total += 3000);
    gateway.run(400, |of| of.hub.requests_total += 999);
    assert_eq!(gateway.active(), ["TickringRequestRateLow!"]);
}

#[test]
fn a_window_begins_at_the_oldest_look_within_it() {
    let mut gateway = Gateway::new();
    gateway.run(30, |of| {
        of.hub.requests_total += 7;
        of.busy_ns_total += S / 4;
    });
    let snapshot = Snapshot::take(&gateway.boards, &gateway.process);
    let now_ns = gateway.second * S;
    let window = gateway.looks.window(&snapshot, now_ns + S, 2).unwrap();
    assert_eq!(window.seconds(), 2.0);
    gateway.hub.requests_total += 10;
    gateway.tell();
    let snapshot = Snapshot::take(&gateway.boards, &gateway.process);
    let window = gateway.looks.window(&snapshot, now_ns + S, 2).unwrap();
    assert_eq!(window.per_s("tickring_requests_total"), 8.5);
    assert_eq!(window.per_s_of("tickring_requests_total", &[("thread", "shard-0")]), 8.5);
    assert_eq!(window.per_s_of("tickring_requests_total", &[("thread", "shard-1")]), 0.0);
    assert_eq!(window.per_s("tickring_nothing"), 0.0);
    // Seconds, where nanoseconds are told.
    assert_eq!(window.each_per_s("tickring_busy_seconds_total").collect::<Vec<_>>(), [0.125]);
    assert!(gateway.looks.window(&snapshot, now_ns, 0).is_none(), "no time has gone by");
    assert!(Looks::default().window(&snapshot, now_ns, 10).is_none());
}

#[test]
fn the_table_is_in_order() {
    let names: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len(), "names are unique");
    let warnings_begin = RULES.iter().position(|rule| rule.severity == Severity::Warning).unwrap();
    assert!(RULES[warnings_begin..].iter().all(|rule| rule.severity == Severity::Warning));
    for Rule { name, expr, summary, cure, .. } in RULES {
        assert!(name.starts_with("Tickring") && name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(
            summary.ends_with('.') && cure.ends_with('.') && summary.is_ascii() && cure.is_ascii(),
            "{name}"
        );
        assert!(expr.contains("tickring_") || expr.contains("process_"), "{name}");
    }
}
