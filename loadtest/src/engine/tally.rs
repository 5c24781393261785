//! What a process of the generator has counted since it last told, in the form in which it tells. PURE.
//! Invariant: what was taken is counted no more: the sum of all parts is the run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::histogram::Latencies;
use crate::outcome::{Counts, Kind};

/// All kinds, each with a histogram of its own.
pub(crate) const KINDS: [Kind; 6] =
    [Kind::Connect, Kind::Request, Kind::Delivery, Kind::Spread, Kind::Order, Kind::Reconnect];

/// Distinct values with their counts.
pub(crate) type Values = Vec<(u64, u64)>;

/// What happened in a while.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// But for gaps and expected deliveries, which need all parts to be known.
    pub(crate) counts: Counts,
    /// Numbers left out less those that came late, which may have been left out before this part.
    pub(crate) missing: i64,
    /// Requests that the generator itself gave up, with their connection.
    pub(crate) forgone: u64,
    /// Requests that went down with a connection that the server ended.
    pub(crate) lost_with_connection: u64,
    pub(crate) latencies: BTreeMap<Kind, Values>,
    /// How late messages left.
    pub(crate) lag: Values,
    /// Open at the end of the while.
    pub(crate) connections: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// What the end of a run needs of each process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finish {
    pub(crate) busy_share: f64,
    /// By topic: the last number that was published, 0 where another process publishes it.
    pub(crate) published: Vec<u64>,
    /// By topic: the subscribers that ought to have been told to the end, and the sum of the last numbers they were told.
    pub(crate) subscribed: Vec<(u64, u64)>,
    pub(crate) slow_ended: u64,
}

/// See the file's head.
pub(crate) struct Tally {
    pub(crate) part: Part,
    latencies: [Option<Box<Latencies>>; KINDS.len()],
    lag: Latencies,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally { part: Part::default(), latencies: [const { None }; KINDS.len()], lag: Latencies::new() }
    }

    pub(crate) fn record(&mut self, kind: Kind, latency_ns: u64) {
        let place = &mut self.latencies[place_of(kind)];
        place.get_or_insert_with(|| Box::new(Latencies::new())).record(latency_ns);
    }

    pub(crate) fn record_lag(&mut self, lag_ns: u64) {
        self.lag.record(lag_ns);
    }

    pub(crate) fn error(&mut self, kind: &str) {
        self.errors(kind, 1);
    }

    pub(crate) fn errors(&mut self, kind: &str, count: u64) {
        if count == 0 {
            return;
        }
        if let Some(known) = self.part.counts.errors.get_mut(kind) {
            *known += count;
        } else {
            self.part.counts.errors.insert(kind.to_owned(), count);
        }
    }

    /// What was counted since the last time.
    pub(crate) fn take(&mut self) -> Part {
        let mut part = std::mem::take(&mut self.part);
        for (kind, latencies) in KINDS.into_iter().zip(&mut self.latencies) {
            let Some(latencies) = latencies.as_mut().filter(|latencies| !latencies.is_empty()) else {
                continue;
            };
            part.latencies.insert(kind, latencies.counts().collect());
            latencies.clear();
        }
        part.lag = self.lag.counts().collect();
        self.lag.clear();
        part
    }
}

const fn place_of(kind: Kind) -> usize {
    match kind {
        Kind::Connect => 0,
        Kind::Request => 1,
        Kind::Delivery => 2,
        Kind::Spread => 3,
        Kind::Order => 4,
        Kind::Reconnect => 5,
    }
}

/// Adds up what happened in one while, or in all.
pub(crate) fn add(sum: &mut Counts, more: &Counts) {
    let pairs = [
        (&mut sum.connections_wanted, more.connections_wanted),
        (&mut sum.connections_opened, more.connections_opened),
        (&mut sum.connections_lost, more.connections_lost),
        (&mut sum.requests_sent, more.requests_sent),
        (&mut sum.replies_received, more.replies_received),
        (&mut sum.published, more.published),
        (&mut sum.deliveries_received, more.deliveries_received),
        (&mut sum.duplicates, more.duplicates),
        (&mut sum.reordered, more.reordered),
        (&mut sum.bytes_sent, more.bytes_sent),
        (&mut sum.bytes_received, more.bytes_received),
    ];
    for (sum, more) in pairs {
        *sum += more;
    }
    for (kind, count) in &more.errors {
        *sum.errors.entry(kind.clone()).or_default() += count;
    }
}

/// What of each topic was never told after a subscriber's last number, over all subscribers of all processes.
pub(crate) fn tail(finishes: &[Finish]) -> u64 {
    let topics = finishes.iter().map(|finish| finish.published.len()).max().unwrap_or(0);
    let missing = (0..topics).map(|topic| {
        let published =
            finishes.iter().filter_map(|finish| finish.published.get(topic)).max().copied().unwrap_or(0);
        let subscribed = finishes.iter().filter_map(|finish| finish.subscribed.get(topic));
        subscribed.map(|(count, told)| (count * published).saturating_sub(*told)).sum::<u64>()
    });
    missing.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_counted_no_more() {
        let mut tally = Tally::new();
        tally.record(Kind::Request, 5);
        tally.record(Kind::Request, 5);
        tally.record_lag(7);
        tally.error("reset");
        let part = tally.take();
        assert_eq!(part.latencies, BTreeMap::from([(Kind::Request, vec![(5, 2)])]));
        assert_eq!((part.lag, part.counts.errors["reset"]), (vec![(7, 1)], 1));
        assert_eq!(tally.take(), Part::default());
    }

    #[test]
    fn parts_are_told_as_lines_and_read_back() {
        let mut tally = Tally::new();
        tally.record(Kind::Connect, 1_000);
        tally.part.missing = -2;
        let part = tally.take();
        let line = serde_json::to_string(&part).unwrap();
        assert_eq!(serde_json::from_str::<Part>(&line).unwrap(), part);
    }

    #[test]
    fn the_tail_is_what_subscribers_were_not_told_of_what_another_process_published() {
        let publishes =
            Finish { published: vec![10, 0], subscribed: vec![(1, 10), (0, 0)], ..Finish::default() };
        let listens =
            Finish { published: vec![0, 4], subscribed: vec![(2, 15), (3, 12)], ..Finish::default() };
        assert_eq!(tail(&[publishes, listens]), 5);
        assert_eq!(tail(&[]), 0);
    }
}
