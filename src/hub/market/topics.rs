//! What clients publish, where the market's home sequences it: one place for the clients of several nodes. PURE. Home: the venue's thread.

use crate::model::channel::{TopicKey, TopicName};
use crate::model::ids::{HomeId, Position, Ticket, TopicId};
use crate::model::time::Now;

use super::super::batch::{PublishRefusal, Record};
use super::super::publish::publish_to;
use super::MarketHome;

impl MarketHome {
    /// A client publishes: JSON text, already validated. `known` is what the name meant when it was last published to.
    pub(super) fn handle_publish(
        &mut self,
        from: HomeId,
        ticket: Ticket,
        (name, known): (TopicName, Option<TopicId>),
        data: &[u8],
        now: Now,
    ) {
        self.work.requests += 1;
        let outcome = self.sequence(name, known, data, now);
        self.outbox.command(from).records.push(Record::Published { ticket, outcome });
    }

    fn sequence(
        &mut self,
        name: TopicName,
        known: Option<TopicId>,
        data: &[u8],
        now: Now,
    ) -> Result<(TopicId, Position), PublishRefusal> {
        let key = TopicKey::Client(name);
        let slot = match known.and_then(|id| self.home.resolve(id)).or_else(|| self.home.find(&key)) {
            Some(slot) => slot,
            None if self.is_shedding => return Err(PublishRefusal::Overloaded),
            None => self.home.intern(key, now).ok_or(PublishRefusal::TooManyTopics)?,
        };
        let position = publish_to(&mut self.home, slot, &name, data, self.outbox.data(), now);
        Ok((self.home.id(slot), position))
    }
}
