//! permessage-deflate: what is agreed on, and what is sent compressed. What comes in compressed is `websocket`'s.
//!
//! Property: whatever the header fields, nothing panics, and what is agreed on is what a second reading of RFC 7692 §7.1 finds
//! in the first offer that can be kept, never more than was offered, with an answer that says so. Whatever the payload, a
//! compressed frame is shorter than it, is inflated to it by an own inflater (`inflate`), refers to nothing before it, and
//! reaches back no further than the window that was asked for; a message leaves no trace in the next.
//!
//! Input: a byte that chooses the half, one that chooses settings; then header fields, a line each, or payloads.

use tickring::ws::Opcode;
use tickring::ws::deflate::{
    Agreement, ClientContextTakeover, DeflateSettings, Deflater, WindowBits, negotiate,
};

use crate::inflate::inflate_stream;

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let [half, choice, rest @ ..] = input else { return };
    if half & 1 == 0 {
        check_negotiation(*choice, rest);
    } else {
        check_compression(*choice, rest);
    }
}

fn check_negotiation(choice: u8, text: &[u8]) {
    let client_context_takeover = match choice & 8 {
        0 => ClientContextTakeover::Refused,
        _ => ClientContextTakeover::Allowed,
    };
    let client_window_bits_max = WindowBits::new(8 + (choice & 7)).expect("8 to 15");
    let settings = DeflateSettings { client_window_bits_max, client_context_takeover };
    let fields = || text.split(|byte| *byte == b'\n');
    let agreed = negotiate(fields(), Some(&settings));
    assert_eq!(negotiate(fields(), None), agreed.map(|_| None), "the grammar is checked all the same");
    let Ok(agreed) = agreed else { return };
    let offers = fields().flat_map(|field| split(field, b',')).filter(|offer| !offer.trim_ascii().is_empty());
    let expected = offers.filter_map(|offer| Offer::read(&offer)).find_map(|offer| offer.keep(&settings));
    assert_eq!(agreed, expected, "offered: {}", String::from_utf8_lossy(text));
    if let Some(agreement) = agreed {
        check_answer(&agreement);
    }
}

/// The parts of a text between separators that are not in quotes.
fn split(text: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let (mut quoted, mut escaped) = (false, false);
    for byte in text {
        if *byte == separator && !quoted {
            parts.push(Vec::new());
            continue;
        }
        if *byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && *byte == b'\\' && !escaped;
        parts.last_mut().expect("there is a part").push(*byte);
    }
    parts
}

/// An offer of permessage-deflate with legal parameters.
#[derive(Default)]
struct Offer {
    server_bits: Option<u8>,
    /// The inner value is absent where the client leaves the choice open.
    client_bits: Option<Option<u8>>,
    client_alone: bool,
}

impl Offer {
    fn read(text: &[u8]) -> Option<Offer> {
        let mut parts = split(text, b';').into_iter();
        if parts.next()?.trim_ascii() != b"permessage-deflate" {
            return None;
        }
        let mut offer = Offer::default();
        let mut seen = Vec::new();
        for part in parts {
            let mut sides = part.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
            let name = sides.next()?.to_vec();
            let value = sides
                .next()
                .map(|value| unquote(value).parse::<u8>().ok().filter(|_| is_bits(&unquote(value))));
            match (&name[..], value) {
                (b"server_no_context_takeover", None) => {}
                (b"client_no_context_takeover", None) => offer.client_alone = true,
                (b"server_max_window_bits", Some(Some(bits))) => offer.server_bits = Some(bits),
                (b"client_max_window_bits", None) => offer.client_bits = Some(None),
                (b"client_max_window_bits", Some(Some(bits))) => offer.client_bits = Some(Some(bits)),
                _ => return None,
            }
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
        }
        Some(offer)
    }

    /// What is agreed on, unless it asks for what zlib can't do.
    fn keep(&self, settings: &DeflateSettings) -> Option<Agreement> {
        if self.server_bits == Some(8) {
            return None;
        }
        let bits_max = settings.client_window_bits_max.value();
        let client_bits = self.client_bits.map(|own| own.unwrap_or(15).min(bits_max));
        let may_keep = settings.client_context_takeover == ClientContextTakeover::Allowed
            && !self.client_alone
            && client_bits.unwrap_or(15) <= bits_max;
        Some(Agreement {
            server_window_bits: self.server_bits.and_then(WindowBits::new),
            client_window_bits: client_bits.and_then(WindowBits::new),
            client_context_takeover: match may_keep {
                true => ClientContextTakeover::Allowed,
                false => ClientContextTakeover::Refused,
            },
        })
    }
}

fn is_bits(text: &str) -> bool {
    ["8", "9", "10", "11", "12", "13", "14", "15"].contains(&text)
}

fn unquote(value: &[u8]) -> String {
    let inner = value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\""));
    let mut characters = inner.unwrap_or(value).iter();
    let mut out = Vec::new();
    while let Some(character) = characters.next() {
        let escaped = if *character == b'\\' && inner.is_some() { characters.next() } else { None };
        out.push(*escaped.unwrap_or(character));
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The answer says what was agreed on, and a client reads it so.
fn check_answer(agreement: &Agreement) {
    let mut out = Vec::new();
    agreement.write(&mut out);
    let text = String::from_utf8(out).expect("an answer is text");
    let mut parts: Vec<&str> = text.split("; ").collect();
    assert_eq!(parts.remove(0), "permessage-deflate");
    let mut expected = vec!["server_no_context_takeover".to_owned()];
    if agreement.client_context_takeover == ClientContextTakeover::Refused {
        expected.push("client_no_context_takeover".to_owned());
    }
    let server = agreement.server_window_bits.map(|bits| format!("server_max_window_bits={}", bits.value()));
    let client = agreement.client_window_bits.map(|bits| format!("client_max_window_bits={}", bits.value()));
    expected.extend(server.into_iter().chain(client));
    parts.sort_unstable();
    expected.sort_unstable();
    assert_eq!(parts, expected);
}

/// What a payload is made longer up to: several of the smallest windows.
const PAYLOAD_BYTES: usize = 2048;

fn check_compression(choice: u8, rest: &[u8]) {
    let mut deflater = Deflater::new(1 + choice % 9);
    let window = WindowBits::new(9 + (choice / 9) % 7).expect("9 to 15");
    // A byte 0xff repeats what is before it, so that short inputs are long payloads with far references.
    for line in rest.split(|byte| *byte == b'\n') {
        let mut payload = Vec::new();
        for byte in line {
            match byte {
                0xff if payload.len() < PAYLOAD_BYTES => payload.extend_from_within(..),
                byte => payload.push(*byte),
            }
        }
        let Some(frame) = deflater.frame(Opcode::Text, window, &payload) else { continue };
        assert_eq!(frame[0], 0xc1, "FIN, RSV1, text");
        let header_bytes = match frame[1] {
            0..126 => 2,
            126 => 4,
            _ => 10,
        };
        let deflated = &frame[header_bytes..];
        assert!(deflated.len() < payload.len());
        let (made, distance_max) = inflate_stream(deflated, payload.len()).expect("a whole message");
        assert!(made == payload, "inflated to something else");
        assert!(distance_max <= window.bytes(), "{distance_max} beyond {window:?}");
    }
}
