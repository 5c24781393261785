//! The operator's console on real sockets: its files, its stream of events, and how many may read that.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{Answer, get, start};
use crate::bytes;
use crate::client::Client;
use crate::server::Server;

/// A stream of events, behind its head.
struct Events {
    reader: BufReader<TcpStream>,
}

impl Events {
    fn open(server: &Server) -> Events {
        let mut stream = bytes::connect(server.control.unwrap());
        stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut events = Events { reader: BufReader::new(stream) };
        assert_eq!(events.line(), "HTTP/1.1 200 OK");
        let mut is_stream = false;
        loop {
            let field = events.line();
            if field.is_empty() {
                break;
            }
            is_stream |= field == "content-type: text/event-stream";
        }
        assert!(is_stream);
        events
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next one; lines of the chunked encoding are passed over.
    fn next(&mut self) -> Value {
        loop {
            if let Some(data) = self.line().strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

#[test]
fn the_console_is_a_page_with_a_policy_that_forbids_others() {
    let server = start("");
    for (path, kind, begin) in [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/console.css", "text/css; charset=utf-8", "/*"),
        ("/console.js", "text/javascript; charset=utf-8", "//"),
    ] {
        let answer = get(&server, path);
        assert_eq!((answer.status, answer.field("content-type")), (200, kind), "{path}");
        assert!(answer.field("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert!(answer.text().starts_with(begin), "{path}");
    }
    server.stop().assert_clean();
}

#[test]
fn events_go_on_each_second_and_have_the_numbers_of_the_clients() {
    let server = start("");
    let mut events = Events::open(&server);
    let first = events.next();
    assert_eq!((&first["state"], &first["connections"]), (&json!("serving"), &json!(0)));
    let clients: Vec<Client> = (0..3).map(|_| Client::connect(server.address)).collect();
    let mut last = first.clone();
    while last["connections"] != 3 {
        last = events.next();
    }
    assert_eq!(last["start_unix_ms"], first["start_unix_ms"]);
    assert!(last["unix_ms"].as_u64() > first["unix_ms"].as_u64());
    // Behind the first second.
    while !last["rates"]["requests"].is_number() {
        last = events.next();
    }
    assert_eq!(last["stages"].as_array().map(Vec::len), Some(9), "{last}");
    drop(clients);
    // The stream does not hold the stop up.
    server.stop().assert_clean();
}

#[test]
fn so_many_read_events_and_one_more_is_told_to_come_back() {
    let server = start("");
    let mut held: Vec<Events> =
        (0..tickring::limits::EVENT_STREAMS_MAX).map(|_| Events::open(&server)).collect();
    let refused = get(&server, "/api/events");
    assert_eq!((refused.status, refused.field("retry-after")), (503, "1"), "{refused:?}");
    assert_eq!(get(&server, "/healthz").status, 200);
    held.pop();
    crate::until("a place is free", || {
        let mut stream = bytes::connect(server.control.unwrap());
        stream
            .write_all(b"HEAD /api/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        Answer::read(stream).status == 200
    });
    server.stop().assert_clean();
}
