//! One message of the Model Context Protocol as it stands in its text, and texts made of others with some members replaced. PURE.
//! Home: the control thread.
//!
//! Invariants: what is not replaced stays byte for byte as its sender wrote it, members that nobody here knows included. What is
//! written is one line: whoever frames messages by lines or by events can't be sent two for one.

use std::borrow::Cow;

use crate::dialect::json_rpc::scan::{Kind, SCAN_DEPTH_MAX, Scanner, Value};
use crate::dialect::json_rpc::text::push_string;
use crate::dialect::json_rpc::{BATCH_REQUESTS_MAX, ID_BYTES_MAX};

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message<'a> {
    Request {
        /// As its sender wrote it: a string or a whole number.
        id: &'a str,
        method: Cow<'a, str>,
        params: Option<Value<'a>>,
    },
    Notification {
        method: Cow<'a, str>,
        params: Option<Value<'a>>,
    },
    Response {
        id: &'a str,
        outcome: Outcome<'a>,
    },
}

/// How a request ended, by who answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    Result(Value<'a>),
    /// An object.
    Error(Value<'a>),
}

/// What is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No JSON, or nested too deep.
    Malformed,
    /// JSON, but no JSON-RPC 2.0 message; of a batch that is empty or too long, too.
    Invalid,
}

/// The messages of one text: one, or those of a batch (revision 2025-03-26 has those).
///
/// # Errors
/// The text as a whole is none.
pub(super) fn messages(text: &str) -> Result<Vec<Result<Message<'_>, Fault>>, Fault> {
    let value = whole(text).ok_or(Fault::Malformed)?;
    if value.kind() != Kind::Array {
        return Ok(vec![message(value)]);
    }
    let entries: Vec<_> = value.elements().take(BATCH_REQUESTS_MAX + 1).map(message).collect();
    if entries.is_empty() || entries.len() > BATCH_REQUESTS_MAX { Err(Fault::Invalid) } else { Ok(entries) }
}

/// The value that a text is, if it is one.
pub(super) fn whole(text: &str) -> Option<Value<'_>> {
    let mut scanner = Scanner::new(text);
    let value = scanner.value(SCAN_DEPTH_MAX).ok()?;
    scanner.is_at_end().then_some(value)
}

fn message(value: Value<'_>) -> Result<Message<'_>, Fault> {
    let (mut version, mut id, mut method, mut params, mut result, mut error) =
        (None, None, None, None, None, None);
    if value.kind() != Kind::Object {
        return Err(Fault::Invalid);
    }
    for (key, value) in value.members() {
        let slot = match key.string().as_deref() {
            Some("jsonrpc") => &mut version,
            Some("id") => &mut id,
            Some("method") => &mut method,
            Some("params") => &mut params,
            Some("result") => &mut result,
            Some("error") => &mut error,
            _ => continue,
        };
        // Said twice: one reader takes the first, another the last.
        if slot.replace(value).is_some() {
            return Err(Fault::Invalid);
        }
    }
    if version.and_then(Value::string).as_deref() != Some("2.0") {
        return Err(Fault::Invalid);
    }
    if params.is_some_and(|params| params.kind() != Kind::Object) {
        return Err(Fault::Invalid);
    }
    let id = id.map(|id| of_id(id).ok_or(Fault::Invalid)).transpose()?;
    let method = method.map(|method| method.string().ok_or(Fault::Invalid)).transpose()?;
    match (id, method, result, error) {
        (Some(id), Some(method), None, None) => Ok(Message::Request { id, method, params }),
        (None, Some(method), None, None) => Ok(Message::Notification { method, params }),
        (Some(id), None, Some(result), None) => {
            Ok(Message::Response { id, outcome: Outcome::Result(result) })
        }
        (Some(id), None, None, Some(error)) if error.kind() == Kind::Object => {
            Ok(Message::Response { id, outcome: Outcome::Error(error) })
        }
        _ => Err(Fault::Invalid),
    }
}

/// An id or a progress token as it is written: a string or a number, of bounded length.
pub(super) fn of_id(value: Value<'_>) -> Option<&str> {
    let is_one = matches!(value.kind(), Kind::String | Kind::Number) && value.text().len() <= ID_BYTES_MAX;
    is_one.then(|| value.text())
}

/// A member of an object; the last of that name, as most readers have it.
pub(super) fn member<'a>(object: Value<'a>, name: &str) -> Option<Value<'a>> {
    object.members().filter(|(key, _)| key.string().as_deref() == Some(name)).map(|(_, value)| value).last()
}

/// A member that is a string.
pub(super) fn string<'a>(object: Option<Value<'a>>, name: &str) -> Option<Cow<'a, str>> {
    member(object?, name)?.string()
}

/// An object with each member of that name replaced by this text, which is JSON; as it was where there is none.
pub(super) fn replaced(object: Value<'_>, name: &str, with: &str) -> String {
    let text = object.text();
    let mut out = String::with_capacity(text.len() + with.len());
    let mut copied = 0;
    for (key, value) in object.members() {
        if key.string().as_deref() == Some(name) {
            // Both are parts of the same text.
            let start = value.text().as_ptr() as usize - text.as_ptr() as usize;
            out.push_str(&text[copied..start]);
            out.push_str(with);
            copied = start + value.text().len();
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// An object with a member inside of a member replaced.
pub(super) fn replaced_within(object: Value<'_>, outer: &str, name: &str, with: &str) -> String {
    match member(object, outer) {
        Some(inner) => replaced(object, outer, &replaced(inner, name, with)),
        None => object.text().to_owned(),
    }
}

/// Any text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    String::from_utf8(out).expect("invariant: escaping text gives text")
}

pub(super) fn request(id: u64, method: &str, params: Option<&str>) -> String {
    one_line(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{}{}}}"#, quoted(method), with_params(params)))
}

pub(super) fn notification(method: &str, params: Option<&str>) -> String {
    one_line(format!(r#"{{"jsonrpc":"2.0","method":{}{}}}"#, quoted(method), with_params(params)))
}

fn with_params(params: Option<&str>) -> String {
    params.map(|params| format!(r#","params":{params}"#)).unwrap_or_default()
}

/// An answer; `id` and the value are JSON.
pub(super) fn result(id: &str, value: &str) -> String {
    one_line(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{value}}}"#))
}

pub(super) fn response(id: &str, outcome: Outcome<'_>) -> String {
    match outcome {
        Outcome::Result(value) => result(id, value.text()),
        Outcome::Error(error) => {
            one_line(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{}}}"#, error.text()))
        }
    }
}

/// Line breaks stand between tokens only: inside of strings they are escaped.
fn one_line(mut text: String) -> String {
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some() {
        text = text.replace(['\n', '\r'], " ");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let told = match messages(text) {
            Ok(list) => list.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join("; "),
            Err(fault) => format!("{fault:?}"),
        };
        assert!(told.starts_with(expected), "{text} is {told}");
    }

    #[test]
    fn messages_are_told_apart() {
        check(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, r#"Ok(Request { id: "1", method: "ping""#);
        check(r#"{"jsonrpc":"2.0","method":"a"}"#, r#"Ok(Notification { method: "a""#);
        check(r#"{"jsonrpc":"2.0","id":"x","result":{}}"#, r#"Ok(Response { id: "\"x\"", outcome: Result("#);
        check(r#"{"jsonrpc":"2.0","id":"x","error":{}}"#, r#"Ok(Response { id: "\"x\"", outcome: Error("#);
        check(
            r#"[{"jsonrpc":"2.0","method":"a"},7]"#,
            r#"Ok(Notification { method: "a", params: None }); Err(Inv"#,
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "{", "nul", r#"{"jsonrpc":"2.0","id":1,"method":"a"}}"#, &"[".repeat(100)] {
            check(text, "Malformed");
        }
        for text in [
            "7",
            r#"{"id":1,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":7}"#,
            r#"{"jsonrpc":"2.0","result":1}"#,
        ] {
            check(text, "Err(Invalid)");
        }
        check("[]", "Invalid");
        let long = format!("[{}7]", "7,".repeat(BATCH_REQUESTS_MAX));
        check(&long, "Invalid");
        let id = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"a"}}"#, "x".repeat(ID_BYTES_MAX));
        check(&id, "Err(Invalid)");
    }

    #[test]
    fn a_member_is_replaced_wherever_it_is_said_and_all_else_stays() {
        let object =
            whole(r#" { "a" : 1 , "name":"x", "b":[1e400, {"name":2}],"n\u0061me" : {} } "#).unwrap();
        assert_eq!(
            replaced(object, "name", "7"),
            r#"{ "a" : 1 , "name":7, "b":[1e400, {"name":2}],"n\u0061me" : 7 }"#
        );
        assert_eq!(replaced(object, "other", "7"), object.text());
        let nested = whole(r#"{"_meta":{"k":1,"progressToken":"t"}}"#).unwrap();
        let told = replaced_within(nested, "_meta", "progressToken", "9");
        assert_eq!(told, r#"{"_meta":{"k":1,"progressToken":9}}"#);
    }

    #[test]
    fn nobody_gets_two_lines_for_one_message() {
        let params = "{\n\"a\":\r\n1}";
        assert_eq!(
            request(1, "m", Some(params)),
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{ "a":  1}}"#
        );
        assert_eq!(result("2", "[\n]"), r#"{"jsonrpc":"2.0","id":2,"result":[ ]}"#);
    }
}
