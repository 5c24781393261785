//! Named sessions that are one for all nodes: log-ins and tokens on each of them, a node that is killed, NATS that is away.

use std::io::{Read, Write};
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::bytes;
use crate::client::Client;
use crate::nodes::{Cluster, LONG_TERM, SECRET, TERM, TRADER};
use crate::until;

const AWAY: &str = "not done: where named sessions are kept is not reached";

fn by_key(scope: &str) -> Value {
    json!({"grant_type": "client_credentials", "client_id": TRADER, "client_secret": SECRET, "scope": scope})
}

fn by_token(tokens: &Value) -> Value {
    json!({"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]})
}

fn clients(cluster: &Cluster) -> Vec<Client> {
    cluster.addresses().into_iter().map(Client::connect).collect()
}

/// What comes of a log-in once the bucket answers.
fn log_in(client: &mut Client, params: &Value) -> Value {
    let mut reply = Value::Null;
    until("the bucket answers", || {
        reply = client.request("public/auth", params);
        reply["error"]["code"] != 13028
    });
    reply
}

fn granted(client: &mut Client, params: &Value) -> Value {
    let reply = log_in(client, params);
    assert!(reply.get("result").is_some(), "{reply}");
    reply["result"].clone()
}

fn refused(client: &mut Client, params: &Value) -> (i64, String) {
    let error = client.request("public/auth", params)["error"].clone();
    let reason = error["data"]["reason"].as_str().unwrap_or_default().to_owned();
    (error["code"].as_i64().unwrap_or_else(|| panic!("{error}")), reason)
}

/// The status of a request by an access token.
fn status_by(address: SocketAddr, tokens: &Value, path: &str) -> u16 {
    let token = tokens["access_token"].as_str().unwrap();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    let kind = if path == "/ws" { upgrade } else { "Connection: close" };
    let mut stream = bytes::connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{kind}\r\n\r\n")
        .unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}

fn call_by(address: SocketAddr, tokens: &Value) -> u16 {
    status_by(address, tokens, "/api/v2/private/list_api_keys")
}

fn is_told_of_the_end(client: &mut Client) {
    let told = client.message();
    assert_eq!((&told["method"], &told["params"]), (&json!("session"), &json!({"type": "expired"})));
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_session_of_one_node_goes_on_on_another_until_a_used_token_ends_it_on_all() {
    let cluster = Cluster::start(3, LONG_TERM);
    let addresses = cluster.addresses();
    let mut clients = clients(&cluster);
    let first = granted(&mut clients[0], &by_key("session:desk"));
    assert_eq!(first["sid"], "desk");
    let second = granted(&mut clients[1], &by_token(&first));
    let third = granted(&mut clients[2], &by_token(&second));
    for address in &addresses {
        assert_eq!((call_by(*address, &second), call_by(*address, &third)), (401, 200));
        assert_eq!((status_by(*address, &second, "/ws"), status_by(*address, &third, "/ws")), (401, 101));
    }
    let mut stranger = Client::connect(addresses[0]);
    assert_eq!(refused(&mut stranger, &by_token(&first)), (13009, "invalid_token".to_owned()));
    clients.iter_mut().for_each(is_told_of_the_end);
    for address in &addresses {
        assert_eq!(call_by(*address, &third), 401);
        assert_eq!(refused(&mut Client::connect(*address), &by_token(&third)).0, 13009);
    }
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_session_outlives_the_node_that_gave_it_and_every_other() {
    let mut cluster = Cluster::start(2, TERM);
    let mut client = Client::connect(cluster.addresses()[0]);
    let first = granted(&mut client, &by_key("session:desk"));
    let mut other = Client::connect(cluster.addresses()[1]);
    let second = granted(&mut other, &by_token(&first));
    cluster.nodes[0].kill();
    let third = granted(&mut other, &by_token(&second));
    assert_eq!(call_by(cluster.addresses()[1], &third), 200);
    cluster.nodes[1].kill();
    cluster.nodes[0].restart();
    let mut client = Client::connect(cluster.addresses()[0]);
    granted(&mut client, &by_token(&third));
    cluster.nodes[1].restart();
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_name_that_is_taken_again_and_a_log_out_end_the_session_for_who_is_in_it_on_other_nodes() {
    let cluster = Cluster::start(2, LONG_TERM);
    let mut clients = clients(&cluster);
    let lost = granted(&mut clients[0], &by_key("session:desk"));
    let tokens = granted(&mut clients[1], &by_key("session:desk"));
    is_told_of_the_end(&mut clients[0]);
    assert_eq!(refused(&mut clients[0], &by_token(&lost)).0, 13009);
    let renewed = granted(&mut clients[0], &by_token(&tokens));
    clients[1].call("private/logout", &json!({}));
    is_told_of_the_end(&mut clients[0]);
    assert_eq!(refused(&mut clients[0], &by_token(&renewed)).0, 13009);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn of_two_nodes_that_are_shown_one_refresh_token_at_once_exactly_one_takes_it() {
    let cluster = Cluster::start(2, LONG_TERM);
    let mut clients = clients(&cluster);
    // Each has read the bucket by then: before that it refuses what the other takes.
    for (number, client) in clients.iter_mut().enumerate() {
        granted(client, &by_key(&format!("session:read-{number}")));
    }
    for round in 0..50 {
        // Not one that is told of the end of the session before.
        let mut opener = Client::connect(cluster.addresses()[round % 2]);
        let tokens = granted(&mut opener, &by_key(&format!("session:desk-{}", round % 4)));
        clients.iter_mut().for_each(|client| {
            client.send("public/auth", &by_token(&tokens));
        });
        let replies: Vec<Value> = clients.iter_mut().map(reply).collect();
        let count = replies.iter().filter(|reply| reply.get("result").is_some()).count();
        assert_eq!(count, 1, "round {round}: {replies:?}");
        assert!(replies.iter().any(|reply| reply["error"]["code"] == 13009), "{replies:?}");
    }
    cluster.stop();
}

/// The next reply; what is told of sessions' ends is passed over.
fn reply(client: &mut Client) -> Value {
    loop {
        let message = client.message();
        if message["method"] != "session" {
            return message;
        }
    }
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn while_nats_is_away_keys_log_in_and_sessions_are_refused_without_loss_and_go_on_when_it_is_back() {
    let mut cluster = Cluster::start(2, LONG_TERM);
    let addresses = cluster.addresses();
    let mut clients = clients(&cluster);
    let tokens = granted(&mut clients[0], &by_key("session:desk"));
    granted(&mut clients[1], &by_key("session:other"));
    let mut leaving = Client::connect(addresses[1]);
    let left = granted(&mut leaving, &by_key("session:left"));
    assert_eq!(call_by(addresses[0], &left), 200);
    cluster.nats.kill();
    let mut held = Client::connect(addresses[1]);
    until("its absence is known", || refused(&mut held, &by_token(&tokens)) == (13028, AWAY.to_owned()));
    let of_connection = granted(&mut held, &by_key(""));
    granted(&mut held, &by_token(&of_connection));
    assert_eq!(refused(&mut held, &by_key("session:more")), (13028, AWAY.to_owned()));
    assert_eq!((call_by(addresses[1], &tokens), status_by(addresses[1], &tokens, "/ws")), (503, 503));
    // Who is in a session stays in it; who leaves one ends it as soon as that can be.
    clients[1].call("private/list_api_keys", &json!({}));
    leaving.call("private/logout", &json!({}));
    cluster.nats.restart();
    granted(&mut held, &by_token(&tokens));
    until("the one that was left is over on the other node", || call_by(addresses[0], &left) == 401);
    assert_eq!(call_by(addresses[1], &left), 401);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn the_end_of_a_session_that_a_node_could_not_hear_is_told_there_when_it_can() {
    let cluster = Cluster::start(2, LONG_TERM);
    let mut clients = clients(&cluster);
    granted(&mut clients[1], &by_key("session:desk"));
    // Who takes the name of the session that it is in is in the new one, and is told nothing.
    granted(&mut clients[1], &by_key("session:desk"));
    clients[1].call("private/list_api_keys", &json!({}));
    cluster.nodes[1].link.refuse();
    granted(&mut clients[0], &by_key("session:desk"));
    clients[1].call("private/list_api_keys", &json!({}));
    cluster.nodes[1].link.restore();
    is_told_of_the_end(&mut clients[1]);
    cluster.stop();
}
