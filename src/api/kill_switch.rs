//! `POST /api/kill-switch`: halts or resumes the trading of everybody. PURE.

use serde::Deserialize;
use serde_json::json;

use super::Answer;

/// The body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    pub halted: bool,
}

/// # Errors
/// The body is not `{"halted": true}` or `{"halted": false}`.
pub fn asked(body: &[u8]) -> Result<Asked, Answer> {
    serde_json::from_slice(body)
        .map_err(|_| Answer::error(400, "the body is {\"halted\": true} or {\"halted\": false}"))
}

/// `is_done` says whether the desk has done it: new orders are refused from then on, open ones are being cancelled.
#[must_use]
pub fn answered(asked: Asked, is_done: bool) -> Answer {
    Answer::json(if is_done { 200 } else { 202 }, &json!({"halted": asked.halted, "applied": is_done}))
}

/// The node follows another: nothing was halted or resumed.
#[must_use]
pub fn elsewhere() -> Answer {
    Answer::error(
        409,
        "this node does not own the market: ask the one that does, which /api/status of each names",
    )
}
