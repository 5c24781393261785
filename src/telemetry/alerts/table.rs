//! The table of alerts. PURE. Thresholds that a comment does not explain are those that operators of earlier gateways have.

use crate::telemetry::latency::{Recent, Stage};

use super::{Measured, Rule, Severity, Side, Unit};

/// Reasons for which a client is closed that does not read fast enough.
const SLOW_REASONS: [(&str, &str); 7] = [
    ("reason", "queue_full"),
    ("reason", "write_timeout"),
    ("reason", "log_full"),
    ("reason", "replies_unread"),
    ("reason", "messages_unread"),
    ("reason", "messages_lost"),
    ("reason", "shed"),
];

/// All alerts, the gravest first.
pub const RULES: &[Rule] = &[
    Rule {
        name: "TickringNotReady",
        severity: Severity::Critical,
        side: Side::Below,
        threshold: 1.0,
        unit: Unit::Count,
        for_s: 30,
        expr: "tickring_ready",
        unless: None,
        summary: "New clients are not let in.",
        cure: "It starts or drains: /ready and /api/logs say which.",
        measure: Some(|of| Some(of.snapshot.total("tickring_ready") as f64)),
    },
    Rule {
        name: "TickringLinkDown",
        severity: Severity::Critical,
        side: Side::Above,
        threshold: 0.0,
        unit: Unit::Count,
        for_s: 15,
        expr: "sum by (instance) (tickring_links{state!=\"up\"})",
        unless: None,
        summary: "Links to venues are not up: their markets are closed to clients.",
        cure: "/api/status has each link's last reason.",
        measure: Some(|of| {
            let up = of.snapshot.labelled("tickring_links", ("state", "up"));
            Some((of.snapshot.total("tickring_links") - up) as f64)
        }),
    },
    Rule {
        name: "TickringTradingHalted",
        severity: Severity::Critical,
        side: Side::Above,
        threshold: 0.0,
        unit: Unit::Count,
        for_s: 0,
        expr: "max by (instance) (tickring_trading_halted)",
        unless: None,
        summary: "The kill switch holds: no order of anybody is taken.",
        cure: "Whoever halted resumes by POST /api/kill-switch or private/resume_trading.",
        measure: Some(|of| Some(of.snapshot.largest("tickring_trading_halted") as f64)),
    },
    Rule {
        name: "TickringOrdersInDoubt",
        severity: Severity::Critical,
        side: Side::Above,
        threshold: 0.0,
        unit: Unit::PerSecond,
        for_s: 0,
        expr: "sum by (instance) (rate(tickring_orders_doubted_total[1m]))",
        unless: None,
        summary: "A link died with orders under way: their outcome was unknown.",
        cure: "They are settled when the link is back; look at the venue if it stays away.",
        measure: Some(|of| Some(of.window.per_s("tickring_orders_doubted_total"))),
    },
    Rule {
        name: "TickringCancelsGivenUp",
        severity: Severity::Critical,
        side: Side::Above,
        threshold: 0.0,
        unit: Unit::PerSecond,
        for_s: 0,
        expr: "sum by (instance) (rate(tickring_cancels_given_up_total[1m]))",
        unless: None,
        summary: "Orders that were to be cancelled are open: the venue refused too often.",
        cure: "Cancel them at the venue; the log names them.",
        measure: Some(|of| Some(of.window.per_s("tickring_cancels_given_up_total"))),
    },
    Rule {
        name: "TickringStoreFaulty",
        severity: Severity::Critical,
        side: Side::Above,
        // 0 none, 1 loading, 2 ready.
        threshold: 2.0,
        unit: Unit::Count,
        for_s: 0,
        expr: "max by (instance) (tickring_store_state)",
        unless: None,
        summary: "The store refuses what is to be durable.",
        cure: "tickring_store_refused_batches_total says why, the log what to do; it is ready again by itself once the disk is.",
        measure: Some(|of| Some(of.snapshot.largest("tickring_store_state") as f64)),
    },
    Rule {
        name: "TickringStoreStalls",
        severity: Severity::Critical,
        side: Side::Above,
        // A commit takes some fsyncs, or tens of milliseconds where it is large.
        threshold: 5.0,
        unit: Unit::Seconds,
        for_s: 0,
        expr: "max by (instance) (tickring_store_commit_under_way_seconds)",
        unless: None,
        summary: "The store's disk does not answer: what is to be durable waits, and is refused once the queue is full.",
        cure: "Look at the kernel's log (dmesg) and at what else writes to that disk.",
        measure: Some(|of| Some(of.snapshot.largest("tickring_store_commit_under_way_seconds") as f64 / 1e9)),
    },
    Rule {
        name: "TickringDrainLong",
        severity: Severity::Critical,
        side: Side::Above,
        // service.drain_timeout_s is 10 by default; the process is to be gone by then.
        threshold: 15.0,
        unit: Unit::Seconds,
        for_s: 0,
        expr: "tickring_drain_seconds",
        unless: None,
        summary: "The stop takes longer than it may.",
        cure: "A second SIGTERM ends it at once. Raise the threshold with service.drain_timeout_s.",
        measure: Some(|of| Some(of.snapshot.total("tickring_drain_seconds") as f64 / 1e9)),
    },
    Rule {
        name: "TickringRestarting",
        severity: Severity::Critical,
        side: Side::Above,
        threshold: 2.0,
        unit: Unit::Count,
        for_s: 0,
        expr: "changes(process_start_time_seconds[10m])",
        unless: None,
        summary: "The watchdog or a crash restarts the gateway again and again.",
        cure: "journalctl -u tickring: the last lines before each start name the thread.",
        // Who restarts does not know of it.
        measure: None,
    },
    Rule {
        name: "TickringMemoryHigh",
        severity: Severity::Critical,
        side: Side::Above,
        threshold: 0.85,
        unit: Unit::Share,
        for_s: 30,
        expr: "tickring_memory_held_bytes / tickring_memory_budget_bytes",
        unless: None,
        summary: "What clients make the gateway hold nears limits.memory_bytes_max.",
        cure: "Slow consumers are closed beyond it. Fewer or shorter queues and histories, or a larger budget.",
        measure: Some(|of| {
            share(
                of.snapshot.total("tickring_memory_held_bytes"),
                of.snapshot.total("tickring_memory_budget_bytes"),
            )
        }),
    },
    Rule {
        name: "TickringOverloaded",
        severity: Severity::Critical,
        side: Side::Above,
        threshold: 0.0,
        unit: Unit::Count,
        for_s: 15,
        expr: "max by (instance) (tickring_overload_stance)",
        unless: None,
        summary: "A shard is overloaded: newcomers are turned away (1), slow consumers closed (2).",
        cure: "More shards, or fewer clients on each; the log says whether by memory or by long turns.",
        measure: Some(|of| Some(of.snapshot.largest("tickring_overload_stance") as f64)),
    },
    Rule {
        name: "TickringTurnsLong",
        severity: Severity::Critical,
        side: Side::Above,
        // overload.turn_ms_max, where a shard becomes guarded.
        threshold: 0.05,
        unit: Unit::Seconds,
        for_s: 15,
        expr: "max by (instance) (tickring_turn_mean_seconds)",
        unless: None,
        summary: "A shard's turns are long: everybody on it waits as long, and a thread that stands is ended by the watchdog.",
        cure: "Look for steal and for other load on its core, then for one client with very long answers.",
        measure: Some(|of| Some(of.snapshot.largest("tickring_turn_mean_seconds") as f64 / 1e9)),
    },
    Rule {
        name: "TickringBackendDown",
        severity: Severity::Critical,
        side: Side::Above,
        threshold: 0.0,
        unit: Unit::Count,
        for_s: 15,
        expr: "sum by (instance) (tickring_backends_down)",
        unless: None,
        summary: "Backends take no calls: clients that ask for their methods are refused.",
        cure: "/api/status has each one's processes and addresses, with the last reason; the log has the rest.",
        measure: Some(|of| Some(of.snapshot.total("tickring_backends_down") as f64)),
    },
    Rule {
        name: "TickringLatencyP99High",
        severity: Severity::Warning,
        side: Side::Above,
        threshold: 0.2,
        unit: Unit::Seconds,
        for_s: 60,
        expr: "histogram_quantile(0.99, sum by (instance, stage, le) (rate(tickring_latency_seconds_bucket{stage=~\"request|publish_lossless|publish_latest|order\"}[1m])))",
        unless: None,
        summary: "One in a hundred replies, events or orders takes more than 200 ms.",
        cure: "The console's stages say where: turns that are long, a venue that is slow, or a host that is short of cores.",
        measure: Some(|of| slowest(of, |stage| stage.p99_ns)),
    },
    Rule {
        name: "TickringLatencyP95High",
        severity: Severity::Warning,
        side: Side::Above,
        threshold: 0.1,
        unit: Unit::Seconds,
        for_s: 60,
        expr: "histogram_quantile(0.95, sum by (instance, stage, le) (rate(tickring_latency_seconds_bucket{stage=~\"request|publish_lossless|publish_latest|order\"}[1m])))",
        unless: None,
        summary: "One in twenty replies, events or orders takes more than 100 ms.",
        cure: "As for TickringLatencyP99High.",
        measure: Some(|of| slowest(of, |stage| stage.p95_ns)),
    },
    Rule {
        name: "TickringErrorsHigh",
        severity: Severity::Warning,
        side: Side::Above,
        threshold: 0.05,
        unit: Unit::Share,
        for_s: 60,
        expr: "sum by (instance) (rate(tickring_requests_failed_total[1m])) / sum by (instance) (rate(tickring_requests_total[1m]))",
        unless: None,
        summary: "Many requests are answered by an error.",
        cure: "tickring_incidents_total says which limits are met; the rest are clients' mistakes.",
        measure: Some(|of| {
            ratio(
                of.window.per_s("tickring_requests_failed_total"),
                of.window.per_s("tickring_requests_total"),
            )
        }),
    },
    Rule {
        name: "TickringSlowConsumers",
        severity: Severity::Warning,
        side: Side::Above,
        // A few a day are ordinary: clients that sleep, networks that end.
        threshold: 0.1,
        unit: Unit::PerSecond,
        for_s: 30,
        expr: "sum by (instance, reason) (rate(tickring_incidents_total{reason=~\"queue_full|write_timeout|log_full|replies_unread|messages_unread|messages_lost|shed\"}[1m]))",
        unless: None,
        summary: "Clients that do not read fast enough are closed.",
        cure: "/api/connections?sort=queued shows who is next; conflated topics spare them.",
        measure: Some(|of| {
            let by_reason =
                SLOW_REASONS.iter().map(|reason| of.window.per_s_of("tickring_incidents_total", &[*reason]));
            Some(by_reason.fold(0.0, f64::max))
        }),
    },
    Rule {
        name: "TickringDeadLetters",
        severity: Severity::Warning,
        side: Side::Above,
        threshold: 0.0,
        unit: Unit::Count,
        for_s: 60,
        expr: "sum by (instance) (tickring_dead_letters)",
        unless: None,
        summary: "Messages are in the dead letters: nobody got or confirmed them.",
        cure: "GET /api/dead-letters says which and why; requeue or purge them.",
        measure: Some(|of| Some(of.snapshot.total("tickring_dead_letters") as f64)),
    },
    Rule {
        name: "TickringQueueDeep",
        severity: Severity::Warning,
        side: Side::Above,
        threshold: 1000.0,
        unit: Unit::Count,
        for_s: 15,
        expr: "max by (instance) (tickring_queue_deepest_frames)",
        unless: None,
        summary: "More than 1,000 frames wait for one client.",
        cure: "It reads too slowly; it is closed when limits.queued_bytes_max is reached.",
        measure: Some(|of| Some(of.snapshot.largest("tickring_queue_deepest_frames") as f64)),
    },
    Rule {
        name: "TickringShardBusy",
        severity: Severity::Warning,
        side: Side::Above,
        threshold: 0.8,
        unit: Unit::Share,
        for_s: 120,
        // A core that polls reads 100 % in any case: what counts is the time in turns that did something.
        expr: "max by (instance) (rate(tickring_busy_seconds_total[1m]))",
        unless: None,
        summary: "A shard works most of the time.",
        cure: "More shards, or fewer clients on each: bursts soon wait.",
        measure: Some(|of| of.window.each_per_s("tickring_busy_seconds_total").reduce(f64::max)),
    },
    Rule {
        name: "TickringShardsUnbalanced",
        severity: Severity::Warning,
        side: Side::Above,
        threshold: 0.5,
        unit: Unit::Share,
        for_s: 300,
        expr: "max by (instance) (rate(tickring_busy_seconds_total[1m])) - min by (instance) (rate(tickring_busy_seconds_total[1m]))",
        unless: None,
        summary: "One shard works while another has little to do.",
        cure: "Few clients with much to read: have them reconnect, or spread them over more connections.",
        measure: Some(|of| {
            let busiest = of.window.each_per_s("tickring_busy_seconds_total").reduce(f64::max)?;
            let idlest = of.window.each_per_s("tickring_busy_seconds_total").reduce(f64::min)?;
            Some(busiest - idlest)
        }),
    },
    Rule {
        name: "TickringConnectionsFull",
        severity: Severity::Warning,
        side: Side::Above,
        threshold: 0.9,
        unit: Unit::Share,
        for_s: 60,
        expr: "tickring_connections / tickring_connections_max",
        unless: None,
        summary: "Few places for connections are left.",
        cure: "Raise limits.connections_max and shards.connections_max, or find who holds so many.",
        measure: Some(|of| {
            share(of.snapshot.total("tickring_connections"), of.snapshot.total("tickring_connections_max"))
        }),
    },
    Rule {
        name: "TickringRingOverflow",
        severity: Severity::Warning,
        side: Side::Above,
        threshold: 0.0,
        unit: Unit::PerSecond,
        for_s: 30,
        expr: "sum by (instance) (rate(tickring_ring_completions_overflowed_total[1m]))",
        unless: None,
        summary: "A ring's completions overflow: the kernel keeps them in a slower list.",
        cure: "A larger completion queue: see docs/tuning.md.",
        measure: Some(|of| Some(of.window.per_s("tickring_ring_completions_overflowed_total"))),
    },
    Rule {
        name: "TickringMeshLagging",
        severity: Severity::Warning,
        side: Side::Above,
        threshold: 0.0,
        unit: Unit::Count,
        for_s: 15,
        expr: "sum by (instance) (tickring_mesh_lagging)",
        unless: None,
        summary: "A thread is so far behind that it gets no data for now.",
        cure: "Look at that shard's busy share and turns.",
        measure: Some(|of| Some(of.snapshot.total("tickring_mesh_lagging") as f64)),
    },
    Rule {
        name: "TickringCacheHitRateLow",
        severity: Severity::Warning,
        side: Side::Below,
        threshold: 0.85,
        unit: Unit::Share,
        for_s: 300,
        expr: "sum by (instance) (rate(tickring_joins_total{outcome=\"recovered\"}[1m])) / sum by (instance) (rate(tickring_joins_total[1m]))",
        unless: None,
        summary: "Clients come back for more than histories keep.",
        cure: "Raise topics.history_events_max and topics.history_bytes_max.",
        measure: Some(|of| {
            ratio(
                of.window.per_s_of("tickring_joins_total", &[("outcome", "recovered")]),
                of.window.per_s("tickring_joins_total"),
            )
        }),
    },
    Rule {
        name: "TickringRequestRateLow",
        severity: Severity::Warning,
        side: Side::Below,
        threshold: 1000.0,
        unit: Unit::PerSecond,
        for_s: 300,
        expr: "sum by (instance) (rate(tickring_requests_total[1m]))",
        // Most gateways never have so many, and none has them at night: it fires only where the last hour had.
        unless: Some("sum by (instance) (rate(tickring_requests_total[1h])) < 1000"),
        summary: "Requests have fallen below 1,000 a second, which is not usual here.",
        cure: "See whether clients are connected, and can reach the gateway.",
        measure: Some(|of| {
            let is_usual = of.usual_requests_per_s >= 1000.0;
            is_usual.then(|| of.window.per_s("tickring_requests_total"))
        }),
    },
];

/// Of what clients wait for, the stage that takes longest.
fn slowest(of: &Measured<'_>, percentile: fn(&Recent) -> u64) -> Option<f64> {
    let felt = |recent: &&Recent| match recent.stage {
        Stage::Request | Stage::Order | Stage::PublishLossless | Stage::PublishLatest => recent.count > 0,
        // What a backend takes is its own.
        Stage::Decode | Stage::Turn | Stage::Mesh | Stage::Upgrade | Stage::Call => false,
    };
    of.latency.iter().filter(felt).map(|recent| percentile(recent) as f64 / 1e9).reduce(f64::max)
}

fn share(part: u64, whole: u64) -> Option<f64> {
    ratio(part as f64, whole as f64)
}

/// `None` of nothing.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}
