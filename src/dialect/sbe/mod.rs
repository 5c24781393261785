//! Simple Binary Encoding 1.0: market data and order entry as binary messages. PURE. docs/sbe/tickring.xml is the schema.
//!
//! `generated` is written from the schema by `tests/sbe`: of each message a value that is encoded whole, and a view of received bytes
//! whose fields are read where they lie; `wire` is what they are made of. Neither allocates, but for what the `Vec` written to grows by.

pub mod generated;
pub mod market;
#[cfg(test)]
mod tests;
pub mod wire;
