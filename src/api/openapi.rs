//! `GET /api/openapi.json`: what there is, for machines. PURE.

use super::Answer;

pub(super) fn answer() -> Answer {
    Answer::text(200, "application/json", include_str!("openapi.json"))
}
