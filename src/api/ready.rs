//! `GET /ready`: would a new client be let in? PURE.

use super::{Answer, Phase, View};

const RETRY_AFTER_S: u32 = 1;

/// The words are those of the clients' listeners.
pub(super) fn answer(view: &View<'_>) -> Answer {
    let (guarded, shards) = view.shards_from(1);
    let refusal = match view.phase {
        Phase::Starting => "starting\n",
        Phase::Draining => "draining\n",
        Phase::Serving if guarded == shards => "overloaded\n",
        Phase::Serving => return Answer::text(200, "text/plain; charset=utf-8", "ready\n"),
    };
    let answer = Answer::text(503, "text/plain; charset=utf-8", refusal);
    Answer { retry_after_s: Some(RETRY_AFTER_S), ..answer }
}
