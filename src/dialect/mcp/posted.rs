//! What one text of a client holds, as far as its way of carriage must know. PURE. Home: the control thread.

use super::errors::Failure;
use super::message::{Fault, Message, Outcome, messages, quoted, string};
use super::version::Revision;

/// A text that holds messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// Each request has one; so has what is no message among others.
    pub answers: usize,
    pub has_initialize: bool,
    /// A tool is called, which may take long and have something to tell meanwhile.
    pub has_call: bool,
    /// There is nothing in it but requests that need no session before them.
    pub needs_no_session: bool,
}

/// Methods that a plain JSON-RPC client may call without `initialize`.
pub(super) fn needs_no_session(method: &str) -> bool {
    matches!(method, "ping" | "tools/list" | "tools/call")
}

/// What a text holds.
///
/// # Errors
/// It is no message: the answer, with id null.
pub fn posted(text: &str) -> Result<Posted, String> {
    let failure = |fault| match fault {
        Fault::Malformed => Failure::Malformed,
        Fault::Invalid => Failure::Invalid("not a JSON-RPC 2.0 message"),
    };
    let list = messages(text).map_err(|fault| failure(fault).answer("null"))?;
    let mut posted = Posted { needs_no_session: true, ..Posted::default() };
    let is_single = list.len() == 1;
    for one in list {
        match one {
            Ok(Message::Request { method, .. }) => {
                posted.answers += 1;
                posted.has_initialize |= method == "initialize";
                posted.has_call |= method == "tools/call";
                posted.needs_no_session &= needs_no_session(&method);
            }
            Ok(Message::Notification { .. } | Message::Response { .. }) => posted.needs_no_session = false,
            Err(fault) if is_single => return Err(failure(fault).answer("null")),
            Err(_) => posted.answers += 1,
        }
    }
    Ok(posted)
}

/// The id of the request that a text is, as it is written there; none where it is something else.
#[must_use]
pub fn request_id(text: &str) -> Option<&str> {
    match messages(text).ok()?.into_iter().next()?.ok()? {
        Message::Request { id, .. } => Some(id),
        Message::Notification { .. } | Message::Response { .. } => None,
    }
}

/// The revision that an answer to `initialize` names.
#[must_use]
pub fn negotiated(text: &str) -> Option<Revision> {
    match messages(text).ok()?.into_iter().next()?.ok()? {
        Message::Response { outcome: Outcome::Result(result), .. } => {
            Revision::parse(&string(Some(result), "protocolVersion")?)
        }
        Message::Request { .. } | Message::Notification { .. } | Message::Response { .. } => None,
    }
}

/// Whether a text is, or has in it, the answer to the request of this id.
#[must_use]
pub fn is_answer_to(text: &str, id: &str) -> bool {
    let list = messages(text).unwrap_or_default();
    list.iter().any(|one| matches!(one, Ok(Message::Response { id: answered, .. }) if *answered == id))
}

/// The answer to a request that its backend's HTTP refused or lost; `id` is JSON.
#[must_use]
pub fn answer_lost(id: &str, why: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":{},"data":{{"reason":"backend_lost"}}}}}}"#,
        quoted(why)
    )
}
