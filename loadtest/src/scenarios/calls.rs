//! Calls through the gateway to a backend over TCP: what `loadtest calls` measures, part by part, each against its bar. This process is
//! the clients and the backend, and spins as both. Home: the load thread.
//! Invariants: a call that is answered by anything but its own parameters, or not at all, gives no number; each run has a server and a
//! configuration of its own; the smoke judges no speed.

mod backend;
mod site;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::account::Account;
use crate::client::{Clients, STEP_DEADLINE_NS, Single};
use crate::clock::{self, MILLISECOND_NS};
use crate::failure::{Doing, Failure, Result};
use crate::frame;
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample, median, short};
use crate::scenarios::open_loop::{self, Measured, Offered};
use crate::scenarios::request::check_reply;
use crate::scenarios::{self, Rig, Window, paired, unlimited};
use crate::server::Server;

use backend::Backend;
use site::Site;

/// What a smoke run measures, which is not for its speed.
const SMOKE_NS: u64 = 300 * MILLISECOND_NS;
const SMOKE_CLIENTS: u64 = 200;
const SMOKE_RATE_PER_S: u64 = 1_000;
/// What is to be reached, by one core of the server.
const CALLS_PER_S_MIN: f64 = 60_000.0;
const CACHED_PER_S_MIN: f64 = 150_000.0;
const ADDED_US_MAX: f64 = 60.0;
const P99_US_MAX: f64 = 2_000.0;
const REUSE_PERCENT_MIN: f64 = 99.0;
/// Calls that are asked for again and again where answers are kept.
const KEPT_CALLS: usize = 64;

const CALLS: &str = "calls";
const WHOLE_P50: &str = "round trip p50";
const LATENCY_P99: &str = "latency p99";
const REUSE: &str = "link reuse";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// As many calls as the server carries on one core
    Throughput,
    /// One call at a time, beside the same without the server
    Latency,
    /// As many calls as the server answers from its cache on one core
    Cached,
    /// At a rate, over many clients
    Load,
}

impl Part {
    const ALL: [Part; 4] = [Part::Throughput, Part::Latency, Part::Cached, Part::Load];
}

#[derive(Debug, Args)]
pub(crate) struct CallsArguments {
    /// Only this part (repeatable)
    #[arg(long = "part", value_name = "PART")]
    parts: Vec<Part>,
    /// Connections in the closed loops
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    connections: u64,
    /// Calls of each connection that wait for their answers in a closed loop
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=100))]
    window: u64,
    /// Connections in the open loop
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=50_000))]
    clients: u64,
    /// Calls a second in the open loop: half of what a core is to carry
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// The folder in which each run makes the server's configuration
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// Every part once with next to no work: fails if a call is lost, and judges no speed
    #[arg(long)]
    smoke: bool,
}

/// What all parts are told.
#[derive(Debug, Clone)]
struct Shape {
    connections: usize,
    window: u64,
    clients: usize,
    rate_per_s: u64,
    folder: PathBuf,
    judges_speed: bool,
}

/// All parts, or those asked for.
pub(crate) fn run(rig: &Rig, arguments: &CallsArguments) -> Result<(Vec<Comparison>, Vec<Account>)> {
    if rig.server.is_none() {
        return Err(Failure::Unmet("calls are a server's: --server PATH".to_owned()));
    }
    let size = |number: u64| usize::try_from(number).expect("invariant: usize has 64 bits here");
    let small = |number: u64, most: u64| if arguments.smoke { number.min(most) } else { number };
    let shape = Shape {
        connections: size(arguments.connections),
        window: arguments.window,
        clients: size(small(arguments.clients, SMOKE_CLIENTS)),
        rate_per_s: small(arguments.rate, SMOKE_RATE_PER_S),
        folder: arguments.folder.clone(),
        judges_speed: !arguments.smoke,
    };
    let mut rig = rig.clone();
    if arguments.smoke {
        rig = Rig {
            pairs: 1,
            warmup_ns: SMOKE_NS,
            measured_ns: SMOKE_NS,
            generator_lag_ns_max: u64::MAX,
            ..rig
        };
    }
    let (mut comparisons, mut accounts) = (Vec::new(), Vec::new());
    let asked = |part: &Part| arguments.parts.is_empty() || arguments.parts.contains(part);
    for part in Part::ALL.into_iter().filter(asked) {
        let (comparison, account) = match part {
            Part::Throughput => throughput(&rig, &shape),
            Part::Latency => latency(&rig, &shape),
            Part::Cached => cached(&rig, &shape),
            Part::Load => load(&rig, &shape),
        };
        comparisons.push(comparison);
        accounts.extend((!account.verdicts.is_empty()).then_some(account));
    }
    Ok((comparisons, accounts))
}

fn throughput(rig: &Rig, shape: &Shape) -> (Comparison, Account) {
    let Shape { connections, window, .. } = shape;
    let case = format!("calls, throughput: {connections} connections, closed loop, window {window}");
    let comparison = unlimited(rig, &case, || measure_closed(rig, shape, &[request("echo/ask", 0)]));
    let mut account = Account { case, ..Account::default() };
    if shape.judges_speed {
        judge(&mut account, &comparison, CALLS, "1/s", Bar::AtLeast(CALLS_PER_S_MIN));
        judge(&mut account, &comparison, REUSE, "%", Bar::AtLeast(REUSE_PERCENT_MIN));
    }
    (comparison, account)
}

fn cached(rig: &Rig, shape: &Shape) -> (Comparison, Account) {
    let Shape { connections, window, .. } = shape;
    let case = format!(
        "calls, cached: {connections} connections, closed loop, window {window}, {KEPT_CALLS} different calls"
    );
    let requests: Vec<Vec<u8>> = (0..KEPT_CALLS).map(|nth| request("echo/get_ask", nth)).collect();
    let comparison = unlimited(rig, &case, || measure_closed(rig, shape, &requests));
    let mut account = Account { case, ..Account::default() };
    if shape.judges_speed {
        judge(&mut account, &comparison, CALLS, "1/s", Bar::AtLeast(CACHED_PER_S_MIN));
    }
    (comparison, account)
}

fn latency(rig: &Rig, shape: &Shape) -> (Comparison, Account) {
    let case = "calls, latency: one call at a time, one process as client and backend, both ends spinning";
    let comparison = paired(rig, case, "straight to the backend", || {
        Ok((measure_straight(rig)?, measure_single(rig, shape)?))
    });
    let mut account = Account { case: case.to_owned(), ..Account::default() };
    let whole = |sample: &Sample| sample.value(WHOLE_P50);
    let added =
        comparison.pairs.iter().filter_map(|(straight, through)| Some(whole(through)? - whole(straight)?));
    if let Some(added_us) = median(added.collect())
        && shape.judges_speed
    {
        account.add("added p50", "us", added_us);
        let claim = format!("a call takes {} us longer at p50, at most {ADDED_US_MAX}", short(added_us));
        account.judge(claim, added_us <= ADDED_US_MAX);
    }
    (comparison, account)
}

fn load(rig: &Rig, shape: &Shape) -> (Comparison, Account) {
    let Shape { clients, rate_per_s, .. } = shape;
    let case = format!("calls, load: {clients} clients, open loop, {rate_per_s}/s");
    let comparison = unlimited(rig, &case, || measure_open(rig, shape));
    let mut account = Account { case, ..Account::default() };
    if shape.judges_speed {
        judge(&mut account, &comparison, LATENCY_P99, "us", Bar::AtMost(P99_US_MAX));
        judge(&mut account, &comparison, REUSE, "%", Bar::AtLeast(REUSE_PERCENT_MIN));
    }
    (comparison, account)
}

/// The clients, the server and the backend of a run.
struct Load {
    // In this order: the server ends before its configuration goes.
    clients: Clients,
    backend: Backend,
    server: Server,
    _site: Site,
}

impl Load {
    fn start(rig: &Rig, shape: &Shape, connections: usize) -> Result<Load> {
        let mut backend = Backend::bind()?;
        let site = Site::make(&shape.folder, backend.address()?, connections)?;
        let server = Server::start(&site.launch(rig, &[])?, rig.cpu_client)?;
        await_link(&mut backend)?;
        let mut clients = Clients::new()?;
        for number in 0..connections {
            clients.add(Single::connect_as(number, server.target())?.into_line()?);
            backend.turn()?;
        }
        Ok(Load { clients, backend, server, _site: site })
    }
}

/// The server connects by itself.
fn await_link(backend: &mut Backend) -> Result<()> {
    let deadline_ns = clock::mono_ns() + STEP_DEADLINE_NS;
    while backend.accepted == 0 {
        backend.turn()?;
        if deadline_ns < clock::mono_ns() {
            return Err(Failure::Deadline("the server's link".to_owned()));
        }
    }
    Ok(())
}

/// Each connection has so many calls under way, of `requests` in turn.
fn measure_closed(rig: &Rig, shape: &Shape, requests: &[Vec<u8>]) -> Result<Sample> {
    let Load { mut clients, mut backend, server, _site } = Load::start(rig, shape, shape.connections)?;
    for slot in 0..shape.connections {
        for _ in 0..shape.window {
            clients.outbox().send(slot, &requests[slot % requests.len()])?;
        }
    }
    let mut replies = 0_usize;
    let mut turn = |until_ns: u64, clients: &mut Clients, backend: &mut Backend| -> Result<(u64, u64)> {
        loop {
            let now_ns = clients.turn(|outbox, slot, reply| {
                replies += 1;
                check_reply(reply)?;
                outbox.send(slot, &requests[replies % requests.len()])
            })?;
            backend.turn()?;
            if until_ns <= now_ns {
                return Ok((replies as u64, backend.calls));
            }
        }
    };
    let before = turn(clock::mono_ns() + rig.warmup_ns, &mut clients, &mut backend)?;
    let opened = Window::open(&server, clients.idle_ns())?;
    let after = turn(clock::mono_ns() + rig.measured_ns, &mut clients, &mut backend)?;
    let seen = opened.close(&server, clients.idle_ns())?;
    let count = after.0 - before.0;
    let mut sample = Sample::default();
    sample.add(CALLS, "1/s", seen.rate_per_s(count));
    sample.add("CPU per call", "us", seen.cpu_us_each(count));
    sample.add("calls of the backend", "1/s", seen.rate_per_s(after.1 - before.1));
    sample.add(REUSE, "%", reuse_percent(&backend));
    seen.describe(&mut sample);
    Ok(sample)
}

/// One call at a time through the server.
fn measure_single(rig: &Rig, shape: &Shape) -> Result<Sample> {
    let mut backend = Backend::bind()?;
    let site = Site::make(&shape.folder, backend.address()?, 1)?;
    let server = Server::start(&site.launch(rig, &["--busy-poll"])?, rig.cpu_client)?;
    await_link(&mut backend)?;
    let mut client = Single::connect(server.target())?;
    let request = request("echo/ask", 0);
    let mut round = || -> Result<u64> {
        let sent_ns = clock::mono_ns();
        client.send(&request)?;
        await_call(&mut backend)?;
        check_reply(client.receive()?)?;
        Ok(clock::mono_ns() - sent_ns)
    };
    let latencies = measure_rounds(rig, &mut round)?;
    Ok(described(&latencies))
}

/// The same straight to the backend: what two ends of one process take by themselves.
fn measure_straight(rig: &Rig) -> Result<Sample> {
    let mut backend = Backend::bind()?;
    let mut stream = TcpStream::connect(backend.address()?).doing("connect")?;
    stream.set_nodelay(true).doing("TCP_NODELAY")?;
    stream.set_nonblocking(true).doing("O_NONBLOCK")?;
    await_link(&mut backend)?;
    let line = format!("{}\n", text("echo/ask", 0));
    let mut received = [0; 4096];
    let mut round = || -> Result<u64> {
        let sent_ns = clock::mono_ns();
        stream.write_all(line.as_bytes()).doing("send")?;
        await_call(&mut backend)?;
        loop {
            match stream.read(&mut received) {
                Ok(0) => return Err(Failure::Protocol("the backend closed its link".to_owned())),
                Ok(bytes) if received[..bytes].ends_with(b"\n") => return Ok(clock::mono_ns() - sent_ns),
                Ok(_) => return Err(Failure::Protocol("a part of an answer".to_owned())),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(Failure::Io("receive", error)),
            }
        }
    };
    let latencies = measure_rounds(rig, &mut round)?;
    Ok(described(&latencies))
}

fn await_call(backend: &mut Backend) -> Result<()> {
    let deadline_ns = clock::mono_ns() + STEP_DEADLINE_NS;
    while backend.turn()? == 0 {
        if deadline_ns < clock::mono_ns() {
            return Err(Failure::Deadline("a call at the backend".to_owned()));
        }
    }
    Ok(())
}

fn measure_rounds(rig: &Rig, round: &mut dyn FnMut() -> Result<u64>) -> Result<Latencies> {
    let warm_ns = clock::mono_ns() + rig.warmup_ns;
    while clock::mono_ns() < warm_ns {
        round()?;
    }
    let mut latencies = Latencies::new();
    let end_ns = clock::mono_ns() + rig.measured_ns;
    while clock::mono_ns() < end_ns {
        latencies.record(round()?);
    }
    Ok(latencies)
}

fn described(latencies: &Latencies) -> Sample {
    let summary = latencies.summary();
    let mut sample = Sample::default();
    sample.add_us(WHOLE_P50, summary.p50_ns);
    sample.add_us("round trip p99", summary.p99_ns);
    sample.add_us("round trip p99.9", summary.p999_ns);
    sample
}

/// At a rate, whatever the answers take.
fn measure_open(rig: &Rig, shape: &Shape) -> Result<Sample> {
    let Load { mut clients, mut backend, server, _site } = Load::start(rig, shape, shape.clients)?;
    let request = request("echo/ask", 0);
    let offered = Offered { request: &request, connections: shape.clients, rate_per_s: shape.rate_per_s };
    let beside = || backend.turn().map(drop);
    let measured = open_loop::measure(rig, offered, &server, &mut clients, beside)?;
    let Measured { latencies, lag, seen, count } = measured;
    let summary = latencies.summary();
    let mut sample = Sample::default();
    sample.add_us("latency p50", summary.p50_ns);
    sample.add_us(LATENCY_P99, summary.p99_ns);
    sample.add_us("latency p99.9", summary.p999_ns);
    sample.add(CALLS, "1/s", seen.rate_per_s(count));
    sample.add("CPU per call", "us", seen.cpu_us_each(count));
    sample.add(REUSE, "%", reuse_percent(&backend));
    seen.describe(&mut sample);
    sample.add_us("generator lag p99", lag.summary().p99_ns);
    Ok(sample)
}

/// Calls that had no connection made for them, of all.
fn reuse_percent(backend: &Backend) -> f64 {
    100.0 * scenarios::ratio(backend.calls.saturating_sub(backend.accepted), backend.calls.max(1))
}

fn text(method: &str, nth: usize) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1000007,"method":"{method}","params":{{"instrument_name":"BTC-PERPETUAL","amount":10,"nth":{nth}}}}}"#
    )
}

fn request(method: &str, nth: usize) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode_client(frame::TEXT, text(method, nth).as_bytes(), &mut out);
    out
}

#[derive(Debug, Clone, Copy)]
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// Holds the median of a metric against its bar; one that was not measured does not hold.
fn judge(account: &mut Account, comparison: &Comparison, metric: &'static str, unit: &str, bar: Bar) {
    let value = comparison.subject_median(metric);
    let told = value.map_or("not measured".to_owned(), short);
    let (bound, holds) = match bar {
        Bar::AtLeast(least) => {
            (format!("at least {}", short(least)), value.is_some_and(|value| least <= value))
        }
        Bar::AtMost(most) => (format!("at most {}", short(most)), value.is_some_and(|value| value <= most)),
    };
    account.judge(format!("{metric}: {told} {unit}, {bound}"), holds);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::{NO_LIMIT, SUBJECT};

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let comparison = Comparison {
            case: "calls".to_owned(),
            limit: NO_LIMIT.to_owned(),
            subject: SUBJECT.to_owned(),
            pairs: Vec::new(),
            refused: Vec::new(),
        };
        for bar in [Bar::AtLeast(0.0), Bar::AtMost(f64::INFINITY)] {
            let mut account = Account::default();
            judge(&mut account, &comparison, CALLS, "1/s", bar);
            assert!(!account.holds());
        }
    }
}
