//! The store as a stream of JetStream, against a real nats-server: what it keeps, who may write, what a server that is away, killed or full does to it.
//! Each test needs a nats-server, and is ignored by a plain `cargo test`: `tests/cluster/run` installs one and runs them.
//!
//! No test waits for a time to pass, or judges by one.

#![cfg(feature = "runtime")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, has small numbers, and names the words that it expects"
)]

mod faults;
mod keeping;
mod kills;
#[path = "../cluster/link.rs"]
mod link;
#[allow(dead_code, reason = "of what it can, some is for other tests")]
#[path = "../cluster/nats_client.rs"]
mod nats_client;
#[path = "../cluster/nats_server.rs"]
mod nats_server;
mod owners;
mod room;
mod running;

/// The raw client of the tests gives up after so long.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
