//! Unsubscribing, by name, by `*` and altogether. PURE. Home: one shard.
//! Invariant: a topic that nobody on the shard needs any more is left, once its home has answered every question.

use crate::dialect::json_rpc;
use crate::model::channel::{Channel, Checksum, MarketChannel, TopicKey};
use crate::model::ids::ConnId;

use super::Hub;
use super::batch::Record;
use super::requests::ReplyTo;

impl Hub {
    /// `public/unsubscribe`.
    pub(super) fn unsubscribe(&mut self, reply_to: &ReplyTo<'_>, channels: &[std::borrow::Cow<'_, str>]) {
        let conn = reply_to.conn;
        let mut ended = Vec::new();
        for text in channels {
            let mut known = false;
            for checksum in [Checksum::Absent, Checksum::Crc32] {
                known |= match Channel::parse(text, checksum) {
                    None => false,
                    Some(Channel::Topic(name)) => self.end_named(conn, &TopicKey::Client(name)),
                    Some(Channel::Instrument { instrument, channel }) => {
                        let instrument = self.cache.find(&instrument);
                        instrument.is_some_and(|instrument| {
                            self.end_named(conn, &TopicKey::Market { instrument, channel })
                        })
                    }
                    Some(Channel::Every { channel }) => self.end_pattern(conn, channel),
                };
            }
            if known {
                ended.push(text.as_ref());
            }
        }
        self.reply_with(reply_to, |out| json_rpc::write_channels(out, ended.iter().copied()));
    }

    fn end_named(&mut self, conn: ConnId, key: &TopicKey) -> bool {
        let Some(topic) = self.topics.find(key) else { return false };
        let Some(subscription) = self.topics.find_subscription(conn, topic) else { return false };
        let entry = self.topics.subscription(subscription);
        let known = std::mem::replace(&mut entry.named, false);
        if !entry.by_pattern {
            self.end_subscription(conn, subscription);
        }
        known
    }

    pub(super) fn end_pattern(&mut self, conn: ConnId, channel: MarketChannel) -> bool {
        let Some(session) = self.session(conn) else { return false };
        let before = session.patterns.len();
        session.patterns.retain(|pattern| pattern.channel != channel);
        if session.patterns.len() == before {
            return false;
        }
        let none_left = session.patterns.is_empty();
        let subscriptions = std::mem::take(&mut session.subscriptions);
        let mut kept = Vec::with_capacity(subscriptions.len());
        for subscription in subscriptions {
            let entry = self.topics.subscription(subscription);
            let topic = entry.topic;
            let ends = match self.topics.topic(topic).key {
                TopicKey::Market { channel: of, .. } if of == channel => {
                    let entry = self.topics.subscription(subscription);
                    std::mem::replace(&mut entry.by_pattern, false) && !entry.named
                }
                TopicKey::Market { .. } | TopicKey::Client(_) => false,
            };
            if ends {
                self.drop_subscription(conn, subscription);
            } else {
                kept.push(subscription);
            }
        }
        if let Some(session) = self.session(conn) {
            session.subscriptions = kept;
        }
        if none_left {
            self.pattern_sessions.retain(|known| *known != conn);
        }
        true
    }

    /// Ends all subscriptions of a connection.
    pub(super) fn unsubscribe_all(&mut self, conn: ConnId) {
        let Some(session) = self.session(conn) else { return };
        let had_patterns = !std::mem::take(&mut session.patterns).is_empty();
        for subscription in std::mem::take(&mut session.subscriptions) {
            self.drop_subscription(conn, subscription);
        }
        if had_patterns {
            self.pattern_sessions.retain(|known| *known != conn);
        }
    }

    pub(super) fn end_subscription(&mut self, conn: ConnId, subscription: u32) {
        if let Some(session) = self.session(conn) {
            session.subscriptions.retain(|known| *known != subscription);
        }
        self.drop_subscription(conn, subscription);
    }

    fn drop_subscription(&mut self, conn: ConnId, subscription: u32) {
        let entry = self.topics.subscription(subscription);
        let topic = entry.topic;
        if entry.listed {
            self.egress.unlist(&mut self.topics.subscriptions, conn.slot, subscription);
        }
        self.topics.unsubscribe(subscription);
        self.leave_if_unneeded(topic);
    }

    pub(super) fn leave_if_unneeded(&mut self, topic: u32) {
        let Some(entry) = self.topics.topics.get(topic as usize) else { return };
        if entry.subscriptions == 0 && entry.joins == 0 {
            let home = entry.home;
            if let Some(topic) = self.topics.remove(topic) {
                self.outbox.command(home).records.push(Record::Leave { topic });
            }
        } else {
            self.tell_windows(topic);
        }
    }
}
