//! More subscribers than a turn begins sends to: the round goes on in the next turns, also where nothing else wakes the
//! shard, and what is said meanwhile follows in its order.

use serde_json::json;

use crate::client::Client;
use crate::server::Server;

/// Some three turns' worth.
const SUBSCRIBERS: usize = 100;
const MESSAGES: u64 = 20;

#[test]
fn an_event_reaches_more_subscribers_than_a_turn_sends_to() {
    let server = Server::start("", "0");
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS).map(|_| Client::connect(server.address)).collect();
    subscribers.iter_mut().for_each(|client| client.subscribe("topic.news"));
    let mut publisher = Client::connect(server.address);
    publisher.publish("news", &json!("alone"));
    for client in &mut subscribers {
        assert_eq!(client.note()["data"], "alone");
    }
    for number in 0..MESSAGES {
        publisher.send("topic/publish", &json!({"topic": "news", "data": number}));
    }
    for client in &mut subscribers {
        let notes = (0..MESSAGES).map(|_| client.note());
        let told: Vec<_> = notes.map(|note| (note["seq"].as_u64(), note["data"].as_u64())).collect();
        assert!(told.into_iter().eq((0..MESSAGES).map(|number| (Some(2 + number), Some(number)))));
    }
    publisher.settle(usize::try_from(MESSAGES).unwrap());
}
