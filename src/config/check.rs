//! What a configuration may say: ranges, and what goes with what. PURE.

use std::borrow::Cow;

use super::orders::{PRICE_BAND_BP_MAX, WHOLE_UNITS_MAX};
use super::{BusyPoll, Config, FeedKind, Limits, Listen, Protocol, ProxyHeader, Speed};
use super::{backend, instrument, venue};
use crate::auth::is_pattern;
use crate::backend::paper;
use crate::front::Network;
use crate::hub::ChannelKind;
use crate::{http, limits};

/// A key out of its range.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RangeFault {
    pub key: Cow<'static, str>,
    /// Which of the tables of its array, from 0.
    pub nth: usize,
    pub what: String,
    pub hint: String,
}

/// A number's legal range, and what it is.
pub(super) struct Range {
    pub key: &'static str,
    pub value: u64,
    pub min: u64,
    pub max: u64,
    pub unit: &'static str,
    pub hint: &'static str,
}

impl Range {
    pub(super) fn check(&self) -> Result<(), RangeFault> {
        let Range { key, value, min, max, unit, hint } = self;
        if min <= value && value <= max {
            return Ok(());
        }
        let what = format!("is {value}, expected {min} to {max} {unit}");
        Err(RangeFault { key: Cow::Borrowed(key), nth: 0, what, hint: (*hint).to_owned() })
    }
}

/// One number with its range; the lengths that `usize` holds fit in 64 bits everywhere.
macro_rules! range {
    ($config:ident . $table:ident . $key:ident, $min:expr => $max:expr, $unit:expr, $hint:expr) => {
        Range {
            key: concat!(stringify!($table), ".", stringify!($key)),
            value: u64::try_from($config.$table.$key).unwrap_or(u64::MAX),
            min: $min,
            max: $max,
            unit: $unit,
            hint: $hint,
        }
    };
}

const HOUR_MS: u64 = 3_600_000;
/// Orders that one account may be allowed.
const ORDERS_MAX: u64 = 100_000;
/// Beyond what a core can do.
const CREDITS_MAX: u64 = 10_000_000;
/// Ten years.
const LIFETIME_S_MAX: u64 = 315_360_000;
/// A turn's batch has 32-bit ranges, and the log's segments grow to the largest frame.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Counting them by address takes 64 bytes for each.
const CONNECTIONS_MAX: u64 = 10_000_000;
/// A head that comes in pieces is held, and read again with each of them.
const HEAD_BYTES_MAX: u64 = 65_536;

impl Config {
    /// Whether every value is in its range; the first that is not.
    pub(super) fn check(&self) -> Result<(), RangeFault> {
        let (own, limits, store) = (self.ranges(), self.limits.ranges(), self.store.ranges());
        let (service, messages) = (self.service.ranges(), self.messages.ranges());
        let cluster = self.cluster.ranges();
        for range in own.iter().chain(&limits).chain(&service).chain(&store).chain(&messages).chain(&cluster)
        {
            range.check()?;
        }
        let has_sessions = self.auth.sessions_file().is_some();
        self.cluster.check(self.store.directory_path().is_some(), has_sessions)?;
        self.check_listeners()?;
        venue::check(&self.venue)?;
        instrument::check(&self.instrument)?;
        backend::check(&self.backend)?;
        self.mcp.check()?;
        if let Some(odd) = self.auth.public_subscribe.iter().find(|pattern| !is_pattern(pattern)) {
            return Err(RangeFault {
                key: Cow::Borrowed("auth.public_subscribe"),
                nth: 0,
                what: format!("has \"{odd}\", expected patterns of channels"),
                hint: "a channel's name, in which * stands for any text".to_owned(),
            });
        }
        if let Some(odd) = self.deflate.topics.iter().find(|name| !is_channel_kind(name)) {
            return Err(RangeFault {
                key: Cow::Borrowed("deflate.topics"),
                nth: 0,
                what: format!("has \"{odd}\", expected ticker, quote, book, trades or topic"),
                hint: "the first word of a channel's name".to_owned(),
            });
        }
        if let Some(odd) = self.log.odd_part() {
            return Err(RangeFault {
                key: Cow::Borrowed("log.filter"),
                nth: 0,
                what: format!("has \"{odd}\", expected levels: off, error, warn, info, debug, trace"),
                hint: "\"info\", or with a module's own: \"info,tickring::hub=debug\"".to_owned(),
            });
        }
        self.check_marks()?;
        self.check_credits()?;
        self.messages.check_retries()?;
        let mut cores = self.shards.cores.clone();
        cores.sort_unstable();
        if let Some(twice) = cores.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(RangeFault {
                key: Cow::Borrowed("shards.cores"),
                nth: 0,
                what: format!("names core {} twice", twice[0]),
                hint: "one shard a core".to_owned(),
            });
        }
        if let Speed::Factor(factor) = self.feed.replay.speed
            && !(0.001..=1_000_000.0).contains(&factor)
        {
            return Err(RangeFault {
                key: Cow::Borrowed("feed.replay.speed"),
                nth: 0,
                what: format!("is {factor}, expected 0.001 to 1000000, or \"max\""),
                hint: "1 is as recorded".to_owned(),
            });
        }
        if self.feed.kind == FeedKind::Replay && self.feed.replay.file.as_os_str().is_empty() {
            return Err(RangeFault {
                key: Cow::Borrowed("feed.replay.file"),
                nth: 0,
                what: "is empty".to_owned(),
                hint: "name a recording, or set feed.kind = \"paper\"".to_owned(),
            });
        }
        Ok(())
    }

    fn check_listeners(&self) -> Result<(), RangeFault> {
        if self.listen.is_empty() || self.listen.len() > limits::LISTENERS_MAX {
            return Err(RangeFault {
                key: Cow::Borrowed("listen"),
                nth: 0,
                what: format!("has {} tables, expected 1 to {}", self.listen.len(), limits::LISTENERS_MAX),
                hint: "[[listen]] adds one".to_owned(),
            });
        }
        for (nth, listen) in self.listen.iter().enumerate() {
            for range in listen.ranges() {
                range.check().map_err(|fault| RangeFault { nth, ..fault })?;
            }
            if let Some(tls) = &listen.tls {
                tls.check().map_err(|(key, what)| {
                    let hint = "a chain and its key in PEM, or development = true".to_owned();
                    RangeFault { key: Cow::Borrowed(key), nth, what, hint }
                })?;
            }
            if let Some(key) = listen.websocket_key_of_tcp() {
                return Err(RangeFault {
                    key: Cow::Borrowed(key),
                    nth,
                    what: "is set on a listener with protocol = \"tcp\"".to_owned(),
                    hint: "it is of WebSocket and HTTP: leave it out, or set protocol = \"websocket\""
                        .to_owned(),
                });
            }
            let is_origin =
                |text: &str| text == "*" || text.starts_with("http://") || text.starts_with("https://");
            if let Some(odd) = listen.origins.iter().find(|text| !is_origin(text) || text.ends_with('/')) {
                return Err(RangeFault {
                    key: Cow::Borrowed("listen.origins"),
                    nth,
                    what: format!("has \"{odd}\", expected scheme://host[:port], or \"*\""),
                    hint: "write it as browsers do: https://desk.example.com".to_owned(),
                });
            }
            if let Some(odd) = listen.hosts.iter().find(|text| !is_host_name(text)) {
                return Err(RangeFault {
                    key: Cow::Borrowed("listen.hosts"),
                    nth,
                    what: format!("has \"{odd}\", expected a name without scheme and port"),
                    hint: "write it as in the URL of the page: gw.example.com".to_owned(),
                });
            }
            listen.check_proxies().map_err(|fault| RangeFault { nth, ..fault })?;
            let port = listen.address.port();
            if port != 0 && self.listen[..nth].iter().any(|other| other.address == listen.address) {
                return Err(RangeFault {
                    key: Cow::Borrowed("listen.address"),
                    nth,
                    what: format!("is {}, as of a listener before it", listen.address),
                    hint: "one address each".to_owned(),
                });
            }
        }
        Ok(())
    }

    fn check_marks(&self) -> Result<(), RangeFault> {
        let marks = &self.overload;
        let pairs = [
            ("overload.guard_leave_percent", marks.guard_leave_percent, marks.guard_percent),
            ("overload.shed_leave_percent", marks.shed_leave_percent, marks.shed_percent),
            ("overload.guard_percent", marks.guard_percent, marks.shed_percent),
        ];
        match pairs.into_iter().find(|(_, lower, upper)| lower > upper) {
            None => Ok(()),
            Some((key, lower, upper)) => Err(RangeFault {
                key: Cow::Borrowed(key),
                nth: 0,
                what: format!("is {lower}, expected at most {upper}"),
                hint: "a mark is left below where it is entered, and the first comes before the second"
                    .to_owned(),
            }),
        }
    }

    /// What costs more than can be saved up can never be asked for.
    fn check_credits(&self) -> Result<(), RangeFault> {
        let orders = &self.orders;
        let costs = [
            ("orders.place_credits", orders.place_credits),
            ("orders.cancel_credits", orders.cancel_credits),
            ("orders.query_credits", orders.query_credits),
        ];
        let max = orders.credits_max;
        match costs.into_iter().find(|(_, cost)| orders.credits_per_s > 0 && *cost > max) {
            None => Ok(()),
            Some((key, cost)) => Err(RangeFault {
                key: Cow::Borrowed(key),
                nth: 0,
                what: format!("is {cost}, expected at most {max}"),
                hint: "an account never has more than orders.credits_max: raise that, or set orders.credits_per_s = 0".to_owned(),
            }),
        }
    }

    fn ranges(&self) -> [Range; 35] {
        let busy_poll_us = match self.shards.busy_poll {
            BusyPoll::ForUs(us) => u64::from(us),
            BusyPoll::Always => 0,
        };
        [
            range!(self.shards.connections_max, 1 => 1_000_000, "connections", "per shard, by default 16384"),
            Range {
                key: "shards.busy_poll_us",
                value: busy_poll_us,
                min: 0,
                max: 1_000_000,
                unit: "us",
                hint: "\"always\" never parks",
            },
            range!(self.overload.guard_percent, 1 => 100, "percent", "of limits.memory_bytes_max, by default 80"),
            range!(self.overload.guard_leave_percent, 1 => 100, "percent", "by default 70"),
            range!(self.overload.shed_percent, 1 => 100, "percent", "of limits.memory_bytes_max, by default 90"),
            range!(self.overload.shed_leave_percent, 1 => 100, "percent", "by default 80"),
            range!(self.overload.turn_ms_max, 0 => 10_000, "ms", "0 lets turns be as long as they are"),
            range!(self.overload.dwell_ms, 0 => HOUR_MS, "ms", "by default 1000"),
            range!(self.flush.pace_max_us, 0 => 100_000, "us", "0 sends each turn at once"),
            Range {
                key: "feed.paper.instruments",
                ..paper_range(self.feed.paper.instruments, paper::INSTRUMENTS_MAX, "instruments")
            },
            Range {
                key: "feed.paper.events_per_s",
                ..paper_range(self.feed.paper.events_per_s, paper::EVENTS_PER_S_MAX, "events/s")
            },
            Range {
                key: "feed.paper.seed",
                value: self.feed.paper.seed,
                min: 0,
                max: i64::MAX.unsigned_abs(),
                unit: "",
                hint: "any number",
            },
            range!(self.topics.history_bytes_max, 0 => GIB, "bytes", "per topic, 0 keeps none"),
            range!(self.topics.history_events_max, 0 => 1_000_000, "events", "per topic, 0 keeps none"),
            range!(self.auth.logins_per_minute_max, 0 => 1_000_000, "log-ins/min", "per connection, 0 sets no limit"),
            range!(self.auth.failures_per_minute_max, 0 => 1_000_000, "failures/min", "per address, 0 sets no limit"),
            range!(self.auth.signature_window_ms, 1_000 => limits::SIGNATURE_WINDOW_MS_MAX, "ms", "by default 60000"),
            range!(self.auth.connection_lifetime_s, 1 => LIFETIME_S_MAX, "s", "by default 31536000"),
            range!(self.auth.token_lifetime_s, 1 => LIFETIME_S_MAX, "s", "by default 900"),
            range!(self.auth.refresh_lifetime_s, 1 => LIFETIME_S_MAX, "s", "by default 604800"),
            range!(self.orders.open_max, 1 => ORDERS_MAX, "orders", "per account, by default 1000"),
            range!(self.orders.remembered_max, 1 => ORDERS_MAX, "orders", "per account, by default 1000"),
            range!(self.orders.credits_max, 1 => CREDITS_MAX, "credits", "by default 1000"),
            range!(self.orders.credits_per_s, 0 => CREDITS_MAX, "credits/s", "0 sets no limit"),
            range!(self.orders.place_credits, 0 => CREDITS_MAX, "credits", "by default 1"),
            range!(self.orders.cancel_credits, 0 => CREDITS_MAX, "credits", "by default 1"),
            range!(self.orders.query_credits, 0 => CREDITS_MAX, "credits", "by default 1"),
            range!(self.orders.amount_max, 1 => WHOLE_UNITS_MAX, "units", "of one order, by default 1000000"),
            range!(self.orders.notional_max, 0 => WHOLE_UNITS_MAX, "units", "of one order, 0 sets no limit"),
            range!(self.orders.position_max, 1 => WHOLE_UNITS_MAX, "units", "by default 1000000000"),
            range!(self.orders.price_band_bp, 0 => PRICE_BAND_BP_MAX, "1/10000", "0 sets no limit"),
            range!(self.orders.duplicate_window_ms, 0 => 60_000, "ms", "0 looks for none"),
            range!(self.orders.opening_balance, 0 => WHOLE_UNITS_MAX, "units", "by default 1000000"),
            range!(self.deflate.level, 1 => 9, "", "1 is fast, 9 is small"),
            range!(self.deflate.message_bytes_min, 0 => MESSAGE_BYTES_MAX, "bytes", "by default 128"),
        ]
    }
}

impl Limits {
    fn ranges(&self) -> [Range; 21] {
        macro_rules! range {
            ($key:ident, $min:expr => $max:expr, $unit:expr, $hint:expr) => {
                Range {
                    key: concat!("limits.", stringify!($key)),
                    value: u64::try_from(self.$key).unwrap_or(u64::MAX),
                    min: $min,
                    max: $max,
                    unit: $unit,
                    hint: $hint,
                }
            };
        }
        [
            range!(connections_max, 1 => CONNECTIONS_MAX, "connections", "of the process, by default 50000"),
            range!(connections_per_address_max, 0 => CONNECTIONS_MAX, "connections", "0 sets no such limit"),
            range!(head_bytes_max, 256 => HEAD_BYTES_MAX, "bytes", "an upgrade request, by default 8192"),
            range!(headers_max, 8 => http::HEADERS_MAX as u64, "header fields", "by default 64"),
            range!(handshake_timeout_ms, 10 => HOUR_MS, "ms", "by default 5000"),
            range!(message_bytes_max, 1024 => MESSAGE_BYTES_MAX, "bytes", "a client's message, by default 65536"),
            range!(frame_bytes_max, 1024 => MESSAGE_BYTES_MAX, "bytes", "a client's frame, by default 65536"),
            range!(fragments_max, 1 => 65_536, "frames", "of one message, by default 1024"),
            range!(message_timeout_ms, 0 => HOUR_MS, "ms", "0 waits for the rest of a message for ever"),
            range!(messages_per_s_max, 0 => 10_000_000, "messages/s", "per connection, 0 sets no limit"),
            range!(bytes_per_s_max, 0 => u64::from(u32::MAX), "bytes/s", "per connection, 0 sets no limit"),
            range!(requests_pending_max, 1 => u64::from(u16::MAX), "requests", "per connection, by default 256"),
            range!(call_cache_entries_max, 0 => 1 << 20, "results", "of each shard, by default 16384"),
            range!(call_cache_bytes_max, 0 => GIB, "bytes", "of each shard, by default 67108864"),
            range!(calls_under_way_max, 1 => limits::CALLS_WAITING_MAX as u64, "calls", "per connection, by default 128"),
            range!(subscriptions_max, 1 => 1_000_000, "channels", "per connection, by default 1024"),
            range!(queued_bytes_max, 4096 => GIB, "bytes", "unsent bytes per connection, by default 1048576"),
            range!(memory_bytes_max, 16 << 20 => 1 << 40, "bytes", "of all threads, by default 1500000000"),
            // Never 0: who reads nothing would hold a send buffer for good.
            range!(write_timeout_ms, 10 => HOUR_MS, "ms", "by default 30000"),
            range!(idle_timeout_ms, 0 => 24 * HOUR_MS, "ms", "0 never closes an idle connection"),
            range!(close_timeout_ms, 10 => 60_000, "ms", "by default 2000"),
        ]
    }
}

impl Listen {
    /// The first key that says something where there is neither HTTP nor a WebSocket.
    fn websocket_key_of_tcp(&self) -> Option<&'static str> {
        let odd = [
            ("listen.origins", !self.origins.is_empty()),
            ("listen.hosts", !self.hosts.is_empty()),
            ("listen.echo", self.echo),
            ("listen.deflate.enabled", self.deflate.enabled),
            ("listen.proxy_header", self.proxy_header == ProxyHeader::XForwardedFor),
        ];
        let is_tcp = self.protocol == Protocol::Tcp;
        odd.into_iter().find_map(|(key, is_set)| (is_tcp && is_set).then_some(key))
    }

    fn check_proxies(&self) -> Result<(), RangeFault> {
        let refused = |what, hint: &str| RangeFault {
            key: Cow::Borrowed("listen.proxies"),
            nth: 0,
            what,
            hint: hint.to_owned(),
        };
        if self.proxies.len() > limits::PROXY_NETWORKS_MAX {
            let (count, max) = (self.proxies.len(), limits::PROXY_NETWORKS_MAX);
            return Err(refused(
                format!("has {count} networks, expected at most {max}"),
                "name a network that has several",
            ));
        }
        match self.proxies.iter().find(|text| text.parse::<Network>().is_err()) {
            None => Ok(()),
            Some(odd) => Err(refused(
                format!("has \"{odd}\", expected an address or a network"),
                "write it as 10.0.0.5 or 10.0.0.0/8, with no bit set behind the prefix",
            )),
        }
    }

    fn ranges(&self) -> [Range; 5] {
        let range =
            |key, value: u32, min, max, unit, hint| Range { key, value: value.into(), min, max, unit, hint };
        [
            range("listen.backlog", self.backlog, 1, 65_535, "connections", "by default 4096"),
            range("listen.ping_interval_ms", self.ping_interval_ms, 0, HOUR_MS, "ms", "0 sends no pings"),
            range("listen.ping_timeout_ms", self.ping_timeout_ms, 10, HOUR_MS, "ms", "by default 10000"),
            range(
                "listen.unacknowledged_ms_max",
                self.unacknowledged_ms_max,
                0,
                HOUR_MS,
                "ms",
                "0 leaves it to the kernel",
            ),
            range(
                "listen.deflate.client_window_bits_max",
                self.deflate.client_window_bits_max.into(),
                8,
                15,
                "bits",
                "by default 15",
            ),
        ]
    }
}

/// A name as a URL has it: no scheme, no port, nothing that stands for several.
fn is_host_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn is_channel_kind(name: &str) -> bool {
    ChannelKind::ALL.iter().any(|kind| kind.as_str() == name)
}

fn paper_range(value: u32, max: u32, unit: &'static str) -> Range {
    let (value, max) = (value.into(), max.into());
    Range { key: "feed.paper", value, min: 1, max, unit, hint: "the paper market's size" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_work() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().unwrap_err().key
        };
        assert_eq!(refused(|c| c.feed.kind = FeedKind::Replay), "feed.replay.file");
        assert_eq!(refused(|c| c.feed.replay.speed = Speed::Factor(0.0)), "feed.replay.speed");
        assert_eq!(refused(|c| c.feed.replay.speed = Speed::Factor(f64::NAN)), "feed.replay.speed");
        assert_eq!(refused(|c| c.overload.guard_leave_percent = 81), "overload.guard_leave_percent");
        assert_eq!(refused(|c| c.overload.shed_percent = 79), "overload.shed_leave_percent");
        assert_eq!(refused(|c| c.overload.guard_percent = 95), "overload.guard_percent");
        assert_eq!(refused(|c| c.orders.place_credits = 1_001), "orders.place_credits");
        assert_eq!(refused(|c| c.orders.cancel_credits = 1_001), "orders.cancel_credits");
        assert_eq!(refused(|c| c.orders.query_credits = 1_001), "orders.query_credits");
        assert_eq!(refused(|c| c.orders.credits_max = 0), "orders.credits_max");
        assert_eq!(refused(|c| c.messages.attempts_max = 65), "messages.attempts_max");
        assert_eq!(refused(|c| c.messages.retry_longest_ms = 999), "messages.retry_first_ms");
        assert_eq!(refused(|c| c.shards.cores = vec![3, 1, 3]), "shards.cores");
        assert_eq!(refused(|c| c.feed.paper.events_per_s = 0), "feed.paper.events_per_s");
        assert_eq!(refused(|c| c.limits.connections_max = 0), "limits.connections_max");
        assert_eq!(refused(|c| c.limits.headers_max = 129), "limits.headers_max");
        assert_eq!(refused(|c| c.limits.write_timeout_ms = 0), "limits.write_timeout_ms");
        assert_eq!(refused(|c| c.listen.clear()), "listen");
        assert_eq!(refused(|c| c.deflate.level = 0), "deflate.level");
        assert_eq!(refused(|c| c.deflate.topics = vec!["orders".to_owned()]), "deflate.topics");
        assert_eq!(
            refused(|c| c.listen[0].deflate.client_window_bits_max = 7),
            "listen.deflate.client_window_bits_max"
        );
        assert_eq!(refused(|c| c.listen.push(Listen::default())), "listen.address");
        let tcp_with = |change: fn(&mut Listen)| {
            let mut listen = Listen { protocol: Protocol::Tcp, ..Listen::default() };
            assert!(Config { listen: vec![listen.clone()], ..Config::default() }.check().is_ok());
            change(&mut listen);
            Config { listen: vec![listen], ..Config::default() }.check().unwrap_err().key
        };
        assert_eq!(tcp_with(|listen| listen.echo = true), "listen.echo");
        assert_eq!(tcp_with(|listen| listen.origins = vec!["*".to_owned()]), "listen.origins");
        assert_eq!(tcp_with(|listen| listen.hosts = vec!["gw".to_owned()]), "listen.hosts");
        assert_eq!(tcp_with(|listen| listen.deflate.enabled = true), "listen.deflate.enabled");
        for odd in ["", "gw.example.com:9001", "http://gw.example.com", "*", "*.example.com"] {
            let config = Config {
                listen: vec![Listen { hosts: vec![odd.to_owned()], ..Listen::default() }],
                ..Config::default()
            };
            assert_eq!(config.check().unwrap_err().key, "listen.hosts", "{odd}");
        }
        assert_eq!(refused(|c| c.listen[0].origins = vec!["desk.example.com".to_owned()]), "listen.origins");
    }
}
