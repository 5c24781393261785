//! A venue for the tests of whoever is at the other end of its link: it remembers what it did, and fills half of each order at
//! once.

use std::collections::BTreeMap;

use crate::backend::tcp::codec::Form;
use crate::backend::tcp::message::{Command, Filled, Message, OrderStatus, Report, StatusState};
use crate::backend::tcp::venue::{VenueConfig, VenueEvent, VenueSession};
use crate::model::decimal::{Amount, Price};
use crate::model::instrument::{Instrument, InstrumentKind, Symbol};
use crate::model::order::{CancelReason, Liquidity, OrderId, OrderRefusal};

pub(crate) const LOT: i64 = 1_000_000_000;
pub(crate) const HEARTBEAT_MS: u32 = 1_000;

pub(crate) fn symbol(text: &str) -> Symbol {
    Symbol::parse(text.as_bytes()).unwrap()
}

pub(crate) fn definition(name: &str) -> Instrument {
    Instrument {
        name: symbol(name),
        kind: InstrumentKind::Spot,
        base_currency: symbol("EUR"),
        quote_currency: symbol("USD"),
        tick_size: Price(10_000),
        price_decimals: 5,
        min_trade_amount: Amount(LOT),
        amount_decimals: 0,
        contract_size: Amount(LOT),
        creation_timestamp_ms: 0,
        expiration_timestamp_ms: None,
    }
}

/// An order at the venue of the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resting {
    pub(crate) state: StatusState,
    pub(crate) price: Price,
    pub(crate) total: i64,
    pub(crate) filled: i64,
}

/// A venue that fills half of each order at once, and answers what it is asked, now or, if it is slow, when told to.
pub(crate) struct Engine {
    pub(crate) session: VenueSession,
    pub(crate) form: Form,
    pub(crate) runs: u32,
    pub(crate) orders: BTreeMap<OrderId, Resting>,
    /// Each new order that ever came, in all runs.
    pub(crate) executed: Vec<OrderId>,
    pub(crate) is_slow: bool,
    pub(crate) lists: Vec<Instrument>,
    pub(crate) waiting: Vec<Command>,
}

impl Engine {
    pub(crate) fn config(form: Form, run: u32) -> VenueConfig {
        VenueConfig {
            venue: "fx".into(),
            key: "secret".into(),
            session: format!("run{run}").into(),
            form,
            heartbeat_ms: HEARTBEAT_MS,
        }
    }

    pub(crate) fn new(form: Form) -> Engine {
        Engine {
            session: VenueSession::new(Engine::config(form, 0)),
            form,
            runs: 0,
            orders: BTreeMap::new(),
            executed: Vec::new(),
            is_slow: false,
            lists: vec![definition("EURUSD")],
            waiting: Vec::new(),
        }
    }

    /// Comes back as another run, with its orders or without.
    pub(crate) fn restart(&mut self, remembers: bool) {
        self.runs += 1;
        self.session = VenueSession::new(Engine::config(self.form, self.runs));
        self.waiting.clear();
        if !remembers {
            self.orders.clear();
        }
    }

    pub(crate) fn handle_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                VenueEvent::Welcomed { .. } => {
                    self.session.tell(&Message::Instruments(self.lists.clone()), &[]);
                }
                VenueEvent::Command(command @ Command::Status { .. }) => self.answer(&command),
                VenueEvent::Command(command) if self.is_slow => self.waiting.push(command),
                VenueEvent::Command(command) => self.answer(&command),
                VenueEvent::Down(_) => {}
            }
        }
    }

    pub(crate) fn answer_waiting(&mut self) {
        for command in std::mem::take(&mut self.waiting) {
            self.answer(&command);
        }
    }

    pub(crate) fn answer(&mut self, command: &Command) {
        match *command {
            Command::New(new) => {
                assert!(!self.executed.contains(&new.order), "{:?} came twice", new.order);
                self.executed.push(new.order);
                let order = new.order;
                let (price, total) = (new.price.unwrap(), new.amount.0);
                self.orders.insert(order, Resting { state: StatusState::Open, price, total, filled: 0 });
                self.session.report(Report::Accepted { order, venue_order: None, price: None });
                self.fill(order, total / 2);
            }
            Command::Amend { order, price, total, post_only: _ } => match self.orders.get_mut(&order) {
                Some(resting) if resting.state == StatusState::Open => {
                    resting.price = price.unwrap_or(resting.price);
                    resting.total = total.0.max(resting.filled);
                    if resting.total == resting.filled {
                        resting.state = StatusState::Filled;
                    }
                    let (price, total) = (resting.price, Amount(resting.total));
                    self.session.report(Report::Amended { order, price, total });
                }
                _ => self.refuse_amend(order),
            },
            Command::Cancel { order } => match self.orders.get_mut(&order) {
                Some(resting) if resting.state == StatusState::Open => {
                    resting.state = StatusState::Cancelled;
                    self.session.report(Report::Cancelled { order, reason: CancelReason::UserRequest });
                }
                _ => {
                    self.session.report(Report::CancelRejected { order, reason: OrderRefusal::OrderNotFound })
                }
            },
            Command::Status { order } => self.tell_status(order),
        }
    }

    pub(crate) fn refuse_amend(&mut self, order: OrderId) {
        self.session.report(Report::AmendRejected { order, reason: OrderRefusal::OrderNotFound });
    }

    pub(crate) fn tell_status(&mut self, order: OrderId) {
        let is_waiting =
            self.waiting.iter().any(|command| matches!(command, Command::New(new) if new.order == order));
        let status = match self.orders.get(&order) {
            None => OrderStatus {
                order,
                state: if is_waiting { StatusState::Pending } else { StatusState::Unknown },
                filled: Amount::ZERO,
                average: None,
                price: None,
                amount: Amount::ZERO,
            },
            Some(resting) => OrderStatus {
                order,
                state: resting.state,
                filled: Amount(resting.filled),
                average: (resting.filled > 0).then_some(Price(LOT)),
                price: Some(resting.price),
                amount: Amount(resting.total - resting.filled),
            },
        };
        self.session.report(Report::OrderStatus(status));
    }

    /// Fills so much of an order, at a price of 1.
    pub(crate) fn fill(&mut self, order: OrderId, amount: i64) {
        let Some(resting) = self.orders.get_mut(&order) else { return };
        let amount = amount.min(resting.total - resting.filled);
        if resting.state != StatusState::Open || amount <= 0 {
            return;
        }
        resting.filled += amount;
        if resting.filled == resting.total {
            resting.state = StatusState::Filled;
        }
        self.session.report(Report::Filled(Filled {
            order,
            price: Price(LOT),
            amount: Amount(amount),
            liquidity: Liquidity::Maker,
            print: true,
            trade: None,
            time_ms: 5,
        }));
    }
}
