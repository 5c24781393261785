//! What clients are told of messages: notifications that carry them, receipts, presence, and the results of what was asked. PURE.
//! Times are milliseconds since 1970; what is absent is left out.

use super::text::{push, push_list, push_string, push_unsigned};
use crate::model::message::{
    DeadLetter, DeathCause, Delivery, GroupMember, Guarantee, MessageAnswer, MessageState, MessageStatus,
    Presence, Priority, Receipt, Via,
};
use crate::model::order::Label;

/// Bytes that a notification takes at most besides a message's content and what names take: its members with the longest numbers.
const FIXED_BYTES_MAX: usize = 384;

/// Bytes that the notification of a message takes at most.
#[must_use]
pub fn message_bytes_max(delivery: &Delivery) -> usize {
    let by = delivery.by.map(|by| match by {
        Via::Group(name) | Via::Topic(name) | Via::Type(name) => name,
    });
    let names = [Some(delivery.from), by, delivery.client_id].into_iter().flatten();
    FIXED_BYTES_MAX + names.map(label_bytes_max).sum::<usize>() + delivery.content.len()
}

/// The same of a receipt.
#[must_use]
pub fn receipt_bytes_max(receipt: &Receipt) -> usize {
    let MessageStatus { to, client_id, .. } = &receipt.status;
    FIXED_BYTES_MAX + label_bytes_max(*to) + client_id.map_or(0, label_bytes_max)
}

/// The same of a change of presence.
#[must_use]
pub fn presence_bytes_max(presence: &Presence) -> usize {
    FIXED_BYTES_MAX + label_bytes_max(presence.user)
}

/// A name has no control character: a quote or a backslash, which take two bytes, is the worst.
fn label_bytes_max(label: Label) -> usize {
    2 * label.as_str().len()
}

/// A whole notification with a message.
pub fn write_message(out: &mut Vec<u8>, delivery: &Delivery) {
    push(out, "{\"jsonrpc\":\"2.0\",\"method\":\"message\",\"params\":");
    write_delivery(out, delivery);
    out.push(b'}');
}

/// A message as its receiver sees it: one JSON object.
pub fn write_delivery(out: &mut Vec<u8>, delivery: &Delivery) {
    push(out, "{\"id\":");
    push_unsigned(out, delivery.message.0);
    write_label(out, "from", delivery.from);
    match delivery.by {
        Some(Via::Group(group)) => write_label(out, "group", group),
        Some(Via::Topic(topic)) => write_label(out, "topic", topic),
        Some(Via::Type(kind)) => write_label(out, "type", kind),
        None => {}
    }
    write_word(out, "priority", priority(delivery.priority));
    write_number(out, "attempt", delivery.attempt.into());
    write_flag(out, "redelivered", delivery.is_redelivered);
    write_flag(out, "confirm", delivery.confirm);
    write_number(out, "sent_at", delivery.sent_ms);
    write_optional(out, "deliver_at", delivery.deliver_at_ms);
    write_optional(out, "expires_at", delivery.expires_ms);
    delivery.client_id.into_iter().for_each(|id| write_label(out, "client_id", id));
    write_optional(out, "reply_to", delivery.reply_to.map(|message| message.0));
    push(out, ",\"content\":");
    out.extend_from_slice(&delivery.content);
    out.push(b'}');
}

/// A whole notification with what has become of a message.
pub fn write_receipt(out: &mut Vec<u8>, receipt: &Receipt) {
    push(out, "{\"jsonrpc\":\"2.0\",\"method\":\"message_receipt\",\"params\":{");
    write_status_members(out, &receipt.status);
    receipt.cause.into_iter().for_each(|cause| write_word(out, "cause", cause_word(cause)));
    write_number(out, "at", receipt.at_ms);
    push(out, "}}");
}

/// A whole notification that a user has come or gone.
pub fn write_presence_change(out: &mut Vec<u8>, presence: &Presence) {
    push(out, "{\"jsonrpc\":\"2.0\",\"method\":\"presence\",\"params\":{");
    write_presence_members(out, presence);
    push(out, "}}");
}

/// The result of a request about messages.
pub fn write_message_answer(out: &mut Vec<u8>, answer: &MessageAnswer) {
    match answer {
        MessageAnswer::Done => push(out, "\"ok\""),
        MessageAnswer::Subscribed { session, waiting } => {
            push(out, "{\"session\":");
            push_unsigned(out, session.0);
            write_number(out, "waiting", *waiting);
            out.push(b'}');
        }
        MessageAnswer::Accepted { first, count, state, is_repeated } => {
            push(out, "{\"id\":");
            push_unsigned(out, first.0);
            write_number(out, "count", (*count).into());
            write_word(out, "state", state_word(*state));
            write_flag(out, "repeated", *is_repeated);
            out.push(b'}');
        }
        MessageAnswer::Status(status) => {
            out.push(b'{');
            write_status_members(out, status);
            out.push(b'}');
        }
        MessageAnswer::Pending { total, bytes, messages } => {
            push(out, "{\"total\":");
            push_unsigned(out, *total);
            write_number(out, "bytes", *bytes);
            push(out, ",\"messages\":[");
            push_list(out, messages.iter(), |out, status| {
                out.push(b'{');
                write_status_members(out, status);
                out.push(b'}');
            });
            push(out, "]}");
        }
        MessageAnswer::Members { group, expires_ms, members } => {
            push(out, "{\"group\":");
            push_string(out, group.as_str());
            write_optional(out, "expires_at", *expires_ms);
            push(out, ",\"members\":[");
            push_list(out, members.iter(), write_member);
            push(out, "]}");
        }
        MessageAnswer::Presence(presences) => {
            out.push(b'[');
            push_list(out, presences.iter(), |out, presence| {
                out.push(b'{');
                write_presence_members(out, presence);
                out.push(b'}');
            });
            out.push(b']');
        }
        MessageAnswer::DeadLetters { total, letters } => write_dead_letters(out, *total, letters),
        MessageAnswer::Count(count) => {
            push(out, "{\"count\":");
            push_unsigned(out, *count);
            out.push(b'}');
        }
    }
}

/// A list of dead letters: so many there are in all, and some of them.
pub fn write_dead_letters(out: &mut Vec<u8>, total: u64, letters: &[DeadLetter]) {
    push(out, "{\"total\":");
    push_unsigned(out, total);
    push(out, ",\"letters\":[");
    push_list(out, letters.iter(), write_dead_letter);
    push(out, "]}");
}

/// One dead letter, with its content where that is shown.
pub fn write_dead_letter(out: &mut Vec<u8>, letter: &DeadLetter) {
    out.push(b'{');
    write_status_members(out, &letter.status);
    write_label(out, "from", letter.from);
    write_word(out, "cause", cause_word(letter.cause));
    write_number(out, "died_at", letter.died_ms);
    letter.reason.into_iter().for_each(|reason| write_label(out, "reason", reason));
    write_number(out, "content_bytes", letter.content_bytes.into());
    if let Some(content) = &letter.content {
        push(out, ",\"content\":");
        out.extend_from_slice(content);
    }
    out.push(b'}');
}

fn write_status_members(out: &mut Vec<u8>, status: &MessageStatus) {
    push(out, "\"id\":");
    push_unsigned(out, status.message.0);
    status.client_id.into_iter().for_each(|id| write_label(out, "client_id", id));
    write_label(out, "to", status.to);
    write_word(out, "priority", priority(status.priority));
    write_flag(out, "confirm", status.guarantee == Guarantee::AtLeastOnce);
    write_word(out, "state", state_word(status.state));
    write_number(out, "attempts", status.attempts.into());
    write_number(out, "sent_at", status.sent_ms);
    write_optional(out, "next_at", status.next_ms);
    write_optional(out, "expires_at", status.expires_ms);
}

fn write_member(out: &mut Vec<u8>, member: &GroupMember) {
    push(out, "{\"user\":");
    push_string(out, member.user.as_str());
    write_number(out, "weight", member.weight.into());
    write_flag(out, "present", member.is_present);
    write_number(out, "waiting", member.waiting.into());
    out.push(b'}');
}

fn write_presence_members(out: &mut Vec<u8>, presence: &Presence) {
    push(out, "\"user\":");
    push_string(out, presence.user.as_str());
    write_flag(out, "present", presence.is_present);
    write_optional(out, "since", presence.since_ms);
    write_number(out, "sessions", presence.sessions.into());
}

/// A word that no JSON escapes.
fn write_word(out: &mut Vec<u8>, name: &str, word: &str) {
    open_member(out, name);
    out.push(b'"');
    push(out, word);
    out.push(b'"');
}

fn write_label(out: &mut Vec<u8>, name: &str, label: Label) {
    open_member(out, name);
    push_string(out, label.as_str());
}

fn write_number(out: &mut Vec<u8>, name: &str, number: u64) {
    open_member(out, name);
    push_unsigned(out, number);
}

fn write_optional(out: &mut Vec<u8>, name: &str, number: Option<u64>) {
    number.into_iter().for_each(|number| write_number(out, name, number));
}

fn write_flag(out: &mut Vec<u8>, name: &str, flag: bool) {
    open_member(out, name);
    push(out, if flag { "true" } else { "false" });
}

/// Behind another member.
fn open_member(out: &mut Vec<u8>, name: &str) {
    push(out, ",\"");
    push(out, name);
    push(out, "\":");
}

const fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
        Priority::Critical => "critical",
    }
}

const fn state_word(state: MessageState) -> &'static str {
    match state {
        MessageState::Scheduled => "scheduled",
        MessageState::Queued => "queued",
        MessageState::Delivered => "delivered",
        MessageState::Confirmed => "confirmed",
        MessageState::Expired => "expired",
        MessageState::Dead => "dead",
        MessageState::Cancelled => "cancelled",
    }
}

const fn cause_word(cause: DeathCause) -> &'static str {
    match cause {
        DeathCause::Attempts => "attempts",
        DeathCause::Expired => "expired",
        DeathCause::Overflow => "overflow",
        DeathCause::TooOld => "too_old",
        DeathCause::SessionGone => "session_gone",
    }
}
