//! One run: one server, afresh, and one kind of work. Home: the load thread.
//!
//! Not by the engine of `run`: that is one or several processes of their own, which open what they can, count what is wrong
//! and go on. Here one thread, which spins on a core of its own, is the load for all servers in turn; it has a closed loop, which the
//! engine has not; a rate that is not held ends a turn early and is halved. What both need they share: dialects, the client's
//! ring, histograms, the schedule, outcomes.
//!
//! Invariants: open-loop latencies count from the intended time; what counts is what was intended within the measured time;
//! a run whose generator was the limit says so and is no number.

use std::collections::{BTreeMap, VecDeque};

use crate::client::Clients;
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::dialect::{Reader, Replies, Reply, Told};
use crate::failure::{Failure, Result};
use crate::histogram::Latencies;
use crate::outcome::{Counts, GeneratorUse, Kind, Outcome};
use crate::peers::case::{Case, Work};
use crate::peers::gather::{Wanted, gather};
use crate::peers::watch::{Look, Seconds};
use crate::peers::words::Words;
use crate::scenarios::{SATURATED_SHARE_MIN, ratio};
use crate::schedule::Schedule;
use crate::secure::Line;
use crate::server::{self, Launch, Server};

/// Of what was due in the measured time, what may come after it although the rate counts as held.
const HELD_LATE_SHARE_MAX: f64 = 0.02;
/// What was due that shortly before the end may come after it too.
const HELD_LATE_NS: u64 = 50 * MILLISECOND_NS;
/// The longest wait for what is still under way at the end of a run whose rate was held.
const DRAIN_NS: u64 = 2 * SECOND_NS;
/// Connections under way at the same time where connecting is not what is measured.
const GATHERED_AT_ONCE: usize = 64;
/// What a server has to settle after its connections came.
const SETTLE_NS: u64 = 500 * MILLISECOND_NS;
/// Beyond this share of stolen time the host counts as the limit.
const STEAL_SHARE_MAX: f64 = 0.05;

/// How long, on which core, and how late a generator may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) cpu_client: usize,
    pub(crate) warmup_ns: u64,
    pub(crate) measured_ns: u64,
    pub(crate) lag_ns_max: u64,
    /// Whether what is under way is waited for even if the rate was not held: it is, where only its coming is judged.
    pub(crate) drains_always: bool,
}

/// A server that is there.
#[derive(Debug, Clone)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) words: Words,
    pub(crate) launch: Launch,
    /// Where fan-out has a program of its own.
    pub(crate) fanout_launch: Option<Launch>,
}

/// Runs `case` against `contender`.
pub(crate) fn measure(terms: Terms, contender: &Contender, case: &Case) -> Result<Outcome> {
    let own = contender.fanout_launch.as_ref().filter(|_| matches!(case.work, Work::Fanout { .. }));
    let server = Server::start(own.unwrap_or(&contender.launch), terms.cpu_client)?;
    let mut run = Run::new(terms, contender, case, &server)?;
    match case.work {
        Work::EchoClosed => run.echo_closed()?,
        Work::EchoOpen { rate_per_s } => run.echo_open(rate_per_s)?,
        Work::Fanout { rate_per_s, data_bytes } => run.fanout(rate_per_s, data_bytes)?,
        Work::Connect => run.connect()?,
        Work::Idle => run.idle()?,
    }
    Ok(run.outcome)
}

/// Whether a server kept up with what it was asked for; one without a rate always does.
pub(crate) fn is_held(outcome: &Outcome, case: &Case) -> bool {
    let each = match case.work {
        Work::EchoOpen { .. } => 1,
        Work::Fanout { .. } => case.connections as u64,
        Work::EchoClosed | Work::Connect | Work::Idle => return true,
    };
    let sent: u64 = outcome.seconds.iter().map(|second| second.sent).sum();
    let received: u64 = outcome.seconds.iter().map(|second| second.received).sum();
    let due = sent * each;
    let late = due.saturating_sub(received);
    // At a low rate it is a message or two that is under way at the end.
    let under_way = each * (1 + sent * HELD_LATE_NS / outcome.measured_ns.max(1));
    late <= under_way || ratio(late, due.max(1)) <= HELD_LATE_SHARE_MAX
}

/// How many replies a message holds.
fn count(replies: &Replies, message: &[u8]) -> usize {
    match replies.read(message) {
        Reply::None => 0,
        Reply::To(_) => 1,
        Reply::InOrder(count) => count,
    }
}

struct Run<'a> {
    terms: Terms,
    words: &'a Words,
    case: &'a Case,
    server: &'a Server,
    resident_before_bytes: u64,
    outcome: Outcome,
}

/// What a measured time began with.
struct Begun {
    look: Look,
    seconds: Seconds,
    idle_ns: u64,
}

impl<'a> Run<'a> {
    fn new(terms: Terms, contender: &'a Contender, case: &'a Case, server: &'a Server) -> Result<Run<'a>> {
        let generator =
            GeneratorUse { processes: 1, busy_share: 0.0, lag_p50_ns: 0, lag_p99_ns: 0, steal_share: None };
        let outcome = Outcome {
            scenario: case.name.clone(),
            scenario_toml: toml::to_string(case).map_err(|error| Failure::Unmet(error.to_string()))?,
            server: contender.name.clone(),
            server_version: contender.version.clone(),
            url: format!("ws://{}{}", server.address, contender.words.path()),
            started_unix_ms: clock::unix_ns() / MILLISECOND_NS,
            measured_ns: 0,
            counts: Counts::default(),
            latencies: BTreeMap::new(),
            seconds: Vec::new(),
            server_use: None,
            generator,
            refused: Vec::new(),
            notes: Vec::new(),
            graded: None,
        };
        let resident_before_bytes = server.resident_bytes()?;
        Ok(Run { terms, words: &contender.words, case, server, resident_before_bytes, outcome })
    }

    /// All connections of the case, opened and said what comes before the load; they are the first slots.
    fn clients(&mut self, are_subscribers: bool) -> Result<Clients> {
        let connections = self.case.connections;
        let wanted = Wanted { connections, at_once: GATHERED_AT_ONCE, are_subscribers };
        let gathered = gather(self.server.address, self.words, wanted)?;
        self.outcome.counts.connections_wanted = connections as u64;
        self.outcome.counts.connections_opened = gathered.lines.len() as u64;
        let mut clients = Clients::new()?;
        for stream in gathered.complete()? {
            clients.add(Line::from(stream));
        }
        Ok(clients)
    }

    fn begin(&self, idle_ns: u64, sent: u64, received: u64) -> Result<Begun> {
        let seconds = Seconds::begin(self.server, sent, received)?;
        Ok(Begun { look: Look::at(self.server)?, seconds, idle_ns })
    }

    fn end(&mut self, begun: &mut Begun, idle_ns: u64, sent: u64, received: u64) -> Result<()> {
        let count = (sent, received, self.case.connections);
        begun.seconds.look(clock::mono_ns(), true, self.server, count)?;
        let used = begun.look.until_now(self.server, self.resident_before_bytes)?;
        self.outcome.measured_ns = used.elapsed_ns;
        self.outcome.seconds = std::mem::take(&mut begun.seconds.seconds);
        self.outcome.server_use = Some(used.server);
        let idle_ns = idle_ns.saturating_sub(begun.idle_ns);
        self.outcome.generator.busy_share = 1.0 - ratio(idle_ns, used.elapsed_ns).min(1.0);
        self.outcome.generator.steal_share = used.steal_share;
        if let Some(share) = used.steal_share.filter(|share| STEAL_SHARE_MAX < *share) {
            self.refuse(format!("{:.0} % of the host's time was stolen", 100.0 * share));
        }
        Ok(())
    }

    fn refuse(&mut self, reason: String) {
        self.outcome.refused.push(reason);
    }

    fn take_lag(&mut self, lag: &Latencies) {
        let summary = lag.summary();
        self.outcome.generator.lag_p50_ns = summary.p50_ns;
        self.outcome.generator.lag_p99_ns = summary.p99_ns;
        if self.terms.lag_ns_max < summary.p99_ns {
            self.refuse(format!("the generator was {} us late at p99", summary.p99_ns / 1_000));
        }
    }

    fn echo_closed(&mut self) -> Result<()> {
        let mut clients = self.clients(false)?;
        let frame = self.words.echo_frame();
        let replies_of = self.words.replies();
        let mut sent_ns = vec![clock::mono_ns(); self.case.connections];
        for slot in 0..self.case.connections {
            clients.outbox().send(slot, &frame)?;
        }
        let mut latencies = Latencies::new();
        let mut replies = 0_u64;
        let mut turn_until = |until_ns: u64, clients: &mut Clients, is_measured: bool| -> Result<u64> {
            loop {
                let now_ns = clients.turn(|outbox, slot, message| {
                    if count(&replies_of, message) == 0 {
                        return Ok(());
                    }
                    let received_ns = clock::mono_ns();
                    if is_measured {
                        latencies.record(received_ns - sent_ns[slot]);
                    }
                    sent_ns[slot] = received_ns;
                    replies += 1;
                    outbox.send(slot, &frame)
                })?;
                if until_ns <= now_ns {
                    return Ok(replies);
                }
            }
        };
        let before = turn_until(clock::mono_ns() + self.terms.warmup_ns, &mut clients, false)?;
        let mut begun = self.begin(clients.idle_ns(), before, before)?;
        let after = turn_until(clock::mono_ns() + self.terms.measured_ns, &mut clients, true)?;
        self.end(&mut begun, clients.idle_ns(), after, after)?;
        self.outcome.counts.requests_sent = after - before;
        self.outcome.counts.replies_received = after - before;
        self.outcome.latencies.extend(latencies.latency().map(|all| (Kind::Request, all)));
        let share = self.outcome.server_use.as_ref().map_or(0.0, |used| used.busiest_thread_share);
        if share < SATURATED_SHARE_MIN {
            self.refuse(format!("the server was not at saturation ({share:.2} of its core)"));
        }
        Ok(())
    }

    fn echo_open(&mut self, rate_per_s: u64) -> Result<()> {
        let mut clients = self.clients(false)?;
        let frame = self.words.echo_frame();
        let connections = self.case.connections;
        let mut asked: Vec<VecDeque<u64>> = vec![VecDeque::new(); connections];
        let mut latencies = Latencies::new();
        let mut course = Course::new(self.terms, rate_per_s, 1);
        let measured_from_ns = course.measured_from_ns;
        let replies_of = self.words.replies();
        while !course.is_over() {
            while let Some((index, intended_ns)) = course.due() {
                let slot = usize::try_from(index % connections as u64).expect("invariant: below the slots");
                asked[slot].push_back(intended_ns);
                clients.outbox().send(slot, &frame)?;
            }
            let (mut received, mut received_measured) = (0, 0);
            let now_ns = clients.turn(|_, slot, message| {
                // Replies come in order on each connection, so the oldest intended time belongs to the next one.
                for _ in 0..count(&replies_of, message) {
                    let received_ns = clock::mono_ns();
                    let intended_ns = asked[slot]
                        .pop_front()
                        .ok_or_else(|| Failure::Protocol("a reply to nothing".to_owned()))?;
                    received += 1;
                    if measured_from_ns <= intended_ns {
                        latencies.record(received_ns - intended_ns);
                        received_measured += 1;
                    }
                }
                Ok(())
            })?;
            course.take(received, received_measured);
            course.step(self, now_ns, clients.idle_ns())?;
        }
        self.take_lag(&course.lag);
        self.outcome.counts.requests_sent = course.sent_measured;
        self.outcome.counts.replies_received = course.received_measured;
        self.outcome.latencies.extend(latencies.latency().map(|all| (Kind::Request, all)));
        Ok(())
    }

    fn fanout(&mut self, rate_per_s: u64, data_bytes: usize) -> Result<()> {
        let mut clients = self.clients(true)?;
        let wanted = Wanted { connections: 1, at_once: 1, are_subscribers: false };
        let publisher = gather(self.server.address, self.words, wanted)?.complete()?.remove(0);
        let publisher = clients.add(Line::from(publisher));
        let subscribers = self.case.connections as u64;
        let mut frame = self.words.publish_frame(data_bytes);
        let mut course = Course::new(self.terms, rate_per_s, subscribers);
        let mut tally = Tally::new(self.words.reader(), publisher, course.measured_from_ns);
        while !course.is_over() {
            while let Some((index, intended_ns)) = course.due() {
                clients.outbox().send(publisher, frame.patched(index, intended_ns, 0, index))?;
            }
            let before = (tally.received, tally.received_measured);
            let now_ns = clients.turn(|_, slot, message| {
                tally.take(slot, message);
                Ok(())
            })?;
            course.take(tally.received - before.0, tally.received_measured - before.1);
            course.step(self, now_ns, clients.idle_ns())?;
        }
        self.take_lag(&course.lag);
        let counts = &mut self.outcome.counts;
        counts.published = course.sent_measured;
        counts.deliveries_expected = course.sent_measured * subscribers;
        counts.deliveries_received = course.received_measured;
        (counts.gaps, counts.duplicates, counts.reordered) = (tally.gaps, tally.duplicates, tally.reordered);
        counts.bytes_received = tally.bytes;
        self.outcome.latencies.extend(tally.latencies.latency().map(|all| (Kind::Delivery, all)));
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        let connections = self.case.connections;
        let mut begun = self.begin(0, 0, 0)?;
        let wanted = Wanted { connections, at_once: connections, are_subscribers: false };
        let gathered = gather(self.server.address, self.words, wanted)?;
        let opened = gathered.lines.len() as u64;
        self.end(&mut begun, gathered.elapsed_ns - gathered.busy_ns, connections as u64, opened)?;
        self.outcome.generator.busy_share = ratio(gathered.busy_ns, gathered.elapsed_ns.max(1));
        self.outcome.counts.connections_wanted = connections as u64;
        self.outcome.counts.connections_opened = opened;
        self.outcome.latencies.extend(gathered.latencies.latency().map(|all| (Kind::Connect, all)));
        self.outcome.counts.errors = gathered.errors;
        Ok(())
    }

    fn idle(&mut self) -> Result<()> {
        let connections = self.case.connections;
        let wanted = Wanted { connections, at_once: GATHERED_AT_ONCE, are_subscribers: false };
        // The first connection pays for what is allocated once; it is no part of the growth.
        let first =
            gather(self.server.address, self.words, Wanted { connections: 1, ..wanted })?.complete()?;
        server::sleep_ns(SETTLE_NS);
        self.resident_before_bytes = self.server.resident_bytes()?;
        let gathered = gather(self.server.address, self.words, wanted)?;
        let latencies = gathered.latencies.latency();
        let (opened, errors) = (gathered.lines.len() as u64, gathered.errors.clone());
        server::sleep_ns(SETTLE_NS);
        let mut begun = self.begin(0, 0, 0)?;
        server::sleep_ns(self.terms.measured_ns);
        self.end(&mut begun, self.terms.measured_ns, 0, 0)?;
        self.outcome.generator.busy_share = 0.0;
        self.outcome.counts.connections_wanted = connections as u64;
        self.outcome.counts.connections_opened = opened;
        self.outcome.counts.errors = errors;
        self.outcome.latencies.extend(latencies.map(|all| (Kind::Connect, all)));
        drop((first, gathered));
        Ok(())
    }
}

/// An open loop's way through warm-up, measured time and drain.
struct Course {
    schedule: Schedule,
    measured_from_ns: u64,
    /// What one message sent brings.
    each: u64,
    lag: Latencies,
    sent: u64,
    received: u64,
    sent_measured: u64,
    received_measured: u64,
    now_ns: u64,
    begun: Option<Begun>,
    ended_ns: Option<u64>,
    need_not_drain: bool,
}

impl Course {
    fn new(terms: Terms, rate_per_s: u64, each: u64) -> Course {
        let start_ns = clock::mono_ns();
        Course {
            schedule: Schedule::new(start_ns, rate_per_s, terms.warmup_ns + terms.measured_ns),
            measured_from_ns: start_ns + terms.warmup_ns,
            each,
            lag: Latencies::new(),
            sent: 0,
            received: 0,
            sent_measured: 0,
            received_measured: 0,
            now_ns: start_ns,
            begun: None,
            ended_ns: None,
            need_not_drain: false,
        }
    }

    /// The next message that is due: its number and intended time.
    fn due(&mut self) -> Option<(u64, u64)> {
        let (index, intended_ns) = self.schedule.poll_due(self.now_ns)?;
        self.lag.record((self.now_ns - intended_ns).max(1));
        self.sent += 1;
        self.sent_measured += u64::from(self.measured_from_ns <= intended_ns);
        Some((index, intended_ns))
    }

    fn take(&mut self, received: u64, received_measured: u64) {
        self.received += received;
        self.received_measured += received_measured;
    }

    /// Opens and closes the measured time and takes note of its seconds.
    fn step(&mut self, run: &mut Run<'_>, now_ns: u64, idle_ns: u64) -> Result<()> {
        self.now_ns = now_ns;
        if self.ended_ns.is_some() {
            return Ok(());
        }
        let Some(begun) = &mut self.begun else {
            if self.measured_from_ns <= now_ns {
                self.begun = Some(run.begin(idle_ns, self.sent, self.received)?);
            }
            return Ok(());
        };
        if self.schedule.is_done() {
            run.end(begun, idle_ns, self.sent, self.received)?;
            self.need_not_drain = !run.terms.drains_always && !is_held(&run.outcome, run.case);
            self.ended_ns = Some(now_ns);
            return Ok(());
        }
        begun.seconds.look(now_ns, false, run.server, (self.sent, self.received, run.case.connections))
    }

    /// Whether all has come, or will not, or need not be waited for.
    fn is_over(&self) -> bool {
        let Some(ended_ns) = self.ended_ns else { return false };
        self.need_not_drain || self.sent * self.each <= self.received || ended_ns + DRAIN_NS < self.now_ns
    }
}

/// What the subscribers have received.
struct Tally {
    reader: Reader,
    publisher: usize,
    measured_from_ns: u64,
    /// By subscriber, the sequence that it expects.
    expected: Vec<u64>,
    received: u64,
    received_measured: u64,
    bytes: u64,
    gaps: u64,
    duplicates: u64,
    reordered: u64,
    latencies: Latencies,
}

impl Tally {
    /// The subscribers have the slots below the publisher's.
    fn new(reader: Reader, publisher: usize, measured_from_ns: u64) -> Tally {
        Tally {
            reader,
            publisher,
            measured_from_ns,
            expected: vec![0; publisher],
            received: 0,
            received_measured: 0,
            bytes: 0,
            gaps: 0,
            duplicates: 0,
            reordered: 0,
            latencies: Latencies::new(),
        }
    }

    fn take(&mut self, slot: usize, message: &[u8]) {
        if slot == self.publisher {
            return;
        }
        let received_ns = clock::mono_ns();
        let Tally { reader, expected, .. } = self;
        let expected = &mut expected[slot];
        let (mut count, mut measured) = (0, 0);
        reader.deliveries(message, |Told { intended_ns, sequence, .. }| {
            if sequence + 1 == *expected {
                self.duplicates += 1;
                return;
            }
            if sequence < *expected {
                self.reordered += 1;
            } else {
                self.gaps += sequence - *expected;
                *expected = sequence + 1;
            }
            count += 1;
            if self.measured_from_ns <= intended_ns {
                measured += 1;
                self.latencies.record(received_ns.saturating_sub(intended_ns));
            }
        });
        self.received += count;
        self.received_measured += measured;
        if 0 < count {
            self.bytes += message.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Second;
    use crate::samples;

    fn outcome_of(sent: u64, received: u64) -> Outcome {
        Outcome {
            measured_ns: SECOND_NS,
            seconds: vec![Second { sent, received, ..Second::default() }],
            ..samples::outcome()
        }
    }

    #[test]
    fn a_rate_is_held_if_little_is_late_and_a_message_or_two_is_little() {
        let fanout = |rate_per_s, connections| Case {
            name: String::new(),
            about: String::new(),
            connections,
            work: Work::Fanout { rate_per_s, data_bytes: 100 },
        };
        let wide = fanout(25, 1_000);
        assert!(is_held(&outcome_of(25, 24_000), &wide));
        assert!(!is_held(&outcome_of(25, 22_000), &wide));
        let burst = fanout(5_000, 100);
        assert!(is_held(&outcome_of(5_000, 480_000), &burst));
        assert!(!is_held(&outcome_of(5_000, 470_000), &burst));
        assert!(is_held(&outcome_of(0, 0), &Case { work: Work::Idle, ..burst }));
    }

    #[test]
    fn gaps_repetitions_and_disorder_are_told_apart_and_the_publisher_s_replies_are_no_deliveries() {
        let words = Words::parse(include_str!("../../dialects/bun.toml")).unwrap();
        let mut tally = Tally::new(words.reader(), 1, 10);
        let mut take = |slot, at_ns, sequence| {
            let mut frame = words.publish_frame(100).patched(0, at_ns, 0, sequence).to_vec();
            let header = crate::frame::decode(&frame).unwrap().unwrap();
            let payload = &mut frame[header.header_bytes..];
            crate::frame::apply_mask(payload, crate::frame::MASK);
            tally.take(slot, payload);
        };
        for (at_ns, sequence) in [(5, 0), (20, 1), (21, 4), (21, 4), (22, 2)] {
            take(0, at_ns, sequence);
        }
        take(1, 23, 9);
        assert_eq!((tally.received, tally.received_measured), (4, 3));
        assert_eq!((tally.gaps, tally.duplicates, tally.reordered), (2, 1, 1));
        assert_eq!(tally.latencies.summary().count, 3);
    }
}
