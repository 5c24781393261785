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
use crate::progress::Progress;
use crate::report::{Comparison, Sample};
use crate::scenarios::fanout::{self, Load, Offered};
use crate::scenarios::{self, Rig};
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
        Ok((offered, deeds)) => {
            let left = left_sockets(&load)?;
            let is_complete = load.is_complete() && load.tally.missing == 0 && load.tally.repeated == 0;
            let published = load.published;
            let Load { server, clients, tally, .. } = load;
            let footprint = server.footprint()?;
            let log = server.stop()?;
            drop(clients);
            let sample = sample(&offered, deeds.as_ref(), &tally, published, &footprint, &log)?;
            let turn_ns_max = log.reported("turn_ns_max")?.into_iter().max().unwrap_or(0);
            Ok(Run { sample, deeds, is_complete, turn_ns_max, left_sockets: left })
        }
        Err(failure) => match load.server.last_words() {
            Some(words) => Err(Failure::Protocol(format!("the server has ended: {words}"))),
            None => Err(failure),
        },
    }
}

/// Publishes by the schedule, with or without the crowd, until all has arrived.
fn offer(
    rig: &Rig,
    load: &mut Load,
    shape: Shape,
    arm: Arm,
    tell: &mut dyn FnMut(String),
) -> Result<(Offered, Option<Deeds>)> {
    let data = fanout::Shape { subscribers: shape.good, data_bytes: shape.data_bytes };
    let aim = Aim { host: load.server.address.to_string(), messages_per_s: shape.flood_per_s };
    let mut crowd = match arm {
        Arm::Calm => None,
        Arm::Flooded => {
            Some(Crowd::new(load.server.address, &aim, shape.hostile, shape.reconnects_per_s, LIFETIME_NS)?)
        }
    };
    let warmup_ns = rig.warmup_ns.max(WARMUP_NS_MIN);
    let offered = fanout::offer(rig, load, data, shape.rate_per_s, warmup_ns, |_| {
        let Some(crowd) = &mut crowd else { return Ok(0) };
        crowd.turn()?;
        tell(format!(": {} hostile, {} opened so far", crowd.count(), crowd.deeds.opened));
        Ok(crowd.busy_ns())
    })?;
    let deeds = crowd.map(|mut crowd| {
        crowd.end();
        crowd.deeds.clone()
    });
    Ok((offered, deeds))
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
    deeds: Option<&Deeds>,
    tally: &fanout::Tally,
    published: u64,
    footprint: &Footprint,
    log: &Log,
) -> Result<Sample> {
    let Offered { seen, delivered, lag } = offered;
    let mut sample = Sample::default();
    fanout::describe_latencies(&mut sample, tally);
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
    let count = |of: fn(&Deeds) -> u64| deeds.map_or(0, of);
    sample.add("hostile at a time", "count", scenarios::ratio(count(|deeds| deeds.held_max), 1));
    sample.add("hostile opened", "count", scenarios::ratio(count(|deeds| deeds.opened), 1));
    sample.add("hostile messages", "count", scenarios::ratio(count(|deeds| deeds.poured_messages), 1));
    sample.add("hostile bytes sent", "count", scenarios::ratio(count(|deeds| deeds.sent_bytes), 1));
    sample.add("hostile bytes read", "count", scenarios::ratio(count(|deeds| deeds.read_bytes), 1));
    sample.add_us("hostile lag p99", count(|deeds| deeds.lag.summary().p99_ns));
    Ok(sample)
}

/// A crowd that was not there, or that did not get through to what it abuses, proves nothing.
fn judge_crowd(account: &mut Account, shape: Shape, runs: &[Run], fates: &BTreeMap<(Abuse, Fate), u64>) {
    let opened_min = runs.iter().filter_map(|run| run.deeds.as_ref()).map(|deeds| deeds.opened).min();
    let opened_min = opened_min.unwrap_or(0);
    account.judge(
        format!("at least {} hostile connections were opened in each flood: {opened_min}", shape.hostile),
        shape.hostile as u64 <= opened_min,
    );
    let got_through = |abuse: &&Abuse| fates.keys().any(|(of, fate)| of == *abuse && fate.got_through());
    let blunt: Vec<&str> =
        Abuse::ALL.iter().filter(|abuse| !got_through(abuse)).map(|abuse| abuse.name()).collect();
    account.judge(
        match blunt.as_slice() {
            [] => "each abuse got through to the server".to_owned(),
            blunt => format!("each abuse got through to the server, but for {}", blunt.join(", ")),
        },
        blunt.is_empty(),
    );
    let count = |wanted: Fate| -> u64 {
        fates.iter().filter(|((_, fate), _)| *fate == wanted).map(|(_, count)| count).sum()
    };
    let (garbled, outlived) = (count(Fate::Garbled), count(Fate::Outlived));
    account.judge(format!("the server said nothing that no server may say: {garbled} times"), garbled == 0);
    account.judge(format!("the server ended each within its time: {outlived} outlived it"), outlived == 0);
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
    judge_crowd(&mut account, shape, runs, &fates);
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

#[cfg(test)]
mod tests {
    use crate::histogram::Latencies;

    use super::*;

    const SHAPE: Shape = Shape {
        hostile: Abuse::ALL.len(),
        good: 1,
        rate_per_s: 1,
        data_bytes: 100,
        reconnects_per_s: 1,
        flood_per_s: 1,
        turn_ns_max: 1_000,
    };

    /// A flood in which each abuse met `fate`.
    fn flood(fate: Fate) -> Run {
        let fates = Abuse::ALL.iter().map(|abuse| ((*abuse, fate), 1)).collect();
        let deeds = Deeds {
            fates,
            opened: Abuse::ALL.len() as u64,
            held_max: 1,
            poured_messages: 0,
            sent_bytes: 0,
            read_bytes: 0,
            lag: Latencies::new(),
        };
        Run {
            sample: Sample::default(),
            deeds: Some(deeds),
            is_complete: true,
            turn_ns_max: 1_000,
            left_sockets: 0,
        }
    }

    #[test]
    fn a_flood_that_all_were_refused_in_holds() {
        assert!(account(SHAPE, &[flood(Fate::Refused(400))], 0).holds());
    }

    #[test]
    fn a_flood_that_nobody_felt_or_that_anything_survived_does_not_hold() {
        for fate in [Fate::NotConnected, Fate::NotGranted, Fate::Garbled, Fate::Outlived] {
            assert!(!account(SHAPE, &[flood(fate)], 0).holds(), "{fate}");
        }
        let mut few = flood(Fate::Closed(None));
        few.deeds.as_mut().unwrap().opened -= 1;
        let late = Run { turn_ns_max: 1_001, ..flood(Fate::Ended) };
        let incomplete = Run { is_complete: false, ..flood(Fate::Ended) };
        let leaking = Run { left_sockets: 1, ..flood(Fate::Ended) };
        for run in [few, late, incomplete, leaking] {
            assert!(!account(SHAPE, &[run], 0).holds());
        }
        assert!(!account(SHAPE, &[], 0).holds(), "no run");
        assert!(!account(SHAPE, &[flood(Fate::Ended)], 1).holds(), "a run without a number");
    }
}
