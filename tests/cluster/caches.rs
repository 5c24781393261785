//! Kept results of backends that hold no more, on nodes that each have a backend of their own: what is said on one is forgotten on all, and
//! what could not be said is made up for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::client::Client;
use crate::nodes::{Cluster, LONG_TERM};
use crate::until;

/// Two nodes, each with the process `tests/wire/prices.py`, and a client of each.
fn start() -> (Cluster, [Client; 2]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/prices.py");
    let backend = format!(
        "\n[[backend]]\nname = \"p\"\ncommand = [\"python3\", {script:?}]\naccess = \"public\"\n\
         idempotent = [\"p/get\", \"p/hold\"]\ncache_ttl_ms = 3600000\n"
    );
    let cluster = Cluster::start_with(2, LONG_TERM, &backend);
    let clients = [0, 1].map(|node: usize| Client::connect(cluster.addresses()[node]));
    (cluster, clients)
}

fn number(client: &mut Client, method: &str) -> u64 {
    client.call(method, &json!({"of": "X"})).as_u64().unwrap()
}

/// What each is told, which is kept.
fn kept(clients: &mut [Client; 2]) -> [u64; 2] {
    let mut told = [0; 2];
    until("both nodes keep a result", || {
        let before = told;
        told = clients.each_mut().map(|client| number(client, "p/get"));
        told == before
    });
    told
}

fn say(client: &mut Client, params: &Value) {
    assert_eq!(client.call("p/say", params), json!(true));
}

fn await_another(client: &mut Client, before: u64) {
    until("it is asked for anew", || number(client, "p/get") > before);
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn what_one_node_s_backend_says_holds_no_more_is_asked_for_anew_on_each_node() {
    let (cluster, mut clients) = start();
    for (saying, params) in
        [(1, json!({"methods": ["p/get"]})), (0, json!({})), (1, json!({"methods": ["p/*"]}))]
    {
        let before = kept(&mut clients);
        say(&mut clients[saying], &params);
        clients.iter_mut().zip(before).for_each(|(client, before)| await_another(client, before));
    }
    // Of one method: the other's results stay, on both.
    let before = kept(&mut clients);
    let other = clients.each_mut().map(|client| client.call("p/held", &json!([])));
    assert_eq!(other, [json!(0), json!(0)]);
    say(&mut clients[0], &json!({"methods": ["p/hold"]}));
    say(&mut clients[1], &json!({"methods": ["p/hold"]}));
    assert_eq!(clients.each_mut().map(|client| number(client, "p/get")), before);
    cluster.stop();
}

/// What a node answers its operator.
fn post(cluster: &Cluster, node: usize, path: &str, body: &Value) -> Value {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer demo.demo-secret\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(cluster.nodes[node].server().control.unwrap()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(body).unwrap()
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn an_operator_of_any_node_has_results_forgotten_and_publishes_on_all() {
    let (cluster, mut clients) = start();
    clients.iter_mut().for_each(|client| client.subscribe("topic.news"));
    for node in [0, 1] {
        let before = kept(&mut clients);
        let told =
            post(&cluster, node, "/api/cache/invalidate", &json!({"backend": "p", "methods": ["p/get"]}));
        assert_eq!((&told["applied"], &told["other_nodes"]), (&json!(true), &json!("told")));
        clients.iter_mut().zip(before).for_each(|(client, before)| await_another(client, before));
        let place = post(&cluster, node, "/api/publish", &json!({"topic": "topic.news", "payload": node}));
        for note in clients.each_mut().map(Client::note) {
            assert_eq!((&note["seq"], &note["epoch"]), (&place["seq"], &place["epoch"]));
            assert_eq!(note["data"], json!(node));
        }
    }
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn what_a_node_said_while_it_was_cut_off_is_forgotten_by_the_others_once_it_is_back() {
    let (cluster, mut clients) = start();
    let before = kept(&mut clients);
    cluster.nodes[1].link.cut();
    say(&mut clients[1], &json!({"methods": ["p/get"]}));
    // At home at once, elsewhere not.
    await_another(&mut clients[1], before[1]);
    assert_eq!(number(&mut clients[0], "p/get"), before[0]);
    cluster.nodes[1].link.restore();
    await_another(&mut clients[0], before[0]);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn each_node_forgets_all_when_nats_is_back_and_what_its_own_backend_says_meanwhile() {
    let (mut cluster, mut clients) = start();
    let before = kept(&mut clients);
    cluster.nats.kill();
    say(&mut clients[1], &json!({"methods": ["p/get"]}));
    await_another(&mut clients[1], before[1]);
    let meanwhile = [before[0], number(&mut clients[1], "p/get")];
    assert_eq!(clients.each_mut().map(|client| number(client, "p/get")), meanwhile);
    cluster.nats.restart();
    clients.iter_mut().zip(meanwhile).for_each(|(client, before)| await_another(client, before));
    // And hears the others again.
    let before = kept(&mut clients);
    say(&mut clients[0], &json!({"methods": ["p/get"]}));
    clients.iter_mut().zip(before).for_each(|(client, before)| await_another(client, before));
    cluster.stop();
}
