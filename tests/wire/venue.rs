//! Venues outside of the process: the whole gateway, `tickring paper-venue` as a process at the other end of the link, clients
//! that trade through both; the link killed, cut at many places, taken over, refused.

mod cutting;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::Receiver;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::bytes;
use crate::client::Client;
use crate::http_api::{all_answers, get};
use crate::server::{Killed, Server, lines_of, tickring};
use crate::{DEADLINE, until};

const INSTRUMENT: &str = "BTC-PERPETUAL";

/// The configuration of a gateway that has no market of its own.
fn waiting(more: &str) -> String {
    format!(
        "[feed]\nkind = \"none\"\n[venue.paper]\nkey = \"s3cret\"\nlisten = \"127.0.0.1:0\"\nheartbeat_ms = 200\n{more}"
    )
}

/// `tickring paper-venue`, and the lines that it says.
pub(crate) struct PaperVenue {
    child: Killed,
    lines: Receiver<String>,
}

impl PaperVenue {
    pub(crate) fn start(flags: &[&str]) -> PaperVenue {
        let mut command = tickring();
        command.env("TICKRING_VENUE_KEY", "s3cret");
        command.args(["paper-venue", "--heartbeat-ms", "200", "--events-per-s", "200"]);
        let mut child = Killed(command.args(flags).stdout(Stdio::piped()).spawn().unwrap());
        let lines = lines_of(child.0.stdout.take().unwrap());
        PaperVenue { child, lines }
    }

    pub(crate) fn wait_for(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("never said: {part}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    pub(crate) fn stop(mut self) -> Option<i32> {
        kill(Pid::from_raw(i32::try_from(self.child.0.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.0.wait().unwrap().code()
    }

    pub(crate) fn kill(mut self) {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
    }
}

pub(crate) fn trader(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    let params =
        json!({"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"});
    client.call("public/auth", &params);
    client
}

/// Ten percent below the market.
fn far_below(client: &mut Client) -> i64 {
    let ticker = client.call("public/ticker", &json!({"instrument_name": INSTRUMENT}));
    let best = ticker["best_bid_price"].as_f64().unwrap();
    #[expect(clippy::cast_possible_truncation, reason = "a price of some ten thousand")]
    let best = best as i64;
    best * 95 / 100
}

fn resting(client: &mut Client, label: &str) -> Value {
    let price = far_below(client);
    json!({"instrument_name": INSTRUMENT, "amount": 10, "type": "limit", "price": price, "label": label})
}

fn state_of(client: &mut Client, label: &str) -> Value {
    client.call("private/get_order_state_by_label", &json!({"currency": "any", "label": label}))[0].clone()
}

/// Waits until the market of the instrument is open, or is not.
fn await_market(client: &mut Client, state: &str) {
    until(state, || {
        let ticker = client.request("public/ticker", &json!({"instrument_name": INSTRUMENT}));
        ticker["result"]["state"] == state
            && (state != "open" || ticker["result"]["best_bid_price"].is_number())
    });
}

#[test]
fn a_venue_that_connects_is_a_market_to_trade_on_in_both_forms() {
    for form in [&[][..], &["--binary"]] {
        let mut server = Server::start(&waiting(""), "0,1");
        let to = server.venue_addresses[0].to_string();
        let venue = PaperVenue::start(&[&["--connect", &to], form].concat());
        server.wait_for_log("venue link paper: takes orders of 12 instruments");
        let mut client = trader(server.address);
        await_market(&mut client, "open");
        client.subscribe(&format!("trades.{INSTRUMENT}.raw"));
        client.call("private/subscribe", &json!({"channels": ["user.changes.any.any.raw"]}));
        let order = json!({"instrument_name": INSTRUMENT, "amount": 20, "type": "market"});
        let bought = client.call("private/buy", &order);
        let id = bought["order"]["order_id"].clone();
        until("all of it is filled", || {
            client.call("private/get_order_state", &json!({"order_id": id}))["order_state"] == "filled"
        });
        let mut seen = (0.0, 0.0);
        while seen.0 < 20.0 || seen.1 < 20.0 {
            let note = client.note();
            if note["channel"] == "user.changes.any.any.raw" {
                for trade in note["data"]["trades"].as_array().unwrap() {
                    assert_eq!(trade["order_id"], id);
                    seen.0 += trade["amount"].as_f64().unwrap();
                }
            } else {
                for trade in note["data"].as_array().unwrap() {
                    let is_ours = trade["direction"] == "buy";
                    seen.1 += if is_ours { trade["amount"].as_f64().unwrap() } else { 0.0 };
                }
            }
        }
        let position = client.call("private/get_position", &json!({"instrument_name": INSTRUMENT}));
        assert_eq!((&position["size"], seen.0), (&json!(20), 20.0));

        let rests = resting(&mut client, "rests");
        assert_eq!(client.call("private/buy", &rests)["order"]["order_state"], "open");
        let edited = json!({"order_id": state_of(&mut client, "rests")["order_id"], "amount": 30, "price": rests["price"]});
        assert_eq!(client.call("private/edit", &edited)["order"]["amount"], 30);
        let cancelled = client.call("private/cancel", &json!({"order_id": edited["order_id"]}));
        assert_eq!(cancelled["order_state"], "cancelled");
        let late = client.request("private/cancel", &json!({"order_id": edited["order_id"]}));
        assert_eq!(late["error"]["code"], 10010, "{late}");

        server.stop().assert_clean();
        venue.wait_for("disconnected: ended by the peer: stopped");
        assert_eq!(venue.stop(), Some(0));
    }
}

#[test]
fn a_venue_that_is_connected_to_may_come_late_die_and_come_again_without_its_orders() {
    // A port that is free now, and where nobody listens yet.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let config = format!(
        "[feed]\nkind = \"none\"\n[venue.paper]\nkey = \"s3cret\"\nconnect = [\"{free}\"]\nheartbeat_ms = 200\nretry_delay_ms = 10\n"
    );
    let mut server = Server::start(&config, "0");
    server.wait_for_log("venue link paper: no connection to");
    let venue = PaperVenue::start(&["--listen", &free]);
    server.wait_for_log("takes orders of 12 instruments");
    let mut client = trader(server.address);
    await_market(&mut client, "open");
    let order = resting(&mut client, "before");
    assert_eq!(client.call("private/buy", &order)["order"]["order_state"], "open");

    venue.kill();
    await_market(&mut client, "closed");
    until("the link is told to be down", || {
        let link = client.call("public/get_venues", &json!({}))[0].clone();
        assert_eq!(
            (&link["venue"], &link["link"], &link["kind"]),
            (&json!("paper"), &json!("paper"), &json!("tcp"))
        );
        link["instruments"] == 0 && link["last_reason"].is_string() && link["state"] != "up"
    });
    let order =
        json!({"label": "between", "price": order["price"], "instrument_name": INSTRUMENT, "amount": 10});
    let refused = client.request("private/buy", &order);
    assert_eq!(refused["error"]["code"], 13028, "{refused}");

    let venue = PaperVenue::start(&["--listen", &free]);
    await_market(&mut client, "open");
    until("the venue that has forgotten the order is believed", || {
        state_of(&mut client, "before")["order_state"] == "cancelled"
    });
    until("the link is told to be up", || {
        let link = client.call("public/get_venues", &json!({}))[0].clone();
        link["state"] == "up" && link["instruments"] == 12
    });
    let order = resting(&mut client, "after");
    assert_eq!(client.call("private/buy", &order)["order"]["order_state"], "open");
    server.stop().assert_clean();
    assert_eq!(venue.stop(), Some(0));
}

#[test]
fn an_order_that_was_sent_to_a_venue_that_dies_is_in_doubt_and_then_told() {
    let mut server = Server::start(&waiting(""), "0");
    let to = server.venue_addresses[0].to_string();
    let venue = PaperVenue::start(&["--connect", &to]);
    server.wait_for_log("takes orders of 12 instruments");
    let mut client = trader(server.address);
    await_market(&mut client, "open");
    let order = resting(&mut client, "doubtful");
    // It hears nothing more, though it is still there.
    kill(Pid::from_raw(i32::try_from(venue.child.0.id()).unwrap()), Signal::SIGSTOP).unwrap();
    let unknown = client.request("private/buy", &order);
    assert_eq!(unknown["error"]["code"], 20001, "{unknown}");
    let id = unknown["error"]["data"]["order_id"].clone();
    let repeated = client.request("private/buy", &order);
    assert_eq!(repeated["error"]["data"]["order_id"], id, "asked again, it is the same order: {repeated}");
    kill(Pid::from_raw(i32::try_from(venue.child.0.id()).unwrap()), Signal::SIGCONT).unwrap();
    until("the venue tells what became of it", || {
        let state = client.call("private/get_order_state", &json!({"order_id": id}));
        state["order_state"] == "open"
            || state["order_state"] == "rejected"
            || state["order_state"] == "cancelled"
    });
    server.stop().assert_clean();
    assert_eq!(venue.stop(), Some(0));
}

#[test]
fn who_does_not_know_the_key_or_says_nothing_costs_the_link_nothing() {
    let mut server = Server::start(&waiting(""), "0");
    let to = server.venue_addresses[0];
    let venue = PaperVenue::start(&["--connect", &to.to_string()]);
    server.wait_for_log("takes orders of 12 instruments");
    let stranger = PaperVenue::start(&["--connect", &to.to_string(), "--key", "guess"]);
    stranger.wait_for("disconnected: ended by the peer: unknown venue or key");
    server.wait_for_log("a connection is refused: unknown venue or key");
    assert_eq!(stranger.stop(), Some(0));
    let mut http = TcpStream::connect(to).unwrap();
    bytes::set_deadlines(&http);
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut told = String::new();
    http.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("{\"type\":\"reject\",\"reason\":\"a first byte of 0x47"), "{told}");
    // So many may say nothing; for the next, the one that has waited longest has to go.
    let mut silent: Vec<TcpStream> = (0..16).map(|_| TcpStream::connect(to).unwrap()).collect();
    let mut one_more = TcpStream::connect(to).unwrap();
    bytes::set_deadlines(&one_more);
    one_more.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut told = String::new();
    one_more.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("{\"type\":\"reject\""), "it is heard: {told}");
    server.wait_for_log("too many connections that say nothing, one from 127.0.0.1 is closed");
    bytes::set_deadlines(&silent[0]);
    assert!(!matches!(silent[0].read(&mut [0; 1]), Ok(1..)), "nothing is said to it");
    let mut client = trader(server.address);
    await_market(&mut client, "open");
    let order = resting(&mut client, "rests");
    assert_eq!(client.call("private/buy", &order)["order"]["order_state"], "open");
    drop(silent);
    server.stop().assert_clean();
    assert_eq!(venue.stop(), Some(0));
}

#[test]
fn a_venue_that_cannot_be_reached_is_given_up_after_so_many_attempts() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config =
        format!("[venue.fx]\nkey = \"k\"\nconnect = [\"{free}\"]\nmax_retries = 2\nretry_delay_ms = 10\n");
    let mut server = Server::start(&config, "0");
    server.wait_for_log("venue link fx: no connection to");
    server.wait_for_log("given up");
    let mut client = Client::connect(server.address);
    until("it is told to be given up", || {
        let links = client.call("public/get_venues", &json!({}));
        assert_eq!((&links[0]["kind"], &links[0]["state"]), (&json!("paper"), &json!("up")));
        links[1]["state"] == "given_up" && links[1]["last_reason"].is_string()
    });
    server.stop().assert_clean();
}

#[test]
fn two_links_of_a_venue_have_names_and_instruments_of_their_own() {
    let config = "[venue.fx]\nkey = \"s3cret\"\nlisten = \"127.0.0.1:0\"\nmax_connections = 2\n";
    let mut server = Server::start(config, "0");
    let to = server.venue_addresses[0].to_string();
    let first = PaperVenue::start(&["--connect", &to, "--name", "fx", "--instruments", "12"]);
    // All of its instruments are the paper feed's of the gateway, which listed them first.
    server.wait_for_log("fx: BTC-PERPETUAL is not taken: it is of feed");
    server.wait_for_log("venue link fx: takes orders of 0 instruments");
    let second = PaperVenue::start(&["--connect", &to, "--name", "fx.2", "--instruments", "20"]);
    server.wait_for_log("venue link fx.2: takes orders of 8 instruments");
    let third = PaperVenue::start(&["--connect", &to, "--name", "fx.3"]);
    third.wait_for("unknown venue or key");
    let mut client = trader(server.address);
    let names = client.call("public/get_instruments", &json!({"currency": "any"}));
    assert_eq!(names.as_array().unwrap().len(), 20);
    server.stop().assert_clean();
    for venue in [first, second, third] {
        assert_eq!(venue.stop(), Some(0));
    }
}

#[test]
fn another_process_has_the_link_only_when_the_first_is_gone() {
    let mut server = Server::start(&waiting(""), "0");
    let to = server.venue_addresses[0].to_string();
    let first = PaperVenue::start(&["--connect", &to]);
    first.wait_for("welcomed, begins anew");
    server.wait_for_log("takes orders of 12 instruments");
    let second = PaperVenue::start(&["--connect", &to, "--retry-delay-ms", "5"]);
    second.wait_for("disconnected: ended by the peer: another process has this link");
    let mut client = trader(server.address);
    await_market(&mut client, "open");
    let order = resting(&mut client, "stays");
    assert_eq!(client.call("private/buy", &order)["order"]["order_state"], "open");
    assert_eq!(state_of(&mut client, "stays")["order_state"], "open");
    first.kill();
    second.wait_for("welcomed, begins anew");
    until("the second never had the order", || state_of(&mut client, "stays")["order_state"] == "cancelled");
    server.stop().assert_clean();
    assert_eq!(second.stop(), Some(0));
}

#[test]
fn a_venue_that_comes_again_in_the_same_session_takes_its_link_over() {
    let server = Server::start(&waiting(""), "0");
    let hello = concat!(
        r#"{"type":"hello","version":1,"venue":"paper","key":"s3cret","session":"a","peer":"","next":1,"#,
        r#""heartbeat_ms":60000}"#,
        "\n"
    );
    let greet = || {
        let mut stream = TcpStream::connect(server.venue_addresses[0]).unwrap();
        bytes::set_deadlines(&stream);
        stream.write_all(hello.as_bytes()).unwrap();
        let mut start = [0; 17];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, br#"{"type":"welcome""#);
        stream
    };
    let mut first = greet();
    let _second = greet();
    let mut rest = Vec::new();
    // The end of the first: what had been said, then a reset or an end.
    let _ = first.read_to_end(&mut rest);
    assert!(!rest.is_empty());
    server.stop().assert_clean();
}

#[test]
fn clients_read_how_links_are_over_websocket_and_http() {
    let more = "max_connections = 2\n".to_owned();
    let config = waiting(&more).replace("kind = \"none\"", "kind = \"paper\"\n[feed.paper]\ninstruments = 3");
    let server = Server::start(&config, "0,1");
    let mut client = Client::connect(server.address);
    let mut await_states = |states: [&str; 3]| {
        until(&format!("{states:?}"), || {
            let links = client.call("public/get_venues", &json!({}));
            let told: Vec<&str> =
                links.as_array().unwrap().iter().filter_map(|link| link["state"].as_str()).collect();
            told == states
        });
    };
    await_states(["up", "connecting", "connecting"]);
    let venue = PaperVenue::start(&["--connect", &server.venue_addresses[0].to_string()]);
    await_states(["up", "up", "connecting"]);
    assert_eq!(venue.stop(), Some(0));
    await_states(["up", "down", "connecting"]);
    let answer = all_answers(server.address, &get("/api/v2/public/get_venues"));
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let mut links = body["result"].clone();
    for link in links.as_array_mut().unwrap() {
        assert!(link["since_timestamp"].take().is_u64(), "{body}");
    }
    assert_eq!(
        links,
        json!([
            {"venue": "paper", "link": "paper", "kind": "paper", "state": "up", "since_timestamp": null, "instruments": 3},
            {"venue": "paper", "link": "paper", "kind": "tcp", "state": "down", "since_timestamp": null, "instruments": 0,
             "last_reason": "ended by the peer: stopped"},
            {"venue": "paper", "link": "paper.2", "kind": "tcp", "state": "connecting", "since_timestamp": null, "instruments": 0},
        ])
    );
    server.stop().assert_clean();
}

#[test]
fn a_venue_s_address_that_is_taken_or_unknown_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (toml, expected) in [
        (format!("listen = \"{address}\""), format!("cannot listen on {address}: bind: ")),
        (
            "connect = [\"no.such.host.invalid:1\"]".to_owned(),
            "venue.fx.connect: no.such.host.invalid:1: ".to_owned(),
        ),
    ] {
        let config =
            crate::server::temporary_file("toml", format!("[venue.fx]\nkey = \"k\"\n{toml}\n").as_bytes());
        let ended = crate::server::run(
            tickring()
                .args(["serve", "--control", "off", "--listen", "127.0.0.1:0", "--cores", "0", "--config"])
                .arg(&config),
        );
        std::fs::remove_file(config).unwrap();
        assert_eq!(ended.code, Some(69), "{:?}", ended.log);
        assert_eq!(ended.log.len(), 1, "{:?}", ended.log);
        assert!(ended.log[0].contains(&expected), "{:?}", ended.log);
    }
}
