//! The methods of messages, groups and presence, and their parameters. PURE. A call becomes a request for the office of messages
//! once it is known what time it is.
//!
//! A number is the gateway's own name for a message, a string is its sender's: where one is asked for, both are called `id`.

use super::errors::Failure;
use super::methods::EXACT_MAX;
use super::params::{param, take};
use super::scan::{Kind, Value};
use crate::auth::Scope;
use crate::limits;
use crate::model::message::{
    Guarantee, MessageId, MessageKey, MessageRequest, Name, NewMessage, Priority, Reception, Selection,
    SessionId, Target, Which, is_processor,
};
use crate::model::order::Label;

/// A week: what is to be tried again later than that is better sent again.
const DELAY_MS_MAX: u64 = 7 * 24 * 3_600_000;
const LISTED_DEFAULT: u32 = 100;
const PRIORITIES: [(&str, Priority); 4] = [
    ("low", Priority::Low),
    ("normal", Priority::Normal),
    ("high", Priority::High),
    ("critical", Priority::Critical),
];
const BAD_NAME: &str = "must be 1 to 64 bytes without control characters";

/// A request about messages whose parameters are checked as far as that is possible without the office.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageCall<'a> {
    Subscribe {
        reception: Reception,
        topics: Box<[Name]>,
        presentation: Presentation,
    },
    Send {
        message: NewMessage,
        /// From now on, where it is not told when it is due.
        delay_ms: Option<u64>,
        /// One JSON value exactly as the client wrote it.
        content: &'a [u8],
    },
    Ask(MessageRequest),
}

/// How messages are put into frames for one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presentation {
    /// Several that wait leave as one frame.
    pub batch: Option<FrameBatch>,
    /// Frames of at least so many bytes are compressed, as the connection has agreed on.
    pub compress_from_bytes: Option<u32>,
}

/// What goes into one frame at most; of the bytes the first message may be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameBatch {
    /// 2 to `limits::MESSAGE_BATCH_MAX`.
    pub messages_max: u32,
    pub bytes_max: u32,
}

impl<'a> MessageCall<'a> {
    /// Whether it is about the connection that it comes by.
    #[must_use]
    pub const fn is_of_connection(&self) -> bool {
        match self {
            MessageCall::Subscribe { .. }
            | MessageCall::Ask(MessageRequest::Unsubscribe | MessageRequest::SubscribePresence { .. }) => {
                true
            }
            MessageCall::Send { .. } | MessageCall::Ask(_) => false,
        }
    }

    /// The scope that a method of messages needs; `None` for a name that is none of these methods.
    pub(super) fn scope_of(method: &str) -> Option<Scope> {
        Some(match method {
            "message/subscribe"
            | "message/unsubscribe"
            | "message/ack"
            | "message/nack"
            | "message/status"
            | "message/pending"
            | "group/members"
            | "presence/get"
            | "presence/subscribe"
            | "presence/unsubscribe" => Scope::MessageRead,
            "message/send" | "message/cancel" | "group/create" | "group/join" | "group/leave"
            | "group/send" | "group/delete" => Scope::MessageReadWrite,
            "message/dead_letters/list"
            | "message/dead_letters/get"
            | "message/dead_letters/requeue"
            | "message/dead_letters/purge" => Scope::MessageAdmin,
            _ => return None,
        })
    }

    /// # Errors
    /// A name that is none of these methods, or parameters that do not fit it.
    pub(super) fn decode(method: &str, params: Option<Value<'a>>) -> Result<MessageCall<'a>, Failure> {
        let ask = match method {
            "message/subscribe" => return subscribe(params),
            "message/send" => return send(params),
            "group/send" => return group_send(params),
            "message/unsubscribe" => take(params, []).map(|[]| MessageRequest::Unsubscribe)?,
            "message/ack" => {
                let [id] = take(params, ["id"])?;
                MessageRequest::Acknowledge { message: message_id(id)? }
            }
            "message/nack" => nack(params)?,
            "message/cancel" => {
                let [id] = take(params, ["id"])?;
                MessageRequest::Cancel { message: message_id(id)? }
            }
            "message/status" => {
                let [id] = take(params, ["id"])?;
                MessageRequest::Status { message: message_key(id)? }
            }
            "message/pending" => {
                let [count, after] = take(params, ["count", "after"])?;
                MessageRequest::Pending { count: listed(count)?, after: optional_id("after", after)? }
            }
            _ => match method.split_once('/') {
                Some(("group", verb)) => group(verb, params)?,
                Some(("presence", verb)) => presence(verb, params)?,
                Some(("message", rest)) => dead_letters(rest, params)?,
                Some(_) | None => return Err(Failure::METHOD_NOT_FOUND),
            },
        };
        Ok(MessageCall::Ask(ask))
    }
}

fn subscribe(params: Option<Value<'_>>) -> Result<MessageCall<'_>, Failure> {
    let [under_way, topics, batch, compress] =
        take(params, ["under_way_max", "topics", "batch", "compress_from_bytes"])?;
    let most = limits::MESSAGES_UNDER_WAY_MAX;
    let under_way_max = whole("under_way_max", under_way, 1..=most)?.unwrap_or(limits::MESSAGES_UNDER_WAY);
    let batch = match param("batch", batch).value {
        None => None,
        Some(value) => {
            let [messages, bytes] = take(Some(value), ["messages_max", "bytes_max"])?;
            let (most, most_bytes) = (limits::MESSAGE_BATCH_MAX, limits::MESSAGE_BATCH_BYTES_MAX);
            Some(FrameBatch {
                messages_max: whole("messages_max", messages, 2..=most)?.unwrap_or(most),
                bytes_max: whole("bytes_max", bytes, 1..=most_bytes)?.unwrap_or(most_bytes),
            })
        }
    };
    Ok(MessageCall::Subscribe {
        reception: Reception { under_way_max },
        topics: names("topics", topics, limits::MESSAGE_TOPICS_PER_SESSION_MAX)?.unwrap_or_default(),
        presentation: Presentation {
            batch,
            compress_from_bytes: whole("compress_from_bytes", compress, 1..=u32::MAX)?,
        },
    })
}

fn send(params: Option<Value<'_>>) -> Result<MessageCall<'_>, Failure> {
    let [user, session, group, topic, kind, select] =
        take(params, ["user", "session", "group", "topic", "type", "select"])?;
    let targets = [("user", user), ("session", session), ("group", group), ("topic", topic), ("type", kind)];
    let mut told = targets.into_iter().filter(|(name, value)| param(name, *value).value.is_some());
    let (Some((name, value)), None) = (told.next(), told.next()) else {
        return Err(Failure::INVALID_PARAMS.because("one of user, session, group, topic, type is needed"));
    };
    if name != "group" && param("select", select).value.is_some() {
        return Err(Failure::invalid_param("select", "of a group only"));
    }
    let target = match name {
        "user" => match required_name(name, value)? {
            user if is_processor(&user) => {
                return Err(Failure::invalid_param("user", "what a backend processes is sent by its type"));
            }
            user => Target::User(user),
        },
        "type" => Target::Type(required_name(name, value)?),
        "topic" => Target::Topic(required_name(name, value)?),
        "group" => Target::Group { group: required_name(name, value)?, to: selection(select)? },
        _ => {
            let number = param(name, value).unsigned(1..=EXACT_MAX)?;
            Target::Session(SessionId(number.ok_or(Failure::value_required(name))?))
        }
    };
    new_message(params, target)
}

fn group_send(params: Option<Value<'_>>) -> Result<MessageCall<'_>, Failure> {
    let [group, select] = take(params, ["group", "select"])?;
    new_message(params, Target::Group { group: required_name("group", group)?, to: selection(select)? })
}

fn selection(select: Option<Value<'_>>) -> Result<Selection, Failure> {
    let choices = [
        ("all", Selection::All),
        ("round_robin", Selection::RoundRobin),
        ("least_loaded", Selection::LeastLoaded),
        ("weighted", Selection::Weighted),
    ];
    let reason = "must be one of all, round_robin, least_loaded, weighted";
    Ok(param("select", select).choice(&choices, reason)?.unwrap_or(Selection::All))
}

fn new_message(params: Option<Value<'_>>, target: Target) -> Result<MessageCall<'_>, Failure> {
    let [content, priority, confirm, id, ttl, deliver_at, delay, receipts, reply_to] = take(
        params,
        ["content", "priority", "confirm", "id", "ttl_ms", "deliver_at", "delay_ms", "receipts", "reply_to"],
    )?;
    let content = content.ok_or(Failure::value_required("content"))?;
    let deliver_at_ms = param("deliver_at", deliver_at).unsigned(0..=EXACT_MAX)?;
    let delay_ms = param("delay_ms", delay).unsigned(0..=EXACT_MAX)?;
    if deliver_at_ms.is_some() && delay_ms.is_some() {
        return Err(Failure::invalid_param("delay_ms", "deliver_at is told as well"));
    }
    let guarantee = match param("confirm", confirm).boolean()? {
        true => Guarantee::AtLeastOnce,
        false => Guarantee::FireAndForget,
    };
    let message = NewMessage {
        target,
        priority: param("priority", priority)
            .choice(&PRIORITIES, "must be one of low, normal, high, critical")?
            .unwrap_or_default(),
        guarantee,
        client_id: optional_label("id", id)?,
        ttl_ms: param("ttl_ms", ttl).unsigned(1..=EXACT_MAX)?,
        deliver_at_ms,
        receipts: param("receipts", receipts).boolean()?,
        reply_to: optional_id("reply_to", reply_to)?,
    };
    Ok(MessageCall::Send { message, delay_ms, content: content.text().as_bytes() })
}

fn nack(params: Option<Value<'_>>) -> Result<MessageRequest, Failure> {
    let [id, reason, delay] = take(params, ["id", "reason", "delay_ms"])?;
    Ok(MessageRequest::Reject {
        message: message_id(id)?,
        reason: optional_label("reason", reason)?,
        delay_ms: param("delay_ms", delay).unsigned(0..=DELAY_MS_MAX)?,
    })
}

fn group(verb: &str, params: Option<Value<'_>>) -> Result<MessageRequest, Failure> {
    let [group, lifetime, ttl, weight] = take(params, ["group", "lifetime_ms", "message_ttl_ms", "weight"])?;
    let named = || required_name("group", group);
    Ok(match verb {
        "create" => MessageRequest::CreateGroup {
            group: named()?,
            lifetime_ms: param("lifetime_ms", lifetime).unsigned(1..=EXACT_MAX)?,
            message_ttl_ms: param("message_ttl_ms", ttl).unsigned(1..=EXACT_MAX)?,
        },
        "join" => {
            let weight = whole("weight", weight, 1..=limits::GROUP_WEIGHT_MAX)?.unwrap_or(1);
            MessageRequest::JoinGroup { group: named()?, weight }
        }
        "leave" => MessageRequest::LeaveGroup { group: named()? },
        "members" => MessageRequest::GroupMembers { group: named()? },
        "delete" => MessageRequest::DeleteGroup { group: named()? },
        _ => return Err(Failure::METHOD_NOT_FOUND),
    })
}

fn presence(verb: &str, params: Option<Value<'_>>) -> Result<MessageRequest, Failure> {
    let [users, group] = take(params, ["users", "group"])?;
    let listed = || names("users", users, limits::PRESENCE_WATCHED_MAX);
    match verb {
        "get" => match (listed()?, param("group", group).value) {
            (Some(users), None) => Ok(MessageRequest::Presence { users }),
            (None, Some(group)) => {
                Ok(MessageRequest::PresenceOfGroup { group: required_name("group", Some(group))? })
            }
            (Some(_), Some(_)) | (None, None) => {
                Err(Failure::INVALID_PARAMS.because("one of users, group is needed"))
            }
        },
        "subscribe" => match listed()? {
            Some(users) if !users.is_empty() => Ok(MessageRequest::SubscribePresence { users }),
            Some(_) | None => Err(Failure::value_required("users")),
        },
        "unsubscribe" => Ok(MessageRequest::SubscribePresence { users: Box::default() }),
        _ => Err(Failure::METHOD_NOT_FOUND),
    }
}

fn dead_letters(rest: &str, params: Option<Value<'_>>) -> Result<MessageRequest, Failure> {
    let verb = rest.strip_prefix("dead_letters/").ok_or(Failure::METHOD_NOT_FOUND)?;
    let [id, all, count, after, user] = take(params, ["id", "all", "count", "after", "user"])?;
    let which = || match (param("id", id).value, param("all", all).boolean()?) {
        (Some(_), false) => Ok(Which::One(message_id(id)?)),
        (None, true) => Ok(Which::All),
        (Some(_), true) | (None, false) => {
            Err(Failure::INVALID_PARAMS.because("one of id, \"all\":true is needed"))
        }
    };
    Ok(match verb {
        "list" => MessageRequest::DeadLetters {
            count: listed(count)?,
            after: optional_id("after", after)?,
            user: optional_label("user", user)?,
        },
        "get" => MessageRequest::DeadLetter { message: message_id(id)? },
        "requeue" => MessageRequest::Requeue { which: which()? },
        "purge" => MessageRequest::Purge { which: which()? },
        _ => return Err(Failure::METHOD_NOT_FOUND),
    })
}

/// A whole number of 32 bits within the range.
fn whole(
    name: &'static str,
    value: Option<Value<'_>>,
    range: std::ops::RangeInclusive<u32>,
) -> Result<Option<u32>, Failure> {
    let range = u64::from(*range.start())..=u64::from(*range.end());
    let number = param(name, value).unsigned(range)?;
    number.map(u32::try_from).transpose().map_err(|_| Failure::wrong_format(name))
}

/// How many are listed.
fn listed(count: Option<Value<'_>>) -> Result<u32, Failure> {
    Ok(whole("count", count, 1..=limits::MESSAGES_PER_ANSWER_MAX)?.unwrap_or(LISTED_DEFAULT))
}

fn message_id(id: Option<Value<'_>>) -> Result<MessageId, Failure> {
    optional_id("id", id)?.ok_or(Failure::value_required("id"))
}

fn optional_id(name: &'static str, id: Option<Value<'_>>) -> Result<Option<MessageId>, Failure> {
    Ok(param(name, id).unsigned(1..=EXACT_MAX)?.map(MessageId))
}

fn message_key(id: Option<Value<'_>>) -> Result<MessageKey, Failure> {
    match param("id", id).value.map(Value::kind) {
        Some(Kind::String) => {
            let label = optional_label("id", id)?.ok_or(Failure::value_required("id"))?;
            Ok(MessageKey::ClientId(label))
        }
        Some(_) | None => Ok(MessageKey::Id(message_id(id)?)),
    }
}

fn optional_label(name: &'static str, value: Option<Value<'_>>) -> Result<Option<Label>, Failure> {
    let Some(text) = param(name, value).text()? else { return Ok(None) };
    Label::parse(&text).map(Some).ok_or(Failure::invalid_param(name, BAD_NAME))
}

fn required_name(name: &'static str, value: Option<Value<'_>>) -> Result<Name, Failure> {
    optional_label(name, value)?.ok_or(Failure::value_required(name))
}

fn names(
    name: &'static str,
    list: Option<Value<'_>>,
    count_max: u32,
) -> Result<Option<Box<[Name]>>, Failure> {
    let Some(list) = param(name, list).value else { return Ok(None) };
    if list.kind() != Kind::Array {
        return Err(Failure::wrong_format(name));
    }
    let mut names = Vec::new();
    for element in list.elements() {
        if names.len() == count_max as usize {
            return Err(Failure::invalid_param(name, "more of them than may be"));
        }
        names.push(required_name(name, Some(element))?);
    }
    Ok(Some(names.into_boxed_slice()))
}
