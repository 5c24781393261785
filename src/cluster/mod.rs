//! Several nodes with one market: what crosses between them, and who owns it. PURE: NATS and its thread are a driver's.
//!
//! Reading order: `names` (nodes and sets of them), `lease` (who owns the market). Decision 0035 has the whole, and what of it is not built.

pub mod lease;
pub mod names;
