//! Answers to those who look after the gateway: is it alive, and may new clients come?
//!
//! PURE. Allocates: only what `out` grows by. Invariant: an answer is complete and says `Connection: close`; an answer to
//! `HEAD` is that to `GET` without its body (RFC 9110 §9.3.2).

use super::rejection::{RETRY_AFTER_S, Rejection, Status};
use super::request::Request;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/healthz`: the process answers.
    Health,
    /// `/ready`: an upgrade would be let in.
    Readiness,
}

/// Whether the answer to a probe is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// For now: the answer says when to look again.
    Overloaded,
    /// The server is about to end: another one is to be asked.
    Stopping,
}

impl Probe {
    /// What a path asks for, if it is a probe's.
    pub fn of(path: &str) -> Option<Self> {
        match path {
            "/healthz" => Some(Self::Health),
            "/ready" => Some(Self::Readiness),
            _ => None,
        }
    }

    /// # Errors
    /// The request is none that a probe may make.
    pub fn check(request: &Request<'_>) -> Result<(), Rejection> {
        if !["GET", "HEAD"].contains(&request.method) {
            return Err(Rejection::ProbeMethod);
        }
        if request.single_value("Host").is_none_or(<[u8]>::is_empty) {
            return Err(Rejection::HostNotSingle);
        }
        Ok(())
    }

    /// Appends the whole answer to a request that [`Probe::check`] has let pass.
    pub fn answer(self, request: &Request<'_>, verdict: Verdict, out: &mut Vec<u8>) {
        let (status, body) = match (self, verdict) {
            (Self::Health, Verdict::Good | Verdict::Overloaded | Verdict::Stopping) => {
                (Status::Ok, "alive\n")
            }
            (Self::Readiness, Verdict::Good) => (Status::Ok, "ready\n"),
            (Self::Readiness, Verdict::Overloaded) => (Status::ServiceUnavailable, "overloaded\n"),
            (Self::Readiness, Verdict::Stopping) => (Status::ServiceUnavailable, "stopping\n"),
        };
        let mut decimal = itoa::Buffer::new();
        let mut append = |text: &str| out.extend_from_slice(text.as_bytes());
        append("HTTP/1.1 ");
        append(decimal.format(status.code()));
        append(" ");
        append(status.phrase());
        append("\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ");
        append(decimal.format(body.len()));
        append("\r\nCache-Control: no-store\r\nConnection: close\r\n");
        if status == Status::ServiceUnavailable {
            append("Retry-After: ");
            append(decimal.format(RETRY_AFTER_S));
            append("\r\n");
        }
        append("\r\n");
        if request.method != "HEAD" {
            append(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    fn check(line: &str, verdict: Verdict, expected: Result<(u16, &str), Rejection>) {
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n");
        let request = http::parse(head.as_bytes()).unwrap().unwrap();
        let probe = Probe::of(request.path).unwrap();
        let answered = Probe::check(&request).map(|()| {
            let mut out = Vec::new();
            probe.answer(&request, verdict, &mut out);
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut response = httparse::Response::new(&mut headers);
            let head_bytes = response.parse(&out).unwrap().unwrap();
            let value = |name: &str| {
                response.headers.iter().find(|field| field.name == name).map(|field| field.value)
            };
            assert_eq!(value("Connection"), Some(&b"close"[..]));
            assert_eq!(value("Retry-After").is_some(), response.code == Some(503));
            let body = String::from_utf8(out[head_bytes..].to_vec()).unwrap();
            if !body.is_empty() {
                assert_eq!(value("Content-Length"), Some(body.len().to_string().as_bytes()));
            }
            (response.code.unwrap(), body)
        });
        assert_eq!(answered, expected.map(|(code, body)| (code, body.to_owned())), "{line}");
    }

    #[test]
    fn each_probe_has_its_answer() {
        check("GET /healthz", Verdict::Good, Ok((200, "alive\n")));
        check("GET /healthz", Verdict::Overloaded, Ok((200, "alive\n")));
        check("GET /ready", Verdict::Good, Ok((200, "ready\n")));
        check("GET /ready", Verdict::Stopping, Ok((503, "stopping\n")));
        check("GET /healthz", Verdict::Stopping, Ok((200, "alive\n")));
        check("GET /ready?verbose", Verdict::Overloaded, Ok((503, "overloaded\n")));
        check("HEAD /ready", Verdict::Good, Ok((200, "")));
        check("HEAD /ready", Verdict::Overloaded, Ok((503, "")));
        check("POST /ready", Verdict::Good, Err(Rejection::ProbeMethod));
        assert_eq!(Probe::of("/readyz"), None);
    }

    #[test]
    fn a_probe_names_its_host() {
        let request = http::parse(b"GET /ready HTTP/1.1\r\n\r\n").unwrap().unwrap();
        assert_eq!(Probe::check(&request), Err(Rejection::HostNotSingle));
    }
}
