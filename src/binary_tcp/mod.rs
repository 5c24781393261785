//! Binary TCP: JSON-RPC and SBE in frames with their length before them, for clients that need no HTTP and no WebSocket.
//!
//! PURE. A frame is four bytes, big-endian, then what they tell the length of: a text in UTF-8, or where their first bit is set what a
//! WebSocket has in a binary frame. Four bytes of 0 are a heartbeat.
//! Invariant: what a stream means does not depend on how it was cut.

mod receiver;
mod reframe;

pub use receiver::{Event, Fault, Receiver};
pub use reframe::{buffer_bytes, headroom, reframe};

/// Of a frame: how long its message is, and of which kind.
pub const LENGTH_BYTES: usize = 4;
/// Of these bytes: the message is no text. What is left is its length, which is less than 2 GiB.
pub const BINARY_BIT: u32 = 1 << 31;
