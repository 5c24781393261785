//! JSON-RPC 2.0 between the gateway and a backend: requests as they are written, and what its answers say. PURE.
//!
//! Invariants: what is told as a result or an error is one valid JSON value; an id is ours only if it is a number that [`WireId`] could
//! have written.

use crate::dialect::json_rpc::scan::{Kind, Malformed, Place, SCAN_DEPTH_MAX, Scanner, Value};

/// The id of a call on the way to its backend and back; below 2^53, so that every JSON reader has it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireId(u64);

/// The low bits of a [`WireId`]: a slot in a table. The rest is its generation.
pub const WIRE_SLOT_BITS: u32 = 20;
const GENERATION_BITS: u32 = 32;
const _: () = assert!(WIRE_SLOT_BITS + GENERATION_BITS < 53);

impl WireId {
    /// # Panics
    /// The slot has more than [`WIRE_SLOT_BITS`] bits: our own bug.
    #[must_use]
    pub const fn new(slot: u32, generation: u32) -> WireId {
        assert!(slot >> WIRE_SLOT_BITS == 0, "a slot of the table of calls");
        WireId((generation as u64) << WIRE_SLOT_BITS | slot as u64)
    }

    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
    pub const fn slot(self) -> u32 {
        self.0 as u32 & ((1 << WIRE_SLOT_BITS) - 1)
    }

    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "`of` takes no more")]
    pub const fn generation(self) -> u32 {
        (self.0 >> WIRE_SLOT_BITS) as u32
    }

    const fn of(number: u64) -> Option<WireId> {
        if number >> (WIRE_SLOT_BITS + GENERATION_BITS) == 0 { Some(WireId(number)) } else { None }
    }
}

/// What a backend says, as it stands in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// One valid JSON value.
    Result { id: WireId, result: &'a [u8] },
    /// A valid JSON object with `code` and `message`.
    Error { id: WireId, error: &'a [u8] },
    /// An answer to a request of ours that says neither, or both, or an error that is none.
    Garbled { id: WireId },
    /// How far a request of ours is: one valid JSON value.
    Progress { id: WireId, value: &'a [u8] },
    /// Another notification.
    Told,
    /// A request to us, which has this id.
    Asked { id: &'a str },
    /// Valid JSON that is no message for us: an answer to no request that can be ours.
    Stray,
}

/// The line is no JSON object or array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

/// Appends a request, or, without an id, a notification: one JSON object without an end of line.
pub fn write_call(
    out: &mut Vec<u8>,
    id: Option<WireId>,
    method: &str,
    params: Option<&[u8]>,
    trace_parent: Option<&str>,
) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
    if let Some(id) = id {
        out.extend_from_slice(b"\"id\":");
        out.extend_from_slice(itoa::Buffer::new().format(id.0).as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(b"\"method\":\"");
    out.extend_from_slice(method.as_bytes());
    out.push(b'"');
    if let Some(params) = params {
        out.extend_from_slice(b",\"params\":");
        let begin = out.len();
        out.extend_from_slice(params);
        // Between two tokens a line break says the same as a space, and inside of a string there is none.
        while let Some(at) = memchr::memchr2(b'\n', b'\r', &out[begin..]) {
            out[begin + at] = b' ';
        }
    }
    if let Some(trace_parent) = trace_parent.filter(|text| is_trace_parent(text)) {
        out.extend_from_slice(b",\"traceparent\":\"");
        out.extend_from_slice(trace_parent.as_bytes());
        out.push(b'"');
    }
    out.push(b'}');
}

/// Appends the notification that nobody waits for a request's answer any more, as the Language Server Protocol has it.
pub fn write_cancel(out: &mut Vec<u8>, id: WireId) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"method\":\"$/cancelRequest\",\"params\":{\"id\":");
    out.extend_from_slice(itoa::Buffer::new().format(id.0).as_bytes());
    out.extend_from_slice(b"}}");
}

/// Appends the answer to a request of the backend: the gateway has no methods for it.
pub fn write_not_found(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}");
}

/// Takes each message of a line: one, or those of an array.
///
/// # Errors
/// It is neither; nothing was taken then.
pub fn read(line: &[u8], take: &mut dyn FnMut(Message<'_>)) -> Result<(), Garbage> {
    let text = simdutf8::basic::from_utf8(line).map_err(|_| Garbage)?;
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    if scanner.peek() == Some(b'{') {
        let message = object(&mut scanner).map_err(|Malformed| Garbage)?;
        if !scanner.is_at_end() {
            return Err(Garbage);
        }
        take(message);
        return Ok(());
    }
    let array = scanner.value(SCAN_DEPTH_MAX).map_err(|Malformed| Garbage)?;
    if !scanner.is_at_end() || array.kind() != Kind::Array {
        return Err(Garbage);
    }
    for element in array.elements() {
        take(object(&mut Scanner::new(element.text())).unwrap_or(Message::Stray));
    }
    Ok(())
}

/// The first id in a text that is no whole message, if it is one that we could have written: whose answer it may have been.
#[must_use]
pub fn id_in(text: &[u8]) -> Option<WireId> {
    let at = memchr::memmem::find(text, b"\"id\"")? + 4;
    let rest = text[at..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok().and_then(WireId::of)
}

/// The object that comes next.
fn object<'a>(scanner: &mut Scanner<'a>) -> Result<Message<'a>, Malformed> {
    let (mut id, mut result, mut error, mut method, mut params) = (None, None, None, None, None);
    if !scanner.open(b'{') {
        return Err(Malformed);
    }
    let mut place = Place::First;
    while let Some((key, value)) = scanner.member(&mut place, SCAN_DEPTH_MAX - 1)? {
        match key.text() {
            "\"id\"" => id = Some(value),
            "\"result\"" => result = Some(value),
            "\"error\"" => error = Some(value),
            "\"method\"" => method = Some(value),
            "\"params\"" => params = Some(value),
            _ => {}
        }
    }
    Ok(match method {
        Some(method) => classify_said(id, method, params),
        None => classify_answer(id, result, error),
    })
}

/// What has a method is no answer.
fn classify_said<'a>(id: Option<Value<'a>>, method: Value<'a>, params: Option<Value<'a>>) -> Message<'a> {
    match id {
        Some(id) if matches!(id.kind(), Kind::Number | Kind::String) => Message::Asked { id: id.text() },
        Some(_) => Message::Stray,
        None if method.text() == "\"$/progress\"" => {
            let member =
                |name: &str| params?.members().find(|(key, _)| key.text() == name).map(|(_, value)| value);
            match (member("\"token\"").and_then(Value::unsigned).and_then(WireId::of), member("\"value\"")) {
                (Some(id), Some(value)) => Message::Progress { id, value: value.text().as_bytes() },
                _ => Message::Told,
            }
        }
        None => Message::Told,
    }
}

fn classify_answer<'a>(
    id: Option<Value<'a>>,
    result: Option<Value<'a>>,
    error: Option<Value<'a>>,
) -> Message<'a> {
    let Some(id) = id.and_then(Value::unsigned).and_then(WireId::of) else { return Message::Stray };
    // Some still write the half that is not there, as JSON-RPC 1.0 had it.
    let is_there = |value: &Value<'_>| value.kind() != Kind::Null;
    match (result, error.filter(is_there)) {
        (Some(result), None) => Message::Result { id, result: result.text().as_bytes() },
        (result, Some(error)) if result.is_none_or(|result| !is_there(&result)) && is_error(error) => {
            Message::Error { id, error: error.text().as_bytes() }
        }
        (None, None) | (_, Some(_)) => Message::Garbled { id },
    }
}

/// JSON-RPC 2.0, 5.1: an object with a whole number for `code` and a string for `message`.
fn is_error(error: Value<'_>) -> bool {
    let has = |name: &str, fits: fn(Value<'_>) -> bool| {
        error.members().any(|(key, value)| key.text() == name && fits(value))
    };
    has("\"code\"", |code| code.text().parse::<i64>().is_ok())
        && has("\"message\"", |message| message.kind() == Kind::String)
}

/// Whether a text is a `traceparent` (W3C Trace Context): what else came of a client is not passed on.
fn is_trace_parent(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(id: Option<WireId>, params: Option<&[u8]>, trace_parent: Option<&str>) -> String {
        let mut out = Vec::new();
        write_call(&mut out, id, "risk/var", params, trace_parent);
        String::from_utf8(out).unwrap()
    }

    /// What a line says, in words.
    fn said(line: &str) -> Result<Vec<String>, Garbage> {
        let mut all = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        read(line.as_bytes(), &mut |message| {
            all.push(match message {
                Message::Result { id, result } => format!("{} result {}", id.0, text(result)),
                Message::Error { id, error } => format!("{} error {}", id.0, text(error)),
                Message::Garbled { id } => format!("{} garbled", id.0),
                Message::Progress { id, value } => format!("{} progress {}", id.0, text(value)),
                Message::Told => "told".to_owned(),
                Message::Asked { id } => format!("asked {id}"),
                Message::Stray => "stray".to_owned(),
            });
        })?;
        Ok(all)
    }

    fn one(line: &str) -> String {
        said(line).unwrap().join("; ")
    }

    #[test]
    fn a_request_is_written_as_the_client_wrote_its_parameters() {
        let id = Some(WireId::new(7, 0));
        let expected = r#"{"jsonrpc":"2.0","id":7,"method":"risk/var","params":{ "a" : 1 }}"#;
        assert_eq!(written(id, Some(b"{ \"a\" : 1 }"), None), expected);
        assert_eq!(written(None, None, None), r#"{"jsonrpc":"2.0","method":"risk/var"}"#);
    }

    #[test]
    fn a_request_is_one_line_whatever_space_its_parameters_have() {
        let params = b"[\n1,\r\n\"a\\n\"\n]";
        let expected = r#"{"jsonrpc":"2.0","method":"risk/var","params":[ 1,  "a\n" ]}"#;
        assert_eq!(written(None, Some(params), None), expected);
    }

    #[test]
    fn a_traceparent_is_passed_on_unless_it_is_none() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let expected = format!(r#"{{"jsonrpc":"2.0","method":"risk/var","traceparent":"{parent}"}}"#);
        assert_eq!(written(None, None, Some(parent)), expected);
        assert_eq!(written(None, None, Some("00-\",\"id\":1")), written(None, None, None));
    }

    #[test]
    fn an_id_carries_slot_and_generation_and_is_exact_in_every_reader() {
        let id = WireId::new((1 << WIRE_SLOT_BITS) - 1, u32::MAX);
        assert_eq!((id.slot(), id.generation()), ((1 << WIRE_SLOT_BITS) - 1, u32::MAX));
        assert!(id.0 < 1 << 53);
        assert_eq!(WireId::of(id.0), Some(id));
        assert_eq!(WireId::of(1 << 52), None);
    }

    #[test]
    fn answers_are_told_as_they_stand() {
        assert_eq!(one(r#"{"jsonrpc":"2.0","id":5,"result":{"x":[1, 2]}}"#), r#"5 result {"x":[1, 2]}"#);
        assert_eq!(one(r#" { "result" : null , "id" : 5 } "#), "5 result null");
        let error = r#"{"code":-32000,"message":"no","data":[]}"#;
        assert_eq!(one(&format!(r#"{{"id":5,"error":{error}}}"#)), format!("5 error {error}"));
        assert_eq!(one(&format!(r#"{{"id":5,"result":null,"error":{error}}}"#)), format!("5 error {error}"));
        assert_eq!(one(r#"{"id":5,"result":1,"error":null}"#), "5 result 1");
    }

    #[test]
    fn an_answer_that_says_neither_or_both_or_no_error_is_garbled() {
        for line in [
            r#"{"id":5}"#,
            r#"{"id":5,"error":null}"#,
            r#"{"id":5,"result":1,"error":{"code":1,"message":"x"}}"#,
            r#"{"id":5,"error":"no"}"#,
            r#"{"id":5,"error":{"code":"1","message":"x"}}"#,
            r#"{"id":5,"error":{"code":1}}"#,
        ] {
            assert_eq!(one(line), "5 garbled", "{line}");
        }
    }

    #[test]
    fn what_answers_no_request_of_ours_is_a_stray() {
        for line in [
            r#"{"id":null,"error":{"code":-32700,"message":"Parse error"}}"#,
            r#"{"result":1}"#,
            r#"{"id":"5","result":1}"#,
            r#"{"id":5.0,"result":1}"#,
            r#"{"id":-5,"result":1}"#,
            r#"{"id":99999999999999999999,"result":1}"#,
            "{}",
        ] {
            assert_eq!(one(line), "stray", "{line}");
        }
    }

    #[test]
    fn notifications_and_requests_of_the_backend_are_told_from_answers() {
        assert_eq!(one(r#"{"jsonrpc":"2.0","method":"progress","params":{}}"#), "told");
        assert_eq!(one(r#"{"id":"x\"y","method":"roots/list"}"#), r#"asked "x\"y""#);
        assert_eq!(one(r#"{"id":{},"method":"roots/list"}"#), "stray");
        let mut out = Vec::new();
        write_not_found(&mut out, "\"x\"");
        let not_found = r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32601,"message":"Method not found"}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), not_found);
    }

    #[test]
    fn how_far_a_call_is_is_told_with_the_number_of_its_request() {
        let told = |params: &str| one(&format!(r#"{{"method":"$/progress","params":{params}}}"#));
        assert_eq!(told(r#"{"token":5,"value":{"done":0.5}}"#), r#"5 progress {"done":0.5}"#);
        for params in [r#"{"token":"5","value":1}"#, r#"{"token":5}"#, "[5,1]", "null"] {
            assert_eq!(told(params), "told", "{params}");
        }
    }

    #[test]
    fn an_array_is_its_messages() {
        assert_eq!(one(r#"[{"id":1,"result":1}, {"id":2,"result":[]},3]"#), "1 result 1; 2 result []; stray");
        assert_eq!(one("[]"), "");
    }

    #[test]
    fn what_is_no_object_or_array_is_garbage_and_takes_nothing() {
        for line in
            ["", "1", "\"x\"", "{", "{\"id\":1,\"result\":1}x", "[{\"id\":1,\"result\":1}", "[1]2", "{\"a\"}"]
        {
            assert_eq!(said(line), Err(Garbage), "{line}");
        }
        assert_eq!(read(b"{\"id\":1,\"result\":\"\xff\"}", &mut |_| panic!()), Err(Garbage));
    }

    #[test]
    fn the_id_of_what_is_damaged_is_found_where_it_can_be() {
        assert_eq!(id_in(br#"{"jsonrpc":"2.0","id" : 77 ,"result":{"a"#), WireId::of(77));
        for text in [&br#"{"jsonrpc":"2.0","id":77"#[..], br#"{"id":"77","result"#, b"rubbish", b""] {
            assert_eq!(id_in(text), None);
        }
    }

    #[test]
    fn a_cancellation_names_the_request() {
        let mut out = Vec::new();
        write_cancel(&mut out, WireId::new(3, 0));
        assert_eq!(out, br#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":3}}"#);
    }

    proptest! {
        #[test]
        fn whatever_is_told_is_valid_json(line in "[\\[\\]{}\":,a-e0-9 \\\\]{0,40}|(\\{\"id\":[0-9],\"(result|error)\":[\\[\\]{}\":,0-9a-z]{0,20}\\})") {
            let valid = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
            let _ = read(line.as_bytes(), &mut |message| match message {
                Message::Result { result: told, .. }
                | Message::Error { error: told, .. }
                | Message::Progress { value: told, .. } => assert!(valid(told)),
                Message::Asked { id } => assert!(valid(id.as_bytes())),
                Message::Garbled { .. } | Message::Told | Message::Stray => {}
            });
        }
    }
}
