//! `GET /api/events`: how the gateway is, once a second, as server-sent events. PURE: what an event says. The stream itself is the
//! control thread's.

use serde_json::{Map, Value, json};

use crate::telemetry::latency::Recent;
use crate::telemetry::{BackendStatus, Window};

use super::{Phase, View, alerts, rounded};

/// Over how many seconds its rates are: boards are told every tenth of a second, so that one second would be jagged.
const RATES_S: u64 = 2;
/// Backends that an event tells of.
const BACKENDS_TOLD: usize = 64;
/// Milliseconds after which a browser comes again.
const RETRY_MS: u32 = 1000;

/// One event, in the format of the HTML standard: one line of JSON.
#[must_use]
pub fn event(view: &View<'_>) -> String {
    let snapshot = view.snapshot;
    let window = view.looks.window(snapshot, view.now.mono_ns, RATES_S);
    let state = match view.phase {
        Phase::Starting => "starting",
        Phase::Serving => "serving",
        Phase::Draining => "draining",
    };
    let value = json!({
        "unix_ms": view.now.unix_ns / 1_000_000,
        "version": env!("CARGO_PKG_VERSION"),
        // Tells one process from the next.
        "start_unix_ms": snapshot.total("process_start_time_seconds") / 1_000_000,
        "uptime_seconds": view.uptime_ns / 1_000_000_000,
        "state": state,
        "trading_halted": snapshot.total("tickring_trading_halted") > 0,
        "connections": snapshot.total("tickring_connections"),
        "connections_max": snapshot.total("tickring_connections_max"),
        "instruments": snapshot.total("tickring_instruments"),
        "topics": snapshot.total("tickring_topics"),
        "memory_held_bytes": snapshot.total("tickring_memory_held_bytes"),
        "memory_budget_bytes": snapshot.total("tickring_memory_budget_bytes"),
        "resident_bytes": snapshot.total("process_resident_memory_bytes"),
        "rates": window.map(rates),
        "stages": stages(view),
        "shards": threads(view, window),
        "links": links(view),
        "backends": backends(view),
        "incidents": incidents(view, window),
        "alerts": alerts::active(view),
        "log_lines_total": snapshot.total("tickring_log_lines_total"),
    });
    format!("retry: {RETRY_MS}\ndata: {value}\n\n")
}

/// Of all shards together, a second.
fn rates(window: Window<'_>) -> Value {
    let per_s = |name| rounded(window.per_s(name));
    json!({
        "connections_opened": per_s("tickring_connections_opened_total"),
        "messages_received": per_s("tickring_messages_received_total"),
        "requests": per_s("tickring_requests_total"),
        "requests_failed": per_s("tickring_requests_failed_total"),
        "deliveries": per_s("tickring_deliveries_total"),
        "conflated": per_s("tickring_events_conflated_total"),
        "events": per_s("tickring_events_stamped_total"),
        "orders": per_s("tickring_orders_total"),
        "fills": per_s("tickring_fills_total"),
        "received_bytes": per_s("tickring_received_bytes_total"),
        "transmitted_bytes": per_s("tickring_transmitted_bytes_total"),
        "cpu": per_s("process_cpu_seconds_total"),
    })
}

/// How long each stage took in the last second, all threads together.
fn stages(view: &View<'_>) -> Vec<Value> {
    let stage = |recent: &Recent| {
        json!({
            "stage": recent.stage.label(),
            "count": recent.count,
            "p50_ns": recent.p50_ns,
            "p90_ns": recent.p90_ns,
            "p95_ns": recent.p95_ns,
            "p99_ns": recent.p99_ns,
            "p999_ns": recent.p999_ns,
            "max_ns": recent.max_ns,
        })
    };
    view.latency.iter().map(stage).collect()
}

/// Each shard, side by side.
fn threads(view: &View<'_>, window: Option<Window<'_>>) -> Vec<Value> {
    let names = view.snapshot.samples("tickring_shard_connections").iter();
    let of = |name: &str, thread| view.snapshot.labelled(name, ("thread", thread));
    let per_s = |name, thread| window.map(|window| window.per_s_of(name, &[("thread", thread)]));
    names
        .filter_map(|sample| sample.labels.first())
        .map(|(_, thread)| {
            json!({
                "thread": thread,
                "connections": of("tickring_shard_connections", thread),
                "busy_share": per_s("tickring_busy_seconds_total", thread)
                    .map(|share| (share * 1e4).round() / 1e4),
                "deliveries_per_second": per_s("tickring_deliveries_total", thread).map(rounded),
                "turns_per_second": per_s("tickring_turns_total", thread).map(rounded),
                "turn_mean_ns": of("tickring_turn_mean_seconds", thread),
                "turn_max_ns": of("tickring_turn_max_seconds", thread),
                "memory_bytes": of("tickring_thread_memory_bytes", thread),
                "queue_deepest_frames": of("tickring_queue_deepest_frames", thread),
                "overload_stance": of("tickring_overload_stance", thread),
            })
        })
        .collect()
}

fn links(view: &View<'_>) -> Vec<Value> {
    let link = |link: &crate::model::link::LinkStatus| {
        json!({
            "name": &*link.identity.link,
            "venue": &*link.identity.venue,
            "kind": link.identity.kind.as_str(),
            "state": link.state.as_str(),
            "since_unix_ms": link.since_ms,
            "instruments": link.instruments,
            "last_reason": link.last_reason.as_deref(),
        })
    };
    view.links.iter().map(link).collect()
}

/// Of backends of calls those that are down, then others; not all where there are very many.
fn backends(view: &View<'_>) -> Vec<Value> {
    let backend = |backend: &BackendStatus| {
        let up =
            backend.members.iter().filter(|member| ["up", "running", "idle"].contains(&member.state)).count();
        json!({
            "name": &*backend.name,
            "kind": backend.kind,
            "state": if backend.is_up { "up" } else { "down" },
            "members_up": up,
            "members": backend.members.len(),
            "under_way": backend.under_way(),
            "calls": backend.counters.calls_total,
            "failed": backend.counters.failed_total,
            "reuse_percent": backend.reuse_percent().map(rounded),
            "last_reason": backend.members.iter().find_map(|member| member.last_reason.as_deref()),
        })
    };
    let (up, down): (Vec<&BackendStatus>, Vec<&BackendStatus>) =
        view.callees.iter().partition(|callee| callee.is_up);
    down.into_iter().chain(up).take(BACKENDS_TOLD).map(backend).collect()
}

/// Each reason for which a client was refused, closed or declined so far, of all shards together.
fn incidents(view: &View<'_>, window: Option<Window<'_>>) -> Map<String, Value> {
    let name = "tickring_incidents_total";
    let reasons = crate::hub::Incident::all().map(crate::hub::Incident::label);
    let counted = reasons.filter_map(|reason| {
        let total = view.snapshot.labelled(name, ("reason", reason));
        let per_s = window.map(|window| rounded(window.per_s_of(name, &[("reason", reason)])));
        (total > 0).then(|| (reason.to_owned(), json!({"total": total, "per_second": per_s})))
    });
    counted.collect()
}
