//! Kept results that hold no more: as a backend says that is a process in Python, and as an operator says; on servers of two shards, each of which
//! keeps results of its own.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::client::Client;
use crate::control::{DEMO, ask, get, metric};
use crate::server::Server;
use crate::until;

/// Enough that each shard has some.
const CLIENTS: usize = 24;

/// Where there is no Python there is nothing to show, and that is said.
fn has_python() -> bool {
    let has = Command::new("python3").arg("--version").output().is_ok();
    if !has {
        println!("skipped: no python3 here");
    }
    has
}

/// A backend that is such a process, and clients of both shards.
fn start() -> (Server, Vec<Client>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/prices.py");
    let backend = format!(
        "[[backend]]\nname = \"p\"\ncommand = [\"python3\", {script:?}]\naccess = \"public\"\n\
         idempotent = [\"p/get\", \"p/hold\"]\ncache_ttl_ms = 3600000\n"
    );
    let server = Server::start_with(&backend, "0,1", &["--control", "127.0.0.1:0"]);
    let clients = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    (server, clients)
}

fn number(client: &mut Client, method: &str) -> u64 {
    client.call(method, &json!({"of": "X"})).as_u64().unwrap()
}

/// What each is told; the newest, and that each shard asked once.
fn kept(clients: &mut [Client]) -> u64 {
    let told: Vec<u64> = clients.iter_mut().map(|client| number(client, "p/get")).collect();
    let newest = told.iter().copied().max().unwrap();
    assert!(told.iter().all(|told| *told + 1 >= newest), "a result for each shard: {told:?}");
    newest
}

#[test]
fn what_a_backend_says_holds_no_more_is_asked_for_anew_on_each_shard() {
    if !has_python() {
        return;
    }
    let (server, mut clients) = start();
    let before = kept(&mut clients);
    assert_eq!(kept(&mut clients), before, "results are kept");
    // Of other methods.
    clients[0].call("p/say", &json!({"methods": ["p/hold", "q/*"]}));
    until("shards have heard of that", || metric(&server, "tickring_call_cache_invalidations_total") >= 2.0);
    assert_eq!(kept(&mut clients), before);
    for params in [json!({"methods": ["p/get"]}), json!({"methods": ["p/*"]}), json!({})] {
        let before = kept(&mut clients);
        clients[0].call("p/say", &params);
        for client in &mut clients {
            until("the result is another", || number(client, "p/get") > before);
        }
    }
    until("operators are told", || metric(&server, "tickring_backend_invalidations_total") == 4.0);
    let told = get(&server, "/performance/cache").json();
    assert!(told["cache_performance"]["call_cache"]["invalidated"].as_u64().unwrap() >= 6, "{told}");
    server.stop().assert_clean();
}

#[test]
fn who_asks_after_it_was_said_is_not_told_what_was_asked_for_before() {
    if !has_python() {
        return;
    }
    let (server, mut clients) = start();
    let params = json!({"of": "X"});
    let held = |client: &mut Client| client.call("p/held", &json!([])).as_u64().unwrap();
    let before: Vec<u64> = clients.iter_mut().map(|client| client.send("p/hold", &params)).collect();
    let mut other = Client::connect(server.address);
    until("each shard has asked", || held(&mut other) >= 1 && server_waits(&server, CLIENTS));
    let calls_before = held(&mut other);
    other.call("p/say", &json!({"methods": ["p/hold"]}));
    until("shards have heard of that", || metric(&server, "tickring_call_cache_invalidations_total") >= 2.0);
    let mut late = Client::connect(server.address);
    late.send("p/hold", &params);
    until("it is a call of its own", || held(&mut other) == calls_before + 1);
    other.call("p/release", &json!([]));
    let newest = late.message()["result"].as_u64().unwrap();
    assert_eq!(newest, calls_before + 1);
    for (client, id) in clients.iter_mut().zip(before) {
        let reply = client.message();
        assert_eq!(reply["id"], id);
        assert!(reply["result"].as_u64().unwrap() <= calls_before, "{reply}: what it had asked for");
    }
    // What is kept is what was asked for last, on that shard; others ask anew.
    assert_eq!(number(&mut late, "p/hold"), newest);
    server.stop().assert_clean();
}

/// Whether so many requests wait for results.
fn server_waits(server: &Server, requests: usize) -> bool {
    let asked = metric(server, "tickring_call_cache_joined_total")
        + metric(server, "tickring_call_cache_misses_total");
    asked >= requests as f64
}

#[test]
fn a_backend_that_says_it_without_end_is_heard_some_times_a_second() {
    if !has_python() {
        return;
    }
    let (server, mut clients) = start();
    let before = kept(&mut clients);
    clients[0].call("p/flood", &json!([20_000]));
    for client in &mut clients {
        until("the result is another", || number(client, "p/get") > before);
    }
    // Some seconds of writing at most, of 20 each; all that was written is read before the answer.
    let heard = || metric(&server, "tickring_backend_invalidations_total");
    until("operators are told", || heard() >= 1.0);
    assert!(heard() < 2_000.0, "{}", heard());
    server.stop().assert_clean();
}

#[test]
fn an_operator_has_results_of_a_backend_or_of_methods_forgotten() {
    if !has_python() {
        return;
    }
    let (server, mut clients) = start();
    let address = server.control.unwrap();
    let invalidate = |body: &str| ask(address, "POST /api/cache/invalidate", DEMO, body);
    assert_eq!(ask(address, "POST /api/cache/invalidate", "", "{\"backend\":\"p\"}").status, 401);
    assert_eq!(invalidate("{}").status, 400);
    assert_eq!(invalidate("{\"backend\":\"q\"}").status, 404);
    for (body, methods, is_of_it) in [
        ("{\"backend\":\"p\"}", json!(["*"]), true),
        ("{\"methods\":[\"p/hold\"]}", json!(["p/hold"]), false),
        ("{\"methods\":[\"p/g*\",\"x/*\"]}", json!(["p/g*", "x/*"]), true),
    ] {
        let before = kept(&mut clients);
        let answer = invalidate(body);
        let told: Value = answer.json();
        assert_eq!((answer.status, &told["applied"], &told["methods"]), (200, &json!(true), &methods));
        // Once it is answered nobody is told what was before.
        let after: Vec<u64> = clients.iter_mut().map(|client| number(client, "p/get")).collect();
        assert!(after.iter().all(|told| (*told > before) == is_of_it), "{body}: {before}, {after:?}");
    }
    server.stop().assert_clean();
}
