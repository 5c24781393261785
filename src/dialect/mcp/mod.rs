//! The Model Context Protocol: a server of it to clients, a client of it to backends, and what is between. PURE.
//! Home: the control thread.
//!
//! [`Relay`] holds all sessions of clients and all links to backends; how a client came and how a backend is reached is its
//! driver's affair (`control/mcp.rs`). [`EventLog`] and [`EventParser`] are what Streamable HTTP needs beside it. `docs/mcp.md` has
//! it all for operators and clients, decision 0026 why it is made of raw texts.

mod catalog;
mod errors;
mod events;
mod message;
mod parser;
mod posted;
mod relay;
#[cfg(test)]
mod tests;
mod version;

pub use events::{EventLog, StreamId};
pub use parser::{Event, EventParser, TooLong};
pub use posted::{Posted, answer_lost, is_answer_to, negotiated, posted, request_id};
pub use relay::{
    BackendKey, BackendSettings, BackendState, Counters, Instances, LinkId, News, Output, OwnCallId, Relay,
    SessionId, SessionKind, Settings,
};
pub use version::Revision;
