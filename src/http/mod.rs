//! HTTP/1.1 on the client port, as far as a WebSocket gateway needs it: read a request, or refuse it, and answer calls of
//! methods.
//!
//! PURE: bytes in, values and bytes out. Home: whoever owns the connection. Allocates: what the caller's output buffer
//! grows by, requests that are not whole, and decoded queries.
//!
//! Implemented: request heads (RFC 9112 §3 to §5) in origin and absolute form, bounded in bytes and in header
//! fields; refusals whose body says what to do instead; the answers to health checks; for calls of methods bodies of a known
//! length, keep-alive, pipelining and `100 Continue`.
//! Absent on purpose: chunked transfer coding (501), HTTP/1.0 and HTTP/2, obsolete line folding. A refused request ends its
//! connection, an upgraded one leaves HTTP.

pub mod answer;
pub mod inbox;
pub mod probe;
pub mod query;
pub mod rejection;
pub mod request;
pub mod response;

pub use answer::Answer;
pub use inbox::{Inbox, Limits, Next, Persistence};
pub use probe::{Probe, Verdict};
pub use query::decode_query;
pub use rejection::{Rejection, Status};
pub use request::{HEADERS_MAX, HeadLimits, Request, parse, parse_within};
pub use response::{Body, write_rejection};
