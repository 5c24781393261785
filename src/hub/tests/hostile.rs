//! What a peer could try: to make the hub panic, hold memory without bound, or work without bound.

use super::*;
use crate::limits;
use crate::model::channel::{TopicKey, TopicName};

/// Makes every topic of a hub's home taken.
fn fill_home(world: &mut World, shard: usize) {
    for number in 0..limits::TOPICS_PER_HOME_MAX {
        let name = TopicName::parse(format!("taken{number}").as_bytes()).unwrap();
        assert!(world.hubs[shard].home.intern(TopicKey::Client(name), world.now).is_some());
    }
}

#[test]
fn a_subscribe_that_finds_no_room_at_the_home_is_left_out_of_the_reply() {
    let mut world = World::new(1);
    fill_home(&mut world, 0);
    let conn = world.connect(0, 0);
    world.send(0, conn, &subscribe("topic.new"));
    assert_eq!(world.texts(0, conn)[0]["result"], serde_json::json!([]));
    world.send(0, conn, &subscribe("topic.taken1"));
    assert_eq!(world.texts(0, conn)[0]["result"], serde_json::json!(["topic.taken1"]));
}

#[test]
fn messages_that_nobody_listens_to_leave_nothing_behind() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    let message = publish("unheard", &format!("\"{}\"", "x".repeat(1000)));
    for _ in 0..100 {
        world.send(0, conn, &message);
        world.take(0, conn);
        assert!(world.hubs[0].outbox.data().bytes.is_empty());
    }
}

#[test]
fn replies_that_never_run_dry_do_not_pile_up_what_is_sent() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    let test = r#"{"jsonrpc":"2.0","id":1,"method":"public/test"}"#;
    let mut out = [0; 256];
    world.send(0, conn, test);
    for _ in 0..1000 {
        world.send(0, conn, test);
        world.send(0, conn, test);
        assert!(world.hubs[0].poll_transmit(conn, &mut out) > 0);
        world.hubs[0].handle_sent(conn, world.now);
        assert!(world.hubs[0].poll_transmit(conn, &mut out) > 0);
        world.hubs[0].handle_sent(conn, world.now);
    }
    assert!(world.hubs[0].egress.reply_bytes(0) > 0);
    assert!(world.hubs[0].egress.reply_bytes_held(0) < 4096, "{}", world.hubs[0].egress.reply_bytes_held(0));
}

#[test]
fn a_batch_whose_replies_grow_past_the_limit_is_cut_short() {
    let mut world = World::new(1);
    world.feed(|feed| {
        for number in 0..1000 {
            feed.events.push(FeedEvent::Listed { definition: instrument(&format!("I-{number}")) });
        }
    });
    let conn = world.connect(0, 0);
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"public/get_instruments"}"#;
    world.send(0, conn, &format!("[{}]", vec![request; 100].join(",")));
    assert_eq!(world.texts(0, conn), [serde_json::json!({ "close": 1009 })]);
    assert!(world.hubs[0].counters().requests_total < 100);
    assert!(world.hubs[0].batches.entries.is_empty());
}
