//! A follower's end of the bridge: it stands where the market's home is on the owner's node. PURE. Home: the thread that speaks to NATS, on a
//! node that has not the lease.
//!
//! The driver's contract: what shards say to the market's home goes to [`Follower::handle_record`]; [`Follower::handle_owner`] says who owns;
//! [`Follower::poll_request`] is sent to the owner, whose answer is for [`Follower::handle_reply`]. Once there is a [`Follower::place`], the driver subscribes for it and calls
//! [`Follower::handle_subscribed`]; messages go to [`Follower::handle_part`]. After each of them [`Follower::poll_mesh`] is drained to the shards.
//!
//! Invariants: shards are told the owner's events with the owner's places, in its order, or a gap with an image; nothing reaches a shard that does not
//! fit what it was told before; between a loss and the image that mends it shards hear no data, and put their questions for it again after it. What desk and
//! office are asked is sent to one owner, once, and answered once: by that owner, whatever stream is lost meanwhile, as not sent, or, where the owner
//! is lost or has given this node up, as unknown (`hub/resetting.rs`).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::Cache;
use crate::hub::batch::{Batch, JoinOutcome, Outgoing, Record};
use crate::hub::outbox::Outbox;
use crate::hub::resetting::Resetting;
use crate::limits;
use crate::model::channel::TopicKey;
use crate::model::ids::{HomeId, HomeSet, InstrumentId, Position, TopicId};
use crate::model::market::InstrumentState;
use crate::model::message::{MessageAsk, Name, is_processor};
use crate::model::order::{self as desk, AccountId};
use crate::model::time::Now;

use super::assembly::{Assembly, Heard, Loss};
use super::commands::{
    By, Command, ForwardedAsk, ForwardedMessageAsk, ForwardedTopic, Said, fold_conn, fold_ticket, read_said,
};
use super::forwarding::{Forwarding, Waits, refuse};
use super::interest::{Asked, Interest};
use super::names::{ClusterName, Fence, Place};
use super::order_coding::named_instrument;
use super::records::Words;
use super::requests::{Ask, AskedTopic, Outcome, Reply, Request};
use super::wire::{MarketTopic, WireFault};

/// How often a request is sent before its owner is given up, however long that takes: this thread may have stood still.
const SENDINGS_MIN: u32 = 4;

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
    /// The owner has not answered for `limits::CLUSTER_OWNER_SILENCE_NS_MAX`.
    Unanswered,
    /// Words of desk or office are none.
    Words(WireFault),
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
    /// When it was sent first and last, and how often.
    begun_ns: u64,
    sent_ns: u64,
    sendings: u32,
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
    forwarding: Forwarding,
    resetting: Resetting,
    /// This owner was asked something for a shard.
    is_used: bool,
    /// The last of its words that were taken, and bytes of those that it does not know to be.
    heard: u64,
    unsaid_bytes: usize,
    replica: Cache,
    /// Instruments that the owner has told by this stream: the replica may have more, of an owner before.
    listed: usize,
    outbox: Outbox,
    /// Changes of the market (levels, trades, states) that shards were told of.
    pub changes_total: u64,
    /// Streams that were given up.
    pub troubles_total: u64,
    /// Requests of clients that were refused since no owner was there for them.
    pub not_sent_total: u64,
}

impl Follower {
    /// Of the node's shards, for which the market's home is `market`. `incarnation` is another number for each start. `before` is what
    /// [`crate::hub::market::MarketHome::end`] gave, where the node has owned.
    #[must_use]
    pub fn new(
        name: ClusterName,
        incarnation: u64,
        market: HomeId,
        shards: HomeSet,
        before: Resetting,
    ) -> Follower {
        let (mut outbox, mut resetting) = (Outbox::new(), before);
        resetting.begin(shards, &mut outbox);
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
            forwarding: Forwarding::default(),
            resetting,
            is_used: false,
            heard: 0,
            unsaid_bytes: 0,
            replica: Cache::default(),
            listed: 0,
            outbox,
            changes_total: 0,
            troubles_total: 0,
            not_sent_total: 0,
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
            // What is placed waits for its driver, who asks again by itself.
            (None, State::Away | State::Placed) => u64::MAX,
            (None, State::Greeting) => 0,
            (None, State::Told { .. })
                if !self.forwarding.is_empty() || self.unsaid_bytes >= limits::CLUSTER_WORDS_BYTES_UNSAID =>
            {
                0
            }
            (None, State::Told { is_imaged: false, .. }) if !self.asks.is_empty() => {
                self.stream_due_ns.unwrap_or(0).min(self.asked_ns + limits::CLUSTER_HEARTBEAT_NS)
            }
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

    /// Applies one record of a shard's batch, which is for the market's home. `name_of` says what an account is called on every node.
    ///
    /// # Panics
    /// On a record that no shard sends to the market's home: our own bug.
    pub fn handle_record(
        &mut self,
        from: HomeId,
        batch: &Batch,
        record: &Record,
        name_of: impl Fn(AccountId) -> Name,
    ) {
        if !self.resetting.admits(from, record) {
            return;
        }
        match record {
            Record::Join { key, ticket, resume } => {
                // It asks again after its gap, before which it would hear no answer.
                if self.is_told() && !self.outbox.lagging().contains(from) {
                    let asked = Asked { listener: from.0, home: from, ticket: *ticket, key: *key };
                    self.join(asked, *resume, name_of);
                }
            }
            Record::Leave { topic } => {
                if self.is_told() && self.interest.leave(from.0, *topic) {
                    self.asks.push_back(Ask::Leave { slot: topic.slot, generation: topic.generation });
                }
            }
            // Frames cross as they are, and are not compressed for this node's clients.
            Record::Windows { .. } => {}
            Record::Ask { at } => self.forward_ask(from, batch.ask(*at), name_of),
            Record::MessageAsk { at, content } => {
                self.forward_message_ask(from, batch.message_ask(*at), batch.slice(*content), name_of);
            }
            Record::Publish { ticket, name, topic, data } => {
                let topic = topic.map(ForwardedTopic::of);
                let data = batch.slice(*data);
                let command =
                    Command::Publish { ticket: fold_ticket(from, *ticket), name: *name, topic, data };
                self.forward(Some(Waits::Topics(from, *ticket)), &command);
            }
            Record::Departed { client, how } => {
                self.forward(None, &Command::Departed { conn: fold_conn(from, client.conn), how: *how });
            }
            Record::MessagesWritten { client, count } => {
                let conn = fold_conn(from, client.conn);
                self.forward(None, &Command::MessagesWritten { conn, count: *count });
            }
            Record::Reset => {
                let is_echo = self.resetting.is_echo(from);
                assert!(is_echo, "invariant: a shard says back what it was told: {from:?}");
            }
            Record::Listed { .. }
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
            | Record::Published { .. }
            | Record::Answered { .. }
            | Record::Message { .. } => {
                panic!("invariant: shards send the market's home no such record: {record:?}")
            }
        }
    }

    /// The next request to the owner: asks and commands, one that was not answered in time, or a word that this node is there and what it has heard.
    pub fn poll_request(&mut self, now: Now) -> Option<Vec<u8>> {
        if let Some(sent) = &mut self.under_way {
            if now.mono_ns < sent.sent_ns + limits::CLUSTER_REQUEST_NS {
                return None;
            }
            sent.sent_ns = now.mono_ns;
            sent.sendings += 1;
            return Some(sent.bytes.clone());
        }
        let may_ask = match self.state {
            State::Away | State::Placed => return None,
            State::Greeting => false,
            // A stream is not asked for before its time; nothing else is asked before it.
            State::Told { is_imaged, .. } => is_imaged || Some(now.mono_ns) >= self.stream_due_ns,
        };
        let is_due = matches!(self.state, State::Greeting)
            || (may_ask && !self.asks.is_empty())
            || !self.forwarding.is_empty()
            || self.unsaid_bytes >= limits::CLUSTER_WORDS_BYTES_UNSAID
            || now.mono_ns >= self.asked_ns + limits::CLUSTER_HEARTBEAT_NS;
        if !is_due {
            return None;
        }
        let count = if may_ask { self.asks.len().min(limits::CLUSTER_ASKS_PER_REQUEST_MAX) } else { 0 };
        let asks = self.asks.drain(..count).collect();
        let commands = self.forwarding.take();
        self.unsaid_bytes = 0;
        let (fence, node, incarnation) = (self.fence, self.name, self.incarnation);
        let (number, heard) = (self.number, self.heard);
        let bytes = Request { fence, node, incarnation, number, heard, asks, commands }.encode();
        self.asked_ns = now.mono_ns;
        let (begun_ns, sent_ns, sendings) = (now.mono_ns, now.mono_ns, 1);
        self.under_way = Some(UnderWay { number, bytes: bytes.clone(), begun_ns, sent_ns, sendings });
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
            Trouble::Words(_) => self.greet(),
            Trouble::Lost(_) | Trouble::Misfit | Trouble::Refused(_) | Trouble::Unanswered => {
                self.begin_anew(now);
            }
        })
    }

    /// Looks whether the owner has gone silent.
    ///
    /// # Errors
    /// As [`Follower::handle_part`]; or what shards asked for is not answered, and the node greets anew.
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), Trouble> {
        let is_unanswered = self.under_way.as_ref().is_some_and(|sent| {
            sent.sendings >= SENDINGS_MIN
                && now.mono_ns >= sent.begun_ns + limits::CLUSTER_OWNER_SILENCE_NS_MAX
        });
        if is_unanswered && matches!(self.state, State::Told { .. }) {
            self.greet();
            return Err(Trouble::Unanswered);
        }
        let State::Told { assembly, .. } = &mut self.state else { return Ok(()) };
        assembly.handle_timeout(now).map_err(Trouble::Lost).inspect_err(|_| self.begin_anew(now))
    }

    /// The next batch for shards.
    pub fn poll_mesh(&mut self) -> Option<Outgoing> {
        self.outbox.seal_commands();
        self.outbox.poll()
    }

    /// This node follows no more: what has not left is told as not sent, by the last batches of [`Follower::poll_mesh`]. What it gives is for
    /// [`crate::hub::market::MarketHome::reset_shards`].
    pub fn end(&mut self) -> Resetting {
        self.not_sent_total += self.forwarding.give_up(&mut self.outbox);
        self.state = State::Away;
        std::mem::take(&mut self.resetting)
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
        self.replica.instruments().len() * InstrumentState::MEMORY_BYTES
            + self.outbox.memory_bytes()
            + self.forwarding.memory_bytes()
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
        // What has a number at the owner before may have another at this one, until that has told it.
        (self.heard, self.unsaid_bytes, self.listed) = (0, 0, 0);
        // Names of accounts too, where what they were for was refused: the next owner knows none.
        self.not_sent_total += self.forwarding.give_up(&mut self.outbox);
        if std::mem::take(&mut self.is_used) {
            self.resetting.begin(self.shards, &mut self.outbox);
        }
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
        let (out, mut words) = (self.outbox.data(), Vec::new());
        let taken = assembly.take_turn(self.market, out, &mut words).map_err(Trouble::Lost);
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
        words.iter().try_for_each(|words| self.take_words(words))
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
            let is_change =
                matches!(record, Record::Levels { .. } | Record::Traded { .. } | Record::StateChanged { .. });
            self.changes_total += u64::from(is_change);
        }
        told.push(record);
        Ok(())
    }

    /// Passes words of desk and office on to the shards that they are for, each once.
    fn take_words(&mut self, words: &Words) -> Result<(), Trouble> {
        if words.number <= self.heard {
            return Ok(());
        }
        if words.number != self.heard + 1 {
            return Err(Trouble::Misfit);
        }
        let all = read_said(&words.bytes, self.shards).map_err(Trouble::Words)?;
        self.heard = words.number;
        self.unsaid_bytes += words.bytes.len();
        for (shard, said) in all {
            let batch = self.outbox.command(shard);
            match said {
                Said::Answered { ticket, outcome } => {
                    let outcome = outcome.map(|result| batch.push_bytes(result));
                    batch.records.push(Record::Answered { ticket, outcome });
                }
                Said::Message(output) => batch.push_message(output.into_owned()),
                Said::Published { ticket, outcome } => {
                    let outcome = outcome.map(|(topic, place)| (topic.at(self.market), place));
                    batch.records.push(Record::Published { ticket, outcome });
                }
            }
        }
        Ok(())
    }

    /// A shard listens to a topic.
    fn join(&mut self, asked: Asked, resume: Option<Position>, name_of: impl Fn(AccountId) -> Name) {
        let topic = match asked.key {
            TopicKey::Market { instrument, channel, encoding } => {
                let name = self.replica.state(instrument).definition.name;
                AskedTopic::Market(MarketTopic { id: instrument, name, channel, encoding })
            }
            TopicKey::Private { account, view } => AskedTopic::Private { account: name_of(account), view },
            TopicKey::Client(name) => AskedTopic::Client(name),
        };
        let (home, ticket) = (asked.home, self.interest.join(asked));
        self.asks.push_back(Ask::Join { home, ticket, topic, resume });
    }

    fn forward_ask(&mut self, from: HomeId, ask: &desk::Ask, name_of: impl Fn(AccountId) -> Name) {
        let desk::Ask { ticket, account, client, is_connection, encoding, request } = *ask;
        let waits = Waits::Desk(from, ticket);
        // Another instrument may have its number at an owner that has not told it yet.
        if named_instrument(&request).is_some_and(|id| id.index() >= self.listed) {
            self.not_sent_total += 1;
            return refuse(&mut self.outbox, waits);
        }
        if self.is_welcome() {
            self.forwarding.name(account, name_of);
        }
        let (ticket, conn) = (fold_ticket(from, ticket), fold_conn(from, client.conn));
        let ask = ForwardedAsk { ticket, account, conn, is_connection, encoding, request };
        self.forward(Some(waits), &Command::Ask(ask));
    }

    fn forward_message_ask(
        &mut self,
        from: HomeId,
        ask: &MessageAsk,
        content: &[u8],
        name_of: impl Fn(AccountId) -> Name,
    ) {
        let MessageAsk { ticket, account, user, client, is_connection, request } = ask.clone();
        let by = if is_processor(&user) {
            By::Processor(user)
        } else {
            if self.is_welcome() {
                self.forwarding.name(account, name_of);
            }
            By::Account(account)
        };
        let waits = Waits::Office(from, ticket);
        let (ticket, conn) = (fold_ticket(from, ticket), fold_conn(from, client.conn));
        let ask = ForwardedMessageAsk { ticket, by, conn, is_connection, request };
        self.forward(Some(waits), &Command::MessageAsk(ask, content));
    }

    /// Has a command go to the owner, if there is one that knows this node; else who waits for it is told that it was not sent.
    fn forward(&mut self, waits: Option<Waits>, command: &Command<'_>) {
        if self.is_welcome() && self.forwarding.push(waits, command) {
            self.is_used = true;
        } else if let Some(waits) = waits {
            self.not_sent_total += 1;
            refuse(&mut self.outbox, waits);
        }
    }

    /// Whether there is an owner that knows this node.
    fn is_welcome(&self) -> bool {
        matches!(self.state, State::Told { .. })
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
