//! `GET /api/metrics?format=json|csv`: all metrics for those who speak no Prometheus. PURE.

use crate::telemetry;

use super::{Answer, Question, View, parameter};

pub(super) fn answer(question: Question<'_>, view: &View<'_>) -> Answer {
    match parameter(question.query, "format").unwrap_or("json") {
        "json" => Answer::text(200, "application/json", telemetry::json(view.snapshot, view.now.unix_ns)),
        "csv" => Answer::text(200, "text/csv; charset=utf-8; header=present", telemetry::csv(view.snapshot)),
        _ => Answer::error(400, "format is json or csv"),
    }
}
