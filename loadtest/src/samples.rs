//! Outcomes for tests: plausible, small, and with numbers that are easy to find again.

use std::collections::BTreeMap;

use crate::outcome::{
    Counts, FORMAT, GeneratorUse, Host, Kind, Latency, Outcome, Outcomes, Second, ServerUse, Tool,
};
use crate::peers::case::{Case, Work};
use crate::peers::record::{self, Record};

/// Ten seconds of 100 connections, 1,000 requests and 50 publishes a second.
pub(crate) fn outcome() -> Outcome {
    Outcome {
        scenario: "baseline".to_owned(),
        scenario_toml: "name = \"baseline\"\nconnections = 100\n".to_owned(),
        server: "tickring".to_owned(),
        server_version: Some("tickring 0.1.0".to_owned()),
        url: "ws://127.0.0.1:9001/ws".to_owned(),
        started_unix_ms: 1_795_322_218_000,
        measured_ns: 10_000_000_000,
        counts: Counts {
            connections_wanted: 100,
            connections_opened: 100,
            requests_sent: 10_000,
            replies_received: 10_000,
            published: 500,
            deliveries_expected: 50_000,
            deliveries_received: 50_000,
            bytes_sent: 1_000_000,
            bytes_received: 9_000_000,
            ..Counts::default()
        },
        latencies: BTreeMap::from([
            (Kind::Connect, latency(100, 3_000_000)),
            (Kind::Request, latency(10_000, 200_000)),
            (Kind::Delivery, latency(50_000, 1_200_000)),
        ]),
        seconds: (1..=10).map(second).collect(),
        server_use: Some(ServerUse {
            cpu_ns: 705_000_000,
            busiest_thread_share: 0.07,
            resident_peak_bytes: 40_000_000 + 204_800,
            resident_before_bytes: 40_000_000,
            voluntary_switches: 1_234,
            involuntary_switches: 5,
        }),
        generator: GeneratorUse {
            processes: 1,
            busy_share: 0.125,
            lag_p50_ns: 4_000,
            lag_p99_ns: 25_000,
            steal_share: Some(0.0),
        },
        refused: Vec::new(),
        notes: Vec::new(),
        graded: None,
    }
}

/// A distribution whose median is given and whose 99th percentile is the double of it.
pub(crate) fn latency(count: u64, p50_ns: u64) -> Latency {
    Latency {
        count,
        min_ns: p50_ns / 2,
        mean_ns: p50_ns as f64 * 1.1,
        p50_ns,
        p90_ns: p50_ns * 3 / 2,
        p99_ns: p50_ns * 2,
        p999_ns: p50_ns * 4,
        p9999_ns: p50_ns * 8,
        max_ns: p50_ns * 10,
        curve: vec![
            (0.0, p50_ns / 2),
            (0.5, p50_ns),
            (0.9, p50_ns * 3 / 2),
            (0.99, p50_ns * 2),
            (0.999, p50_ns * 4),
            (0.9999, p50_ns * 8),
        ],
    }
}

fn second(number: u64) -> Second {
    Second {
        at_ms: number * 1_000,
        connections: 100,
        sent: 1_050,
        received: 6_000,
        errors: 0,
        p50_ns: Some(900_000 + number * 10_000),
        p99_ns: Some(2_000_000 + number * 100_000),
        max_ns: Some(5_000_000 + number * 500_000),
        server_cpu_cores: Some(0.07),
        server_resident_bytes: Some(40_000_000 + number * 20_480),
    }
}

/// The runs of one command.
pub(crate) fn outcomes(runs: Vec<Outcome>) -> Outcomes {
    Outcomes {
        format: FORMAT,
        host: Host {
            kernel: "6.1.0-test".to_owned(),
            cpu: "Example CPU @ 2.00GHz".to_owned(),
            cores: 2,
            memory_bytes: 8_589_934_592,
        },
        tool: Tool {
            version: "0.1.0".to_owned(),
            commit: Some("0123456789ab".to_owned()),
            arguments: vec!["run".to_owned(), "--scenario".to_owned(), "baseline".to_owned()],
        },
        runs,
    }
}

/// A measurement beside peers that has begun then, of cases in which 8 connections ask 1,000 times a second; without a server yet.
pub(crate) fn peers(cases: &[&str], began_unix_s: u64) -> Record {
    let Outcomes { host, tool, .. } = outcomes(Vec::new());
    let case = |name: &&str| Case {
        name: (*name).to_owned(),
        about: "8 connections".to_owned(),
        connections: 8,
        work: Work::EchoOpen { rate_per_s: 1_000 },
    };
    Record {
        format: record::FORMAT,
        host,
        tool,
        began_unix_s,
        took_s: 61,
        rounds: 2,
        warmup_ms: 500,
        measured_ms: 1_000,
        cpus_server: vec![0],
        cpu_client: 1,
        contenders: Vec::new(),
        absent: Vec::new(),
        cases: cases.iter().map(case).collect(),
        turns: Vec::new(),
    }
}
