//! The hub without a socket and without a clock: one shard and a market, driven by hand.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of tests are small")]

mod batched;
mod batches;
mod calls;
mod cluster;
mod control;
mod deflate;
mod delisting;
mod farewell;
mod hostile;
mod http_api;
mod inspect;
mod intervals;
mod introduction;
mod length_prefixed;
mod length_prefixed_sbe;
mod links;
mod login;
mod marks;
mod mesh;
mod messages;
mod nodes;
mod order_entry;
mod orders;
mod overload;
mod pipes;
mod private;
mod reconfigure;
mod resume;
mod sbe;
mod sending;
mod settling;
mod silence;
mod succession;

use std::sync::Arc;

use super::batch::{MeshLane, Record};
use super::history::HistoryLimits;
use super::market::MarketHome;
use super::*;
use crate::model::book::{LevelUpdate, Side};
use crate::model::decimal::{Amount, Price};
use crate::model::ids::SourceId;
use crate::model::instrument::{Instrument, InstrumentKind, Symbol};
use crate::model::market::{Direction, FeedBuffer, FeedEvent, FeedInstrument};
use crate::model::order::{Ask, Client, Departure, Parties};

const HISTORY: HistoryLimits = HistoryLimits {
    frames_max: 64,
    bytes_max: 64 * 1024,
    replayed_bytes_per_turn: limits::REPLAYED_BYTES_PER_TURN,
};
const UNIT: i64 = 1_000_000_000;

fn config() -> HubConfig {
    HubConfig {
        receive: ReceiveLimits { frame_bytes_max: 65_536, message_bytes_max: 65_536, fragments_max: 64 },
        queued_bytes_max: 64 * 1024,
        subscriptions_max: 100,
        handshake_timeout_ns: 10 * UNIT as u64,
        idle_timeout_ns: 0,
        close_timeout_ns: 2 * UNIT as u64,
        write_timeout_ns: 30 * UNIT as u64,
        history: HISTORY,
        overload: OverloadMarks::default(),
        publishing: Publishing::Anyone,
        deflation: Deflation::default(),
        listeners: vec![ListenerPolicy::default()],
        ..HubConfig::default()
    }
}

/// Several hubs and a market, whose batches are carried at once and in order.
struct World {
    hubs: Vec<Hub>,
    market: MarketHome,
    now: Now,
    generations: u32,
    /// Asks that are not put to the market: the test answers them.
    asked: Option<Vec<Ask>>,
    /// The same of the office of messages.
    office: Option<messages::OfficeByHand>,
    /// Who has departed, as the market heard it.
    departed: Vec<(Client, Departure)>,
}

impl World {
    fn new(shards: u8) -> World {
        World::with(shards, &config())
    }

    fn with(shards: u8, config: &HubConfig) -> World {
        let now = Now { mono_ns: 1_000, unix_ns: 1_700_000_000_000_000_000 };
        let hubs = (0..shards).map(|shard| Hub::new(HomeId(shard), shards, config.clone(), now)).collect();
        let mut market = MarketHome::new(HomeId(shards), shards, config.history, now);
        market.set_deflation(config.deflation);
        World { hubs, market, now, generations: 0, asked: None, office: None, departed: Vec::new() }
    }

    /// How often the first shard closed a connection so.
    fn count(&self, closing: Closing) -> u64 {
        self.hubs[0].incidents().of(Incident::Closed(closing))
    }

    fn connect(&mut self, shard: usize, slot: u32) -> ConnId {
        self.connect_to(shard, slot, "/ws", "").0
    }

    /// A connection to a path with some header lines more; the answer's head too.
    fn connect_to(&mut self, shard: usize, slot: u32, path: &str, headers: &str) -> (ConnId, String) {
        self.generations += 1;
        let conn = ConnId { slot, generation: self.generations };
        self.hubs[shard].handle_open(conn, Arrival::FIRST, self.now);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.hubs[shard].handle_bytes(conn, &mut request.into_bytes(), self.now);
        let answer = String::from_utf8(self.take(shard, conn)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        (conn, answer)
    }

    /// Sends a text and carries what it causes.
    fn send(&mut self, shard: usize, conn: ConnId, text: &str) {
        let mut frame = frame(text);
        self.hubs[shard].handle_bytes(conn, &mut frame, self.now);
        self.carry();
    }

    fn feed(&mut self, fill: impl FnOnce(&mut FeedBuffer)) {
        self.feed_unsent(fill);
        self.carry();
    }

    /// Has the market apply what a feed says, and carries nothing.
    fn feed_unsent(&mut self, fill: impl FnOnce(&mut FeedBuffer)) {
        let mut feed = FeedBuffer::default();
        fill(&mut feed);
        self.market.handle_feed(SourceId::FEED, &feed, self.now);
    }

    fn carry(&mut self) {
        while self.carry_once() {}
    }

    /// One turn of each home; whether there is more to do.
    fn carry_once(&mut self) -> bool {
        let mut carried = false;
        self.market.seal();
        while let Some(outgoing) = self.market.poll_mesh() {
            carried = true;
            let market = HomeId(self.hubs.len() as u8);
            for to in outgoing.to.iter() {
                self.hubs[to.index()].handle_batch(market, &outgoing.batch, self.now);
            }
        }
        for from in 0..self.hubs.len() {
            self.hubs[from].seal(self.now);
            while let Some(outgoing) = self.hubs[from].poll_mesh() {
                carried = true;
                for to in outgoing.to.iter() {
                    let batch = Arc::clone(&outgoing.batch);
                    if to.index() == self.hubs.len() {
                        assert_eq!(outgoing.lane, MeshLane::Commands);
                        self.tell_market(HomeId(from as u8), &batch);
                    } else {
                        self.hubs[to.index()].handle_batch(HomeId(from as u8), &batch, self.now);
                    }
                }
            }
        }
        carried || self.market.joins_wait() || self.hubs.iter().any(Hub::joins_wait)
    }

    /// Hands the market what a shard says, but for asks that the test answers.
    fn tell_market(&mut self, from: HomeId, batch: &Batch) {
        let departed = batch.records.iter().filter_map(|record| {
            let Record::Departed { client, how } = record else { return None };
            Some((*client, *how))
        });
        self.departed.extend(departed);
        for record in &batch.records {
            match (record, &mut self.asked, &mut self.office) {
                (Record::Ask { at }, Some(asked), _) => asked.push(*batch.ask(*at)),
                (Record::MessageAsk { at, content }, _, Some(office)) => {
                    office.asked.push((batch.message_ask(*at).clone(), batch.slice(*content).to_vec()));
                }
                (Record::MessagesWritten { client, count }, _, Some(office)) => {
                    office.written.push((*client, *count));
                }
                (record, _, _) => self.market.handle_record(from, batch, record, self.now),
            }
        }
    }

    /// All bytes that a connection is sent now.
    fn take(&mut self, shard: usize, conn: ConnId) -> Vec<u8> {
        let mut all = Vec::new();
        let mut out = [0; 4096];
        loop {
            let written = self.hubs[shard].poll_transmit(conn, &mut out);
            if written == 0 {
                return all;
            }
            all.extend_from_slice(&out[..written]);
            self.hubs[shard].handle_sent(conn, self.now);
        }
    }

    /// All texts that a connection is sent now, and its close code.
    fn texts(&mut self, shard: usize, conn: ConnId) -> Vec<serde_json::Value> {
        let bytes = self.take(shard, conn);
        let mut texts = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let len = crate::ws::frame::frame_len(rest);
            let payload = &rest[if rest[1] < 126 {
                2
            } else if rest[1] == 126 {
                4
            } else {
                10
            }..len];
            match rest[0] {
                0x81 => texts.push(serde_json::from_slice(payload).unwrap()),
                0x88 => {
                    texts.push(serde_json::json!({ "close": u16::from_be_bytes([payload[0], payload[1]]) }))
                }
                other => texts.push(serde_json::json!({ "opcode": other })),
            }
            rest = &rest[len..];
        }
        texts
    }
}

/// Every text that is sent on `/ws` is JSON to a parser that shares no code with what wrote it.
fn check_json(text: &[u8]) {
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        panic!("{error} in {}", String::from_utf8_lossy(text));
    }
}

/// A client's text frame.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(text.len()).unwrap() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&len.to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    frame.extend_from_slice(&mask);
    frame.extend(text.bytes().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    frame
}

fn instrument(name: &str) -> Box<Instrument> {
    let symbol = |text: &str| Symbol::parse(text.as_bytes()).unwrap();
    Box::new(Instrument {
        name: symbol(name),
        kind: InstrumentKind::Future,
        base_currency: symbol("BTC"),
        quote_currency: symbol("USD"),
        tick_size: Price(UNIT / 2),
        price_decimals: 1,
        min_trade_amount: Amount(10 * UNIT),
        amount_decimals: 0,
        contract_size: Amount(10 * UNIT),
        creation_timestamp_ms: 0,
        expiration_timestamp_ms: None,
    })
}

fn list(name: &str) -> impl FnOnce(&mut FeedBuffer) {
    let definition = instrument(name);
    move |feed| feed.events.push(FeedEvent::Listed { definition })
}

fn level(side: Side, price: i64, amount: i64) -> impl FnOnce(&mut FeedBuffer) {
    move |feed| {
        let update = LevelUpdate { side, price: Price(price * UNIT), amount: Amount(amount * UNIT) };
        let levels = feed.push_levels([update]);
        feed.events.push(FeedEvent::Levels { instrument: FeedInstrument(0), levels, timestamp_ns: 1 });
    }
}

fn trade(price: i64) -> impl FnOnce(&mut FeedBuffer) {
    move |feed| {
        feed.events.push(FeedEvent::Trade {
            instrument: FeedInstrument(0),
            price: Price(price * UNIT),
            amount: Amount(UNIT),
            direction: Direction::Buy,
            parties: Parties::default(),
            timestamp_ns: 1,
        });
    }
}

fn subscribe(channel: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{{"channels":["{channel}"]}}}}"#)
}

fn publish(topic: &str, data: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":2,"method":"topic/publish","params":{{"topic":"{topic}","data":{data}}}}}"#
    )
}

/// A topic that is sequenced on this one of two shards.
fn of_home(shard: u64) -> &'static str {
    let names = ["a", "b", "c", "d", "e", "f"];
    let hash = |name: &str| crate::model::channel::TopicName::parse(name.as_bytes()).unwrap().hash();
    names.into_iter().find(|name| hash(name) % 2 == shard).unwrap()
}

#[test]
fn a_request_is_answered_with_its_id() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    world.send(0, conn, r#"{"jsonrpc":"2.0","id":"a\"b","method":"public/test"}"#);
    let texts = world.texts(0, conn);
    assert_eq!((texts.len(), &texts[0]["id"]), (1, &serde_json::json!("a\"b")));
}

#[test]
fn a_subscriber_gets_its_reply_then_the_snapshot_then_each_change() {
    let mut world = World::new(2);
    world.feed(list("BTC-PERPETUAL"));
    world.feed(level(Side::Bid, 100, 5));
    let conn = world.connect(1, 0);
    world.send(1, conn, &subscribe("book.BTC-PERPETUAL.raw"));
    let texts = world.texts(1, conn);
    assert_eq!(texts[0]["result"], serde_json::json!(["book.BTC-PERPETUAL.raw"]));
    assert_eq!(texts[1]["params"]["data"]["type"], "snapshot");
    assert_eq!(texts[1]["params"]["data"]["change_id"], 1);
    world.feed(level(Side::Ask, 101, 7));
    world.feed(level(Side::Bid, 100, 0));
    let texts = world.texts(1, conn);
    let changes: Vec<_> = texts.iter().map(|text| &text["params"]["data"]).collect();
    assert_eq!(changes[0]["prev_change_id"], 1);
    assert_eq!(changes[0]["asks"], serde_json::json!([["new", 101.0, 7]]));
    assert_eq!(changes[1]["bids"], serde_json::json!([["delete", 100.0, 0]]));
    assert_eq!(texts.iter().map(|text| text["params"]["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn one_event_is_encoded_once_for_all_subscribers_of_all_shards() {
    let mut world = World::new(3);
    world.feed(list("BTC-PERPETUAL"));
    let conns: Vec<_> =
        (0..30).map(|number| (number % 3, world.connect(number % 3, number as u32 / 3))).collect();
    for (shard, conn) in &conns {
        world.send(*shard, *conn, &subscribe("trades.BTC-PERPETUAL.raw"));
        world.texts(*shard, *conn);
    }
    let before = world.market.home_counters();
    for price in 100..110 {
        world.feed(trade(price));
    }
    let after = world.market.home_counters();
    assert_eq!(after.frames_encoded_total - before.frames_encoded_total, 10);
    for (shard, conn) in conns {
        let texts = world.texts(shard, conn);
        let seqs: Vec<_> = texts.iter().map(|text| text["params"]["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
    }
}

#[test]
fn what_clients_publish_is_sequenced_once_and_delivered_byte_for_byte() {
    let mut world = World::new(2);
    let subscribers = [world.connect(0, 0), world.connect(1, 0)];
    let publishers = [world.connect(0, 1), world.connect(1, 1)];
    for (shard, conn) in subscribers.into_iter().enumerate() {
        world.send(shard, conn, &subscribe("topic.alerts"));
        assert_eq!(world.texts(shard, conn)[0]["result"], serde_json::json!(["topic.alerts"]));
    }
    for number in 0..20 {
        let shard = number % 2;
        world.send(
            shard,
            publishers[shard],
            &publish("alerts", &format!(r#"{{ "n" : {number}, "s":"é\u00e9" }}"#)),
        );
        let texts = world.texts(shard, publishers[shard]);
        assert_eq!(texts[0]["result"]["seq"], number as u64 + 1);
    }
    for (shard, conn) in subscribers.into_iter().enumerate() {
        let texts = world.texts(shard, conn);
        let numbers: Vec<_> =
            texts.iter().map(|text| text["params"]["data"]["n"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    }
}

#[test]
fn a_client_that_comes_back_on_another_shard_gets_all_it_missed() {
    let mut world = World::new(2);
    let conn = world.connect(0, 0);
    world.send(0, conn, &subscribe("topic.alerts"));
    world.texts(0, conn);
    let publisher = world.connect(1, 0);
    world.send(1, publisher, &publish("alerts", "1"));
    let seen = world.texts(0, conn);
    let epoch = seen[0]["params"]["epoch"].as_u64().unwrap();
    world.hubs[0].handle_closed(conn, world.now);
    world.carry();
    for number in 2..=5 {
        world.send(1, publisher, &publish("alerts", &number.to_string()));
    }
    let conn = world.connect(1, 3);
    world.send(
        1,
        conn,
        &format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{{"channels":["topic.alerts"],"resume":{{"topic.alerts":{{"epoch":{epoch},"seq":1}}}}}}}}"#
        ),
    );
    world.send(1, publisher, &publish("alerts", "6"));
    let texts = world.texts(1, conn);
    assert_eq!(texts[0]["resumed"]["topic.alerts"]["recovered"], true);
    let data: Vec<_> = texts[1..].iter().map(|text| text["params"]["data"].as_u64().unwrap()).collect();
    assert_eq!(data, [2, 3, 4, 5, 6]);
}

#[test]
fn a_stalled_lossless_subscriber_is_closed_and_nobody_else_is_hurt() {
    let mut world = World::new(1);
    let stalled = world.connect(0, 0);
    let reader = world.connect(0, 1);
    let publisher = world.connect(0, 2);
    for conn in [stalled, reader] {
        world.send(0, conn, &subscribe("topic.t"));
        world.texts(0, conn);
    }
    let data = format!("\"{}\"", "x".repeat(1000));
    for number in 0..100 {
        world.send(0, publisher, &publish("t", &data));
        let texts = world.texts(0, reader);
        assert_eq!(texts[0]["params"]["seq"], number + 1);
        world.texts(0, publisher);
    }
    assert_eq!(world.texts(0, stalled), [serde_json::json!({ "close": 1008 })]);
    let incident = Incident::Closed(Closing::QueueFull);
    assert_eq!(world.hubs[0].poll_effect(), Some(Effect::Report { conn: stalled, incident }));
    assert_eq!(
        world.hubs[0].poll_effect(),
        Some(Effect::Disconnect { conn: stalled, ending: Ending::Graceful })
    );
    assert_eq!(world.count(Closing::QueueFull), 1);
}

#[test]
fn a_book_that_outruns_its_reader_is_told_again_by_a_snapshot() {
    let mut world = World::new(1);
    world.feed(list("BTC-PERPETUAL"));
    let conn = world.connect(0, 0);
    world.send(0, conn, &subscribe("book.BTC-PERPETUAL.raw"));
    world.texts(0, conn);
    for number in 0..2000 {
        world.feed(level(Side::Bid, 100 + number % 50, 1 + number % 7));
    }
    let texts = world.texts(0, conn);
    let snapshot = texts.last().unwrap();
    assert_eq!(snapshot["params"]["data"]["type"], "snapshot");
    assert_eq!(snapshot["params"]["data"]["bids"].as_array().unwrap().len(), 50);
    world.feed(level(Side::Bid, 10, 1));
    let next = &world.texts(0, conn)[0]["params"];
    assert_eq!(next["data"]["prev_change_id"], snapshot["params"]["data"]["change_id"]);
    assert_eq!(next["seq"].as_u64().unwrap(), snapshot["params"]["seq"].as_u64().unwrap() + 1);
}

#[test]
fn an_interval_s_book_joins_at_its_boundary() {
    let mut world = World::new(1);
    world.feed(list("BTC-PERPETUAL"));
    let first = world.connect(0, 0);
    world.send(0, first, &subscribe("book.BTC-PERPETUAL.100ms"));
    world.texts(0, first);
    let end_interval = |world: &mut World| {
        world.now = world.now.plus_ns(200_000_000);
        world.market.handle_timeout(world.now);
        world.carry();
    };
    world.feed(level(Side::Bid, 100, 5));
    end_interval(&mut world);
    world.texts(0, first);
    world.feed(level(Side::Bid, 99, 5));
    let second = world.connect(0, 1);
    world.send(0, second, &subscribe("book.BTC-PERPETUAL.100ms"));
    assert_eq!(world.texts(0, second).len(), 1, "only the reply: the book is between two boundaries");
    end_interval(&mut world);
    world.feed(level(Side::Bid, 98, 5));
    let (first, second) = (world.texts(0, first), world.texts(0, second));
    assert_eq!(first[0]["params"]["data"]["type"], "change");
    assert_eq!(second[0]["params"]["data"]["type"], "snapshot");
    assert_eq!(first[0]["params"]["data"]["change_id"], second[0]["params"]["data"]["change_id"]);
    assert_eq!(
        second[0]["params"]["data"]["bids"],
        serde_json::json!([["new", 100.0, 5], ["new", 99.0, 5]]),
        "not what came after the boundary"
    );
}

#[test]
fn who_joins_while_a_grouped_book_is_away_from_what_it_comes_back_to_is_told_that_it_did() {
    let mut world = World::new(1);
    world.feed(list("BTC-PERPETUAL"));
    let end_interval = |world: &mut World| {
        world.now = world.now.plus_ns(200_000_000);
        world.market.handle_timeout(world.now);
        world.carry();
    };
    let channel = "book.BTC-PERPETUAL.none.20.100ms";
    let (first, second) = (world.connect(0, 0), world.connect(0, 1));
    world.send(0, first, &subscribe(channel));
    for amount in [4, 5] {
        world.feed(level(Side::Bid, 100, amount));
        end_interval(&mut world);
        assert!(!world.texts(0, first).is_empty());
    }
    world.feed(level(Side::Bid, 100, 7));
    world.send(0, second, &subscribe(channel));
    let between = world.texts(0, second);
    assert_eq!(between[1]["params"]["data"]["bids"], serde_json::json!([[100.0, 7]]));
    world.feed(level(Side::Bid, 100, 5));
    end_interval(&mut world);
    for conn in [first, second] {
        let told = world.texts(0, conn);
        assert_eq!(told[0]["params"]["data"]["bids"], serde_json::json!([[100.0, 5]]));
    }
}

#[test]
fn a_gap_in_the_mesh_is_filled_from_the_home_s_history() {
    let mut world = World::new(2);
    world.feed(list("BTC-PERPETUAL"));
    let conn = world.connect(0, 0);
    world.send(0, conn, &subscribe("trades.BTC-PERPETUAL.raw"));
    world.texts(0, conn);
    world.feed(trade(1));
    world.market.handle_lag(HomeId(0));
    for price in 2..6 {
        world.feed(trade(price));
    }
    assert_eq!(world.texts(0, conn).len(), 1);
    world.market.handle_room(HomeId(0));
    world.feed(trade(6));
    let seqs: Vec<_> =
        world.texts(0, conn).iter().map(|text| text["params"]["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [2, 3, 4, 5, 6]);
    let replica = world.hubs[0].cache().instruments().next().unwrap().1;
    assert_eq!(replica.trades().count(), 6);
}

#[test]
fn a_client_that_is_silent_is_pinged_and_then_closed() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    let mut seen = Vec::new();
    for _ in 0..40 {
        world.now = world.now.plus_ns(UNIT as u64);
        world.hubs[0].handle_timeout(world.now);
        seen.extend(world.texts(0, conn));
    }
    assert_eq!(seen, [serde_json::json!({ "opcode": 0x89 }), serde_json::json!({ "close": 1008 })]);
}

#[test]
fn a_batch_with_requests_to_other_shards_is_answered_once_whole() {
    let mut world = World::new(2);
    let conn = world.connect(0, 0);
    world.send(
        0,
        conn,
        &format!(
            r#"[{},{},{{"jsonrpc":"2.0","method":"public/test"}},{{"jsonrpc":"2.0","id":9,"method":"nope"}}]"#,
            publish("a", "1"),
            publish("b", "2"),
        ),
    );
    let texts = world.texts(0, conn);
    assert_eq!((texts.len(), texts[0].as_array().unwrap().len()), (1, 3));
}

#[test]
fn a_ticker_that_keeps_up_gets_each_event_and_one_that_does_not_the_newest() {
    let mut world = World::new(1);
    world.feed(list("BTC-PERPETUAL"));
    let (reader, slow) = (world.connect(0, 0), world.connect(0, 1));
    for conn in [reader, slow] {
        world.send(0, conn, &subscribe("ticker.BTC-PERPETUAL.raw"));
        world.texts(0, conn);
    }
    let mut seen = Vec::new();
    for number in 1..=1000 {
        world.feed(level(Side::Bid, 100 + number, 1));
        seen.extend(world.texts(0, reader));
    }
    let seqs = |texts: &[serde_json::Value]| -> Vec<u64> {
        texts.iter().map(|text| text["params"]["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(seqs(&seen), (1..=1000).collect::<Vec<_>>());
    let late = world.texts(0, slow);
    let late_seqs = seqs(&late);
    assert!(late_seqs.len() < 200 && late_seqs.is_sorted_by(|a, b| a < b), "{late_seqs:?}");
    assert_eq!(late.last().unwrap()["params"]["data"], seen.last().unwrap()["params"]["data"]);
    world.feed(level(Side::Bid, 5000, 1));
    assert_eq!(seqs(&world.texts(0, slow)), [1001], "it follows again");
}

#[test]
fn a_batch_s_reply_precedes_what_its_subscribes_announce() {
    let mut world = World::new(2);
    let (first, second) = (world.connect(0, 0), world.connect(0, 1));
    let (mine, other) = (of_home(0), of_home(1));
    world.send(0, first, &subscribe(&format!("topic.{mine}")));
    let batch = format!("[{},{}]", subscribe(&format!("topic.{mine}")), publish(other, "1"));
    world.hubs[0].handle_bytes(second, &mut frame(&batch), world.now);
    world.hubs[0].handle_bytes(first, &mut frame(&publish(mine, "2")), world.now);
    world.hubs[0].seal(world.now);
    assert_eq!(world.texts(0, second), Vec::<serde_json::Value>::new(), "the other shard has not answered");
    world.carry();
    let texts = world.texts(0, second);
    assert!(texts[0].is_array());
    assert_eq!(texts[1]["params"]["data"], 2);
}
