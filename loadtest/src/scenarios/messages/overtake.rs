//! Critical messages past low ones: low messages wait for a user who is away; it comes and takes them as fast as it can, while
//! another connection sends it critical ones at a fixed rate. The latency of these, from the intended time to their arrival, as long
//! as low ones come. Home: the load thread.
//! Invariant: both kinds arrive complete, each in its order; a run with too few critical ones to tell a 99th percentile is refused.

use crate::account::Account;
use crate::client::Outbox;
use crate::clock::{self, SECOND_NS};
use crate::failure::{Failure, Result};
use crate::frame;
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample};
use crate::ring::Slot;
use crate::scenarios::messages::exchange::{Exchange, Heard, Mail, Member};
use crate::scenarios::messages::ledger::Ledger;
use crate::scenarios::messages::site::{self, Needs, REQUEST_ID, Site};
use crate::scenarios::messages::texts::{self, Post, SendFrame};
use crate::scenarios::messages::{Shape, judge_at_most};
use crate::scenarios::{self, Rig, unlimited};
use crate::schedule::Schedule;
use crate::server::Server;

/// The stated bound on the 99th percentile, in microseconds.
const LATENCY_US_MAX: f64 = 2_000.0;
const P99: &str = "critical latency p99";
/// Critical messages among the low ones, from which on their 99th percentile is one of several.
const CRITICAL_MIN: u64 = 300;
/// Far longer than low messages take.
const LASTS_NS: u64 = 60 * SECOND_NS;
/// What a connection has under way that does not say how much.
const UNDER_WAY_MAX: u32 = 64;
/// Members' slots, which are their streams' numbers where they send.
const LOW: Slot = 0;
const CRITICAL: Slot = 1;
const RECEIVER: Slot = 2;

/// One case.
pub(super) fn run(rig: &Rig, shape: &Shape) -> (Vec<Comparison>, Account) {
    let case = format!(
        "messages, overtake: {} low ones wait for one user, {} critical ones a second while it takes them, content {} bytes",
        shape.low, shape.critical_per_s, shape.content_bytes
    );
    let comparison = unlimited(rig, &case, || measure(rig, shape));
    let mut account = Account { case: "messages, overtake".to_owned(), ..Account::default() };
    if shape.judges_speed {
        judge_at_most(&mut account, &comparison, P99, "us", LATENCY_US_MAX);
    }
    (vec![comparison], account)
}

fn member(slot: Slot, priority: &'static str, shape: &Shape, server: &Server) -> Result<Member> {
    let post = Post {
        user: &site::user(RECEIVER),
        priority,
        confirm: false,
        is_scheduled: false,
        is_answered: true,
        stream: slot,
        content_bytes: shape.content_bytes,
    };
    Ok(Member::sending(site::log_in(slot, slot, server.target())?, SendFrame::new(&post)))
}

/// What came so far.
struct Arrivals {
    critical: Latencies,
    /// Critical ones that came before the last of the low ones.
    is_among: bool,
    /// When the first low message came, and the newest.
    first_low_ns: u64,
    newest_low_ns: u64,
}

impl Arrivals {
    fn hear(&mut self, _: &mut Mail, _: &mut Outbox<'_>, slot: Slot, heard: Heard) -> Result<()> {
        let Heard::Delivered(delivered) = heard else { return Ok(()) };
        if slot != RECEIVER {
            return Err(Failure::Protocol(format!(
                "a message came to connection {slot}, not to its receiver"
            )));
        }
        let now_ns = clock::mono_ns();
        if delivered.stream == LOW {
            self.newest_low_ns = now_ns;
            if self.first_low_ns == 0 {
                self.first_low_ns = now_ns;
            }
        } else if self.is_among {
            self.critical.record(now_ns.saturating_sub(delivered.stamp_ns));
        }
        Ok(())
    }
}

fn measure(rig: &Rig, shape: &Shape) -> Result<Sample> {
    let site = Site::make(&shape.folder, Needs::plain(3, false, shape.messages_max()))?;
    let server = Server::start(&site.launch(rig)?, rig.cpu_client)?;
    let members = vec![
        member(LOW, "low", shape, &server)?,
        member(CRITICAL, "critical", shape, &server)?,
        Member::over(site::log_in(RECEIVER, RECEIVER, server.target())?),
    ];
    let mut exchange = Exchange::new(members, Ledger::new(2))?;
    exchange.fill(LOW..LOW + 1, shape.low, shape.window, |_, _| (clock::mono_ns(), 0))?;
    let mut subscribe = Vec::new();
    let request = texts::subscribe_request(REQUEST_ID, UNDER_WAY_MAX);
    frame::encode_client(frame::TEXT, request.as_bytes(), &mut subscribe);
    exchange.clients.outbox().send(RECEIVER, &subscribe)?;
    let mut arrivals =
        Arrivals { critical: Latencies::new(), is_among: true, first_low_ns: 0, newest_low_ns: 0 };
    exchange.turn_until(
        "the first low message",
        |mail| 0 < mail.ledger.received_of(LOW),
        |mail, outbox, slot, heard| arrivals.hear(mail, outbox, slot, heard),
    )?;
    let mut schedule = Schedule::new(clock::mono_ns(), shape.critical_per_s, LASTS_NS);
    let (mut lag, mut now_ns) = (Latencies::new(), clock::mono_ns());
    while exchange.mail.ledger.received_of(LOW) < shape.low {
        while let Some((_, intended_ns)) = schedule.poll_due(now_ns) {
            lag.record((now_ns - intended_ns).max(1));
            exchange.post(CRITICAL, intended_ns, 0)?;
        }
        now_ns = exchange.turn(|mail, outbox, slot, heard| arrivals.hear(mail, outbox, slot, heard))?;
        if schedule.is_done() {
            return Err(Failure::Deadline(format!("{} low messages", exchange.mail.ledger.missing())));
        }
    }
    arrivals.is_among = false;
    exchange.turn_until(
        "the last messages",
        |mail| mail.unanswered() == 0 && mail.ledger.missing() == 0,
        |mail, outbox, slot, heard| arrivals.hear(mail, outbox, slot, heard),
    )?;
    scenarios::check_generator(&lag, rig.generator_lag_ns_max)?;
    describe(shape, &arrivals, &lag)
}

fn describe(shape: &Shape, arrivals: &Arrivals, lag: &Latencies) -> Result<Sample> {
    let critical = arrivals.critical.summary();
    if shape.judges_speed && critical.count < CRITICAL_MIN {
        return Err(Failure::Unmet(format!(
            "{} critical messages came among the low ones, {CRITICAL_MIN} are needed: more --low, or a higher --critical-rate",
            critical.count
        )));
    }
    let took_ns = (arrivals.newest_low_ns - arrivals.first_low_ns).max(1);
    let mut sample = Sample::default();
    sample.add_us("critical latency p50", critical.p50_ns);
    sample.add_us(P99, critical.p99_ns);
    sample.add_us("critical latency max", critical.max_ns);
    sample.add("critical among low", "count", scenarios::ratio(critical.count, 1));
    sample.add("low messages", "1/s", scenarios::ratio(shape.low, took_ns) * 1e9);
    sample.add_us("generator lag p99", lag.summary().p99_ns);
    Ok(sample)
}
