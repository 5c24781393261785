//! `loadtest peers`: tickring beside what a registry serves and a user would pick instead, in turns, several times.
//! Home: the load thread.
//! Invariants: A B C … A B C …, one server at a time, afresh for each run; a peer that cannot be had or cannot do a case is
//! named with the reason; what a server does not hold is asked of it at half the rate.

pub(crate) mod case;
mod commit;
mod gather;
pub(crate) mod page;
pub(crate) mod record;
mod roster;
mod runner;
mod watch;
mod words;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Doing, Failure, Result};
use crate::outcome::Tool;
use crate::peers::case::Case;
use crate::peers::record::{FORMAT, LIMIT, OURS, Record, Told, Turn};
use crate::peers::roster::{Absent, Places};
use crate::peers::runner::{Contender, Terms, is_held, measure};
use crate::report;
use crate::scenarios::Rig;
use crate::server;

pub(crate) use commit::here as commit_here;

/// How often a rate is halved before a server counts as one that does not do a case.
const HALVINGS_MAX: usize = 6;
/// What a smoke run measures, which is not for its speed.
const SMOKE_MS: u64 = 300;

#[derive(Debug, Args)]
pub(crate) struct PeersArguments {
    /// Only these cases and servers, by their names
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Measured seconds of one run; without it, --measure-ms
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
    /// Every case with next to no work, once: fails if a server does not do what it ought to
    #[arg(long)]
    smoke: bool,
    #[command(flatten)]
    folders: Folders,
}

/// Where peers are found.
#[derive(Debug, Clone, Args)]
pub(crate) struct Folders {
    /// The folder of peers.toml and its scripts
    #[arg(long, default_value = "loadtest/peers", value_name = "FOLDER")]
    scripts: PathBuf,
    /// The folder of the dialect files
    #[arg(long, default_value = "loadtest/dialects", value_name = "FOLDER")]
    dialects: PathBuf,
    /// The folder below which peers are installed where they are absent
    #[arg(long, default_value = "target/peers", value_name = "FOLDER")]
    home: PathBuf,
}

/// Whether all was as it ought to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// A smoke run found a server that does not do what it ought to.
    Failed,
}

pub(crate) fn run(rig: &Rig, arguments: &PeersArguments, json: Option<&Path>) -> Result<Verdict> {
    let cases = if arguments.smoke { case::smoke() } else { case::all() };
    let cases = Cases { selection: Selection::new(&arguments.only, &cases), cases };
    let record = measure_all(&of_lengths(rig, arguments), &arguments.folders, &cases, arguments.smoke)?;
    if let Some(path) = json {
        let text = serde_json::to_string(&record).map_err(|error| Failure::Unmet(error.to_string()))?;
        std::fs::write(path, text + "\n").doing("write the JSON file")?;
    }
    if arguments.smoke {
        return judge(&record);
    }
    Ok(Verdict::Done)
}

/// What is to be done, and by whom.
pub(crate) struct Cases {
    cases: Vec<Case>,
    selection: Selection,
}

impl Cases {
    /// Of cases and servers those that are named; without a name, all.
    pub(crate) fn named(only: &[String]) -> Cases {
        let cases = case::all();
        Cases { selection: Selection::new(only, &cases), cases }
    }

    pub(crate) fn has_named_case(&self) -> bool {
        !self.selection.cases.is_empty()
    }
}

/// Measures cases with the lengths of the rig.
pub(crate) fn measure_cases(rig: &Rig, folders: &Folders, cases: &Cases) -> Result<Record> {
    measure_all(rig, folders, cases, false)
}

/// What `peers --json` wrote.
pub(crate) fn read(path: &Path) -> Result<Record> {
    let told = |what: String| Failure::File(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    let record: Record = serde_json::from_str(&text).map_err(|error| told(error.to_string()))?;
    if record.format != FORMAT {
        return Err(told(format!("its format is {}, this program reads {FORMAT}", record.format)));
    }
    Ok(record)
}

/// All cases, all servers, all rounds. A smoke run takes each rate as it is, and waits for all that is under way.
fn measure_all(rig: &Rig, folders: &Folders, cases: &Cases, is_smoke: bool) -> Result<Record> {
    raise_descriptors()?;
    let began_ns = clock::mono_ns();
    let terms = Terms {
        cpu_client: rig.cpu_client,
        warmup_ns: rig.warmup_ns,
        measured_ns: rig.measured_ns,
        lag_ns_max: rig.generator_lag_ns_max,
        drains_always: is_smoke,
    };
    let Cases { cases, selection } = cases;
    let line_up = LineUp::gather(rig, folders, selection)?;
    selection.check(&line_up)?;
    let mut record = Record {
        format: FORMAT,
        host: crate::host::host(),
        tool: Tool { commit: commit::here(), ..crate::host::tool() },
        began_unix_s: clock::unix_ns() / SECOND_NS,
        took_s: 0,
        rounds: rig.pairs,
        warmup_ms: rig.warmup_ns / MILLISECOND_NS,
        measured_ms: rig.measured_ns / MILLISECOND_NS,
        cpus_server: rig.cpus_server.clone(),
        cpu_client: rig.cpu_client,
        contenders: line_up.contenders.iter().map(|(told, _)| told.clone()).collect(),
        absent: line_up.absent.clone(),
        cases: cases.iter().filter(|case| selection.has_case(&case.name)).cloned().collect(),
        turns: Vec::new(),
    };
    for absent in &record.absent {
        say(&format!("{}: not measured: {}", absent.name, absent.reason))?;
    }
    for case in &record.cases {
        say(&format!("\n{}: {}", case.name, case.about))?;
        for round in 0..rig.pairs {
            for (_, contender) in &line_up.contenders {
                let halvings = if is_smoke { 0 } else { HALVINGS_MAX };
                take_turns(terms, contender, case, round, halvings, &mut record.turns)?;
            }
        }
    }
    record.took_s = (clock::mono_ns() - began_ns) / SECOND_NS;
    Ok(record)
}

/// The rig with what the arguments say of lengths.
fn of_lengths(rig: &Rig, arguments: &PeersArguments) -> Rig {
    let asked_ns = arguments.duration.map(|seconds| seconds * SECOND_NS);
    if arguments.smoke {
        let measured_ns = asked_ns.unwrap_or(SMOKE_MS * MILLISECOND_NS);
        return Rig { pairs: 1, warmup_ns: SMOKE_MS * MILLISECOND_NS / 3, measured_ns, ..rig.clone() };
    }
    Rig { measured_ns: asked_ns.unwrap_or(rig.measured_ns), ..rig.clone() }
}

/// One server's turn, and more of them at lower rates if it did not hold the first one.
fn take_turns(
    terms: Terms,
    contender: &Contender,
    case: &Case,
    round: usize,
    halvings: usize,
    turns: &mut Vec<Turn>,
) -> Result<()> {
    let earlier = turns.iter().rfind(|turn| turn.case == case.name && turn.server == contender.name);
    // What was found in the first round holds for all, so that all runs of a server are of one rate.
    let mut rate = earlier.map_or(case.work.rate_per_s(), |turn| turn.rate_per_s);
    let halvings = if earlier.is_some() { 0 } else { halvings };
    for halving in 0..=halvings {
        let asked = Case { work: case.work.at(rate), ..case.clone() };
        let outcome = measure(terms, contender, &asked);
        let turn = Turn {
            case: case.name.clone(),
            server: contender.name.clone(),
            round,
            rate_per_s: rate,
            is_held: outcome.as_ref().is_ok_and(|outcome| is_held(outcome, &asked)),
            failure: outcome.as_ref().err().map(ToString::to_string),
            outcome: outcome.ok(),
        };
        say(&line(&asked, &turn))?;
        let is_lower_rate_to_be_tried = turn.outcome.is_some() && !turn.is_held && halving < halvings;
        turns.push(turn);
        match rate.filter(|_| is_lower_rate_to_be_tried) {
            Some(rate_per_s) => rate = Some((rate_per_s / 2).max(1)),
            None => break,
        }
    }
    Ok(())
}

/// A turn in one line, as it is told while it all runs.
fn line(case: &Case, turn: &Turn) -> String {
    let mut line = format!("  {} {:<16}", turn.round + 1, turn.server);
    if let Some(rate) = turn.rate_per_s {
        line += &format!(" {rate:>7}/s{}", if turn.is_held { "" } else { " not held" });
    }
    if let Some(outcome) = &turn.outcome {
        line += &page::short_line(case, outcome, turn.is_held);
        for reason in &outcome.refused {
            line += &format!("  refused: {reason}");
        }
    }
    if let Some(failure) = &turn.failure {
        line += &format!(" {failure}");
    }
    line
}

fn say(line: &str) -> Result<()> {
    report::print(&format!("{line}\n"))?;
    std::io::stdout().flush().doing("print")
}

/// As many descriptors as the host grants: a case has 10,000 sockets, here and in the servers, which inherit this.
fn raise_descriptors() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).doing("getrlimit")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).doing("setrlimit")
}

/// What `--only` leaves. A name of a case leaves the other cases out, one of a server the other servers.
struct Selection {
    cases: Vec<String>,
    servers: Vec<String>,
}

impl Selection {
    fn new(only: &[String], cases: &[Case]) -> Selection {
        let is_case = |name: &&String| cases.iter().any(|case| case.name == **name);
        let (cases, servers) = only.iter().partition(is_case);
        let own = |names: Vec<&String>| names.into_iter().cloned().collect();
        Selection { cases: own(cases), servers: own(servers) }
    }

    fn has_case(&self, name: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|case| case == name)
    }

    fn has_server(&self, name: &str) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|server| server == name)
    }

    /// A name that is nobody's is a mistake, and nothing to be passed over.
    fn check(&self, line_up: &LineUp) -> Result<()> {
        let is_known = |name: &String| {
            let there = line_up.contenders.iter().map(|(told, _)| &told.name);
            there.chain(line_up.absent.iter().map(|absent| &absent.name)).any(|known| known == name)
        };
        match self.servers.iter().find(|name| !is_known(name)) {
            Some(name) => Err(Failure::Unmet(format!("--only: neither a case nor a server: {name}"))),
            None => Ok(()),
        }
    }
}

/// Who is there and who is not.
struct LineUp {
    contenders: Vec<(Told, Contender)>,
    absent: Vec<Absent>,
}

impl LineUp {
    fn gather(rig: &Rig, folders: &Folders, selection: &Selection) -> Result<LineUp> {
        let places = Places {
            scripts: folders.scripts.clone(),
            dialects: folders.dialects.clone(),
            home: std::path::absolute(&folders.home).doing("the folder of the peers")?,
        };
        let roster = places.roster()?;
        let mut line_up = LineUp { contenders: Vec::new(), absent: roster.absent };
        if selection.has_server(OURS) {
            line_up.add_ours(rig, &places)?;
        }
        if selection.has_server(LIMIT) {
            line_up.add_limit(rig, &places)?;
        }
        for peer in roster.peers.iter().filter(|peer| selection.has_server(&peer.name)) {
            match peer.ready(&places, &rig.cpus_server) {
                Ok(contender) => line_up.add(&peer.about, contender),
                Err(failure) => {
                    line_up.absent.push(Absent { name: peer.name.clone(), reason: failure.to_string() })
                }
            }
        }
        Ok(line_up)
    }

    fn add(&mut self, about: &str, contender: Contender) {
        let version = contender.version.clone();
        let told = Told { name: contender.name.clone(), about: about.to_owned(), version };
        self.contenders.push((told, contender));
    }

    fn add_ours(&mut self, rig: &Rig, places: &Places) -> Result<()> {
        let config = places.scripts.join("tickring.toml").to_string_lossy().into_owned();
        let has_own = rig.server_arguments.iter().any(|argument| argument.starts_with("--config"));
        let own: Vec<&str> = if has_own { Vec::new() } else { vec!["--config", &config] };
        let Some(launch) = rig.server(&own) else {
            let reason = "no --server was given".to_owned();
            self.absent.push(Absent { name: OURS.to_owned(), reason });
            return Ok(());
        };
        let version = server::own_version(&launch.program);
        let words = places.words(OURS)?;
        self.add(
            "this project's server, one shard",
            Contender { name: OURS.to_owned(), version, words, launch, fanout_launch: None },
        );
        Ok(())
    }

    fn add_limit(&mut self, rig: &Rig, places: &Places) -> Result<()> {
        let contender = Contender {
            name: LIMIT.to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            words: places.words(LIMIT)?,
            launch: rig.limit(&["echo".to_owned()])?,
            fanout_launch: Some(rig.limit(&["fanout".to_owned()])?),
        };
        self.add("no server: the raw loops of this program", contender);
        Ok(())
    }
}

/// A smoke run's verdict: whether each server that is there did each case to the last message.
fn judge(record: &Record) -> Result<Verdict> {
    let mut failed = 0;
    for turn in &record.turns {
        if let Some(fault) = fault_of(turn) {
            failed += 1;
            say(&format!("FAILED {} {}: {fault}", turn.case, turn.server))?;
        }
    }
    say(&format!("{} passed, {failed} failed", record.turns.len() - failed))?;
    Ok(if failed == 0 && !record.turns.is_empty() { Verdict::Done } else { Verdict::Failed })
}

fn fault_of(turn: &Turn) -> Option<String> {
    let Some(outcome) = &turn.outcome else { return turn.failure.clone() };
    let counts = &outcome.counts;
    let due = [
        ("connections", counts.connections_wanted, counts.connections_opened),
        ("replies", counts.requests_sent, counts.replies_received),
        ("deliveries", counts.deliveries_expected, counts.deliveries_received),
        ("gaps", 0, counts.gaps),
        ("duplicates", 0, counts.duplicates),
        ("out of order", 0, counts.reordered),
    ];
    if let Some((what, expected, seen)) = due.into_iter().find(|(_, expected, seen)| expected != seen) {
        return Some(format!("{what}: {seen} instead of {expected}"));
    }
    let is_nothing = counts.requests_sent + counts.published + counts.connections_opened == 0;
    is_nothing.then(|| "nothing happened".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_case_leaves_the_servers_in_and_the_other_way_round() {
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
            Selection::new(&only, &case::all())
        };
        let case = names(&["idle"]);
        assert!(case.has_case("idle") && !case.has_case("connect") && case.has_server("bun"));
        let server = names(&["bun"]);
        assert!(server.has_case("idle") && server.has_server("bun") && !server.has_server("ws"));
        let nobody = LineUp { contenders: Vec::new(), absent: Vec::new() };
        assert!(server.check(&nobody).unwrap_err().to_string().contains("bun"));
        assert!(case.check(&nobody).is_ok());
    }
}
