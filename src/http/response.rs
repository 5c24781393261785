//! Answers to requests that are refused.
//!
//! PURE. Allocates: only what `out` grows by. Invariant: an answer is complete: status line, `Content-Length`, body; an
//! answer to `HEAD` is that to `GET` without its body (RFC 9110 §9.3.2).

use super::Rejection;
use super::answer::CALL_METHODS;

/// Whether an answer's body is sent with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Sent,
    /// `HEAD` asked for all but the body.
    Omitted,
}

impl Body {
    /// As a request asks for by its first bytes, whole or not, good or not.
    #[must_use]
    pub fn asked_for_by(request: &[u8]) -> Body {
        let line_start = request.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(request.len());
        if request[line_start..].starts_with(b"HEAD ") { Body::Omitted } else { Body::Sent }
    }
}

/// Appends the whole answer to a refused request: status, headers, and a short text body that teaches.
/// It says `Connection: close`; the caller closes once it is written.
pub fn write_rejection(out: &mut Vec<u8>, rejection: Rejection, body: Body) {
    let status = rejection.status();
    let mut decimal = itoa::Buffer::new();
    let mut body_length = itoa::Buffer::new();
    let body_length = body_length.format(rejection.advice().len() + 1);

    append(out, &["HTTP/1.1 ", decimal.format(status.code()), " ", status.phrase(), "\r\n"]);
    append(out, &["Content-Type: text/plain; charset=utf-8\r\nContent-Length: ", body_length, "\r\n"]);
    match rejection {
        // A sender of Upgrade also names it in Connection (RFC 9110 §7.8); the versions are RFC 6455 §4.2.2's.
        Rejection::UpgradeRequired | Rejection::WebSocketVersion => {
            append(
                out,
                &["Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"],
            );
        }
        Rejection::BearerRefused => append(out, &["Connection: close\r\nWWW-Authenticate: Bearer\r\n"]),
        Rejection::MethodNotAllowed => append(out, &["Connection: close\r\nAllow: GET\r\n"]),
        Rejection::CallMethod => {
            append(out, &["Connection: close\r\nAllow: ", CALL_METHODS, "\r\n"]);
        }
        Rejection::ProbeMethod => append(out, &["Connection: close\r\nAllow: GET, HEAD\r\n"]),
        Rejection::ConnectionsFull
        | Rejection::AddressFull
        | Rejection::Overloaded
        | Rejection::BearerRate
        | Rejection::BearersWaiting
        | Rejection::SessionsAway
        | Rejection::SubprotocolUnknown
        | Rejection::EncodingUnknown
        | Rejection::NotHttp
        | Rejection::HeaderMalformed
        | Rejection::TargetMalformed
        | Rejection::TargetTooLong
        | Rejection::HeadTooLarge
        | Rejection::TooManyHeaders
        | Rejection::VersionNotSupported
        | Rejection::HeadTimeout
        | Rejection::HostNotSingle
        | Rejection::NotFound
        | Rejection::OriginForbidden
        | Rejection::KeyNotSingle
        | Rejection::KeyMalformed
        | Rejection::ExtensionsMalformed
        | Rejection::BodyInUpgrade
        | Rejection::BodyTooLarge
        | Rejection::LengthRequired
        | Rejection::LengthMalformed
        | Rejection::TransferCoding
        | Rejection::ExpectationUnknown
        | Rejection::UpgradeTooLate
        | Rejection::CallRate => append(out, &["Connection: close\r\n"]),
    }
    if let Some(retry_after_s) = rejection.retry_after_s() {
        append(out, &["Retry-After: ", decimal.format(retry_after_s), "\r\n"]);
    }
    append(out, &["\r\n"]);
    match body {
        Body::Sent => append(out, &[rejection.advice(), "\n"]),
        Body::Omitted => {}
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

    /// Writes the answer, reads it back with httparse, and gives its status, its headers and its body.
    fn answer(rejection: Rejection) -> (u16, Vec<(String, String)>, String) {
        let mut out = Vec::new();
        write_rejection(&mut out, rejection, Body::Sent);
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let head_bytes = response.parse(&out).unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = response.headers.iter().map(|h| (h.name.to_ascii_lowercase(), text(h.value))).collect();
        (response.code.unwrap(), headers, text(&out[head_bytes..]))
    }

    fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
        headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn every_rejection_is_a_complete_answer_that_closes_and_teaches() {
        for rejection in Rejection::ALL {
            let (code, headers, body) = answer(rejection);
            assert_eq!(code, rejection.status().code());
            assert_eq!(value(&headers, "content-length"), Some(body.len().to_string().as_str()));
            assert!(value(&headers, "connection").unwrap().starts_with("close"), "{rejection:?}");
            assert_eq!(body.trim_end(), rejection.advice());
            assert!(body.is_ascii() && body.len() < 120, "{rejection:?}");
        }
    }

    #[test]
    fn an_answer_to_head_is_the_answer_without_its_body() {
        for rejection in Rejection::ALL {
            let (mut whole, mut head) = (Vec::new(), Vec::new());
            write_rejection(&mut whole, rejection, Body::Sent);
            write_rejection(&mut head, rejection, Body::Omitted);
            assert!(head.ends_with(b"\r\n\r\n"), "{rejection:?}");
            assert_eq!(whole, [&head[..], rejection.advice().as_bytes(), b"\n"].concat());
        }
    }

    #[test]
    fn a_body_is_omitted_for_head_however_little_of_the_request_came() {
        for (request, body) in [
            ("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n", Body::Omitted),
            ("\r\n\nHEAD / HTTP/1.0\r\n\r\n", Body::Omitted),
            ("HEAD ", Body::Omitted),
            ("HEAD", Body::Sent),
            ("HEADS /x", Body::Sent),
            ("head /x", Body::Sent),
            (" HEAD /x", Body::Sent),
            ("GET /HEAD ", Body::Sent),
            ("\r\n", Body::Sent),
            ("", Body::Sent),
        ] {
            assert_eq!(Body::asked_for_by(request.as_bytes()), body, "{request:?}");
        }
    }

    #[test]
    fn statuses_bring_the_header_fields_they_owe() {
        let (code, headers, _) = answer(Rejection::MethodNotAllowed);
        assert_eq!((code, value(&headers, "allow")), (405, Some("GET")));
        let (code, headers, _) = answer(Rejection::ProbeMethod);
        assert_eq!((code, value(&headers, "allow")), (405, Some("GET, HEAD")));
        for rejection in [Rejection::UpgradeRequired, Rejection::WebSocketVersion] {
            let (code, headers, _) = answer(rejection);
            assert_eq!((code, value(&headers, "upgrade")), (426, Some("websocket")));
            assert_eq!(value(&headers, "sec-websocket-version"), Some("13"));
            assert_eq!(value(&headers, "connection"), Some("close, Upgrade"));
        }
        for (rejection, status) in
            [(Rejection::ConnectionsFull, 503), (Rejection::AddressFull, 429), (Rejection::Overloaded, 503)]
        {
            let (code, headers, _) = answer(rejection);
            assert_eq!((code, value(&headers, "retry-after")), (status, Some("5")));
        }
    }
}
