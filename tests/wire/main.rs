//! The binary as a process, on real sockets of loopback, with clients that share no code with it: tungstenite's client and
//! raw bytes. One module for each way in which it may fail.
//!
//! Ports are the kernel's choice. Nothing waits for a time to pass: a test waits for what it expects, and fails if that
//! has not come within `DEADLINE`. The one exception is `paused.rs`, whose pauses are what it tests with.

#![cfg(feature = "runtime")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it saw"
)]

mod abuse;
mod auth;
mod binary_tcp;
mod bytes;
mod client;
mod configuration;
mod control;
mod cut;
mod deflate;
mod echo;
mod errors;
mod frames;
mod gap;
mod histograms;
mod http_api;
mod invalidation;
mod limits_of_descriptors;
mod line_services;
mod listeners;
mod logs;
mod mcp;
mod mcp_reload;
mod messages;
mod mt5;

#[path = "../replay/naive.rs"]
mod naive;
mod order_entry;
mod orders;
mod overload;
mod paused;
mod processes;
mod processing;
mod proxied;
mod reload;
mod reload_market;
mod replay;
mod resume;
mod rounds;
mod sbe;
mod sbe_clients;
mod server;
mod services;
mod shutdown;
mod stalled_reader;
mod store;
mod systemd;
mod tls;
mod two_shards;
mod upgrade;
mod venue;

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
