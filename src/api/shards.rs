//! `GET /debug/shards`: what each shard is about, for who has to find out why it does what it does. PURE.

use serde::Serialize;
use serde_json::{Value, json};

use crate::hub::Occupancy;

use super::Answer;

/// One shard between two turns. Times are nanoseconds; those to come are from now on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ShardState {
    pub turns_total: u64,
    pub parks_total: u64,
    pub busy_turns_total: u64,
    pub busy_ns_total: u64,
    pub turn_ns_max: u64,
    pub turn_ns_mean: u64,
    /// Since it last did something.
    pub idle_ns: u64,
    /// How long it polls before it parks; none where it never parks.
    pub spin_ns: Option<u64>,
    pub stance: &'static str,
    pub costliest_bytes: u64,
    pub connections: u64,
    pub ring_connections: usize,
    pub send_buffers_in_use: usize,
    pub sends_unbuffered_total: u64,
    /// A send had no buffer, and waits for one.
    pub is_unbuffered: bool,
    /// Connections with data to send, and those that the flush under way has yet to come to.
    pub data_count: usize,
    pub round: usize,
    /// When data may be flushed next; 0 at once.
    pub flush_due_ns: u64,
    /// What turns have taken beyond their share of received bytes.
    pub owed_bytes: u64,
    pub timer_due_ns: Option<u64>,
    /// Batches that may still be pushed to each home; none for itself.
    pub mesh_free: Vec<Option<usize>>,
    /// Homes that are sent no data until there is room.
    pub lagging: Vec<u8>,
    /// Commands wait for room in a queue.
    pub commands_wait: bool,
    pub joins_wait: bool,
    pub questions_wait: bool,
    pub memory_bytes: usize,
    pub history_bytes: usize,
    pub home_topics: usize,
    pub is_stopping: bool,
    /// Clients to be sent away at a stop, and those that were told.
    pub leaving: usize,
    pub told: usize,
    pub holds: Occupancy,
}

/// The answer, from what each shard says; `None` for one that said nothing in time.
#[must_use]
pub fn answer(told: &[(usize, Option<Box<ShardState>>)]) -> Answer {
    let silent = super::silent(told.iter().map(|(shard, state)| (*shard, state.is_some())));
    let shards = told.iter().filter_map(|(shard, state)| written(*shard, state.as_deref()?));
    Answer::json(200, &json!({"shards": shards.collect::<Vec<Value>>(), "silent": silent}))
}

fn written(shard: usize, state: &ShardState) -> Option<Value> {
    // A struct of numbers and names has its JSON.
    let mut value = serde_json::to_value(state).ok()?;
    value.as_object_mut()?.insert("shard".to_owned(), Value::from(shard));
    Some(value)
}

/// Where it is not turned on.
#[must_use]
pub fn turned_off() -> Answer {
    Answer::error(403, "turned off: control.debug")
}
