//! A market that goes on where another owner's has ended, with shards that heard the other before.

use super::*;
use crate::hub::Cache;
use crate::hub::market::Succession;
use crate::model::ids::{Epoch, InstrumentId};
use crate::model::market::MarketState;

const SUCCESSION: Succession = Succession { begin: Epoch(1_900_000_000_000), life: 3 };

/// Another owner takes over, whose clock is behind.
fn succeed(world: &mut World) {
    world.market = MarketHome::succeeding(
        HomeId(1),
        1,
        config().history,
        SUCCESSION,
        world.hubs[0].cache.instruments(),
        world.now,
    );
    world.market.handle_room(HomeId(0));
    world.carry();
}

fn names(cache: &Cache) -> Vec<(&str, MarketState)> {
    cache.instruments().map(|(_, state)| (state.definition.name.as_str(), state.state)).collect()
}

#[test]
fn instruments_keep_their_numbers_in_whatever_order_they_are_listed_again() {
    let mut world = World::new(1);
    ["A", "B", "C"].into_iter().for_each(|name| world.feed(list(name)));
    world.feed(level(Side::Bid, 100, 5));
    succeed(&mut world);
    let closed = |name| (name, MarketState::Closed);
    assert_eq!(names(&world.hubs[0].cache), [closed("A"), closed("B"), closed("C")]);
    assert_eq!(world.hubs[0].cache.state(InstrumentId(0)).book.level_count(), 0);
    ["C", "A", "D"].into_iter().for_each(|name| world.feed(list(name)));
    let open = |name| (name, MarketState::Open);
    assert_eq!(names(&world.hubs[0].cache), [open("A"), closed("B"), open("C"), open("D")]);
    // The feed's first instrument is the market's third.
    world.feed(level(Side::Bid, 7, 5));
    assert_eq!(world.hubs[0].cache.state(InstrumentId(2)).book.level_count(), 1);
}

#[test]
fn a_name_that_means_another_thing_now_is_another_instrument() {
    let mut world = World::new(1);
    world.feed(list("A"));
    succeed(&mut world);
    world.feed(|feed| {
        let definition = Box::new(Instrument { tick_size: Price(7), ..*instrument("A") });
        feed.events.push(FeedEvent::Listed { definition });
    });
    let cache = &world.hubs[0].cache;
    assert_eq!(names(cache), [("A", MarketState::Delisted), ("A", MarketState::Open)]);
    assert_eq!(cache.find_listed(&Symbol::parse(b"A").unwrap()), Some(InstrumentId(1)));
}

#[test]
fn what_is_reserved_for_a_link_is_not_taken_by_the_feed() {
    let mut world = World::new(1);
    world.feed(list("A"));
    succeed(&mut world);
    world.market.reserve(&[Symbol::parse(b"A").unwrap()], SourceId(1));
    world.feed(list("A"));
    assert_eq!(names(&world.hubs[0].cache), [("A", MarketState::Closed)]);
    assert_eq!(world.market.counters.instruments_refused_total, 1);
}

#[test]
fn epochs_and_ids_are_beyond_those_before_though_the_clock_is_behind() {
    let mut world = World::new(1);
    world.feed(list("A"));
    let conn = world.connect(0, 0);
    world.send(0, conn, &subscribe("book.A.raw"));
    world.feed(level(Side::Bid, 5, 1));
    let epoch = |texts: Vec<serde_json::Value>| {
        let epoch = texts.last().and_then(|text| text["params"]["epoch"].as_u64());
        epoch.unwrap_or_else(|| panic!("{texts:?}"))
    };
    let before = epoch(world.texts(0, conn));
    assert!(before < SUCCESSION.begin.0);
    succeed(&mut world);
    world.feed(list("A"));
    world.feed(level(Side::Bid, 6, 1));
    let after = epoch(world.texts(0, conn));
    assert!(after >= SUCCESSION.begin.0, "{after}");
    assert!(world.market.newest_epoch() >= Epoch(after));
    // A leave of a topic of the owner before, which a shard said too late.
    let topic = crate::model::ids::TopicId { home: HomeId(1), slot: 0, generation: 0 };
    let mut late = Batch::default();
    late.records.push(Record::Leave { topic });
    world.market.handle_batch(HomeId(0), &late, world.now);
    world.feed(level(Side::Bid, 7, 1));
    assert_eq!(world.texts(0, conn).len(), 1, "it is heard on");
}
