//! Fire and forget in memory: users in a ring, each of whom sends to the next, as many messages at a time as the window has; who
//! receives one sends one. Once as notifications, which nothing answers: one frame in and one out for each message, as in the
//! limit, a bare ring that sends a canned delivery of the same length for each frame of the same length. Once as requests, which
//! are answered besides; that has no limit. Home: the load thread.
//! Invariant: a run ends only when all that was sent is received.

use crate::account::Account;
use crate::client::{self, Clients, Outbox};
use crate::clock;
use crate::failure::Result;
use crate::report::{Comparison, Sample};
use crate::ring::Slot;
use crate::scenarios::messages::exchange::{Exchange, Heard, Mail, Member};
use crate::scenarios::messages::ledger::Ledger;
use crate::scenarios::messages::site::{self, Needs, Site};
use crate::scenarios::messages::texts::{Post, SendFrame};
use crate::scenarios::messages::{Shape, judge_at_least};
use crate::scenarios::{self, Rig, Window, paired, unlimited};
use crate::server::{Launch, Server};

/// Messages a second that one core is to deliver.
const RATE_PER_S_MIN: f64 = 150_000.0;
const RATE: &str = "messages delivered";
/// Messages under way to a connection: more than a neighbour's window.
const UNDER_WAY_MAX: u32 = 4_096;

/// Both kinds of sends.
pub(super) fn run(rig: &Rig, shape: &Shape) -> Result<(Vec<Comparison>, Account)> {
    let mix = format!(
        "{} users in a ring, {} messages of each under way, content {} bytes, closed loop, saturation",
        shape.connections, shape.window, shape.content_bytes
    );
    let limit = rig.limit(&learnt(rig, shape)?)?;
    let plain = paired(rig, &format!("messages, in memory: sent as notifications, {mix}"), "limit", || {
        Ok((measure_limit(rig, shape, &limit)?, measure(rig, shape, false)?))
    });
    let answered = unlimited(rig, &format!("messages, in memory: sent as requests, {mix}"), || {
        measure(rig, shape, true)
    });
    let mut account = Account {
        case: "messages, in memory: sent as notifications, server on one core".to_owned(),
        ..Account::default()
    };
    if shape.judges_speed {
        judge_at_least(&mut account, &plain, RATE, RATE_PER_S_MIN);
    }
    Ok((vec![plain, answered], account))
}

fn post<'a>(user: &'a str, shape: &Shape, stream: usize, is_answered: bool) -> Post<'a> {
    Post {
        user,
        priority: "normal",
        confirm: false,
        is_scheduled: false,
        is_answered,
        stream,
        content_bytes: shape.content_bytes,
    }
}

fn make_site(shape: &Shape) -> Result<Site> {
    let needs = Needs::plain(shape.connections, false, shape.messages_max());
    Site::make(&shape.folder, needs)
}

/// Sends one message and returns the arguments that make the limit say what the server delivers.
fn learnt(rig: &Rig, shape: &Shape) -> Result<Vec<String>> {
    let site = make_site(shape)?;
    let server = Server::start(&site.launch(rig)?, rig.cpu_client)?;
    let mut line = site::subscribe(0, 0, UNDER_WAY_MAX, server.target())?;
    let mut send = SendFrame::new(&post(&site::user(0), shape, 0, false));
    let request = send.patched(0, clock::mono_ns(), 0);
    line.send(request)?;
    let delivery = String::from_utf8_lossy(line.receive()?).into_owned();
    Ok(["echo", "--request-bytes", &request.len().to_string(), "--reply", &delivery]
        .map(str::to_owned)
        .to_vec())
}

fn measure_limit(rig: &Rig, shape: &Shape, launch: &Launch) -> Result<Sample> {
    let server = Server::start(launch, rig.cpu_client)?;
    let mut clients = Clients::new()?;
    let mut send = SendFrame::new(&post(&site::user(0), shape, 0, false));
    let request = send.patched(0, clock::mono_ns(), 0);
    for slot in 0..shape.connections {
        clients.add(client::connect(server.target())?);
        for _ in 0..shape.window {
            clients.outbox().send(slot, request)?;
        }
    }
    let mut count = 0_u64;
    let mut turn_until = |until_ns: u64, clients: &mut Clients| -> Result<u64> {
        loop {
            let now_ns = clients.turn(|outbox, slot, _| {
                count += 1;
                outbox.send(slot, request)
            })?;
            if until_ns <= now_ns {
                return Ok(count);
            }
        }
    };
    let before = turn_until(clock::mono_ns() + rig.warmup_ns, &mut clients)?;
    let window = Window::open(&server, clients.idle_ns())?;
    let after = turn_until(clock::mono_ns() + rig.measured_ns, &mut clients)?;
    let seen = window.close(&server, clients.idle_ns())?;
    let mut sample = describe(&seen, after - before, request.len());
    if seen.check_saturated().is_err() {
        sample.caveats.push("its core was not saturated: its rate is what the load is able to".to_owned());
    }
    Ok(sample)
}

fn measure(rig: &Rig, shape: &Shape, is_answered: bool) -> Result<Sample> {
    let users = shape.connections;
    let site = make_site(shape)?;
    let server = Server::start(&site.launch(rig)?, rig.cpu_client)?;
    let mut members = Vec::new();
    for number in 0..users {
        let next = site::user((number + 1) % users);
        let send = SendFrame::new(&post(&next, shape, number, is_answered));
        let line = site::subscribe(number, number, UNDER_WAY_MAX, server.target())?;
        members.push(Member::sending(line, send));
    }
    let mut exchange = Exchange::new(members, Ledger::new(users))?;
    for slot in 0..users {
        for _ in 0..shape.window {
            exchange.post(slot, clock::mono_ns(), 0)?;
        }
    }
    let run_until = |exchange: &mut Exchange, until_ns: u64| -> Result<u64> {
        while exchange.turn(send_on)? < until_ns {}
        Ok(exchange.mail.ledger.received())
    };
    let before = run_until(&mut exchange, clock::mono_ns() + rig.warmup_ns)?;
    let window = Window::open(&server, exchange.clients.idle_ns())?;
    let after = run_until(&mut exchange, clock::mono_ns() + rig.measured_ns)?;
    let seen = window.close(&server, exchange.clients.idle_ns())?;
    exchange.turn_until(
        "what was sent",
        |mail| mail.unanswered() == 0 && mail.ledger.missing() == 0,
        |_, _, _, _| Ok(()),
    )?;
    if shape.judges_speed {
        seen.check_saturated()?;
    }
    let request = SendFrame::new(&post(&site::user(0), shape, 0, is_answered)).patched(0, 0, 0).len();
    Ok(describe(&seen, after - before, request))
}

fn send_on(mail: &mut Mail, outbox: &mut Outbox<'_>, slot: Slot, heard: Heard) -> Result<()> {
    match heard {
        Heard::Delivered(_) => mail.post(outbox, slot, clock::mono_ns(), 0),
        Heard::Accepted { .. } | Heard::Result => Ok(()),
    }
}

fn describe(seen: &scenarios::Seen, count: u64, request_bytes: usize) -> Sample {
    let mut sample = Sample::default();
    sample.add("CPU per message", "us", seen.cpu_us_each(count));
    sample.add(RATE, "1/s", seen.rate_per_s(count));
    sample.add("frame of a send", "bytes", scenarios::ratio(request_bytes as u64, 1));
    seen.describe(&mut sample);
    sample
}
