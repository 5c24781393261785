//! Methods that are none of the gateway's own, which a backend may have: `prefix/rest`. PURE.
//!
//! Invariants: a method's name is printable ASCII that stands in JSON as it is; its parameters are one valid JSON object or array.

use std::borrow::Cow;

use super::errors::Failure;
use super::scan::Value;
use crate::model::call::TraceParent;

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
