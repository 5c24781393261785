//! A home: the one sequencer of its topics. It stamps `(epoch, seq)`, keeps their histories and knows which shards
//! listen. PURE. Home: each shard for the client topics that hash to it, the venue for the market's topics.
//!
//! Invariants: a topic's epoch is the time of its making and never that of an earlier topic of the same key, so a
//! sequence that starts again is seen to; the answer to a join is in the same stream as the live events, which makes
//! the join atomic; a topic is only forgotten when nobody has listened for `limits::TOPIC_LINGER_NS`, or, where it is
//! private, for longer. Topics that share a sequence have its epoch and its places, with holes where others have an event.

mod joins;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::limits;
use crate::model::channel::TopicKey;
use crate::model::ids::{Epoch, HomeId, HomeSet, Position, Seq, TopicId};
use crate::model::time::Now;
use crate::ws::deflate::Deflater;
use crate::ws::frame::{Opcode, frame_payload};

use super::batch::{Batch, ByteRange, Record};
use super::deflation::{self, Deflation, WINDOWS, Windows};
use super::history::{History, HistoryLimits};
use super::overload::{Pressure, Stance};
use crate::model::hasher::FixedHasher;
use joins::Waiting;

pub use joins::Joining;

/// Index of a topic within its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HomeTopicSlot(pub u32);

#[derive(Debug)]
struct HomeTopic {
    key: TopicKey,
    epoch: Epoch,
    /// The newest event's.
    seq: Seq,
    /// Where its sequence was last known to stand: beyond `seq` only where it shares the sequence with others.
    stands: Seq,
    /// The book's change id at the newest event of a book topic.
    change_id: Seq,
    listeners: HomeSet,
    /// Those of them with followers that read compressed frames, by window from the smallest; none, usually.
    deflated: Option<Box<[HomeSet; WINDOWS]>>,
    history: History,
    /// Joins and leaves that wait for a later turn.
    waiting: u32,
    /// When the last listener left, or a client last published to nobody.
    unheard_since_ns: u64,
}

impl HomeTopic {
    /// What its events are to be compressed for.
    fn windows(&self) -> Windows {
        let mut windows = Windows::default();
        if let Some(by_window) = &self.deflated {
            let wanted =
                by_window.iter().zip(deflation::all_windows()).filter(|(homes, _)| !homes.is_empty());
            wanted.for_each(|(_, window)| windows.insert(window));
        }
        windows
    }
}

#[derive(Debug)]
struct Place {
    generation: u32,
    topic: Option<HomeTopic>,
}

/// What a home did, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HomeCounters {
    /// Events stamped.
    pub events_stamped_total: u64,
    /// Frames encoded; one per event and encoding, however many shards and subscribers there are.
    pub frames_encoded_total: u64,
    /// Frames compressed; one per event and window, or fewer, however many shards and subscribers there are.
    pub frames_deflated_total: u64,
    /// Bytes of what was compressed, and of what came of it.
    pub deflated_bytes_in_total: u64,
    pub deflated_bytes_out_total: u64,
    pub joins_recovered_total: u64,
    pub joins_not_recovered_total: u64,
    /// Joins that a later turn answered.
    pub joins_delayed_total: u64,
    pub topics_refused_total: u64,
    pub topics_forgotten_total: u64,
    /// Rounds in which histories lost their older half because memory ran short.
    pub histories_shortened_total: u64,
}

#[derive(Debug)]
pub struct Home {
    id: HomeId,
    limits: HistoryLimits,
    places: Vec<Place>,
    free: Vec<u32>,
    by_key: HashMap<TopicKey, u32, BuildHasherDefault<FixedHasher>>,
    /// The newest epoch given, so that the next is later even within one millisecond.
    newest_epoch: Epoch,
    /// Of the first topic at each place: another number than that of a home before it whose ids somebody may still have.
    first_generation: u32,
    swept: usize,
    /// Of all topics' histories, and its bound.
    history_bytes: usize,
    history_bytes_max: usize,
    deflation: Deflation,
    pub(super) deflater: Deflater,
    /// What the histories take of memory: more than `history_bytes`, since buffers grow by doubling.
    history_memory_bytes: usize,
    /// Where histories are shortened next.
    shortened: usize,
    waiting: Waiting,
    pub counters: HomeCounters,
}

impl Home {
    /// Which home it is.
    #[must_use]
    pub(super) const fn number(&self) -> HomeId {
        self.id
    }

    #[must_use]
    pub fn new(id: HomeId, limits: HistoryLimits) -> Home {
        Home {
            id,
            limits,
            places: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::default(),
            newest_epoch: Epoch(0),
            first_generation: 0,
            swept: 0,
            history_bytes: 0,
            history_bytes_max: limits::HISTORY_BYTES_PER_HOME_MAX,
            deflation: Deflation::default(),
            deflater: Deflater::new(Deflation::default().level),
            history_memory_bytes: 0,
            shortened: 0,
            waiting: Waiting::default(),
            counters: HomeCounters::default(),
        }
    }

    /// Begins where another home has ended: gives epochs from `begin` on, and ids of generations from this one on. It has no topic yet.
    pub(super) fn succeed(&mut self, begin: Epoch, first_generation: u32) {
        assert!(self.places.is_empty(), "a home succeeds another before it has topics");
        (self.newest_epoch, self.first_generation) = (Epoch(begin.0.saturating_sub(1)), first_generation);
    }

    /// The newest epoch that was given.
    #[must_use]
    pub fn newest_epoch(&self) -> Epoch {
        self.newest_epoch
    }

    /// Compresses so from now on.
    pub fn set_deflation(&mut self, deflation: Deflation) {
        let is_other = deflation.level != self.deflation.level;
        self.deflation = deflation;
        if is_other {
            self.deflater = Deflater::new(deflation.level);
        }
    }

    /// Keeps so much of each topic from its next event on.
    pub fn set_limits(&mut self, limits: HistoryLimits) {
        self.limits = limits;
    }

    /// The topic of a key, made if need be; `None` when there is no room for another.
    pub fn intern(&mut self, key: TopicKey, now: Now) -> Option<HomeTopicSlot> {
        if let Some(slot) = self.find(&key) {
            return Some(slot);
        }
        let epoch = Epoch((now.unix_ns / 1_000_000).max(self.newest_epoch.0 + 1));
        let slot = self.insert(key, Position { epoch, seq: Seq(0) }, now)?;
        self.newest_epoch = epoch;
        Some(slot)
    }

    /// The topic of a key that shares its sequence with others; one that is made begins after `begun`, where that stands.
    pub fn intern_at(&mut self, key: TopicKey, begun: Position, now: Now) -> Option<HomeTopicSlot> {
        self.find(&key).or_else(|| self.insert(key, begun, now))
    }

    fn insert(&mut self, key: TopicKey, begun: Position, now: Now) -> Option<HomeTopicSlot> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.places.len() < limits::TOPICS_PER_HOME_MAX => {
                self.places.push(Place { generation: self.first_generation, topic: None });
                u32::try_from(self.places.len() - 1)
                    .expect("invariant: there are at most TOPICS_PER_HOME_MAX")
            }
            None => {
                self.counters.topics_refused_total += 1;
                return None;
            }
        };
        let topic = HomeTopic {
            key,
            epoch: begun.epoch,
            seq: begun.seq,
            stands: begun.seq,
            change_id: Seq(0),
            listeners: HomeSet::EMPTY,
            deflated: None,
            history: History::starting_at(begun.seq),
            waiting: 0,
            unheard_since_ns: now.mono_ns,
        };
        self.places[slot as usize].topic = Some(topic);
        self.by_key.insert(key, slot);
        Some(HomeTopicSlot(slot))
    }

    /// The topic of a key if there is one.
    #[must_use]
    pub fn find(&self, key: &TopicKey) -> Option<HomeTopicSlot> {
        self.by_key.get(key).map(|slot| HomeTopicSlot(*slot))
    }

    /// The topic of an id if it has not been forgotten since.
    #[must_use]
    pub fn resolve(&self, id: TopicId) -> Option<HomeTopicSlot> {
        let place = self.places.get(id.slot as usize)?;
        (id.home == self.id && place.generation == id.generation && place.topic.is_some())
            .then_some(HomeTopicSlot(id.slot))
    }

    #[must_use]
    pub fn id(&self, slot: HomeTopicSlot) -> TopicId {
        TopicId { home: self.id, slot: slot.0, generation: self.places[slot.0 as usize].generation }
    }

    /// The next event's place; the topic's newest is one before it.
    #[must_use]
    pub fn next_position(&self, slot: HomeTopicSlot) -> Position {
        let topic = self.topic(slot);
        Position { epoch: topic.epoch, seq: topic.seq.next() }
    }

    /// The book's change id at the newest event of a book topic.
    #[must_use]
    pub fn change_id(&self, slot: HomeTopicSlot) -> Seq {
        self.topic(slot).change_id
    }

    /// A book topic starts at this state of the book.
    pub fn start_at_change(&mut self, slot: HomeTopicSlot, change_id: Seq) {
        self.topic_mut(slot).change_id = change_id;
    }

    /// The newest event's place.
    #[must_use]
    pub fn newest_position(&self, slot: HomeTopicSlot) -> Position {
        let topic = self.topic(slot);
        Position { epoch: topic.epoch, seq: topic.seq }
    }

    /// The sequence that a topic shares with others has come so far: who resumes from there has missed nothing else.
    pub fn stand_at(&mut self, slot: HomeTopicSlot, seq: Seq) {
        let topic = self.topic_mut(slot);
        topic.stands = topic.stands.max(seq);
    }

    /// Stamps an event: `frame`, encoded for [`Home::next_position`] and already in `out.bytes`, goes to all that
    /// listen and into the history.
    pub fn publish(
        &mut self,
        slot: HomeTopicSlot,
        change_id: Seq,
        frame: ByteRange,
        out: &mut Batch,
        now: Now,
    ) {
        let seq = self.next_position(slot).seq;
        self.publish_at(slot, seq, change_id, frame, out, now);
    }

    /// The same of an event whose place in a shared sequence is given: it was encoded for that one.
    pub fn publish_at(
        &mut self,
        slot: HomeTopicSlot,
        seq: Seq,
        change_id: Seq,
        frame: ByteRange,
        out: &mut Batch,
        now: Now,
    ) {
        let id = self.id(slot);
        let held_bytes = self.topic(slot).history.held_bytes();
        let elsewhere_bytes = self.history_bytes - held_bytes;
        let room_bytes = self.history_bytes_max.saturating_sub(elsewhere_bytes);
        let bounds = if self.topic(slot).waiting > 0 { self.limits.stretched() } else { self.limits };
        let limits = HistoryLimits { bytes_max: bounds.bytes_max.min(room_bytes), ..bounds };
        let topic = self.topic_mut(slot);
        let prev_seq = std::mem::replace(&mut topic.seq, seq);
        topic.stands = seq;
        topic.change_id = change_id;
        let memory_bytes = topic.history.memory_bytes();
        topic.history.push(seq, out.slice(frame), limits);
        let (kept_bytes, grown_bytes) =
            (topic.history.held_bytes(), topic.history.memory_bytes() - memory_bytes);
        let mut windows = Windows::default();
        if topic.listeners.is_empty() {
            // What a client publishes may be asked for by one who comes back; a market goes on whether or not it is heard.
            if let TopicKey::Client(_) = topic.key {
                topic.unheard_since_ns = now.mono_ns;
            }
        } else {
            out.records.push(Record::Frame { topic: id, seq, prev_seq, change_id, frame });
            out.audience = HomeSet(out.audience.0 | topic.listeners.0);
            windows = topic.windows();
        }
        self.history_bytes = elsewhere_bytes + kept_bytes;
        self.history_memory_bytes += grown_bytes;
        self.counters.events_stamped_total += 1;
        self.counters.frames_encoded_total += 1;
        if !windows.is_empty() && self.deflation.serves(frame_payload(out.slice(frame))) {
            self.deflate(windows, frame, out);
        }
    }

    /// Compresses an event for those who have one of these windows, as often as they differ for it.
    fn deflate(&mut self, windows: Windows, frame: ByteRange, out: &mut Batch) {
        let payload_bytes = frame_payload(out.slice(frame)).len();
        let mut left = windows;
        while let Some((window, group)) = left.first_group(payload_bytes) {
            left = left.without(group);
            self.counters.frames_deflated_total += 1;
            self.counters.deflated_bytes_in_total += payload_bytes as u64;
            let payload = frame_payload(out.slice(frame));
            if let Some(deflated) = self.deflater.frame(Opcode::Text, window, payload) {
                self.counters.deflated_bytes_out_total += deflated.len() as u64;
                let frame = out.push_bytes(deflated);
                out.records.push(Record::Deflated { windows: group, frame });
            }
        }
    }

    /// A shard's followers of a topic have these windows now. An id of an earlier generation is from before the topic
    /// was forgotten.
    pub fn set_windows(&mut self, from: HomeId, id: TopicId, windows: Windows) {
        let Some(slot) = self.resolve(id) else { return };
        let topic = self.topic_mut(slot);
        if topic.deflated.is_none() && windows.is_empty() {
            return;
        }
        let by_window = topic.deflated.get_or_insert_with(|| Box::new([HomeSet::EMPTY; WINDOWS]));
        for (homes, window) in by_window.iter_mut().zip(deflation::all_windows()) {
            if windows.contains(window) {
                homes.insert(from);
            } else {
                homes.remove(from);
            }
        }
        if topic.windows().is_empty() {
            topic.deflated = None;
        }
    }

    /// Forgets topics that nobody has listened to for the linger time, a bounded number per call; names each.
    pub fn sweep(&mut self, now: Now, mut forgotten: impl FnMut(TopicKey)) {
        for _ in 0..limits::TOPICS_SWEPT_PER_TURN_MAX.min(self.places.len()) {
            self.swept = (self.swept + 1) % self.places.len();
            let place = &mut self.places[self.swept];
            let Some(topic) = &place.topic else { continue };
            let unheard_ns = now.mono_ns.saturating_sub(topic.unheard_since_ns);
            let linger_ns = match topic.key {
                TopicKey::Private { .. } => limits::PRIVATE_TOPIC_LINGER_NS,
                TopicKey::Market { .. } | TopicKey::Client(_) => limits::TOPIC_LINGER_NS,
            };
            if topic.listeners.is_empty() && topic.waiting == 0 && unheard_ns >= linger_ns {
                let key = topic.key;
                self.history_bytes -= topic.history.held_bytes();
                self.history_memory_bytes -= topic.history.memory_bytes();
                place.topic = None;
                place.generation = place.generation.wrapping_add(1);
                self.by_key.remove(&key);
                self.free.push(
                    u32::try_from(self.swept).expect("invariant: there are at most TOPICS_PER_HOME_MAX"),
                );
                self.counters.topics_forgotten_total += 1;
                forgotten(key);
            }
        }
    }

    /// Bytes of memory that topics, their histories and what waits take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let by_key = self.by_key.capacity() * (size_of::<(TopicKey, u32)>() + 1);
        let topics = self.places.capacity() * size_of::<Place>() + by_key;
        topics + self.history_memory_bytes + self.waiting.memory_bytes()
    }

    /// Whether any topic has a history.
    #[must_use]
    pub fn has_histories(&self) -> bool {
        self.history_bytes > 0
    }

    /// What overload asks of histories. At a raised stance they do not grow, so that one that gains an event loses older
    /// ones; and once there is no slow consumer left to close, they are shortened.
    pub fn handle_stance(&mut self, stance: Stance, pressure: Pressure) {
        self.history_bytes_max = match stance {
            Stance::Normal => limits::HISTORY_BYTES_PER_HOME_MAX,
            Stance::Guarded | Stance::Shedding => self.history_bytes_max.min(self.history_bytes),
        };
        if stance == Stance::Shedding && pressure.costliest_bytes == 0 {
            self.shorten_histories();
        }
    }

    /// Forgets the older half of one topic's history after the other, up to a bound for a call.
    fn shorten_histories(&mut self) {
        let before = self.history_memory_bytes;
        for _ in 0..self.places.len() {
            if before - self.history_memory_bytes >= limits::HISTORY_BYTES_SHORTENED_MAX {
                break;
            }
            self.shortened = (self.shortened + 1) % self.places.len();
            let Some(topic) = &mut self.places[self.shortened].topic else { continue };
            self.history_bytes -= topic.history.held_bytes();
            self.history_memory_bytes -= topic.history.memory_bytes();
            topic.history.halve();
            self.history_bytes += topic.history.held_bytes();
            self.history_memory_bytes += topic.history.memory_bytes();
        }
        self.counters.histories_shortened_total += u64::from(before > self.history_memory_bytes);
    }

    /// Bytes of all topics' histories.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    /// Topics that are sequenced here now.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.by_key.len()
    }

    fn topic(&self, slot: HomeTopicSlot) -> &HomeTopic {
        self.places[slot.0 as usize]
            .topic
            .as_ref()
            .expect("invariant: a slot is handed out for a topic that exists")
    }

    fn topic_mut(&mut self, slot: HomeTopicSlot) -> &mut HomeTopic {
        self.places[slot.0 as usize]
            .topic
            .as_mut()
            .expect("invariant: a slot is handed out for a topic that exists")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::channel::TopicName;

    const NOW: Now = Now { mono_ns: 0, unix_ns: 0 };

    #[test]
    fn all_histories_together_stay_within_their_bound() {
        let mut home = Home::new(
            HomeId(0),
            HistoryLimits {
                frames_max: 100,
                bytes_max: 10_000,
                replayed_bytes_per_turn: limits::REPLAYED_BYTES_PER_TURN,
            },
        );
        home.history_bytes_max = 25_000;
        let mut out = Batch::default();
        for round in 0..50 {
            for number in 0..10 {
                let name = TopicName::parse(format!("t{number}").as_bytes()).unwrap();
                let slot = home.intern(TopicKey::Client(name), NOW).unwrap();
                let frame = out.push_bytes(&[round; 300]);
                home.publish(slot, Seq(0), frame, &mut out, NOW);
                let held: usize = home
                    .places
                    .iter()
                    .filter_map(|place| place.topic.as_ref())
                    .map(|topic| topic.history.held_bytes())
                    .sum();
                assert!(held == home.history_bytes && held <= 25_000);
            }
        }
        let later = NOW.plus_ns(limits::TOPIC_LINGER_NS);
        home.sweep(later, |_| {});
        assert_eq!((home.topic_count(), home.history_bytes), (0, 0));
    }

    #[test]
    fn a_narrower_history_holds_from_the_next_event_on() {
        let narrow = HistoryLimits { frames_max: 3, bytes_max: 10_000, replayed_bytes_per_turn: 0 };
        let mut home = Home::new(HomeId(0), HistoryLimits { frames_max: 100, ..narrow });
        let mut out = Batch::default();
        let frame = out.push_bytes(&[7; 100]);
        let name = TopicName::parse(b"t").unwrap();
        let slot = home.intern(TopicKey::Client(name), NOW).unwrap();
        let mut publish = |home: &mut Home| {
            home.publish(slot, Seq(0), frame, &mut out, NOW);
            home.history_bytes()
        };
        assert_eq!((0..10).map(|_| publish(&mut home)).last(), Some(1_000));
        home.set_limits(narrow);
        assert_eq!(home.history_bytes(), 1_000);
        assert_eq!(publish(&mut home), 300);
        home.set_limits(HistoryLimits { frames_max: 0, ..narrow });
        assert_eq!(publish(&mut home), 0);
    }

    #[test]
    fn histories_do_not_grow_at_a_raised_stance_and_are_shortened_when_nobody_can_be_closed() {
        let mut home = Home::new(
            HomeId(0),
            HistoryLimits {
                frames_max: 1000,
                bytes_max: 100_000,
                replayed_bytes_per_turn: limits::REPLAYED_BYTES_PER_TURN,
            },
        );
        let mut out = Batch::default();
        let frame = out.push_bytes(&[7; 1000]);
        let name = |number: u32| TopicKey::Client(TopicName::parse(format!("t{number}").as_bytes()).unwrap());
        let mut publish = |home: &mut Home, number, events| {
            let slot = home.intern(name(number), NOW).unwrap();
            (0..events).for_each(|_| home.publish(slot, Seq(0), frame, &mut out, NOW));
            let exact: usize = home
                .places
                .iter()
                .filter_map(|place| place.topic.as_ref())
                .map(|topic| topic.history.memory_bytes())
                .sum();
            assert_eq!(home.history_memory_bytes, exact);
            home.history_bytes
        };
        assert_eq!(publish(&mut home, 1, 10) + publish(&mut home, 2, 20), 10_000 + 30_000);
        let slow = Pressure { costliest_bytes: 1, ..Pressure::default() };
        for stance in [Stance::Guarded, Stance::Shedding] {
            home.handle_stance(stance, slow);
            assert_eq!(publish(&mut home, 1, 5), 30_000, "as much as it holds");
            assert_eq!(publish(&mut home, 3, 5), 30_000, "a new topic keeps nothing");
        }
        let before = home.memory_bytes();
        home.handle_stance(Stance::Shedding, Pressure::default());
        assert_eq!(home.history_bytes, 15_000);
        assert!(home.memory_bytes() < before);
        home.handle_stance(Stance::Normal, Pressure::default());
        assert_eq!(publish(&mut home, 3, 5), 20_000);
    }
}
