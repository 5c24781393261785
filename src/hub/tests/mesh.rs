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
    world.market.handle_feed(&feed, world.now);
    world.market.handle_room(HomeId(0));
    world.feed(level(Side::Bid, 101, 5));
    let cache = world.hubs[0].cache();
    assert_eq!(cache.instruments().len(), 2);
    assert_eq!(cache.instruments().next().unwrap().1.book.bids().len(), 2);
}
