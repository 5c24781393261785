//! `GET /api/dead-letters`, `POST /api/dead-letters/requeue` and `/purge`: messages that nobody got, for operators. PURE.
//!
//! The answers' members are those of the clients' `message/dead_letters/…`.

use std::borrow::Cow;

use serde::Deserialize;

use crate::dialect::json_rpc::{self, Failure};
use crate::http;
use crate::limits;
use crate::model::message::{MessageAnswer, MessageId, MessageRefusal, MessageRequest, Name, Which};

use super::Answer;

const LISTED_DEFAULT: u32 = 100;

/// What is done to dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Requeue,
    Purge,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    id: Option<u64>,
    #[serde(default)]
    all: bool,
}

/// What a query asks for: a list, or one with its content, where it has `id`.
///
/// # Errors
/// The answer to a query that cannot be read.
pub fn read(query: &str) -> Result<MessageRequest, Answer> {
    let odd = |what: &str| Answer::error(400, what);
    let pairs = http::decode_query(query).map_err(|_| odd("the query is not decodable"))?;
    let (mut count, mut after, mut user, mut id) = (LISTED_DEFAULT, None, None, None);
    for (name, value) in pairs {
        let number = || value.parse().ok().filter(|number| *number > 0).map(MessageId);
        match name.as_str() {
            "limit" => {
                let rows: Option<u32> = value.parse().ok().filter(|rows| *rows > 0);
                count = rows
                    .ok_or_else(|| odd("limit is a number of rows, 1 to 1000"))?
                    .min(limits::MESSAGES_PER_ANSWER_MAX);
            }
            "after" => after = Some(number().ok_or_else(|| odd("after is the id of a message"))?),
            "id" => id = Some(number().ok_or_else(|| odd("id is that of a message"))?),
            "user" => user = Some(Name::parse(&value).ok_or_else(|| odd("user is the name of one"))?),
            _ => {}
        }
    }
    Ok(match id {
        Some(message) => MessageRequest::DeadLetter { message },
        None => MessageRequest::DeadLetters { count, after, user },
    })
}

/// What a body asks to be done.
///
/// # Errors
/// The answer to a body that is none.
pub fn chosen(deed: Deed, body: &[u8]) -> Result<MessageRequest, Answer> {
    let odd = || Answer::error(400, "the body is {\"id\": number} or {\"all\": true}");
    let which = match serde_json::from_slice(body).map_err(|_| odd())? {
        Chosen { id: Some(id), all: false } if id > 0 => Which::One(MessageId(id)),
        Chosen { id: None, all: true } => Which::All,
        Chosen { .. } => return Err(odd()),
    };
    Ok(match deed {
        Deed::Requeue => MessageRequest::Requeue { which },
        Deed::Purge => MessageRequest::Purge { which },
    })
}

/// What the office says; `None` where it has not in time.
#[must_use]
pub fn answer(request: &MessageRequest, outcome: Option<Result<MessageAnswer, MessageRefusal>>) -> Answer {
    let outcome = match outcome {
        Some(outcome) => outcome,
        None if matches!(request, MessageRequest::Requeue { .. } | MessageRequest::Purge { .. }) => {
            return Answer::error(504, "it is not done in time: it goes on");
        }
        None => return Answer::error(504, "the venue's thread has not answered in time"),
    };
    let mut text = Vec::new();
    match &outcome {
        Ok(MessageAnswer::DeadLetters { letters, .. })
            if matches!(request, MessageRequest::DeadLetter { .. }) =>
        {
            let Some(letter) = letters.first() else { return refused(MessageRefusal::MessageNotFound) };
            json_rpc::write_dead_letter(&mut text, letter);
        }
        Ok(answer) => json_rpc::write_message_answer(&mut text, answer),
        Err(refusal) => return refused(*refusal),
    }
    // What writers write is text, and contents were validated when they came.
    Answer::text(200, "application/json", Cow::Owned(String::from_utf8_lossy(&text).into_owned()))
}

fn refused(refusal: MessageRefusal) -> Answer {
    let failure = json_rpc::message_failure(refusal);
    let status = match refusal {
        MessageRefusal::MessageNotFound => 404,
        MessageRefusal::StoreAbsent
        | MessageRefusal::StoreLoading
        | MessageRefusal::StoreDiskFull
        | MessageRefusal::StoreFaulty
        | MessageRefusal::StoreAway
        | MessageRefusal::StoreTaken
        | MessageRefusal::StoreBusy
        | MessageRefusal::Full
        | MessageRefusal::TooMany
        | MessageRefusal::OwnerAway
        | MessageRefusal::OwnerLost => 503,
        MessageRefusal::UnknownUser
        | MessageRefusal::UnknownSession
        | MessageRefusal::UnknownGroup
        | MessageRefusal::GroupExists
        | MessageRefusal::EmptyGroup
        | MessageRefusal::NotAMember
        | MessageRefusal::TooLate
        | MessageRefusal::InvalidTime
        | MessageRefusal::NotDelivered
        | MessageRefusal::SenderFull
        | MessageRefusal::NeedsConnection
        | MessageRefusal::NotSubscribed
        | MessageRefusal::NoProcessor => 400,
    };
    let Failure { message, reason, .. } = failure;
    Answer { retry_after_s: (status == 503).then_some(1), ..Answer::error(status, reason.unwrap_or(message)) }
}
