//! Binary TCP: JSON-RPC in frames with their length before them, for clients that need no HTTP and no WebSocket.
//!
//! PURE. A frame is four bytes, the length of what follows, big-endian, then one message in UTF-8. A length of 0 is a heartbeat.
//! Invariant: what a stream means does not depend on how it was cut.

mod receiver;
mod reframe;

pub use receiver::{Event, Fault, Receiver};
pub use reframe::{buffer_bytes, headroom, reframe};

/// Of a frame: how long its message is.
pub const LENGTH_BYTES: usize = 4;
