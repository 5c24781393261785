//! The net ring against real sockets on loopback: echo, starvation, short sends, connecting, closing, full queues, the doorbell.
//!
//! Ports are the kernel's choice and nothing waits for a time to pass: a test ends when what it expects has happened.

#![cfg(feature = "runtime")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it saw"
)]

mod accepting;
mod closing;
mod connecting;
mod driven;
mod echo_server;
mod receiving;
mod sending;
mod waking;
