//! Answers to calls of methods, after which the connection may go on.
//!
//! PURE. Allocates: only what `out` grows by. Invariant: the head says how long the body is, so that the next answer may
//! follow; what an answer says of the page that asked is for that page only (`Vary: Origin`).

use super::inbox::Persistence;
use super::rejection::{RETRY_AFTER_S, Status};

/// The methods of a call, as `Allow` lists them.
pub const CALL_METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// The head of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: Status,
    pub persistence: Persistence,
    /// The page that asked, and may.
    pub origin: Option<&'a [u8]>,
    /// Of the JSON that follows, or would but for `HEAD`.
    pub body_bytes: usize,
    /// Said with 429 and 503, where there is more to say than `RETRY_AFTER_S`.
    pub retry_after_s: Option<u32>,
}

impl Answer<'_> {
    /// Appends the head.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut decimal = itoa::Buffer::new();
        self.write_line(out);
        // 204 has neither (RFC 9110 §8.6).
        if self.status != Status::NoContent {
            append(out, &["Content-Type: application/json\r\nContent-Length: "]);
            append(out, &[decimal.format(self.body_bytes), "\r\nX-Content-Type-Options: nosniff\r\n"]);
        }
        append(out, &["Cache-Control: no-store\r\n"]);
        match self.status {
            // Not Basic, although it is taken: a browser would ask its user, keep what it is told, and send it with whatever any
            // page has it get.
            Status::Unauthorized => append(out, &["WWW-Authenticate: Bearer\r\n"]),
            Status::TooManyRequests | Status::ServiceUnavailable => {
                let retry_after_s = self.retry_after_s.unwrap_or(u32::from(RETRY_AFTER_S));
                append(out, &["Retry-After: ", decimal.format(retry_after_s), "\r\n"]);
            }
            Status::Ok
            | Status::NoContent
            | Status::BadRequest
            | Status::Forbidden
            | Status::NotFound
            | Status::MethodNotAllowed
            | Status::RequestTimeout
            | Status::LengthRequired
            | Status::ContentTooLarge
            | Status::UriTooLong
            | Status::ExpectationFailed
            | Status::UpgradeRequired
            | Status::HeaderFieldsTooLarge
            | Status::NotImplemented
            | Status::VersionNotSupported => {}
        }
        self.write_end(out);
    }

    /// Appends a whole answer to a preflight (Fetch §4.8), which is 204.
    pub fn write_preflight(&self, out: &mut Vec<u8>) {
        self.write_line(out);
        append(out, &["Allow: ", CALL_METHODS, "\r\n"]);
        if self.origin.is_some() {
            append(out, &["Access-Control-Allow-Methods: ", CALL_METHODS, "\r\n"]);
            append(out, &["Access-Control-Allow-Headers: Authorization, Content-Type\r\n"]);
            append(out, &["Access-Control-Max-Age: 600\r\n"]);
        }
        self.write_end(out);
    }

    fn write_line(&self, out: &mut Vec<u8>) {
        let mut decimal = itoa::Buffer::new();
        append(out, &["HTTP/1.1 ", decimal.format(self.status.code()), " ", self.status.phrase(), "\r\n"]);
    }

    fn write_end(&self, out: &mut Vec<u8>) {
        if let Some(origin) = self.origin {
            append(out, &["Access-Control-Allow-Origin: "]);
            out.extend_from_slice(origin);
            append(out, &["\r\nAccess-Control-Expose-Headers: Retry-After\r\n"]);
        }
        append(out, &["Vary: Origin\r\n"]);
        if self.persistence == Persistence::Close {
            append(out, &["Connection: close\r\n"]);
        }
        append(out, &["\r\n"]);
    }
}

fn append(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: Status, persistence: Persistence, origin: Option<&str>) -> String {
        let mut out = Vec::new();
        let origin = origin.map(str::as_bytes);
        Answer { status, persistence, origin, body_bytes: 12, retry_after_s: None }.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_says_its_length_and_goes_on_unless_it_closes() {
        assert_eq!(
            head(Status::Ok, Persistence::KeepAlive, None),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\
            X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nVary: Origin\r\n\r\n"
        );
        assert!(head(Status::Ok, Persistence::Close, None).ends_with("\r\nConnection: close\r\n\r\n"));
        assert!(!head(Status::NoContent, Persistence::KeepAlive, None).contains("Content-"));
    }

    #[test]
    fn statuses_bring_the_fields_they_owe() {
        for (status, field) in [
            (Status::Unauthorized, "\r\nWWW-Authenticate: Bearer\r\n"),
            (Status::TooManyRequests, "\r\nRetry-After: 5\r\n"),
            (Status::ServiceUnavailable, "\r\nRetry-After: 5\r\n"),
        ] {
            assert!(head(status, Persistence::KeepAlive, None).contains(field), "{status:?}");
            assert!(!head(Status::BadRequest, Persistence::KeepAlive, None).contains(field));
        }
    }

    #[test]
    fn a_page_that_may_is_named_and_a_preflight_tells_what_it_may() {
        let origin = "https://desk.example";
        let named = "\r\nAccess-Control-Allow-Origin: https://desk.example\r\n";
        assert!(head(Status::BadRequest, Persistence::KeepAlive, Some(origin)).contains(named));
        let mut out = Vec::new();
        let (status, persistence) = (Status::NoContent, Persistence::KeepAlive);
        let origin = Some(origin.as_bytes());
        Answer { status, persistence, origin, body_bytes: 0, retry_after_s: None }.write_preflight(&mut out);
        let preflight = String::from_utf8(out).unwrap();
        assert!(preflight.starts_with("HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, POST, OPTIONS\r\n"));
        assert!(
            preflight.contains(named)
                && preflight.contains("-Allow-Headers: Authorization, Content-Type\r\n")
        );
    }
}
