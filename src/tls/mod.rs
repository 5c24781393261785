//! TLS on a listener: rustls without a socket, between the ring and the hub.
//!
//! `Tls` is made from the configuration once and shared by all shards; each connection has a `Stream`, which turns the
//! bytes that came into plaintext and plaintext into the bytes that go. Nothing in this folder knows a socket, the
//! ring or the hub, so any other port can use it.
//!
//! Home: `Tls` on the main thread, a `Stream` on the shard that has its connection. The certificate alone changes
//! while others read it, by an atomic exchange of a pointer.

mod certificate;
mod fault;
mod records;
mod sessions;
mod settings;
mod stream;

#[cfg(test)]
mod tests;

pub use self::certificate::Certificate;
pub use self::fault::Fault;
pub use self::records::{RECORD_BYTES_MAX, plain_bytes_max};
pub use self::settings::{Curve, Settings, Suite, Tls, Version};
pub use self::stream::{Peer, Progress, Stream};
