//! Backends that are services: JSON-RPC by POST over HTTP/1.1 and HTTP/2, with TLS by rustls.
//!
//! Home: the control thread. Which address a call goes to is decided in `pool`, which is PURE; `link` carries.

pub mod link;
