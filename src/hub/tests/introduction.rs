//! Connections through trusted proxies, as the hub sees them: nothing before they are introduced, and a client for each request.

use std::net::IpAddr;

use super::*;
use crate::auth::{Refusal, Verdict};
use crate::front::{Fault, Proxies, Speech};
use crate::http::Rejection;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const INTRODUCING: Arrival = Arrival { way: Way::Introducing, ..Arrival::FIRST };
const CONN: ConnId = ConnId { slot: 0, generation: 1 };

fn upgrade(fields: &str) -> String {
    format!("GET /ws HTTP/1.1\r\nHost: a\r\n{UPGRADE}{fields}\r\n")
}

fn call(fields: &str) -> String {
    format!("GET /api/v2/public/test HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn effects(world: &mut World) -> Vec<Effect> {
    std::iter::from_fn(|| world.hubs[0].poll_effect()).collect()
}

fn proxied() -> World {
    proxied_among(1)
}

/// So many hubs, the first of which has a connection of the proxy at 10.0.0.1, which names its clients.
fn proxied_among(shards: u8) -> World {
    let mut config = config();
    let networks = vec!["10.0.0.0/8".parse().unwrap()];
    config.listeners[0].proxies = Proxies { networks, speech: Speech::ForwardedFor };
    let mut world = World::with(shards, &config);
    let proxy = "10.0.0.1".parse().ok();
    assert_eq!(world.hubs[0].speech_of(0, proxy), Some(Speech::ForwardedFor));
    world.hubs[0].handle_open(CONN, Arrival { proxy, ..Arrival::FIRST }, world.now);
    world
}

/// Gives bytes; whom the shard is asked about, as often as it is, each of whom may or may not have the connection.
fn give(world: &mut World, bytes: &str, refused: Option<Rejection>) -> Vec<String> {
    world.hubs[0].handle_bytes(CONN, &mut bytes.as_bytes().to_vec(), world.now);
    carry(world, refused)
}

/// Turns until nothing moves; whom the shard is asked about meanwhile.
fn carry(world: &mut World, refused: Option<Rejection>) -> Vec<String> {
    let mut named = Vec::new();
    loop {
        while let Some(effect) = world.hubs[0].poll_effect() {
            if let Effect::Name { conn, client } = effect {
                assert_eq!(conn, CONN);
                named.push(IpAddr::to_string(&client));
                world.hubs[0].handle_named(conn, refused, world.now);
            }
        }
        if !world.carry_once() {
            return named;
        }
    }
}

fn answer(world: &mut World) -> String {
    String::from_utf8(world.take(0, CONN)).unwrap()
}

#[test]
fn who_is_introduced_is_as_one_that_has_just_been_accepted() {
    for way in [Way::Open, Way::Securing] {
        let mut world = World::new(1);
        world.hubs[0].handle_open(CONN, INTRODUCING, world.now);
        world.hubs[0].handle_bytes(CONN, &mut upgrade("").into_bytes(), world.now);
        assert_eq!(answer(&mut world), "", "nothing is looked at before");
        assert!(world.hubs[0].awaits_introduction(CONN));
        world.hubs[0].handle_introduced(CONN, way, None, world.now);
        assert!(!world.hubs[0].awaits_introduction(CONN));
        if way == Way::Securing {
            world.hubs[0].handle_secured(CONN);
        }
        world.hubs[0].handle_bytes(CONN, &mut upgrade("").into_bytes(), world.now);
        assert!(answer(&mut world).starts_with("HTTP/1.1 101 "));
    }
}

#[test]
fn who_has_no_room_once_it_is_known_is_told_so_in_answer_to_its_request() {
    for (at_first, once_known, status) in [
        (None, Some(Rejection::AddressFull), "429"),
        (Some(Rejection::ConnectionsFull), None, "503"),
        (Some(Rejection::ConnectionsFull), Some(Rejection::AddressFull), "503"),
    ] {
        let mut world = World::new(1);
        world.hubs[0].handle_open(CONN, Arrival { refused: at_first, ..INTRODUCING }, world.now);
        world.hubs[0].handle_introduced(CONN, Way::Open, once_known, world.now);
        world.hubs[0].handle_bytes(CONN, &mut upgrade("").into_bytes(), world.now);
        assert!(answer(&mut world).starts_with(&format!("HTTP/1.1 {status} ")));
    }
}

#[test]
fn a_proxy_that_does_not_introduce_its_client_is_cut_off_without_a_word() {
    let abort = Effect::Disconnect { conn: CONN, ending: Ending::Abort };
    for fault in Fault::ALL {
        let mut world = World::new(1);
        world.hubs[0].handle_open(CONN, INTRODUCING, world.now);
        let late = world.now.plus_ns(world.hubs[0].config.handshake_timeout_ns + 1_000_000_000);
        match fault {
            Fault::HeaderTimeout => world.hubs[0].handle_timeout(late),
            Fault::HeaderMissing | Fault::HeaderMalformed => {
                world.hubs[0].handle_unintroduced(CONN, fault, world.now);
            }
        }
        let incident = Incident::Front(fault);
        assert_eq!(effects(&mut world), [Effect::Report { conn: CONN, incident }, abort]);
        assert_eq!(answer(&mut world), "");
        assert!(!world.hubs[0].awaits_introduction(CONN));
    }
}

#[test]
fn a_proxy_that_ends_or_is_told_to_go_before_it_introduces_anybody_is_no_incident() {
    let graceful = Effect::Disconnect { conn: CONN, ending: Ending::Graceful };
    for is_stop in [false, true] {
        let mut world = World::new(1);
        world.hubs[0].handle_open(CONN, INTRODUCING, world.now);
        if is_stop {
            world.hubs[0].handle_shutdown(world.now);
        } else {
            world.hubs[0].handle_eof(CONN, world.now);
        }
        assert_eq!(effects(&mut world), [graceful]);
        world.hubs[0].handle_closed(CONN, world.now);
        assert_eq!(world.hubs[0].connection_count(), 0);
    }
}

#[test]
fn an_upgrade_is_answered_once_its_client_is_named_wherever_it_is_cut() {
    let request = upgrade("X-Forwarded-For: 203.0.113.9, 192.0.2.7\r\nX-Forwarded-For: 10.0.0.3\r\n");
    for cut in 1..request.len() {
        let mut world = proxied();
        let (first, rest) = request.split_at(cut);
        assert!(give(&mut world, first, None).is_empty());
        assert_eq!(give(&mut world, rest, None), ["192.0.2.7"], "cut at {cut}");
        assert!(answer(&mut world).starts_with("HTTP/1.1 101 "));
    }
}

#[test]
fn a_request_that_names_nobody_is_the_proxys_own() {
    let mut world = proxied();
    assert_eq!(give(&mut world, "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n", None), ["10.0.0.1"]);
    assert!(answer(&mut world).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_client_that_has_no_room_is_refused_whatever_it_asks_for() {
    for request in [upgrade("X-Forwarded-For: 192.0.2.7\r\n"), call("X-Forwarded-For: 192.0.2.7\r\n")] {
        let mut world = proxied();
        assert_eq!(give(&mut world, &request, Some(Rejection::AddressFull)), ["192.0.2.7"]);
        assert!(answer(&mut world).starts_with("HTTP/1.1 429 "));
    }
}

#[test]
fn calls_of_several_clients_on_one_connection_are_each_its_own() {
    let (one, other) = (call("X-Forwarded-For: 192.0.2.7\r\n"), call("X-Forwarded-For: 192.0.2.8\r\n"));
    let mut world = proxied();
    let asked = [&one, &one, &other, &other, &one].map(String::as_str).concat();
    assert_eq!(give(&mut world, &asked, None), ["192.0.2.7", "192.0.2.8", "192.0.2.7"]);
    assert_eq!(answer(&mut world).matches("HTTP/1.1 200 ").count(), 5);
    assert_eq!(give(&mut world, &one, None), [""; 0], "it is known");
    assert_eq!(give(&mut world, &other, Some(Rejection::AddressFull)), ["192.0.2.8"]);
    let answers = answer(&mut world);
    assert_eq!((answers.matches("HTTP/1.1 200 ").count(), answers.matches("HTTP/1.1 429 ").count()), (1, 1));
}

#[test]
fn what_one_client_has_tried_on_a_connection_is_not_counted_against_the_next() {
    let mut world = proxied();
    world.hubs[0].config.logins_per_minute_max = 1;
    for client in ["192.0.2.7", "192.0.2.8"] {
        let fields = format!("X-Forwarded-For: {client}\r\nAuthorization: Bearer a.0.1.5f0c\r\n");
        assert_eq!(give(&mut world, &call(&fields), None), [client]);
        let Some(LoginQuestion::Judge { ticket, .. }) = world.hubs[0].poll_question() else {
            panic!("the first of {client} is judged")
        };
        world.hubs[0].handle_verdict(ticket, Verdict::Refused(Refusal::Token), world.now);
        assert!(answer(&mut world).starts_with("HTTP/1.1 401 "));
        assert_eq!(give(&mut world, &call(&fields), None), [""; 0]);
        assert!(answer(&mut world).starts_with("HTTP/1.1 429 "), "the second is too many");
    }
}

#[test]
fn a_call_behind_one_that_waits_is_answered_though_its_client_is_another_and_its_proxy_has_ended_its_side() {
    let mut world = proxied_among(2);
    let body = format!(r#"{{"topic":"{}","data":1}}"#, of_home(1));
    let published = format!(
        "POST /api/v2/topic/publish HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let asked = published + &call("X-Forwarded-For: 192.0.2.8\r\n");
    world.hubs[0].handle_bytes(CONN, &mut asked.into_bytes(), world.now);
    assert_eq!(world.hubs[0].poll_effect(), Some(Effect::Name { conn: CONN, client: [192, 0, 2, 7].into() }));
    world.hubs[0].handle_named(CONN, None, world.now);
    world.hubs[0].handle_eof(CONN, world.now);
    assert_eq!(answer(&mut world), "", "the first waits for the other shard");
    assert_eq!(carry(&mut world, None), ["192.0.2.8"]);
    assert_eq!(answer(&mut world).matches("HTTP/1.1 200 ").count(), 2);
}

#[test]
fn what_comes_before_its_client_is_named_waits_for_that() {
    let fields = "X-Forwarded-For: 192.0.2.7\r\n";
    for (request, behind, granted) in
        [(upgrade(fields), b"\x81", "HTTP/1.1 101 "), (call(fields), b"\r", "HTTP/1.1 200 ")]
    {
        for (refused, status) in [(Some(Rejection::AddressFull), "HTTP/1.1 429 "), (None, granted)] {
            // Two records of TLS, and the end of the proxy's side behind them, in one read.
            let mut world = proxied();
            world.hubs[0].handle_bytes(CONN, &mut request.clone().into_bytes(), world.now);
            world.hubs[0].handle_bytes(CONN, &mut behind.to_vec(), world.now);
            world.hubs[0].handle_eof(CONN, world.now);
            assert_eq!(answer(&mut world), "", "the shard has not said whether the client may come in");
            assert_eq!(carry(&mut world, refused), ["192.0.2.7"]);
            let answers = answer(&mut world);
            assert!(answers.starts_with(status), "{answers}");
            assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        }
    }
}

#[test]
fn whose_a_request_is_may_change_by_other_settings_while_its_token_is_judged() {
    for (refused, status) in [(None, "HTTP/1.1 401 "), (Some(Rejection::AddressFull), "HTTP/1.1 429 ")] {
        let mut world = proxied();
        let request =
            upgrade("X-Forwarded-For: 203.0.113.9, 192.0.2.7\r\nAuthorization: Bearer a.0.1.5f0c\r\n");
        assert_eq!(give(&mut world, &request, None), ["192.0.2.7"]);
        let Some(LoginQuestion::Judge { ticket, .. }) = world.hubs[0].poll_question() else {
            panic!("a token is judged")
        };
        let mut config = world.hubs[0].config.clone();
        config.listeners[0].proxies.networks.push("192.0.2.0/24".parse().unwrap());
        world.hubs[0].handle_config(config, world.now);
        world.hubs[0].handle_verdict(ticket, Verdict::Refused(Refusal::Token), world.now);
        assert_eq!(carry(&mut world, refused), ["203.0.113.9"]);
        assert!(answer(&mut world).starts_with(status));
    }
}

#[test]
fn who_is_no_proxy_names_nobody() {
    let mut world = proxied();
    let other = ConnId { slot: 1, generation: 1 };
    assert_eq!(world.hubs[0].speech_of(0, "192.0.2.1".parse().ok()), None);
    world.hubs[0].handle_open(other, Arrival::FIRST, world.now);
    let mut request = upgrade("X-Forwarded-For: 203.0.113.9\r\n").into_bytes();
    world.hubs[0].handle_bytes(other, &mut request, world.now);
    assert!(effects(&mut world).is_empty());
    assert!(String::from_utf8(world.take(0, other)).unwrap().starts_with("HTTP/1.1 101 "));
}
