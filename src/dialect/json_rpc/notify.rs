//! Notifications: the frame around an event's data, topics and heartbeats. PURE. Home: the topic's home, which encodes
//! each event once for all subscribers; so the bytes hold nothing of any one connection.

use super::text::{push, push_string, push_unsigned};
use crate::model::channel::PLATFORM_STATE;
use crate::model::ids::{Epoch, Seq};

/// Starts a notification; the event's data comes next. `channel` is in the channel's own spelling, which has no
/// character that JSON escapes.
pub fn open_notification(out: &mut Vec<u8>, channel: &[u8]) {
    debug_assert!(
        channel.iter().all(|byte| (0x20..0x7f).contains(byte) && !matches!(byte, b'"' | b'\\')),
        "a channel is plain ASCII by its grammar"
    );
    push(out, "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"channel\":\"");
    out.extend_from_slice(channel);
    push(out, "\",\"data\":");
}

/// Ends a notification with its place in the channel's stream and the nanoseconds since 1970 at which its home
/// stamped it.
pub fn close_notification(out: &mut Vec<u8>, epoch: Epoch, seq: Seq, unix_ns: u64) {
    write_place(out, epoch, seq);
    write_stamp(out, unix_ns);
}

/// The same of a private channel, whose sequence is its account's: `prev_seq` is the place of the channel's event before it.
pub fn close_private_notification(out: &mut Vec<u8>, epoch: Epoch, seq: Seq, prev_seq: Seq, unix_ns: u64) {
    write_place(out, epoch, seq);
    push(out, ",\"prev_seq\":");
    push_unsigned(out, prev_seq.0);
    write_stamp(out, unix_ns);
}

fn write_place(out: &mut Vec<u8>, epoch: Epoch, seq: Seq) {
    push(out, ",\"epoch\":");
    push_unsigned(out, epoch.0);
    push(out, ",\"seq\":");
    push_unsigned(out, seq.0);
}

fn write_stamp(out: &mut Vec<u8>, unix_ns: u64) {
    push(out, ",\"ns\":");
    push_unsigned(out, unix_ns);
    push(out, "}}");
}

/// The data of a topic: one JSON value byte for byte as its publisher wrote it. `decode` has validated it.
pub fn write_topic(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(json);
}

/// A whole notification of `platform_state`: the server is about to go. It has no place, being no event of a stream.
pub fn write_maintenance(out: &mut Vec<u8>, unix_ns: u64) {
    open_notification(out, PLATFORM_STATE.as_bytes());
    push(out, "{\"maintenance\":true}");
    write_stamp(out, unix_ns);
}

/// A whole notification that this is the connection's last word, for those whose framing has no close frame: the code is one of RFC
/// 6455's or of ours.
pub fn write_closing(out: &mut Vec<u8>, code: u16, reason: &str) {
    push(out, "{\"jsonrpc\":\"2.0\",\"method\":\"close\",\"params\":{\"code\":");
    push_unsigned(out, u64::from(code));
    push(out, ",\"reason\":");
    push_string(out, reason);
    push(out, "}}");
}

/// What a heartbeat asks of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Nothing: the server is there.
    Beat,
    /// To call `public/test`, else the connection is closed.
    TestRequest,
}

/// A whole heartbeat notification.
pub fn write_heartbeat(out: &mut Vec<u8>, heartbeat: Heartbeat) {
    push(
        out,
        match heartbeat {
            Heartbeat::Beat => {
                "{\"jsonrpc\":\"2.0\",\"method\":\"heartbeat\",\"params\":{\"type\":\"heartbeat\"}}"
            }
            Heartbeat::TestRequest => {
                "{\"jsonrpc\":\"2.0\",\"method\":\"heartbeat\",\"params\":{\"type\":\"test_request\"}}"
            }
        },
    );
}
