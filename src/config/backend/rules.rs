//! What a `[[backend]]` table may say: ranges, what goes together, and what no two of them share. Home: the main thread.

use std::collections::{BTreeMap, BTreeSet};

use toml::Table;

use super::kind::keys_of_some;
use super::{Backend, BackendKind};
use crate::config::check::{Range, RangeFault};
use crate::limits;
use crate::model::message::Name;

const NAME_BYTES_MAX: usize = 32;
const METHOD_BYTES_MAX: usize = 128;
const HOUR_MS: u64 = 3_600_000;

impl Backend {
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
            count("backend.cpu_percent_max", self.cpu_percent_max, 0, 100_000, none),
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
pub(in crate::config) fn check(backends: &[Backend]) -> Result<(), RangeFault> {
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
