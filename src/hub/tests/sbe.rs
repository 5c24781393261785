//! Market data in SBE: who asks for it is told just what others are told in JSON, from streams of its own.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]

use super::*;
use crate::dialect::sbe::generated as sbe;
use sbe::Message;

const SBE: &str = "/ws?encoding=sbe&schema=1&version=0";
const NAME: &str = "BTC-PERPETUAL";

/// A frame as it came.
#[derive(Debug)]
enum Came {
    Text(serde_json::Value),
    Binary(Vec<u8>),
}

impl Came {
    fn text(&self) -> &serde_json::Value {
        match self {
            Came::Text(text) => text,
            Came::Binary(message) => panic!("a text was awaited: {message:?}"),
        }
    }

    fn message(&self) -> Message<'_> {
        match self {
            Came::Text(text) => panic!("a binary message was awaited: {text}"),
            Came::Binary(message) => Message::decode(message).unwrap(),
        }
    }
}

/// All that a connection is sent now.
fn came(world: &mut World, shard: usize, conn: ConnId) -> Vec<Came> {
    let bytes = world.take(shard, conn);
    let (mut all, mut rest) = (Vec::new(), &bytes[..]);
    while !rest.is_empty() {
        let frame = &rest[..crate::ws::frame::frame_len(rest)];
        let payload = crate::ws::frame::frame_payload(frame);
        all.push(match frame[0] {
            0x81 => Came::Text(serde_json::from_slice(payload).unwrap()),
            0x82 => Came::Binary(payload.to_vec()),
            other => panic!("first byte {other}"),
        });
        rest = &rest[frame.len()..];
    }
    all
}

fn place(message: &Message<'_>) -> (u64, u64) {
    match message {
        Message::Quote(quote) => (quote.epoch(), quote.seq()),
        Message::Ticker(ticker) => (ticker.epoch(), ticker.seq()),
        Message::Trade(trade) => (trade.epoch(), trade.seq()),
        Message::BookSnapshot(book) => (book.epoch(), book.seq()),
        Message::BookDelta(book) => (book.epoch(), book.seq()),
        other => panic!("no message of the market: {other:?}"),
    }
}

/// A world with an instrument and a client of its shard that asks for SBE and subscribes; the reply is taken.
fn subscribed(channel: &str) -> (World, ConnId) {
    let mut world = World::new(1);
    world.feed(list(NAME));
    let (conn, _) = world.connect_to(0, 0, SBE, "");
    world.send(0, conn, &subscribe(channel));
    let first = came(&mut world, 0, conn);
    assert_eq!(first[0].text()["result"], serde_json::json!([channel]));
    (world, conn)
}

fn price(units: i64) -> Price {
    Price(units * UNIT)
}

#[test]
fn a_quote_is_told_in_sbe_after_a_reply_in_json() {
    let (mut world, conn) = subscribed("quote.BTC-PERPETUAL");
    world.feed(level(Side::Bid, 100, 5));
    world.feed(level(Side::Ask, 101, 7));
    let told = came(&mut world, 0, conn);
    let quotes: Vec<sbe::Quote> = told
        .iter()
        .map(|came| match came.message() {
            Message::Quote(quote) => quote.fields().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    let epoch = quotes[0].epoch;
    let first = sbe::Quote {
        epoch,
        seq: 1,
        sending_time: world.now.unix_ns,
        event_time: 1,
        instrument_id: 0,
        bid_price: Some(price(100)),
        bid_amount: Amount(5 * UNIT),
        ask_price: None,
        ask_amount: Amount::ZERO,
    };
    let second = sbe::Quote { seq: 2, ask_price: Some(price(101)), ask_amount: Amount(7 * UNIT), ..first };
    assert_eq!(quotes, [first, second]);
}

#[test]
fn a_ticker_has_the_state_the_last_price_and_the_day() {
    let (mut world, conn) = subscribed("ticker.BTC-PERPETUAL.raw");
    world.feed(trade(100));
    world.feed(trade(150));
    let told = came(&mut world, 0, conn);
    let Message::Ticker(ticker) = told[1].message() else { panic!("{told:?}") };
    let ticker = ticker.fields().unwrap();
    assert_eq!((ticker.state, ticker.interval), (sbe::MarketState::Open, sbe::Interval::Raw));
    assert_eq!((ticker.bid_price, ticker.last_price), (None, Some(price(150))));
    assert_eq!((ticker.high, ticker.low), (Some(price(150)), Some(price(100))));
    let decimal = |mantissa, exponent| crate::dialect::sbe::wire::Decimal { mantissa, exponent };
    assert_eq!(ticker.volume, decimal(2 * UNIT, -9));
    assert_eq!(ticker.turnover, decimal(250 * UNIT, -9));
    assert_eq!(ticker.price_change, Some(decimal(50 * UNIT, -9)));
}

#[test]
fn the_trades_of_an_interval_are_one_message() {
    let (mut world, conn) = subscribed("trades.BTC-PERPETUAL.100ms");
    (100..103).for_each(|price| world.feed(trade(price)));
    world.now = world.now.plus_ns(200_000_000);
    world.market.handle_timeout(world.now);
    world.carry();
    let told = came(&mut world, 0, conn);
    assert_eq!(told.len(), 1);
    let Message::Trade(told) = told[0].message() else { panic!("{told:?}") };
    assert_eq!(told.interval(), Ok(sbe::Interval::Ms100));
    let trades: Vec<_> = told.trades().iter().map(Result::unwrap).collect();
    let seen: Vec<_> = trades.iter().map(|trade| (trade.trade_seq, trade.price, trade.side)).collect();
    assert_eq!(seen, [100, 101, 102].map(|at| (at as u64 - 99, price(at), sbe::Side::Buy)));
    assert_eq!(trades[2].tick_direction, sbe::TickDirection::Plus);
}

#[test]
fn a_book_begins_with_a_snapshot_and_goes_on_by_changes_with_checksums_as_in_json() {
    let mut world = World::new(1);
    world.feed(list(NAME));
    world.feed(level(Side::Bid, 100, 5));
    let (binary, _) = world.connect_to(0, 0, SBE, "");
    let json = world.connect(0, 1);
    for conn in [binary, json] {
        world.send(0, conn, &subscribe("book.BTC-PERPETUAL.raw").replace("]}}", "],\"checksum\":true}}"));
    }
    let (mut told, mut texts) = (came(&mut world, 0, binary), world.texts(0, json));
    world.feed(level(Side::Ask, 101, 7));
    world.feed(level(Side::Bid, 100, 0));
    told.extend(came(&mut world, 0, binary));
    texts.extend(world.texts(0, json));
    let Message::BookSnapshot(snapshot) = told[1].message() else { panic!("{told:?}") };
    let bids: Vec<_> = snapshot.bids().iter().map(Result::unwrap).collect();
    assert_eq!(bids, [sbe::BookLevel { price: price(100), amount: Amount(5 * UNIT) }]);
    assert!(snapshot.asks().is_empty());
    assert_eq!((snapshot.group_ticks(), snapshot.depth()), (None, None));
    let checksums = [1, 2, 3].map(|at| texts[at]["params"]["data"]["checksum"].as_u64());
    assert_eq!(snapshot.checksum(), checksums[0]);
    let deltas: Vec<_> = told[2..]
        .iter()
        .map(|came| match came.message() {
            Message::BookDelta(delta) => delta,
            other => panic!("{other:?}"),
        })
        .collect();
    let change = |price, amount, action| sbe::BookChange { price, amount: Amount(amount), action };
    let ask: Vec<_> = deltas[0].asks().iter().map(Result::unwrap).collect();
    assert_eq!(ask, [change(price(101), 7 * UNIT, sbe::LevelAction::New)]);
    let bid: Vec<_> = deltas[1].bids().iter().map(Result::unwrap).collect();
    assert_eq!(bid, [change(price(100), 0, sbe::LevelAction::Delete)]);
    let ids: Vec<_> = deltas.iter().map(|delta| (delta.prev_change_id(), delta.change_id())).collect();
    assert_eq!(ids, [(1, 2), (2, 3)]);
    let told_checksums: Vec<_> = deltas.iter().map(|delta| delta.checksum()).collect();
    assert_eq!(told_checksums, checksums[1..]);
}

#[test]
fn a_grouped_book_names_its_group_and_depth() {
    let (mut world, conn) = subscribed("book.BTC-PERPETUAL.5.10.raw");
    world.feed(level(Side::Bid, 101, 5));
    world.feed(level(Side::Bid, 100, 2));
    let told = came(&mut world, 0, conn);
    let Message::BookSnapshot(book) = told.last().unwrap().message() else { panic!("{told:?}") };
    assert_eq!((book.group_ticks(), book.depth()), (Some(5), Some(10)));
    // Five ticks of a half.
    let bids: Vec<_> = book.bids().iter().map(Result::unwrap).collect();
    assert_eq!(bids, [sbe::BookLevel { price: price(100), amount: Amount(7 * UNIT) }]);
}

#[test]
fn an_event_is_encoded_once_for_each_encoding_that_somebody_listens_in() {
    let mut world = World::new(2);
    world.feed(list(NAME));
    let json: Vec<_> = (0..10).map(|number| (number % 2, world.connect(number % 2, number as u32))).collect();
    for (shard, conn) in &json {
        world.send(*shard, *conn, &subscribe("trades.BTC-PERPETUAL.raw"));
    }
    let encoded = |world: &mut World| {
        let before = world.market.home_counters().frames_encoded_total;
        world.feed(trade(100));
        world.market.home_counters().frames_encoded_total - before
    };
    assert_eq!(encoded(&mut world), 1, "nobody asks for SBE");
    let binary: Vec<_> = (10..20)
        .map(|number: usize| (number % 2, world.connect_to(number % 2, number as u32, SBE, "").0))
        .collect();
    for (shard, conn) in &binary {
        world.send(*shard, *conn, &subscribe("trades.BTC-PERPETUAL.raw"));
    }
    assert_eq!(encoded(&mut world), 2);
    for (shard, conn) in &binary {
        let told = came(&mut world, *shard, *conn);
        assert_eq!(
            (told.len(), place(&told[1].message()).1),
            (2, 1),
            "a stream of its own, from its first event"
        );
    }
    for (shard, conn) in json {
        assert_eq!(world.texts(shard, conn).len(), 3);
    }
}

#[test]
fn a_stream_is_resumed_in_its_own_encoding() {
    let (mut world, conn) = subscribed("trades.BTC-PERPETUAL.raw");
    (100..104).for_each(|price| world.feed(trade(price)));
    let told = came(&mut world, 0, conn);
    let (epoch, seq) = place(&told[1].message());
    assert_eq!(seq, 2);
    let resume = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{{"channels":["trades.BTC-PERPETUAL.raw"],"resume":{{"trades.BTC-PERPETUAL.raw":{{"epoch":{epoch},"seq":{seq}}}}}}}}}"#
    );
    let (back, _) = world.connect_to(0, 1, SBE, "");
    world.send(0, back, &resume);
    let told = came(&mut world, 0, back);
    assert_eq!(told[0].text()["resumed"]["trades.BTC-PERPETUAL.raw"]["recovered"], true);
    let places: Vec<_> = told[1..].iter().map(|came| place(&came.message())).collect();
    assert_eq!(places, [(epoch, 3), (epoch, 4)]);
    // The place of one stream is none of the other's.
    let json = world.connect(0, 2);
    world.send(0, json, &resume);
    assert_eq!(world.texts(0, json)[0]["resumed"]["trades.BTC-PERPETUAL.raw"]["recovered"], false);
}

/// A subscribe to the trades and the book that resumes both from these places.
fn resume_both(places: [(u64, u64); 2]) -> String {
    let channels = ["trades.BTC-PERPETUAL.raw", "book.BTC-PERPETUAL.raw"];
    let mut params = serde_json::json!({ "channels": channels });
    for (channel, (epoch, seq)) in channels.into_iter().zip(places) {
        params["resume"][channel] = serde_json::json!({"epoch": epoch, "seq": seq});
    }
    let method = "public/subscribe";
    serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

/// Of the replies to [`resume_both`].
fn recovered(reply: &serde_json::Value) -> [bool; 2] {
    ["trades.BTC-PERPETUAL.raw", "book.BTC-PERPETUAL.raw"]
        .map(|channel| reply["resumed"][channel]["recovered"].as_bool().unwrap())
}

#[test]
fn a_place_of_the_other_encoding_is_never_taken_for_one_of_this_though_both_streams_are_as_old_and_as_long() {
    let mut world = World::new(1);
    world.feed(list(NAME));
    let (sbe, _) = world.connect_to(0, 0, SBE, "");
    let json = world.connect(0, 1);
    let unknown = resume_both([(1, 1), (1, 1)]);
    world.send(0, sbe, &unknown);
    world.send(0, json, &unknown);
    came(&mut world, 0, sbe);
    world.texts(0, json);
    world.feed(trade(100));
    world.feed(level(Side::Bid, 99, 5));
    let in_sbe: Vec<_> = came(&mut world, 0, sbe).iter().map(|came| place(&came.message())).collect();
    let number = |note: &serde_json::Value, name: &str| note["params"][name].as_u64().unwrap();
    let in_json: Vec<_> =
        world.texts(0, json).iter().map(|note| (number(note, "epoch"), number(note, "seq"))).collect();
    let seqs = |places: &[(u64, u64)]| places.iter().map(|(_, seq)| *seq).collect::<Vec<_>>();
    assert_eq!((seqs(&in_sbe), seqs(&in_json)), (vec![1, 1], vec![1, 1]));
    // What a client in SBE is told for places of JSON: that they are none, and how the book is; then what happens.
    let (back, _) = world.connect_to(0, 2, SBE, "");
    world.send(0, back, &resume_both([in_json[0], in_json[1]]));
    let told = came(&mut world, 0, back);
    assert_eq!(recovered(told[0].text()), [false, false]);
    assert!(matches!(told[1].message(), Message::BookSnapshot(_)) && told.len() == 2, "{told:?}");
    // And in JSON for places of SBE.
    let back_in_json = world.connect(0, 3);
    world.send(0, back_in_json, &resume_both([in_sbe[0], in_sbe[1]]));
    let told = world.texts(0, back_in_json);
    assert_eq!(recovered(&told[0]), [false, false]);
    assert!(told[1]["params"]["data"]["type"] == "snapshot" && told.len() == 2, "{told:?}");
    world.feed(trade(101));
    assert_eq!(place(&came(&mut world, 0, back)[0].message()), (in_sbe[0].0, 2));
    let told = world.texts(0, back_in_json);
    assert_eq!((number(&told[0], "epoch"), number(&told[0], "seq")), (in_json[0].0, 2));
    // Handed to the encoding that they are of, the same places are recovered.
    let (last, _) = world.connect_to(0, 4, SBE, "");
    world.send(0, last, &resume_both([in_sbe[0], in_sbe[1]]));
    let told = came(&mut world, 0, last);
    assert_eq!((recovered(told[0].text()), place(&told[1].message())), ([true, true], (in_sbe[0].0, 2)));
}

#[test]
fn who_falls_behind_is_told_which_events_are_left_out_and_then_how_things_are() {
    let (mut world, conn) = subscribed("book.BTC-PERPETUAL.raw");
    for number in 0..2000 {
        world.feed(level(Side::Bid, 100 + number % 50, 1 + number % 7));
    }
    let told = came(&mut world, 0, conn);
    let [changes @ .., gap, snapshot] = &told[..] else { panic!("{}", told.len()) };
    let (epoch, last) = place(&changes.last().unwrap().message());
    let Message::GapNotice(gap) = gap.message() else { panic!("{gap:?}") };
    let (epoch_then, newest) = place(&snapshot.message());
    assert!(matches!(snapshot.message(), Message::BookSnapshot(_)));
    assert_eq!((epoch, newest), (epoch_then, 2000));
    let expected = sbe::GapNotice {
        epoch,
        begin_seq: last + 1,
        end_seq: newest - 1,
        sending_time: world.now.unix_ns,
        instrument_id: Some(0),
        channel: sbe::Channel::Book,
        interval: Some(sbe::Interval::Raw),
        group_ticks: None,
        depth: None,
    };
    assert_eq!(gap.fields(), Ok(expected));
    world.feed(level(Side::Bid, 10, 1));
    let next = came(&mut world, 0, conn);
    assert_eq!((next.len(), place(&next[0].message())), (1, (epoch, 2001)));
}

#[test]
fn a_notice_of_an_earlier_time_is_not_given_for_what_the_gateway_itself_lost() {
    let (mut world, conn) = subscribed("book.BTC-PERPETUAL.raw");
    let change = |number: i64| level(Side::Bid, 100 + number % 50, 1 + number % 7);
    (0..2000).for_each(|number| world.feed(change(number)));
    let told = came(&mut world, 0, conn);
    assert!(
        told.iter().any(|came| matches!(came.message(), Message::GapNotice(_))),
        "it has fallen behind once"
    );
    world.market.handle_lag(HomeId(0));
    (0..2 * HISTORY.frames_max as i64).for_each(|number| world.feed(change(number)));
    world.market.handle_room(HomeId(0));
    world.carry();
    let told = came(&mut world, 0, conn);
    assert!(matches!(told[0].message(), Message::BookSnapshot(_)), "{told:?}");
}

#[test]
fn every_instrument_s_channel_is_told_and_ended_in_sbe() {
    let (mut world, conn) = subscribed("quote.*");
    world.feed(level(Side::Bid, 100, 5));
    assert!(matches!(came(&mut world, 0, conn)[0].message(), Message::Quote(_)));
    world.feed(list("ETH-PERPETUAL"));
    world.feed(|feed| {
        let update = LevelUpdate { side: Side::Bid, price: price(9), amount: Amount(UNIT) };
        let levels = feed.push_levels([update]);
        feed.events.push(FeedEvent::Levels { instrument: FeedInstrument(1), levels, timestamp_ns: 1 });
    });
    let told = came(&mut world, 0, conn);
    let Message::Quote(quote) = told.last().unwrap().message() else { panic!("{told:?}") };
    assert_eq!(quote.instrument_id(), 1);
    world.send(0, conn, &subscribe("quote.*").replace("subscribe", "unsubscribe"));
    assert_eq!(came(&mut world, 0, conn)[0].text()["result"], serde_json::json!(["quote.*"]));
    world.feed(level(Side::Bid, 101, 5));
    assert!(came(&mut world, 0, conn).is_empty());
}

#[test]
fn what_has_no_form_in_sbe_stays_json() {
    let (mut world, conn) = subscribed("topic.alerts");
    let publisher = world.connect(0, 1);
    world.send(0, publisher, &publish("alerts", "[1]"));
    assert_eq!(came(&mut world, 0, conn)[0].text()["params"]["data"], serde_json::json!([1]));
}

#[test]
fn heartbeats_are_messages_and_one_asks_for_an_answer() {
    let (mut world, conn) = subscribed("quote.BTC-PERPETUAL");
    let set = r#"{"jsonrpc":"2.0","id":2,"method":"public/set_heartbeat","params":{"interval":10}}"#;
    world.send(0, conn, set);
    assert_eq!(came(&mut world, 0, conn)[0].text()["result"], "ok");
    world.now = world.now.plus_ns(10_100_000_000);
    world.hubs[0].handle_timeout(world.now);
    let told = came(&mut world, 0, conn);
    let Message::Heartbeat(heartbeat) = told[0].message() else { panic!("{told:?}") };
    assert_eq!(heartbeat.kind(), Ok(sbe::HeartbeatKind::TestRequest));
    assert_eq!(heartbeat.sending_time(), world.now.unix_ns);
}

#[test]
fn sbe_is_not_compressed_where_the_rest_of_a_connection_is() {
    let deflation = Deflation { message_bytes_min: 0, ..Deflation::default() };
    let config = HubConfig { deflation, ..deflate::deflating() };
    let mut world = World::with(1, &config);
    world.feed(list(NAME));
    let (conn, head) = world.connect_to(0, 0, SBE, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    assert!(head.contains("permessage-deflate"), "{head}");
    world.send(0, conn, &subscribe("book.BTC-PERPETUAL.raw"));
    (0..20).for_each(|price| world.feed(level(Side::Bid, 100 + price, 5)));
    let told = came(&mut world, 0, conn);
    assert!(told[1..].iter().all(|came| matches!(came, Came::Binary(_))), "{told:?}");
}

#[test]
fn a_subprotocol_asks_for_it_too_and_a_query_that_cannot_be_met_is_refused_by_name() {
    let mut world = World::new(1);
    world.feed(list(NAME));
    let (conn, head) = world.connect_to(0, 0, "/ws/api/v2", "Sec-WebSocket-Protocol: sbe.tickring.v1\r\n");
    assert!(head.contains("\r\nSec-WebSocket-Protocol: sbe.tickring.v1\r\n"), "{head}");
    world.send(0, conn, &subscribe("quote.BTC-PERPETUAL"));
    world.feed(level(Side::Bid, 100, 5));
    assert!(matches!(came(&mut world, 0, conn).last().unwrap().message(), Message::Quote(_)));
    let refused = ConnId { slot: 1, generation: 99 };
    world.hubs[0].handle_open(refused, Arrival::FIRST, world.now);
    let mut request = "GET /ws?encoding=sbe&schema=1&version=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .as_bytes()
        .to_vec();
    world.hubs[0].handle_bytes(refused, &mut request, world.now);
    let answer = String::from_utf8(world.take(0, refused)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let supported = format!("encoding=sbe&schema={}&version={}", sbe::SCHEMA_ID, sbe::SCHEMA_VERSION);
    assert!(answer.contains(&supported), "{answer}");
}
