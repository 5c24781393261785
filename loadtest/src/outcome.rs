//! What a run of a scenario against one server came to: the model that the engine fills, that grades and reports read, and
//! that is written as JSON and read again to be compared. PURE.
//! Invariants: times are nanoseconds unless the name says otherwise; a number that was not measured is `None`, never 0;
//! nothing here is rounded; a run whose generator or host was the limit has a `refused` and no grade.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the JSON form; a reader refuses another.
pub(crate) const FORMAT: u32 = 1;

/// All runs of one command, in the order in which they took place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcomes {
    pub(crate) format: u32,
    pub(crate) host: Host,
    pub(crate) tool: Tool,
    pub(crate) runs: Vec<Outcome>,
}

/// The machine, as /proc tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: u32,
    pub(crate) memory_bytes: u64,
}

/// This program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tool {
    pub(crate) version: String,
    /// The commit that it was built from; `None` outside a repository.
    pub(crate) commit: Option<String>,
    pub(crate) arguments: Vec<String>,
}

/// One run of one scenario against one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: String,
    /// The scenario as it was run, in its file's form: defaults and flags applied.
    pub(crate) scenario_toml: String,
    /// The server's name: its dialect's, or that of the peer.
    pub(crate) server: String,
    /// What it says of itself, such as `bun 1.2.3`; `None` where nobody asked.
    pub(crate) server_version: Option<String>,
    pub(crate) url: String,
    pub(crate) started_unix_ms: u64,
    pub(crate) measured_ns: u64,
    pub(crate) counts: Counts,
    /// By kind: see [`Kind`].
    pub(crate) latencies: BTreeMap<Kind, Latency>,
    /// One entry for each second of the measured time.
    pub(crate) seconds: Vec<Second>,
    /// Of the server's process; `None` where it is not on this host, or not ours to look at.
    pub(crate) server_use: Option<ServerUse>,
    pub(crate) generator: GeneratorUse,
    /// Why this run says nothing about the server; such a run gets no grade.
    pub(crate) refused: Vec<String>,
    /// What else is to be known of it, a sentence each.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    pub(crate) graded: Option<Graded>,
}

/// What a latency is counted from and to. Open-loop ones begin at the intended time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Begin of the TCP connect to the end of the upgrade's answer.
    Connect,
    /// Intended time of a request to its reply.
    Request,
    /// Intended time of a publish to its delivery, over all subscribers.
    Delivery,
    /// First to last subscriber's delivery of the same publish.
    Spread,
    /// Intended time of an order to its acknowledgement.
    Order,
    /// Loss of a connection to the end of its resubscription.
    Reconnect,
}

/// A distribution, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) min_ns: u64,
    pub(crate) mean_ns: f64,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) p9999_ns: u64,
    pub(crate) max_ns: u64,
    /// The percentile curve: (quantile below 1, value), quantiles ascending, denser towards 1.
    pub(crate) curve: Vec<(f64, u64)>,
}

/// What happened, how often, in the measured time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) connections_wanted: u64,
    pub(crate) connections_opened: u64,
    pub(crate) connections_lost: u64,
    pub(crate) requests_sent: u64,
    pub(crate) replies_received: u64,
    pub(crate) published: u64,
    /// What subscribers ought to have received of it, and what they did.
    pub(crate) deliveries_expected: u64,
    pub(crate) deliveries_received: u64,
    /// Numbers left out, over all subscribers; a class that conflates leaves some out on purpose.
    pub(crate) gaps: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// By kind, such as `connect refused` or `close 1013`.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// One second of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    /// Since the begin of the measured time, at this second's end.
    pub(crate) at_ms: u64,
    pub(crate) connections: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) errors: u64,
    /// Of all open-loop latencies of this second; `None` where there was none.
    pub(crate) p50_ns: Option<u64>,
    pub(crate) p99_ns: Option<u64>,
    pub(crate) max_ns: Option<u64>,
    /// Of the server's process, in cores; `None` as `server_use`.
    pub(crate) server_cpu_cores: Option<f64>,
    pub(crate) server_resident_bytes: Option<u64>,
}

/// What the server's process used in the measured time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerUse {
    pub(crate) cpu_ns: u64,
    /// The busiest thread, on a core or ready and waiting for one, as a share of the time.
    pub(crate) busiest_thread_share: f64,
    pub(crate) resident_peak_bytes: u64,
    /// Before the first connection.
    pub(crate) resident_before_bytes: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
}

/// How near the generator and the host were to their own limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GeneratorUse {
    pub(crate) processes: u32,
    /// The share of its time that the busiest generator thread had something to do.
    pub(crate) busy_share: f64,
    /// How late messages left after their intended time.
    pub(crate) lag_p50_ns: u64,
    pub(crate) lag_p99_ns: u64,
    /// Of all cores, time stolen by the hypervisor, as a share; `None` where /proc/stat does not tell.
    pub(crate) steal_share: Option<f64>,
}

/// A grade and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Graded {
    pub(crate) grade: Grade,
    /// One for each threshold that was applied, best first.
    pub(crate) criteria: Vec<Criterion>,
}

/// A grade of one thing; the run's is the worst of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Criterion {
    pub(crate) name: String,
    pub(crate) grade: Grade,
    /// What was measured and where the next better grade begins, as one sentence.
    pub(crate) reason: String,
}

/// From the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Grade {
    #[serde(rename = "A+")]
    APlus,
    A,
    B,
    C,
    D,
    F,
}
