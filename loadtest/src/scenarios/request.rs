//! Requests and replies over many connections: CPU per message at saturation (closed loop), then latency from the
//! intended time at half and at 80 % of the limit's capacity (open loop). Home: the load thread.

use crate::client::{self, Clients, Single};
use crate::clock;
use crate::failure::{Failure, Result};
use crate::frame;
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample};
use crate::scenarios::open_loop::{self, Measured, Offered};
use crate::scenarios::{self, Arms, Rig, Window};
use crate::server::{Launch, Server};
use crate::wire;

/// The shares of the limit's capacity at which latency is measured, in percent.
const LATENCY_AT_PERCENT: [u64; 2] = [50, 80];

/// Asks the server once what it answers to `public/test`, so that the limit sends the same bytes.
pub(crate) fn learnt_reply(rig: &Rig, server: Option<&Launch>) -> Result<Vec<String>> {
    let Some(launch) = server else { return Ok(Vec::new()) };
    let server = Server::start(launch, rig.cpu_client)?;
    let reply = Single::connect(server.address)?.ask(wire::TEST_REQUEST)?;
    Ok(vec!["--reply".to_owned(), reply])
}

fn arms(rig: &Rig) -> Result<Arms> {
    if let Some(arms) = rig.arms_of_itself() {
        return Ok(arms);
    }
    let server = rig.server(&[]);
    let mut limit = vec!["echo".to_owned()];
    limit.extend(learnt_reply(rig, server.as_ref())?);
    Ok(rig.arms(rig.limit(&limit)?, server))
}

/// Compares at `rate`, or at saturation and at the shares of the limit's capacity.
pub(crate) fn run(
    rig: &Rig,
    connections: usize,
    window: usize,
    rate: Option<u64>,
) -> Result<Vec<Comparison>> {
    let arms = arms(rig)?;
    if let Some(rate_per_s) = rate {
        let case = format!("request: public/test, {connections} connections, open loop, {rate_per_s}/s");
        return Ok(vec![
            rig.compare(&case, &arms, |launch| measure_open(rig, launch, connections, rate_per_s)),
        ]);
    }

    let saturation = compare_saturated(rig, &arms, connections, window);
    let capacity = saturation.limit_median("messages");
    let mut comparisons = vec![saturation];
    let Some(capacity) = capacity else { return Ok(comparisons) };
    for percent in LATENCY_AT_PERCENT {
        let rate_per_s = whole(capacity) * percent / 100;
        let case = format!(
            "request: public/test, {connections} connections, open loop, {rate_per_s}/s = {percent} % of the limit"
        );
        comparisons
            .push(rig.compare(&case, &arms, |launch| measure_open(rig, launch, connections, rate_per_s)));
    }
    Ok(comparisons)
}

/// Compares at saturation alone.
pub(crate) fn run_saturated(rig: &Rig, connections: usize, window: usize) -> Result<Comparison> {
    Ok(compare_saturated(rig, &arms(rig)?, connections, window))
}

fn compare_saturated(rig: &Rig, arms: &Arms, connections: usize, window: usize) -> Comparison {
    let case =
        format!("request: public/test, {connections} connections, closed loop, window {window}, saturation");
    rig.compare(&case, arms, |launch| measure_saturation(rig, launch, connections, window))
}

/// A positive rate without its fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are positive and below 2^53"
)]
pub(crate) fn whole(rate: f64) -> u64 {
    rate.max(1.0) as u64
}

struct Load {
    server: Server,
    clients: Clients,
    request: Vec<u8>,
}

impl Load {
    fn start(rig: &Rig, launch: &Launch, connections: usize) -> Result<Load> {
        let server = Server::start(launch, rig.cpu_client)?;
        let mut clients = Clients::new()?;
        for _ in 0..connections {
            clients.add(client::connect(server.target())?);
        }
        let mut request = Vec::new();
        frame::encode_client(frame::TEXT, wire::TEST_REQUEST.as_bytes(), &mut request);
        Ok(Load { server, clients, request })
    }
}

/// A reply is a result, or the run gives no number.
pub(crate) fn check_reply(reply: &[u8]) -> Result<()> {
    if wire::is_result(reply) {
        return Ok(());
    }
    Err(Failure::Protocol(format!("a reply without a result: {}", String::from_utf8_lossy(reply))))
}

fn measure_saturation(rig: &Rig, launch: &Launch, connections: usize, window: usize) -> Result<Sample> {
    let Load { server, mut clients, request } = Load::start(rig, launch, connections)?;
    for slot in 0..connections {
        for _ in 0..window {
            clients.outbox().send(slot, &request)?;
        }
    }
    let (mut replies, mut reply_bytes) = (0_u64, 0_u64);
    let warm_ns = clock::mono_ns() + rig.warmup_ns;
    let mut turn = |until_ns: u64, clients: &mut Clients| -> Result<(u64, u64)> {
        loop {
            let now_ns = clients.turn(|outbox, slot, reply| {
                replies += 1;
                reply_bytes += reply.len() as u64;
                check_reply(reply)?;
                outbox.send(slot, &request)
            })?;
            if until_ns <= now_ns {
                return Ok((replies, reply_bytes));
            }
        }
    };
    let before = turn(warm_ns, &mut clients)?;
    let opened = Window::open(&server, clients.idle_ns())?;
    let after = turn(clock::mono_ns() + rig.measured_ns, &mut clients)?;
    let seen = opened.close(&server, clients.idle_ns())?;
    seen.check_saturated()?;

    let count = after.0 - before.0;
    let mut sample = Sample::default();
    sample.add("CPU per message", "us", seen.cpu_us_each(count));
    sample.add("messages", "1/s", seen.rate_per_s(count));
    sample.add("reply", "bytes", scenarios::ratio(after.1 - before.1, count.max(1)));
    seen.describe(&mut sample);
    Ok(sample)
}

fn measure_open(rig: &Rig, launch: &Launch, connections: usize, rate_per_s: u64) -> Result<Sample> {
    let Load { server, mut clients, request } = Load::start(rig, launch, connections)?;
    let offered = Offered { request: &request, connections, rate_per_s };
    let measured = open_loop::measure(rig, offered, &server, &mut clients, || Ok(()))?;
    let Measured { latencies, lag, seen, count } = measured;
    let mut sample = describe_open(&latencies, &seen, count);
    sample.add_us("generator lag p99", lag.summary().p99_ns);
    Ok(sample)
}

fn describe_open(latencies: &Latencies, seen: &scenarios::Seen, count: u64) -> Sample {
    let summary = latencies.summary();
    let mut sample = Sample::default();
    sample.add_us("latency p50", summary.p50_ns);
    sample.add_us("latency p99", summary.p99_ns);
    sample.add_us("latency p99.9", summary.p999_ns);
    sample.add_us("latency max", summary.max_ns);
    sample.add("messages", "1/s", seen.rate_per_s(count));
    sample.add("CPU per message", "us", seen.cpu_us_each(count));
    seen.describe(&mut sample);
    sample
}
