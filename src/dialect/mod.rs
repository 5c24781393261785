//! What clients speak inside messages. PURE. Add a dialect: a folder here and one line in this file.

pub mod json_rpc;
pub mod mcp;
pub mod negotiation;
pub mod sbe;
pub mod tools;
