//! Calls as the body of a POST, and what the body of its answer says of each. PURE.
//!
//! Invariants: one call is an object, several are an array, with numbers from 1 in their order; of a call at most one thing is told,
//! the first that was said.

use crate::backend::codec::{self, Message};
use crate::model::call::{CallFailure, CallOutcome};

/// A call as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Nobody waits for an answer: it gets no number.
    pub is_note: bool,
    pub method: &'a str,
    /// One valid JSON object or array.
    pub params: Option<&'a [u8]>,
    /// Written in an array only: one call's has a header of its own.
    pub trace_parent: Option<&'a str>,
}

/// The body for these calls, at least one.
#[must_use]
pub fn write<'a>(calls: impl ExactSizeIterator<Item = Request<'a>>) -> Vec<u8> {
    let mut out = Vec::new();
    let is_array = calls.len() > 1;
    for (number, Request { is_note, method, params, trace_parent }) in (1..).zip(calls) {
        out.extend_from_slice(match (is_array, number) {
            (false, _) => b"",
            (true, 1) => b"[",
            (true, _) => b",",
        });
        let id = (!is_note).then_some(number);
        codec::write_request(&mut out, id, method, params, trace_parent.filter(|_| is_array));
    }
    if is_array {
        out.push(b']');
    }
    out
}

/// Tells what an answer says of calls, by their places in the body that it is for, which had so many; how many it told of.
pub fn read(body: &[u8], asked: usize, tell: &mut dyn FnMut(usize, CallOutcome<'_>)) -> usize {
    let mut is_told = vec![false; asked];
    // What is neither an object nor an array tells nothing.
    let _ = codec::read_each(body, &mut |message| {
        let (id, outcome) = match message {
            Message::Answer { id, outcome } => (id, outcome),
            Message::Garbled { id } => (id, CallOutcome::Failed(CallFailure::Garbled)),
            Message::Progress { .. }
            | Message::Invalidated { .. }
            | Message::Told
            | Message::Asked { .. }
            | Message::Stray => return,
        };
        let place = id.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let Some(place) = place.filter(|place| is_told.get(*place) == Some(&false)) else { return };
        is_told[place] = true;
        tell(place, outcome);
    });
    is_told.into_iter().filter(|is_told| *is_told).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: Request<'_> =
        Request { is_note: true, method: "a/b", params: None, trace_parent: Some(PARENT) };
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn written(calls: &[Request<'_>]) -> String {
        String::from_utf8(write(calls.iter().copied())).unwrap()
    }

    /// What is told of three calls, in the order in which it is told.
    fn told(body: &str) -> Vec<String> {
        let mut all = Vec::new();
        let count = read(body.as_bytes(), 3, &mut |place, outcome| {
            let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
            all.push(match outcome {
                CallOutcome::Result(result) => format!("{place} {}", text(result)),
                CallOutcome::Error(error) => format!("{place} error {}", text(error)),
                CallOutcome::Failed(failure) => format!("{place} {failure:?}"),
            });
        });
        assert_eq!(count, all.len());
        all
    }

    #[test]
    fn one_call_is_an_object_and_several_are_an_array_by_numbers() {
        assert_eq!(written(&[NOTE]), r#"{"jsonrpc":"2.0","method":"a/b"}"#);
        let call = Request { is_note: false, method: "a/c", params: Some(b"[1]"), trace_parent: None };
        assert_eq!(written(&[call]), r#"{"jsonrpc":"2.0","id":1,"method":"a/c","params":[1]}"#);
        let array = format!(
            r#"[{{"jsonrpc":"2.0","method":"a/b","traceparent":"{PARENT}"}},{{"jsonrpc":"2.0","id":2,"method":"a/c","params":[1]}}]"#
        );
        assert_eq!(written(&[NOTE, call]), array);
    }

    #[test]
    fn answers_find_their_calls_in_any_order() {
        let error = r#"{"code":-7,"message":"no"}"#;
        let body = format!(r#"[{{"id":3,"result":[]}},{{"id":1,"error":{error}}},{{"id":2}}]"#);
        assert_eq!(told(&body), ["2 []", &format!("0 error {error}"), "1 Garbled"]);
        assert_eq!(told(r#" {"id":1,"result":null} "#), ["0 null"]);
    }

    #[test]
    fn what_answers_no_call_or_one_that_has_an_answer_is_nothing() {
        for (body, expected) in [
            (r#"[{"id":1,"result":1},{"id":1,"result":2}]"#, &["0 1"][..]),
            (r#"[{"id":0,"result":1},{"id":4,"result":1},{"id":18446744073709551615,"result":1},7]"#, &[]),
            (r#"{"id":null,"error":{"code":-32600,"message":"no arrays here"}}"#, &[]),
            (r#"[{"method":"x","id":1},{"method":"$/progress","params":{"token":1,"value":1}}]"#, &[]),
            (r#"[{"id":1,"result":1}"#, &[]),
            ("<html>", &[]),
            ("", &[]),
            ("[]", &[]),
        ] {
            assert_eq!(told(body), expected, "{body}");
        }
    }
}
