//! What operators are told over HTTP: each endpoint's answer from what was measured. PURE.
//!
//! Home: the control thread (`control.rs`), which knows sockets and gathers the [`View`]. Invariant: [`ROUTES`] is every path there
//! is; `openapi.json` documents each, which a test holds.

pub mod access;
mod alerts;
mod answer;
mod cache;
pub mod connections;
mod console;
pub mod dead_letters;
mod events;
mod export;
mod health;
mod histograms;
pub mod invalidation;
mod kill_switch;
mod logs;
mod metrics;
mod openapi;
mod performance;
pub mod profiles;
pub mod publish;
mod ready;
pub mod shards;
mod status;
pub mod tools;
pub mod topics;
mod websocket;

use std::sync::Arc;

use crate::cluster::names::ClusterName;
use crate::cluster::node::Standing;
use crate::model::link::{LinkState, LinkStatus};
use crate::model::time::Now;
use crate::telemetry::alerts::Alerts;
use crate::telemetry::latency::{Collection, Recent};
use crate::telemetry::{BackendStatus, Looks, Rates, Snapshot};

pub use answer::{Answer, Body, accepts_gzip, gzip};
pub use console::{CONTENT_SECURITY_POLICY, ConsoleFile};
pub use events::event;
pub use kill_switch::{
    Asked, answered as kill_switch_answered, asked as kill_switch_asked, elsewhere as kill_switch_elsewhere,
};
pub use logs::{FileEnd, LINES_MAX, Line, Lines, limit as log_limit};

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not every shard listens yet.
    Starting,
    Serving,
    /// It was told to stop.
    Draining,
}

/// The two methods that are spoken; `HEAD` is a `GET` without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Health,
    Healthz,
    Ready,
    Status,
    Logs,
    Metrics,
    Export,
    Histograms,
    Performance,
    Cache,
    WebSocket,
    Connections,
    Topics,
    Shards,
    Profile,
    Heap,
    Trace,
    Publish,
    Tools,
    CallTool,
    OpenApi,
    Alerts,
    /// A stream, which does not end with an answer.
    Events,
    Console(ConsoleFile),
    Drain,
    KillSwitch,
    InvalidateCache,
    DeadLetters,
    RequeueDeadLetters,
    PurgeDeadLetters,
}

/// Every path with its method and endpoint.
pub const ROUTES: [(&str, Method, Route); 33] = [
    ("/", Method::Get, Route::Console(ConsoleFile::Page)),
    ("/console.css", Method::Get, Route::Console(ConsoleFile::Style)),
    ("/console.js", Method::Get, Route::Console(ConsoleFile::Script)),
    ("/health", Method::Get, Route::Health),
    ("/api/health", Method::Get, Route::Health),
    ("/healthz", Method::Get, Route::Healthz),
    ("/ready", Method::Get, Route::Ready),
    ("/api/status", Method::Get, Route::Status),
    ("/api/logs", Method::Get, Route::Logs),
    ("/metrics", Method::Get, Route::Metrics),
    ("/api/metrics", Method::Get, Route::Export),
    ("/api/histograms", Method::Get, Route::Histograms),
    ("/performance/metrics", Method::Get, Route::Performance),
    ("/performance/cache", Method::Get, Route::Cache),
    ("/websocket/ws/status", Method::Get, Route::WebSocket),
    ("/api/connections", Method::Get, Route::Connections),
    ("/api/connections/trace", Method::Post, Route::Trace),
    ("/api/topics", Method::Get, Route::Topics),
    ("/debug/shards", Method::Get, Route::Shards),
    ("/debug/pprof/profile", Method::Get, Route::Profile),
    ("/debug/pprof/heap", Method::Get, Route::Heap),
    ("/api/openapi.json", Method::Get, Route::OpenApi),
    ("/api/alerts", Method::Get, Route::Alerts),
    ("/api/events", Method::Get, Route::Events),
    ("/api/publish", Method::Post, Route::Publish),
    ("/api/tools", Method::Get, Route::Tools),
    ("/api/tools/call", Method::Post, Route::CallTool),
    ("/api/drain", Method::Post, Route::Drain),
    ("/api/kill-switch", Method::Post, Route::KillSwitch),
    ("/api/cache/invalidate", Method::Post, Route::InvalidateCache),
    ("/api/dead-letters", Method::Get, Route::DeadLetters),
    ("/api/dead-letters/requeue", Method::Post, Route::RequeueDeadLetters),
    ("/api/dead-letters/purge", Method::Post, Route::PurgeDeadLetters),
];

/// What an answer is made of.
#[derive(Debug)]
pub struct View<'a> {
    pub snapshot: &'a Snapshot<'a>,
    /// Where they were asked for.
    pub histograms: Option<&'a Collection>,
    pub rates: &'a Rates,
    pub looks: &'a Looks,
    pub alerts: &'a Alerts,
    /// Of the last second.
    pub latency: &'a [Recent],
    pub links: Arc<Box<[LinkStatus]>>,
    /// Backends of calls.
    pub callees: Arc<Vec<BackendStatus>>,
    /// None of a node by itself.
    pub cluster: Option<ClusterView>,
    pub phase: Phase,
    pub now: Now,
    /// Since the start.
    pub uptime_ns: u64,
    /// What a turn may take before its shard is overloaded (`overload.turn_ms_max`).
    pub turn_ns_max: u64,
    /// Bytes that histories may hold.
    pub history_bytes_max: u64,
    pub lines: Lines,
}

/// The cluster that this node is of.
#[derive(Clone, Debug)]
pub struct ClusterView {
    pub name: ClusterName,
    pub node: ClusterName,
    pub standing: Standing,
    /// Of NATS, the one that is spoken to or was last.
    pub server: Option<Arc<String>>,
}

/// What of a request an answer depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Question<'a> {
    /// Without its `?`.
    pub query: &'a str,
    pub accept: &'a str,
}

/// The answer of an endpoint that changes nothing.
#[must_use]
pub fn answer(route: Route, question: Question<'_>, view: &View<'_>) -> Answer {
    match route {
        Route::Health => health::answer(view),
        Route::Healthz => health::alive(),
        Route::Ready => ready::answer(view),
        Route::Status => status::answer(view),
        Route::Logs => logs::answer(question, view),
        Route::Metrics => metrics::answer(question, view),
        Route::Export => export::answer(question, view),
        Route::Histograms => histograms::answer(question, view),
        Route::Performance => performance::answer(view),
        Route::Cache => cache::answer(view),
        Route::WebSocket => websocket::answer(view),
        Route::OpenApi => openapi::answer(),
        Route::Tools => Answer::text(200, "application/json", tools::listed()),
        Route::Alerts => alerts::answer(view),
        Route::Events => Answer::text(200, "text/event-stream", event(view)),
        Route::Console(file) => console::answer(file),
        Route::Heap => profiles::heap(),
        Route::Drain => Answer::accepted(),
        Route::KillSwitch
        | Route::InvalidateCache
        | Route::DeadLetters
        | Route::RequeueDeadLetters
        | Route::PurgeDeadLetters
        | Route::Connections
        | Route::Topics
        | Route::Shards
        | Route::Profile
        | Route::Trace
        | Route::CallTool
        | Route::Publish => Answer::error(500, "this endpoint is answered by what other threads say"),
    }
}

impl View<'_> {
    /// Links that are up, and all there are; the feed is one.
    fn backends(&self) -> (usize, usize) {
        let links = self.links.iter().filter(|link| link.state == LinkState::Up).count();
        let callees = self.callees.iter().filter(|callee| callee.is_up).count();
        (links + callees, self.links.len() + self.callees.len())
    }

    /// Shards at this stance or above: 0 normal, 1 guarded, 2 shedding; and all there are.
    fn shards_from(&self, stance: u64) -> (usize, usize) {
        let stances = self.snapshot.samples("tickring_overload_stance");
        (stances.iter().filter(|sample| sample.value >= stance).count(), stances.len())
    }
}

/// The numbers of those shards that did not answer in time.
fn silent(shards: impl Iterator<Item = (usize, bool)>) -> Vec<usize> {
    shards.filter(|(_, has_answered)| !has_answered).map(|(shard, _)| shard).collect()
}

/// A shard that alone could answer has not done so in time.
fn shard_is_silent() -> Answer {
    Answer::error(504, "the shard has not answered in time")
}

/// A share in percent, with two digits after the point; `whole` of nothing is all of it.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 100.0 } else { rounded(part as f64 / whole as f64 * 100.0) }
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// The value of a parameter of a query.
fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
