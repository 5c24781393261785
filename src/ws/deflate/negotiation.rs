//! From the offers in `Sec-WebSocket-Extensions` (RFC 6455 §9.1) to an agreement (RFC 7692 §5, §7.1).
//!
//! PURE. Allocates: never. Invariant: each offer is accepted as it is or declined as a whole; fields are malformed
//! whether or not an offer before the fault would have been accepted.

use super::{Agreement, ClientContextTakeover, DeflateSettings, WindowBits};

/// A header field that breaks the grammar of RFC 6455 §9.1, for which the handshake is to be failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionsMalformed;

/// The agreement on the first offer of permessage-deflate that can be kept, over all fields in order; other extensions
/// are passed over. With no `settings` nothing is agreed on, but the grammar is checked all the same.
pub fn negotiate<'f>(
    fields: impl Iterator<Item = &'f [u8]>,
    settings: Option<&DeflateSettings>,
) -> Result<Option<Agreement>, ExtensionsMalformed> {
    let mut agreement = None;
    for field in fields {
        let mut scanner = Scanner { rest: field };
        while let Some(offer) = scanner.next_offer()? {
            agreement = agreement.or_else(|| offer.judge(settings?));
        }
    }
    Ok(agreement)
}

/// One extension with its parameters, as far as they concern permessage-deflate.
#[derive(Default)]
struct Offer {
    /// Another extension, or parameters that are unknown, repeated or out of range.
    unknown: bool,
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<WindowBits>,
    /// The inner value is the client's own bound, which it may leave open.
    client_max_window_bits: Option<Option<WindowBits>>,
}

impl Offer {
    fn add(&mut self, parameter: &[u8], value: Option<Value<'_>>) {
        let fits = match (parameter, value) {
            (b"server_no_context_takeover", None) => {
                !std::mem::replace(&mut self.server_no_context_takeover, true)
            }
            (b"client_no_context_takeover", None) => {
                !std::mem::replace(&mut self.client_no_context_takeover, true)
            }
            (b"server_max_window_bits", Some(value)) => match value.window_bits() {
                Some(bits) => self.server_max_window_bits.replace(bits).is_none(),
                None => false,
            },
            (b"client_max_window_bits", None) => self.client_max_window_bits.replace(None).is_none(),
            (b"client_max_window_bits", Some(value)) => match value.window_bits() {
                Some(bits) => self.client_max_window_bits.replace(Some(bits)).is_none(),
                None => false,
            },
            _ => false,
        };
        self.unknown |= !fits;
    }

    fn judge(&self, settings: &DeflateSettings) -> Option<Agreement> {
        let is_too_small = |bits: WindowBits| bits < WindowBits::DEFLATE_MIN;
        if self.unknown || self.server_max_window_bits.is_some_and(is_too_small) {
            return None;
        }
        let client_window_bits = self
            .client_max_window_bits
            .map(|own| own.unwrap_or(WindowBits::MAX).min(settings.client_window_bits_max));
        // A client that can't be told to keep its window small is told to keep none.
        let window_is_kept = client_window_bits.unwrap_or(WindowBits::MAX) <= settings.client_window_bits_max;
        let client_context_takeover = match settings.client_context_takeover {
            ClientContextTakeover::Allowed if !self.client_no_context_takeover && window_is_kept => {
                ClientContextTakeover::Allowed
            }
            ClientContextTakeover::Allowed | ClientContextTakeover::Refused => ClientContextTakeover::Refused,
        };
        Some(Agreement {
            server_window_bits: self.server_max_window_bits,
            client_window_bits,
            client_context_takeover,
        })
    }
}

/// A parameter's value: a token, or a token in quotes.
struct Value<'b> {
    text: &'b [u8],
    quoted: bool,
}

impl<'b> Value<'b> {
    /// The characters, without the escapes of a quoted string (RFC 9110 §5.6.4).
    fn characters(&self) -> impl Iterator<Item = u8> + 'b {
        let (mut text, quoted) = (self.text.iter(), self.quoted);
        std::iter::from_fn(move || match text.next() {
            Some(b'\\') if quoted => text.next().copied(),
            character => character.copied(),
        })
    }

    /// 8 to 15, without leading zeros (RFC 7692 §7.1.2).
    fn window_bits(&self) -> Option<WindowBits> {
        let mut characters = self.characters();
        let bits = match (characters.next()?, characters.next(), characters.next()) {
            (digit @ b'8'..=b'9', None, None) => digit - b'0',
            (b'1', Some(digit @ b'0'..=b'5'), None) => 10 + digit - b'0',
            _ => return None,
        };
        WindowBits::new(bits)
    }
}

/// What is left of one field.
struct Scanner<'b> {
    rest: &'b [u8],
}

impl<'b> Scanner<'b> {
    /// The next member of the list; empty members do not count (RFC 9110 §5.6.1).
    fn next_offer(&mut self) -> Result<Option<Offer>, ExtensionsMalformed> {
        self.skip_blanks();
        while self.take(b',') {
            self.skip_blanks();
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut offer = Offer { unknown: self.token()? != b"permessage-deflate", ..Offer::default() };
        self.skip_blanks();
        while self.take(b';') {
            self.skip_blanks();
            let parameter = self.token()?;
            self.skip_blanks();
            let value = if self.take(b'=') { Some(self.value()?) } else { None };
            offer.add(parameter, value);
            self.skip_blanks();
        }
        if self.rest.is_empty() || self.take(b',') { Ok(Some(offer)) } else { Err(ExtensionsMalformed) }
    }

    fn value(&mut self) -> Result<Value<'b>, ExtensionsMalformed> {
        self.skip_blanks();
        if !self.take(b'"') {
            return Ok(Value { text: self.token()?, quoted: false });
        }
        let mut end = 0;
        loop {
            match self.rest.get(end..) {
                Some([b'"', ..]) => break,
                Some([b'\\', _, ..]) => end += 2,
                Some([b'\\'] | []) | None => return Err(ExtensionsMalformed),
                Some([_, ..]) => end += 1,
            }
        }
        let value = Value { text: &self.rest[..end], quoted: true };
        self.rest = &self.rest[end + 1..];
        // RFC 6455 §9.1: what is quoted must be a token once it is unquoted.
        if value.text.is_empty() || !value.characters().all(is_token_byte) {
            return Err(ExtensionsMalformed);
        }
        Ok(value)
    }

    fn token(&mut self) -> Result<&'b [u8], ExtensionsMalformed> {
        let end = self.rest.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        if token.is_empty() { Err(ExtensionsMalformed) } else { Ok(token) }
    }

    fn take(&mut self, wanted: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == wanted => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}

/// A character of a token (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: DeflateSettings = DeflateSettings {
        client_window_bits_max: WindowBits::MAX,
        client_context_takeover: ClientContextTakeover::Refused,
    };

    fn answer(fields: &[&str], settings: &DeflateSettings) -> String {
        match negotiate(fields.iter().map(|field| field.as_bytes()), Some(settings)) {
            Ok(None) => "declined".to_owned(),
            Ok(Some(agreement)) => {
                let mut out = Vec::new();
                agreement.write(&mut out);
                String::from_utf8(out).unwrap()
            }
            Err(ExtensionsMalformed) => "malformed".to_owned(),
        }
    }

    /// One field, the answer shortened to what follows what is always said.
    fn check(field: &str, expected: &str) {
        check_with(&SETTINGS, field, expected);
    }

    fn check_with(settings: &DeflateSettings, field: &str, expected: &str) {
        let answer = answer(&[field], settings);
        let shown = answer.strip_prefix("permessage-deflate; server_no_context_takeover").unwrap_or(&answer);
        assert_eq!(shown, expected, "{field}");
    }

    const PLAIN: &str = "; client_no_context_takeover";

    #[test]
    fn answers_what_clients_offer() {
        // Browsers; Python's websockets; Node's ws; a client that says all four.
        check(
            "permessage-deflate; client_max_window_bits",
            "; client_no_context_takeover; client_max_window_bits=15",
        );
        check(
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            "; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12",
        );
        check("permessage-deflate", PLAIN);
        check(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=9; client_max_window_bits=8",
            "; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=8",
        );
    }

    #[test]
    fn reads_the_grammar_and_not_only_its_usual_spelling() {
        check(
            "permessage-deflate;server_max_window_bits=\"10\"",
            "; client_no_context_takeover; server_max_window_bits=10",
        );
        check(
            "permessage-deflate ; server_max_window_bits = \"1\\0\"",
            "; client_no_context_takeover; server_max_window_bits=10",
        );
        check(" ,, permessage-deflate\t,", PLAIN);
        check("x-webkit; note=\"a\"; b=c, permessage-deflate", PLAIN);
        assert_eq!(answer(&[], &SETTINGS), "declined");
        assert_eq!(answer(&["", " , "], &SETTINGS), "declined");
    }

    #[test]
    fn fails_what_breaks_the_grammar_wherever_it_stands() {
        for field in [
            "permessage-deflate;",
            "permessage-deflate; =10",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=\"10",
            "permessage-deflate; server_max_window_bits=\"\"",
            "permessage-deflate; server_max_window_bits=\"1 0\"",
            "permessage-deflate; server_max_window_bits=\"10\\",
            "permessage-deflate, a b",
            "permessage-deflate, ;",
            "permessage-deflate, x; y=\"a,b\"",
            "\u{e9}",
        ] {
            assert_eq!(answer(&[field], &SETTINGS), "malformed", "{field}");
            let later = negotiate([&b"permessage-deflate"[..], field.as_bytes()].into_iter(), None);
            assert_eq!(later, Err(ExtensionsMalformed), "{field}");
        }
    }

    #[test]
    fn declines_parameters_that_are_unknown_repeated_or_out_of_range() {
        for parameter in [
            "client_max_window_bits=16",
            "client_max_window_bits=7",
            "client_max_window_bits=08",
            "client_max_window_bits=100",
            "client_max_window_bits=x",
            "client_max_window_bits; client_max_window_bits",
            "client_no_context_takeover=1",
            "client_no_context_takeover; client_no_context_takeover",
            "server_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "server_max_window_bits",
            "server_max_window_bits=16",
            "server_max_window_bits=+9",
            "server_max_window_bits=9; server_max_window_bits=9",
            "mode=fast",
            "Server_Max_Window_Bits=10",
        ] {
            check(&format!("permessage-deflate; {parameter}"), "declined");
            check(&format!("permessage-deflate; {parameter}, permessage-deflate"), PLAIN);
        }
    }

    #[test]
    fn declines_a_window_of_8_bits_for_what_we_send() {
        check("permessage-deflate; server_max_window_bits=8", "declined");
        check(
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9",
            "; client_no_context_takeover; server_max_window_bits=9",
        );
    }

    #[test]
    fn takes_the_first_acceptable_offer_over_several_fields() {
        let fields = [
            "permessage-bzip2, permessage-deflate; unknown",
            "permessage-deflate; server_max_window_bits=11, permessage-deflate",
            "permessage-deflate; server_max_window_bits=14",
        ];
        assert!(answer(&fields, &SETTINGS).ends_with("server_max_window_bits=11"));
    }

    #[test]
    fn agrees_on_nothing_where_it_is_off() {
        let fields = || std::iter::once(&b"permessage-deflate"[..]);
        assert_eq!(negotiate(fields(), None), Ok(None));
    }

    #[test]
    fn a_window_is_kept_for_a_client_only_where_both_agree_to_its_size() {
        let settings = DeflateSettings {
            client_window_bits_max: WindowBits::new(11).unwrap(),
            client_context_takeover: ClientContextTakeover::Allowed,
        };
        check_with(&settings, "permessage-deflate; client_max_window_bits", "; client_max_window_bits=11");
        check_with(&settings, "permessage-deflate; client_max_window_bits=9", "; client_max_window_bits=9");
        check_with(&settings, "permessage-deflate", PLAIN);
        check_with(
            &settings,
            "permessage-deflate; client_max_window_bits; client_no_context_takeover",
            "; client_no_context_takeover; client_max_window_bits=11",
        );
        let unlimited = DeflateSettings { client_window_bits_max: WindowBits::MAX, ..settings };
        check_with(&unlimited, "permessage-deflate", "");
    }
}
