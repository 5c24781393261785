//! `GET /api/status`: the server, its requests, its backends. PURE.

use serde_json::{Value, json};

use super::{Answer, ClusterView, Phase, View, percent, rounded};
use crate::cluster::names::ClusterName;
use crate::cluster::node::Standing;
use crate::dialect::tools::TOOLS;
use crate::telemetry::{BackendCounters, BackendMember, BackendStatus};

pub(super) fn answer(view: &View<'_>) -> Answer {
    let snapshot = view.snapshot;
    let (healthy, total) = view.backends();
    let (requests, failed) =
        (snapshot.total("tickring_requests_total"), snapshot.total("tickring_requests_failed_total"));
    let (asks, refused) =
        (snapshot.total("tickring_desk_asks_total"), snapshot.total("tickring_desk_refusals_total"));
    let backends = view.links.iter().map(|link| {
        json!({
            "name": &*link.identity.link,
            "venue": &*link.identity.venue,
            "kind": link.identity.kind.as_str(),
            "state": link.state.as_str(),
            "since_ms": link.since_ms,
            "instruments": link.instruments,
            "last_reason": link.last_reason.as_deref(),
        })
    });
    let backends = backends.chain(view.callees.iter().map(callee));
    let state = match view.phase {
        Phase::Starting => "starting",
        Phase::Serving => "serving",
        Phase::Draining => "draining",
    };
    Answer::json(
        200,
        &json!({
            "server": {
                "name": "tickring",
                "version": env!("CARGO_PKG_VERSION"),
                "state": state,
                "uptime_seconds": view.uptime_ns / 1_000_000_000,
                "shards": view.shards_from(0).1,
                "connections": snapshot.total("tickring_shard_connections"),
                "trading_halted": snapshot.total("tickring_trading_halted") == 1,
            },
            // The gateway's own.
            "tools": {"total": TOOLS.len(), "available": TOOLS.len()},
            "requests": {
                "total": requests,
                "successful": requests.saturating_sub(failed),
                "failed": failed,
                "success_rate_percent": percent(requests.saturating_sub(failed), requests),
                "mean_response_ms": mean_turn_ms(view),
            },
            "orders": {
                "asks": asks,
                "refused": refused,
                "success_rate_percent": percent(asks.saturating_sub(refused), asks),
            },
            "cluster": view.cluster.as_ref().map(|cluster| of_cluster(view, cluster)),
            "backends": {"healthy": healthy, "total": total, "list": backends.collect::<Vec<Value>>()},
        }),
    )
}

/// What this node is to the others.
fn of_cluster(view: &View<'_>, cluster: &ClusterView) -> Value {
    let (role, owner) = match cluster.standing {
        Standing::Owner => ("owner", Some(cluster.node)),
        Standing::Follower { owner } => ("follower", Some(owner)),
        Standing::Alone => ("alone", None),
        Standing::Spoiled => ("spoiled", None),
    };
    json!({
        "name": cluster.name.as_str(),
        "node": cluster.node.as_str(),
        "role": role,
        "owner": owner.as_ref().map(ClusterName::as_str),
        "fence": view.snapshot.total("tickring_cluster_fence"),
        "nats": {
            "state": if view.snapshot.total("tickring_nats_up") == 1 { "up" } else { "down" },
            "server": cluster.server.as_deref(),
        },
    })
}

/// A backend of calls.
fn callee(backend: &BackendStatus) -> Value {
    let BackendCounters {
        calls_total,
        answered_total,
        failed_total,
        retries_total,
        batches_total,
        starts_total,
        ends_total,
        garbage_total,
        late_total,
        invalidations_total,
    } = backend.counters;
    let member = |member: &BackendMember| {
        json!({
            "name": &*member.name,
            "state": member.state,
            "under_way": member.under_way,
            "pid": member.pid,
            "last_reason": member.last_reason.as_deref(),
        })
    };
    json!({
        "name": &*backend.name,
        "kind": backend.kind,
        "state": if backend.is_up { "up" } else { "down" },
        "members": backend.members.iter().map(member).collect::<Vec<Value>>(),
        "calls": {
            "under_way": backend.under_way(),
            "total": calls_total,
            "answered": answered_total,
            "failed": failed_total,
            "retried": retries_total,
            "batches": batches_total,
            "late_answers": late_total,
        },
        "starts": starts_total,
        "ends": ends_total,
        "garbage_lines": garbage_total,
        "invalidations": invalidations_total,
        "reuse_percent": backend.reuse_percent().map(rounded),
    })
}

/// A request is answered in the turn that takes it, so that the mean busy turn of the last seconds is what it takes here.
fn mean_turn_ms(view: &View<'_>) -> Value {
    let (added, _) = view.rates.since_oldest(&super::performance::newest(view));
    match added.busy_turns {
        0 => Value::Null,
        turns => Value::from(rounded(added.busy_ns as f64 / turns as f64 / 1e6 * 1000.0) / 1000.0),
    }
}
