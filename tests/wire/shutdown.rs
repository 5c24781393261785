//! SIGTERM: every client is told, then the process ends well.

use std::io::Write;
use std::net::TcpStream;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::bytes;
use crate::client::{Client, End};
use crate::server::Server;

const CLIENTS: usize = 500;

#[test]
fn every_client_is_told_that_the_server_goes_away() {
    for (cores, signal) in [("0", Signal::SIGTERM), ("0,1", Signal::SIGINT)] {
        let server = Server::start("", cores);
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
        clients.iter_mut().take(20).for_each(|client| client.subscribe("ticker.BTC-PERPETUAL.raw"));
        let mut half = bytes::connect(server.address);
        server.signal(signal);
        for mut client in clients {
            let End::Close { code, reason } = client.read_to_end(|_| ()) else { panic!("no close frame") };
            assert_eq!(code, 1001, "{reason}");
        }
        assert_eq!(bytes::read_to_end(&mut half), b"");
        let ended = server.wait();
        ended.assert_clean();
    }
}

/// A stop that takes its time: a client that has been told does not go, and of a shard's clients the last wait for an hour.
const SLOW: &str =
    "[limits]\nclose_timeout_ms = 60000\n[service]\ndrain_timeout_s = 3600\ndrain_spread_ms = 3600000\n";

#[test]
fn clients_are_sent_away_one_after_the_other_and_served_until_then() {
    let server = Server::start(SLOW, "0");
    let mut early = bytes::connect(server.address);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    server.signal(Signal::SIGTERM);
    let mut last = clients.pop().unwrap();
    assert!(matches!(last.read_to_end(|_| ()), End::Close { code: 1001, .. }));
    clients[0].call("public/test", &serde_json::json!({}));
    early.write_all(&bytes::request("GET /ready HTTP/1.1", &[])).unwrap();
    let answer = String::from_utf8(bytes::read_to_end(&mut early)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nstopping\n"), "{answer}");
    // Nobody new comes in.
    assert!(TcpStream::connect(server.address).is_err());
    server.signal(Signal::SIGTERM);
    server.wait();
}

#[test]
fn who_listens_is_told_before_it_is_closed() {
    // Each is closed within the hour, but told at once.
    let server = Server::start(SLOW, "0,1");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    clients.iter_mut().for_each(|client| client.subscribe("platform_state"));
    server.signal(Signal::SIGTERM);
    for client in &mut clients {
        let note = client.note();
        assert_eq!(note["channel"], "platform_state");
        assert_eq!(note["data"], json!({"maintenance": true}));
    }
    server.signal(Signal::SIGTERM);
    server.wait();

    let server = Server::start("", "0");
    let mut client = Client::connect(server.address);
    client.subscribe("platform_state");
    server.signal(Signal::SIGTERM);
    let mut told = Vec::new();
    let end = client.read_to_end(|text| told.push(text.to_owned()));
    assert!(matches!(end, End::Close { code: 1001, .. }), "{end:?}");
    assert!(told.len() == 1 && told[0].contains(r#""data":{"maintenance":true}"#), "{told:?}");
    server.wait().assert_clean();
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let server = Server::start(SLOW, "0,1");
        // Told to go, it never answers.
        let mut client = bytes::open(server.address);
        server.signal(Signal::SIGTERM);
        assert_eq!(bytes::read_frame(&mut client).close_code(), Some(1001));
        server.signal(signal);
        let ended = server.wait();
        // By the signal itself; where whoever runs the tests has it ignored, with the code that stands for it.
        let by_code = 128 + signal as i32;
        assert!(ended.code.is_none_or(|code| code == by_code), "{:?}: {:#?}", ended.code, ended.log);
        assert!(
            ended.log.iter().any(|line| line.contains(&format!("a second signal, {signal}: ending at once")))
        );
    }
}

#[test]
fn who_does_not_go_is_cut_off_when_the_time_is_over() {
    let server = Server::start("[limits]\nclose_timeout_ms = 60000\n[service]\ndrain_timeout_s = 1\n", "0,1");
    let mut client = bytes::open(server.address);
    server.signal(Signal::SIGTERM);
    assert_eq!(bytes::read_frame(&mut client).close_code(), Some(1001));
    let ended = server.wait();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
}
