//! `GET /api/histograms?format=json|csv|hlog`: how long things take, of the interval under way. PURE.

use crate::telemetry::latency;

use super::{Answer, Question, View, parameter};

pub(super) fn answer(question: Question<'_>, view: &View<'_>) -> Answer {
    let Some(histograms) = view.histograms else {
        return Answer::error(500, "histograms are answered once they are gathered");
    };
    match parameter(question.query, "format").unwrap_or("json") {
        "json" => Answer::json(200, &latency::json(histograms)),
        "csv" => Answer::text(200, "text/csv; charset=utf-8; header=present", latency::csv(histograms)),
        "hlog" => {
            let log = latency::interval_log(histograms, view.now);
            Answer::text(200, "text/plain; charset=utf-8", log)
        }
        _ => Answer::error(400, "format is json, csv or hlog"),
    }
}
