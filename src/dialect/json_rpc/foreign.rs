//! Methods that are none of the gateway's own, which a backend may have: `prefix/rest`. PURE.
//!
//! Invariants: a method's name is printable ASCII that stands in JSON as it is; its parameters are one valid JSON object or array.

use std::borrow::Cow;

use super::errors::Failure;
use super::scan::{SCAN_DEPTH_MAX, Scanner, Value};
use crate::model::call::TraceParent;
use crate::model::order::{LABEL_BYTES_MAX, Label};

/// Bytes of a method's name: it is compared with routes, kept and sent on.
pub const METHOD_BYTES_MAX: usize = 128;

/// Prefixes of the gateway's own methods, whether or not it has one of that name.
const OWN_PREFIXES: [&str; 6] = ["public", "private", "message", "group", "presence", "topic"];

/// A call of a method that a backend may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignCall<'a> {
    /// At most [`METHOD_BYTES_MAX`] bytes.
    pub method: Cow<'a, str>,
    /// One valid JSON object or array exactly as the client wrote it.
    pub params: Option<&'a [u8]>,
    /// The request's member of that name.
    pub trace_parent: Option<TraceParent<'a>>,
}

/// What is wrong with the name of a backend's method, or the start of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignFault {
    /// It has no `/` behind a prefix of `A-Z a-z 0-9 _ . -`, or more than [`METHOD_BYTES_MAX`] bytes, or others than printable
    /// ASCII without space, `"` and `\`.
    Form,
    /// The prefix is the gateway's own, or JSON-RPC's (`rpc.`, JSON-RPC 2.0 §8).
    Own,
}

/// Checks a method's name, or a start of one that goes beyond its prefix.
///
/// # Errors
/// Why no backend can have it.
pub fn check_foreign(name: &str) -> Result<(), ForeignFault> {
    let (prefix, _) = name.split_once('/').ok_or(ForeignFault::Form)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let is_printable = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if prefix.is_empty()
        || name.len() > METHOD_BYTES_MAX
        || !prefix.bytes().all(is_plain)
        || !name.bytes().all(is_printable)
    {
        return Err(ForeignFault::Form);
    }
    if OWN_PREFIXES.contains(&prefix) || prefix.starts_with("rpc.") {
        return Err(ForeignFault::Own);
    }
    Ok(())
}

/// What a backend's error object says as its `message`, as far as a label holds it, control characters left out.
#[must_use]
pub fn error_label(error: &[u8]) -> Option<Label> {
    let error = Scanner::new(std::str::from_utf8(error).ok()?).value(SCAN_DEPTH_MAX).ok()?;
    let (_, message) =
        error.members().find(|(name, _)| name.string().is_some_and(|name| name == "message"))?;
    let message = message.string()?;
    let mut text = String::new();
    for letter in message.chars().filter(|letter| !letter.is_control()) {
        if text.len() + letter.len_utf8() > LABEL_BYTES_MAX {
            break;
        }
        text.push(letter);
    }
    Label::parse(&text)
}

/// A call of what is no method of the gateway.
///
/// # Errors
/// No backend can have it either.
pub(super) fn foreign<'a>(
    name: Cow<'a, str>,
    params: Option<Value<'a>>,
    trace_parent: Option<Value<'a>>,
) -> Result<ForeignCall<'a>, Failure> {
    match check_foreign(&name) {
        Ok(()) => Ok(ForeignCall {
            method: name,
            params: params.map(|params| params.text().as_bytes()),
            trace_parent: trace_parent.and_then(|text| match text.string()? {
                Cow::Borrowed(text) => TraceParent::parse(text),
                // It has nothing to escape.
                Cow::Owned(_) => None,
            }),
        }),
        Err(ForeignFault::Form | ForeignFault::Own) => Err(Failure::METHOD_NOT_FOUND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_message_is_told_as_far_as_a_label_holds_it() {
        let told = |error: &str| error_label(error.as_bytes()).map(|label| label.as_str().to_owned());
        assert_eq!(told(r#"{"code":-1,"message":"no such book"}"#).as_deref(), Some("no such book"));
        assert_eq!(told(r#"{"message":"a\n\u0000b\u00e9"}"#).as_deref(), Some("abé"));
        let long = format!(r#"{{"message":"{}éé"}}"#, "x".repeat(63));
        assert_eq!(told(&long), Some("x".repeat(63)), "a letter is told whole or not at all");
        for nothing in [r#"{"message":""}"#, r#"{"message":7}"#, r#"{"code":1}"#, "7", "", "{", "\u{7f}"] {
            assert_eq!(told(nothing), None, "{nothing}");
        }
        assert_eq!(error_label(b"{\"message\":\"\xff\"}"), None);
    }
}
