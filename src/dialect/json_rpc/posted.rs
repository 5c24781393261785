//! What an operator posts to be published: the same JSON as a client's `topic/publish` may hold, by the same scanner. PURE.

use std::borrow::Cow;

use super::envelope::JSON_DEPTH_MAX;
use super::params::{param, take};
use super::scan::{Kind, Scanner};

/// A message and its channel, which is not looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted<'a> {
    pub channel: Cow<'a, str>,
    /// One JSON value exactly as it was written.
    pub payload: &'a [u8],
}

/// Reads `{"topic": …, "payload": …}`.
///
/// # Errors
/// What is wrong with it.
pub fn posted(body: &[u8]) -> Result<Posted<'_>, &'static str> {
    const SHAPE: &str = "the body is {\"topic\": \"topic.NAME\", \"payload\": any JSON}";
    let text = simdutf8::basic::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    // As deep as what a client publishes, which has its request around it.
    let object = scanner.value(JSON_DEPTH_MAX - 1).map_err(|_| "the body is not JSON, or too deep")?;
    if !scanner.is_at_end() || object.kind() != Kind::Object {
        return Err(SHAPE);
    }
    let [channel, payload] =
        take(Some(object), ["topic", "payload"]).map_err(|_| "a member of the body is given twice")?;
    let channel = param("topic", channel).required_text().map_err(|_| SHAPE)?;
    Ok(Posted { channel, payload: payload.ok_or(SHAPE)?.text().as_bytes() })
}
