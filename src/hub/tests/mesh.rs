//! What goes wrong between the homes: full queues, gaps, answers that cross.

use super::*;

#[test]
fn room_for_a_shard_in_the_middle_of_a_turn_tells_it_nothing_twice() {
    let mut world = World::new(1);
    world.feed(list("BTC-PERPETUAL"));
    world.market.handle_lag(HomeId(0));
    let mut feed = FeedBuffer::default();
    list("ETH-PERPETUAL")(&mut feed);
    level(Side::Bid, 100, 5)(&mut feed);
    world.market.handle_feed(SourceId::FEED, &feed, world.now);
    world.market.handle_room(HomeId(0));
    world.feed(level(Side::Bid, 101, 5));
    let cache = world.hubs[0].cache();
    assert_eq!(cache.instruments().len(), 2);
    assert_eq!(cache.instruments().next().unwrap().1.book.bids().len(), 2);
}

/// Carries what the market has said to the first shard.
fn carry_market(world: &mut World) {
    world.market.seal();
    let market = HomeId(world.hubs.len() as u8);
    while let Some(outgoing) = world.market.poll_mesh() {
        world.hubs[0].handle_batch(market, &outgoing.batch, world.now);
    }
}

/// Ends the first shard's turn and carries its commands to the market.
fn carry_shard(world: &mut World) {
    world.hubs[0].seal(world.now);
    while let Some(outgoing) = world.hubs[0].poll_mesh() {
        world.market.handle_batch(HomeId(0), &outgoing.batch, world.now);
    }
}

#[test]
fn a_reader_whose_snapshot_is_due_during_a_gap_gets_it_after_the_gap() {
    let mut world = World::new(1);
    world.feed(list("BTC-PERPETUAL"));
    let conn = world.connect(0, 0);
    world.send(0, conn, &subscribe("book.BTC-PERPETUAL.raw"));
    world.feed(level(Side::Bid, 100, 5));
    world.texts(0, conn);
    for number in 0..1000 {
        world.feed(level(Side::Bid, 100 + number % 50, 1 + number % 7));
    }
    world.market.handle_lag(HomeId(0));
    world.feed(level(Side::Ask, 500, 1));
    world.market.handle_room(HomeId(0));
    carry_market(&mut world);
    // The socket takes all that there is while the topic is behind: the snapshot is not to be had yet.
    world.texts(0, conn);
    world.carry();
    let texts = world.texts(0, conn);
    assert_eq!(texts[0]["params"]["data"]["type"], "snapshot");
    world.feed(level(Side::Ask, 501, 1));
    let next = &world.texts(0, conn)[0]["params"]["data"];
    assert_eq!(next["prev_change_id"], texts.last().unwrap()["params"]["data"]["change_id"]);
}

#[test]
fn a_resume_that_crosses_a_gap_repeats_nothing() {
    let mut world = World::new(1);
    world.feed(list("BTC-PERPETUAL"));
    let steady = world.connect(0, 0);
    world.send(0, steady, &subscribe("trades.BTC-PERPETUAL.raw"));
    world.feed(trade(1));
    let epoch = world.texts(0, steady)[1]["params"]["epoch"].as_u64().unwrap();
    let back = world.connect(0, 1);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{{"channels":["trades.BTC-PERPETUAL.raw"],"resume":{{"trades.BTC-PERPETUAL.raw":{{"epoch":{epoch},"seq":0}}}}}}}}"#
    );
    world.hubs[0].handle_bytes(back, &mut frame(&text), world.now);
    // The gap is told before the market hears the question.
    world.market.handle_lag(HomeId(0));
    world.feed_unsent(trade(2));
    world.market.handle_room(HomeId(0));
    carry_shard(&mut world);
    carry_market(&mut world);
    world.carry();
    world.feed(trade(3));
    for (conn, expected) in [(steady, &[2, 3][..]), (back, &[1, 2, 3])] {
        let texts = world.texts(0, conn);
        let seqs: Vec<_> = texts.iter().filter_map(|text| text["params"]["seq"].as_u64()).collect();
        assert_eq!(seqs, expected);
    }
}

#[test]
fn a_gap_that_the_history_does_not_fill_ends_who_may_lose_nothing() {
    let mut world = World::new(1);
    world.feed(list("BTC-PERPETUAL"));
    let [lossless, latest] = [0, 1].map(|slot| world.connect(0, slot));
    let channel = r#"{"channels":["book.BTC-PERPETUAL.raw"],"class":"lossless"}"#;
    let method = r#"{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":"#;
    world.send(0, lossless, &format!("{method}{channel}}}"));
    world.send(0, latest, &subscribe("book.BTC-PERPETUAL.raw"));
    world.texts(0, lossless);
    world.texts(0, latest);
    world.market.handle_lag(HomeId(0));
    for number in 0..2 * HISTORY.frames_max as i64 {
        world.feed(level(Side::Bid, 100 + number % 50, 1 + number % 7));
    }
    world.market.handle_room(HomeId(0));
    world.carry();
    assert_eq!(world.texts(0, lossless).last().unwrap()["close"], 1008);
    assert_eq!(world.count(Closing::Lost), 1);
    assert_eq!(world.texts(0, latest)[0]["params"]["data"]["type"], "snapshot");
}
