//! The binary as a process, on real sockets of loopback, with clients that share no code with it: tungstenite's client and
//! raw bytes. One module for each way in which it may fail.
//!
//! Ports are the kernel's choice. Nothing waits for a time to pass: a test waits for what it expects, and fails if that
//! has not come within `DEADLINE`.

#![cfg(feature = "runtime")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it saw"
)]

mod abuse;
mod bytes;
mod client;
mod cut;
mod deflate;
mod echo;
mod errors;
mod frames;
mod gap;
mod limits_of_descriptors;

#[path = "../replay/naive.rs"]
mod naive;
mod overload;
mod paused;
mod replay;
mod resume;
mod server;
mod shutdown;
mod stalled_reader;
mod tls;
mod two_shards;
mod upgrade;

use std::time::Duration;

/// For any one event to happen: far more than it takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
