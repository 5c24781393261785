//! What is to be run, and each process's share of it. PURE but for the resolution of a name.
//! Invariants: the shares of all processes are the whole; a share names its numbers, so that no two have the same.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::clock::SECOND_NS;
use crate::engine::timetable::Span;
use crate::failure::{Failure, Result};
use crate::scenario::{self, Scenario};

/// Connections of one process: well below the 20,000 descriptors that a process often may have.
pub(crate) const PROCESS_CONNECTIONS_MAX: u32 = 15_000;

/// One run of one scenario.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) dialect_text: String,
    pub(crate) target: Url,
    /// The server's process, where it is known.
    pub(crate) pid: Option<u32>,
    /// At least so many; more where one may not hold as many connections.
    pub(crate) processes: u32,
    /// Of the generator, one a process, in turn; none is wherever the kernel likes.
    pub(crate) cores: Vec<usize>,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Url {
    pub(crate) is_secure: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// With its query; `None` where the URL has none, or only the root.
    pub(crate) path: Option<String>,
}

impl Url {
    /// `ws://HOST[:PORT][/PATH]`, or `wss://`.
    pub(crate) fn parse(text: &str) -> std::result::Result<Url, String> {
        let malformed =
            || format!("{text:?} is no URL of a WebSocket server: ws://HOST[:PORT][/PATH] or wss://…");
        let plain = text.strip_prefix("ws://").map(|rest| (false, rest));
        let (is_secure, rest) =
            plain.or_else(|| Some((true, text.strip_prefix("wss://")?))).ok_or_else(malformed)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let default = if is_secure { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| malformed())?),
            Some(_) | None => (authority, default),
        };
        if host.is_empty() || text.contains(char::is_whitespace) {
            return Err(malformed());
        }
        let path = path
            .split('#')
            .next()
            .filter(|path| !matches!(*path, "" | "/"))
            .map(|path| if path.starts_with('/') { path.to_owned() } else { format!("/{path}") });
        Ok(Url { is_secure, host: host.trim_matches(['[', ']']).to_owned(), port, path })
    }

    /// As a header field has it.
    pub(crate) fn authority(&self) -> String {
        let Url { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// As it is written, with the path that is used.
    pub(crate) fn text(&self, path: &str) -> String {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority(), self.path.as_deref().unwrap_or(path))
    }

    pub(crate) fn resolve(&self) -> Result<SocketAddr> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let address = found.ok().and_then(|addresses| {
            let mut addresses: Vec<SocketAddr> = addresses.collect();
            addresses.sort_by_key(SocketAddr::is_ipv6);
            addresses.first().copied()
        });
        address.ok_or_else(|| Failure::Unreachable(format!("the name {} has no address", self.host)))
    }
}

/// What one process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) turn: u32,
    pub(crate) turns: u32,
    /// Whether it has a core for itself, on which it may spin.
    pub(crate) is_alone: bool,
    pub(crate) core: Option<usize>,
    pub(crate) scenario_toml: String,
    pub(crate) dialect_text: String,
    pub(crate) target: Url,
    pub(crate) address: SocketAddr,
    /// Tells topics of this run from those of another.
    pub(crate) run: u32,
}

impl Share {
    /// Those of `count` things that are this process's, by their numbers.
    pub(crate) fn of(&self, count: u32) -> impl Iterator<Item = u32> + use<> {
        (self.turn..count).step_by(usize::try_from(self.turns.max(1)).expect("invariant: processes are few"))
    }
}

/// Processes that a scenario needs, of which each holds as many connections as one may.
pub(crate) fn processes(scenario: &Scenario, asked: u32) -> u32 {
    let publishers = scenario.fanout.as_ref().map_or(0, |fanout| fanout.publishers);
    let slow = scenario.slow.as_ref().map_or(0, |slow| slow.readers);
    let held = u64::from(scenario.clients().1) + u64::from(publishers) + u64::from(slow);
    let needed = held.div_ceil(u64::from(PROCESS_CONNECTIONS_MAX));
    u32::try_from(needed).unwrap_or(u32::MAX).max(asked).max(1)
}

/// The spans of a rate over warm-up and stages, from `begin_ns` on.
pub(crate) fn spans(scenario: &Scenario, rate_per_s: f64, begin_ns: u64) -> Vec<Span> {
    let stages = scenario.stages();
    let warmup = (scenario.warmup_s, stages.first().map_or(1.0, |stage| stage.factor));
    let lengths = std::iter::once(warmup).chain(stages.iter().map(|stage| (stage.for_s, stage.factor)));
    let mut at_ns = begin_ns;
    let spans = lengths.map(|(for_s, factor)| {
        let begin_ns = at_ns;
        at_ns += scenario::nanoseconds(for_s);
        Span { begin_ns, end_ns: at_ns, rate_per_ks: per_thousand_seconds(rate_per_s * factor) }
    });
    spans.collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked: not negative, below 2^53"
)]
fn per_thousand_seconds(rate_per_s: f64) -> u64 {
    (rate_per_s * 1_000.0).round() as u64
}

/// When the clients of each stage are to be open: how many, and from when on.
pub(crate) fn crowd_sizes(scenario: &Scenario, begin_ns: u64) -> Vec<(u64, u32)> {
    let mut at_ns = begin_ns + scenario.warmup_ns();
    let sizes = scenario.stages().into_iter().map(|stage| {
        let since_ns = at_ns;
        at_ns += scenario::nanoseconds(stage.for_s);
        (since_ns, stage.connections.unwrap_or(scenario.connections))
    });
    sizes.collect()
}

/// When storms break out.
pub(crate) fn storms(scenario: &Scenario, begin_ns: u64) -> Vec<u64> {
    let Some(storm) = &scenario.storm else { return Vec::new() };
    let (from_ns, every_ns) = (begin_ns + scenario.warmup_ns(), scenario::nanoseconds(storm.every_s).max(1));
    let end_ns = from_ns + scenario.measured_ns();
    // The first one after one interval; none at the very end, where nobody could come back.
    let first = from_ns + every_ns / 2;
    (0..).map(|index| first + index * every_ns).take_while(|at| at + SECOND_NS / 10 < end_ns).collect()
}

/// A scenario file or a built-in, by name.
pub(crate) fn is_path(name: &str) -> Option<PathBuf> {
    (name.contains('/') || name.ends_with(".toml")).then(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Option<(bool, String, u16, Option<String>)> {
        Url::parse(text).ok().map(|url| (url.is_secure, url.host, url.port, url.path))
    }

    #[test]
    fn urls_have_their_parts() {
        let path = |path: &str| Some(path.to_owned());
        assert_eq!(url("ws://h:81/a?b=c#d"), Some((false, "h".to_owned(), 81, path("/a?b=c"))));
        assert_eq!(url("wss://h"), Some((true, "h".to_owned(), 443, None)));
        assert_eq!(url("ws://[::1]:9/"), Some((false, "::1".to_owned(), 9, None)));
        assert_eq!(url("ws://[::1]?x"), Some((false, "::1".to_owned(), 80, path("/?x"))));
        for malformed in ["http://h", "ws://", "ws://:80", "ws://h:x", "ws://h:70000", "ws://h/a b"] {
            assert_eq!(url(malformed), None, "{malformed}");
        }
        assert_eq!(Url::parse("ws://[::1]:9").unwrap().text("/ws"), "ws://[::1]:9/ws");
        assert_eq!(Url::parse("ws://h/x").unwrap().text("/ws"), "ws://h:80/x");
    }

    #[test]
    fn a_stage_has_its_rates_and_connections_from_its_begin_on() {
        let text = "name = 'x'\nconnections = 5\nwarmup_s = 1\n[[stage]]\nfor_s = 2\nfactor = 0.5\n[[stage]]\nfor_s = 1\nconnections = 9";
        let scenario = Scenario::parse(text).unwrap();
        let spans: Vec<(u64, u64, u64)> = spans(&scenario, 10.0, 7 * SECOND_NS)
            .iter()
            .map(|span| (span.begin_ns / SECOND_NS, span.end_ns / SECOND_NS, span.rate_per_ks))
            .collect();
        assert_eq!(spans, [(7, 8, 5_000), (8, 10, 5_000), (10, 11, 10_000)]);
        assert_eq!(crowd_sizes(&scenario, 7 * SECOND_NS), [(8 * SECOND_NS, 5), (10 * SECOND_NS, 9)]);
    }

    #[test]
    fn storms_leave_time_to_come_back() {
        let text = "name = 'x'\nconnections = 5\nwarmup_s = 0\nduration_s = 30\n[storm]\nevery_s = 10";
        let at: Vec<u64> =
            storms(&Scenario::parse(text).unwrap(), 0).iter().map(|at| at / SECOND_NS).collect();
        assert_eq!(at, [5, 15, 25]);
    }

    #[test]
    fn many_connections_need_several_processes() {
        let scenario =
            |connections| Scenario::parse(&format!("name = 'x'\nconnections = {connections}")).unwrap();
        assert_eq!(processes(&scenario(100), 1), 1);
        assert_eq!(processes(&scenario(100), 3), 3);
        assert_eq!(processes(&scenario(50_000), 1), 4);
    }
}
