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
    /// The request of that number goes on, and has come so far: one valid JSON value (`$/progress`).
    Progress { id: u64, value: &'a [u8] },
    /// A request of its own, which has this id.
    Asked { id: &'a str },
    /// Another notification: nobody asked for it.
    Told,
    /// No message of JSON-RPC.
    Garbage,
}

/// Appends a request, or, without a number, a notification. `params` is one valid JSON object or array, `trace_parent` a `traceparent`
/// of W3C Trace Context.
pub fn write_request(
    out: &mut Vec<u8>,
    id: Option<u64>,
    method: &str,
    params: Option<&[u8]>,
    trace_parent: Option<&str>,
) {
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
    if let Some(trace_parent) = trace_parent {
        out.extend_from_slice(br#","traceparent":"#);
        let trace_parent = serde_json::to_string(trace_parent).expect("invariant: text is a value of JSON");
        out.extend_from_slice(trace_parent.as_bytes());
    }
    out.push(b'}');
}

/// Appends the notification that nobody waits for a request's answer any more, as the Language Server Protocol has it.
pub fn write_cancel(out: &mut Vec<u8>, id: u64) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"#);
    out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    out.extend_from_slice(b"}}");
}

/// Appends the answer to a request of the backend's own: the gateway has no methods for it. `id` is one valid JSON value.
pub fn write_not_found(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend(id.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    out.extend_from_slice(br#","error":{"code":-32601,"message":"Method not found"}}"#);
}

/// Reads one message.
#[must_use]
pub fn read(text: &[u8]) -> Said<'_> {
    let Some(message) = std::str::from_utf8(text).ok().and_then(whole) else { return Said::Garbage };
    if message.kind() != Kind::Object {
        return Said::Garbage;
    }
    let (mut id, mut method, mut params, mut result, mut error) = (None, None, None, None, None);
    for (name, value) in message.members() {
        match name.string().as_deref() {
            Some("id") => id = Some(value),
            Some("method") => method = Some(value),
            Some("params") => params = Some(value),
            Some("result") => result = Some(value),
            Some("error") => error = Some(value),
            Some(_) | None => {}
        }
    }
    if let Some(method) = method {
        return match (id, method.string().as_deref()) {
            (Some(id), _) => Said::Asked { id: id.text() },
            (None, Some("$/progress")) => params.and_then(progress).unwrap_or(Said::Told),
            (None, _) => Said::Told,
        };
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

/// What `$/progress` says, of which request.
fn progress(params: Value<'_>) -> Option<Said<'_>> {
    let of = |wanted: &str| {
        params.members().find(|(name, _)| name.string().as_deref() == Some(wanted)).map(|(_, value)| value)
    };
    Some(Said::Progress { id: of("token")?.unsigned()?, value: of("value")?.text().as_bytes() })
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
        write_request(&mut out, id, method, params.map(str::as_bytes), None);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_request_is_one_line() {
        let line = r#"{"jsonrpc":"2.0","id":7,"method":"a/b","params":[1, "x"]}"#;
        assert_eq!(written(Some(7), "a/b", Some("[1,\n\"x\"]")).replace(",  ", ", "), line);
        assert_eq!(written(None, "a/\"", None), r#"{"jsonrpc":"2.0","method":"a/\""}"#);
        let mut out = Vec::new();
        write_request(&mut out, None, "a/b", None, Some("00-1-2-03"));
        assert_eq!(out, br#"{"jsonrpc":"2.0","method":"a/b","traceparent":"00-1-2-03"}"#);
        let (mut cancel, mut not_found) = (Vec::new(), Vec::new());
        write_cancel(&mut cancel, 7);
        assert_eq!(cancel, br#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":7}}"#);
        write_not_found(&mut not_found, "[1,\n2]");
        let refused =
            br#"{"jsonrpc":"2.0","id":[1, 2],"error":{"code":-32601,"message":"Method not found"}}"#;
        assert_eq!(not_found, refused);
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
            (r#"{"id":3,"method":"x","result":1}"#, Said::Asked { id: "3" }),
            (r#"{"method":"x","params":{"token":3,"value":1}}"#, Said::Told),
            (
                r#"{"method":"$/progress","params":{"value":[1],"token":3}}"#,
                Said::Progress { id: 3, value: b"[1]" },
            ),
            (r#"{"method":"$/progress","params":{"token":"3","value":1}}"#, Said::Told),
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
