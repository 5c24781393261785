//! Connections that break while data is under way, or by the thousand: nothing is left behind. Each state by itself is
//! shown in `abuse/vanishing.rs`.

use std::io::Write;
use std::net::TcpStream;

use serde_json::json;

use crate::bytes::{self, FIN, TEST, TEXT};
use crate::client::Client;
use crate::server::Server;

/// More than the server's table of connections, many times over.
const CYCLES: usize = 2_000;
const HELD_MAX: usize = 64;

fn check_alive(server: &Server) {
    let mut client = Client::connect(server.address);
    assert!(client.call("public/test", &json!({}))["version"].is_string());
    client.close();
}

#[test]
fn subscribers_are_cut_while_data_is_under_way() {
    let server = Server::start("[feed.paper]\nevents_per_s = 20000\n", "0,1");
    let mut publisher = Client::connect(server.address);
    let mut healthy = Client::connect(server.address);
    healthy.subscribe("topic.cut");
    let filler = "x".repeat(10_000);
    for round in 1..=20_u64 {
        let mut doomed: Vec<Client> = (0..10).map(|_| Client::connect(server.address)).collect();
        for client in &mut doomed {
            client.call(
                "public/subscribe",
                &json!({"channels": ["topic.cut", "book.*.raw", "ticker.*.100ms"]}),
            );
        }
        publisher.publish("cut", &json!([round, filler]));
        for client in doomed {
            bytes::set_reset_on_close(client.stream());
        }
        let note = healthy.note();
        assert_eq!((&note["seq"], &note["data"][0]), (&json!(round), &json!(round)));
    }
    check_alive(&server);
    drop((publisher, healthy));
    server.stop().assert_clean();
}

#[test]
fn thousands_of_connections_come_and_go() {
    let server = Server::start("[shards]\nconnections_max = 64\n", "0");
    let mut held: Vec<TcpStream> = Vec::new();
    let mut served = 0;
    for cycle in 0..CYCLES {
        let mut stream = bytes::open(server.address);
        stream.write_all(&bytes::frame(FIN | TEXT, TEST.as_bytes())).unwrap();
        // Abruptly with a reply unread, or in order with it read.
        if cycle % 2 == 0 {
            bytes::reset(stream);
        } else {
            assert_eq!(bytes::read_frame(&mut stream).head, FIN | TEXT);
            held.push(stream);
            served += 1;
        }
        if held.len() == HELD_MAX / 2 {
            held.clear();
        }
    }
    held.clear();
    check_alive(&server);
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.of_shards("connections_opened_total"), CYCLES as u64 + 1);
    assert!(ended.of_shards("replies_total") > served);
}
