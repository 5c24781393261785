//! The Expert Advisor of src/backend/mt5 in its simulated terminal, as the market of a whole gateway that clients trade on: its
//! ticks, its orders, a refusal, and what becomes of an order whose advisor is killed.

#[path = "../mt5/advisor.rs"]
mod advisor;

use std::net::SocketAddr;

use serde_json::{Value, json};

use self::advisor::{Advisor, built};
use crate::client::Client;
use crate::server::Server;
use crate::until;

const CONFIG: &str = "[feed]\nkind = \"none\"\n[venue.mt5]\nkind = \"mt5\"\nkey = \"s3cret\"\n\
    listen = \"127.0.0.1:0\"\nheartbeat_ms = 200\n";

fn trader(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    let params =
        json!({"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"});
    client.call("public/auth", &params);
    client
}

/// A gateway whose market is a terminal, and a client that has logged in; `None` where the advisor can't be built.
fn trading() -> Option<(Server, Advisor, Client)> {
    let folder = built()?;
    let mut server = Server::start(CONFIG, "0");
    let advisor = Advisor::start(folder, server.venue_addresses[0].port(), &[]);
    server.wait_for_log("venue link mt5: takes orders of 3 instruments");
    let mut client = trader(server.address);
    await_open(&mut client);
    Some((server, advisor, client))
}

fn await_open(client: &mut Client) {
    until("EURUSD is open", || {
        let ticker = client.request("public/ticker", &json!({"instrument_name": "EURUSD"}));
        ticker["result"]["state"] == "open" && ticker["result"]["best_bid_price"].is_number()
    });
}

fn limit(price: f64, label: &str) -> Value {
    json!({"instrument_name": "EURUSD", "amount": 5_000, "type": "limit", "price": price, "label": label})
}

fn state_of(client: &mut Client, order_id: &Value) -> Value {
    client.call("private/get_order_state", &json!({"order_id": order_id}))
}

/// Waits until an order is so.
fn await_state(client: &mut Client, order_id: &Value, state: &str) -> Value {
    let mut order = Value::Null;
    until(state, || {
        order = state_of(client, order_id);
        order["order_state"] == state
    });
    order
}

#[test]
fn a_terminal_s_ticks_reach_subscribers_and_its_fills_those_who_trade() {
    let Some((server, mut advisor, mut client)) = trading() else { return };
    let names = client.call("public/get_instruments", &json!({"currency": "any"}));
    let mut names: Vec<&str> =
        names.as_array().unwrap().iter().map(|one| one["instrument_name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["EURUSD", "GBPUSD_m", "Si-9_27"]);
    client.subscribe("quote.EURUSD");
    advisor.control("price EURUSD 1.12110 1.12112");
    until("the price is told", || {
        let quote = client.note()["data"].clone();
        quote["best_bid_price"] == 1.1211 && quote["best_ask_price"] == 1.12112
    });
    let order = json!({"instrument_name": "EURUSD", "amount": 5_000, "type": "market", "label": "at market"});
    let id = client.call("private/buy", &order)["order"]["order_id"].clone();
    let filled = await_state(&mut client, &id, "filled");
    assert_eq!((&filled["filled_amount"], &filled["average_price"]), (&json!(5_000), &json!(1.12112)));
    let position = client.call("private/get_position", &json!({"instrument_name": "EURUSD"}));
    assert_eq!((&position["size"], &position["direction"]), (&json!(5_000), &json!("buy")));

    let rests = client.call("private/buy", &limit(1.12, "rests"))["order"].clone();
    assert_eq!(rests["order_state"], "open");
    let id = rests["order_id"].clone();
    let edit = json!({"order_id": id, "amount": 5_000, "price": 1.12001});
    assert_eq!(client.call("private/edit", &edit)["order"]["price"], 1.12001);
    let edit = json!({"order_id": id, "amount": 6_000, "price": 1.12001});
    let refused = client.request("private/edit", &edit);
    assert_eq!(refused["error"]["message"], "invalid_amount", "{refused}");
    let cancelled = client.call("private/cancel", &json!({"order_id": id}));
    assert_eq!(cancelled["order_state"], "cancelled");

    // As a broker's server refuses.
    advisor.control("retcode 10019");
    let refused = client.request("private/buy", &limit(1.12, "no money"));
    assert_eq!(refused["error"]["data"]["reason"], "above the largest order value", "{refused}");
    advisor.control("offline");
    until("the market is closed", || {
        client.call("public/ticker", &json!({"instrument_name": "EURUSD"}))["state"] == "closed"
    });
    server.stop().assert_clean();
    advisor.wait_line("tickring: disconnected: ended by the peer: stopped");
    assert_eq!(advisor.stop(), Some(0));
}

#[test]
fn an_order_whose_advisor_is_killed_is_in_doubt_and_then_told() {
    let Some((server, mut advisor, mut client)) = trading() else { return };
    let rests = client.call("private/buy", &limit(1.12, "rests"))["order"]["order_id"].clone();
    advisor.control("hold");
    client.send("private/buy", &limit(1.121, "in doubt"));
    advisor.wait_line("terminal: request 2");
    advisor.kill_advisor();
    let unknown: Value = serde_json::from_str(&client.text()).unwrap();
    assert_eq!(unknown["error"]["code"], 20001, "{unknown}");
    let id = unknown["error"]["data"]["order_id"].clone();
    // The trade server executes both while the next advisor says hello.
    advisor.control("release");
    advisor.control("price EURUSD 1.11990 1.11995");
    for id in [rests, id] {
        let order = await_state(&mut client, &id, "filled");
        assert_eq!(order["filled_amount"], 5_000, "{order}");
    }
    let position = client.call("private/get_position", &json!({"instrument_name": "EURUSD"}));
    assert_eq!(position["size"], 10_000);
    assert!(!advisor.has_line("never came to the trade server"));
    server.stop().assert_clean();
    assert_eq!(advisor.stop(), Some(0));
}
