//! SBE over binary TCP: what a hello asks for, and that who has got it is told what a WebSocket in SBE is, whatever the sends.

use serde_json::{Value, json};

use super::length_prefixed::{
    SECOND_NS, TCP, closing, config_of_both, ends, open, pass, prefixed, send, sent_by,
};
use super::order_entry::{FILLS, ORDERS, ack, answer_all, new_order, places, tell};
use super::private::login;
use super::*;
use crate::auth::Verdict;
use crate::dialect::sbe::generated::{HeartbeatView, OrderAckView, QuoteView};

pub(super) const IN_SBE: &str = "/ws?encoding=sbe&schema=1&version=0";
pub(super) const NAME: &str = "BTC-PERPETUAL";
pub(super) const TEST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"public/test"}"#;
pub(super) const SBE: &str = r#""encoding":"sbe","schema":1,"version":0"#;
/// The smallest send that is made, sizes that cut frames in odd places, and a usual one.
const SEND_BYTES: [usize; 6] = [128, 129, 200, 333, 1000, 65_536];

/// A message that was told, as a WebSocket would have it: opcode and payload.
pub(super) type Told = (u8, Vec<u8>);

pub(super) fn world() -> World {
    let mut world = World::with(1, &config_of_both());
    world.asked = Some(Vec::new());
    world.feed(list(NAME));
    world
}

pub(super) fn hello(asked: &str) -> String {
    let client = r#""client_name":"a","client_version":"1""#;
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"public/hello","params":{{{client},{asked}}}}}"#)
}

pub(super) fn binary(message: &[u8]) -> Vec<u8> {
    [&(0x8000_0000 | message.len() as u32).to_be_bytes(), message].concat()
}

/// All that a connection of binary TCP is told now, in sends of so many bytes.
fn told_by(world: &mut World, conn: ConnId, send_bytes: usize) -> Vec<Told> {
    read_frames(&sent_by(world, conn, send_bytes))
}

/// The frames of a stream of binary TCP.
pub(super) fn read_frames(mut rest: &[u8]) -> Vec<Told> {
    let mut told = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length);
        let (message, after) = after.split_at((length & 0x7fff_ffff) as usize);
        let opcode = if length >> 31 == 1 { 2 } else { 1 };
        told.push((opcode, message.to_vec()));
        rest = after;
    }
    assert!(rest.is_empty());
    told
}

fn told(world: &mut World, conn: ConnId) -> Vec<Told> {
    told_by(world, conn, 4096)
}

pub(super) fn text((opcode, message): &Told) -> Value {
    assert_eq!(*opcode, 1);
    serde_json::from_slice(message).unwrap()
}

/// All that a WebSocket is told now.
fn told_ws(world: &mut World, conn: ConnId) -> Vec<Told> {
    let bytes = world.take(0, conn);
    let (mut told, mut rest) = (Vec::new(), &bytes[..]);
    while !rest.is_empty() {
        let (frame, after) = rest.split_at(crate::ws::frame::frame_len(rest));
        told.push((frame[0] & 0xf, crate::ws::frame::frame_payload(frame).to_vec()));
        rest = after;
    }
    told
}

/// A connection that has agreed on SBE.
fn in_sbe(world: &mut World, slot: u32) -> ConnId {
    let conn = open(world, slot, TCP);
    send(world, conn, &hello(SBE));
    let greeted = told(world, conn);
    assert_eq!((greeted.len(), &text(&greeted[0])["result"]["encoding"]), (1, &json!("sbe")));
    conn
}

pub(super) fn trader(world: &mut World, slot: u32, account: u32) -> ConnId {
    let conn = in_sbe(world, slot);
    let grant = r#"{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}"#;
    send(world, conn, &format!(r#"{{"jsonrpc":"2.0","id":0,"method":"public/auth","params":{grant}}}"#));
    let Some(LoginQuestion::Judge { ticket, .. }) = world.hubs[0].poll_question() else {
        panic!("a log-in is judged")
    };
    let login = login(account, "trade:read_write");
    world.hubs[0].handle_verdict(ticket, Verdict::Granted { login, tokens: None }, world.now);
    assert_eq!(told(world, conn), []);
    conn
}

#[test]
fn who_asks_in_its_hello_is_told_what_a_websocket_in_sbe_is_and_each_event_is_encoded_once() {
    for send_bytes in SEND_BYTES {
        let mut world = world();
        world.feed(level(Side::Bid, 100, 5));
        let tcp = in_sbe(&mut world, 0);
        let (ws, _) = world.connect_to(0, 1, IN_SBE, "");
        for channel in ["quote.{}", "trades.{}.raw", "ticker.{}.raw", "book.{}.none.20.100ms", "book.{}.raw"]
        {
            let request = subscribe(&channel.replace("{}", NAME));
            send(&mut world, tcp, &request);
            world.send(0, ws, &request);
        }
        let (of_tcp, of_ws) = (told_by(&mut world, tcp, send_bytes), told_ws(&mut world, ws));
        assert_eq!(of_tcp, of_ws, "replies and values, by {send_bytes}");
        let before = world.market.home_counters().frames_encoded_total;
        for price in 100..140 {
            world.feed(trade(price));
            world.feed(level(Side::Ask, price + 50, 7));
        }
        let encoded = world.market.home_counters().frames_encoded_total - before;
        let (of_tcp, of_ws) = (told_by(&mut world, tcp, send_bytes), told_ws(&mut world, ws));
        assert_eq!(of_tcp, of_ws, "events, by {send_bytes}");
        assert!(of_tcp.iter().all(|(opcode, _)| *opcode == 2) && of_tcp.len() >= 120, "{}", of_tcp.len());
        assert!(encoded <= of_tcp.len() as u64, "{encoded} for {}", of_tcp.len());
    }
}

#[test]
fn what_is_not_spoken_is_refused_with_what_is_and_the_connection_ends_before_anything_is_told_in_its_place() {
    let supported = "supported: json, or sbe with schema 1 and version 0, with or without batch";
    for asked in [
        r#""encoding":"xml""#,
        r#""encoding":"sbe""#,
        r#""encoding":"sbe","schema":1"#,
        r#""encoding":"sbe","schema":2,"version":0"#,
        r#""encoding":"sbe","schema":1,"version":1"#,
        r#""encoding":"sbe","schema":"1","version":"0""#,
        r#""encoding":"sbe","schema":-1,"version":0"#,
        r#""encoding":"sbe","schema":65537,"version":0"#,
        r#""encoding":"json","schema":1,"version":0"#,
        r#""encoding":7"#,
        r#""schema":1,"version":0"#,
        r#""batch":true"#,
        r#""encoding":"json","batch":true"#,
        r#""encoding":"sbe","schema":1,"version":0,"batch":"true""#,
    ] {
        for in_batch in [false, true] {
            let mut world = world();
            world.feed(level(Side::Bid, 100, 5));
            let conn = open(&mut world, 0, TCP);
            let (refused, after) = (hello(asked), subscribe("quote.BTC-PERPETUAL"));
            let mut bytes = if in_batch {
                prefixed(&format!("[{refused},{after},{TEST}]"))
            } else {
                [prefixed(&refused), prefixed(&after), prefixed(TEST)].concat()
            };
            world.hubs[0].handle_bytes(conn, &mut bytes, world.now);
            world.carry();
            let told: Vec<Value> = told(&mut world, conn).iter().map(text).collect();
            let [reply, end] = &told[..] else { panic!("{asked}: {told:?}") };
            let reply = if in_batch { &reply[0] } else { reply };
            assert_eq!((&reply["id"], &reply["error"]["code"]), (&json!(1), &json!(-32602)), "{asked}");
            let data = json!({"reason": supported, "param": "encoding"});
            assert_eq!(reply["error"]["data"], data, "{asked}");
            assert_eq!(*end, closing(1003, "the encoding that was asked for is not to be had"));
            assert_eq!(world.count(Closing::Encoding), 1);
            world.feed(level(Side::Bid, 101, 5));
            assert_eq!(self::told(&mut world, conn), [], "{asked}: nothing in its place");
            assert_eq!(ends(&mut world), [(conn, Ending::Graceful)]);
        }
    }
}

#[test]
fn an_encoding_is_agreed_on_before_the_first_subscription_and_what_holds_may_be_asked_for_again() {
    let mut world = world();
    let conn = open(&mut world, 0, TCP);
    for (asked, has) in [(r#""nanoseconds":true"#, Value::Null), (r#""encoding":"json""#, json!("json"))] {
        send(&mut world, conn, &hello(asked));
        assert_eq!(text(&told(&mut world, conn)[0])["result"]["encoding"], has);
    }
    send(&mut world, conn, TEST);
    send(&mut world, conn, &hello(SBE));
    send(&mut world, conn, &subscribe("quote.*"));
    send(&mut world, conn, &hello(SBE));
    let told_now = told(&mut world, conn);
    let replies: Vec<Value> = told_now.iter().filter(|(opcode, _)| *opcode == 1).map(text).collect();
    assert_eq!(replies.len(), 4);
    assert!([1, 3].iter().all(|at| replies[*at]["result"]["encoding"] == "sbe"), "{replies:?}");
    send(&mut world, conn, &hello(r#""encoding":"json""#));
    let last = told(&mut world, conn);
    assert_eq!(text(&last[0])["error"]["data"]["reason"], "to be agreed on before subscriptions");
    assert_eq!(world.count(Closing::Encoding), 1);
}

#[test]
fn who_follows_nothing_any_more_may_agree_and_what_waited_until_then_comes_in_json() {
    let mut world = world();
    let conn = open(&mut world, 0, TCP);
    send(&mut world, conn, &subscribe("trades.BTC-PERPETUAL.raw"));
    told(&mut world, conn);
    world.feed(trade(100));
    send(&mut world, conn, r#"{"jsonrpc":"2.0","id":2,"method":"public/unsubscribe_all"}"#);
    send(&mut world, conn, &hello(SBE));
    let of_before = told(&mut world, conn);
    assert_eq!(of_before.len(), 3, "{of_before:?}");
    assert_eq!(text(&of_before[1])["result"]["encoding"], "sbe");
    assert_eq!(text(&of_before[2])["params"]["channel"], "trades.BTC-PERPETUAL.raw");
    send(&mut world, conn, &subscribe("trades.BTC-PERPETUAL.raw"));
    told(&mut world, conn);
    world.feed(trade(101));
    assert!(matches!(&told(&mut world, conn)[..], [(2, _)]), "in SBE");
}

#[test]
fn a_websocket_agrees_in_its_upgrade_and_its_hello_may_only_say_the_same() {
    for (path, same, other) in [("/ws", r#""encoding":"json""#, SBE), (IN_SBE, SBE, r#""encoding":"json""#)] {
        let mut world = world();
        let (conn, _) = world.connect_to(0, 0, path, "");
        world.send(0, conn, &hello(same));
        assert!(world.texts(0, conn)[0]["result"]["encoding"].is_string());
        world.send(0, conn, &hello(other));
        let texts = world.texts(0, conn);
        let reason = "a WebSocket's is agreed on in its upgrade";
        assert_eq!(texts[0]["error"]["data"]["reason"], reason);
        assert_eq!(texts[1], json!({"close": 1003}));
    }
}

#[test]
fn a_binary_message_is_an_order_where_sbe_is_agreed_on_and_ends_the_connection_where_it_is_not() {
    let mut world = world();
    let conn = trader(&mut world, 0, 7);
    let stream = [binary(&new_order(3, 0)), prefixed(""), prefixed(TEST), binary(&new_order(4, 0))].concat();
    for cut in [1, 3, 5, 50, stream.len()] {
        for piece in stream.chunks(cut) {
            world.hubs[0].handle_bytes(conn, &mut piece.to_vec(), world.now);
        }
        assert_eq!(answer_all(&mut world, Ok(&ack())).len(), 2, "in pieces of {cut}");
        let answers = told(&mut world, conn);
        let [test, (2, first), (2, second)] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(text(test)["id"], 7);
        let correlations = [first, second].map(|ack| OrderAckView::decode(ack).unwrap().correlation_id());
        assert_eq!(correlations, [3, 4], "in pieces of {cut}");
    }
    world.hubs[0].handle_bytes(conn, &mut binary(&new_order(5, 0)[..7]), world.now);
    let reason = Closing::Headless.reason();
    assert_eq!(text(&told(&mut world, conn)[0]), closing(1007, reason));
    for message in [&b""[..], &new_order(1, 0)] {
        let conn = open(&mut world, 1 + message.len() as u32, TCP);
        world.hubs[0].handle_bytes(conn, &mut binary(message), world.now);
        assert_eq!(text(&told(&mut world, conn)[0]), closing(1003, "this endpoint speaks text"));
    }
    assert_eq!(answer_all(&mut world, Ok(&ack())).len(), 0);
}

#[test]
fn all_reports_of_an_event_come_whole_whatever_the_sends() {
    const FILLS_COUNT: usize = 400;
    for send_bytes in SEND_BYTES {
        let mut world = world();
        let conn = trader(&mut world, 0, 7);
        for channel in [ORDERS, FILLS] {
            send(&mut world, conn, &subscribe(channel).replace("public", "private"));
        }
        assert_eq!(told(&mut world, conn).len(), 2);
        tell(&mut world, 1, FILLS_COUNT);
        tell(&mut world, 2, 1);
        let reports = told_by(&mut world, conn, send_bytes);
        let mut expected = vec![(1, 0, None)];
        expected.extend((0..FILLS_COUNT as u64).map(|trade| (1, 0, Some(trade))));
        expected.extend([(2, 1, None), (2, 1, Some(0))]);
        assert_eq!(places(&reports), expected, "by {send_bytes}");
    }
}

#[test]
fn a_heartbeat_is_a_message_and_the_last_word_is_text() {
    let mut world = world();
    let conn = in_sbe(&mut world, 0);
    let heartbeat = r#"{"jsonrpc":"2.0","id":1,"method":"public/set_heartbeat","params":{"interval":10}}"#;
    send(&mut world, conn, heartbeat);
    send(&mut world, conn, &subscribe("quote.BTC-PERPETUAL"));
    told(&mut world, conn);
    for _ in 0..9 {
        pass(&mut world, SECOND_NS);
        send(&mut world, conn, "");
    }
    pass(&mut world, SECOND_NS + 2 * limits::WHEEL_SLOT_NS);
    let beats = told(&mut world, conn);
    let [(2, beat)] = &beats[..] else { panic!("{beats:?}") };
    assert!(HeartbeatView::decode(beat).is_ok());
    world.hubs[0].handle_shutdown(world.now);
    assert_eq!(text(&told(&mut world, conn)[0]), closing(1001, "server is shutting down"));
}

#[test]
fn a_place_of_a_stream_in_sbe_is_resumed_by_either_way() {
    let mut world = world();
    let first = in_sbe(&mut world, 0);
    send(&mut world, first, &subscribe("quote.BTC-PERPETUAL"));
    world.feed(level(Side::Bid, 100, 5));
    let events = told(&mut world, first);
    let newest = QuoteView::decode(&events.last().unwrap().1).unwrap();
    let place = json!({"epoch": newest.epoch(), "seq": newest.seq()});
    world.hubs[0].handle_closed(first, world.now);
    world.feed(level(Side::Bid, 101, 5));
    world.feed(level(Side::Bid, 102, 5));
    let channels = ["quote.BTC-PERPETUAL"];
    let params = json!({"channels": channels, "class": "lossless", "resume": {"quote.BTC-PERPETUAL": place}});
    let resume =
        json!({"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": params}).to_string();
    let tcp = in_sbe(&mut world, 1);
    send(&mut world, tcp, &resume);
    let (ws, _) = world.connect_to(0, 2, IN_SBE, "");
    world.send(0, ws, &resume);
    let (of_tcp, of_ws) = (told(&mut world, tcp), told_ws(&mut world, ws));
    assert_eq!(text(&of_tcp[0])["resumed"]["quote.BTC-PERPETUAL"]["recovered"], true);
    assert_eq!(of_tcp[1..], of_ws[1..]);
    assert_eq!(of_tcp.len(), 3);
}
