//! What operators are told of connections and topics, while those come and go.

use proptest::prelude::*;

use super::*;
use crate::hub::inspect::{
    ConnectionOrder, ConnectionRow, ConnectionState, ConnectionsWalk, SendTimes, TopicOrder, TopicRow,
    TopicsWalk, TraceOutcome, Walked,
};

fn rows(world: &World, order: ConnectionOrder, limit: usize, steps: usize) -> (Vec<ConnectionRow>, bool) {
    let mut walk = ConnectionsWalk::new(order, limit);
    let hub = &world.hubs[0];
    let now_ns = world.now.mono_ns;
    while hub.walk_connections(&mut walk, steps, now_ns, |_| None) == Walked::AsFarAsAllowed {}
    let is_cut = walk.is_cut();
    (walk.into_rows(), is_cut)
}

fn row(world: &World, conn: ConnId) -> ConnectionRow {
    let (all, _) = rows(world, ConnectionOrder::FromSlot(0), 1000, 1000);
    all.into_iter().find(|row| row.conn == conn).unwrap()
}

fn topics(world: &World, shard: usize, order: TopicOrder, limit: usize) -> Vec<TopicRow> {
    let mut walk = TopicsWalk::new(order, limit);
    while world.hubs[shard].walk_topics(&mut walk, 1) == Walked::AsFarAsAllowed {}
    let mut rows = walk.into_rows();
    rows.sort_by_key(TopicRow::channel);
    rows
}

fn close(world: &mut World, conn: ConnId) {
    let now = world.now;
    world.hubs[0].handle_closed(conn, now);
    world.carry();
}

#[test]
fn the_deepest_queue_is_told_as_long_as_it_stands() {
    let mut world = World::new(1);
    let (conn, other) = (world.connect(0, 3), world.connect(0, 7));
    world.send(0, conn, &subscribe("topic.a"));
    world.take(0, conn);
    (0..4).for_each(|_| world.send(0, other, &publish("a", "1")));
    let told = |world: &mut World| world.hubs[0].take_deepest_frames();
    assert_eq!([told(&mut world), told(&mut world)], [4, 4], "nothing is put into it, and it stands");
    world.take(0, conn);
    assert_eq!([told(&mut world), told(&mut world)], [4, 0], "it was as deep since it was told last");
}

#[test]
fn a_connection_is_told_as_it_is() {
    let mut world = World::new(1);
    let (conn, other) = (world.connect(0, 3), world.connect(0, 7));
    world.send(0, conn, &subscribe("topic.a"));
    world.take(0, conn);
    world.now = world.now.plus_ns(5_000_000);
    (0..4).for_each(|_| world.send(0, other, &publish("a", "1")));
    let told = row(&world, conn);
    assert_eq!((told.state, told.dialect, told.client_id), (ConnectionState::Open, Some("json-rpc"), None));
    assert_eq!((told.age_ns, told.topics, told.deliveries_total, told.sends), (5_000_000, 1, 4, None));
    let waiting_bytes = told.queued_bytes;
    assert_eq!(waiting_bytes, world.hubs[0].queued_bytes(conn) as u64);
    assert_eq!(world.take(0, conn).len() as u64, waiting_bytes);
    assert_eq!(row(&world, conn).queued_bytes, 0);
    assert_eq!(row(&world, other).deliveries_total, 0);
    // Before its upgrade nobody has a dialect.
    let early = ConnId { slot: 0, generation: 99 };
    let now = world.now;
    world.hubs[0].handle_open(early, Arrival::FIRST, now);
    let told = row(&world, early);
    assert_eq!((told.state, told.dialect), (ConnectionState::Upgrading, None));
}

#[test]
fn what_is_conflated_is_counted_for_who_does_not_read_before_it_reads() {
    let mut world = World::new(1);
    world.feed(list("BTC-PERPETUAL"));
    world.feed(level(Side::Bid, 100, 5));
    let conn = world.connect(0, 0);
    world.send(0, conn, &subscribe("book.BTC-PERPETUAL.raw"));
    world.take(0, conn);
    for amount in 0..2_000 {
        world.feed(level(Side::Bid, 100, 10 + amount));
    }
    let before = row(&world, conn);
    let conflated = world.hubs[0].counters().events_conflated_total;
    assert!(conflated > 1_000, "{conflated}");
    assert_eq!(before.conflated_total, conflated);
    world.take(0, conn);
    let after = row(&world, conn);
    assert_eq!(after.conflated_total, conflated);
    assert_eq!(after.deliveries_total, world.hubs[0].deliveries_total());
    assert_eq!(after.deliveries_total, before.deliveries_total + 1, "the newest value");
    let topic = &topics(&world, 0, TopicOrder::Deliveries, 9)[0];
    assert_eq!((topic.deliveries_total, topic.seq.0), (after.deliveries_total, 2_000));
}

#[test]
fn those_for_whom_the_most_waits_are_found_wherever_they_are() {
    let mut world = World::new(1);
    let conns: Vec<ConnId> = (0..20).map(|slot| world.connect(0, slot)).collect();
    for (at, messages) in [(4, 3), (11, 9), (17, 5)] {
        let topic = format!("t{at}");
        world.send(0, conns[at], &subscribe(&format!("topic.{topic}")));
        world.take(0, conns[at]);
        (0..messages).for_each(|_| world.send(0, conns[0], &publish(&topic, "1")));
        world.take(0, conns[0]);
    }
    let (found, is_cut) = rows(&world, ConnectionOrder::Queued, 2, 3);
    let mut slots: Vec<u32> = found.iter().map(|row| row.conn.slot).collect();
    slots.sort_unstable();
    assert_eq!((slots, is_cut), (vec![11, 17], false));
}

#[test]
fn a_walk_goes_no_further_than_it_may_at_a_time() {
    let mut world = World::new(1);
    let conns: Vec<ConnId> = (0..20).map(|slot| world.connect(0, slot)).collect();
    conns.iter().for_each(|conn| world.send(0, *conn, &subscribe(&format!("topic.{}", conn.slot))));
    let hub = &world.hubs[0];
    let now_ns = world.now.mono_ns;
    let mut walk = ConnectionsWalk::new(ConnectionOrder::FromSlot(0), 1000);
    let calls = (1..).find(|_| hub.walk_connections(&mut walk, 8, now_ns, |_| None) == Walked::ToTheEnd);
    assert_eq!((calls, walk.into_rows().len()), (Some(3), 20), "8, 8 and 4");
    let mut walk = TopicsWalk::new(TopicOrder::Deliveries, 1000);
    let calls = (1..).find(|_| hub.walk_topics(&mut walk, 8) == Walked::ToTheEnd).unwrap();
    assert!(calls >= 3, "{calls} for 20 topics, and places for more");
    assert_eq!(walk.into_rows().len(), 20);
}

#[test]
fn topics_are_ranked_by_what_is_asked_for_and_bear_their_channels() {
    let mut world = World::new(2);
    world.feed(list("BTC-PERPETUAL"));
    let (busy, idle) = (of_home(0), of_home(1));
    let conns: Vec<ConnId> = (0..3).map(|slot| world.connect(0, slot)).collect();
    conns.iter().for_each(|conn| world.send(0, *conn, &subscribe(&format!("topic.{idle}"))));
    world.send(0, conns[0], &subscribe(&format!("topic.{busy}")));
    world.send(0, conns[0], &subscribe("ticker.BTC-PERPETUAL.100ms"));
    (0..5).for_each(|_| world.send(0, conns[1], &publish(busy, "1")));
    let all = topics(&world, 0, TopicOrder::Deliveries, 9);
    let told: Vec<_> = all.iter().map(|row| (row.channel(), row.subscribers, row.deliveries_total)).collect();
    let mut expected = vec![
        ("ticker.BTC-PERPETUAL.100ms".to_owned(), 1, 0),
        (format!("topic.{busy}"), 1, 5),
        (format!("topic.{idle}"), 3, 0),
    ];
    expected.sort_unstable();
    assert_eq!(told, expected);
    let first = |order| topics(&world, 0, order, 1)[0].channel();
    assert_eq!(first(TopicOrder::Deliveries), format!("topic.{busy}"));
    assert_eq!(first(TopicOrder::Subscribers), format!("topic.{idle}"));
    assert_eq!(topics(&world, 1, TopicOrder::Deliveries, 9), [], "nobody listens there");
}

#[test]
fn sends_are_timed_for_those_it_was_asked_for() {
    let mut world = World::new(1);
    let (conn, other) = (world.connect(0, 0), world.connect(0, 1));
    assert_eq!(world.hubs[0].trace(conn, true), TraceOutcome::Done);
    for took_ns in [50_000, 5_000_000, 2_000_000_000] {
        for conn in [conn, other] {
            world.send(0, conn, r#"{"jsonrpc":"2.0","id":1,"method":"public/test"}"#);
            assert!(world.hubs[0].poll_transmit(conn, &mut [0; 4096]) > 0);
        }
        world.now = world.now.plus_ns(took_ns);
        let now = world.now;
        [conn, other].iter().for_each(|conn| world.hubs[0].handle_sent(*conn, now));
    }
    assert_eq!(row(&world, conn).sends, Some(SendTimes { counts: [1, 0, 1, 0, 0, 1] }));
    assert_eq!(row(&world, other).sends, None);
    assert_eq!(world.hubs[0].trace(conn, false), TraceOutcome::Done);
    assert_eq!(row(&world, conn).sends, None);
    assert_eq!(world.hubs[0].trace(ConnId { slot: 0, generation: 77 }, true), TraceOutcome::Gone);
}

#[test]
fn no_more_are_timed_than_may_be_and_who_goes_makes_room() {
    let mut world = World::new(1);
    let max = limits::TRACED_CONNECTIONS_MAX as u32;
    let conns: Vec<ConnId> = (0..=max).map(|slot| world.connect(0, slot)).collect();
    let outcomes: Vec<_> = conns.iter().map(|conn| world.hubs[0].trace(*conn, true)).collect();
    assert!(outcomes[..max as usize].iter().all(|outcome| *outcome == TraceOutcome::Done));
    assert_eq!(outcomes[max as usize], TraceOutcome::Full);
    close(&mut world, conns[5]);
    assert_eq!(world.hubs[0].trace(conns[max as usize], true), TraceOutcome::Done);
}

proptest! {
    /// Pages of any size, with any connections coming and going before each.
    #[test]
    fn who_stays_is_on_one_page_and_nobody_is_on_two(
        limit in 1_usize..5,
        steps in 1_usize..5,
        changes in prop::collection::vec(prop::collection::vec(0_u32..24, 0..6), 30),
    ) {
        let mut world = World::new(1);
        let mut live: Vec<Option<ConnId>> = (0..24).map(|slot| Some(world.connect(0, slot))).collect();
        let mut stayed = live.clone();
        let (mut seen, mut from, mut pages) = (Vec::new(), 0, 0);
        loop {
            for slot in &changes[pages % changes.len()] {
                let place = *slot as usize;
                stayed[place] = None;
                live[place] = match live[place] {
                    Some(conn) => { close(&mut world, conn); None }
                    None => Some(world.connect(0, *slot)),
                };
            }
            let (page, is_cut) = rows(&world, ConnectionOrder::FromSlot(from), limit, steps);
            prop_assert!(page.len() <= limit);
            prop_assert!(page.iter().all(|row| row.conn.slot >= from));
            prop_assert!(page.windows(2).all(|pair| pair[0].conn.slot < pair[1].conn.slot));
            seen.extend(page.iter().map(|row| row.conn));
            pages += 1;
            prop_assert!(pages <= 25, "it comes to no end");
            if !is_cut {
                break;
            }
            from = page.last().unwrap().conn.slot + 1;
        }
        for conn in stayed.into_iter().flatten() {
            prop_assert!(seen.contains(&conn), "{conn:?} was there all along");
        }
        let mut once = seen.clone();
        once.dedup();
        prop_assert_eq!(once.len(), seen.len());
    }
}
