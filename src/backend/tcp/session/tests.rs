//! Both sides of a venue link over a pipe that is cut: at every byte of a script, and at random. What must hold: an order is
//! executed once or told as not sent, its outcome is known in the end, every report is told once and in order, and nothing
//! is told to be settled before it is.

pub(crate) mod engine;

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
            VenueReport::Accepted { order, price: _ } => self.move_on(order, &[Told::Sent], Told::Open),
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

#[test]
fn a_request_without_a_link_is_refused() {
    let mut world = World::new(Form::Json);
    let order = world.place();
    assert_eq!(world.seen[&order].told, Told::Rejected(OrderRefusal::VenueUnavailable));
    world.connect();
    assert_eq!(world.gateway.orders.count(), 0);
}

#[test]
fn who_is_silent_is_cut_and_who_beats_is_not() {
    let mut world = World::new(Form::Json);
    world.connect();
    for _ in 0..20 {
        world.pass(1_000);
    }
    assert!(world.is_up);
    // Nothing of the venue comes any more.
    world.now = world.now.plus_ns(2_499_000_000);
    world.gateway.handle_timeout(world.now);
    assert!(!world.gateway.is_over());
    world.now = world.now.plus_ns(1_000_000);
    assert!(world.gateway.poll_timeout().unwrap() <= world.now.mono_ns);
    world.gateway.handle_timeout(world.now);
    assert!(world.gateway.is_over());
    world.take_events();
    assert_eq!(world.log.last().unwrap(), "down: silent for too long");
}

#[test]
fn a_connection_without_a_hello_is_cut() {
    let mut world = World::new(Form::Json);
    world.gateway.handle_connected(world.now);
    assert_eq!(world.gateway.poll_timeout(), Some(world.now.mono_ns + limits::LINK_GREETING_NS));
    world.gateway.handle_timeout(world.now.plus_ns(limits::LINK_GREETING_NS));
    assert!(world.gateway.is_over());
}

/// What a gateway answers to these lines, as its first connection's.
fn answers(lines: &[&str]) -> (String, String) {
    let mut world = World::new(Form::Json);
    world.gateway.handle_connected(world.now);
    for line in lines {
        world.gateway.handle_bytes(format!("{line}\n").as_bytes(), world.now);
    }
    world.take_events();
    let said = String::from_utf8(world.gateway.unsent().to_vec()).unwrap();
    (said, world.log.last().cloned().unwrap_or_default())
}

const HELLO: &str =
    r#"{"type":"hello","version":1,"venue":"fx","key":"secret","session":"a","next":1,"heartbeat_ms":1000}"#;
const WELCOME: &str = r#"{"type":"welcome","version":1,"gateway":"gw1","session":"gw1.1","next":1,"resumed":false,"heartbeat_ms":1000}"#;

#[test]
fn who_does_not_belong_here_is_told_so() {
    for (hello, expected) in [
        (HELLO.replace("secret", "Secret"), "unknown venue or key"),
        (HELLO.replace("fx", "fy"), "unknown venue or key"),
        (HELLO.replace("\"version\":1", "\"version\":2"), "version 2 is not spoken here"),
        (HELLO.replace("1000", "1"), "heartbeat_ms of 1 is out of range"),
        ("GET / HTTP/1.1".to_owned(), "a first byte of 0x47, neither { nor 0x01"),
        (WELCOME.to_owned(), "welcome is not expected here"),
        ("{}".to_owned(), "type is missing"),
    ] {
        let (said, told) = answers(&[&hello]);
        assert_eq!(said, format!("{{\"type\":\"reject\",\"reason\":\"{expected}\"}}\n"));
        assert_eq!(told, format!("down: {expected}"));
    }
}

#[test]
fn what_breaks_the_protocol_is_cut_with_its_reason() {
    for (line, expected) in [
        (r#"{"type":"accepted","seq":2,"order":1}"#, "seq 2 where 1 is expected"),
        (r#"{"type":"heartbeat","next":7}"#, "next 7 was never said"),
        (r#"{"type":"tick","instrument":"X","time_ms":1}"#, "an instrument that was not listed"),
        (r#"{"type":"cancel","seq":1,"order":1}"#, "a command is not expected here"),
        (r#"{"type":"dance"}"#, "an unknown type"),
        (HELLO, "hello is not expected here"),
    ] {
        let (said, told) = answers(&[HELLO, line]);
        assert_eq!(said, format!("{WELCOME}\n{{\"type\":\"bye\",\"reason\":\"{expected}\"}}\n"));
        assert_eq!(told, format!("down: {expected}"));
    }
    let (most, price) = ("9223372036.854775807", "9000000000");
    let filled = format!(r#""order":1,"price":{price},"amount":{most},"liquidity":"maker","time_ms":1"#);
    let instruments = r#"{"type":"instruments","instruments":[{"name":"X","kind":"spot","base":"A","quote":"B","tick_size":1,"min_amount":1}]}"#;
    let trade = format!(r#""instrument":"X","price":{price},"amount":{most},"side":"buy","time_ms":1"#);
    for (kind, fields) in [
        ("filled", format!(r#""seq":1,{filled}"#)),
        ("amended", format!(r#""seq":1,"order":1,"price":-{price},"total":{most}"#)),
        (
            "order_status",
            format!(r#""seq":1,"order":1,"state":"open","filled":{most},"average":1,"amount":1"#),
        ),
        ("trade", trade),
    ] {
        let (_, told) = answers(&[HELLO, instruments, &format!(r#"{{"type":"{kind}",{fields}}}"#)]);
        assert_eq!(told, format!("down: {kind} of more than can be counted"));
    }
    let (said, told) = answers(&[HELLO, r#"{"type":"bye","reason":"lunch"}"#]);
    assert_eq!((said, told.as_str()), (format!("{WELCOME}\n"), "down: ended by the peer: lunch"));
}

#[test]
fn a_market_comes_as_the_feed_tells_it() {
    let mut world = World::new(Form::Binary);
    world.connect();
    let (eurusd, level) = (symbol("EURUSD"), |price| Some(Level { price: Price(price), amount: Amount(5) }));
    let levels: Vec<LevelUpdate> = [(crate::model::book::Side::Bid, 7), (crate::model::book::Side::Ask, 9)]
        .map(|(side, price)| LevelUpdate { side, price: Price(price), amount: Amount(2) })
        .into();
    let range = crate::model::market::LevelRange { start: 0, count: 2 };
    for message in [
        Message::Tick(Tick { instrument: eurusd, bid: level(7), ask: None, time_ms: 3 }),
        Message::Book(BookUpdate { instrument: eurusd, is_snapshot: true, levels: range, time_ms: 4 }),
        Message::Book(BookUpdate { instrument: eurusd, is_snapshot: false, levels: range, time_ms: 5 }),
    ] {
        world.venue.session.tell(&message, &levels);
    }
    let bytes = world.venue.session.unsent().to_vec();
    world.gateway.handle_bytes(&bytes, world.now);
    let instrument = FeedInstrument(0);
    let Some(LinkEvent::Feed(FeedEvent::Quote { instrument: of, bid, ask, timestamp_ns })) =
        world.gateway.poll_event()
    else {
        panic!("no quote")
    };
    assert_eq!((of, bid, ask, timestamp_ns), (instrument, level(7), None, 3_000_000));
    let Some(LinkEvent::Feed(FeedEvent::Cleared { levels: told, .. })) = world.gateway.poll_event() else {
        panic!("no snapshot")
    };
    assert_eq!(told.of(world.gateway.levels()), levels);
    let Some(LinkEvent::Feed(FeedEvent::Levels { levels: told, timestamp_ns, .. })) =
        world.gateway.poll_event()
    else {
        panic!("no update")
    };
    assert_eq!((told.of(world.gateway.levels()), timestamp_ns), (&levels[..], 5_000_000));
    assert!(world.gateway.poll_event().is_none());
}

#[test]
fn a_fill_of_a_maker_is_a_trade_of_whoever_took() {
    let fill = LinkFill {
        order: OrderId(4),
        instrument: FeedInstrument(2),
        direction: Direction::Buy,
        liquidity: Liquidity::Maker,
        price: Price(1),
        amount: Amount(2),
        print: true,
        timestamp_ns: 9,
    };
    let FeedEvent::Trade { direction, parties, .. } = fill.trade() else { panic!("no trade") };
    assert_eq!((direction, parties.maker, parties.taker), (Direction::Sell, Some(OrderId(4)), None));
    let FeedEvent::Trade { direction, parties, .. } =
        (LinkFill { liquidity: Liquidity::Taker, ..fill }).trade()
    else {
        panic!("no trade")
    };
    assert_eq!((direction, parties.maker, parties.taker), (Direction::Buy, None, Some(OrderId(4))));
}

#[test]
fn many_commands_are_acknowledged_before_a_heartbeat_is_due() {
    let mut world = World::new(Form::Binary);
    world.connect();
    for _ in 0..1_000 {
        world.place();
        world.carry();
    }
    assert!(world.gateway.said.kept_count() <= limits::LINK_ACKNOWLEDGED_EVERY as usize);
}

#[test]
fn a_venue_that_never_acknowledges_is_cut_before_anything_is_dropped() {
    let mut world = World::new(Form::Binary);
    world.connect();
    // Nothing is carried, so that nothing is acknowledged.
    while !world.gateway.is_over() {
        world.place();
    }
    assert_eq!(world.log.last().unwrap(), "down: too far behind");
    let count = world.seen.values().filter(|seen| seen.told == Told::Sent).count();
    assert_eq!(count, limits::LINK_UNACKNOWLEDGED_MAX);
    world.cut();
    settle(&mut world);
    world.check_agreement();
}

#[derive(Clone, Debug)]
enum Act {
    Place,
    Cancel(prop::sample::Index),
    Amend(prop::sample::Index, i64),
    Fill(prop::sample::Index, i64),
    Carry,
    CarryBytes(usize),
    Cut,
    Connect,
    Restart(bool),
    Slow(bool),
    Answer,
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Place),
        3 => any::<prop::sample::Index>().prop_map(Act::Cancel),
        2 => (any::<prop::sample::Index>(), 1..20i64).prop_map(|(at, lots)| Act::Amend(at, lots * LOT)),
        3 => (any::<prop::sample::Index>(), 1..10i64).prop_map(|(at, lots)| Act::Fill(at, lots * LOT)),
        6 => Just(Act::Carry),
        6 => (0..200usize).prop_map(Act::CarryBytes),
        2 => Just(Act::Cut),
        6 => Just(Act::Connect),
        1 => any::<bool>().prop_map(Act::Restart),
        1 => any::<bool>().prop_map(Act::Slow),
        2 => Just(Act::Answer),
        2 => (0..3_000u64).prop_map(Act::Pass),
    ]
}

impl World {
    fn act(&mut self, act: &Act) {
        let orders: Vec<OrderId> = self.seen.keys().copied().collect();
        let chosen = |at: &prop::sample::Index| (!orders.is_empty()).then(|| orders[at.index(orders.len())]);
        match act {
            Act::Place => drop(self.place()),
            Act::Cancel(at) => chosen(at).into_iter().for_each(|order| self.cancel(order)),
            Act::Amend(at, amount) => chosen(at).into_iter().for_each(|order| self.amend(order, *amount)),
            Act::Fill(at, amount) => {
                chosen(at).into_iter().for_each(|order| self.venue.fill(order, *amount));
            }
            Act::Carry => self.carry(),
            Act::CarryBytes(bytes) => {
                self.budget = *bytes;
                self.carry();
                self.budget = usize::MAX;
            }
            Act::Cut => self.cut(),
            Act::Connect if !self.is_connected => self.connect(),
            Act::Connect => {}
            Act::Restart(remembers) => {
                self.cut();
                self.venue.restart(*remembers);
            }
            Act::Slow(is_slow) => self.venue.is_slow = *is_slow,
            Act::Answer => self.venue.answer_waiting(),
            Act::Pass(ms) => self.pass(*ms),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_cut_both_agree_in_the_end(
        is_json in any::<bool>(),
        acts in prop::collection::vec(acts(), 0..80),
    ) {
        let mut world = World::new(if is_json { Form::Json } else { Form::Binary });
        for act in &acts {
            world.act(act);
        }
        world.venue.is_slow = false;
        settle(&mut world);
        world.check_agreement();
    }

    #[test]
    fn garbage_never_harms_either_side(
        is_after_greeting in any::<bool>(),
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..8),
    ) {
        for form in [Form::Json, Form::Binary] {
            let mut world = World::new(form);
            if is_after_greeting {
                world.connect();
            } else {
                world.gateway.handle_connected(world.now);
                world.venue.session.handle_connected(world.now);
            }
            for chunk in &chunks {
                world.gateway.handle_bytes(chunk, world.now);
                world.venue.session.handle_bytes(chunk, world.now);
            }
        }
    }
}

#[test]
fn a_report_that_comes_again_is_told_once() {
    let mut world = World::new(Form::Json);
    world.gateway.handle_connected(world.now);
    let refusal =
        |seq: u64| format!(r#"{{"type":"cancel_rejected","seq":{seq},"order":5,"reason":"refused"}}"#);
    for line in [HELLO, &refusal(1), &refusal(1), &refusal(2), &refusal(1)] {
        world.gateway.handle_bytes(format!("{line}\n").as_bytes(), world.now);
    }
    world.take_events();
    assert_eq!(world.log.iter().filter(|line| line.starts_with("CancelRejected")).count(), 2);
    assert_eq!(world.gateway.counters.repeated_total, 2);
    assert!(!world.gateway.is_over());
}

#[test]
fn a_fill_that_comes_after_its_order_is_over_is_told() {
    let mut world = World::new(Form::Json);
    world.connect();
    let order = world.place();
    world.carry();
    world.cancel(order);
    world.carry();
    assert_eq!((world.seen[&order].told, world.gateway.orders.count()), (Told::Cancelled, 0));
    world.venue.session.report(Report::Filled(Filled {
        order,
        price: Price(LOT),
        amount: Amount(LOT),
        liquidity: Liquidity::Maker,
        print: true,
        trade: None,
        time_ms: 5,
    }));
    let bytes = world.venue.session.unsent().to_vec();
    world.gateway.handle_bytes(&bytes, world.now);
    let Some(LinkEvent::Fill(fill)) = world.gateway.poll_event() else { panic!("no fill") };
    assert_eq!((fill.order, fill.instrument, fill.direction), (order, FeedInstrument(0), Direction::Buy));
    assert_eq!(world.gateway.counters.strange_total, 0);
}

const LISTING: &str = r#"{"type":"instruments","instruments":[{"name":"X","kind":"spot","base":"A","quote":"B","tick_size":1,"min_amount":1}]}"#;

#[test]
fn what_a_venue_says_wrongly_of_an_order_is_asked_for_and_not_waited_for() {
    for wrong in [
        r#"{"type":"accepted","seq":1,"order":1,"price":1.1212000000000002}"#,
        r#"{"type":"accepted","seq":2,"order":1}"#,
        r#"{"type":"amended","seq":1,"order":1,"price":9000000000,"total":9000000000}"#,
        r#"{"type":"order_status","seq":1,"order":1,"state":"filled"}"#,
        r#"{"type":"heartbeat","next":9}"#,
    ] {
        let mut world = World::new(Form::Json);
        let say = |world: &mut World, line: &str| {
            world.gateway.handle_bytes(format!("{line}\n").as_bytes(), world.now);
            world.take_events();
        };
        world.gateway.handle_connected(world.now);
        say(&mut world, HELLO);
        say(&mut world, LISTING);
        world.place();
        say(&mut world, wrong);
        assert!(world.gateway.is_over(), "{wrong}");
        world.gateway.handle_closed();
        world.gateway.handle_connected(world.now);
        say(&mut world, &HELLO.replace(r#""next":1"#, r#""peer":"gw1.1","next":2"#));
        let said = String::from_utf8(world.gateway.unsent().to_vec()).unwrap();
        assert!(said.contains(r#""session":"gw1.2","next":1,"resumed":false"#), "{wrong}: {said}");
        assert!(said.contains(r#"{"type":"status","seq":1,"order":1}"#), "{wrong}: {said}");
    }
}

#[test]
fn an_order_status_that_leaves_a_fill_or_its_price_out_is_not_guessed_at() {
    for (status, expected) in [
        (r#""state":"filled""#, "order_status without what was filled, or its price"),
        (r#""state":"cancelled","filled":4"#, "order_status without what was filled, or its price"),
        (r#""state":"filled","filled":10,"average":2"#, ""),
    ] {
        let mut world = World::new(Form::Json);
        world.gateway.handle_connected(world.now);
        let spec = NewOrder {
            instrument: LISTED_AS,
            direction: Direction::Sell,
            order_type: OrderType::Market,
            price: None,
            amount: Amount(10 * LOT),
            time_in_force: TimeInForce::ImmediateOrCancel,
            post_only: PostOnly::No,
            reduce_only: false,
            label: None,
            valid_until_ms: None,
        };
        for line in [HELLO, LISTING] {
            world.gateway.handle_bytes(format!("{line}\n").as_bytes(), world.now);
        }
        let order = OrderId(1);
        world
            .gateway
            .handle_request(FeedInstrument(0), &VenueRequest::New { order, account: AccountId(1), spec });
        let line = format!("{{\"type\":\"order_status\",\"seq\":1,\"order\":1,{status}}}\n");
        world.gateway.handle_bytes(line.as_bytes(), world.now);
        let mut told = (0, String::new());
        while let Some(event) = world.gateway.poll_event() {
            match event {
                LinkEvent::Fill(fill) => told.0 += fill.amount.0 / LOT,
                LinkEvent::Down { why, .. } => told.1 = why.to_string(),
                LinkEvent::Feed(_) | LinkEvent::Up { .. } | LinkEvent::Reconciled => {}
            }
        }
        assert_eq!(told, (if expected.is_empty() { 10 } else { 0 }, expected.to_owned()), "{status}");
    }
}
