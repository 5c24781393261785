//! Binary TCP on real sockets: frames, what a hello asks for, the end of a connection, TLS, both shards, and the clients of `examples/`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};

use rustls::version::TLS13;
use serde_json::{Value, json};

use crate::bytes;
use crate::client::Client;
use crate::server::{Server, temporary_file};
use crate::tls::{self, Pair};

/// Binary TCP by the second listener.
pub(crate) const TCP: &str = "[[listen]]\n[[listen]]\naddress = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n";
const EVENTS: &str = "3";

fn start(more: &str, cores: &str) -> (Server, SocketAddr) {
    let server = Server::start(&format!("{TCP}{more}"), cores);
    let address = server.addresses[1];
    (server, address)
}

fn send(stream: &mut impl Write, text: &str) {
    let mut frame = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(text.as_bytes());
    stream.write_all(&frame).unwrap();
}

/// The next message; `null` for a heartbeat.
fn receive(stream: &mut impl Read) -> Value {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut message).unwrap();
    if message.is_empty() { Value::Null } else { serde_json::from_slice(&message).unwrap() }
}

fn ask(stream: &mut (impl Read + Write), method: &str, params: &Value) -> Value {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    send(stream, &request.to_string());
    let reply = receive(stream);
    assert!(reply.get("result").is_some(), "{reply}");
    reply["result"].clone()
}

fn assert_ended(mut stream: TcpStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn a_client_logs_in_trades_and_is_told_what_a_websocket_is() {
    let (server, address) = start("", "0");
    let mut tcp = bytes::connect(address);
    let login =
        json!({"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"});
    assert!(ask(&mut tcp, "public/auth", &login)["access_token"].is_string());
    let order = json!({"instrument_name": "BTC-PERPETUAL", "amount": 10, "type": "limit", "price": 1});
    assert_eq!(ask(&mut tcp, "private/buy", &order)["order"]["order_state"], "open");
    assert_eq!(ask(&mut tcp, "public/subscribe", &json!({"channels": ["topic.t"]})), json!(["topic.t"]));
    let mut ws = Client::connect(server.address);
    ws.subscribe("topic.t");
    let long = "é".repeat(30_000);
    for data in [json!(1), json!({"a": long}), json!("end")] {
        ws.publish("t", &data);
        assert_eq!(receive(&mut tcp)["params"], ws.note());
    }
    drop(tcp);
    drop(ws);
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_no_incident();
}

#[test]
fn both_shards_accept_and_frames_may_come_in_any_pieces() {
    let (server, address) = start("", "0,1");
    for _ in 0..20 {
        let mut stream = bytes::connect(address);
        let mut frames = Vec::new();
        (0..3).for_each(|_| send(&mut frames, bytes::TEST));
        for piece in frames.chunks(7) {
            stream.write_all(piece).unwrap();
        }
        for _ in 0..3 {
            assert_eq!(receive(&mut stream)["id"], 7);
        }
    }
    let ended = server.stop();
    ended.assert_clean();
    assert!(ended.each_shard("connections_opened_total").iter().all(|opened| *opened > 0));
}

#[test]
fn who_speaks_http_is_told_why_it_is_closed_and_nobody_else_notices() {
    let (server, address) = start("", "0");
    let mut other = bytes::connect(address);
    let mut odd = bytes::connect(address);
    odd.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let told = receive(&mut odd);
    assert_eq!((&told["method"], &told["params"]["code"]), (&json!("close"), &json!(1009)));
    assert_ended(odd);
    ask(&mut other, "public/test", &json!({}));
    drop(other);
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_incidents(["message_too_big"]);
}

#[test]
fn an_encoding_that_is_not_there_is_refused_with_those_that_are_and_nothing_is_told_in_its_place() {
    let (server, address) = start("", "0");
    let mut stream = bytes::connect(address);
    let asked =
        json!({"client_name": "a", "client_version": "1", "encoding": "sbe", "schema": 2, "version": 0});
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "public/hello", "params": asked});
    let channels = json!({"channels": ["quote.BTC-PERPETUAL"]});
    let follow = json!({"jsonrpc": "2.0", "id": 2, "method": "public/subscribe", "params": channels});
    let mut frames = Vec::new();
    [hello, follow].iter().for_each(|request| send(&mut frames, &request.to_string()));
    stream.write_all(&frames).unwrap();
    let reply = receive(&mut stream);
    let reason = "supported: json, or sbe with schema 1 and version 0, with or without batch";
    assert_eq!((&reply["id"], &reply["error"]["data"]["reason"]), (&json!(1), &json!(reason)));
    assert_eq!(receive(&mut stream)["params"]["code"], 1003);
    assert_ended(stream);
    let mut stream = bytes::connect(address);
    stream.write_all(&[0x80, 0, 0, 2, b'{', b'}']).unwrap();
    assert_eq!(receive(&mut stream)["params"]["code"], 1003, "no SBE is spoken there");
    assert_ended(stream);
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_incidents(["encoding_refused", "binary_message"]);
}

#[test]
fn who_finds_no_room_is_told_so() {
    let (server, address) = start("[limits]\nconnections_max = 1\n", "0");
    let mut first = bytes::connect(address);
    ask(&mut first, "public/test", &json!({}));
    let mut second = bytes::connect(address);
    assert_eq!(receive(&mut second)["params"]["code"], 1013);
    assert_ended(second);
    drop(first);
    server.stop().assert_clean();
}

#[test]
fn a_silent_client_is_asked_whether_it_is_there_and_closed_if_it_is_not() {
    // Within the time to answer this test has to be run at all.
    let (server, address) = start("ping_interval_ms = 50\nping_timeout_ms = 2000\n", "0");
    let mut stream = bytes::connect(address);
    assert_eq!(receive(&mut stream), Value::Null);
    send(&mut stream, "");
    assert_eq!(receive(&mut stream), Value::Null);
    let told = receive(&mut stream);
    assert_eq!(told["method"], "close");
    assert_ended(stream);
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_incidents(["ping_timeout"]);
}

#[test]
fn a_server_that_stops_tells_its_clients() {
    let (server, address) = start("", "0");
    let mut stream = bytes::connect(address);
    ask(&mut stream, "public/test", &json!({}));
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let told = receive(&mut stream);
    assert_eq!(told["params"], json!({"code": 1001, "reason": "server is shutting down"}));
    assert_ended(stream);
    server.wait().assert_clean();
}

#[test]
fn over_tls_it_is_the_same() {
    let pair = Pair::new();
    let server = pair.server_by("protocol = \"tcp\"", "0", "");
    let mut stream = tls::connect(server.address, &pair.client(&[&TLS13]));
    assert_eq!(ask(&mut stream, "public/subscribe", &json!({"channels": ["topic.t"]})), json!(["topic.t"]));
    let long = "x".repeat(60_000);
    send(
        &mut stream,
        &json!({"jsonrpc": "2.0", "method": "topic/publish", "params": {"topic": "t", "data": long}})
            .to_string(),
    );
    assert_eq!(receive(&mut stream)["params"]["data"], long);
    drop(stream);
    server.stop().assert_clean();
}

/// Runs a client of `examples/` until it has printed its events.
fn check_example(command: &mut Command, address: SocketAddr) {
    let port = address.port().to_string();
    let words = ["127.0.0.1", &port, "demo", "demo-secret", "ticker.BTC-PERPETUAL.raw", EVENTS];
    let Output { status, stdout, stderr } = command.args(words).output().unwrap();
    let (told, faults) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{told}{faults}");
    let events = told.lines().filter(|line| line.contains("\"best_bid_price\""));
    assert!(events.count() >= 3, "{told}");
    let wrong = words.map(|word| if word == "demo-secret" { "wrong" } else { word });
    let Output { status, stderr, .. } =
        Command::new(command.get_program()).args(leading(command, 6)).args(wrong).output().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stderr).contains("13004"), "invalid credentials");
}

/// The arguments of a command without the last ones.
fn leading(command: &Command, without: usize) -> Vec<String> {
    let all: Vec<String> = command.get_args().map(|word| word.to_str().unwrap().to_owned()).collect();
    all[..all.len() - without].to_vec()
}

#[test]
fn the_example_in_python_logs_in_and_reads() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("no python3 on this host: nothing is shown");
        return assert!(std::env::var_os("TICKRING_REQUIRE").is_none(), "TICKRING_REQUIRE is set");
    }
    let (server, address) = start("", "0");
    check_example(Command::new("python3").arg("examples/tcp_client.py"), address);
    server.stop().assert_clean();
}

#[test]
fn the_example_in_c_logs_in_and_reads() {
    let (server, address) = start("", "0");
    let client = temporary_file("client", b"");
    let built = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&client)
        .arg("examples/tcp_client.c")
        .status();
    assert!(built.unwrap().success());
    check_example(&mut Command::new(&client), address);
    std::fs::remove_file(client).unwrap();
    server.stop().assert_clean();
}
