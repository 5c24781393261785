//! Batches whose replies wait for another shard: what they gather meanwhile is counted and bounded.

use super::*;
use crate::hub::overload::{Mark, Pressure};

const INSTRUMENTS: usize = 1000;

/// Two shards and enough instruments that a list of them is long.
fn world() -> World {
    let mut world = World::new(2);
    world.feed(|feed| {
        for number in 0..INSTRUMENTS {
            feed.events.push(FeedEvent::Listed { definition: instrument(&format!("I-{number}")) });
        }
    });
    world
}

/// A batch of so many long answers and one that the other shard gives.
fn waiting_batch(lists: usize) -> Vec<u8> {
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"public/get_instruments"}"#.to_owned();
    let mut requests = vec![list; lists];
    requests.push(publish(of_home(1), "1"));
    frame(&format!("[{}]", requests.join(",")))
}

/// Sends batches of which none is answered before [`World::carry`].
fn give(world: &mut World, conn: ConnId, batches: usize, lists: usize) {
    for _ in 0..batches {
        world.hubs[0].handle_bytes(conn, &mut waiting_batch(lists), world.now);
    }
}

#[test]
fn what_a_batch_gathers_while_it_waits_counts_as_memory_until_it_is_answered_or_its_client_goes() {
    let mut world = world();
    let (stays, goes) = (world.connect(0, 0), world.connect(0, 1));
    let start = world.hubs[0].memory_bytes();
    give(&mut world, stays, 2, 1);
    let held = world.hubs[0].memory_bytes() - start;
    give(&mut world, goes, 2, 1);
    let held_by_both = world.hubs[0].memory_bytes() - start;
    world.hubs[0].handle_closed(goes, world.now);
    assert!(world.hubs[0].occupancy().batched_bytes < held_by_both - held / 2, "{held} {held_by_both}");
    assert_eq!(world.hubs[0].occupancy().batches, 2);
    world.carry();
    assert_eq!(world.hubs[0].occupancy().batched_bytes, 0);
    let replies = world.texts(0, stays);
    let bytes: usize = replies.iter().map(|reply| reply.to_string().len()).sum();
    assert_eq!((replies.len(), replies[1].as_array().unwrap().len()), (2, 2));
    assert!(held >= bytes && held_by_both >= 2 * bytes, "{held} {held_by_both} {bytes}");
    world.hubs[0].handle_closed(stays, world.now);
    assert_eq!((world.hubs[0].occupancy().batched_bytes, world.hubs[0].occupancy().batches), (0, 0));
}

#[test]
fn batches_of_a_connection_that_gather_too_much_together_close_it() {
    let mut world = world();
    let conn = world.connect(0, 0);
    let mut most = 0;
    while world.hubs[0].sessions[0].as_ref().unwrap().is_open() {
        most = world.hubs[0].sessions[0].as_ref().unwrap().batched_bytes;
        give(&mut world, conn, 1, 5);
    }
    assert!((limits::REPLY_BYTES_MAX / 2..=limits::REPLY_BYTES_MAX).contains(&most), "{most}");
    assert_eq!((world.count(Closing::BatchTooBig), world.hubs[0].occupancy().batched_bytes), (1, 0));
    world.carry();
    assert_eq!(world.texts(0, conn), [serde_json::json!({ "close": 1009 })]);
}

#[test]
fn batches_of_all_connections_together_are_bounded_as_unread_replies_are() {
    let mut world = world();
    let (big, small) = (world.connect(0, 0), world.connect(0, 1));
    give(&mut world, big, 1, 1);
    // As if others had gathered the rest.
    world.hubs[0].batched_bytes += limits::REPLY_BYTES_PER_SHARD_MAX;
    give(&mut world, small, 1, 0);
    assert_eq!(world.count(Closing::BatchTooBig), 0, "who has gathered little stays");
    give(&mut world, big, 1, 1);
    assert_eq!(world.count(Closing::BatchTooBig), 1);
    assert_eq!(world.texts(0, big), [serde_json::json!({ "close": 1009 })]);
    world.hubs[0].batched_bytes -= limits::REPLY_BYTES_PER_SHARD_MAX;
    world.carry();
    assert!(world.texts(0, small)[0].is_array());
}

#[test]
fn who_gathers_most_goes_first_when_memory_runs_short() {
    let mut world = world();
    let marks =
        OverloadMarks { shed_bytes: Mark { enter: 900_000, leave: 800_000 }, ..OverloadMarks::default() };
    world.hubs[0].overload = Overload::new(marks);
    let (big, small) = (world.connect(0, 0), world.connect(0, 1));
    give(&mut world, big, 2, 2);
    give(&mut world, small, 1, 0);
    let before = world.hubs[0].memory_bytes();
    assert_eq!(world.hubs[0].poll_timeout(), Some(world.hubs[0].pressure_due_ns), "looked after though idle");
    let pressure = Pressure { memory_bytes: 1_000_000, ..Pressure::default() };
    world.hubs[0].handle_pressure(pressure, world.now);
    assert_eq!(world.count(Closing::Shed), 1);
    assert!(world.hubs[0].memory_bytes() + 200_000 < before, "it is given back at once");
    world.carry();
    assert_eq!(world.texts(0, big), [serde_json::json!({ "close": 1013 })]);
    assert!(world.texts(0, small)[0].is_array());
}
