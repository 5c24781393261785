//! Kinds of backends, and which keys each has. Home: the main thread.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    /// Child processes that speak JSON-RPC in lines on standard input and output.
    #[default]
    Stdio,
    /// JSON-RPC over HTTP/1.1 and HTTP/2.
    Http,
    /// JSON-RPC in lines over TCP, by links of the shards.
    Tcp,
    /// Child processes that speak MCP.
    McpStdio,
    /// MCP over Streamable HTTP.
    McpHttp,
}

/// Keys that only backends of child processes have, and those that only backends at addresses have.
const OF_PROCESSES: &[&str] = &[
    "command",
    "directory",
    "environment",
    "start",
    "stop_timeout_ms",
    "memory_bytes_max",
    "descriptors_max",
    "cpu_s_max",
    "cpu_percent_max",
    "file_bytes_max",
    "max_retries",
    "retry_delay_ms",
];
const OF_LINKS: &[&str] = &[
    "addresses",
    "weights",
    "balance",
    "connect_timeout_ms",
    "attempts_max",
    "breaker_failures",
    "breaker_open_ms",
    "ejection_percent",
    "health_interval_ms",
];
/// And those that only one kind of those has.
const OF_HTTP: &[&str] = &["health_path", "http2", "authorization", "authorities"];
const OF_TCP: &[&str] = &["health_method"];
/// Those of both, where calls may be sent as arrays.
const OF_ARRAYS: &[&str] = &["batch_count_max", "batch_bytes_max", "batch_wait_us", "batch_adaptive"];
/// Those of backends that speak MCP, and those that they have not.
const OF_MCP: &[&str] = &["prefix", "instances"];
const NOT_OF_MCP: &[&str] = &[
    "methods",
    "idempotent",
    "cache_ttl_ms",
    "cache_shared",
    "in_flight_per_client_max",
    "messages",
    "messages_in_flight_max",
    "pool",
    "idle_timeout_ms",
    "start",
    "max_retries",
    "retry_delay_ms",
    "weights",
    "balance",
    "attempts_max",
    "breaker_failures",
    "breaker_open_ms",
    "health_interval_ms",
    "health_path",
    "http2",
    "batch_count_max",
    "batch_bytes_max",
    "batch_wait_us",
    "batch_adaptive",
];

impl BackendKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            BackendKind::Stdio => "stdio",
            BackendKind::Http => "http",
            BackendKind::Tcp => "tcp",
            BackendKind::McpStdio => "mcp-stdio",
            BackendKind::McpHttp => "mcp-http",
        }
    }

    pub(super) fn has_processes(self) -> bool {
        match self {
            BackendKind::Stdio | BackendKind::McpStdio => true,
            BackendKind::Http | BackendKind::McpHttp | BackendKind::Tcp => false,
        }
    }

    pub(super) fn is_http(self) -> bool {
        match self {
            BackendKind::Stdio | BackendKind::McpStdio | BackendKind::Tcp => false,
            BackendKind::Http | BackendKind::McpHttp => true,
        }
    }

    pub(super) fn is_mcp(self) -> bool {
        match self {
            BackendKind::Stdio | BackendKind::Http | BackendKind::Tcp => false,
            BackendKind::McpStdio | BackendKind::McpHttp => true,
        }
    }

    /// Whether a key means something to backends of this kind.
    pub(super) fn has(self, key: &str) -> bool {
        let is_of = |keys: &[&str]| keys.contains(&key);
        (self.has_processes() || !is_of(OF_PROCESSES))
            && (!self.has_processes() || !is_of(OF_LINKS))
            && (self.is_http() || !is_of(OF_HTTP))
            && (self == BackendKind::Tcp || !is_of(OF_TCP))
            && (!self.has_processes() || !is_of(OF_ARRAYS))
            && (self.is_mcp() || !is_of(OF_MCP))
            && (!self.is_mcp() || !is_of(NOT_OF_MCP))
    }
}

/// Keys that not every kind has.
pub(super) fn keys_of_some() -> impl Iterator<Item = &'static str> {
    let keys = OF_PROCESSES.iter().chain(OF_LINKS).chain(OF_HTTP).chain(OF_TCP);
    keys.chain(OF_ARRAYS).chain(OF_MCP).chain(NOT_OF_MCP).copied()
}
