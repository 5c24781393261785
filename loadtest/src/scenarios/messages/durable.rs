//! Durable messages: each sender's go to a receiver of its own, who confirms each. Open loop at a rate: the time from the intended
//! send to the sender's reply, which is given when the message is on the disk, beside what the disk itself takes for an
//! `fdatasync` in the same folder before and after. Closed loop: how many a second. Home: the load thread.
//! Invariant: a run in which one promised message is not received gives no number.

use crate::account::Account;
use crate::client::Outbox;
use crate::clock;
use crate::failure::Result;
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample, median};
use crate::ring::Slot;
use crate::scenarios::messages::exchange::{Exchange, Heard, Mail, Member};
use crate::scenarios::messages::ledger::Ledger;
use crate::scenarios::messages::site::{self, Needs, Site};
use crate::scenarios::messages::{Shape, disk, judge_at_least, queue};
use crate::scenarios::{self, Rig, Window, paired, unlimited};
use crate::schedule::Schedule;
use crate::server::Server;

/// How much later than the disk's own the reply may be, both at the 99th percentile.
const DISK_RATIO_MAX: f64 = 4.0;
/// Durable messages a second that are to be reached.
const RATE_PER_S_MIN: f64 = 20_000.0;
/// Messages under way to a receiver: some 100 ms of one stream of the rate, far beyond the disk's.
const UNDER_WAY_MAX: u32 = 1_024;
const RATE: &str = "durable messages";
const P99: &str = "latency p99";

/// Both loops, and what they are held against.
pub(super) fn run(rig: &Rig, shape: &Shape) -> (Vec<Comparison>, Account) {
    let streams = shape.streams();
    let case = format!(
        "messages, durable: open loop, {}/s over {streams} senders to as many receivers who confirm, content {} bytes; limit: fdatasync of 4 KiB",
        shape.rate_per_s, shape.content_bytes
    );
    let open = paired(rig, &case, "fdatasync", || measure_open(rig, shape));
    let case = format!(
        "messages, durable: closed loop, {streams} senders with {} each in flight, content {} bytes",
        shape.window, shape.content_bytes
    );
    let closed = unlimited(rig, &case, || measure_closed(rig, shape));
    let mut account = Account { case: "messages, durable".to_owned(), ..Account::default() };
    if shape.judges_speed {
        let of = |sample: &Sample| sample.value(P99);
        let ratios = open.pairs.iter().filter_map(|(disk, server)| Some(of(server)? / of(disk)?));
        let ratio = median(ratios.collect()).unwrap_or(f64::INFINITY);
        let claim = format!(
            "send to durable at p99 takes {ratio:.2} x the disk's fdatasync, at most {DISK_RATIO_MAX:.0} x"
        );
        account.judge(claim, ratio <= DISK_RATIO_MAX);
        judge_at_least(&mut account, &closed, RATE, RATE_PER_S_MIN);
    }
    (vec![open, closed], account)
}

struct Load {
    // In this order: the server ends before its folder goes.
    exchange: Exchange,
    server: Server,
    site: Site,
    streams: usize,
    latencies: Latencies,
    measured_from_ns: u64,
}

impl Load {
    /// Slots 0.. are the senders', those of the receivers come behind them.
    fn start(rig: &Rig, shape: &Shape, site: Site) -> Result<Load> {
        let streams = shape.streams();
        let server = Server::start(&site.launch(rig)?, rig.cpu_client)?;
        site::await_store(&mut site::log_in(0, 0, server.target())?)?;
        let mut members = queue::senders(shape, &server, true)?;
        for receiver in streams..2 * streams {
            let line = site::subscribe(receiver, receiver, UNDER_WAY_MAX, server.target())?;
            members.push(Member::confirming(line));
        }
        Ok(Load {
            exchange: Exchange::new(members, Ledger::new(streams))?,
            server,
            site,
            streams,
            latencies: Latencies::new(),
            measured_from_ns: clock::mono_ns() + rig.warmup_ns,
        })
    }

    /// One turn; `sends_on` where each that is answered sends its next at once.
    fn turn(&mut self, sends_on: bool) -> Result<u64> {
        let Load { exchange, latencies, measured_from_ns, .. } = self;
        exchange.turn(|mail, outbox, slot, heard| {
            hear(mail, outbox, slot, heard, latencies, *measured_from_ns, sends_on)
        })
    }

    /// Waits until all that was promised is received; then the probe may have the disk for itself.
    fn drain(mut self) -> Result<(Site, Latencies, u64)> {
        let Load { exchange, latencies, measured_from_ns, .. } = &mut self;
        exchange.turn_until(
            "what was promised",
            |mail| mail.unanswered() == 0 && mail.ledger.missing() == 0,
            |mail, outbox, slot, heard| hear(mail, outbox, slot, heard, latencies, *measured_from_ns, false),
        )?;
        let repeated = self.exchange.mail.ledger.repeated;
        Ok((self.site, self.latencies, repeated))
    }
}

fn hear(
    mail: &mut Mail,
    outbox: &mut Outbox<'_>,
    slot: Slot,
    heard: Heard,
    latencies: &mut Latencies,
    measured_from_ns: u64,
    sends_on: bool,
) -> Result<()> {
    let Heard::Accepted { intended_ns } = heard else { return Ok(()) };
    let now_ns = clock::mono_ns();
    if measured_from_ns <= intended_ns {
        latencies.record(now_ns.saturating_sub(intended_ns));
    }
    if sends_on { mail.post(outbox, slot, now_ns, 0) } else { Ok(()) }
}

fn make_site(shape: &Shape) -> Result<Site> {
    let needs = Needs::plain(2 * shape.streams(), true, shape.messages_max());
    Site::make(&shape.folder, needs)
}

/// The disk's sample and the server's.
fn measure_open(rig: &Rig, shape: &Shape) -> Result<(Sample, Sample)> {
    let site = make_site(shape)?;
    let mut disk_latencies = Latencies::new();
    disk::probe(site.folder(), &mut disk_latencies)?;
    let mut load = Load::start(rig, shape, site)?;
    let start_ns = clock::mono_ns();
    load.measured_from_ns = start_ns + rig.warmup_ns;
    let mut schedule = Schedule::new(start_ns, shape.rate_per_s, rig.warmup_ns + rig.measured_ns);
    let mut lag = Latencies::new();
    let mut opened: Option<(Window, u64)> = None;
    let mut now_ns = start_ns;
    while !schedule.is_done() {
        while let Some((index, intended_ns)) = schedule.poll_due(now_ns) {
            lag.record((now_ns - intended_ns).max(1));
            let slot = usize::try_from(index).expect("invariant: usize has 64 bits here") % load.streams;
            load.exchange.post(slot, intended_ns, 0)?;
        }
        now_ns = load.turn(false)?;
        if opened.is_none() && load.measured_from_ns <= now_ns {
            let window = Window::open(&load.server, load.exchange.clients.idle_ns())?;
            opened = Some((window, load.exchange.mail.accepted));
        }
    }
    let (window, before) = opened.expect("invariant: the schedule lasts longer than the warm-up");
    let seen = window.close(&load.server, load.exchange.clients.idle_ns())?;
    let count = load.exchange.mail.accepted - before;
    let (site, latencies, repeated) = load.drain()?;
    scenarios::check_generator(&lag, rig.generator_lag_ns_max)?;
    disk::probe(site.folder(), &mut disk_latencies)?;
    let mut server = Sample::default();
    describe(&mut server, &latencies);
    server.add(RATE, "1/s", seen.rate_per_s(count));
    server.add("CPU per message", "us", seen.cpu_us_each(count));
    server.add("delivered again", "count", scenarios::ratio(repeated, 1));
    seen.describe(&mut server);
    server.add_us("generator lag p99", lag.summary().p99_ns);
    let mut disk = Sample::default();
    describe(&mut disk, &disk_latencies);
    Ok((disk, server))
}

fn measure_closed(rig: &Rig, shape: &Shape) -> Result<Sample> {
    let mut load = Load::start(rig, shape, make_site(shape)?)?;
    let start_ns = clock::mono_ns();
    load.measured_from_ns = start_ns + rig.warmup_ns;
    for slot in 0..load.streams {
        for _ in 0..shape.window {
            load.exchange.post(slot, start_ns, 0)?;
        }
    }
    while load.turn(true)? < load.measured_from_ns {}
    let window = Window::open(&load.server, load.exchange.clients.idle_ns())?;
    let (before, end_ns) = (load.exchange.mail.accepted, clock::mono_ns() + rig.measured_ns);
    while load.turn(true)? < end_ns {}
    let seen = window.close(&load.server, load.exchange.clients.idle_ns())?;
    let count = load.exchange.mail.accepted - before;
    let (_, latencies, repeated) = load.drain()?;
    let mut sample = Sample::default();
    sample.add(RATE, "1/s", seen.rate_per_s(count));
    describe(&mut sample, &latencies);
    sample.add("CPU per message", "us", seen.cpu_us_each(count));
    sample.add("delivered again", "count", scenarios::ratio(repeated, 1));
    seen.describe(&mut sample);
    Ok(sample)
}

fn describe(sample: &mut Sample, latencies: &Latencies) {
    let summary = latencies.summary();
    sample.add_us("latency p50", summary.p50_ns);
    sample.add_us(P99, summary.p99_ns);
    sample.add_us("latency p99.9", summary.p999_ns);
    sample.add_us("latency max", summary.max_ns);
}
