//! Alerts: what an operator is to be told without asking, from one table. PURE.
//!
//! Home: whoever answers operators looks once a second. Invariants: `monitoring/alerts.yml` is written from the same table
//! ([`page()`]), so that the console and Prometheus speak of the same conditions; an alert fires when its condition has held at every
//! look for as long as the table says.

mod page;
mod table;

use crate::model::time::Now;

use super::latency::Recent;
use super::{Snapshot, Window};

pub use page::page;
pub use table::RULES;

/// Over how many seconds rates are taken here; Prometheus, which looks seldom, takes them over a minute.
pub const WINDOW_S: u64 = 10;
/// The usual rate of requests is the mean of about so long.
const USUAL_S: f64 = 3600.0;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Clients are worse served, or soon will be: look today.
    Warning,
    /// Clients are not served, or money is at stake: look now.
    Critical,
}

impl Severity {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// On which side of its threshold a value is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Above,
    Below,
}

impl Side {
    /// As PromQL writes it.
    #[must_use]
    pub const fn operator(self) -> &'static str {
        match self {
            Side::Above => ">",
            Side::Below => "<",
        }
    }
}

/// What a value is, for those who write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    /// Of 1.
    Share,
    PerSecond,
    Count,
}

impl Unit {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::Seconds => "seconds",
            Unit::Share => "share",
            Unit::PerSecond => "per_second",
            Unit::Count => "count",
        }
    }
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub name: &'static str,
    pub severity: Severity,
    pub side: Side,
    pub threshold: f64,
    pub unit: Unit,
    /// How long it holds before it fires.
    pub for_s: u64,
    /// The value in PromQL, for each instance.
    pub expr: &'static str,
    /// In PromQL as well: when it is not to fire all the same.
    pub unless: Option<&'static str>,
    pub summary: &'static str,
    pub cure: &'static str,
    /// The same value here, which says nothing where there is nothing to judge; `None` where the process cannot see it of itself.
    pub measure: Option<fn(&Measured<'_>) -> Option<f64>>,
}

/// What values are made from.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    pub snapshot: &'a Snapshot<'a>,
    /// The last [`WINDOW_S`].
    pub window: Window<'a>,
    /// Of the last second.
    pub latency: &'a [Recent],
    /// Requests a second, as usual.
    pub usual_requests_per_s: f64,
}

/// How an alert stands.
#[derive(Clone, Copy, Debug)]
pub struct Alert {
    pub rule: &'static Rule,
    pub value: f64,
    pub since_unix_ms: u64,
    /// It has held for long enough.
    pub is_firing: bool,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    /// Whose condition holds, in the order of the table.
    active: Vec<(Alert, u64)>,
    usual_requests_per_s: f64,
    looked_ns: u64,
}

impl Alerts {
    /// Takes note of how things are now; `window` is the last [`WINDOW_S`], `latency` the last second.
    pub fn note(&mut self, snapshot: &Snapshot<'_>, window: Window<'_>, latency: &[Recent], now: Now) {
        let requests_per_s = window.per_s("tickring_requests_total");
        let elapsed_s = now.mono_ns.saturating_sub(self.looked_ns) as f64 / 1e9;
        let weight = if self.looked_ns == 0 { 0.0 } else { (elapsed_s / USUAL_S).min(1.0) };
        self.usual_requests_per_s += (requests_per_s - self.usual_requests_per_s) * weight;
        self.looked_ns = now.mono_ns;
        let usual_requests_per_s = self.usual_requests_per_s;
        self.judge(&Measured { snapshot, window, latency, usual_requests_per_s }, now);
    }

    /// Those whose condition holds, in the order of the table.
    pub fn active(&self) -> impl ExactSizeIterator<Item = &Alert> {
        self.active.iter().map(|(alert, _)| alert)
    }

    fn judge(&mut self, measured: &Measured<'_>, now: Now) {
        let before = std::mem::take(&mut self.active);
        self.active = RULES
            .iter()
            .filter_map(|rule| {
                let value = rule.measure?(measured).filter(|value| rule.is_bad(*value))?;
                let known = before.iter().find(|(alert, _)| alert.rule.name == rule.name);
                let (since_unix_ms, since_ns) = known
                    .map_or((now.unix_ns / 1_000_000, now.mono_ns), |(alert, since_ns)| {
                        (alert.since_unix_ms, *since_ns)
                    });
                let is_firing = now.mono_ns.saturating_sub(since_ns) >= rule.for_s * 1_000_000_000;
                Some((Alert { rule, value, since_unix_ms, is_firing }, since_ns))
            })
            .collect();
    }
}

impl Rule {
    fn is_bad(&self, value: f64) -> bool {
        match self.side {
            Side::Above => value > self.threshold,
            Side::Below => value < self.threshold,
        }
    }
}

#[cfg(test)]
mod tests;
