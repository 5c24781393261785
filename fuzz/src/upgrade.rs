//! The HTTP head that asks for a WebSocket.
//!
//! Property: whatever the bytes, nothing panics; the answer is the same in whatever reads they come; a request that HTTP
//! takes is upgraded exactly where it meets RFC 6455 §4.2.1 (and has no body) by a reading that is written here, and the
//! answer to it carries the accept key of §4.2.2 by an own SHA-1; a refusal is a whole HTTP answer.
//!
//! Input: a byte for the filler; the cuts (`pieces`); the head, in which a byte 0, which no head may have, stands for 64
//! times as many `a` as the filler says, so that short inputs reach the limits of length.

use tickring::http::{self, Body, Rejection};
use tickring::ws::handshake;

use crate::pieces;

/// The usual bound of a head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a head with its filler: enough to pass every limit.
const FILLED_BYTES_MAX: usize = HEAD_BYTES_MAX + 1024;

/// What came of a head.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Incomplete,
    Refused(Rejection),
    Upgraded { head_bytes: usize, accept_key: String, response: Vec<u8>, offers: Vec<String>, path: String },
}

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let Some((filler, rest)) = input.split_first() else { return };
    let (lengths, rest) = pieces::take_lengths(rest);
    let head = fill(rest, 64 * usize::from(*filler));
    let whole = answer([&head[..]]);
    assert_eq!(answer(pieces::cut(lengths, &head)), whole, "in reads of {lengths:?}");
    match whole {
        Answer::Incomplete => assert!(head.len() < HEAD_BYTES_MAX, "a head without end is refused"),
        Answer::Refused(rejection) => check_refusal(rejection),
        Answer::Upgraded { head_bytes, accept_key, response, offers, path } => {
            assert!(head_bytes <= HEAD_BYTES_MAX);
            assert!(path.starts_with('/') || path == "*", "{path}");
            check_switch(&response, &accept_key, offers.first().map(String::as_str));
        }
    }
}

fn fill(head: &[u8], filler: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len());
    for byte in head {
        match byte {
            0 => out.resize((out.len() + filler).min(FILLED_BYTES_MAX).max(out.len()), b'a'),
            byte => out.push(*byte),
        }
    }
    out
}

/// As the hub does: what has come is looked at again with each read.
fn answer<'r>(reads: impl IntoIterator<Item = &'r [u8]>) -> Answer {
    let mut head = Vec::new();
    for read in reads {
        head.extend_from_slice(read);
        match http::parse(&head) {
            Ok(None) => {}
            Err(rejection) => return Answer::Refused(rejection),
            Ok(Some(request)) => {
                let naive = Naive::parse(&head[..request.head_bytes]);
                assert_eq!((request.method, naive.version.as_str()), (naive.method.as_str(), "HTTP/1.1"));
                return match handshake::upgrade(&request) {
                    Err(rejection) => {
                        let fault = naive.fault();
                        assert!(fault.is_some(), "{rejection:?}, and nothing is wrong with it");
                        Answer::Refused(rejection)
                    }
                    Ok(upgrade) => {
                        assert_eq!(naive.fault(), None, "upgraded all the same");
                        assert_eq!(upgrade.accept_key, accept_key(naive.only("sec-websocket-key")));
                        assert_eq!(upgrade.origin().is_some(), !naive.values("origin").is_empty());
                        let offers: Vec<String> = upgrade.subprotocols().map(str::to_owned).collect();
                        let mut response = Vec::new();
                        let accept_key = upgrade.accept_key.clone();
                        let chosen = offers.first().map(String::as_str);
                        handshake::write_switching_protocols(&mut response, &accept_key, chosen, None);
                        let (head_bytes, path) = (request.head_bytes, request.path.to_owned());
                        assert!(
                            upgrade.deflate(None).is_ok_and(|agreed| agreed.is_none())
                                || !naive.values("sec-websocket-extensions").is_empty()
                        );
                        Answer::Upgraded { head_bytes, accept_key, response, offers, path }
                    }
                };
            }
        }
    }
    Answer::Incomplete
}

/// A head that was taken for HTTP, read once more and by little.
struct Naive {
    method: String,
    version: String,
    /// Names in lower case.
    fields: Vec<(String, Vec<u8>)>,
}

impl Naive {
    fn parse(head: &[u8]) -> Naive {
        let mut lines =
            head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = lines.find(|line| !line.is_empty()).expect("a head has a first line");
        let mut words = first.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let mut word = || {
            String::from_utf8(words.next().unwrap_or_default().to_vec()).expect("a head's first line is text")
        };
        let (method, _, version) = (word(), word(), word());
        let fields = lines.take_while(|line| !line.is_empty()).map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
            let name =
                String::from_utf8(line[..colon].to_ascii_lowercase()).expect("a field's name is ASCII");
            (name, line[colon + 1..].trim_ascii().to_vec())
        });
        Naive { method, version, fields: fields.collect() }
    }

    fn values(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| &value[..]).collect()
    }

    fn only(&self, name: &str) -> &[u8] {
        match self.values(name)[..] {
            [value] => value,
            _ => b"",
        }
    }

    fn lists(&self, name: &str, member: &[u8]) -> bool {
        let values = self.values(name);
        values
            .iter()
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|known| known.trim_ascii().eq_ignore_ascii_case(member))
    }

    /// What RFC 6455 §4.2.1 has against it, by the number there; 0 for a body.
    fn fault(&self) -> Option<u8> {
        if self.method != "GET" || self.version != "HTTP/1.1" {
            return Some(1);
        }
        if self.only("host").is_empty() {
            return Some(2);
        }
        if !self.lists("upgrade", b"websocket") {
            return Some(3);
        }
        if !self.lists("connection", b"upgrade") {
            return Some(4);
        }
        if !is_key(self.only("sec-websocket-key")) {
            return Some(5);
        }
        if self.only("sec-websocket-version") != b"13" {
            return Some(6);
        }
        let has_body = self.values("content-length").iter().any(|length| *length != b"0");
        (has_body || !self.values("transfer-encoding").is_empty()).then_some(0)
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Whether it is base64 of 16 bytes: 22 digits and the padding.
fn is_key(key: &[u8]) -> bool {
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(|digit| BASE64.contains(digit))
}

/// RFC 6455 §4.2.2, 5.4.
fn accept_key(key: &[u8]) -> String {
    let digest = sha1(&[key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat());
    let mut out = String::new();
    for triple in digest.chunks(3) {
        let bits =
            (0..3).fold(0, |bits: u32, at| bits << 8 | u32::from(triple.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let place = bits >> (18 - 6 * digit) & 63;
            out.push(if digit <= triple.len() { char::from(BASE64[place as usize]) } else { '=' });
        }
    }
    out
}

/// FIPS 180-4 §6.1.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let at = padded.len() - 8;
    padded[at..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks(64) {
        let mut words = [0u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks(4)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for at in 16..80 {
            words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (round, word) in words.into_iter().enumerate() {
            let (mixed, constant) = match round {
                0..20 => (b & c | !b & d, 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, add) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(add);
        }
    }
    let mut digest = [0; 20];
    for (out, word) in digest.chunks_mut(4).zip(state) {
        out.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// The status line, the fields and the body of an answer of ours.
fn split_answer(answer: &[u8]) -> (&str, Vec<(&str, &str)>, &str) {
    let text = std::str::from_utf8(answer).expect("an answer is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer's head ends");
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let fields = lines.map(|line| line.split_once(": ").expect("a field has a colon"));
    (status, fields.collect(), body)
}

fn check_switch(response: &[u8], accept_key: &str, subprotocol: Option<&str>) {
    let (status, fields, body) = split_answer(response);
    assert!(status.starts_with("HTTP/1.1 101 ") && body.is_empty(), "{status}");
    let mut expected =
        vec![("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", accept_key)];
    expected.extend(subprotocol.map(|chosen| ("Sec-WebSocket-Protocol", chosen)));
    assert_eq!(fields, expected);
}

fn check_refusal(rejection: Rejection) {
    let mut response = Vec::new();
    http::write_rejection(&mut response, rejection, Body::Sent);
    let (status, fields, body) = split_answer(&response);
    let code = rejection.status().code();
    assert!(status.starts_with(&format!("HTTP/1.1 {code} ")), "{status}");
    let length = fields.iter().find(|(name, _)| *name == "Content-Length").map(|(_, value)| *value);
    assert_eq!(length, Some(body.len().to_string().as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naive_digest_and_key_are_those_of_the_standards() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let long = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(&sha1(long)), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
