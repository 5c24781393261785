//! A crash with durable messages stored for users who are away: they are stored once, then in each run the server is killed
//! (SIGKILL) and started again. How long until it says that it is ready, until a durable send is accepted, until all waits again;
//! and what its memory is then. At the end one user takes what is its own. Home: the load thread.
//! Invariant: a run counts only if all that was promised waits again, and the last only if the user gets all of its own in order.

use crate::account::Account;
use crate::client::Single;
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Failure, Result};
use crate::frame;
use crate::report::{Comparison, Sample};
use crate::scenarios::messages::exchange::{Exchange, Member};
use crate::scenarios::messages::ledger::Ledger;
use crate::scenarios::messages::queue::senders;
use crate::scenarios::messages::site::{self, LOAD_DEADLINE_NS, LOOK_NS, Needs, Site};
use crate::scenarios::messages::texts::{self, PENDING_REQUEST};
use crate::scenarios::messages::{Shape, judge_at_most};
use crate::scenarios::{self, Rig, unlimited};
use crate::server::{self, Server};

/// The stated bounds: to READY, and to all that is stored, in milliseconds.
const READY_MS_MAX: f64 = 100.0;
const LOADED_MS_MAX: f64 = 2_000.0;
const READY: &str = "start to READY";
const LOADED: &str = "start to all loaded";
/// Messages under way to the user who takes its own at the end.
const UNDER_WAY_MAX: u32 = 1_024;

/// One case.
pub(super) fn run(rig: &Rig, shape: &Shape) -> Result<(Vec<Comparison>, Account)> {
    let (_, count) = Shape::shares(shape.stored, shape.streams());
    let case = format!(
        "messages, restart: SIGKILL with {count} durable ones stored for {} absent users, content {} bytes",
        shape.streams(),
        shape.content_bytes
    );
    let mut stored = Stored::fill(rig, shape)?;
    let mut comparison = unlimited(rig, &case, || stored.restart());
    if let Err(failure) = stored.take_own() {
        comparison.refused.push(format!("at the end: {failure}"));
    }
    let mut account = Account { case: "messages, restart".to_owned(), ..Account::default() };
    if shape.judges_speed {
        judge_at_most(&mut account, &comparison, READY, "ms", READY_MS_MAX);
        judge_at_most(&mut account, &comparison, LOADED, "ms", LOADED_MS_MAX);
    }
    Ok((vec![comparison], account))
}

/// A server with messages stored.
struct Stored<'a> {
    rig: &'a Rig,
    shape: &'a Shape,
    /// None while there is none, and once a start has failed.
    server: Option<Server>,
    site: Site,
    ledger: Ledger,
    /// What waits, probes included.
    waiting: u64,
    filled_in_ns: u64,
}

impl<'a> Stored<'a> {
    fn fill(rig: &'a Rig, shape: &'a Shape) -> Result<Stored<'a>> {
        let streams = shape.streams();
        let needs = Needs::plain(2 * streams, true, shape.messages_max());
        let site = Site::make(&shape.folder, needs)?;
        let server = Server::start(&site.launch(rig)?, rig.cpu_client)?;
        site::await_store(&mut site::log_in(0, 0, server.target())?)?;
        let mut exchange = Exchange::new(senders(shape, &server, true)?, Ledger::new(streams))?;
        let (each, count) = Shape::shares(shape.stored, streams);
        let started_ns = clock::mono_ns();
        exchange.fill(0..streams, each, shape.window, |_, _| (clock::mono_ns(), 0))?;
        let filled_in_ns = clock::mono_ns() - started_ns;
        let ledger = exchange.mail.ledger;
        Ok(Stored { rig, shape, server: Some(server), site, ledger, waiting: count + 1, filled_in_ns })
    }

    fn restart(&mut self) -> Result<Sample> {
        self.server.take().map_or(Ok(()), Server::kill)?;
        let begun_ns = clock::mono_ns();
        let server = Server::start(&self.site.launch(self.rig)?, self.rig.cpu_client)?;
        let streams = self.shape.streams();
        let mut sender = site::log_in(0, 0, server.target())?;
        site::await_store(&mut sender)?;
        let accepted_ns = clock::mono_ns() - begun_ns;
        self.waiting += 1;
        let receivers = (streams..2 * streams).map(|user| site::log_in(user, user, server.target()));
        let mut receivers = receivers.chain(std::iter::once(Ok(sender))).collect::<Result<Vec<Single>>>()?;
        await_total(&mut receivers, self.waiting, begun_ns)?;
        let loaded_ns = clock::mono_ns() - begun_ns;
        let memory = server.footprint()?;
        let mut sample = Sample::default();
        let ms = |ns| scenarios::ratio(ns, MILLISECOND_NS);
        sample.add(READY, "ms", ms(server.started_in_ns));
        sample.add("start to durable send", "ms", ms(accepted_ns));
        sample.add(LOADED, "ms", ms(loaded_ns));
        sample.add("resident then", "MiB", scenarios::ratio(memory.resident_bytes, 1024 * 1024));
        sample.add("resident at most", "MiB", scenarios::ratio(memory.resident_peak_bytes, 1024 * 1024));
        sample.add("messages stored", "count", scenarios::ratio(self.waiting, 1));
        sample.add("time to store all", "s", scenarios::ratio(self.filled_in_ns, SECOND_NS));
        self.server = Some(server);
        Ok(sample)
    }

    /// The first user comes and takes what was stored for it before the first kill.
    fn take_own(&mut self) -> Result<()> {
        let Some(server) = &self.server else { return Ok(()) };
        let user = self.shape.streams();
        let (each, _) = Shape::shares(self.shape.stored, user);
        let member = Member::confirming(site::log_in(user, user, server.target())?);
        let mut exchange = Exchange::new(vec![member], std::mem::take(&mut self.ledger))?;
        let mut subscribe = Vec::new();
        let request = texts::subscribe_request(site::REQUEST_ID, UNDER_WAY_MAX);
        frame::encode_client(frame::TEXT, request.as_bytes(), &mut subscribe);
        exchange.clients.outbox().send(0, &subscribe)?;
        exchange.turn_until(
            "what was stored for the first user",
            |mail| mail.ledger.received_of(0) == each,
            |_, _, _, _| Ok(()),
        )
    }
}

/// Asks all receivers how much waits for them until it is all that there is.
fn await_total(receivers: &mut [Single], expected: u64, begun_ns: u64) -> Result<()> {
    loop {
        let mut total = 0;
        for receiver in receivers.iter_mut() {
            let reply = receiver.ask(PENDING_REQUEST)?;
            let waits = texts::pending_total(reply.as_bytes());
            total += waits.ok_or_else(|| Failure::Protocol(format!("no total in {reply}")))?;
        }
        if total == expected {
            return Ok(());
        }
        if expected < total || begun_ns + LOAD_DEADLINE_NS < clock::mono_ns() {
            return Err(Failure::Protocol(format!("{total} of {expected} messages wait after the restart")));
        }
        server::sleep_ns(LOOK_NS);
    }
}
