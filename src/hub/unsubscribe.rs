//! Unsubscribing, by name, by `*` and altogether. PURE. Home: one shard.
//! Invariants: a topic that nobody on the shard needs any more is left, once its home has answered every question; what
//! ends costs what it is asked for, a `*` counted as all that it stands for, however much else is subscribed to.

use crate::dialect::json_rpc;
use crate::model::channel::{Channel, Checksum, MarketChannel, PrivateChannel, TopicKey};
use crate::model::ids::{ConnId, InstrumentId};

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
                    Some(Channel::Private(channel)) => self.end_private(conn, channel),
                    Some(Channel::Instrument { instrument, channel }) => {
                        // Those of that name before, too: who had subscribed to one still has.
                        let mut known = false;
                        let mut next = self.cache.find(&instrument);
                        while let Some(instrument) = next {
                            let key = self.market_key(conn, instrument, channel);
                            known |= self.end_named(conn, &key);
                            next = self.cache.earlier(instrument);
                        }
                        known
                    }
                    Some(Channel::Every { channel }) => self.end_pattern(conn, channel),
                    Some(Channel::PlatformState) => self.hear_platform(conn, false),
                };
            }
            if known {
                ended.push(text.as_ref());
            }
        }
        self.reply_with(reply_to, |out| json_rpc::write_channels(out, ended.iter().copied()));
    }

    /// What a private channel means to a client, if it has logged in: of one instrument also those of that name before, as for
    /// market channels.
    fn end_private(&mut self, conn: ConnId, channel: PrivateChannel) -> bool {
        let (account, view) = (self.account_of(conn), self.view_of(channel));
        let (Some(account), Some(mut view)) = (account, view) else { return false };
        let mut known = false;
        loop {
            known |= self.end_named(conn, &TopicKey::Private { account, view });
            let earlier = view.filter.instrument.and_then(|instrument| self.cache.earlier(instrument));
            let Some(instrument) = earlier else { return known };
            view.filter.instrument = Some(instrument);
        }
    }

    fn end_named(&mut self, conn: ConnId, key: &TopicKey) -> bool {
        let Some(subscription) = self.subscription_to(conn, key) else { return false };
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
        if session.patterns.is_empty() {
            self.pattern_sessions.remove(&conn);
        }
        let instruments = self.cache.instruments().len();
        for number in 0..instruments {
            let instrument = InstrumentId(super::topics::narrow(number));
            let key = self.market_key(conn, instrument, channel);
            let Some(subscription) = self.subscription_to(conn, &key) else { continue };
            let entry = self.topics.subscription(subscription);
            if std::mem::replace(&mut entry.by_pattern, false) && !entry.named {
                self.end_subscription(conn, subscription);
            }
        }
        true
    }

    /// Ends what a connection has by a `*` alone of instruments that are traded no more; a walk through all that it has only where
    /// there is one more of these since the last.
    pub(super) fn end_delisted(&mut self, conn: ConnId) {
        let delistings = self.cache.delistings();
        let Some(session) = self.session(conn) else { return };
        if std::mem::replace(&mut session.delistings_seen, delistings) == delistings {
            return;
        }
        let all = self.session(conn).map_or_else(Vec::new, |session| session.subscriptions.clone());
        for subscription in all {
            let entry = self.topics.subscription(subscription);
            let (by_pattern, named, topic) = (entry.by_pattern, entry.named, entry.topic);
            let TopicKey::Market { instrument, .. } = self.topics.topic(topic).key else { continue };
            if by_pattern && !named && !self.cache.is_listed(instrument) {
                self.end_subscription(conn, subscription);
            }
        }
    }

    fn subscription_to(&self, conn: ConnId, key: &TopicKey) -> Option<u32> {
        self.topics.find_subscription(conn, self.topics.find(key)?)
    }

    /// Ends all subscriptions of a connection.
    pub(super) fn unsubscribe_all(&mut self, conn: ConnId) {
        let Some(session) = self.session(conn) else { return };
        let had_patterns = !std::mem::take(&mut session.patterns).is_empty();
        for subscription in std::mem::take(&mut session.subscriptions) {
            self.drop_subscription(conn, subscription);
        }
        if had_patterns {
            self.pattern_sessions.remove(&conn);
        }
    }

    /// Ends one. The last of the session's list takes its place there; the others stay where they are.
    pub(super) fn end_subscription(&mut self, conn: ConnId, subscription: u32) {
        let place = self.topics.subscription(subscription).place;
        if let Some(session) = self.session(conn) {
            let removed = session.subscriptions.swap_remove(place as usize);
            assert_eq!(removed, subscription, "a subscription knows its place in its session's list");
            if let Some(moved) = session.subscriptions.get(place as usize).copied() {
                self.topics.subscription(moved).place = place;
            }
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
