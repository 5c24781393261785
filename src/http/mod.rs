//! HTTP/1.1 on the client port, as far as a WebSocket gateway needs it: read one request head, or refuse it.
//!
//! PURE: bytes in, values and bytes out. Home: whoever owns the connection. Allocates: nothing but what the caller's
//! output buffer grows by.
//!
//! Implemented: request heads (RFC 9112 §3 to §5) in origin and absolute form, bounded in bytes and in header
//! fields; refusals whose body says what to do instead; the answers to health checks.
//! Absent on purpose: bodies, chunked transfer coding, keep-alive and pipelining (a refused request ends its
//! connection, an upgraded one leaves HTTP), HTTP/1.0 and HTTP/2, obsolete line folding.

pub mod probe;
pub mod rejection;
pub mod request;
pub mod response;

pub use probe::{Probe, Verdict};
pub use rejection::{Rejection, Status};
pub use request::{HEADERS_MAX, HeadLimits, Request, parse, parse_within};
pub use response::{Body, write_rejection};
