//! TLS on a listener: rustls without a socket, between the ring and the hub.
//!
//! `Tls` is made from the configuration once and shared by all shards; each connection has a `Stream`, which turns the
//! bytes that came into plaintext and plaintext into the bytes that go. Nothing in this folder knows a socket, the
//! ring or the hub, so any other port can use it.
//!
//! Home: `Tls` on the main thread, a `Stream` on the shard that has its connection. The certificate alone changes
//! while others read it, by an atomic exchange of a pointer.

#[cfg(feature = "runtime")]
mod certificate;
mod fault;
#[cfg(feature = "runtime")]
mod records;
#[cfg(feature = "runtime")]
mod sessions;
#[cfg(feature = "runtime")]
mod settings;
#[cfg(feature = "runtime")]
mod stream;

#[cfg(test)]
#[cfg(feature = "runtime")]
mod tests;

pub use self::fault::Fault;

#[cfg(feature = "runtime")]
pub use self::certificate::{Certificate, Fingerprint};
#[cfg(feature = "runtime")]
pub use self::records::{OVERHEAD_BYTES_MAX, RECORD_BYTES_MAX, plain_bytes_max};
#[cfg(feature = "runtime")]
pub use self::settings::{Curve, Settings, Suite, Tls, Version};
#[cfg(feature = "runtime")]
pub use self::stream::{Peer, Progress, Stream};
