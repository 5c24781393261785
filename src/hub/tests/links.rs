//! Links to venues behind a market's home: what a client is told of its orders while links are cut at any byte, and whose an
//! instrument is. The venue is the other side of the link, over a pipe.

mod sources;
mod status;
mod trading;

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
            fence: 0,
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
fn a_link_whose_venue_has_another_owner_is_counted_and_not_spoken_to_again() {
    let mut floor = Floor::of_one(Form::Json);
    floor.connect();
    let bye = Message::Bye { reason: "fence 0 is older than 5".into(), fence: 5 };
    floor.links[0].venue.session.tell(&bye, &[]);
    floor.run();
    let why = Cut::Outdated { fence: 0, newest: 5 };
    assert!(floor.news().contains(&News::Down { source: FX, instruments: 1, why }));
    assert_eq!(floor.world.market.counters.links_outdated_total, 1);
    assert_eq!(floor.ticker_state(), "closed");
    floor.links[0].cut();
    floor.connect();
    assert_eq!((floor.ticker_state(), floor.links[0].session.counters.welcomed_total), (json!("closed"), 1));
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
