//! What a backend of calls is by the configuration: what is routed to it, and how it is reached. PURE. Home: made by the main thread, read
//! by every thread that routes or carries calls.
//!
//! Invariant: values are within the ranges of `tickring.toml`; of two backends no id and no name is the same.

use std::path::PathBuf;

use super::pool::{BackoffConfig, MemberConfig, PoolConfig, RetryConfig};
use super::rpc::Batching;
use crate::model::call::BackendId;

/// One `[[backend]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendSettings {
    /// The same as long as the process runs and the backend is configured, whatever comes and goes around it.
    pub id: BackendId,
    pub name: Box<str>,
    pub route: RouteSettings,
    pub way: WaySettings,
}

/// Which calls are its own, and what hubs do for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// `risk/*`, all methods of that prefix, or one method, `risk/price`. Of two that fit, the longer one counts.
    pub methods: Vec<Box<str>>,
    pub access: Access,
    /// Methods, written in the same way, that may be sent twice.
    pub idempotent: Vec<Box<str>>,
    /// How long answers of those are good for; 0: none is kept.
    pub cache_ttl_ns: u64,
    /// Whether one account's answer is every account's.
    pub cache_shared: bool,
    /// From the request to the answer, whatever happens between.
    pub timeout_ns: u64,
    /// Calls under way from one shard.
    pub in_flight_max: u32,
    /// Of those, from one connection.
    pub in_flight_per_client_max: u32,
    /// Types of messages that it processes: `approval`, `risk.*`, `*`; of two that fit, the longer one counts.
    pub messages: Vec<Box<str>>,
    /// Messages that it may have at a time.
    pub messages_in_flight_max: u32,
}

/// Whose calls are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everybody's, also without a log-in.
    Public,
    /// Of who has logged in with the scope `backend:read`.
    Read,
    /// Of who has logged in with the scope `backend:read_write`.
    #[default]
    ReadWrite,
}

/// How it is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum WaySettings {
    /// Child processes that speak JSON-RPC in lines.
    Stdio(ProcessSettings),
    /// JSON-RPC over HTTP.
    Http(HttpSettings),
    /// JSON-RPC in lines over TCP, from the shards.
    Tcp(TcpSettings),
    /// Servers of the Model Context Protocol, which clients of that see as one; no method is routed to them.
    McpStdio(ProcessSettings, McpSettings),
    McpHttp(HttpSettings, McpSettings),
}

impl WaySettings {
    /// Whether it is for clients of the Model Context Protocol.
    #[must_use]
    pub fn speaks_mcp(&self) -> bool {
        match self {
            WaySettings::Stdio(_) | WaySettings::Http(_) | WaySettings::Tcp(_) => false,
            WaySettings::McpStdio(..) | WaySettings::McpHttp(..) => true,
        }
    }
}

/// How a server of the Model Context Protocol is one with the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpSettings {
    /// Before the names of its tools and prompts, its two underscores included; empty for nothing.
    pub prefix: Box<str>,
    pub instances: McpInstances,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum McpInstances {
    /// One for all clients.
    #[default]
    Shared,
    /// One for each client's session.
    PerSession,
}

/// Child processes that do the same, and when there is another one in place of one that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// A program and its arguments; at least the program.
    pub command: Vec<String>,
    /// Where it is started; `None`: where the gateway was.
    pub directory: Option<PathBuf>,
    /// What its environment has beside a few usual variables.
    pub environment: Vec<(String, String)>,
    /// How many there are.
    pub pool: u16,
    pub start: Start,
    /// How long one that was started on demand may have nothing to do; 0: for good.
    pub idle_timeout_ns: u64,
    /// Before it is started again.
    pub backoff: BackoffConfig,
    /// Failures in a row after which it is given up; 0: never.
    pub failures_max: u32,
    /// For each step of an end: standard input closed, SIGTERM, SIGKILL.
    pub stop_timeout_ns: u64,
    pub limits: ProcessLimits,
    /// Of one processor, for all of them together, by a control group; 0: as much as there is.
    pub cpu_percent_max: u32,
    /// That group, once it is known; `None` without a share.
    pub control_group: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// By the first call that finds none free.
    #[default]
    Demand,
    /// With the gateway.
    Boot,
}

/// What one child may use at most; 0: as much as the gateway itself may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Of address space (`RLIMIT_AS`).
    pub memory_bytes: u64,
    pub descriptors: u32,
    /// Seconds of processor time, after which it is killed (`RLIMIT_CPU`).
    pub cpu_s: u32,
    /// Of each file that it writes (`RLIMIT_FSIZE`).
    pub file_bytes: u64,
}

/// Services that do the same, each at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// At least one, URLs or `host:port` as the kind has it.
    pub members: Vec<MemberConfig>,
    pub pool: PoolConfig,
    /// Connections that are kept to each of them.
    pub links: u16,
    /// How long one may have nothing to do before it is closed; 0: for good.
    pub idle_timeout_ns: u64,
    pub connect_timeout_ns: u64,
    pub retry: RetryConfig,
}

/// Services that are asked over HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    pub links: LinkSettings,
    /// Of `http://` addresses: HTTP/2 from the first byte. Over TLS both are offered.
    pub http2: bool,
    /// The value of `Authorization`; empty for none.
    pub authorization: String,
    /// What is asked for by GET to see whether it is well, a path; empty: a connection is enough.
    pub health_path: String,
    /// Certificates that are trusted in place of the host's, in PEM; `None`: those of the host.
    pub authorities: Option<PathBuf>,
    /// Of requests to each address, for who takes arrays of them; `None`: none is sent.
    pub batching: Option<Batching>,
}

/// Services that are spoken to over TCP, a line each.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpSettings {
    pub links: LinkSettings,
    /// Of requests, for who takes arrays of them; `None`: none is sent.
    pub batching: Option<Batching>,
    /// What is called to see whether an address is well, where any answer will do; empty: a connection is enough.
    pub health_method: Box<str>,
}
