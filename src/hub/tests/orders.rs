//! What clients ask the desk for, which the tests are themselves here: one answer each, in order, bounded, whatever ends the
//! connection meanwhile; and that the desk hears once who is gone.

use serde_json::{Value, json};

use super::http_api::{answers, open, post, say};
use super::private::{log_in, login};
use super::*;
use crate::auth::Verdict;
use crate::desk::DeskConfig;
use crate::dialect::json_rpc;
use crate::hub::batch::Ticket;
use crate::hub::market::Trading;
use crate::model::encoding::Encoding;
use crate::model::ids::InstrumentId;
use crate::model::order::{
    AccountId, Filter, NewOrder, OrderRefusal, OrderRequest, OrderType, PostOnly, TimeInForce,
};

const REQUEST: OrderRequest =
    OrderRequest::CancelAll { filter: Filter { instrument: None, kind: None, currency: None } };

/// A world whose asks the test answers.
fn world(shards: u8) -> World {
    let mut world = World::with(shards, &HubConfig { requests_pending_max: 3, ..config() });
    world.asked = Some(Vec::new());
    world
}

fn trader(world: &mut World, shard: usize, slot: u32, account: u32) -> ConnId {
    let conn = world.connect(shard, slot);
    log_in(world, shard, conn, login(account, "trade:read_write"));
    conn
}

fn request(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"private/cancel_all"}}"#)
}

/// A connection puts a request; nothing is carried.
fn ask(world: &mut World, shard: usize, conn: ConnId, id: &str) {
    world.hubs[shard].handle_bytes(conn, &mut frame(&request(id)), world.now);
}

/// Answers all that was asked, by a result that names its place.
fn answer_all(world: &mut World) {
    world.carry();
    for (at, ask) in world.asked.replace(Vec::new()).into_iter().flatten().enumerate() {
        let result = format!(r#"{{"n":{at}}}"#);
        world.market.answer_ask(ask.client.home, ask.ticket, Ok(result.as_bytes()));
    }
    world.carry();
}

fn ids(texts: &[Value]) -> Vec<u64> {
    texts.iter().filter_map(|text| text["id"].as_u64()).collect()
}

#[test]
fn an_ask_says_whose_it_is_and_its_answer_is_the_reply_s_result() {
    let mut world = world(2);
    let conn = trader(&mut world, 1, 5, 7);
    ask(&mut world, 1, conn, "1");
    world.carry();
    let asked = world.asked.clone().unwrap();
    let Ask { ticket, account, client, is_connection, encoding, request } = asked[0];
    assert_eq!(encoding, Encoding::Json);
    assert_eq!((account, client), (AccountId(7), Client { home: HomeId(1), conn }));
    assert_eq!((is_connection, request, asked.len()), (true, REQUEST, 1));
    assert_eq!(world.texts(1, conn), Vec::<Value>::new());
    world.now = world.now.plus_ns(5_000);
    world.market.answer_ask(client.home, ticket, Ok(br#"{"order":{"n":1}}"#));
    // One answer for one ask, whatever comes twice.
    world.market.answer_ask(client.home, ticket, Ok(b"2"));
    world.hubs[1].handle_timeout(world.now);
    world.carry();
    let texts = world.texts(1, conn);
    assert_eq!((texts.len(), texts[0]["id"].clone()), (1, json!(1)));
    assert_eq!(
        (texts[0]["result"].clone(), texts[0]["usDiff"].clone()),
        (json!({"order": {"n": 1}}), json!(5))
    );
    assert_eq!(world.hubs[1].occupancy().asks, 0);
}

#[test]
fn answers_come_in_the_order_in_which_was_asked() {
    let mut world = world(2);
    let (mine, other) = (trader(&mut world, 0, 0, 1), trader(&mut world, 1, 0, 2));
    for id in ["1", "2", "3"] {
        ask(&mut world, 0, mine, id);
        ask(&mut world, 1, other, id);
    }
    answer_all(&mut world);
    for (shard, conn) in [(0, mine), (1, other)] {
        assert_eq!(ids(&world.texts(shard, conn)), [1, 2, 3]);
    }
}

#[test]
fn what_no_venue_takes_is_refused_and_was_not_sent() {
    let mut world = world(1);
    world.asked = None;
    world.feed(list("BTC-PERPETUAL"));
    let conn = trader(&mut world, 0, 0, 1);
    let buy = json!({"instrument_name": "BTC-PERPETUAL", "amount": 10, "type": "market"});
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": "private/buy", "params": buy}).to_string();
    world.send(0, conn, &text);
    let texts = world.texts(0, conn);
    let failure = json_rpc::order_failure(OrderRefusal::VenueUnavailable);
    assert_eq!((texts.len(), texts[0]["error"]["code"].clone()), (1, json!(failure.code)));
    assert_eq!(world.market.desk_counters().asks_total, 1);
}

#[test]
fn more_than_may_wait_is_refused_at_once_and_goes_when_there_is_room() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    for id in ["1", "2", "3", "4"] {
        ask(&mut world, 0, conn, id);
    }
    let texts = world.texts(0, conn);
    assert_eq!((ids(&texts), texts[0]["error"]["code"].clone()), (vec![4], json!(10040)));
    assert_eq!(texts[0]["error"]["data"]["reason"], "not sent: too many requests in flight");
    world.carry();
    assert_eq!(world.asked.as_ref().unwrap().len(), 3);
    answer_all(&mut world);
    assert_eq!(ids(&world.texts(0, conn)), [1, 2, 3]);
    ask(&mut world, 0, conn, "5");
    answer_all(&mut world);
    assert_eq!(ids(&world.texts(0, conn)), [5]);
}

#[test]
fn who_has_not_logged_in_asks_nothing() {
    let mut world = world(1);
    let conn = world.connect(0, 0);
    ask(&mut world, 0, conn, "1");
    world.carry();
    assert_eq!(world.texts(0, conn)[0]["error"]["code"], 13009);
    assert_eq!(world.asked.as_ref().map(Vec::len), Some(0));
}

#[test]
fn who_may_only_read_asks_for_no_more_and_nobody_for_an_instrument_that_is_none() {
    let mut world = world(1);
    let conn = world.connect(0, 0);
    log_in(&mut world, 0, conn, login(1, "trade:read"));
    ask(&mut world, 0, conn, "1");
    assert_eq!(world.texts(0, conn)[0]["error"]["code"], 13021);
    let unknown =
        r#"{"jsonrpc":"2.0","id":2,"method":"private/get_position","params":{"instrument_name":"NONE"}}"#;
    world.send(0, conn, unknown);
    assert_eq!(world.texts(0, conn)[0]["error"]["code"], 13020);
    assert_eq!(world.asked.as_ref().map(Vec::len), Some(0));
}

#[test]
fn a_request_names_its_instrument_and_the_desk_gets_its_number() {
    let mut world = world(1);
    world.feed(list("ESH4"));
    world.feed(list("BTC-PERPETUAL"));
    let conn = trader(&mut world, 0, 0, 1);
    let text = r#"{"jsonrpc":"2.0","id":2,"method":"private/get_position","params":{"instrument_name":"BTC-PERPETUAL"}}"#;
    world.send(0, conn, text);
    let instrument = InstrumentId(1);
    assert_eq!(world.asked.as_ref().unwrap()[0].request, OrderRequest::Position { instrument });
}

#[test]
fn a_batch_of_asks_is_answered_once_whole_and_in_order() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    let test = r#"{"jsonrpc":"2.0","id":7,"method":"public/test"}"#;
    world.send(0, conn, &format!("[{},{test},{}]", request("1"), request("2")));
    let asked = world.asked.clone().unwrap();
    world.market.answer_ask(HomeId(0), asked[0].ticket, Ok(b"10"));
    world.carry();
    assert_eq!(world.texts(0, conn), Vec::<Value>::new(), "one is missing");
    world.market.answer_ask(HomeId(0), asked[1].ticket, Err(OrderRefusal::OrderNotFound));
    world.carry();
    let texts = world.texts(0, conn);
    assert_eq!((texts.len(), ids(texts[0].as_array().unwrap())), (1, vec![7, 1, 2]));
    assert_eq!(texts[0][1]["result"], 10);
    assert_eq!(texts[0][2]["error"]["code"], json_rpc::order_failure(OrderRefusal::OrderNotFound).code);
}

#[test]
fn a_notification_is_asked_and_its_answer_told_nobody() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    world.send(0, conn, r#"{"jsonrpc":"2.0","method":"private/cancel_all"}"#);
    assert_eq!(world.asked.as_ref().map(Vec::len), Some(1));
    answer_all(&mut world);
    assert_eq!(world.texts(0, conn), Vec::<Value>::new());
    ask(&mut world, 0, conn, "3");
    answer_all(&mut world);
    assert_eq!(ids(&world.texts(0, conn)), [3]);
}

#[test]
fn a_call_over_http_asks_for_itself_alone_and_leaves_nobody_to_depart() {
    let mut world = world(1);
    let conn = open(&mut world, 0);
    let call = post("/private/cancel_all", "Authorization: Bearer a.b\r\n", "");
    say(&mut world, 0, conn, &call);
    // The next one is looked at when this one is answered.
    say(&mut world, 0, conn, &call);
    let Some(LoginQuestion::Judge { ticket, .. }) = world.hubs[0].poll_question() else {
        panic!("what it shows is judged")
    };
    let login = login(7, "trade:read_write");
    world.hubs[0].handle_verdict(ticket, Verdict::Granted { login, tokens: None }, world.now);
    for n in ["1", "2"] {
        world.carry();
        let asked = world.asked.replace(Vec::new()).unwrap();
        assert_eq!(asked.len(), 1);
        let Ask { ticket, account, client, is_connection, .. } = asked[0];
        assert_eq!((account, client.conn, is_connection), (AccountId(7), conn, false));
        assert_eq!(answers(&mut world, 0, conn).len(), 0);
        world.market.answer_ask(HomeId(0), ticket, Ok(n.as_bytes()));
        world.carry();
        let answers = answers(&mut world, 0, conn);
        let body: Value = serde_json::from_str(&answers[0].2).unwrap();
        assert_eq!((answers.len(), answers[0].0, body["result"].to_string()), (1, 200, n.to_owned()));
    }
    world.hubs[0].handle_closed(conn, world.now);
    world.carry();
    assert_eq!(world.departed, []);
    assert_eq!(world.hubs[0].occupancy().total(), 0);
}

#[test]
fn a_refusal_over_http_has_its_status_and_says_when_to_come_back() {
    let throttled = |retry_after_ms| OrderRefusal::TooManyRequests { credits_left: 0, retry_after_ms };
    for (refusal, status, retry_after) in [
        (throttled(1), 429, Some("1")),
        (throttled(1_000), 429, Some("1")),
        (throttled(61_001), 429, Some("62")),
        (OrderRefusal::TooManyCancels, 429, Some("5")),
        (OrderRefusal::Full, 503, Some("5")),
        (OrderRefusal::VenueUnavailable, 503, Some("5")),
        (OrderRefusal::OrderNotFound, 400, None),
    ] {
        let mut world = world(1);
        let conn = open(&mut world, 0);
        say(&mut world, 0, conn, &post("/private/cancel_all", "Authorization: Bearer a.b\r\n", ""));
        let Some(LoginQuestion::Judge { ticket, .. }) = world.hubs[0].poll_question() else {
            panic!("what it shows is judged")
        };
        let login = login(7, "trade:read_write");
        world.hubs[0].handle_verdict(ticket, Verdict::Granted { login, tokens: None }, world.now);
        world.carry();
        let asked = world.asked.replace(Vec::new()).unwrap();
        world.market.answer_ask(HomeId(0), asked[0].ticket, Err(refusal));
        world.carry();
        let (told, head, _) = answers(&mut world, 0, conn).remove(0);
        let field = head.lines().find_map(|line| line.strip_prefix("Retry-After: "));
        assert_eq!((told, field), (status, retry_after), "{refusal:?}");
    }
}

#[test]
fn an_answer_to_who_is_gone_is_for_nobody_else() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    ask(&mut world, 0, conn, "1");
    world.hubs[0].handle_closed(conn, world.now);
    let next = trader(&mut world, 0, 0, 2);
    answer_all(&mut world);
    assert_eq!(world.texts(0, next), Vec::<Value>::new());
    assert_eq!(world.hubs[0].occupancy().asks, 0);
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Last {
    Close,
    Eof,
    Gone,
    Broken,
    Idle,
    PongMissing,
    HeartbeatLost,
    Shed,
    Stop,
    KeyRevoked,
    Fault,
    Logout,
}

impl Last {
    const ALL: [Last; 12] = [
        Last::Close,
        Last::Eof,
        Last::Gone,
        Last::Broken,
        Last::Idle,
        Last::PongMissing,
        Last::HeartbeatLost,
        Last::Shed,
        Last::Stop,
        Last::KeyRevoked,
        Last::Fault,
        Last::Logout,
    ];

    fn config(self) -> HubConfig {
        let mut config = config();
        if self == Last::Idle {
            config.idle_timeout_ns = 5 * UNIT as u64;
        }
        if self != Last::PongMissing {
            config.listeners[0].ping_interval_ns = 0;
        }
        config
    }

    fn happen(self, world: &mut World, conn: ConnId) {
        let now = world.now;
        let hub = &mut world.hubs[0];
        match self {
            Last::Close => hub.handle_bytes(conn, &mut [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8], now),
            Last::Eof => hub.handle_eof(conn, now),
            Last::Gone => hub.handle_closed(conn, now),
            Last::Broken => hub.handle_bytes(conn, &mut [0xc1, 0x80, 0, 0, 0, 0], now),
            Last::Shed => {
                hub.begin_close(conn, Closing::Shed);
            }
            Last::Stop => hub.handle_shutdown(now),
            Last::KeyRevoked => hub.handle_keyring(Arc::default(), now),
            Last::Fault => hub.handle_fault(conn, crate::tls::Fault::HandshakeTimeout, now),
            Last::Logout => {
                let text = r#"{"jsonrpc":"2.0","id":9,"method":"private/logout"}"#;
                hub.handle_bytes(conn, &mut frame(text), now);
            }
            Last::HeartbeatLost => {
                let text =
                    r#"{"jsonrpc":"2.0","id":9,"method":"public/set_heartbeat","params":{"interval":10}}"#;
                hub.handle_bytes(conn, &mut frame(text), now);
                pass_time(world, conn, 60);
            }
            Last::Idle | Last::PongMissing => pass_time(world, conn, 60),
        }
    }

    fn how(self) -> Departure {
        if self == Last::Logout { Departure::LoggedOut } else { Departure::Disconnected }
    }
}

/// Seconds in which a connection says nothing and takes what it is sent.
fn pass_time(world: &mut World, conn: ConnId, seconds: u64) {
    for _ in 0..seconds {
        world.now = world.now.plus_ns(UNIT as u64);
        world.hubs[0].handle_timeout(world.now);
        world.take(0, conn);
    }
}

#[test]
fn the_desk_hears_once_and_at_once_that_who_asked_is_gone_however_it_comes_about() {
    for last in Last::ALL {
        let mut world = World::with(1, &last.config());
        world.asked = Some(Vec::new());
        let conn = trader(&mut world, 0, 0, 1);
        let bystander = trader(&mut world, 0, 1, 1);
        ask(&mut world, 0, conn, "1");
        answer_all(&mut world);
        world.texts(0, conn);
        assert_eq!(world.departed, [], "{last:?}");
        if matches!(last, Last::Idle | Last::PongMissing | Last::Stop | Last::KeyRevoked) {
            // It would go too, and it has not asked.
            world.hubs[0].handle_closed(bystander, world.now);
        }
        last.happen(&mut world, conn);
        world.carry();
        let gone = (Client { home: HomeId(0), conn }, last.how());
        assert_eq!(world.departed, [gone], "{last:?}");
        // Whatever comes after it.
        if last != Last::Gone {
            pass_time(&mut world, conn, 5);
            world.hubs[0].handle_closed(conn, world.now);
        }
        world.carry();
        assert_eq!(world.departed, [gone], "{last:?}");
        assert_eq!(world.market.counters.departures_total, 1, "{last:?}");
    }
}

#[test]
fn what_was_asked_before_the_end_is_answered_first_and_the_desk_hears_of_the_end_after_it() {
    for last in [Last::Close, Last::Eof, Last::Broken, Last::Stop, Last::Logout] {
        let mut world = World::with(1, &last.config());
        world.asked = Some(Vec::new());
        let conn = trader(&mut world, 0, 0, 1);
        ask(&mut world, 0, conn, "1");
        last.happen(&mut world, conn);
        // Nothing more of it is sent.
        ask(&mut world, 0, conn, "2");
        world.hubs[0].seal(world.now);
        let outgoing = world.hubs[0].poll_mesh().unwrap();
        let records = &outgoing.batch.records;
        let asks = records.iter().position(|record| matches!(record, Record::Ask { .. }));
        let departs = records.iter().position(|record| matches!(record, Record::Departed { .. }));
        assert!(asks.is_some() && asks < departs, "{last:?}: {records:?}");
        assert_eq!(outgoing.batch.asks.len(), 1, "{last:?}");
        let told = world.texts(0, conn);
        assert!(told.iter().all(|text| text.get("close").is_none()), "{last:?}: {told:?}");
        world.tell_market(HomeId(0), &outgoing.batch);
        answer_all(&mut world);
        let told = world.texts(0, conn);
        assert_eq!(ids(&told), [1], "{last:?}");
        assert_eq!(told.last().unwrap().get("close").is_some(), last != Last::Eof, "{last:?}: {told:?}");
        assert_eq!(world.departed.len(), 1, "{last:?}");
    }
}

#[test]
fn the_desk_hears_nothing_of_those_who_never_asked_it() {
    for last in Last::ALL {
        let mut world = World::with(1, &last.config());
        let conn = trader(&mut world, 0, 0, 1);
        last.happen(&mut world, conn);
        if last != Last::Gone {
            world.hubs[0].handle_closed(conn, world.now);
        }
        world.carry();
        assert_eq!(world.departed, [], "{last:?}");
    }
}

#[test]
fn who_becomes_another_or_nobody_has_departed_and_who_stays_the_same_has_not() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    let gone = (Client { home: HomeId(0), conn }, Departure::Disconnected);
    ask(&mut world, 0, conn, "1");
    log_in(&mut world, 0, conn, login(1, "trade:read"));
    assert_eq!(world.departed, [], "the same account");
    log_in(&mut world, 0, conn, login(2, "trade:read_write"));
    assert_eq!(world.departed, [gone], "another account");
    log_in(&mut world, 0, conn, login(3, "trade:read_write"));
    assert_eq!(world.departed, [gone], "the second has asked nothing");
    let mut short = login(3, "trade:read_write");
    short.expires_unix_ms = world.now.unix_ns / 1_000_000 + 1_000;
    log_in(&mut world, 0, conn, short);
    ask(&mut world, 0, conn, "2");
    world.carry();
    world.now = world.now.plus_ns(2 * UNIT as u64);
    world.hubs[0].handle_timeout(world.now);
    world.carry();
    assert_eq!(world.departed, [gone, gone], "a log-in that expired");
    world.hubs[0].handle_closed(conn, world.now);
    world.carry();
    assert_eq!(world.departed, [gone, gone]);
}

#[test]
fn a_mesh_that_loses_data_loses_no_answer() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    world.market.handle_lag(HomeId(0));
    ask(&mut world, 0, conn, "1");
    answer_all(&mut world);
    assert_eq!(ids(&world.texts(0, conn)), [1]);
    world.market.handle_room(HomeId(0));
    world.carry();
}

#[test]
fn only_a_key_that_may_publish_to_the_topic_of_halts_stops_everybody() {
    const HALT: &str = "private/halt_trading";
    let mut world = World::with(1, &HubConfig { publishing: Publishing::Anyone, ..config() });
    world.asked = Some(Vec::new());
    let everybody = json!({"everybody": true});
    for (slot, topics, params, expected) in [
        (0, &[][..], &everybody, Some(13021)),
        (1, &["trading.halt"][..], &everybody, None),
        (2, &[][..], &json!({}), None),
    ] {
        let conn = world.connect(0, slot);
        let mut login = login(slot, "account:read_write");
        let mut credential = (*login.credential).clone();
        credential.publish = Patterns::new(topics.iter().copied());
        login.credential = Arc::new(credential);
        log_in(&mut world, 0, conn, login);
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": HALT, "params": params}).to_string();
        world.send(0, conn, &text);
        let refused = world.texts(0, conn).first().and_then(|reply| reply["error"]["code"].as_i64());
        assert_eq!(refused, expected, "{topics:?} {params}");
    }
    assert_eq!(world.asked.as_ref().map(Vec::len), Some(2));
}

#[test]
fn a_turn_of_the_market_does_so_much_for_clients_and_no_more() {
    let mut world = World::new(1);
    let config = DeskConfig { credits_per_s: 0, ..DeskConfig::default() };
    world.market.set_desk(config, Trading::Open, world.now);
    let definition = instrument("ESH4");
    let (price, amount) = (definition.tick_size, definition.min_trade_amount);
    world.feed(|feed| feed.events.push(FeedEvent::Listed { definition }));
    let ask = |world: &mut World, request: OrderRequest| {
        let client = Client { home: HomeId(0), conn: ConnId { slot: 0, generation: 1 } };
        let ticket = Ticket { slot: 0, generation: 0 };
        let mut batch = Batch::default();
        let (account, is_connection, encoding) = (AccountId(0), false, Encoding::Json);
        batch.push_ask(Ask { ticket, account, client, is_connection, encoding, request });
        world.market.handle_record(HomeId(0), &batch, &batch.records[0], world.now);
    };
    let asks_of_a_turn = |world: &mut World, request: OrderRequest| {
        world.market.seal();
        assert!(!world.market.has_done_enough());
        (1..).find(|_| {
            ask(world, request);
            world.market.has_done_enough()
        })
    };
    let none = OrderRequest::CancelAllAfter { timeout_ms: None };
    assert_eq!(asks_of_a_turn(&mut world, none), Some(1_024));
    world.market.seal();
    let order = NewOrder {
        instrument: InstrumentId(0),
        direction: Direction::Buy,
        order_type: OrderType::Limit,
        price: Some(price),
        amount,
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::No,
        reduce_only: false,
        label: None,
        valid_until_ms: None,
    };
    for _ in 0..768 {
        ask(&mut world, OrderRequest::Place(order));
    }
    // To look at them all takes four times as long as to take the question.
    assert_eq!(asks_of_a_turn(&mut world, OrderRequest::OpenOrders { filter: Filter::default() }), Some(256));
    // What they wait for counts as well.
    world.market.seal();
    assert!(world.market.has_requests());
    let executed = (1..).find(|_| world.market.poll_request(world.now).is_none());
    assert_eq!(executed, Some(768 + 1));
    assert_eq!(asks_of_a_turn(&mut world, none), Some(1_024));
}
