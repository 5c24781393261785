//! The gateway's own tools, by HTTP: what an assistant asks for is done by a shard, in the name of who asks.

use serde_json::{Value, json};

use super::{DEMO, ask, get, start};
use crate::bytes;
use crate::client::Client;
use crate::server::Server;

/// Calls a tool: whether it was an error, and what it says.
fn call(server: &Server, fields: &str, name: &str, arguments: &Value) -> (bool, Value) {
    let body = json!({"name": name, "arguments": arguments}).to_string();
    let answer = ask(server.control.unwrap(), "POST /api/tools/call", fields, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let said = answer.json();
    let text = said["content"][0]["text"].as_str().unwrap();
    (said["isError"].as_bool().unwrap(), serde_json::from_str(text).unwrap())
}

fn done(server: &Server, fields: &str, name: &str, arguments: &Value) -> Value {
    let (is_error, said) = call(server, fields, name, arguments);
    assert!(!is_error, "{said}");
    said
}

#[test]
fn an_assistant_looks_at_the_market_and_trades() {
    let server = start("");
    let listed = get(&server, "/api/tools").json();
    assert_eq!(listed["tools"].as_array().map(Vec::len), Some(7));
    let instruments = done(&server, "", "list_instruments", &json!({}));
    let name = instruments[0]["instrument_name"].clone();
    assert!(name.is_string(), "{instruments}");
    let of_it = json!({"instrument_name": name});
    assert_eq!(done(&server, "", "last_price", &of_it)["instrument_name"], name);
    let book = done(&server, "", "order_book", &json!({"instrument_name": name, "depth": 5}));
    assert!(book["bids"].as_array().is_some_and(|bids| bids.len() <= 5), "{book}");
    assert!(done(&server, "", "recent_trades", &of_it)["trades"].is_array());
    assert!(done(&server, "", "server_status", &json!({})).is_array());
    let amount = instruments[0]["min_trade_amount"].clone();
    let order = json!({"instrument_name": name, "side": "buy", "amount": amount, "price": instruments[0]["tick_size"], "label": "by-tool"});
    let placed = done(&server, DEMO, "place_order", &order);
    assert_eq!(
        (&placed["order"]["label"], &placed["order"]["order_state"]),
        (&json!("by-tool"), &json!("open"))
    );
    let cancelled = done(&server, DEMO, "cancel_order", &json!({"order_id": placed["order"]["order_id"]}));
    assert_eq!(cancelled["order_state"], "cancelled");
    let ended = server.stop();
    ended.assert_clean();
}

#[test]
fn a_tool_has_no_more_rights_than_who_calls_it() {
    let server = start("");
    let order = json!({"instrument_name": "BTC-PERPETUAL", "side": "buy", "amount": 10, "price": 1});
    for (fields, code) in [("", 13009), ("Authorization: Bearer nobody.known\r\n", 13004)] {
        let (is_error, said) = call(&server, fields, "place_order", &order);
        assert!(is_error && said["code"] == code, "{said}");
    }
    for (name, arguments, expected) in [
        ("last_price", json!({"instrument": "X"}), "last_price does not take \"instrument\""),
        ("place_order", json!({"side": "hold"}), "side must be one of buy, sell"),
    ] {
        assert_eq!(call(&server, DEMO, name, &arguments), (true, json!({"message": expected})));
    }
    let (is_error, said) = call(&server, "", "last_price", &json!({"instrument_name": "NO-SUCH"}));
    assert!(is_error && said["code"].is_i64(), "{said}");
    for (body, status) in [(r#"{"name":"no_such"}"#, 404), ("[]", 400), (r#"{"name":"a","more":1}"#, 400)] {
        assert_eq!(ask(server.control.unwrap(), "POST /api/tools/call", "", body).status, status, "{body}");
    }
    server.stop().assert_clean();
}

#[test]
fn calls_beside_clients_take_no_place_of_theirs() {
    let server = start("[limits]\nconnections_max = 1\n");
    let mut client = Client::connect(server.address);
    for _ in 0..50 {
        assert!(done(&server, "", "server_status", &json!({})).is_array());
    }
    client.call("public/test", &json!({}));
    drop(client);
    drop(bytes::connect(server.address));
    let ended = server.stop();
    ended.assert_clean();
    assert!(ended.of_shards("connections_opened_total") >= 51);
}
