//! What hubs and backends say to each other: calls of the methods that a backend owns, their outcomes, and the text of clients whose
//! protocol is spoken behind the hub. PURE. Home: every thread.
//!
//! Invariant: a call has one outcome for its hub, which knows it by its key; what comes for a key that is over is dropped and counted.

use super::ids::{ConnId, HomeId, Ticket};
use super::order::AccountId;

/// A backend, by its place in the configuration; below `limits::BACKENDS_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub u16);

impl BackendId {
    /// As an index into a table of backends.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A call while it is under way: the hub that waits for it, and what that knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    pub home: HomeId,
    pub ticket: Ticket,
}

/// A request of a client for a method that a backend owns. The client's own id stays with the hub.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `None` for a notification: nobody waits for an answer.
    pub key: Option<CallKey>,
    pub backend: BackendId,
    pub conn: ConnId,
    /// Whom the connection has logged in as.
    pub account: Option<AccountId>,
    /// As the client has named it.
    pub method: &'a str,
    /// One valid JSON object or array.
    pub params: Option<&'a [u8]>,
    /// The client's `traceparent`, if it gave one (W3C Trace Context).
    pub trace_parent: Option<&'a str>,
    /// Its route declares that it may be done twice, so that it may be sent again where nobody knows what became of it.
    pub is_idempotent: bool,
    /// When the hub gives up, on the monotonic clock. Whoever carries the call does nothing for it afterwards.
    pub due_ns: u64,
}

/// A call that nobody waits for any more: its client has cancelled it or is gone, or its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelledCall {
    pub key: CallKey,
    pub backend: BackendId,
}

/// A `traceparent` of W3C Trace Context: 55 bytes, `00-{trace}-{parent}-{flags}` in lower hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent<'a>(&'a str);

impl<'a> TraceParent<'a> {
    /// `None` where it is not one: it counts as absent then (W3C Trace Context, 2.2.2).
    #[must_use]
    pub fn parse(text: &'a str) -> Option<TraceParent<'a>> {
        const DASHES: [usize; 3] = [2, 35, 52];
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_legal =
            |(at, byte): (usize, u8)| if DASHES.contains(&at) { byte == b'-' } else { is_digit(byte) };
        let is_whole = text.len() == 55 && text.bytes().enumerate().all(is_legal);
        let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
        let is_one = is_whole && &text[..2] != "ff" && !is_zero(&text[3..35]) && !is_zero(&text[36..52]);
        is_one.then_some(TraceParent(text))
    }

    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome<'a> {
    /// One valid JSON value.
    Result(&'a [u8]),
    /// The backend's own error: a valid JSON object with `code` and `message`.
    Error(&'a [u8]),
    Failed(CallFailure),
}

/// Why a call has no answer of its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// It was not sent: no link to the backend is up, or its breaker is open.
    Unavailable,
    /// It was not sent: as many calls as may be are under way or wait.
    Busy,
    /// It was sent, and the backend did not answer in time: what became of it is not known.
    TimedOut,
    /// It was sent, and the backend's link or process ended before an answer: what became of it is not known.
    Lost,
    /// The backend answered something that is no JSON-RPC answer.
    Garbled,
    /// The backend's answer is longer than `limits.message_bytes_max` lets be.
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_parent_is_taken_as_it_is_or_not_at_all() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceParent::parse(good).map(TraceParent::as_str), Some(good));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\"-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-1",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
