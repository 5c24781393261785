//! What all processes have told, put together: so far for those who watch, and in the end as the outcome. PURE.
//! Invariants: a second's numbers are those of all processes; what is lost is what was published less what was told, over all.

use std::collections::BTreeMap;

use crate::clock::SECOND_NS;
use crate::engine::plan::Plan;
use crate::engine::tally::{self, Finish, Part};
use crate::engine::worker::Report;
use crate::failure::{Failure, Result};
use crate::histogram::Latencies;
use crate::outcome::{Counts, Kind, Outcome, Second};

/// Kinds whose latencies are those of the load itself, second by second.
const OPEN_LOOP: [Kind; 3] = [Kind::Request, Kind::Delivery, Kind::Order];
/// Kinds of errors that are named where nothing could be reached.
const NAMED_MAX: usize = 3;

/// See the file's head.
pub(crate) struct Sum {
    pub(crate) counts: Counts,
    missing: i64,
    forgone: u64,
    lost_with_connection: u64,
    latencies: BTreeMap<Kind, Latencies>,
    lag: Latencies,
    seconds: Vec<Gathered>,
    open: Vec<u64>,
    is_ready: Vec<bool>,
    finishes: Vec<Option<Finish>>,
    looks: BTreeMap<u64, (f64, u64)>,
}

struct Gathered {
    connections: u64,
    sent: u64,
    received: u64,
    errors: u64,
    latencies: Latencies,
    processes: usize,
}

impl Sum {
    pub(crate) fn new(processes: usize) -> Sum {
        Sum {
            counts: Counts::default(),
            missing: 0,
            forgone: 0,
            lost_with_connection: 0,
            latencies: BTreeMap::new(),
            lag: Latencies::new(),
            seconds: Vec::new(),
            open: vec![0; processes],
            is_ready: vec![false; processes],
            finishes: vec![None; processes],
            looks: BTreeMap::new(),
        }
    }

    pub(crate) fn take(&mut self, process: usize, report: Report) -> Result<()> {
        match report {
            Report::Opening { open } => self.open[process] = open,
            Report::Ready(part) => {
                self.is_ready[process] = true;
                self.add(process, &part);
            }
            Report::Second(number, part) => {
                self.add(process, &part);
                self.add_second(number, &part);
            }
            Report::Done(part, finish) => {
                self.add(process, &part);
                self.finishes[process] = Some(finish);
            }
            Report::Failed(why) => {
                return Err(Failure::Protocol(format!("a process of the generator failed: {why}")));
            }
        }
        Ok(())
    }

    /// What the server used in second `number`.
    pub(crate) fn looked(&mut self, number: u64, look: (f64, u64)) {
        self.looks.insert(number, look);
    }

    fn add(&mut self, process: usize, part: &Part) {
        self.open[process] = part.connections;
        tally::add(&mut self.counts, &part.counts);
        self.missing += part.missing;
        self.forgone += part.forgone;
        self.lost_with_connection += part.lost_with_connection;
        for (kind, values) in &part.latencies {
            let latencies = self.latencies.entry(*kind).or_insert_with(Latencies::new);
            values.iter().for_each(|(ns, count)| latencies.record_many(*ns, *count));
        }
        part.lag.iter().for_each(|(ns, count)| self.lag.record_many(*ns, *count));
    }

    fn add_second(&mut self, number: u64, part: &Part) {
        let at = usize::try_from(number).expect("invariant: seconds of a run are counted");
        while self.seconds.len() <= at {
            self.seconds.push(Gathered {
                connections: 0,
                sent: 0,
                received: 0,
                errors: 0,
                latencies: Latencies::new(),
                processes: 0,
            });
        }
        let second = &mut self.seconds[at];
        second.processes += 1;
        second.connections += part.connections;
        second.sent += part.sent;
        second.received += part.received;
        second.errors += part.counts.errors.values().sum::<u64>();
        for values in OPEN_LOOP.iter().filter_map(|kind| part.latencies.get(kind)) {
            values.iter().for_each(|(ns, count)| second.latencies.record_many(*ns, *count));
        }
    }

    pub(crate) fn are_all_ready(&self) -> bool {
        self.is_ready.iter().all(|is_ready| *is_ready)
    }

    pub(crate) fn are_all_done(&self) -> bool {
        self.finishes.iter().all(Option::is_some)
    }

    pub(crate) fn open(&self) -> u64 {
        self.open.iter().sum()
    }

    pub(crate) fn errors(&self) -> u64 {
        self.counts.errors.values().sum()
    }

    /// The newest second that all processes have told, and how many there are.
    pub(crate) fn newest_second(&self) -> Option<(usize, Second)> {
        let at = self.seconds.iter().rposition(|second| second.processes == self.open.len())?;
        Some((at + 1, self.second(at, u64::MAX)))
    }

    /// Latencies of a kind so far.
    pub(crate) fn latencies(&self, kind: Kind) -> Option<&Latencies> {
        self.latencies.get(&kind).filter(|latencies| !latencies.is_empty())
    }

    /// The newest look at the server.
    pub(crate) fn newest_look(&self) -> Option<(f64, u64)> {
        self.looks.last_key_value().map(|(_, look)| *look)
    }

    /// Fails where not one connection of those that ought to be there could be opened.
    pub(crate) fn check_reached(&self, plan: &Plan) -> Result<()> {
        if 0 < self.counts.connections_opened || self.counts.connections_wanted == 0 {
            return Ok(());
        }
        let errors = self.counts.errors.iter().take(NAMED_MAX);
        let errors: Vec<String> = errors.map(|(kind, count)| format!("{kind} x {count}")).collect();
        let wanted = self.counts.connections_wanted;
        let url = plan.target.authority();
        Err(Failure::Unreachable(format!(
            "none of {wanted} connections to {url} was opened: {}",
            errors.join(", ")
        )))
    }

    /// The outcome's numbers, once all is told.
    pub(crate) fn fill(&self, outcome: &mut Outcome) {
        let mut counts = self.counts.clone();
        counts.requests_sent = counts.requests_sent.saturating_sub(self.forgone);
        let unanswered = counts.requests_sent.saturating_sub(counts.replies_received);
        let lost = self.lost_with_connection.min(unanswered);
        for (kind, count) in [("no reply: its connection was lost", lost), ("no reply", unanswered - lost)] {
            if 0 < count {
                counts.errors.insert(kind.to_owned(), count);
            }
        }
        let finishes: Vec<Finish> = self.finishes.iter().flatten().cloned().collect();
        let missing = u64::try_from(self.missing).unwrap_or(0);
        counts.gaps = missing + tally::tail(&finishes);
        counts.deliveries_expected = counts.deliveries_received + counts.gaps;
        let slow_ended: u64 = finishes.iter().map(|finish| finish.slow_ended).sum();
        if 0 < slow_ended {
            outcome.notes.push(format!("the server ended {slow_ended} of the slow readers"));
        }
        outcome.counts = counts;
        outcome.generator.busy_share = finishes.iter().map(|finish| finish.busy_share).fold(0.0, f64::max);
        if let Some(lag) = self.lag.latency() {
            outcome.generator.lag_p50_ns = lag.p50_ns;
            outcome.generator.lag_p99_ns = lag.p99_ns;
        }
        let latencies =
            self.latencies.iter().filter_map(|(kind, latencies)| Some((*kind, latencies.latency()?)));
        outcome.latencies = latencies.collect();
        let measured_ms = outcome.measured_ns / 1_000_000;
        outcome.seconds = (0..self.seconds.len()).map(|at| self.second(at, measured_ms)).collect();
        if counts_short(outcome) {
            let Counts { connections_opened, connections_wanted, .. } = outcome.counts;
            outcome
                .notes
                .push(format!("{connections_opened} of {connections_wanted} connections were opened"));
        }
    }

    fn second(&self, at: usize, measured_ms: u64) -> Second {
        let gathered = &self.seconds[at];
        let latency = gathered.latencies.latency();
        let look = self.looks.get(&(at as u64));
        Second {
            at_ms: ((at as u64 + 1) * SECOND_NS / 1_000_000).min(measured_ms),
            connections: gathered.connections,
            sent: gathered.sent,
            received: gathered.received,
            errors: gathered.errors,
            p50_ns: latency.as_ref().map(|latency| latency.p50_ns),
            p99_ns: latency.as_ref().map(|latency| latency.p99_ns),
            max_ns: latency.as_ref().map(|latency| latency.max_ns),
            server_cpu_cores: look.map(|look| look.0),
            server_resident_bytes: look.map(|look| look.1),
        }
    }
}

fn counts_short(outcome: &Outcome) -> bool {
    outcome.counts.connections_opened < outcome.counts.connections_wanted
}
