//! Two listeners of one server, each with rules of its own: TLS, echo and the pages that may connect.

use std::io::{Read, Write};
use std::net::SocketAddr;

use rustls::version::TLS13;

use crate::bytes;
use crate::server::Server;
use crate::tls::{self, Pair};

const DESK: &str = "Origin: https://desk.example";

/// What the second listener differs in: it is plain and has no echo, and it lets a page in that the first refuses.
const SECOND: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\norigins = [\"https://desk.example\"]\n";

fn start(pair: &Pair) -> Server {
    let server = pair.server("0,1", SECOND);
    assert_eq!(server.addresses.len(), 2);
    server
}

/// The first line of the answer to an upgrade.
fn status(mut stream: impl Read + Write, path: &str, fields: &[&str]) -> String {
    let fields = [&["Sec-WebSocket-Version: 13"], fields].concat();
    stream.write_all(&bytes::request(&format!("GET {path} HTTP/1.1"), &fields)).unwrap();
    let head = bytes::read_head(&mut stream);
    head.lines().next().unwrap().to_owned()
}

fn check_each(path: &str, fields: &[&str], expected: [&str; 2], incident: (&str, u64)) {
    let pair = Pair::new();
    let server = start(&pair);
    let [first, second]: [SocketAddr; 2] = server.addresses[..].try_into().unwrap();
    let config = pair.client(&[&TLS13]);
    // As often as it takes for both threads to accept at both.
    for _ in 0..20 {
        let told = [
            status(tls::connect(first, &config), path, fields),
            status(bytes::connect(second), path, fields),
        ];
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(&format!("HTTP/1.1 {expected} ")), "{told:?}");
        }
    }
    let ended = server.stop();
    ended.assert_clean();
    assert!(ended.each_shard("connections_opened_total").iter().all(|opened| *opened > 0));
    assert_eq!(ended.incidents(incident.0), incident.1);
}

#[test]
fn there_is_an_echo_on_the_listener_that_has_one_and_not_on_the_other() {
    check_each("/echo", &[], ["101", "404"], ("not_found", 20));
    check_each("/ws", &[], ["101", "101"], ("not_found", 0));
}

#[test]
fn a_page_may_connect_to_the_listener_that_lists_it_and_not_to_the_other() {
    check_each("/ws", &[DESK], ["403", "101"], ("origin_forbidden", 20));
    check_each("/ws", &["Origin: https://evil.example"], ["403", "403"], ("origin_forbidden", 40));
}

#[test]
fn tls_is_spoken_on_the_listener_that_has_it_and_not_on_the_other() {
    let pair = Pair::new();
    let server = start(&pair);
    let [first, second]: [SocketAddr; 2] = server.addresses[..].try_into().unwrap();
    tls::close(tls::open(first, &pair.client(&[&TLS13]), "/ws"));
    let mut plain_to_tls = bytes::connect(first);
    plain_to_tls.write_all(&bytes::upgrade_request()).unwrap();
    // A fatal alert, decode_error (RFC 8446 §6).
    assert_eq!(bytes::read_to_end(&mut plain_to_tls), [21, 3, 3, 0, 2, 2, 50]);
    assert!(status(bytes::connect(second), "/ws", &[]).starts_with("HTTP/1.1 101 "));
    let mut tls_to_plain = bytes::connect(second);
    let mut hello = Vec::new();
    tls::connection(&pair.client(&[&TLS13])).write_tls(&mut hello).unwrap();
    tls_to_plain.write_all(&hello).unwrap();
    assert!(bytes::read_head(&mut tls_to_plain).starts_with("HTTP/1.1 400 "));
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!((ended.incidents("tls_not_tls"), ended.incidents("not_http")), (1, 1));
}
