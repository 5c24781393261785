//! `GET /performance/metrics`: scores from 0 to 100, and what they are computed from. PURE. docs/control.md has the rules.

use serde_json::json;

use crate::telemetry::Totals;

use super::{Answer, View, cache, percent, rounded, websocket};

pub(super) fn answer(view: &View<'_>) -> Answer {
    let snapshot = view.snapshot;
    let (added, seconds) = view.rates.since_oldest(&newest(view));
    let a_second = |count: u64| if seconds > 0.0 { rounded(count as f64 / seconds) } else { 0.0 };
    let ms = |ns: u64| ns as f64 / 1e6;
    let scores = Scores::of(view);
    let (held, budget) =
        (snapshot.total("tickring_memory_held_bytes"), snapshot.total("tickring_memory_budget_bytes"));
    let mean_busy_ns = added.busy_ns.checked_div(added.busy_turns).unwrap_or(0);
    Answer::json(
        200,
        &json!({
            "success": true,
            "performance_score": {
                "overall": scores.overall(),
                "memory_management": scores.memory,
                "async_performance": scores.turns,
                "cache_efficiency": scores.cache,
                "websocket_performance": scores.websocket,
            },
            "memory_usage": {
                "held_bytes": held,
                "budget_bytes": budget,
                "usage_percent": percent(held, budget.max(1)),
                "resident_bytes": snapshot.total("process_resident_memory_bytes"),
            },
            "latency": {
                "turn_mean_ms": ms(snapshot.largest("tickring_turn_mean_seconds")),
                "turn_busy_mean_ms": ms(mean_busy_ns),
                "turn_max_ms": ms(snapshot.largest("tickring_turn_max_seconds")),
                "startup_ms": ms(snapshot.total("tickring_startup_seconds")),
            },
            "throughput": {
                "over_seconds": rounded(seconds),
                "requests_per_second": a_second(added.requests),
                "messages_received_per_second": a_second(added.messages_received),
                "deliveries_per_second": a_second(added.deliveries),
                "bytes_received_per_second": a_second(added.received_bytes),
                "bytes_transmitted_per_second": a_second(added.transmitted_bytes),
                "connections_per_second": a_second(added.connections_opened),
                "cpu_percent": rounded(if seconds > 0.0 { added.cpu_ns as f64 / 1e7 / seconds } else { 0.0 }),
            },
        }),
    )
}

/// The totals of this moment.
pub(super) fn newest(view: &View<'_>) -> Totals {
    Totals::of(view.snapshot, view.now.mono_ns)
}

/// Each from 0, which is bad, to 100.
struct Scores {
    memory: f64,
    turns: f64,
    cache: f64,
    websocket: f64,
}

impl Scores {
    fn of(view: &View<'_>) -> Scores {
        let snapshot = view.snapshot;
        let used = percent(
            snapshot.total("tickring_memory_held_bytes"),
            snapshot.total("tickring_memory_budget_bytes").max(1),
        );
        let turn_ns = snapshot.largest("tickring_turn_mean_seconds");
        let waited = percent(turn_ns, view.turn_ns_max.max(1));
        let rest = |percent: f64| rounded((100.0 - percent).clamp(0.0, 100.0));
        Scores {
            memory: rest(used),
            turns: rest(waited),
            cache: cache::hit_rate_percent(view),
            websocket: websocket::score(view),
        }
    }

    /// Their mean.
    fn overall(&self) -> f64 {
        rounded((self.memory + self.turns + self.cache + self.websocket) / 4.0)
    }
}
