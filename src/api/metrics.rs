//! `GET /metrics`: for Prometheus, in the form that it asks for. PURE.

use crate::telemetry::{Form, exposition};

use super::{Answer, Question, View};

pub(super) fn answer(question: Question<'_>, view: &View<'_>) -> Answer {
    let form = Form::of_accept(question.accept);
    Answer::text(200, form.content_type(), exposition(view.snapshot, form))
}
