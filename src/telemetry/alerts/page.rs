//! monitoring/alerts.yml, as the table has it. PURE.

use super::{RULES, Rule};

const HEAD: &str = "\
# Alerts for Prometheus. Written from the table in src/telemetry/alerts/table.rs, which the console reads as well; a test compares
# them (`TICKRING_WRITE_DOCS=1 cargo test --test monitoring` writes it anew).
# Prometheus alone can see that nothing answers: TickringDown is no line of that table.
groups:
  - name: tickring
    rules:
      - alert: TickringDown
        expr: up{job=\"tickring\"} == 0
        for: 15s
        labels:
          severity: critical
        annotations:
          summary: The gateway does not answer.
          description: systemctl status tickring
";

/// The whole file.
#[must_use]
pub fn page() -> String {
    let mut out = HEAD.to_owned();
    RULES.iter().for_each(|rule| out.push_str(&entry(rule)));
    out
}

fn entry(rule: &Rule) -> String {
    let Rule { name, severity, side, threshold, unit, for_s, expr, unless, summary, cure, .. } = rule;
    let (severity, operator, unit) = (severity.as_str(), side.operator(), unit.as_str());
    let unless = unless.map(|unless| format!("\n          unless\n          {unless}")).unwrap_or_default();
    format!(
        "      - alert: {name}
        expr: |-
          {expr}
          {operator} {threshold}{unless}
        for: {for_s}s
        labels:
          severity: {severity}
        annotations:
          summary: {summary:?}
          description: {cure:?}
          unit: {unit}
"
    )
}
