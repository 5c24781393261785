//! Grades from A+ to F: each criterion by five stated bounds, the run's grade the worst of them. PURE.
//! Invariants: a refused run has no grade; what was not measured is no criterion, so nothing is given for free; every
//! reason says the number, the bound and what the next better grade needs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::figures::{KINDS, kind_name};
use crate::outcome::{Criterion, Grade, Graded, Kind, Outcome};
use crate::units;

/// From here on the cost of a message says more than the cores in use, which at less are those of timers and of waiting.
const MESSAGES_PER_S_MIN: f64 = 1_000.0;
/// From here on the memory of a connection says more than the whole, which at less is that of pools and of code.
const CONNECTIONS_MIN: u64 = 1_000;

/// The largest values of A+, A, B, C and D; beyond the last is F. Empty: not graded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub(crate) struct Bounds(Vec<f64>);

/// The table `[grades]` of a scenario; what is not named there is as below. Latencies are judged at their 99th percentile:
/// what one in a hundred messages waits for, while p99.9 of a short run rests on a few values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Thresholds {
    /// 250 ms is this project's bar for 5,000 connects at once; from 1 s on a SYN was lost and sent again (RFC 6298 §2.1),
    /// at 3 s twice; 10 s is the end of a person's patience (Nielsen, Usability Engineering, 1993).
    pub(crate) connect_p99_ms: Bounds,
    /// 1 ms is how far clocks may diverge for trading that is not of high frequency (MiFID II, RTS 25, annex, table 2), 2 ms
    /// this project's bar for requests at half load, 16 ms a frame of a 60 Hz screen, 100 ms what a person takes for at once (Nielsen).
    pub(crate) request_p99_ms: Bounds,
    /// As requests, but a server may gather what it sends for a millisecond or two; this project's bar is 4 ms.
    pub(crate) delivery_p99_ms: Bounds,
    /// Who is told last trades last: as deliveries.
    pub(crate) spread_p99_ms: Bounds,
    /// As requests; 1 ms at half load is this project's bar.
    pub(crate) order_p99_ms: Bounds,
    /// 1 s of quotes missed is noticed by all, 30 s is what a usual ping takes to find a dead connection.
    pub(crate) reconnect_p99_ms: Bounds,
    /// Errors per attempt: none, then five, four, three and two nines without.
    pub(crate) errors_percent: Bounds,
    /// Connections not opened or lost, of those wanted: as errors.
    pub(crate) connections_lost_percent: Bounds,
    /// Requests without a reply: as errors.
    pub(crate) replies_lost_percent: Bounds,
    /// Deliveries that are missing: a hole in a book is an error of each number after it, so one nine more is asked for.
    /// Empty for a server that conflates.
    pub(crate) deliveries_lost_percent: Bounds,
    /// Deliveries twice or out of order: no share of them is good, TCP and one publisher keep the order by themselves.
    pub(crate) deliveries_disordered_percent: Bounds,
    /// The server's processor time for a message in or out, from 1,000 messages/s on. A bare loop that
    /// sends (the limit of `loadtest fanout`) took 4.0 to 5.2 us a message on two shared cores, so 5 is nearly nothing on top,
    /// 10 as much again; 100 are 10,000 messages/s of a core.
    pub(crate) cpu_us_per_message: Bounds,
    /// In place of it for runs with less: 1 % of a core is this project's bar for idling, one core is busy polling.
    pub(crate) cpu_cores: Bounds,
    /// What the server grew by for a connection, from 1,000 connections on: a page; what the kernel's smallest socket
    /// buffers take; a thread's used stack; and 1 MiB, at which 1,000 clients are a machine's memory.
    pub(crate) memory_kib_per_connection: Bounds,
    /// In place of it for runs with fewer, the resident memory in all: the usual sizes of a small container.
    pub(crate) memory_mib: Bounds,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        let bounds = |five: [f64; 5]| Bounds(five.to_vec());
        let nines = || bounds([0.0, 0.001, 0.01, 0.1, 1.0]);
        Thresholds {
            connect_p99_ms: bounds([100.0, 250.0, 1_000.0, 3_000.0, 10_000.0]),
            request_p99_ms: bounds([1.0, 2.0, 16.0, 50.0, 100.0]),
            delivery_p99_ms: bounds([2.0, 4.0, 16.0, 50.0, 100.0]),
            spread_p99_ms: bounds([2.0, 4.0, 16.0, 50.0, 100.0]),
            order_p99_ms: bounds([1.0, 2.0, 16.0, 50.0, 100.0]),
            reconnect_p99_ms: bounds([250.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0]),
            errors_percent: nines(),
            connections_lost_percent: nines(),
            replies_lost_percent: nines(),
            deliveries_lost_percent: bounds([0.0, 0.0001, 0.001, 0.01, 0.1]),
            deliveries_disordered_percent: bounds([0.0, 0.0, 0.0, 0.0, 0.1]),
            cpu_us_per_message: bounds([5.0, 10.0, 20.0, 50.0, 100.0]),
            cpu_cores: bounds([0.01, 0.02, 0.05, 0.2, 1.0]),
            memory_kib_per_connection: bounds([4.0, 16.0, 64.0, 256.0, 1_024.0]),
            memory_mib: bounds([64.0, 128.0, 256.0, 512.0, 1_024.0]),
        }
    }
}

/// The grade of a run. `None` where it was refused, or where nothing that has bounds was measured.
pub(crate) fn grade(outcome: &Outcome, thresholds: &Thresholds) -> Option<Graded> {
    if !outcome.refused.is_empty() {
        return None;
    }
    let mut criteria: Vec<Criterion> = measures(outcome, thresholds)
        .into_iter()
        .filter_map(|measure| {
            let value = measure.value?;
            let grade = measure.bounds.grade(value)?;
            let reason = measure.bounds.reason(value, measure.what, measure.unit);
            Some(Criterion { name: measure.name, grade, reason })
        })
        .collect();
    criteria.sort_by_key(|criterion| criterion.grade);
    let grade = criteria.last()?.grade;
    Some(Graded { grade, criteria })
}

/// The runs that are below `least` or have no grade, each as a sentence; none of them is what `--min-grade` asks for.
pub(crate) fn below(runs: &[Outcome], least: Grade) -> Vec<String> {
    let complaint = |run: &Outcome| {
        let Outcome { scenario, server, .. } = run;
        match &run.graded {
            Some(graded) if graded.grade <= least => None,
            Some(graded) => {
                Some(format!("{scenario} against {server}: {}, and {least} was asked for", graded.grade))
            }
            None => Some(format!("{scenario} against {server}: no grade, and {least} was asked for")),
        }
    };
    runs.iter().filter_map(complaint).collect()
}

/// One thing to grade.
struct Measure<'a> {
    name: String,
    /// In the bounds' unit.
    value: Option<f64>,
    what: &'static str,
    unit: &'static str,
    bounds: &'a Bounds,
}

fn measures<'a>(outcome: &Outcome, thresholds: &'a Thresholds) -> Vec<Measure<'a>> {
    let mut measures: Vec<Measure<'_>> =
        KINDS.map(|kind| latency_measure(outcome, thresholds, kind)).into_iter().collect();
    let shares = [
        ("errors", outcome.error_share(), "of the attempts ended in an error", &thresholds.errors_percent),
        (
            "connections lost",
            outcome.connection_loss_share(),
            "of the connections were not opened or not kept",
            &thresholds.connections_lost_percent,
        ),
        (
            "replies lost",
            outcome.reply_loss_share(),
            "of the requests had no reply",
            &thresholds.replies_lost_percent,
        ),
        (
            "deliveries lost",
            outcome.delivery_loss_share(),
            "of the deliveries are missing",
            &thresholds.deliveries_lost_percent,
        ),
        (
            "deliveries disordered",
            outcome.disorder_share(),
            "of the deliveries came twice or out of order",
            &thresholds.deliveries_disordered_percent,
        ),
    ];
    measures.extend(shares.map(|(name, share, what, bounds)| Measure {
        name: name.to_owned(),
        value: share.map(|share| share * 100.0),
        what,
        unit: "%",
        bounds,
    }));
    measures.push(processor_measure(outcome, thresholds));
    measures.push(memory_measure(outcome, thresholds));
    measures
}

fn latency_measure<'a>(outcome: &Outcome, thresholds: &'a Thresholds, kind: Kind) -> Measure<'a> {
    let bounds = match kind {
        Kind::Connect => &thresholds.connect_p99_ms,
        Kind::Request => &thresholds.request_p99_ms,
        Kind::Delivery => &thresholds.delivery_p99_ms,
        Kind::Spread => &thresholds.spread_p99_ms,
        Kind::Order => &thresholds.order_p99_ms,
        Kind::Reconnect => &thresholds.reconnect_p99_ms,
    };
    let measured = outcome.latencies.get(&kind).filter(|latency| latency.count > 0);
    Measure {
        name: format!("{} latency", kind_name(kind)),
        value: measured.map(|latency| latency.p99_ns as f64 / 1e6),
        what: "at p99",
        unit: "ms",
        bounds,
    }
}

fn processor_measure<'a>(outcome: &Outcome, thresholds: &'a Thresholds) -> Measure<'a> {
    let is_busy = outcome.per_second(outcome.messages()).is_some_and(|rate| MESSAGES_PER_S_MIN <= rate);
    let (value, what, unit, bounds) = if is_busy {
        let cost = outcome.cpu_ns_per_message().map(|ns| ns / 1_000.0);
        (cost, "of processor time for a message", "us", &thresholds.cpu_us_per_message)
    } else {
        (outcome.cpu_cores(), "in use", "cores", &thresholds.cpu_cores)
    };
    Measure { name: "processor".to_owned(), value, what, unit, bounds }
}

fn memory_measure<'a>(outcome: &Outcome, thresholds: &'a Thresholds) -> Measure<'a> {
    let (value, what, unit, bounds) = if CONNECTIONS_MIN <= outcome.counts.connections_opened {
        let grown = outcome.resident_per_connection().map(|bytes| bytes / 1_024.0);
        (grown, "of memory for a connection", "KiB", &thresholds.memory_kib_per_connection)
    } else {
        let peak = outcome.server_use.as_ref().map(|used| used.resident_peak_bytes as f64 / 1_048_576.0);
        (peak, "of memory in all", "MiB", &thresholds.memory_mib)
    };
    Measure { name: "memory".to_owned(), value, what, unit, bounds }
}

const GRADES: [Grade; 6] = [Grade::APlus, Grade::A, Grade::B, Grade::C, Grade::D, Grade::F];

impl Bounds {
    /// `None` where nothing is graded.
    fn grade(&self, value: f64) -> Option<Grade> {
        if self.0.is_empty() || value.is_nan() {
            return None;
        }
        Some(GRADES[self.rank(value)])
    }

    fn reason(&self, value: f64, what: &str, unit: &str) -> String {
        let rank = self.rank(value);
        let bound = |at: usize| format!("{} {unit}", exact(self.0[at]));
        let number = format!("{} {unit} {what}", self.number(value));
        let is_within = match self.0.get(rank) {
            Some(_) => format!("{number}, within the {} of {}", bound(rank), GRADES[rank]),
            None => format!("{number}, beyond the {} of {}", bound(rank - 1), GRADES[rank - 1]),
        };
        // Where several grades share a bound, the best of them is what is next.
        let next = self.0[..rank].last().and_then(|next| self.0.iter().position(|bound| bound == next));
        match next {
            Some(next) => format!("{is_within}; {} needs {} at most", GRADES[next], bound(next)),
            None => is_within,
        }
    }

    /// The place of the grade: that of the first bound which the value does not exceed.
    fn rank(&self, value: f64) -> usize {
        self.0.iter().position(|bound| value <= *bound).unwrap_or(self.0.len())
    }

    /// Rounded, unless rounding moves it to another grade than its own.
    fn number(&self, value: f64) -> String {
        let rounded = units::digits(value);
        let is_same = rounded.replace(',', "").parse().is_ok_and(|read| self.rank(read) == self.rank(value));
        if is_same { rounded } else { format!("{value}") }
    }
}

/// As it was written: a bound is not rounded.
fn exact(bound: f64) -> String {
    if bound >= 1_000.0 { units::digits(bound) } else { format!("{bound}") }
}

impl TryFrom<Vec<f64>> for Bounds {
    type Error = &'static str;

    fn try_from(bounds: Vec<f64>) -> Result<Bounds, &'static str> {
        if !(bounds.is_empty() || bounds.len() == GRADES.len() - 1) {
            return Err("five bounds, those of A+, A, B, C and D, or none where nothing is to be graded");
        }
        if bounds.iter().any(|bound| !bound.is_finite() || *bound < 0.0) || !bounds.is_sorted() {
            return Err("bounds are numbers from 0 on, and none is below the one before");
        }
        Ok(Bounds(bounds))
    }
}

impl From<Bounds> for Vec<f64> {
    fn from(bounds: Bounds) -> Vec<f64> {
        bounds.0
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Grade::APlus => "A+",
            Grade::A => "A",
            Grade::B => "B",
            Grade::C => "C",
            Grade::D => "D",
            Grade::F => "F",
        })
    }
}

impl FromStr for Grade {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Grade, &'static str> {
        let named = GRADES.into_iter().find(|grade| grade.to_string().eq_ignore_ascii_case(text));
        named.ok_or("a grade is one of A+, A, B, C, D, F")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn criterion(outcome: &Outcome, name: &str) -> Option<Criterion> {
        let graded = grade(outcome, &Thresholds::default()).expect("the run is graded");
        graded.criteria.into_iter().find(|criterion| criterion.name == name)
    }

    fn request_reason(p99_ns: u64) -> (Grade, String) {
        let mut outcome = samples::outcome();
        outcome.latencies.get_mut(&Kind::Request).expect("it has requests").p99_ns = p99_ns;
        let criterion = criterion(&outcome, "request latency").expect("it was measured");
        (criterion.grade, criterion.reason)
    }

    #[test]
    fn a_value_at_its_bound_has_the_better_grade_and_the_next_nanosecond_has_not() {
        assert_eq!(request_reason(1_000_000).0, Grade::APlus);
        assert_eq!(request_reason(1_000_001).0, Grade::A);
        assert_eq!(request_reason(2_000_000).0, Grade::A);
        assert_eq!(request_reason(16_000_001).0, Grade::C);
        assert_eq!(request_reason(100_000_000).0, Grade::D);
        assert_eq!(request_reason(100_000_001).0, Grade::F);
    }

    #[test]
    fn a_reason_says_the_number_the_bound_and_what_the_next_grade_needs() {
        assert_eq!(request_reason(400_000).1, "0.400 ms at p99, within the 1 ms of A+");
        assert_eq!(
            request_reason(3_210_000).1,
            "3.21 ms at p99, within the 16 ms of B; A needs 2 ms at most"
        );
        assert_eq!(
            request_reason(250_000_000).1,
            "250 ms at p99, beyond the 100 ms of D; D needs 100 ms at most"
        );
    }

    #[test]
    fn rounding_does_not_show_a_number_on_the_other_side_of_its_bound() {
        assert_eq!(
            request_reason(1_000_001).1,
            "1.000001 ms at p99, within the 2 ms of A; A+ needs 1 ms at most"
        );
    }

    #[test]
    fn the_run_is_as_good_as_its_worst_criterion() {
        let mut outcome = samples::outcome();
        outcome.counts.deliveries_received = 49_900;
        let graded = grade(&outcome, &Thresholds::default()).expect("the run is graded");
        assert_eq!(graded.grade, Grade::F);
        let worst = graded.criteria.last().expect("there are criteria");
        assert_eq!(worst.name, "deliveries lost");
        assert!(graded.criteria.is_sorted_by_key(|criterion| criterion.grade), "{graded:?}");
    }

    #[test]
    fn a_refused_run_has_no_grade() {
        let mut outcome = samples::outcome();
        outcome.refused.push("the generator was the limit".to_owned());
        assert_eq!(grade(&outcome, &Thresholds::default()), None);
    }

    #[test]
    fn what_was_not_measured_is_no_criterion() {
        let mut outcome = samples::outcome();
        outcome.server_use = None;
        outcome.counts = crate::outcome::Counts::default();
        outcome.latencies.retain(|kind, _| *kind == Kind::Request);
        let graded = grade(&outcome, &Thresholds::default()).expect("the run is graded");
        assert_eq!(graded.criteria.len(), 1, "{graded:?}");
        outcome.latencies.get_mut(&Kind::Request).expect("it has requests").count = 0;
        assert_eq!(grade(&outcome, &Thresholds::default()), None, "nothing measured is no A+");
    }

    #[test]
    fn one_delivery_out_of_order_is_a_d() {
        let mut outcome = samples::outcome();
        outcome.counts.reordered = 1;
        let disordered = criterion(&outcome, "deliveries disordered").expect("it was measured");
        assert_eq!(disordered.grade, Grade::D);
        assert!(disordered.reason.ends_with("; A+ needs 0 % at most"), "{}", disordered.reason);
    }

    #[test]
    fn few_messages_are_graded_by_cores_and_few_connections_by_memory_in_all() {
        let mut outcome = samples::outcome();
        let of = |outcome: &Outcome, name| criterion(outcome, name).expect("it was measured").reason;
        assert!(
            of(&outcome, "processor").starts_with("10.0 us of processor time for a message, within the 10")
        );
        assert!(of(&outcome, "memory").starts_with("38.3 MiB of memory in all, within the 64 MiB of A+"));
        outcome.measured_ns *= 100;
        outcome.counts.connections_opened = 1_000;
        assert!(of(&outcome, "processor").starts_with("0.000705 cores in use"));
        assert!(of(&outcome, "memory").starts_with("0.200 KiB of memory for a connection"));
    }

    #[test]
    fn a_table_of_grades_names_what_differs_and_refuses_what_it_does_not_know() {
        let read = |text: &str| toml::from_str::<Thresholds>(text);
        let thresholds = read("request_p99_ms = [5, 10, 20, 40, 80]\ndeliveries_lost_percent = []").unwrap();
        assert_eq!(thresholds.request_p99_ms, Bounds(vec![5.0, 10.0, 20.0, 40.0, 80.0]));
        assert_eq!(thresholds.connect_p99_ms, Thresholds::default().connect_p99_ms);
        let mut outcome = samples::outcome();
        outcome.counts.deliveries_received = 1;
        let graded = grade(&outcome, &thresholds).expect("the run is graded");
        assert!(graded.criteria.iter().all(|criterion| criterion.name != "deliveries lost"), "{graded:?}");
        for broken in [
            "cpu_cores = [1, 2, 3]",
            "cpu_cores = [5, 4, 3, 2, 1]",
            "cpu_cores = [-1, 0, 0, 0, 0]",
            "cpu = []",
        ] {
            assert!(read(broken).is_err(), "{broken}");
        }
        let written = toml::to_string(&Thresholds::default()).unwrap();
        assert_eq!(read(&written).unwrap(), Thresholds::default());
    }

    #[test]
    fn a_grade_asked_for_is_not_met_by_a_worse_one_or_by_none() {
        let graded = |grade: Option<Grade>| {
            let graded = grade.map(|grade| Graded { grade, criteria: Vec::new() });
            Outcome { graded, ..samples::outcome() }
        };
        let runs = [graded(Some(Grade::APlus)), graded(Some(Grade::A)), graded(Some(Grade::B)), graded(None)];
        assert_eq!(
            below(&runs, Grade::A),
            [
                "baseline against tickring: B, and A was asked for",
                "baseline against tickring: no grade, and A was asked for"
            ]
        );
        assert_eq!(below(&runs[..3], Grade::B), Vec::<String>::new());
    }

    #[test]
    fn grades_are_read_as_they_are_written() {
        for grade in GRADES {
            assert_eq!(grade.to_string().parse(), Ok(grade));
        }
        assert_eq!("a+".parse(), Ok(Grade::APlus));
        assert!("E".parse::<Grade>().is_err());
    }
}
