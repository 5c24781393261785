//! JSON-RPC 2.0 as the gateway speaks it to backends: the request that it writes and the message that it reads. PURE.
//!
//! Invariants: what is written is one valid JSON value without a line break; an outcome that is read is one valid JSON value, of an
//! answer that has an id and either a result or an error with `code` and `message`.

use crate::dialect::json_rpc::JSON_DEPTH_MAX;
use crate::dialect::json_rpc::scan::{Kind, Scanner, Value};
use crate::model::call::CallOutcome;

/// What a backend has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// An answer to the request of that number.
    Answer { id: u64, outcome: CallOutcome<'a> },
    /// What pretends to be the answer to that request, and is none.
    Garbled { id: u64 },
    /// A request or a notification of its own: nobody asked for it.
    Unasked,
    /// No message of JSON-RPC.
    Garbage,
}

/// Appends a request, or, without a number, a notification. `params` is one valid JSON object or array.
pub fn write_request(out: &mut Vec<u8>, id: Option<u64>, method: &str, params: Option<&[u8]>) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0""#);
    if let Some(id) = id {
        out.extend_from_slice(br#","id":"#);
        out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    }
    // A method that is routed has no letter that wants an escape; whatever it has, this is a string.
    out.extend_from_slice(br#","method":"#);
    let method = serde_json::to_string(method).expect("invariant: text is a value of JSON");
    out.extend_from_slice(method.as_bytes());
    if let Some(params) = params {
        out.extend_from_slice(br#","params":"#);
        // Between two tokens a line break says the same as a space, and in a string there is none.
        out.extend(params.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    }
    out.push(b'}');
}

/// Reads one message.
#[must_use]
pub fn read(text: &[u8]) -> Said<'_> {
    let Some(message) = std::str::from_utf8(text).ok().and_then(whole) else { return Said::Garbage };
    if message.kind() != Kind::Object {
        return Said::Garbage;
    }
    let (mut id, mut method, mut result, mut error) = (None, None, None, None);
    for (name, value) in message.members() {
        match name.string().as_deref() {
            Some("id") => id = Some(value),
            Some("method") => method = Some(value),
            Some("result") => result = Some(value),
            Some("error") => error = Some(value),
            Some(_) | None => {}
        }
    }
    if method.is_some() {
        return Said::Unasked;
    }
    let Some(id) = id.and_then(Value::unsigned) else { return Said::Garbage };
    // Servers of JSON-RPC 1.0 write both, one of them null.
    let error = error.filter(|error| error.kind() != Kind::Null);
    match (result, error) {
        (_, Some(error)) if is_error(error) => {
            Said::Answer { id, outcome: CallOutcome::Error(error.text().as_bytes()) }
        }
        (Some(result), None) => Said::Answer { id, outcome: CallOutcome::Result(result.text().as_bytes()) },
        (_, Some(_)) | (None, None) => Said::Garbled { id },
    }
}

/// The request that a message seems to answer of which only the first bytes are there.
#[must_use]
pub fn id_of_beginning(text: &[u8]) -> Option<u64> {
    // The tail may end inside of a letter.
    let valid = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).ok()?,
    };
    let (before, behind) = valid.split_once("\"id\"")?;
    // Of the message itself, not of something inside of it.
    if before.matches('{').count() != 1 || before.contains("\"result\"") || before.contains("\"error\"") {
        return None;
    }
    let number = behind.trim_start().strip_prefix(':')?.trim_start();
    let end = number.find(|c: char| !c.is_ascii_digit())?;
    number[..end].parse().ok()
}

/// The one value that a text is.
fn whole(text: &str) -> Option<Value<'_>> {
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    let value = scanner.value(JSON_DEPTH_MAX).ok()?;
    scanner.skip_space();
    scanner.is_at_end().then_some(value)
}

fn is_error(value: Value<'_>) -> bool {
    let is_integer =
        |value: Value<'_>| value.kind() == Kind::Number && !value.text().contains(['.', 'e', 'E']);
    let has = |wanted: &str, is_right: &dyn Fn(Value<'_>) -> bool| {
        value.members().any(|(name, value)| name.string().as_deref() == Some(wanted) && is_right(value))
    };
    has("code", &is_integer) && has("message", &|value| value.kind() == Kind::String)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(id: Option<u64>, method: &str, params: Option<&str>) -> String {
        let mut out = Vec::new();
        write_request(&mut out, id, method, params.map(str::as_bytes));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_request_is_one_line() {
        let line = r#"{"jsonrpc":"2.0","id":7,"method":"a/b","params":[1, "x"]}"#;
        assert_eq!(written(Some(7), "a/b", Some("[1,\n\"x\"]")).replace(",  ", ", "), line);
        assert_eq!(written(None, "a/\"", None), r#"{"jsonrpc":"2.0","method":"a/\""}"#);
    }

    #[test]
    fn reads_answers_and_tells_what_is_none() {
        let answer = |id, outcome| Said::Answer { id, outcome };
        for (text, said) in [
            (r#"{"jsonrpc":"2.0","id":3,"result":{"a":1}}"#, answer(3, CallOutcome::Result(br#"{"a":1}"#))),
            (r#" {"result":null,"id":3} "#, answer(3, CallOutcome::Result(b"null"))),
            (
                r#"{"id":3,"error":{"code":-1,"message":"no"}}"#,
                answer(3, CallOutcome::Error(br#"{"code":-1,"message":"no"}"#)),
            ),
            (r#"{"id":3,"result":1,"error":null}"#, answer(3, CallOutcome::Result(b"1"))),
            (r#"{"id":3,"error":{"code":"x","message":"no"}}"#, Said::Garbled { id: 3 }),
            (r#"{"id":3,"error":{"code":1}}"#, Said::Garbled { id: 3 }),
            (r#"{"id":3}"#, Said::Garbled { id: 3 }),
            (r#"{"id":3,"method":"x","result":1}"#, Said::Unasked),
            (r#"{"id":"3","result":1}"#, Said::Garbage),
            (r#"{"result":1}"#, Said::Garbage),
            (r#"{"id":3,"result":1} x"#, Said::Garbage),
            ("listening on port 3", Said::Garbage),
            ("[]", Said::Garbage),
            ("", Said::Garbage),
            ("\u{feff}{}", Said::Garbage),
        ] {
            assert_eq!(read(text.as_bytes()), said, "{text}");
        }
        assert_eq!(read(b"\xff"), Said::Garbage);
    }

    #[test]
    fn the_beginning_of_a_long_answer_says_whose_it_is() {
        for (text, id) in [
            (r#"{"jsonrpc":"2.0","id":41,"result":"xxxx"#, Some(41)),
            (r#"{"id" : 4 , "result":"#, Some(4)),
            (r#"{"result":{"id":4,"#, None),
            (r#"{"a":{"id":4,"#, None),
            (r#"{"id":4"#, None),
            ("xxxxxx", None),
        ] {
            assert_eq!(id_of_beginning(text.as_bytes()), id, "{text}");
        }
        assert_eq!(id_of_beginning(b"{\"id\":5,\"result\":\"\xc3"), Some(5));
    }
}
