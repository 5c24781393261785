//! The owner's end of the bridge: it listens at the market's home as a shard does, and tells the nodes that follow. PURE. Home: the thread that speaks to
//! NATS, on the node that has the lease.
//!
//! The driver's contract: what the market's home says to the bridge goes to [`Owner::handle_batch`], what nodes ask to [`Owner::handle_request`]; after each,
//! [`Owner::poll_part`] is drained and published, and [`Owner::poll_commands`] goes to the market's home. It is made anew for each lease, with the market's state
//! from its first batches on.
//!
//! Invariants: a node's stream begins with a gap and the image of every instrument, as of a turn's end; an event goes to the nodes that have joined its
//! topic, state to all that follow; what a node that is gone had joined is left.

use std::sync::Arc;

use crate::hub::Cache;
use crate::hub::batch::{Batch, JoinOutcome, Record};
use crate::limits;
use crate::model::channel::TopicKey;
use crate::model::ids::{Epoch, HomeId, Seq, Ticket, TopicId};
use crate::model::market::InstrumentState;
use crate::model::time::Now;

use super::interest::{Asked, Interest};
use super::names::{ClusterName, Fence, Place, Places};
use super::parts::{Part, Parts};
use super::requests::{Ask, Outcome, Reply, Request};
use super::wire::{MarketTopic, WireFault};

/// A node that follows.
#[derive(Clone, Copy, Debug)]
struct Follower {
    name: ClusterName,
    incarnation: u64,
    /// The last request that was done.
    number: u64,
    heard_ns: u64,
}

/// See the file's head.
#[derive(Debug)]
pub struct Owner {
    /// The bridge's place in the mesh, and the market's.
    me: HomeId,
    market: HomeId,
    fence: Fence,
    parts: Parts,
    interest: Interest,
    replica: Cache,
    followers: [Option<Follower>; limits::CLUSTER_FOLLOWERS_MAX],
    commands: Batch,
    /// When nodes are told next that the owner is there.
    heartbeat_ns: u64,
}

impl Owner {
    /// The bridge that is `me` in the mesh, at a market whose home is `market`.
    #[must_use]
    pub fn new(me: HomeId, market: HomeId, fence: Fence, now: Now) -> Owner {
        Owner {
            me,
            market,
            fence,
            parts: Parts::new(fence),
            interest: Interest::default(),
            replica: Cache::default(),
            followers: [None; limits::CLUSTER_FOLLOWERS_MAX],
            commands: Batch::default(),
            heartbeat_ns: now.mono_ns,
        }
    }

    /// Applies a turn of the market's home and tells it to the nodes.
    pub fn handle_batch(&mut self, batch: &Batch) {
        let mut of_frame = Places::NONE;
        for record in &batch.records {
            match record {
                Record::Listed { .. }
                | Record::Levels { .. }
                | Record::Traded { .. }
                | Record::StateChanged { .. }
                | Record::Links { .. }
                | Record::Image { .. } => {
                    self.apply(batch, record);
                    self.parts.push(self.parts.following(), batch, record);
                }
                Record::Frame { topic, seq, prev_seq, .. } => {
                    of_frame = places(self.interest.listeners(*topic));
                    let is_next = self.interest.advance(*topic, *prev_seq, *seq);
                    assert!(is_next, "the market's home tells a topic's events in sequence");
                    self.parts.push(of_frame, batch, record);
                }
                Record::Deflated { .. } => {
                    self.parts.push(of_frame, batch, record);
                }
                Record::Replayed { to, ticket, .. } if *to == self.me => {
                    if let Some(asked) = self.interest.waits(*ticket) {
                        self.answer(batch, record, asked);
                    }
                }
                Record::Joined { to, ticket, topic, seq, outcome, .. } if *to == self.me => {
                    let joined = (*outcome != JoinOutcome::Refused).then_some(*topic);
                    if let Some(asked) = self.interest.joined(*ticket, joined, *seq) {
                        self.answer(batch, record, asked);
                    }
                }
                Record::Gap { to } if *to == self.me => {
                    let left = self.interest.clear();
                    self.leave(left);
                    self.parts.push(self.parts.following(), batch, record);
                }
                Record::Replayed { .. } | Record::Joined { .. } | Record::Gap { .. } => {}
                Record::Join { .. }
                | Record::Windows { .. }
                | Record::Leave { .. }
                | Record::Publish { .. }
                | Record::Published { .. }
                | Record::Ask { .. }
                | Record::Answered { .. }
                | Record::Departed { .. }
                | Record::MessageAsk { .. }
                | Record::MessagesWritten { .. }
                | Record::Message { .. } => {
                    panic!("invariant: the market's home answers the bridge's joins alone: {record:?}")
                }
            }
        }
        self.parts.seal();
    }

    /// Does what a node asks.
    ///
    /// # Errors
    /// The bytes are no request; nothing was done, and there is nobody to answer.
    pub fn handle_request(&mut self, bytes: &[u8], now: Now) -> Result<Reply, WireFault> {
        let request = Request::decode(bytes)?;
        let outcome =
            if request.fence == self.fence { self.serve(&request, now) } else { Outcome::OtherOwner };
        Ok(Reply { fence: request.fence, number: request.number, outcome })
    }

    /// Tells nodes that the owner is there, and forgets those of whom nothing was heard.
    pub fn handle_timeout(&mut self, now: Now) {
        if now.mono_ns < self.heartbeat_ns {
            return;
        }
        self.heartbeat_ns = now.mono_ns + limits::CLUSTER_HEARTBEAT_NS;
        for place in Places(u16::MAX).iter() {
            let is_gone = self.followers[place.index()]
                .is_some_and(|node| now.mono_ns >= node.heard_ns + limits::CLUSTER_FOLLOWER_SILENCE_NS_MAX);
            if is_gone {
                self.followers[place.index()] = None;
                self.forget(place);
            }
        }
        self.parts.heartbeat();
    }

    /// When [`Owner::handle_timeout`] has something to do, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> u64 {
        self.heartbeat_ns
    }

    /// The next message to publish.
    pub fn poll_part(&mut self) -> Option<Part> {
        self.parts.poll()
    }

    /// What is for the market's home since the last call.
    pub fn poll_commands(&mut self) -> Option<Batch> {
        (!self.commands.is_empty()).then(|| std::mem::take(&mut self.commands))
    }

    /// Bytes of memory that it takes, about: its replica above all.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.replica.instruments().len() * InstrumentState::MEMORY_BYTES + self.commands.memory_bytes()
    }

    /// The nodes that are told the market.
    #[must_use]
    pub fn following(&self) -> Places {
        self.parts.following()
    }

    fn serve(&mut self, request: &Request, now: Now) -> Outcome {
        let is_asking = |node: &Option<Follower>| node.is_some_and(|node| node.name == request.node);
        let at = self.followers.iter().position(is_asking);
        if request.number == 0 {
            return self.greet(request, at, now);
        }
        let Some((at, mut node)) = at.and_then(|at| Some((at, self.followers[at]?))) else {
            return Outcome::OutOfOrder;
        };
        let is_repeated = request.number == node.number;
        if request.incarnation != node.incarnation || !(is_repeated || request.number == node.number + 1) {
            return Outcome::OutOfOrder;
        }
        (node.number, node.heard_ns) = (request.number, now.mono_ns);
        self.followers[at] = Some(node);
        if !is_repeated {
            let place = place_at(at);
            request.asks.iter().for_each(|ask| self.serve_ask(place, ask));
        }
        Outcome::Done
    }

    /// A node begins anew, at its place of before if it has one.
    fn greet(&mut self, request: &Request, at: Option<usize>, now: Now) -> Outcome {
        let free = || self.followers.iter().position(Option::is_none);
        let Some(at) = at.or_else(free) else { return Outcome::Full };
        let place = place_at(at);
        self.forget(place);
        let Request { node: name, incarnation, .. } = *request;
        self.followers[at] = Some(Follower { name, incarnation, number: 0, heard_ns: now.mono_ns });
        Outcome::Welcome { place }
    }

    fn serve_ask(&mut self, place: Place, ask: &Ask) {
        match ask {
            Ask::Stream { id } => self.begin_stream(place, *id),
            Ask::Join { home, ticket, topic, resume } => {
                // One that is told no stream hears no answer.
                if !self.parts.following().contains(place) {
                    return;
                }
                let listener = listener_of(place);
                let Some(key) = self.key_of(topic) else {
                    // An instrument of an owner before: a client that comes is not to wait for it. What was listened to already may be listed yet, and is
                    // asked for again then.
                    if resume.is_none() {
                        self.refuse(places(1 << listener), *home, *ticket);
                    }
                    return;
                };
                let ticket = self.interest.join(Asked { listener, home: *home, ticket: *ticket, key });
                self.commands.records.push(Record::Join { key, ticket, resume: *resume });
            }
            Ask::Leave { slot, generation } => {
                let topic = TopicId { home: self.market, slot: *slot, generation: *generation };
                if self.interest.leave(listener_of(place), topic) {
                    self.leave(vec![topic]);
                }
            }
        }
    }

    /// Tells a node that there is no such topic: a turn by itself.
    fn refuse(&mut self, node: Places, home: HomeId, ticket: Ticket) {
        let refused = Record::Joined {
            to: home,
            ticket,
            topic: TopicId { home: self.market, slot: u32::MAX, generation: 0 },
            epoch: Epoch(0),
            seq: Seq(0),
            change_id: Seq(0),
            outcome: JoinOutcome::Refused,
        };
        self.parts.push(node, &Batch::default(), &refused);
        self.parts.seal();
    }

    /// A node is told all from here on, and all that is, first.
    fn begin_stream(&mut self, place: Place, id: u32) {
        let left = self.interest.forget(listener_of(place));
        self.leave(left);
        self.parts.begin(place, id);
        let mut to = Places::NONE;
        to.insert(place);
        let none = Batch::default();
        self.parts.push(to, &none, &Record::Gap { to: self.me });
        self.parts.push(to, &none, &Record::Links { links: self.replica.links().into() });
        for (at, (instrument, state)) in self.replica.instruments().enumerate() {
            let state = Arc::new(state.clone());
            self.parts.push(to, &none, &Record::Image { instrument, state });
            if at % limits::CLUSTER_IMAGES_PER_TURN == limits::CLUSTER_IMAGES_PER_TURN - 1 {
                self.parts.seal();
            }
        }
        self.parts.seal();
    }

    fn forget(&mut self, place: Place) {
        let left = self.interest.forget(listener_of(place));
        self.leave(left);
        self.parts.end(place);
    }

    fn leave(&mut self, topics: Vec<TopicId>) {
        self.commands.records.extend(topics.into_iter().map(|topic| Record::Leave { topic }));
    }

    /// What is asked for by a number and a name; `None` where these are not of one instrument.
    fn key_of(&self, topic: &MarketTopic) -> Option<TopicKey> {
        let known = topic.id.index() < self.replica.instruments().len();
        (known && self.replica.state(topic.id).definition.name == topic.name).then_some(TopicKey::Market {
            instrument: topic.id,
            channel: topic.channel,
            encoding: topic.encoding,
        })
    }

    /// Tells the node whose shard has asked, under that one's ticket.
    fn answer(&mut self, batch: &Batch, record: &Record, asked: Asked) {
        let (home, own) = (asked.home, asked.ticket);
        let mut record = record.clone();
        if let Record::Replayed { to, ticket, .. } | Record::Joined { to, ticket, .. } = &mut record {
            (*to, *ticket) = (home, own);
        }
        self.parts.push(places(1 << asked.listener), batch, &record);
    }

    /// Applies a record of state.
    fn apply(&mut self, batch: &Batch, record: &Record) {
        if let Record::Listed { definition } = record {
            self.replica.list(definition);
        } else if let Record::Levels { instrument, levels, change_id, timestamp_ns } = record {
            self.replica.apply_levels(*instrument, levels.of(&batch.levels), *change_id, *timestamp_ns);
        } else if let Record::Traded { instrument, trade } = record {
            self.replica.record_trade(*instrument, *trade);
        } else if let Record::StateChanged { instrument, state, timestamp_ns } = record {
            self.replica.set_state(*instrument, *state, *timestamp_ns);
        } else if let Record::Links { links } = record {
            self.replica.set_links(links);
        } else if let Record::Image { instrument, state } = record {
            self.replica.replace(*instrument, state);
        }
    }
}

fn listener_of(place: Place) -> u8 {
    u8::try_from(place.index()).expect("invariant: there are 16 places")
}

fn place_at(at: usize) -> Place {
    let place = u8::try_from(at).ok().and_then(Place::new);
    place.expect("invariant: the table has a place for each")
}

/// Listeners of an owner are nodes by their places.
fn places(listeners: u64) -> Places {
    Places(u16::try_from(listeners).expect("invariant: there are 16 places"))
}
