//! Calls that name their method outside of a request object, as HTTP's paths do, made into request objects. PURE.
//! Invariant: what is made is one valid request object of the named method, whatever the parameters are.

use std::borrow::Cow;

use super::envelope::JSON_DEPTH_MAX;
use super::errors::Failure;
use super::scan::{Kind, Scanner, Value};
use super::text::{push, push_list, push_string};

/// Parameters that are no strings. A text of another name is one, whatever it looks like: `client_version=1`.
const TYPED: [&str; 56] = [
    "after",
    "all",
    "amount",
    "batch",
    "channels",
    "checksum",
    "compress_from_bytes",
    "confirm",
    "content",
    "contracts",
    "count",
    "deadline",
    "delay_ms",
    "deliver_at",
    "depth",
    "detailed",
    "display_amount",
    "end_seq",
    "end_timestamp",
    "everybody",
    "expired",
    "extended",
    "historical",
    "id",
    "include_old",
    "include_unfilled",
    "interval",
    "invalidate_token",
    "lifetime_ms",
    "max_show",
    "message_ttl_ms",
    "mmp",
    "nanoseconds",
    "offset",
    "otoco_config",
    "post_only",
    "price",
    "receipts",
    "reduce_only",
    "reject_post_only",
    "reply_to",
    "resume",
    "session",
    "start_seq",
    "start_timestamp",
    "subaccount_id",
    "timeout",
    "timestamp",
    "topics",
    "trigger_offset",
    "trigger_price",
    "ttl_ms",
    "under_way_max",
    "users",
    "valid_until",
    "weight",
];

/// A call whose parameters are names with texts, as in a query.
#[must_use]
pub fn call_of_query(method: &str, params: &[(String, String)]) -> Vec<u8> {
    let mut call = open_call(method);
    call.push(b'{');
    push_list(&mut call, params, |out, (name, text)| {
        push_string(out, name);
        out.push(b':');
        match value_of(text.as_bytes()) {
            Some(value) if TYPED.contains(&name.as_str()) => push(out, value.text()),
            Some(_) | None => push_string(out, text),
        }
    });
    push(&mut call, "}}");
    call
}

/// A call whose parameters are the body; or a whole request object, which says so by its `jsonrpc`.
///
/// # Errors
/// The body is neither, or is of another method.
pub fn call_of_body<'b>(method: &str, body: &'b [u8]) -> Result<Cow<'b, [u8]>, Failure> {
    if body.trim_ascii().is_empty() {
        return Ok(Cow::Owned(call_of_query(method, &[])));
    }
    let value = value_of(body).ok_or(Failure::PARSE_ERROR)?;
    match value.kind() {
        Kind::Object => {}
        Kind::Array => return Err(Failure::INVALID_REQUEST.because("a batch goes to /api/v2")),
        Kind::String | Kind::Number | Kind::Boolean | Kind::Null => {
            return Err(Failure::INVALID_REQUEST.because("not an object"));
        }
    }
    let member =
        |name: &str| value.members().find(|(key, _)| key.string().as_deref() == Some(name)).map(|(_, it)| it);
    if member("jsonrpc").is_none() {
        let mut call = open_call(method);
        push(&mut call, value.text());
        call.push(b'}');
        return Ok(Cow::Owned(call));
    }
    if member("method").and_then(Value::string).as_deref() != Some(method) {
        return Err(Failure::INVALID_REQUEST.because("not the method of the path").at("method"));
    }
    Ok(Cow::Borrowed(body))
}

/// A request object up to the value of its `params`, with the id of what has none.
fn open_call(method: &str) -> Vec<u8> {
    let mut call = Vec::new();
    push(&mut call, "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":");
    push_string(&mut call, method);
    push(&mut call, ",\"params\":");
    call
}

/// The one JSON value that a text is, if it is one.
fn value_of(text: &[u8]) -> Option<Value<'_>> {
    let mut scanner = Scanner::new(simdutf8::basic::from_utf8(text).ok()?);
    let value = scanner.value(JSON_DEPTH_MAX - 1).ok()?;
    scanner.is_at_end().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::json_rpc::{Incoming, decode};

    fn params(query: &[(&str, &str)]) -> String {
        let pairs: Vec<(String, String)> =
            query.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let call = call_of_query("public/ticker", &pairs);
        let value: serde_json::Value = serde_json::from_slice(&call).unwrap();
        assert_eq!((&value["jsonrpc"], &value["method"]), (&"2.0".into(), &"public/ticker".into()));
        value["params"].to_string()
    }

    #[test]
    fn a_querys_texts_are_strings_but_for_parameters_of_another_type() {
        assert_eq!(params(&[]), "{}");
        assert_eq!(
            params(&[("instrument_name", "1"), ("depth", "5")]),
            r#"{"depth":5,"instrument_name":"1"}"#
        );
        assert_eq!(params(&[("expired", "true"), ("state", "true")]), r#"{"expired":true,"state":"true"}"#);
        assert_eq!(params(&[("channels", r#"["a"]"#)]), r#"{"channels":["a"]}"#);
        assert_eq!(
            params(&[("amount", "0.1"), ("price", "1e5"), ("post_only", "true"), ("order_id", "17")]),
            r#"{"amount":0.1,"order_id":"17","post_only":true,"price":100000.0}"#
        );
    }

    #[test]
    fn a_text_can_not_leave_its_place() {
        assert_eq!(params(&[("depth", r#"5,"x":1"#)]), r#"{"depth":"5,\"x\":1"}"#);
        assert_eq!(params(&[("depth", "5}"), ("count", "")]), r#"{"count":"","depth":"5}"}"#);
        assert_eq!(params(&[("a\":1,\"b", "\n")]), r#"{"a\":1,\"b":"\n"}"#);
        let call = call_of_query("public/x\",\"params\":{\"a", &[]);
        assert!(
            matches!(decode(&call), Incoming::Single(parsed) if parsed.call == Err(Failure::METHOD_NOT_FOUND))
        );
    }

    #[test]
    fn a_body_is_the_parameters_or_the_whole_request() {
        let call = |body: &str| {
            call_of_body("public/test", body.as_bytes())
                .map(|call| String::from_utf8(call.into_owned()).unwrap())
                .map_err(|failure| (failure.code, failure.reason))
        };
        let made = |params: &str| {
            Ok(format!(r#"{{"jsonrpc":"2.0","id":null,"method":"public/test","params":{params}}}"#))
        };
        assert_eq!(call(""), made("{}"));
        assert_eq!(call(" \r\n"), made("{}"));
        assert_eq!(call(r#" {"expected_result":"x"} "#), made(r#"{"expected_result":"x"}"#));
        let whole = r#"{"jsonrpc":"2.0","id":7,"method":"public/test"}"#;
        assert_eq!(call(whole), Ok(whole.to_owned()));
        let other = whole.replace("test", "get_time");
        assert_eq!(call(&other), Err((-32600, Some("not the method of the path"))));
        assert_eq!(call("{}}"), Err((-32700, None)));
        assert_eq!(call("[]"), Err((-32600, Some("a batch goes to /api/v2"))));
        assert_eq!(call("5"), Err((-32600, Some("not an object"))));
    }
}
