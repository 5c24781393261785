//! After the upgrade, from the client: too much, too fast, too slowly.

use std::io::Write;
use std::net::TcpStream;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{BAD, Good, check_told, open};
use crate::bytes::{self, CLOSE, CONTINUATION, FIN, PING, PONG, TEST, TEXT};
use crate::client::Client;
use crate::server::Server;

/// What a request is told that came in one read with too many others.
const BURST: &str = "too much asked for at once";

/// Reads up to the close frame, and gives the number of frames before it and its code.
pub(super) fn read_to_close(stream: &mut TcpStream) -> (usize, Option<u16>) {
    let mut before = 0;
    loop {
        let frame = bytes::read_frame(stream);
        if frame.head == FIN | CLOSE {
            assert_eq!(bytes::read_to_end(stream), b"", "nothing follows a close frame");
            return (before, frame.close_code());
        }
        before += 1;
    }
}

#[test]
fn messages_beyond_the_rate_close_with_1008_and_those_within_are_answered() {
    let server = Server::start("[limits]\nmessages_per_s_max = 50\n", "0");
    let mut good = Good::beside(&server);
    let mut stream = open(&server);
    stream.write_all(&bytes::frame(FIN | TEXT, TEST.as_bytes()).repeat(2000)).unwrap();
    let (replies, code) = read_to_close(&mut stream);
    assert_eq!(code, Some(1008));
    assert!((50..2000).contains(&replies), "{replies} replies");
    good.check_served();
    check_told(server, good, &[("message_rate", 1008, 1)]);
}

#[test]
fn a_flood_of_pings_is_a_flood_of_messages() {
    let server = Server::start("[limits]\nmessages_per_s_max = 50\n", "0");
    let mut good = Good::beside(&server);
    let mut stream = open(&server);
    stream.write_all(&bytes::frame(FIN | PING, b"flood").repeat(5000)).unwrap();
    let (_, code) = read_to_close(&mut stream);
    assert_eq!(code, Some(1008));
    good.check_served();
    check_told(server, good, &[("message_rate", 1008, 1)]);
}

#[test]
fn bytes_beyond_the_rate_close_with_1008() {
    let server = Server::start("[limits]\nbytes_per_s_max = 20000\n", "0");
    let mut good = Good::beside(&server);
    let mut stream = open(&server);
    let request = bytes::frame(FIN | TEXT, TEST.as_bytes());
    stream.write_all(&request.repeat(10_000)).unwrap();
    let (replies, code) = read_to_close(&mut stream);
    assert_eq!(code, Some(1008));
    assert!((20_000 / request.len()..10_000).contains(&replies), "{replies} replies");
    good.check_served();
    check_told(server, good, &[("byte_rate", 1008, 1)]);
}

#[test]
fn a_message_too_big_in_any_way_closes_with_its_code() {
    let toml = "[limits]\nmessage_bytes_max = 2048\nframe_bytes_max = 1024\nfragments_max = 8\n";
    let server = Server::start(toml, "0");
    let mut good = Good::beside(&server);
    let fragment = |head: u8| bytes::frame(head, &[b' '; 1000]);
    let cases = [
        ("frame_too_big", 1009, bytes::frame(FIN | TEXT, &[b' '; 1025])),
        ("message_too_big", 1009, [fragment(TEXT), fragment(CONTINUATION).repeat(2)].concat()),
        (
            "too_many_fragments",
            1008,
            [bytes::frame(TEXT, b""), bytes::frame(CONTINUATION, b"").repeat(8)].concat(),
        ),
    ];
    for (label, code, sent) in &cases {
        let mut stream = open(&server);
        stream.write_all(sent).unwrap();
        assert_eq!(read_to_close(&mut stream), (0, u16::try_from(*code).ok()), "{label}");
        good.check_served();
    }
    let told: Vec<(&str, i32, u64)> = cases.iter().map(|(label, code, _)| (*label, *code, 1)).collect();
    check_told(server, good, &told);
}

#[test]
fn a_message_that_is_never_finished_closes_with_1008_though_pings_go_on() {
    let server = Server::start("[limits]\nmessage_timeout_ms = 300\n", "0");
    let mut good = Good::beside(&server);
    let mut stream = open(&server);
    stream.write_all(&bytes::frame(TEXT, b"[")).unwrap();
    // One ping for each pong, so that the connection is never silent.
    crate::until("it is closed", || {
        stream.write_all(&bytes::frame(FIN | PING, b"alive")).unwrap();
        good.check_served();
        let frame = bytes::read_frame(&mut stream);
        let is_over = frame.head != FIN | PONG;
        if is_over {
            assert_eq!(frame.close_code(), Some(1008));
        }
        is_over
    });
    // Nor does half a frame get more time.
    let mut stream = open(&server);
    stream.write_all(&bytes::frame(FIN | TEXT, TEST.as_bytes())[..9]).unwrap();
    assert_eq!(read_to_close(&mut stream), (0, Some(1008)));
    check_told(server, good, &[("message_timeout", 1008, 2)]);
}

#[test]
fn subscriptions_beyond_the_limit_draw_an_error_and_the_connection_stays() {
    let server = Server::start("[limits]\nsubscriptions_max = 3\n", "0");
    let good = Good::beside(&server);
    let mut client = Client::over(bytes::connect_from(BAD, server.address));
    for channel in ["topic.a", "topic.b", "topic.c"] {
        client.subscribe(channel);
    }
    for channel in ["topic.d", "ticker.*.raw"] {
        let reply = client.request("public/subscribe", &json!({"channels": [channel]}));
        assert_eq!(reply["error"]["code"], -32602, "{reply}");
    }
    client.publish("a", &json!(1));
    assert_eq!(client.note()["channel"], "topic.a");
    client.close();
    check_told(server, good, &[("subscriptions_full", -32602, 2)]);
}

#[test]
fn requests_beyond_those_that_may_wait_draw_an_error_and_the_connection_stays() {
    let server = Server::start("[limits]\nrequests_pending_max = 1\n", "0,1");
    let good = Good::beside(&server);
    let mut stream = open(&server);
    // Of so many topics some have their home on the other thread.
    let publish = |number: usize| {
        let params = json!({"topic": format!("t{number}"), "data": number});
        let request = json!({"jsonrpc": "2.0", "id": number, "method": "topic/publish", "params": params});
        bytes::frame(FIN | TEXT, request.to_string().as_bytes())
    };
    let sent: Vec<Vec<u8>> = (0..64).map(publish).collect();
    stream.write_all(&sent.concat()).unwrap();
    let mut declined = 0;
    for _ in 0..64 {
        let reply: Value = serde_json::from_slice(&bytes::read_frame(&mut stream).payload).unwrap();
        if let Some(error) = reply.get("error") {
            assert_eq!(error["code"], 10040, "{reply}");
            declined += 1;
        }
    }
    println!("{declined} of 64 requests were declined");
    assert!(declined > 0);
    stream.write_all(&bytes::frame(FIN | TEXT, TEST.as_bytes())).unwrap();
    assert_eq!(bytes::read_frame(&mut stream).head, FIN | TEXT);
    drop(stream);
    check_told(server, good, &[("requests_pending", 10040, declined)]);
}

#[test]
fn a_batch_whose_replies_are_more_than_4_mib_closes_with_1009() {
    let server = Server::start("[feed.paper]\ninstruments = 256\n", "0");
    let mut good = Good::beside(&server);
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"public/get_instruments"}"#;
    let batch = |requests: usize| {
        let text = format!("[{}]", vec![request; requests].join(","));
        bytes::frame(FIN | TEXT, text.as_bytes())
    };
    let mut stream = open(&server);
    stream.write_all(&batch(1)).unwrap();
    let reply_bytes = bytes::read_frame(&mut stream).payload.len();
    assert!(reply_bytes * 128 > 4 << 20, "{reply_bytes} bytes of a reply are too few to show it");
    stream.write_all(&batch(128)).unwrap();
    assert_eq!(read_to_close(&mut stream), (0, Some(1009)));
    good.check_served();
    check_told(server, good, &[("batch_too_big", 1009, 1)]);
}

#[test]
fn more_asked_for_in_one_read_than_it_may_be_answered_draws_an_error_and_the_connection_stays() {
    const REQUESTS: usize = 50;
    let server = Server::start("[feed.paper]\ninstruments = 256\n", "0");
    let mut good = Good::beside(&server);
    let mut stream = open(&server);
    let request = br#"{"jsonrpc":"2.0","id":1,"method":"public/get_instruments"}"#;
    let requests: Vec<u8> = (0..REQUESTS).flat_map(|_| bytes::frame(FIN | TEXT, request)).collect();
    assert!(requests.len() < 4096, "one read");
    server.signal(Signal::SIGSTOP);
    stream.write_all(&requests).unwrap();
    server.signal(Signal::SIGCONT);
    let mut declined = 0;
    for number in 0..REQUESTS {
        let reply: Value = serde_json::from_slice(&bytes::read_frame(&mut stream).payload).unwrap();
        if let Some(error) = reply.get("error") {
            assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(10040), &json!(BURST)), "{reply}");
            declined += 1;
        } else {
            assert_eq!(declined, 0, "reply {number} after those that were declined");
        }
    }
    println!("{declined} of {REQUESTS} requests were declined");
    assert!(declined > 0);
    stream.write_all(&bytes::frame(FIN | TEXT, TEST.as_bytes())).unwrap();
    assert!(bytes::read_frame(&mut stream).payload.starts_with(br#"{"jsonrpc":"2.0","id":7,"result""#));
    good.check_served();
    check_told(server, good, &[("request_burst", 10040, declined)]);
}

#[test]
fn messages_that_become_whole_in_the_same_turn_do_not_overflow_a_good_reader() {
    // Together more than may wait for one reader.
    const PUBLISHERS: usize = 18;
    let server = Server::start("", "0");
    let mut good = Good::beside(&server);
    let mut reader = Client::connect(server.address);
    reader.subscribe("topic.whole");
    let data = "x".repeat(61_000);
    let params = json!({"topic": "whole", "data": data});
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "topic/publish", "params": params}).to_string();
    let frame = bytes::frame(FIN | TEXT, request.as_bytes());
    let (last, most) = frame.split_last().unwrap();
    assert!(PUBLISHERS * data.len() > 1 << 20);
    let mut publishers: Vec<TcpStream> = (0..PUBLISHERS).map(|_| open(&server)).collect();
    for stream in &mut publishers {
        stream.write_all(most).unwrap();
    }
    // What was sent before is read before.
    good.check_served();
    server.signal(Signal::SIGSTOP);
    publishers.iter_mut().for_each(|stream| stream.write_all(&[*last]).unwrap());
    server.signal(Signal::SIGCONT);
    for _ in 0..PUBLISHERS {
        assert_eq!(reader.note()["data"], data);
    }
    for stream in &mut publishers {
        assert!(bytes::read_frame(stream).payload.starts_with(br#"{"jsonrpc":"2.0","id":1,"result""#));
    }
    drop((publishers, reader));
    check_told(server, good, &[]);
}
