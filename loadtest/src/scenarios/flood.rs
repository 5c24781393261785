//! Flood: good subscribers of one topic, lossless, beside a crowd that abuses the server in every way it knows; the same
//! without the crowd, in turns. What counts is that every good delivery arrives, how late, and how long the server's
//! longest turn was. Home: the load thread, which carries the good clients and, in bounded turns, the crowd.
//! Invariant: a delivery is complete only if every subscriber has received every message that was published, once and
//! in order.

mod abuse;
mod bomb;
mod crowd;
mod script;

use std::collections::BTreeMap;

use crate::account::{Account, Tally};
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Failure, Result};
use crate::histogram::Latencies;
use crate::progress::Progress;
use crate::report::{Comparison, Sample};
use crate::scenarios::fanout::{self, Load};
use crate::scenarios::{self, DRAIN_DEADLINE_NS, Rig, Seen, Window};
use crate::schedule::Schedule;
use crate::server::{self, Footprint, Launch, Log, Server};

use abuse::{Abuse, Aim};
use crowd::{Crowd, Deeds, Fate};

/// Unmeasured time at the start of each run, at least: the crowd assembles.
const WARMUP_NS_MIN: u64 = 2 * SECOND_NS;
/// After this we end a hostile connection that the server has not.
const LIFETIME_NS: u64 = 20 * SECOND_NS;
/// The longest wait for the server to give up the crowd's sockets at the end.
const SETTLE_DEADLINE_NS: u64 = 15 * SECOND_NS;

/// One flood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) hostile: usize,
    pub(crate) good: usize,
    /// Messages a second that each good subscriber is to receive.
    pub(crate) rate_per_s: u64,
    pub(crate) data_bytes: usize,
    /// Hostile connections opened a second in the places of those that ended.
    pub(crate) reconnects_per_s: u64,
    /// Messages a second that each flooding connection tries to send.
    pub(crate) flood_per_s: u64,
    /// The stated bound on one turn of the server.
    pub(crate) turn_ns_max: u64,
}

/// The arms of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arm {
    Calm,
    Flooded,
}

/// One run.
struct Run {
    sample: Sample,
    deeds: Option<Deeds>,
    is_complete: bool,
    turn_ns_max: u64,
    /// Sockets of the crowd that the server held when the crowd was gone.
    left_sockets: u64,
}

/// Runs pairs, without and with the crowd, and judges the server by all of them.
pub(crate) fn run(rig: &Rig, shape: Shape) -> Result<(Comparison, Account)> {
    let Some(launch) = rig.server(&[]) else {
        return Err(Failure::Unmet("a flood needs a server: --server PATH".to_owned()));
    };
    let Shape { hostile, good, rate_per_s, data_bytes, reconnects_per_s, flood_per_s, .. } = shape;
    let mut comparison = Comparison {
        case: format!(
            "flood: {hostile} hostile connections ({reconnects_per_s} reconnects/s, {flood_per_s} messages/s of each \
             flood) beside {good} good ones x {rate_per_s}/s, {data_bytes} B of data, open loop"
        ),
        limit: "without flood".to_owned(),
        subject: "with flood".to_owned(),
        pairs: Vec::new(),
        refused: Vec::new(),
    };
    let mut progress = Progress::new();
    let mut runs = Vec::new();
    for pair in 0..rig.pairs {
        let mut measured = |arm: Arm| {
            let shown = format!("flood: pair {} of {}, {arm:?}", pair + 1, rig.pairs);
            let outcome =
                measure(rig, &launch, shape, arm, &mut |now| progress.show(|| format!("{shown}{now}")));
            outcome.map_err(|failure| format!("pair {pair}, {arm:?}: {failure}"))
        };
        match (measured(Arm::Calm), measured(Arm::Flooded)) {
            (Ok(calm), Ok(flooded)) => {
                comparison.pairs.push((calm.sample.clone(), flooded.sample.clone()));
                runs.extend([calm, flooded]);
            }
            (calm, flooded) => {
                comparison.refused.extend(calm.err());
                comparison.refused.extend(flooded.err());
            }
        }
    }
    let account = account(shape, &runs, comparison.refused.len());
    Ok((comparison, account))
}

fn measure(rig: &Rig, launch: &Launch, shape: Shape, arm: Arm, tell: &mut dyn FnMut(String)) -> Result<Run> {
    let server = Server::start_kept(launch, rig.cpu_client)?;
    let data_bytes = shape.data_bytes;
    let mut load = Load::start(rig, server, fanout::Shape { subscribers: shape.good, data_bytes })?;
    match offer(rig, &mut load, shape, arm, tell) {
        Ok(offered) => {
            let left = left_sockets(&load)?;
            let is_complete = load.is_complete() && load.tally.missing == 0 && load.tally.repeated == 0;
            let published = load.published;
            let Load { server, clients, tally, .. } = load;
            let footprint = server.footprint()?;
            let log = server.stop()?;
            drop(clients);
            let sample = sample(&offered, &tally, published, &footprint, &log)?;
            let turn_ns_max = log.reported("turn_ns_max")?.into_iter().max().unwrap_or(0);
            Ok(Run { sample, deeds: offered.deeds, is_complete, turn_ns_max, left_sockets: left })
        }
        Err(failure) => match load.server.last_words() {
            Some(words) => Err(Failure::Protocol(format!("the server has ended: {words}"))),
            None => Err(failure),
        },
    }
}

/// What was offered and seen in one run.
struct Offered {
    seen: Seen,
    /// Deliveries within the window.
    delivered: u64,
    lag: Latencies,
    deeds: Option<Deeds>,
}

/// Publishes by the schedule, with or without the crowd, until all has arrived.
fn offer(
    rig: &Rig,
    load: &mut Load,
    shape: Shape,
    arm: Arm,
    tell: &mut dyn FnMut(String),
) -> Result<Offered> {
    let data = fanout::Shape { subscribers: shape.good, data_bytes: shape.data_bytes };
    let aim = Aim { host: load.server.address.to_string(), messages_per_s: shape.flood_per_s };
    let mut crowd = match arm {
        Arm::Calm => None,
        Arm::Flooded => {
            Some(Crowd::new(load.server.address, &aim, shape.hostile, shape.reconnects_per_s, LIFETIME_NS)?)
        }
    };
    let start_ns = clock::mono_ns();
    let warmup_ns = rig.warmup_ns.max(WARMUP_NS_MIN);
    load.tally.measured_from_ns = start_ns + warmup_ns;
    let end_ns = load.tally.measured_from_ns + rig.measured_ns;
    let mut schedule = Schedule::new(start_ns, shape.rate_per_s, warmup_ns + rig.measured_ns);
    let mut lag = Latencies::new();
    let mut opened: Option<(Window, u64)> = None;
    let mut seen = None;
    let mut now_ns = start_ns;
    while seen.is_none() || !load.is_complete() {
        while let Some((_, intended_ns)) = schedule.poll_due(now_ns) {
            lag.record((now_ns - intended_ns).max(1));
            load.publish(intended_ns, data)?;
        }
        now_ns = load.turn()?;
        if let Some(crowd) = &mut crowd {
            crowd.turn()?;
            tell(format!(": {} hostile, {} opened so far", crowd.count(), crowd.deeds.opened));
        }
        // The client's turns know nothing of the crowd's and take them for idle time.
        let busy_ns = crowd.as_ref().map_or(0, Crowd::busy_ns);
        let idle_ns = load.clients.idle_ns().saturating_sub(busy_ns);
        if opened.is_none() && load.tally.measured_from_ns <= now_ns {
            opened = Some((Window::open(&load.server, idle_ns)?, load.tally.delivered));
        }
        if let Some((window, before)) = opened.as_ref().filter(|_| schedule.is_done() && seen.is_none()) {
            let closed = window.close(&load.server, idle_ns)?;
            seen = Some((closed, load.tally.delivered - before));
        }
        if end_ns + DRAIN_DEADLINE_NS < now_ns {
            break;
        }
    }
    scenarios::check_generator(&lag, rig.generator_lag_ns_max)?;
    let Some((seen, delivered)) = seen else {
        return Err(Failure::Deadline("the schedule's end".to_owned()));
    };
    let deeds = crowd.map(|mut crowd| {
        crowd.end();
        crowd.deeds.clone()
    });
    Ok(Offered { seen, delivered, lag, deeds })
}

/// Waits until the server has given up all sockets but the good ones', and counts what is left.
fn left_sockets(load: &Load) -> Result<u64> {
    let good = load.tally.subscribers as u64 + 1;
    let deadline_ns = clock::mono_ns() + SETTLE_DEADLINE_NS;
    loop {
        let held = load.server.footprint()?.ring_sockets;
        if held <= good || deadline_ns < clock::mono_ns() {
            return Ok(held.saturating_sub(good));
        }
        server::sleep_ns(20 * MILLISECOND_NS);
    }
}

fn sample(
    offered: &Offered,
    tally: &fanout::Tally,
    published: u64,
    footprint: &Footprint,
    log: &Log,
) -> Result<Sample> {
    let Offered { seen, delivered, lag, deeds } = offered;
    let mut sample = Sample::default();
    let summary = tally.latencies.summary();
    sample.add_us("latency p50", summary.p50_ns);
    sample.add_us("latency p99", summary.p99_ns);
    sample.add_us("latency p99.9", summary.p999_ns);
    sample.add_us("latency max", summary.max_ns);
    let expected = published * tally.subscribers as u64;
    sample.add("delivered", "%", 100.0 * scenarios::ratio(tally.delivered, expected.max(1)));
    sample.add("deliveries", "1/s", seen.rate_per_s(*delivered));
    sample.add("sequence gaps", "count", scenarios::ratio(tally.missing, 1));
    sample.add("repeated", "count", scenarios::ratio(tally.repeated, 1));
    let turn_ns = log.reported("turn_ns_max")?.into_iter().max().unwrap_or(0);
    sample.add_us("longest turn", turn_ns);
    seen.describe(&mut sample);
    sample.add("resident at the end", "KiB", scenarios::ratio(footprint.resident_bytes, 1024));
    sample.add("resident peak", "KiB", scenarios::ratio(footprint.resident_peak_bytes, 1024));
    sample.add("log lines", "count", scenarios::ratio(log.lines, 1));
    sample.add_us("generator lag p99", lag.summary().p99_ns);
    // Without the crowd all of these are nothing.
    let count = |of: fn(&Deeds) -> u64| deeds.as_ref().map_or(0, of);
    sample.add("hostile opened", "count", scenarios::ratio(count(|deeds| deeds.opened), 1));
    sample.add("hostile messages", "count", scenarios::ratio(count(|deeds| deeds.poured_messages), 1));
    sample.add("hostile bytes sent", "count", scenarios::ratio(count(|deeds| deeds.sent_bytes), 1));
    sample.add("hostile bytes read", "count", scenarios::ratio(count(|deeds| deeds.read_bytes), 1));
    sample.add_us("hostile lag p99", count(|deeds| deeds.lag.summary().p99_ns));
    Ok(sample)
}

fn account(shape: Shape, runs: &[Run], refused: usize) -> Account {
    let mut account =
        Account { case: "flood: what became of the hostile connections".to_owned(), ..Account::default() };
    let mut fates: BTreeMap<(Abuse, Fate), u64> = BTreeMap::new();
    for deeds in runs.iter().filter_map(|run| run.deeds.as_ref()) {
        for (fate, count) in &deeds.fates {
            *fates.entry(*fate).or_insert(0) += count;
        }
    }
    for abuse in Abuse::ALL {
        let counts = fates.iter().filter(|((of, _), _)| *of == abuse);
        let counts = counts.map(|((_, fate), count)| (fate.to_string(), *count)).collect();
        account.tallies.push(Tally { name: abuse.name().to_owned(), counts });
    }
    let complete = runs.iter().filter(|run| run.is_complete).count();
    account.judge(
        format!("good deliveries were complete and in order in {complete} of {} runs", runs.len() + refused),
        complete == runs.len() && refused == 0,
    );
    let turn_ns_max = runs.iter().map(|run| run.turn_ns_max).max().unwrap_or(0);
    account.judge(
        format!(
            "the longest turn, {} us, is within its bound of {} us",
            turn_ns_max / 1_000,
            shape.turn_ns_max / 1_000
        ),
        turn_ns_max <= shape.turn_ns_max,
    );
    let left: u64 = runs.iter().map(|run| run.left_sockets).sum();
    account.judge(format!("no socket of the crowd is left in the server's rings: {left} are"), left == 0);
    account.notes.push(format!(
        "who does not read learns of its end when its {} s are over and it reads the rest; 'outlived' were not ended by \
         then and were reset by the load; 'stayed' were there at a run's end",
        LIFETIME_NS / SECOND_NS
    ));
    account
}
