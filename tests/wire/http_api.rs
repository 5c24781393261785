//! Calls of methods over HTTP on the client port: kept alive, pipelined, in any pieces, refused, by pages, by others' clients.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;

use serde_json::Value;

use crate::bytes;
use crate::client::Client;
use crate::server::Server;

/// Reads one answer: its head and its body.
fn read_answer(stream: &mut TcpStream) -> (String, String) {
    let head = bytes::read_head(stream);
    let length = head.split("\r\n").find_map(|field| field.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |digits| digits.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn status(head: &str) -> &str {
    &head[9..12]
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// All that comes in answer to bytes after which nothing more is sent.
pub(crate) fn all_answers(address: SocketAddr, request: &str) -> String {
    let mut stream = bytes::connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    String::from_utf8(bytes::read_to_end(&mut stream)).unwrap()
}

#[test]
fn calls_are_answered_in_order_on_one_connection_though_some_wait_for_another_shard() {
    let server = Server::start("", "0,1");
    let mut stream = bytes::connect(server.address);
    let mut calls = String::new();
    for number in 0..40 {
        let topic = ["a", "b", "c", "d"][number % 4];
        calls.push_str(&post("/api/v2/topic/publish", &format!(r#"{{"topic":"{topic}","data":{number}}}"#)));
        let request = format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"public/test"}}"#);
        calls.push_str(&post("/api/v2", &request));
    }
    stream.write_all(calls.as_bytes()).unwrap();
    for number in 0..40 {
        let (head, body) = read_answer(&mut stream);
        let published: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status(&head), published["result"]["seq"].as_u64()),
            ("200", Some(number / 4 + 1)),
            "{body}"
        );
        let (head, body) = read_answer(&mut stream);
        let tested: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status(&head), tested["id"].as_u64()), ("200", Some(number)), "{body}");
    }
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_no_incident();
}

#[test]
fn calls_may_come_byte_by_byte() {
    let server = Server::start("", "0");
    let mut stream = bytes::connect(server.address);
    let body = r#"{"expected_result":"x"}"#;
    let calls = [get("/api/v2/public/get_time"), post("/api/v2/public/test", body)].concat();
    for byte in calls.bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    for _ in 0..2 {
        let (head, body) = read_answer(&mut stream);
        assert_eq!(status(&head), "200", "{body}");
    }
    server.stop().assert_clean();
}

#[test]
fn each_refusal_of_a_call_has_its_status_and_ends_the_connection() {
    let server = Server::start("[limits]\nhandshake_timeout_ms = 1000\nmessages_per_s_max = 5\n", "0");
    let path = "/api/v2/public/test";
    let cases = [
        ("411", "length_required", format!("POST {path} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (
            "413",
            "body_too_large",
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n"),
        ),
        (
            "400",
            "length_malformed",
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1,1\r\n\r\n"),
        ),
        (
            "501",
            "transfer_coding",
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ),
        ("417", "expectation_unknown", format!("GET {path} HTTP/1.1\r\nHost: a\r\nExpect: gold\r\n\r\n")),
        ("405", "call_method", format!("DELETE {path} HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("400", "upgrade_too_late", get(path) + &get("/ws")),
        ("429", "call_rate", get(path).repeat(6)),
        (
            "403",
            "origin_forbidden",
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nOrigin: http://evil.example\r\n\r\n"),
        ),
        (
            "408",
            "handshake_timeout",
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{{"),
        ),
    ];
    for (expected, _, request) in &cases {
        let mut stream = bytes::connect(server.address);
        stream.write_all(request.as_bytes()).unwrap();
        let answers = String::from_utf8(bytes::read_to_end(&mut stream)).unwrap();
        let last = &answers[answers.rfind("HTTP/1.1 ").unwrap()..];
        assert_eq!(status(last), *expected, "{request}\n{answers}");
        assert!(last.contains("\r\nConnection: close\r\n"), "{answers}");
        assert_eq!(last.contains("\r\nRetry-After: "), *expected == "429", "{answers}");
    }
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_incidents(cases.iter().map(|case| case.1));
}

#[test]
fn a_connection_that_calls_no_more_is_ended() {
    let server = Server::start("[limits]\nhandshake_timeout_ms = 1000\n", "0");
    let mut stream = bytes::connect(server.address);
    stream.write_all(get("/api/v2/public/test").as_bytes()).unwrap();
    assert_eq!(status(&read_answer(&mut stream).0), "200");
    assert_eq!(bytes::read_to_end(&mut stream), b"");
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_no_incident();
}

#[test]
fn a_client_with_a_pool_of_connections_opens_its_websocket_on_one_that_has_called() {
    for cores in ["0", "0,1"] {
        let server = Server::start("", cores);
        let mut stream = bytes::connect(server.address);
        for _ in 0..3 {
            stream.write_all(get("/api/v2/public/get_time").as_bytes()).unwrap();
            assert_eq!(status(&read_answer(&mut stream).0), "200");
        }
        let mut client = Client::over(stream);
        client.subscribe("ticker.BTC-PERPETUAL.raw");
        assert_eq!(client.note()["data"]["instrument_name"], "BTC-PERPETUAL");
        client.close();
        let ended = server.stop();
        ended.assert_clean();
        ended.assert_no_incident();
    }
}

#[test]
fn probes_are_answered_behind_calls() {
    let server = Server::start("", "0");
    let answers = all_answers(server.address, &(get("/api/v2/public/test") + &get("/ready")));
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n") && answers.ends_with("\r\n\r\nready\n"), "{answers}");
    server.stop().assert_clean();
}

#[test]
fn a_listed_page_may_read_answers_and_its_preflight_says_so() {
    let server = Server::start("[[listen]]\norigins = [\"https://desk.example\"]\n", "0");
    let page = "Host: localhost\r\nOrigin: https://desk.example\r\nConnection: close\r\n";
    for line in
        ["OPTIONS /api/v2/private/list_api_keys HTTP/1.1", "GET /api/v2/private/list_api_keys HTTP/1.1"]
    {
        let answer = all_answers(server.address, &format!("{line}\r\n{page}\r\n"));
        assert!(answer.contains("\r\nAccess-Control-Allow-Origin: https://desk.example\r\n"), "{answer}");
        assert_eq!(status(&answer), if line.starts_with("OPTIONS") { "204" } else { "401" });
    }
    server.stop().assert_clean();
}

#[test]
fn the_demo_key_calls_private_methods() {
    let server = Server::start("", "0");
    let mut stream = bytes::connect(server.address);
    // demo:demo-secret
    let basic = "Authorization: Basic ZGVtbzpkZW1vLXNlY3JldA==\r\n";
    for (shown, expected) in
        [("", "401"), (basic, "200"), ("Authorization: Bearer guess\r\n", "401"), ("", "401")]
    {
        let request = format!("GET /api/v2/private/list_api_keys HTTP/1.1\r\nHost: localhost\r\n{shown}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let (head, body) = read_answer(&mut stream);
        assert_eq!(status(&head), expected, "{shown}{body}");
        assert_eq!(head.contains("\r\nWWW-Authenticate: "), expected == "401", "{head}");
    }
    server.stop().assert_clean();
}

#[test]
fn the_documented_call_is_answered_as_documented() {
    let page = include_str!("../../docs/protocol.md");
    let mut blocks = page.split("```http\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let (request, reply) = (blocks.next().unwrap().trim_end(), blocks.next().unwrap().trim_end());
    let server = Server::start("", "0");
    let answer = all_answers(server.address, &request.replace('\n', "\r\n"));
    let answer = answer.replace("\r\n", "\n");
    let ((head, body), (told_head, told_body)) =
        (answer.split_once("\n\n").unwrap(), reply.split_once("\n\n").unwrap());
    let without_times = |body: &str| {
        let mut value: Value = serde_json::from_str(body).unwrap();
        ["usIn", "usOut", "usDiff"].iter().for_each(|stamp| assert!(value[*stamp].take().is_u64(), "{body}"));
        value
    };
    let without_length = |head: &str| {
        head.lines().filter(|line| !line.starts_with("Content-Length")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_length(head), without_length(told_head));
    assert_eq!(without_times(body), without_times(told_body));
    server.stop().assert_clean();
}

#[test]
fn pythons_client_calls_on_one_connection() {
    const SCRIPT: &str = r#"
import http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
def call(method, path, body=None):
    connection.request(method, path, body=body)
    answer = connection.getresponse()
    return answer.status, answer.read()
status, body = call("GET", "/api/v2/public/get_time")
assert status == 200 and json.loads(body)["result"] > 0, body
socket = connection.sock
status, body = call("POST", "/api/v2/public/test", json.dumps({"expected_result": "exception"}))
assert status == 400 and json.loads(body)["error"]["code"] == 11094, body
status, body = call("HEAD", "/api/v2/public/test")
assert status == 200 and body == b"", body
status, body = call("GET", "/api/v2/public/get_instruments?currency=BTC&expired=false")
assert status == 200 and json.loads(body)["result"], body
assert connection.sock is socket, "the connection was not kept"
"#;
    let server = Server::start("", "0");
    let port = server.address.port().to_string();
    match Command::new("python3").args(["-c", SCRIPT, &port]).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("skipped: no python3 here: {error}"),
    }
    server.stop().assert_clean();
}
