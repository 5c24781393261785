//! `loadtest proof`: every number that tickring is to reach, measured, judged and written as `docs/benchmarks.md`.
//! Home: the load thread.
//! Invariants: what was measured is in the record as soon as it is, so that a run that is cut short loses nothing; the page is
//! made from the record alone.

mod bar;
mod page;
mod part;
mod record;
mod shortfall;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Doing, Failure, Result};
use crate::host;
use crate::markdown::{shown, value};
use crate::outcome::Tool;
use crate::peers::{self, Cases, Folders};
use crate::proof::bar::{Bound, Standing};
use crate::proof::part::{Part, Ran};
use crate::proof::record::{FORMAT, Measured, Proof};
use crate::proof::shortfall::Shortfalls;
use crate::report;
use crate::scenarios::Rig;
use crate::server;

#[derive(Debug, Args)]
pub(crate) struct ProofArguments {
    /// Measures only these parts, and cases and servers of `peers`, by their names; all else of --json stays as it is
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Measures nothing: judges what --json has, and writes the page
    #[arg(long, conflicts_with = "only")]
    again: bool,
    /// Takes the cases of a file that `loadtest peers --json` wrote in place of those that --json has
    #[arg(long, value_name = "FILE")]
    peers: Option<PathBuf>,
    /// Writes the page
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    #[command(flatten)]
    folders: Folders,
}

/// Whether every bar is met or its shortfall is explained.
pub(crate) fn run(rig: &Rig, arguments: &ProofArguments, json: Option<&Path>) -> Result<bool> {
    let shortfalls = Shortfalls::known()?;
    let selection = Selection::new(arguments)?;
    let mut proof = json.filter(|path| path.exists()).map_or_else(|| Ok(Proof::default()), read)?;
    if let Some(path) = &arguments.peers {
        proof.take_peers(peers::read(path)?);
        write(&proof, json)?;
    }
    for part in &selection.parts {
        let measured = measure(rig, *part)?;
        tell(&measured)?;
        proof.take(measured);
        write(&proof, json)?;
    }
    if let Some(cases) = &selection.cases {
        proof.take_peers(peers::measure_cases(rig, &arguments.folders, cases)?);
        write(&proof, json)?;
    }
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, page::render(&proof, &shortfalls)).doing("write the page")?;
    }
    judge(&proof, &shortfalls)
}

/// What is to be measured.
struct Selection {
    parts: Vec<Part>,
    cases: Option<Cases>,
}

impl Selection {
    fn new(arguments: &ProofArguments) -> Result<Selection> {
        if arguments.again {
            return Ok(Selection { parts: Vec::new(), cases: None });
        }
        if arguments.only.is_empty() {
            let cases = arguments.peers.is_none().then(|| Cases::named(&[]));
            return Ok(Selection { parts: Part::ALL.to_vec(), cases });
        }
        let is_named = |part: &Part| arguments.only.iter().any(|name| name == part.name());
        let parts: Vec<Part> = Part::ALL.into_iter().filter(is_named).collect();
        let others =
            arguments.only.iter().filter(|name| parts.iter().all(|part| part.name() != name.as_str()));
        let others: Vec<String> = others.cloned().collect();
        let cases = (!others.is_empty()).then(|| Cases::named(&others));
        if cases.as_ref().is_some_and(|cases| !cases.has_named_case()) {
            return Err(Failure::File(format!("--only: neither a part nor a case: {}", others.join(", "))));
        }
        Ok(Selection { parts, cases })
    }
}

fn read(path: &Path) -> Result<Proof> {
    let told = |what: String| Failure::File(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    let proof: Proof = serde_json::from_str(&text).map_err(|error| told(error.to_string()))?;
    if proof.format != FORMAT {
        return Err(told(format!("its format is {}, this program reads {FORMAT}", proof.format)));
    }
    Ok(proof)
}

/// Whole or not at all: a measurement is long, and so is the record of all of them.
fn write(proof: &Proof, json: Option<&Path>) -> Result<()> {
    let Some(path) = json else { return Ok(()) };
    let text = serde_json::to_string(proof).map_err(|error| Failure::Unmet(error.to_string()))?;
    let beside = path.with_extension("part");
    std::fs::write(&beside, text + "\n").doing("write the JSON file")?;
    std::fs::rename(&beside, path).doing("write the JSON file")
}

fn measure(rig: &Rig, part: Part) -> Result<Measured> {
    let began_ns = clock::mono_ns();
    let began_unix_s = clock::unix_ns() / SECOND_NS;
    let (comparisons, not_run) = match part.run(rig)? {
        Ran::Measured(comparisons) => (comparisons, None),
        Ran::NotRun(reason) => (Vec::new(), Some(reason)),
    };
    Ok(Measured {
        part,
        host: host::host(),
        tool: Tool { commit: peers::commit_here(), ..host::tool() },
        server: rig.server.as_deref().and_then(server::own_version),
        began_unix_s,
        took_s: (clock::mono_ns() - began_ns) / SECOND_NS,
        pairs: rig.pairs,
        warmup_ms: rig.warmup_ns / MILLISECOND_NS,
        measured_ms: rig.measured_ns / MILLISECOND_NS,
        comparisons,
        not_run,
    })
}

fn tell(measured: &Measured) -> Result<()> {
    for comparison in &measured.comparisons {
        report::print(&comparison.table())?;
    }
    if let Some(reason) = &measured.not_run {
        report::print(&format!("\n{}: {reason}\n", measured.part.name()))?;
    }
    Ok(())
}

/// A line a bar, and whether none is missed without an explanation.
fn judge(proof: &Proof, shortfalls: &Shortfalls) -> Result<bool> {
    let mut is_explained = true;
    report::print("\n")?;
    for bar in bar::ALL {
        let (word, found) = match bar.standing(proof) {
            Standing::Met(found) => ("met", found),
            Standing::Stated(found) => ("stated", found),
            Standing::Missed(found) if shortfalls.why(bar.name).is_some() => ("NOT MET, explained", found),
            Standing::Missed(found) => {
                is_explained = false;
                ("NOT MET", found)
            }
            Standing::NotRun(why) => {
                report::print(&format!("{:<70} {why}\n", bar.name))?;
                continue;
            }
            Standing::NotMeasured => continue,
        };
        let bound = match bar.bound {
            Bound::AtMost(most) => format!(", ≤ {}", value(most, found.unit)),
            Bound::AtLeast(least) => format!(", ≥ {}", value(least, found.unit)),
            Bound::Stated => String::new(),
        };
        let measured = shown(Some(found.spread), found.unit);
        report::print(&format!("{:<70} {measured}{bound}: {word}\n", bar.name))?;
    }
    Ok(is_explained)
}
