//! The paper market behind the venue's side of a link: a venue to try the link with, and to test it by. PURE.
//! Home: whoever drives it, such as `tickring paper-venue`.
//!
//! Invariants: each command has its answer, reports of an order come in the order in which the book made them; orders of a
//! gateway that has forgotten them are cancelled, since nobody else could. Orders that are over are remembered as long as a
//! gateway may not have heard of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use super::message::{
    BookUpdate, Command, Filled, Message, NewCommand, OrderStatus, Print, Report, StatusState,
};
use super::venue::{VenueConfig, VenueEvent, VenueSession};
use super::wire::Cut;
use crate::backend::paper::{Paper, PaperConfig};
use crate::limits;
use crate::model::book::{Book, LevelUpdate, Side};
use crate::model::decimal::{Amount, Price, UNIT};
use crate::model::hasher::FixedHasher;
use crate::model::ids::InstrumentId;
use crate::model::instrument::{Instrument, Symbol};
use crate::model::market::{Direction, FeedBuffer, FeedEvent, FeedInstrument, LevelRange};
use crate::model::order::{
    Liquidity, NewOrder, OrderId, OrderRefusal, Parties, VenueReport, VenueRequest, notional,
};
use crate::model::time::Now;

const NS_PER_MS: u64 = 1_000_000;

/// What whoever watches is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A gateway takes us.
    Welcomed {
        resumed: bool,
    },
    /// So many orders of a gateway that has forgotten them are cancelled.
    Abandoned {
        orders: usize,
    },
    Down(Cut),
}

/// Something that the market did.
#[derive(Clone, Debug)]
pub struct Moment {
    /// What it did it for, unless by itself.
    pub request: Option<VenueRequest>,
    pub events: Vec<FeedEvent>,
}

/// What a gateway may ask of an order.
#[derive(Clone, Copy, Debug)]
struct Known {
    instrument: InstrumentId,
    state: StatusState,
    price: Option<Price>,
    total: i64,
    filled: i64,
    notional: i128,
}

/// See the file's head.
#[derive(Debug)]
pub struct PaperVenue {
    paper: Paper,
    session: VenueSession,
    buffer: FeedBuffer,
    definitions: Vec<Instrument>,
    numbers: HashMap<Symbol, u32, BuildHasherDefault<FixedHasher>>,
    books: Vec<Book>,
    orders: BTreeMap<OrderId, Known>,
    /// Those that are over, the oldest first.
    closed: VecDeque<OrderId>,
    changes: VecDeque<Change>,
    journal: Option<Vec<Moment>>,
    /// Whether this connection has been told the instruments, so that it can be told of them.
    is_told: bool,
}

impl PaperVenue {
    #[must_use]
    pub fn new(paper: PaperConfig, link: VenueConfig) -> PaperVenue {
        PaperVenue {
            paper: Paper::new(paper),
            session: VenueSession::new(link),
            buffer: FeedBuffer::default(),
            definitions: Vec::new(),
            numbers: HashMap::default(),
            books: Vec::new(),
            orders: BTreeMap::new(),
            closed: VecDeque::new(),
            changes: VecDeque::new(),
            journal: None,
            is_told: false,
        }
    }

    /// The link, for who carries its bytes; [`PaperVenue::advance`] is to follow whatever is done to it.
    pub fn session(&mut self) -> &mut VenueSession {
        &mut self.session
    }

    /// Does what is asked for and what is due.
    pub fn advance(&mut self, now: Now) {
        while let Some(event) = self.session.poll_event() {
            match event {
                VenueEvent::Welcomed { resumed, is_another } => {
                    self.changes.push_back(Change::Welcomed { resumed });
                    if self.definitions.is_empty() {
                        self.move_market(now);
                    }
                    self.tell_all(now);
                    if is_another {
                        self.abandon(now);
                    }
                }
                VenueEvent::Command(command) => self.handle_command(&command, now),
                VenueEvent::Down(why) => {
                    self.is_told = false;
                    self.changes.push_back(Change::Down(why));
                }
            }
        }
        self.move_market(now);
    }

    /// Remembers from now on what is executed, for who keeps a ledger of it.
    pub fn keep_journal(&mut self) {
        self.journal = Some(Vec::new());
    }

    /// What was executed since the last call.
    pub fn take_journal(&mut self) -> Vec<Moment> {
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The market that is told of.
    #[must_use]
    pub fn paper(&self) -> &Paper {
        &self.paper
    }

    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// When something is due next, on the monotonic clock, in nanoseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> u64 {
        self.session.poll_timeout().unwrap_or(u64::MAX).min(self.paper.poll_timeout())
    }

    fn move_market(&mut self, now: Now) {
        loop {
            self.buffer.clear();
            self.paper.poll(now, &mut self.buffer, limits::FEED_EVENTS_PER_TURN_MAX);
            let is_all = self.buffer.events.len() < limits::FEED_EVENTS_PER_TURN_MAX;
            self.tell(None);
            if is_all {
                return;
            }
        }
    }

    /// Instruments and whole books, for a connection that begins.
    fn tell_all(&mut self, now: Now) {
        for list in self.definitions.chunks(limits::LINK_INSTRUMENTS_PER_MESSAGE_MAX) {
            self.session.tell(&Message::Instruments(list.to_vec()), &[]);
        }
        for (definition, book) in self.definitions.iter().zip(&self.books) {
            let update = |side| {
                move |level: crate::model::book::Level| LevelUpdate {
                    side,
                    price: level.price,
                    amount: level.amount,
                }
            };
            let levels: Vec<LevelUpdate> =
                book.bids().map(update(Side::Bid)).chain(book.asks().map(update(Side::Ask))).collect();
            let count = u32::try_from(levels.len()).expect("invariant: a paper book is bounded");
            let book = BookUpdate {
                instrument: definition.name,
                is_snapshot: true,
                levels: LevelRange { start: 0, count },
                time_ms: now.unix_ns / NS_PER_MS,
            };
            self.session.tell(&Message::Book(book), &levels);
        }
        self.is_told = true;
    }

    /// The gateway that sent these orders is gone for good.
    fn abandon(&mut self, now: Now) {
        let orders = std::mem::take(&mut self.orders);
        self.closed.clear();
        let open = orders.iter().filter(|(_, known)| known.state == StatusState::Open);
        let mut count = 0;
        for (order, known) in open {
            self.execute(&VenueRequest::Cancel { order: *order, instrument: known.instrument }, now);
            count += 1;
        }
        self.changes.push_back(Change::Abandoned { orders: count });
    }

    fn handle_command(&mut self, command: &Command, now: Now) {
        match *command {
            Command::New(new) => self.place(&new, now),
            Command::Amend { order, price, total, post_only } => match self.open(order) {
                Ok(instrument) => {
                    self.execute(&VenueRequest::Amend { order, instrument, price, total, post_only }, now)
                }
                Err(reason) => self.session.report(Report::AmendRejected { order, reason }),
            },
            Command::Cancel { order } => match self.open(order) {
                Ok(instrument) => self.execute(&VenueRequest::Cancel { order, instrument }, now),
                Err(reason) => self.session.report(Report::CancelRejected { order, reason }),
            },
            Command::Status { order } => self.session.report(Report::OrderStatus(self.status(order))),
        }
    }

    /// The instrument of an order that is not over.
    fn open(&self, order: OrderId) -> Result<InstrumentId, OrderRefusal> {
        match self.orders.get(&order) {
            Some(known) if known.state == StatusState::Open => Ok(known.instrument),
            Some(_) => Err(OrderRefusal::AlreadyClosed),
            None => Err(OrderRefusal::OrderNotFound),
        }
    }

    fn place(&mut self, new: &NewCommand, now: Now) {
        let order = new.order;
        let is_late = new.valid_until_ms.is_some_and(|until_ms| until_ms <= now.unix_ns / NS_PER_MS);
        let number = self.numbers.get(&new.instrument).copied();
        let (false, false, Some(number)) = (is_late, self.orders.contains_key(&order), number) else {
            let reason = if is_late { OrderRefusal::TimedOut } else { OrderRefusal::VenueRefused };
            self.session.report(Report::Rejected { order, reason });
            return;
        };
        let instrument = InstrumentId(number);
        let known = Known {
            instrument,
            state: StatusState::Open,
            price: new.price,
            total: new.amount.0,
            filled: 0,
            notional: 0,
        };
        self.orders.insert(order, known);
        let spec = NewOrder {
            instrument,
            direction: new.side,
            order_type: new.order_type,
            price: new.price,
            amount: new.amount,
            time_in_force: new.time_in_force,
            post_only: new.post_only,
            reduce_only: new.reduce_only,
            label: new.label,
            valid_until_ms: new.valid_until_ms,
        };
        self.execute(&VenueRequest::New { order, account: new.account, spec }, now);
    }

    /// Instruments are numbered here as the market lists them.
    fn execute(&mut self, request: &VenueRequest, now: Now) {
        self.buffer.clear();
        let InstrumentId(number) = request.instrument();
        self.paper.handle_request(FeedInstrument(number), request, now, &mut self.buffer);
        self.tell(Some(request));
    }

    fn status(&self, order: OrderId) -> OrderStatus {
        let Some(known) = self.orders.get(&order) else {
            let (state, filled, amount) = (StatusState::Unknown, Amount::ZERO, Amount::ZERO);
            return OrderStatus { order, state, filled, average: None, price: None, amount };
        };
        let mean = known.notional * i128::from(UNIT) / i128::from(known.filled.max(1));
        OrderStatus {
            order,
            state: known.state,
            filled: Amount(known.filled),
            average: i64::try_from(mean).ok().filter(|_| known.filled > 0).map(Price),
            price: known.price,
            amount: Amount(if known.state == StatusState::Open { known.total - known.filled } else { 0 }),
        }
    }

    /// Says what the market's buffer has, in its order.
    fn tell(&mut self, request: Option<&VenueRequest>) {
        let buffer = std::mem::take(&mut self.buffer);
        if let Some(journal) = &mut self.journal {
            journal.push(Moment { request: request.copied(), events: buffer.events.clone() });
        }
        for event in &buffer.events {
            match event {
                FeedEvent::Listed { definition } => {
                    let number = u32::try_from(self.definitions.len()).expect("invariant: few instruments");
                    self.numbers.insert(definition.name, number);
                    self.definitions.push(definition.as_ref().clone());
                    self.books.push(Book::default());
                }
                FeedEvent::Levels { instrument, levels, timestamp_ns } => {
                    self.tell_levels(*instrument, false, *levels, &buffer.levels, *timestamp_ns);
                }
                FeedEvent::Cleared { instrument, levels, timestamp_ns } => {
                    self.tell_levels(*instrument, true, *levels, &buffer.levels, *timestamp_ns);
                }
                FeedEvent::Trade { instrument, price, amount, direction, parties, timestamp_ns } => {
                    let time_ms = timestamp_ns / NS_PER_MS;
                    self.tell_trade(*instrument, *price, *amount, *direction, *parties, time_ms);
                }
                FeedEvent::Report(report) => self.tell_report(report),
                FeedEvent::Quote { .. } | FeedEvent::State { .. } => {}
            }
        }
        self.buffer = buffer;
    }

    fn name(&self, instrument: FeedInstrument) -> Symbol {
        self.definitions[instrument.0 as usize].name
    }

    fn tell_levels(
        &mut self,
        instrument: FeedInstrument,
        is_snapshot: bool,
        levels: LevelRange,
        buffer: &[LevelUpdate],
        timestamp_ns: u64,
    ) {
        let book = &mut self.books[instrument.0 as usize];
        if is_snapshot {
            book.clear();
        }
        for update in levels.of(buffer) {
            book.apply(*update);
        }
        if !self.is_told {
            return;
        }
        let (instrument, time_ms) = (self.name(instrument), timestamp_ns / NS_PER_MS);
        self.session.tell(&Message::Book(BookUpdate { instrument, is_snapshot, levels, time_ms }), buffer);
    }

    /// Where both sides are the gateway's, the taker's fill is the one to be published, and the last.
    fn tell_trade(
        &mut self,
        instrument: FeedInstrument,
        price: Price,
        amount: Amount,
        side: Direction,
        parties: Parties,
        time_ms: u64,
    ) {
        let known = |order: Option<OrderId>| order.filter(|order| self.orders.contains_key(order));
        let (maker, taker) = (known(parties.maker), known(parties.taker));
        if maker.is_none() && taker.is_none() && self.is_told {
            let instrument = self.name(instrument);
            self.session.tell(&Message::Trade(Print { instrument, price, amount, side, time_ms }), &[]);
        }
        for (order, liquidity, print) in
            [(maker, Liquidity::Maker, taker.is_none()), (taker, Liquidity::Taker, true)]
        {
            let Some(order) = order else { continue };
            let filled = Filled { order, price, amount, liquidity, print, trade: None, time_ms };
            self.session.report(Report::Filled(filled));
            let mut is_over = false;
            if let Some(known) = self.orders.get_mut(&order) {
                known.filled += amount.0;
                known.notional += notional(price, amount);
                is_over = known.filled >= known.total;
            }
            if is_over {
                self.close(order, StatusState::Filled);
            }
        }
    }

    fn tell_report(&mut self, report: &VenueReport) {
        let order = match *report {
            VenueReport::Accepted { order, .. }
            | VenueReport::Rejected { order, .. }
            | VenueReport::Amended { order, .. }
            | VenueReport::AmendRejected { order, .. }
            | VenueReport::Cancelled { order, .. }
            | VenueReport::CancelRejected { order, .. } => order,
        };
        let Some(known) = self.orders.get_mut(&order) else { return };
        match *report {
            VenueReport::Accepted { order, price } => {
                known.price = price;
                self.session.report(Report::Accepted { order, venue_order: None, price });
            }
            VenueReport::Rejected { order, why } => {
                self.session.report(Report::Rejected { order, reason: why });
                self.close(order, StatusState::Rejected);
            }
            VenueReport::Amended { order, price, total } => {
                known.price = Some(price);
                known.total = total.0;
                let is_over = known.filled >= known.total;
                self.session.report(Report::Amended { order, price, total });
                if is_over {
                    self.close(order, StatusState::Filled);
                }
            }
            VenueReport::AmendRejected { order, why } => {
                self.session.report(Report::AmendRejected { order, reason: why });
            }
            VenueReport::Cancelled { order, why } => {
                self.session.report(Report::Cancelled { order, reason: why });
                self.close(order, StatusState::Cancelled);
            }
            VenueReport::CancelRejected { order, why } => {
                self.session.report(Report::CancelRejected { order, reason: why });
            }
        }
    }

    fn close(&mut self, order: OrderId, state: StatusState) {
        let Some(known) = self.orders.get_mut(&order) else { return };
        known.state = state;
        self.closed.push_back(order);
        if self.closed.len() > limits::LINK_UNACKNOWLEDGED_MAX
            && let Some(oldest) = self.closed.pop_front()
        {
            self.orders.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
