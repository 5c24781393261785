//! Presence over a change of owners: who was present is, until it is seen or not seen for too long, and nobody is told of a coming and going that was none.

use serde_json::{Value, json};

use crate::client::Client;
use crate::nats_client::NatsClient;
use crate::nodes::{Cluster, TERM};
use crate::until;
use crate::users::{Users, ask_until_answered, await_dismissal, change_of_presence, receiver, user};

/// What NATS has of a user: whether it is kept as present.
fn is_kept(cluster: &Cluster, name: &str) -> bool {
    let mut client = NatsClient::connect(cluster.nats.address());
    let subject = format!("$KV.tickring_tests_presence.present.{name}");
    let question = json!({"last_by_subj": subject}).to_string();
    let answer = client.ask("$JS.API.STREAM.MSG.GET.KV_tickring_tests_presence", &question);
    // One that was removed has a header that says so, and no content.
    answer["message"]["data"].is_string()
}

/// Has a user's connection get messages, once the node has reached the owner.
fn subscribe(client: &mut Client) {
    ask_until_answered(client, "message/subscribe", &json!({}));
}

fn presence(client: &mut Client, method: &str, users: &[&str]) -> Vec<Value> {
    client.call(method, &json!({"users": users})).as_array().unwrap().clone()
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn who_was_present_is_over_a_change_of_owners_and_who_is_not_seen_again_goes_once() {
    let users = Users::new();
    let mut cluster = Cluster::start_with(3, TERM, &users.settings());
    let addresses = cluster.addresses();
    let (mut alice, _dave) = (receiver(addresses[1], "alice"), receiver(addresses[0], "dave"));
    let mut carol = receiver(addresses[2], "carol");
    let before = presence(&mut carol, "presence/subscribe", &["alice", "dave"]);
    assert_eq!((&before[0]["present"], &before[1]["present"]), (&json!(true), &json!(true)));
    until("both are kept", || is_kept(&cluster, "alice") && is_kept(&cluster, "dave"));

    cluster.nodes[0].kill();
    await_dismissal(&mut alice);
    await_dismissal(&mut carol);
    let mut carol = user(addresses[2], "carol");
    subscribe(&mut carol);
    let after = presence(&mut carol, "presence/subscribe", &["alice", "dave"]);
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(after["present"], true, "{after}");
        assert_eq!(after["since"], before["since"], "since the same time as under the owner before");
    }
    assert_eq!(after[1]["sessions"], 0, "no connection of dave's is known");
    let mut alice = user(addresses[1], "alice");
    subscribe(&mut alice);
    // Nothing is told of alice, who came back; dave has not.
    assert_eq!(change_of_presence(&mut carol), ("dave".to_owned(), false));
    until("dave is not kept any more", || !is_kept(&cluster, "dave"));
    let now = presence(&mut carol, "presence/get", &["alice", "dave"]);
    assert_eq!((&now[0]["present"], &now[0]["sessions"]), (&json!(true), &json!(1)));
    assert_eq!(now[0]["since"], before[0]["since"]);
    assert_eq!((&now[1]["present"], &now[1]["sessions"]), (&json!(false), &json!(0)));
    assert!(is_kept(&cluster, "alice"));

    // From here on it is as ever, also of who was held.
    drop(alice);
    assert_eq!(change_of_presence(&mut carol), ("alice".to_owned(), false));
    let _dave = receiver(addresses[2], "dave");
    assert_eq!(change_of_presence(&mut carol), ("dave".to_owned(), true));
    until("what is kept follows", || !is_kept(&cluster, "alice") && is_kept(&cluster, "dave"));
    cluster.nodes[0].restart();
    cluster.stop();
}

#[test]
#[ignore = "needs nats-server: tests/cluster/run"]
fn an_owner_that_is_stopped_hands_over_who_is_present() {
    let users = Users::new();
    let mut cluster = Cluster::start_with(2, TERM, &users.settings());
    let addresses = cluster.addresses();
    let mut alice = receiver(addresses[1], "alice");
    let mut carol = receiver(addresses[1], "carol");
    let before = presence(&mut carol, "presence/get", &["alice"]);
    until("it is kept", || is_kept(&cluster, "alice"));
    assert_eq!(cluster.nodes[0].stop().code, Some(0));
    await_dismissal(&mut alice);
    await_dismissal(&mut carol);
    let mut carol = user(addresses[1], "carol");
    subscribe(&mut carol);
    let after = presence(&mut carol, "presence/subscribe", &["alice"]);
    assert_eq!((&after[0]["present"], &after[0]["since"]), (&json!(true), &before[0]["since"]));
    // Nobody comes back for alice.
    assert_eq!(change_of_presence(&mut carol), ("alice".to_owned(), false));
    cluster.nodes[0].restart();
    cluster.stop();
}
