//! What a turn has finished is noted once, since when it waited; who measures asks for it.

use super::super::marks::{Tally, Told};
use super::*;

fn drained(tally: &mut Tally) -> Vec<(u64, u64)> {
    tally.drain().collect()
}

#[test]
fn replies_and_upgrades_are_noted_since_they_were_asked_for_however_far_the_answer_was() {
    let mut world = World::new(2);
    let begun_ns = world.now.mono_ns;
    let conn = world.connect(0, 0);
    assert_eq!(drained(&mut world.hubs[0].marks().upgrades), [(begun_ns, 1)]);
    let test = r#"{"jsonrpc":"2.0","id":1,"method":"public/test"}"#;
    world.send(0, conn, test);
    // A notification has no reply; what is no request has one.
    world.send(0, conn, r#"{"jsonrpc":"2.0","method":"public/test"}"#);
    world.send(0, conn, "nonsense");
    assert_eq!(drained(&mut world.hubs[0].marks().replies), [(begun_ns, 2)]);
    // Another shard answers, a while later.
    world.hubs[0].handle_bytes(conn, &mut frame(&publish(of_home(1), "1")), world.now);
    world.now = world.now.plus_ns(5_000);
    world.hubs[0].handle_bytes(conn, &mut frame(test), world.now);
    world.carry();
    assert_eq!(drained(&mut world.hubs[0].marks().replies), [(begun_ns + 5_000, 1), (begun_ns, 1)]);
    assert!(world.hubs[0].marks().orders.is_empty());
}

#[test]
fn a_batch_s_requests_are_noted_when_all_are_answered() {
    let mut world = World::new(2);
    let conn = world.connect(0, 0);
    let begun_ns = world.now.mono_ns;
    let batch = format!(
        r#"[{},{{"jsonrpc":"2.0","id":7,"method":"public/test"}},{{"jsonrpc":"2.0","method":"public/test"}}]"#,
        publish(of_home(1), "1")
    );
    world.hubs[0].handle_bytes(conn, &mut frame(&batch), world.now);
    assert!(world.hubs[0].marks().replies.is_empty());
    world.now = world.now.plus_ns(1_000);
    world.carry();
    assert_eq!(drained(&mut world.hubs[0].marks().replies), [(begun_ns, 2)]);
}

#[test]
fn an_event_is_told_once_for_each_class_that_follows_and_not_where_nobody_does() {
    let mut world = World::new(1);
    world.feed(list("A"));
    let (first, second, publisher) = (world.connect(0, 0), world.connect(0, 1), world.connect(0, 2));
    for conn in [first, second] {
        world.send(0, conn, &subscribe("topic.a"));
        world.send(0, conn, &subscribe("ticker.A.raw"));
    }
    world.texts(0, first);
    world.texts(0, second);
    world.hubs[0].take_told();
    world.send(0, publisher, &publish("a", "1"));
    world.send(0, publisher, &publish("b", "1"));
    assert_eq!(world.hubs[0].take_told(), Told { lossless: 1, latest: 0, reports: 0 });
    world.feed(trade(100));
    assert_eq!(world.hubs[0].take_told(), Told { lossless: 0, latest: 1, reports: 0 });
    assert!(world.hubs[0].has_frames_waiting());
    world.texts(0, first);
    assert!(world.hubs[0].has_frames_waiting());
    world.texts(0, second);
    assert!(!world.hubs[0].has_frames_waiting());
}

#[test]
fn how_long_connections_were_open_adds_up() {
    let mut world = World::new(1);
    let (first, second) = (world.connect(0, 0), world.connect(0, 1));
    world.now = world.now.plus_ns(3_000);
    world.hubs[0].handle_closed(first, world.now);
    world.now = world.now.plus_ns(4_000);
    world.hubs[0].handle_closed(second, world.now);
    // One that is gone already.
    world.hubs[0].handle_closed(second, world.now);
    assert_eq!(world.hubs[0].counters().connections_closed_ns_total, 3_000 + 7_000);
}
