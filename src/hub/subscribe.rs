//! Subscribing: from channels to topics, through the topic's home where it must be. PURE.
//! Home: one shard.
//!
//! A topic that the shard already listens to is joined here and now; else, and to resume, its home is asked and answers
//! in the stream of events. Until then the connection's data is held, so that the reply comes before what it announces.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use crate::dialect::json_rpc::{self, Failure, Recovery, SubscribeParams};
use crate::limits;
use crate::model::channel::{Channel, DeliveryClass, MarketChannel, TopicKey};
use crate::model::encoding::Encoding;
use crate::model::ids::{ConnId, HomeId, InstrumentId, Position};

use super::Hub;
use super::batch::{JoinOutcome, Record, Ticket};
use super::deflation::Compression;
use super::incident::{Closing, Declined, Incident};
use super::requests::{KeptReplyTo, ReplyTo};
use super::session::Pattern;
use super::topics::{SubscriptionState, TopicKind, TopicState};
use crate::model::hasher::FixedHasher;

/// A question to a topic's home.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) topic: u32,
    pub(super) conn: ConnId,
    /// `None` where the shard itself recovers the topic.
    pub(super) subscription: Option<u32>,
    resume: Option<Position>,
    /// The client's request that waits for it.
    request: Option<InRequest>,
}

/// Which part of a client's request waits.
#[derive(Clone, Copy, Debug)]
struct InRequest {
    ticket: Ticket,
    /// The channel's place in the request's list.
    channel: usize,
    /// Its place in the list of those to be resumed.
    resumed: Option<usize>,
}

/// A subscribe that waits for homes.
#[derive(Debug)]
pub(super) struct PendingSubscribe {
    reply_to: KeptReplyTo,
    /// As the client wrote them; emptied where a home refused.
    channels: Vec<String>,
    resumed: Vec<(String, Recovery)>,
    /// Of private channels by their places among `channels`: where they stand, if they do not go on from where the client was.
    places: Vec<(usize, Position)>,
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

/// What a subscribe asks for, each topic once.
#[derive(Default)]
struct Asked {
    /// As the client wrote them.
    channels: Vec<String>,
    wanted: Vec<Wanted>,
    patterns: Vec<Pattern>,
    platform_state: bool,
    /// What is wanted already, and whether by a `*`.
    keys: HashSet<(TopicKey, bool), BuildHasherDefault<FixedHasher>>,
    /// Subscriptions that the connection does not have yet.
    added: usize,
}

/// Where a client wants to resume, in order of the channels' names.
struct ResumePlaces<'p> {
    places: Vec<(&'p str, Position)>,
}

impl<'p> ResumePlaces<'p> {
    fn new(params: &'p SubscribeParams<'_>) -> ResumePlaces<'p> {
        let mut places: Vec<_> = params.resume.iter().map(|(name, place)| (&**name, *place)).collect();
        places.sort_by_key(|(name, _)| *name);
        ResumePlaces { places }
    }

    fn find(&self, channel: &str) -> Option<(String, Position)> {
        let at = self.places.partition_point(|(name, _)| *name < channel);
        let (name, place) = self.places.get(at).filter(|(name, _)| *name == channel)?;
        Some(((*name).to_owned(), *place))
    }
}

impl Hub {
    /// `public/subscribe`.
    pub(super) fn subscribe(&mut self, reply_to: ReplyTo<'_>, params: &SubscribeParams<'_>) {
        let conn = reply_to.conn;
        if let Some(failure) = self.overload_failure() {
            self.report(conn, Incident::Declined(Declined::Overload));
            return self.reply_error(&reply_to, failure);
        }
        let request = match self.judge_subscribe(conn, params) {
            Ok(request) => request,
            Err(failure) => return self.reply_error(&reply_to, failure),
        };
        self.add_patterns(conn, request.patterns);
        if request.platform_state {
            self.hear_platform(conn, true);
        }
        self.make_subscriptions(reply_to, request.channels, request.wanted, params.class);
    }

    /// What a subscribe asks for beyond what there is; the bound ends the search, so that a short request can't ask for
    /// long work.
    fn judge_subscribe(&mut self, conn: ConnId, params: &SubscribeParams<'_>) -> Result<Asked, Failure> {
        let resume = ResumePlaces::new(params);
        let mut asked = Asked::default();
        for text in &params.channels {
            let Some(channel) = Channel::parse(text, params.checksum) else { continue };
            match channel {
                Channel::Private(_) => {}
                Channel::Topic(_)
                | Channel::Instrument { .. }
                | Channel::Every { .. }
                | Channel::PlatformState => {
                    self.check_subscribe(conn, text)?;
                }
            }
            match channel {
                Channel::PlatformState => asked.platform_state = true,
                Channel::Private(channel) => {
                    let account = self.check_subscribe_private(conn)?;
                    let Some(view) = self.view_of(conn, channel) else { continue };
                    self.want(
                        conn,
                        &mut asked,
                        TopicKey::Private { account, view },
                        false,
                        resume.find(text),
                    )?;
                }
                Channel::Topic(name) => {
                    self.want(conn, &mut asked, TopicKey::Client(name), false, resume.find(text))?;
                }
                Channel::Instrument { instrument, channel } => {
                    let Some(instrument) = self.cache.find_listed(&instrument) else { continue };
                    let key = self.market_key(conn, instrument, channel);
                    self.want(conn, &mut asked, key, false, resume.find(text))?;
                }
                Channel::Every { channel } if asked.patterns.iter().any(|known| known.channel == channel) => {
                }
                Channel::Every { channel } => {
                    asked.patterns.push(Pattern { channel, class: params.class });
                    let mut name = Vec::new();
                    let instruments = self.cache.instruments().len();
                    self.work.looked_at(instruments);
                    for number in 0..instruments {
                        let instrument = InstrumentId(super::topics::narrow(number));
                        if !self.cache.is_listed(instrument) {
                            continue;
                        }
                        let mut place = None;
                        if !resume.places.is_empty() {
                            name.clear();
                            channel.write(&mut name, &self.cache.state(instrument).definition.name);
                            place = resume.find(&String::from_utf8_lossy(&name));
                        }
                        let key = self.market_key(conn, instrument, channel);
                        self.want(conn, &mut asked, key, true, place)?;
                    }
                }
            }
            asked.channels.push(text.to_string());
        }
        let pending = self.session(conn).map_or(0, |session| session.joins_pending as usize);
        let joins_max = self.config.subscriptions_max.min(limits::JOINS_PENDING_PER_CONNECTION_MAX);
        if pending + asked.added > joins_max.max(asked.added)
            || self.joins.entries.len() + asked.added > limits::REQUESTS_PENDING_MAX
        {
            self.report(conn, Incident::Declined(Declined::RequestsPending));
            return Err(Failure::RETRY);
        }
        Ok(asked)
    }

    fn want(
        &mut self,
        conn: ConnId,
        asked: &mut Asked,
        key: TopicKey,
        by_pattern: bool,
        resume: Option<(String, Position)>,
    ) -> Result<(), Failure> {
        if !asked.keys.insert((key, by_pattern)) {
            return Ok(());
        }
        let held = self.topics.find(&key).and_then(|topic| self.topics.find_subscription(conn, topic));
        if held.is_none() && !asked.keys.contains(&(key, !by_pattern)) {
            asked.added += 1;
            let count = self.session(conn).map_or(0, |session| session.subscriptions.len());
            if count + asked.added > self.config.subscriptions_max {
                self.report(conn, Incident::Declined(Declined::Subscriptions));
                return Err(Failure::INVALID_PARAMS.because("too many subscriptions").at("channels"));
            }
        }
        asked.wanted.push(Wanted { key, by_pattern, channel: asked.channels.len(), resume });
        Ok(())
    }

    fn make_subscriptions(
        &mut self,
        reply_to: ReplyTo<'_>,
        channels: Vec<String>,
        wanted: Vec<Wanted>,
        class: Option<DeliveryClass>,
    ) {
        let conn = reply_to.conn;
        let pending = PendingSubscribe {
            reply_to: reply_to.keep(),
            channels,
            resumed: Vec::new(),
            places: Vec::new(),
            outstanding: 1,
        };
        let request = self.subscribes.issue(pending);
        let mut live = Vec::new();
        for want in wanted {
            let Some((subscription, topic)) = self.add_subscription(conn, want.key, class, want.by_pattern)
            else {
                continue;
            };
            let is_live = self.topics.topic(topic).state == TopicState::Live;
            match want.resume {
                None if is_live => {
                    self.note_place(request, want.channel, topic);
                    live.push(subscription);
                }
                resume => {
                    let place = resume.as_ref().map(|(_, place)| *place);
                    let mut resumed = None;
                    if let (Some((name, _)), Some(pending)) = (resume, self.subscribes.peek_mut(request)) {
                        resumed = Some(pending.resumed.len());
                        pending.resumed.push((name, Recovery::Lost));
                    }
                    let part = InRequest { ticket: request, channel: want.channel, resumed };
                    self.ask_home(topic, conn, Some(subscription), place, Some(part));
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
        let (home, kinds) = (self.home_of(&key), self.config.deflation.kinds);
        let topic = self.topics.find(&key).unwrap_or_else(|| self.topics.insert(key, home));
        let known = self.topics.find_subscription(conn, topic);
        let subscription = known.unwrap_or_else(|| {
            let kind = self.topics.topic(topic).kind;
            let class = match key {
                // A print that happened is never conflated, nor is what became of an order.
                TopicKey::Market { channel: MarketChannel::Trades { .. }, .. } | TopicKey::Private { .. } => {
                    DeliveryClass::Lossless
                }
                TopicKey::Market { .. } | TopicKey::Client(_) => class.unwrap_or(kind.default_class()),
            };
            let compression = match self.session(conn) {
                Some(session) if kinds.contains(&key) => session.compression,
                Some(_) | None => Compression::PLAIN,
            };
            self.topics.subscribe(conn, topic, class, compression)
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
            let place = super::topics::narrow(session.subscriptions.len());
            session.subscriptions.push(subscription);
            self.topics.subscription(subscription).place = place;
        }
        self.tell_windows(topic);
        Some((subscription, topic))
    }

    /// Tells a topic's home which windows its events are to be compressed for, if that has changed.
    pub(super) fn tell_windows(&mut self, topic: u32) {
        let entry = self.topics.topic(topic);
        let (home, windows) = (entry.home, entry.windows());
        if let Some(topic) = entry.id
            && windows != entry.told_windows
        {
            entry.told_windows = windows;
            self.outbox.command(home).records.push(Record::Windows { topic, windows });
        }
    }

    /// The topic of an instrument's channel that a connection reads.
    pub(super) fn market_key(
        &self,
        conn: ConnId,
        instrument: InstrumentId,
        channel: MarketChannel,
    ) -> TopicKey {
        let session = self.sessions.get(conn.slot as usize).and_then(Option::as_deref);
        let encoding = session.map_or(Encoding::Json, |session| session.form.encoding());
        TopicKey::Market { instrument, channel, encoding }
    }

    fn home_of(&self, key: &TopicKey) -> HomeId {
        match key {
            TopicKey::Market { .. } | TopicKey::Private { .. } => self.venue(),
            TopicKey::Client(name) => self.home_of_name(name),
        }
    }

    fn ask_home(
        &mut self,
        topic: u32,
        conn: ConnId,
        subscription: Option<u32>,
        resume: Option<Position>,
        request: Option<InRequest>,
    ) {
        let entry = self.topics.topic(topic);
        entry.joins += 1;
        let (key, home) = (entry.key, entry.home);
        let ticket = self.joins.issue(Join { topic, conn, subscription, resume, request });
        self.outbox.command(home).records.push(Record::Join { key, ticket, resume });
        if let Some(subscription) = subscription {
            self.topics.subscription(subscription).join = Some(ticket);
            if let Some(session) = self.session(conn) {
                session.joins_pending += 1;
            }
        }
        if let Some(pending) = request.and_then(|part| self.subscribes.peek_mut(part.ticket)) {
            pending.outstanding += 1;
            self.egress.hold(conn);
        }
    }

    /// Batches of a home were lost: asks it what each of its topics missed since it was last heard, then repeats the
    /// questions that it may not have been able to answer. A topic's own question comes before those of its
    /// subscriptions, so that nobody joins a topic that is not where its home is.
    pub(super) fn rejoin(&mut self, home: HomeId) {
        let asked: Vec<Ticket> = self
            .joins
            .entries
            .iter()
            .map(|(slot, (generation, _))| Ticket {
                slot: super::topics::narrow(slot),
                generation: *generation,
            })
            .collect();
        let topics: Vec<u32> = self
            .topics
            .topics
            .iter()
            .filter(|(_, topic)| topic.home == home && topic.state == TopicState::Live)
            .map(|(at, _)| super::topics::narrow(at))
            .collect();
        for topic in topics {
            let entry = self.topics.topic(topic);
            entry.state = TopicState::Recovering;
            let resume = Some(Position { epoch: entry.epoch, seq: entry.seq });
            let nobody = ConnId { slot: u32::MAX, generation: 0 };
            self.ask_home(topic, nobody, None, resume, None);
        }
        for (whole_topic, ticket) in
            [true, false].iter().flat_map(|kind| asked.iter().map(move |ticket| (*kind, *ticket)))
        {
            self.repeat_join(home, ticket, whole_topic);
        }
    }

    fn repeat_join(&mut self, home: HomeId, ticket: Ticket, whole_topic: bool) {
        let Some(join) = self.joins.peek(ticket) else { return };
        let entry = &self.topics.topics[join.topic as usize];
        if entry.home != home || join.subscription.is_none() != whole_topic {
            return;
        }
        // What a recovering topic has seen since the question was first put is not asked for again.
        let resume = match join.subscription {
            None => Some(Position { epoch: entry.epoch, seq: entry.seq }),
            Some(_) => join.resume,
        };
        self.outbox.command(home).records.push(Record::Join { key: entry.key, ticket, resume });
    }

    /// Whether an answer comes to a subscription of a topic that is still behind: it was put before the gap was known
    /// and has been put again since, behind the topic's own question.
    pub(super) fn is_premature(&self, join: &Join) -> bool {
        join.subscription.is_some() && self.topics.topics[join.topic as usize].state == TopicState::Recovering
    }

    /// A home has answered.
    pub(super) fn on_joined(&mut self, record: &Record) {
        let Record::Joined { ticket, topic: id, epoch, seq, change_id, outcome, .. } = *record else {
            return;
        };
        let Some(join) = self.joins.peek(ticket).filter(|join| !self.is_premature(join)) else { return };
        let (conn, at) = (join.conn, join.topic);
        let Some(join) = self.joins.redeem(ticket) else { return };
        if let Some(session) = self.session(conn).filter(|_| join.subscription.is_some()) {
            session.joins_pending -= 1;
        }
        let topic = self.topics.topic(at);
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
                self.tell_windows(join.topic);
            }
            if whole_topic && !gone_on {
                self.restart_listeners(join.topic);
            } else {
                self.list_stale(join.topic);
            }
        }
        // Before the subscription ends, and with it perhaps the topic whose name the reply tells.
        self.settle_request(&join, outcome);
        if let Some(subscription) = join.subscription
            && self.is_joining(subscription, ticket)
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
        let Some(InRequest { ticket: request, channel, resumed }) = join.request else { return };
        if let Some(pending) = self.subscribes.peek_mut(request) {
            match outcome {
                JoinOutcome::Refused => pending.channels[channel].clear(),
                JoinOutcome::Recovered => {
                    if let Some((_, recovery)) = resumed.and_then(|at| pending.resumed.get_mut(at)) {
                        *recovery = Recovery::Recovered;
                    }
                }
                JoinOutcome::Fresh | JoinOutcome::NotRecovered => {
                    self.note_place(request, channel, join.topic);
                }
            }
        }
        self.end_join(request, 1);
        self.egress.release_hold(join.conn);
        self.settle(join.conn);
    }

    /// Takes note of where a private channel stands: its next event may be long in coming, and a client that is cut off before
    /// it would not know where to resume.
    fn note_place(&mut self, request: Ticket, channel: usize, topic: u32) {
        let entry = &self.topics.topics[topic as usize];
        if let (TopicKey::Private { .. }, Some(pending)) = (entry.key, self.subscribes.peek_mut(request)) {
            pending.places.push((channel, Position { epoch: entry.epoch, seq: entry.seq }));
        }
    }

    /// One less to wait for; the last sends the reply.
    fn end_join(&mut self, request: Ticket, count: usize) {
        let Some(pending) = self.subscribes.peek_mut(request) else { return };
        pending.outstanding -= count;
        if pending.outstanding > 0 {
            return;
        }
        let Some(pending) = self.subscribes.redeem(request) else { return };
        self.reply_with(&pending.reply_to.get(), |out| {
            let accepted = pending.channels.iter().map(String::as_str).filter(|channel| !channel.is_empty());
            json_rpc::write_channels(out, accepted);
            if !pending.resumed.is_empty() {
                let resumed = pending.resumed.iter().map(|(channel, recovery)| (channel.as_str(), *recovery));
                json_rpc::write_resumed(out, resumed);
            }
            if !pending.places.is_empty() {
                let name =
                    |(channel, place): &(usize, Position)| (pending.channels[*channel].as_str(), *place);
                json_rpc::write_places(out, pending.places.iter().map(name));
            }
        });
    }

    /// The subscription holds from the topic's newest event on.
    fn activate(&mut self, subscription: u32, outcome: JoinOutcome) {
        let Some(entry) = self.topics.subscriptions.get(subscription as usize) else { return };
        let topic = entry.topic;
        match self.topics.topic(topic).kind {
            TopicKind::Events => self.topics.follow(subscription),
            TopicKind::Value | TopicKind::Book if outcome == JoinOutcome::Recovered => {
                self.topics.follow(subscription);
            }
            TopicKind::Value | TopicKind::Book => {
                self.topics.make_stale(subscription);
                self.list_if_told(subscription);
            }
        }
    }

    /// A topic starts over after a gap that could not be filled.
    fn restart_listeners(&mut self, topic: u32) {
        let kind = self.topics.topic(topic).kind;
        self.topics.topic(topic).deflated_followers = 0;
        for follower in std::mem::take(&mut self.topics.topic(topic).followers) {
            let entry = self.topics.subscription(follower.subscription);
            entry.state = SubscriptionState::Joining;
            let conn = entry.conn;
            match (follower.class, kind) {
                (DeliveryClass::Latest, TopicKind::Value | TopicKind::Book) => {
                    self.activate(follower.subscription, JoinOutcome::Fresh);
                }
                // The newest event is gone, or an event of a lossless class: nothing else says it.
                (DeliveryClass::Latest, TopicKind::Events) | (DeliveryClass::Lossless, _) => {
                    self.topics.follow(follower.subscription);
                    self.overflowed.push((conn, Closing::Lost));
                }
            }
        }
        if kind == TopicKind::Events {
            for stale in &self.topics.topics[topic as usize].stale {
                let conn = self.topics.subscriptions[stale.subscription as usize].conn;
                self.overflowed.push((conn, Closing::Lost));
            }
        }
        self.list_stale(topic);
    }

    /// Those who are owed a value and could not be told it during a gap.
    fn list_stale(&mut self, topic: u32) {
        for stale in self.topics.topic(topic).stale.clone() {
            self.list_if_told(stale.subscription);
        }
    }

    fn add_patterns(&mut self, conn: ConnId, patterns: Vec<Pattern>) {
        let Some(session) = self.session(conn) else { return };
        let had_some = !session.patterns.is_empty();
        for pattern in patterns {
            if !session.patterns.iter().any(|known| known.channel == pattern.channel) {
                session.patterns.push(pattern);
            }
        }
        if !had_some && !session.patterns.is_empty() {
            self.pattern_sessions.insert(conn);
        }
    }

    fn has_all_subscriptions(&mut self, conn: ConnId) -> bool {
        let max = self.config.subscriptions_max;
        self.session(conn).is_some_and(|session| session.subscriptions.len() >= max)
    }

    /// A new instrument: those with `*` subscriptions get its channels too, as far as their bound allows.
    pub(super) fn extend_patterns(&mut self, instrument: InstrumentId) {
        for conn in self.pattern_sessions.clone() {
            let patterns = self.session(conn).map_or_else(Vec::new, |session| session.patterns.clone());
            for Pattern { channel, class } in patterns {
                if self.has_all_subscriptions(conn) {
                    self.end_delisted(conn);
                }
                if self.has_all_subscriptions(conn) {
                    continue;
                }
                let key = self.market_key(conn, instrument, channel);
                if let Some((subscription, topic)) = self.add_subscription(conn, key, class, true) {
                    if self.topics.topic(topic).state == TopicState::Live {
                        self.activate(subscription, JoinOutcome::Fresh);
                    } else {
                        self.ask_home(topic, conn, Some(subscription), None, None);
                    }
                }
            }
        }
    }
}
