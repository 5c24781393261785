//! The `[[backend]]` tables: services and child processes that own methods of their own. Home: the main thread.

mod kind;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Table;

use super::check::{Range, RangeFault};
use crate::backend::pool::{
    BackoffConfig, BreakerConfig, EjectionConfig, HealthConfig, MemberConfig, Pick, PoolConfig, RetryConfig,
};
use crate::backend::rpc::Batching;
use crate::backend::settings::{
    Access, BackendSettings, HttpSettings, LinkSettings, McpInstances, McpSettings, ProcessLimits,
    ProcessSettings, RouteSettings, Start, TcpSettings, WaySettings,
};
use crate::limits;
use crate::model::call::BackendId;
use crate::model::message::Name;

pub use kind::BackendKind;
use kind::keys_of_some;

const NAME_BYTES_MAX: usize = 32;
const METHOD_BYTES_MAX: usize = 128;
const HOUR_MS: u64 = 3_600_000;
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
        }
    }

    fn tcp(&self) -> TcpSettings {
        let batching = Batching {
            count_max: self.batch_count_max,
            bytes_max: self.batch_bytes_max,
            wait_ns: u64::from(self.batch_wait_us) * 1000,
            is_adaptive: self.batch_adaptive,
        };
        TcpSettings {
            links: self.links(),
            batching: (self.batch_count_max > 1).then_some(batching),
            health_method: self.health_method.as_str().into(),
        }
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

    fn ranges(&self) -> Vec<Range> {
        let range = |key, value: u64, min, max, unit, hint| Range { key, value, min, max, unit, hint };
        let ms = |key, value: u32, min, max, hint| range(key, value.into(), min, max, "ms", hint);
        let none = "0 sets no limit";
        let addresses_max = limits::BACKEND_ADDRESSES_MAX as u64;
        let pool_max = match self.kind {
            BackendKind::Tcp => limits::RPC_LINKS_PER_ADDRESS_MAX,
            BackendKind::Stdio | BackendKind::Http | BackendKind::McpStdio | BackendKind::McpHttp => {
                limits::PROCESSES_MAX as u64
            }
        };
        let count = |key, value: u32, min, max, hint| range(key, value.into(), min, max, "", hint);
        vec![
            ms("backend.cache_ttl_ms", self.cache_ttl_ms, 0, 24 * HOUR_MS, "0 keeps none"),
            ms("backend.timeout_ms", self.timeout_ms, 1, HOUR_MS, "by default 30000"),
            range("backend.in_flight_max", self.in_flight_max.into(), 1, 65_536, "calls", "by default 1024"),
            range(
                "backend.in_flight_per_client_max",
                self.in_flight_per_client_max.into(),
                1,
                65_536,
                "calls",
                "by default 64",
            ),
            count("backend.messages_in_flight_max", self.messages_in_flight_max, 1, 4_096, "by default 16"),
            range("backend.pool", self.pool.into(), 1, pool_max, "processes or connections", "by default 1"),
            ms("backend.idle_timeout_ms", self.idle_timeout_ms, 0, 24 * HOUR_MS, "0 keeps them for good"),
            ms("backend.retry_delay_ms", self.retry_delay_ms, 10, HOUR_MS, "by default 500"),
            ms("backend.stop_timeout_ms", self.stop_timeout_ms, 10, 60_000, "by default 1000"),
            // Below it hardly a program starts.
            range("backend.descriptors_max", self.descriptors_max.into(), 16, 1 << 20, "", "by default 256"),
            range("backend.memory_bytes_max", self.memory_bytes_max, 0, 1 << 44, "bytes", none),
            range("backend.file_bytes_max", self.file_bytes_max, 0, 1 << 44, "bytes", none),
            range("backend.addresses", self.addresses.len() as u64, 0, addresses_max, "addresses", ""),
            ms("backend.connect_timeout_ms", self.connect_timeout_ms, 1, HOUR_MS, "by default 30000"),
            range("backend.attempts_max", self.attempts_max.into(), 1, 16, "", "1 sends nothing again"),
            ms("backend.breaker_open_ms", self.breaker_open_ms, 10, HOUR_MS, "by default 5000"),
            range(
                "backend.ejection_percent",
                self.ejection_percent.into(),
                0,
                100,
                "percent",
                "0 leaves none out",
            ),
            ms("backend.health_interval_ms", self.health_interval_ms, 0, HOUR_MS, "0 looks at none"),
            count("backend.batch_count_max", self.batch_count_max, 1, 1_024, "1 sends no arrays"),
            count("backend.batch_bytes_max", self.batch_bytes_max, 64, 1 << 20, "by default 16384"),
            count(
                "backend.batch_wait_us",
                self.batch_wait_us,
                0,
                100_000,
                "0 waits for the turn's others only",
            ),
        ]
    }

    /// Whether what it says goes together.
    fn check(&self) -> Result<(), Odd> {
        let Backend { name, kind, .. } = self;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_name) {
            let what = format!("is \"{name}\", expected 1 to {NAME_BYTES_MAX} letters, digits, - and _");
            return Err(("name", what, "name = \"risk\""));
        }
        if let Some(key) = self.foreign_key() {
            let what = format!("is set, but a backend of kind {} has none", kind.as_str());
            return Err((key, what, "tickring.toml says which kinds have it"));
        }
        for (key, patterns) in [("methods", &self.methods), ("idempotent", &self.idempotent)] {
            if let Some(odd) = patterns.iter().find(|pattern| !is_method_pattern(pattern)) {
                let what = format!("has \"{odd}\", expected a method or prefix/*");
                return Err((key, what, "methods = [\"risk/*\"]"));
            }
        }
        if let Some(odd) = self.messages.iter().find(|pattern| !is_type_pattern(pattern)) {
            let what = format!("has \"{odd}\", expected a type of 1 to 64 bytes, or the start of one and *");
            return Err(("messages", what, "messages = [\"approval\", \"risk.*\"]"));
        }
        let prefix = self.prefix.replace("{name}", name);
        if prefix.len() > NAME_BYTES_MAX || !prefix.bytes().all(is_name) {
            let what = format!("is \"{}\", expected letters, digits, - and _", self.prefix);
            return Err(("prefix", what, "prefix = \"\" for none, or \"{name}\""));
        }
        if kind.is_mcp() && self.addresses.len() > 1 {
            let what = format!("has {}, but a session of MCP is of one", self.addresses.len());
            return Err(("addresses", what, "one table for each"));
        }
        if kind.has_processes() { self.check_process() } else { self.check_links() }
    }

    /// A key that says something, and that its kind does not have.
    fn foreign_key(&self) -> Option<&'static str> {
        let table = |backend: &Backend| {
            Table::try_from(backend).expect("invariant: every field of a backend is a value of TOML")
        };
        let (said, default) = (table(self), table(&Backend::default()));
        keys_of_some().find(|key| !self.kind.has(key) && said.get(*key) != default.get(*key))
    }

    fn check_process(&self) -> Result<(), Odd> {
        let has_nul = |text: &String| text.contains('\0');
        if self.command.first().is_none_or(String::is_empty) || self.command.iter().any(has_nul) {
            let what = "names no program".to_owned();
            return Err(("command", what, "command = [\"node\", \"server.mjs\"]"));
        }
        let is_variable = |text: &&String| {
            text.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.contains('\0'))
        };
        if let Some(nth) = self.environment.iter().position(|text| !is_variable(&text)) {
            // Not what it says: it may be a secret.
            let what = format!("has an entry without NAME=, the {}. of them", nth + 1);
            return Err(("environment", what, "environment = [\"API_KEY=${API_KEY}\"]"));
        }
        Ok(())
    }

    fn check_links(&self) -> Result<(), Odd> {
        if self.addresses.is_empty() {
            let what = "has none".to_owned();
            let hint = if self.is_http() {
                "addresses = [\"http://127.0.0.1:8080/rpc\"]"
            } else {
                "addresses = [\"127.0.0.1:7000\"]"
            };
            return Err(("addresses", what, hint));
        }
        if let Some(odd) = self.addresses.iter().find(|text| self.is_http() && !is_url(text)) {
            let what = format!("has \"{odd}\", expected http://host[:port]/path, or https://");
            return Err(("addresses", what, "addresses = [\"http://127.0.0.1:8080/rpc\"]"));
        }
        if let Some(odd) = self.addresses.iter().find(|text| !self.is_http() && !is_host_and_port(text)) {
            let what = format!("has \"{odd}\", expected host:port");
            return Err(("addresses", what, "addresses = [\"127.0.0.1:7000\"]"));
        }
        if !is_method_text(&self.health_method) {
            let what = "has letters that want quotes in JSON".to_owned();
            return Err(("health_method", what, "health_method = \"ping\""));
        }
        if !self.weights.is_empty() && self.weights.len() != self.addresses.len() {
            let what = format!("has {} for {} addresses", self.weights.len(), self.addresses.len());
            return Err(("weights", what, "one for each address, in their order"));
        }
        if let Some(odd) = self.weights.iter().find(|weight| !(1..=1_000).contains(*weight)) {
            return Err((
                "weights",
                format!("has {odd}, expected 1 to 1000"),
                "its share beside the others'",
            ));
        }
        if !self.health_path.is_empty() && !self.health_path.starts_with('/') {
            return Err(("health_path", "does not begin with /".to_owned(), "health_path = \"/healthz\""));
        }
        if !self.authorization.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            let what = "has bytes that no header may have".to_owned();
            return Err(("authorization", what, "authorization = \"Bearer ${TOKEN}\""));
        }
        Ok(())
    }

    fn is_http(&self) -> bool {
        self.kind.is_http()
    }
}

/// A key, what is wrong with it, and what helps.
type Odd = (&'static str, String, &'static str);

/// Whether every backend can be what it says, beside the others; the first fault.
pub(super) fn check(backends: &[Backend]) -> Result<(), RangeFault> {
    let fault = |nth, (key, what, hint): Odd| RangeFault {
        key: format!("backend.{key}").into(),
        nth,
        what,
        hint: hint.to_owned(),
    };
    if backends.len() > limits::BACKENDS_MAX {
        let what = format!("has {} tables, expected at most {}", backends.len(), limits::BACKENDS_MAX);
        return Err(RangeFault {
            key: "backend".into(),
            nth: 0,
            what,
            hint: "one process may serve several".to_owned(),
        });
    }
    let (mut names, mut owners, mut processors) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    let (mut processes, mut links) = (0, 0);
    for (nth, backend) in backends.iter().enumerate() {
        for range in backend.ranges() {
            range.check().map_err(|fault| RangeFault { nth, ..fault })?;
        }
        backend.check().map_err(|odd| fault(nth, odd))?;
        if !names.insert(backend.name.as_str()) {
            let what = format!("is \"{}\", as of one before it", backend.name);
            return Err(fault(nth, ("name", what, "one name each")));
        }
        for method in backend.own_methods() {
            let what = format!("has \"{method}\"");
            if let Some(other) = owners.insert(method, backend.name.as_str()) {
                let what = format!("{what}, which backend {other} has");
                return Err(fault(nth, ("methods", what, "a method has one backend")));
            }
        }
        for kind in &backend.messages {
            if let Some(other) = processors.insert(kind.as_str(), backend.name.as_str()) {
                let what = format!("has \"{kind}\", which backend {other} has");
                return Err(fault(nth, ("messages", what, "a type of messages has one backend")));
            }
        }
        links += if backend.kind == BackendKind::Tcp {
            usize::from(backend.pool) * backend.addresses.len()
        } else {
            0
        };
        let links_max = limits::RPC_LINKS_MAX as usize / 2;
        if links > links_max {
            let what = format!("makes {links} links of each shard in all, expected at most {}", links_max);
            return Err(fault(nth, ("pool", what, "lower pool")));
        }
        processes += if backend.kind.has_processes() { usize::from(backend.pool) } else { 0 };
        if processes > limits::PROCESSES_MAX {
            let what =
                format!("makes {processes} processes in all, expected at most {}", limits::PROCESSES_MAX);
            return Err(fault(nth, ("pool", what, "lower pool")));
        }
    }
    Ok(())
}

/// `risk/price`, `risk/*` or `risk/get_*`, of letters that need no quotes in JSON.
fn is_method_pattern(text: &str) -> bool {
    let is_word =
        |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    let Some((prefix, rest)) = text.split_once('/') else { return false };
    let start = rest.strip_suffix('*').unwrap_or(rest);
    text.len() <= METHOD_BYTES_MAX
        && !prefix.is_empty()
        && !rest.is_empty()
        && is_word(prefix)
        && is_word(start)
}

/// A type of messages, or the start of one.
fn is_type_pattern(text: &str) -> bool {
    let start = text.strip_suffix('*').unwrap_or(text);
    text == "*" || (Name::parse(start).is_some() && !start.contains('*'))
}

/// Letters that stand in JSON as they are.
fn is_method_text(text: &str) -> bool {
    text.len() <= METHOD_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.contains(['@', ' ', '#'])
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "f.toml", &|_| None).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_process_needs_a_name_and_a_command() {
        let config = parse("[[backend]]\nname = \"risk\"\ncommand = [\"risk\", \"-v\"]\n").unwrap();
        let settings = config.backend[0].settings(BackendId(7));
        assert_eq!((settings.id, &*settings.name), (BackendId(7), "risk"));
        assert_eq!(settings.route.methods, [Box::from("risk/*")]);
        assert_eq!(settings.route.access, Access::ReadWrite);
        assert_eq!(settings.route.timeout_ns, 30_000_000_000);
        let WaySettings::Stdio(process) = settings.way else { panic!("{:?}", settings.way) };
        assert_eq!(process.command, ["risk", "-v"]);
        assert_eq!((process.pool, process.directory, process.start), (1, None, Start::Demand));
    }

    #[test]
    fn a_server_of_mcp_has_a_prefix_and_no_methods() {
        for (prefix, expected) in
            [("", "files__"), ("prefix = \"\"", ""), ("prefix = \"x-{name}\"", "x-files__")]
        {
            let text =
                format!("[[backend]]\nname = \"files\"\nkind = \"mcp-stdio\"\ncommand = [\"x\"]\n{prefix}\n");
            let settings = parse(&text).unwrap().backend[0].settings(BackendId(0));
            assert!(settings.route.methods.is_empty());
            let WaySettings::McpStdio(_, mcp) = settings.way else { panic!("{:?}", settings.way) };
            assert_eq!((&*mcp.prefix, mcp.instances), (expected, McpInstances::Shared));
        }
    }

    #[test]
    fn addresses_have_their_weights() {
        let text =
            "[[backend]]\nname = \"risk\"\nkind = \"http\"\naddresses = [\"http://a/\", \"https://b:1/x\"]\n";
        let members = |text: &str| {
            let config = parse(text).unwrap();
            let WaySettings::Http(http) = config.backend[0].settings(BackendId(0)).way else { panic!() };
            let pair = |member: MemberConfig| (member.address.into_string(), member.weight);
            http.links.members.into_iter().map(pair).collect::<Vec<_>>()
        };
        let pairs = |weights: [u32; 2]| {
            vec![("http://a/".to_owned(), weights[0]), ("https://b:1/x".to_owned(), weights[1])]
        };
        assert_eq!(members(text), pairs([1, 1]));
        assert_eq!(members(&format!("{text}weights = [3, 2]\n")), pairs([3, 2]));
    }

    #[test]
    fn types_of_messages_have_one_backend() {
        const STDIO: &str = "[[backend]]\nname = \"a\"\ncommand = [\"x\"]\n";
        const HTTP: &str = "[[backend]]\nname = \"b\"\nkind = \"http\"\naddresses = [\"http://h/\"]\n";
        let config =
            parse(&format!("{STDIO}messages = [\"risk.*\", \"é\"]\n{HTTP}messages = [\"*\"]\n")).unwrap();
        let route = config.backend[0].settings(BackendId(0)).route;
        assert_eq!((route.messages, route.messages_in_flight_max), (vec!["risk.*".into(), "é".into()], 16));
        for (text, expected) in [
            (
                &format!("{STDIO}messages = [\"b*\", \"a*b\"]\n"),
                "f.toml:4: backend.messages: has \"a*b\", expected a type of 1 to 64 bytes",
            ),
            (&format!("{STDIO}messages = [\"\"]\n"), "f.toml:4: backend.messages: has \"\", expected a type"),
            (
                &format!("{STDIO}messages = [\"*\"]\n{HTTP}messages = [\"a\", \"*\"]\n"),
                "f.toml:9: backend.messages: has \"*\", which backend a has",
            ),
            (
                &format!("{STDIO}messages_in_flight_max = 0\n"),
                "f.toml:4: backend.messages_in_flight_max: is 0, expected 1 to 4096",
            ),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn names_line_and_key_of_what_cannot_be() {
        const STDIO: &str = "[[backend]]\nname = \"a\"\ncommand = [\"x\"]\n";
        const HTTP: &str = "[[backend]]\nname = \"b\"\nkind = \"http\"\naddresses = [\"http://h/\"]\n";
        for (text, expected) in [
            ("[[backend]]\ncommand = [\"x\"]\n", "f.toml: backend.name: is \"\", expected 1 to 32 letters"),
            ("[[backend]]\nname = \"a b\"\n", "f.toml:2: backend.name: is \"a b\", expected "),
            ("[[backend]]\nname = \"a\"\n", "f.toml: backend.command: names no program: command = ["),
            (
                "[[backend]]\nname = \"a\"\nkind = \"pigeon\"\n",
                "f.toml:3: backend.kind: unknown variant `pigeon`",
            ),
            (&format!("{STDIO}pool = 0\n"), "f.toml:4: backend.pool: is 0, expected 1 to "),
            (&format!("{STDIO}{STDIO}"), "f.toml:5: backend.name: is \"a\", as of one before it: "),
            (
                &format!("{STDIO}{HTTP}methods = [\"a/*\"]\n"),
                "f.toml:8: backend.methods: has \"a/*\", which backend a has",
            ),
            (
                &format!("{STDIO}http2 = true\n"),
                "f.toml:4: backend.http2: is set, but a backend of kind stdio has none",
            ),
            (
                &format!("{HTTP}command = [\"x\"]\n"),
                "f.toml:5: backend.command: is set, but a backend of kind http has none",
            ),
            (
                &format!("{STDIO}methods = [\"a\"]\n"),
                "f.toml:4: backend.methods: has \"a\", expected a method or prefix/*",
            ),
            (
                &format!("{STDIO}environment = [\"secret\"]\n"),
                "f.toml:4: backend.environment: has an entry without NAME=, the 1. of",
            ),
            (&format!("{HTTP}weights = [1, 2]\n"), "f.toml:5: backend.weights: has 2 for 1 addresses"),
            (
                &STDIO
                    .replace("[[backend]]", "[[backend]]\nkind = \"mcp-stdio\"")
                    .replace("\"a\"", "\"a\"\nmethods = [\"a/*\"]"),
                "f.toml:4: backend.methods: is set, but a backend of kind mcp-stdio has none",
            ),
            (
                &format!("{STDIO}prefix = \"x\"\n"),
                "f.toml:4: backend.prefix: is set, but a backend of kind stdio",
            ),
            (
                &HTTP.replace("\"http\"", "\"mcp-http\"").replace("/\"]", "/\", \"http://i/\"]"),
                "f.toml:4: backend.addresses: has 2, but a session of MCP is of one",
            ),
            (
                &STDIO.replace("[[backend]]", "[[backend]]\nkind = \"mcp-stdio\"\nprefix = \"a b\""),
                "f.toml:3: backend.prefix: is \"a b\", expected letters",
            ),
            (&format!("{HTTP}weights = [0]\n"), "f.toml:5: backend.weights: has 0, expected 1 to 1000"),
            (
                &HTTP.replace("http://", "ftp://"),
                "f.toml:4: backend.addresses: has \"ftp://h/\", expected http://",
            ),
            (
                &format!("{STDIO}pool = 1000\n{}pool = 100\n", STDIO.replace("\"a\"", "\"c\"")),
                "f.toml:8: backend.pool: makes 1100 processes in all",
            ),
        ] {
            let failure = parse(text).unwrap_err();
            assert!(failure.starts_with(expected), "{failure}\nis not\n{expected}");
        }
    }
}
