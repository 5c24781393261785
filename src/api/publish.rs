//! `POST /api/publish`: publishes as a client's `topic/publish` does. PURE.

use serde_json::json;

use crate::dialect::json_rpc::{self, Posted};
use crate::hub::batch::PublishRefusal;
use crate::model::channel::TopicName;
use crate::model::ids::Position;

use super::Answer;

const RETRY_AFTER_S: u32 = 1;

/// The name and the message.
///
/// # Errors
/// The answer to a body that is none, or a topic that may not be.
pub fn read(body: &[u8]) -> Result<(TopicName, &[u8]), Answer> {
    let Posted { channel, payload } = json_rpc::posted(body).map_err(|what| Answer::error(400, what))?;
    let name = channel.strip_prefix("topic.").and_then(|name| TopicName::parse(name.as_bytes()));
    let name = name
        .ok_or_else(|| Answer::error(400, "topic is topic. and a name: 1 to 63 of A-Z a-z 0-9 _ - : / ."))?;
    Ok((name, payload))
}

/// What has come of it; `None` where its shard has not said so.
#[must_use]
pub fn answered(name: &TopicName, outcome: Option<Result<Position, PublishRefusal>>) -> Answer {
    match outcome {
        Some(Ok(place)) => {
            let topic = format!("topic.{}", name.as_str());
            Answer::json(200, &json!({"topic": topic, "epoch": place.epoch.0, "seq": place.seq.0}))
        }
        Some(Err(PublishRefusal::TooManyTopics)) => later(503, "not sent: too many topics"),
        Some(Err(PublishRefusal::Overloaded)) => later(503, "not sent: the server is overloaded"),
        Some(Err(PublishRefusal::OwnerAway)) => {
            later(503, "not sent: the node that sequences topics is not reached")
        }
        Some(Err(PublishRefusal::OwnerLost)) => {
            Answer::error(504, "the node that sequences topics was lost: it may be published yet")
        }
        None => Answer::error(504, "the shard has not answered in time: it may be published yet"),
    }
}

/// Operators publish no faster than one client may.
#[must_use]
pub fn too_fast() -> Answer {
    later(429, "not sent: more messages or bytes a second than limits.messages_per_s_max or bytes_per_s_max")
}

/// Where nobody may publish.
#[must_use]
pub fn turned_off() -> Answer {
    Answer::error(403, "publishing is turned off: topics.publish")
}

fn later(status: u16, what: &str) -> Answer {
    Answer { retry_after_s: Some(RETRY_AFTER_S), ..Answer::error(status, what) }
}
