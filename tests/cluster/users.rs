//! Users of a cluster, each an account of its own, and what they ask for. Their keys stand in a file that all nodes have.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::client::{Client, End};
use crate::server::temporary_file;
use crate::until;

const INSTRUMENT: &str = "BTC-PERPETUAL";
const ORDERS: &str = "user.orders.BTC-PERPETUAL.raw";
const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The file of keys, which is gone with its value.
pub(crate) struct Users(PathBuf);

impl Users {
    pub(crate) fn new() -> Users {
        let key = |name: &str| {
            format!(
                "[[key]]\nclient_id = \"{name}\"\naccount = \"{name}\"\nsecret = \"{SECRET}\"\n\
                 scopes = [\"account:read_write\", \"trade:read_write\", \"message:read_write\"]\nsubscribe = [\"*\"]\n"
            )
        };
        let path = temporary_file("keys.toml", NAMES.map(key).concat().as_bytes());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Users(path)
    }

    /// What a node's configuration has of them.
    pub(crate) fn settings(&self) -> String {
        format!("\n[auth]\nkeys = {:?}\n", self.0)
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A connection that is logged in.
pub(crate) fn user(address: SocketAddr, name: &str) -> Client {
    let mut client = Client::connect(address);
    let params = json!({"grant_type": "client_credentials", "client_id": name, "client_secret": SECRET});
    client.call("public/auth", &params);
    client
}

/// One that gets messages.
pub(crate) fn receiver(address: SocketAddr, name: &str) -> Client {
    let mut client = user(address, name);
    client.call("message/subscribe", &json!({}));
    client
}

/// One that hears of its account's orders.
pub(crate) fn reader_of_orders(address: SocketAddr, name: &str) -> Client {
    let mut client = user(address, name);
    client.subscribe(ORDERS);
    client
}

/// Places an order that rests.
pub(crate) fn place(client: &mut Client, label: &str) {
    let order =
        json!({"instrument_name": INSTRUMENT, "amount": 10, "type": "limit", "price": 1000, "label": label});
    client.call("private/buy", &order);
}

/// Labels of the account's open orders, in their order.
pub(crate) fn open_orders(client: &mut Client) -> Vec<String> {
    let orders = client.call("private/get_open_orders", &json!({}));
    let mut labels: Vec<String> = orders.as_array().unwrap().iter().map(label).collect();
    labels.sort_unstable();
    labels
}

/// The next report of an order: its label, its state, and why it was cancelled.
pub(crate) fn report(client: &mut Client) -> (String, String, String) {
    let data = client.note()["data"].clone();
    let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
    (text("label"), text("order_state"), text("cancel_reason"))
}

/// The next notification of this method, its params.
pub(crate) fn next(client: &mut Client, method: &str) -> Value {
    let message = client.message();
    assert_eq!(message["method"], method, "{message}");
    message["params"].clone()
}

/// The next change of presence: of whom, and whether it is present.
pub(crate) fn change_of_presence(client: &mut Client) -> (String, bool) {
    let params = next(client, "presence");
    (params["user"].as_str().unwrap().to_owned(), params["present"].as_bool().unwrap())
}

/// Waits until the node sends the client away, since what its owner kept for it is no more.
pub(crate) fn await_dismissal(client: &mut Client) {
    let end = client.read_to_end(|_| {});
    assert!(matches!(&end, End::Close { code: 1012, .. }), "{end:?}");
}

/// Asks until the owner answers.
pub(crate) fn ask_until_answered(client: &mut Client, method: &str, params: &Value) -> Value {
    let mut result = Value::Null;
    until("the owner answers", || {
        let reply = client.request(method, params);
        // No owner is reached yet, or it still reads what is durable.
        assert!(reply.get("error").is_none_or(|error| error["code"] == 13028), "{reply}");
        result = reply["result"].clone();
        reply.get("error").is_none()
    });
    result
}

fn label(order: &Value) -> String {
    order["label"].as_str().unwrap().to_owned()
}
