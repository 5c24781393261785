//! Requests with bodies, one behind the other on a connection: what has come of them, and where each ends.
//!
//! PURE. Allocates: the buffer of what is not taken yet. Invariants: which requests come out depends on the bytes and limits only,
//! not on how they were cut; a body is waited for without a look at what has come of it, so that a byte costs the same however
//! it arrives; no more is awaited than one head and one body within the limits.

use super::rejection::Rejection;
use super::request::{HeadLimits, Request, parse_within};

/// What is read of a connection that calls methods.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Of those, the requests that were taken.
    taken: usize,
    /// Bytes of the next request, head and body, once its head is known.
    awaited: Option<usize>,
}

/// What a request may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub head: HeadLimits,
    /// Bytes of a body.
    pub body_bytes_max: usize,
}

/// What a head says of what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    pub body_bytes: usize,
    pub persistence: Persistence,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    KeepAlive,
    Close,
}

/// What the inbox holds.
#[derive(Debug)]
pub enum Next<'i> {
    /// Nothing whole. The number is of bytes of an unfinished head, which the next look has to parse again.
    Incomplete { reread_bytes: usize },
    /// A head whose body is still to come, told once.
    Begun(Framing),
    /// A whole request, until [`Inbox::take`].
    Whole { request: Box<Request<'i>>, framing: Framing, body: &'i [u8] },
}

impl Inbox {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Looks at the next request.
    ///
    /// # Errors
    /// It is none that is taken; where it ends is not known.
    pub fn next(&mut self, limits: Limits) -> Result<Next<'_>, Rejection> {
        let waiting = &self.bytes[self.taken..];
        if self.awaited.is_some_and(|awaited| waiting.len() < awaited) {
            return Ok(Next::Incomplete { reread_bytes: 0 });
        }
        let Some(request) = parse_within(waiting, limits.head)? else {
            return Ok(Next::Incomplete { reread_bytes: waiting.len() });
        };
        let framing = framing(&request, limits.body_bytes_max)?;
        let whole_bytes = request.head_bytes + framing.body_bytes;
        let was_awaited = self.awaited.replace(whole_bytes).is_some();
        match waiting.get(request.head_bytes..whole_bytes) {
            Some(body) => Ok(Next::Whole { request: Box::new(request), framing, body }),
            None => {
                assert!(!was_awaited, "a body that is awaited is looked at once it is there");
                Ok(Next::Begun(framing))
            }
        }
    }

    /// The request that is whole has been served.
    ///
    /// # Panics
    /// If [`Inbox::next`] has not just found one.
    pub fn take(&mut self) {
        self.taken += self.awaited.take().expect("invariant: `next` has just found a whole request");
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        }
    }

    /// Forgets the bytes of what was taken: each is moved once a read at most.
    pub fn compact(&mut self) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        if self.bytes.is_empty() {
            // A connection that waits for its next request holds nothing.
            self.bytes = Vec::new();
        }
    }

    /// Whether a request has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// The bytes that are not taken.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Bytes of memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// What a head says of its body (RFC 9112 §6) and of the connection (§9.3).
///
/// # Errors
/// A body that can't be delimited, is longer than allowed, or comes in a way that is not spoken here.
pub fn framing(request: &Request<'_>, body_bytes_max: usize) -> Result<Framing, Rejection> {
    if request.value("Transfer-Encoding").is_some() {
        // With a length beside it, two readers could differ on where the body ends (RFC 9112 §6.3).
        let both = request.value("Content-Length").is_some();
        return Err(if both { Rejection::LengthMalformed } else { Rejection::TransferCoding });
    }
    let body_bytes = match request.single_value("Content-Length") {
        Some(length) => decimal(length).ok_or(Rejection::LengthMalformed)?,
        None if request.value("Content-Length").is_some() => return Err(Rejection::LengthMalformed),
        None if request.method == "POST" => return Err(Rejection::LengthRequired),
        None => 0,
    };
    let body_bytes = usize::try_from(body_bytes).unwrap_or(usize::MAX);
    if body_bytes > body_bytes_max {
        return Err(Rejection::BodyTooLarge);
    }
    let expects_continue = match request.single_value("Expect") {
        None if request.value("Expect").is_none() => false,
        Some(expected) if expected.eq_ignore_ascii_case(b"100-continue") => true,
        Some(_) | None => return Err(Rejection::ExpectationUnknown),
    };
    let closes = request.list_contains("Connection", "close");
    let persistence = if closes { Persistence::Close } else { Persistence::KeepAlive };
    Ok(Framing { body_bytes, persistence, expects_continue })
}

/// Digits alone; more than fit are the largest number.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { head: HeadLimits { bytes_max: 200, headers_max: 8 }, body_bytes_max: 10 };

    /// What comes out of an inbox that is given these reads, in words.
    fn read<'r>(reads: impl IntoIterator<Item = &'r [u8]>) -> Vec<String> {
        let mut inbox = Inbox::default();
        let mut seen = Vec::new();
        for bytes in reads {
            inbox.push(bytes);
            loop {
                match inbox.next(LIMITS) {
                    Ok(Next::Incomplete { .. }) => break,
                    Ok(Next::Begun(framing)) => assert!(framing.body_bytes > 0),
                    Ok(Next::Whole { request, framing, body }) => {
                        let body = String::from_utf8_lossy(body);
                        seen.push(format!(
                            "{} {} {body} {:?}",
                            request.method, request.path, framing.persistence
                        ));
                        inbox.take();
                    }
                    Err(rejection) => {
                        seen.push(format!("{rejection:?}"));
                        return seen;
                    }
                }
            }
            inbox.compact();
        }
        if !inbox.is_empty() {
            seen.push("unfinished".to_owned());
        }
        seen
    }

    fn check(bytes: &str, expected: &[&str]) {
        assert_eq!(read([bytes.as_bytes()]), expected, "{bytes}");
    }

    #[test]
    fn requests_come_out_one_behind_the_other_with_their_bodies() {
        check(
            "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyzGET /b HTTP/1.1\r\nConnection: x, Close\r\n\r\n\r\nGET /c",
            &["POST /a xyz KeepAlive", "GET /b  Close", "unfinished"],
        );
        check("GET /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", &["GET /a {} KeepAlive"]);
        check("POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n", &["POST /a  KeepAlive"]);
        check("POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\n012345678", &["unfinished"]);
    }

    #[test]
    fn a_body_that_is_not_delimited_by_one_length_within_the_bound_is_refused() {
        for (fields, expected) in [
            ("", "LengthRequired"),
            ("Content-Length: 11\r\n", "BodyTooLarge"),
            ("Content-Length: 99999999999999999999999\r\n", "BodyTooLarge"),
            ("Content-Length: 3\r\nContent-Length: 3\r\n", "LengthMalformed"),
            ("Content-Length: 3, 3\r\n", "LengthMalformed"),
            ("Content-Length: +3\r\n", "LengthMalformed"),
            ("Content-Length: -3\r\n", "LengthMalformed"),
            ("Content-Length: 0x3\r\n", "LengthMalformed"),
            ("Content-Length:\r\n", "LengthMalformed"),
            ("Transfer-Encoding: chunked\r\n", "TransferCoding"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "LengthMalformed"),
            ("Content-Length: 3\r\nExpect: gold\r\n", "ExpectationUnknown"),
        ] {
            check(&format!("POST /a HTTP/1.1\r\n{fields}\r\nxyz"), &[expected]);
        }
    }

    #[test]
    fn a_head_whose_body_is_to_come_is_told_once() {
        let mut inbox = Inbox::default();
        inbox.push(b"POST /a HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n");
        assert!(matches!(inbox.next(LIMITS), Ok(Next::Begun(framing)) if framing.expects_continue));
        inbox.push(b"{");
        assert!(matches!(inbox.next(LIMITS), Ok(Next::Incomplete { reread_bytes: 0 })));
        inbox.push(b"}");
        assert!(matches!(inbox.next(LIMITS), Ok(Next::Whole { body: b"{}", .. })));
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_same_requests_come_out(
            parts in prop::collection::vec(prop::sample::select(vec![
                "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\n", "xyz", "GET /b HTTP/1.1\r\n\r\n", "\r\n",
                "GET /c HTTP/1.1\r\nConnection: close\r\n", "Content-Length: 2\r\n\r\n", "POST /d HTTP/1.1\r\n\r\n",
                "HEAD /e HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n",
            ]), 0..8),
            cuts in prop::collection::vec(0usize..300, 0..12),
        ) {
            let bytes = parts.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut from = 0;
            let mut reads = Vec::new();
            for cut in cuts.into_iter().chain([bytes.len()]) {
                reads.push(&bytes[from..cut]);
                from = cut;
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            let whole = read([&bytes[..]]);
            prop_assert_eq!(&read(reads), &whole);
            prop_assert_eq!(&read(single), &whole);
        }
    }
}
