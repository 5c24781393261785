//! Answers to requests that are refused.
//!
//! PURE. Allocates: only what `out` grows by. Invariant: an answer is complete: status line, `Content-Length`, body.

use super::Rejection;

/// Appends the whole answer to a refused request: status, headers, and a short text body that teaches.
/// It says `Connection: close`; the caller closes once it is written.
pub fn write_rejection(out: &mut Vec<u8>, rejection: Rejection) {
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
        Rejection::ProbeMethod => append(out, &["Connection: close\r\nAllow: GET, HEAD\r\n"]),
        Rejection::ConnectionsFull
        | Rejection::AddressFull
        | Rejection::Overloaded
        | Rejection::BearerRate
        | Rejection::BearersWaiting
        | Rejection::SubprotocolUnknown
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
        | Rejection::BodyInUpgrade => append(out, &["Connection: close\r\n"]),
    }
    if let Some(retry_after_s) = rejection.retry_after_s() {
        append(out, &["Retry-After: ", decimal.format(retry_after_s), "\r\n"]);
    }
    append(out, &["\r\n", rejection.advice(), "\n"]);
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
        write_rejection(&mut out, rejection);
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
