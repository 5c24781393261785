//! Trading with a running server: what is bought, told of, repeated, cancelled and refused, over a WebSocket and over HTTP,
//! with clients that are cut off; each error of orders that `docs/protocol.md` lists; each request that it shows.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use nix::sys::socket::{setsockopt, sockopt};
use serde_json::{Value, json};

use crate::bytes;
use crate::client::Client;
use crate::server::Server;
use crate::until;

const INSTRUMENT: &str = "BTC-PERPETUAL";
/// The demo key may trade, on loopback.
const DEMO: (&str, &str) = ("demo", "demo-secret");

pub(crate) fn trader(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    let params = json!({"grant_type": "client_credentials", "client_id": DEMO.0, "client_secret": DEMO.1});
    client.call("public/auth", &params);
    client
}

/// A price that far below the market, in ticks of whole money, at which nothing trades.
pub(crate) fn far_below(client: &mut Client, percent: i64) -> i64 {
    let ticker = client.call("public/ticker", &json!({"instrument_name": INSTRUMENT}));
    let best = ticker["best_bid_price"].as_f64().unwrap();
    #[expect(clippy::cast_possible_truncation, reason = "a price of some ten thousand")]
    let best = best as i64;
    best * (100 - percent) / 100
}

pub(crate) fn limit(price: i64, more: &Value) -> Value {
    let mut order = json!({"instrument_name": INSTRUMENT, "amount": 10, "type": "limit", "price": price});
    for (name, value) in more.as_object().unwrap() {
        order[name] = value.clone();
    }
    order
}

/// The next event of a channel that is about this order.
fn note_of(client: &mut Client, order_id: &Value) -> Value {
    loop {
        let note = client.note();
        if &note["data"]["orders"][0]["order_id"] == order_id {
            return note;
        }
    }
}

/// Cuts a connection off as a crash does: the peer gets a reset.
fn cut_off(client: Client) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(client.stream(), sockopt::Linger, &linger).unwrap();
    drop(client);
}

#[test]
fn a_client_buys_is_told_of_it_is_cut_off_and_finds_its_resting_order_cancelled() {
    let server = Server::start("", "0,1");
    let mut client = trader(server.address);
    client.call("private/enable_cancel_on_disconnect", &json!({"scope": "connection"}));
    let channel = "user.changes.any.any.raw";
    let subscribed = client.request("private/subscribe", &json!({"channels": [channel]}));
    let place = subscribed["places"][channel].clone();
    assert!(place["epoch"].is_u64() && place["seq"] == 0, "{subscribed}");

    let bought =
        client.call("private/buy", &json!({"instrument_name": INSTRUMENT, "amount": 20, "type": "market"}));
    assert_eq!(
        (&bought["order"]["order_state"], &bought["order"]["filled_amount"]),
        (&json!("filled"), &json!(20))
    );
    let told = note_of(&mut client, &bought["order"]["order_id"]);
    assert_eq!((&told["seq"], &told["prev_seq"]), (&json!(1), &json!(0)));
    assert_eq!(told["data"]["trades"], bought["trades"]);
    assert_eq!(told["data"]["positions"][0]["size"], 20);
    let position = client.call("private/get_position", &json!({"instrument_name": INSTRUMENT}));
    assert_eq!((&position["size"], &position["direction"]), (&json!(20), &json!("buy")));
    let public = client
        .call("public/get_last_trades_by_instrument", &json!({"instrument_name": INSTRUMENT, "count": 1000}));
    let of_market =
        |id: &Value| public["trades"].as_array().unwrap().iter().find(|trade| &trade["trade_id"] == id);
    for trade in bought["trades"].as_array().unwrap() {
        let public =
            of_market(&trade["trade_id"]).unwrap_or_else(|| panic!("{trade} is no trade of the market"));
        assert_eq!(
            (&public["price"], &public["amount"], &public["direction"]),
            (&trade["price"], &trade["amount"], &json!("buy"))
        );
    }

    let price = far_below(&mut client, 5);
    let rests = client.call("private/buy", &limit(price, &json!({"label": "rests"})));
    let book = client.call("public/get_order_book", &json!({"instrument_name": INSTRUMENT, "depth": 10_000}));
    let levels = book["bids"].as_array().unwrap();
    assert!(
        levels.iter().any(|level| level[0].as_f64() == rests["order"]["price"].as_f64()),
        "it is in the book"
    );
    let again = client.call("private/buy", &limit(price, &json!({"label": "rests"})));
    assert_eq!(
        (&again["repeated"], &again["order"]["order_id"]),
        (&json!(true), &rests["order"]["order_id"])
    );
    let cancels = client.call("private/buy", &limit(price, &json!({"label": "goes"})));
    let cancelled = client.call("private/cancel", &json!({"order_id": cancels["order"]["order_id"]}));
    assert_eq!(cancelled["order_state"], "cancelled");
    let told = note_of(&mut client, &rests["order"]["order_id"]);
    assert_eq!(told["seq"], 2);
    cut_off(client);

    let mut client = trader(server.address);
    let state = json!({"order_id": rests["order"]["order_id"]});
    until("the order of the connection that is gone is cancelled", || {
        client.call("private/get_order_state", &state)["order_state"] == "cancelled"
    });
    assert_eq!(client.call("private/get_order_state", &state)["cancel_reason"], "cancel_on_disconnect");
    assert_eq!(client.call("private/get_open_orders", &json!({})), json!([]));
    let resume = json!({"channels": [channel], "resume": {channel: {"epoch": place["epoch"], "seq": 2}}});
    let resumed = client.request("private/subscribe", &resume);
    assert_eq!(resumed["resumed"][channel]["recovered"], true, "{resumed}");
    let missed: Vec<(u64, Value)> = (0..3)
        .map(|_| client.note())
        .map(|note| (note["seq"].as_u64().unwrap(), note["data"]["orders"][0]["order_state"].clone()))
        .collect();
    assert_eq!(missed, [(3, json!("open")), (4, json!("cancelled")), (5, json!("cancelled"))]);
    server.stop().assert_clean();
}

#[test]
fn orders_stay_where_nobody_asked_for_their_end_and_after_a_logout() {
    let server = Server::start("", "0");
    let mut client = trader(server.address);
    let price = far_below(&mut client, 5);
    let kept = client.call("private/buy", &limit(price, &json!({})));
    cut_off(client);
    let mut client = trader(server.address);
    client.call("private/enable_cancel_on_disconnect", &json!({}));
    let logged_out = client.call("private/buy", &limit(price, &json!({})));
    client.send("private/logout", &json!({}));
    client.read_to_end(|_| ());
    let mut client = trader(server.address);
    let open = client.call("private/get_open_orders", &json!({}));
    let ids: BTreeSet<String> =
        open.as_array().unwrap().iter().map(|order| order["order_id"].as_str().unwrap().to_owned()).collect();
    let expected =
        [&kept, &logged_out].map(|placed| placed["order"]["order_id"].as_str().unwrap().to_owned());
    assert_eq!(ids, BTreeSet::from(expected));
    assert_eq!(client.call("private/cancel_all", &json!({})), 2);
    server.stop().assert_clean();
}

#[test]
fn a_dead_man_s_timer_cancels_what_is_open() {
    let server = Server::start("", "0");
    let mut client = trader(server.address);
    let price = far_below(&mut client, 5);
    client.call("private/buy", &limit(price, &json!({})));
    client.call("private/cancel_all_after", &json!({"timeout": 100}));
    until("the timer has run out", || client.call("private/get_open_orders", &json!({})) == json!([]));
    let history = client.call(
        "private/get_order_history_by_instrument",
        &json!({"instrument_name": INSTRUMENT, "include_unfilled": true}),
    );
    assert_eq!(history[0]["cancel_reason"], "cancel_all_after");
    server.stop().assert_clean();
}

/// What a request over HTTP is answered.
fn over_http(address: SocketAddr, path: &str) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    bytes::set_deadlines(&stream);
    let basic = data_encoding::BASE64.encode(format!("{}:{}", DEMO.0, DEMO.1).as_bytes());
    let head = format!(
        "GET /api/v2/{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {basic}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn the_same_order_goes_over_http() {
    let server = Server::start("", "0");
    let bought = over_http(
        server.address,
        "private/buy?instrument_name=BTC-PERPETUAL&amount=10&type=market&label=by-http",
    );
    assert_eq!(bought["result"]["order"]["order_state"], "filled", "{bought}");
    let state = over_http(server.address, "private/get_order_state_by_label?label=by-http&currency=BTC");
    assert_eq!(state["result"][0]["order_id"], bought["result"]["order"]["order_id"]);
    assert_eq!(over_http(server.address, "private/enable_cancel_on_disconnect")["error"]["code"], 10030);
    server.stop().assert_clean();
}

/// The codes of orders that the documented table lists, by its rows from the first of them on.
fn documented_codes() -> BTreeSet<i64> {
    let text = include_str!("../../docs/protocol.md");
    let rows = text.lines().skip_while(|line| !line.starts_with("| 10004 "));
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','))
        .map(|code| code.trim().parse().unwrap())
        .collect()
}

#[test]
fn each_documented_error_of_orders_is_drawn() {
    // What only a link to another venue, a backend, a recording or a key of less right can draw is drawn elsewhere.
    let elsewhere = BTreeSet::from([20_001, 20_002, 20_003, 20_004, 20_005, 20_006, 13_028, 10_012, 13_021]);
    let limits =
        "[orders]\nopen_max = 3\nprice_band_bp = 1000\namount_max = 1000\nduplicate_window_ms = 60000\n";
    let server = Server::start(limits, "0");
    let mut client = trader(server.address);
    let price = far_below(&mut client, 5);
    let market = |more: Value| {
        let mut order = json!({"instrument_name": INSTRUMENT, "amount": 10, "type": "market"});
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    let filled = client.call("private/buy", &market(json!({"label": "filled"})));
    client.call("private/buy", &limit(price, &json!({"label": "open"})));
    let part = |more: Value| limit(price, &more);
    let mut drawn = BTreeSet::new();
    for (method, params, expected) in [
        ("private/cancel", json!({"order_id": "17"}), 10_004),
        ("private/cancel", json!({"order_id": "ETH-17"}), 10_025),
        ("private/cancel", json!({"order_id": filled["order"]["order_id"]}), 10_010),
        ("private/sell", part(json!({"price": price / 2})), 10_005),
        ("private/buy", part(json!({"price": price * 2})), 10_007),
        ("private/buy", part(json!({"amount": 15})), 10_021),
        ("private/buy", part(json!({"amount": 100_000})), 10_021),
        ("private/buy", part(json!({"price": 99_999_999_999_i64})), 10_023),
        ("private/buy", part(json!({"price": "1.0000000001"})), 10_026),
        ("private/buy", part(json!({"price": "64000.3"})), 10_043),
        ("private/buy", part(json!({"max_show": 5})), 10_036),
        ("private/buy", market(json!({"post_only": true})), 11_055),
        (
            "private/buy",
            part(json!({"price": price * 108 / 100, "post_only": true, "reject_post_only": true})),
            11_054,
        ),
        ("private/buy", part(json!({"time_in_force": "fill_or_kill"})), 11_030),
        ("private/buy", part(json!({"valid_until": 1})), 13_888),
        ("private/buy", json!({"instrument_name": "NO-SUCH", "amount": 10, "price": 1}), 13_020),
    ] {
        let reply = client.request(method, &params);
        assert_eq!(reply["error"]["code"], expected, "{method} {params}: {reply}");
        drawn.insert(expected);
    }
    // An order that is filled in part can not become smaller than that.
    until("an order takes what is best and rests with what it finds no more of", || {
        let ticker = client.call("public/ticker", &json!({"instrument_name": INSTRUMENT}));
        let amount = ticker["best_ask_amount"].as_i64().unwrap() + 10;
        let rests = limit(0, &json!({"price": ticker["best_ask_price"], "amount": amount}));
        let placed = client.call("private/buy", &rests);
        let smaller = json!({"order_id": placed["order"]["order_id"], "amount": 10});
        let reply = client.request("private/edit", &smaller);
        client.request("private/cancel", &smaller);
        reply["error"]["code"] == 11_008
    });
    drawn.insert(11_008);
    for label in ["second", "third"] {
        client.call("private/buy", &limit(price, &json!({"label": label})));
    }
    let reply = client.request("private/buy", &limit(price, &json!({"label": "fourth"})));
    assert_eq!(reply["error"]["code"], 10_013, "{reply}");
    drawn.insert(10_013);
    client.call("private/halt_trading", &json!({}));
    assert_eq!(client.call("private/get_open_orders", &json!({})), json!([]));
    let reply = client.request("private/buy", &limit(price, &json!({})));
    assert_eq!(reply["error"]["code"], 10_019);
    drawn.insert(10_019);
    client.call("private/resume_trading", &json!({}));
    let reply = over_http(server.address, "private/enable_cancel_on_disconnect");
    assert_eq!(reply["error"]["code"], 10_030);
    drawn.insert(10_030);
    let expected: BTreeSet<i64> = documented_codes().difference(&elsewhere).copied().collect();
    assert_eq!(drawn, expected);
    server.stop().assert_clean();
}

#[test]
fn who_has_used_up_its_credits_is_told_what_is_left_and_when_to_come_back() {
    let server = Server::start("[orders]\ncredits_max = 3\ncredits_per_s = 1\n", "0");
    let mut client = trader(server.address);
    let price = far_below(&mut client, 5);
    let replies: Vec<Value> =
        (0..4).map(|_| client.request("private/buy", &limit(price, &json!({})))).collect();
    assert!(replies[..3].iter().all(|reply| reply["result"]["order"]["order_state"] == "open"));
    let error = &replies[3]["error"];
    assert_eq!((&error["code"], &error["data"]["credits_left"]), (&json!(10_028), &json!(0)));
    assert!((1..=1000).contains(&error["data"]["retry_after_ms"].as_u64().unwrap()), "{error}");
    assert_eq!(client.call("private/cancel_all", &json!({})), 3, "what ends trouble costs nothing");
    server.stop().assert_clean();
}

/// The names of a value's members, at each depth; lists by their first element.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(elements) => elements.first().map_or(json!([]), |first| json!([shape(first)])),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("text"),
        Value::Bool(_) => json!("flag"),
        Value::Null => Value::Null,
    }
}

/// Whether a shape is the documented one, where a list may be empty on either side, and members that only some orders have
/// (a reason, a label) may be missing.
fn fits(found: &Value, documented: &Value) -> bool {
    match (found, documented) {
        (Value::Object(found), Value::Object(documented)) => {
            let optional =
                |name: &str| matches!(name, "cancel_reason" | "label" | "reject_post_only" | "repeated");
            found.keys().chain(documented.keys()).all(|name| match (found.get(name), documented.get(name)) {
                // A market order's is a text.
                (Some(_), Some(_)) if name == "price" => true,
                (Some(one), Some(other)) => fits(one, other),
                (_, _) => optional(name),
            })
        }
        (Value::Array(found), Value::Array(documented)) => {
            found.iter().zip(documented).all(|(found, documented)| fits(found, documented))
        }
        (found, documented) => found == documented,
    }
}

#[test]
fn each_request_that_the_documents_show_is_answered_in_the_shape_that_they_show() {
    let server = Server::start("[orders]\nprice_band_bp = 0\n", "0");
    let mut client = trader(server.address);
    client.call("private/buy", &json!({"instrument_name": INSTRUMENT, "amount": 10, "type": "market"}));
    let price = far_below(&mut client, 5);
    let text = include_str!("../../docs/protocol.md");
    let orders = text.split_once("\n## Orders\n").unwrap().1.split_once("\n## ").unwrap().0;
    let mut lines = orders.lines();
    let mut replayed = 0;
    while let Some(line) = lines.next() {
        let Some(request) = line.strip_prefix("> ") else { continue };
        let documented = lines.next().unwrap().strip_prefix("< ").unwrap();
        let (mut request, documented): (Value, Value) =
            (serde_json::from_str(request).unwrap(), serde_json::from_str(documented).unwrap());
        if documented.get("error").is_some() {
            // What it takes to draw each is shown above.
            continue;
        }
        let label = format!("shown-{replayed}");
        let rests = client.request("private/buy", &limit(price, &json!({"label": label})));
        let rests = &rests["result"];
        // What buys takes what is best, under a label of its own.
        let buys = request["method"] == "private/buy";
        let ticker = client.call("public/ticker", &json!({"instrument_name": INSTRUMENT}));
        let price = if buys { ticker["best_ask_price"].clone() } else { json!(price) };
        let label = if buys { json!("bought") } else { json!(label) };
        let params = &mut request["params"];
        for (name, value) in [
            ("order_id", rests["order"]["order_id"].clone()),
            ("label", label),
            ("price", price),
            ("deadline", json!(9_999_999_999_999_i64)),
            ("valid_until", json!(9_999_999_999_999_i64)),
        ] {
            if params.get(name).is_some() {
                params[name] = value;
            }
        }
        let method = request["method"].as_str().unwrap();
        let result = client.call(method, &request["params"]);
        if buys {
            assert!(result.get("repeated").is_none(), "{result}");
        }
        let (found, shown) = (shape(&result), shape(&documented["result"]));
        assert!(fits(&found, &shown), "{method}: {result}\nis not shaped as {}", documented["result"]);
        client.call("private/cancel_all", &json!({}));
        replayed += 1;
    }
    assert!(replayed >= 20, "{replayed}");
    server.stop().assert_clean();
}
