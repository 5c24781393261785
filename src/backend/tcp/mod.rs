//! Venues outside of the process, over TCP: messages, their two forms, and both sides of the link. PURE.
//! Home: the venue's thread. `docs/venue-link.md` describes the wire.

pub mod codec;
pub mod greeting;
pub mod message;
pub mod paper_venue;
pub mod reach;
pub mod session;
mod stream;
pub mod venue;
pub mod wire;
