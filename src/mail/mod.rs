//! The office of messages: the one writer of mailboxes, schedules, dead letters, groups and of who is present. PURE. Home: the
//! venue's thread, for all shards.
//!
//! What goes in: `handle_ask`, `handle_written`, `handle_departure`, `handle_store`, `handle_timeout`. What comes out: `poll_output` for
//! clients, `poll_batch` for the store, `poll_timeout`. A driver gives in what there is, then takes all outputs, then, where the store
//! has room, one batch a turn.

mod config;
mod counters;

use std::collections::VecDeque;

pub use self::config::OfficeConfig;
pub use self::counters::{OfficeCounters, OfficeGauges};

use crate::model::message::{MessageAsk, MessageOutput, MessageRefusal};
use crate::model::order::Client;
use crate::model::storage::{StoreBatch, StoreWord};
use crate::model::time::Now;

/// See the file's head.
#[derive(Debug)]
pub struct Office {
    config: OfficeConfig,
    outputs: VecDeque<MessageOutput>,
    counters: OfficeCounters,
}

impl Office {
    /// An office without a store until it is told of one: `StoreState::Absent`.
    #[must_use]
    pub fn new(config: OfficeConfig, _now: Now) -> Office {
        Office { config: config.capped(), outputs: VecDeque::new(), counters: OfficeCounters::default() }
    }

    /// Judges by this from the next call on.
    pub fn set_config(&mut self, config: OfficeConfig) {
        self.config = config.capped();
    }

    /// One request; `content` is that of a send, as the dialect has validated it, and empty otherwise.
    pub fn handle_ask(&mut self, ask: &MessageAsk, _content: &[u8], _now: Now) {
        self.counters.asks_total += 1;
        self.counters.refusals_total += 1;
        self.outputs.push_back(MessageOutput::Answer {
            to: ask.client.home,
            ticket: ask.ticket,
            outcome: Err(MessageRefusal::Full),
        });
    }

    /// The shard has written so many of what the connection was sent and does not confirm: deliveries with `confirm` false, receipts and
    /// presence, each one.
    pub fn handle_written(&mut self, _client: Client, _count: u32, _now: Now) {}

    /// The connection is gone, or another account's or nobody's now.
    pub fn handle_departure(&mut self, _client: Client, _now: Now) {}

    /// What the store says.
    pub fn handle_store(&mut self, _word: StoreWord, _now: Now) {}

    /// Does what is due: as far as a turn should go.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// When [`Office::handle_timeout`] has something to do next, on the monotonic clock, in nanoseconds; 0 for at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        None
    }

    /// What is to be told next.
    pub fn poll_output(&mut self) -> Option<MessageOutput> {
        self.outputs.pop_front()
    }

    /// What is to be stored next, if the store takes batches and there is something; it is then under way until the store answers it.
    pub fn poll_batch(&mut self) -> Option<StoreBatch> {
        None
    }

    #[must_use]
    pub fn counters(&self) -> OfficeCounters {
        self.counters
    }

    #[must_use]
    pub fn gauges(&self) -> OfficeGauges {
        OfficeGauges::default()
    }

    /// Bytes of memory that the office holds, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.outputs.capacity() * size_of::<MessageOutput>()
    }
}
