//! What one client may send: how fast, how much at a time and how slowly a message.

use super::*;

const SECOND_NS: u64 = UNIT as u64;
const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const CONTINUATION: u8 = 0x0;
const PING: u8 = 0x9;
const TEST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"public/test"}"#;

/// A client's frame with this first byte, masked by zeros.
fn raw(head: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[head, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// A world of one shard with these limits, and a client of it.
fn limited(change: impl FnOnce(&mut HubConfig)) -> (World, ConnId) {
    let mut world = World::new(1);
    let mut config = config();
    change(&mut config);
    world.hubs[0] = Hub::new(HomeId(0), 1, config, world.now);
    let conn = world.connect(0, 0);
    (world, conn)
}

fn give(world: &mut World, conn: ConnId, mut bytes: Vec<u8>) {
    world.hubs[0].handle_bytes(conn, &mut bytes, world.now);
    world.carry();
}

/// Lets time pass in small steps, in each of which the client pings.
fn pass_pinging(world: &mut World, conn: ConnId, seconds: u64) {
    for _ in 0..seconds * 10 {
        world.now = world.now.plus_ns(SECOND_NS / 10);
        give(world, conn, raw(FIN | PING, b""));
        world.hubs[0].handle_timeout(world.now);
    }
}

fn is_open(world: &World, conn: ConnId) -> bool {
    world.hubs[0].sessions[conn.slot as usize].as_ref().unwrap().is_open()
}

#[test]
fn a_message_that_is_not_finished_ends_its_connection_though_pings_go_on() {
    let (mut world, conn) = limited(|config| config.message_timeout_ns = 10 * SECOND_NS);
    give(&mut world, conn, raw(TEXT, b"["));
    pass_pinging(&mut world, conn, 9);
    // More of it is no more time for it.
    give(&mut world, conn, raw(CONTINUATION, b"1"));
    assert!(is_open(&world, conn));
    pass_pinging(&mut world, conn, 2);
    assert!(!is_open(&world, conn));
    assert_eq!(world.count(Closing::MessageStalled), 1);
    assert_eq!(world.texts(0, conn).last().unwrap()["close"], 1008);
}

#[test]
fn each_message_has_its_own_time() {
    let (mut world, conn) = limited(|config| config.message_timeout_ns = 10 * SECOND_NS);
    let whole = raw(FIN | TEXT, TEST.as_bytes());
    give(&mut world, conn, whole[..7].to_vec());
    for _ in 0..10 {
        pass_silent(&mut world, 9 * SECOND_NS);
        // The end of one and the start of the next.
        give(&mut world, conn, [&whole[7..], &whole[..7]].concat());
        assert!(is_open(&world, conn));
    }
    pass_silent(&mut world, 11 * SECOND_NS);
    assert_eq!(world.count(Closing::MessageStalled), 1);
}

/// Lets time pass without a byte.
fn pass_silent(world: &mut World, ns: u64) {
    for _ in 0..10 {
        world.now = world.now.plus_ns(ns / 10);
        world.hubs[0].handle_timeout(world.now);
    }
}

#[test]
fn a_ping_in_two_pieces_is_no_unfinished_message() {
    let (mut world, conn) = limited(|config| config.message_timeout_ns = 10 * SECOND_NS);
    let ping = raw(FIN | PING, b"abc");
    give(&mut world, conn, ping[..4].to_vec());
    give(&mut world, conn, ping[4..].to_vec());
    pass_pinging(&mut world, conn, 30);
    assert!(is_open(&world, conn));
    // Half a header counts.
    give(&mut world, conn, ping[..1].to_vec());
    pass_silent(&mut world, 11 * SECOND_NS);
    assert_eq!(world.count(Closing::MessageStalled), 1);
}

#[test]
fn no_message_timeout_waits_for_ever() {
    let (mut world, conn) = limited(|config| config.message_timeout_ns = 0);
    give(&mut world, conn, raw(TEXT, b"["));
    pass_pinging(&mut world, conn, 100);
    assert!(is_open(&world, conn));
}

#[test]
fn messages_and_pings_beyond_the_rate_end_the_connection() {
    for sent in [raw(FIN | TEXT, TEST.as_bytes()), raw(FIN | PING, b"x")] {
        let (mut world, conn) =
            limited(|config| config.rates = RateLimits { messages_per_s_max: 10, bytes_per_s_max: 0 });
        give(&mut world, conn, sent.repeat(10));
        assert!(is_open(&world, conn));
        world.now = world.now.plus_ns(SECOND_NS / 2);
        give(&mut world, conn, sent.repeat(5));
        assert!(is_open(&world, conn));
        give(&mut world, conn, sent.clone());
        assert!(!is_open(&world, conn));
        assert_eq!(world.count(Closing::MessageRate), 1);
        let texts = world.texts(0, conn);
        // What was let through is answered first.
        assert_eq!((texts.len(), &texts[15]["close"]), (16, &serde_json::json!(1008)));
    }
}

#[test]
fn bytes_beyond_the_rate_end_the_connection_also_those_of_a_message_that_is_not_whole() {
    let (mut world, conn) =
        limited(|config| config.rates = RateLimits { messages_per_s_max: 0, bytes_per_s_max: 1000 });
    give(&mut world, conn, raw(TEXT, &[b' '; 94]));
    for _ in 0..8 {
        give(&mut world, conn, raw(CONTINUATION, &[b' '; 94]));
    }
    assert!(is_open(&world, conn));
    give(&mut world, conn, raw(CONTINUATION, &[b' '; 95]));
    assert_eq!(world.count(Closing::ByteRate), 1);
}

#[test]
fn a_request_beyond_a_limit_is_counted_and_the_connection_stays() {
    let (mut world, conn) = limited(|config| config.subscriptions_max = 1);
    world.send(0, conn, &subscribe("topic.a"));
    world.send(0, conn, &subscribe("topic.b"));
    assert_eq!(world.texts(0, conn)[1]["error"]["code"], -32602);
    let declined = Incident::Declined(Declined::Subscriptions);
    assert_eq!(world.hubs[0].incidents().of(declined), 1);
    assert_eq!(world.hubs[0].poll_effect(), Some(Effect::Report { conn, incident: declined }));
    assert!(is_open(&world, conn));
}
