//! Instruments that are traded no more, and those that take their names.

use serde_json::{Value, json};

use super::*;
use crate::hub::cache::Cache;
use crate::hub::market::{ListingRefusal, News};
use crate::limits;
use crate::model::ids::InstrumentId;
use crate::model::market::{InstrumentState, MarketState};

fn delist(number: u32) -> impl FnOnce(&mut FeedBuffer) {
    move |feed| {
        let instrument = FeedInstrument(number);
        feed.events.push(FeedEvent::State { instrument, state: MarketState::Delisted, timestamp_ns: 2 });
    }
}

/// As [`level`], of another instrument.
fn level_of(number: u32, price: i64) -> impl FnOnce(&mut FeedBuffer) {
    move |feed| {
        level(Side::Bid, price, 10)(feed);
        let Some(FeedEvent::Levels { instrument, .. }) = feed.events.last_mut() else { unreachable!() };
        *instrument = FeedInstrument(number);
    }
}

fn ask(world: &mut World, conn: ConnId, method: &str, params: &Value) -> Value {
    let text = json!({"jsonrpc": "2.0", "id": 9, "method": method, "params": params});
    world.send(0, conn, &text.to_string());
    let texts = world.texts(0, conn);
    texts.into_iter().find(|text| text["id"] == 9).unwrap()
}

fn names(world: &mut World, conn: ConnId, expired: bool) -> Vec<String> {
    let listed = ask(world, conn, "public/get_instruments", &json!({"currency": "any", "expired": expired}));
    let name = |of: &Value| of["instrument_name"].as_str().unwrap().to_owned();
    listed["result"].as_array().unwrap().iter().map(name).collect()
}

fn notes(world: &mut World, conn: ConnId) -> Vec<(String, Value)> {
    let texts = world.texts(0, conn);
    let params = texts.iter().map(|text| &text["params"]);
    params.map(|params| (params["channel"].as_str().unwrap().to_owned(), params["data"].clone())).collect()
}

#[test]
fn who_follows_it_is_told_that_its_book_is_empty_and_closed_and_nothing_after() {
    let mut world = World::new(1);
    world.feed(list("A"));
    world.feed(list("B"));
    world.feed(level(Side::Bid, 100, 10));
    let conn = world.connect(0, 0);
    let channels = json!({"channels": ["ticker.A.raw", "book.A.raw", "trades.A.raw", "ticker.B.raw"]});
    ask(&mut world, conn, "public/subscribe", &channels);
    world.feed(delist(0));
    let told = notes(&mut world, conn);
    let book = told.iter().find(|(channel, _)| channel == "book.A.raw").unwrap();
    assert_eq!(book.1["bids"], json!([["delete", 100.0, 0]]));
    let (channel, data) = told.last().unwrap();
    assert_eq!((channel.as_str(), &data["state"]), ("ticker.A.raw", &json!("closed")));
    // It is closed for good, whatever the feed says of it.
    world.feed(level(Side::Bid, 101, 10));
    let state = FeedEvent::State { instrument: FeedInstrument(0), state: MarketState::Open, timestamp_ns: 3 };
    world.feed(|feed| feed.events.push(state));
    world.feed(trade(101));
    world.feed(delist(0));
    assert_eq!(notes(&mut world, conn), []);
    world.feed(level_of(1, 7));
    assert_eq!(notes(&mut world, conn)[0].0, "ticker.B.raw");
}

#[test]
fn it_is_listed_among_the_expired_and_followed_by_nobody_new() {
    let mut world = World::new(1);
    world.feed(list("A"));
    world.feed(list("B"));
    let conn = world.connect(0, 0);
    ask(&mut world, conn, "public/subscribe", &json!({"channels": ["ticker.A.raw"]}));
    world.feed(delist(0));
    assert_eq!(names(&mut world, conn, false), ["B"]);
    assert_eq!(names(&mut world, conn, true), ["A"]);
    let one = ask(&mut world, conn, "public/get_instrument", &json!({"instrument_name": "A"}));
    assert_eq!(one["result"]["is_active"], false);
    let channels = json!({"channels": ["book.A.raw", "ticker.B.raw", "quote.*"]});
    let followed = ask(&mut world, conn, "public/subscribe", &channels);
    assert_eq!(followed["result"], json!(["ticker.B.raw", "quote.*"]));
    world.feed(level_of(1, 7));
    let mut told: Vec<String> = notes(&mut world, conn).into_iter().map(|(channel, _)| channel).collect();
    told.sort();
    assert_eq!(told, ["quote.B", "ticker.B.raw"]);
    let ended = ask(&mut world, conn, "public/unsubscribe", &json!({"channels": ["ticker.A.raw"]}));
    assert_eq!(ended["result"], json!(["ticker.A.raw"]));
}

#[test]
fn another_of_its_name_has_a_number_a_sequence_and_followers_of_its_own() {
    let mut world = World::new(1);
    world.feed(list("A"));
    let (named, every) = (world.connect(0, 0), world.connect(0, 1));
    ask(&mut world, named, "public/subscribe", &json!({"channels": ["ticker.A.raw"]}));
    ask(&mut world, every, "public/subscribe", &json!({"channels": ["ticker.*.raw"]}));
    world.feed(delist(0));
    world.feed(list("A"));
    notes(&mut world, named);
    world.texts(0, every);
    world.feed(level_of(1, 7));
    assert_eq!(notes(&mut world, named), [], "it follows the one that is gone");
    let texts = world.texts(0, every);
    assert_eq!(texts[0]["params"]["data"]["best_bid_price"], 7.0, "{texts:?}");
    let one = ask(&mut world, named, "public/get_instrument", &json!({"instrument_name": "A"}));
    assert_eq!((&one["result"]["instrument_id"], &one["result"]["is_active"]), (&json!(1), &json!(true)));
    ask(&mut world, named, "public/subscribe", &json!({"channels": ["ticker.A.raw"]}));
    world.feed(level_of(1, 8));
    assert_eq!(notes(&mut world, named).last().unwrap().1["best_bid_price"], 8.0);
    // Both that it has go by their one name.
    ask(&mut world, named, "public/unsubscribe", &json!({"channels": ["ticker.A.raw"]}));
    world.feed(level_of(1, 9));
    assert_eq!(notes(&mut world, named), []);
    let again = ask(&mut world, named, "public/unsubscribe", &json!({"channels": ["ticker.A.raw"]}));
    assert_eq!(again["result"], json!([]));
}

#[test]
fn a_shard_that_hears_of_it_in_an_image_only_knows_it_as_gone() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    ask(&mut world, conn, "public/subscribe", &json!({"channels": ["ticker.*.raw"]}));
    world.market.handle_lag(HomeId(0));
    world.feed(list("A"));
    world.feed(list("B"));
    world.feed(delist(0));
    world.market.handle_room(HomeId(0));
    world.carry();
    world.texts(0, conn);
    assert_eq!(names(&mut world, conn, false), ["B"]);
    assert_eq!(world.market.topic_count(), 1, "of the one that is there");
}

#[test]
fn who_follows_every_instrument_has_room_for_those_that_come_after_others_went() {
    let mut world = World::with(1, &HubConfig { subscriptions_max: 3, ..config() });
    world.feed(list("A"));
    let conn = world.connect(0, 0);
    ask(
        &mut world,
        conn,
        "public/subscribe",
        &json!({"channels": ["ticker.*.raw", "book.A.raw", "topic.a"]}),
    );
    world.feed(delist(0));
    world.feed(list("B"));
    world.texts(0, conn);
    world.feed(level_of(1, 7));
    let told: Vec<String> = notes(&mut world, conn).into_iter().map(|(channel, _)| channel).collect();
    assert_eq!(told, ["ticker.B.raw"]);
    let ended = ask(&mut world, conn, "public/unsubscribe", &json!({"channels": ["book.A.raw", "topic.a"]}));
    assert_eq!(ended["result"], json!(["book.A.raw", "topic.a"]), "what it named is its own to end");
}

#[test]
fn however_a_shard_hears_that_an_instrument_is_traded_no_more_it_has_another_number_of_those() {
    let mut cache = Cache::default();
    let definition = Arc::new(*instrument("A"));
    let mut gone = InstrumentState::new(Arc::clone(&definition));
    gone.state = MarketState::Delisted;
    let first = cache.list(&definition);
    let none = cache.delistings();
    cache.set_state(first, MarketState::Closed, 1);
    assert_eq!(cache.delistings(), none);
    cache.set_state(first, MarketState::Delisted, 1);
    let one = cache.delistings();
    let second = cache.list(&definition);
    assert_eq!(cache.replace(second, &gone), None);
    let two = cache.delistings();
    let third = InstrumentId(2);
    assert_eq!(cache.replace(third, &gone), Some(third));
    let numbers = [none, one, two, cache.delistings()];
    assert!(numbers.is_sorted_by(|earlier, later| earlier < later), "{numbers:?}");
}

#[test]
fn numbers_are_bounded_and_a_name_that_finds_none_is_told() {
    let mut world = World::new(1);
    for number in 0..u32::try_from(limits::INSTRUMENTS_MAX).unwrap() {
        world.feed_unsent(list("A"));
        world.feed_unsent(delist(number));
    }
    assert_eq!(world.market.poll_news(), None);
    world.feed_unsent(list("A"));
    let told = world.market.poll_news();
    assert!(matches!(told, Some(News::Refused { why: ListingRefusal::Full, .. })), "{told:?}");
    assert_eq!(world.market.counters.instruments_refused_total, 1);
}
