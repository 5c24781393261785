//! SIGHUP: a running server takes what can change from its file, for those who are connected too, and names what cannot.

use std::io::Write;
use std::net::TcpStream;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::bytes::{self, FIN, TEXT};
use crate::client::{Client, End};
use crate::control;
use crate::server::{Server, temporary_file, tickring};

/// Has the server read this.
pub(crate) fn reload(server: &mut Server, toml: &str, told: &str) -> String {
    server.write_config(toml);
    server.signal(Signal::SIGHUP);
    server.wait_for_log(told)
}

/// The head of the answer to a new client's upgrade request.
fn ask(server: &Server) -> (TcpStream, String) {
    let mut stream = bytes::connect(server.address);
    stream.write_all(&bytes::upgrade_request()).unwrap();
    let head = bytes::read_head(&mut stream);
    (stream, head)
}

#[test]
fn limits_hold_for_who_is_connected_and_for_who_comes() {
    let mut server = Server::start("", "0,1");
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(server.address)).collect();
    let told = reload(
        &mut server,
        "[limits]\nconnections_max = 4\nmessage_bytes_max = 2000\nsubscriptions_max = 1\n",
        "from now on: ",
    );
    for change in [
        "limits.connections_max 50000 → 4",
        "limits.message_bytes_max 65536 → 2000",
        "limits.subscriptions_max 1024 → 1",
    ] {
        assert!(told.contains(change), "{told}");
    }
    // The process's own is counted by all shards at once; a shard takes the rest in its next turn.
    let (_refused, head) = ask(&server);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    for client in &mut clients {
        crate::until("the shard has taken it", || {
            let reply = client.request("public/subscribe", &json!({"channels": ["topic.a", "topic.b"]}));
            reply.get("error").is_some()
        });
    }
    for mut client in clients {
        client.send("public/test", &json!({"x": "x".repeat(3000)}));
        let end = client.read_to_end(|_| ());
        assert!(matches!(end, End::Close { code: 1009, .. }), "{end:?}");
    }
    reload(&mut server, "", "limits.connections_max 4 → 50000");
    crate::until("there is room", || ask(&server).1.starts_with("HTTP/1.1 101 "));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_shorter_deadline_ends_who_was_silent_for_longer() {
    let mut server = Server::start("[limits]\nidle_timeout_ms = 0\n[[listen]]\nping_interval_ms = 0\n", "0");
    let mut silent = bytes::connect(server.address);
    silent.write_all(&bytes::upgrade_request()).unwrap();
    assert!(bytes::read_head(&mut silent).starts_with("HTTP/1.1 101 "));
    reload(
        &mut server,
        "[limits]\nidle_timeout_ms = 50\n[[listen]]\nping_interval_ms = 0\n",
        "limits.idle_timeout_ms 0 → 50",
    );
    let rest = bytes::read_to_end(&mut silent);
    assert_eq!(rest.first(), Some(&0x88), "a close frame: {rest:?}");
    assert_eq!(server.stop().incidents("idle_timeout"), 1);
}

#[test]
fn the_level_of_the_log_follows() {
    let mut server = Server::start_quiet("", "0");
    let debug = "threads are handed newer settings";
    reload(&mut server, "[limits]\nheaders_max = 10\n", "limits.headers_max 64 → 10");
    assert!(!server.log().contains(debug), "{}", server.log());
    reload(&mut server, "[log]\nfilter = \"debug\"\n", debug);
    server.wait_for_log("log.filter \"info\" → \"debug\"");
    // What is told by errors alone is told of no reload any more.
    reload(
        &mut server,
        "[log]\nfilter = \"error\"\n[shards]\nconnections_max = 9\n",
        "shards.connections_max needs a restart",
    );
    reload(&mut server, "[log\n", "the configuration stays as it was");
    let ended = server.stop();
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.log.is_empty() || ended.log.iter().all(|line| !line.contains("shard-0 has ended")),
        "{:?}",
        ended.log
    );
}

#[test]
fn what_cannot_change_is_named_and_stays() {
    let mut server = Server::start("[shards]\nconnections_max = 5\n", "0");
    let changed = "[shards]\nconnections_max = 6\n[feed]\nkind = \"none\"\n[limits]\nheaders_max = 10\n\
        [[listen]]\nbacklog = 10\n[feed.paper]\nseed = 2\n";
    reload(&mut server, changed, "feed.kind needs a restart: stays \"paper\"");
    for told in [
        "feed.paper.seed needs a restart: stays 1",
        "listen.backlog needs a restart: stays 4096",
        "shards.connections_max needs a restart: stays 5",
        "from now on: limits.headers_max 64 → 10",
    ] {
        server.wait_for_log(told);
    }
    // It is asked for again each time, and the market goes on.
    reload(&mut server, changed, "shards.connections_max needs a restart: stays 5");
    server.wait_for_log("the configuration is as it was");
    let mut client = Client::connect(server.address);
    client.subscribe("ticker.BTC-PERPETUAL.raw");
    client.note();
    drop(client);
    server.stop().assert_clean();
}

#[test]
fn a_limit_beyond_what_was_made_room_for_at_the_start_is_named_and_stays() {
    let mut server = Server::start("[limits]\nconnections_max = 100\n", "0");
    let wanted = "[limits]\nconnections_max = 1000000\nheaders_max = 10\n";
    reload(&mut server, wanted, "limits.connections_max needs a restart: stays 100");
    server.wait_for_log("from now on: limits.headers_max 64 → 10");
    // Without a limit per address nothing is to be made room for.
    reload(
        &mut server,
        &format!("{wanted}connections_per_address_max = 0\n"),
        "limits.connections_max 100 → 1000000",
    );
    server.stop().assert_clean();
}

#[test]
fn a_broken_file_changes_nothing() {
    let keys = temporary_file("toml", b"");
    let with_keys = format!("[auth]\nkeys = {:?}\n", keys.display().to_string());
    let mut server = Server::start(&format!("{with_keys}[limits]\nheaders_max = 20\n"), "0");
    for (broken, told) in [
        ("[limits]\nheaders_max = 21\nconnections_max = 0\n", ":3: limits.connections_max: is 0"),
        ("[limits]\nheaders_max = 21\nheader_max = 1\n", ":3: limits.header_max: unknown field"),
        ("[limits]\nheaders_max = 21\n[limits\n", ":3: "),
    ] {
        let line = reload(&mut server, broken, "the configuration stays as it was, and all else: ");
        assert!(line.contains(told), "{line}");
    }
    // Had any of them been taken, it would be told as a change now; nor were the keys looked at.
    assert!(!server.log().contains("keys hold from now on"), "{}", server.log());
    reload(&mut server, &format!("{with_keys}[limits]\nheaders_max = 22\n"), "limits.headers_max 20 → 22");
    std::fs::remove_file(keys).unwrap();
    server.stop().assert_clean();
}

#[test]
fn the_environment_and_flags_win_at_a_reload_too() {
    let file =
        temporary_file("toml", b"[limits]\nheaders_max = 20\nfragments_max = 20\nconnections_max = 20\n");
    let mut command = tickring();
    command.args(["serve", "--listen", "127.0.0.1:0", "--control", "off", "--cores", "0", "--config"]);
    command.arg(&file).args(["--set", "limits.fragments_max=30"]).env("TICKRING_LIMITS_HEADERS_MAX", "30");
    let mut server = Server::launch(command);
    std::fs::write(&file, "[limits]\nheaders_max = 21\nfragments_max = 21\nconnections_max = 21\n").unwrap();
    server.signal(Signal::SIGHUP);
    let told = server.wait_for_log("from now on: ");
    assert!(told.ends_with("from now on: limits.connections_max 20 → 21"), "{told}");
    std::fs::remove_file(&file).unwrap();
    server.stop().assert_clean();
}

#[test]
fn orders_and_keys_of_another_file_follow() {
    let mut server = Server::start("", "0");
    let mut client = Client::connect(server.address);
    let login =
        json!({"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"});
    client.call("public/auth", &login);
    let order = json!({"instrument_name": "BTC-PERPETUAL", "amount": 100, "type": "market"});
    client.call("private/buy", &order);
    reload(&mut server, "[orders]\namount_max = 50\n", "orders.amount_max 1000000 → 50");
    crate::until("the desk has taken it", || client.request("private/buy", &order).get("error").is_some());
    // The demo key is gone with the file that has none, and so is who came by it.
    reload(&mut server, "[auth]\ndemo_key = false\n", "auth.demo_key true → false");
    let end = client.read_to_end(|_| ());
    assert!(matches!(end, End::Close { code: 1008, .. }), "{end:?}");
    server.stop().assert_clean();
}

#[test]
fn limits_of_orders_in_one_instrument_come_change_and_go() {
    let mut server = Server::start("", "0,1");
    let mut client = crate::venue::trader(server.address);
    let order = |instrument: &str| json!({"instrument_name": instrument, "amount": 1000, "type": "market"});
    let reason = |client: &mut Client, instrument: &str| {
        client.request("private/buy", &order(instrument))["error"]["data"]["reason"].clone()
    };
    reload(&mut server, "[instrument.EUR_USD]\namount_max = 999\n", "[instrument.EUR_USD] absent → there");
    crate::until("the desk has taken it", || {
        reason(&mut client, "EUR_USD") == "above the largest order amount"
    });
    client.call("private/buy", &order("USD_JPY"));
    let line =
        reload(&mut server, "[instrument.EUR_USD]\namount_max = 0\n", "the configuration stays as it was");
    assert!(line.contains(":2: instrument.EUR_USD.amount_max: is 0"), "{line}");
    reload(
        &mut server,
        "[instrument.EUR_USD]\nnotional_max = 5\n",
        "instrument.EUR_USD.notional_max absent → 5",
    );
    crate::until("the desk has taken it", || {
        reason(&mut client, "EUR_USD") == "above the largest order value"
    });
    reload(&mut server, "", "[instrument.EUR_USD] there → absent");
    crate::until("it is as for all", || reason(&mut client, "EUR_USD").is_null());
    drop(client);
    server.stop().assert_clean();
}

#[test]
fn how_fast_operators_may_publish_follows() {
    let toml = |messages| format!("[limits]\nmessages_per_s_max = {messages}\n");
    let mut server = Server::start_with(&toml(0), "0", &["--control", "127.0.0.1:0"]);
    let publish = |server: &Server| {
        let body = r#"{"topic":"topic.news","payload":1}"#;
        control::ask(server.control.unwrap(), "POST /api/publish", control::DEMO, body).status
    };
    (0..30).for_each(|_| assert_eq!(publish(&server), 200));
    reload(&mut server, &toml(1), "limits.messages_per_s_max 0 → 1");
    let answers: Vec<u16> = (0..30).map(|_| publish(&server)).collect();
    assert!(answers.contains(&429) && answers[0] == 200, "{answers:?}");
    reload(&mut server, &toml(1000), "limits.messages_per_s_max 1 → 1000");
    assert_eq!(publish(&server), 200, "what was too fast before is forgotten");
    server.stop().assert_clean();
}

#[test]
fn a_client_in_the_middle_of_a_message_is_not_cut_by_a_smaller_limit() {
    let mut server = Server::start("", "0");
    let mut stream = bytes::connect(server.address);
    stream.write_all(&bytes::upgrade_request()).unwrap();
    bytes::read_head(&mut stream);
    let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/test\"}}{}", " ".repeat(4000));
    let frame = bytes::frame(FIN | TEXT, text.as_bytes());
    stream.write_all(&frame[..2000]).unwrap();
    // It has the beginning: another client of the shard is answered after it.
    Client::connect(server.address).call("public/test", &json!({}));
    reload(&mut server, "[limits]\nmessage_bytes_max = 1024\n", "limits.message_bytes_max 65536 → 1024");
    Client::connect(server.address).call("public/test", &json!({}));
    stream.write_all(&frame[2000..]).unwrap();
    let answer = bytes::read_frame(&mut stream);
    assert_eq!(answer.head, FIN | TEXT, "{}", String::from_utf8_lossy(&answer.payload));
    drop(stream);
    assert_eq!(server.stop().code, Some(0));
}
