//! All that one `loadtest peers` measured, as it is written as JSON, and the figures that are read from it. PURE.
//! Invariants: a figure is of runs that were not refused; servers are compared at the same rate only; a ratio is taken within a
//! round, between neighbouring runs.

use serde::{Deserialize, Serialize};

use crate::outcome::{Host, Kind, Latency, Outcome, Tool};
use crate::peers::case::{Case, Work};
use crate::peers::roster::Absent;
use crate::report::median;
use crate::scenarios::ratio;

/// The version of the JSON form; a reader refuses another.
pub(crate) const FORMAT: u32 = 1;
/// The server that all others stand beside.
pub(crate) const OURS: &str = "tickring";
/// The raw loops of this program: what the kernel allows, and no server.
pub(crate) const LIMIT: &str = "limit";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) format: u32,
    pub(crate) host: Host,
    pub(crate) tool: Tool,
    pub(crate) began_unix_s: u64,
    pub(crate) took_s: u64,
    pub(crate) rounds: usize,
    pub(crate) warmup_ms: u64,
    pub(crate) measured_ms: u64,
    pub(crate) cpus_server: Vec<usize>,
    pub(crate) cpu_client: usize,
    pub(crate) contenders: Vec<Told>,
    pub(crate) absent: Vec<Absent>,
    pub(crate) cases: Vec<Case>,
    /// In the order in which they took place.
    pub(crate) turns: Vec<Turn>,
}

/// A server as the tables name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) version: Option<String>,
}

/// One server's turn at one case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) case: String,
    pub(crate) server: String,
    pub(crate) round: usize,
    /// What was asked for, which is less than the case has where the server did not hold that.
    pub(crate) rate_per_s: Option<u64>,
    pub(crate) is_held: bool,
    pub(crate) outcome: Option<Outcome>,
    /// Why there is none.
    pub(crate) failure: Option<String>,
}

impl Turn {
    /// The outcome, if it says something of the server.
    pub(crate) fn valid(&self) -> Option<&Outcome> {
        self.outcome.as_ref().filter(|outcome| outcome.refused.is_empty())
    }
}

/// What is told of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Done a second, where nobody asked for a rate.
    Rate,
    CpuEach,
    P50,
    P99,
    P999,
    Max,
    /// Of what was expected, what never came.
    Lost,
    Opened,
    /// Of the time that connecting took, when the load had something to do.
    LoadBusy,
    /// The server's process, all threads, in cores.
    Cores,
    ResidentPeak,
    ResidentEach,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Nanoseconds,
    Percent,
    Cores,
    Bytes,
    Count,
    /// Of one figure over another.
    Ratio,
}

impl Figure {
    /// Those that the work's table has.
    pub(crate) fn of(work: Work) -> &'static [Figure] {
        use Figure::{
            Cores, CpuEach, LoadBusy, Lost, Max, Opened, P50, P99, P999, Rate, ResidentEach, ResidentPeak,
        };
        match work {
            Work::EchoClosed => &[Rate, CpuEach, P50, P99, P999, ResidentPeak],
            Work::EchoOpen { .. } | Work::Fanout { .. } => {
                &[CpuEach, Cores, P50, P99, P999, Lost, ResidentPeak]
            }
            Work::Connect => &[Opened, P50, P99, P999, Max, CpuEach, LoadBusy],
            Work::Idle => &[Opened, ResidentEach, Cores, ResidentPeak],
        }
    }

    pub(crate) fn name(self, work: Work) -> String {
        match self {
            Figure::Rate => format!("{}s a second", work.unit()),
            Figure::CpuEach => format!("CPU per {}", work.unit()),
            Figure::P50 => "p50".to_owned(),
            Figure::P99 => "p99".to_owned(),
            Figure::P999 => "p99.9".to_owned(),
            Figure::Max => "max".to_owned(),
            Figure::Lost => "lost".to_owned(),
            Figure::Opened => "opened".to_owned(),
            Figure::LoadBusy => "load busy".to_owned(),
            Figure::Cores => "cores used".to_owned(),
            Figure::ResidentPeak => "resident, peak".to_owned(),
            Figure::ResidentEach => "resident per connection".to_owned(),
        }
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Figure::Rate => Unit::PerSecond,
            Figure::CpuEach | Figure::P50 | Figure::P99 | Figure::P999 | Figure::Max => Unit::Nanoseconds,
            Figure::Lost => Unit::Count,
            Figure::Opened | Figure::LoadBusy => Unit::Percent,
            Figure::Cores => Unit::Cores,
            Figure::ResidentPeak | Figure::ResidentEach => Unit::Bytes,
        }
    }

    /// Whether more of it is better.
    pub(crate) fn is_more_better(self) -> bool {
        matches!(self, Figure::Rate | Figure::Opened)
    }

    /// What a run measured of it.
    pub(crate) fn value(self, work: Work, outcome: &Outcome) -> Option<f64> {
        let used = outcome.server_use.as_ref();
        let counts = &outcome.counts;
        let kind = match work {
            Work::EchoClosed | Work::EchoOpen { .. } => Kind::Request,
            Work::Fanout { .. } => Kind::Delivery,
            Work::Connect | Work::Idle => Kind::Connect,
        };
        let done = match work {
            Work::EchoClosed => counts.replies_received,
            // What came within the measured time, as CPU is counted within it.
            Work::EchoOpen { .. } | Work::Fanout { .. } => {
                outcome.seconds.iter().map(|second| second.received).sum()
            }
            Work::Connect | Work::Idle => counts.connections_opened,
        };
        let of = |latency: fn(&Latency) -> u64| {
            outcome.latencies.get(&kind).filter(|all| 0 < all.count).map(|all| ratio(latency(all), 1))
        };
        match self {
            Figure::Rate => Some(1e9 * ratio(done, outcome.measured_ns.max(1))),
            Figure::CpuEach => Some(ratio(used?.cpu_ns, done.max(1))),
            Figure::P50 => of(|all| all.p50_ns),
            Figure::P99 => of(|all| all.p99_ns),
            Figure::P999 => of(|all| all.p999_ns),
            Figure::Max => of(|all| all.max_ns),
            Figure::Lost => {
                let expected = counts.deliveries_expected + counts.requests_sent;
                Some(ratio(expected - counts.deliveries_received - counts.replies_received, 1))
            }
            Figure::Opened => {
                Some(100.0 * ratio(counts.connections_opened, counts.connections_wanted.max(1)))
            }
            Figure::LoadBusy => Some(100.0 * outcome.generator.busy_share),
            Figure::Cores => Some(ratio(used?.cpu_ns, outcome.measured_ns.max(1))),
            Figure::ResidentPeak => Some(ratio(used?.resident_peak_bytes, 1)),
            Figure::ResidentEach => {
                let after = outcome.seconds.last()?.server_resident_bytes?;
                let grown = after.saturating_sub(used?.resident_before_bytes);
                Some(ratio(grown, counts.connections_opened.max(1)))
            }
        }
    }
}

/// A figure over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) runs: usize,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Option<Spread> {
        Some(Spread {
            median: median(values.to_vec())?,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            runs: values.len(),
        })
    }

    /// Whether the two could have been measured of one thing.
    pub(crate) fn overlaps(&self, other: &Spread) -> bool {
        self.least <= other.most && other.least <= self.most
    }
}

impl Record {
    /// A server's turns at a case, by round.
    fn turns<'a>(&'a self, case: &'a Case, server: &'a str) -> impl Iterator<Item = &'a Turn> {
        self.turns.iter().filter(move |turn| turn.case == case.name && turn.server == server)
    }

    /// The rate at which a server's figures were taken, and whether more than half of its runs held it. `None` where no run
    /// of it is valid.
    pub(crate) fn rate(&self, case: &Case, server: &str) -> Option<(Option<u64>, bool)> {
        let counted = self.counted(case, server);
        let held = counted.iter().filter(|turn| turn.is_held).count();
        Some((counted.first()?.rate_per_s, counted.len() < 2 * held))
    }

    /// The turns that a server's figures rest on: valid, and at the last rate that it was asked for.
    pub(crate) fn counted<'a>(&'a self, case: &'a Case, server: &'a str) -> Vec<&'a Turn> {
        let valid = || self.turns(case, server).filter(|turn| turn.valid().is_some());
        let Some(last) = valid().last() else { return Vec::new() };
        valid().filter(|turn| turn.rate_per_s == last.rate_per_s).collect()
    }

    /// Whether a run at a higher rate than that of the figures gave no number, so that nobody knows whether it is held.
    pub(crate) fn is_refused_above(&self, case: &Case, server: &str) -> bool {
        let Some((rate, _)) = self.rate(case, server) else { return false };
        self.turns(case, server).any(|turn| rate < turn.rate_per_s && turn.valid().is_none())
    }

    pub(crate) fn spread(&self, case: &Case, server: &str, figure: Figure) -> Option<Spread> {
        let mut counted = self.counted(case, server);
        if figure == Figure::Lost {
            // What is under way at the end is waited for only where the rate was held.
            counted.retain(|turn| turn.is_held);
        }
        let outcomes = counted.iter().filter_map(|turn| turn.valid());
        Spread::of(&outcomes.filter_map(|outcome| figure.value(case.work, outcome)).collect::<Vec<_>>())
    }

    /// Whether two servers did the same, so that they may be compared.
    pub(crate) fn is_same_work(&self, case: &Case, server: &str, other: &str) -> bool {
        let rate = self.rate(case, server).map(|(rate, _)| rate);
        rate.is_some() && rate == self.rate(case, other).map(|(rate, _)| rate)
    }

    /// Ours over another's, round by round; nothing where the work was not the same.
    pub(crate) fn ratio(&self, case: &Case, other: &str, figure: Figure) -> Option<Spread> {
        if !self.is_same_work(case, OURS, other) {
            return None;
        }
        let of = |turn: &Turn| figure.value(case.work, turn.valid()?);
        let theirs = self.counted(case, other);
        let ratios = self.counted(case, OURS).into_iter().filter_map(|ours| {
            let theirs = theirs.iter().find(|turn| turn.round == ours.round)?;
            of(theirs).filter(|value| 0.0 < *value).and_then(|value| Some(of(ours)? / value))
        });
        Spread::of(&ratios.collect::<Vec<_>>())
    }

    /// Why a server has no figures for a case, or why some of its runs do not count; the same reason once.
    pub(crate) fn reasons(&self, case: &Case, server: &str) -> Vec<String> {
        let mut reasons = Vec::new();
        for turn in self.turns(case, server) {
            let refused = turn.outcome.iter().flat_map(|outcome| outcome.refused.iter());
            let errors = turn.outcome.iter().flat_map(|outcome| outcome.counts.errors.keys());
            for reason in turn.failure.iter().chain(refused).chain(errors) {
                if !reasons.contains(reason) {
                    reasons.push(reason.clone());
                }
            }
        }
        reasons
    }
}
