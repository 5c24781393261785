//! What all servers are asked to do. PURE.

use serde::{Deserialize, Serialize};

/// One kind of work, the same for each server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// As `--only` and the tables name it.
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) connections: usize,
    pub(crate) work: Work,
}

/// What the connections do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    /// One request in flight on each connection, the next when its reply is there.
    EchoClosed,
    /// Requests over all connections in turns, at a fixed rate whatever the replies do.
    EchoOpen { rate_per_s: u64 },
    /// One more connection publishes at a fixed rate; all others subscribe.
    Fanout { rate_per_s: u64, data_bytes: usize },
    /// All connect at the same moment.
    Connect,
    /// All are there and say nothing.
    Idle,
}

impl Work {
    /// The rate that is asked for, where there is one.
    pub(crate) fn rate_per_s(self) -> Option<u64> {
        match self {
            Work::EchoOpen { rate_per_s } | Work::Fanout { rate_per_s, .. } => Some(rate_per_s),
            Work::EchoClosed | Work::Connect | Work::Idle => None,
        }
    }

    /// The same work at another rate.
    pub(crate) fn at(self, rate: Option<u64>) -> Work {
        match (self, rate) {
            (Work::EchoOpen { .. }, Some(rate_per_s)) => Work::EchoOpen { rate_per_s },
            (Work::Fanout { data_bytes, .. }, Some(rate_per_s)) => Work::Fanout { rate_per_s, data_bytes },
            (work, _) => work,
        }
    }

    /// What one of the things is called that CPU is counted for.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Work::EchoClosed | Work::EchoOpen { .. } => "request",
            Work::Fanout { .. } => "delivery",
            Work::Connect | Work::Idle => "connection",
        }
    }
}

/// Published data, in bytes.
const DATA_BYTES: usize = 100;

/// All cases, in the order in which they are run.
pub(crate) fn all() -> Vec<Case> {
    let case = |name: &str, about: &str, connections, work| Case {
        name: name.to_owned(),
        about: about.to_owned(),
        connections,
        work,
    };
    let fanout = |rate_per_s| Work::Fanout { rate_per_s, data_bytes: DATA_BYTES };
    let echo = |rate_per_s| Work::EchoOpen { rate_per_s };
    vec![
        case("echo-saturated", "100 connections, one request in flight on each", 100, Work::EchoClosed),
        case("echo-20k", "100 connections, 20,000 requests a second in all", 100, echo(20_000)),
        case("echo-60k", "100 connections, 60,000 requests a second in all", 100, echo(60_000)),
        case("fanout-burst", "100 subscribers, 5,000 publishes a second", 100, fanout(5_000)),
        case("fanout-wide", "1,000 subscribers, 200 publishes a second", 1_000, fanout(200)),
        case("connect", "5,000 connections opened at once", 5_000, Work::Connect),
        case("requests-30k", "10,000 connections, 30,000 requests a second in all", 10_000, echo(30_000)),
        case("requests-60k", "10,000 connections, 60,000 requests a second in all", 10_000, echo(60_000)),
        case("idle", "10,000 connections that say nothing", 10_000, Work::Idle),
    ]
}

/// The same kinds with next to no work: enough to see that a server does each at all.
pub(crate) fn smoke() -> Vec<Case> {
    let small = |case: Case| Case {
        connections: 8,
        work: case.work.at(case.work.rate_per_s().map(|_| 200)),
        about: format!("{}, but with 8 connections and a rate of 200", case.about),
        ..case
    };
    all().into_iter().map(small).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_smoke_has_the_same() {
        let names = |cases: Vec<Case>| cases.into_iter().map(|case| case.name).collect::<Vec<_>>();
        let mut distinct = names(all());
        assert_eq!(distinct, names(smoke()));
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), all().len());
    }

    #[test]
    fn another_rate_changes_only_work_that_has_one() {
        let work = Work::Fanout { rate_per_s: 5_000, data_bytes: 100 };
        assert_eq!(work.at(Some(2_500)), Work::Fanout { rate_per_s: 2_500, data_bytes: 100 });
        assert_eq!(work.at(None), work);
        assert_eq!(Work::Idle.at(Some(1)), Work::Idle);
    }
}
