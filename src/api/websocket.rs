//! `GET /websocket/ws/status`: connections and how their requests fare. PURE.

use serde_json::json;

use super::{Answer, View, percent, rounded};

pub(super) fn answer(view: &View<'_>) -> Answer {
    let snapshot = view.snapshot;
    let (requests, failed) = requests(view);
    let (active, healthy) = connections(view);
    Answer::json(
        200,
        &json!({
            "websocket_status": {
                "active_connections": active,
                "healthy_connections": healthy,
                "total_connections": snapshot.total("tickring_connections_opened_total"),
                "messages_processed": snapshot.total("tickring_messages_received_total"),
                "successful_operations": requests.saturating_sub(failed),
                "failed_operations": failed,
                "success_rate_percent": percent(requests.saturating_sub(failed), requests),
                "backend_available": view.backends().0 > 0,
                "last_update": view.now.unix_ns / 1_000_000,
            },
        }),
    )
}

/// The share of requests that succeed, of the connections that are healthy.
pub(super) fn score(view: &View<'_>) -> f64 {
    let ((requests, failed), (active, healthy)) = (requests(view), connections(view));
    rounded(percent(requests.saturating_sub(failed), requests) * percent(healthy, active) / 100.0)
}

fn requests(view: &View<'_>) -> (u64, u64) {
    let total = |name| view.snapshot.total(name);
    (total("tickring_requests_total"), total("tickring_requests_failed_total"))
}

/// All that are open, and those of shards that do not shed.
fn connections(view: &View<'_>) -> (u64, u64) {
    let connections = view.snapshot.samples("tickring_shard_connections");
    let stances = view.snapshot.samples("tickring_overload_stance");
    let healthy = connections.iter().zip(stances).filter(|(_, stance)| stance.value < 2);
    (connections.iter().map(|sample| sample.value).sum(), healthy.map(|(sample, _)| sample.value).sum())
}
