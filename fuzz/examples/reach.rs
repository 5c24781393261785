//! Finds anew what the corpus of `hub` has to reach: a change of the hub or of the simulation gives old bytes another meaning.
//! Says which inputs `reaches-*` no longer do; with `--write` it searches, shrinks what it finds and writes it.
//!
//! Invariants: the same seed over the same corpus and code finds the same; what is written reaches what its name says.

#![expect(clippy::print_stdout, reason = "its lines are its output")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, panic};

use tickring_fuzz::hub::{self, REACHED};

const HELP: &str = "\
usage: cargo run --release -p tickring-fuzz --example reach -- [--write] [--seed NUMBER] [--tries NUMBER]

Says which of the inputs `fuzz/corpus/hub/reaches-*` no longer reach what their names say.
  --write         searches for others, from mutations of the corpus and from chance, and writes them, shrunk
  --seed NUMBER   another seed is another search (default 1)
  --tries NUMBER  inputs to try in the search (default 300000); shrinking one takes at most 3000 more
Exit code 0 if all are reached at the end, 1 if one is not, 2 for a usage error.
An input that breaks the property is a finding: it is kept as fuzz/artifacts/hub/crash-reach, and the search ends.";

const BYTES_MAX: usize = 4096;
const SHRINK_TRIES_MAX: usize = 3000;

fn main() -> ExitCode {
    let (mut write, mut seed, mut tries) = (false, 1, 300_000);
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|text| text.parse().ok());
        let taken = match word.as_str() {
            "--write" => {
                write = true;
                Some(())
            }
            "--seed" => number().map(|given| seed = given),
            "--tries" => number().map(|given| tries = given),
            _ => None,
        };
        if taken.is_none() {
            println!("{HELP}");
            return ExitCode::from(if word == "--help" { 0 } else { 2 });
        }
    }
    keep_findings();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/hub");
    let committed = |what: &str| fs::read(folder.join(hub::input_name(what)));
    let mut missing: Vec<&str> = REACHED.to_vec();
    missing.retain(|what| !committed(what).is_ok_and(|input| reaches(&input, what)));
    for what in &missing {
        println!("missing {}", hub::input_name(what));
    }
    let mut search = Search { kept: inputs(&folder), seen: BTreeSet::new(), state: seed };
    let mut tried = 0;
    while write && !missing.is_empty() && tried < tries {
        tried += 1;
        let Some((what, input)) = search.step(&missing) else { continue };
        let (name, short) = (hub::input_name(what), shrink(what, input));
        fs::write(folder.join(&name), &short).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("written {name}: {} bytes, after {tried} tries", short.len());
        missing.retain(|other| *other != what);
    }
    println!("{} of {} are reached", REACHED.len() - missing.len(), REACHED.len());
    if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

thread_local! {
    static TRIED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A release panics by abort: the input has to be kept before.
fn keep_findings() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts/hub");
        _ = fs::create_dir_all(&folder);
        let kept = TRIED.with_borrow(|input| fs::write(folder.join("crash-reach"), input));
        eprintln!("kept in {}: {kept:?}", folder.display());
        say(info);
    }));
}

fn coverage(input: &[u8]) -> Vec<(&'static str, u64)> {
    TRIED.set(input.to_vec());
    hub::coverage(input).into_iter().filter(|(_, count)| *count > 0).collect()
}

fn reaches(input: &[u8], what: &str) -> bool {
    coverage(input).iter().any(|(reached, _)| *reached == what)
}

/// The committed inputs in the order of their names.
fn inputs(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).expect("the corpus is there");
    let paths: BTreeSet<_> = entries.map(|entry| entry.expect("an entry is read").path()).collect();
    paths.iter().map(|path| fs::read(path).expect("an input is read")).collect()
}

/// A search that keeps what went where none before went: how often what happened, by powers of two.
struct Search {
    kept: Vec<Vec<u8>>,
    seen: BTreeSet<(&'static str, u32)>,
    state: u64,
}

impl Search {
    /// Tries one input; gives it with the first of `missing` that it reaches.
    fn step<'m>(&mut self, missing: &[&'m str]) -> Option<(&'m str, Vec<u8>)> {
        let is_fresh = self.kept.is_empty() || self.below(8) == 0;
        let input = if is_fresh { self.bytes(BYTES_MAX / 2) } else { self.mutant() };
        let reached = coverage(&input);
        let seen_before = self.seen.len();
        self.seen.extend(reached.iter().map(|(what, count)| (*what, count.ilog2())));
        if self.seen.len() > seen_before {
            self.kept.push(input.clone());
        }
        let found = missing.iter().find(|what| reached.iter().any(|(name, _)| name == *what))?;
        Some((found, input))
    }

    /// One that was kept, with a few edits.
    fn mutant(&mut self) -> Vec<u8> {
        let from = self.below(self.kept.len());
        let mut input = self.kept[from].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(input.len() + 1);
            let end = at + self.below((input.len() - at).min(64) + 1);
            match self.below(5) {
                0 => _ = input.drain(at..end),
                1 => input[at..end].fill_with(|| self.byte()),
                2 => _ = input.splice(at..at, self.bytes(64)),
                3 => _ = input.splice(at..at, input[at..end].to_vec()),
                _ => {
                    let other = self.below(self.kept.len());
                    let other = &self.kept[other];
                    input.truncate(at);
                    input.extend_from_slice(&other[at.min(other.len())..]);
                }
            }
        }
        input.truncate(BYTES_MAX);
        input
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below a usize")
    }

    /// At least one, at most `count`.
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..=self.below(count)).map(|_| self.byte()).collect()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("below 256")
    }
}

/// Drops runs of bytes, the long ones first, as long as what is left reaches the same.
fn shrink(what: &str, mut input: Vec<u8>) -> Vec<u8> {
    let (mut run, mut tries) = (input.len().div_ceil(2), 0);
    while run > 0 {
        let before = input.len();
        let mut end = before;
        while end > 0 && tries < SHRINK_TRIES_MAX {
            let start = end.saturating_sub(run);
            let shorter = [&input[..start], &input[end..]].concat();
            tries += 1;
            if reaches(&shorter, what) {
                input = shorter;
            }
            end = start;
        }
        // Another pass over single bytes as long as one helps.
        run = if run == 1 && input.len() < before && tries < SHRINK_TRIES_MAX { 1 } else { run / 2 };
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_found_from_nothing_and_shrunk() {
        let mut search = Search { kept: Vec::new(), seen: BTreeSet::new(), state: 1 };
        let found = (0..10_000).find_map(|_| search.step(&["publish refused"]));
        let (what, found) = found.expect("it is common");
        let short = shrink(what, found.clone());
        assert!(short.len() < found.len() && reaches(&short, what));
    }
}
