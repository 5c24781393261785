//! Messages, groups and presence of clients of several nodes, whose office is the owner's.

use super::*;

/// Node, shard and connection.
type Place = (usize, usize, ConnId);

fn contents(texts: &[Value]) -> Vec<i64> {
    texts.iter().filter_map(|text| text["params"]["content"].as_i64()).collect()
}

impl Cluster {
    /// A client that subscribes to messages, and what waited for it.
    fn come(&mut self, node: usize, shard: usize, slot: u32, digit: u32) -> (Place, Vec<Value>) {
        let at = (node, shard, self.member(node, shard, slot, digit));
        let (reply, waited) = self.ask_and_hear(at, "message/subscribe", &json!({}));
        assert!(reply["result"]["session"].is_u64(), "{reply}");
        (at, waited)
    }

    fn listener(&mut self, node: usize, shard: usize, slot: u32, digit: u32) -> Place {
        let (at, waited) = self.come(node, shard, slot, digit);
        assert_eq!(waited, Vec::<Value>::new());
        at
    }

    fn heard(&mut self, at: Place) -> Vec<Value> {
        self.texts(at.0, at.1, at.2)
    }
}

#[test]
fn a_message_reaches_a_user_on_another_node_the_critical_first() {
    let mut cluster = Cluster::new(2);
    let sender = (0, 0, cluster.member(0, 0, 0, 1));
    for (priority, content) in [("low", 1), ("normal", 2), ("critical", 3), ("high", 4)] {
        let message = json!({"user": "account2", "priority": priority, "confirm": false, "content": content});
        let reply = cluster.ask(sender, "message/send", &message);
        assert_eq!(reply["result"]["count"], 1, "it waits: {reply}");
    }
    let (receiver, waited) = cluster.come(1, 1, 0, 2);
    assert_eq!(contents(&waited), [3, 4, 2, 1]);
    let at_owner = cluster.member_of_owner(0, 1);
    let message = json!({"user": "account2", "receipts": true, "content": 5});
    cluster.send_to_owner(at_owner, &request(1, "message/send", &message));
    assert_eq!(contents(&cluster.heard(receiver)), [5], "from the owner's own clients too");
}

#[test]
fn messages_are_not_lost_with_the_stream_that_carried_them_and_none_comes_twice() {
    let mut cluster = Cluster::new(2);
    let (sender, receiver) = ((0, 0, cluster.member(0, 0, 0, 1)), cluster.listener(1, 0, 0, 2));
    let mut heard = Vec::new();
    let mut losing = 5;
    for number in 0..200 {
        if number % 2 == 0 {
            cluster.loses = Box::new(move || next(&mut losing, 12) == 0);
        }
        losing = losing.wrapping_add(7);
        let message = json!({"user": "account2", "content": number});
        cluster.send(0, 0, sender.2, &request(number, "message/send", &message));
        if number % 10 == 9 {
            cluster.pass(1_200);
        }
        heard.extend(contents(&cluster.heard(receiver)));
    }
    cluster.loses = Box::new(|| false);
    for _ in 0..10 {
        cluster.pass(1_500);
        heard.extend(contents(&cluster.heard(receiver)));
    }
    assert_eq!(heard, (0..200).collect::<Vec<_>>(), "though each waits for 64 to be written");
    let replies = cluster.heard(sender);
    assert_eq!(replies.iter().filter(|text| text["result"]["count"] == 1).count(), 200);
    assert!(cluster.nodes[1].troubles.len() > 3, "{:?}", cluster.nodes[1].troubles);
    assert!(cluster.nodes.iter().all(|node| node.troubles.iter().all(|one| matches!(one, Trouble::Lost(_)))));
}

#[test]
fn groups_and_presence_are_those_of_all_nodes() {
    let mut cluster = Cluster::new(2);
    let watcher = cluster.listener(0, 0, 0, 1);
    let watched = cluster.ask(watcher, "presence/subscribe", &json!({"users": ["account2"]}));
    assert_eq!(watched["result"][0]["present"], false, "{watched}");
    let other = cluster.listener(1, 1, 0, 2);
    let told = cluster.heard(watcher);
    assert_eq!((told.len(), &told[0]["params"]["present"]), (1, &json!(true)), "{told:?}");
    cluster.ask(other, "group/create", &json!({"group": "desk"}));
    for member in [watcher, other] {
        assert_eq!(cluster.ask(member, "group/join", &json!({"group": "desk"}))["result"], "ok");
    }
    cluster.ask(watcher, "group/send", &json!({"group": "desk", "content": 8}));
    assert_eq!(contents(&cluster.heard(other)), [8]);
    // Its node is cut off: it is gone, and what it had not confirmed is kept.
    let node = cluster.nodes.remove(1);
    (0..12).for_each(|_| cluster.pass(1_000));
    let told = cluster.heard(watcher);
    assert!(told.iter().any(|text| text["params"]["present"] == false), "{told:?}");
    cluster.nodes.push(node);
    (0..8).for_each(|_| cluster.pass(1_000));
    let texts = cluster.heard(other);
    assert!(texts.iter().any(|text| text["close"] == 1012), "{texts:?}");
    cluster.ask(watcher, "message/send", &json!({"user": "account2", "content": 9}));
    assert_eq!(contents(&cluster.come(1, 0, 1, 2).1), [9]);
}
