//! Configuration: TOML with `${ENV}`, then `TICKRING_*`, then flags → `Config` (`sources.rs`). Every key with its unit, default,
//! cost and danger is in `tickring.toml` at the root, which is the defaults (a test compares them); what each is written as, and
//! whether it may change while the server runs, in `keys.rs`.
//!
//! Home: the main thread, before any other exists. A `Config` that exists is within its ranges (`check.rs`).

use std::fmt;
use std::path::PathBuf;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::hub::{ChannelKind, Deflation};
use crate::limits::{REFUSALS_PER_SHARD_MAX, RPC_LINKS_MAX};

mod auth;
mod backend;
mod check;
mod cluster;
mod control;
mod instrument;
mod keys;
mod limits;
mod listen;
mod log;
mod mcp;
mod messages;
mod orders;
mod overload;
mod print;
mod reload;
mod service;
mod sources;
mod store;
mod text;
mod unwise;
mod venue;

pub use auth::Auth;
pub use backend::{Backend, BackendKind};
pub use cluster::{Cluster, ClusterKind};
pub use control::Control;
pub use instrument::{Instrument, Instruments, desk_limits};
pub use limits::Limits;
pub use listen::{Listen, ListenDeflate, Protocol, ProxyHeader};
pub use log::Log;
pub use mcp::Mcp;
pub use messages::Messages;
pub use orders::Orders;
pub use overload::Overload;
pub use reload::{Merged, merge};
pub use service::Service;
pub use sources::{Effective, Overrides, Sources};
pub use store::Store;
pub use unwise::Host;
pub use venue::{Venue, VenueKind, Venues};

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// At least one.
    pub listen: Vec<Listen>,
    pub control: Control,
    pub mcp: Mcp,
    pub log: Log,
    pub shards: Shards,
    pub limits: Limits,
    pub auth: Auth,
    pub orders: Orders,
    pub messages: Messages,
    pub instrument: Instruments,
    pub overload: Overload,
    pub flush: Flush,
    pub service: Service,
    pub feed: Feed,
    pub venue: Venues,
    pub topics: Topics,
    pub deflate: Deflate,
    pub store: Store,
    pub cluster: Cluster,
    /// Names are each one's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backend: Vec<Backend>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shards {
    /// The cores that run a shard each. Empty: see `Shards::cores_of`.
    pub cores: Vec<usize>,
    /// Per shard.
    pub connections_max: u32,
    #[serde(rename = "busy_poll_us")]
    pub busy_poll: BusyPoll,
}

/// How long an idle shard spins before it parks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusyPoll {
    /// Microseconds; 0 parks at once.
    ForUs(u32),
    Always,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flush {
    /// What a busy shard may wait at most so that messages share a send.
    pub pace_max_us: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feed {
    pub kind: FeedKind,
    pub paper: Paper,
    pub replay: Replay,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedKind {
    #[default]
    Paper,
    Replay,
    /// Only what venues tell.
    None,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paper {
    /// The same seed makes the same market.
    pub seed: u64,
    pub instruments: u32,
    /// Market events of all instruments together.
    pub events_per_s: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replay {
    /// Empty where nothing is replayed.
    pub file: PathBuf,
    pub speed: Speed,
    /// Whether to begin again at the end.
    #[serde(rename = "loop")]
    pub repeat: bool,
}

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// 1 is as recorded, 10 ten times as fast.
    Factor(f64),
    /// As fast as it goes.
    Max,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Topics {
    /// Whether everybody may publish to `topic.*`, or only who has logged in by a key that may.
    pub publish: bool,
    /// Per topic, for `resume`.
    pub history_bytes_max: usize,
    /// Per topic, for `resume`.
    pub history_events_max: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec![Listen::default()],
            control: Control::default(),
            mcp: Mcp::default(),
            log: Log::default(),
            shards: Shards::default(),
            limits: Limits::default(),
            auth: Auth::default(),
            orders: Orders::default(),
            messages: Messages::default(),
            instrument: Instruments::new(),
            overload: Overload::default(),
            flush: Flush::default(),
            service: Service::default(),
            feed: Feed::default(),
            venue: Venues::new(),
            topics: Topics::default(),
            deflate: Deflate::default(),
            store: Store::default(),
            cluster: Cluster::default(),
            backend: Vec::new(),
        }
    }
}

impl Default for Shards {
    fn default() -> Shards {
        Shards { cores: Vec::new(), connections_max: 16_384, busy_poll: BusyPoll::ForUs(50) }
    }
}

impl Default for Flush {
    fn default() -> Flush {
        Flush { pace_max_us: 2_000 }
    }
}

impl Default for Paper {
    fn default() -> Paper {
        Paper { seed: 1, instruments: 12, events_per_s: 1_000 }
    }
}

impl Default for Speed {
    fn default() -> Speed {
        Speed::Factor(1.0)
    }
}

impl Default for Topics {
    fn default() -> Topics {
        Topics { publish: true, history_bytes_max: 1024 * 1024, history_events_max: 4096 }
    }
}

/// How messages are compressed for those who agreed to it (`listen.deflate`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deflate {
    /// zlib's, 1 to 9.
    pub level: u8,
    /// Shorter ones go plain.
    pub message_bytes_min: u32,
    /// Kinds of channels, by the first word of their names.
    pub topics: Vec<String>,
}

impl Default for Deflate {
    fn default() -> Deflate {
        let Deflation { level, message_bytes_min, .. } = Deflation::default();
        let topics = ChannelKind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
        Deflate { level, message_bytes_min, topics }
    }
}

/// Legal, but probably not what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub key: &'static str,
    pub what: String,
}

impl Config {
    /// Reads a configuration from text alone. `file` is what errors call it.
    ///
    /// # Errors
    /// As [`Sources::read`].
    pub fn parse(
        text: &str,
        file: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, Failure> {
        Sources::default().read_text(text, file, variable).map(|effective| effective.config)
    }

    /// Whether clients of MCP are served.
    #[must_use]
    pub fn serves_mcp(&self) -> bool {
        self.mcp.tools || self.backend.iter().any(Backend::speaks_mcp)
    }
}

impl Shards {
    /// Connections that each shard's ring has places for: clients, those that are being refused, links to backends.
    #[must_use]
    pub const fn ring_places(&self) -> u32 {
        self.connections_max + REFUSALS_PER_SHARD_MAX + RPC_LINKS_MAX
    }

    /// The cores to run shards on, of those the process may use. By default all of them, where there are four or
    /// more without the first, which is left to interrupts and housekeeping.
    ///
    /// # Errors
    /// A configured core is not among `available`.
    pub fn cores_of(&self, available: &[usize]) -> Result<Vec<usize>, Failure> {
        if self.cores.is_empty() {
            let reserved = usize::from(available.len() >= 4);
            return Ok(available[reserved..].to_vec());
        }
        match self.cores.iter().find(|core| !available.contains(core)) {
            None => Ok(self.cores.clone()),
            Some(core) => Err(Failure::new(
                Exit::Config,
                format!("shards.cores: core {core} is not one this process may use"),
                format!("choose among {available:?}, or widen the affinity mask (taskset, CPUAffinity=)"),
            )),
        }
    }
}

impl BusyPoll {
    /// As TOML has it.
    fn value(self) -> toml::Value {
        match self {
            BusyPoll::ForUs(us) => toml::Value::Integer(us.into()),
            BusyPoll::Always => toml::Value::String("always".to_owned()),
        }
    }
}

impl Serialize for BusyPoll {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl Speed {
    /// As TOML has it.
    fn value(self) -> toml::Value {
        match self {
            Speed::Factor(factor) => toml::Value::Float(factor),
            Speed::Max => toml::Value::String("max".to_owned()),
        }
    }
}

impl Serialize for Speed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BusyPoll {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BusyPoll, D::Error> {
        struct Us;
        impl Visitor<'_> for Us {
            type Value = BusyPoll;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("microseconds (0 never spins), or \"always\"")
            }
            fn visit_i64<E: de::Error>(self, us: i64) -> Result<BusyPoll, E> {
                let us = u32::try_from(us);
                us.map(BusyPoll::ForUs)
                    .map_err(|_| E::invalid_value(de::Unexpected::Other("that number"), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<BusyPoll, E> {
                match text {
                    "always" => Ok(BusyPoll::Always),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Us)
    }
}

impl<'de> Deserialize<'de> for Speed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Speed, D::Error> {
        struct Factor;
        impl Visitor<'_> for Factor {
            type Value = Speed;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a factor (1 is as recorded), or \"max\"")
            }
            #[expect(clippy::cast_precision_loss, reason = "a factor past 2^53 is out of range anyway")]
            fn visit_i64<E: de::Error>(self, factor: i64) -> Result<Speed, E> {
                Ok(Speed::Factor(factor as f64))
            }
            fn visit_f64<E: de::Error>(self, factor: f64) -> Result<Speed, E> {
                Ok(Speed::Factor(factor))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Speed, E> {
                text.parse().map_err(|()| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Factor)
    }
}

impl std::str::FromStr for Speed {
    type Err = ();

    /// As on the command line: `max` or a number. The range is checked with the rest.
    fn from_str(text: &str) -> Result<Speed, ()> {
        match text {
            "max" => Ok(Speed::Max),
            number => number.parse().map(Speed::Factor).map_err(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls;

    fn parse(text: &str) -> Result<Config, Failure> {
        Config::parse(text, "f.toml", &|name| (name == "PORT").then(|| "9100".to_owned()))
    }

    fn check_failure(text: &str, expected: &str) {
        let failure = parse(text).unwrap_err();
        assert_eq!(failure.to_string(), expected);
        assert_eq!(failure.exit, Exit::Config);
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn the_documented_file_is_the_defaults() {
        let text = include_str!("../tickring.toml");
        assert_eq!(Config::parse(text, "tickring.toml", &|_| None).unwrap(), Config::default());
    }

    #[test]
    fn the_documented_file_explains_every_key() {
        let text = include_str!("../tickring.toml");
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in
            lines.iter().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#'))
        {
            let above = lines[..index].iter().rev().take_while(|line| line.starts_with('#')).count();
            assert!(above > 0, "line {} has no explanation: {line}", index + 1);
        }
        // One line for each key, but for those of tables that are not there by default.
        let is_absent = |path: &str| {
            path.starts_with("listen.tls.") || path.starts_with("backend.") || path.contains('*')
        };
        let keys = keys::KEYS.iter().filter(|key| !is_absent(key.path)).count();
        assert_eq!(lines.iter().filter(|line| !line.starts_with('#') && line.contains(" = ")).count(), keys);
    }

    #[test]
    fn the_documented_keys_of_tables_that_are_absent_are_their_defaults() {
        // They stand behind a `#` without a space.
        let text = include_str!("../tickring.toml");
        let keys = text.lines().filter_map(|line| line.strip_prefix('#').filter(|key| !key.starts_with(' ')));
        let keys: Vec<&str> = keys.filter(|key| !key.is_empty()).collect();
        let (keys, of_backends) = keys.split_at(keys.iter().position(|key| *key == "[[backend]]").unwrap());
        let (of_tls, of_venues) = keys.split_at(keys.iter().position(|key| *key == "[venue.fx]").unwrap());
        let at = of_tls.iter().position(|key| *key == "[instrument.BTC-PERPETUAL]").unwrap();
        let (of_tls, of_instruments) = of_tls.split_at(at);
        let lengths = (of_tls.len(), of_instruments.len(), of_venues.len(), of_backends.len());
        let backend_keys = keys::KEYS.iter().filter(|key| key.path.starts_with("backend.")).count();
        assert_eq!(lengths, (1 + 9, 1 + 4, 1 + 9, 1 + backend_keys), "{keys:?}");
        let config: Config = toml::from_str(&of_instruments.join("\n")).unwrap();
        let orders = Orders::default();
        let documented = Instrument {
            amount_max: Some(orders.amount_max),
            notional_max: Some(orders.notional_max),
            position_max: Some(orders.position_max),
            price_band_bp: Some(orders.price_band_bp),
        };
        assert_eq!(config.instrument["BTC-PERPETUAL"], documented);
        let config: Config = toml::from_str(&format!("[[listen]]\n{}\n", of_tls.join("\n"))).unwrap();
        assert_eq!(config.listen[0].tls, Some(tls::Settings::default()));
        let config: Config = toml::from_str(&of_venues.join("\n")).unwrap();
        let documented = Venue { listen: Venue::default().listens(), ..Venue::default() };
        assert_eq!(config.venue["fx"], documented);
        let config: Config = toml::from_str(&of_backends.join("\n")).unwrap();
        assert_eq!(config.backend, [Backend { name: "risk".to_owned(), ..Backend::default() }]);
    }

    #[test]
    fn reads_each_kind_of_value() {
        let config = parse(
            "[[listen]]\naddress = \"0.0.0.0:${PORT}\"\n[shards]\ncores = [0, 1]\nbusy_poll_us = \"always\"\n\
             [feed]\nkind = \"replay\"\n[feed.replay]\nfile = \"a.csv\"\nspeed = 2\nloop = true\n",
        )
        .unwrap();
        assert_eq!(config.listen[0].address, "0.0.0.0:9100".parse().unwrap());
        assert_eq!(parse("[control]\naddress = \"\"\n").unwrap().control.address, None);
        assert_eq!(config.shards.cores, [0, 1]);
        assert_eq!(config.shards.busy_poll, BusyPoll::Always);
        assert_eq!(config.feed.kind, FeedKind::Replay);
        assert_eq!(
            config.feed.replay,
            Replay { file: "a.csv".into(), speed: Speed::Factor(2.0), repeat: true }
        );
        assert_eq!(parse("[feed.replay]\nspeed = \"max\"").unwrap().feed.replay.speed, Speed::Max);
    }

    #[test]
    fn names_file_line_key_and_what_is_expected() {
        check_failure(
            "[limits]\nqueued_bytes_max = 10\n",
            "f.toml:2: limits.queued_bytes_max: is 10, expected 4096 to 1073741824 bytes: \
             unsent bytes per connection, by default 1048576",
        );
        check_failure(
            "\n[shards]\nbusy_poll_us = \"often\"\n",
            "f.toml:3: shards.busy_poll_us: invalid value: string \"often\", expected microseconds (0 never spins), \
             or \"always\": tickring.toml explains every key",
        );
        check_failure(
            "[[listen]]\nbacklog = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\nbacklog = 0\n",
            "f.toml:5: listen.backlog: is 0, expected 1 to 65535 connections: by default 4096",
        );
        check_failure(
            "[[listen]]\n[listen.tls]\ncertificate = \"c\"\nkey = \"\"\n",
            "f.toml:4: listen.tls.key: names no file: a chain and its key in PEM, or development = true",
        );
        check_failure(
            "[[listen]]\n[listen.tls]\nsuites = [\"rc4\"]\n",
            "f.toml:3: listen.tls.suites: unknown variant `rc4`, expected one of `aes-128-gcm`, `aes-256-gcm`, \
             `chacha20-poly1305`: tickring.toml explains every key",
        );
        check_failure(
            "[[listen]]\nproxies = [\"10.0.0.0/8\", \"10.0.0.1/8\"]\n",
            "f.toml:2: listen.proxies: has \"10.0.0.1/8\", expected an address or a network: write it as 10.0.0.5 or \
             10.0.0.0/8, with no bit set behind the prefix",
        );
        check_failure(
            "[[listen]]\nprotocol = \"tcp\"\nproxy_header = \"x-forwarded-for\"\n",
            "f.toml:3: listen.proxy_header: is set on a listener with protocol = \"tcp\": it is of WebSocket and HTTP: \
             leave it out, or set protocol = \"websocket\"",
        );
        check_failure(
            "[[listen]]\n[listen.deflate]\nenabled = true\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
             [listen.deflate]\nclient_window_bits_max = 7\n",
            "f.toml:7: listen.deflate.client_window_bits_max: is 7, expected 8 to 15 bits: by default 15",
        );
        check_failure(
            "[control]\naddress = \"here\"\n",
            "f.toml:2: control.address: invalid value: string \"here\", expected an address with its port, or \"\" \
             for none: tickring.toml explains every key",
        );
        check_failure(
            "[flush]\npace = 1\n",
            "f.toml:2: flush.pace: unknown field `pace`, expected `pace_max_us`: tickring.toml explains every key",
        );
        check_failure(
            "[[listen]]\nbacklog = ${NONE}\n",
            "f.toml:2: ${NONE} is not set: set it, or write a default as ${NAME:-default}",
        );
    }

    #[test]
    fn a_paper_market_larger_than_the_feed_makes_is_refused() {
        check_failure(
            "[feed.paper]\nseed = 2\ninstruments = 257\n",
            "f.toml:3: feed.paper.instruments: is 257, expected 1 to 256 instruments: the paper market's size",
        );
        check_failure(
            "[feed.paper]\nevents_per_s = 500001\n",
            "f.toml:2: feed.paper.events_per_s: is 500001, expected 1 to 500000 events/s: the paper market's size",
        );
        assert!(parse("[feed.paper]\ninstruments = 256\nevents_per_s = 500000\n").is_ok());
    }

    #[test]
    fn leaves_the_first_of_four_cores_to_housekeeping() {
        let shards = Shards::default();
        assert_eq!(shards.cores_of(&[0, 1]).unwrap(), [0, 1]);
        assert_eq!(shards.cores_of(&[0, 1, 2, 3]).unwrap(), [1, 2, 3]);
        let shards = Shards { cores: vec![2], ..Shards::default() };
        assert_eq!(shards.cores_of(&[0, 1, 2, 3]).unwrap(), [2]);
        assert_eq!(shards.cores_of(&[0, 1]).unwrap_err().exit, Exit::Config);
    }

    #[test]
    fn a_missing_file_is_no_input() {
        let sources = Sources { file: Some("/nonexistent/t.toml".into()), ..Sources::default() };
        assert_eq!(sources.read().unwrap_err().exit, Exit::NoInput);
    }
}
