//! `GET /health`, `/api/health`, `/healthz`: is it well? PURE.

use serde_json::json;

use super::{Answer, Phase, View};

/// The state in one word, and how many backends are up.
pub(super) fn answer(view: &View<'_>) -> Answer {
    let (healthy, total) = view.backends();
    let (overloaded, shards) = view.shards_from(1);
    let (status, code) = match view.phase {
        Phase::Starting => ("starting", 503),
        Phase::Draining => ("draining", 503),
        Phase::Serving if total > 0 && healthy == 0 => ("unhealthy", 503),
        Phase::Serving if healthy < total || overloaded > 0 => ("degraded", 200),
        Phase::Serving => ("healthy", 200),
    };
    Answer::json(
        code,
        &json!({
            "status": status,
            "backends": {"healthy": healthy, "total": total},
            "shards": {"healthy": shards - overloaded, "total": shards},
            "uptime_seconds": view.uptime_ns / 1_000_000_000,
            "version": env!("CARGO_PKG_VERSION"),
        }),
    )
}

/// The process answers.
pub(super) fn alive() -> Answer {
    Answer::text(200, "text/plain; charset=utf-8", "alive\n")
}
