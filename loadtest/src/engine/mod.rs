//! The generator: open-loop load of a scenario against a server of any dialect, from one or several processes, each a core. What
//! is here starts them, tells them when to begin, looks at the server and the host meanwhile, and puts together what they tell.
//! Home: the main thread, which sends nothing itself.
//! Invariants: a fault of the server is counted and ends nothing; a run that the generator or the host spoiled says so; every
//! process that is started is ended, on every way out.

mod crew;
mod crowd;
pub(crate) mod live;
pub(crate) mod plan;
mod script;
mod sequence;
mod spread;
mod sum;
mod tally;
mod timetable;
mod watch;
mod worker;

pub(crate) use worker::work;

use std::time::Duration;

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::dialect::Dialect;
use crate::engine::crew::Crew;
use crate::engine::live::Live;
use crate::engine::plan::Plan;
use crate::engine::sum::Sum;
use crate::engine::watch::{Ticks, Watch};
use crate::failure::{Failure, Result};
use crate::outcome::{GeneratorUse, Outcome};
use crate::scenario;

/// From the word to the first message: every process has heard it by then.
const GO_NS: u64 = 100 * MILLISECOND_NS;
/// Between two looks of somebody who watches.
const LOOK_NS: u64 = 250 * MILLISECOND_NS;
/// The wait for processes beyond what they themselves wait for.
const PATIENCE_NS: u64 = 15 * SECOND_NS;
/// From here on a generator was the limit.
const BUSY_SHARE_MAX: f64 = 0.95;
/// From here on the host was.
const STEAL_SHARE_MAX: f64 = 0.01;

/// Runs a scenario. A run that cannot take place is an outcome, too: refused, with the reason.
pub(crate) fn run(plan: &Plan, live: &mut Live) -> Result<Outcome> {
    let dialect = Dialect::parse(&plan.dialect_text).map_err(|flaw| Failure::File(flaw.to_string()))?;
    let processes = plan::processes(&plan.scenario, plan.processes);
    let mut outcome = outcome(plan, &dialect, processes);
    outcome.refused = script::missing(&plan.scenario, &dialect);
    outcome.refused.extend(crew::too_many(&plan.scenario));
    if !outcome.refused.is_empty() {
        return Ok(outcome);
    }
    let address = plan.target.resolve()?;
    let pid = plan.pid.or_else(|| watch::listener(address));
    let mut watch = pid.and_then(Watch::new);
    live.begin(&plan.scenario, &outcome.url);
    live.detail(&format!(
        "{processes} processes on cores {:?} to {address}, the server's process: {pid:?}",
        plan.cores
    ));
    let mut crew = Crew::start(plan, processes, address)?;
    let mut sum = Sum::new(crew.count());
    open(plan, &mut crew, &mut sum, live)?;
    sum.check_reached(plan)?;
    measure(plan, &mut crew, &mut sum, live, watch.as_mut(), &mut outcome)?;
    crew.dismiss();
    sum.fill(&mut outcome);
    if 1 < processes && plan.scenario.fanout.is_some() {
        outcome.notes.push("the spread is that among the subscribers of each process".to_owned());
    }
    refuse(plan, &mut outcome);
    live.end();
    Ok(outcome)
}

fn outcome(plan: &Plan, dialect: &Dialect, processes: u32) -> Outcome {
    Outcome {
        scenario: plan.scenario.name.clone(),
        scenario_toml: plan.scenario.toml(),
        server: dialect.name.clone(),
        server_version: None,
        url: plan.target.text(&dialect.path),
        started_unix_ms: clock::unix_ns() / MILLISECOND_NS,
        measured_ns: plan.scenario.measured_ns(),
        counts: crate::outcome::Counts::default(),
        latencies: std::collections::BTreeMap::new(),
        seconds: Vec::new(),
        server_use: None,
        generator: GeneratorUse {
            processes,
            busy_share: 0.0,
            lag_p50_ns: 0,
            lag_p99_ns: 0,
            steal_share: None,
        },
        refused: Vec::new(),
        notes: Vec::new(),
        graded: None,
    }
}

/// Waits until every process has opened what it can.
fn open(plan: &Plan, crew: &mut Crew, sum: &mut Sum, live: &mut Live) -> Result<()> {
    let scenario = &plan.scenario;
    let pace_s = match scenario.connect_per_s {
        0 => 0.0,
        per_s => f64::from(scenario.clients().1) / f64::from(per_s),
    };
    let wait_ns = scenario::nanoseconds(pace_s + scenario.connect_timeout_s) + PATIENCE_NS;
    let deadline_ns = clock::mono_ns() + wait_ns;
    while !sum.are_all_ready() {
        if deadline_ns < clock::mono_ns() {
            return Err(Failure::Deadline("the generator's processes to open their connections".to_owned()));
        }
        if let Some((process, report)) = crew.hear(Duration::from_nanos(LOOK_NS))? {
            sum.take(process, report)?;
        }
        live.opening(sum.open());
    }
    Ok(())
}

fn measure(
    plan: &Plan,
    crew: &mut Crew,
    sum: &mut Sum,
    live: &mut Live,
    mut watch: Option<&mut Watch>,
    outcome: &mut Outcome,
) -> Result<()> {
    let go_ns = clock::mono_ns() + GO_NS;
    crew.go(go_ns)?;
    let begin_ns = go_ns + plan.scenario.warmup_ns();
    let end_ns = begin_ns + plan.scenario.measured_ns();
    let deadline_ns = end_ns + scenario::nanoseconds(plan.scenario.drain_s) + PATIENCE_NS;
    let mut ticks = None;
    let mut looks = 0;
    let mut is_over = false;
    while !sum.are_all_done() {
        let now_ns = clock::mono_ns();
        if deadline_ns < now_ns {
            return Err(Failure::Deadline("the generator's processes to end".to_owned()));
        }
        let next_look_ns = begin_ns + looks * SECOND_NS;
        if !is_over && next_look_ns.min(end_ns) <= now_ns {
            if looks == 0 {
                ticks = Ticks::now();
                if let Some(watch) = watch.as_deref_mut() {
                    watch.begin(now_ns);
                }
            } else if let Some(look) = watch.as_deref_mut().and_then(|watch| watch.look(now_ns)) {
                sum.looked(looks - 1, look);
            }
            looks += 1;
            is_over = end_ns <= now_ns;
            if is_over {
                outcome.server_use = watch.as_deref_mut().and_then(|watch| watch.end(now_ns));
                let now = Ticks::now();
                outcome.generator.steal_share = ticks.zip(now).and_then(|(then, now)| now.steal_since(&then));
            }
        }
        let look_ns = if is_over { now_ns + LOOK_NS } else { (begin_ns + looks * SECOND_NS).min(end_ns) };
        let wait_ns = look_ns.saturating_sub(now_ns).clamp(MILLISECOND_NS, LOOK_NS);
        if let Some((process, report)) = crew.hear(Duration::from_nanos(wait_ns))? {
            sum.take(process, report)?;
        }
        live.measuring(clock::mono_ns(), begin_ns, end_ns, sum);
    }
    Ok(())
}

/// Says why the run tells nothing of the server, where it does not.
fn refuse(plan: &Plan, outcome: &mut Outcome) {
    let lag_ns_max = u64::from(plan.scenario.lag_us_max) * 1_000;
    let used = &outcome.generator;
    if lag_ns_max < used.lag_p99_ns {
        outcome.refused.push(format!(
            "the generator was late: one message in a hundred left {} us or more after its time, {} us are allowed",
            used.lag_p99_ns / 1_000,
            lag_ns_max / 1_000
        ));
    }
    if BUSY_SHARE_MAX <= used.busy_share {
        outcome.refused.push(format!(
            "the generator was the limit: it was busy {:.0} % of the time",
            used.busy_share * 100.0
        ));
    }
    if let Some(share) = used.steal_share.filter(|share| STEAL_SHARE_MAX <= *share) {
        outcome
            .refused
            .push(format!("the host took {:.1} % of the processors' time for others", share * 100.0));
    }
}

/// A part of a whole.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds and ticks of a run are far below 2^53")]
fn share_of(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::plan::Url;
    use crate::scenario::Scenario;

    fn refused(lag_p99_ns: u64, busy_share: f64, steal_share: Option<f64>) -> usize {
        let plan = Plan {
            scenario: Scenario::parse("name = 'x'\nconnections = 1\nlag_us_max = 500").unwrap(),
            dialect_text: String::new(),
            target: Url::parse("ws://127.0.0.1:1").unwrap(),
            pid: None,
            processes: 1,
            cores: Vec::new(),
        };
        let mut outcome = outcome(&plan, &Dialect::parse("name = 'x'").unwrap(), 1);
        outcome.generator = GeneratorUse { processes: 1, busy_share, lag_p50_ns: 0, lag_p99_ns, steal_share };
        refuse(&plan, &mut outcome);
        outcome.refused.len()
    }

    #[test]
    fn a_run_is_refused_for_a_late_or_busy_generator_and_for_a_host_that_steals() {
        assert_eq!(refused(500_000, 0.94, Some(0.009)), 0);
        assert_eq!(refused(500_001, 0.1, None), 1);
        assert_eq!(refused(0, 0.95, None), 1);
        assert_eq!(refused(0, 0.1, Some(0.01)), 1);
        assert_eq!(refused(600_000, 1.0, Some(0.5)), 3);
    }
}
