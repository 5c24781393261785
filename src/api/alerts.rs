//! `GET /api/alerts`: which alerts are active. PURE.

use serde_json::{Value, json};

use crate::telemetry::alerts::{Alert, RULES};

use super::{Answer, View};

pub(super) fn answer(view: &View<'_>) -> Answer {
    let alerts = active(view);
    let judged = RULES.iter().filter(|rule| rule.measure.is_some()).count();
    let firing = view.alerts.active().filter(|alert| alert.is_firing).count();
    Answer::json(200, &json!({"rules": judged, "firing": firing, "alerts": alerts}))
}

/// Those whose condition holds, the gravest first.
pub(super) fn active(view: &View<'_>) -> Vec<Value> {
    view.alerts.active().map(alert).collect()
}

fn alert(alert: &Alert) -> Value {
    let Alert { rule, value, since_unix_ms, is_firing } = alert;
    json!({
        "name": rule.name,
        "severity": rule.severity.as_str(),
        "state": if *is_firing { "firing" } else { "pending" },
        "value": value,
        "threshold": rule.threshold,
        "unit": rule.unit.as_str(),
        "since_unix_ms": since_unix_ms,
        "for_seconds": rule.for_s,
        "summary": rule.summary,
        "cure": rule.cure,
    })
}
