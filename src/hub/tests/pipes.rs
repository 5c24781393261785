//! `/mcp`: what control is told of its connections, and what those are told by control.

use super::*;
use crate::hub::{Effect, PipeWord};

fn world() -> World {
    World::with(1, &HubConfig { serves_mcp: true, ..config() })
}

fn connect(world: &mut World, slot: u32) -> ConnId {
    let (conn, answer) = world.connect_to(0, slot, "/mcp", "Sec-WebSocket-Protocol: mcp\r\n");
    assert!(answer.contains("Sec-WebSocket-Protocol: mcp\r\n"), "{answer}");
    conn
}

/// What control is told, shortly.
fn told(world: &mut World) -> Vec<String> {
    std::iter::from_fn(|| world.hubs[0].poll_pipe())
        .map(|word| match word {
            PipeWord::Opened { conn, reach, .. } => format!("opened {} {reach:?}", conn.slot),
            PipeWord::Text { text, .. } => String::from_utf8(text.into_vec()).unwrap(),
            PipeWord::Closed { conn } => format!("closed {}", conn.slot),
        })
        .collect()
}

fn effects(world: &mut World) -> Vec<Effect> {
    std::iter::from_fn(|| world.hubs[0].poll_effect()).collect()
}

#[test]
fn control_hears_of_a_connection_then_its_texts_then_its_end() {
    let mut world = world();
    let conn = connect(&mut world, 3);
    world.send(0, conn, "one");
    world.send(0, conn, "two");
    let now = world.now;
    world.hubs[0].handle_closed(conn, now);
    assert_eq!(told(&mut world), ["opened 3 Loopback", "one", "two", "closed 3"]);
}

#[test]
fn what_control_says_is_a_text_and_its_close_a_close() {
    let mut world = world();
    let conn = connect(&mut world, 0);
    let now = world.now;
    world.hubs[0].handle_pipe_text(conn, br#"{"a":1}"#, now);
    world.hubs[0].handle_pipe_close(conn, 1013, "as many as may be", now);
    world.hubs[0].handle_pipe_text(conn, b"late", now);
    assert_eq!(world.texts(0, conn), [serde_json::json!({"a": 1}), serde_json::json!({"close": 1013})]);
    // One that is gone, or of another service, is told nothing.
    let other = world.connect(0, 1);
    world.hubs[0].handle_pipe_text(other, b"{}", now);
    assert_eq!(world.texts(0, other), [] as [serde_json::Value; 0]);
}

#[test]
fn a_client_that_sends_more_than_control_takes_is_not_read() {
    let mut world = world();
    let conn = connect(&mut world, 0);
    effects(&mut world);
    let sent = limits::PIPE_TEXTS_MAX + 3;
    let mut bytes: Vec<u8> = (0..sent).flat_map(|number| frame(&number.to_string())).collect();
    let now = world.now;
    world.hubs[0].handle_bytes(conn, &mut bytes, now);
    assert_eq!(effects(&mut world), [Effect::PauseReading { conn }]);
    // What was on its way when it was paused.
    world.hubs[0].handle_bytes(conn, &mut frame("last"), now);
    assert_eq!(told(&mut world).len(), 1 + limits::PIPE_TEXTS_MAX);
    world.hubs[0].handle_pipe_taken(conn, 2, now);
    assert_eq!(told(&mut world), ["32", "33"]);
    assert_eq!(effects(&mut world), []);
    world.hubs[0].handle_pipe_taken(conn, 3, now);
    assert_eq!(told(&mut world), ["34", "last"]);
    assert_eq!(effects(&mut world), [Effect::ResumeReading { conn }]);
}

#[test]
fn a_client_of_few_long_texts_is_not_read_either_and_they_count_as_memory_until_control_has_dealt_with_them()
{
    let mut world = world();
    let conn = connect(&mut world, 0);
    effects(&mut world);
    let (before, now) = (world.hubs[0].memory_bytes(), world.now);
    let long = "x".repeat(60_000);
    let count = limits::PIPE_TEXTS_BYTES_MAX / long.len() + 1;
    for _ in 0..count {
        assert_eq!(effects(&mut world), []);
        world.hubs[0].handle_bytes(conn, &mut frame(&long), now);
    }
    assert_eq!(effects(&mut world), [Effect::PauseReading { conn }]);
    assert_eq!(told(&mut world).len(), 1 + count);
    assert!(world.hubs[0].memory_bytes() >= before + count * long.len());
    world.hubs[0].handle_pipe_taken(conn, count, now);
    assert!(world.hubs[0].memory_bytes() < before + long.len());
    assert_eq!(effects(&mut world), [Effect::ResumeReading { conn }]);
}

#[test]
fn a_plain_client_needs_no_subprotocol_and_binary_is_closed() {
    let mut world = world();
    let (conn, answer) = world.connect_to(0, 0, "/mcp", "");
    assert!(!answer.contains("Sec-WebSocket-Protocol"), "{answer}");
    let mut binary = frame("x");
    binary[0] = 0x82;
    let now = world.now;
    world.hubs[0].handle_bytes(conn, &mut binary, now);
    assert_eq!(world.texts(0, conn), [serde_json::json!({"close": 1003})]);
}

#[test]
fn it_is_not_there_unless_control_serves_it_and_another_subprotocol_is_refused() {
    let check = |config: HubConfig, subprotocol: &str, expected: &str| {
        let mut world = World::with(1, &config);
        let conn = ConnId { slot: 0, generation: 1 };
        world.hubs[0].handle_open(conn, Arrival::FIRST, world.now);
        let request = format!(
            "GET /mcp HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Protocol: {subprotocol}\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        world.hubs[0].handle_bytes(conn, &mut request.into_bytes(), world.now);
        let answer = String::from_utf8(world.take(0, conn)).unwrap();
        assert!(answer.starts_with(expected), "{answer}");
    };
    check(config(), "mcp", "HTTP/1.1 404 ");
    check(HubConfig { serves_mcp: true, ..config() }, "json-rpc", "HTTP/1.1 400 ");
    check(HubConfig { serves_mcp: true, ..config() }, "x, mcp", "HTTP/1.1 101 ");
}
