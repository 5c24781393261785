//! Nodes that are gone with their clients: what those had is settled once by the owner, and told once to who hears of it elsewhere.

use serde_json::{Value, json};

use crate::client::Client;
use crate::nodes::{Cluster, LONG_TERM, TERM};
use crate::users::{
    Users, ask_until_answered, await_dismissal, change_of_presence, next, open_orders, place,
    reader_of_orders, receiver, report, user,
};

/// Of which node the clients are that are gone with it, and that of who hears of it.
const GONE: usize = 2;
const HEARING: usize = 1;

/// Clients of two nodes that follow.
struct Scene {
    /// On the node that is to go. Alice has orders that are to go with their connection, and one that is to stay; bob has a message that he has not confirmed; all
    /// three of alice, bob and dave are present by it.
    leaving: Vec<Client>,
    /// Elsewhere: alice's reports of orders, her requests, bob's messages, and what carol hears of presence.
    reports: Client,
    alice: Client,
    bob: Client,
    carol: Client,
}

impl Scene {
    fn set(cluster: &Cluster) -> Scene {
        let addresses = cluster.addresses();
        let (gone, hearing) = (addresses[GONE], addresses[HEARING]);
        let (mut going, mut staying) = (user(gone, "alice"), user(gone, "alice"));
        let (mut reports, alice) = (reader_of_orders(hearing, "alice"), user(hearing, "alice"));
        going.call("private/enable_cancel_on_disconnect", &json!({"scope": "connection"}));
        for label in ["goes-1", "goes-2", "goes-3"] {
            place(&mut going, label);
        }
        place(&mut staying, "stays");
        for label in ["goes-1", "goes-2", "goes-3", "stays"] {
            assert_eq!(report(&mut reports), (label.into(), "open".into(), String::new()));
        }
        let mut leaving = vec![going, staying];
        for name in ["alice", "bob", "dave"] {
            leaving.push(receiver(gone, name));
        }
        let message = json!({"user": "bob", "confirm": true, "content": "approve"});
        ask_until_answered(&mut leaving[0], "message/send", &message);
        assert_eq!(next(&mut leaving[3], "message")["redelivered"], false);
        let bob = receiver(hearing, "bob");
        let mut carol = receiver(hearing, "carol");
        let watched = carol.call("presence/subscribe", &json!({"users": ["alice", "dave"]}));
        assert_eq!((&watched[0]["present"], &watched[1]["present"]), (&json!(true), &json!(true)));
        Scene { leaving, reports, alice, bob, carol }
    }

    /// All that the node's end means, once.
    fn hear_of_the_end(&mut self) {
        let mut cancelled: Vec<_> = (0..3).map(|_| report(&mut self.reports)).collect();
        cancelled.sort_unstable();
        let by_disconnect =
            |label: &str| (label.to_owned(), "cancelled".to_owned(), "cancel_on_disconnect".to_owned());
        assert_eq!(cancelled, ["goes-1", "goes-2", "goes-3"].map(by_disconnect));
        assert_eq!(open_orders(&mut self.alice), ["stays"]);
        let mut away = [change_of_presence(&mut self.carol), change_of_presence(&mut self.carol)];
        away.sort_unstable();
        assert_eq!(away, [("alice".to_owned(), false), ("dave".to_owned(), false)]);
        let again = next(&mut self.bob, "message");
        assert_eq!((&again["content"], &again["redelivered"]), (&json!("approve"), &json!(true)));
        self.bob.call("message/ack", &json!({"id": again["id"]}));
    }

    /// Whoever heard of the end hears next of what has come since, so of nothing else.
    fn hear_of_nothing_more(&mut self, address: std::net::SocketAddr) {
        let mut back = user(address, "alice");
        // The node may be on its way to the owner still.
        ask_until_answered(&mut back, "private/get_open_orders", &json!({}));
        place(&mut back, "anew");
        assert_eq!(report(&mut self.reports), ("anew".into(), "open".into(), String::new()));
        assert_eq!(open_orders(&mut self.alice), ["anew", "stays"]);
        let _dave = receiver(address, "dave");
        assert_eq!(change_of_presence(&mut self.carol), ("dave".to_owned(), true));
        back.call("message/send", &json!({"user": "bob", "confirm": false, "content": "all is well"}));
        let next = next(&mut self.bob, "message");
        assert_eq!((&next["content"], &next["redelivered"]), (&json!("all is well"), &json!(false)));
    }
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn what_clients_of_a_killed_node_had_is_settled_once() {
    let users = Users::new();
    let mut cluster = Cluster::start_with(3, LONG_TERM, &users.settings());
    let mut scene = Scene::set(&cluster);
    cluster.nodes[GONE].kill();
    // After 10 s of silence.
    scene.hear_of_the_end();
    cluster.nodes[GONE].restart();
    cluster.await_market(GONE);
    scene.hear_of_nothing_more(cluster.addresses()[GONE]);
    drop(scene);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn what_clients_of_a_node_had_that_is_killed_and_back_at_once_is_settled_once() {
    let users = Users::new();
    let mut cluster = Cluster::start_with(3, LONG_TERM, &users.settings());
    let mut scene = Scene::set(&cluster);
    cluster.nodes[GONE].kill();
    cluster.nodes[GONE].restart();
    scene.hear_of_the_end();
    cluster.await_market(GONE);
    scene.hear_of_nothing_more(cluster.addresses()[GONE]);
    drop(scene);
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn what_clients_of_a_node_had_that_stood_still_for_too_long_is_settled_once_and_they_are_told() {
    let users = Users::new();
    let cluster = Cluster::start_with(3, LONG_TERM, &users.settings());
    let mut scene = Scene::set(&cluster);
    cluster.nodes[GONE].pause(true);
    scene.hear_of_the_end();
    cluster.nodes[GONE].pause(false);
    scene.leaving.iter_mut().for_each(await_dismissal);
    scene.hear_of_nothing_more(cluster.addresses()[GONE]);
    drop(scene);
    cluster.stop();
}

/// What [cluster.md](../../docs/cluster.md) says of an owner that is killed.
#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn with_a_killed_owner_its_orders_are_gone_and_what_is_durable_is_delivered_by_the_next() {
    let users = Users::new();
    let mut cluster = Cluster::start_with(3, TERM, &users.settings());
    let addresses = cluster.addresses();
    let (mut of_owner, mut of_other) = (user(addresses[0], "alice"), user(addresses[1], "alice"));
    of_owner.call("private/enable_cancel_on_disconnect", &json!({"scope": "connection"}));
    place(&mut of_owner, "goes");
    place(&mut of_other, "stays");
    assert_eq!(open_orders(&mut of_other), ["goes", "stays"]);
    let mut bob = receiver(addresses[0], "bob");
    let message = json!({"user": "bob", "confirm": true, "content": "approve"});
    ask_until_answered(&mut of_other, "message/send", &message);
    assert_eq!(next(&mut bob, "message")["redelivered"], false);

    cluster.nodes[0].kill();
    await_dismissal(&mut of_other);
    for address in &addresses[1..] {
        let mut alice = user(*address, "alice");
        let orders = ask_until_answered(&mut alice, "private/get_open_orders", &json!({}));
        assert_eq!(orders, Value::Array(Vec::new()), "the paper market is another one");
    }
    let mut bob = user(addresses[2], "bob");
    ask_until_answered(&mut bob, "message/subscribe", &json!({}));
    let again = next(&mut bob, "message");
    assert_eq!((&again["content"], &again["redelivered"]), (&json!("approve"), &json!(true)));
    bob.call("message/ack", &json!({"id": again["id"]}));
    cluster.nodes[0].restart();
    cluster.await_market(0);
    // There is no second one.
    let mut alice = user(addresses[0], "alice");
    let plain = json!({"user": "bob", "confirm": false, "content": "all is well"});
    ask_until_answered(&mut alice, "message/send", &plain);
    assert_eq!(next(&mut bob, "message")["content"], "all is well");
    cluster.stop();
}
