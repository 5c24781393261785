//! The thread that speaks to NATS, against a real nats-server: `cargo test --test nats`. It needs the program: `NATS_SERVER` or `PATH` says where it
//! is, and without it the tests fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod lease;
mod messages;
mod node;
mod presence;
mod security;
mod sessions;
mod three;

#[path = "../cluster/nats_server.rs"]
mod nats_server;
