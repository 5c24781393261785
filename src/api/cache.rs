//! `GET /performance/cache`: the histories from which clients resume, where a hit is a join that missed nothing; the results of
//! backends that are kept; and answers about the status, this one among them. PURE.

use serde_json::json;

use super::{Answer, View, percent};
use crate::limits;

/// The hit rate to be had at least.
const TARGET_PERCENT: f64 = 85.0;

pub(super) fn answer(view: &View<'_>) -> Answer {
    let snapshot = view.snapshot;
    let (size, max_size) = (snapshot.total("tickring_history_bytes"), view.history_bytes_max);
    let usage = percent(size, max_size.max(1));
    let (hits, misses) = lookups(view);
    let rate = hit_rate_percent(view);
    let mut suggestions = Vec::new();
    if rate < TARGET_PERCENT {
        suggestions.push(
            "clients come back for more than is kept: raise topics.history_events_max and topics.history_bytes_max",
        );
    }
    if usage > 85.0 {
        suggestions.push("histories are near their bound: fewer topics, or a lower topics.history_bytes_max");
    }
    if snapshot.total("tickring_histories_shortened_total") > 0 {
        suggestions.push("histories were shortened for want of memory: raise limits.memory_bytes_max");
    }
    Answer::json(
        200,
        &json!({
            "cache_performance": {
                "memory_cache": {
                    "size": size,
                    "max_size": max_size,
                    "usage_percent": usage,
                    "efficiency_grade": grade(100.0 - usage, [40.0, 25.0, 15.0, 5.0]),
                },
                "hit_rate": {
                    "hits": hits,
                    "misses": misses,
                    "hit_rate_percent": rate,
                    "performance_grade": grade(rate, [95.0, TARGET_PERCENT, 70.0, 50.0]),
                },
                "call_cache": call_cache(view),
                "status_cache": status_cache(view),
                "optimization_suggestions": suggestions,
            },
        }),
    )
}

/// Results of backends, of all shards.
fn call_cache(view: &View<'_>) -> serde_json::Value {
    let of = |name| view.snapshot.total(name);
    let (hits, joined) = (of("tickring_call_cache_hits_total"), of("tickring_call_cache_joined_total"));
    let misses = of("tickring_call_cache_misses_total");
    json!({
        "size": of("tickring_call_cache_entries"),
        "bytes": of("tickring_call_cache_bytes"),
        "hits": hits,
        "joined": joined,
        "misses": misses,
        "hit_rate_percent": percent(hits, hits + joined + misses),
        "evicted": of("tickring_call_cache_evicted_total"),
        "expired": of("tickring_call_cache_expired_total"),
        "invalidated": of("tickring_call_cache_invalidated_total"),
    })
}

/// Answers about the status.
fn status_cache(view: &View<'_>) -> serde_json::Value {
    let of = |name| view.snapshot.total(name);
    let hits = of("tickring_status_cache_hits_total");
    let misses = of("tickring_status_cache_misses_total");
    json!({
        "kept_ms": limits::STATUS_KEPT_NS / 1_000_000,
        "hits": hits,
        "misses": misses,
        "hit_rate_percent": percent(hits, hits + misses),
    })
}

/// Of all joins so far; 100 where there was none.
pub(super) fn hit_rate_percent(view: &View<'_>) -> f64 {
    let (hits, misses) = lookups(view);
    percent(hits, hits + misses)
}

fn lookups(view: &View<'_>) -> (u64, u64) {
    let of = |outcome| view.snapshot.labelled("tickring_joins_total", ("outcome", outcome));
    (of("recovered"), of("not_recovered"))
}

/// `A` from the first bound on, `F` below the last.
fn grade(value: f64, bounds: [f64; 4]) -> &'static str {
    let grades = ["A", "B", "C", "D"];
    bounds.iter().zip(grades).find(|(bound, _)| value >= **bound).map_or("F", |(_, grade)| grade)
}
