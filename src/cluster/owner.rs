//! The owner's end of the bridge: it listens at the market's home as a shard does, and tells the nodes that follow. PURE. Home: the thread that speaks to
//! NATS, on the node that has the lease.
//!
//! The driver's contract: what the market's home says to the bridge goes to [`Owner::handle_batch`], what it says to a home that [`Owner::is_of_node`] to
//! [`Owner::handle_words`], what nodes ask to [`Owner::handle_request`]; after each, [`Owner::poll_part`] is drained and published, and each batch of
//! [`Owner::poll_commands`] goes to the market's home as from the home that it names. It is made anew for each lease, with the market's state from its first
//! batches on.
//!
//! Invariants: a node's stream begins with a gap and the image of every instrument, as of a turn's end; an event goes to the nodes that have joined its
//! topic, state to all that follow, and what is one account's or one client's to no other node; what a node that is gone had joined is left, and its clients
//! have departed.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::Cache;
use crate::hub::batch::{Batch, JoinOutcome, Record};
use crate::limits;
use crate::model::channel::TopicKey;
use crate::model::ids::{Epoch, HomeId, Seq, Ticket, TopicId};
use crate::model::market::InstrumentState;
use crate::model::order::AccountId;
use crate::model::time::Now;

use super::commands::{Command, read_commands};
use super::interest::{Asked, Interest};
use super::names::{ClusterName, Fence, Place, Places};
use super::parts::{Part, Parts};
use super::requests::{Ask, AskedTopic, Outcome, Reply, Request};
use super::tenant::Tenant;
use super::wire::{MarketTopic, WireFault};

/// What number an account has at the owner, by its name; `None` where there are as many as there may be.
type NumberOf<'n> = &'n mut dyn FnMut(&str) -> Option<AccountId>;

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
    /// By the same places.
    tenants: [Tenant; limits::CLUSTER_FOLLOWERS_MAX],
    /// For the market's home, and from whom.
    commands: VecDeque<(HomeId, Batch)>,
    /// When nodes are told next that the owner is there.
    heartbeat_ns: u64,
    /// Nodes that were given up: silent, begun anew, or with more words than they hear.
    pub given_up_total: u64,
    /// Those of them that did not hear.
    pub deaf_total: u64,
}

impl Owner {
    /// The bridge that is `me` in the mesh, at a market whose home is `market`. The homes behind `me`, one for each place, stand for the nodes that follow.
    ///
    /// # Panics
    /// Where the mesh has more than `limits::CLUSTER_SHARDS_MAX` shards.
    #[must_use]
    pub fn new(me: HomeId, market: HomeId, fence: Fence, now: Now) -> Owner {
        assert!(
            me.index() + limits::CLUSTER_FOLLOWERS_MAX < limits::HOMES_MAX,
            "invariant: a node of a cluster has at most CLUSTER_SHARDS_MAX shards"
        );
        Owner {
            me,
            market,
            fence,
            parts: Parts::new(fence),
            interest: Interest::default(),
            replica: Cache::default(),
            followers: [None; limits::CLUSTER_FOLLOWERS_MAX],
            tenants: std::array::from_fn(|at| Tenant::new(home_of(me, place_at(at)), market)),
            commands: VecDeque::new(),
            heartbeat_ns: now.mono_ns,
            given_up_total: 0,
            deaf_total: 0,
        }
    }

    /// Applies a turn of the market's home and tells it to the nodes.
    pub fn handle_batch(&mut self, batch: &Batch) {
        let (mut of_frame, mut is_private) = (Places::NONE, false);
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
                    is_private = self.interest.is_private(*topic);
                    let is_next = self.interest.advance(*topic, *prev_seq, *seq);
                    assert!(is_next, "the market's home tells a topic's events in sequence");
                    self.say_event(of_frame, is_private, batch, record);
                }
                Record::Deflated { .. } => self.say_event(of_frame, is_private, batch, record),
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
                | Record::Message { .. }
                | Record::Reset => {
                    panic!("invariant: the market's home answers the bridge's joins alone: {record:?}")
                }
            }
        }
        self.parts.seal();
    }

    /// Whether a home of the mesh stands for a node that follows, or may.
    #[must_use]
    pub fn is_of_node(&self, home: HomeId) -> bool {
        home > self.me && home.index() <= self.me.index() + limits::CLUSTER_FOLLOWERS_MAX
    }

    /// What desk, office and the home of topics say to a node, or one before it at its place.
    ///
    /// # Panics
    /// Where the home is no node's.
    pub fn handle_words(&mut self, to: HomeId, batch: &Batch) {
        assert!(self.is_of_node(to), "invariant: words are for a node's home: {to:?}");
        let place = place_at(to.index() - self.me.index() - 1);
        let mut words = Vec::new();
        self.tenants[place.index()].handle_words(batch, &mut words);
        self.say_words(place, words);
    }

    /// Does what a node asks. `number_of` says what number an account has on this node, by its name, which is a new one if need be; `None` where there
    /// are as many as there may be.
    ///
    /// # Errors
    /// The bytes are no request; nothing was done, and there is nobody to answer.
    pub fn handle_request(
        &mut self,
        bytes: &[u8],
        mut number_of: impl FnMut(&str) -> Option<AccountId>,
        now: Now,
    ) -> Result<Reply, WireFault> {
        let request = Request::decode(bytes)?;
        let commands = read_commands(&request.commands)?;
        let outcome = if request.fence == self.fence {
            self.serve(&request, &commands, &mut number_of, now)
        } else {
            Outcome::OtherOwner
        };
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
                self.give_up(place);
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

    /// There was no room for a message: it is told later, before the others, or is lost with them.
    pub fn put_back(&mut self, part: Part) {
        self.parts.put_back(part);
    }

    /// What is for the market's home next, and from whom.
    pub fn poll_commands(&mut self) -> Option<(HomeId, Batch)> {
        self.commands.pop_front()
    }

    /// Messages that were dropped since NATS took fewer than were told.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.parts.dropped_total
    }

    /// Bytes of memory that it takes, about: its replica above all.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let commands: usize = self.commands.iter().map(|(_, batch)| batch.memory_bytes()).sum();
        let tenants: usize = self.tenants.iter().map(Tenant::memory_bytes).sum();
        self.replica.instruments().len() * InstrumentState::MEMORY_BYTES
            + self.parts.memory_bytes()
            + commands
            + tenants
    }

    /// The nodes that are told the market.
    #[must_use]
    pub fn following(&self) -> Places {
        self.parts.following()
    }

    fn serve(
        &mut self,
        request: &Request,
        commands: &[Command<'_>],
        number_of: NumberOf<'_>,
        now: Now,
    ) -> Outcome {
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
            self.tenants[at].acknowledge(request.heard);
            self.serve_commands(place, commands, number_of);
            if self.followers[at].is_none() {
                // What it was refused was more than it hears.
                return Outcome::OutOfOrder;
            }
            request.asks.iter().for_each(|ask| self.serve_ask(place, ask, number_of));
        }
        Outcome::Done
    }

    fn serve_commands(&mut self, place: Place, commands: &[Command<'_>], number_of: NumberOf<'_>) {
        if commands.is_empty() {
            return;
        }
        let (instruments, tenant) = (self.replica.instruments().len(), &mut self.tenants[place.index()]);
        let (mut batch, mut refused) = (Batch::default(), Vec::new());
        for command in commands {
            if let Command::Account { account, name } = command {
                tenant.name_account(*account, *name, number_of(name.as_str()));
            } else {
                tenant.serve(command, instruments, &mut batch, &mut refused);
            }
        }
        self.command(home_of(self.me, place), batch);
        self.say_words(place, refused);
    }

    /// A node begins anew, at its place of before if nothing is to come there any more.
    fn greet(&mut self, request: &Request, at: Option<usize>, now: Now) -> Outcome {
        if let Some(at) = at {
            self.give_up(place_at(at));
        }
        let is_free = |at: &usize| self.followers[*at].is_none() && self.tenants[*at].is_free();
        let Some(at) = at.into_iter().chain(0..self.followers.len()).find(is_free) else {
            return Outcome::Full;
        };
        let place = place_at(at);
        let Request { node: name, incarnation, .. } = *request;
        self.followers[at] = Some(Follower { name, incarnation, number: 0, heard_ns: now.mono_ns });
        Outcome::Welcome { place }
    }

    fn serve_ask(&mut self, place: Place, ask: &Ask, number_of: NumberOf<'_>) {
        match ask {
            Ask::Stream { id } => self.begin_stream(place, *id),
            Ask::Join { home, ticket, topic, resume } => {
                // One that is told no stream hears no answer.
                if !self.parts.following().contains(place) {
                    return;
                }
                let listener = listener_of(place);
                let Some(key) = self.key_of(topic, number_of) else {
                    // No room for the account, or an instrument of an owner before: a client that comes is not to wait for it. What was listened to already may
                    // be listed yet, and is asked for again then.
                    if resume.is_none() {
                        self.refuse(places(1 << listener), *home, *ticket);
                    }
                    return;
                };
                let ticket = self.interest.join(Asked { listener, home: *home, ticket: *ticket, key });
                self.ask_market(Record::Join { key, ticket, resume: *resume });
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
        self.parts.push_private(node, &Batch::default(), &refused);
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
        // What it was told by the stream before may not have come.
        for (number, words) in self.tenants[place.index()].unacknowledged() {
            self.parts.push_words(place, number, words);
            self.parts.seal();
        }
    }

    /// A node is told nothing more, and its clients are gone.
    fn give_up(&mut self, place: Place) {
        self.given_up_total += 1;
        self.followers[place.index()] = None;
        let left = self.interest.forget(listener_of(place));
        self.leave(left);
        self.parts.end(place);
        let mut batch = Batch::default();
        self.tenants[place.index()].leave(&mut batch);
        self.command(home_of(self.me, place), batch);
    }

    fn leave(&mut self, topics: Vec<TopicId>) {
        topics.into_iter().for_each(|topic| self.ask_market(Record::Leave { topic }));
    }

    /// Says a record of the bridge's own to the market's home.
    fn ask_market(&mut self, record: Record) {
        match self.commands.back_mut() {
            Some((from, batch)) if *from == self.me => batch.records.push(record),
            Some(_) | None => {
                let mut batch = Batch::default();
                batch.records.push(record);
                self.commands.push_back((self.me, batch));
            }
        }
    }

    fn command(&mut self, from: HomeId, batch: Batch) {
        if !batch.is_empty() {
            self.commands.push_back((from, batch));
        }
    }

    /// Says words to a node, which are kept until it has them.
    fn say_words(&mut self, place: Place, words: Vec<u8>) {
        if words.is_empty() {
            return;
        }
        self.parts.seal();
        let tenant = &mut self.tenants[place.index()];
        let Some((number, words)) = tenant.keep(words) else {
            self.deaf_total += 1;
            return self.give_up(place);
        };
        self.parts.push_words(place, number, words);
        self.parts.seal();
    }

    /// Says a topic's event to the nodes that listen to it.
    fn say_event(&mut self, nodes: Places, is_private: bool, batch: &Batch, record: &Record) {
        if is_private {
            self.parts.push_private(nodes, batch, record);
        } else {
            self.parts.push(nodes, batch, record);
        }
    }

    /// What is asked for.
    fn key_of(&self, topic: &AskedTopic, number_of: NumberOf<'_>) -> Option<TopicKey> {
        match topic {
            AskedTopic::Market(topic) => self.market_key(topic),
            AskedTopic::Private { account, view } => {
                let instruments = self.replica.instruments().len();
                if view.filter.instrument.is_some_and(|id| id.index() >= instruments) {
                    return None;
                }
                number_of(account.as_str()).map(|account| TopicKey::Private { account, view: *view })
            }
            AskedTopic::Client(name) => Some(TopicKey::Client(*name)),
        }
    }

    /// What is asked for by a number and a name; `None` where these are not of one instrument.
    fn market_key(&self, topic: &MarketTopic) -> Option<TopicKey> {
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
        self.parts.push_private(places(1 << asked.listener), batch, &record);
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

/// What a place is in the owner's mesh.
fn home_of(me: HomeId, place: Place) -> HomeId {
    HomeId(me.0 + 1 + listener_of(place))
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
