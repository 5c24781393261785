//! JSON-RPC 2.0 between the gateway and the backends of calls: requests as they are written, and what is said to them. PURE.
//!
//! Invariants: what is written is one valid JSON value without a line break; what is told as a result, an error or a value is one valid
//! JSON value, whatever was read. Nothing is allocated but room in `out`.

use crate::dialect::json_rpc::METHOD_BYTES_MAX;
use crate::dialect::json_rpc::scan::{Kind, Malformed, Place, SCAN_DEPTH_MAX, Scanner, Value};
use crate::limits;
use crate::model::call::{CallOutcome, TraceParent};
use crate::model::invalidation::Methods;

const _: () = assert!(limits::INVALIDATED_METHOD_BYTES_MAX == METHOD_BYTES_MAX + 1);

/// What a backend says, as it stands in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// An answer to the request of that number: its result or its error.
    Answer { id: u64, outcome: CallOutcome<'a> },
    /// An answer to that request that says neither, or both, or an error that is none.
    Garbled { id: u64 },
    /// How far the request of that number is: one valid JSON value (`$/progress`).
    Progress { id: u64, value: &'a [u8] },
    /// Results of its methods hold no more (`$/invalidateCache`): of those in this text, which [`read_methods`] takes, or of all.
    Invalidated { methods: Option<&'a str> },
    /// Another notification.
    Told,
    /// A request of its own, which has this id.
    Asked { id: &'a str },
    /// An object that is none of these: an answer to nothing that has a number.
    Stray,
}

/// The text is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

/// Appends a request, or, without a number, a notification. `method` is printable ASCII without `"` and `\`, as each is that a
/// configuration or a route takes; `params` is one valid JSON object or array. What is no `traceparent` is not passed on.
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
    out.extend_from_slice(br#","method":""#);
    out.extend_from_slice(method.as_bytes());
    out.push(b'"');
    if let Some(params) = params {
        out.extend_from_slice(br#","params":"#);
        write_on_one_line(out, params);
    }
    if let Some(trace_parent) = trace_parent.and_then(TraceParent::parse) {
        out.extend_from_slice(br#","traceparent":""#);
        out.extend_from_slice(trace_parent.as_str().as_bytes());
        out.push(b'"');
    }
    out.push(b'}');
}

/// Appends the notification that nobody waits for a request's answer any more, as the Language Server Protocol has it.
pub fn write_cancel(out: &mut Vec<u8>, id: u64) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"#);
    out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    out.extend_from_slice(b"}}");
}

/// Appends the answer to a request of the backend's own: the gateway has no methods for it. `id` is a JSON number or string.
pub fn write_not_found(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#","error":{"code":-32601,"message":"Method not found"}}"#);
}

/// Reads one message.
///
/// # Errors
/// The text is no JSON object.
pub fn read(text: &[u8]) -> Result<Message<'_>, Garbage> {
    message(&mut scanner(text)?)
}

/// Takes each message of a text: one, or those of an array.
///
/// # Errors
/// It is neither; nothing was taken then.
pub fn read_each<'a>(text: &'a [u8], take: &mut dyn FnMut(Message<'a>)) -> Result<(), Garbage> {
    let mut scanner = scanner(text)?;
    if scanner.peek() != Some(b'[') {
        take(message(&mut scanner)?);
        return Ok(());
    }
    let array = scanner.value(SCAN_DEPTH_MAX).map_err(|Malformed| Garbage)?;
    if !scanner.is_at_end() {
        return Err(Garbage);
    }
    for element in array.elements() {
        take(object(&mut Scanner::new(element.text())).unwrap_or(Message::Stray));
    }
    Ok(())
}

/// The methods of [`Message::Invalidated`]; `None` where they are no array of names and starts of names, or too many.
#[must_use]
pub fn read_methods(text: Option<&str>) -> Option<Methods> {
    let Some(text) = text else { return Some(Methods::any()) };
    let array = Scanner::new(text).value(SCAN_DEPTH_MAX).ok().filter(|value| value.kind() == Kind::Array)?;
    // One more than may be is as good as all.
    let patterns: Option<Vec<_>> =
        array.elements().take(limits::INVALIDATED_METHODS_MAX + 1).map(Value::string).collect();
    Methods::parse(patterns?.iter().map(AsRef::as_ref)).ok()
}

/// The request that a message seems to answer of which only the beginning is there, or is right.
#[must_use]
pub fn id_of_beginning(text: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(text, ID)?;
    let (before, behind) = (&text[..at], &text[at + ID.len()..]);
    let has = |name: &[u8]| memchr::memmem::find(before, name).is_some();
    // Of the message itself, not of something inside of it.
    let is_own = count(before, b'{') == 1 && !has(b"\"result\"") && !has(b"\"error\"");
    if is_own { number(behind) } else { None }
}

/// The request that a message seems to answer of which only the end is there.
#[must_use]
pub fn id_of_end(text: &[u8]) -> Option<u64> {
    let at = memchr::memmem::rfind(text, ID)?;
    let behind = text[at + ID.len()..].trim_ascii_end();
    // Nothing ends behind it but the message itself, or an array of which it is the last.
    let is_own = count(behind, b'{') == 0 && count(behind, b'}') == 1;
    let is_last = behind.ends_with(b"}") || behind.ends_with(b"}]");
    if is_own && is_last { number(behind) } else { None }
}

/// As the name of an object's member.
const ID: &[u8] = b"\"id\"";

fn count(text: &[u8], byte: u8) -> usize {
    memchr::memchr_iter(byte, text).count()
}

/// The whole number behind a member's name, if it is one and something follows.
fn number(behind: &[u8]) -> Option<u64> {
    let number = behind.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let end = number.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&number[..end]).ok()?.parse().ok()
}

/// Between two tokens a line break says the same as a space, and inside of a string there is none.
fn write_on_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b' ');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// At the first token of a text.
fn scanner(text: &[u8]) -> Result<Scanner<'_>, Garbage> {
    let mut scanner = Scanner::new(simdutf8::basic::from_utf8(text).map_err(|_| Garbage)?);
    scanner.skip_space();
    Ok(scanner)
}

/// The object that comes next, behind which nothing is.
fn message<'a>(scanner: &mut Scanner<'a>) -> Result<Message<'a>, Garbage> {
    let message = object(scanner).map_err(|Malformed| Garbage)?;
    if scanner.is_at_end() { Ok(message) } else { Err(Garbage) }
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
        None => classify_told(method, params),
    }
}

fn classify_told<'a>(method: Value<'a>, params: Option<Value<'a>>) -> Message<'a> {
    let member = |name: &str| params?.members().find(|(key, _)| key.text() == name).map(|(_, value)| value);
    match method.text() {
        // Some escape what need not be.
        r#""$/progress""# | r#""$\/progress""# => {
            match (member("\"token\"").and_then(Value::unsigned), member("\"value\"")) {
                (Some(id), Some(value)) => Message::Progress { id, value: value.text().as_bytes() },
                _ => Message::Told,
            }
        }
        r#""$/invalidateCache""# | r#""$\/invalidateCache""# => {
            Message::Invalidated { methods: member("\"methods\"").map(Value::text) }
        }
        _ => Message::Told,
    }
}

fn classify_answer<'a>(
    id: Option<Value<'a>>,
    result: Option<Value<'a>>,
    error: Option<Value<'a>>,
) -> Message<'a> {
    let Some(id) = id.and_then(Value::unsigned) else { return Message::Stray };
    // Some still write the half that is not there, as JSON-RPC 1.0 had it.
    let is_there = |value: &Value<'_>| value.kind() != Kind::Null;
    match (result, error.filter(is_there)) {
        (Some(result), None) => {
            Message::Answer { id, outcome: CallOutcome::Result(result.text().as_bytes()) }
        }
        (result, Some(error)) if result.is_none_or(|result| !is_there(&result)) && is_error(error) => {
            Message::Answer { id, outcome: CallOutcome::Error(error.text().as_bytes()) }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn written(id: Option<u64>, params: Option<&[u8]>, trace_parent: Option<&str>) -> String {
        let mut out = Vec::new();
        write_request(&mut out, id, "risk/var", params, trace_parent);
        String::from_utf8(out).unwrap()
    }

    fn words(message: Message<'_>) -> String {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match message {
            Message::Answer { id, outcome: CallOutcome::Result(result) } => {
                format!("{id} result {}", text(result))
            }
            Message::Answer { id, outcome: CallOutcome::Error(error) } => {
                format!("{id} error {}", text(error))
            }
            Message::Answer { outcome: CallOutcome::Failed(_), .. } => unreachable!("nobody writes that"),
            Message::Garbled { id } => format!("{id} garbled"),
            Message::Progress { id, value } => format!("{id} progress {}", text(value)),
            Message::Invalidated { methods } => read_methods(methods)
                .map_or("odd".to_owned(), |methods| format!("invalidated {:?}", methods.patterns())),
            Message::Told => "told".to_owned(),
            Message::Asked { id } => format!("asked {id}"),
            Message::Stray => "stray".to_owned(),
        }
    }

    fn one(text: &str) -> String {
        let words_of = words(read(text.as_bytes()).unwrap_or_else(|Garbage| panic!("{text}")));
        assert_eq!(each(text).as_deref(), Ok(std::slice::from_ref(&words_of)));
        words_of
    }

    fn each(text: &str) -> Result<Vec<String>, Garbage> {
        let mut all = Vec::new();
        read_each(text.as_bytes(), &mut |message| all.push(words(message)))?;
        Ok(all)
    }

    #[test]
    fn a_request_is_written_as_the_client_wrote_its_parameters() {
        let expected = r#"{"jsonrpc":"2.0","id":7,"method":"risk/var","params":{ "a" : 1 }}"#;
        assert_eq!(written(Some(7), Some(b"{ \"a\" : 1 }"), None), expected);
        assert_eq!(written(None, None, None), r#"{"jsonrpc":"2.0","method":"risk/var"}"#);
    }

    #[test]
    fn a_request_is_one_line_whatever_space_its_parameters_have() {
        let params = b"[\n1,\r\n\"a\\n\"\n]";
        let expected = r#"{"jsonrpc":"2.0","method":"risk/var","params":[ 1,  "a\n" ]}"#;
        assert_eq!(written(None, Some(params), None), expected);
    }

    /// What looks at each byte once for each line break before it would not come to an end here.
    #[test]
    fn millions_of_line_breaks_are_spaces() {
        let with = |space: u8| written(None, Some(&[b"[", &vec![space; 4 << 20][..], b"]"].concat()), None);
        assert!(with(b'\n') == with(b' '));
    }

    #[test]
    fn a_traceparent_is_passed_on_unless_it_is_none() {
        let expected = format!(r#"{{"jsonrpc":"2.0","method":"risk/var","traceparent":"{TRACE}"}}"#);
        assert_eq!(written(None, None, Some(TRACE)), expected);
        for none in ["00-1-2-03", "00-\",\"id\":1", ""] {
            assert_eq!(written(None, None, Some(none)), written(None, None, None), "{none}");
        }
    }

    #[test]
    fn a_cancellation_and_a_refusal_name_the_request() {
        let (mut cancel, mut not_found) = (Vec::new(), Vec::new());
        write_cancel(&mut cancel, 3);
        assert_eq!(cancel, br#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":3}}"#);
        write_not_found(&mut not_found, "\"x\"");
        let refused = r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32601,"message":"Method not found"}}"#;
        assert_eq!(String::from_utf8(not_found).unwrap(), refused);
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
        for text in [
            r#"{"id":5}"#,
            r#"{"id":5,"error":null}"#,
            r#"{"id":5,"result":1,"error":{"code":1,"message":"x"}}"#,
            r#"{"id":5,"error":"no"}"#,
            r#"{"id":5,"error":{"code":"1","message":"x"}}"#,
            r#"{"id":5,"error":{"code":1.5,"message":"x"}}"#,
            r#"{"id":5,"error":{"code":1}}"#,
        ] {
            assert_eq!(one(text), "5 garbled", "{text}");
        }
    }

    #[test]
    fn what_answers_no_request_of_ours_is_a_stray() {
        for text in [
            r#"{"id":null,"error":{"code":-32700,"message":"Parse error"}}"#,
            r#"{"result":1}"#,
            r#"{"id":"5","result":1}"#,
            r#"{"id":5.0,"result":1}"#,
            r#"{"id":-5,"result":1}"#,
            r#"{"id":99999999999999999999,"result":1}"#,
            "{}",
        ] {
            assert_eq!(one(text), "stray", "{text}");
        }
    }

    #[test]
    fn notifications_and_requests_of_the_backend_are_told_from_answers() {
        assert_eq!(one(r#"{"jsonrpc":"2.0","method":"progress","params":{}}"#), "told");
        assert_eq!(one(r#"{"id":3,"method":"x","result":1}"#), "asked 3");
        assert_eq!(one(r#"{"id":"x\"y","method":"roots/list"}"#), r#"asked "x\"y""#);
        assert_eq!(one(r#"{"id":{},"method":"roots/list"}"#), "stray");
    }

    #[test]
    fn a_backend_says_which_of_its_results_hold_no_more() {
        let told = |params: &str| one(&format!(r#"{{"method":"$/invalidateCache"{params}}}"#));
        assert_eq!(
            told(r#","params":{"methods":["risk/var","a\/*"]}"#),
            r#"invalidated ["risk/var", "a/*"]"#
        );
        for all in ["", r#","params":{}"#, r#","params":[]"#, r#","params":{"methods":["a/x","*"]}"#] {
            assert_eq!(told(all), r#"invalidated ["*"]"#, "{all}");
        }
        let many = vec!["\"a/x\""; limits::INVALIDATED_METHODS_MAX + 1].join(",");
        let many = format!("[{many}]");
        for odd in ["null", "\"a/x\"", "[]", "[1]", "[\"a/x\",null]", "[\"a b\"]", "[\"\"]", "{}", &many] {
            assert_eq!(told(&format!(r#","params":{{"methods":{odd}}}"#)), "odd", "{odd}");
        }
        assert_eq!(one(r#"{"id":1,"method":"$/invalidateCache"}"#), "asked 1");
    }

    #[test]
    fn how_far_a_call_is_is_told_with_the_number_of_its_request() {
        let told = |params: &str| one(&format!(r#"{{"method":"$/progress","params":{params}}}"#));
        assert_eq!(told(r#"{"token":5,"value":{"done":0.5}}"#), r#"5 progress {"done":0.5}"#);
        assert_eq!(one(r#"{"method":"$\/progress","params":{"value":1,"token":5}}"#), "5 progress 1");
        for params in [r#"{"token":"5","value":1}"#, r#"{"token":5}"#, "[5,1]", "null"] {
            assert_eq!(told(params), "told", "{params}");
        }
    }

    #[test]
    fn an_array_is_its_messages_and_no_message() {
        let text = r#"[{"id":1,"result":1}, {"id":2,"result":[]},3]"#;
        let all = ["1 result 1", "2 result []", "stray"].map(str::to_owned).to_vec();
        assert_eq!((each(text), read(text.as_bytes())), (Ok(all), Err(Garbage)));
        assert_eq!((each("[]"), read(b"[]")), (Ok(Vec::new()), Err(Garbage)));
    }

    #[test]
    fn what_is_no_object_or_array_is_garbage_and_takes_nothing() {
        for text in [
            "",
            "1",
            "\"x\"",
            "listening on port 3",
            "\u{feff}{}",
            "{",
            "{\"id\":1,\"result\":1}x",
            "[{\"id\":1,\"result\":1}",
            "[1]2",
            "{\"a\"}",
        ] {
            assert_eq!((each(text), read(text.as_bytes())), (Err(Garbage), Err(Garbage)), "{text}");
        }
        assert_eq!(read_each(b"{\"id\":1,\"result\":\"\xff\"}", &mut |_| panic!()), Err(Garbage));
    }

    #[test]
    fn the_beginning_of_a_long_answer_says_whose_it_is() {
        for (text, id) in [
            (&br#"{"jsonrpc":"2.0","id":41,"result":"xxxx"#[..], Some(41)),
            (br#"{"id" : 4 , "result":"#, Some(4)),
            (b"{\"id\":5,\"result\":\"\xc3", Some(5)),
            (br#"[{"id":6,"result":"#, Some(6)),
            (br#"{"result":{"id":4,"#, None),
            (br#"{"a":{"id":4,"#, None),
            (br#"{"id":4"#, None),
            (br#"{"id":"4","#, None),
            (b"xxxxxx", None),
            (b"", None),
        ] {
            assert_eq!(id_of_beginning(text), id, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn the_end_of_a_long_answer_says_whose_it_is() {
        for (text, id) in [
            (&br#"yyyy","id":41}"#[..], Some(41)),
            (b"\xa4\",\"id\" : 4, \"jsonrpc\":\"2.0\" } \r", Some(4)),
            (br#"y"},{"result":1,"id":6}]"#, Some(6)),
            (br#"y"},{"id":4}],"x":1}"#, None),
            (br#"y","x":{"id":4}}"#, None),
            (br#"y","x":[{"id":4}]}"#, None),
            (br#"y \"id\":4}"#, None),
            (br#"y","id":4"#, None),
            (br#"y","id":"4"}"#, None),
            (b"yyyyyy", None),
        ] {
            assert_eq!(id_of_end(text), id, "{}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_told_is_valid_json(text in "[\\[\\]{}\":,a-e0-9 \\\\]{0,40}|(\\{\"id\":[0-9],\"(result|error)\":[\\[\\]{}\":,0-9a-z]{0,20}\\})") {
            let valid = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
            let _ = read_each(text.as_bytes(), &mut |message| match message {
                Message::Answer { outcome: CallOutcome::Result(told) | CallOutcome::Error(told), .. }
                | Message::Progress { value: told, .. } => assert!(valid(told)),
                Message::Answer { outcome: CallOutcome::Failed(_), .. } => panic!("nobody says so"),
                Message::Asked { id } => assert!(valid(id.as_bytes())),
                Message::Invalidated { methods } => assert!(methods.is_none_or(|methods| valid(methods.as_bytes()))),
                Message::Garbled { .. } | Message::Told | Message::Stray => {}
            });
        }
    }
}
