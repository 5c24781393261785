//! Replies: the frame around a value, errors, batches, and the small values. PURE. A reply is `open_result`, a value,
//! perhaps `write_resumed` and `write_places`, `close_reply`; or `write_error` alone.

use super::envelope::Id;
use super::errors::{Detail, Failure};
use super::text::{push, push_list, push_string, push_unsigned};
use crate::model::encoding::Form;
use crate::model::ids::Position;

/// How a connection's replies tell time; asked for in `public/hello`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// `usIn`, `usOut` and `usDiff`, as Deribit has them.
    #[default]
    Microseconds,
    /// The same, and `usInNs` and `usOutNs` in nanoseconds.
    Nanoseconds,
}

/// When a request came in and its reply went out, both in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    pub in_unix_ns: u64,
    pub out_unix_ns: u64,
    pub precision: Precision,
}

/// Whether a resumed channel goes on without a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// All that was missed follows.
    Recovered,
    /// History does not reach back that far: the channel starts over, with a snapshot where it has one.
    Lost,
}

/// Starts a reply; the result's value comes next.
pub fn open_result(out: &mut Vec<u8>, id: Id<'_>) {
    push(out, "{\"jsonrpc\":\"2.0\",\"id\":");
    push(out, id.as_str());
    push(out, ",\"result\":");
}

/// Starts a reply that is an error; the error object comes next.
pub fn open_error(out: &mut Vec<u8>, id: Id<'_>) {
    push(out, "{\"jsonrpc\":\"2.0\",\"id\":");
    push(out, id.as_str());
    push(out, ",\"error\":");
}

/// Ends a reply.
pub fn close_reply(out: &mut Vec<u8>, stamps: Stamps) {
    let (in_us, out_us) = (stamps.in_unix_ns / 1000, stamps.out_unix_ns / 1000);
    push(out, ",\"usIn\":");
    push_unsigned(out, in_us);
    push(out, ",\"usOut\":");
    push_unsigned(out, out_us);
    push(out, ",\"usDiff\":");
    push_unsigned(out, out_us.saturating_sub(in_us));
    match stamps.precision {
        Precision::Microseconds => {}
        Precision::Nanoseconds => {
            push(out, ",\"usInNs\":");
            push_unsigned(out, stamps.in_unix_ns);
            push(out, ",\"usOutNs\":");
            push_unsigned(out, stamps.out_unix_ns);
        }
    }
    push(out, ",\"testnet\":false}");
}

/// A whole error reply.
pub fn write_error(out: &mut Vec<u8>, id: Id<'_>, failure: Failure, stamps: Stamps) {
    open_error(out, id);
    push(out, "{\"code\":");
    push(out, itoa::Buffer::new().format(failure.code));
    push(out, ",\"message\":");
    push_string(out, failure.message);
    write_error_data(out, failure);
    out.push(b'}');
    close_reply(out, stamps);
}

fn write_error_data(out: &mut Vec<u8>, failure: Failure) {
    let mut next = ",\"data\":{";
    for (name, text) in [("reason", failure.reason), ("param", failure.param)] {
        let Some(text) = text else { continue };
        push(out, std::mem::replace(&mut next, ","));
        push_string(out, name);
        out.push(b':');
        push_string(out, text);
    }
    match failure.detail {
        Detail::None => {}
        Detail::Credits { credits_left, retry_after_ms } => {
            push(out, std::mem::replace(&mut next, ","));
            push(out, "\"credits_left\":");
            push_unsigned(out, u64::from(credits_left));
            push(out, ",\"retry_after_ms\":");
            push_unsigned(out, u64::from(retry_after_ms));
        }
        Detail::Order(order) => {
            push(out, std::mem::replace(&mut next, ","));
            push(out, "\"order_id\":\"");
            push_unsigned(out, order.0);
            out.push(b'"');
        }
    }
    if next == "," {
        out.push(b'}');
    }
}

/// The notification that a request has come so far, in the Language Server Protocol's form; `value` is one valid JSON value.
pub fn write_progress(out: &mut Vec<u8>, id: Id<'_>, value: &[u8]) {
    push(out, "{\"jsonrpc\":\"2.0\",\"method\":\"$/progress\",\"params\":{\"token\":");
    push(out, id.as_str());
    push(out, ",\"value\":");
    out.extend_from_slice(value);
    push(out, "}}");
}

/// The array of a batch's replies. Nothing is written where no entry was: a batch of notifications has no reply.
#[derive(Debug, Default)]
pub struct BatchReply {
    entries_count: usize,
}

impl BatchReply {
    /// Call before each reply.
    pub fn open_entry(&mut self, out: &mut Vec<u8>) {
        out.push(if self.entries_count == 0 { b'[' } else { b',' });
        self.entries_count += 1;
    }

    /// Call after the last reply.
    pub fn close(self, out: &mut Vec<u8>) {
        if self.entries_count > 0 {
            out.push(b']');
        }
    }
}

/// The result of `set_heartbeat`, `disable_heartbeat` and `unsubscribe_all`.
pub fn write_ok(out: &mut Vec<u8>) {
    push(out, "\"ok\"");
}

/// The result of `test`, and of a `hello` that asks for no encoding: this crate's version.
pub fn write_version(out: &mut Vec<u8>) {
    push(out, concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}"));
}

/// The result of a `hello` that asks for an encoding, which the connection has from here on: who passes over what it does not know would
/// not say so.
pub fn write_agreement(out: &mut Vec<u8>, form: Form) {
    push(out, concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\",\"encoding\":\""));
    push(out, form.encoding().as_str());
    push(out, if form.is_batched() { "\",\"batch\":true}" } else { "\"}" });
}

/// The result of `get_time`: milliseconds since 1970.
pub fn write_time(out: &mut Vec<u8>, unix_ns: u64) {
    push_unsigned(out, unix_ns / 1_000_000);
}

/// The result of `topic/publish`: the place that the event got.
pub fn write_position(out: &mut Vec<u8>, position: Position) {
    push(out, "{\"epoch\":");
    push_unsigned(out, position.epoch.0);
    push(out, ",\"seq\":");
    push_unsigned(out, position.seq.0);
    out.push(b'}');
}

/// The result of `subscribe` and `unsubscribe`: the channels concerned, as the client wrote them.
pub fn write_channels<'c>(out: &mut Vec<u8>, channels: impl IntoIterator<Item = &'c str>) {
    out.push(b'[');
    push_list(out, channels, push_string);
    out.push(b']');
}

/// After the result of a subscribe: `,"places":{"<channel>":{"epoch":1,"seq":2}}`.
pub fn write_places<'c>(out: &mut Vec<u8>, places: impl IntoIterator<Item = (&'c str, Position)>) {
    push(out, ",\"places\":{");
    push_list(out, places, |out, (channel, place)| {
        push_string(out, channel);
        out.push(b':');
        write_position(out, place);
    });
    out.push(b'}');
}

/// After the result of a subscribe with `resume`: `,"resumed":{"<channel>":{"recovered":true}}`.
pub fn write_resumed<'c>(out: &mut Vec<u8>, resumed: impl IntoIterator<Item = (&'c str, Recovery)>) {
    push(out, ",\"resumed\":{");
    push_list(out, resumed, |out, (channel, recovery)| {
        push_string(out, channel);
        push(
            out,
            match recovery {
                Recovery::Recovered => ":{\"recovered\":true}",
                Recovery::Lost => ":{\"recovered\":false}",
            },
        );
    });
    out.push(b'}');
}
