//! A strict, iterative JSON scanner (RFC 8259). PURE, allocates nothing. It exists because sonic-rs 0.5 neither bounds
//! the depth of what it skips nor looks at the four digits after `\u`: a published text would reach subscribers that
//! cannot read it. Stricter than the grammar in one place, as RFC 7493 §2.1 asks: an unpaired surrogate is refused.
//! Invariant: a `Value` is one whole valid JSON value without surrounding white space.

use std::borrow::Cow;

/// Bits of the stack of open containers: the deepest nesting that the scanner can hold.
pub(crate) const SCAN_DEPTH_MAX: usize = 64;

/// The text is not JSON, or deeper than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One JSON value as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    text: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl<'a> Value<'a> {
    pub(crate) fn kind(self) -> Kind {
        match self.text.as_bytes()[0] {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b't' | b'f' => Kind::Boolean,
            b'n' => Kind::Null,
            _ => Kind::Number,
        }
    }

    pub(crate) fn text(self) -> &'a str {
        self.text
    }

    /// The text of a string, borrowed where it has no escape.
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        if self.kind() != Kind::String {
            return None;
        }
        let inner = &self.text[1..self.text.len() - 1];
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        sonic_rs::from_str::<String>(self.text).ok().map(Cow::Owned)
    }

    /// A number that is written as a whole one, without point or exponent, and fits.
    pub(crate) fn unsigned(self) -> Option<u64> {
        self.text.parse().ok()
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        self.text.parse().ok()
    }

    /// The members of an object in order; nothing for any other kind.
    pub(crate) fn members(self) -> Members<'a> {
        let mut scanner = Scanner::new(self.text);
        let place = if scanner.open(b'{') { Place::First } else { Place::Closed };
        Members { scanner, place }
    }

    /// The elements of an array in order; nothing for any other kind.
    pub(crate) fn elements(self) -> Elements<'a> {
        let mut scanner = Scanner::new(self.text);
        let place = if scanner.open(b'[') { Place::First } else { Place::Closed };
        Elements { scanner, place }
    }
}

/// Where a walk through a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    Later,
    Closed,
}

pub(crate) struct Members<'a> {
    scanner: Scanner<'a>,
    place: Place,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.scanner.member(&mut self.place, SCAN_DEPTH_MAX).ok().flatten()
    }
}

pub(crate) struct Elements<'a> {
    scanner: Scanner<'a>,
    place: Place,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.scanner.enter(&mut self.place, b']').ok()? {
            return None;
        }
        self.scanner.value(SCAN_DEPTH_MAX).ok()
    }
}

/// A place in a text, moved over one token or value at a time.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    pub(crate) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// White space alone remains.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    /// Moves over `{` or `[` if that comes next.
    pub(crate) fn open(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Moves to the next entry of the container that is closed by `close`; false where it ends.
    pub(crate) fn enter(&mut self, place: &mut Place, close: u8) -> Result<bool, Malformed> {
        if *place == Place::Closed {
            return Ok(false);
        }
        self.skip_space();
        match (self.peek(), *place) {
            (Some(byte), _) if byte == close => {
                self.at += 1;
                *place = Place::Closed;
                return Ok(false);
            }
            (Some(b','), Place::Later) => self.at += 1,
            (Some(_), Place::First) => *place = Place::Later,
            (None | Some(_), Place::First | Place::Later | Place::Closed) => return Err(Malformed),
        }
        Ok(true)
    }

    /// The next member of the object that the scanner is in.
    pub(crate) fn member(
        &mut self,
        place: &mut Place,
        depth_max: usize,
    ) -> Result<Option<(Value<'a>, Value<'a>)>, Malformed> {
        if !self.enter(place, b'}')? {
            return Ok(None);
        }
        let key = self.key()?;
        Ok(Some((key, self.value(depth_max)?)))
    }

    /// The next value, which may nest `depth_max` containers.
    pub(crate) fn value(&mut self, depth_max: usize) -> Result<Value<'a>, Malformed> {
        self.skip_space();
        let start = self.at;
        // A bit for each open container, the innermost lowest: 1 for an object.
        let mut open_kinds: u64 = 0;
        let mut depth = 0;
        loop {
            self.skip_space();
            let byte = self.peek().ok_or(Malformed)?;
            match byte {
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                b'{' | b'[' => {
                    if depth == depth_max.min(SCAN_DEPTH_MAX) {
                        return Err(Malformed);
                    }
                    self.at += 1;
                    self.skip_space();
                    let close = if byte == b'{' { b'}' } else { b']' };
                    if self.peek() == Some(close) {
                        self.at += 1;
                    } else {
                        depth += 1;
                        open_kinds = open_kinds << 1 | u64::from(byte == b'{');
                        if byte == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => return Err(Malformed),
            }
            if !self.close_containers(&mut depth, &mut open_kinds)? {
                return Ok(Value { text: &self.text[start..self.at] });
            }
        }
    }

    /// After a value: closes what ends here. True where a further value must follow.
    fn close_containers(&mut self, depth: &mut usize, open_kinds: &mut u64) -> Result<bool, Malformed> {
        while *depth > 0 {
            self.skip_space();
            let in_object = *open_kinds & 1 == 1;
            match (self.peek(), in_object) {
                (Some(b','), true) => {
                    self.at += 1;
                    self.key()?;
                    return Ok(true);
                }
                (Some(b','), false) => {
                    self.at += 1;
                    return Ok(true);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    *depth -= 1;
                    *open_kinds >>= 1;
                }
                (None | Some(_), true | false) => return Err(Malformed),
            }
        }
        Ok(false)
    }

    /// A member's name and its colon.
    fn key(&mut self) -> Result<Value<'a>, Malformed> {
        self.skip_space();
        let start = self.at;
        self.string()?;
        let key = Value { text: &self.text[start..self.at] };
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(key)
    }

    fn string(&mut self) -> Result<(), Malformed> {
        if self.peek() != Some(b'"') {
            return Err(Malformed);
        }
        self.at += 1;
        loop {
            self.skip_plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..0x20) | None => return Err(Malformed),
                Some(_) => self.at += 1,
            }
        }
    }

    /// Moves on in steps of eight bytes while none of them is a quote, a backslash or a control character, then to
    /// the first that is one.
    fn skip_plain(&mut self) {
        const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
        const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
        while let Some(chunk) = self.text.as_bytes()[self.at..].first_chunk::<8>() {
            let word = u64::from_le_bytes(*chunk);
            let quote = word ^ (ONES * b'"' as u64);
            let backslash = word ^ (ONES * b'\\' as u64);
            // The lowest high bit of each term marks a true hit; borrows make false ones only above it.
            let hits = (quote.wrapping_sub(ONES) & !quote
                | backslash.wrapping_sub(ONES) & !backslash
                | word.wrapping_sub(ONES * 0x20) & !word)
                & HIGHS;
            if hits != 0 {
                self.at += hits.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let byte = self.text.as_bytes().get(self.at + 1).ok_or(Malformed)?;
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 2;
                Ok(())
            }
            b'u' => match self.code_unit()? {
                0xd800..0xdc00 => match self.code_unit()? {
                    0xdc00..0xe000 => Ok(()),
                    _ => Err(Malformed),
                },
                0xdc00..0xe000 => Err(Malformed),
                _ => Ok(()),
            },
            _ => Err(Malformed),
        }
    }

    /// `\u` and four hexadecimal digits.
    fn code_unit(&mut self) -> Result<u32, Malformed> {
        let digits = match self.text.as_bytes()[self.at..].first_chunk::<6>() {
            Some([b'\\', b'u', digits @ ..]) => digits,
            _ => return Err(Malformed),
        };
        let mut unit = 0;
        for digit in digits {
            unit = unit << 4 | char::from(*digit).to_digit(16).ok_or(Malformed)?;
        }
        self.at += 6;
        Ok(unit)
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(Malformed) } else { Ok(()) }
    }

    fn literal(&mut self, word: &str) -> Result<(), Malformed> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(Malformed);
        }
        self.at += word.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_valid(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.value(SCAN_DEPTH_MAX).is_ok() && scanner.is_at_end()
    }

    #[test]
    fn takes_what_the_grammar_takes() {
        for text in [
            "0",
            "-0",
            "-0.5e+10",
            "1E9",
            "123456789012345678901234567890",
            "true",
            "false",
            "null",
            "\"\"",
            "[]",
            "{}",
            " [ 1 , 2 ] ",
            "{\"a\":{\"b\":[{},[],\"\"]}}",
            "\"\\u00e9\\ud83d\\ude00\\n\\/\"",
            "\"a long string with é and no escape at all\"",
            "\t\r\n1\n",
        ] {
            assert!(is_valid(text), "{text}");
        }
    }

    #[test]
    fn refuses_what_the_grammar_refuses() {
        for text in [
            "",
            " ",
            "01",
            "+1",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "tru",
            "truex",
            "nul",
            "NaN",
            "'a'",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "[}",
            "{]",
            "]",
            "1 2",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\uZZZZ\"",
            "\"\\u\"1234\"",
            "\"\n\"",
            "\"12345678\u{1}\"",
            "[1}",
            "{\"a\":1]",
            "[[1}]",
            "{\"a\":{\"b\":1]}",
            "\"\\ud800\"",
            "\"\\ud800\\n\"",
            "\"\\udc00\"",
            "\"\\ud800\\u0041\"",
            "[1",
            "{\"a\":1",
            "\u{feff}1",
            "\u{a0}1",
        ] {
            assert!(!is_valid(text), "{text}");
        }
    }

    #[test]
    fn finds_quotes_backslashes_and_control_characters_at_any_offset() {
        for before in 0..20 {
            let plain = "é".repeat(before / 2) + &"z".repeat(before % 2);
            for byte in 0..0x80u8 {
                let text = format!("\"{plain}{}{plain}\"", char::from(byte));
                let expected = byte >= 0x20 && byte != b'"' && byte != b'\\';
                assert_eq!(is_valid(&text), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn sonic_rs_alone_would_let_a_bad_escape_through() {
        let text = "{\"data\":\"\\uZZZZ\"}";
        assert!(
            sonic_rs::from_str::<sonic_rs::LazyValue<'_>>(text).is_ok(),
            "sonic-rs validates now: simplify"
        );
        assert!(!is_valid(text));
    }

    #[test]
    fn bounds_the_depth() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_valid(&nested(SCAN_DEPTH_MAX)));
        assert!(!is_valid(&nested(SCAN_DEPTH_MAX + 1)));
        assert!(!is_valid(&"[".repeat(1_000_000)));
        assert!(!is_valid(&"{\"a\":".repeat(100_000)));
    }

    #[test]
    fn walks_members_and_elements() {
        let value =
            Scanner::new(" {\"a\": [1, {\"x\":2}], \"b\\n\" : \"q\" } ").value(SCAN_DEPTH_MAX).unwrap();
        let members: Vec<_> =
            value.members().map(|(key, value)| (key.string().unwrap(), value.text())).collect();
        assert_eq!(members, [("a".into(), "[1, {\"x\":2}]"), ("b\n".into(), "\"q\"")]);
        let (_, list) = value.members().next().unwrap();
        assert_eq!(list.elements().map(Value::text).collect::<Vec<_>>(), ["1", "{\"x\":2}"]);
        assert_eq!(list.members().count() + value.elements().count(), 0);
    }

    /// JSON of all kinds, some of it damaged.
    fn near_json() -> impl Strategy<Value = String> {
        let sound = prop::sample::select(vec![
            "0",
            "-1.5e3",
            "true",
            "null",
            "\"\"",
            "\"\\u00e9\"",
            "\"a\\\\\\\"b\"",
            "\"\\ud83d\\ude00 padding padding é\"",
            "[ ]",
            "{ }",
        ]);
        let broken = prop::sample::select(vec!["\"\\ud83d\"", "\"\\u12G4\"", "01", "\"tab\t\"", "-", "1.e1"]);
        let leaf = prop_oneof![40 => sound, 1 => broken].prop_map(str::to_owned);
        let tree = leaf.prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(" ,"))),
                prop::collection::vec(inner, 0..4).prop_map(|list| {
                    let members: Vec<_> = list.iter().map(|value| format!("\"k\\n\" :{value}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        });
        let damage =
            prop::sample::select(vec!["\"", ",", "]", "}", "[", ":", "\\", "x", "0", " ", "\u{1f}", ""]);
        (tree, any::<prop::sample::Index>(), damage, 0u8..3).prop_map(|(mut text, at, damage, how)| {
            let starts: Vec<_> = text.char_indices().map(|(start, _)| start).collect();
            let start = starts[at.index(starts.len())];
            match how {
                0 => text.insert_str(start, damage),
                1 => {
                    text.remove(start);
                    text.insert_str(start, damage);
                }
                _ => {}
            }
            text
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn agrees_with_an_independent_parser(text in near_json()) {
            prop_assert_eq!(is_valid(&text), serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }

        #[test]
        fn never_panics(text in "\\PC{0,200}|[\\[\\]{}\",:\\\\u0-9a-f \\-.e]{0,200}") {
            let _ = is_valid(&text);
        }
    }
}
