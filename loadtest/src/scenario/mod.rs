//! Scenario files: how many connections, what they do, how often and for how long. PURE.
//! Invariants: a checked scenario can be run as it stands; what flags change is checked again; its text form is read back as
//! the same scenario.

mod built_in;

pub(crate) use built_in::{QUICK, QUICK_S, built_in, names};

use serde::{Deserialize, Serialize};

use crate::clock::SECOND_NS;
use crate::dialect::STREAMS_MAX;
use crate::flaw::{self, Flaw};
use crate::grade::Thresholds;

/// Connections of one run: several processes of each 15,000.
const CONNECTIONS_MAX: u32 = 1_000_000;
/// The longest run, in seconds: a month.
const DURATION_S_MAX: f64 = 2_678_400.0;
/// The highest rate of anything, a second.
const RATE_MAX: f64 = 100_000_000.0;
/// The largest message, in bytes.
const BYTES_MAX: u32 = 1 << 20;

/// A scenario as its file has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) about: String,
    /// Clients: they ask and they subscribe. Publishers, slow readers and churning connections come on top.
    pub(crate) connections: u32,
    /// 0 is all at once.
    #[serde(default)]
    pub(crate) connect_per_s: u32,
    #[serde(default = "default_warmup")]
    pub(crate) warmup_s: f64,
    #[serde(default = "default_duration")]
    pub(crate) duration_s: f64,
    /// The longest wait for what is still to come after the last message.
    #[serde(default = "default_drain")]
    pub(crate) drain_s: f64,
    /// The longest wait for one connection to be open and subscribed.
    #[serde(default = "default_connect_timeout")]
    pub(crate) connect_timeout_s: f64,
    /// Whether a connection that is lost is opened again.
    #[serde(default)]
    pub(crate) reopen: bool,
    /// How late the generator may be at its 99th percentile before the run is refused, in microseconds.
    #[serde(default = "default_lag")]
    pub(crate) lag_us_max: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<Requests>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fanout: Option<Fanout>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) orders: Option<Orders>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) churn: Option<Churn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slow: Option<Slow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) storm: Option<Storm>,
    #[serde(default, rename = "stage", skip_serializing_if = "Vec::is_empty")]
    pub(crate) stages: Vec<Stage>,
    #[serde(default)]
    pub(crate) grades: Thresholds,
}

/// Requests in open loop, over all clients in turn: `[echo]` of the dialect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Requests {
    pub(crate) rate_per_s: f64,
    /// Of `{data}`, where the dialect's request has it.
    #[serde(default = "default_bytes")]
    pub(crate) bytes: u32,
}

/// Messages to topics and on to their subscribers. A topic has one publisher, and a client subscribes to one topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fanout {
    #[serde(default = "one")]
    pub(crate) topics: u32,
    #[serde(default = "one")]
    pub(crate) publishers: u32,
    /// Publishes, over all topics.
    pub(crate) rate_per_s: f64,
    /// Of the clients, those that subscribe: the first ones.
    pub(crate) subscribers: u32,
    #[serde(default = "default_bytes")]
    pub(crate) bytes: u32,
}

/// Orders in open loop, over the first clients in turn: `[order]` of the dialect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Orders {
    pub(crate) rate_per_s: f64,
    pub(crate) traders: u32,
}

/// Connections that come and go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Churn {
    pub(crate) per_s: f64,
    /// The share that ends by a reset instead of a close.
    #[serde(default)]
    pub(crate) abrupt_percent: u32,
    /// How long one stays.
    #[serde(default)]
    pub(crate) hold_ms: u32,
}

/// Subscribers that read too slowly; nothing of theirs counts but what they do to the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slow {
    pub(crate) readers: u32,
    /// 0 is not at all.
    #[serde(default)]
    pub(crate) bytes_per_s: u32,
}

/// Connections that all break at once and come back at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Storm {
    pub(crate) every_s: f64,
    #[serde(default = "hundred")]
    pub(crate) share_percent: u32,
}

/// A part of the measured time with connections and rates of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stage {
    pub(crate) for_s: f64,
    /// Clients that are open from this stage on; the scenario's number without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<u32>,
    /// Of all rates.
    #[serde(default = "unit")]
    pub(crate) factor: f64,
}

const fn default_warmup() -> f64 {
    1.0
}
const fn default_duration() -> f64 {
    30.0
}
const fn default_drain() -> f64 {
    5.0
}
const fn default_connect_timeout() -> f64 {
    30.0
}
const fn default_lag() -> u32 {
    1_000
}
const fn default_bytes() -> u32 {
    100
}
const fn one() -> u32 {
    1
}
const fn hundred() -> u32 {
    100
}
const fn unit() -> f64 {
    1.0
}

/// What the command line changes of a scenario.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Changes {
    pub(crate) connections: Option<u32>,
    pub(crate) rate_per_s: Option<f64>,
    pub(crate) duration_s: Option<f64>,
}

impl Scenario {
    /// Reads and checks a file's text.
    pub(crate) fn parse(text: &str) -> Result<Scenario, Flaw> {
        let mut scenario: Scenario = toml::from_str(text).map_err(|error| flaw::of_toml(text, &error))?;
        if !scenario.stages.is_empty() {
            scenario.duration_s = scenario.stages.iter().map(|stage| stage.for_s).sum();
        }
        scenario.check(text)?;
        Ok(scenario)
    }

    /// The same, other numbers: clients (and with them subscribers, traders and stages, in proportion), the rate of what it
    /// does first (requests, else publishes, else orders; the others in proportion), the measured time.
    pub(crate) fn changed(&self, changes: Changes) -> Result<Scenario, Flaw> {
        let mut scenario = self.clone();
        if let Some(connections) = changes.connections {
            scenario.change_connections(connections);
        }
        if let Some(rate_per_s) = changes.rate_per_s {
            scenario.change_rate(rate_per_s);
        }
        if let Some(duration_s) = changes.duration_s {
            let factor = duration_s / scenario.duration_s;
            scenario.stages.iter_mut().for_each(|stage| stage.for_s *= factor);
            if let Some(storm) = &mut scenario.storm {
                storm.every_s *= factor;
            }
            scenario.duration_s = duration_s;
        }
        scenario.check("")?;
        Ok(scenario)
    }

    fn change_connections(&mut self, connections: u32) {
        let old = u64::from(self.connections.max(1));
        let scaled = |count: u32| {
            let share = (u64::from(count) * u64::from(connections)).div_ceil(old);
            u32::try_from(share).unwrap_or(u32::MAX)
        };
        if let Some(fanout) = &mut self.fanout {
            fanout.subscribers = scaled(fanout.subscribers);
            fanout.topics = fanout.topics.min(fanout.subscribers.max(1));
            fanout.publishers = fanout.publishers.min(fanout.topics);
        }
        if let Some(orders) = &mut self.orders {
            orders.traders = scaled(orders.traders);
        }
        for stage in &mut self.stages {
            stage.connections = stage.connections.map(scaled);
        }
        self.connections = connections;
    }

    fn change_rate(&mut self, rate_per_s: f64) {
        let mut rates: Vec<&mut f64> = Vec::new();
        rates.extend(self.requests.as_mut().map(|requests| &mut requests.rate_per_s));
        rates.extend(self.fanout.as_mut().map(|fanout| &mut fanout.rate_per_s));
        rates.extend(self.orders.as_mut().map(|orders| &mut orders.rate_per_s));
        rates.extend(self.churn.as_mut().map(|churn| &mut churn.per_s));
        let Some(first) = rates.first().map(|rate| **rate).filter(|rate| 0.0 < *rate) else { return };
        for rate in rates {
            *rate *= rate_per_s / first;
        }
    }

    fn check(&self, text: &str) -> Result<(), Flaw> {
        for check in
            [Scenario::check_scale, Scenario::check_times, Scenario::check_traffic, Scenario::check_rates]
        {
            if let Some((section, key, what, hint)) = check(self) {
                let line = flaw::line_of(text, section, key);
                return Err(Flaw { line, what, hint: hint.to_owned() });
            }
        }
        Ok(())
    }

    fn check_scale(&self) -> Option<Wrong> {
        let most = self.stages.iter().filter_map(|stage| stage.connections).max().unwrap_or(0);
        if CONNECTIONS_MAX < self.connections.max(most) {
            return wrong("", "connections", format!("more than {CONNECTIONS_MAX} connections"), "fewer");
        }
        if self.name.is_empty() {
            return wrong("", "name", "it has no name".to_owned(), "one word");
        }
        let idle = self.connections == 0 && self.churn.is_none();
        if idle {
            return wrong(
                "",
                "connections",
                "nobody connects".to_owned(),
                "at least one connection, or [churn]",
            );
        }
        None
    }

    fn check_times(&self) -> Option<Wrong> {
        let seconds = [
            ("warmup_s", self.warmup_s, 0.0),
            ("duration_s", self.duration_s, 0.1),
            ("drain_s", self.drain_s, 0.0),
            ("connect_timeout_s", self.connect_timeout_s, 0.1),
        ];
        for (key, value, least) in seconds {
            if !(least..=DURATION_S_MAX).contains(&value) {
                return wrong(
                    "",
                    key,
                    format!("{key} is {value}"),
                    "0.1 s to a month; the warm-up and the drain may be 0",
                );
            }
        }
        let is_odd = |stage: &Stage| !(0.001..=DURATION_S_MAX).contains(&stage.for_s);
        if self.stages.iter().any(is_odd) {
            return wrong("stage", "for_s", "a stage takes no time".to_owned(), "a millisecond at least");
        }
        if self.storm.as_ref().is_some_and(|storm| !(0.01..=DURATION_S_MAX).contains(&storm.every_s)) {
            return wrong(
                "storm",
                "every_s",
                "storms are too near to each other".to_owned(),
                "10 ms at least",
            );
        }
        None
    }

    fn check_traffic(&self) -> Option<Wrong> {
        let most = self.stages.iter().filter_map(|stage| stage.connections).max().unwrap_or(0);
        let clients = self.connections.max(most);
        if let Some(fanout) = &self.fanout {
            if clients < fanout.subscribers {
                let what = format!("{} subscribers among {clients} connections", fanout.subscribers);
                return wrong("fanout", "subscribers", what, "subscribers are connections: as many at most");
            }
            if fanout.topics == 0 || fanout.publishers == 0 || fanout.topics < fanout.publishers {
                let what = format!("{} publishers of {} topics", fanout.publishers, fanout.topics);
                return wrong(
                    "fanout",
                    "publishers",
                    what,
                    "a topic has one publisher: one at least, one a topic at most",
                );
            }
            if STREAMS_MAX < fanout.topics {
                let what = format!("more than {STREAMS_MAX} topics");
                return wrong("fanout", "topics", what, "a message's sequence holds no higher topic");
            }
        }
        let traders = self.orders.as_ref().map_or(0, |orders| orders.traders);
        if clients < traders || (self.orders.is_some() && traders == 0) {
            let what = format!("{traders} traders among {clients} connections");
            return wrong(
                "orders",
                "traders",
                what,
                "traders are connections: one at least, as many at most",
            );
        }
        if self.slow.is_some() && self.fanout.is_none() {
            return wrong("slow", "readers", "slow readers have nothing to read".to_owned(), "add [fanout]");
        }
        let percents = [
            ("churn", "abrupt_percent", self.churn.as_ref().map_or(0, |churn| churn.abrupt_percent)),
            ("storm", "share_percent", self.storm.as_ref().map_or(0, |storm| storm.share_percent)),
        ];
        let odd = percents.into_iter().find(|(_, _, percent)| 100 < *percent);
        odd.and_then(|(section, key, percent)| wrong(section, key, format!("{percent} %"), "100 at most"))
    }

    fn check_rates(&self) -> Option<Wrong> {
        let rates = [
            ("requests", "rate_per_s", self.requests.as_ref().map_or(1.0, |requests| requests.rate_per_s)),
            ("fanout", "rate_per_s", self.fanout.as_ref().map_or(1.0, |fanout| fanout.rate_per_s)),
            ("orders", "rate_per_s", self.orders.as_ref().map_or(1.0, |orders| orders.rate_per_s)),
            ("churn", "per_s", self.churn.as_ref().map_or(1.0, |churn| churn.per_s)),
            ("stage", "factor", self.stages.iter().map(|stage| stage.factor).fold(1.0, f64::max)),
        ];
        if let Some((section, key, rate)) =
            rates.into_iter().find(|(_, _, rate)| !(0.001..=RATE_MAX).contains(rate))
        {
            return wrong(
                section,
                key,
                format!("a rate of {rate}"),
                "more than nothing; leave the section out for none",
            );
        }
        if self.stages.iter().any(|stage| stage.factor < 0.0) {
            return wrong("stage", "factor", "a factor below 0".to_owned(), "0 is a pause");
        }
        let bytes = [
            ("requests", self.requests.as_ref().map_or(0, |requests| requests.bytes)),
            ("fanout", self.fanout.as_ref().map_or(0, |fanout| fanout.bytes)),
        ];
        let odd = bytes.into_iter().find(|(_, bytes)| BYTES_MAX < *bytes);
        odd.and_then(|(section, bytes)| wrong(section, "bytes", format!("{bytes} bytes"), "1 MiB at most"))
    }

    /// The form that is read back.
    pub(crate) fn toml(&self) -> String {
        toml::to_string(self).expect("invariant: a scenario has no form that TOML lacks")
    }

    pub(crate) fn warmup_ns(&self) -> u64 {
        nanoseconds(self.warmup_s)
    }

    pub(crate) fn measured_ns(&self) -> u64 {
        nanoseconds(self.duration_s)
    }

    /// The stages; a scenario without any is one.
    pub(crate) fn stages(&self) -> Vec<Stage> {
        if self.stages.is_empty() {
            return vec![Stage { for_s: self.duration_s, connections: None, factor: 1.0 }];
        }
        self.stages.clone()
    }

    /// Clients at the begin, and at most.
    pub(crate) fn clients(&self) -> (u32, u32) {
        let stages = self.stages();
        let at = |stage: &Stage| stage.connections.unwrap_or(self.connections);
        (stages.first().map_or(self.connections, at), stages.iter().map(at).max().unwrap_or(self.connections))
    }

    /// Whether messages leave by the clock, so that the generator must not sleep.
    pub(crate) fn has_traffic(&self) -> bool {
        self.requests.is_some() || self.fanout.is_some() || self.orders.is_some()
    }
}

type Wrong = (&'static str, &'static str, String, &'static str);

#[expect(clippy::unnecessary_wraps, reason = "it is what a check returns")]
fn wrong(section: &'static str, key: &'static str, what: String, hint: &'static str) -> Option<Wrong> {
    Some((section, key, what, hint))
}

/// Seconds as nanoseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "checked: below a month and not negative"
)]
pub(crate) fn nanoseconds(seconds: f64) -> u64 {
    (seconds * SECOND_NS as f64).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "name = 'x'\nconnections = 10\n";

    fn flaw(rest: &str) -> String {
        Scenario::parse(&format!("{LEAST}{rest}")).unwrap_err().to_string()
    }

    #[test]
    fn the_form_that_is_written_is_read_back_as_the_same() {
        for name in names() {
            let scenario = Scenario::parse(built_in(name).unwrap()).unwrap();
            assert_eq!(Scenario::parse(&scenario.toml()), Ok(scenario));
        }
    }

    #[test]
    fn a_flaw_names_its_line_and_what_to_do() {
        assert_eq!(
            flaw("[fanout]\nrate_per_s = 5\nsubscribers = 11"),
            "line 5: 11 subscribers among 10 connections (subscribers are connections: as many at most)"
        );
        assert_eq!(
            flaw("[fanout]\nrate_per_s = 5\nsubscribers = 1\npublishers = 2"),
            "line 6: 2 publishers of 1 topics (a topic has one publisher: one at least, one a topic at most)"
        );
        assert!(flaw("[requests]\nrate_per_s = 0").starts_with("line 4: a rate of 0"));
        assert!(flaw("[requests]\nrate = 1").starts_with("line 4: unknown field `rate`"));
        assert!(flaw("duration_s = -1").starts_with("line 3: duration_s is -1"));
        assert!(flaw("[slow]\nreaders = 1").starts_with("line 4: slow readers have nothing to read"));
        assert!(flaw("[orders]\nrate_per_s = 1\ntraders = 0").starts_with("line 5: 0 traders"));
    }

    #[test]
    fn stages_make_the_duration_and_the_most_connections() {
        let text =
            format!("{LEAST}[[stage]]\nfor_s = 2\nconnections = 5\n[[stage]]\nfor_s = 3\nconnections = 40");
        let scenario = Scenario::parse(&text).unwrap();
        assert_eq!(scenario.measured_ns(), 5 * SECOND_NS);
        assert_eq!(scenario.clients(), (5, 40));
    }

    #[test]
    fn flags_change_everything_in_proportion() {
        let text = format!(
            "{LEAST}[requests]\nrate_per_s = 100\n[fanout]\nrate_per_s = 50\nsubscribers = 5\n[[stage]]\nfor_s = 4\nconnections = 10"
        );
        let scenario = Scenario::parse(&text).unwrap();
        let changes = Changes { connections: Some(40), rate_per_s: Some(10.0), duration_s: Some(2.0) };
        let changed = scenario.changed(changes).unwrap();
        let fanout = changed.fanout.unwrap();
        assert_eq!((changed.connections, fanout.subscribers), (40, 20));
        assert_eq!((changed.requests.unwrap().rate_per_s, fanout.rate_per_s), (10.0, 5.0));
        assert_eq!(
            (changed.stages[0].for_s, changed.stages[0].connections, changed.duration_s),
            (2.0, Some(40), 2.0)
        );
        assert!(scenario.changed(Changes { rate_per_s: Some(-1.0), ..Changes::default() }).is_err());
    }
}
