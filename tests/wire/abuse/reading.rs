//! After the upgrade, towards the client: one that reads nothing, next to nothing, or late.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::sending::read_to_close;
use super::{BAD, Good, check_told};
use crate::bytes::{self, CLOSE, FIN, PING, PONG, TEXT};
use crate::client::Client;
use crate::server::Server;

/// Bytes of a message of the flood; with the next, more than the kernel's buffers of a connection hold.
const MESSAGE_BYTES: usize = 40_000;
const MESSAGES: usize = 300;

/// Unsent data never ends a connection here, a send that is not taken does.
const PATIENT: &str = "[limits]\nqueued_bytes_max = 33554432\nwrite_timeout_ms = 300\n";
const WRITE_TIMEOUT: &str = ": write_timeout, told 1008";

/// A connection with a small window that has subscribed to the flood without loss.
fn subscribe(server: &Server) -> TcpStream {
    let mut stream = bytes::upgraded(bytes::connect_narrow(server.address));
    let params = json!({"channels": ["topic.flood"], "class": "lossless"});
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": params});
    stream.write_all(&bytes::frame(FIN | TEXT, request.to_string().as_bytes())).unwrap();
    assert_eq!(bytes::read_frame(&mut stream).head, FIN | TEXT);
    stream
}

/// Publishes one message of the flood.
fn publish(client: &mut Client) {
    client.publish("flood", &json!("x".repeat(MESSAGE_BYTES)));
}

#[test]
fn who_reads_nothing_is_closed_once_too_much_waits() {
    let mut server = Server::start("[limits]\nqueued_bytes_max = 300000\nclose_timeout_ms = 60000\n", "0");
    let mut good = Good::beside(&server);
    let mut stream = subscribe(&server);
    let mut publisher = Client::connect(server.address);
    crate::until("it is closed for what waits", || {
        publish(&mut publisher);
        good.check_served();
        server.has_just_logged(": queue_full, told 1008")
    });
    // What the kernel holds comes first, then the reason: there is time enough to take both.
    assert_eq!(read_to_close(&mut stream).1, Some(1008));
    drop(stream);
    publisher.close();
    check_counted(server, good, "queue_full");
}

#[test]
fn who_reads_nothing_of_a_send_is_closed_at_its_deadline() {
    let mut server = Server::start(PATIENT, "0");
    let mut good = Good::beside(&server);
    let stream = subscribe(&server);
    let mut publisher = Client::connect(server.address);
    (0..MESSAGES).for_each(|_| publish(&mut publisher));
    crate::until("it is closed for the send that it does not take", || {
        good.check_served();
        server.has_just_logged(WRITE_TIMEOUT)
    });
    drop(stream);
    publisher.close();
    check_counted(server, good, "write_timeout");
}

#[test]
fn who_reads_a_byte_now_and_then_is_closed_at_the_deadline_of_a_send() {
    let mut server = Server::start(PATIENT, "0");
    let mut good = Good::beside(&server);
    let mut stream = subscribe(&server);
    let mut publisher = Client::connect(server.address);
    (0..MESSAGES).for_each(|_| publish(&mut publisher));
    let mut byte = [0];
    crate::until("it is closed for the send that it takes so slowly", || {
        stream.read_exact(&mut byte).unwrap();
        good.check_served();
        server.has_just_logged(WRITE_TIMEOUT)
    });
    drop(stream);
    publisher.close();
    check_counted(server, good, "write_timeout");
}

#[test]
fn who_asks_without_reading_is_read_no_further_and_closed_at_the_deadline_of_a_send() {
    let mut server = Server::start(PATIENT, "0");
    let mut good = Good::beside(&server);
    let mut stream = bytes::upgraded(bytes::connect_narrow(server.address));
    let request = br#"{"jsonrpc":"2.0","id":1,"method":"public/get_instruments"}"#;
    let requests = bytes::frame(FIN | TEXT, request).repeat(100);
    stream.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
    crate::until("it is closed for the replies that it does not take", || {
        // What is not taken is tried no more: the stream of requests may be cut anywhere, since none is read.
        let _ = stream.write(&requests);
        good.check_served();
        server.has_just_logged(WRITE_TIMEOUT)
    });
    drop(stream);
    let ended = check_counted(server, good, "write_timeout");
    assert!(ended.of_shards("reads_paused_total") > 0);
}

#[test]
fn who_pins_the_oldest_of_a_full_log_is_closed_and_who_reads_is_not() {
    // What one may have unsent is more than the log of the shard.
    let mut server = Server::start("[limits]\nqueued_bytes_max = 134217728\n", "0");
    let mut good = Good::beside(&server);
    let mut stream = subscribe(&server);
    let mut publisher = Client::connect(server.address);
    publisher.subscribe("topic.flood");
    let mut published = 0;
    while !server.has_just_logged(": log_full, told 1008") {
        published += 1;
        assert!(published * MESSAGE_BYTES < 96 << 20, "the log is 64 MiB");
        publish(&mut publisher);
        assert_eq!(publisher.note()["seq"], published);
        if published % 100 == 0 {
            good.check_served();
        }
    }
    println!("{published} messages of {MESSAGE_BYTES} bytes");
    assert!(published * MESSAGE_BYTES > 48 << 20, "who reads nothing may hold most of it");
    let _ = bytes::read_to_end(&mut stream);
    publisher.close();
    check_counted(server, good, "log_full");
}

#[test]
fn who_asks_for_more_than_16_mib_at_once_without_reading_is_closed_with_1008() {
    let server = Server::start("[feed.paper]\ninstruments = 256\n", "0");
    let mut good = Good::beside(&server);
    let mut stream = bytes::connect_from(BAD, server.address);
    stream.write_all(&bytes::upgrade_request()).unwrap();
    let head = bytes::read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let request = br#"{"jsonrpc":"2.0","id":1,"method":"public/get_instruments"}"#;
    // They are there together, before there is a reply that would make the server read no more of them.
    server.signal(Signal::SIGSTOP);
    stream.write_all(&bytes::frame(FIN | TEXT, request).repeat(900)).unwrap();
    server.signal(Signal::SIGCONT);
    assert_eq!(read_to_close(&mut stream).1, Some(1008));
    assert_eq!(bytes::read_to_end(&mut stream), b"");
    good.check_served();
    check_told(server, good, &[("replies_unread", 1008, 1)]);
}

/// As `check_told`, of a connection from the usual address.
fn check_counted(server: Server, good: Good, label: &str) -> crate::server::Ended {
    let ended = check_told(server, good, &[]);
    assert_eq!(ended.incidents(label), 1, "{label}");
    ended
}

/// A connection with more waiting for it than the kernel takes.
fn with_a_full_queue(server: &Server, good: &mut Good) -> TcpStream {
    let stream = subscribe(server);
    let mut publisher = Client::connect(server.address);
    (0..MESSAGES).for_each(|_| publish(&mut publisher));
    publisher.close();
    good.check_served();
    stream
}

const FULL: &str = "[limits]\nqueued_bytes_max = 33554432\n";

#[test]
fn a_ping_is_answered_before_all_data_that_waits_and_none_of_that_is_lost() {
    let server = Server::start(FULL, "0");
    let mut good = Good::beside(&server);
    let mut stream = with_a_full_queue(&server, &mut good);
    stream.write_all(&bytes::frame(FIN | PING, b"first")).unwrap();
    // The same thread has answered others since, so it has the ping.
    good.check_served();
    good.check_served();
    let (mut before, mut after) = (0, 0);
    loop {
        let frame = bytes::read_frame(&mut stream);
        if frame.head == FIN | PONG {
            assert_eq!(frame.payload, b"first");
            break;
        }
        before += 1;
    }
    while before + after < MESSAGES {
        assert_eq!(bytes::read_frame(&mut stream).head, FIN | TEXT);
        after += 1;
    }
    println!("{before} messages were on their way, {after} waited");
    assert!(after > 0);
    drop(stream);
    check_told(server, good, &[]);
}

#[test]
fn a_close_is_answered_before_all_data_that_waits() {
    let server = Server::start(FULL, "0");
    let mut good = Good::beside(&server);
    let mut stream = with_a_full_queue(&server, &mut good);
    stream.write_all(&bytes::frame(FIN | CLOSE, &4321_u16.to_be_bytes())).unwrap();
    good.check_served();
    good.check_served();
    let mut before = 0;
    let code = loop {
        let frame = bytes::read_frame(&mut stream);
        if frame.head != FIN | TEXT {
            break frame.close_code();
        }
        before += 1;
    };
    println!("{before} messages were on their way");
    assert_eq!(code, Some(4321));
    assert!(before < MESSAGES);
    assert_eq!(bytes::read_to_end(&mut stream), b"");
    check_told(server, good, &[]);
}
