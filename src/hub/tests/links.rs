//! Links to venues behind a market's home: what a client is told of its orders while links are cut at any byte, and whose an
//! instrument is. The venue is the other side of the link, over a pipe.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::private::{log_in, login};
use super::*;
use crate::backend::tcp::codec::Form;
use crate::backend::tcp::message::{BookUpdate, Filled, Message, Print, Report, StatusState};
use crate::backend::tcp::session::tests::engine::{Engine, HEARTBEAT_MS, LOT, definition, symbol};
use crate::backend::tcp::session::{Session, SessionConfig};
use crate::backend::tcp::wire::Cut;
use crate::desk::DeskConfig;
use crate::hub::market::{LinkNote, ListingRefusal, News, Trading};
use crate::model::link::{LinkIdentity, LinkKind};
use crate::model::market::{LevelRange, MarketState};
use crate::model::order::{Liquidity, OrderId};

const FX: SourceId = SourceId(1);

/// Both sides of a link, and the pipe between them.
struct Link {
    source: SourceId,
    session: Session,
    venue: Engine,
    is_connected: bool,
    /// Bytes that still get through, in both directions together.
    budget: usize,
    carried: usize,
}

impl Link {
    fn new(source: SourceId, form: Form, names: &[&str]) -> Link {
        let session = Session::new(SessionConfig {
            gateway: "gw1".into(),
            venue: "fx".into(),
            key: "secret".into(),
            heartbeat_ms: HEARTBEAT_MS,
            instruments: Vec::new(),
        });
        let mut venue = Engine::new(form);
        venue.lists = names.iter().map(|name| definition(name)).collect();
        Link { source, session, venue, is_connected: false, budget: usize::MAX, carried: 0 }
    }

    fn connect(&mut self, now: Now) {
        self.session.handle_connected(now);
        self.venue.session.handle_connected(now);
        self.is_connected = true;
    }

    fn cut(&mut self) {
        self.is_connected = false;
        self.session.handle_closed();
        self.venue.session.handle_closed();
        self.venue.handle_events();
    }

    /// Carries a few bytes; whether there was anything to do.
    fn carry(&mut self, now: Now) -> bool {
        self.venue.handle_events();
        if !self.is_connected {
            return false;
        }
        let (up, down) = (self.venue.session.unsent(), self.session.unsent());
        if up.is_empty() && down.is_empty() {
            let is_over = self.session.is_over() || self.venue.session.is_over();
            if is_over {
                self.cut();
            }
            return is_over;
        }
        let is_up = !up.is_empty();
        let all = if is_up { up } else { down };
        let bytes = all[..all.len().min(23).min(self.budget)].to_vec();
        if bytes.is_empty() {
            self.cut();
            return true;
        }
        self.budget -= bytes.len();
        self.carried += bytes.len();
        if is_up {
            self.venue.session.handle_sent(bytes.len());
            self.session.handle_bytes(&bytes, now);
        } else {
            self.session.handle_sent(bytes.len());
            self.venue.session.handle_bytes(&bytes, now);
        }
        true
    }
}

/// A client of a shard, a market's home and its links.
struct Floor {
    world: World,
    links: Vec<Link>,
    conn: ConnId,
    asked: u64,
    replies: BTreeMap<u64, Value>,
    /// What the account was told, in order, and what all are told.
    events: Vec<Value>,
    public: Vec<Value>,
    seq: u64,
}

impl Floor {
    /// The feed lists an instrument of its own first, so that no two numbers are alike.
    fn new(links: Vec<Link>) -> Floor {
        let mut world = World::new(1);
        let desk = DeskConfig { credits_per_s: 0, price_band_bp: 0, ..DeskConfig::default() };
        world.market.set_desk(desk, Trading::Closed, world.now);
        world.feed(list("BTC-PERPETUAL"));
        let conn = world.connect(0, 0);
        log_in(&mut world, 0, conn, login(7, "trade:read_write account:read_write"));
        let (replies, events, public) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut floor = Floor { world, links, conn, asked: 0, replies, events, public, seq: 0 };
        let channels = ["user.changes.any.any.raw", "trades.*.raw", "ticker.*.raw", "book.*.raw"];
        floor.ask("private/subscribe", &json!({ "channels": channels }));
        floor
    }

    fn of_one(form: Form) -> Floor {
        Floor::new(vec![Link::new(FX, form, &["EURUSD"])])
    }

    fn connect(&mut self) {
        for link in &mut self.links {
            link.connect(self.world.now);
        }
        self.run();
    }

    /// Carries everything everywhere until nothing moves.
    fn run(&mut self) {
        let mut is_moving = true;
        while is_moving {
            let World { market, now, .. } = &mut self.world;
            for link in &mut self.links {
                market.handle_link(link.source, &mut link.session, *now);
            }
            self.world.carry();
            is_moving = self.serve();
            for link in &mut self.links {
                is_moving |= link.carry(self.world.now);
            }
        }
        self.hear();
    }

    /// Gives links what the desk asks for.
    fn serve(&mut self) -> bool {
        let World { market, now, .. } = &mut self.world;
        let mut any = false;
        while let Some(routed) = market.poll_request(*now) {
            any = true;
            let link = self.links.iter_mut().find(|link| link.source == routed.source).unwrap();
            link.session.handle_request(routed.instrument, &routed.request);
            market.handle_link(link.source, &mut link.session, *now);
        }
        any
    }

    fn pass(&mut self, ms: u64) {
        self.world.now = self.world.now.plus_ns(ms * 1_000_000);
        for link in &mut self.links {
            link.session.handle_timeout(self.world.now);
            link.venue.session.handle_timeout(self.world.now);
        }
        self.run();
    }

    /// Asks, and carries nothing to a venue; the request's id.
    fn send(&mut self, method: &str, params: &Value) -> u64 {
        self.asked += 1;
        let text = json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params});
        self.world.send(0, self.conn, &text.to_string());
        self.asked
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(method, params);
        self.run();
        self.replies.get(&id).unwrap_or_else(|| panic!("no reply to {method} {params}")).clone()
    }

    fn buy(&mut self, label: &str) -> u64 {
        let order = json!({"instrument_name": "EURUSD", "amount": 10, "price": 2, "label": label});
        self.send("private/buy", &order)
    }

    /// Reads what the client was told.
    fn hear(&mut self) {
        for text in self.world.texts(0, self.conn) {
            if let Some(id) = text["id"].as_u64() {
                assert!(self.replies.insert(id, text).is_none(), "request {id} has two replies");
                continue;
            }
            let params = &text["params"];
            let data = params["data"].clone();
            if params["channel"] != "user.changes.any.any.raw" {
                self.public.push(text["params"].clone());
                continue;
            }
            self.seq += 1;
            assert_eq!(params["seq"], self.seq, "an event is lost");
            self.events.push(data);
        }
    }

    fn told(&self, channel: &str) -> Vec<Value> {
        let of_channel = self.public.iter().filter(|params| params["channel"] == channel);
        of_channel.map(|params| params["data"].clone()).collect()
    }

    /// The states that an order was told to be in, one after the other.
    fn states(&self, id: OrderId) -> Vec<&str> {
        let orders = self.events.iter().flat_map(|event| event["orders"].as_array().unwrap());
        let own = orders.filter(|order| id_of(order) == id);
        let mut states: Vec<&str> = own.map(|order| order["order_state"].as_str().unwrap()).collect();
        states.dedup();
        states
    }

    fn ticker_state(&mut self) -> Value {
        self.ask("public/ticker", &json!({"instrument_name": "EURUSD"}))["result"]["state"].clone()
    }

    fn news(&mut self) -> Vec<News> {
        std::iter::from_fn(|| self.world.market.poll_news()).collect()
    }

    /// Three orders, an amendment, cancels, fills; a reply is waited for only where the next step needs it.
    fn day(&mut self) {
        self.buy("a");
        self.run();
        self.buy("b");
        let edit = json!({"instrument_name": "EURUSD", "label": "a", "amount": 9, "price": 3});
        self.send("private/edit_by_label", &edit);
        self.run();
        self.fill("a", LOT);
        self.run();
        self.send("private/cancel_by_label", &json!({"label": "b"}));
        self.run();
        self.buy("c");
        self.run();
        self.fill("c", 10 * LOT);
        self.buy("d");
        // The first two have no answer yet.
        self.buy("e");
        self.send("private/cancel_all", &json!({}));
        self.run();
    }

    /// The venue fills so much of an order, if it has it.
    fn fill(&mut self, label: &str, amount: i64) {
        let orders = self.events.iter().flat_map(|event| event["orders"].as_array().unwrap());
        let found = orders.rev().find(|order| order["label"] == label).map(id_of);
        if let Some(order) = found {
            self.links[0].venue.fill(order, amount);
        }
    }

    /// All links are whole, and all has been told.
    fn settle(&mut self) {
        for _ in 0..4 {
            for link in &mut self.links {
                link.budget = usize::MAX;
                if !link.is_connected {
                    link.connect(self.world.now);
                }
                link.venue.answer_waiting();
            }
            self.run();
            self.pass(1_000);
        }
    }

    /// What must hold in the end, whatever was cut.
    fn judge(&mut self) {
        let expected: Vec<u64> = (1..=self.asked).collect();
        assert!(self.replies.keys().eq(&expected), "each request has one reply: {:?}", self.replies);
        let (mut last, mut filled) = (BTreeMap::new(), BTreeMap::<OrderId, i64>::new());
        for event in &self.events {
            for order in event["orders"].as_array().unwrap() {
                last.insert(id_of(order), order.clone());
            }
            for fill in event["trades"].as_array().unwrap() {
                *filled.entry(id_of(fill)).or_default() += lots(&fill["amount"]);
            }
        }
        self.judge_replies(&last);
        let venue = &self.links[0].venue;
        let is_forgetful = venue.runs > 0 && venue.orders.len() < venue.executed.len();
        let exists = |order: &Value| order["order_state"] != "rejected";
        let told: BTreeSet<OrderId> =
            last.iter().filter(|(_, order)| exists(order)).map(|(id, _)| *id).collect();
        let executed: BTreeSet<OrderId> = venue.executed.iter().copied().collect();
        assert!(told.is_subset(&executed), "told of what never was: {told:?}, {executed:?}");
        assert!(is_forgetful || told == executed, "executed and not told: {told:?}, {executed:?}");
        for (id, order) in &last {
            let sum = filled.get(id).copied().unwrap_or_default();
            assert_eq!(lots(&order["filled_amount"]), sum, "{order}");
            let state = order["order_state"].as_str().unwrap();
            let Some(resting) = venue.orders.get(id) else {
                assert!(matches!(state, "rejected" | "cancelled" | "filled"), "{order}");
                continue;
            };
            let expected = match resting.state {
                StatusState::Open => "open",
                StatusState::Filled => "filled",
                StatusState::Cancelled => "cancelled",
                other @ (StatusState::Pending | StatusState::Rejected | StatusState::Unknown) => {
                    panic!("the venue knows no {other:?}")
                }
            };
            assert_eq!((state, sum), (expected, resting.filled / LOT), "{order}");
            if resting.state == StatusState::Open {
                let terms = (lots(&order["amount"]), lots(&order["price"]));
                assert_eq!(terms, (resting.total / LOT, resting.price.0 / LOT), "{order}");
            }
        }
        let printed: i64 = self.told("trades.EURUSD.raw").iter().map(printed_lots).sum();
        assert_eq!(printed, filled.values().sum::<i64>(), "each fill is one trade of the market");
        let ids: Vec<OrderId> = last.keys().copied().collect();
        for id in ids {
            let asked = self.ask("private/get_order_state", &json!({"order_id": id.0.to_string()}));
            assert_eq!(asked["result"], last[&id], "the answer is what was told last");
        }
    }

    /// What was answered to orders, beside what was told of them in the end.
    fn judge_replies(&self, last: &BTreeMap<OrderId, Value>) {
        for reply in self.replies.values() {
            if let Some(placed) = reply["result"].get("order") {
                assert!(last.contains_key(&id_of(placed)), "{reply}");
            }
            match reply["error"]["code"].as_i64() {
                Some(20001) => {
                    let id = id_of(&reply["error"]["data"]);
                    assert!(self.states(id).contains(&"unknown"), "{reply}: {:?}", self.states(id));
                    assert_ne!(last[&id]["order_state"], "unknown", "it is told what became of it");
                }
                // Not sent; no such order; the venue is not there; closed; it never listed anything.
                Some(20002 | 10004 | 13028 | 13020) | None => {}
                Some(_) => panic!("{reply}"),
            }
        }
    }
}

fn id_of(order: &Value) -> OrderId {
    OrderId(order["order_id"].as_str().unwrap().parse().unwrap())
}

/// A whole number, however it is written.
fn lots(number: &Value) -> i64 {
    number.as_f64().unwrap() as i64
}

fn printed_lots(trades: &Value) -> i64 {
    trades.as_array().unwrap().iter().map(|trade| lots(&trade["amount"])).sum()
}

/// Days that are cut after so many bytes, in steps.
fn cut_days(form: Form, step: usize, after_cut: impl Fn(&mut Floor)) -> (u64, u64) {
    let mut whole = Floor::of_one(form);
    whole.connect();
    whole.day();
    whole.judge();
    let (mut unknown, mut not_sent) = (0, 0);
    for budget in (0..whole.links[0].carried).step_by(step) {
        let mut floor = Floor::of_one(form);
        floor.links[0].budget = budget;
        floor.connect();
        floor.day();
        assert!(!floor.links[0].is_connected);
        after_cut(&mut floor);
        floor.settle();
        floor.judge();
        let with_code = |code| floor.replies.values().filter(|reply| reply["error"]["code"] == code).count();
        unknown += with_code(20001) as u64;
        not_sent += with_code(20002) as u64;
    }
    (unknown, not_sent)
}

#[test]
fn a_link_cut_at_any_byte_loses_and_doubles_nothing_of_a_client() {
    for (form, step) in [(Form::Json, 11), (Form::Binary, 5)] {
        let (unknown, _) = cut_days(form, step, |_| {});
        assert!(unknown > 50, "{unknown} outcomes were unknown");
    }
}

#[test]
fn a_venue_that_restarts_after_a_cut_at_any_byte_is_asked_what_it_knows() {
    for remembers in [true, false] {
        let (unknown, _) = cut_days(Form::Binary, 7, |floor| floor.links[0].venue.restart(remembers));
        assert!(unknown > 30, "{unknown} outcomes were unknown");
    }
}

#[test]
fn an_instrument_of_a_link_trades_while_the_link_is_up() {
    let mut floor = Floor::of_one(Form::Json);
    floor.connect();
    assert_eq!(floor.ticker_state(), "open");
    let first = floor.buy("a");
    floor.run();
    assert_eq!(floor.replies[&first]["result"]["order"]["order_state"], "open");
    floor.links[0].cut();
    floor.run();
    assert_eq!(floor.ticker_state(), "closed");
    let second = floor.buy("b");
    floor.run();
    assert_eq!(floor.replies[&second]["error"]["code"], 13028);
    floor.connect();
    assert_eq!(floor.ticker_state(), "open");
    let third = floor.buy("c");
    floor.run();
    assert_eq!(floor.replies[&third]["result"]["order"]["order_state"], "open");
    let states: Vec<Value> =
        floor.told("ticker.EURUSD.raw").iter().map(|ticker| ticker["state"].clone()).collect();
    let mut changes = states;
    changes.dedup();
    assert_eq!(changes, ["open", "closed", "open"], "it is told to those who listen");
    assert_eq!(floor.links[0].venue.executed.len(), 2);
    floor.judge();
}

#[test]
fn before_its_link_takes_orders_a_listed_instrument_is_closed() {
    let mut world = World::new(1);
    world.market.set_desk(DeskConfig::default(), Trading::Open, world.now);
    let mut feed = FeedBuffer::default();
    for (source, state) in [(FX, MarketState::Closed), (SourceId::FEED, MarketState::Open)] {
        feed.events = vec![FeedEvent::Listed { definition: instrument(&format!("I-{}", source.0)) }];
        world.market.handle_feed(source, &feed, world.now);
        let listed = world.market.instruments().last().unwrap();
        assert_eq!((listed.state, source), (state, source));
    }
    world.carry();
    let replica = |at: usize| world.hubs[0].cache().instruments().nth(at).unwrap().1.state;
    assert_eq!((replica(0), replica(1)), (MarketState::Closed, MarketState::Open));
}

#[test]
fn what_a_venue_said_of_its_market_outlives_a_cut() {
    let mut floor = Floor::of_one(Form::Binary);
    floor.connect();
    for (word, expected, code) in
        [(MarketState::Closed, "closed", Value::from(10012)), (MarketState::Open, "open", Value::Null)]
    {
        let state = Message::State { instrument: symbol("EURUSD"), state: word, time_ms: 5 };
        floor.links[0].venue.session.tell(&state, &[]);
        floor.run();
        floor.links[0].cut();
        floor.run();
        assert_eq!(floor.ticker_state(), "closed");
        floor.connect();
        assert_eq!(floor.ticker_state(), expected);
        let order = floor.buy(expected);
        floor.run();
        assert_eq!(floor.replies[&order]["error"]["code"], code);
    }
}

#[test]
fn several_books_in_one_piece_are_applied_as_they_came() {
    let mut floor = Floor::of_one(Form::Binary);
    floor.connect();
    let levels: Vec<LevelUpdate> = [(Side::Bid, 7), (Side::Ask, 9), (Side::Bid, 6), (Side::Ask, 9)]
        .into_iter()
        .zip([2, 3, 4, 0])
        .map(|((side, price), amount)| LevelUpdate {
            side,
            price: Price(price * LOT),
            amount: Amount(amount * LOT),
        })
        .collect();
    for (is_snapshot, start, count) in [(true, 0, 2), (false, 2, 1), (false, 3, 1)] {
        let range = LevelRange { start, count };
        let book = BookUpdate { instrument: symbol("EURUSD"), is_snapshot, levels: range, time_ms: 4 };
        floor.links[0].venue.session.tell(&Message::Book(book), &levels);
    }
    let link = &mut floor.links[0];
    let bytes = link.venue.session.unsent().to_vec();
    link.venue.session.handle_sent(bytes.len());
    link.session.handle_bytes(&bytes, floor.world.now);
    floor.run();
    let told = floor.told("book.EURUSD.raw");
    let sides = |book: &Value| (book["bids"].clone(), book["asks"].clone());
    assert_eq!(
        told[told.len() - 3..].iter().map(sides).collect::<Vec<_>>(),
        [
            (json!([["new", 7.0, 2]]), json!([["new", 9.0, 3]])),
            (json!([["new", 6.0, 4]]), json!([])),
            (json!([]), json!([["delete", 9.0, 0]])),
        ]
    );
}

#[test]
fn a_fill_that_the_venue_prints_itself_has_the_number_of_that_trade() {
    let mut floor = Floor::of_one(Form::Json);
    floor.connect();
    floor.buy("a");
    floor.run();
    let order = floor.links[0].venue.executed[0];
    let (price, amount) = (Price(2 * LOT), Amount(LOT));
    let filled =
        Filled { order, price, amount, liquidity: Liquidity::Maker, print: false, trade: None, time_ms: 8 };
    let venue = &mut floor.links[0].venue.session;
    venue.report(Report::Filled(filled));
    let (instrument, side) = (symbol("EURUSD"), Direction::Sell);
    venue.tell(&Message::Trade(Print { instrument, price, amount, side, time_ms: 8 }), &[]);
    floor.run();
    let fill = floor.events.last().unwrap()["trades"][0].clone();
    let trades = floor.told("trades.EURUSD.raw");
    assert_eq!(trades.len(), 2, "the first fill's and this one's");
    let trade = &trades[1][0];
    assert_eq!((&fill["trade_seq"], &trade["trade_seq"]), (&json!(2), &json!(2)));
    assert_eq!((&fill["direction"], &trade["direction"]), (&json!("buy"), &json!("sell")));
    assert_eq!((&fill["price"], &trade["price"]), (&json!(2.0), &json!(2.0)));
}

#[test]
fn what_was_told_before_a_goodbye_is_not_in_doubt() {
    let mut floor = Floor::of_one(Form::Json);
    floor.connect();
    let order = floor.buy("a");
    floor.serve();
    // It waits for the answer, and will be given up.
    let cancel = floor.send("private/cancel_by_label", &json!({"label": "a"}));
    let link = &mut floor.links[0];
    let bytes = link.session.unsent().to_vec();
    link.session.handle_sent(bytes.len());
    link.venue.session.handle_bytes(&bytes, floor.world.now);
    link.venue.handle_events();
    link.venue.session.handle_stop();
    // The answer, the fill and the end come in one piece.
    let bytes = link.venue.session.unsent().to_vec();
    link.session.handle_bytes(&bytes, floor.world.now);
    link.cut();
    floor.run();
    assert_eq!(floor.replies[&order]["result"]["order"]["filled_amount"], 5.0);
    assert_eq!(floor.replies[&cancel]["error"]["code"], 20002, "{}", floor.replies[&cancel]);
    floor.settle();
    assert_eq!(floor.states(floor.links[0].venue.executed[0]), ["open"]);
    floor.judge();
}

#[test]
fn nothing_is_settled_while_a_venue_thinks() {
    let mut floor = Floor::of_one(Form::Binary);
    floor.connect();
    floor.links[0].venue.is_slow = true;
    let order = floor.buy("a");
    floor.run();
    floor.links[0].cut();
    floor.run();
    assert_eq!(floor.replies[&order]["error"]["code"], 20001);
    let id = id_of(&floor.replies[&order]["error"]["data"]);
    floor.connect();
    let asked = json!({"order_id": id.0.to_string()});
    assert_eq!(floor.ask("private/get_order_state", &asked)["result"]["order_state"], "unknown");
    floor.links[0].venue.answer_waiting();
    floor.run();
    assert_eq!(floor.states(id), ["unknown", "open"]);
    floor.settle();
    floor.judge();
}

#[test]
fn what_the_desk_cancels_while_a_link_is_down_is_cancelled_when_it_is_up() {
    let mut floor = Floor::of_one(Form::Json);
    floor.connect();
    floor.buy("a");
    floor.run();
    floor.ask("private/cancel_all_after", &json!({"timeout": 1_000}));
    floor.links[0].cut();
    floor.run();
    floor.world.now = floor.world.now.plus_ns(2_000_000_000);
    floor.world.market.handle_timeout(floor.world.now);
    floor.run();
    let id = floor.links[0].venue.executed[0];
    assert_eq!(floor.states(id), ["open"]);
    floor.connect();
    assert_eq!(floor.states(id), ["open", "cancelled"]);
    assert_eq!(floor.events.last().unwrap()["orders"][0]["cancel_reason"], "cancel_all_after");
    floor.settle();
    floor.judge();
}

#[test]
fn an_edit_of_what_the_desk_cancels_is_not_kept_waiting_for_a_link() {
    let mut floor = Floor::of_one(Form::Json);
    floor.connect();
    floor.buy("a");
    floor.buy("b");
    floor.run();
    let edit = |label| json!({"instrument_name": "EURUSD", "label": label, "amount": 9, "price": 3});
    // The venue refuses to cancel: the desk asks again in a while, and an edit of the order waits for that.
    floor.links[0].venue.is_slow = true;
    floor.ask("private/cancel_all_after", &json!({"timeout": 1_000}));
    floor.world.now = floor.world.now.plus_ns(1_000_000_000);
    floor.world.market.handle_timeout(floor.world.now);
    floor.run();
    for command in std::mem::take(&mut floor.links[0].venue.waiting) {
        let (order, reason) = (command.order(), crate::model::order::OrderRefusal::BookClosed);
        floor.links[0].venue.session.report(Report::CancelRejected { order, reason });
    }
    floor.run();
    let waits = floor.send("private/edit_by_label", &edit("a"));
    floor.run();
    assert_eq!(floor.replies.get(&waits), None);
    floor.links[0].cut();
    floor.run();
    assert_eq!(floor.replies[&waits]["error"]["code"], 20002);
    // The time to ask again passes without a link.
    floor.world.now = floor.world.now.plus_ns(2_000_000_000);
    floor.world.market.handle_timeout(floor.world.now);
    floor.run();
    assert_eq!(floor.ask("private/edit_by_label", &edit("b"))["error"]["code"], 13028);
    floor.links[0].venue.is_slow = false;
    floor.connect();
    for order in floor.links[0].venue.executed.clone() {
        assert_eq!(floor.states(order), ["open", "cancelled"]);
    }
    floor.settle();
    floor.judge();
}

#[test]
fn one_link_s_death_is_no_matter_for_another_s_instruments() {
    let other = SourceId(2);
    let links = [(FX, "EURUSD"), (other, "GBPUSD")];
    let mut floor = Floor::new(links.map(|(source, name)| Link::new(source, Form::Json, &[name])).into());
    floor.connect();
    floor.links[0].cut();
    floor.run();
    let place = |name| json!({"instrument_name": name, "amount": 10, "price": 2, "label": name});
    assert_eq!(floor.ask("private/buy", &place("EURUSD"))["error"]["code"], 13028);
    assert_eq!(floor.ask("private/buy", &place("GBPUSD"))["result"]["order"]["order_state"], "open");
    assert_eq!((floor.links[0].venue.executed.len(), floor.links[1].venue.executed.len()), (0, 1));
    let news = floor.news();
    for source in [FX, other] {
        let own = [News::Reconciled { source }, News::Up { source, instruments: 1 }];
        assert!(own.iter().all(|expected| news.contains(expected)), "{news:?}");
    }
    assert_eq!(news[4..], [News::Down { source: FX, instruments: 1, why: Cut::Closed }]);
}

#[test]
fn what_a_venue_says_of_another_venue_s_order_is_dropped() {
    let other = SourceId(2);
    let links = [(FX, "EURUSD"), (other, "GBPUSD")];
    let mut floor = Floor::new(links.map(|(source, name)| Link::new(source, Form::Json, &[name])).into());
    floor.connect();
    floor.buy("a");
    floor.run();
    let order = floor.links[0].venue.executed[0];
    let reason = crate::model::order::CancelReason::Venue;
    floor.links[1].venue.session.report(Report::Cancelled { order, reason });
    let (price, total) = (Price(LOT), Amount(99 * LOT));
    floor.links[1].venue.session.report(Report::Amended { order, price, total });
    floor.run();
    assert_eq!(floor.states(order), ["open"]);
    assert_eq!(floor.world.market.counters.reports_refused_total, 2);
    floor.judge();
}

#[test]
fn a_venue_that_never_says_which_levels_are_gone_is_cut_and_begins_with_a_snapshot() {
    let mut floor = Floor::of_one(Form::Binary);
    floor.connect();
    let eurusd = symbol("EURUSD");
    let book = |first: usize, is_snapshot: bool| {
        let side = Side::Bid;
        let level = |at: usize| LevelUpdate { side, price: Price(10_000 * at as i64), amount: Amount(LOT) };
        let count = limits::LINK_LEVELS_PER_MESSAGE_MAX;
        let levels: Vec<LevelUpdate> = (first..first + count).map(level).collect();
        let range = LevelRange { start: 0, count: u32::try_from(count).unwrap() };
        (Message::Book(BookUpdate { instrument: eurusd, is_snapshot, levels: range, time_ms: 4 }), levels)
    };
    let levels = |floor: &Floor| floor.world.market.instruments()[1].book.level_count();
    for at in 0..40 {
        let (message, told) = book(1 + at * limits::LINK_LEVELS_PER_MESSAGE_MAX, false);
        floor.links[0].venue.session.tell(&message, &told);
        floor.run();
    }
    assert!(levels(&floor) <= limits::LINK_BOOK_LEVELS_MAX + 2 * limits::LINK_LEVELS_PER_MESSAGE_MAX);
    let down = News::Down { source: FX, instruments: 1, why: Cut::Overgrown };
    assert!(floor.news().contains(&down));
    floor.connect();
    let (message, told) = book(1, true);
    floor.links[0].venue.session.tell(&message, &told);
    floor.run();
    assert_eq!(levels(&floor), limits::LINK_LEVELS_PER_MESSAGE_MAX);
    assert_eq!(floor.ticker_state(), "open");
}

#[test]
fn a_name_belongs_to_who_listed_it_first_and_what_another_says_of_it_is_dropped() {
    let other = SourceId(2);
    let mut links = vec![Link::new(FX, Form::Json, &["EURUSD"])];
    links.push(Link::new(other, Form::Json, &["BTC-PERPETUAL", "EURUSD", "GBPUSD"]));
    let mut floor = Floor::new(links);
    floor.connect();
    floor.news();
    assert_eq!(floor.world.market.counters.instruments_refused_total, 2);
    // The second link's venue is down to one instrument, which is its third.
    for (name, price) in [("EURUSD", 3), ("GBPUSD", 4), ("BTC-PERPETUAL", 5)] {
        let (instrument, price) = (symbol(name), Price(price * LOT));
        let print = Print { instrument, price, amount: Amount(LOT), side: Direction::Buy, time_ms: 8 };
        floor.links[1].venue.session.tell(&Message::Trade(print), &[]);
        let state = Message::State { instrument, state: MarketState::Closed, time_ms: 8 };
        floor.links[1].venue.session.tell(&state, &[]);
    }
    floor.run();
    let prices: Vec<(String, Option<Price>, MarketState)> = (floor.world.market.instruments().iter())
        .map(|state| {
            let name = state.definition.name.as_str().to_owned();
            (name, state.last_trade().map(|trade| trade.price), state.state)
        })
        .collect();
    assert_eq!(
        prices,
        [
            ("BTC-PERPETUAL".to_owned(), None, MarketState::Open),
            ("EURUSD".to_owned(), None, MarketState::Open),
            ("GBPUSD".to_owned(), Some(Price(4 * LOT)), MarketState::Closed),
        ]
    );
    // When its link goes, the other's go on.
    floor.links[1].cut();
    floor.run();
    let order = floor.buy("a");
    floor.run();
    assert_eq!(floor.replies[&order]["result"]["order"]["order_state"], "open");
    assert_eq!(floor.links[0].venue.executed.len(), 1);
    assert_eq!(floor.news(), [News::Down { source: other, instruments: 1, why: Cut::Closed }]);
}

#[test]
fn who_is_refused_an_instrument_is_said_once() {
    let other = SourceId(2);
    let mut links = vec![Link::new(FX, Form::Json, &["EURUSD"])];
    links.push(Link::new(other, Form::Json, &["EURUSD"]));
    let mut floor = Floor::new(links);
    floor.connect();
    let refused = |floor: &mut Floor| -> Vec<News> {
        floor.news().into_iter().filter(|news| matches!(news, News::Refused { .. })).collect()
    };
    let why = ListingRefusal::Taken { by: FX };
    assert_eq!(refused(&mut floor), [News::Refused { source: other, name: symbol("EURUSD"), why }]);
    floor.links[1].cut();
    floor.run();
    floor.connect();
    assert_eq!(refused(&mut floor), []);
}

#[test]
fn a_reserved_name_is_listed_by_its_own_links_only() {
    let (second, stranger) = (SourceId(2), SourceId(3));
    let mut world = World::new(1);
    for source in [FX, second] {
        world.market.reserve(symbol("EURUSD"), source);
    }
    let mut feed = FeedBuffer::default();
    feed.events.push(FeedEvent::Listed { definition: Box::new(definition("EURUSD")) });
    for (source, why) in [
        (SourceId::FEED, Some(ListingRefusal::Reserved)),
        (stranger, Some(ListingRefusal::Reserved)),
        (second, None),
        (FX, Some(ListingRefusal::Taken { by: second })),
    ] {
        world.market.handle_feed(source, &feed, world.now);
        let expected = why.map(|why| News::Refused { source, name: symbol("EURUSD"), why });
        assert_eq!(world.market.poll_news(), expected);
    }
    assert_eq!(world.market.instruments().len(), 1);
}

#[test]
fn beyond_what_there_is_room_for_listings_are_counted_and_only_some_are_told() {
    let mut world = World::new(1);
    let mut feed = FeedBuffer::default();
    for number in 0..limits::INSTRUMENTS_MAX + limits::MARKET_NEWS_MAX + 1 {
        feed.events.push(FeedEvent::Listed { definition: Box::new(definition(&format!("I-{number}"))) });
    }
    world.market.handle_feed(FX, &feed, world.now);
    let beyond = limits::MARKET_NEWS_MAX + 1;
    assert_eq!(world.market.counters.instruments_refused_total, beyond as u64);
    let told = std::iter::from_fn(|| world.market.poll_news()).collect::<Vec<_>>();
    assert_eq!(told.len(), limits::MARKET_NEWS_MAX);
    assert!(matches!(told[0], News::Refused { why: ListingRefusal::Full, .. }));
}

fn identity(kind: LinkKind, venue: &str, link: &str) -> LinkIdentity {
    LinkIdentity { kind, venue: venue.into(), link: link.into() }
}

impl Floor {
    /// With a status of its feed and its link, which the test has to tell.
    fn watched() -> Floor {
        let mut floor = Floor::of_one(Form::Json);
        let World { market, now, .. } = &mut floor.world;
        market.add_link(SourceId::FEED, identity(LinkKind::Paper, "paper", "paper"), *now);
        market.add_link(FX, identity(LinkKind::Tcp, "fx", "fx.2"), *now);
        floor
    }

    /// So much later, what is due is told.
    fn wait(&mut self, ms: u64) {
        self.world.now = self.world.now.plus_ns(ms * 1_000_000);
        self.world.market.handle_timeout(self.world.now);
        self.run();
    }

    /// State, instruments and last reason of the link, as clients read them.
    fn status(&mut self) -> (String, u64, Option<String>) {
        let links = self.ask("public/get_venues", &json!({}))["result"].clone();
        let link = &links[1];
        assert_eq!(
            (&link["venue"], &link["link"], &link["kind"]),
            (&json!("fx"), &json!("fx.2"), &json!("tcp"))
        );
        let reason = link["last_reason"].as_str().map(str::to_owned);
        (link["state"].as_str().unwrap().to_owned(), link["instruments"].as_u64().unwrap(), reason)
    }
}

#[test]
fn clients_read_how_links_are() {
    let mut floor = Floor::watched();
    assert_eq!(floor.ask("public/get_venues", &json!({}))["result"], json!([]), "nothing was told yet");
    floor.wait(0);
    let since = floor.world.now.unix_ns / 1_000_000;
    assert_eq!(
        floor.ask("public/get_venues", &json!({}))["result"],
        json!([
            {"venue": "paper", "link": "paper", "kind": "paper", "state": "up", "since_timestamp": since, "instruments": 1},
            {"venue": "fx", "link": "fx.2", "kind": "tcp", "state": "connecting", "since_timestamp": since, "instruments": 0},
        ])
    );
    floor.connect();
    floor.wait(1_000);
    assert_eq!(floor.status(), ("up".to_owned(), 1, None));
    floor.links[0].cut();
    floor.run();
    floor.wait(1_000);
    let closed = Some("the connection was closed".to_owned());
    assert_eq!(floor.status(), ("down".to_owned(), 0, closed.clone()));
    let note = |floor: &mut Floor, note| {
        let now = floor.world.now;
        floor.world.market.note_link(FX, note, now);
        floor.wait(1_000);
        floor.status()
    };
    assert_eq!(note(&mut floor, LinkNote::Connecting), ("connecting".to_owned(), 0, closed));
    let refused = Some("connection refused".to_owned());
    let failed = LinkNote::Failed("connection refused".into());
    assert_eq!(note(&mut floor, failed), ("down".to_owned(), 0, refused.clone()));
    assert_eq!(note(&mut floor, LinkNote::GivenUp), ("given_up".to_owned(), 0, refused.clone()));
    floor.connect();
    floor.wait(1_000);
    assert_eq!(floor.status(), ("up".to_owned(), 1, refused));
}

#[test]
fn a_link_reconciles_until_its_venue_has_told_what_became_of_each_order() {
    let mut floor = Floor::watched();
    floor.connect();
    floor.links[0].venue.is_slow = true;
    floor.buy("a");
    floor.run();
    floor.links[0].cut();
    floor.run();
    floor.connect();
    floor.wait(1_000);
    assert_eq!(floor.status().0, "reconciling");
    floor.links[0].venue.answer_waiting();
    floor.run();
    floor.wait(1_000);
    assert_eq!(floor.status().0, "up");
}

#[test]
fn links_that_change_all_the_time_are_told_of_once_in_a_while_and_in_the_end() {
    let mut floor = Floor::watched();
    let mut told = 0;
    for round in 0..40 {
        floor.world.market.note_link(FX, LinkNote::Connecting, floor.world.now);
        if round % 2 == 0 {
            floor.world.market.note_link(FX, LinkNote::Failed(round.to_string().into()), floor.world.now);
        }
        floor.world.now = floor.world.now.plus_ns(100_000_000);
        floor.world.market.handle_timeout(floor.world.now);
        floor.world.market.seal();
        while let Some(outgoing) = floor.world.market.poll_mesh() {
            told +=
                outgoing.batch.records.iter().filter(|record| matches!(record, Record::Links { .. })).count();
            floor.world.hubs[0].handle_batch(HomeId(1), &outgoing.batch, floor.world.now);
        }
    }
    assert_eq!(told, 4);
    let due_ns = floor.world.market.poll_timeout().unwrap();
    assert!(due_ns <= floor.world.now.mono_ns + limits::LINK_STATUS_NS);
    floor.wait(1_000);
    assert_eq!(floor.status(), ("connecting".to_owned(), 0, Some("38".to_owned())));
    assert_eq!(floor.world.market.poll_timeout(), None, "nothing has changed since");
}

#[test]
fn a_shard_that_missed_how_links_are_is_told_after_its_gap() {
    let mut floor = Floor::watched();
    floor.world.market.handle_lag(HomeId(0));
    floor.wait(0);
    assert_eq!(floor.world.hubs[0].cache().links(), []);
    floor.world.market.handle_room(HomeId(0));
    floor.run();
    assert_eq!(floor.status().0, "connecting");
}

#[test]
fn a_peer_s_long_words_are_shortened() {
    let mut floor = Floor::watched();
    floor.connect();
    let now = floor.world.now;
    let bye = format!("{{\"type\":\"bye\",\"reason\":\"{}\"}}\n", "é".repeat(120));
    floor.links[0].session.handle_bytes(bye.as_bytes(), now);
    floor.run();
    floor.wait(1_000);
    let reason = floor.status().2.unwrap();
    assert!(reason.starts_with("ended by the peer: éé"), "{reason}");
    assert!((limits::LINK_REASON_BYTES_MAX - 1..=limits::LINK_REASON_BYTES_MAX).contains(&reason.len()));
}
