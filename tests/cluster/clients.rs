//! Clients of a node that follows trade and message as those of the owner do; what was told to be durable outlives the owner.

use serde_json::{Value, json};

use crate::client::Client;
use crate::nodes::{Cluster, LONG_TERM, SECRET, TERM, TRADER};
use crate::readers::CHANNEL;
use crate::until;

const INSTRUMENT: &str = "BTC-PERPETUAL";
const ORDERS: &str = "user.orders.BTC-PERPETUAL.raw";

/// A client of a node that is logged in.
fn trader(cluster: &Cluster, node: usize) -> Client {
    let mut client = Client::connect(cluster.addresses()[node]);
    let key = json!({"grant_type": "client_credentials", "client_id": TRADER, "client_secret": SECRET});
    client.call("public/auth", &key);
    client
}

fn order(label: &str) -> Value {
    json!({"instrument_name": INSTRUMENT, "amount": 10, "type": "limit", "price": 1000, "label": label})
}

fn open_orders(client: &mut Client) -> usize {
    client.call("private/get_open_orders", &json!({})).as_array().unwrap().len()
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn an_order_of_any_node_is_the_owner_s_and_all_of_its_account_hear_of_it() {
    let cluster = Cluster::start(3, LONG_TERM);
    let mut clients: Vec<Client> = (0..3).map(|node| trader(&cluster, node)).collect();
    clients.iter_mut().for_each(|client| client.subscribe(ORDERS));
    let mut ids = Vec::new();
    for node in 0..3 {
        let placed = clients[node].call("private/buy", &order(&format!("of-{node}")));
        ids.push(placed["order"]["order_id"].clone());
        let told: Vec<Value> = clients.iter_mut().map(Client::note).collect();
        for params in &told {
            assert_eq!((&params["epoch"], &params["seq"]), (&told[0]["epoch"], &told[0]["seq"]), "{params}");
            assert_eq!(params["data"]["label"], format!("of-{node}"));
        }
    }
    assert_eq!(open_orders(&mut clients[2]), 3);
    // Another node's client cancels what the first has placed.
    clients[1].call("private/cancel", &json!({"order_id": ids[0]}));
    until("it is cancelled", || open_orders(&mut clients[1]) == 2);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn what_is_set_to_be_cancelled_on_disconnect_is_cancelled_wherever_its_client_was() {
    let cluster = Cluster::start(2, LONG_TERM);
    let (mut leaving, mut staying) = (trader(&cluster, 1), trader(&cluster, 0));
    leaving.call("private/enable_cancel_on_disconnect", &json!({"scope": "connection"}));
    leaving.call("private/buy", &order("goes"));
    staying.call("private/buy", &order("stays"));
    assert_eq!(open_orders(&mut staying), 2);
    drop(leaving);
    until("its order is cancelled", || open_orders(&mut staying) == 1);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn a_durable_message_outlives_the_owner_that_took_it() {
    let mut cluster = Cluster::start(2, TERM);
    let mut sender = trader(&cluster, 1);
    let message = json!({"user": TRADER, "confirm": true, "id": "halt-7", "content": {"halt": INSTRUMENT}});
    until("it is told to be durable", || {
        let reply = sender.request("message/send", &message);
        // The stream is being taken.
        assert!(reply.get("error").is_none_or(|error| error["code"] == 13028), "{reply}");
        reply["result"]["id"].is_u64()
    });
    // One that asks the market for nothing of its own stays, and hears of another owner by another epoch.
    let mut watcher = Client::connect(cluster.addresses()[1]);
    watcher.subscribe(CHANNEL);
    let epoch = watcher.note()["epoch"].clone();
    cluster.nodes[0].kill();
    until("another node owns", || watcher.note()["epoch"] != epoch);
    let mut receiver = trader(&cluster, 1);
    receiver.call("message/subscribe", &json!({}));
    let told = receiver.message();
    assert_eq!((&told["method"], &told["params"]["content"]), (&json!("message"), &message["content"]));
    receiver.call("message/ack", &json!({"id": told["params"]["id"]}));
    cluster.nodes[0].restart();
    cluster.stop();
}
