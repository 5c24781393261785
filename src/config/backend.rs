//! The `[[backend]]` tables: services and child processes that own methods of their own. Home: the main thread.

mod kind;
mod rules;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::backend::pool::{
    BackoffConfig, BreakerConfig, EjectionConfig, HealthConfig, MemberConfig, Pick, PoolConfig, RetryConfig,
};
use crate::backend::rpc::Batching;
use crate::backend::settings::{
    Access, BackendSettings, HttpSettings, LinkSettings, McpInstances, McpSettings, ProcessLimits,
    ProcessSettings, RouteSettings, Start, TcpSettings, WaySettings,
};
use crate::model::call::BackendId;

pub use kind::BackendKind;
pub(super) use rules::check;

const MS: u64 = 1_000_000;
/// How often addresses are compared, by how many calls each, and for how long the worst is left out at first.
const EJECTION_INTERVAL_NS: u64 = 10_000 * MS;
const EJECTION_CALLS_MIN: u32 = 20;
const EJECTED_NS: u64 = 30_000 * MS;
/// Retries for 100 calls: a service that fails is not to be asked twice as much.
const RETRIES_PERCENT_MAX: u32 = 20;
/// A wait grows up to so many times its first length.
const BACKOFF_TIMES_MAX: u64 = 64;

/// One backend. See `docs/backends.md`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backend {
    pub name: String,
    pub kind: BackendKind,
    /// Empty: all of the prefix that is its name.
    pub methods: Vec<String>,
    pub access: CallAccess,
    pub idempotent: Vec<String>,
    pub cache_ttl_ms: u32,
    pub cache_shared: bool,
    pub timeout_ms: u32,
    pub in_flight_max: u32,
    pub in_flight_per_client_max: u32,
    /// Types of messages that it processes.
    pub messages: Vec<String>,
    pub messages_in_flight_max: u32,
    /// Processes, or connections that are kept to each address.
    pub pool: u16,
    pub idle_timeout_ms: u32,
    pub max_retries: u32,
    pub retry_delay_ms: u32,

    pub command: Vec<String>,
    pub directory: PathBuf,
    /// `NAME=value`.
    pub environment: Vec<String>,
    pub start: StartAt,
    pub stop_timeout_ms: u32,
    pub memory_bytes_max: u64,
    pub descriptors_max: u32,
    pub cpu_s_max: u32,
    /// Of one processor, for all processes together.
    pub cpu_percent_max: u32,
    pub file_bytes_max: u64,

    pub addresses: Vec<String>,
    /// In the order of the addresses; empty: the same for all.
    pub weights: Vec<u32>,
    pub balance: BalanceBy,
    pub connect_timeout_ms: u32,
    /// Of an idempotent call.
    pub attempts_max: u8,
    pub breaker_failures: u32,
    pub breaker_open_ms: u32,
    /// Percentage points.
    pub ejection_percent: u8,
    pub health_interval_ms: u32,
    pub health_path: String,
    pub http2: bool,
    pub authorization: String,
    pub authorities: PathBuf,
    pub health_method: String,
    pub batch_count_max: u32,
    pub batch_bytes_max: u32,
    pub batch_wait_us: u32,
    pub batch_adaptive: bool,

    /// `{name}` stands for the name.
    pub prefix: String,
    pub instances: InstancesOf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InstancesOf {
    #[default]
    Shared,
    PerSession,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallAccess {
    Public,
    Read,
    #[default]
    ReadWrite,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    #[default]
    Demand,
    Boot,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BalanceBy {
    #[default]
    RoundRobin,
    LeastConnections,
    Weighted,
}

impl Default for Backend {
    fn default() -> Backend {
        Backend {
            name: String::new(),
            kind: BackendKind::default(),
            methods: Vec::new(),
            access: CallAccess::default(),
            idempotent: Vec::new(),
            cache_ttl_ms: 0,
            cache_shared: false,
            timeout_ms: 30_000,
            in_flight_max: 1_024,
            in_flight_per_client_max: 64,
            messages: Vec::new(),
            messages_in_flight_max: 16,
            pool: 1,
            idle_timeout_ms: 0,
            max_retries: 10,
            retry_delay_ms: 500,
            command: Vec::new(),
            directory: PathBuf::new(),
            environment: Vec::new(),
            start: StartAt::default(),
            stop_timeout_ms: 1_000,
            memory_bytes_max: 0,
            descriptors_max: 256,
            cpu_s_max: 0,
            cpu_percent_max: 0,
            file_bytes_max: 0,
            addresses: Vec::new(),
            weights: Vec::new(),
            balance: BalanceBy::default(),
            connect_timeout_ms: 30_000,
            attempts_max: 2,
            breaker_failures: 5,
            breaker_open_ms: 5_000,
            ejection_percent: 50,
            health_interval_ms: 5_000,
            health_path: String::new(),
            http2: false,
            authorization: String::new(),
            authorities: PathBuf::new(),
            health_method: String::new(),
            batch_count_max: 1,
            batch_bytes_max: 16_384,
            batch_wait_us: 0,
            batch_adaptive: true,
            prefix: "{name}".to_owned(),
            instances: InstancesOf::default(),
        }
    }
}

impl Backend {
    /// What threads are told; `id` is the caller's affair. Values are within their ranges.
    #[must_use]
    pub fn settings(&self, id: BackendId) -> BackendSettings {
        let way = match self.kind {
            BackendKind::Stdio => WaySettings::Stdio(self.process()),
            BackendKind::Http => WaySettings::Http(self.http()),
            BackendKind::Tcp => WaySettings::Tcp(self.tcp()),
            BackendKind::McpStdio => WaySettings::McpStdio(self.process(), self.mcp()),
            BackendKind::McpHttp => WaySettings::McpHttp(self.http(), self.mcp()),
        };
        BackendSettings { id, name: self.name.as_str().into(), route: self.route(), way }
    }

    /// Whether clients of MCP see what it has.
    #[must_use]
    pub fn speaks_mcp(&self) -> bool {
        self.kind.is_mcp()
    }

    /// The methods that are its own.
    #[must_use]
    pub fn own_methods(&self) -> Vec<Box<str>> {
        if self.kind.is_mcp() {
            return Vec::new();
        }
        if self.methods.is_empty() { vec![format!("{}/*", self.name).into()] } else { texts(&self.methods) }
    }

    fn route(&self) -> RouteSettings {
        RouteSettings {
            methods: self.own_methods(),
            access: match self.access {
                CallAccess::Public => Access::Public,
                CallAccess::Read => Access::Read,
                CallAccess::ReadWrite => Access::ReadWrite,
            },
            idempotent: texts(&self.idempotent),
            cache_ttl_ns: ns(self.cache_ttl_ms),
            cache_shared: self.cache_shared,
            timeout_ns: ns(self.timeout_ms),
            in_flight_max: self.in_flight_max,
            in_flight_per_client_max: self.in_flight_per_client_max,
            messages: texts(&self.messages),
            messages_in_flight_max: self.messages_in_flight_max,
        }
    }

    fn process(&self) -> ProcessSettings {
        let is_set = |path: &PathBuf| !path.as_os_str().is_empty();
        let assignment = |text: &String| {
            let (name, value) = text.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        ProcessSettings {
            command: self.command.clone(),
            directory: Some(self.directory.clone()).filter(is_set),
            environment: self.environment.iter().filter_map(assignment).collect(),
            pool: self.pool,
            start: match self.start {
                StartAt::Demand => Start::Demand,
                StartAt::Boot => Start::Boot,
            },
            idle_timeout_ns: ns(self.idle_timeout_ms),
            backoff: backoff(self.retry_delay_ms),
            failures_max: self.max_retries,
            stop_timeout_ns: ns(self.stop_timeout_ms),
            limits: ProcessLimits {
                memory_bytes: self.memory_bytes_max,
                descriptors: self.descriptors_max,
                cpu_s: self.cpu_s_max,
                file_bytes: self.file_bytes_max,
            },
            cpu_percent_max: self.cpu_percent_max,
            control_group: None,
        }
    }

    fn links(&self) -> LinkSettings {
        let weights = self.weights.iter().copied().chain(std::iter::repeat(1));
        let member =
            |(address, weight): (&String, u32)| MemberConfig { address: address.as_str().into(), weight };
        LinkSettings {
            members: self.addresses.iter().zip(weights).map(member).collect(),
            pool: self.pool_config(),
            links: self.pool,
            idle_timeout_ns: ns(self.idle_timeout_ms),
            connect_timeout_ns: ns(self.connect_timeout_ms),
            retry: RetryConfig {
                attempts_max: u32::from(self.attempts_max) - 1,
                percent_max: RETRIES_PERCENT_MAX,
            },
        }
    }

    fn pool_config(&self) -> PoolConfig {
        let ejection = EjectionConfig {
            interval_ns: EJECTION_INTERVAL_NS,
            calls_min: EJECTION_CALLS_MIN,
            worse_percent: self.ejection_percent.into(),
            ejected_ns: EJECTED_NS,
        };
        let every_ns = ns(self.health_interval_ms);
        let health = HealthConfig {
            every_ns,
            timeout_ns: every_ns.min(ns(self.connect_timeout_ms)),
            ill_after: 2,
            well_after: 2,
        };
        PoolConfig {
            pick: match self.balance {
                BalanceBy::RoundRobin => Pick::RoundRobin,
                BalanceBy::LeastConnections => Pick::LeastConnections,
                BalanceBy::Weighted => Pick::Weighted,
            },
            breaker: BreakerConfig {
                faults: self.breaker_failures,
                open: backoff(self.breaker_open_ms),
                probes: 1,
            },
            ejection: (self.ejection_percent > 0).then_some(ejection),
            health: (every_ns > 0).then_some(health),
        }
    }

    fn http(&self) -> HttpSettings {
        let authorities = Some(self.authorities.clone()).filter(|path| !path.as_os_str().is_empty());
        HttpSettings {
            links: self.links(),
            http2: self.http2,
            authorization: self.authorization.clone(),
            health_path: self.health_path.clone(),
            authorities,
            batching: self.batching(),
        }
    }

    fn tcp(&self) -> TcpSettings {
        TcpSettings {
            links: self.links(),
            batching: self.batching(),
            health_method: self.health_method.as_str().into(),
        }
    }

    fn batching(&self) -> Option<Batching> {
        (self.batch_count_max > 1).then_some(Batching {
            count_max: self.batch_count_max,
            bytes_max: self.batch_bytes_max,
            wait_ns: u64::from(self.batch_wait_us) * 1000,
            is_adaptive: self.batch_adaptive,
        })
    }

    fn mcp(&self) -> McpSettings {
        let prefix = match self.prefix.replace("{name}", &self.name).as_str() {
            "" => String::new(),
            prefix => format!("{prefix}__"),
        };
        let instances = match self.instances {
            InstancesOf::Shared => McpInstances::Shared,
            InstancesOf::PerSession => McpInstances::PerSession,
        };
        McpSettings { prefix: prefix.into(), instances }
    }
}

fn texts(of: &[String]) -> Vec<Box<str>> {
    of.iter().map(|text| text.as_str().into()).collect()
}

fn backoff(first_ms: u32) -> BackoffConfig {
    BackoffConfig { first_ns: ns(first_ms), longest_ns: BACKOFF_TIMES_MAX * ns(first_ms) }
}

fn ns(ms: u32) -> u64 {
    u64::from(ms) * MS
}
