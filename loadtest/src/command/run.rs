//! `loadtest run`: scenarios against a server that is there or is started, one after the other. Home: the main thread.
//! Invariant: what was measured before a failure is still reported.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;

use crate::command::list::unknown;
use crate::dialect::{self, Dialect};
use crate::engine;
use crate::engine::live::Live;
use crate::engine::plan::{self, Plan, Url};
use crate::failure::{Failure, Result};
use crate::grade;
use crate::host;
use crate::outcome::{FORMAT, Grade, Outcome, Outcomes};
use crate::report::{self, Files};
use crate::scenario::{self, Changes, QUICK, QUICK_S, Scenario};
use crate::secure::Security;
use crate::server::{self, Launch, Server};

/// Exit codes, in part those of sysexits.h.
pub(crate) const BELOW_GRADE: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const UNAVAILABLE: u8 = 69;
pub(crate) const SOFTWARE: u8 = 70;

/// What is told of the exit codes.
pub(crate) const EXIT_CODES: &str = "Exit codes: 0 done; 1 below --min-grade, or no grade where one was asked for; \
2 wrong flags, scenario or dialect; 69 the server cannot be reached; 70 anything else";

/// The flags of `run`, and of no command at all.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub(crate) struct RunArguments {
    /// A scenario that is built in (see `scenarios`), or a file (repeatable); without it `baseline`
    #[arg(long = "scenario", value_name = "NAME|FILE")]
    scenarios: Vec<String>,
    /// Short forms of baseline, moderate, high and extreme, or of the scenarios that are named: under three minutes in all
    #[arg(long)]
    quick: bool,
    /// The server: ws://HOST:PORT[/PATH] or wss://… ; or --server PATH starts one
    #[arg(long, value_name = "URL", conflicts_with = "server")]
    url: Option<String>,
    /// What the server understands: built in (see `dialects`), or a file
    #[arg(long, value_name = "NAME|FILE", default_value = "tickring")]
    dialect: Option<String>,
    /// Clients, in place of the scenario's; subscribers, traders and stages in proportion
    #[arg(long, value_name = "COUNT")]
    connections: Option<u32>,
    /// Requests a second (or publishes, or orders, where there are none), the other rates in proportion
    #[arg(long, value_name = "PER_S")]
    rate: Option<f64>,
    /// Measured time, in seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
    /// Also write reports into this folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Say more of what happens, and let through what the server logs
    #[arg(long, short)]
    verbose: bool,
    /// Exit with 1 if a run has a worse grade, or none
    #[arg(long, value_name = "GRADE")]
    min_grade: Option<Grade>,
    /// The server's process, whose use of processor and memory is sampled; found by itself on the loopback
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Processes of the generator, at least
    #[arg(long, value_name = "COUNT", default_value = "1")]
    processes: Option<u32>,
    /// Cores of the generator, one a process; without it --cpu-client
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    cpu_load: Vec<usize>,
}

/// What all commands know of servers and cores.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) server: Option<String>,
    pub(crate) server_arguments: Vec<String>,
    pub(crate) cpus_server: Vec<usize>,
    pub(crate) cpu_client: usize,
    /// `--lag-us-max` where it is not the usual one, which is also the scenarios'.
    pub(crate) lag_us_max: Option<u32>,
    /// `--json`, which all commands have.
    pub(crate) json: Option<PathBuf>,
}

impl RunArguments {
    /// Whether anything was asked for; what has a default is none of it.
    pub(crate) fn is_empty(&self) -> bool {
        let untouched = RunArguments {
            dialect: self.dialect.clone(),
            processes: self.processes,
            ..RunArguments::default()
        };
        *self == untouched
    }
}

/// Runs all and reports; the exit code.
pub(crate) fn run(arguments: &RunArguments, place: &Place) -> Result<u8> {
    let dialect_text = dialect_text(arguments.dialect.as_deref().unwrap_or("tickring"))?;
    let dialect =
        Dialect::parse(&dialect_text).map_err(|flaw| Failure::File(format!("the dialect: {flaw}")))?;
    let scenarios = scenarios(arguments)?;
    let cores = Cores::of(arguments, place);
    let mut live = Live::new(arguments.verbose);
    let mut outcomes = Outcomes { format: FORMAT, host: host::host(), tool: host::tool(), runs: Vec::new() };
    let mut failed = None;
    for mut scenario in scenarios {
        scenario.lag_us_max = place.lag_us_max.unwrap_or(scenario.lag_us_max);
        let run = one(arguments, place, &cores, &dialect, &dialect_text, scenario, &mut live);
        match run {
            Ok(run) => outcomes.runs.push(run),
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    live.end();
    let code = deliver(&outcomes, arguments, place.json.clone())?;
    failed.map_or(Ok(code), Err)
}

/// The exit code of a failure.
pub(crate) fn code_of(failure: &Failure) -> u8 {
    match failure {
        Failure::Unreachable(_) => UNAVAILABLE,
        Failure::File(_) => USAGE,
        Failure::Io(..) | Failure::Protocol(_) | Failure::Deadline(_) | Failure::Unmet(_) => SOFTWARE,
    }
}

fn one(
    arguments: &RunArguments,
    place: &Place,
    cores: &Cores,
    dialect: &Dialect,
    dialect_text: &str,
    scenario: Scenario,
    live: &mut Live,
) -> Result<Outcome> {
    let mut server = match &place.server {
        Some(program) => Some(start(program, arguments.verbose, place, cores, dialect)?),
        None => None,
    };
    let target = match (&server, &arguments.url) {
        (Some(server), _) => url_of(server.target().address, server.target().security),
        (None, Some(url)) => Url::parse(url).map_err(Failure::File)?,
        (None, None) => return Err(Failure::File("which server? --url URL, or --server PATH".to_owned())),
    };
    let grades = scenario.grades.clone();
    let plan = Plan {
        scenario,
        dialect_text: dialect_text.to_owned(),
        target,
        pid: arguments.pid.or_else(|| server.as_ref().map(Server::pid)),
        processes: arguments.processes.unwrap_or(1),
        cores: cores.load.clone(),
    };
    let mut outcome = engine::run(&plan, live).map_err(|failure| {
        let words = server.as_mut().and_then(Server::last_words);
        words.map_or(failure, |words| Failure::Unreachable(format!("it has ended: {words}")))
    })?;
    outcome.server_version = (place.server.as_deref())
        .filter(|_| !dialect.start.version.is_empty())
        .and_then(|program| server::version(program, &dialect.start.version));
    outcome.notes.extend(cores.note.clone());
    outcome.graded = grade::grade(&outcome, &grades);
    Ok(outcome)
}

fn start(program: &str, is_verbose: bool, place: &Place, cores: &Cores, dialect: &Dialect) -> Result<Server> {
    let core = cores.server.first().map_or_else(|| "0".to_owned(), ToString::to_string);
    let fixed = dialect.start.arguments.iter().map(|argument| argument.replace("{core}", &core));
    let arguments = fixed.chain(place.server_arguments.iter().cloned()).collect();
    let launch = Launch {
        program: program.to_owned(),
        arguments,
        environment: Vec::new(),
        cpus: cores.server.clone(),
    };
    let unreachable = |failure: Failure| Failure::Unreachable(failure.to_string());
    // Its log would run through the progress.
    let started = if is_verbose {
        Server::start(&launch, cores.client)
    } else {
        Server::start_kept(&launch, cores.client)
    };
    started.map_err(unreachable)
}

fn url_of(address: SocketAddr, security: Security) -> Url {
    let is_secure = security == Security::Tls;
    let host = if is_secure { "localhost".to_owned() } else { address.ip().to_string() };
    Url { is_secure, host, port: address.port(), path: None }
}

/// Who runs where.
struct Cores {
    server: Vec<usize>,
    client: usize,
    load: Vec<usize>,
    note: Option<String>,
}

impl Cores {
    /// As the flags have it, as far as this host has such cores.
    fn of(arguments: &RunArguments, place: &Place) -> Cores {
        let set = sched_getaffinity(Pid::from_raw(0)).ok();
        let has = |core: &usize| set.as_ref().is_none_or(|set| set.is_set(*core).unwrap_or(false));
        let asked =
            if arguments.cpu_load.is_empty() { vec![place.cpu_client] } else { arguments.cpu_load.clone() };
        let load: Vec<usize> = asked.iter().copied().filter(has).collect();
        let server: Vec<usize> = place.cpus_server.iter().copied().filter(has).collect();
        let note = (load.len() < asked.len()).then(|| {
            format!("cores {asked:?} are not all there: the generator has {load:?} and else runs anywhere")
        });
        let client = load.first().or(server.first()).copied().unwrap_or(0);
        Cores { server, client, load, note }
    }
}

fn dialect_text(name: &str) -> Result<String> {
    match plan::is_path(name) {
        Some(path) => read(&path),
        None => {
            let text = dialect::built_in(name).ok_or_else(|| unknown("dialect", name, &dialect::names()))?;
            Ok(text.to_owned())
        }
    }
}

fn scenarios(arguments: &RunArguments) -> Result<Vec<Scenario>> {
    let named: Vec<&str> = match (arguments.scenarios.is_empty(), arguments.quick) {
        (false, _) => arguments.scenarios.iter().map(String::as_str).collect(),
        (true, true) => QUICK.to_vec(),
        (true, false) => vec![QUICK[0]],
    };
    let quick_s = arguments.quick.then_some(QUICK_S);
    named.into_iter().map(|name| one_scenario(name, arguments, quick_s)).collect()
}

fn one_scenario(name: &str, arguments: &RunArguments, quick_s: Option<f64>) -> Result<Scenario> {
    let text = match plan::is_path(name) {
        Some(path) => read(&path)?,
        None => {
            let text =
                scenario::built_in(name).ok_or_else(|| unknown("scenario", name, &scenario::names()))?;
            text.to_owned()
        }
    };
    let flawed = |flaw| Failure::File(format!("the scenario {name}: {flaw}"));
    let scenario = Scenario::parse(&text).map_err(flawed)?;
    let short_s = quick_s.filter(|quick_s| *quick_s < scenario.duration_s);
    let changes = Changes {
        connections: arguments.connections,
        rate_per_s: arguments.rate,
        duration_s: arguments.duration.or(short_s),
    };
    scenario.changed(changes).map_err(flawed)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| Failure::File(format!("{}: {error}", path.display())))
}

/// Shows all, writes what was asked for; the exit code.
fn deliver(outcomes: &Outcomes, arguments: &RunArguments, json: Option<PathBuf>) -> Result<u8> {
    if outcomes.runs.is_empty() {
        return Ok(0);
    }
    let files = Files { output: arguments.output.clone(), json, ..Files::default() };
    report::show(outcomes, &files)?;
    Ok(if report::meets(outcomes, arguments.min_grade)? { 0 } else { BELOW_GRADE })
}
