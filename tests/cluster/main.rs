//! Several tickring processes with one nats-server or three, which are killed, cut off and slowed. Each test needs a nats-server, and is
//! ignored by a plain `cargo test`: `tests/cluster/run` installs one and runs them.
//!
//! Ports are the kernel's choice. Nothing waits for a time to pass: a test waits for what it expects.

#![cfg(feature = "runtime")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it saw"
)]

mod caches;
mod chance;
mod clients;
mod departures;
mod faults;
mod fixtures;
mod ledger;
mod link;
mod messengers;
mod nats_client;
mod nats_server;
mod nodes;
mod oracle;
mod presence;
mod readers;
mod sessions;
mod users;
mod venues;
mod whole;

#[allow(dead_code, reason = "of the tests of one server, which use more of it")]
#[path = "../wire/bytes.rs"]
mod bytes;
#[allow(dead_code, reason = "of the tests of one server, which use more of it")]
#[path = "../wire/client.rs"]
mod client;
#[allow(dead_code, reason = "of the tests of one server, which use more of it")]
#[path = "../wire/server.rs"]
mod server;

use std::time::{Duration, Instant};

/// For any one event to happen: far more than it takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Does this again and again until it says that what it waits for has happened.
#[expect(
    clippy::disallowed_methods,
    reason = "a wait has an end, by which nothing but its failure is judged"
)]
fn until(what: &str, mut has_happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !has_happened() {
        assert!(began.elapsed() < DEADLINE, "this has not happened: {what}");
    }
}
