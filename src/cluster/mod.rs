//! Several nodes with one market: what crosses between them, and who owns it. PURE: NATS and its thread are a driver's.
//!
//! Reading order: `names` (nodes and sets of them), `lease` (who owns the market), `wire` and `records` (bytes that are decoded without trust),
//! `parts` (what a turn says, told once to each set of nodes), `assembly` (the turn put together again, or a loss noticed), `interest` (who listens
//! to what), `requests` (what nodes that follow ask of the owner), `owner` and `follower` (the two ends of the bridge). Decision 0037 has the whole, and
//! what of it is not built.

pub mod assembly;
mod coding;
mod commands;
pub mod follower;
mod forwarding;
mod interest;
pub mod lease;
mod message_coding;
pub mod names;
pub mod node;
pub mod notices;
mod order_coding;
pub mod owner;
pub mod parts;
pub mod records;
pub mod requests;
mod tenant;
pub mod wire;
pub mod words;
