//! The paper market behind a link, with a gateway's session at the other end of a pipe.

use super::super::codec::Form;
use super::super::session::{LinkEvent, Session, SessionConfig};
use super::*;
use crate::model::order::{AccountId, OrderType, PostOnly, TimeInForce};

struct World {
    now: Now,
    venue: PaperVenue,
    gateway: Session,
    events: Vec<LinkEvent>,
    book: Book,
}

impl World {
    fn new() -> World {
        let link = VenueConfig {
            venue: "paper".into(),
            key: "k".into(),
            session: "1".into(),
            form: Form::Binary,
            heartbeat_ms: 1_000,
        };
        World {
            now: Now { mono_ns: 1_000_000_000, unix_ns: 1_700_000_000_000_000_000 },
            venue: PaperVenue::new(PaperConfig { instruments: 2, ..PaperConfig::default() }, link),
            gateway: gateway("g1"),
            events: Vec::new(),
            book: Book::default(),
        }
    }

    fn connect(&mut self) {
        self.gateway.handle_connected(self.now);
        self.venue.session().handle_connected(self.now);
        self.carry();
    }

    fn cut(&mut self) {
        self.gateway.handle_closed();
        self.venue.session().handle_closed();
        self.carry();
    }

    fn carry(&mut self) {
        loop {
            self.venue.advance(self.now);
            let up = self.venue.session().unsent().to_vec();
            self.venue.session().handle_sent(up.len());
            self.gateway.handle_bytes(&up, self.now);
            let down = self.gateway.unsent().to_vec();
            self.gateway.handle_sent(down.len());
            self.venue.session().handle_bytes(&down, self.now);
            self.take_events();
            if up.is_empty() && down.is_empty() {
                return;
            }
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.gateway.poll_event() {
            if let LinkEvent::Feed(
                FeedEvent::Levels { instrument: FeedInstrument(0), levels, .. }
                | FeedEvent::Cleared { instrument: FeedInstrument(0), levels, .. },
            ) = event
            {
                if let LinkEvent::Feed(FeedEvent::Cleared { .. }) = event {
                    self.book.clear();
                }
                for update in levels.of(self.gateway.levels()) {
                    self.book.apply(*update);
                }
            }
            self.events.push(event);
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now = self.now.plus_ns(100_000_000);
            self.gateway.handle_timeout(self.now);
            self.venue.session().handle_timeout(self.now);
            self.carry();
        }
    }

    fn place(&mut self, order: u64, price: Option<Price>, lots: i64) {
        let spec = NewOrder {
            instrument: InstrumentId(0),
            direction: Direction::Buy,
            order_type: if price.is_some() { OrderType::Limit } else { OrderType::Market },
            price,
            amount: Amount(lots * 10 * UNIT),
            time_in_force: if price.is_some() {
                TimeInForce::GoodTilCancelled
            } else {
                TimeInForce::ImmediateOrCancel
            },
            post_only: PostOnly::No,
            reduce_only: false,
            label: None,
            valid_until_ms: None,
        };
        self.events.clear();
        let request = VenueRequest::New { order: OrderId(order), account: AccountId(1), spec };
        self.gateway.handle_request(FeedInstrument(0), &request);
        self.carry();
    }

    fn reports(&self) -> Vec<VenueReport> {
        let report = |event: &LinkEvent| {
            let LinkEvent::Feed(FeedEvent::Report(report)) = event else { return None };
            Some(*report)
        };
        self.events.iter().filter_map(report).collect()
    }

    fn filled(&self) -> i64 {
        let amount = |event: &LinkEvent| {
            let LinkEvent::Fill(fill) = event else { return 0 };
            fill.amount.0
        };
        self.events.iter().map(amount).sum()
    }

    fn changes(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.venue.poll_change()).collect()
    }
}

fn gateway(run: &str) -> Session {
    Session::new(SessionConfig {
        gateway: run.into(),
        venue: "paper".into(),
        key: "k".into(),
        heartbeat_ms: 1_000,
        fence: 0,
        instruments: Vec::new(),
    })
}

#[test]
fn its_market_is_the_same_at_the_other_end() {
    let mut world = World::new();
    world.connect();
    world.pass(5_000);
    assert!(world.book.level_count() >= 40);
    assert_eq!(world.book, world.venue.books[0]);
    world.cut();
    world.venue.advance(world.now.plus_ns(900_000_000));
    world.connect();
    assert_eq!(world.book, world.venue.books[0]);
    assert!(world.changes().contains(&Change::Welcomed { resumed: true }));
}

#[test]
fn an_order_that_rests_is_found_again_and_cancelled() {
    let mut world = World::new();
    world.connect();
    let price = Some(Price(1_000 * UNIT));
    world.place(7, price, 1);
    assert_eq!(world.reports(), [VenueReport::Accepted { order: OrderId(7), price }]);
    assert_eq!(world.book.amount_at(Side::Bid, Price(1_000 * UNIT)), Amount(10 * UNIT));
    world.cut();
    world.connect();
    world.events.clear();
    let cancel = VenueRequest::Cancel { order: OrderId(7), instrument: InstrumentId(0) };
    world.gateway.handle_request(FeedInstrument(0), &cancel);
    world.carry();
    assert!(matches!(world.reports()[..], [VenueReport::Cancelled { order: OrderId(7), .. }]));
    world.events.clear();
    world.gateway.handle_request(FeedInstrument(0), &cancel);
    world.carry();
    let why = OrderRefusal::AlreadyClosed;
    assert_eq!(world.reports(), [VenueReport::CancelRejected { order: OrderId(7), why }]);
}

#[test]
fn a_market_order_is_filled_and_its_fills_are_the_market_s_trades() {
    let mut world = World::new();
    world.connect();
    world.place(1, None, 3);
    assert_eq!(world.filled(), 30 * UNIT);
    let is_trade = |event: &LinkEvent| matches!(event, LinkEvent::Feed(FeedEvent::Trade { .. }));
    assert!(!world.events.iter().any(is_trade), "a trade is told once, by its fill");
    assert_eq!(world.venue.orders[&OrderId(1)].state, StatusState::Filled);
}

#[test]
fn an_order_that_was_filled_while_the_link_was_down_is_told_in_the_end() {
    let mut world = World::new();
    world.connect();
    let best = world.book.best_bid().unwrap().price;
    world.place(1, Some(best), 1);
    assert_eq!(world.filled(), 0);
    world.cut();
    world.events.clear();
    // Its report waits here.
    let mut waited = 0;
    while world.venue.orders[&OrderId(1)].state == StatusState::Open {
        world.now = world.now.plus_ns(100_000_000);
        world.venue.advance(world.now);
        waited += 1;
        assert!(waited < 100_000, "nobody sells");
    }
    world.connect();
    assert_eq!(world.filled(), 10 * UNIT);
}

#[test]
fn orders_of_a_gateway_that_has_forgotten_them_are_cancelled() {
    let mut world = World::new();
    world.connect();
    world.place(1, Some(Price(1_000 * UNIT)), 1);
    world.cut();
    world.gateway = gateway("g2");
    world.events.clear();
    world.connect();
    assert!(world.changes().contains(&Change::Abandoned { orders: 1 }));
    assert_eq!(world.book.amount_at(Side::Bid, Price(1_000 * UNIT)), Amount::ZERO);
    assert_eq!((world.reports(), world.gateway.counters.strange_total), (Vec::new(), 0));
}
