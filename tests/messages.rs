//! Many seeds of the office of messages: against a naive one, and through crashes of process and store. `TICKRING_SEED=7` runs one seed,
//! `TICKRING_SEEDS=5000` that many from 0 on.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and its numbers are small"
)]

use std::collections::BTreeMap;
use std::panic::catch_unwind;

#[path = "messages/crash.rs"]
mod crash;
#[path = "messages/model.rs"]
mod model;
#[path = "messages/naive.rs"]
mod naive;
#[path = "messages/requests.rs"]
mod requests;

/// Of an unoptimised build; an optimised one runs more.
const SEEDS: u64 = if cfg!(debug_assertions) { 200 } else { 5_000 };

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Runs the seeds that are asked for; what they met is at least `reached`, where they are enough.
fn run_seeds(test: &str, run: fn(u64) -> BTreeMap<&'static str, u64>, reached: &[&str]) {
    let seeds = match number("TICKRING_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TICKRING_SEEDS").unwrap_or(SEEDS),
    };
    assert!(!seeds.is_empty(), "no seed is run");
    let is_all = seeds.end - seeds.start >= 200;
    let mut coverage: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failed = Vec::new();
    for seed in seeds {
        match catch_unwind(|| run(seed)) {
            Ok(seen) => {
                seen.into_iter().for_each(|(what, count)| *coverage.entry(what).or_default() += count)
            }
            Err(_) => {
                eprintln!(
                    "seed {seed} fails; again:\n    TICKRING_SEED={seed} cargo test --no-default-features --test messages {test}"
                );
                failed.push(seed);
            }
        }
    }
    eprintln!("{coverage:#?}");
    for what in reached.iter().filter(|_| is_all) {
        assert!(coverage.get(what).is_some_and(|count| *count > 0), "no seed reaches: {what}");
    }
    assert!(failed.is_empty(), "{} seeds fail: {failed:?}", failed.len());
}

#[test]
fn the_office_says_what_a_naive_one_says() {
    let reached = [
        "dead letters",
        "delivered",
        "delivered again",
        "full",
        "receipts",
        "receipts of an end",
        "repeated",
        "sender full",
        "sent to many",
        "too late",
        "too many",
    ];
    run_seeds("the_office", naive::run, &reached);
}

#[test]
fn through_crashes_what_is_accepted_is_confirmed_or_dead_and_duplicates_say_so() {
    let reached = [
        "confirmations refused",
        "confirmed",
        "crashes",
        "dead letters",
        "delivered again",
        "handed back",
        "marked in vain",
        "recovered",
        "refused",
        "repeats recognised",
        "resends",
        "sends refused",
        "stored unheard",
    ];
    run_seeds("through_crashes", crash::run, &reached);
}
