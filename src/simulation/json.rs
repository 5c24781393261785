//! A parser of JSON (RFC 8259) of the simulation's own, so that what the hubs write is judged by other code than what
//! they read with. Numbers stay text and each value knows its bytes. PURE.

/// A value and the text that it was written as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Json<'a> {
    pub(super) raw: &'a str,
    pub(super) value: Value<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Boolean(bool),
    Number(&'a str),
    Text(String),
    Array(Vec<Json<'a>>),
    Object(Vec<(String, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Parses a whole text.
    ///
    /// # Errors
    /// What is wrong and at which byte.
    pub(super) fn parse(text: &'a str) -> Result<Json<'a>, String> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0).and_then(|value| {
            parser.skip_space();
            if parser.at == text.len() { Ok(value) } else { Err("text after the value") }
        });
        value.map_err(|fault| format!("{fault} at byte {} of {text}", parser.at))
    }

    /// A member of an object; `None` for other values too.
    #[must_use]
    pub(super) fn member(&self, name: &str) -> Option<&Json<'a>> {
        match &self.value {
            Value::Object(members) => members.iter().find(|(known, _)| known == name).map(|(_, value)| value),
            Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Text(_) | Value::Array(_) => None,
        }
    }

    /// A member that must be there.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub(super) fn at(&self, name: &str) -> &Json<'a> {
        self.member(name).unwrap_or_else(|| panic!("no member {name} in {}", self.raw))
    }

    /// Whether some object in it has two members of one name, which a client may publish and no hub may write.
    #[must_use]
    pub(super) fn repeats_a_member(&self) -> bool {
        match &self.value {
            Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Text(_) => false,
            Value::Array(items) => items.iter().any(Json::repeats_a_member),
            Value::Object(members) => members.iter().enumerate().any(|(at, (name, value))| {
                members[..at].iter().any(|(known, _)| known == name) || value.repeats_a_member()
            }),
        }
    }

    /// A whole number that must be one.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub(super) fn whole(&self) -> u64 {
        self.raw.parse().unwrap_or_else(|_| panic!("not a whole number: {}", self.raw))
    }

    /// A text; `None` for other values.
    #[must_use]
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// An array's items; none for other values.
    #[must_use]
    pub(super) fn items(&self) -> &[Json<'a>] {
        match &self.value {
            Value::Array(items) => items,
            Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Text(_) | Value::Object(_) => &[],
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

const DEPTH_MAX: usize = 128;

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, &'static str> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(value);
        }
        Err("an unknown word")
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, &'static str> {
        if depth > DEPTH_MAX {
            return Err("nested too deep");
        }
        self.skip_space();
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::Text),
            Some(b't') => self.word("true", Value::Boolean(true)),
            Some(b'f') => self.word("false", Value::Boolean(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err("no value begins like this"),
            None => Err("the text ends"),
        }?;
        Ok(Json { raw: &self.text[start..self.at], value })
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, &'static str> {
        self.at += 1;
        let mut members: Vec<(String, Json<'a>)> = Vec::new();
        self.skip_space();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err("a member's name is missing");
            }
            let name = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return Err("a colon is missing");
            }
            members.push((name, self.value(depth + 1)?));
            self.skip_space();
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            if !self.take(b',') {
                return Err("a comma is missing");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, &'static str> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err("a comma is missing");
            }
        }
    }

    fn string(&mut self) -> Result<String, &'static str> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let character = rest.chars().next().ok_or("a string does not end")?;
            self.at += character.len_utf8();
            match character {
                '"' => return Ok(text),
                '\\' => text.push(self.escape()?),
                control if control < ' ' => return Err("a control character in a string"),
                other => text.push(other),
            }
        }
    }

    fn escape(&mut self) -> Result<char, &'static str> {
        let kind = self.peek().ok_or("a string does not end")?;
        self.at += 1;
        Ok(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex()?;
                if (0xd800..0xdc00).contains(&high) {
                    if !(self.take(b'\\') && self.take(b'u')) {
                        return Err("an unpaired surrogate");
                    }
                    let low = self.hex()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err("an unpaired surrogate");
                    }
                    return char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                        .ok_or("no character");
                }
                char::from_u32(high).ok_or("an unpaired surrogate")?
            }
            _ => return Err("an unknown escape"),
        })
    }

    fn hex(&mut self) -> Result<u32, &'static str> {
        let digits = self.text.get(self.at..self.at + 4).ok_or("four hex digits are missing")?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("four hex digits are missing");
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| "four hex digits are missing")
    }

    fn digits(&mut self) -> Result<(), &'static str> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err("a digit is missing") }
    }

    fn number(&mut self) -> Result<Value<'a>, &'static str> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'-') {
                self.take(b'+');
            }
            self.digits()?;
        }
        Ok(Value::Number(&self.text[start..self.at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_and_refuses_what_an_independent_parser_does() {
        for text in [
            "{}",
            "[]",
            "[1,-0.5e+3,true,null]",
            r#"{"a":"é\u00e9\ud83d\ude00","b":[{}]}"#,
            " 7 ",
            "01",
            "[1,]",
            "{\"a\":1,}",
            "\"\\ud800\"",
            "\"\u{1}\"",
            "1.",
            "-",
            "nul",
            "[1 2]",
            "{\"a\" 1}",
            "\"",
            "[",
            "1 2",
            "\"\\x\"",
            "+1",
            ".5",
        ] {
            let expected = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(Json::parse(text).is_ok(), expected, "{text}");
        }
    }
}
