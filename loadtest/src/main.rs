//! `loadtest`: open-loop load for a WebSocket server of the tickring dialect, beside the raw loop that is its limit,
//! in the same run on the same cores. Arguments to scenarios, no measuring of its own.

mod account;
mod client;
mod clock;
mod command;
mod compare;
mod dialect;
mod ear;
mod encoding;
mod engine;
mod failure;
mod figures;
mod flaw;
mod frame;
mod gate;
mod grade;
mod histogram;
mod host;
mod limit;
mod link;
mod markdown;
mod operators;
mod outcome;
mod peers;
mod progress;
mod proof;
mod report;
mod ring;
#[cfg(test)]
mod samples;
mod scenario;
mod scenarios;
mod schedule;
mod secure;
mod server;
mod sizing;
mod swarm;
mod units;
mod wire;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::account::Account;
use crate::clock::{MILLISECOND_NS, SECOND_NS};
use crate::command::list;
use crate::command::run::{self as load, RunArguments};
use crate::encoding::Encoding;
use crate::failure::{Failure, Result};
use crate::report::Comparison;
use crate::scenarios::{
    Rig, bridge, calls, churn, connections, fanout, flood, ingest, link as venue_link, messages, orders,
    ping, request,
};

/// The usual `--lag-us-max`.
const LAG_US_MAX: u32 = 1_000;

#[derive(Debug, Parser)]
#[command(
    name = "loadtest",
    version,
    about = "Measures a WebSocket server: by scenarios (run), or beside the raw loop that is its limit (all others)",
    after_help = load::EXIT_CODES
)]
struct Arguments {
    #[command(flatten)]
    rig: RigArguments,
    #[command(flatten, next_help_heading = "Without a command, as for `run`")]
    run: RunArguments,
    #[command(subcommand)]
    command: Option<Load>,
}

#[derive(Debug, Args)]
struct RigArguments {
    /// The server under test; without it the limit is compared with itself, and the ratio ought to be 1
    #[arg(long, global = true, value_name = "PATH")]
    server: Option<String>,
    /// One more argument for the server under test, after `serve` and the scenario's own (repeatable)
    #[arg(long = "server-arg", global = true, value_name = "ARG", allow_hyphen_values = true)]
    server_arguments: Vec<String>,
    /// Cores that the server process may use; the first is its shard's
    #[arg(long, global = true, value_delimiter = ',', default_value = "0")]
    cpu_server: Vec<usize>,
    /// The core of the load
    #[arg(long, global = true, default_value_t = 1)]
    cpu_client: usize,
    /// Pairs of runs: limit, server, limit, server …
    #[arg(long, global = true, default_value_t = 5)]
    runs: usize,
    /// Measured time of one run, in milliseconds
    #[arg(long, global = true, default_value_t = 3_000)]
    measure_ms: u64,
    /// Unmeasured time before it, in milliseconds
    #[arg(long, global = true, default_value_t = 500)]
    warmup_ms: u64,
    /// How late the generator may be at its 99th percentile, in microseconds, before an open-loop run is refused
    #[arg(long, global = true, default_value_t = u64::from(LAG_US_MAX))]
    lag_us_max: u64,
    /// For `request` and `fanout`: what TLS costs. The server plain and over TLS, in turns, in place of limit and server
    #[arg(long, global = true, requires = "server")]
    tls: bool,
    /// For `request` and `fanout`: what framing costs. The server by WebSocket and by binary TCP, in turns, in place of limit and server
    #[arg(long, global = true, requires = "server", conflicts_with = "tls")]
    tcp: bool,
    /// Also write the results to this file
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// Runs scenarios against a server of any dialect, graded
    #[command(after_help = load::EXIT_CODES)]
    Run(RunArguments),
    /// Lists the scenarios that are built in, or prints one as a file to begin with
    Scenarios { name: Option<String> },
    /// Lists the dialects that are built in, or prints one as a file to begin with
    Dialects { name: Option<String> },
    /// One process of the generator
    #[command(hide = true)]
    Work,
    /// Round trip of one request at a time, both ends spinning
    Ping,
    /// CPU per message at saturation; latency at half and 80 % of the limit
    Request {
        #[arg(long, default_value_t = 100)]
        connections: usize,
        /// Requests a second; without it: saturation, then half and 80 % of the limit
        #[arg(long)]
        rate: Option<u64>,
        /// Requests in flight on each connection at saturation
        #[arg(long, default_value_t = 1)]
        window: usize,
    },
    /// Deliveries of one topic to many subscribers
    Fanout {
        #[arg(long, default_value_t = 1_000)]
        subscribers: usize,
        /// Publishes a second; without it: saturation, then half and 80 % of the limit
        #[arg(long)]
        rate: Option<u64>,
        /// Bytes of published data in a notification
        #[arg(long, default_value_t = 40)]
        bytes: usize,
        /// Publishes in flight at saturation
        #[arg(long, default_value_t = 4)]
        window: u64,
    },
    /// Two nodes with one market over NATS: how much later an event is told by the one that follows
    Bridge {
        /// Events of the market a second
        #[arg(long, default_value_t = 10_000)]
        rate: u32,
        /// What both clients are told of it; all of it crosses, whatever they are told
        #[arg(long, default_value = "book.*.raw")]
        channel: String,
        /// The nats-server to run; without it NATS_SERVER of the environment, or that in PATH
        #[arg(long, value_name = "PATH")]
        nats_server: Option<String>,
    },
    /// Ticks of the server's own feed to client sockets, by the stamps in the notifications
    Ingest {
        #[arg(long, default_value_t = 100)]
        subscribers: usize,
        /// Ticks a second that the server's feed is set to (see --server-arg)
        #[arg(long, default_value_t = 10_000)]
        rate: u64,
        /// A channel to subscribe (repeatable)
        #[arg(long = "channel", default_value = "quote.*")]
        channels: Vec<String>,
        /// Put verbatim into the subscribe's params, such as ',"stamps":true'
        #[arg(long, default_value = "")]
        subscribe_extra: String,
        /// The member that holds the unix time in nanoseconds
        #[arg(long, default_value = "ns")]
        stamp: String,
        /// Bytes of data in the limit's notifications
        #[arg(long, default_value_t = 100)]
        limit_bytes: usize,
        /// Notifications a second that the limit makes for each subscriber; without it, as many as --rate
        #[arg(long)]
        limit_rate: Option<u64>,
        /// How long the limit gathers before it sends, in microseconds
        #[arg(long, default_value_t = 1_000)]
        limit_coalesce_us: u64,
        /// What it costs to be told in: `sbe` compares the server for clients of SBE with the same for clients of JSON, in turns, in place
        /// of limit and server
        #[arg(long, value_enum, default_value = "json")]
        encoding: Encoding,
    },
    /// Orders of clients that are logged in, beside subscribers of the trades: throughput and CPU at saturation; latency at
    /// half and 80 % of it. The server needs limits that do not act: --server-arg=--config --server-arg=loadtest/orders.toml
    Orders {
        #[arg(long, default_value_t = 100)]
        connections: usize,
        /// Who is told of every trade, but for the saturation
        #[arg(long, default_value_t = 1_000)]
        subscribers: usize,
        /// Requests a second; without it: saturation, then half and 80 % of what the server did
        #[arg(long)]
        rate: Option<u64>,
        /// Orders a second that trade; each is a send to every subscriber, a thousand of which are some 4 ms of a core
        #[arg(long, default_value_t = 20)]
        trades: u64,
        /// Of the other orders the share that rests and is cancelled; the rest finds nothing and is over at once
        #[arg(long, value_name = "PERCENT", default_value = "50%", value_parser = parse_percent)]
        resting: u64,
        /// Requests in flight on each connection at saturation
        #[arg(long, default_value_t = 1)]
        window: usize,
        /// A key to log in by (repeatable; the connections take them in turns)
        #[arg(long = "key", value_name = "ID:SECRET", default_value = "demo:demo-secret", value_parser = orders::parse_key)]
        keys: Vec<orders::Key>,
        /// What orders and trades are told in: `sbe` compares the server for clients of SBE with the same for clients of JSON, in
        /// turns, in place of limit and server
        #[arg(long, value_enum, default_value = "json")]
        encoding: Encoding,
    },
    /// One order at a time through a venue link, this process being both the client and the venue. The server needs to be told
    /// where the venue is: --server-arg=--config --server-arg=loadtest/link.toml
    Link {
        /// The key to log in by
        #[arg(long, value_name = "ID:SECRET", default_value = "demo:demo-secret", value_parser = orders::parse_key)]
        key: orders::Key,
        /// The stated bound on what the server adds to the median of the way there and back, in microseconds
        #[arg(long, default_value_t = 40)]
        added_us_max: u64,
    },
    /// Messages between users, part by part, each against its bar: durable ones beside the disk, those in memory beside the raw
    /// loop, critical ones past low ones, scheduled ones, many that wait, a crash (needs --server)
    Messages(messages::MessagesArguments),
    /// Calls to a backend over TCP, part by part, each against its bar, this process being both the clients and the backend: as many
    /// as a core carries, one at a time, answers that are kept, at a rate over many clients (needs --server)
    Calls(calls::CallsArguments),
    /// Idle connections: accepted, resident memory, idle CPU, drain
    Connections {
        #[arg(long, default_value_t = 10_000)]
        count: usize,
    },
    /// Connections that come and go, a share of them abruptly: what the server still holds afterwards (needs --server;
    /// one run)
    Churn {
        #[arg(long, default_value_t = 1_000_000)]
        cycles: u64,
        /// The share that is gone without a word, before, during or after the upgrade; with or without the sign
        #[arg(long, value_name = "PERCENT", default_value = "50%", value_parser = parse_percent)]
        abrupt: u64,
        /// Connections at a time
        #[arg(long, default_value_t = 200)]
        in_flight: usize,
        /// Cycles after which the memory is read that the end is held against
        #[arg(long, default_value_t = 100_000)]
        first_look: u64,
    },
    /// Good subscribers beside hostile connections of every kind, and without them, in turns: are all deliveries complete,
    /// how late, how long is the server's longest turn (needs --server)
    Flood {
        #[arg(long, default_value_t = 1_000)]
        hostile: usize,
        /// Subscribers whose deliveries must be complete
        #[arg(long, default_value_t = 100)]
        good: usize,
        /// Measured time of one run; without it, --measure-ms
        #[arg(long)]
        seconds: Option<u64>,
        /// Messages a second to each good subscriber
        #[arg(long, default_value_t = 100)]
        rate: u64,
        /// Bytes of published data in a notification
        #[arg(long, default_value_t = 100)]
        bytes: usize,
        /// Hostile connections opened a second in the place of those that ended
        #[arg(long, default_value_t = 500)]
        reconnects: u64,
        /// Messages a second that each flooding connection tries to send
        #[arg(long, default_value_t = 200)]
        flood_rate: u64,
        /// The stated bound on the server's longest turn, in milliseconds
        #[arg(long, default_value_t = 20)]
        turn_ms_max: u64,
    },
    /// tickring (--server) beside what a registry serves and a user would pick instead, in turns; from the repository's root
    Peers(peers::PeersArguments),
    /// Every number that tickring is to reach, measured beside the limit and beside peers, and docs/benchmarks.md from that; from
    /// the repository's root. Exit code 1 if a bar is missed and shortfalls.toml does not say why
    Proof(proof::ProofArguments),
    /// Short ratios of the server's CPU to the limit's, held against bounds: exit code 1 beyond one
    Gate(gate::Gate),
    /// How many nodes a demand takes, by what was measured on one, and whether they are quick then, by a simulation; measures nothing
    Size(sizing::SizeArguments),
    /// A limit arm by itself
    Limit {
        #[command(subcommand)]
        arm: limit::LimitArm,
    },
    /// Shows saved results again: a table, and the files asked for
    Report(report::Saved),
    /// Compares two files of saved runs; fails on a regression
    Compare(compare::Compare),
    /// Becomes a server that ends with this program
    #[command(hide = true)]
    Attend {
        parent: u32,
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Holds connections for the connections load
    #[command(hide = true)]
    Hold { address: SocketAddr, count: usize, first_index: usize },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let place = load::Place {
        server: arguments.rig.server.clone(),
        server_arguments: arguments.rig.server_arguments.clone(),
        cpus_server: arguments.rig.cpu_server.clone(),
        cpu_client: arguments.rig.cpu_client,
        lag_us_max: u32::try_from(arguments.rig.lag_us_max).ok().filter(|us| *us != LAG_US_MAX),
        json: arguments.rig.json.clone(),
    };
    let is_empty = arguments.run.is_empty();
    match &arguments.command {
        None if is_empty && place.server.is_none() => {
            usage(ErrorKind::MissingSubcommand, "a command, or --url URL")
        }
        Some(_) if !is_empty => usage(ErrorKind::ArgumentConflict, "flags of `run` stand behind the command"),
        None => coded(load::run(&arguments.run, &place)),
        Some(Load::Run(run)) => coded(load::run(run, &place)),
        Some(Load::Scenarios { name }) => coded(list::scenarios(name.as_deref()).map(|()| 0)),
        Some(Load::Dialects { name }) => coded(list::dialects(name.as_deref()).map(|()| 0)),
        Some(Load::Size(demand)) => coded(sizing::run(demand).map(|()| 0)),
        Some(Load::Work) => coded(engine::work().map(|()| 0)),
        Some(Load::Attend { parent, command }) => {
            coded(server::attend(*parent, command).map(|never| match never {}))
        }
        Some(_) => match run(arguments) {
            Ok(Outcome::Reported) => ExitCode::SUCCESS,
            Ok(Outcome::Refused) => ExitCode::FAILURE,
            Err(failure) => {
                tell(&failure);
                // A file that cannot be read is no regression.
                if matches!(failure, Failure::File(_)) {
                    ExitCode::from(load::USAGE)
                } else {
                    ExitCode::FAILURE
                }
            }
        },
    }
}

fn usage(kind: ErrorKind, what: &str) -> ExitCode {
    Arguments::command().error(kind, what).exit()
}

fn coded(ended: Result<u8>) -> ExitCode {
    ended.map_or_else(
        |failure| {
            tell(&failure);
            ExitCode::from(load::code_of(&failure))
        },
        ExitCode::from,
    )
}

fn tell(failure: &Failure) {
    // Nothing is left to do when stderr is closed as well.
    let _ = writeln!(std::io::stderr(), "loadtest: {failure}");
}

enum Outcome {
    Reported,
    /// A case had a run that gave no number, or a claim that does not hold.
    Refused,
}

fn run(arguments: Arguments) -> Result<Outcome> {
    match &arguments.command {
        Some(Load::Report(saved)) => Ok(outcome_of(report::run(saved)?)),
        Some(Load::Compare(files)) => Ok(outcome_of(compare::run(files)?)),
        Some(_) | None => measure(arguments),
    }
}

fn outcome_of(is_met: bool) -> Outcome {
    if is_met { Outcome::Reported } else { Outcome::Refused }
}

fn measure(arguments: Arguments) -> Result<Outcome> {
    let json = arguments.rig.json.clone();
    let rig = rig(arguments.rig)?;
    let command = arguments.command.expect("invariant: `main` takes what has no command");
    let measures = !matches!(command, Load::Limit { .. } | Load::Hold { .. });
    if measures {
        server::pin(&[rig.cpu_client])?;
    }
    let mut accounts = Vec::new();
    let comparisons = match command {
        Load::Churn { cycles, abrupt, in_flight, first_look } => {
            let shape = churn::Shape { cycles, abrupt_percent: abrupt, in_flight, first_look };
            accounts.push(churn::run(&rig, shape)?);
            Vec::new()
        }
        Load::Flood { hostile, good, seconds, rate, bytes, reconnects, flood_rate, turn_ms_max } => {
            let shape = flood::Shape {
                hostile: hostile.max(1),
                good: good.max(1),
                rate_per_s: rate.max(1),
                data_bytes: bytes.max(wire::PUBLISHED_BYTES_MIN),
                reconnects_per_s: reconnects,
                flood_per_s: flood_rate.max(1),
                turn_ns_max: turn_ms_max * MILLISECOND_NS,
            };
            let measured_ns = seconds.map_or(rig.measured_ns, |seconds| seconds * SECOND_NS);
            let (comparison, account) = flood::run(&Rig { measured_ns, ..rig }, shape)?;
            accounts.push(account);
            vec![comparison]
        }
        Load::Link { key, added_us_max } => {
            let (comparison, account) = venue_link::run(&rig, &venue_link::Shape { key, added_us_max })?;
            accounts.push(account);
            vec![comparison]
        }
        compared @ (Load::Ping
        | Load::Request { .. }
        | Load::Orders { .. }
        | Load::Fanout { .. }
        | Load::Ingest { .. }
        | Load::Bridge { .. }
        | Load::Connections { .. }) => compare(&rig, compared)?,
        own @ (Load::Messages(_)
        | Load::Calls(_)
        | Load::Peers(_)
        | Load::Proof(_)
        | Load::Gate(_)
        | Load::Limit { .. }
        | Load::Hold { .. }) => {
            return by_itself(&rig, own, json.as_deref());
        }
        Load::Report(_)
        | Load::Compare(_)
        | Load::Run(_)
        | Load::Scenarios { .. }
        | Load::Dialects { .. }
        | Load::Size(_)
        | Load::Attend { .. }
        | Load::Work => {
            panic!("invariant: `main` does these itself")
        }
    };
    report(&comparisons, &accounts, json.as_deref())
}

/// Those that tell what there is to tell themselves.
fn by_itself(rig: &Rig, command: Load, json: Option<&Path>) -> Result<Outcome> {
    match command {
        Load::Messages(arguments) => {
            let (compared, judged) = messages::run(rig, &arguments)?;
            report(&compared, &judged, json)
        }
        Load::Calls(arguments) => {
            let (compared, judged) = calls::run(rig, &arguments)?;
            report(&compared, &judged, json)
        }
        Load::Peers(arguments) => Ok(match peers::run(rig, &arguments, json)? {
            peers::Verdict::Done => Outcome::Reported,
            peers::Verdict::Failed => Outcome::Refused,
        }),
        Load::Proof(arguments) => proof::run(rig, &arguments, json).map(outcome_of),
        Load::Gate(bounds) => {
            let (compared, account) = gate::run(rig, &bounds)?;
            // A run that gave no number is shown; it is the ratios that are judged.
            report(&compared, std::slice::from_ref(&account), json)?;
            Ok(outcome_of(account.holds()))
        }
        Load::Limit { arm } => limit::run(&arm).map(|()| Outcome::Reported),
        Load::Hold { address, count, first_index } => {
            connections::hold(address, count, first_index).map(|()| Outcome::Reported)
        }
        Load::Ping
        | Load::Request { .. }
        | Load::Orders { .. }
        | Load::Fanout { .. }
        | Load::Ingest { .. }
        | Load::Bridge { .. }
        | Load::Connections { .. }
        | Load::Link { .. }
        | Load::Churn { .. }
        | Load::Flood { .. }
        | Load::Report(_)
        | Load::Compare(_)
        | Load::Run(_)
        | Load::Scenarios { .. }
        | Load::Dialects { .. }
        | Load::Size(_)
        | Load::Attend { .. }
        | Load::Work => {
            panic!("invariant: `measure` hands over those that are above")
        }
    }
}

/// Those that run beside the limit.
fn compare(rig: &Rig, command: Load) -> Result<Vec<Comparison>> {
    Ok(match command {
        Load::Ping => vec![ping::run(rig)?],
        Load::Bridge { rate, channel, nats_server } => {
            bridge::run(rig, nats_server, rate, &channel).into_iter().collect()
        }
        Load::Request { connections, rate, window } => request::run(rig, connections, window, rate)?,
        Load::Orders { connections, subscribers, rate, trades, resting, window, keys, encoding } => {
            let shape = orders::Shape {
                connections: connections.max(1),
                subscribers,
                trades_per_s: trades.max(1),
                resting_percent: resting,
                window: window.max(1),
                keys,
                encoding,
            };
            orders::run(rig, &shape, rate)?
        }
        Load::Fanout { subscribers, rate, bytes, window } => {
            let shape = fanout::Shape { subscribers, data_bytes: bytes.max(wire::PUBLISHED_BYTES_MIN) };
            match rate {
                Some(rate_per_s) => fanout::run_rate(rig, shape, rate_per_s)?,
                None => fanout::run_saturation(rig, shape, window)?,
            }
        }
        Load::Ingest {
            subscribers,
            rate,
            channels,
            subscribe_extra,
            stamp,
            limit_bytes,
            limit_rate,
            limit_coalesce_us,
            encoding,
        } => {
            let shape = ingest::Shape {
                subscribers,
                rate_per_s: rate,
                limit_rate_per_s: limit_rate.unwrap_or(rate),
                channels,
                subscribe_extra,
                stamp,
                limit_bytes,
                limit_coalesce_us,
                encoding,
            };
            vec![ingest::run(rig, &shape)?]
        }
        Load::Connections { count } => vec![connections::run(rig, count)?],
        Load::Run(_)
        | Load::Scenarios { .. }
        | Load::Dialects { .. }
        | Load::Size(_)
        | Load::Work
        | Load::Churn { .. }
        | Load::Flood { .. }
        | Load::Link { .. }
        | Load::Messages(_)
        | Load::Calls(_)
        | Load::Peers(_)
        | Load::Proof(_)
        | Load::Gate(_)
        | Load::Attend { .. }
        | Load::Limit { .. }
        | Load::Report(_)
        | Load::Compare(_)
        | Load::Hold { .. } => {
            panic!("invariant: `measure` does these itself")
        }
    })
}

fn report(comparisons: &[Comparison], accounts: &[Account], json: Option<&Path>) -> Result<Outcome> {
    for text in comparisons.iter().map(Comparison::table).chain(accounts.iter().map(Account::text)) {
        report::print(&text)?;
    }
    if let Some(path) = json {
        let objects = comparisons.iter().map(Comparison::json).chain(accounts.iter().map(Account::json));
        report::write_json(path, &objects.collect::<Vec<_>>())?;
    }
    let is_refused = comparisons.iter().any(|comparison| !comparison.refused.is_empty());
    let is_met = accounts.iter().all(Account::holds);
    Ok(if is_refused || !is_met { Outcome::Refused } else { Outcome::Reported })
}

/// A whole number of percent, `50` or `50%`.
fn parse_percent(text: &str) -> std::result::Result<u64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    number.parse().ok().filter(|percent| *percent <= 100).ok_or_else(|| "0 to 100 percent".to_owned())
}

fn rig(arguments: RigArguments) -> Result<Rig> {
    if arguments.cpu_server.is_empty() || arguments.cpu_server.contains(&arguments.cpu_client) {
        return Err(Failure::Unmet(
            "server and load need a core each (--cpu-server, --cpu-client)".to_owned(),
        ));
    }
    if arguments.runs == 0 {
        return Err(Failure::Unmet("nothing is measured by no run (--runs)".to_owned()));
    }
    Ok(Rig {
        server: arguments.server,
        server_arguments: arguments.server_arguments,
        cpus_server: arguments.cpu_server,
        cpu_client: arguments.cpu_client,
        pairs: arguments.runs,
        warmup_ns: arguments.warmup_ms * MILLISECOND_NS,
        measured_ns: arguments.measure_ms * MILLISECOND_NS,
        generator_lag_ns_max: arguments.lag_us_max * 1_000,
        tls: arguments.tls,
        tcp: arguments.tcp,
    })
}
