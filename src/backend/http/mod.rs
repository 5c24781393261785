//! Backends that are services: JSON-RPC by POST over HTTP/1.1 and HTTP/2, with TLS by rustls.
//!
//! Home: the control thread. Which address a call goes to is decided in `pool`, and what is said in `codec`, which are PURE; `link` carries.

pub mod codec;
#[cfg(feature = "runtime")]
pub mod link;
