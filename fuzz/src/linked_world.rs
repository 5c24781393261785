//! A gateway's session, a venue and the pipe between them, driven by choices: what `venue_link` does with a script.
//!
//! The venue fills half of each order at once, and remembers what it did, or forgets it when it restarts. Some of its reports are of
//! orders that nobody knows, each with a number of its own: so it is seen that each is told once and in order.

use std::collections::BTreeMap;

use tickring::backend::tcp::codec::Form;
use tickring::backend::tcp::message::{Command, Filled, Message, OrderStatus, Report, StatusState};
use tickring::backend::tcp::session::{LinkEvent, Session, SessionConfig};
use tickring::backend::tcp::venue::{VenueConfig, VenueEvent, VenueSession};
use tickring::model::decimal::{Amount, Price, UNIT};
use tickring::model::ids::InstrumentId;
use tickring::model::instrument::{Instrument, InstrumentKind, Symbol};
use tickring::model::market::{Direction, FeedEvent, FeedInstrument};
use tickring::model::order::{
    AccountId, CancelReason, Liquidity, NewOrder, OrderId, OrderRefusal, OrderType, PostOnly, TimeInForce,
    VenueReport, VenueRequest,
};
use tickring::model::time::Now;

pub const NOW: Now = Now { mono_ns: 1_000_000_000, unix_ns: 1_700_000_000_000_000_000 };
/// The session's number of the one instrument.
pub const INSTRUMENT: FeedInstrument = FeedInstrument(0);
const HEARTBEAT_MS: u32 = 1_000;
/// Reports on orders from this number on are of no order.
const MARKS_FROM: u64 = 1_000_000;
const STEPS_MAX: usize = 400;

/// The gateway's end.
///
/// # Panics
/// Never.
#[must_use]
pub fn gateway() -> Session {
    Session::new(SessionConfig {
        gateway: "gw1".into(),
        venue: "fx".into(),
        key: "secret".into(),
        heartbeat_ms: HEARTBEAT_MS,
        fence: 0,
        instruments: Vec::new(),
    })
}

/// The venue's end, in its n-th run.
#[must_use]
pub fn venue(form: Form, run: u32) -> VenueSession {
    VenueSession::new(VenueConfig {
        venue: "fx".into(),
        key: "secret".into(),
        session: format!("run{run}").into(),
        form,
        heartbeat_ms: HEARTBEAT_MS,
    })
}

/// The instrument that the venue lists.
#[must_use]
pub fn definition() -> Instrument {
    Instrument {
        name: symbol("EURUSD"),
        kind: InstrumentKind::Spot,
        base_currency: symbol("EUR"),
        quote_currency: symbol("USD"),
        tick_size: Price(10_000),
        price_decimals: 5,
        min_trade_amount: Amount(UNIT),
        amount_decimals: 0,
        contract_size: Amount(UNIT),
        creation_timestamp_ms: 0,
        expiration_timestamp_ms: None,
    }
}

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text.as_bytes()).expect("a name")
}

/// What the desk asks for a new order by.
#[must_use]
pub fn new_order(order: u64) -> VenueRequest {
    let spec = NewOrder {
        instrument: InstrumentId(41),
        direction: Direction::Buy,
        order_type: OrderType::Limit,
        price: Some(Price(2 * UNIT)),
        amount: Amount(10 * UNIT),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::No,
        reduce_only: false,
        label: None,
        valid_until_ms: None,
    };
    VenueRequest::New { order: OrderId(order), account: AccountId(1), spec }
}

/// Runs a script until it ends, lets all arrive, and judges.
///
/// # Panics
/// Where the property of `venue_link` does not hold.
pub fn run(form: Form, script: &[u8]) {
    let mut world = World::new(form);
    let mut choices = script.iter().copied();
    for _ in 0..STEPS_MAX {
        let Some(choice) = choices.next() else { break };
        world.act(choice, choices.next().unwrap_or_default());
    }
    world.come_to_rest();
    world.judge();
}

/// An order as the venue has it.
#[derive(Clone, Copy, Debug)]
struct Resting {
    state: StatusState,
    price: Price,
    total: i64,
    filled: i64,
}

/// What the desk would know of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Sent,
    Open,
    Filled,
    Cancelled,
    Rejected,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    told: Told,
    price: Price,
    total: i64,
    filled: i64,
}

struct World {
    form: Form,
    now: Now,
    gateway: Session,
    venue: VenueSession,
    runs: u32,
    resting: BTreeMap<OrderId, Resting>,
    executed: Vec<OrderId>,
    is_slow: bool,
    waiting: Vec<Command>,
    is_connected: bool,
    is_up: bool,
    seen: BTreeMap<OrderId, Seen>,
    next_order: u64,
    /// Marks that were reported in this run of the venue and are to be told, and the last that was told.
    marks: u64,
    marks_told: u64,
    /// Marks up to this one may be lost: with the run that said them, or as numbers began anew.
    marks_lost: u64,
}

impl World {
    fn new(form: Form) -> World {
        World {
            form,
            now: NOW,
            gateway: gateway(),
            venue: venue(form, 0),
            runs: 0,
            resting: BTreeMap::new(),
            executed: Vec::new(),
            is_slow: false,
            waiting: Vec::new(),
            is_connected: false,
            is_up: false,
            seen: BTreeMap::new(),
            next_order: 1,
            marks: 0,
            marks_told: 0,
            marks_lost: 0,
        }
    }

    fn act(&mut self, choice: u8, of: u8) {
        match choice % 16 {
            0 | 1 => self.place(),
            2 => self.ask(of, |order, instrument| VenueRequest::Cancel { order, instrument }),
            3 => {
                let total = Amount((i64::from(of >> 3) % 20 + 1) * UNIT);
                self.ask(of, |order, instrument| {
                    let (price, post_only) = (Some(Price(3 * UNIT)), PostOnly::No);
                    VenueRequest::Amend { order, instrument, price, total, post_only }
                });
            }
            4 => {
                if let Some(order) = self.nth(of) {
                    self.fill(order, (i64::from(of) % 10 + 1) * UNIT);
                }
            }
            5 => self.mark(),
            6 => self.answer_waiting(),
            7 => self.is_slow = of & 1 == 1,
            8 | 9 => self.carry_up(usize::from(of)),
            10 | 11 => self.carry_down(usize::from(of)),
            12 => {
                self.carry_up(usize::MAX);
                self.carry_down(usize::MAX);
            }
            13 => self.connect(),
            14 if of < 32 => self.restart(of & 1 == 1),
            14 => self.cut(),
            _ => self.pass(u64::from(of) * 10),
        }
    }

    fn nth(&self, of: u8) -> Option<OrderId> {
        (self.next_order > 1).then(|| OrderId(u64::from(of & 7) % (self.next_order - 1) + 1))
    }

    // The gateway's side.

    fn place(&mut self) {
        let order = OrderId(self.next_order);
        self.next_order += 1;
        let seen = Seen { told: Told::Sent, price: Price(2 * UNIT), total: 10 * UNIT, filled: 0 };
        self.seen.insert(order, seen);
        self.gateway.handle_request(INSTRUMENT, &new_order(order.0));
        self.hear();
    }

    fn ask(&mut self, of: u8, request: impl FnOnce(OrderId, InstrumentId) -> VenueRequest) {
        if let Some(order) = self.nth(of) {
            self.gateway.handle_request(INSTRUMENT, &request(order, InstrumentId(41)));
            self.hear();
        }
    }

    /// Takes all that the gateway's session tells.
    fn hear(&mut self) {
        while let Some(event) = self.gateway.poll_event() {
            match event {
                LinkEvent::Up { instruments } => {
                    assert!(!self.is_up && *instruments == [INSTRUMENT]);
                    self.is_up = true;
                }
                LinkEvent::Down { instruments, .. } => {
                    assert_eq!(self.is_up, !instruments.is_empty());
                    self.is_up = false;
                }
                LinkEvent::Feed(FeedEvent::Report(report)) => self.hear_report(report),
                LinkEvent::Fill(fill) => {
                    let seen = self.seen.get_mut(&fill.order).expect("a fill is of an order");
                    assert_eq!((seen.told, fill.price), (Told::Open, Price(UNIT)), "{fill:?}");
                    seen.filled += fill.amount.0;
                    assert!(seen.filled <= seen.total, "{fill:?} is one too many");
                    seen.told = if seen.filled == seen.total { Told::Filled } else { Told::Open };
                }
                LinkEvent::Feed(_) | LinkEvent::Reconciled => {}
            }
        }
    }

    fn hear_report(&mut self, report: VenueReport) {
        match report {
            VenueReport::CancelRejected { order: OrderId(mark), .. } if mark >= MARKS_FROM => {
                let mark = mark - MARKS_FROM;
                let may_skip = mark > self.marks_told && self.marks_told < self.marks_lost;
                assert!(mark == self.marks_told + 1 || may_skip, "{mark} after {}", self.marks_told);
                self.marks_told = mark;
            }
            VenueReport::Accepted { order, .. } => self.go(order, &[Told::Sent], Told::Open),
            VenueReport::Rejected { order, .. } => self.go(order, &[Told::Sent], Told::Rejected),
            VenueReport::Cancelled { order, .. } => self.go(order, &[Told::Open], Told::Cancelled),
            VenueReport::Amended { order, price, total } => {
                self.go(order, &[Told::Open], Told::Open);
                let seen = self.seen.get_mut(&order).expect("it is known");
                assert!(seen.filled <= total.0, "{order:?} is less than its fills");
                (seen.price, seen.total) = (price, total.0);
                seen.told = if seen.filled == seen.total { Told::Filled } else { Told::Open };
            }
            VenueReport::AmendRejected { .. } | VenueReport::CancelRejected { .. } => {}
        }
    }

    fn go(&mut self, order: OrderId, from: &[Told], to: Told) {
        let seen = self.seen.get_mut(&order).expect("it is known");
        assert!(from.contains(&seen.told), "{order:?}: {to:?} after {:?}", seen.told);
        seen.told = to;
    }

    // The pipe.

    fn connect(&mut self) {
        if !self.is_connected {
            self.gateway.handle_connected(self.now);
            self.venue.handle_connected(self.now);
            self.is_connected = true;
            self.hear();
        }
    }

    fn cut(&mut self) {
        self.is_connected = false;
        self.gateway.handle_closed();
        self.venue.handle_closed();
        self.serve();
        self.hear();
    }

    fn carry_up(&mut self, bytes_max: usize) {
        if !self.is_connected {
            return;
        }
        let bytes = self.venue.unsent();
        let bytes = bytes[..bytes.len().min(bytes_max)].to_vec();
        self.venue.handle_sent(bytes.len());
        self.gateway.handle_bytes(&bytes, self.now);
        self.hear();
        self.end_if_over();
    }

    fn carry_down(&mut self, bytes_max: usize) {
        if !self.is_connected {
            return;
        }
        let bytes = self.gateway.unsent();
        let bytes = bytes[..bytes.len().min(bytes_max)].to_vec();
        self.gateway.handle_sent(bytes.len());
        self.venue.handle_bytes(&bytes, self.now);
        self.serve();
        self.end_if_over();
    }

    fn end_if_over(&mut self) {
        let is_over = self.gateway.is_over() || self.venue.is_over();
        if is_over && self.gateway.unsent().is_empty() && self.venue.unsent().is_empty() {
            self.cut();
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ns(ms * 1_000_000);
        self.gateway.handle_timeout(self.now);
        self.venue.handle_timeout(self.now);
        self.serve();
        self.hear();
        self.end_if_over();
    }

    // The venue's side.

    fn serve(&mut self) {
        while let Some(event) = self.venue.poll_event() {
            match event {
                VenueEvent::Welcomed { resumed, is_another } => {
                    assert!(!is_another, "the gateway has not restarted");
                    if !resumed {
                        self.marks_lost = self.marks;
                    }
                    self.venue.tell(&Message::Instruments(vec![definition()]), &[]);
                }
                VenueEvent::Command(command @ Command::Status { .. }) => self.answer(&command),
                VenueEvent::Command(command) if self.is_slow => self.waiting.push(command),
                VenueEvent::Command(command) => self.answer(&command),
                VenueEvent::Down(_) => {}
            }
        }
    }

    fn answer_waiting(&mut self) {
        for command in std::mem::take(&mut self.waiting) {
            self.answer(&command);
        }
    }

    /// Comes back as another run, with its orders or without.
    fn restart(&mut self, remembers: bool) {
        self.cut();
        self.runs += 1;
        self.venue = venue(self.form, self.runs);
        self.waiting.clear();
        self.marks_lost = self.marks;
        if !remembers {
            self.resting.clear();
        }
    }

    fn mark(&mut self) {
        self.marks += 1;
        let order = OrderId(MARKS_FROM + self.marks);
        self.venue.report(Report::CancelRejected { order, reason: OrderRefusal::OrderNotFound });
    }

    fn answer(&mut self, command: &Command) {
        match *command {
            Command::New(new) => {
                assert!(!self.executed.contains(&new.order), "{:?} came twice", new.order);
                self.executed.push(new.order);
                let (order, price, total) = (new.order, new.price.expect("a limit order"), new.amount.0);
                self.resting.insert(order, Resting { state: StatusState::Open, price, total, filled: 0 });
                self.venue.report(Report::Accepted { order, venue_order: None, price: None });
                self.fill(order, total / 2);
            }
            Command::Amend { order, price, total, post_only: _ } => match self.resting.get_mut(&order) {
                Some(resting) if resting.state == StatusState::Open => {
                    resting.price = price.unwrap_or(resting.price);
                    resting.total = total.0.max(resting.filled);
                    if resting.total == resting.filled {
                        resting.state = StatusState::Filled;
                    }
                    let (price, total) = (resting.price, Amount(resting.total));
                    self.venue.report(Report::Amended { order, price, total });
                }
                _ => {
                    self.venue.report(Report::AmendRejected { order, reason: OrderRefusal::OrderNotFound });
                }
            },
            Command::Cancel { order } => match self.resting.get_mut(&order) {
                Some(resting) if resting.state == StatusState::Open => {
                    resting.state = StatusState::Cancelled;
                    self.venue.report(Report::Cancelled { order, reason: CancelReason::UserRequest });
                }
                _ => {
                    self.venue.report(Report::CancelRejected { order, reason: OrderRefusal::OrderNotFound });
                }
            },
            Command::Status { order } => self.tell_status(order),
        }
    }

    fn tell_status(&mut self, order: OrderId) {
        let waits = |command: &Command| matches!(command, Command::New(new) if new.order == order);
        let status = match self.resting.get(&order) {
            None => OrderStatus {
                order,
                state: if self.waiting.iter().any(waits) {
                    StatusState::Pending
                } else {
                    StatusState::Unknown
                },
                filled: Amount::ZERO,
                average: None,
                price: None,
                amount: Amount::ZERO,
            },
            Some(resting) => OrderStatus {
                order,
                state: resting.state,
                filled: Amount(resting.filled),
                average: (resting.filled > 0).then_some(Price(UNIT)),
                price: Some(resting.price),
                amount: Amount(resting.total - resting.filled),
            },
        };
        self.venue.report(Report::OrderStatus(status));
    }

    /// Fills so much of an order, at a price of 1.
    fn fill(&mut self, order: OrderId, amount: i64) {
        let Some(resting) = self.resting.get_mut(&order) else { return };
        let amount = amount.min(resting.total - resting.filled);
        if resting.state != StatusState::Open || amount <= 0 {
            return;
        }
        resting.filled += amount;
        if resting.filled == resting.total {
            resting.state = StatusState::Filled;
        }
        self.venue.report(Report::Filled(Filled {
            order,
            price: Price(UNIT),
            amount: Amount(amount),
            liquidity: Liquidity::Maker,
            print: true,
            trade: None,
            time_ms: 5,
        }));
    }

    // Rest.

    fn come_to_rest(&mut self) {
        self.is_slow = false;
        for _ in 0..6 {
            self.connect();
            self.answer_waiting();
            self.pass(1_000);
            for _ in 0..4 {
                self.carry_up(usize::MAX);
                self.carry_down(usize::MAX);
            }
        }
    }

    /// What both know of each order, once nothing is under way.
    fn judge(&self) {
        assert!(self.is_up, "the link is there at rest");
        assert!(self.marks_told == self.marks || self.marks_told.max(self.marks_lost) == self.marks);
        assert!(self.gateway.unsent().is_empty() && self.venue.unsent().is_empty());
        for (order, seen) in &self.seen {
            let resting = self.resting.get(order);
            match (seen.told, resting.map(|resting| resting.state)) {
                (Told::Open, Some(StatusState::Open)) | (Told::Filled, Some(StatusState::Filled)) => {
                    let resting = resting.expect("it is there");
                    let expected = (resting.price, resting.total, resting.filled);
                    assert_eq!((seen.price, seen.total, seen.filled), expected, "{order:?}");
                }
                (Told::Cancelled, Some(StatusState::Cancelled)) => {
                    assert_eq!(seen.filled, resting.expect("it is there").filled, "{order:?}");
                }
                (Told::Rejected, None) => assert!(self.runs > 0 || !self.executed.contains(order)),
                // A venue that has forgotten all.
                (Told::Cancelled | Told::Filled, None) if self.runs > 0 => {}
                (told, state) => panic!("{order:?}: {told:?} here, {state:?} there"),
            }
        }
    }
}
