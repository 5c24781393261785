//! `GET /metrics`: for Prometheus, in the form that it asks for. PURE.

use crate::telemetry::latency::Collection;
use crate::telemetry::{Form, exposition};

use super::{Answer, Question, View};

pub(super) fn answer(question: Question<'_>, view: &View<'_>) -> Answer {
    let form = Form::of_accept(question.accept);
    let latency = view.histograms.map(Collection::total);
    Answer::text(200, form.content_type(), exposition(view.snapshot, latency, form))
}
