//! The topics that a shard listens to and who on the shard listens to them. PURE. Home: one shard.
//!
//! Invariants: a subscription stands in exactly one place: waiting for its topic's home (*joining*), owed a value
//! before it may follow (*stale*), or among its topic's `followers`, which get each frame. `place` is its index there.
//! A topic without subscriptions and joins is left.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use slab::Slab;

use crate::model::channel::{DeliveryClass, Interval, MarketChannel, TopicKey};
use crate::model::hasher::FixedHasher;
use crate::model::ids::{ConnId, Epoch, HomeId, Position, Seq, TopicId};
use crate::ws::deflate::{Deflater, WindowBits};
use crate::ws::frame::{Opcode, frame_payload};

use super::batch::Ticket;
use super::deflation::{Compression, Deflation, WINDOWS, Windows, all_windows};
use super::egress::DataLane;

/// How a topic is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicKind {
    /// The newest event says all there is to say: tickers, quotes, grouped books.
    Value,
    /// Events change a book; a snapshot says all there is to say.
    Book,
    /// Each event stands for itself: trades, what clients publish, what becomes of orders.
    Events,
}

impl TopicKind {
    pub(super) fn of(key: &TopicKey) -> TopicKind {
        match key {
            TopicKey::Client(_) | TopicKey::Private { .. } => TopicKind::Events,
            TopicKey::Market { channel, .. } => match channel {
                MarketChannel::Ticker { .. } | MarketChannel::Quote | MarketChannel::GroupedBook { .. } => {
                    TopicKind::Value
                }
                MarketChannel::Book { .. } => TopicKind::Book,
                MarketChannel::Trades { .. } => TopicKind::Events,
            },
        }
    }

    pub(super) fn default_class(self) -> DeliveryClass {
        match self {
            TopicKind::Value | TopicKind::Book => DeliveryClass::Latest,
            TopicKind::Events => DeliveryClass::Lossless,
        }
    }
}

/// One who gets each frame, or is told of each newer value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    pub(super) slot: u32,
    pub(super) subscription: u32,
    pub(super) class: DeliveryClass,
    pub(super) compression: Compression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicState {
    /// The home has not answered yet.
    Joining,
    Live,
    /// A gap: the home is asked what was missed, and frames are passed over until it has answered.
    Recovering,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) key: TopicKey,
    pub(super) kind: TopicKind,
    pub(super) home: HomeId,
    pub(super) id: Option<TopicId>,
    pub(super) state: TopicState,
    pub(super) epoch: Epoch,
    /// The newest event that was seen.
    pub(super) seq: Seq,
    pub(super) change_id: Seq,
    pub(super) followers: Vec<Listener>,
    /// Those who are owed a value before they may follow.
    pub(super) stale: Vec<Listener>,
    /// Joins that the home has not answered.
    pub(super) joins: u32,
    /// Subscriptions in all.
    pub(super) subscriptions: u32,
    /// Messages that were queued for subscribers here, and values that were sent to them.
    pub(super) deliveries_total: u64,
    /// Of those, how many want it compressed so.
    compressions: [u32; Compression::COUNT],
    /// Followers that want compressed frames.
    pub(super) deflated_followers: u32,
    /// What the home was told last of the windows that are wanted here.
    pub(super) told_windows: Windows,
    /// The frame that says all there is to say as of `value_seq`.
    value: Vec<u8>,
    pub(super) value_seq: Option<Seq>,
    /// No more than there are windows that one value was asked for with.
    deflated_values: Vec<DeflatedValue>,
}

/// A topic's value as those with one window read it.
#[derive(Debug, Default)]
struct DeflatedValue {
    /// What it was compressed with; `None` where it is that of an earlier value, kept for its room.
    window: Option<WindowBits>,
    /// Empty where it would not be shorter.
    frame: Vec<u8>,
}

impl Topic {
    /// Whether each event is told at once.
    pub(super) fn is_raw(&self) -> bool {
        match self.key {
            TopicKey::Market { channel, .. } => channel.interval() == Interval::Raw,
            TopicKey::Client(_) | TopicKey::Private { .. } => true,
        }
    }

    /// Where its frames wait on a connection.
    pub(super) fn lane(&self) -> DataLane {
        match self.key {
            TopicKey::Private { .. } => DataLane::Reports,
            TopicKey::Market { .. } | TopicKey::Client(_) => DataLane::Market,
        }
    }

    /// Its value, to be changed.
    fn value_mut(&mut self) -> &mut Vec<u8> {
        for deflated in &mut self.deflated_values {
            deflated.window = None;
        }
        &mut self.value
    }

    /// Its value as a subscriber reads it: compressed the first time that somebody with such a window is sent it.
    fn value_for(
        &mut self,
        compression: Compression,
        deflater: &mut Deflater,
        deflation: &Deflation,
    ) -> &[u8] {
        let payload = frame_payload(&self.value);
        let Some(window) = compression.window().filter(|_| deflation.serves(payload)) else {
            return &self.value;
        };
        let with = window.for_payload(payload.len());
        let all = &mut self.deflated_values;
        let place = all.iter().position(|deflated| deflated.window == Some(with)).unwrap_or_else(|| {
            let spare = all.iter().position(|deflated| deflated.window.is_none());
            let place = spare.unwrap_or_else(|| {
                all.push(DeflatedValue::default());
                all.len() - 1
            });
            assert!(place < WINDOWS, "the windows of those that are no spares differ");
            let deflated = &mut all[place];
            deflated.window = Some(with);
            deflated.frame.clear();
            let frame = deflater.frame(Opcode::Text, window, payload).unwrap_or_default();
            deflated.frame.extend_from_slice(frame);
            place
        });
        let frame = &self.deflated_values[place].frame;
        if frame.is_empty() { &self.value } else { frame }
    }

    /// Bytes of memory that its value takes.
    fn value_bytes(&self) -> usize {
        let deflated_bytes = |deflated: &DeflatedValue| deflated.frame.capacity();
        self.value.capacity()
            + self.deflated_values.capacity() * size_of::<DeflatedValue>()
            + self.deflated_values.iter().map(deflated_bytes).sum::<usize>()
    }

    /// The windows that its subscriptions want compressed frames for.
    pub(super) fn windows(&self) -> Windows {
        let mut windows = Windows::default();
        for window in all_windows() {
            if self.compressions[Compression::deflated(window).index()] > 0 {
                windows.insert(window);
            }
        }
        windows
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubscriptionState {
    Joining,
    /// In the connection's list of values unless the value has to come from the home first.
    Stale {
        place: u32,
    },
    Following {
        place: u32,
    },
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) conn: ConnId,
    pub(super) topic: u32,
    /// Where it stands in its session's list.
    pub(super) place: u32,
    pub(super) class: DeliveryClass,
    pub(super) compression: Compression,
    pub(super) state: SubscriptionState,
    /// The event that was the last to be queued before the subscription became stale.
    pub(super) told: Option<Position>,
    /// In the connection's list of values to send.
    pub(super) listed: bool,
    /// Events that were conflated while it is in that list.
    pub(super) conflated: u32,
    pub(super) next_listed: Option<u32>,
    pub(super) previous_listed: Option<u32>,
    /// The question to the topic's home that it waits for or last waited for.
    pub(super) join: Option<Ticket>,
    /// Asked for by name.
    pub(super) named: bool,
    /// Asked for by a `*` channel.
    pub(super) by_pattern: bool,
}

#[derive(Debug, Default)]
pub(super) struct Topics {
    pub(super) topics: Slab<Topic>,
    pub(super) subscriptions: Slab<Subscription>,
    by_key: HashMap<TopicKey, u32, BuildHasherDefault<FixedHasher>>,
    /// By a connection's slot and a topic.
    by_pair: HashMap<(u32, u32), u32, BuildHasherDefault<FixedHasher>>,
    /// By home, then by the home's slot.
    by_id: Vec<Vec<Option<u32>>>,
    /// Of all topics' values.
    value_bytes: usize,
}

/// A subscription's share of memory: its entry, its place among the listeners and in its session's list, which grow by
/// doubling, and in the table by connection and topic.
const SUBSCRIPTION_BYTES: usize = size_of::<Subscription>()
    + 2 * (size_of::<Listener>() + size_of::<u32>())
    + 2 * (size_of::<((u32, u32), u32)>() + 1);

impl Topics {
    pub(super) fn find(&self, key: &TopicKey) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// The topic of an id; `None` if this shard does not listen, or listened to an earlier one in its place.
    pub(super) fn find_id(&self, id: TopicId) -> Option<u32> {
        let topic = (*self.by_id.get(id.home.index())?.get(id.slot as usize)?)?;
        (self.topics.get(topic as usize)?.id == Some(id)).then_some(topic)
    }

    pub(super) fn insert(&mut self, key: TopicKey, home: HomeId) -> u32 {
        let topic = self.topics.insert(Topic {
            key,
            kind: TopicKind::of(&key),
            home,
            id: None,
            state: TopicState::Joining,
            epoch: Epoch(0),
            seq: Seq(0),
            change_id: Seq(0),
            followers: Vec::new(),
            stale: Vec::new(),
            joins: 0,
            subscriptions: 0,
            deliveries_total: 0,
            compressions: [0; Compression::COUNT],
            deflated_followers: 0,
            told_windows: Windows::default(),
            value: Vec::new(),
            value_seq: None,
            deflated_values: Vec::new(),
        });
        let topic = narrow(topic);
        self.by_key.insert(key, topic);
        topic
    }

    /// Bytes of memory that topics and subscriptions take.
    pub(super) fn memory_bytes(&self) -> usize {
        let topic_bytes = size_of::<Topic>() + 2 * (size_of::<(TopicKey, u32)>() + 1);
        self.topics.len() * topic_bytes + self.subscriptions.len() * SUBSCRIPTION_BYTES + self.value_bytes
    }

    /// Of all topics' values.
    pub(super) fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Gives back what is only kept to be used again.
    pub(super) fn trim(&mut self) {
        self.topics.shrink_to_fit();
        self.subscriptions.shrink_to_fit();
        self.by_key.shrink_to_fit();
        self.by_pair.shrink_to_fit();
    }

    /// Changes a topic's value.
    pub(super) fn write_value(&mut self, topic: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let topic = &mut self.topics[topic as usize];
        self.value_bytes -= topic.value_bytes();
        write(topic.value_mut());
        self.value_bytes += topic.value_bytes();
    }

    /// A topic's value as a subscriber reads it.
    pub(super) fn value_for(
        &mut self,
        topic: u32,
        compression: Compression,
        deflater: &mut Deflater,
        deflation: &Deflation,
    ) -> &[u8] {
        let topic = &mut self.topics[topic as usize];
        self.value_bytes -= topic.value_bytes();
        topic.value_for(compression, deflater, deflation);
        self.value_bytes += topic.value_bytes();
        // Found now, not compressed again.
        topic.value_for(compression, deflater, deflation)
    }

    /// The home has told the topic's id.
    pub(super) fn identify(&mut self, topic: u32, id: TopicId) {
        let (home, slot) = (id.home.index(), id.slot as usize);
        if self.by_id.len() <= home {
            self.by_id.resize_with(home + 1, Vec::new);
        }
        let places = &mut self.by_id[home];
        if places.len() <= slot {
            places.resize(slot + 1, None);
        }
        places[slot] = Some(topic);
        let entry = &mut self.topics[topic as usize];
        if entry.id != Some(id) {
            entry.id = Some(id);
            entry.told_windows = Windows::default();
        }
    }

    /// Forgets a topic that nobody on this shard needs; returns its id if the home is to be told.
    pub(super) fn remove(&mut self, topic: u32) -> Option<TopicId> {
        let removed = self.topics.remove(topic as usize);
        assert!(removed.subscriptions == 0 && removed.joins == 0, "a topic is left when nobody needs it");
        self.by_key.remove(&removed.key);
        self.value_bytes -= removed.value_bytes();
        if let Some(id) = removed.id {
            self.by_id[id.home.index()][id.slot as usize] = None;
        }
        removed.id
    }

    pub(super) fn topic(&mut self, topic: u32) -> &mut Topic {
        &mut self.topics[topic as usize]
    }

    pub(super) fn subscription(&mut self, subscription: u32) -> &mut Subscription {
        &mut self.subscriptions[subscription as usize]
    }

    pub(super) fn subscribe(
        &mut self,
        conn: ConnId,
        topic: u32,
        class: DeliveryClass,
        compression: Compression,
    ) -> u32 {
        let entry = &mut self.topics[topic as usize];
        entry.subscriptions += 1;
        entry.compressions[compression.index()] += 1;
        let subscription = narrow(self.subscriptions.insert(Subscription {
            conn,
            topic,
            place: 0,
            class,
            compression,
            state: SubscriptionState::Joining,
            told: None,
            listed: false,
            conflated: 0,
            next_listed: None,
            previous_listed: None,
            join: None,
            named: false,
            by_pattern: false,
        }));
        self.by_pair.insert((conn.slot, topic), subscription);
        subscription
    }

    /// A connection's subscription to a topic.
    pub(super) fn find_subscription(&self, conn: ConnId, topic: u32) -> Option<u32> {
        self.by_pair.get(&(conn.slot, topic)).copied()
    }

    /// Gives the subscription each frame from now on.
    pub(super) fn follow(&mut self, subscription: u32) {
        let place = self.attach(subscription, |topic| &mut topic.followers);
        let Subscription { topic, compression, .. } = self.subscriptions[subscription as usize];
        self.topics[topic as usize].deflated_followers += u32::from(compression != Compression::PLAIN);
        let entry = &mut self.subscriptions[subscription as usize];
        (entry.state, entry.told) = (SubscriptionState::Following { place }, None);
    }

    /// The subscription is owed a value before it may follow.
    pub(super) fn make_stale(&mut self, subscription: u32) {
        let place = self.attach(subscription, |topic| &mut topic.stale);
        self.subscriptions[subscription as usize].state = SubscriptionState::Stale { place };
    }

    fn attach(&mut self, subscription: u32, list: impl FnOnce(&mut Topic) -> &mut Vec<Listener>) -> u32 {
        self.detach(subscription);
        let Subscription { conn, topic, class, compression, .. } = self.subscriptions[subscription as usize];
        let listeners = list(&mut self.topics[topic as usize]);
        listeners.push(Listener { slot: conn.slot, subscription, class, compression });
        narrow(listeners.len() - 1)
    }

    /// Ends a subscription that stands in no connection's list of values.
    pub(super) fn unsubscribe(&mut self, subscription: u32) {
        self.detach(subscription);
        let entry = self.subscriptions.remove(subscription as usize);
        assert!(!entry.listed, "a listed subscription is unlisted first");
        self.by_pair.remove(&(entry.conn.slot, entry.topic));
        let topic = &mut self.topics[entry.topic as usize];
        topic.subscriptions -= 1;
        topic.compressions[entry.compression.index()] -= 1;
    }

    fn detach(&mut self, subscription: u32) {
        let entry = &self.subscriptions[subscription as usize];
        let topic = &mut self.topics[entry.topic as usize];
        let (listeners, place) = match entry.state {
            SubscriptionState::Joining => return,
            SubscriptionState::Stale { place } => (&mut topic.stale, place),
            SubscriptionState::Following { place } => {
                topic.deflated_followers -= u32::from(entry.compression != Compression::PLAIN);
                (&mut topic.followers, place)
            }
        };
        listeners.swap_remove(place as usize);
        let Some(moved) = listeners.get(place as usize) else { return };
        match &mut self.subscriptions[moved.subscription as usize].state {
            SubscriptionState::Stale { place: at } | SubscriptionState::Following { place: at } => {
                *at = place
            }
            SubscriptionState::Joining => {
                panic!("invariant: who is in a list of listeners is stale or follows")
            }
        }
    }
}

/// A slab's key in 32 bits: topics are bounded by their homes, subscriptions by the memory that they take.
pub(super) fn narrow(key: usize) -> u32 {
    u32::try_from(key)
        .expect("invariant: subscriptions lie in memory, where 2^32 of one shard's would be 300 GB")
}

const _: () = assert!(size_of::<Subscription>() >= 72, "as `narrow` reckons");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::text_frame::replace_with_text_frame;
    use crate::model::channel::TopicName;

    fn topics_with_value(value: &[u8]) -> (Topics, u32) {
        let mut topics = Topics::default();
        let name = TopicName::parse(b"t").unwrap();
        let topic = topics.insert(TopicKey::Client(name), HomeId(0));
        change(&mut topics, topic, value);
        (topics, topic)
    }

    fn change(topics: &mut Topics, topic: u32, value: &[u8]) {
        topics.write_value(topic, |frame| replace_with_text_frame(frame, |out| out.extend_from_slice(value)));
    }

    fn numbers(from: u32) -> Vec<u8> {
        (from..from + 5_000).flat_map(|number| (number * 7919 % 10_007).to_string().into_bytes()).collect()
    }

    #[test]
    fn a_value_is_compressed_once_for_each_window_whoever_asks_in_turn() {
        let compression = |bits| Compression::deflated(WindowBits::new(bits).unwrap());
        let deflation = Deflation::default();
        let (small, fast) = (&mut Deflater::new(9), &mut Deflater::new(1));
        let (mut topics, topic) = topics_with_value(&numbers(0));
        let first: Vec<Vec<u8>> = (9..=15)
            .map(|bits| topics.value_for(topic, compression(bits), small, &deflation).to_vec())
            .collect();
        for _ in 0..2 {
            for (bits, first) in (9..=15).zip(&first) {
                // Compressed again it would be longer.
                assert_eq!(topics.value_for(topic, compression(bits), fast, &deflation), first, "{bits}");
            }
        }
        assert_eq!(topics.topics[0].deflated_values.len(), WINDOWS);
        change(&mut topics, topic, &numbers(0));
        for (bits, first) in (9..=15).zip(&first) {
            assert!(
                topics.value_for(topic, compression(bits), fast, &deflation).len() > first.len(),
                "{bits}"
            );
        }
        assert_eq!(topics.topics[0].deflated_values.len(), WINDOWS);
    }

    #[test]
    fn what_was_compressed_is_counted_and_its_room_used_again() {
        let compression = |bits| Compression::deflated(WindowBits::new(bits).unwrap());
        let (deflation, deflater) = (Deflation::default(), &mut Deflater::new(2));
        let (mut topics, topic) = topics_with_value(&numbers(0));
        let plain_bytes = topics.value_bytes();
        for round in 0..9 {
            change(&mut topics, topic, &numbers(round)[..if round % 2 == 0 { 600 } else { 9_000 }]);
            topics.value_for(topic, compression(15), deflater, &deflation);
            topics.value_for(topic, compression(9), deflater, &deflation);
            let entry = &topics.topics[0];
            assert_eq!(entry.deflated_values.len(), 2, "one for each that asked");
            assert_eq!(topics.value_bytes(), entry.value_bytes());
            let frames: usize = entry.deflated_values.iter().map(|deflated| deflated.frame.len()).sum();
            assert!(topics.value_bytes() >= plain_bytes + frames);
        }
        topics.remove(topic);
        assert_eq!(topics.value_bytes(), 0);
    }
}
