//! Binary TCP beside WebSockets: one hub, the same requests and events, other frames.

use serde_json::{Value, json};

use super::*;
use crate::auth::Reach;
use crate::http::Rejection;

pub(super) const SECOND_NS: u64 = 1_000_000_000;
pub(super) const TCP: Arrival = Arrival { listener: 1, way: Way::Open, refused: None, proxy: None };
const TEST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"public/test"}"#;

/// WebSockets by the first listener, binary TCP by the second.
pub(super) fn config_of_both() -> HubConfig {
    let tcp = ListenerPolicy {
        framing: Framing::LengthPrefixed,
        ping_interval_ns: 2 * SECOND_NS,
        ping_timeout_ns: SECOND_NS,
        reach: Reach::Loopback,
        ..ListenerPolicy::default()
    };
    HubConfig { listeners: vec![ListenerPolicy::default(), tcp], ..config() }
}

fn world() -> World {
    World::with(1, &config_of_both())
}

pub(super) fn open(world: &mut World, slot: u32, arrival: Arrival) -> ConnId {
    world.generations += 1;
    let conn = ConnId { slot, generation: world.generations };
    world.hubs[0].handle_open(conn, arrival, world.now);
    conn
}

pub(super) fn prefixed(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

pub(super) fn send(world: &mut World, conn: ConnId, text: &str) {
    world.hubs[0].handle_bytes(conn, &mut prefixed(text), world.now);
    world.carry();
}

/// The bytes that a connection is sent now, in sends of so many.
pub(super) fn sent_by(world: &mut World, conn: ConnId, send_bytes: usize) -> Vec<u8> {
    let (mut all, mut out) = (Vec::new(), vec![0; send_bytes]);
    loop {
        let written = world.hubs[0].poll_transmit(conn, &mut out);
        if written == 0 {
            break;
        }
        all.extend_from_slice(&out[..written]);
        world.hubs[0].handle_sent(conn, world.now);
    }
    all
}

/// The messages that a connection is sent now, in sends of so many bytes; `null` for a heartbeat.
fn take_by(world: &mut World, conn: ConnId, send_bytes: usize) -> Vec<Value> {
    let all = sent_by(world, conn, send_bytes);
    let mut rest = &all[..];
    std::iter::from_fn(|| {
        let (length, after) = rest.split_first_chunk()?;
        let (message, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        rest = after;
        Some(if message.is_empty() { Value::Null } else { serde_json::from_slice(message).unwrap() })
    })
    .collect()
}

fn take(world: &mut World, conn: ConnId) -> Vec<Value> {
    take_by(world, conn, 4096)
}

pub(super) fn ends(world: &mut World) -> Vec<(ConnId, Ending)> {
    std::iter::from_fn(|| world.hubs[0].poll_effect())
        .filter_map(|effect| match effect {
            Effect::Disconnect { conn, ending } => Some((conn, ending)),
            Effect::PauseReading { .. }
            | Effect::ResumeReading { .. }
            | Effect::Report { .. }
            | Effect::Name { .. } => None,
        })
        .collect()
}

pub(super) fn closing(code: u16, reason: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "close", "params": {"code": code, "reason": reason}})
}

#[test]
fn a_request_is_answered_with_its_id_without_an_upgrade() {
    let mut world = world();
    let conn = open(&mut world, 0, TCP);
    assert!(take(&mut world, conn).is_empty(), "nothing is said before it is asked");
    send(&mut world, conn, TEST);
    let replies = take(&mut world, conn);
    assert_eq!((replies.len(), &replies[0]["id"]), (1, &json!(7)));
    assert!(replies[0]["result"]["version"].is_string());
}

#[test]
fn requests_are_read_from_any_split_and_several_at_a_time() {
    let stream =
        [prefixed(TEST), prefixed(""), prefixed(&format!("[{TEST},{TEST}]")), prefixed(TEST)].concat();
    for cut in [1, 2, 3, 5, 7, 50, stream.len()] {
        let mut world = world();
        let conn = open(&mut world, 0, TCP);
        for piece in stream.chunks(cut) {
            world.hubs[0].handle_bytes(conn, &mut piece.to_vec(), world.now);
        }
        let replies = take(&mut world, conn);
        assert_eq!(replies.len(), 3, "in pieces of {cut}");
        assert_eq!((&replies[0]["id"], replies[1].as_array().map(Vec::len)), (&json!(7), Some(2)));
        assert_eq!(world.hubs[0].occupancy().unfinished_bytes, 0);
    }
}

#[test]
fn both_kinds_of_clients_are_told_the_same_and_each_event_is_encoded_once() {
    let mut world = world();
    world.feed(list("BTC-PERPETUAL"));
    world.feed(level(Side::Bid, 100, 5));
    let (tcp, ws) = (open(&mut world, 0, TCP), world.connect(0, 1));
    for channel in ["book.BTC-PERPETUAL.raw", "trades.BTC-PERPETUAL.raw", "quote.BTC-PERPETUAL"] {
        send(&mut world, tcp, &subscribe(channel));
        world.send(0, ws, &subscribe(channel));
        assert_eq!(take(&mut world, tcp)[1..], world.texts(0, ws)[1..], "{channel}: snapshots");
    }
    let before = world.market.home_counters().frames_encoded_total;
    for price in 100..140 {
        world.feed(trade(price));
        world.feed(level(Side::Ask, price + 50, 7));
    }
    let encoded = world.market.home_counters().frames_encoded_total - before;
    let told = take_by(&mut world, tcp, 512);
    assert_eq!(told, world.texts(0, ws));
    assert!(told.len() >= 80 && encoded <= told.len() as u64, "{encoded} for {}", told.len());
}

#[test]
fn a_long_message_goes_over_several_sends_whatever_their_size() {
    for send_bytes in [128, 200, 1000, 5000, 65_536] {
        let mut world = world();
        let (subscriber, publisher) = (open(&mut world, 0, TCP), open(&mut world, 1, TCP));
        send(&mut world, subscriber, &subscribe("topic.t"));
        take(&mut world, subscriber);
        let data = json!("x".repeat(20_000));
        send(&mut world, publisher, &publish("t", &data.to_string()));
        send(&mut world, publisher, &publish("t", "1"));
        let told = take_by(&mut world, subscriber, send_bytes);
        let told: Vec<_> = told.iter().map(|event| &event["params"]["data"]).collect();
        assert_eq!(told, [&data, &json!(1)], "{send_bytes}");
    }
}

#[test]
fn who_sends_what_is_no_frame_is_told_why_and_closed_and_its_requests_are_answered_first() {
    for (odd, expected) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], closing(1009, "message too big")),
        (&[0, 1, 0, 1], closing(1009, "message too big")),
        (&[0, 0, 0, 1, 0xff], closing(1007, "text message is not UTF-8")),
    ] {
        let mut world = world();
        let (conn, other) = (open(&mut world, 0, TCP), open(&mut world, 1, TCP));
        let mut bytes = [&prefixed(TEST)[..], odd].concat();
        world.hubs[0].handle_bytes(conn, &mut bytes, world.now);
        let told = take(&mut world, conn);
        assert_eq!((told.len(), &told[0]["id"], &told[1]), (2, &json!(7), &expected));
        assert_eq!(ends(&mut world), [(conn, Ending::Graceful)]);
        send(&mut world, conn, TEST);
        assert!(take(&mut world, conn).is_empty(), "nothing more is read");
        send(&mut world, other, TEST);
        assert_eq!(take(&mut world, other).len(), 1, "nobody else notices");
    }
}

#[test]
fn who_finds_no_room_is_told_so_at_once() {
    let mut world = world();
    let full = Arrival { refused: Some(Rejection::ConnectionsFull), ..TCP };
    let conn = open(&mut world, 0, full);
    let told = take(&mut world, conn);
    assert_eq!(told, [closing(1013, Rejection::ConnectionsFull.advice())]);
    assert_eq!(ends(&mut world), [(conn, Ending::Graceful)]);
    assert_eq!(world.hubs[0].incidents().of(Incident::Refused(Rejection::ConnectionsFull)), 1);
}

#[test]
fn over_tls_nothing_is_said_before_the_handshake_and_bytes_may_come_before_its_word() {
    for word_first in [true, false] {
        let mut world = world();
        let refused = Some(Rejection::AddressFull);
        let conn = open(&mut world, 0, Arrival { way: Way::Securing, refused, ..TCP });
        assert!(take(&mut world, conn).is_empty());
        if word_first {
            world.hubs[0].handle_secured(conn);
        } else {
            send(&mut world, conn, TEST);
        }
        assert_eq!(take(&mut world, conn), [closing(1013, Rejection::AddressFull.advice())]);
    }
    let mut world = world();
    let conn = open(&mut world, 0, Arrival { way: Way::Securing, ..TCP });
    send(&mut world, conn, TEST);
    world.hubs[0].handle_secured(conn);
    send(&mut world, conn, TEST);
    assert_eq!(take(&mut world, conn).len(), 2);
}

/// Lets time pass, in turns.
pub(super) fn pass(world: &mut World, for_ns: u64) {
    let until_ns = world.now.mono_ns + for_ns;
    while world.now.mono_ns < until_ns {
        world.now = world.now.plus_ns(limits::WHEEL_SLOT_NS);
        world.hubs[0].handle_timeout(world.now);
    }
}

#[test]
fn a_silent_client_gets_a_heartbeat_and_any_frame_answers_it() {
    let mut world = world();
    let conn = open(&mut world, 0, TCP);
    for answer in ["", TEST] {
        pass(&mut world, 2 * SECOND_NS + 2 * limits::WHEEL_SLOT_NS);
        assert_eq!(take(&mut world, conn), [Value::Null]);
        send(&mut world, conn, answer);
        assert_eq!(
            take(&mut world, conn).len(),
            usize::from(!answer.is_empty()),
            "a heartbeat is not answered"
        );
    }
    pass(&mut world, 2 * SECOND_NS + 2 * limits::WHEEL_SLOT_NS);
    assert_eq!(take(&mut world, conn), [Value::Null]);
    pass(&mut world, SECOND_NS + 2 * limits::WHEEL_SLOT_NS);
    assert_eq!(world.count(Closing::PongMissing), 1);
    let (code, reason) = (Closing::PongMissing.close_code().value(), Closing::PongMissing.reason());
    assert_eq!(take(&mut world, conn), [closing(code, reason)]);
}

#[test]
fn a_message_that_is_begun_and_not_finished_ends_the_connection() {
    let config = HubConfig { message_timeout_ns: SECOND_NS, ..config_of_both() };
    for begun_bytes in [1, 4, 20] {
        let mut world = World::with(1, &config);
        let conn = open(&mut world, 0, TCP);
        world.hubs[0].handle_bytes(conn, &mut prefixed(TEST)[..begun_bytes], world.now);
        pass(&mut world, SECOND_NS + 2 * limits::WHEEL_SLOT_NS);
        assert_eq!(world.count(Closing::MessageStalled), 1, "after {begun_bytes} bytes");
        let (code, reason) = (Closing::MessageStalled.close_code().value(), Closing::MessageStalled.reason());
        assert_eq!(take(&mut world, conn), [closing(code, reason)]);
    }
}

#[test]
fn limits_hold_as_on_a_websocket() {
    let config =
        HubConfig { rates: RateLimits { messages_per_s_max: 10, bytes_per_s_max: 0 }, ..config_of_both() };
    let mut world = World::with(1, &config);
    let conn = open(&mut world, 0, TCP);
    for _ in 0..40 {
        world.hubs[0].handle_bytes(conn, &mut prefixed(""), world.now);
    }
    assert_eq!(world.count(Closing::MessageRate), 1, "heartbeats count");
    let told = take(&mut world, conn);
    assert_eq!(told[0]["params"]["code"], Closing::MessageRate.close_code().value());
}

#[test]
fn a_server_that_goes_tells_each_client_after_its_replies() {
    let mut world = world();
    let conn = open(&mut world, 0, TCP);
    world.hubs[0].handle_bytes(conn, &mut prefixed(TEST), world.now);
    world.hubs[0].handle_shutdown(world.now);
    let told = take(&mut world, conn);
    assert_eq!(told[1], closing(1001, "server is shutting down"));
    assert_eq!(ends(&mut world), [(conn, Ending::Graceful)]);
    let late = open(&mut world, 1, TCP);
    assert_eq!(ends(&mut world), [(late, Ending::Graceful)]);
}

#[test]
fn who_ends_its_side_gets_its_replies_and_no_last_word() {
    let mut world = world();
    let conn = open(&mut world, 0, TCP);
    world.hubs[0].handle_bytes(conn, &mut prefixed(TEST), world.now);
    world.hubs[0].handle_eof(conn, world.now);
    assert_eq!(take(&mut world, conn).len(), 1);
    assert_eq!(ends(&mut world), [(conn, Ending::Graceful)]);
    world.hubs[0].handle_closed(conn, world.now);
    assert_eq!(world.hubs[0].occupancy().total(), 0);
}

#[test]
fn a_subscriber_resumes_where_it_was_by_either_way() {
    let mut world = world();
    let (first, publisher) = (open(&mut world, 0, TCP), open(&mut world, 1, TCP));
    send(&mut world, first, &subscribe("topic.t"));
    take(&mut world, first);
    send(&mut world, publisher, &publish("t", "1"));
    let epoch = take(&mut world, first)[0]["params"]["epoch"].as_u64().unwrap();
    world.hubs[0].handle_closed(first, world.now);
    for number in 2..5 {
        send(&mut world, publisher, &publish("t", &number.to_string()));
    }
    let resume = json!({"jsonrpc": "2.0", "id": 1, "method": "public/subscribe",
        "params": {"channels": ["topic.t"], "resume": {"topic.t": {"epoch": epoch, "seq": 1}}}})
    .to_string();
    let tcp = open(&mut world, 2, TCP);
    send(&mut world, tcp, &resume);
    let told = take(&mut world, tcp);
    assert_eq!(told[0]["resumed"]["topic.t"]["recovered"], true);
    let ws = world.connect(0, 3);
    world.send(0, ws, &resume);
    assert_eq!(world.texts(0, ws)[1..], told[1..]);
    assert_eq!(told.len(), 4);
}
