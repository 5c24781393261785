//! A follower's end of the bridge: it stands where the market's home is on the owner's node. PURE. Home: the thread that speaks to NATS, on a
//! node that has not the lease.
//!
//! The driver's contract: what shards say to the market's home goes to [`Follower::handle_record`]; [`Follower::handle_owner`] says who owns;
//! [`Follower::poll_request`] is sent to the owner, whose answer is for [`Follower::handle_reply`]. Once there is a [`Follower::place`], the driver subscribes for it and calls
//! [`Follower::handle_subscribed`]; messages go to [`Follower::handle_part`]. After each of them [`Follower::poll_mesh`] is drained to the shards.
//!
//! Invariants: shards are told the owner's events with the owner's places, in its order, or a gap with an image; nothing reaches a shard that does not
//! fit what it was told before; between a loss and the image that mends it shards hear nothing, and put their questions again after it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::Cache;
use crate::hub::batch::{JoinOutcome, Outgoing, Record};
use crate::hub::outbox::Outbox;
use crate::limits;
use crate::model::channel::TopicKey;
use crate::model::ids::{HomeId, HomeSet, InstrumentId, TopicId};
use crate::model::market::InstrumentState;
use crate::model::time::Now;

use super::assembly::{Assembly, Heard, Loss};
use super::interest::{Asked, Interest};
use super::names::{ClusterName, Fence, Place};
use super::requests::{Ask, Outcome, Reply, Request};
use super::wire::MarketTopic;

/// Why a follower begins anew with its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The stream is of no use any more.
    Lost(Loss),
    /// What came does not fit what was told before.
    Misfit,
    /// The owner has another instrument under a number than the one before it had: it has other feeds, or in another order, and cannot be followed.
    OtherInstruments,
    /// The owner does not know this node any more, or knows of so many that it has no place.
    Refused(Outcome),
}

#[derive(Debug)]
enum State {
    /// Nobody owns the market.
    Away,
    /// The owner was asked for a place.
    Greeting,
    /// There is one, and the driver is to subscribe.
    Placed,
    /// A stream is asked for or told.
    Told { assembly: Assembly, is_imaged: bool },
}

#[derive(Debug)]
struct UnderWay {
    number: u64,
    bytes: Vec<u8>,
    sent_ns: u64,
}

/// See the file's head.
#[derive(Debug)]
pub struct Follower {
    name: ClusterName,
    incarnation: u64,
    market: HomeId,
    shards: HomeSet,
    fence: Fence,
    place: Option<Place>,
    state: State,
    stream: u32,
    number: u64,
    asks: VecDeque<Ask>,
    /// When the last stream was or is to be asked for.
    stream_due_ns: Option<u64>,
    under_way: Option<UnderWay>,
    asked_ns: u64,
    interest: Interest,
    replica: Cache,
    /// Instruments that the owner has told by this stream: the replica may have more, of an owner before.
    listed: usize,
    outbox: Outbox,
    /// Streams that were given up.
    pub troubles_total: u64,
}

impl Follower {
    /// Of the node's shards, for which the market's home is `market`. `incarnation` is another number for each start.
    #[must_use]
    pub fn new(name: ClusterName, incarnation: u64, market: HomeId, shards: HomeSet) -> Follower {
        Follower {
            name,
            incarnation,
            market,
            shards,
            fence: Fence(0),
            place: None,
            state: State::Away,
            stream: 0,
            number: 0,
            asks: VecDeque::new(),
            stream_due_ns: None,
            under_way: None,
            asked_ns: 0,
            interest: Interest::default(),
            replica: Cache::default(),
            listed: 0,
            outbox: Outbox::new(),
            troubles_total: 0,
        }
    }

    /// What its shards were told of instruments already, in the order of their numbers: by this node's own market, say.
    ///
    /// # Panics
    /// Where it knows of instruments already.
    pub fn remember(&mut self, told: &[InstrumentState]) {
        assert_eq!(self.replica.instruments().len(), 0, "it begins with what was told before");
        for state in told {
            let instrument = self.replica.list(&state.definition);
            self.replica.replace(instrument, state);
        }
    }

    /// What shards were told of the market, by whomever.
    #[must_use]
    pub fn replica(&self) -> &Cache {
        &self.replica
    }

    /// Shards that are told nothing until there is room for them again.
    #[must_use]
    pub fn lagging(&self) -> HomeSet {
        self.outbox.lagging()
    }

    /// Whether [`Follower::handle_subscribed`] is waited for.
    #[must_use]
    pub fn awaits_hearing(&self) -> bool {
        matches!(self.state, State::Placed)
    }

    /// When [`Follower::poll_request`] or [`Follower::handle_timeout`] has something to do at the latest, on the monotonic clock, in nanoseconds; 0 for at once.
    #[must_use]
    pub fn poll_timeout(&self) -> u64 {
        let request_ns = match (&self.under_way, &self.state) {
            (Some(sent), _) => sent.sent_ns + limits::CLUSTER_REQUEST_NS,
            (None, State::Away) => u64::MAX,
            (None, State::Placed) => self.asked_ns + limits::CLUSTER_REQUEST_NS,
            (None, State::Greeting) => 0,
            (None, State::Told { is_imaged: false, .. }) => self.stream_due_ns.unwrap_or(0),
            (None, State::Told { .. }) if !self.asks.is_empty() => 0,
            (None, State::Told { .. }) => self.asked_ns + limits::CLUSTER_HEARTBEAT_NS,
        };
        match &self.state {
            State::Told { assembly, .. } => request_ns.min(assembly.poll_timeout().unwrap_or(u64::MAX)),
            State::Away | State::Greeting | State::Placed => request_ns,
        }
    }

    /// That owner has the lease: an older one is not listened to any more.
    pub fn handle_owner(&mut self, fence: Fence) {
        if fence > self.fence {
            self.fence = fence;
            self.greet();
        }
    }

    /// Applies one record of a shard's; whether it is one that the market's home on another node is asked for. Others this node
    /// answers by itself.
    pub fn handle_record(&mut self, from: HomeId, record: &Record) -> bool {
        match record {
            Record::Join {
                key: key @ TopicKey::Market { instrument, channel, encoding },
                ticket,
                resume,
            } => {
                // It asks again after its gap, before which it would hear no answer.
                if self.is_told() && !self.outbox.lagging().contains(from) {
                    let asked = Asked { listener: from.0, home: from, ticket: *ticket, key: *key };
                    let ticket = self.interest.join(asked);
                    let (id, name) = (*instrument, self.replica.state(*instrument).definition.name);
                    let topic = MarketTopic { id, name, channel: *channel, encoding: *encoding };
                    self.asks.push_back(Ask::Join { home: from, ticket, topic, resume: *resume });
                }
                true
            }
            Record::Leave { topic } => {
                if self.is_told() && self.interest.leave(from.0, *topic) {
                    self.asks.push_back(Ask::Leave { slot: topic.slot, generation: topic.generation });
                }
                true
            }
            // Frames cross as they are, and are not compressed for this node's clients.
            Record::Windows { .. } => true,
            Record::Join { key: TopicKey::Private { .. } | TopicKey::Client(_), .. }
            | Record::Listed { .. }
            | Record::Levels { .. }
            | Record::Traded { .. }
            | Record::StateChanged { .. }
            | Record::Links { .. }
            | Record::Image { .. }
            | Record::Frame { .. }
            | Record::Deflated { .. }
            | Record::Replayed { .. }
            | Record::Joined { .. }
            | Record::Gap { .. }
            | Record::Publish { .. }
            | Record::Published { .. }
            | Record::Ask { .. }
            | Record::Answered { .. }
            | Record::Departed { .. }
            | Record::MessageAsk { .. }
            | Record::MessagesWritten { .. }
            | Record::Message { .. } => false,
        }
    }

    /// The next request to the owner: asks, one that was not answered in time, or a word that this node is there.
    pub fn poll_request(&mut self, now: Now) -> Option<Vec<u8>> {
        if let Some(sent) = &mut self.under_way {
            if now.mono_ns < sent.sent_ns + limits::CLUSTER_REQUEST_NS {
                return None;
            }
            sent.sent_ns = now.mono_ns;
            return Some(sent.bytes.clone());
        }
        let is_due = match self.state {
            State::Away | State::Placed => false,
            State::Greeting => true,
            State::Told { is_imaged: false, .. } if Some(now.mono_ns) < self.stream_due_ns => false,
            State::Told { .. } => {
                !self.asks.is_empty() || now.mono_ns >= self.asked_ns + limits::CLUSTER_HEARTBEAT_NS
            }
        };
        if !is_due {
            return None;
        }
        let count = self.asks.len().min(limits::CLUSTER_ASKS_PER_REQUEST_MAX);
        let asks = self.asks.drain(..count).collect();
        let (fence, node, incarnation, number) = (self.fence, self.name, self.incarnation, self.number);
        let bytes = Request { fence, node, incarnation, number, asks }.encode();
        self.asked_ns = now.mono_ns;
        self.under_way = Some(UnderWay { number, bytes: bytes.clone(), sent_ns: now.mono_ns });
        Some(bytes)
    }

    /// What the owner says to a request.
    ///
    /// # Errors
    /// The owner refused: the node greets it anew.
    pub fn handle_reply(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let Ok(reply) = Reply::decode(bytes) else { return Ok(()) };
        let Reply { fence, number, outcome } = reply;
        if fence != self.fence || self.under_way.as_ref().is_none_or(|sent| sent.number != number) {
            return Ok(());
        }
        match (outcome, &self.state) {
            (Outcome::Welcome { place }, State::Greeting) => {
                self.under_way = None;
                self.place = Some(place);
                self.state = State::Placed;
                Ok(())
            }
            (Outcome::Done, State::Told { .. }) => {
                self.under_way = None;
                self.number += 1;
                Ok(())
            }
            // It is asked again after a while, until the lease says who owns.
            (Outcome::OtherOwner | Outcome::Full, State::Greeting) => Err(Trouble::Refused(outcome)),
            (
                Outcome::OtherOwner
                | Outcome::OutOfOrder
                | Outcome::Full
                | Outcome::Done
                | Outcome::Welcome { .. },
                _,
            ) => {
                self.greet();
                Err(Trouble::Refused(outcome))
            }
        }
    }

    /// Where the owner tells this node the market, once it has said so.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// The driver hears what is published for [`Follower::place`] from here on.
    pub fn handle_subscribed(&mut self, now: Now) {
        if let (State::Placed, Some(place)) = (&self.state, self.place) {
            self.number = 1;
            self.begin_stream(place, now);
        }
    }

    /// Takes a message.
    ///
    /// # Errors
    /// See [`Trouble`]: another stream is to be asked for, but for [`Trouble::OtherInstruments`], after which a later owner is waited for.
    pub fn handle_part(&mut self, bytes: &[u8], now: Now) -> Result<(), Trouble> {
        let State::Told { assembly, .. } = &mut self.state else { return Ok(()) };
        let heard = assembly.handle_part(bytes, now).map_err(Trouble::Lost);
        let told = match heard {
            // Of a later owner the lease says so too, and that is what counts.
            Ok(Heard::Nothing | Heard::Part | Heard::LaterOwner(_)) => Ok(()),
            Ok(Heard::Turn) => self.tell_turn(),
            Err(trouble) => Err(trouble),
        };
        told.inspect_err(|trouble| match trouble {
            Trouble::OtherInstruments => {
                self.greet();
                self.state = State::Away;
            }
            Trouble::Lost(_) | Trouble::Misfit | Trouble::Refused(_) => self.begin_anew(now),
        })
    }

    /// Looks whether the owner has gone silent.
    ///
    /// # Errors
    /// As [`Follower::handle_part`].
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), Trouble> {
        let State::Told { assembly, .. } = &mut self.state else { return Ok(()) };
        assembly.handle_timeout(now).map_err(Trouble::Lost).inspect_err(|_| self.begin_anew(now))
    }

    /// The next batch for shards.
    pub fn poll_mesh(&mut self) -> Option<Outgoing> {
        self.outbox.poll()
    }

    /// The data queue to a shard was full.
    pub fn handle_lag(&mut self, shard: HomeId) {
        self.outbox.lag(shard);
        let left = self.interest.forget(shard.0);
        if self.is_told() {
            let leave = |topic: TopicId| Ask::Leave { slot: topic.slot, generation: topic.generation };
            self.asks.extend(left.into_iter().map(leave));
        }
    }

    /// The data queue to a lagging shard has room again: it is told of the gap and given the whole state.
    pub fn handle_room(&mut self, shard: HomeId) {
        let replica = &self.replica;
        self.outbox.recover(shard, |batch| {
            batch.records.push(Record::Links { links: replica.links().into() });
            for (instrument, state) in replica.instruments() {
                let state = Arc::new(state.clone());
                batch.records.push(Record::Image { instrument, state });
            }
        });
    }

    /// Bytes of memory that it takes, about: its replica above all.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.replica.instruments().len() * InstrumentState::MEMORY_BYTES + self.outbox.memory_bytes()
    }

    /// Whether shards are told the market.
    #[must_use]
    pub fn is_told(&self) -> bool {
        matches!(self.state, State::Told { is_imaged: true, .. })
    }

    fn greet(&mut self) {
        self.troubles_total += u64::from(self.is_told());
        self.state = State::Greeting;
        (self.number, self.under_way, self.place) = (0, None, None);
        self.asks.clear();
        self.interest.clear();
    }

    /// The stream is of no use any more. What the owner was asked for by it is void.
    fn begin_anew(&mut self, now: Now) {
        self.troubles_total += 1;
        if let Some(place) = self.place {
            self.begin_stream(place, now);
        }
    }

    fn begin_stream(&mut self, place: Place, now: Now) {
        self.stream = self.stream.wrapping_add(1);
        self.asks.clear();
        self.interest.clear();
        self.asks.push_back(Ask::Stream { id: self.stream });
        self.stream_due_ns = Some(match self.stream_due_ns {
            // That one was not asked for yet: this one is, in its place.
            Some(due_ns) if due_ns > now.mono_ns => due_ns,
            Some(last_ns) => now.mono_ns.max(last_ns + limits::CLUSTER_STREAMS_APART_NS),
            None => now.mono_ns,
        });
        let assembly = Assembly::new(place, self.fence, self.stream, now);
        self.state = State::Told { assembly, is_imaged: false };
    }

    /// Tells shards the turn that is whole, if all of it fits.
    fn tell_turn(&mut self) -> Result<(), Trouble> {
        let State::Told { assembly, .. } = &mut self.state else { return Ok(()) };
        let out = self.outbox.data();
        let taken = assembly.take_turn(self.market, out).map_err(Trouble::Lost);
        // Of a turn that does not fit, shards hear nothing.
        let records = std::mem::take(&mut out.records);
        taken?;
        let mut told = Vec::with_capacity(records.len());
        for record in records {
            self.fit(record, &mut told)?;
        }
        let out = self.outbox.data();
        if !told.is_empty() {
            out.audience = self.shards;
        }
        out.records = told;
        self.outbox.seal_data();
        Ok(())
    }

    /// Applies a record to the replica and gives what shards are told of it.
    fn fit(&mut self, record: Record, told: &mut Vec<Record>) -> Result<(), Trouble> {
        let State::Told { is_imaged, .. } = &mut self.state else { return Ok(()) };
        if let Record::Gap { .. } = record {
            *is_imaged = true;
            self.listed = 0;
            self.interest.clear();
            told.extend(self.shards.iter().map(|to| Record::Gap { to }));
            return Ok(());
        }
        if !*is_imaged {
            return Err(Trouble::Misfit);
        }
        if let Record::Frame { topic, seq, prev_seq, .. } = &record {
            if self.interest.listeners(*topic) != 0 && !self.interest.advance(*topic, *prev_seq, *seq) {
                return Err(Trouble::Misfit);
            }
        } else if let Record::Replayed { ticket, .. } | Record::Joined { ticket, .. } = &record {
            if let Some(asked) = self.interest.waits(*ticket) {
                told.push(self.answer(record, asked));
            }
            return Ok(());
        } else {
            self.apply(&record)?;
        }
        told.push(record);
        Ok(())
    }

    /// An answer as the shard that asked is to hear it.
    fn answer(&mut self, mut record: Record, asked: Asked) -> Record {
        if let Record::Joined { ticket, topic, seq, outcome, .. } = &record {
            let joined = (*outcome != JoinOutcome::Refused).then_some(*topic);
            self.interest.joined(*ticket, joined, *seq);
        }
        if let Record::Replayed { to, ticket, .. } | Record::Joined { to, ticket, .. } = &mut record {
            (*to, *ticket) = (asked.home, asked.ticket);
        }
        record
    }

    fn apply(&mut self, record: &Record) -> Result<(), Trouble> {
        let (known, listed) = (self.replica.instruments().len(), self.listed);
        let fits = |instrument: &InstrumentId| {
            if instrument.index() < listed { Ok(*instrument) } else { Err(Trouble::Misfit) }
        };
        if let Record::Listed { definition } = record {
            // What an owner before has told is not listed a second time: an image says what has become of it.
            if listed < known || known == limits::INSTRUMENTS_MAX {
                return Err(Trouble::Misfit);
            }
            self.replica.list(definition);
            self.listed += 1;
        } else if let Record::Levels { instrument, levels, change_id, timestamp_ns } = record {
            if self.replica.state(fits(instrument)?).change_id.next() != *change_id {
                return Err(Trouble::Misfit);
            }
            let updates = levels.of(&self.outbox.data().levels);
            self.replica.apply_levels(*instrument, updates, *change_id, *timestamp_ns);
        } else if let Record::Traded { instrument, trade } = record {
            self.replica.record_trade(fits(instrument)?, *trade);
        } else if let Record::StateChanged { instrument, state, timestamp_ns } = record {
            self.replica.set_state(fits(instrument)?, *state, *timestamp_ns);
        } else if let Record::Links { links } = record {
            self.replica.set_links(links);
        } else if let Record::Image { instrument, state } = record {
            if instrument.index() > listed {
                return Err(Trouble::Misfit);
            }
            let is_known = instrument.index() < known;
            if is_known && self.replica.state(*instrument).definition.name != state.definition.name {
                return Err(Trouble::OtherInstruments);
            }
            self.replica.replace(*instrument, state);
            self.listed = listed.max(instrument.index() + 1);
        }
        Ok(())
    }
}
