//! One HTTP/1.1 request head, parsed where it lies.
//!
//! PURE. Allocates: never. Invariant: what `parse` answers depends on the bytes and limits only, not on how they were
//! cut; a head of more than [`HeadLimits::bytes_max`] bytes is never accepted, however it arrives.

use httparse::{EMPTY_HEADER, Error, Header, Status};

use super::Rejection;

/// Header fields of one head that there is room for, whatever the limit says; 32 bytes of stack each.
pub const HEADERS_MAX: usize = 128;

/// What a request head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, its empty line included.
    pub bytes_max: usize,
    /// Header fields, up to [`HEADERS_MAX`].
    pub headers_max: usize,
}

/// Eight KiB is what common proxies pass on; it fits a bearer token and cookies. A browser sends about 15 fields, a chain
/// of proxies adds about as many.
impl Default for HeadLimits {
    fn default() -> HeadLimits {
        HeadLimits { bytes_max: 8 * 1024, headers_max: 64 }
    }
}

/// A parsed request head. Borrows from the bytes that were parsed.
#[derive(Debug)]
pub struct Request<'b> {
    /// The method as sent; methods are case-sensitive (RFC 9110 §9.1).
    pub method: &'b str,
    /// The path, not percent-decoded, without the query. At least `/`, or `*`.
    pub path: &'b str,
    /// What follows the first `?`, not decoded.
    pub query: Option<&'b str>,
    /// Length of the head with its empty line, in bytes; what follows in the buffer is not HTTP any more.
    pub head_bytes: usize,
    headers: [Header<'b>; HEADERS_MAX],
    header_count: usize,
}

/// Parses the head at the start of `bytes` by the usual limits. `None` means more bytes are needed.
pub fn parse(bytes: &[u8]) -> Result<Option<Request<'_>>, Rejection> {
    parse_within(bytes, HeadLimits::default())
}

/// Parses the head at the start of `bytes`. `None` means more bytes are needed.
pub fn parse_within(bytes: &[u8], limits: HeadLimits) -> Result<Option<Request<'_>>, Rejection> {
    let HeadLimits { bytes_max, headers_max } = limits;
    // Only the bounded prefix is looked at, so that the answer is the same for one big read and many small ones.
    let bounded = &bytes[..bytes.len().min(bytes_max)];
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers[..headers_max.min(HEADERS_MAX)]);
    let head_bytes = match parsed.parse(bounded) {
        Ok(Status::Complete(head_bytes)) => head_bytes,
        Ok(Status::Partial) if bounded.len() < bytes_max => return Ok(None),
        Ok(Status::Partial) => return Err(over_long(bounded)),
        Err(error) => return Err(rejection(error)),
    };
    let (method, target) = match (parsed.method, parsed.path, parsed.version) {
        (Some(method), Some(target), Some(1)) => (method, target),
        _ => return Err(Rejection::VersionNotSupported),
    };
    let header_count = parsed.headers.len();
    let (path, query) = split_target(target)?;
    Ok(Some(Request { method, path, query, head_bytes, headers, header_count }))
}

impl<'b> Request<'b> {
    /// The values of every field called `name` (case-insensitively), in order, without surrounding blanks.
    pub fn values<'r>(&'r self, name: &'r str) -> impl DoubleEndedIterator<Item = &'b [u8]> + 'r {
        let fields = &self.headers[..self.header_count];
        fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.trim_ascii())
    }

    /// The value of the first field called `name`.
    pub fn value(&self, name: &str) -> Option<&'b [u8]> {
        self.values(name).next()
    }

    /// The value of the field called `name` if there is exactly one.
    pub fn single_value(&self, name: &str) -> Option<&'b [u8]> {
        let mut values = self.values(name);
        let first = values.next()?;
        if values.next().is_some() { None } else { Some(first) }
    }

    /// The members of the comma-separated list `name`, over all its fields (RFC 9110 §5.6.1), blanks and empty
    /// members left out.
    pub fn list<'r>(&'r self, name: &'r str) -> impl DoubleEndedIterator<Item = &'b [u8]> + 'r {
        let members = self.values(name).flat_map(|value| value.split(|byte| *byte == b','));
        members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
    }

    /// Whether the comma-separated list `name` has the member `token`, case-insensitively.
    pub fn list_contains(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// Splits a request target (RFC 9112 §3.2) into path and query; an absolute URI loses scheme and authority.
fn split_target(target: &str) -> Result<(&str, Option<&str>), Rejection> {
    let local = match target.split_once("://") {
        _ if target.starts_with('/') || target == "*" => target,
        Some((_, after_scheme)) => match after_scheme.find(['/', '?']) {
            Some(authority_bytes) => &after_scheme[authority_bytes..],
            None => "/",
        },
        None => return Err(Rejection::TargetMalformed),
    };
    match local.split_once('?') {
        Some(("", query)) => Ok(("/", Some(query))),
        Some((path, query)) => Ok((path, Some(query))),
        None => Ok((local, None)),
    }
}

/// A head that fills the bound and is not over: its first line, or all of it, is too long.
fn over_long(head: &[u8]) -> Rejection {
    let request_line_ends = memchr::memchr(b'\n', head.trim_ascii_start()).is_some();
    if request_line_ends { Rejection::HeadTooLarge } else { Rejection::TargetTooLong }
}

const fn rejection(error: Error) -> Rejection {
    match error {
        Error::Version => Rejection::VersionNotSupported,
        Error::TooManyHeaders => Rejection::TooManyHeaders,
        Error::HeaderName | Error::HeaderValue => Rejection::HeaderMalformed,
        Error::Token | Error::NewLine | Error::Status => Rejection::NotHttp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, expected: &str) {
        let shown = match parse(head.as_bytes()) {
            Ok(None) => "more".to_owned(),
            Ok(Some(r)) => {
                format!("{} {} {} +{}", r.method, r.path, r.query.unwrap_or("-"), head.len() - r.head_bytes)
            }
            Err(rejection) => format!("{} {rejection:?}", rejection.status().code()),
        };
        assert_eq!(shown, expected, "for {:?}", &head[..head.len().min(80)]);
    }

    #[test]
    fn parses_a_request_line_into_method_path_and_query() {
        check("GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", "GET /ws - +0");
        check("GET /ws?encoding=sbe&x=? HTTP/1.1\r\n\r\n", "GET /ws encoding=sbe&x=? +0");
        check("POST /api/v2/public/test HTTP/1.1\r\n\r\nbody", "POST /api/v2/public/test - +4");
        check("\r\nGET / HTTP/1.1\r\n\r\n", "GET / - +0");
        check("OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS * - +0");
    }

    #[test]
    fn takes_the_path_out_of_an_absolute_target() {
        check("GET http://example.com/ws?a=1 HTTP/1.1\r\n\r\n", "GET /ws a=1 +0");
        check("GET http://example.com HTTP/1.1\r\n\r\n", "GET / - +0");
        check("GET ws://example.com?a=/b HTTP/1.1\r\n\r\n", "GET / a=/b +0");
        check(
            "GET /redirect?to=http://example.com HTTP/1.1\r\n\r\n",
            "GET /redirect to=http://example.com +0",
        );
        check("CONNECT example.com:443 HTTP/1.1\r\n\r\n", "400 TargetMalformed");
    }

    #[test]
    fn asks_for_more_until_the_empty_line() {
        let head = "GET /ws HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\r\n";
        for cut in 0..head.len() {
            check(&head[..cut], "more");
        }
    }

    #[test]
    fn rejects_what_is_not_http() {
        check("\x16\x03\x01\x02\x00\x01", "400 NotHttp");
        check("GET /a b HTTP/1.1\r\n\r\n", "505 VersionNotSupported");
        check("G\u{1}T / HTTP/1.1\r\n\r\n", "400 NotHttp");
        check("GET / HTTP/1.1\rX\r\n\r\n", "400 NotHttp");
    }

    #[test]
    fn rejects_versions_other_than_1_1() {
        check("GET / HTTP/1.0\r\n\r\n", "505 VersionNotSupported");
        check("GET / HTTP/0.9\r\n\r\n", "505 VersionNotSupported");
        check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 VersionNotSupported");
    }

    #[test]
    fn rejects_malformed_header_fields() {
        check("GET / HTTP/1.1\r\nHo st: a\r\n\r\n", "400 HeaderMalformed");
        check("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 HeaderMalformed");
        check("GET / HTTP/1.1\r\nHost: a\u{1}\r\n\r\n", "400 HeaderMalformed");
        check("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "400 HeaderMalformed");
    }

    #[test]
    fn bounds_the_number_of_header_fields() {
        let head = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        let headers_max = HeadLimits::default().headers_max;
        check(&head(headers_max), "GET / - +0");
        check(&head(headers_max + 1), "431 TooManyHeaders");
        let room = HeadLimits { headers_max: usize::MAX, ..HeadLimits::default() };
        assert!(parse_within(head(HEADERS_MAX).as_bytes(), room).is_ok());
        let refused = parse_within(head(HEADERS_MAX + 1).as_bytes(), room).map(|_| ());
        assert_eq!(refused, Err(Rejection::TooManyHeaders));
    }

    #[test]
    fn bounds_the_head_in_bytes_at_the_same_byte_however_it_arrives() {
        let around = "GET / HTTP/1.1\r\nA: \r\n\r\n".len();
        let head = |bytes: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(bytes - around));
        let bytes_max = HeadLimits::default().bytes_max;
        check(&head(bytes_max), "GET / - +0");
        check(&head(bytes_max)[..bytes_max - 1], "more");
        check(&head(bytes_max + 1), "431 HeadTooLarge");
        check(&head(bytes_max + 1)[..bytes_max], "431 HeadTooLarge");
        check(&format!("GET /{}", "a".repeat(bytes_max)), "414 TargetTooLong");
    }

    #[test]
    fn looks_headers_up_without_regard_to_case() {
        let request =
            parse(b"GET / HTTP/1.1\r\nhOsT:  example.com \r\nA: 1\r\na: 2\r\n\r\n").unwrap().unwrap();
        assert_eq!(request.value("Host"), Some(&b"example.com"[..]));
        assert_eq!(request.single_value("Host"), Some(&b"example.com"[..]));
        assert_eq!(request.values("A").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(request.single_value("A"), None);
        assert_eq!(request.value("B"), None);
    }

    #[test]
    fn reads_a_list_over_repeated_fields() {
        let request = parse(b"GET / HTTP/1.1\r\nC: keep-alive, ,Upgrade\r\nC: x\r\n\r\n").unwrap().unwrap();
        assert_eq!(request.list("c").collect::<Vec<_>>(), [&b"keep-alive"[..], b"Upgrade", b"x"]);
        assert!(request.list_contains("C", "upgrade"));
        assert!(!request.list_contains("C", "keep"));
    }
}
