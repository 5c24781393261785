//! RFC 6455, the server's side, as values: bytes in, events out; no socket, no clock, no callback.
//!
//! PURE. Home: whoever owns the connection. A message that arrives whole in one read is unmasked, checked and
//! handed over where it lies; only a message that arrives in pieces is assembled on the heap, and that memory leaves
//! with the message.
//!
//! Implemented: the opening handshake (§4.2) with subprotocols, framing and masking (§5), fragmentation with
//! interleaved control frames (§5.4, §5.5), UTF-8 in text and close reasons, checked as bytes arrive (§8.1), closing
//! with status codes (§7.4), bounds on frames, messages and fragments (§10.4), and permessage-deflate (RFC 7692).
//! Absent on purpose: the client's side; other extensions; fragmenting what we send; frames from clients that are
//! not masked.
//!
//! Parts of `tungstenite` are used where they neither copy nor allocate: the accept key and the opcodes. Its frame
//! and message types own their bytes, so frames are decoded here; in the tests its writer is the other side.

pub mod close;
pub mod deflate;
pub mod fault;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod receiver;
pub mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use fault::Fault;
pub use frame::{Opcode, encode_compressed_header, encode_header, frame_len, server_frame_len};
pub use handshake::{Upgrade, upgrade, write_switching_protocols};
pub use receiver::{Event, ReceiveLimits, Receiver};
