//! As many connections as are held, all of them active: requests over all of them in turn, in open loop, by the engine of `run`,
//! whose processes hold more connections than one may. Home: the load thread.

use crate::clock::SECOND_NS;
use crate::dialect;
use crate::engine;
use crate::engine::live::Live;
use crate::engine::plan::{Plan, Url};
use crate::failure::{Failure, Result};
use crate::outcome::{Kind, Outcome};
use crate::report::{Comparison, Sample};
use crate::scenario::Scenario;
use crate::scenarios::{self, Rig, ratio};
use crate::server::{Launch, Server};

/// What is asked of how many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    /// Over all of them.
    pub(crate) rate_per_s: u64,
}

/// Runs it against a shard on each of `cores`; `None` without a server.
pub(crate) fn run(rig: &Rig, shape: Shape, cores: &[usize], arguments: &[&str]) -> Option<Comparison> {
    let launch = rig.server_on(cores, scenarios::NO_CONTROL, arguments)?;
    let Shape { connections, rate_per_s } = shape;
    let case = format!(
        "active: {connections} connections on {} shards, {rate_per_s} requests/s in all, open loop",
        cores.len()
    );
    Some(rig.alone(&case, &launch, |launch| measure(rig, launch, shape)))
}

fn measure(rig: &Rig, launch: &Launch, shape: Shape) -> Result<Sample> {
    let server = Server::start(launch, rig.cpu_client)?;
    let scenario = Scenario::parse(&scenario_text(rig, shape))
        .map_err(|flaw| Failure::Unmet(format!("the scenario of `active`: {flaw}")))?;
    let dialect = dialect::built_in("tickring").expect("invariant: our own dialect is built in");
    let target = server.target().address;
    let plan = Plan {
        scenario,
        dialect_text: dialect.to_owned(),
        target: Url { is_secure: false, host: target.ip().to_string(), port: target.port(), path: None },
        pid: Some(server.pid()),
        processes: 1,
        cores: vec![rig.cpu_client],
    };
    let outcome = engine::run(&plan, &mut Live::new(false))?;
    if outcome.refused.is_empty() {
        sample(&outcome)
    } else {
        Err(Failure::Unmet(outcome.refused.join("; ")))
    }
}

/// As a scenario's file has it.
fn scenario_text(rig: &Rig, shape: Shape) -> String {
    let seconds = |ns: u64| ratio(ns, SECOND_NS);
    format!(
        "name = \"active\"\nconnections = {}\nconnect_per_s = 5000\nwarmup_s = {:?}\nduration_s = {:?}\nlag_us_max = {}\n\
         [requests]\nrate_per_s = {:?}\n",
        shape.connections,
        seconds(rig.warmup_ns),
        seconds(rig.measured_ns),
        rig.generator_lag_ns_max / 1_000,
        ratio(shape.rate_per_s, 1),
    )
}

fn sample(outcome: &Outcome) -> Result<Sample> {
    let counts = &outcome.counts;
    let latency = outcome.latencies.get(&Kind::Request);
    let latency = latency.ok_or_else(|| Failure::Unmet("no request was answered".to_owned()))?;
    let held = counts.connections_opened.saturating_sub(counts.connections_lost);
    let mut sample = Sample::default();
    sample.add("connections held", "%", 100.0 * ratio(held, counts.connections_wanted.max(1)));
    sample.add("messages", "1/s", ratio(counts.replies_received, outcome.measured_ns.max(1)) * 1e9);
    sample.add("answered", "%", 100.0 * ratio(counts.replies_received, counts.requests_sent.max(1)));
    sample.add_us("latency p50", latency.p50_ns);
    sample.add_us("latency p99", latency.p99_ns);
    sample.add_us("latency p99.9", latency.p999_ns);
    if let Some(used) = &outcome.server_use {
        sample.add("CPU per message", "us", ratio(used.cpu_ns, counts.replies_received.max(1)) / 1e3);
        sample.add("server CPU", "core", ratio(used.cpu_ns, outcome.measured_ns.max(1)));
        sample.add("resident, peak", "bytes", ratio(used.resident_peak_bytes, 1));
    }
    sample.add("load busy", "share", outcome.generator.busy_share);
    sample.add_us("generator lag p99", outcome.generator.lag_p99_ns);
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_scenario_is_one_that_its_reader_takes() {
        let rig = Rig {
            server: None,
            server_arguments: Vec::new(),
            cpus_server: vec![0],
            cpu_client: 1,
            pairs: 1,
            warmup_ns: SECOND_NS / 2,
            measured_ns: 3 * SECOND_NS,
            generator_lag_ns_max: 5_000_000,
            tls: false,
            tcp: false,
        };
        let text = scenario_text(&rig, Shape { connections: 38_000, rate_per_s: 60_000 });
        let scenario = Scenario::parse(&text).unwrap();
        assert_eq!((scenario.connections, scenario.lag_us_max), (38_000, 5_000));
        assert_eq!(scenario.requests.unwrap().rate_per_s, 60_000.0);
    }

    #[test]
    fn a_connection_that_was_lost_is_none_that_is_held() {
        let mut outcome = samples::outcome();
        outcome.counts.connections_lost = 1;
        let sample = sample(&outcome).unwrap();
        assert_eq!(sample.value("connections held"), Some(99.0));
        assert_eq!(sample.value("answered"), Some(100.0));
        assert_eq!(sample.value("messages"), Some(1_000.0));
    }
}
