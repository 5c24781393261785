//! Many seeds of the simulation. `TICKRING_SEED=7` runs one seed, `TICKRING_SEEDS=5000` that many from 0 on.

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use tickring::simulation::{Size, run_calls, run_orders};

const SEEDS: u64 = 200;

/// What must have happened in so many seeds; a simulation that does not get there proves nothing.
const REACHED: [&str; 43] = [
    "aborted",
    "batch reply",
    "book change",
    "book snapshot",
    "closed as idle",
    "closed as slow",
    "closed for a fault",
    "closed for a gap",
    "closed normally",
    "closed to make room",
    "closed while hostile",
    "delisted",
    "events_conflated_total",
    "flap",
    "frames_skipped_total",
    "gap",
    "gap notice",
    "heartbeat",
    "heartbeat in SBE",
    "heartbeat_lost",
    "hostile notification",
    "hostile notification in SBE",
    "hostile reject",
    "hostile reply",
    "idle_timeout",
    "joins_delayed_total",
    "message_timeout",
    "message of a hostile client",
    "not recovered",
    "overload_entered_total",
    "overload_left_total",
    "overloaded",
    "ping_timeout",
    "pongs at their bound",
    "reads_paused_total",
    "recovered",
    "refused under load",
    "refused while hostile",
    "shed",
    "told by pattern",
    "told in SBE",
    "vanished",
    "write_timeout",
];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn every_seed_tells_every_client_what_it_should_be_told() {
    let seeds = match number("TICKRING_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TICKRING_SEEDS").unwrap_or(SEEDS),
    };
    assert!(!seeds.is_empty(), "no seed is run");
    let seeds_all = seeds.end - seeds.start >= SEEDS;
    let mut coverage: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failed = Vec::new();
    for seed in seeds {
        match catch_unwind(|| tickring::simulation::run(seed)) {
            Ok(seen) => {
                seen.into_iter().for_each(|(what, count)| *coverage.entry(what).or_default() += count)
            }
            Err(_) => {
                eprintln!(
                    "seed {seed} fails; again:\n    TICKRING_SEED={seed} cargo test --no-default-features --test simulation"
                );
                failed.push(seed);
            }
        }
    }
    eprintln!("{coverage:#?}");
    if seeds_all {
        for what in REACHED {
            assert!(coverage.get(what).is_some_and(|count| *count > 0), "no seed reaches: {what}");
        }
    }
    assert!(failed.is_empty(), "{} seeds fail: {failed:?}", failed.len());
}

/// What must have happened where clients trade.
const TRADED: [&str; 18] = [
    "answers in SBE",
    "answers not reported before a cut",
    "bytes lost on links",
    "cancels on disconnect",
    "client sides of trades",
    "connections cut",
    "gap",
    "links over a pipe cut",
    "links over a pipe resumed",
    "outcomes unknown",
    "rebuilt",
    "refusals in SBE",
    "repeats recognised",
    "replies lost with a connection",
    "reports in SBE",
    "requests taken and not executed",
    "resumed",
    "venue links cut",
];

/// The seeds of the short run, of 2,000 operations each.
const ORDER_SEEDS: u64 = 6;

#[test]
fn orders_are_the_venue_s_for_every_client_and_nothing_is_lost_or_doubled() {
    let (seeds, size) = match number("TICKRING_ORDER_OPS") {
        Some(operations) => {
            // One of those whose threads fall behind each other, too.
            let seed = number("TICKRING_SEED").unwrap_or(3);
            // Some 2,000 cuts of each kind in a million.
            let size = Size { operations, clients: 100, client_cut_in: 500, venue_cut_in: 500, rests: 20 };
            (seed..seed + 1, size)
        }
        None => {
            let size =
                Size { operations: 2_000, clients: 30, client_cut_in: 50, venue_cut_in: 100, rests: 4 };
            let seeds = number("TICKRING_SEED").map_or(0..ORDER_SEEDS, |seed| seed..seed + 1);
            (seeds, size)
        }
    };
    let is_all = seeds.end - seeds.start >= ORDER_SEEDS || size.operations >= 1_000_000;
    let mut coverage: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds {
        eprintln!("orders: seed {seed}, {size:?}");
        let seen = run_orders(seed, size);
        seen.into_iter().for_each(|(what, count)| *coverage.entry(what).or_default() += count);
    }
    eprintln!("{coverage:#?}");
    for what in TRADED.iter().filter(|_| is_all) {
        assert!(coverage.get(what).is_some_and(|count| *count > 0), "no seed reaches: {what}");
    }
}

/// What must have happened where clients call backends.
const CALLED: [&str; 26] = [
    "array of requests",
    "backend died",
    "batch reply",
    "busy",
    "call_answers_late_total",
    "call_cache_expired_total",
    "call_cache_hits_total",
    "call_cache_joined_total",
    "calls_cancelled_total",
    "calls_timed_out_total",
    "cancellation at a backend",
    "cancelled",
    "closed normally",
    "error of a backend",
    "garbled",
    "lost",
    "not available",
    "notification at a backend",
    "progress",
    "refusal of a backend's request",
    "result",
    "retried",
    "stray answers",
    "timed out",
    "too long",
    "vanished",
];

/// The seeds of the short run, of 3,000 steps each.
const CALL_SEEDS: u64 = 60;

#[test]
fn each_call_has_one_reply_whatever_its_backend_does() {
    let seeds = number("TICKRING_SEED")
        .map_or(0..number("TICKRING_SEEDS").unwrap_or(CALL_SEEDS), |seed| seed..seed + 1);
    let is_all = seeds.end - seeds.start >= CALL_SEEDS;
    let mut coverage: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds {
        eprintln!("calls: seed {seed}");
        run_calls(seed).into_iter().for_each(|(what, count)| *coverage.entry(what).or_default() += count);
    }
    eprintln!("{coverage:#?}");
    for what in CALLED.iter().filter(|_| is_all) {
        assert!(coverage.get(what).is_some_and(|count| *count > 0), "no seed reaches: {what}");
    }
}
