//! Churn: connections that come and go by the hundred thousand, a share of them without a word, and what the server
//! holds of them afterwards: memory, descriptors, counted connections. Home: the load thread.
//! Invariant: memory is read when nobody is connected and every socket has been given up, so that what is compared is
//! the same state at two times.

mod flight;
mod plan;

use std::collections::BTreeMap;

use crate::account::{Account, Tally};
use crate::client::{STEP_DEADLINE_NS, Single};
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::scenarios::{self, Rig};
use crate::server::{self, Footprint, Server};
use crate::swarm::{Key, Ready, Receiving, Swarm};
use crate::wire;

use flight::{Course, Failing, Flight, Phrases};

/// Growth of resident memory that passes for none, in percent of what it was at the first look.
const GROWTH_PERCENT_MAX: f64 = 2.0;
/// The longest wait for the server to give up the sockets of those who are gone; its own deadlines are shorter.
const SETTLE_DEADLINE_NS: u64 = 15 * SECOND_NS;
/// After that, for what it does at leisure.
const SETTLE_NS: u64 = 500 * MILLISECOND_NS;
/// Looks at the memory along the way, which show a creep that two ends do not.
const LOOKS: u64 = 10;
/// Failures told one by one; the others are only counted.
const FAILURES_TOLD_MAX: u64 = 8;
/// The longest wait for something to be ready.
const WAIT_MS: u16 = 20;
/// The loopback network of the connections.
const NETWORK: u8 = 40;
/// Channels that tell something as soon as they are subscribed.
const CHANNELS: [&str; 3] = ["quote.{}", "ticker.{}.raw", "book.{}.raw"];

/// One churn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) cycles: u64,
    pub(crate) abrupt_percent: u64,
    /// Connections at a time.
    pub(crate) in_flight: usize,
    /// Cycles before the first look at the server's memory.
    pub(crate) first_look: u64,
}

/// Runs all cycles once and judges what the server holds afterwards.
pub(crate) fn run(rig: &Rig, shape: Shape) -> Result<Account> {
    let Some(launch) = rig.server(&[]) else {
        return Err(Failure::Unmet("what a server holds needs one: --server PATH".to_owned()));
    };
    if shape.first_look == 0 || shape.cycles <= shape.first_look || shape.in_flight == 0 {
        return Err(Failure::Unmet("the first look comes after some cycles and before the last".to_owned()));
    }
    let mut server = Server::start_kept(&launch, rig.cpu_client)?;
    let outcome = measure(&server, shape);
    if outcome.is_err()
        && let Some(words) = server.last_words()
    {
        return Err(Failure::Protocol(format!("the server has ended: {words}")));
    }
    let (mut account, end) = outcome?;
    let log = server.stop()?;
    let opened: u64 = log.reported("connections_opened_total")?.iter().sum();
    let closed: u64 = log.reported("connections_closed_total")?.iter().sum();
    account.add("connections the server has counted", "count", scenarios::ratio(opened, 1));
    account
        .judge(format!("no connection is counted still: {opened} opened, {closed} closed"), opened == closed);
    account.judge(
        format!("no socket is left in the server's rings: {} are", end.ring_sockets),
        end.ring_sockets == 0,
    );
    Ok(account)
}

fn measure(server: &Server, shape: Shape) -> Result<(Account, Footprint)> {
    let phrases = phrases(server)?;
    let fresh = settle(server)?;
    let mut churn = Churn::new(server, shape, phrases)?;
    churn.run_until(shape.first_look)?;
    let first = settle(server)?;
    churn.run_until(shape.cycles)?;
    let end = settle(server)?;
    Ok((account(shape, &churn, [fresh, first, end]), end))
}

/// Learns the market's instruments and words what is said.
fn phrases(server: &Server) -> Result<Phrases> {
    let mut connection = Single::connect(server.address)?;
    let instruments = connection.ask(wire::INSTRUMENTS_REQUEST)?;
    let names = wire::texts_after(instruments.as_bytes(), r#""instrument_name":""#);
    let channels: Vec<String> = names
        .iter()
        .flat_map(|name| CHANNELS.iter().map(move |channel| channel.replace("{}", name)))
        .collect();
    if channels.is_empty() {
        return Err(Failure::Protocol(format!("no instrument in {instruments}")));
    }
    Ok(Phrases::new(&server.address.to_string(), &channels))
}

/// Waits until the server holds no socket of a client, then for a moment more.
fn settle(server: &Server) -> Result<Footprint> {
    let deadline_ns = clock::mono_ns() + SETTLE_DEADLINE_NS;
    // What is left at the deadline is what the run finds.
    while server.footprint()?.ring_sockets != 0 && clock::mono_ns() < deadline_ns {
        server::sleep_ns(20 * MILLISECOND_NS);
    }
    server::sleep_ns(SETTLE_NS);
    server.footprint()
}

struct Churn<'a> {
    server: &'a Server,
    shape: Shape,
    phrases: Phrases,
    swarm: Swarm,
    ready: Vec<Ready>,
    /// In flight, each in its place; a key is a place and the number of its cycle.
    places: Vec<Option<(Key, Flight)>>,
    free: Vec<usize>,
    begun: u64,
    landed: u64,
    failures: BTreeMap<Failing, u64>,
    failed: u64,
    /// The first failures, each with its cycle.
    failures_told: Vec<String>,
    /// Time spent with cycles under way.
    busy_ns: u64,
    looks: Vec<u64>,
    progress: Progress,
}

impl<'a> Churn<'a> {
    fn new(server: &'a Server, shape: Shape, phrases: Phrases) -> Result<Churn<'a>> {
        Ok(Churn {
            server,
            shape,
            phrases,
            swarm: Swarm::new(server.address, NETWORK, shape.in_flight.max(64))?,
            ready: Vec::new(),
            places: (0..shape.in_flight).map(|_| None).collect(),
            free: (0..shape.in_flight).collect(),
            begun: 0,
            landed: 0,
            failures: BTreeMap::new(),
            failed: 0,
            failures_told: Vec::new(),
            busy_ns: 0,
            looks: Vec::new(),
            progress: Progress::new(),
        })
    }

    /// Goes on until `cycles` have begun and all are over.
    fn run_until(&mut self, cycles: u64) -> Result<()> {
        let started_ns = clock::mono_ns();
        let mut swept_ns = started_ns;
        while self.begun < cycles || self.free.len() < self.places.len() {
            let now_ns = clock::mono_ns();
            while self.begun < cycles
                && let Some(place) = self.free.pop()
            {
                self.begin(place, now_ns)?;
            }
            let mut ready = std::mem::take(&mut self.ready);
            self.swarm.wait(WAIT_MS, &mut ready)?;
            for Ready { key, is_readable, .. } in ready.drain(..) {
                self.advance(key, is_readable);
            }
            self.ready = ready;
            if swept_ns + SECOND_NS / 4 <= now_ns {
                swept_ns = now_ns;
                self.end_overdue(now_ns);
            }
            self.look(now_ns - started_ns)?;
        }
        self.busy_ns += clock::mono_ns() - started_ns;
        Ok(())
    }

    fn begin(&mut self, place: usize, now_ns: u64) -> Result<()> {
        let key = self.begun * self.places.len() as u64 + place as u64;
        let plan = plan::plan(self.begun, self.shape.abrupt_percent);
        let plug = self.swarm.open(key, Receiving::Usual)?;
        self.places[place] = Some((key, Flight::new(plug, plan, now_ns + STEP_DEADLINE_NS)));
        self.begun += 1;
        Ok(())
    }

    fn advance(&mut self, key: Key, is_readable: bool) {
        let place = key % self.places.len() as u64;
        let place = usize::try_from(place).expect("invariant: below the count of places");
        // An event of a cycle that is over meets an empty place or its successor.
        let Some((_, flight)) = self.places[place].take_if(|(held, _)| *held == key) else { return };
        match flight.advance(is_readable, &self.phrases) {
            Course::Flying(flight) => {
                self.places[place] = Some((key, flight));
                return;
            }
            Course::Landed => self.landed += 1,
            Course::Failed(failing) => self.fail(key, failing),
        }
        self.free.push(place);
    }

    fn end_overdue(&mut self, now_ns: u64) {
        for place in 0..self.places.len() {
            if let Some((key, flight)) = self.places[place].take_if(|(_, flight)| flight.deadline_ns < now_ns)
            {
                self.fail(key, flight.overdue());
                self.free.push(place);
            }
        }
    }

    fn fail(&mut self, key: Key, failing: Failing) {
        if self.failed < FAILURES_TOLD_MAX {
            let cycle = key / self.places.len() as u64;
            let plan = plan::plan(cycle, self.shape.abrupt_percent);
            self.failures_told.push(format!("cycle {cycle}, {}: {failing}", self.phrases.name(plan)));
        }
        self.failed += 1;
        *self.failures.entry(failing).or_insert(0) += 1;
    }

    /// Reads the memory now and then, and tells who watches how far it is.
    fn look(&mut self, elapsed_ns: u64) -> Result<()> {
        let over = self.landed + self.failed;
        let due = self.shape.cycles / LOOKS * (self.looks.len() as u64 + 1);
        if due <= over {
            self.looks.push(self.server.resident_bytes()?);
        }
        let (cycles, failed) = (self.shape.cycles, self.failed);
        let rate = scenarios::ratio(over, (self.busy_ns + elapsed_ns).max(1)) * 1e9;
        self.progress.show(|| format!("churn: {over} of {cycles} cycles, {rate:.0}/s, {failed} failed"));
        Ok(())
    }
}

fn account(shape: Shape, churn: &Churn<'_>, [fresh, first, end]: [Footprint; 3]) -> Account {
    let Shape { cycles, abrupt_percent, in_flight, first_look } = shape;
    let mut account = Account {
        case: format!("churn: {cycles} connections, {abrupt_percent} % abrupt, {in_flight} at a time"),
        ..Account::default()
    };
    let mib = |bytes: u64| scenarios::ratio(bytes, 1024 * 1024);
    account.add("cycles", "1/s", scenarios::ratio(churn.landed + churn.failed, churn.busy_ns) * 1e9);
    account.add("cycles as planned", "count", scenarios::ratio(churn.landed, 1));
    account.add("resident before", "MiB", mib(fresh.resident_bytes));
    account.add("resident at the first look", "MiB", mib(first.resident_bytes));
    account.add("resident at the end", "MiB", mib(end.resident_bytes));
    account.add("resident peak at the first look", "MiB", mib(first.resident_peak_bytes));
    account.add("resident peak at the end", "MiB", mib(end.resident_peak_bytes));
    account.add("descriptors before", "count", scenarios::ratio(fresh.descriptors, 1));
    account.add("descriptors at the first look", "count", scenarios::ratio(first.descriptors, 1));
    account.add("descriptors at the end", "count", scenarios::ratio(end.descriptors, 1));
    let failures = churn.failures.iter().map(|(failing, count)| (failing.to_string(), *count));
    account.tallies.push(Tally { name: "failures".to_owned(), counts: failures.collect() });
    account.judge(
        format!("every cycle went as planned: {} of {cycles} did", churn.landed),
        churn.failed == 0 && churn.landed == cycles,
    );
    let growth_percent = growth_percent(first.resident_bytes, end.resident_bytes);
    account.judge(
        format!(
            "resident memory at the end is at most {GROWTH_PERCENT_MAX} % above that after {first_look} cycles: \
             {growth_percent:+.2} %"
        ),
        growth_percent <= GROWTH_PERCENT_MAX,
    );
    account.judge(
        format!("no descriptor is left: {} before, {} at the end", fresh.descriptors, end.descriptors),
        end.descriptors <= fresh.descriptors,
    );
    let looks: Vec<String> = churn.looks.iter().map(|bytes| format!("{:.1}", mib(*bytes))).collect();
    account.notes.extend(churn.failures_told.iter().cloned());
    account.notes.push(format!("resident at each tenth of the way [MiB]: {}", looks.join(" ")));
    account
}

fn growth_percent(first_bytes: u64, end_bytes: u64) -> f64 {
    100.0 * (scenarios::ratio(end_bytes, first_bytes.max(1)) - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_with_its_sign() {
        assert!((growth_percent(200, 204) - 2.0).abs() < 1e-9);
        assert!((growth_percent(200, 190) + 5.0).abs() < 1e-9);
    }
}
