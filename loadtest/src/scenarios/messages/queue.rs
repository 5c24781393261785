//! Messages that wait: fire-and-forget ones for users who are away, and what the server's resident memory is before and after.
//! Home: the load thread.
//! Invariant: a run counts only if the users are told that all of it waits for them.

use crate::account::Account;
use crate::client::Single;
use crate::clock::{self, SECOND_NS};
use crate::failure::{Failure, Result};
use crate::report::{Comparison, Sample};
use crate::scenarios::messages::exchange::{Exchange, Member};
use crate::scenarios::messages::ledger::Ledger;
use crate::scenarios::messages::site::{self, Needs, Site};
use crate::scenarios::messages::texts::{self, PENDING_REQUEST, Post, SendFrame};
use crate::scenarios::messages::{Shape, judge_at_most};
use crate::scenarios::{self, Rig, unlimited};
use crate::server::Server;

/// The stated bound on the server's resident memory, in MiB.
const RESIDENT_MIB_MAX: f64 = 1_024.0;
const AFTER: &str = "resident after";
const MIB: u64 = 1024 * 1024;

/// One case.
pub(super) fn run(rig: &Rig, shape: &Shape) -> (Vec<Comparison>, Account) {
    let (_, count) = Shape::shares(shape.queued, shape.streams());
    let case = format!(
        "messages, queue: {count} wait for {} absent users, content {} bytes",
        shape.streams(),
        shape.content_bytes
    );
    let comparison = unlimited(rig, &case, || measure(rig, shape));
    let mut account = Account { case: "messages, queue".to_owned(), ..Account::default() };
    if shape.judges_speed {
        judge_at_most(&mut account, &comparison, AFTER, "MiB", RESIDENT_MIB_MAX);
    }
    (vec![comparison], account)
}

/// A sender for each stream.
pub(super) fn senders(shape: &Shape, server: &Server, confirm: bool) -> Result<Vec<Member>> {
    let member = |stream| {
        let (line, send) = sender(shape, server, stream, confirm)?;
        Ok(Member::sending(line, send))
    };
    (0..shape.streams()).map(member).collect()
}

/// Sender `stream`, of messages to user `streams + stream`, each of them answered.
pub(super) fn sender(
    shape: &Shape,
    server: &Server,
    stream: usize,
    confirm: bool,
) -> Result<(Single, SendFrame)> {
    let post = Post {
        user: &site::user(shape.streams() + stream),
        priority: "normal",
        confirm,
        is_scheduled: false,
        is_answered: true,
        stream,
        content_bytes: shape.content_bytes,
    };
    Ok((site::log_in(stream, stream, server.target())?, SendFrame::new(&post)))
}

fn measure(rig: &Rig, shape: &Shape) -> Result<Sample> {
    let streams = shape.streams();
    let needs = Needs::plain(2 * streams, false, shape.messages_max());
    let site = Site::make(&shape.folder, needs)?;
    let server = Server::start(&site.launch(rig)?, rig.cpu_client)?;
    let mut exchange = Exchange::new(senders(shape, &server, false)?, Ledger::new(streams))?;
    let (each, count) = Shape::shares(shape.queued, streams);
    let before_bytes = server.resident_bytes()?;
    let started_ns = clock::mono_ns();
    exchange.fill(0..streams, each, shape.window, |_, _| (clock::mono_ns(), 0))?;
    let took_ns = clock::mono_ns() - started_ns;
    let after = server.footprint()?;
    let waiting = waiting(shape, &server)?;
    if waiting != count {
        return Err(Failure::Protocol(format!("{waiting} of {count} messages wait for their users")));
    }
    let grown_bytes = after.resident_bytes.saturating_sub(before_bytes);
    let mut sample = Sample::default();
    sample.add("resident before", "MiB", scenarios::ratio(before_bytes, MIB));
    sample.add(AFTER, "MiB", scenarios::ratio(after.resident_bytes, MIB));
    sample.add("resident at most", "MiB", scenarios::ratio(after.resident_peak_bytes, MIB));
    sample.add("resident a message", "bytes", scenarios::ratio(grown_bytes, count));
    sample.add("time to queue all", "s", scenarios::ratio(took_ns, SECOND_NS));
    sample.add("queued", "1/s", scenarios::ratio(count, took_ns) * 1e9);
    Ok(sample)
}

/// How many messages wait for the receivers, as each is told.
fn waiting(shape: &Shape, server: &Server) -> Result<u64> {
    let streams = shape.streams();
    let mut total = 0;
    for receiver in streams..2 * streams {
        let reply = site::log_in(receiver, receiver, server.target())?.ask(PENDING_REQUEST)?;
        let waits = texts::pending_total(reply.as_bytes());
        total += waits.ok_or_else(|| Failure::Protocol(format!("no total in {reply}")))?;
    }
    Ok(total)
}
