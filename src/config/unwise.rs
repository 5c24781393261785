//! What a configuration may say, but hardly means: by itself, and on the host that it is for. PURE.

use super::venue;
use super::{Config, FeedKind, Limits, Listen, Speed, Warning};
use crate::limits;

/// A small send buffer, of which a connection that does not read keeps one.
const SEND_BUFFER_BYTES: u64 = 4096;
/// What the process takes besides the memory that it counts.
const PROCESS_BYTES: u64 = 100_000_000;

/// A key, whether it is odd, and how.
type Odd = (&'static str, bool, &'static str);

/// What a host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Cores that the process may use.
    pub cores: Vec<usize>,
    /// Of the machine, or of the container; none where that is not known.
    pub memory_bytes: Option<u64>,
    /// The hard limit on descriptors; none where that is told elsewhere.
    pub descriptors_max: Option<u64>,
}

impl Config {
    /// What is legal, but probably not meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.odd_reach()
            .into_iter()
            .chain(self.odd_limits())
            .chain(self.odd_rest())
            .chain(self.odd_listeners())
            .filter(|(_, is_odd, _)| *is_odd)
            .map(|(key, _, what)| Warning { key, what: what.to_owned() })
            .chain(venue::warnings(&self.venue))
            .collect()
    }

    /// What does not fit the host.
    #[must_use]
    pub fn warnings_on(&self, host: &Host) -> Vec<Warning> {
        let Host { cores, memory_bytes, descriptors_max } = host;
        // A core that there is not is an error of its own.
        let shards = self.shards.cores_of(cores).map_or(1, |cores| cores.len() as u64);
        let per_shard = u64::from(self.shards.connections_max);
        let wanted = u64::from(self.shards.ring_places());
        let budget_bytes = self.limits.memory_bytes_max + PROCESS_BYTES;
        let mut odd = Vec::new();
        let mut say = |key: &'static str, what: String| odd.push(Warning { key, what });
        if let Some(bytes) = memory_bytes.filter(|bytes| *bytes < budget_bytes) {
            say(
                "limits.memory_bytes_max",
                format!(
                    "and 100 MB for the process are more than the {bytes} bytes that there are: the kernel ends it before overload begins"
                ),
            );
        }
        // Who says nothing of it wants as many as there are places for.
        let is_said = self.limits.connections_max != Limits::default().connections_max;
        if is_said && u64::from(self.limits.connections_max) > shards * per_shard {
            let places = shards * per_shard;
            say(
                "limits.connections_max",
                format!(
                    "is more than the {places} places of {shards} shards (shards.connections_max): those refuse first"
                ),
            );
        }
        if let Some(max) = descriptors_max.filter(|max| *max < wanted) {
            say(
                "shards.connections_max",
                format!(
                    "wants {wanted} descriptors a shard, the limit is {max}: LimitNOFILE= in the unit, or ulimit -Hn"
                ),
            );
        }
        odd
    }

    /// Who may what, from where.
    fn odd_reach(&self) -> [Odd; 7] {
        let any = |is_odd: &dyn Fn(&Listen) -> bool| self.listen.iter().any(is_odd);
        let is_open = Listen::is_open;
        let limits = &self.limits;
        [
            (
                "topics.publish",
                self.topics.publish && any(&is_open),
                "anybody who reaches the listener may publish to topic.*",
            ),
            (
                "control.address",
                self.control.address.is_some_and(|address| !address.ip().is_loopback()),
                "shows metrics and log lines, unencrypted, to whoever reaches it",
            ),
            (
                "mcp.address",
                self.mcp.address.is_some_and(|address| !address.ip().is_loopback()) && self.serves_mcp(),
                "shows keys and what tools are told, unencrypted, to whoever is between; put a proxy with TLS before it",
            ),
            (
                "listen.address",
                any(&|listen| !listen.address.ip().is_loopback() && listen.tls.is_none()),
                "is plain beyond loopback: secrets, tokens and orders cross the network for all to read; give it \
                 [listen.tls], or a proxy that has it",
            ),
            (
                "auth.keys",
                any(&is_open) && !self.auth.has_file(),
                "names no file: who comes from another host cannot log in",
            ),
            (
                "auth.failures_per_minute_max",
                self.auth.failures_per_minute_max == 0 && any(&is_open),
                "lets secrets be guessed without end",
            ),
            (
                "limits.connections_per_address_max",
                limits.connections_per_address_max == 0 && any(&is_open),
                "lets one address take all connections",
            ),
        ]
    }

    /// Limits that undo each other.
    fn odd_limits(&self) -> [Odd; 7] {
        let limits = &self.limits;
        let any = |is_odd: &dyn Fn(&Listen) -> bool| self.listen.iter().any(is_odd);
        let idle_ms = limits.idle_timeout_ms;
        let one_shard_bytes = (limits::LOG_SEGMENTS_MAX * limits::LOG_SEGMENT_BYTES) as u64
            + u64::from(self.shards.connections_max) * SEND_BUFFER_BYTES;
        [
            (
                "limits.frame_bytes_max",
                limits.frame_bytes_max > limits.message_bytes_max,
                "is more than limits.message_bytes_max, which applies first",
            ),
            (
                "limits.queued_bytes_max",
                limits.queued_bytes_max < 4 * limits.message_bytes_max,
                "is less than four messages: an ordinary burst makes a slow consumer",
            ),
            (
                "limits.bytes_per_s_max",
                limits.bytes_per_s_max != 0 && (limits.bytes_per_s_max as usize) < limits.message_bytes_max,
                "is less than limits.message_bytes_max: a message of that size that comes at once is too fast",
            ),
            (
                "limits.message_timeout_ms",
                limits.message_timeout_ms == 0,
                "lets a client hold limits.message_bytes_max of memory for as long as it answers pings",
            ),
            (
                "limits.memory_bytes_max",
                limits.memory_bytes_max < one_shard_bytes,
                "is less than one shard's log and buffers can take: few slow readers make an overload",
            ),
            (
                "limits.idle_timeout_ms",
                idle_ms != 0
                    && any(&|listen| listen.ping_interval_ms == 0 || idle_ms <= listen.ping_interval_ms),
                "closes clients that only listen: no ping makes them answer in that time",
            ),
            (
                "listen.ping_interval_ms",
                idle_ms == 0 && any(&|listen| listen.ping_interval_ms == 0),
                "with no pings and no idle timeout a dead peer is never found",
            ),
        ]
    }

    /// All that is left.
    fn odd_rest(&self) -> [Odd; 8] {
        let any = |is_odd: &dyn Fn(&Listen) -> bool| self.listen.iter().any(is_odd);
        let limits = &self.limits;
        [
            (
                "flush.pace_max_us",
                self.flush.pace_max_us > 10_000,
                "delays every message by up to that under load",
            ),
            (
                "overload.guard_leave_percent",
                self.overload.guard_leave_percent == self.overload.guard_percent,
                "is overload.guard_percent: the stance flaps",
            ),
            (
                "service.drain_timeout_s",
                u64::from(self.service.drain_timeout_s) * 1000
                    < u64::from(self.service.drain_spread_ms) + u64::from(limits.close_timeout_ms) + 1000,
                "is less than service.drain_spread_ms, limits.close_timeout_ms and a second together: clients that \
                 are slow to go are cut off",
            ),
            (
                "orders.credits_per_s",
                self.orders.credits_per_s == 0,
                "lets a single client keep the venue's thread busy",
            ),
            (
                "orders.price_band_bp",
                self.orders.price_band_bp == 0 && self.orders.notional_max == 0,
                "and orders.notional_max set no limit: an order at a wrong price goes through",
            ),
            (
                "deflate.level",
                self.deflate.level > 6 && any(&|listen| listen.deflate.enabled),
                "costs several times the CPU of 2 for messages that hardly become smaller",
            ),
            (
                "feed.replay.speed",
                self.feed.kind == FeedKind::Replay && self.feed.replay.speed == Speed::Max,
                "outruns any client: what can be is conflated, and lossless subscribers are closed",
            ),
            (
                "feed.replay.file",
                self.feed.kind != FeedKind::Replay && !self.feed.replay.file.as_os_str().is_empty(),
                "is set, but feed.kind is not \"replay\": nothing is replayed",
            ),
        ]
    }

    fn odd_listeners(&self) -> [Odd; 5] {
        let any = |is_odd: &dyn Fn(&Listen) -> bool| self.listen.iter().any(is_odd);
        [
            (
                "listen.ping_timeout_ms",
                any(&|listen| {
                    listen.ping_interval_ms != 0 && listen.ping_timeout_ms > listen.ping_interval_ms
                }),
                "is longer than listen.ping_interval_ms: one pong answers several pings",
            ),
            (
                "listen.origins",
                any(&|listen| listen.origins.iter().any(|origin| origin == "*")),
                "any web page that a user of this network opens may connect",
            ),
            (
                "listen.echo",
                any(&|listen| listen.echo && !listen.address.ip().is_loopback()),
                "serves /echo, which is for conformance suites, to whoever reaches the listener",
            ),
            (
                "listen.proxies",
                any(&|listen| listen.networks().any(|network| network.is_everybody())),
                "believes anybody whom a connection is from: limits and bans of addresses hold for nobody",
            ),
            (
                "listen.tls.development",
                any(&|listen| {
                    !listen.address.ip().is_loopback()
                        && listen.tls.as_ref().is_some_and(|tls| tls.development)
                }),
                "shows others a certificate that nobody can check",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls;

    fn warned(change: fn(&mut Config)) -> Vec<&'static str> {
        let mut config = Config::default();
        change(&mut config);
        config.check().unwrap();
        keys(config.warnings())
    }

    fn keys(warnings: Vec<Warning>) -> Vec<&'static str> {
        warnings.into_iter().map(|warning| warning.key).collect()
    }

    #[test]
    fn the_defaults_are_in_range_and_not_odd() {
        assert_eq!(warned(|_| ()), [""; 0]);
        // Where nothing is counted, nothing costs too much.
        assert_eq!(
            warned(|c| (c.orders.credits_per_s, c.orders.place_credits) = (0, 9_999)),
            ["orders.credits_per_s"]
        );
    }

    #[test]
    fn warns_of_what_is_legal_but_odd() {
        assert_eq!(
            warned(|c| c.listen[0].address = "0.0.0.0:9001".parse().unwrap()),
            ["topics.publish", "listen.address", "auth.keys"]
        );
        let guarded = |change: fn(&mut Config)| {
            let mut config = Config::default();
            config.listen[0].address = "0.0.0.0:9001".parse().unwrap();
            config.listen[0].tls = Some(tls::Settings { development: true, ..tls::Settings::default() });
            (config.topics.publish, config.auth.keys) = (false, "keys".into());
            change(&mut config);
            keys(config.warnings())
        };
        assert_eq!(guarded(|_| ()), ["listen.tls.development"]);
        assert_eq!(
            guarded(|c| c.auth.failures_per_minute_max = 0),
            ["auth.failures_per_minute_max", "listen.tls.development"]
        );
        assert_eq!(
            guarded(|c| c.limits.connections_per_address_max = 0),
            ["limits.connections_per_address_max", "listen.tls.development"]
        );
        assert_eq!(warned(|c| c.overload.guard_leave_percent = 80), ["overload.guard_leave_percent"]);
        assert_eq!(warned(|c| c.service.drain_timeout_s = 3), ["service.drain_timeout_s"]);
        assert_eq!(warned(|c| c.orders.price_band_bp = 0), ["orders.price_band_bp"]);
        assert_eq!(warned(|c| (c.deflate.level, c.listen[0].deflate.enabled) = (9, true)), ["deflate.level"]);
        assert_eq!(
            warned(|c| {
                c.feed.kind = FeedKind::Replay;
                (c.feed.replay.file, c.feed.replay.speed) = ("a".into(), Speed::Max);
            }),
            ["feed.replay.speed"]
        );
        assert_eq!(warned(|c| c.control.address = Some("0.0.0.0:1".parse().unwrap())), ["control.address"]);
        assert_eq!(warned(|c| c.limits.memory_bytes_max = 100 << 20), ["limits.memory_bytes_max"]);
        assert_eq!(warned(|c| c.limits.message_bytes_max = 1 << 20), ["limits.queued_bytes_max"]);
        assert_eq!(warned(|c| c.limits.bytes_per_s_max = 1000), ["limits.bytes_per_s_max"]);
        assert_eq!(warned(|c| c.limits.message_timeout_ms = 0), ["limits.message_timeout_ms"]);
        assert_eq!(warned(|c| c.listen[0].ping_interval_ms = 0), ["limits.idle_timeout_ms"]);
        assert_eq!(warned(|c| c.listen[0].ping_timeout_ms = 60_000), ["listen.ping_timeout_ms"]);
        assert_eq!(
            warned(|c| c.listen[0].proxies = vec!["127.0.0.1".to_owned()]),
            ["topics.publish", "auth.keys"]
        );
        assert_eq!(
            warned(|c| {
                (c.topics.publish, c.auth.keys) = (false, "keys".into());
                c.listen[0].proxies = vec!["::/0".to_owned()];
            }),
            ["listen.proxies"]
        );
        assert_eq!(warned(|c| c.flush.pace_max_us = 50_000), ["flush.pace_max_us"]);
        assert_eq!(warned(|c| c.feed.replay.file = "a".into()), ["feed.replay.file"]);
    }

    #[test]
    fn warns_of_what_the_host_has_not() {
        let host =
            Host { cores: vec![0, 1], memory_bytes: Some(2_000_000_000), descriptors_max: Some(20_000) };
        let fits =
            Config { limits: Limits { connections_max: 30_000, ..Limits::default() }, ..Config::default() };
        assert_eq!(keys(fits.warnings_on(&host)), [""; 0]);
        assert_eq!(keys(Config::default().warnings_on(&host)), [""; 0]);
        let small = Host { memory_bytes: Some(1_500_000_000), descriptors_max: Some(1024), ..host.clone() };
        assert_eq!(keys(fits.warnings_on(&small)), ["limits.memory_bytes_max", "shards.connections_max"]);
        // Of clients, of those that are refused, of links to backends.
        let wanted = 16_384 + 256 + 256;
        let with = |descriptors_max| Host { descriptors_max: Some(descriptors_max), ..host.clone() };
        assert_eq!(keys(fits.warnings_on(&with(wanted))), [""; 0]);
        assert_eq!(keys(fits.warnings_on(&with(wanted - 1))), ["shards.connections_max"]);
        let mut narrow = fits;
        narrow.shards.cores = vec![1];
        assert_eq!(
            keys(narrow.warnings_on(&host)),
            ["limits.connections_max"],
            "one shard has too few places"
        );
    }
}
