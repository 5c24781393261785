//! What clients of several nodes publish: one topic, with one sequence.

use super::*;
use crate::dialect::json_rpc::OWNER_LOST;
use crate::hub::batch::PublishRefusal;
use crate::model::channel::TopicName;

fn data(texts: &[Value]) -> Vec<(u64, u64, i64)> {
    let events = texts.iter().filter(|text| text["params"]["seq"].is_u64());
    let number = |value: &Value| value.as_u64().unwrap();
    events
        .map(|text| {
            let params = &text["params"];
            (number(&params["epoch"]), number(&params["seq"]), params["data"].as_i64().unwrap())
        })
        .collect()
}

#[test]
fn a_topic_is_one_for_the_clients_of_all_nodes_and_who_moves_resumes() {
    let mut cluster = Cluster::new(2);
    let at_owner = cluster.owner.connect(0, 0);
    cluster.send_to_owner(at_owner, &subscribe("topic.chat"));
    let conns = [(0, 0), (0, 1), (1, 0)].map(|(node, shard)| (node, shard, cluster.connect(node, shard, 0)));
    for (node, shard, conn) in conns {
        cluster.send(node, shard, conn, &subscribe("topic.chat"));
        cluster.texts(node, shard, conn);
    }
    cluster.owner.texts(0, at_owner);
    for (number, (node, shard, conn)) in conns.into_iter().enumerate() {
        for again in 0..2 {
            let text = publish("chat", &format!("{}", 10 * number + again));
            cluster.send(node, shard, conn, &text);
        }
    }
    cluster.send_to_owner(at_owner, &publish("chat", "50"));
    let told = data(&cluster.owner.texts(0, at_owner));
    assert_eq!(
        told.iter().map(|(_, seq, data)| (*seq, *data)).collect::<Vec<_>>(),
        [(1, 0), (2, 1), (3, 10), (4, 11), (5, 20), (6, 21), (7, 50)]
    );
    for (node, shard, conn) in conns {
        let texts = cluster.texts(node, shard, conn);
        assert_eq!(data(&texts), told, "node {node}, shard {shard}");
        let places: Vec<_> = texts.iter().filter_map(|text| text["result"]["seq"].as_u64()).collect();
        assert_eq!(places.len(), 2, "each is told where its message stands");
    }
    let moved = cluster.connect(1, 1, 5);
    cluster.send(1, 1, moved, &resume("topic.chat", &json!(told[0].0), 3));
    assert_eq!(data(&cluster.texts(1, 1, moved)), told[3..]);
}

#[test]
fn what_was_published_and_not_answered_before_the_owner_was_lost_is_unknown() {
    let mut cluster = Cluster::new(1);
    let conn = cluster.connect(0, 0, 0);
    cluster.loses = Box::new(|| true);
    cluster.send(0, 0, conn, &publish("chat", "1"));
    cluster.fail_over();
    cluster.loses = Box::new(|| false);
    cluster.appoint();
    let texts = cluster.texts(0, 0, conn);
    assert_eq!(
        (&texts[0]["error"]["code"], texts.len()),
        (&json!(OWNER_LOST.code), 1),
        "it stays: {texts:?}"
    );
    cluster.send(0, 0, conn, &publish("chat", "2"));
    assert_eq!(cluster.texts(0, 0, conn)[0]["result"]["seq"], 1);
}

#[test]
fn an_operator_of_any_node_publishes_to_the_same_topic_and_is_told_what_came_of_it() {
    let mut cluster = Cluster::new(2);
    let name = TopicName::parse(b"chat").unwrap();
    let conn = cluster.connect(1, 0, 0);
    cluster.send(1, 0, conn, &subscribe("topic.chat"));
    cluster.texts(1, 0, conn);
    let now = cluster.owner.now;
    // The owner's own hub asks the market's home too.
    assert_eq!(cluster.owner.hubs[0].handle_publish(name, b"1", now), None);
    cluster.carry();
    let at_owner = cluster.owner.hubs[0].take_published().unwrap().unwrap();
    assert_eq!(cluster.nodes[0].world.hubs[1].handle_publish(name, b"2", now), None);
    assert_eq!(cluster.nodes[0].world.hubs[1].take_published(), None);
    cluster.carry();
    let hub = &mut cluster.nodes[0].world.hubs[1];
    let at_follower = hub.take_published().unwrap().unwrap();
    assert_eq!((hub.take_published(), hub.counters().messages_published_total), (None, 1));
    let places = [at_owner, at_follower].map(|place| (place.epoch.0, place.seq.0));
    let told: Vec<_> = data(&cluster.texts(1, 0, conn));
    assert_eq!(told, [(places[0].0, 1, 1), (places[1].0, 2, 2)]);
    // While the owner is lost it is not known, and while there is none it is not sent.
    cluster.loses = Box::new(|| true);
    let hub = &mut cluster.nodes[0].world.hubs[0];
    assert_eq!(hub.handle_publish(name, b"3", now), None);
    cluster.carry();
    cluster.fail_over();
    cluster.appoint();
    let hub = &mut cluster.nodes[0].world.hubs[0];
    assert_eq!(hub.take_published(), Some(Err(PublishRefusal::OwnerLost)));
    assert_eq!(hub.handle_publish(name, b"4", now), None);
    cluster.carry();
    let told = cluster.nodes[0].world.hubs[0].take_published();
    assert_eq!(told, Some(Err(PublishRefusal::OwnerAway)));
}
