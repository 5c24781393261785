//! Before the upgrade: too many connections, requests that never end, are too large or are none.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

use super::{BAD, Good, check_told, open};
use crate::bytes::{self, FIN, TEXT};
use crate::server::Server;

/// A connection of a client that is not good.
fn connect(server: &Server) -> TcpStream {
    bytes::connect_from(BAD, server.address)
}

/// A connection from this address, and the head of the answer to its upgrade request.
fn ask(server: &Server, from: Ipv4Addr) -> (TcpStream, String) {
    let mut stream = bytes::connect_from(from, server.address);
    stream.write_all(&bytes::upgrade_request()).unwrap();
    let head = bytes::read_head(&mut stream);
    (stream, head)
}

fn is_open(head: &str) -> bool {
    head.starts_with("HTTP/1.1 101 ")
}

/// Asks until there is room; gives the connection and how often there was none.
fn ask_again_and_again(server: &Server, status: &str) -> (TcpStream, u64) {
    let (mut refused, mut came_in) = (0, None);
    crate::until("there is room", || {
        let (stream, head) = ask(server, BAD);
        if is_open(&head) {
            came_in = Some(stream);
            return true;
        }
        assert!(head.starts_with(status), "{head}");
        refused += 1;
        false
    });
    (came_in.unwrap(), refused)
}

#[test]
fn connections_beyond_the_limit_in_all_are_told_503_and_when_to_come_back() {
    let server = Server::start("[limits]\nconnections_max = 4\n", "0,1");
    let mut good = Good::beside(&server);
    let mut held: Vec<TcpStream> = (1..4).map(|_| open(&server)).collect();
    for _ in 0..20 {
        let (mut refused, head) = ask(&server, BAD);
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "{head}");
        assert!(!bytes::read_to_end(&mut refused).is_empty(), "a body says what to do");
        good.check_served();
    }
    held.pop();
    let (_last, waited) = ask_again_and_again(&server, "HTTP/1.1 503 ");
    check_told(server, good, &[("connections_full", 503, 20 + waited)]);
}

#[test]
fn connections_beyond_those_of_a_shard_are_told_503() {
    let server = Server::start("[shards]\nconnections_max = 2\n", "0");
    let mut good = Good::beside(&server);
    let held = open(&server);
    for _ in 0..20 {
        let (_, head) = ask(&server, BAD);
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "{head}");
        good.check_served();
    }
    drop(held);
    let (_last, waited) = ask_again_and_again(&server, "HTTP/1.1 503 ");
    check_told(server, good, &[("connections_full", 503, 20 + waited)]);
}

#[test]
fn connections_beyond_the_limit_of_one_address_are_told_429_and_others_come_in() {
    let server = Server::start("[limits]\nconnections_per_address_max = 2\n", "0,1");
    let mut good = Good::beside(&server);
    let mut held: Vec<TcpStream> = (0..2).map(|_| open(&server)).collect();
    for other in 100..110 {
        let (_, head) = ask(&server, BAD);
        assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("\r\nRetry-After: "), "{head}");
        let (_, head) = ask(&server, Ipv4Addr::new(127, 0, 0, other));
        assert!(is_open(&head), "{head}");
        good.check_served();
    }
    held.pop();
    let (_last, waited) = ask_again_and_again(&server, "HTTP/1.1 429 ");
    check_told(server, good, &[("address_full", 429, 10 + waited)]);
}

#[test]
fn a_thousand_bad_requests_write_few_lines() {
    let server = Server::start("", "0");
    let mut good = Good::beside(&server);
    for number in 0..1000 {
        let mut stream = connect(&server);
        stream.write_all(b"\x16\x03\x01 no HTTP\r\n\r\n").unwrap();
        let answer = bytes::read_to_end(&mut stream);
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
        if number % 100 == 0 {
            good.check_served();
        }
    }
    let ended = check_told(server, good, &[("not_http", 400, 1000)]);
    // At most one line a second.
    let lines = ended.lines_about("not_http");
    println!("{} lines about 1000 requests", lines.len());
    assert!(lines.len() < 100, "{lines:#?}");
}

#[test]
fn requests_that_never_end_are_told_408_at_their_deadline() {
    let server = Server::start("[limits]\nhandshake_timeout_ms = 200\n", "0");
    let mut good = Good::beside(&server);
    let mut slow: Vec<TcpStream> = (0..50).map(|_| connect(&server)).collect();
    for (number, stream) in slow.iter_mut().enumerate() {
        stream.write_all(&bytes::upgrade_request()[..number]).unwrap();
    }
    good.check_served();
    for stream in &mut slow {
        let answer = String::from_utf8(bytes::read_to_end(stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    }
    check_told(server, good, &[("handshake_timeout", 408, 50)]);
}

#[test]
fn the_request_is_bounded_in_bytes_and_in_fields_as_configured() {
    let server = Server::start("[limits]\nhead_bytes_max = 512\nheaders_max = 8\n", "0");
    let good = Good::beside(&server);
    let version = "Sec-WebSocket-Version: 13";
    let check = |request: Vec<u8>, status: &str| {
        let mut stream = connect(&server);
        stream.write_all(&request).unwrap();
        let head = bytes::read_head(&mut stream);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    };
    let request = |fields: &[&str]| bytes::request("GET /ws HTTP/1.1", fields);
    let spare = 512 - request(&[version, "X: "]).len();
    let filler = |bytes: usize| format!("X: {}", "x".repeat(bytes));
    check(request(&[version, &filler(spare)]), "101");
    check(request(&[version, &filler(spare + 1)]), "431");
    // Four fields are in every request.
    check(request(&[version, "A: 1", "B: 1", "C: 1"]), "101");
    check(request(&[version, "A: 1", "B: 1", "C: 1", "D: 1"]), "431");
    check(bytes::request(&format!("GET /{} HTTP/1.1", "x".repeat(512)), &[version]), "414");
    let told = [("head_too_large", 431, 1), ("too_many_headers", 431, 1), ("target_too_long", 414, 1)];
    check_told(server, good, &told);
}

#[test]
fn a_second_request_behind_the_upgrade_is_taken_for_a_frame() {
    let server = Server::start("", "0");
    let good = Good::beside(&server);
    let mut stream = connect(&server);
    stream.write_all(&bytes::upgrade_request().repeat(2)).unwrap();
    let head = bytes::read_head(&mut stream);
    assert!(is_open(&head), "{head}");
    // A `G` is a reserved bit and a reserved operation.
    assert_eq!(bytes::read_frame(&mut stream).close_code(), Some(1002));
    assert_eq!(bytes::read_to_end(&mut stream), b"");
    check_told(server, good, &[("reserved_bits", 1002, 1)]);
}

#[test]
fn foreign_pages_old_http_unknown_protocols_and_garbage_are_refused_beside_a_good_client() {
    let server = Server::start("", "0");
    let mut good = Good::beside(&server);
    let version = "Sec-WebSocket-Version: 13";
    let upgrade = |line: &str, field: &str| bytes::request(line, &[version, field]);
    let cases = [
        ("origin_forbidden", 403, upgrade("GET /ws HTTP/1.1", "Origin: https://evil.example")),
        ("subprotocol_unknown", 400, upgrade("GET /ws HTTP/1.1", "Sec-WebSocket-Protocol: soap")),
        ("http_version", 505, upgrade("GET /ws HTTP/1.0", "A: 1")),
        ("header_malformed", 400, b"GET /ws HTTP/1.1\r\n\x00\x01\x02\r\n\r\n".to_vec()),
        ("not_http", 400, bytes::frame(FIN | TEXT, b"no request at all")),
    ];
    for (_, status, request) in &cases {
        let mut stream = connect(&server);
        stream.write_all(request).unwrap();
        let answer = String::from_utf8(bytes::read_to_end(&mut stream)).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        good.check_served();
    }
    let told: Vec<(&str, i32, u64)> = cases.iter().map(|(label, status, _)| (*label, *status, 1)).collect();
    check_told(server, good, &told);
}
