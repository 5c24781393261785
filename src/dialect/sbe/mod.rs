//! Simple Binary Encoding 1.0: market data and order entry as binary messages. PURE. docs/sbe/tickring.xml is the schema.
//!
//! `generated` is written from the schema by `tests/sbe`: of each message a value that is encoded whole, and a view of received bytes
//! whose fields are read where they lie; `wire` is what they are made of. Neither allocates, but for what the `Vec` written to grows by.

mod batch;
pub mod generated;
pub mod market;
mod orders;
#[cfg(test)]
mod tests;
pub mod wire;
mod words;

pub use batch::{BATCHED_LENGTH_BYTES, batched_length, split_batch};
pub use orders::{
    Answering, OrderMessage, ReportPlace, decode_order_message, write_ack_for, write_fill_report,
    write_order_ack, write_order_report, write_reject, write_report_at,
};
