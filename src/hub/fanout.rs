//! From a home's batch to the queues of those who listen. PURE. Home: one shard.
//!
//! Invariants: a topic's events are seen in sequence, each once; a frame is logged once however many follow; nothing
//! is closed while lists of listeners are walked.

use crate::model::channel::{DeliveryClass, TopicKey};
use crate::model::ids::{ConnId, HomeId, Position, Seq, TopicId};

use super::Hub;
use super::batch::{Batch, Record};
use super::deflation::{Compression, Windows};
use super::egress::DataLane;
use super::home::Joining;
use super::incident::Closing;
use super::log::FrameRef;
use super::marks::Classes;
use super::notification::replace_with_value;
use super::topics::{SubscriptionState, TopicKind, TopicState};

/// The records behind a frame's, of which the first may be the same event compressed.
#[derive(Clone, Copy)]
struct Variants<'b> {
    batch: &'b Batch,
    records: &'b [Record],
}

/// Where an event stands.
#[derive(Clone, Copy)]
struct Place {
    seq: Seq,
    /// Of the topic's event before it.
    prev_seq: Seq,
    /// The book's.
    change_id: Seq,
}

impl<'b> Variants<'b> {
    fn iter(self) -> impl Iterator<Item = (Windows, &'b [u8])> {
        self.records.iter().map_while(move |record| {
            let Record::Deflated { windows, frame } = record else { return None };
            Some((*windows, self.batch.slice(*frame)))
        })
    }
}

impl Hub {
    pub(super) fn apply_batch(&mut self, from: HomeId, batch: &Batch) {
        for (at, record) in batch.records.iter().enumerate() {
            match record {
                Record::Listed { definition } => {
                    let instrument = self.cache.list(definition);
                    self.extend_patterns(instrument);
                }
                Record::Levels { instrument, levels, change_id, timestamp_ns } => {
                    let updates = levels.of(&batch.levels);
                    self.cache.apply_levels(*instrument, updates, *change_id, *timestamp_ns);
                }
                Record::Traded { instrument, trade } => self.cache.record_trade(*instrument, *trade),
                Record::StateChanged { instrument, state, timestamp_ns } => {
                    self.cache.set_state(*instrument, *state, *timestamp_ns);
                }
                Record::Links { links } => self.cache.set_links(links),
                Record::Image { instrument, state } => {
                    let listed = self.cache.replace(*instrument, state);
                    if let Some(listed) = listed.filter(|listed| self.cache.is_listed(*listed)) {
                        self.extend_patterns(listed);
                    }
                }
                Record::Frame { topic, seq, prev_seq, change_id, frame } => {
                    let variants = Variants { batch, records: &batch.records[at + 1..] };
                    let place = Place { seq: *seq, prev_seq: *prev_seq, change_id: *change_id };
                    self.on_frame(*topic, place, batch.slice(*frame), variants);
                }
                // Looked at with the frame before it.
                Record::Deflated { .. } => {}
                Record::Replayed { to, ticket, seq, frame } if *to == self.me => {
                    self.on_replayed(*ticket, *seq, batch.slice(*frame));
                }
                Record::Joined { to, .. } if *to == self.me => self.on_joined(record),
                Record::Gap { to } if *to == self.me => self.on_gap(from),
                Record::Replayed { .. } | Record::Joined { .. } | Record::Gap { .. } => {}
                // It asks again after its gap, before which it would hear no answer.
                Record::Join { .. } if self.outbox.lagging().contains(from) => {}
                Record::Join { key, ticket, resume } => {
                    let TopicKey::Client(_) = key else {
                        panic!(
                            "invariant: `home_of` sends other joins than those of client topics to the venue"
                        )
                    };
                    let joining = Joining { ticket: *ticket, resume: *resume };
                    match self.home.intern(*key, self.now) {
                        Some(slot) => self.home.join(from, slot, joining, self.outbox.data()),
                        None => self.home.refuse(from, *ticket, self.outbox.data()),
                    }
                }
                Record::Windows { topic, windows } => self.home.set_windows(from, *topic, *windows),
                Record::Leave { topic } => self.home.leave(from, *topic, self.now),
                Record::Publish { ticket, name, topic, data } => {
                    self.on_publish(from, *ticket, *name, *topic, batch.slice(*data));
                }
                Record::Published { ticket, outcome, .. } => self.on_published(*ticket, *outcome),
                Record::Answered { ticket, outcome } => {
                    self.on_answered(*ticket, outcome.map(|result| batch.slice(result)));
                }
                Record::Message { at } => self.on_message(batch.message(*at)),
                Record::Reset => self.on_reset(from),
                Record::Ask { .. }
                | Record::Departed { .. }
                | Record::MessageAsk { .. }
                | Record::MessagesWritten { .. } => {
                    panic!(
                        "invariant: desk and office are at the venue, and no shard is asked for them: {record:?}"
                    )
                }
            }
        }
    }

    fn on_frame(&mut self, id: TopicId, place: Place, frame: &[u8], variants: Variants<'_>) {
        let Some(at) = self.topics.find_id(id) else { return };
        let topic = self.topics.topic(at);
        match topic.state {
            TopicState::Live => {}
            TopicState::Recovering | TopicState::Joining => {
                self.counters.frames_skipped_total += 1;
                return;
            }
        }
        assert_eq!(place.prev_seq, topic.seq, "a topic's events come in sequence");
        topic.seq = place.seq;
        topic.change_id = place.change_id;
        let (has_stale, has_followers) = (!topic.stale.is_empty(), !topic.followers.is_empty());
        if has_stale {
            self.tell_stale(at, frame);
        }
        if has_followers {
            self.deliver(at, frame, variants);
        }
    }

    /// Those who are owed a value are owed a newer one.
    fn tell_stale(&mut self, at: u32, frame: &[u8]) {
        let topic = &mut self.topics.topics[at as usize];
        let is_told = match topic.kind {
            TopicKind::Value | TopicKind::Events => {
                topic.value_seq = Some(topic.seq);
                self.topics.write_value(at, |value| {
                    value.clear();
                    value.extend_from_slice(frame);
                });
                true
            }
            // What an interval's book says at its boundary has to be kept now; a raw book can be told at any time.
            TopicKind::Book => topic.is_raw() || self.refresh_value(at),
        };
        if !is_told {
            return;
        }
        for stale in &self.topics.topics[at as usize].stale {
            let entry = &mut self.topics.subscriptions[stale.subscription as usize];
            if entry.listed {
                entry.conflated = entry.conflated.saturating_add(1);
                self.counters.events_conflated_total += 1;
            } else {
                self.egress.list_value(&mut self.topics.subscriptions, stale.slot, stale.subscription);
            }
        }
    }

    /// Queues a frame for all who follow the topic, for each as it reads it.
    fn deliver(&mut self, at: u32, frame: &[u8], variants: Variants<'_>) {
        let topic = &self.topics.topics[at as usize];
        let by_compression = if topic.deflated_followers == 0 {
            let count = super::topics::narrow(topic.followers.len());
            let logged = self.log_frame(frame);
            self.egress.log.retain(logged.segment, count);
            [logged; Compression::COUNT]
        } else {
            self.log_variants(at, frame, variants)
        };
        let conflate_bytes = self.overload.stance().conflate_bytes();
        let topic = &self.topics.topics[at as usize];
        let (lane, mut delivered, mut classes) = (topic.lane(), 0, Classes::default());
        for follower in &topic.followers {
            let logged = by_compression[follower.compression.index()];
            let mut pushed = self.egress.push_frame(follower.slot, lane, logged);
            while pushed.is_err() {
                // The pool is full: the one that holds the most of it makes room, not the one that came too late.
                let Some(largest) = self.egress.largest_queue() else { break };
                self.egress.discard_data(largest.slot);
                self.overflowed.push((largest, Closing::LogFull));
                pushed = self.egress.push_frame(follower.slot, lane, logged);
            }
            let overflow = match pushed {
                Ok(queued_bytes) => {
                    delivered += 1;
                    classes.add(follower.class);
                    match follower.class {
                        DeliveryClass::Latest if queued_bytes > conflate_bytes => {
                            self.outrun.push(follower.subscription);
                            continue;
                        }
                        DeliveryClass::Lossless | DeliveryClass::Latest
                            if queued_bytes > self.config.queued_bytes_max =>
                        {
                            Closing::QueueFull
                        }
                        DeliveryClass::Lossless | DeliveryClass::Latest => continue,
                    }
                }
                Err(super::frame_queue::QueuesFull) => {
                    self.egress.log.release(logged.segment, 1);
                    Closing::LogFull
                }
            };
            let conn = self.topics.subscriptions[follower.subscription as usize].conn;
            self.overflowed.push((conn, overflow));
        }
        self.counters.deliveries_total += delivered;
        self.marks.tell(lane, classes);
        let told = Position { epoch: topic.epoch, seq: topic.seq };
        self.topics.topics[at as usize].deliveries_total += delivered;
        while let Some(subscription) = self.outrun.pop() {
            // It has this event; the next one finds it stale.
            self.topics.make_stale(subscription);
            self.topics.subscription(subscription).told = Some(told);
        }
    }

    /// Puts a frame and the compressed ones of the same event into the log, as far as somebody follows who reads them;
    /// gives by compression the one to send.
    fn log_variants(
        &mut self,
        at: u32,
        frame: &[u8],
        variants: Variants<'_>,
    ) -> [FrameRef; Compression::COUNT] {
        let mut followers = [0; Compression::COUNT];
        for follower in &self.topics.topics[at as usize].followers {
            followers[follower.compression.index()] += 1;
        }
        let mut logged = [None; Compression::COUNT];
        for (windows, deflated) in variants.iter() {
            let readers = || windows.iter().map(Compression::deflated);
            let count = readers().map(|compression| followers[compression.index()]).sum();
            if count > 0 {
                let deflated = self.log_frame(deflated);
                self.egress.log.retain(deflated.segment, count);
                self.counters.deflated_deliveries_total += u64::from(count);
                readers().for_each(|compression| logged[compression.index()] = Some(deflated));
            }
        }
        let others = followers.iter().zip(&logged).filter(|(_, logged)| logged.is_none());
        let count = others.map(|(followers, _)| *followers).sum();
        if count == 0 {
            return logged.map(Option::unwrap_or_default);
        }
        let plain = self.log_frame(frame);
        self.egress.log.retain(plain.segment, count);
        logged.map(|logged| logged.unwrap_or(plain))
    }

    /// Puts a frame into the log, if need be by closing those who pin its oldest segment.
    fn log_frame(&mut self, frame: &[u8]) -> FrameRef {
        loop {
            match self.egress.log.append(frame) {
                Ok(logged) => return logged,
                Err(full) => {
                    let pinning = (0..self.egress.slot_count())
                        .filter(|slot| self.egress.pins(*slot, full.oldest_segment))
                        .collect::<Vec<_>>();
                    assert!(!pinning.is_empty(), "a pinned segment is at the front of some queue");
                    for slot in pinning {
                        self.overflow_now(slot);
                    }
                }
            }
        }
    }

    /// Lists a subscription's value for sending if there is one; else the next event brings it.
    pub(super) fn list_if_told(&mut self, subscription: u32) {
        let Some(entry) = self.topics.subscriptions.get(subscription as usize) else { return };
        let (conn, topic, listed, told) = (entry.conn, entry.topic, entry.listed, entry.told);
        let newest = self.topics.topic(topic);
        if !listed && told == Some(Position { epoch: newest.epoch, seq: newest.seq }) {
            return self.topics.follow(subscription);
        }
        if !listed && self.refresh_value(topic) {
            self.egress.list_value(&mut self.topics.subscriptions, conn.slot, subscription);
        }
    }

    /// Makes `value` of a topic what its newest event means; whether that is possible here and now.
    pub(super) fn refresh_value(&mut self, at: u32) -> bool {
        let topic = &mut self.topics.topics[at as usize];
        if topic.value_seq == Some(topic.seq) {
            return true;
        }
        let TopicKey::Market { instrument, channel, encoding } = topic.key else { return false };
        let state = self.cache.state(instrument);
        match topic.kind {
            TopicKind::Events => return false,
            TopicKind::Book if state.change_id != topic.change_id => return false,
            TopicKind::Book | TopicKind::Value => {}
        }
        let (position, unix_ns) = (Position { epoch: topic.epoch, seq: topic.seq }, self.now.unix_ns);
        topic.value_seq = Some(topic.seq);
        self.topics.write_value(at, |value| {
            replace_with_value(value, instrument, channel, encoding, state, position, unix_ns);
        });
        self.counters.values_encoded_total += 1;
        true
    }

    /// A frame that one subscription missed.
    fn on_replayed(&mut self, ticket: super::batch::Ticket, seq: Seq, frame: &[u8]) {
        let Some(join) = self.joins.peek(ticket).filter(|join| !self.is_premature(join)) else { return };
        let (topic, subscription, conn) = (join.topic, join.subscription, join.conn);
        match subscription {
            Some(subscription) => {
                if self.is_joining(subscription, ticket) {
                    let lane = self.topics.topic(topic).lane();
                    let delivered = self.deliver_to_one(conn, lane, frame);
                    self.topics.topic(topic).deliveries_total += u64::from(delivered);
                }
            }
            None => {
                // The shard itself missed it: everybody who follows does.
                let entry = self.topics.topic(topic);
                entry.state = TopicState::Live;
                let id = entry.id.expect("invariant: a gap asks for live topics only, which have their ids");
                // The history has all that came since.
                let place = Place { seq, prev_seq: entry.seq, change_id: entry.change_id };
                // What is replayed goes plain.
                let variants = Variants { batch: &Batch::default(), records: &[] };
                self.on_frame(id, place, frame, variants);
                self.topics.topic(topic).state = TopicState::Recovering;
            }
        }
    }

    /// Whether it was queued.
    fn deliver_to_one(&mut self, conn: ConnId, lane: DataLane, frame: &[u8]) -> bool {
        if self.session(conn).is_none_or(|session| !session.is_open()) {
            return false;
        }
        if self.egress.counted_bytes(conn.slot) > self.config.queued_bytes_max {
            // The log is not filled for who is about to be closed; and who is not yet must be, since a part of what it is told
            // that it recovers would be missing: values that conflate may wait beyond the limit by themselves.
            if self.overflowed.last().is_none_or(|(last, _)| *last != conn) {
                self.overflowed.push((conn, Closing::QueueFull));
            }
            return false;
        }
        let logged = self.log_frame(frame);
        self.egress.log.retain(logged.segment, 1);
        self.egress.allow(conn.slot, logged.len);
        match self.egress.push_frame(conn.slot, lane, logged) {
            Ok(queued_bytes) => {
                self.counters.deliveries_total += 1;
                if queued_bytes > self.config.queued_bytes_max {
                    self.overflowed.push((conn, Closing::QueueFull));
                }
                true
            }
            Err(super::frame_queue::QueuesFull) => {
                self.egress.log.release(logged.segment, 1);
                self.overflowed.push((conn, Closing::LogFull));
                false
            }
        }
    }

    /// A home says that batches of its were lost: each topic of its is joined again from where it stands.
    fn on_gap(&mut self, from: HomeId) {
        self.counters.gaps_total += 1;
        self.rejoin(from);
    }

    /// Closes those who could not be told.
    pub(super) fn settle_overflows(&mut self) {
        while let Some((conn, closing)) = self.overflowed.pop() {
            if self.session(conn).is_none_or(|session| !session.is_open()) {
                continue;
            }
            self.begin_close(conn, closing);
        }
    }

    /// Closes a connection that pins the log, in the middle of a fan-out: its queue is dropped now, the rest follows.
    fn overflow_now(&mut self, slot: u32) {
        let Some(session) = &self.sessions[slot as usize] else { return };
        let conn = session.conn;
        self.egress.discard_data(slot);
        self.overflowed.push((conn, Closing::LogFull));
    }

    /// Whether a subscription still waits for the answer to this very question.
    pub(super) fn is_joining(&self, subscription: u32, ticket: super::batch::Ticket) -> bool {
        self.topics
            .subscriptions
            .get(subscription as usize)
            .is_some_and(|entry| entry.join == Some(ticket) && entry.state == SubscriptionState::Joining)
    }
}
