//! What clients speak inside messages. PURE. Add a dialect: a folder here and one line in this file.

pub mod json_rpc;
pub mod mcp;
pub mod negotiation;
mod order_terms;
pub mod sbe;
pub mod tools;
