//! Cut and resumed: with two shards, whichever of them the client comes back to, nothing is lost or told twice.

use serde_json::{Value, json};

use crate::bytes;
use crate::client::Client;
use crate::server::Server;

const SUBSCRIBERS: u64 = 30;
const MESSAGES: u64 = 60;
const CHANNEL: &str = "topic.resumed";

fn resume(client: &mut Client, channel: &str, epoch: u64, seq: u64) -> bool {
    let place = json!({channel: {"epoch": epoch, "seq": seq}});
    let reply = client.request("public/subscribe", &json!({"channels": [channel], "resume": place}));
    assert_eq!(reply["result"], json!([channel]), "{reply}");
    reply["resumed"][channel]["recovered"].as_bool().unwrap_or_else(|| panic!("{reply}"))
}

/// Cuts a connection without a word.
fn cut(client: Client) {
    bytes::set_reset_on_close(client.stream());
    drop(client);
}

fn check_note(note: &Value, epoch: u64, seq: u64) {
    assert_eq!((&note["epoch"], &note["seq"], &note["data"]), (&json!(epoch), &json!(seq), &json!(seq)));
}

#[test]
fn nothing_is_lost_or_repeated_over_a_cut() {
    let server = Server::start("", "0,1");
    let mut publisher = Client::connect(server.address);
    let mut publish = |number: u64| {
        let (epoch, seq) = publisher.publish("resumed", &json!(number));
        assert_eq!(seq, number, "one publisher's messages are counted from 1");
        epoch
    };
    let mut clients: Vec<Client> = (0..SUBSCRIBERS).map(|_| Client::connect(server.address)).collect();
    clients.iter_mut().for_each(|client| client.subscribe(CHANNEL));
    let mut epoch = 0;
    (1..=MESSAGES).for_each(|number| epoch = publish(number));
    // Each is cut after another message, some having unread ones on the way.
    let mut places = Vec::new();
    for (number, mut client) in (1..).zip(clients) {
        (1..=number).for_each(|seq| check_note(&client.note(), epoch, seq));
        places.push(number);
        cut(client);
    }
    (MESSAGES + 1..=2 * MESSAGES).for_each(|number| epoch = publish(number));
    let mut resumed = Vec::new();
    for seq in places {
        let mut client = Client::connect(server.address);
        assert!(resume(&mut client, CHANNEL, epoch, seq), "from {seq}");
        resumed.push((client, seq));
    }
    (2 * MESSAGES + 1..=3 * MESSAGES).for_each(|number| epoch = publish(number));
    for (client, seq) in &mut resumed {
        (*seq + 1..=3 * MESSAGES).for_each(|seq| check_note(&client.note(), epoch, seq));
    }
    drop((publisher, resumed));
    let ended = server.stop();
    ended.assert_clean();
    assert!(ended.each_shard("connections_opened_total").iter().all(|opened| *opened > 0));
    assert_eq!(ended.of_shards("joins_recovered_total"), SUBSCRIBERS);
}

#[test]
fn histories_that_one_turn_does_not_replay_come_complete_though_nothing_else_happens() {
    const TOPICS: usize = 12;
    const EVENTS: u64 = 60;
    // One request asks for some 12 MiB, and then nothing wakes the shard but itself.
    let server = Server::start("[limits]\nqueued_bytes_max = 33554432\n", "0");
    let mut client = Client::connect(server.address);
    let data = "x".repeat(16_000);
    let topics: Vec<String> = (0..TOPICS).map(|number| format!("many{number}")).collect();
    let mut places = serde_json::Map::new();
    for topic in &topics {
        let mut epoch = 0;
        for _ in 0..EVENTS {
            (epoch, _) = client.publish(topic, &json!(data));
        }
        places.insert(format!("topic.{topic}"), json!({"epoch": epoch, "seq": 0}));
    }
    let channels: Vec<&String> = places.keys().collect();
    let reply = client.request("public/subscribe", &json!({"channels": channels, "resume": places}));
    for (channel, resumed) in reply["resumed"].as_object().unwrap_or_else(|| panic!("{reply}")) {
        assert_eq!(resumed["recovered"], true, "{channel}");
    }
    let mut newest = [0; TOPICS];
    for _ in 0..EVENTS * TOPICS as u64 {
        let note = client.note();
        let channel = note["channel"].as_str().unwrap().strip_prefix("topic.").unwrap();
        let at = topics.iter().position(|topic| topic == channel).unwrap();
        newest[at] += 1;
        assert_eq!((&note["seq"], &note["data"]), (&json!(newest[at]), &json!(data)));
    }
    drop(client);
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.of_shards("joins_recovered_total"), TOPICS as u64);
    assert!(ended.of_shards("joins_delayed_total") > 0);
}

#[test]
fn an_unknown_place_is_not_recovered_but_started_over() {
    let server = Server::start("[topics]\nhistory_events_max = 10\n", "0,1");
    let mut publisher = Client::connect(server.address);
    let mut listener = Client::connect(server.address);
    listener.subscribe(CHANNEL);
    let mut epoch = 0;
    for number in 1..=30 {
        (epoch, _) = publisher.publish("resumed", &json!(number));
    }
    for (place, recovered) in [
        ((epoch, 30), true),
        ((epoch, 20), true),
        // Of the events after it, one is forgotten.
        ((epoch, 19), false),
        ((epoch - 1, 30), false),
        ((epoch + 1, 30), false),
        // Not yet told: a client that claims it is not believed.
        ((epoch, 31), false),
    ] {
        let mut client = Client::connect(server.address);
        assert_eq!(resume(&mut client, CHANNEL, place.0, place.1), recovered, "{place:?}");
        if recovered {
            (place.1 + 1..=30).for_each(|seq| check_note(&client.note(), epoch, seq));
        }
    }
    drop((publisher, listener));
    server.stop().assert_clean();
}

#[test]
fn a_book_goes_on_by_changes_after_a_cut() {
    let server = Server::start("", "0,1");
    let mut client = Client::connect(server.address);
    let name =
        client.call("public/get_instruments", &json!({}))[0]["instrument_name"].as_str().unwrap().to_owned();
    let channel = format!("book.{name}.raw");
    // Keeps the stream alive, as other clients do.
    let mut listener = Client::connect(server.address);
    listener.subscribe(&channel);
    client.subscribe(&channel);
    let mut last = client.note();
    assert_eq!(last["data"]["type"], "snapshot");
    for _ in 0..10 {
        for _ in 0..5 {
            let next = client.note();
            check_follows(&last, &next);
            last = next;
        }
        cut(client);
        (0..5).for_each(|_| drop(listener.note()));
        client = Client::connect(server.address);
        assert!(resume(
            &mut client,
            &channel,
            last["epoch"].as_u64().unwrap(),
            last["seq"].as_u64().unwrap()
        ));
    }
    drop((client, listener));
    server.stop().assert_clean();
}

fn check_follows(last: &Value, next: &Value) {
    assert_eq!(next["data"]["type"], "change", "{next}");
    assert_eq!(next["seq"].as_u64(), last["seq"].as_u64().map(|seq| seq + 1));
    assert_eq!(next["data"]["prev_change_id"], last["data"]["change_id"]);
}
