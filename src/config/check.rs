//! What a configuration may say: ranges, and warnings for what is legal but odd. PURE.

use super::{BusyPoll, Config, FeedKind, Speed, Warning};

/// A key out of its range.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RangeFault {
    pub key: &'static str,
    pub what: String,
    pub hint: String,
}

/// A number's legal range, and what it is.
struct Range {
    key: &'static str,
    value: u64,
    min: u64,
    max: u64,
    unit: &'static str,
    hint: &'static str,
}

impl Range {
    fn check(&self) -> Result<(), RangeFault> {
        let Range { key, value, min, max, unit, hint } = self;
        if min <= value && value <= max {
            return Ok(());
        }
        let what = format!("is {value}, expected {min} to {max} {unit}");
        Err(RangeFault { key, what, hint: (*hint).to_owned() })
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
/// A turn's batch has 32-bit ranges, and the log's segments grow to the largest frame.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Config {
    /// Whether every value is in its range; the first that is not.
    pub(super) fn check(&self) -> Result<(), RangeFault> {
        for range in self.ranges() {
            range.check()?;
        }
        let mut cores = self.shards.cores.clone();
        cores.sort_unstable();
        if let Some(twice) = cores.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(RangeFault {
                key: "shards.cores",
                what: format!("names core {} twice", twice[0]),
                hint: "one shard a core".to_owned(),
            });
        }
        if let Speed::Factor(factor) = self.feed.replay.speed
            && !(0.001..=1_000_000.0).contains(&factor)
        {
            return Err(RangeFault {
                key: "feed.replay.speed",
                what: format!("is {factor}, expected 0.001 to 1000000, or \"max\""),
                hint: "1 is as recorded".to_owned(),
            });
        }
        if self.feed.kind == FeedKind::Replay && self.feed.replay.file.as_os_str().is_empty() {
            return Err(RangeFault {
                key: "feed.replay.file",
                what: "is empty".to_owned(),
                hint: "name a recording, or set feed.kind = \"paper\"".to_owned(),
            });
        }
        Ok(())
    }

    fn ranges(&self) -> [Range; 17] {
        let busy_poll_us = match self.shards.busy_poll {
            BusyPoll::ForUs(us) => u64::from(us),
            BusyPoll::Always => 0,
        };
        [
            range!(self.listen.backlog, 1 => 65_535, "connections", "by default 4096"),
            range!(self.shards.connections_max, 1 => 1_000_000, "connections", "per shard, by default 16384"),
            Range {
                key: "shards.busy_poll_us",
                value: busy_poll_us,
                min: 0,
                max: 1_000_000,
                unit: "us",
                hint: "\"always\" never parks",
            },
            range!(self.limits.message_bytes_max, 1024 => MESSAGE_BYTES_MAX, "bytes", "a client's message, by default 65536"),
            range!(self.limits.frame_bytes_max, 1024 => MESSAGE_BYTES_MAX, "bytes", "a client's frame, by default 65536"),
            range!(self.limits.queued_bytes_max, 4096 => GIB, "bytes", "unsent bytes per connection, by default 1048576"),
            range!(self.limits.subscriptions_max, 1 => 1_000_000, "channels", "per connection, by default 1024"),
            range!(self.limits.handshake_timeout_ms, 10 => HOUR_MS, "ms", "by default 5000"),
            range!(self.limits.idle_timeout_ms, 0 => 24 * HOUR_MS, "ms", "0 never closes an idle connection"),
            range!(self.limits.ping_interval_ms, 0 => HOUR_MS, "ms", "0 sends no pings"),
            range!(self.limits.ping_timeout_ms, 10 => HOUR_MS, "ms", "by default 10000"),
            range!(self.flush.pace_max_us, 0 => 100_000, "us", "0 sends each turn at once"),
            Range {
                key: "feed.paper.instruments",
                ..paper_range(self.feed.paper.instruments, 1_000, "instruments")
            },
            Range {
                key: "feed.paper.events_per_s",
                ..paper_range(self.feed.paper.events_per_s, 10_000_000, "events/s")
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
        ]
    }

    /// What is legal, but probably not meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let limits = &self.limits;
        let odd = [
            (
                "topics.publish",
                self.topics.publish && !self.listen.address.ip().is_loopback(),
                "anybody who reaches the listener may publish to topic.*",
            ),
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
                "limits.idle_timeout_ms",
                limits.idle_timeout_ms != 0
                    && (limits.ping_interval_ms == 0 || limits.idle_timeout_ms <= limits.ping_interval_ms),
                "closes clients that only listen: no ping makes them answer in that time",
            ),
            (
                "limits.ping_interval_ms",
                limits.ping_interval_ms == 0 && limits.idle_timeout_ms == 0,
                "with no pings and no idle timeout a dead peer is never found",
            ),
            (
                "limits.ping_timeout_ms",
                limits.ping_interval_ms != 0 && limits.ping_timeout_ms > limits.ping_interval_ms,
                "is longer than limits.ping_interval_ms: one pong answers several pings",
            ),
            (
                "flush.pace_max_us",
                self.flush.pace_max_us > 10_000,
                "delays every message by up to that under load",
            ),
            (
                "feed.replay.file",
                self.feed.kind == FeedKind::Paper && !self.feed.replay.file.as_os_str().is_empty(),
                "is set, but feed.kind is \"paper\": nothing is replayed",
            ),
        ];
        odd.into_iter()
            .filter(|(_, is_odd, _)| *is_odd)
            .map(|(key, _, what)| Warning { key, what: what.to_owned() })
            .collect()
    }
}

fn paper_range(value: u32, max: u64, unit: &'static str) -> Range {
    Range { key: "feed.paper", value: u64::from(value), min: 1, max, unit, hint: "the paper market's size" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(change: fn(&mut Config)) -> Vec<&'static str> {
        let mut config = Config::default();
        change(&mut config);
        config.check().unwrap();
        config.warnings().into_iter().map(|warning| warning.key).collect()
    }

    #[test]
    fn the_defaults_are_in_range_and_not_odd() {
        assert_eq!(warned(|_| ()), [""; 0]);
    }

    #[test]
    fn warns_of_what_is_legal_but_odd() {
        assert_eq!(warned(|c| c.listen.address = "0.0.0.0:9001".parse().unwrap()), ["topics.publish"]);
        assert_eq!(warned(|c| c.limits.message_bytes_max = 1 << 20), ["limits.queued_bytes_max"]);
        assert_eq!(warned(|c| c.limits.ping_interval_ms = 0), ["limits.idle_timeout_ms"]);
        assert_eq!(warned(|c| c.limits.ping_timeout_ms = 60_000), ["limits.ping_timeout_ms"]);
        assert_eq!(warned(|c| c.flush.pace_max_us = 50_000), ["flush.pace_max_us"]);
        assert_eq!(warned(|c| c.feed.replay.file = "a".into()), ["feed.replay.file"]);
    }

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
        assert_eq!(refused(|c| c.shards.cores = vec![3, 1, 3]), "shards.cores");
        assert_eq!(refused(|c| c.feed.paper.events_per_s = 0), "feed.paper.events_per_s");
    }
}
