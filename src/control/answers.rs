//! Answers about the gateway's status that are kept for a moment, so that many who ask cost as much as one. Home: the control thread.
//!
//! Invariants: an answer is told for `STATUS_KEPT_NS` at most, behind which it is made anew, and in the phase alone in which it was
//! made: nobody hears that the server serves once it drains. Who may come in and what is well (`/ready`, `/health`) is never kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::api::{Answer, Phase, Route};
use crate::limits;

/// Those that are kept.
const ROUTES: [Route; 4] = [Route::Status, Route::Performance, Route::Cache, Route::WebSocket];

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Answers {
    kept: [ArcSwapOption<Kept>; ROUTES.len()],
    hits_total: AtomicU64,
    misses_total: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    made_ns: u64,
    phase: Phase,
    answer: Answer,
}

impl Answers {
    /// The answer of before where it is kept and still good, else what `make` makes.
    pub(super) fn of(
        &self,
        route: Route,
        phase: Phase,
        now_ns: u64,
        make: impl FnOnce() -> Answer,
    ) -> Answer {
        let Some(place) = ROUTES.iter().position(|kept| *kept == route) else { return make() };
        let is_good =
            |kept: &Kept| kept.phase == phase && now_ns.saturating_sub(kept.made_ns) < limits::STATUS_KEPT_NS;
        if let Some(kept) = self.kept[place].load().as_deref().filter(|kept| is_good(kept)) {
            self.hits_total.fetch_add(1, Ordering::Relaxed);
            return kept.answer.clone();
        }
        self.misses_total.fetch_add(1, Ordering::Relaxed);
        let answer = make();
        self.kept[place].store(Some(Arc::new(Kept { made_ns: now_ns, phase, answer: answer.clone() })));
        answer
    }

    /// Answers that were kept, and those that were made because none was.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.hits_total.load(Ordering::Relaxed), self.misses_total.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT_NS: u64 = limits::STATUS_KEPT_NS;

    /// What is told of one route after the other, each made as a number of its own where it is made.
    fn told(asked: &[(Route, Phase, u64)]) -> (Vec<String>, (u64, u64)) {
        let (answers, mut made) = (Answers::default(), 0);
        let told = asked.iter().map(|(route, phase, now_ns)| {
            let answer = answers.of(*route, *phase, *now_ns, || {
                made += 1;
                Answer::text(200, "text/plain", made.to_string())
            });
            answer.body.text.into_owned()
        });
        (told.collect(), answers.counts())
    }

    #[test]
    fn an_answer_is_told_again_until_it_is_too_old() {
        let at = |now_ns| (Route::Status, Phase::Serving, now_ns);
        let (told, counts) = told(&[at(5), at(5 + KEPT_NS - 1), at(5 + KEPT_NS), at(6 + KEPT_NS)]);
        assert_eq!((told, counts), (["1", "1", "2", "2"].map(str::to_owned).to_vec(), (2, 2)));
    }

    #[test]
    fn an_answer_of_another_path_or_phase_is_another() {
        let (told, counts) = told(&[
            (Route::Status, Phase::Serving, 1),
            (Route::Cache, Phase::Serving, 1),
            (Route::Status, Phase::Draining, 1),
            (Route::Cache, Phase::Serving, 2),
        ]);
        assert_eq!((told, counts), (["1", "2", "3", "2"].map(str::to_owned).to_vec(), (1, 3)));
    }

    #[test]
    fn who_asks_whether_it_is_well_hears_of_this_moment() {
        let (told, counts) = told(&[(Route::Health, Phase::Serving, 1), (Route::Health, Phase::Serving, 1)]);
        assert_eq!((told, counts), (["1", "2"].map(str::to_owned).to_vec(), (0, 0)));
    }
}
