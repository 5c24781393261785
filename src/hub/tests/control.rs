//! Control frames beside all else that waits: never dropped, never behind data; and what a close lets through.

use super::*;
use crate::http::Rejection;

const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const CLOSE: u8 = 0x8;
const TEST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"public/test"}"#;

/// A client's frame with this first byte, masked by zeros.
fn raw(head: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[head, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

fn give(world: &mut World, conn: ConnId, mut bytes: Vec<u8>) {
    world.hubs[0].handle_bytes(conn, &mut bytes, world.now);
    world.carry();
}

/// The frames that a connection is sent now: first byte and payload.
fn frames(world: &mut World, conn: ConnId) -> Vec<(u8, Vec<u8>)> {
    let bytes = world.take(0, conn);
    let mut frames = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (frame, after) = rest.split_at(crate::ws::frame::frame_len(rest));
        let header_bytes = if frame[1] < 126 { 2 } else { 4 };
        if frame[0] == FIN | TEXT {
            check_json(&frame[header_bytes..]);
        }
        frames.push((frame[0], frame[header_bytes..].to_vec()));
        rest = after;
    }
    frames
}

#[test]
fn a_handshake_below_that_never_ends_is_told_nothing_and_a_request_behind_it_is_told_408() {
    let timeout = Incident::Refused(Rejection::HeadTimeout);
    let below = Incident::Tls(crate::tls::Fault::HandshakeTimeout);
    let abort = |conn| Effect::Disconnect { conn, ending: Ending::Abort };
    for (secured, bytes, incident) in
        [(false, "", below), (true, "", timeout), (false, "GET", timeout), (true, "GET", timeout)]
    {
        let mut world = World::new(1);
        let conn = ConnId { slot: 0, generation: 1 };
        let hub = &mut world.hubs[0];
        hub.handle_open(conn, Arrival { way: Way::Securing, ..Arrival::FIRST }, world.now);
        if secured {
            hub.handle_secured(conn);
        }
        if !bytes.is_empty() {
            hub.handle_bytes(conn, &mut bytes.as_bytes().to_vec(), world.now);
        }
        hub.handle_timeout(world.now.plus_ns(hub.config.handshake_timeout_ns + 1_000_000_000));
        let answer = String::from_utf8(world.take(0, conn)).unwrap();
        let effects: Vec<Effect> = std::iter::from_fn(|| world.hubs[0].poll_effect()).collect();
        assert!(effects.contains(&Effect::Report { conn, incident }), "{secured} {bytes:?}: {effects:?}");
        assert_eq!(world.hubs[0].incidents().each().map(|(_, count)| count).sum::<u64>(), 1);
        assert_eq!(answer.get(..12), (incident == timeout).then_some("HTTP/1.1 408"));
        assert_eq!(effects.contains(&abort(conn)), incident == below);
    }
}

#[test]
fn every_ping_has_its_pong_in_order() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    for number in 0..10 {
        give(&mut world, conn, raw(FIN | PING, &[number]));
    }
    let expected: Vec<(u8, Vec<u8>)> = (0..10).map(|number| (FIN | PONG, vec![number])).collect();
    assert_eq!(frames(&mut world, conn), expected);
}

#[test]
fn what_control_frames_leave_for_the_next_counts_as_memory_until_it_is_given_back() {
    let mut world = World::new(1);
    let conns: Vec<ConnId> = (0..100).map(|slot| world.connect(0, slot)).collect();
    let held = |world: &World| world.hubs[0].egress.memory_bytes();
    let start_bytes = held(&world);
    let flood = raw(FIN | PING, &[7; 125]).repeat(limits::PONG_BYTES_MAX / 127);
    for _ in 0..3 {
        conns.iter().for_each(|conn| give(&mut world, *conn, flood.clone()));
        assert!(held(&world) >= start_bytes + conns.len() * 4_000, "they wait");
        conns.iter().for_each(|conn| assert_eq!(frames(&mut world, *conn).len(), 32));
        let kept_bytes = held(&world) - start_bytes;
        assert!(kept_bytes >= conns.len() * 4_000, "{kept_bytes} are kept");
        assert!(kept_bytes <= conns.len() * 10_000, "{kept_bytes}: none is counted twice");
    }
    world.hubs[0].trim();
    assert!(held(&world) <= start_bytes, "{} more than {start_bytes}", held(&world));
}

#[test]
fn of_pings_without_end_the_newest_is_answered_and_little_is_held() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    for number in 0..1000_u16 {
        give(&mut world, conn, raw(FIN | PING, &[&number.to_be_bytes()[..], &[0; 123]].concat()));
        assert!(world.hubs[0].pending_bytes(conn) <= limits::PONG_BYTES_MAX + 2 * 127);
    }
    let pongs = frames(&mut world, conn);
    assert!(pongs.len() <= limits::PONG_BYTES_MAX / 127);
    let last = pongs.last().expect("at least the newest ping is answered");
    assert_eq!((last.0, &last.1[..2]), (FIN | PONG, &999_u16.to_be_bytes()[..]));
}

#[test]
fn a_pong_and_a_close_pass_a_queue_full_of_data() {
    let mut world = World::new(1);
    let (reader, publisher) = (world.connect(0, 0), world.connect(0, 1));
    world.send(0, reader, &subscribe("topic.t"));
    world.take(0, reader);
    // One send is under way and does not complete, as if its socket were full.
    let mut out = [0; 256];
    for sent in 0..40 {
        world.send(0, publisher, &publish("t", &format!("\"{}\"", "x".repeat(1000))));
        world.take(0, publisher);
        if sent == 0 {
            assert_eq!(world.hubs[0].poll_transmit(reader, &mut out), out.len());
        }
    }
    let queued_bytes = world.hubs[0].queued_bytes(reader);
    assert!(queued_bytes > 32 * 1024, "{queued_bytes}");
    give(&mut world, reader, raw(FIN | PING, b"still there?"));
    world.hubs[0].handle_sent(reader, world.now);
    let told = frames_after_begun(&mut world, reader);
    assert_eq!(told[0], (FIN | PONG, b"still there?".to_vec()), "at the first boundary of frames");
    assert!(told.len() > 30, "and then the data");
    for _ in 0..40 {
        world.send(0, publisher, &publish("t", &format!("\"{}\"", "x".repeat(1000))));
        world.take(0, publisher);
    }
    give(&mut world, reader, raw(FIN | CLOSE, &1000_u16.to_be_bytes()));
    assert_eq!(frames(&mut world, reader), [(FIN | CLOSE, 1000_u16.to_be_bytes().to_vec())]);
}

/// Like [`frames`], without the rest of the frame that was begun before.
fn frames_after_begun(world: &mut World, conn: ConnId) -> Vec<(u8, Vec<u8>)> {
    let slot = conn.slot;
    let mut out = [0; 128];
    while world.hubs[0].egress.has_started(slot) {
        world.hubs[0].poll_transmit(conn, &mut out);
        world.hubs[0].handle_sent(conn, world.now);
    }
    frames(world, conn)
}

#[test]
fn requests_before_a_broken_frame_or_a_close_are_answered_first() {
    for (last, code) in
        [(raw(FIN | 0x40 | 1, b"{}"), 1002_u16), (raw(FIN | CLOSE, &1000_u16.to_be_bytes()), 1000)]
    {
        let mut world = World::new(1);
        let conn = world.connect(0, 0);
        give(&mut world, conn, [frame(TEST), frame(TEST), last, frame(TEST)].concat());
        let told = world.texts(0, conn);
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!((&told[0]["id"], &told[1]["id"]), (&1.into(), &1.into()));
        assert_eq!(told[2], serde_json::json!({ "close": code }));
        let disconnected = std::iter::from_fn(|| world.hubs[0].poll_effect())
            .any(|effect| effect == Effect::Disconnect { conn, ending: Ending::Graceful });
        assert!(disconnected, "once all is sent");
    }
}

#[test]
fn a_close_does_not_wait_for_replies_that_nobody_reads() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    let batch = format!("[{}]", vec![TEST; 128].join(","));
    while world.count(Closing::RepliesUnread) == 0 {
        world.send(0, conn, &batch);
    }
    let told = world.texts(0, conn);
    assert_eq!(told, [serde_json::json!({ "close": 1008 })]);
}

#[test]
fn who_answers_a_test_request_at_once_stays_however_late_its_deadlines_come() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    let set = r#"{"jsonrpc":"2.0","id":1,"method":"public/set_heartbeat","params":{"interval":10}}"#;
    world.send(0, conn, set);
    world.take(0, conn);
    let interval_ns = 10 * UNIT as u64 + limits::WHEEL_SLOT_NS;
    for _ in 0..20 {
        world.now = world.now.plus_ns(interval_ns);
        world.hubs[0].handle_timeout(world.now);
        assert_eq!(world.texts(0, conn)[0]["params"]["type"], "test_request");
        world.send(0, conn, TEST);
        assert_eq!(world.texts(0, conn)[0]["id"], 1);
    }
    // One that is not answered is the last.
    for _ in 0..2 {
        world.now = world.now.plus_ns(interval_ns);
        world.hubs[0].handle_timeout(world.now);
    }
    assert_eq!(world.texts(0, conn).last().unwrap()["close"], 1008);
    assert_eq!(world.count(Closing::HeartbeatLost), 1);
}

#[test]
fn a_fault_below_the_hub_ends_the_connection_without_a_word_and_is_counted_once() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    give(&mut world, conn, raw(FIN | 1, TEST.as_bytes()));
    let fault = crate::tls::Fault::BadRecord;
    world.hubs[0].handle_fault(conn, fault, world.now);
    world.hubs[0].handle_fault(conn, fault, world.now);
    let told: Vec<Effect> = std::iter::from_fn(|| world.hubs[0].poll_effect()).collect();
    let graceful = Effect::Disconnect { conn, ending: Ending::Graceful };
    assert_eq!(told, [Effect::Report { conn, incident: Incident::Tls(fault) }, graceful]);
    assert_eq!(world.hubs[0].incidents().of(Incident::Tls(fault)), 1);
    // A peer that does not go is cut off.
    world.now = world.now.plus_ns(HubConfig::default().close_timeout_ns + limits::WHEEL_SLOT_NS);
    world.hubs[0].handle_timeout(world.now);
    assert_eq!(world.hubs[0].poll_effect(), Some(Effect::Disconnect { conn, ending: Ending::Abort }));
}
