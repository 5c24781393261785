//! Venues outside of the process, over TCP. PURE but for `link.rs`. Home: the venue's thread.
//! `docs/venue-link.md` describes the wire.

pub mod codec;
pub mod message;
