//! The hub under arbitrary sequences of operations: one to three hubs and the market's home on a virtual clock, a mesh that
//! loses batches, networks that cut and stall, clients that keep the rules and clients that keep none.
//!
//! Property: nothing panics; bytes queued for a connection never exceed its bound; every client that keeps the rules is told
//! what a naive model knows (`tickring::simulation`: order, nothing lost in the lossless class, books, values, resume, exactly
//! one reply to each request); one that keeps none is told of nothing that it did not ask for, of no event twice or out of
//! order, and gets exactly one reply to each request that its hub has read; once all have gone, nothing is held.
//!
//! Input: the choices of a small simulated world, one or two bytes for each.

use std::collections::BTreeMap;

/// What the corpus of `hub` must reach, each by an input of its name (`reaches-closed-as-slow`): bytes are choices, so a change
/// of the simulation could leave them saying nothing. `examples/reach.rs` finds them anew.
pub const REACHED: [&str; 30] = [
    "aborted",
    "book change",
    "closed as idle",
    "closed as slow",
    "closed for a fault",
    "closed for a gap",
    "closed normally",
    "closed to make room",
    "flap",
    "frames_skipped_total",
    "gap",
    "heartbeat_lost",
    "hostile notification",
    "hostile notification in SBE",
    "hostile reject",
    "hostile reply",
    "message",
    "message of a hostile client",
    "message_timeout",
    "not recovered",
    "ping_timeout",
    "pongs at their bound",
    "publish refused",
    "reads_paused_total",
    "recovered",
    "refused under load",
    "shed",
    "trades",
    "vanished",
    "write_timeout",
];

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    _ = coverage(input);
}

/// Checks an input and says how often what happened: bytes are choices, so what an input reaches changes with the simulation.
///
/// # Panics
/// Where the property does not hold.
#[must_use]
pub fn coverage(input: &[u8]) -> BTreeMap<&'static str, u64> {
    tickring::simulation::run_script(input)
}

/// The name of the committed input that reaches this.
#[must_use]
pub fn input_name(what: &str) -> String {
    format!("reaches-{}", what.replace([' ', '_'], "-"))
}
