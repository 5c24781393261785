//! `GET /api/connections`: who is connected, page by page, or for whom the most waits; `POST /api/connections/trace`. PURE.
//!
//! Invariant: a page ends behind the page before it, by shard and slot, so that whoever follows `next` comes to an end, and
//! sees no connection twice.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::hub::inspect::{ConnectionOrder, ConnectionRow, SendTimes, TraceOutcome};
use crate::limits;
use crate::model::ids::ConnId;

use super::{Answer, parameter};

const ROWS_USUAL: usize = 100;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Of this shard alone.
    pub shard: Option<usize>,
    pub limit: usize,
    pub order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From this shard and slot on.
    From(Place),
    Queued,
}

/// A connection's place among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub shard: usize,
    pub slot: u32,
}

/// What one shard has said.
#[derive(Debug)]
pub struct Told {
    pub shard: usize,
    /// None where it said nothing in time.
    pub rows: Option<Vec<ConnectionRow>>,
    /// There may be more behind those.
    pub is_cut: bool,
}

impl Asked {
    /// Reads a query, where there are so many shards.
    ///
    /// # Errors
    /// The answer to one that cannot be read.
    pub fn read(query: &str, shards: usize) -> Result<Asked, Answer> {
        let shard = match parameter(query, "shard") {
            None => None,
            Some(text) => Some(
                text.parse()
                    .ok()
                    .filter(|shard| *shard < shards)
                    .ok_or_else(|| Answer::error(400, "shard is the number of one, from 0 on"))?,
            ),
        };
        let order = match (parameter(query, "sort"), parameter(query, "after")) {
            (None, None) => Order::From(Place { shard: 0, slot: 0 }),
            (None, Some(text)) => Order::From(behind(text)?),
            (Some("queued"), None) => Order::Queued,
            (Some("queued"), Some(_)) => {
                return Err(Answer::error(400, "after is a place among all connections: not with sort"));
            }
            (Some(_), _) => return Err(Answer::error(400, "sort is queued, or is left out")),
        };
        Ok(Asked { shard, limit: limit(query)?, order })
    }

    /// What this shard is to be asked; `None` where it has nothing to tell.
    #[must_use]
    pub fn of_shard(&self, shard: usize) -> Option<ConnectionOrder> {
        if self.shard.is_some_and(|only| only != shard) {
            return None;
        }
        match self.order {
            Order::Queued => Some(ConnectionOrder::Queued),
            Order::From(place) if place.shard > shard => None,
            Order::From(place) if place.shard == shard => Some(ConnectionOrder::FromSlot(place.slot)),
            Order::From(_) => Some(ConnectionOrder::FromSlot(0)),
        }
    }
}

/// How many rows a query asks for; more than there may be are as many as may.
///
/// # Errors
/// The answer to what is no number from 1 on.
pub(super) fn limit(query: &str) -> Result<usize, Answer> {
    match parameter(query, "limit") {
        None => Ok(ROWS_USUAL),
        Some(text) => match text.parse() {
            Ok(0) | Err(_) => Err(Answer::error(400, "limit is a number of rows, 1 to 1000")),
            Ok(rows) => Ok(std::cmp::min(rows, limits::INSPECTED_ROWS_MAX)),
        },
    }
}

/// The place behind the one that `next` has named: `SHARD.SLOT`.
fn behind(text: &str) -> Result<Place, Answer> {
    let place = text.split_once('.').and_then(|(shard, slot)| {
        let slot: u32 = slot.parse().ok()?;
        Some(Place { shard: shard.parse().ok()?, slot: slot.checked_add(1)? })
    });
    place.ok_or_else(|| Answer::error(400, "after is what next was: SHARD.SLOT"))
}

/// The answer, from what shards have said, in the order of their numbers.
#[must_use]
pub fn answer(asked: Asked, told: Vec<Told>) -> Answer {
    let silent = super::silent(told.iter().map(|told| (told.shard, told.rows.is_some())));
    let mut is_cut = false;
    let mut rows: Vec<(usize, ConnectionRow)> = Vec::new();
    for told in told {
        is_cut |= told.is_cut;
        rows.extend(told.rows.into_iter().flatten().map(|row| (told.shard, row)));
    }
    if asked.order == Order::Queued {
        rows.sort_by_key(|(shard, row)| (std::cmp::Reverse(row.queued_bytes), *shard, row.conn.slot));
    }
    is_cut |= rows.len() > asked.limit;
    rows.truncate(asked.limit);
    let last = rows.last().filter(|_| is_cut && asked.order != Order::Queued);
    let next = last.map(|(shard, row)| format!("{shard}.{}", row.conn.slot));
    let connections: Vec<Value> = rows.iter().map(|(shard, row)| written(*shard, row)).collect();
    Answer::json(200, &json!({"connections": connections, "next": next, "silent": silent}))
}

fn written(shard: usize, row: &ConnectionRow) -> Value {
    let ConnId { slot, generation } = row.conn;
    json!({
        "shard": shard,
        // As the log has it.
        "id": format!("{slot}.{generation}"),
        "peer": row.peer.map(|peer| peer.to_string()),
        "state": row.state.as_str(),
        "age_ms": row.age_ns / 1_000_000,
        "dialect": row.dialect,
        "client_id": row.client_id.as_deref(),
        "topics": row.topics,
        "queued_bytes": row.queued_bytes,
        "deliveries_total": row.deliveries_total,
        "conflated_total": row.conflated_total,
        "sends": row.sends.map(buckets),
    })
}

/// The last has no bound.
fn buckets(times: SendTimes) -> Value {
    let bounds = SendTimes::BOUNDS_NS.iter().copied().map(Some).chain([None]);
    let buckets = bounds.zip(times.counts).map(|(bound, count)| json!({"le_ns": bound, "count": count}));
    Value::Array(buckets.collect())
}

/// The body of `POST /api/connections/trace`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceAsked {
    pub shard: usize,
    pub id: String,
    pub traced: bool,
}

impl TraceAsked {
    /// # Errors
    /// The answer to a body that is none.
    pub fn read(body: &[u8]) -> Result<(TraceAsked, ConnId), Answer> {
        let wrong = || {
            Answer::error(
                400,
                "the body is {\"shard\": 0, \"id\": \"SLOT.GENERATION\", \"traced\": true}, or false",
            )
        };
        let asked: TraceAsked = serde_json::from_slice(body).map_err(|_| wrong())?;
        let conn = asked.id.split_once('.').and_then(|(slot, generation)| {
            Some(ConnId { slot: slot.parse().ok()?, generation: generation.parse().ok()? })
        });
        let conn = conn.ok_or_else(wrong)?;
        Ok((asked, conn))
    }

    /// What came of it; `None` where the shard did not say.
    #[must_use]
    pub fn answered(&self, outcome: Option<TraceOutcome>) -> Answer {
        match outcome {
            Some(TraceOutcome::Done) => {
                Answer::json(200, &json!({"shard": self.shard, "id": self.id, "traced": self.traced}))
            }
            Some(TraceOutcome::Gone) => Answer::error(404, "there is no such connection"),
            Some(TraceOutcome::Full) => {
                Answer::error(409, "as many connections of that shard are timed as may be: end another")
            }
            None => super::shard_is_silent(),
        }
    }
}
