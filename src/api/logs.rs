//! `GET /api/logs?limit=`: the last lines of the log, from memory. PURE.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Question, View, parameter};

/// Lines of one answer, and those that are kept.
pub const LINES_MAX: usize = 1000;
const LINES_USUAL: usize = 100;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counts all lines since the start, from 1.
    pub number: u64,
    pub unix_ms: u64,
    pub level: &'static str,
    pub target: Arc<str>,
    pub message: Arc<str>,
}

/// How many lines a query asks for; `None` where that is no number from 1 on. More than there may be are as many as may.
#[must_use]
pub fn limit(query: &str) -> Option<usize> {
    match parameter(query, "limit") {
        None => Some(LINES_USUAL),
        Some(text) => text.parse().ok().filter(|lines| *lines > 0).map(|lines: usize| lines.min(LINES_MAX)),
    }
}

pub(super) fn answer(question: Question<'_>, view: &View<'_>) -> Answer {
    let Some(limit) = limit(question.query) else {
        return Answer::error(400, "limit is a number of lines, 1 to 1000");
    };
    let first = view.lines.len().saturating_sub(limit);
    let lines = view.lines[first..].iter().map(|line| {
        json!({
            "number": line.number,
            "timestamp_ms": line.unix_ms,
            "level": line.level,
            "target": &*line.target,
            "message": &*line.message,
        })
    });
    let lines: Vec<Value> = lines.collect();
    Answer::json(
        200,
        &json!({
            "count": lines.len(),
            "limit": limit,
            "total": view.snapshot.total("tickring_log_lines_total"),
            "logs": lines,
        }),
    )
}
