//! The HTTP request that opens a WebSocket: every refusal has its status, and bytes may come in any pieces.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::bytes::{self, FIN, PING, PONG, TEST, TEXT};
use crate::server::Server;

/// Sends a request and gives the whole answer, at whose end the server ends the connection.
fn answer(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = bytes::connect(address);
    stream.write_all(request).unwrap();
    String::from_utf8(bytes::read_to_end(&mut stream)).unwrap()
}

#[test]
fn each_refusal_has_its_status_and_advice() {
    let server = Server::start("", "0");
    let version = "Sec-WebSocket-Version: 13";
    let long = format!("Cookie: {}", "x".repeat(20_000));
    let many: Vec<String> = (0..200).map(|number| format!("X-{number}: 1")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    many.push(version);
    let key = "Sec-WebSocket-Key: no-base64-of-16-bytes";
    let target = format!("GET /ws?{} HTTP/1.1", "x".repeat(20_000));
    let cases: [(&str, &str, Vec<u8>); 20] = [
        ("400", "not_http", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n".to_vec()),
        ("400", "header_malformed", b"GET /ws HTTP/1.1\r\nHost localhost\r\n\r\n".to_vec()),
        (
            "400",
            "key_not_single",
            bytes::request("GET /ws HTTP/1.1", &[version, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]),
        ),
        ("400", "host_not_single", bytes::request("GET /ws HTTP/1.1", &[version, "Host: twice"])),
        ("400", "body_in_upgrade", bytes::request("GET /ws HTTP/1.1", &[version, "Content-Length: 5"])),
        ("400", "target_malformed", bytes::request("CONNECT example.com:443 HTTP/1.1", &[version])),
        ("400", "key_malformed", format!("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{version}\r\n{key}\r\n\r\n").into_bytes()),
        ("414", "target_too_long", bytes::request(&target, &[version])),
        ("505", "http_version", bytes::request("GET /ws HTTP/1.0", &[version])),
        (
            "400",
            "extensions_malformed",
            bytes::request("GET /ws HTTP/1.1", &[version, "Sec-WebSocket-Extensions: a;;b"]),
        ),
        ("404", "not_found", bytes::request("GET /elsewhere HTTP/1.1", &[version])),
        ("405", "method_not_allowed", bytes::request("POST /ws HTTP/1.1", &[version])),
        ("426", "upgrade_required", b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("426", "websocket_version", bytes::request("GET /ws HTTP/1.1", &["Sec-WebSocket-Version: 8"])),
        ("426", "websocket_version", bytes::request("GET /ws HTTP/1.1", &[])),
        ("431", "head_too_large", bytes::request("GET /ws HTTP/1.1", &[version, &long])),
        ("431", "too_many_headers", bytes::request("GET /ws HTTP/1.1", &many)),
        ("505", "http_version", bytes::request("GET /ws HTTP/2.0", &[version])),
        (
            "403",
            "origin_forbidden",
            bytes::request("GET /ws HTTP/1.1", &[version, "Origin: http://evil.example"]),
        ),
        (
            "400",
            "subprotocol_unknown",
            bytes::request("GET /ws HTTP/1.1", &[version, "Sec-WebSocket-Protocol: soap, graphql-ws"]),
        ),
    ];
    for (status, _, request) in &cases {
        let answer = answer(server.address, request);
        let request = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        assert!(answer.contains("\r\nConnection: close"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(!body.trim().is_empty(), "{answer}");
        if *status == "426" {
            assert!(head.contains("Sec-WebSocket-Version: 13"), "{answer}");
        }
        if *status == "405" {
            assert!(head.contains("Allow: GET"), "{answer}");
        }
    }
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_incidents(cases.iter().map(|case| case.1));
}

#[test]
fn a_refusal_of_head_has_the_length_of_its_body_and_no_body() {
    let server = Server::start("[limits]\nhandshake_timeout_ms = 2000\n", "0");
    let version = "Sec-WebSocket-Version: 13";
    let long = format!("Cookie: {}", "x".repeat(20_000));
    // Another method that is refused for the same reason.
    for (status, other, rest) in [
        ("404", "GET", bytes::request("/elsewhere HTTP/1.1", &[version])),
        ("405", "POST", bytes::request("/ws HTTP/1.1", &[version])),
        ("505", "GET", bytes::request("/ws HTTP/1.0", &[version])),
        ("431", "GET", bytes::request("/ws HTTP/1.1", &[&long])),
        ("400", "GET", b"/ready HTTP/1.1\r\n\r\n".to_vec()),
        ("400", "GET", b"/ws HTTP/1.1\r\nHost localhost\r\n\r\n".to_vec()),
        ("408", "GET", b"/ws HTTP/1.1\r\nHost: loc".to_vec()),
    ] {
        let ask = |method: &str| answer(server.address, &[method.as_bytes(), b" ", &rest].concat());
        let whole = ask(other);
        let (head, body) = whole.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert_eq!(ask("HEAD"), format!("{head}\r\n\r\n"));
    }
    server.stop().assert_clean();
}

#[test]
fn a_page_whose_name_was_given_our_address_is_refused_and_one_by_a_name_of_ours_is_not() {
    let server = Server::start("[[listen]]\nhosts = [\"gw.example\"]\n", "0");
    let ask = |host: &str, origin: &str| {
        let fields = ["Sec-WebSocket-Version: 13", origin];
        let fields = if origin.is_empty() { &fields[..1] } else { &fields };
        let mut stream = bytes::connect(server.address);
        stream.write_all(&bytes::request_of(host, "GET /ws HTTP/1.1", fields)).unwrap();
        bytes::read_head(&mut stream)[9..12].to_owned()
    };
    for (host, status) in [
        ("evil.example:9001", "403"),
        ("gw.example:9001", "101"),
        ("127.0.0.1:9001", "101"),
        ("[::1]:9001", "101"),
        ("localhost:9001", "101"),
    ] {
        assert_eq!(ask(host, &format!("Origin: http://{host}")), status, "{host}");
        assert_eq!(ask(host, ""), "101", "{host}: no browser");
    }
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_incidents(["origin_forbidden"]);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let server = Server::start("", "0");
    let mut stream = bytes::connect(server.address);
    for byte in bytes::upgrade_request().iter().chain(&bytes::frame(FIN | TEXT, TEST.as_bytes())) {
        stream.write_all(&[*byte]).unwrap();
    }
    let head = bytes::read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // RFC 6455 §1.3 has this key and its answer.
    assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    let reply = String::from_utf8(bytes::read_frame(&mut stream).payload).unwrap();
    assert!(reply.contains(r#""id":7,"result""#), "{reply}");
    drop(stream);
    server.stop().assert_clean();
}

#[test]
fn frames_may_follow_the_request_at_once() {
    let server = Server::start("", "0");
    for path in ["/ws", "/ws/api/v2", "/ws?token=1"] {
        let mut all = bytes::request(&format!("GET {path} HTTP/1.1"), &["Sec-WebSocket-Version: 13"]);
        all.extend(bytes::frame(FIN | PING, b"early"));
        all.extend(bytes::frame(FIN | TEXT, TEST.as_bytes()));
        let mut stream = bytes::upgraded_by(&all, bytes::connect(server.address));
        let frames = [bytes::read_frame(&mut stream), bytes::read_frame(&mut stream)];
        assert_eq!((frames[0].head, frames[0].payload.as_slice()), (FIN | PONG, &b"early"[..]));
        assert_eq!(frames[1].head, FIN | TEXT);
    }
    server.stop().assert_clean();
}

#[test]
fn a_request_that_never_ends_is_refused_at_the_deadline() {
    let server = Server::start("[limits]\nhandshake_timeout_ms = 50\n", "0");
    let mut silent = bytes::connect(server.address);
    let mut half = bytes::connect(server.address);
    half.write_all(b"GET /ws HTTP/1.1\r\nHost: loc").unwrap();
    for stream in [&mut silent, &mut half] {
        let answer = String::from_utf8(bytes::read_to_end(stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    }
    // One that drips is not given more time for it: a byte, a look for the answer, the next byte.
    let mut drip = bytes::connect(server.address);
    drip.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut answer = [0; 12];
    crate::until("it is answered", || {
        drip.write_all(b"G").unwrap();
        match drip.peek(&mut answer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            answered => assert_eq!(answered.unwrap(), answer.len()),
        }
        true
    });
    assert_eq!(&answer, b"HTTP/1.1 408");
    drop((silent, half, drip));
    let ended = server.stop();
    assert_eq!(ended.incidents("handshake_timeout"), 3);
    ended.assert_clean();
}
