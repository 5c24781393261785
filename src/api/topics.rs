//! `GET /api/topics`: the topics with the most deliveries or subscribers, summed over shards. PURE.
//!
//! Each shard names its own largest; what is small on every shard is left out, or counted less, beyond those.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::hub::inspect::{TopicOrder, TopicRow};
use crate::model::channel::TopicKey;
use crate::model::encoding::Encoding;

use super::{Answer, connections, parameter};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub limit: usize,
    pub order: TopicOrder,
}

impl Asked {
    /// # Errors
    /// The answer to a query that cannot be read.
    pub fn read(query: &str) -> Result<Asked, Answer> {
        let order = match parameter(query, "sort") {
            None | Some("deliveries") => TopicOrder::Deliveries,
            Some("subscribers") => TopicOrder::Subscribers,
            Some(_) => return Err(Answer::error(400, "sort is deliveries or subscribers")),
        };
        Ok(Asked { limit: connections::limit(query)?, order })
    }
}

/// The answer, from the rows of each shard; `None` for one that said nothing in time.
#[must_use]
pub fn answer(asked: Asked, told: Vec<(usize, Option<Vec<TopicRow>>)>) -> Answer {
    let silent = super::silent(told.iter().map(|(shard, rows)| (*shard, rows.is_some())));
    let mut by_key: HashMap<TopicKey, TopicRow> = HashMap::new();
    for row in told.into_iter().filter_map(|(_, rows)| rows).flatten() {
        by_key
            .entry(row.key)
            .and_modify(|sum| {
                sum.subscribers += row.subscribers;
                sum.deliveries_total += row.deliveries_total;
                sum.seq = sum.seq.max(row.seq);
            })
            .or_insert(row);
    }
    let mut rows: Vec<(String, TopicRow)> = by_key.into_values().map(|row| (row.channel(), row)).collect();
    rows.sort_by(|(a_name, a), (b_name, b)| {
        b.measure(asked.order).cmp(&a.measure(asked.order)).then_with(|| a_name.cmp(b_name))
    });
    rows.truncate(asked.limit);
    let topics: Vec<Value> = rows.iter().map(|(name, row)| written(name, row)).collect();
    Answer::json(200, &json!({"topics": topics, "silent": silent}))
}

fn written(name: &str, row: &TopicRow) -> Value {
    let account = match row.key {
        TopicKey::Private { account, .. } => Some(account.0),
        TopicKey::Client(_) | TopicKey::Market { .. } => None,
    };
    let encoding = match row.key {
        TopicKey::Market { encoding, .. } => encoding,
        TopicKey::Client(_) | TopicKey::Private { .. } => Encoding::Json,
    };
    json!({
        "topic": name,
        "encoding": encoding.as_str(),
        // Of whose orders it tells, by number: accounts have no name here.
        "account": account,
        "subscribers": row.subscribers,
        "deliveries_total": row.deliveries_total,
        "seq": row.seq.0,
    })
}
