//! Subscribing and unsubscribing: from channels to topics, through the topic's home where it must be. PURE.
//! Home: one shard.
//!
//! A topic that the shard already listens to is joined here and now; else, and to resume, its home is asked and answers
//! in the stream of events. Until then the connection's data is held, so that the reply comes before what it announces.

use crate::dialect::json_rpc::{self, Failure, Recovery, SubscribeParams};
use crate::limits;
use crate::model::channel::{Channel, Checksum, DeliveryClass, MarketChannel, TopicKey};
use crate::model::ids::{ConnId, HomeId, InstrumentId, Position};

use super::Hub;
use super::batch::{JoinOutcome, Record};
use super::fanout::Overflow;
use super::requests::ReplyTo;
use super::session::Pattern;
use super::topics::{SubscriptionState, TopicKind, TopicState};

/// A question to a topic's home.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) topic: u32,
    pub(super) conn: ConnId,
    /// `None` where the shard itself recovers the topic.
    pub(super) subscription: Option<u32>,
    resume: Option<Position>,
    /// The client's request that waits for it.
    request: Option<super::batch::Ticket>,
    /// The channel's place in the request's list.
    channel: usize,
}

/// A subscribe that waits for homes.
#[derive(Debug)]
pub(super) struct PendingSubscribe {
    reply_to: ReplyTo,
    /// As the client wrote them; emptied where a home refused.
    channels: Vec<String>,
    resumed: Vec<(String, Recovery)>,
    outstanding: usize,
}

/// One subscription to make.
struct Wanted {
    key: TopicKey,
    by_pattern: bool,
    /// Place in the request's list of channels.
    channel: usize,
    resume: Option<(String, Position)>,
}

impl Hub {
    /// `public/subscribe`.
    pub(super) fn subscribe(&mut self, reply_to: ReplyTo, params: &SubscribeParams<'_>) {
        let conn = reply_to.conn;
        let mut channels = Vec::new();
        let mut wanted = Vec::new();
        let mut patterns = Vec::new();
        for text in &params.channels {
            let Some(channel) = Channel::parse(text, params.checksum) else { continue };
            let place = channels.len();
            let mut want = |key, by_pattern, resume| {
                wanted.push(Wanted { key, by_pattern, channel: place, resume });
            };
            match channel {
                Channel::Topic(name) => want(TopicKey::Client(name), false, resume_place(params, text)),
                Channel::Instrument { instrument, channel } => {
                    let Some(instrument) = self.cache.find(&instrument) else { continue };
                    want(TopicKey::Market { instrument, channel }, false, resume_place(params, text));
                }
                Channel::Every { channel } => {
                    patterns.push(Pattern { channel, class: params.class });
                    for (instrument, state) in self.cache.instruments() {
                        let resume = match params.resume.is_empty() {
                            true => None,
                            false => {
                                let mut name = Vec::new();
                                channel.write(&mut name, &state.definition.name);
                                resume_place(params, &String::from_utf8_lossy(&name))
                            }
                        };
                        want(TopicKey::Market { instrument, channel }, true, resume);
                    }
                }
            }
            channels.push(text.to_string());
        }
        let held = self.session(conn).map_or(0, |session| session.subscriptions.len());
        if held + wanted.len() > self.config.subscriptions_max {
            return self.reply_error(
                &reply_to,
                Failure::INVALID_PARAMS.because("too many subscriptions").at("channels"),
            );
        }
        if self.joins.entries.len() + wanted.len() > limits::REQUESTS_PENDING_MAX {
            return self.reply_error(&reply_to, Failure::RETRY);
        }
        self.add_patterns(conn, patterns);
        self.make_subscriptions(reply_to, channels, wanted, params.class);
    }

    fn make_subscriptions(
        &mut self,
        reply_to: ReplyTo,
        channels: Vec<String>,
        wanted: Vec<Wanted>,
        class: Option<DeliveryClass>,
    ) {
        let conn = reply_to.conn;
        let pending = PendingSubscribe { reply_to, channels, resumed: Vec::new(), outstanding: 1 };
        let request = self.subscribes.issue(pending);
        let mut live = Vec::new();
        for want in wanted {
            let Some((subscription, topic)) = self.add_subscription(conn, want.key, class, want.by_pattern)
            else {
                continue;
            };
            let is_live = self.topics.topic(topic).state == TopicState::Live;
            match want.resume {
                None if is_live => live.push(subscription),
                resume => {
                    let place = resume.as_ref().map(|(_, place)| *place);
                    if let (Some((name, _)), Some(pending)) = (resume, self.subscribes.peek_mut(request)) {
                        pending.resumed.push((name, Recovery::Lost));
                    }
                    self.ask_home(topic, conn, Some(subscription), place, Some(request), want.channel);
                }
            }
        }
        // The reply comes first, then what is known here already.
        self.end_join(request, 1);
        for subscription in live {
            self.activate(subscription, JoinOutcome::Fresh);
        }
    }

    /// A subscription of a connection to a topic and the topic; `None` if it has one already.
    fn add_subscription(
        &mut self,
        conn: ConnId,
        key: TopicKey,
        class: Option<DeliveryClass>,
        by_pattern: bool,
    ) -> Option<(u32, u32)> {
        let home = self.home_of(&key);
        let topic = self.topics.find(&key).unwrap_or_else(|| self.topics.insert(key, home));
        let known = self.topics.find_subscription(conn, topic);
        let subscription = known.unwrap_or_else(|| {
            let kind = self.topics.topic(topic).kind;
            let class = match key {
                // A print that happened is never conflated.
                TopicKey::Market { channel: MarketChannel::Trades { .. }, .. } => DeliveryClass::Lossless,
                TopicKey::Market { .. } | TopicKey::Client(_) => class.unwrap_or(kind.default_class()),
            };
            self.topics.subscribe(conn, topic, class)
        });
        let entry = self.topics.subscription(subscription);
        if by_pattern {
            entry.by_pattern = true;
        } else {
            entry.named = true;
        }
        if known.is_some() {
            return None;
        }
        if let Some(session) = self.session(conn) {
            session.subscriptions.push(subscription);
        }
        Some((subscription, topic))
    }

    fn home_of(&self, key: &TopicKey) -> HomeId {
        match key {
            TopicKey::Market { .. } => self.venue(),
            TopicKey::Client(name) => self.home_of_name(name),
        }
    }

    fn ask_home(
        &mut self,
        topic: u32,
        conn: ConnId,
        subscription: Option<u32>,
        resume: Option<Position>,
        request: Option<super::batch::Ticket>,
        channel: usize,
    ) {
        let entry = self.topics.topic(topic);
        entry.joins += 1;
        let (key, home) = (entry.key, entry.home);
        let ticket = self.joins.issue(Join { topic, conn, subscription, resume, request, channel });
        self.outbox.command(home).records.push(Record::Join { key, ticket, resume });
        if let Some(pending) = request.and_then(|request| self.subscribes.peek_mut(request)) {
            pending.outstanding += 1;
            if let Some(lanes) = self.egress.lanes_of(conn) {
                lanes.held += 1;
            }
        }
    }

    /// Asks a topic's home what was missed since it was last heard, and repeats the questions that it may not have
    /// been able to answer.
    pub(super) fn rejoin(&mut self, topic: u32) {
        let entry = self.topics.topic(topic);
        let (key, home) = (entry.key, entry.home);
        if entry.state == TopicState::Live {
            entry.state = TopicState::Recovering;
            let resume = Some(Position { epoch: entry.epoch, seq: entry.seq });
            let nobody = ConnId { slot: u32::MAX, generation: 0 };
            self.ask_home(topic, nobody, None, resume, None, 0);
            let mine = |join: &Join| join.topic == topic && join.subscription.is_some();
            self.repeat_joins(home, key, mine);
        } else {
            self.repeat_joins(home, key, |join| join.topic == topic);
        }
    }

    fn repeat_joins(&mut self, home: HomeId, key: TopicKey, which: impl Fn(&Join) -> bool) {
        let Hub { joins, outbox, topics, .. } = self;
        for (slot, (generation, join)) in &joins.entries {
            if which(join) {
                let ticket =
                    super::batch::Ticket { slot: super::topics::narrow(slot), generation: *generation };
                // What a recovering topic has seen since the question was first put is not asked for again.
                let entry = topics.topic(join.topic);
                let resume = match join.subscription {
                    None => Some(Position { epoch: entry.epoch, seq: entry.seq }),
                    Some(_) => join.resume,
                };
                outbox.command(home).records.push(Record::Join { key, ticket, resume });
            }
        }
    }

    /// A home has answered.
    pub(super) fn on_joined(&mut self, record: &Record) {
        let Record::Joined { ticket, topic: id, epoch, seq, change_id, outcome, .. } = *record else {
            return;
        };
        let Some(join) = self.joins.redeem(ticket) else { return };
        let topic = self.topics.topic(join.topic);
        topic.joins -= 1;
        let whole_topic = join.subscription.is_none();
        let starts = match topic.state {
            TopicState::Joining => outcome != JoinOutcome::Refused,
            TopicState::Recovering => whole_topic,
            TopicState::Live => false,
        };
        if starts {
            let gone_on = whole_topic && outcome == JoinOutcome::Recovered;
            assert!(!gone_on || topic.seq == seq, "a recovered topic stands where its home does");
            topic.state = TopicState::Live;
            (topic.epoch, topic.seq, topic.change_id) = (epoch, seq, change_id);
            if !gone_on {
                topic.value_seq = None;
            }
            if outcome != JoinOutcome::Refused {
                self.topics.identify(join.topic, id);
            }
            if whole_topic && !gone_on {
                self.restart_listeners(join.topic);
            }
        }
        // Before the subscription ends, and with it perhaps the topic whose name the reply tells.
        self.settle_request(&join, outcome);
        if let Some(subscription) = join.subscription
            && self.is_joining(subscription, join.conn, join.topic)
        {
            if outcome == JoinOutcome::Refused {
                self.end_subscription(join.conn, subscription);
            } else {
                self.activate(subscription, outcome);
            }
        }
        self.leave_if_unneeded(join.topic);
    }

    fn settle_request(&mut self, join: &Join, outcome: JoinOutcome) {
        let Some(request) = join.request else { return };
        let name = self.channel_name(join.topic);
        if let Some(pending) = self.subscribes.peek_mut(request) {
            match outcome {
                JoinOutcome::Refused => pending.channels[join.channel].clear(),
                JoinOutcome::Recovered => {
                    for (channel, recovery) in &mut pending.resumed {
                        if channel.as_bytes() == name {
                            *recovery = Recovery::Recovered;
                        }
                    }
                }
                JoinOutcome::Fresh | JoinOutcome::NotRecovered => {}
            }
        }
        if let Some(lanes) = self.egress.lanes_of(join.conn) {
            lanes.held -= 1;
        }
        self.end_join(request, 1);
        if self.session(join.conn).is_some() {
            self.egress.make_ready(join.conn.slot);
        }
    }

    /// One less to wait for; the last sends the reply.
    fn end_join(&mut self, request: super::batch::Ticket, count: usize) {
        let Some(pending) = self.subscribes.peek_mut(request) else { return };
        pending.outstanding -= count;
        if pending.outstanding > 0 {
            return;
        }
        let Some(pending) = self.subscribes.redeem(request) else { return };
        self.reply_with(&pending.reply_to, |out| {
            let accepted = pending.channels.iter().map(String::as_str).filter(|channel| !channel.is_empty());
            json_rpc::write_channels(out, accepted);
            if !pending.resumed.is_empty() {
                let resumed = pending.resumed.iter().map(|(channel, recovery)| (channel.as_str(), *recovery));
                json_rpc::write_resumed(out, resumed);
            }
        });
    }

    /// The subscription holds from the topic's newest event on.
    fn activate(&mut self, subscription: u32, outcome: JoinOutcome) {
        let Some(entry) = self.topics.subscriptions.get(subscription as usize) else { return };
        let (topic, class) = (entry.topic, entry.class);
        let kind = self.topics.topic(topic).kind;
        let told = outcome == JoinOutcome::Recovered;
        match (kind, class) {
            (TopicKind::Value | TopicKind::Events, DeliveryClass::Latest) => {
                self.topics.watch(subscription);
                if kind == TopicKind::Value && !told {
                    self.list_if_told(subscription);
                }
            }
            (TopicKind::Events, DeliveryClass::Lossless) => self.topics.follow(subscription),
            (TopicKind::Value, DeliveryClass::Lossless) | (TopicKind::Book, _) if told => {
                self.topics.follow(subscription);
            }
            (TopicKind::Value, DeliveryClass::Lossless) | (TopicKind::Book, _) => {
                self.topics.make_stale(subscription);
                self.list_if_told(subscription);
            }
        }
    }

    /// A topic starts over after a gap that could not be filled.
    fn restart_listeners(&mut self, topic: u32) {
        let kind = self.topics.topic(topic).kind;
        for follower in std::mem::take(&mut self.topics.topic(topic).followers) {
            let entry = self.topics.subscription(follower.subscription);
            entry.state = SubscriptionState::Joining;
            let conn = entry.conn;
            match (follower.class, kind) {
                (DeliveryClass::Latest, TopicKind::Book) => {
                    self.activate(follower.subscription, JoinOutcome::Fresh)
                }
                (DeliveryClass::Latest, TopicKind::Value | TopicKind::Events)
                | (DeliveryClass::Lossless, _) => {
                    self.topics.follow(follower.subscription);
                    self.overflowed.push((conn, Overflow::Gap));
                }
            }
        }
        for watcher in self.topics.topic(topic).watchers.clone() {
            self.list_if_told(watcher.subscription);
        }
        for stale in self.topics.topic(topic).stale.clone() {
            self.list_if_told(stale.subscription);
        }
    }

    fn add_patterns(&mut self, conn: ConnId, patterns: Vec<Pattern>) {
        let Some(session) = self.session(conn) else { return };
        for pattern in patterns {
            if !session.patterns.iter().any(|known| known.channel == pattern.channel) {
                session.patterns.push(pattern);
            }
        }
        if !session.patterns.is_empty() && !self.pattern_sessions.contains(&conn) {
            self.pattern_sessions.push(conn);
        }
    }

    /// A new instrument: those with `*` subscriptions get its channels too, as far as their bound allows.
    pub(super) fn extend_patterns(&mut self, instrument: InstrumentId) {
        for conn in self.pattern_sessions.clone() {
            let patterns = self.session(conn).map_or_else(Vec::new, |session| session.patterns.clone());
            for Pattern { channel, class } in patterns {
                let held = self.session(conn).map_or(0, |session| session.subscriptions.len());
                if held >= self.config.subscriptions_max {
                    continue;
                }
                let key = TopicKey::Market { instrument, channel };
                if let Some((subscription, topic)) = self.add_subscription(conn, key, class, true) {
                    if self.topics.topic(topic).state == TopicState::Live {
                        self.activate(subscription, JoinOutcome::Fresh);
                    } else {
                        self.ask_home(topic, conn, Some(subscription), None, None, 0);
                    }
                }
            }
        }
    }

    /// `public/unsubscribe`.
    pub(super) fn unsubscribe(&mut self, reply_to: &ReplyTo, channels: &[std::borrow::Cow<'_, str>]) {
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

    fn end_pattern(&mut self, conn: ConnId, channel: MarketChannel) -> bool {
        let Some(session) = self.session(conn) else { return false };
        let before = session.patterns.len();
        session.patterns.retain(|pattern| pattern.channel != channel);
        let known = session.patterns.len() < before;
        if known {
            for subscription in session.subscriptions.clone() {
                let entry = self.topics.subscription(subscription);
                let (topic, named, by_pattern) = (entry.topic, entry.named, entry.by_pattern);
                let key = self.topics.topic(topic).key;
                if by_pattern && matches!(key, TopicKey::Market { channel: of, .. } if of == channel) {
                    self.topics.subscription(subscription).by_pattern = false;
                    if !named {
                        self.end_subscription(conn, subscription);
                    }
                }
            }
        }
        known
    }

    /// Ends all subscriptions of a connection.
    pub(super) fn unsubscribe_all(&mut self, conn: ConnId) {
        let Some(session) = self.session(conn) else { return };
        session.patterns.clear();
        for subscription in std::mem::take(&mut session.subscriptions) {
            self.drop_subscription(conn, subscription);
        }
        self.pattern_sessions.retain(|known| *known != conn);
    }

    fn end_subscription(&mut self, conn: ConnId, subscription: u32) {
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

    fn leave_if_unneeded(&mut self, topic: u32) {
        let Some(entry) = self.topics.topics.get(topic as usize) else { return };
        if entry.subscriptions == 0 && entry.joins == 0 {
            let home = entry.home;
            if let Some(topic) = self.topics.remove(topic) {
                self.outbox.command(home).records.push(Record::Leave { topic });
            }
        }
    }

    fn channel_name(&mut self, topic: u32) -> Vec<u8> {
        let mut name = Vec::new();
        match self.topics.topic(topic).key {
            TopicKey::Client(topic) => {
                name.extend_from_slice(b"topic.");
                name.extend_from_slice(topic.as_bytes());
            }
            TopicKey::Market { instrument, channel } => {
                channel.write(&mut name, &self.cache.state(instrument).definition.name);
            }
        }
        name
    }
}

/// Where a client wants to resume a channel.
fn resume_place(params: &SubscribeParams<'_>, channel: &str) -> Option<(String, Position)> {
    params.resume.iter().find(|(name, _)| name == channel).map(|(name, place)| (name.to_string(), *place))
}
