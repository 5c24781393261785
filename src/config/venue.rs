//! The `[venue.NAME]` tables: venues outside of the process, which a link over TCP leads to. Home: the main thread.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::Warning;
use super::check::{Range, RangeFault};
use crate::limits;
use crate::model::instrument::Symbol;

/// The name that a venue without another has for a port.
const PORT: u16 = 9004;
const NAME_BYTES_MAX: usize = 32;
const KEY_BYTES_MAX: usize = 64;
const HOUR_MS: u64 = 3_600_000;

/// By name.
pub type Venues = BTreeMap<String, Venue>;

/// One venue. See `docs/venue-link.md`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Venue {
    pub kind: VenueKind,
    /// Where it is waited for; without this and `connect`: [`Venue::listens`].
    pub listen: Option<SocketAddr>,
    /// Where it is connected to, as `host:port`: the first of a link's addresses, then, after a failure, the next.
    pub connect: Vec<String>,
    /// What it says in its hello.
    pub key: String,
    /// The instruments that are taken of it, and of it alone; empty for all that nobody else has.
    pub instruments: Vec<String>,
    /// How often the gateway says that it is there.
    pub heartbeat_ms: u32,
    /// Links at a time.
    pub max_connections: u8,
    /// Attempts in a row to connect before it is given up; 0 never gives up.
    pub max_retries: u32,
    /// Before the second attempt; doubled with each, up to sixteen times as long.
    pub retry_delay_ms: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VenueKind {
    /// Anything that speaks the venue link.
    #[default]
    Tcp,
    /// The Expert Advisor in a MetaTrader 5 terminal, which speaks it too and connects by itself.
    Mt5,
}

impl VenueKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            VenueKind::Tcp => "tcp",
            VenueKind::Mt5 => "mt5",
        }
    }
}

impl Default for Venue {
    fn default() -> Venue {
        Venue {
            kind: VenueKind::Tcp,
            listen: None,
            connect: Vec::new(),
            key: String::new(),
            instruments: Vec::new(),
            heartbeat_ms: 1_000,
            max_connections: 1,
            max_retries: 0,
            retry_delay_ms: 500,
        }
    }
}

impl Venue {
    /// Where it is waited for, unless it is connected to.
    #[must_use]
    pub fn listens(&self) -> Option<SocketAddr> {
        self.connect.is_empty().then(|| self.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))))
    }

    /// The instruments' names, which `check` has read.
    #[must_use]
    pub fn symbols(&self) -> Vec<Symbol> {
        self.instruments.iter().filter_map(|name| Symbol::parse(name.as_bytes()).ok()).collect()
    }
}

/// Whether every value is in its range; the first that is not.
pub(super) fn check(venues: &Venues) -> Result<(), RangeFault> {
    let links: usize = venues.values().map(|venue| usize::from(venue.max_connections)).sum();
    if links > limits::LINKS_MAX {
        return Err(fault(
            "venue",
            format!("has {links} links in all, expected at most {}", limits::LINKS_MAX),
            "lower max_connections",
        ));
    }
    let mut taken: BTreeMap<Symbol, &str> = BTreeMap::new();
    for (name, venue) in venues {
        check_one(name, venue)?;
        for symbol in venue.symbols() {
            if let Some(other) = taken.insert(symbol, name) {
                let what = format!("has \"{}\", which [venue.{other}] has", symbol.as_str());
                return Err(fault(format!("venue.{name}.instruments"), what, "an instrument has one venue"));
            }
        }
    }
    Ok(())
}

fn check_one(name: &str, venue: &Venue) -> Result<(), RangeFault> {
    let key = |key: &str| format!("venue.{name}.{key}");
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_name) {
        let what = format!("is no venue's name, expected 1 to {NAME_BYTES_MAX} letters, digits, - and _");
        return Err(fault(format!("venue.{name}"), what, "[venue.fx]"));
    }
    for range in ranges(venue) {
        range.check().map_err(|fault| RangeFault { key: key(&fault.key).into(), ..fault })?;
    }
    if venue.listen.is_some() && !venue.connect.is_empty() {
        let what = "is set beside connect".to_owned();
        return Err(fault(key("listen"), what, "a venue connects, or is connected to"));
    }
    if venue.kind == VenueKind::Mt5 && !venue.connect.is_empty() {
        let what = "is set, but a terminal cannot be connected to".to_owned();
        return Err(fault(key("connect"), what, "the advisor connects to listen"));
    }
    if let Some(odd) = venue.connect.iter().find(|text| !is_host_and_port(text)) {
        let what = format!("has \"{odd}\", expected host:port");
        return Err(fault(key("connect"), what, "such as 127.0.0.1:9004"));
    }
    if venue.key.is_empty() || venue.key.len() > KEY_BYTES_MAX || venue.key.chars().any(char::is_control) {
        let what = format!("has {} bytes, expected 1 to {KEY_BYTES_MAX} of text", venue.key.len());
        return Err(fault(key("key"), what, "key = \"${VENUE_KEY}\" takes it from the environment"));
    }
    if let Some(odd) = venue.instruments.iter().find(|name| Symbol::parse(name.as_bytes()).is_err()) {
        let what = format!("has \"{odd}\", which is no instrument's name");
        return Err(fault(key("instruments"), what, "such as EURUSD"));
    }
    Ok(())
}

fn ranges(venue: &Venue) -> [Range; 4] {
    let range = |key, value: u32, min: u64, max: u64, unit, hint| Range {
        key,
        value: value.into(),
        min,
        max,
        unit,
        hint,
    };
    let (beat_min, beat_max) = (limits::LINK_HEARTBEAT_MS_MIN.into(), limits::LINK_HEARTBEAT_MS_MAX.into());
    [
        range("heartbeat_ms", venue.heartbeat_ms, beat_min, beat_max, "ms", "by default 1000"),
        range(
            "max_connections",
            venue.max_connections.into(),
            1,
            limits::LINKS_MAX as u64,
            "links",
            "by default 1",
        ),
        range("max_retries", venue.max_retries, 0, u64::from(u32::MAX), "attempts", "0 never gives up"),
        range("retry_delay_ms", venue.retry_delay_ms, 10, HOUR_MS, "ms", "by default 500"),
    ]
}

/// What is legal, but probably not meant.
pub(super) fn warnings(venues: &Venues) -> Vec<Warning> {
    let is_open = |venue: &Venue| venue.listens().is_some_and(|address| !address.ip().is_loopback());
    let open = venues.values().any(is_open);
    let what = "takes links from other hosts: key and orders cross the network in plain text";
    open.then(|| Warning { key: "venue.listen", what: what.to_owned() }).into_iter().collect()
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0))
}

fn fault(key: impl Into<String>, what: String, hint: &str) -> RangeFault {
    RangeFault { key: key.into().into(), nth: 0, what, hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "f.toml", &|_| None).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_venue_needs_no_more_than_its_key() {
        let config = parse("[venue.fx]\nkey = \"s3cret\"").unwrap();
        let venue = &config.venue["fx"];
        assert_eq!(venue, &Venue { key: "s3cret".to_owned(), ..Venue::default() });
        assert_eq!(venue.listens(), Some("127.0.0.1:9004".parse().unwrap()));
    }

    #[test]
    fn a_venue_that_is_connected_to_is_not_waited_for() {
        let config = parse("[venue.fx]\nkey = \"k\"\nconnect = [\"venue.example.com:9004\"]").unwrap();
        assert_eq!(config.venue["fx"].listens(), None);
    }

    #[test]
    fn names_line_and_key_of_what_cannot_be() {
        for (text, expected) in [
            ("[venue.fx]\n", "f.toml: venue.fx.key: has 0 bytes, expected 1 to 64 of text: "),
            (
                "[venue.fx]\nkey = \"k\"\nheartbeat_ms = 9\n",
                "f.toml:3: venue.fx.heartbeat_ms: is 9, expected 10 to 60000 ms: ",
            ),
            (
                "[venue.fx]\nkey = \"k\"\nmax_connections = 0\n",
                "f.toml:3: venue.fx.max_connections: is 0, expected 1 to 16 links: ",
            ),
            (
                "[venue.fx]\nkey = \"k\"\nretry_delay_ms = 1\n",
                "f.toml:3: venue.fx.retry_delay_ms: is 1, expected 10 to 3600000 ms: ",
            ),
            (
                "[venue.fx]\nkey = \"k\"\nlisten = \"127.0.0.1:1\"\nconnect = [\"a:1\"]\n",
                "f.toml:3: venue.fx.listen: is set beside connect: ",
            ),
            (
                "[venue.fx]\nkey = \"k\"\nconnect = [\"a\"]\n",
                "f.toml:3: venue.fx.connect: has \"a\", expected host:port: ",
            ),
            (
                "[venue.fx]\nkey = \"k\"\nkind = \"mt5\"\nconnect = [\"a:1\"]\n",
                "f.toml:4: venue.fx.connect: is set, but a terminal ",
            ),
            (
                "[venue.fx]\nkey = \"k\"\ninstruments = [\"EUR USD\"]\n",
                "f.toml:3: venue.fx.instruments: has \"EUR USD\", which is no ",
            ),
            ("[venue.\"a b\"]\nkey = \"k\"\n", "f.toml: venue.a b: is no venue's name, expected 1 to 32 "),
            (
                "[venue.a]\nkey = \"k\"\ninstruments = [\"X\"]\n[venue.b]\nkey = \"k\"\ninstruments = [\"X\"]\n",
                "f.toml:6: venue.b.instruments: has \"X\", which [venue.a] has: an instrument has one venue",
            ),
            (
                "[venue.a]\nkey = \"k\"\nmax_connections = 9\n[venue.b]\nkey = \"k\"\nmax_connections = 8\n",
                "f.toml: venue: has 17 links in all, expected at most 16: lower max_connections",
            ),
        ] {
            let failure = parse(text).unwrap_err();
            assert!(failure.starts_with(expected), "{failure}\nis not\n{expected}");
        }
    }

    #[test]
    fn warns_where_other_hosts_may_link() {
        let config = parse("[venue.fx]\nkey = \"k\"\nlisten = \"0.0.0.0:9004\"").unwrap();
        let keys: Vec<&str> = config.warnings().into_iter().map(|warning| warning.key).collect();
        assert_eq!(keys, ["venue.listen"]);
    }
}
