//! Both sides of a venue link over a pipe that is cut: at every byte of a script, and at random. What must hold: an order is
//! executed once or told as not sent, its outcome is known in the end, every report is told once and in order, and nothing
//! is told to be settled before it is.

pub(crate) mod engine;
mod fences;
mod protocol;
mod random;
mod reports;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use self::engine::{Engine, HEARTBEAT_MS, LOT, symbol};

use super::super::codec::Form;
use super::super::message::{Filled, Report, StatusState};
use super::*;
use crate::model::book::Level;
use crate::model::ids::InstrumentId;
use crate::model::order::{AccountId, NewOrder, OrderType, PostOnly, TimeInForce};

/// The market's number of the instrument, which is no concern of the link's.
const LISTED_AS: InstrumentId = InstrumentId(41);

const HELLO: &str =
    r#"{"type":"hello","version":1,"venue":"fx","key":"secret","session":"a","next":1,"heartbeat_ms":1000}"#;

/// What the desk would know of an order by what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Sent,
    Open,
    Filled,
    Cancelled,
    Rejected(OrderRefusal),
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    told: Told,
    price: Price,
    total: i64,
    filled: i64,
}

/// The gateway's session, a venue, and the pipe between them.
struct World {
    now: Now,
    gateway: Session,
    venue: Engine,
    is_connected: bool,
    /// Bytes that still get through, in both directions together.
    budget: usize,
    carried: usize,
    seen: BTreeMap<OrderId, Seen>,
    next_order: u64,
    is_up: bool,
    reconciled: u32,
    /// Each event in a few words.
    log: Vec<String>,
}

impl World {
    fn new(form: Form) -> World {
        let gateway = Session::new(SessionConfig {
            gateway: "gw1".into(),
            venue: "fx".into(),
            key: "secret".into(),
            heartbeat_ms: HEARTBEAT_MS,
            fence: 0,
            instruments: Vec::new(),
        });
        World {
            now: Now { mono_ns: 1_000_000_000, unix_ns: 1_700_000_000_000_000_000 },
            gateway,
            venue: Engine::new(form),
            is_connected: false,
            budget: usize::MAX,
            carried: 0,
            seen: BTreeMap::new(),
            next_order: 1,
            is_up: false,
            reconciled: 0,
            log: Vec::new(),
        }
    }

    fn connect(&mut self) {
        self.gateway.handle_connected(self.now);
        self.venue.session.handle_connected(self.now);
        self.is_connected = true;
        self.carry();
    }

    fn cut(&mut self) {
        self.is_connected = false;
        self.gateway.handle_closed();
        self.venue.session.handle_closed();
        self.venue.handle_events();
        self.take_events();
    }

    /// Carries what both have to say, a few bytes at a time, until nothing is left or the budget is used up.
    fn carry(&mut self) {
        while self.is_connected {
            self.venue.handle_events();
            self.take_events();
            let up = self.venue.session.unsent();
            let down = self.gateway.unsent();
            if up.is_empty() && down.is_empty() {
                if self.gateway.is_over() || self.venue.session.is_over() {
                    self.cut();
                }
                return;
            }
            let count = up.len().min(7).min(self.budget);
            let (bytes, is_up) = if count > 0 {
                (up[..count].to_vec(), true)
            } else {
                (down[..down.len().min(7).min(self.budget)].to_vec(), false)
            };
            if bytes.is_empty() {
                self.cut();
                return;
            }
            self.budget -= bytes.len();
            self.carried += bytes.len();
            if is_up {
                self.venue.session.handle_sent(bytes.len());
                self.gateway.handle_bytes(&bytes, self.now);
            } else {
                self.gateway.handle_sent(bytes.len());
                self.venue.session.handle_bytes(&bytes, self.now);
            }
        }
        self.venue.handle_events();
        self.take_events();
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ns(ms * 1_000_000);
        self.gateway.handle_timeout(self.now);
        self.venue.session.handle_timeout(self.now);
        self.carry();
    }

    fn place(&mut self) -> OrderId {
        let order = OrderId(self.next_order);
        self.next_order += 1;
        let (price, total) = (Price(2 * LOT), 10 * LOT);
        self.seen.insert(order, Seen { told: Told::Sent, price, total, filled: 0 });
        let spec = NewOrder {
            instrument: LISTED_AS,
            direction: Direction::Buy,
            order_type: OrderType::Limit,
            price: Some(price),
            amount: Amount(total),
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: PostOnly::No,
            reduce_only: false,
            label: None,
            valid_until_ms: None,
        };
        self.request(VenueRequest::New { order, account: AccountId(1), spec });
        order
    }

    fn cancel(&mut self, order: OrderId) {
        self.request(VenueRequest::Cancel { order, instrument: LISTED_AS });
    }

    fn amend(&mut self, order: OrderId, total: i64) {
        let instrument = LISTED_AS;
        let (price, total, post_only) = (Some(Price(3 * LOT)), Amount(total), PostOnly::No);
        self.request(VenueRequest::Amend { order, instrument, price, total, post_only });
    }

    fn request(&mut self, request: VenueRequest) {
        self.gateway.handle_request(FeedInstrument(0), &request);
        self.take_events();
    }

    fn take_events(&mut self) {
        while let Some(event) = self.gateway.poll_event() {
            match event {
                LinkEvent::Up { instruments } => {
                    assert!(!self.is_up && *instruments == [FeedInstrument(0)]);
                    self.is_up = true;
                    self.log.push("up".to_owned());
                }
                LinkEvent::Down { instruments, why } => {
                    assert_eq!(self.is_up, !instruments.is_empty());
                    self.is_up = false;
                    self.log.push(format!("down: {why}"));
                }
                LinkEvent::Feed(FeedEvent::Report(report)) => {
                    self.log.push(format!("{report:?}"));
                    self.take_report(report);
                }
                LinkEvent::Feed(event) => {
                    let text = format!("{event:?}");
                    self.log.push(text.split(' ').next().unwrap().to_owned());
                }
                LinkEvent::Fill(fill) => {
                    self.log.push(format!("fill {} {}", fill.order.0, fill.amount.0 / LOT));
                    let seen = self.seen.get_mut(&fill.order).unwrap();
                    assert_eq!((seen.told, fill.price), (Told::Open, Price(LOT)), "{fill:?}");
                    seen.filled += fill.amount.0;
                    assert!(seen.filled <= seen.total, "{fill:?} is one too many");
                    if seen.filled == seen.total {
                        seen.told = Told::Filled;
                    }
                }
                LinkEvent::Reconciled => {
                    self.reconciled += 1;
                    self.log.push("reconciled".to_owned());
                }
            }
        }
    }

    fn take_report(&mut self, report: VenueReport) {
        match report {
            VenueReport::Accepted { order, price } => {
                self.move_on(order, &[Told::Sent], Told::Open);
                // As the desk does: it may have been amended by then.
                let seen = self.seen.get_mut(&order).unwrap();
                seen.price = price.unwrap_or(seen.price);
            }
            VenueReport::Rejected { order, why } => {
                self.move_on(order, &[Told::Sent], Told::Rejected(why));
            }
            VenueReport::Cancelled { order, why: _ } => {
                self.move_on(order, &[Told::Open], Told::Cancelled);
            }
            VenueReport::Amended { order, price, total } => {
                self.move_on(order, &[Told::Open], Told::Open);
                let seen = self.seen.get_mut(&order).unwrap();
                assert!(seen.filled <= total.0, "{order:?} is less than its fills");
                (seen.price, seen.total) = (price, total.0);
                if seen.filled == seen.total {
                    seen.told = Told::Filled;
                }
            }
            VenueReport::AmendRejected { .. } | VenueReport::CancelRejected { .. } => {}
        }
    }

    fn move_on(&mut self, order: OrderId, from: &[Told], to: Told) {
        let seen = self.seen.get_mut(&order).unwrap();
        assert!(from.contains(&seen.told), "{order:?}: {to:?} after {:?}", seen.told);
        seen.told = to;
    }

    /// What both know of each order, once nothing is under way.
    fn check_agreement(&self) {
        assert_eq!(self.venue.executed.iter().collect::<BTreeSet<_>>().len(), self.venue.executed.len());
        assert!(self.gateway.orders.is_settled());
        for (order, seen) in &self.seen {
            let resting = self.venue.orders.get(order);
            match (seen.told, resting.map(|resting| resting.state)) {
                (Told::Open, Some(StatusState::Open)) | (Told::Filled, Some(StatusState::Filled)) => {
                    let resting = resting.unwrap();
                    assert_eq!(
                        (seen.price, seen.total, seen.filled),
                        (resting.price, resting.total, resting.filled),
                        "{order:?}"
                    );
                }
                (Told::Cancelled, Some(StatusState::Cancelled)) => {
                    assert_eq!(seen.filled, resting.unwrap().filled, "{order:?}");
                }
                (Told::Rejected(OrderRefusal::NotSent | OrderRefusal::VenueUnavailable), None) => {
                    assert!(!self.venue.executed.contains(order) || self.venue.runs > 0, "{order:?}");
                }
                // A venue that has forgotten all.
                (Told::Cancelled | Told::Filled, None) if self.venue.runs > 0 => {}
                (told, state) => panic!("{order:?}: {told:?} here, {state:?} there: {:#?}", self.log),
            }
        }
    }
}

/// A day at the venue: three orders, an amendment, a cancel, fills.
fn script(world: &mut World) {
    let first = world.place();
    world.carry();
    let second = world.place();
    world.amend(first, 8 * LOT);
    world.carry();
    world.venue.fill(first, LOT);
    world.cancel(second);
    world.carry();
    let third = world.place();
    world.carry();
    world.venue.fill(third, 10 * LOT);
    world.carry();
}

fn settle(world: &mut World) {
    world.budget = usize::MAX;
    for _ in 0..4 {
        if !world.is_connected {
            world.connect();
        }
        world.venue.answer_waiting();
        world.carry();
        world.pass(1_000);
    }
}

#[test]
fn a_day_without_a_cut_is_told_as_it_happened() {
    for form in [Form::Json, Form::Binary] {
        let mut world = World::new(form);
        world.connect();
        script(&mut world);
        world.check_agreement();
        let log: Vec<&str> = world.log.iter().map(String::as_str).collect();
        assert_eq!(
            log,
            [
                "reconciled",
                "Listed",
                "up",
                "Accepted { order: OrderId(1), price: None }",
                "fill 1 5",
                "Accepted { order: OrderId(2), price: None }",
                "fill 2 5",
                "Amended { order: OrderId(1), price: Price(3000000000), total: Amount(8000000000) }",
                "fill 1 1",
                "Cancelled { order: OrderId(2), why: UserRequest }",
                "Accepted { order: OrderId(3), price: None }",
                "fill 3 5",
                "fill 3 5",
            ]
        );
    }
}

#[test]
fn a_cut_at_any_byte_loses_and_doubles_nothing() {
    for form in [Form::Json, Form::Binary] {
        let mut whole = World::new(form);
        whole.connect();
        script(&mut whole);
        let mut resumed = 0;
        for cut_at in 0..whole.carried {
            let mut world = World::new(form);
            world.budget = cut_at;
            world.connect();
            script(&mut world);
            assert!(!world.is_connected);
            settle(&mut world);
            world.check_agreement();
            assert!(world.reconciled > 0);
            resumed += world.gateway.counters.resumed_total;
        }
        assert!(resumed > 100);
    }
}

#[test]
fn a_venue_that_restarts_at_any_byte_is_asked_what_it_remembers() {
    for remembers in [true, false] {
        let mut whole = World::new(Form::Binary);
        whole.connect();
        script(&mut whole);
        for cut_at in 0..whole.carried {
            let mut world = World::new(Form::Binary);
            world.budget = cut_at;
            world.connect();
            script(&mut world);
            world.venue.restart(remembers);
            settle(&mut world);
            world.check_agreement();
        }
    }
}

#[test]
fn what_had_not_reached_the_venue_is_not_sent_late() {
    let mut world = World::new(Form::Json);
    world.connect();
    let order = world.place();
    world.cut();
    assert_eq!(world.seen[&order].told, Told::Sent);
    world.connect();
    assert_eq!(world.seen[&order].told, Told::Rejected(OrderRefusal::NotSent));
    assert_eq!(world.gateway.counters.taken_back_total, 1);
    let next = world.place();
    world.carry();
    assert_eq!((world.seen[&next].told, &world.venue.executed[..]), (Told::Open, &[next][..]));
    world.check_agreement();
}

#[test]
fn nothing_is_settled_while_a_slow_venue_thinks() {
    for remembers in [true, false] {
        let mut world = World::new(Form::Binary);
        world.connect();
        world.venue.is_slow = true;
        let order = world.place();
        world.carry();
        world.cut();
        let before = world.reconciled;
        if remembers {
            world.connect();
            assert_eq!((world.reconciled, world.seen[&order].told), (before, Told::Sent));
            world.venue.answer_waiting();
            world.carry();
            assert_eq!((world.reconciled, world.seen[&order].told), (before + 1, Told::Open));
        } else {
            // Its session is another, but it still has what it was asked.
            let waiting = std::mem::take(&mut world.venue.waiting);
            world.venue.restart(false);
            world.venue.waiting = waiting;
            world.connect();
            assert_eq!((world.reconciled, world.seen[&order].told), (before, Told::Sent));
            world.venue.answer_waiting();
            world.carry();
            assert_eq!((world.reconciled, world.seen[&order].told), (before + 1, Told::Open));
        }
        world.check_agreement();
    }
}

#[test]
fn what_an_edit_in_doubt_made_of_an_order_is_told_before_what_was_filled_of_it() {
    for (total, filled, expected) in [(12, 6, Told::Open), (12, 7, Told::Filled), (6, 1, Told::Filled)] {
        let mut world = World::new(Form::Json);
        world.connect();
        let order = world.place();
        world.carry();
        world.venue.is_slow = true;
        world.amend(order, total * LOT);
        world.carry();
        world.cut();
        world.venue.answer_waiting();
        world.venue.fill(order, filled * LOT);
        world.venue.restart(true);
        world.connect();
        let seen = world.seen[&order];
        assert_eq!((seen.total, seen.filled, seen.told), (total * LOT, (5 + filled) * LOT, expected));
        world.check_agreement();
        assert_eq!(world.gateway.orders.count(), usize::from(expected == Told::Open));
    }
}

#[test]
fn what_is_said_of_an_order_before_the_answer_to_its_question_is_told_by_that_answer() {
    for is_cancelled in [false, true] {
        let mut world = World::new(Form::Binary);
        world.connect();
        let order = world.place();
        // The venue has it, and what it says of it is lost with its run.
        let bytes = world.gateway.unsent().to_vec();
        world.venue.session.handle_bytes(&bytes, world.now);
        world.cut();
        world.venue.restart(true);
        world.gateway.handle_connected(world.now);
        world.venue.session.handle_connected(world.now);
        world.is_connected = true;
        let hello = world.venue.session.unsent().to_vec();
        world.venue.session.handle_sent(hello.len());
        world.gateway.handle_bytes(&hello, world.now);
        // The welcome, and not yet the question behind it.
        let bytes = world.gateway.unsent();
        let length = u32::from_le_bytes(*bytes.first_chunk().unwrap());
        let welcome = bytes[..4 + length as usize].to_vec();
        world.gateway.handle_sent(welcome.len());
        world.venue.session.handle_bytes(&welcome, world.now);
        world.venue.handle_events();
        let (told, filled) = if is_cancelled {
            world.venue.answer(&Command::Cancel { order });
            (Told::Cancelled, 5 * LOT)
        } else {
            world.venue.fill(order, 2 * LOT);
            (Told::Open, 7 * LOT)
        };
        world.carry();
        assert_eq!((world.seen[&order].told, world.seen[&order].filled), (told, filled));
        world.check_agreement();
    }
}
