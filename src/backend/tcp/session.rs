//! The gateway's side of a venue link: greetings, numbers, what becomes of orders when a connection dies. PURE.
//! Home: the venue's thread.
//!
//! What goes in: `handle_connected`, `handle_bytes`, `handle_closed`, `handle_timeout`, `handle_request`. What comes out:
//! `poll_event` (all of it after each call: its levels are there until the next), `unsent`, `is_over`, `poll_timeout`.
//! Instruments in events are numbered by this session, in the order in which it listed them.
//!
//! Invariants: a report is told once and in the order in which the venue said it, whatever is cut. A request is sent once: what
//! had not reached the venue when its connection died is taken back and told as not sent, never sent late. What had reached
//! it, or may have, is in doubt until the venue answers; when nothing is any more, that is told. All is bounded in `limits`.

mod orders;

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use self::orders::Held;
use super::message::{BookUpdate, Command, Hello, Message, NewCommand, Print, Tick, Welcome, is_spoken};
use super::stream::{Arrival, Heard, Said};
use super::wire::{Cut, Wire, check_heartbeat, kind};
use crate::backend::refusal;
use crate::limits;
use crate::model::book::LevelUpdate;
use crate::model::decimal::{Amount, Price};
use crate::model::hasher::FixedHasher;
use crate::model::instrument::{Instrument, Symbol};
use crate::model::market::{Direction, FeedEvent, FeedInstrument, MarketState};
use crate::model::order::{
    Liquidity, OrderId, OrderRefusal, Parties, VenueReport, VenueRequest, is_countable,
};
use crate::model::time::Now;

const NS_PER_MS: u64 = 1_000_000;

/// What a session is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// This run of the gateway: another one has another.
    pub gateway: Box<str>,
    /// The venue that is expected, and its key.
    pub venue: Box<str>,
    pub key: Box<str>,
    pub heartbeat_ms: u32,
    /// By which the market is owned that the link is of; 0 without a cluster.
    pub fence: u64,
    /// The instruments that are taken of the venue's; empty for all.
    pub instruments: Vec<Symbol>,
}

impl SessionConfig {
    fn takes(&self, name: &Symbol) -> bool {
        self.instruments.is_empty() || self.instruments.contains(name)
    }
}

/// What the link tells.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// Orders of these are taken from now on.
    Up {
        instruments: Box<[FeedInstrument]>,
    },
    /// A connection is over, and orders of these are taken no more. What was sent and not answered is in doubt.
    Down {
        instruments: Box<[FeedInstrument]>,
        why: Cut,
    },
    /// The market, and reports on orders.
    Feed(FeedEvent),
    Fill(LinkFill),
    /// Nothing is in doubt any more: all that an earlier connection had left is told.
    Reconciled,
}

/// What one of our orders was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFill {
    pub order: OrderId,
    pub instrument: FeedInstrument,
    /// The order's.
    pub direction: Direction,
    pub liquidity: Liquidity,
    pub price: Price,
    pub amount: Amount,
    /// Whether it is to be published as a trade of the market. Where it is not, the venue's own message follows, so that the
    /// stamp that the next trade will get is this one's too.
    pub print: bool,
    pub timestamp_ns: u64,
}

impl LinkFill {
    /// The trade of the market that it is.
    #[must_use]
    pub const fn trade(&self) -> FeedEvent {
        let (direction, parties) = self.sides();
        FeedEvent::Trade {
            instrument: self.instrument,
            price: self.price,
            amount: self.amount,
            direction,
            parties,
            timestamp_ns: self.timestamp_ns,
        }
    }

    /// The side that took, and whose order it is.
    #[must_use]
    pub const fn sides(&self) -> (Direction, Parties) {
        let order = Some(self.order);
        match (self.liquidity, self.direction) {
            (Liquidity::Taker, direction) => (direction, Parties { maker: None, taker: order }),
            (Liquidity::Maker, Direction::Buy) => (Direction::Sell, Parties { maker: order, taker: None }),
            (Liquidity::Maker, Direction::Sell) => (Direction::Buy, Parties { maker: order, taker: None }),
        }
    }
}

/// What happened on a link since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Connections that were welcomed, and those among them that went on where another had ended.
    pub welcomed_total: u64,
    pub resumed_total: u64,
    /// Reports that came again after a cut, and were dropped.
    pub repeated_total: u64,
    /// Requests that had not reached the venue when a connection died.
    pub taken_back_total: u64,
    /// Fills of orders that are not known here.
    pub strange_total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no connection.
    Closed,
    /// The venue's hello is still to come.
    Greeting,
    Up,
    /// The connection is to be closed once the last bytes are sent.
    Cutting,
}

/// A name that the venue has listed.
#[derive(Clone, Copy, Debug)]
struct Listing {
    /// `None` of one that is not taken.
    feed: Option<FeedInstrument>,
    /// It was taken, and is not any more: only what is left of its orders is spoken of.
    is_delisted: bool,
    /// The last connection that listed it.
    connection: u64,
}

/// See the file's head.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    state: State,
    wire: Wire,
    /// Counts connections.
    connection: u64,
    /// The venue's session that the numbers belong to.
    known: Option<Box<str>>,
    /// Counts the times that numbers began at 1.
    pairing: u64,
    said: Said<Command>,
    heard: Heard,
    listings: HashMap<Symbol, Listing, BuildHasherDefault<FixedHasher>>,
    /// Numbers that names had before they were delisted and taken again.
    earlier: Vec<(Symbol, FeedInstrument)>,
    names: Vec<Symbol>,
    /// Of which orders are taken.
    live: Vec<FeedInstrument>,
    orders: Held,
    /// Orders whose state is still to be asked for.
    questions: VecDeque<OrderId>,
    is_reconciling: bool,
    /// The later fence that the venue knows: another node owns the market, and nothing is said to the venue any more.
    newest_fence: Option<u64>,
    events: VecDeque<LinkEvent>,
    levels: Vec<LevelUpdate>,
    pub counters: LinkCounters,
}

impl Session {
    #[must_use]
    pub fn new(config: SessionConfig) -> Session {
        Session {
            config,
            state: State::Closed,
            wire: Wire::new(),
            connection: 0,
            known: None,
            pairing: 0,
            said: Said::new(),
            heard: Heard::new(),
            listings: HashMap::default(),
            earlier: Vec::new(),
            names: Vec::new(),
            live: Vec::new(),
            orders: Held::default(),
            questions: VecDeque::new(),
            is_reconciling: false,
            newest_fence: None,
            events: VecDeque::new(),
            levels: Vec::new(),
            counters: LinkCounters::default(),
        }
    }

    /// A connection stands, whoever made it; the venue speaks first. An earlier one is over: who listens waits for a new one's
    /// hello before it gives up one that stands.
    pub fn handle_connected(&mut self, now: Now) {
        self.handle_closed();
        self.connection += 1;
        self.wire.open(None, self.config.heartbeat_ms, now);
        self.state = State::Greeting;
    }

    /// The connection is gone, with all that was under way.
    pub fn handle_closed(&mut self) {
        self.begin();
        self.cut(Cut::Closed);
        self.state = State::Closed;
    }

    /// Bytes of the venue.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Now) {
        self.begin();
        if !self.is_connected() {
            return;
        }
        self.wire.take(bytes, now);
        while self.is_connected() {
            let outcome = match self.wire.message(&mut self.levels) {
                Ok(Some(message)) => self.handle_message(message, now),
                Ok(None) => break,
                Err(cut) => Err(cut),
            };
            if let Err(cut) = outcome {
                self.cut(cut);
            }
        }
        if self.heard.is_due() {
            self.acknowledge();
        }
    }

    /// Says that we are here, and cuts who is not.
    pub fn handle_timeout(&mut self, now: Now) {
        self.begin();
        if !self.is_connected() {
            return;
        }
        if self.wire.is_silent(now) {
            self.cut(Cut::Silent);
        } else if self.wire.beat(now) {
            self.acknowledge();
        }
    }

    /// Why who says this hello can not have the link, if so. Another run of the venue has it, and is heard: this one would be asked about
    /// orders that the other has, and not know them. Or the venue is another owner's by now.
    #[must_use]
    pub fn refusal(&self, hello: &Hello) -> Option<Cut> {
        let is_held =
            self.state == State::Up && self.known.as_ref().is_some_and(|known| *known != hello.session);
        if is_held { Some(Cut::Held) } else { self.outdated() }
    }

    /// What the venue has said of this market's owner, if it knows a later one. The link has no connection from then on.
    #[must_use]
    pub fn outdated(&self) -> Option<Cut> {
        self.newest_fence.map(|newest| Cut::Outdated { fence: self.config.fence, newest })
    }

    /// Ends the connection.
    pub fn handle_stop(&mut self) {
        self.begin();
        self.cut(Cut::Stopped);
    }

    /// Goes by another configuration from the next connection on. What it takes no more of the venue is delisted at once.
    ///
    /// # Panics
    /// While there is a connection: it was greeted by the configuration before.
    pub fn set_config(&mut self, config: SessionConfig) {
        assert!(!self.is_connected(), "invariant: a link is cut before it is made anew");
        self.begin();
        let mut gone: Vec<FeedInstrument> = Vec::new();
        for (name, listing) in &mut self.listings {
            if let Some(instrument) = listing.feed.filter(|_| !listing.is_delisted && !config.takes(name)) {
                listing.is_delisted = true;
                gone.push(instrument);
            }
        }
        // Not in the order of the table.
        gone.sort_unstable();
        for instrument in gone {
            self.feed(FeedEvent::State { instrument, state: MarketState::Delisted, timestamp_ns: 0 });
        }
        self.config = config;
        // Another venue may be meant.
        self.newest_fence = None;
    }

    /// What the market did not take and would take now is listed anew by the connection that names it next, under another number.
    pub fn forget_refused(&mut self, may_list_again: impl Fn(FeedInstrument, &Symbol) -> bool) {
        for (name, listing) in &mut self.listings {
            listing.feed = listing.feed.filter(|number| !may_list_again(*number, name));
        }
    }

    /// Ends the connection over a book that has more levels than there may be.
    pub fn handle_overgrown(&mut self) {
        self.cut(Cut::Overgrown);
    }

    /// Sends what the desk asks for, or tells that it is not sent. `instrument` is this session's number, that in the request
    /// the market's.
    pub fn handle_request(&mut self, instrument: FeedInstrument, request: &VenueRequest) {
        self.begin();
        match self.command(instrument, request) {
            Ok(command) => {
                let Some(seq) = self.said.push(command) else {
                    self.report(refusal(request, OrderRefusal::VenueUnavailable));
                    self.cut(Cut::Behind);
                    return;
                };
                self.orders.note(&command, instrument);
                if let Err(cut) = self.wire.say(&Message::Command { seq, command }, &[]) {
                    self.cut(cut);
                }
            }
            Err(why) => self.report(refusal(request, why)),
        }
    }

    /// The next thing to be told.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// The levels that events refer to.
    #[must_use]
    pub fn levels(&self) -> &[LevelUpdate] {
        &self.levels
    }

    /// What is to be sent.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        match self.state {
            State::Closed => &[],
            State::Greeting | State::Up | State::Cutting => self.wire.unsent(),
        }
    }

    /// So much of it is sent.
    pub fn handle_sent(&mut self, bytes: usize) {
        self.wire.handle_sent(bytes);
    }

    /// Whether the connection is to be closed, once what is unsent is sent or a moment has passed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Cutting
    }

    /// When [`Session::handle_timeout`] has something to do next, on the monotonic clock, in nanoseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.is_connected().then(|| self.wire.timeout())
    }

    /// What was told is done with.
    fn begin(&mut self) {
        if self.events.is_empty() {
            self.levels.clear();
        }
    }

    fn is_connected(&self) -> bool {
        match self.state {
            State::Greeting | State::Up => true,
            State::Closed | State::Cutting => false,
        }
    }

    fn report(&mut self, report: VenueReport) {
        self.events.push_back(LinkEvent::Feed(FeedEvent::Report(report)));
    }

    fn cut(&mut self, why: Cut) {
        let farewell = match (self.state, &why) {
            (State::Closed | State::Cutting, _) => return,
            (_, Cut::Closed | Cut::Ended(_)) | (State::Up, Cut::Outdated { .. }) => None,
            (State::Greeting, why) => Some(Message::Reject { reason: why.to_string().into() }),
            (State::Up, why) => Some(Message::Bye { reason: why.to_string().into(), fence: 0 }),
        };
        if let Some(farewell) = farewell {
            // Whoever is too far behind to be told finds the connection closed.
            let _ = self.wire.say(&farewell, &[]);
        }
        // What it said and we could not take is answered nowhere else, and would come again for ever: it is asked instead.
        if self.state == State::Up && why.is_unusable() {
            self.known = None;
        }
        self.state = State::Cutting;
        self.orders.doubt_all();
        let instruments = std::mem::take(&mut self.live).into();
        self.events.push_back(LinkEvent::Down { instruments, why });
    }

    fn handle_message(&mut self, message: Message, now: Now) -> Result<(), Cut> {
        match (self.state, message) {
            (State::Greeting, Message::Hello(hello)) => self.handle_hello(&hello, now),
            (State::Up, Message::Heartbeat { next }) => self.handle_acknowledged(next),
            (State::Up, Message::Instruments(list)) => self.handle_instruments(list),
            (State::Up, Message::Tick(tick)) => self.handle_tick(&tick),
            (State::Up, Message::Trade(print)) => self.handle_print(&print),
            (State::Up, Message::Book(book)) => self.handle_book(&book),
            (State::Up, Message::State { instrument, state, time_ms }) => {
                if let Some(instrument) = self.listed(&instrument)? {
                    let timestamp_ns = time_ms * NS_PER_MS;
                    self.feed(FeedEvent::State { instrument, state, timestamp_ns });
                }
                Ok(())
            }
            (State::Up, Message::Report { seq, report }) => match self.heard.take(seq) {
                Arrival::New => self.hear(&report, now),
                Arrival::Repeated => {
                    self.counters.repeated_total += 1;
                    Ok(())
                }
                Arrival::Gap => Err(Cut::Gap { expected: self.heard.next, seq }),
            },
            (State::Up, Message::Bye { fence, .. }) if fence > self.config.fence => {
                self.newest_fence = Some(fence);
                Err(Cut::Outdated { fence: self.config.fence, newest: fence })
            }
            (_, Message::Bye { reason, .. } | Message::Reject { reason }) => Err(Cut::Ended(reason)),
            (_, message) => Err(Cut::Unexpected(kind(&message))),
        }
    }

    fn handle_hello(&mut self, hello: &Hello, now: Now) -> Result<(), Cut> {
        if !is_spoken(hello.version) {
            return Err(Cut::Version(hello.version));
        }
        if let Some(cut) = self.outdated() {
            return Err(cut);
        }
        let is_key = verify_slices_are_equal(hello.key.as_bytes(), self.config.key.as_bytes()).is_ok();
        if hello.venue != self.config.venue || !is_key {
            return Err(Cut::Credentials);
        }
        check_heartbeat(hello.heartbeat_ms)?;
        let is_known = self.known.as_ref() == Some(&hello.session) && hello.peer == self.session();
        let resumed = is_known && self.said.acknowledge(hello.next);
        self.counters.welcomed_total += 1;
        self.counters.resumed_total += u64::from(resumed);
        let left = self.said.take_back();
        if resumed {
            left.iter().for_each(|command| self.take_back(command));
        } else {
            self.pairing += 1;
            self.known = Some(hello.session.clone());
            self.said.restart();
            self.heard.restart();
            self.questions = self.orders.question_all();
        }
        self.is_reconciling = true;
        self.state = State::Up;
        self.wire.begin(hello.heartbeat_ms, now);
        let welcome = Welcome {
            version: hello.version,
            gateway: self.config.gateway.clone(),
            session: self.session(),
            next: self.heard.next,
            resumed,
            heartbeat_ms: self.config.heartbeat_ms,
            fence: if hello.takes_fences() { self.config.fence } else { 0 },
        };
        self.heard.told();
        self.wire.say(&Message::Welcome(welcome), &[])?;
        self.ask_on()?;
        self.reconcile();
        Ok(())
    }

    /// What the venue is told to be our session, new whenever numbers begin at 1.
    fn session(&self) -> Box<str> {
        format!("{}.{}", self.config.gateway, self.pairing).into()
    }

    /// This had not reached the venue. A question is asked again; the rest is not sent late behind its client's back.
    fn take_back(&mut self, command: &Command) {
        let order = command.order();
        let why = OrderRefusal::NotSent;
        let report = match command {
            Command::Status { .. } => {
                self.questions.push_back(order);
                return;
            }
            Command::New(_) => VenueReport::Rejected { order, why },
            Command::Amend { .. } => VenueReport::AmendRejected { order, why },
            Command::Cancel { .. } => VenueReport::CancelRejected { order, why },
        };
        self.orders.take_back(command);
        self.counters.taken_back_total += 1;
        self.report(report);
    }

    /// Asks what has become of orders, as many as the venue has room for.
    fn ask_on(&mut self) -> Result<(), Cut> {
        while let Some(order) = self.questions.front().copied() {
            // The other half is for new requests.
            if self.said.kept_count() >= limits::LINK_UNACKNOWLEDGED_MAX / 2 {
                break;
            }
            self.questions.pop_front();
            let command = Command::Status { order };
            let seq = self.said.push(command).expect("invariant: half of the room is free");
            self.wire.say(&Message::Command { seq, command }, &[])?;
        }
        Ok(())
    }

    fn handle_acknowledged(&mut self, next: u64) -> Result<(), Cut> {
        if !self.said.acknowledge(next) {
            return Err(Cut::Acknowledged { next });
        }
        self.ask_on()
    }

    fn acknowledge(&mut self) {
        if self.state != State::Up {
            return;
        }
        self.heard.told();
        if let Err(cut) = self.wire.say(&Message::Heartbeat { next: self.heard.next }, &[]) {
            self.cut(cut);
        }
    }

    /// Tells that nothing is in doubt, once that is so.
    fn reconcile(&mut self) {
        if self.is_reconciling && self.orders.is_settled() {
            self.is_reconciling = false;
            self.events.push_back(LinkEvent::Reconciled);
        }
    }

    fn handle_instruments(&mut self, list: Vec<Instrument>) -> Result<(), Cut> {
        let mut up = Vec::new();
        for definition in list {
            let name = definition.name;
            let (connection, count) = (self.connection, self.listings.len());
            let known = self.listings.get(&name).copied();
            if known.is_some_and(|listing| listing.connection == connection) {
                continue;
            }
            if known.is_none() && count == limits::INSTRUMENTS_MAX {
                return Err(Cut::Instruments);
            }
            let before = known.and_then(|listing| listing.feed);
            let was_delisted = known.is_some_and(|listing| listing.is_delisted);
            let is_new = self.config.takes(&name) && (before.is_none() || was_delisted);
            if is_new && self.names.len() == limits::INSTRUMENTS_MAX {
                return Err(Cut::Instruments);
            }
            let mut feed = before;
            if is_new {
                // Its orders of then may have to be cancelled yet.
                self.earlier.extend(before.map(|number| (name, number)));
                let number = u32::try_from(self.names.len()).expect("invariant: INSTRUMENTS_MAX fits");
                feed = Some(FeedInstrument(number));
                self.names.push(name);
                self.feed(FeedEvent::Listed { definition: Box::new(definition) });
            }
            let listing = Listing { feed, is_delisted: was_delisted && !is_new, connection };
            self.listings.insert(name, listing);
            up.extend(self.earlier.iter().filter(|(of, _)| *of == name).map(|(_, number)| *number));
            up.extend(feed);
        }
        self.live.extend_from_slice(&up);
        if !up.is_empty() {
            self.events.push_back(LinkEvent::Up { instruments: up.into() });
        }
        Ok(())
    }

    /// The number of an instrument that this connection has listed; `None` of one that is not taken.
    fn listed(&self, name: &Symbol) -> Result<Option<FeedInstrument>, Cut> {
        match self.listings.get(name) {
            Some(listing) if listing.connection == self.connection => Ok(listing.feed),
            Some(_) | None => Err(Cut::Instrument),
        }
    }

    fn feed(&mut self, event: FeedEvent) {
        self.events.push_back(LinkEvent::Feed(event));
    }

    fn handle_tick(&mut self, tick: &Tick) -> Result<(), Cut> {
        if let Some(instrument) = self.listed(&tick.instrument)? {
            let Tick { instrument: _, bid, ask, time_ms } = *tick;
            self.feed(FeedEvent::Quote { instrument, bid, ask, timestamp_ns: time_ms * NS_PER_MS });
        }
        Ok(())
    }

    fn handle_print(&mut self, print: &Print) -> Result<(), Cut> {
        if !is_countable(print.price, print.amount) {
            return Err(Cut::Uncountable("trade"));
        }
        if let Some(instrument) = self.listed(&print.instrument)? {
            self.feed(FeedEvent::Trade {
                instrument,
                price: print.price,
                amount: print.amount,
                direction: print.side,
                parties: Parties::default(),
                timestamp_ns: print.time_ms * NS_PER_MS,
            });
        }
        Ok(())
    }

    fn handle_book(&mut self, book: &BookUpdate) -> Result<(), Cut> {
        if let Some(instrument) = self.listed(&book.instrument)? {
            let (levels, timestamp_ns) = (book.levels, book.time_ms * NS_PER_MS);
            self.feed(if book.is_snapshot {
                FeedEvent::Cleared { instrument, levels, timestamp_ns }
            } else {
                FeedEvent::Levels { instrument, levels, timestamp_ns }
            });
        }
        Ok(())
    }

    /// The request as the venue is asked for it.
    fn command(&self, instrument: FeedInstrument, request: &VenueRequest) -> Result<Command, OrderRefusal> {
        let name = self.names.get(instrument.0 as usize).copied();
        let Some(name) = name.filter(|name| self.state == State::Up && self.listed(name).is_ok()) else {
            return Err(OrderRefusal::VenueUnavailable);
        };
        Ok(match *request {
            VenueRequest::New { order, account, spec } => {
                if self.orders.count() == limits::LINK_ORDERS_MAX {
                    return Err(OrderRefusal::Full);
                }
                Command::New(NewCommand {
                    order,
                    account,
                    instrument: name,
                    side: spec.direction,
                    order_type: spec.order_type,
                    price: spec.price,
                    amount: spec.amount,
                    time_in_force: spec.time_in_force,
                    post_only: spec.post_only,
                    reduce_only: spec.reduce_only,
                    label: spec.label,
                    valid_until_ms: spec.valid_until_ms,
                })
            }
            VenueRequest::Amend { order, instrument: _, price, total, post_only } => {
                Command::Amend { order, price, total, post_only }
            }
            VenueRequest::Cancel { order, instrument: _ } => Command::Cancel { order },
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
