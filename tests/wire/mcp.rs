//! The gateway's own tools for clients of the Model Context Protocol, over both ways; and a backend over HTTP that says nothing.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::bytes;
use crate::client::Client;
use crate::control::{Answer, DEMO, ask};
use crate::server::{Server, temporary_file};
use crate::services::Service;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;

fn start(toml: &str) -> Server {
    Server::start_with(toml, "0", &["--set", "mcp.address=127.0.0.1:0"])
}

fn post(server: &Server, fields: &str, body: &str) -> Answer {
    let fields = format!("Content-Type: application/json\r\nAccept: application/json\r\n{fields}");
    ask(server.mcp.unwrap(), "POST /mcp", &fields, body)
}

/// The result of a request over HTTP without a session.
fn over_http(server: &Server, fields: &str, method: &str, params: &Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": "x", "method": method, "params": params}).to_string();
    let answer = post(server, fields, &body).json();
    assert_eq!(answer["id"], "x", "{answer}");
    answer["result"].clone()
}

/// Whether a call of a tool was an error, and what it says, which it says twice.
fn called(result: &Value) -> (bool, Value) {
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    let told = &result["structuredContent"];
    assert!(*told == text || *told == json!({"result": text}), "{result}");
    (result["isError"].as_bool().unwrap(), text)
}

/// What one does who trades by tools, and what is refused to who shows no key.
fn trade(mut trader: impl FnMut(&str, &Value) -> Value, mut nobody: impl FnMut(&str, &Value) -> Value) {
    let tools = trader("tools/list", &json!({}));
    let names: Vec<&str> =
        tools["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), names[0], names[4]), (7, "list_instruments", "place_order"));
    assert_eq!(tools["tools"][4]["inputSchema"]["required"], json!(["instrument_name", "side", "amount"]));
    let mut done = |name: &str, arguments: Value| {
        let (is_error, said) = called(&trader("tools/call", &json!({"name": name, "arguments": arguments})));
        assert!(!is_error, "{name}: {said}");
        said
    };
    let instrument = done("list_instruments", json!({}))[0].clone();
    let name = &instrument["instrument_name"];
    assert_eq!(done("last_price", json!({"instrument_name": name}))["instrument_name"], *name);
    let order = json!({
        "instrument_name": name,
        "side": "buy",
        "amount": instrument["min_trade_amount"],
        "price": instrument["tick_size"],
    });
    let placed = done("place_order", order.clone());
    assert_eq!(placed["order"]["order_state"], "open");
    let cancelled = done("cancel_order", json!({"order_id": placed["order"]["order_id"]}));
    assert_eq!(cancelled["order_state"], "cancelled");
    let (is_error, said) = called(&nobody("tools/call", &json!({"name": "place_order", "arguments": order})));
    assert!(is_error && said["code"] == 13009, "{said}");
    let (is_error, _) =
        called(&nobody("tools/call", &json!({"name": "last_price", "arguments": {"instrument_name": name}})));
    assert!(!is_error, "prices are everybody's");
}

#[test]
fn an_assistant_trades_by_own_tools_over_http_and_nobody_does_without_a_key() {
    let server = start("");
    trade(
        |method, params| over_http(&server, DEMO, method, params),
        |method, params| over_http(&server, "", method, params),
    );
    server.stop().assert_clean();
}

#[test]
fn an_assistant_trades_by_own_tools_over_websocket_and_nobody_does_without_a_key() {
    let server = start("");
    let mut trader = Client::of_mcp(server.address, Some("Bearer demo.demo-secret"));
    let mut nobody = Client::of_mcp(server.address, None);
    trade(|method, params| trader.call(method, params), |method, params| nobody.call(method, params));
    drop((trader, nobody));
    server.stop().assert_clean();
}

#[test]
fn a_session_over_http_calls_in_the_name_of_its_key() {
    let server = start("");
    let begun = post(&server, DEMO, INITIALIZE);
    assert_eq!(begun.json()["result"]["serverInfo"]["name"], "tickring");
    let session = format!("Mcp-Session-Id: {}\r\n", begun.field("mcp-session-id"));
    let order = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "cancel_order", "arguments": {"order_id": "none"}}});
    let said = called(&post(&server, &format!("{session}{DEMO}"), &order.to_string()).json()["result"]);
    assert!(said.0 && said.1["code"] != 13009, "it may, but there is no such order: {}", said.1);
    assert_eq!(post(&server, &session, &order.to_string()).status, 404, "without its key it is no session");
    server.stop().assert_clean();
}

#[test]
fn a_session_and_its_stream_of_events_end_with_their_key() {
    let key = |secret: &str| {
        format!(
            "[[key]]\nclient_id = \"desk\"\naccount = \"desk\"\nsecret = \"{secret}\"\nscopes = [\"backend:read\"]\n"
        )
    };
    let keys = temporary_file("keys.toml", key("0123456789abcdef0123456789abcdef").as_bytes());
    fs::set_permissions(&keys, PermissionsExt::from_mode(0o600)).unwrap();
    let mut server = start(&format!("[auth]\nkeys = {keys:?}\n"));
    let shown = "Authorization: Bearer desk.0123456789abcdef0123456789abcdef\r\n";
    let begun = post(&server, shown, INITIALIZE);
    let session = format!("Mcp-Session-Id: {}\r\n", begun.field("mcp-session-id"));
    let mut stream = bytes::connect(server.mcp.unwrap());
    let listen = format!(
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: text/event-stream\r\n{session}{shown}\r\n"
    );
    stream.write_all(listen.as_bytes()).unwrap();
    assert!(bytes::read_head(&mut stream).starts_with("HTTP/1.1 200 "));
    fs::write(&keys, key("fedcba9876543210fedcba9876543210")).unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for_log("keys hold from now on");
    bytes::read_to_end(&mut stream);
    let other = "Authorization: Bearer desk.fedcba9876543210fedcba9876543210\r\n";
    let ping = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
    assert_eq!(post(&server, &format!("{session}{other}"), ping).status, 404);
    assert_eq!(post(&server, other, ping).status, 200);
    server.stop().assert_clean();
    fs::remove_file(keys).unwrap();
}

#[test]
fn without_own_tools_and_backends_nobody_is_served() {
    let server = start("[mcp]\ntools = false\n");
    assert_eq!(server.mcp, None);
    let upgrade =
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(ask(server.address, "GET /mcp", upgrade, "").status, 404);
    server.stop().assert_clean();
}

#[test]
fn a_backend_over_http_that_never_answers_holds_up_no_stop() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", silent.local_addr().unwrap());
    let server =
        start(&format!("[[backend]]\nname = \"silent\"\nkind = \"mcp-http\"\naddresses = [\"{url}\"]\n"));
    let (connection, _) = silent.accept().unwrap();
    server.stop().assert_clean();
    drop(connection);
}

/// Whether the last request of the test below has come to its backend.
static HAS_COME: AtomicBool = AtomicBool::new(false);

/// A backend of MCP that hangs in one tool, and takes the word that nobody waits for it only once another call has come.
fn slow_to_note(_: &str, request: &Value) -> Option<(u16, String)> {
    let result = |result: Value| {
        Some((200, json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string()))
    };
    match (request["method"].as_str(), request["params"]["name"].as_str()) {
        (Some("initialize"), _) => {
            result(json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {}}))
        }
        (Some("tools/list"), _) => result(json!({"tools": []})),
        (Some("tools/call"), Some("hang")) => {
            thread::park_timeout(Duration::from_secs(60));
            None
        }
        (Some("tools/call"), _) => {
            HAS_COME.store(true, Ordering::SeqCst);
            result(json!({"content": []}))
        }
        (Some("notifications/cancelled"), _) => {
            while !HAS_COME.load(Ordering::SeqCst) {
                thread::park_timeout(Duration::from_millis(10));
            }
            Some((202, String::new()))
        }
        (Some(_), _) => Some((202, String::new())),
        // No stream of events.
        (None, _) => Some((405, String::new())),
    }
}

#[test]
fn a_backend_over_http_that_takes_a_notification_late_is_asked_what_others_want_meanwhile() {
    let backend = Service::start(slow_to_note);
    let server = start(&format!(
        "[[backend]]\nname = \"a\"\nkind = \"mcp-http\"\naccess = \"public\"\naddresses = [{:?}]\n",
        backend.url()
    ));
    let mut client = Client::of_mcp(server.address, None);
    // Once it is up.
    client.call("tools/list", &json!({}));
    let hanging = client.send("tools/call", &json!({"name": "a__hang"}));
    client.send_text(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": hanging}})
            .to_string(),
    );
    let answered = client.request("tools/call", &json!({"name": "a__well"}));
    assert_eq!(answered["result"], json!({"content": []}), "{answered}");
    drop(client);
    server.stop().assert_clean();
}
