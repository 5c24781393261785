//! Fan-out: one publisher, many subscribers of one topic. Open loop at a given rate (latency from the intended time
//! to the receipt, losses by sequence gaps), and closed loop at saturation (CPU per delivery), followed by half and
//! 80 % of what the limit delivers. Home: the load thread.

use crate::client::{self, Clients, Single};
use crate::clock;
use crate::failure::{Failure, Result};
use crate::frame;
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample};
use crate::ring::Slot;
use crate::scenarios::request::whole;
use crate::scenarios::{self, Arms, DRAIN_DEADLINE_NS, Rig, Seen, Window};
use crate::schedule::Schedule;
use crate::server::{Launch, Server};
use crate::wire::{self, LoadReader};

/// The shares of the limit's capacity at which latency is measured, in percent.
const LATENCY_AT_PERCENT: [u64; 2] = [50, 80];

/// One fan-out case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) subscribers: usize,
    /// Bytes of published data in a notification.
    pub(crate) data_bytes: usize,
}

/// Compares at one offered rate.
pub(crate) fn run_rate(rig: &Rig, shape: Shape, rate_per_s: u64) -> Result<Vec<Comparison>> {
    let arms = arms(rig, shape)?;
    Ok(vec![compare_open(rig, shape, &arms, rate_per_s, "")])
}

/// Compares at saturation with `window` publishes in flight, then at shares of the limit's capacity.
pub(crate) fn run_saturation(rig: &Rig, shape: Shape, window: u64) -> Result<Vec<Comparison>> {
    let arms = arms(rig, shape)?;
    let saturation = compare_saturated(rig, shape, &arms, window);
    let capacity = saturation.limit_median("deliveries");
    let mut comparisons = vec![saturation];
    let Some(capacity) = capacity else { return Ok(comparisons) };
    for percent in LATENCY_AT_PERCENT {
        let rate_per_s = whole(capacity) / shape.subscribers as u64 * percent / 100;
        let note = format!(" = {percent} % of the limit");
        comparisons.push(compare_open(rig, shape, &arms, rate_per_s.max(1), &note));
    }
    Ok(comparisons)
}

/// Compares at saturation alone.
pub(crate) fn run_saturated(rig: &Rig, shape: Shape, window: u64) -> Result<Comparison> {
    Ok(compare_saturated(rig, shape, &arms(rig, shape)?, window))
}

/// What pacing costs and saves: the server unpaced, beside itself as it is; `None` without a server.
pub(crate) fn run_pacing(rig: &Rig, shape: Shape, rate_per_s: u64) -> Option<Comparison> {
    let arms = Arms {
        limit: rig.server(&["--set", "flush.pace_max_us=0"])?,
        limit_name: "unpaced",
        subject: rig.server(&[])?,
        subject_name: "paced",
    };
    Some(compare_open(rig, shape, &arms, rate_per_s, ""))
}

/// What a second shard costs: one shard beside `cores`, a shard each; `None` without a server.
pub(crate) fn run_shards(rig: &Rig, shape: Shape, rate_per_s: u64, cores: &[usize]) -> Option<Comparison> {
    let arms = Arms {
        limit: rig.server(&[])?,
        limit_name: "one shard",
        subject: rig.server_on(cores, scenarios::NO_CONTROL, &[])?,
        subject_name: "two shards",
    };
    Some(compare_open(rig, shape, &arms, rate_per_s, ", one shard and two"))
}

fn compare_saturated(rig: &Rig, shape: Shape, arms: &Arms, window: u64) -> Comparison {
    let case = format!(
        "fanout: {} subscribers, {} B of data, closed loop, {window} publishes in flight, saturation",
        shape.subscribers, shape.data_bytes
    );
    rig.compare(&case, arms, |launch| measure_saturation(rig, launch, shape, window))
}

fn arms(rig: &Rig, shape: Shape) -> Result<Arms> {
    if let Some(arms) = rig.arms_of_itself() {
        return Ok(arms);
    }
    let server = rig.server(&[]);
    let mut limit = vec!["fanout".to_owned()];
    if let Some(launch) = &server {
        limit.extend(learnt_notification(rig, launch, shape)?);
    }
    Ok(rig.arms(rig.limit(&limit)?, server))
}

fn compare_open(rig: &Rig, shape: Shape, arms: &Arms, rate_per_s: u64, note: &str) -> Comparison {
    let case = format!(
        "fanout: {} subscribers x {rate_per_s}/s{note}, {} B of data, open loop",
        shape.subscribers, shape.data_bytes
    );
    rig.compare(&case, arms, |launch| measure_open(rig, launch, shape, rate_per_s))
}

/// Publishes once and returns the arguments that give the limit's notifications the same members and length.
fn learnt_notification(rig: &Rig, launch: &Launch, shape: Shape) -> Result<Vec<String>> {
    let server = Server::start(launch, rig.cpu_client)?;
    let mut subscriber = Single::connect(server.address)?;
    subscriber.ask(&wire::subscribe_request(&[wire::LOAD_CHANNEL.to_owned()], ""))?;
    let mut publisher = Single::connect(server.address)?;
    let mut request = Vec::new();
    wire::write_publish(clock::mono_ns(), shape.data_bytes, &mut request);
    publisher.ask(&String::from_utf8_lossy(&request))?;
    let notification = subscriber.receive()?;
    let epoch = wire::digits_after(notification, r#""epoch":"#);
    let epoch = epoch
        .ok_or_else(|| Failure::Protocol(format!("no epoch in {}", String::from_utf8_lossy(notification))))?;
    let mut arguments = vec!["--epoch".to_owned(), epoch.to_owned()];
    if wire::digits_after(notification, r#""ns":"#).is_some() {
        arguments.push("--stamped".to_owned());
    }
    Ok(arguments)
}

/// Publisher, subscribers and what they have seen.
pub(crate) struct Load {
    pub(crate) server: Server,
    pub(crate) clients: Clients,
    publisher: Slot,
    pub(crate) tally: Tally,
    request: Vec<u8>,
    frame: Vec<u8>,
    pub(crate) published: u64,
}

/// What the subscribers have received. Slots 0.. are the subscribers'.
pub(crate) struct Tally {
    reader: LoadReader,
    pub(crate) subscribers: usize,
    /// Per subscriber, the sequence number it expects; 0 before its first notification.
    expected: Vec<u64>,
    pub(crate) delivered: u64,
    delivered_bytes: u64,
    pub(crate) missing: u64,
    pub(crate) repeated: u64,
    pub(crate) measured_from_ns: u64,
    pub(crate) latencies: Latencies,
}

impl Load {
    /// Connects the subscribers, each from a source address of its own, and the publisher.
    pub(crate) fn start(rig: &Rig, server: Server, shape: Shape) -> Result<Load> {
        let mut clients = Clients::new()?;
        let subscribe = wire::subscribe_request(&[wire::LOAD_CHANNEL.to_owned()], "");
        for number in 0..shape.subscribers {
            let mut subscriber = Single::connect_as(number, server.target())?;
            subscriber.ask(&subscribe)?;
            clients.add(subscriber.into_line()?);
        }
        let publisher = clients.add(client::connect(server.target())?);
        let tally = Tally {
            reader: LoadReader::new(),
            subscribers: shape.subscribers,
            expected: vec![0; shape.subscribers],
            delivered: 0,
            delivered_bytes: 0,
            missing: 0,
            repeated: 0,
            measured_from_ns: clock::mono_ns() + rig.warmup_ns,
            latencies: Latencies::new(),
        };
        Ok(Load { server, clients, publisher, tally, request: Vec::new(), frame: Vec::new(), published: 0 })
    }

    pub(crate) fn publish(&mut self, intended_ns: u64, shape: Shape) -> Result<()> {
        wire::write_publish(intended_ns, shape.data_bytes, &mut self.request);
        self.frame.clear();
        frame::encode_client(frame::TEXT, &self.request, &mut self.frame);
        self.published += 1;
        self.clients.outbox().send(self.publisher, &self.frame)
    }

    pub(crate) fn turn(&mut self) -> Result<u64> {
        let tally = &mut self.tally;
        self.clients.turn(|_, slot, message| tally.take(slot, message))
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.published * self.tally.subscribers as u64 <= self.tally.delivered + self.tally.missing
    }
}

impl Tally {
    fn take(&mut self, slot: Slot, message: &[u8]) -> Result<()> {
        if self.subscribers <= slot {
            if wire::is_result(message) {
                return Ok(());
            }
            return Err(Failure::Protocol(format!(
                "publish was answered {}",
                String::from_utf8_lossy(message)
            )));
        }
        let received_ns = clock::mono_ns();
        let Some((intended_ns, seq)) = self.reader.read(message) else {
            return Err(Failure::Protocol(format!("not of this load: {}", String::from_utf8_lossy(message))));
        };
        let expected = &mut self.expected[slot];
        if *expected != 0 && seq < *expected {
            self.repeated += 1;
            return Ok(());
        }
        if *expected != 0 {
            self.missing += seq - *expected;
        }
        *expected = seq + 1;
        self.delivered += 1;
        self.delivered_bytes += message.len() as u64;
        if self.measured_from_ns <= intended_ns {
            self.latencies.record(received_ns.saturating_sub(intended_ns));
        }
        Ok(())
    }
}

fn measure_saturation(rig: &Rig, launch: &Launch, shape: Shape, window: u64) -> Result<Sample> {
    let mut load = Load::start(rig, Server::start(launch, rig.cpu_client)?, shape)?;
    let subscribers = shape.subscribers as u64;
    let run_until = |load: &mut Load, until_ns: u64| -> Result<u64> {
        loop {
            let now_ns = clock::mono_ns();
            while load.published * subscribers
                < load.tally.delivered + load.tally.missing + window * subscribers
            {
                load.publish(now_ns, shape)?;
            }
            if until_ns <= load.turn()? {
                return Ok(load.tally.delivered);
            }
        }
    };
    let before = run_until(&mut load, clock::mono_ns() + rig.warmup_ns)?;
    let opened = Window::open(&load.server, load.clients.idle_ns())?;
    let after = run_until(&mut load, clock::mono_ns() + rig.measured_ns)?;
    let seen = opened.close(&load.server, load.clients.idle_ns())?;
    seen.check_saturated()?;
    let mut sample = Sample::default();
    describe_deliveries(&mut sample, &seen, after - before, &load.tally);
    Ok(sample)
}

fn measure_open(rig: &Rig, launch: &Launch, shape: Shape, rate_per_s: u64) -> Result<Sample> {
    let mut load = Load::start(rig, Server::start(launch, rig.cpu_client)?, shape)?;
    let offered = offer(rig, &mut load, shape, rate_per_s, rig.warmup_ns, |_| Ok(0))?;
    let Offered { seen, delivered, lag } = &offered;
    let mut sample = Sample::default();
    describe_latencies(&mut sample, &load.tally);
    describe_deliveries(&mut sample, seen, *delivered, &load.tally);
    let expected = load.published * load.tally.subscribers as u64;
    sample.add("lost", "count", scenarios::ratio(expected - load.tally.delivered, 1));
    sample.add_us("generator lag p99", lag.summary().p99_ns);
    if scenarios::SATURATED_SHARE_MIN <= scenarios::ratio(seen.cpu.busiest_ns, seen.elapsed_ns) {
        sample.caveats.push(
            "its core was saturated at this rate: the latencies are those of a growing queue".to_owned(),
        );
    }
    Ok(sample)
}

/// What was offered and seen in one open-loop run.
pub(crate) struct Offered {
    pub(crate) seen: Seen,
    /// Deliveries within the window.
    pub(crate) delivered: u64,
    /// How late publishing was.
    pub(crate) lag: Latencies,
}

/// Publishes by the schedule until all has arrived. After each turn of the clients `beside` has one, and says how long its
/// turns have taken in all, which the clients take for idle time.
pub(crate) fn offer(
    rig: &Rig,
    load: &mut Load,
    shape: Shape,
    rate_per_s: u64,
    warmup_ns: u64,
    mut beside: impl FnMut(&Load) -> Result<u64>,
) -> Result<Offered> {
    let start_ns = clock::mono_ns();
    load.tally.measured_from_ns = start_ns + warmup_ns;
    let end_ns = load.tally.measured_from_ns + rig.measured_ns;
    let mut schedule = Schedule::new(start_ns, rate_per_s, warmup_ns + rig.measured_ns);
    let mut lag = Latencies::new();
    let mut opened: Option<(Window, u64)> = None;
    let mut seen = None;
    let mut now_ns = start_ns;
    while seen.is_none() || !load.is_complete() {
        while let Some((_, intended_ns)) = schedule.poll_due(now_ns) {
            lag.record((now_ns - intended_ns).max(1));
            load.publish(intended_ns, shape)?;
        }
        now_ns = load.turn()?;
        let busy_ns = beside(load)?;
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
    Ok(Offered { seen, delivered, lag })
}

/// How late deliveries were.
pub(crate) fn describe_latencies(sample: &mut Sample, tally: &Tally) {
    let summary = tally.latencies.summary();
    sample.add_us("latency p50", summary.p50_ns);
    sample.add_us("latency p99", summary.p99_ns);
    sample.add_us("latency p99.9", summary.p999_ns);
    sample.add_us("latency max", summary.max_ns);
}

fn describe_deliveries(sample: &mut Sample, seen: &Seen, count: u64, tally: &Tally) {
    sample.add("CPU per delivery", "us", seen.cpu_us_each(count));
    sample.add("deliveries", "1/s", seen.rate_per_s(count));
    sample.add("notification", "bytes", scenarios::ratio(tally.delivered_bytes, tally.delivered.max(1)));
    sample.add("sequence gaps", "count", scenarios::ratio(tally.missing, 1));
    sample.add("repeated", "count", scenarios::ratio(tally.repeated, 1));
    seen.describe(sample);
}
