//! tickring: a WebSocket gateway for trading. The table of contents, in reading order.
//!
//! Layers, each naming only those above it (held by `tests/tidy.rs`):
//! `model` ← `auth` ← `dialect` ← `desk` ← `hub` ← `telemetry` ← `shard`, `mail` ← `hub`, `front` ← `hub`, `ws` ← `binary_tcp` ← `hub`, `codec` ← `link`. The PURE half has no I/O, clock, thread
//! or randomness; `cargo check --lib --no-default-features` builds exactly that half.

pub mod limits;
pub mod model;

pub mod auth;

pub mod front;
pub mod http;
pub mod tls;
pub mod ws;

pub mod binary_tcp;

pub mod cluster;
pub mod desk;
pub mod dialect;
pub mod hub;
pub mod mail;
pub mod simulation;

pub mod backend;

pub mod telemetry;

pub mod api;

#[cfg(any(feature = "runtime", loom))]
pub mod admission;
#[cfg(feature = "runtime")]
pub mod clock;
#[cfg(feature = "runtime")]
pub mod doorbell;
#[cfg(feature = "runtime")]
pub mod mesh;
#[cfg(feature = "runtime")]
pub mod probe;
#[cfg(feature = "runtime")]
pub mod ring;
#[cfg(feature = "runtime")]
pub mod rt;
#[cfg(any(feature = "runtime", loom))]
pub mod sleep;

#[cfg(feature = "runtime")]
pub mod calls;
#[cfg(feature = "runtime")]
pub mod carry;
#[cfg(feature = "runtime")]
pub mod guests;
#[cfg(feature = "runtime")]
pub mod incident_log;
#[cfg(feature = "runtime")]
pub mod inspect;
#[cfg(feature = "runtime")]
pub mod inward;
#[cfg(feature = "runtime")]
pub mod nats;
pub mod pace;
#[cfg(feature = "runtime")]
pub mod pressure;
#[cfg(feature = "runtime")]
pub mod profiler;
#[cfg(feature = "runtime")]
pub mod pulse;
#[cfg(feature = "runtime")]
pub mod sessions_file;
#[cfg(feature = "runtime")]
pub mod slot;
pub mod spin;
#[cfg(feature = "runtime")]
pub mod store;
#[cfg(feature = "runtime")]
pub mod verify;

#[cfg(feature = "runtime")]
pub mod shard;
#[cfg(feature = "runtime")]
pub mod stop;
#[cfg(feature = "runtime")]
pub mod switch;
pub mod turn_load;
#[cfg(feature = "runtime")]
pub mod venue;

#[cfg(feature = "runtime")]
pub mod control;
#[cfg(feature = "runtime")]
pub mod histograms;
#[cfg(feature = "runtime")]
pub mod log_file;
#[cfg(feature = "runtime")]
pub mod log_tail;

#[cfg(feature = "runtime")]
pub mod cli;
#[cfg(feature = "runtime")]
pub mod config;
#[cfg(feature = "runtime")]
pub mod exit;
#[cfg(feature = "runtime")]
pub mod keys;
#[cfg(feature = "runtime")]
pub mod serve;
#[cfg(feature = "runtime")]
pub mod systemd;
