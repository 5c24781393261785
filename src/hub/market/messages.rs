//! The office of messages at the market's home: what clients ask of it, what the store tells it, and what it says to both. PURE.
//! Home: the venue's thread.
//!
//! Invariant: what the office says is passed on before anything else is handled, so that a shard hears the answer to a subscribe
//! before the first message that follows from it.

use crate::limits;
use crate::mail::{OfficeConfig, OfficeCounters, OfficeGauges};
use crate::model::ids::{ConnId, Ticket};
use crate::model::message::{MessageAnswer, MessageAsk, MessageOutput, MessageRefusal, MessageRequest, Name};
use crate::model::order::{AccountId, Client};
use crate::model::presence::{KeptPresence, KeptWord};
use crate::model::storage::{StoreBatch, StoreWord};
use crate::model::time::Now;

use super::MarketHome;

impl MarketHome {
    /// Judges by this from the next request on.
    pub fn set_office_config(&mut self, config: OfficeConfig) {
        self.office.set_config(config);
    }

    /// What the store says.
    pub fn handle_store(&mut self, word: StoreWord, now: Now) {
        self.office.handle_store(word, now);
        self.settle_office();
    }

    /// What is to be stored next; asked for only while the store has room.
    pub fn poll_store_batch(&mut self) -> Option<StoreBatch> {
        self.office.poll_batch()
    }

    /// Who is present is kept outside from here on; see [`crate::mail::Office::keep_presence`].
    pub fn keep_presence(&mut self, now: Now) {
        self.office.keep_presence(now);
    }

    /// What is told of who is kept as present.
    pub fn handle_kept(&mut self, word: &KeptWord, now: Now) {
        self.office.handle_kept(word, now);
        self.settle_office();
    }

    /// What is to be kept next, if it is time for it.
    pub fn poll_kept(&mut self, now: Now) -> Option<KeptPresence> {
        self.office.poll_kept(now)
    }

    /// What the office did, since its start.
    #[must_use]
    pub fn office_counters(&self) -> OfficeCounters {
        self.office.counters()
    }

    /// What the office holds.
    #[must_use]
    pub fn office_gauges(&self) -> OfficeGauges {
        self.office.gauges()
    }

    /// Who operates the gateway asks for something; [`MarketHome::take_operator_answer`] gives the answer, at once or in a later
    /// turn. One is to be asked after the other.
    pub fn handle_operator(&mut self, request: MessageRequest, now: Now) {
        let user = Name::parse("operator").expect("invariant: eight letters are a name");
        let home = self.home.number();
        let client = Client { home, conn: ConnId { slot: u32::MAX, generation: 0 } };
        let ticket = Ticket { slot: 0, generation: 0 };
        let account = AccountId(u32::MAX);
        let ask = MessageAsk { ticket, account, user, client, is_connection: false, request };
        self.handle_message_ask(&ask, &[], now);
    }

    /// What came of the last [`MarketHome::handle_operator`], once.
    pub fn take_operator_answer(&mut self) -> Option<Result<MessageAnswer, MessageRefusal>> {
        self.operator_answer.take()
    }

    pub(super) fn handle_message_ask(&mut self, ask: &MessageAsk, content: &[u8], now: Now) {
        self.work.requests += 1;
        self.office.handle_ask(ask, content, now);
        self.settle_office();
    }

    /// Messages, or what is told beside them, are written to a client that does not confirm them.
    pub(super) fn handle_written(&mut self, client: Client, count: u32, now: Now) {
        self.work.requests += 1;
        self.office.handle_written(client, count, now);
        self.settle_office();
    }

    /// A client is gone, or somebody else now.
    pub(super) fn handle_listener_gone(&mut self, client: Client, now: Now) {
        self.office.handle_departure(client, now);
        self.settle_office();
    }

    /// Does what has come due, a part of it at a time.
    pub(super) fn handle_office_timeout(&mut self, now: Now) {
        if self.office.poll_timeout().is_some_and(|due_ns| due_ns <= now.mono_ns) {
            self.office.handle_timeout(now);
            self.settle_office();
        }
    }

    /// Passes on what the office says.
    fn settle_office(&mut self) {
        while let Some(output) = self.office.poll_output() {
            self.work.bytes += limits::OUTPUT_WORK_BYTES;
            let to = match &output {
                MessageOutput::Answer { to, outcome, .. } if *to == self.home.number() => {
                    self.operator_answer = Some(outcome.clone());
                    continue;
                }
                MessageOutput::Answer { to, .. } => *to,
                MessageOutput::Deliver(delivery) => delivery.client.home,
                MessageOutput::Receipt { client, .. } | MessageOutput::Presence { client, .. } => client.home,
            };
            self.outbox.command(to).push_message(output);
        }
    }

    /// What the office would say, by hand.
    #[cfg(test)]
    pub(in crate::hub) fn say_message(&mut self, to: crate::model::ids::HomeId, output: MessageOutput) {
        self.outbox.command(to).push_message(output);
    }
}
