//! The JSON-RPC texts of the load: requests, and the canned answers of the limit arms. PURE.
//! Invariant: every text that is sent more than once has a constant length, so a limit arm can know its size.

use memchr::memmem;

/// The path of the upgrade request.
pub(crate) const PATH: &str = "/ws";
/// The sample key of RFC 6455 §1.3: a fixed key is as good as any on loopback.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server answers to it.
pub(crate) const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// One request of the ping and request loads. The id is the same every time; the tool pairs replies by order.
pub(crate) const TEST_REQUEST: &str = r#"{"jsonrpc":"2.0","id":1000001,"method":"public/test"}"#;
/// What a server of this dialect answers to it; the limit's reply unless the run learnt a better one.
pub(crate) const TEST_REPLY: &str = r#"{"jsonrpc":"2.0","id":1000001,"result":{"version":"0.1.0"},"usIn":1763702315123456,"usOut":1763702315123460,"usDiff":4}"#;
/// What precedes the published data.
pub(crate) const PUBLISH_PREFIX: &str =
    r#"{"jsonrpc":"2.0","id":1000002,"method":"topic/publish","params":{"topic":"load","data":"#;
/// What follows the published data.
pub(crate) const PUBLISH_SUFFIX: &str = "}}";
/// The limit's answer to a publish.
pub(crate) const PUBLISH_REPLY: &str = r#"{"jsonrpc":"2.0","id":1000002,"result":"ok","usIn":1763702315123456,"usOut":1763702315123460,"usDiff":4}"#;
/// The limit's answer to a subscribe.
pub(crate) const SUBSCRIBE_REPLY: &str = r#"{"jsonrpc":"2.0","id":1000003,"result":["topic.load"],"usIn":1763702315123456,"usOut":1763702315123460,"usDiff":4}"#;
/// The channel that the fan-out load subscribes.
pub(crate) const LOAD_CHANNEL: &str = "topic.load";

/// Ends all subscriptions of a connection.
pub(crate) const UNSUBSCRIBE_ALL_REQUEST: &str =
    r#"{"jsonrpc":"2.0","id":1000005,"method":"public/unsubscribe_all"}"#;
/// Asks for the market's instruments.
pub(crate) const INSTRUMENTS_REQUEST: &str =
    r#"{"jsonrpc":"2.0","id":1000004,"method":"public/get_instruments"}"#;

/// Added to monotonic stamps, so that each has exactly 19 digits and no leading zero.
const STAMP_BASE: u64 = 1_000_000_000_000_000_000;
const STAMP_KEY: &[u8] = br#"{"at":"#;
const SEQUENCE_KEY: &[u8] = br#""seq":"#;
/// The fewest bytes of published data: a stamp and empty padding.
pub(crate) const PUBLISHED_BYTES_MIN: usize = 35;

/// An upgrade request to `host`; `fields` are further header fields, each with its line's end.
pub(crate) fn upgrade_request(host: &str, fields: &str) -> String {
    format!(
        "GET {PATH} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{fields}\r\n"
    )
}

/// A subscribe request for `channels`; `extra` is put verbatim into `params` (such as `,"x":1`).
pub(crate) fn subscribe_request(channels: &[String], extra: &str) -> String {
    let channels: Vec<String> = channels.iter().map(|channel| format!("\"{channel}\"")).collect();
    let channels = channels.join(",");
    format!(
        r#"{{"jsonrpc":"2.0","id":1000003,"method":"public/subscribe","params":{{"channels":[{channels}]{extra}}}}}"#
    )
}

/// Writes one publish request whose data is `published_bytes` long and carries `intended_ns`.
pub(crate) fn write_publish(intended_ns: u64, published_bytes: usize, text: &mut Vec<u8>) {
    use std::io::Write;
    assert!(PUBLISHED_BYTES_MIN <= published_bytes, "published data holds a stamp");
    text.clear();
    text.extend_from_slice(PUBLISH_PREFIX.as_bytes());
    let start = text.len();
    write!(text, r#"{{"at":{},"pad":""#, STAMP_BASE + intended_ns)
        .expect("invariant: writing to a Vec cannot fail");
    text.resize(start + published_bytes - 2, b'x');
    text.extend_from_slice(br#""}"#);
    text.extend_from_slice(PUBLISH_SUFFIX.as_bytes());
}

/// The data of a publish request that `write_publish` made.
pub(crate) fn published(request: &[u8]) -> Option<&[u8]> {
    request.strip_prefix(PUBLISH_PREFIX.as_bytes())?.strip_suffix(PUBLISH_SUFFIX.as_bytes())
}

/// What a subscriber reads from a notification of the fan-out load.
pub(crate) struct LoadReader {
    stamp: memmem::Finder<'static>,
    sequence: memmem::Finder<'static>,
}

impl LoadReader {
    pub(crate) fn new() -> LoadReader {
        LoadReader { stamp: memmem::Finder::new(STAMP_KEY), sequence: memmem::Finder::new(SEQUENCE_KEY) }
    }

    /// Intended time and sequence number; `None` for any other message.
    pub(crate) fn read(&self, notification: &[u8]) -> Option<(u64, u64)> {
        let at = self.stamp.find(notification)? + STAMP_KEY.len();
        let stamp = number(notification.get(at..)?)?;
        let at = self.sequence.find(notification)? + SEQUENCE_KEY.len();
        Some((stamp.checked_sub(STAMP_BASE)?, number(notification.get(at..)?)?))
    }
}

/// The unsigned decimal number that `text` starts with.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let mut value = None;
    for digit in digits {
        value = Some(value.unwrap_or(0_u64).checked_mul(10)?.checked_add(u64::from(digit - b'0'))?);
    }
    value
}

/// The unsigned decimal number that follows `key` (with its quotes and colon), as text.
pub(crate) fn digits_after<'a>(text: &'a [u8], key: &str) -> Option<&'a str> {
    let at = memmem::find(text, key.as_bytes())? + key.len();
    let rest = text.get(at..)?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).ok().filter(|digits| !digits.is_empty())
}

/// The texts that follow `key` (with all quotes and colons before them) up to the next quote.
pub(crate) fn texts_after(text: &[u8], key: &str) -> Vec<String> {
    let texts = memmem::find_iter(text, key).filter_map(|at| {
        let rest = text.get(at + key.len()..)?;
        let end = memchr::memchr(b'"', rest)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    });
    texts.collect()
}

/// Whether a message is a notification of a subscription.
pub(crate) fn is_notification(message: &[u8]) -> bool {
    memmem::find(message, br#""method":"subscription""#).is_some()
}

/// Whether a reply carries a result and no error.
pub(crate) fn is_result(reply: &[u8]) -> bool {
    memmem::find(reply, br#""result":"#).is_some() && memmem::find(reply, br#""error":"#).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_data_has_exactly_the_asked_length() {
        for published_bytes in [PUBLISHED_BYTES_MIN, 40, 100, 4_000] {
            let mut request = Vec::new();
            write_publish(1_400_000_000_000, published_bytes, &mut request);
            assert_eq!(published(&request).map(<[u8]>::len), Some(published_bytes));
        }
    }

    #[test]
    fn a_subscriber_reads_back_the_intended_time_and_the_sequence() {
        let mut request = Vec::new();
        write_publish(1_400_000_000_007, 64, &mut request);
        let data = std::str::from_utf8(published(&request).unwrap()).unwrap();
        let notification = format!(
            r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"topic.load","data":{data},"epoch":7,"seq":42}}}}"#
        );
        assert_eq!(LoadReader::new().read(notification.as_bytes()), Some((1_400_000_000_007, 42)));
        assert_eq!(LoadReader::new().read(TEST_REPLY.as_bytes()), None);
    }

    #[test]
    fn numbers_end_at_the_first_other_byte_and_do_not_wrap() {
        assert_eq!(number(b"42}"), Some(42));
        assert_eq!(number(b"x"), None);
        assert_eq!(number(b"99999999999999999999"), None);
        assert_eq!(digits_after(br#"{"epoch":17,"seq":1}"#, r#""epoch":"#), Some("17"));
    }

    #[test]
    fn names_are_found_wherever_a_reply_has_them() {
        let reply = br#"{"result":[{"instrument_name":"A-1","x":1},{"y":2,"instrument_name":"B"}]}"#;
        assert_eq!(texts_after(reply, r#""instrument_name":""#), ["A-1", "B"]);
        assert!(!is_notification(reply));
        assert!(is_notification(br#"{"jsonrpc":"2.0","method":"subscription","params":{}}"#));
    }

    #[test]
    fn a_reply_with_an_error_is_no_result() {
        assert!(is_result(TEST_REPLY.as_bytes()));
        assert!(!is_result(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"data":{"result":1}}}"#));
    }

    #[test]
    fn a_subscribe_request_lists_its_channels() {
        let request = subscribe_request(&["a.b".to_owned(), "c".to_owned()], r#","ns":true"#);
        assert!(request.ends_with(r#""params":{"channels":["a.b","c"],"ns":true}}"#));
    }
}
