//! The parts of the proof: what is measured beside the limit, each by a scenario that can be run by itself. Home: the load thread.
//! Invariant: the market of the server under test is quiet, so that what is measured is what the load asks for.

use nix::sys::resource::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

use crate::clock::{MILLISECOND_NS, SECOND_NS};
use crate::encoding::Encoding;
use crate::failure::{Doing, Failure, Result};
use crate::report::Comparison;
use crate::scenarios::active::{self, Shape as Active};
use crate::scenarios::fanout::{self, Shape as Fanout};
use crate::scenarios::orders::{self, Key, Shape as Orders};
use crate::scenarios::{Rig, benches, connections, ping, replay, request, start};

/// The server's configuration where nothing happens by itself, and where orders have no limits that act; from the repository's root.
const QUIET: [&str; 2] = ["--config", "loadtest/peers/tickring.toml"];
const TRADING: [&str; 2] = ["--config", "loadtest/orders.toml"];
/// Publishes in flight at the saturation of fan-out.
const WINDOW: u64 = 4;
/// The load of orders, as `loadtest orders` has it.
const TRADERS: usize = 100;
const AUDIENCE: usize = 1_000;
const TRADES_PER_S: u64 = 20;
const RESTING_PERCENT: u64 = 50;
/// Requests in flight on a connection that has many.
const MANY: usize = 16;
/// Descriptors of a process beside those of its connections.
const SPARE_DESCRIPTORS: usize = 100;
/// What all active connections ask for together.
const ACTIVE_PER_S: u64 = 60_000;

/// What so many connections have to settle after they were opened.
const ACTIVE_WARMUP_NS: u64 = 2 * SECOND_NS;
/// How late a generator may be that shares its core with a shard: it waits for it, which the latencies have in them.
const SHARED_LAG_NS: u64 = 50 * MILLISECOND_NS;

/// What is measured, and run again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    Ping,
    Echo,
    Fanout,
    Burst,
    Ingest,
    Sbe,
    SbeAlone,
    Orders,
    SbeOrders,
    Start,
    Drain,
    Shards,
    #[serde(rename = "held-18k")]
    Held18k,
    #[serde(rename = "held-38k")]
    Held38k,
    #[serde(rename = "held-50k")]
    Held50k,
    #[serde(rename = "active-18k")]
    Active18k,
    #[serde(rename = "active-38k")]
    Active38k,
}

/// What came of a part.
pub(crate) enum Ran {
    Measured(Vec<Comparison>),
    /// This host does not allow it: why.
    NotRun(String),
}

impl Part {
    /// In the order in which they are run and shown.
    pub(crate) const ALL: [Part; 17] = [
        Part::Ping,
        Part::Echo,
        Part::Fanout,
        Part::Burst,
        Part::Ingest,
        Part::Sbe,
        Part::SbeAlone,
        Part::Orders,
        Part::SbeOrders,
        Part::Start,
        Part::Drain,
        Part::Shards,
        Part::Held18k,
        Part::Held38k,
        Part::Held50k,
        Part::Active18k,
        Part::Active38k,
    ];

    /// As `--only` names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Part::Ping => "ping",
            Part::Echo => "echo",
            Part::Fanout => "fanout",
            Part::Burst => "burst",
            Part::Ingest => "ingest",
            Part::Sbe => "sbe",
            Part::SbeAlone => "sbe-alone",
            Part::Orders => "orders",
            Part::SbeOrders => "sbe-orders",
            Part::Start => "start",
            Part::Drain => "drain",
            Part::Shards => "shards",
            Part::Held18k => "held-18k",
            Part::Held38k => "held-38k",
            Part::Held50k => "held-50k",
            Part::Active18k => "active-18k",
            Part::Active38k => "active-38k",
        }
    }

    /// Where server and load share a core, which a reader has to know.
    pub(crate) const fn is_shared(self) -> bool {
        matches!(self, Part::Shards | Part::Held38k | Part::Held50k | Part::Active38k)
    }

    pub(crate) fn run(self, rig: &Rig) -> Result<Ran> {
        let quiet = with(rig, &QUIET);
        let wide = Fanout { subscribers: 1_000, data_bytes: 40 };
        let burst = Fanout { subscribers: 100, data_bytes: 100 };
        let both = both_cores(rig);
        let comparisons = match self {
            Part::Ping => vec![ping::run(&quiet)?],
            Part::Echo => vec![request::run_saturated(&quiet, 100, 1)?],
            Part::Fanout => fanout::run_saturation(&quiet, wide, WINDOW)?,
            Part::Burst => one(fanout::run_pacing(&quiet, burst, 5_000))?,
            // A recording is the market here.
            Part::Ingest => one(replay::run(rig)?)?,
            Part::Sbe => vec![replay::run_encodings(rig)?],
            Part::SbeAlone => vec![benches::run(rig)],
            Part::Orders => traded(&with(rig, &TRADING))?,
            Part::SbeOrders => traded_in_either(&with(rig, &TRADING))?,
            Part::Start => one(start::run(&quiet))?,
            Part::Drain => vec![connections::run(&quiet, 10_000)?],
            Part::Shards => {
                // Rates that one shard holds with half of its core to spare.
                let rates = [(wide, 80), (burst, 2_000)];
                let compared = rates.map(|(shape, rate)| fanout::run_shards(&quiet, shape, rate, &both));
                compared
                    .into_iter()
                    .map(|comparison| comparison.ok_or_else(no_server))
                    .collect::<Result<_>>()?
            }
            Part::Held18k => return held(&quiet, 18_000, &both[..1]),
            Part::Held38k => return held(&quiet, 38_000, &both),
            Part::Held50k => return held(&quiet, 50_000, &both),
            Part::Active18k => return active(&quiet, 18_000, &both[..1]),
            Part::Active38k => return active(&quiet, 38_000, &both),
        };
        Ok(Ran::Measured(comparisons))
    }
}

fn with(rig: &Rig, arguments: &[&str]) -> Rig {
    let own = arguments.iter().map(|argument| (*argument).to_owned());
    Rig { server_arguments: rig.server_arguments.iter().cloned().chain(own).collect(), ..rig.clone() }
}

/// A shard on the server's core and one on that of the load.
fn both_cores(rig: &Rig) -> [usize; 2] {
    [rig.cpus_server.first().copied().unwrap_or_default(), rig.cpu_client]
}

fn one(comparison: Option<Comparison>) -> Result<Vec<Comparison>> {
    comparison.map(|comparison| vec![comparison]).ok_or_else(no_server)
}

fn no_server() -> Failure {
    Failure::Unmet("no --server was given".to_owned())
}

/// Orders alone, then at half of that beside those who are told of each trade.
fn traded(rig: &Rig) -> Result<Vec<Comparison>> {
    let mut comparisons = orders::run(rig, &trading(0), None)?;
    let capacity = comparisons.first().and_then(|saturation| saturation.subject_median("round trips"));
    if let Some(capacity) = capacity {
        let half_per_s = request::whole(capacity / 2.0);
        comparisons.extend(orders::run(rig, &trading(AUDIENCE), Some(half_per_s))?);
    }
    Ok(comparisons)
}

/// Orders in JSON and in SBE, in turns: one at a time on each connection, then many, so that the kernel has less of each.
fn traded_in_either(rig: &Rig) -> Result<Vec<Comparison>> {
    let shape = Orders { encoding: Encoding::Sbe, ..trading(0) };
    [1, MANY]
        .map(|window| orders::run_saturated(rig, &Orders { window, ..shape.clone() }))
        .into_iter()
        .collect()
}

fn trading(subscribers: usize) -> Orders {
    Orders {
        connections: TRADERS,
        subscribers,
        trades_per_s: TRADES_PER_S,
        resting_percent: RESTING_PERCENT,
        window: 1,
        keys: vec![Key { client_id: "demo".to_owned(), secret: "demo-secret".to_owned() }],
        encoding: Encoding::Json,
    }
}

fn held(rig: &Rig, count: usize, cores: &[usize]) -> Result<Ran> {
    if let Some(reason) = too_many(count, cores.len())? {
        return Ok(Ran::NotRun(reason));
    }
    let room = room_for(count, cores.len());
    one(connections::run_on(rig, count, cores, &["--set", &room])).map(Ran::Measured)
}

fn active(rig: &Rig, count: usize, cores: &[usize]) -> Result<Ran> {
    if let Some(reason) = too_many(count, cores.len())? {
        return Ok(Ran::NotRun(reason));
    }
    let room = room_for(count, cores.len());
    let shape = Active { connections: count, rate_per_s: ACTIVE_PER_S };
    let warmup_ns = rig.warmup_ns.max(ACTIVE_WARMUP_NS);
    let rig = match cores {
        [_] => Rig { warmup_ns, ..rig.clone() },
        _ => Rig {
            warmup_ns,
            generator_lag_ns_max: rig.generator_lag_ns_max.max(SHARED_LAG_NS),
            ..rig.clone()
        },
    };
    one(active::run(&rig, shape, cores, &["--set", &room])).map(Ran::Measured)
}

/// The kernel spreads connections over the shards by chance: each is given room for a few hundred more than its share.
fn room_for(count: usize, shards: usize) -> String {
    format!("shards.connections_max={}", count / shards + count / shards / 40)
}

/// Why this host cannot hold them, where it cannot: a ring's own table of sockets is bounded as a process's is.
fn too_many(count: usize, rings: usize) -> Result<Option<String>> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).doing("getrlimit")?;
    let each = usize::try_from(hard).unwrap_or(usize::MAX).saturating_sub(SPARE_DESCRIPTORS);
    let most = each.saturating_mul(rings);
    Ok((most < count).then(|| {
        format!("not run: {count} connections on {rings} rings, each of which this host lets have {hard} sockets (ulimit -Hn)")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_written_in_a_record_as_they_are_asked_for() {
        let mut names: Vec<&str> = Part::ALL.iter().map(|part| part.name()).collect();
        for part in Part::ALL {
            assert_eq!(serde_json::to_string(&part).unwrap(), format!("{:?}", part.name()));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Part::ALL.len());
    }

    #[test]
    fn what_a_host_does_not_allow_is_said_instead_of_tried() {
        assert_eq!(too_many(1, 2).unwrap(), None);
        let reason = too_many(usize::MAX, 2).unwrap();
        assert!(reason.is_some_and(|reason| reason.starts_with("not run: ")));
    }

    #[test]
    fn a_shard_has_room_for_more_than_its_share() {
        assert_eq!(room_for(38_000, 2), "shards.connections_max=19475");
    }
}
