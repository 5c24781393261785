//! What clients publish: to the topic's home, sequenced there, and back to all who listen. PURE. Home: one shard.
//! Invariant: the data of a message is one whole JSON value that the dialect has validated, so it can't break the
//! frame that carries it; it is delivered byte for byte.

use crate::dialect::json_rpc::{self, Failure};
use crate::limits;
use crate::model::channel::{TopicKey, TopicName};
use crate::model::ids::{HomeId, Position, Seq, TopicId};
use crate::model::time::Now;

use super::Hub;
use super::batch::{Batch, PublishRefusal, Record, Ticket};
use super::home::{Home, HomeTopicSlot};
use super::incident::{Declined, Incident};
use super::requests::{KeptReplyTo, ReplyTo};
use super::text_frame::append_text_frame;

/// A message on its way to its topic's home, elsewhere.
#[derive(Debug)]
pub(super) struct PendingPublish {
    by: Publisher,
    name: TopicName,
}

#[derive(Debug)]
enum Publisher {
    Client(KeptReplyTo),
    Operator,
}

const TOPIC_PREFIX: &[u8] = b"topic.";

impl Hub {
    /// `topic/publish`.
    pub(super) fn publish(&mut self, reply_to: ReplyTo<'_>, topic: &str, data: &[u8]) {
        let Some(name) = TopicName::parse(topic.as_bytes()) else {
            let failure = Failure::INVALID_PARAMS.because("1 to 63 of A-Z a-z 0-9 _ - : / .").at("topic");
            return self.reply_error(&reply_to, failure);
        };
        if let Err(failure) = self.check_publish(reply_to.conn, topic) {
            return self.reply_error(&reply_to, failure);
        }
        let known = self.session(reply_to.conn).and_then(|session| session.published_to.as_deref().copied());
        let known = known.filter(|(known, _)| *known == name).map(|(_, id)| id);
        let home = self.home_of_name(&name);
        if home == self.me {
            let outcome = self.sequence(name, known, data);
            return self.answer_publish(&reply_to, name, known, outcome);
        }
        let conn = reply_to.conn;
        let full = self.publishes.entries.len() >= limits::REQUESTS_PENDING_MAX;
        let pending_max = self.config.requests_pending_max;
        let Some(session) = self.session(conn) else { return };
        if full || session.requests_pending >= pending_max {
            self.report(conn, Incident::Declined(Declined::RequestsPending));
            return self
                .reply_error(&reply_to, Failure::RETRY.because("not sent: too many requests in flight"));
        }
        session.requests_pending += 1;
        self.send_publish(Publisher::Client(reply_to.keep()), name, known, data);
    }

    /// Has a topic's home elsewhere sequence a message.
    fn send_publish(&mut self, by: Publisher, name: TopicName, known: Option<TopicId>, data: &[u8]) {
        let home = self.home_of_name(&name);
        let ticket = self.publishes.issue(PendingPublish { by, name });
        let batch = self.outbox.command(home);
        let data = batch.push_bytes(data);
        batch.records.push(Record::Publish { ticket, name, topic: known, data });
    }

    /// An operator publishes to a topic of this home, or of the market's in a cluster, where [`Hub::take_published`] says later what came of it:
    /// `None`. One at a time.
    pub fn handle_publish(
        &mut self,
        name: TopicName,
        data: &[u8],
        now: Now,
    ) -> Option<Result<Position, PublishRefusal>> {
        self.now = now;
        if self.home_of_name(&name) == self.me {
            let outcome = self.sequence(name, None, data);
            self.counters.messages_published_total += u64::from(outcome.is_ok());
            return Some(outcome.map(|(_, position)| position));
        }
        if self.publishes.entries.len() >= limits::REQUESTS_PENDING_MAX {
            return Some(Err(PublishRefusal::Overloaded));
        }
        self.send_publish(Publisher::Operator, name, None, data);
        None
    }

    /// What came of what an operator published elsewhere, once.
    pub fn take_published(&mut self) -> Option<Result<Position, PublishRefusal>> {
        self.operator_published.take()
    }

    /// Another shard's client publishes to a topic of this home.
    pub(super) fn on_publish(
        &mut self,
        from: HomeId,
        ticket: Ticket,
        name: TopicName,
        topic: Option<TopicId>,
        data: &[u8],
    ) {
        let outcome = self.sequence(name, topic, data);
        self.outbox.command(from).records.push(Record::Published { ticket, outcome });
    }

    /// The home has answered.
    pub(super) fn on_published(
        &mut self,
        ticket: Ticket,
        outcome: Result<(TopicId, Position), PublishRefusal>,
    ) {
        let Some(PendingPublish { by, name }) = self.publishes.redeem(ticket) else { return };
        let reply_to = match by {
            Publisher::Client(reply_to) => reply_to,
            Publisher::Operator => {
                self.counters.messages_published_total += u64::from(outcome.is_ok());
                self.operator_published = Some(outcome.map(|(_, position)| position));
                return;
            }
        };
        let reply_to = reply_to.get();
        if let Some(session) = self.session(reply_to.conn) {
            session.requests_pending -= 1;
        }
        self.answer_publish(&reply_to, name, None, outcome);
        self.settle(reply_to.conn);
    }

    /// Tells a client of this shard what has become of its message.
    fn answer_publish(
        &mut self,
        reply_to: &ReplyTo<'_>,
        name: TopicName,
        known: Option<TopicId>,
        outcome: Result<(TopicId, Position), PublishRefusal>,
    ) {
        match outcome {
            Ok((id, position)) => {
                self.counters.messages_published_total += 1;
                self.remember(reply_to, name, known, id);
                self.reply_with(reply_to, |out| json_rpc::write_position(out, position));
            }
            Err(refusal) => self.refuse_publish(reply_to, refusal),
        }
    }

    /// Gives a message its place and encodes it, once.
    fn sequence(
        &mut self,
        name: TopicName,
        known: Option<TopicId>,
        data: &[u8],
    ) -> Result<(TopicId, Position), PublishRefusal> {
        let slot = known.and_then(|id| self.home.resolve(id));
        let slot: HomeTopicSlot = match slot {
            Some(slot) => slot,
            None => self.home_topic(name)?,
        };
        let position = publish_to(&mut self.home, slot, &name, data, self.outbox.data(), self.now);
        Ok((self.home.id(slot), position))
    }

    fn refuse_publish(&mut self, reply_to: &ReplyTo<'_>, refusal: PublishRefusal) {
        let why = match refusal {
            PublishRefusal::OwnerAway => return self.reply_error(reply_to, json_rpc::OWNER_AWAY),
            PublishRefusal::OwnerLost => return self.reply_error(reply_to, json_rpc::OWNER_LOST),
            PublishRefusal::TooManyTopics => "not sent: too many topics",
            PublishRefusal::Overloaded => {
                // Who asked may have gone while another shard refused it; its slot may be another peer's by now.
                if self.session(reply_to.conn).is_some() {
                    self.report(reply_to.conn, Incident::Declined(Declined::Overload));
                }
                "not sent: the server is overloaded"
            }
        };
        self.reply_error(reply_to, Failure::RETRY.because(why));
    }

    /// The topic of a name, made if need be and there is room.
    fn home_topic(&mut self, name: TopicName) -> Result<HomeTopicSlot, PublishRefusal> {
        let key = TopicKey::Client(name);
        if self.overload_failure().is_some() && self.home.find(&key).is_none() {
            return Err(PublishRefusal::Overloaded);
        }
        self.home.intern(key, self.now).ok_or(PublishRefusal::TooManyTopics)
    }

    /// The home that sequences a topic.
    pub(super) fn home_of_name(&self, name: &TopicName) -> HomeId {
        if self.config.topics_at_market {
            return self.venue();
        }
        let shard = name.hash() % u64::from(self.shards);
        HomeId(u8::try_from(shard).expect("invariant: a remainder of the number of shards is less"))
    }

    fn remember(&mut self, reply_to: &ReplyTo<'_>, name: TopicName, known: Option<TopicId>, id: TopicId) {
        if known == Some(id) {
            return;
        }
        if let Some(session) = self.session(reply_to.conn) {
            match &mut session.published_to {
                Some(place) => **place = (name, id),
                None => session.published_to = Some(Box::new((name, id))),
            }
        }
    }
}

/// Gives a message its place in its topic and encodes it, once.
pub(super) fn publish_to(
    home: &mut Home,
    slot: HomeTopicSlot,
    name: &TopicName,
    data: &[u8],
    out: &mut Batch,
    now: Now,
) -> Position {
    let position = home.next_position(slot);
    let mut channel = [0; TOPIC_PREFIX.len() + crate::model::channel::TOPIC_NAME_BYTES_MAX];
    let channel_len = TOPIC_PREFIX.len() + name.as_bytes().len();
    channel[..TOPIC_PREFIX.len()].copy_from_slice(TOPIC_PREFIX);
    channel[TOPIC_PREFIX.len()..channel_len].copy_from_slice(name.as_bytes());
    let frame = append_text_frame(&mut out.bytes, |bytes| {
        json_rpc::open_notification(bytes, &channel[..channel_len]);
        json_rpc::write_topic(bytes, data);
        json_rpc::close_notification(bytes, position.epoch, position.seq, now.unix_ns);
    });
    home.publish(slot, Seq(0), frame, out, now);
    position
}
