//! Messages between users: what `loadtest messages` measures, part by part, each against its bar. Home: the load thread.
//! Invariants: each run has a server, a folder and users of its own; what was promised or sent is received, each once and in
//! order, or the run gives no number; the smoke judges that alone, and no speed.

mod disk;
mod durable;
mod exchange;
mod ledger;
mod memory;
mod overtake;
mod queue;
mod restart;
mod schedule;
mod site;
mod soak;
mod texts;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::account::Account;
use crate::clock::{MILLISECOND_NS, SECOND_NS};
use crate::failure::{Failure, Result};
use crate::report::{Comparison, short};
use crate::scenarios::{NO_LIMIT, Rig, SUBJECT};

/// What a smoke run measures, which is not for its speed.
const SMOKE_NS: u64 = 300 * MILLISECOND_NS;
/// Of a smoke run, in place of what the flags say.
const SMOKE_MESSAGES: u64 = 4_000;
const SMOKE_RATE_PER_S: u64 = 500;
/// Long enough for who comes and goes to do so, and for mailboxes to overflow.
const SMOKE_SOAK_NS: u64 = 8 * SECOND_NS;
/// Messages beside those that a part leaves waiting: what is under way, and probes.
const MESSAGES_BESIDE: u64 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// From send to durable, beside the disk's fdatasync; how many a second
    Durable,
    /// Fire and forget, as many as the server does on one core, beside the raw loop
    Memory,
    /// Critical messages past low ones that wait for the same user
    Overtake,
    /// How far from its time a scheduled message arrives
    Schedule,
    /// What messages that wait for absent users take of memory
    Queue,
    /// A SIGKILL with durable messages stored, and the start after it
    Restart,
    /// Receivers who keep up, are slow, come and go, and are away: what the server holds, and whether all is received or dead
    Soak,
}

impl Part {
    const ALL: [Part; 7] =
        [Part::Durable, Part::Memory, Part::Overtake, Part::Schedule, Part::Queue, Part::Restart, Part::Soak];

    const fn name(self) -> &'static str {
        match self {
            Part::Durable => "messages, durable",
            Part::Memory => "messages, in memory",
            Part::Overtake => "messages, overtake",
            Part::Schedule => "messages, schedule",
            Part::Queue => "messages, queue",
            Part::Restart => "messages, restart",
            Part::Soak => "messages, soak",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct MessagesArguments {
    /// Only this part (repeatable)
    #[arg(long = "part", value_name = "PART")]
    parts: Vec<Part>,
    /// Connections: half of them send and half receive, or each does both
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(2..=1_000))]
    connections: u64,
    /// Durable messages a second in the open loop
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Sends of each connection that wait for their answers in a closed loop
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1_024))]
    window: u64,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(texts::CONTENT_BYTES_MIN..=16_384))]
    bytes: u64,
    /// Low messages that wait for the user whom critical ones are sent to
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    low: u64,
    /// Critical messages a second
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    critical_rate: u64,
    /// Messages that are scheduled
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    scheduled: u64,
    /// Messages that wait for absent users
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    queued: u64,
    /// Durable messages that are stored when the server is killed
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    stored: u64,
    /// How long the soak lasts, in minutes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    soak_minutes: u64,
    /// Durable messages a second of the soak
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(100..=5_000))]
    soak_rate: u64,
    /// The folder in which each run makes one of its own, for the store and what the server is configured by
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// Every part once with next to no work: fails if a message is lost, and judges no speed
    #[arg(long)]
    smoke: bool,
}

/// What all parts are told.
#[derive(Debug, Clone)]
struct Shape {
    connections: usize,
    rate_per_s: u64,
    window: u64,
    content_bytes: usize,
    low: u64,
    critical_per_s: u64,
    scheduled: u64,
    queued: u64,
    stored: u64,
    soak_ns: u64,
    soak_per_s: u64,
    folder: PathBuf,
    judges_speed: bool,
}

impl Shape {
    fn new(arguments: &MessagesArguments) -> Shape {
        let small = |count: u64| if arguments.smoke { count.min(SMOKE_MESSAGES) } else { count };
        let rate = |per_s: u64| if arguments.smoke { per_s.min(SMOKE_RATE_PER_S) } else { per_s };
        let size = |number: u64| usize::try_from(number).expect("invariant: usize has 64 bits here");
        Shape {
            connections: size(arguments.connections),
            rate_per_s: rate(arguments.rate),
            window: arguments.window,
            content_bytes: size(arguments.bytes),
            low: small(arguments.low),
            critical_per_s: rate(arguments.critical_rate),
            scheduled: small(arguments.scheduled),
            queued: small(arguments.queued),
            stored: small(arguments.stored),
            soak_ns: if arguments.smoke { SMOKE_SOAK_NS } else { arguments.soak_minutes * 60 * SECOND_NS },
            soak_per_s: rate(arguments.soak_rate),
            folder: arguments.folder.clone(),
            judges_speed: !arguments.smoke,
        }
    }

    /// Senders that have a receiver each.
    fn streams(&self) -> usize {
        self.connections / 2
    }

    /// The bound that the server needs for any part.
    fn messages_max(&self) -> u64 {
        self.low.max(self.scheduled).max(self.queued).max(self.stored) + MESSAGES_BESIDE
    }

    /// How many of `count` each of `senders` sends, and how many that are in all: as many as divide evenly, one each at least.
    fn shares(count: u64, senders: usize) -> (u64, u64) {
        let each = (count / senders as u64).max(1);
        (each, each * senders as u64)
    }
}

/// All parts, or those asked for.
pub(crate) fn run(rig: &Rig, arguments: &MessagesArguments) -> Result<(Vec<Comparison>, Vec<Account>)> {
    if rig.server.is_none() {
        return Err(Failure::Unmet("messages are a server's: --server PATH".to_owned()));
    }
    let shape = Shape::new(arguments);
    let rig = match arguments.smoke {
        true => Rig {
            pairs: 1,
            warmup_ns: SMOKE_NS,
            measured_ns: SMOKE_NS,
            generator_lag_ns_max: u64::MAX,
            ..rig.clone()
        },
        false => rig.clone(),
    };
    let (mut comparisons, mut accounts) = (Vec::new(), Vec::new());
    for part in
        Part::ALL.into_iter().filter(|part| arguments.parts.is_empty() || arguments.parts.contains(part))
    {
        let measured = match part {
            Part::Durable => Ok(durable::run(&rig, &shape)),
            Part::Memory => memory::run(&rig, &shape),
            Part::Overtake => Ok(overtake::run(&rig, &shape)),
            Part::Schedule => Ok(schedule::run(&rig, &shape)),
            Part::Queue => Ok(queue::run(&rig, &shape)),
            Part::Restart => restart::run(&rig, &shape),
            Part::Soak => Ok((Vec::new(), soak::run(&rig, &shape))),
        };
        match measured {
            Ok((compared, judged)) => {
                comparisons.extend(compared);
                accounts.extend((!judged.verdicts.is_empty()).then_some(judged));
            }
            // One part that could not begin says so, and the others go on.
            Err(failure) => {
                comparisons.push(refused(part.name(), &failure));
            }
        }
    }
    Ok((comparisons, accounts))
}

/// A case that could not begin.
fn refused(case: &str, failure: &Failure) -> Comparison {
    Comparison {
        case: case.to_owned(),
        limit: NO_LIMIT.to_owned(),
        subject: SUBJECT.to_owned(),
        pairs: Vec::new(),
        refused: vec![failure.to_string()],
    }
}

/// Holds the median of a metric against the most that it may be; one that was not measured does not hold.
fn judge_at_most(
    account: &mut Account,
    comparison: &Comparison,
    metric: &'static str,
    unit: &str,
    most: f64,
) {
    let value = comparison.subject_median(metric);
    let told = value.map_or("not measured".to_owned(), short);
    let claim = format!("{metric} is {told}, at most {} {unit}", short(most));
    account.judge(claim, value.is_some_and(|value| value <= most));
}

/// The same of a rate a second and the least that it may be.
fn judge_at_least(account: &mut Account, comparison: &Comparison, metric: &'static str, least: f64) {
    let value = comparison.subject_median(metric);
    let told = value.map_or("not measured".to_owned(), short);
    let claim = format!("{metric}: {told} a second, at least {}", short(least));
    account.judge(claim, value.is_some_and(|value| least <= value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Sample;

    fn comparison(values: &[f64]) -> Comparison {
        let pairs = values.iter().map(|value| {
            let mut sample = Sample::default();
            sample.add("latency p99", "us", *value);
            (Sample::default(), sample)
        });
        Comparison {
            case: "messages".to_owned(),
            limit: NO_LIMIT.to_owned(),
            subject: SUBJECT.to_owned(),
            pairs: pairs.collect(),
            refused: Vec::new(),
        }
    }

    #[test]
    fn the_median_is_what_is_held_against_a_bar() {
        let holds = |values: &[f64], most| {
            let mut account = Account::default();
            judge_at_most(&mut account, &comparison(values), "latency p99", "us", most);
            account.holds()
        };
        assert!(holds(&[1.0, 2.0, 90.0], 2.0));
        assert!(!holds(&[1.0, 3.0, 3.0], 2.0));
        assert!(!holds(&[], 2.0), "what was not measured does not hold");
    }

    #[test]
    fn a_rate_below_its_bar_does_not_hold() {
        let mut account = Account::default();
        judge_at_least(&mut account, &comparison(&[5.0, 6.0]), "latency p99", 5.5);
        assert!(account.holds());
        judge_at_least(&mut account, &comparison(&[5.0, 6.0]), "latency p99", 5.6);
        assert!(!account.holds());
        assert!(account.verdicts[1].claim.contains("at least 5.6"), "{:?}", account.verdicts);
    }

    #[test]
    fn shares_divide_evenly_and_are_never_none() {
        assert_eq!(Shape::shares(1_000, 16), (62, 992));
        assert_eq!(Shape::shares(3, 16), (1, 16));
    }

    /// What these flags ask for.
    pub(super) fn shape(flags: &[&str]) -> Shape {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            arguments: MessagesArguments,
        }
        let line = <Line as clap::Parser>::parse_from(["loadtest"].iter().chain(flags));
        Shape::new(&line.arguments)
    }

    #[test]
    fn a_smoke_is_small_and_judges_no_speed() {
        let full = shape(&[]);
        assert_eq!((full.rate_per_s, full.low, full.queued), (20_000, 100_000, 1_000_000));
        assert!(full.judges_speed && full.messages_max() > full.stored);
        let smoke = shape(&["--smoke", "--scheduled", "100"]);
        assert_eq!((smoke.scheduled, smoke.stored), (100, SMOKE_MESSAGES));
        assert!(!smoke.judges_speed);
        assert_eq!((full.soak_ns, full.soak_per_s, smoke.soak_ns), (60 * SECOND_NS, 400, SMOKE_SOAK_NS));
    }
}
