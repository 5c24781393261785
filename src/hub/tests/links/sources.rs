//! Whose an instrument is: who listed it first, for whom it is reserved, and what is said of refusals.

use super::*;

#[test]
fn a_name_belongs_to_who_listed_it_first_and_what_another_says_of_it_is_dropped() {
    let other = SourceId(2);
    let mut links = vec![Link::new(FX, Form::Json, &["EURUSD"])];
    links.push(Link::new(other, Form::Json, &["BTC-PERPETUAL", "EURUSD", "GBPUSD"]));
    let mut floor = Floor::new(links);
    floor.connect();
    floor.news();
    assert_eq!(floor.world.market.counters.instruments_refused_total, 2);
    // The second link's venue is down to one instrument, which is its third.
    for (name, price) in [("EURUSD", 3), ("GBPUSD", 4), ("BTC-PERPETUAL", 5)] {
        let (instrument, price) = (symbol(name), Price(price * LOT));
        let print = Print { instrument, price, amount: Amount(LOT), side: Direction::Buy, time_ms: 8 };
        floor.links[1].venue.session.tell(&Message::Trade(print), &[]);
        let state = Message::State { instrument, state: MarketState::Closed, time_ms: 8 };
        floor.links[1].venue.session.tell(&state, &[]);
    }
    floor.run();
    let prices: Vec<(String, Option<Price>, MarketState)> = (floor.world.market.instruments().iter())
        .map(|state| {
            let name = state.definition.name.as_str().to_owned();
            (name, state.last_trade().map(|trade| trade.price), state.state)
        })
        .collect();
    assert_eq!(
        prices,
        [
            ("BTC-PERPETUAL".to_owned(), None, MarketState::Open),
            ("EURUSD".to_owned(), None, MarketState::Open),
            ("GBPUSD".to_owned(), Some(Price(4 * LOT)), MarketState::Closed),
        ]
    );
    // When its link goes, the other's go on.
    floor.links[1].cut();
    floor.run();
    let order = floor.buy("a");
    floor.run();
    assert_eq!(floor.replies[&order]["result"]["order"]["order_state"], "open");
    assert_eq!(floor.links[0].venue.executed.len(), 1);
    assert_eq!(floor.news(), [News::Down { source: other, instruments: 1, why: Cut::Closed }]);
}

#[test]
fn who_is_refused_an_instrument_is_said_once() {
    let other = SourceId(2);
    let mut links = vec![Link::new(FX, Form::Json, &["EURUSD"])];
    links.push(Link::new(other, Form::Json, &["EURUSD"]));
    let mut floor = Floor::new(links);
    floor.connect();
    let refused = |floor: &mut Floor| -> Vec<News> {
        floor.news().into_iter().filter(|news| matches!(news, News::Refused { .. })).collect()
    };
    let why = ListingRefusal::Taken { by: FX };
    assert_eq!(refused(&mut floor), [News::Refused { source: other, name: symbol("EURUSD"), why }]);
    floor.links[1].cut();
    floor.run();
    floor.connect();
    assert_eq!(refused(&mut floor), []);
}

#[test]
fn a_reserved_name_is_listed_by_its_own_links_only() {
    let (second, stranger) = (SourceId(2), SourceId(3));
    let mut world = World::new(1);
    for source in [FX, second] {
        world.market.reserve(&[symbol("EURUSD")], source);
    }
    let mut feed = FeedBuffer::default();
    feed.events.push(FeedEvent::Listed { definition: Box::new(definition("EURUSD")) });
    for (source, why) in [
        (SourceId::FEED, Some(ListingRefusal::Reserved)),
        (stranger, Some(ListingRefusal::Reserved)),
        (second, None),
        (FX, Some(ListingRefusal::Taken { by: second })),
    ] {
        world.market.handle_feed(source, &feed, world.now);
        let expected = why.map(|why| News::Refused { source, name: symbol("EURUSD"), why });
        assert_eq!(world.market.poll_news(), expected);
    }
    assert_eq!(world.market.instruments().len(), 1);
}

#[test]
fn beyond_what_there_is_room_for_listings_are_counted_and_only_some_are_told() {
    let mut world = World::new(1);
    let mut feed = FeedBuffer::default();
    for number in 0..limits::INSTRUMENTS_MAX + limits::MARKET_NEWS_MAX + 1 {
        feed.events.push(FeedEvent::Listed { definition: Box::new(definition(&format!("I-{number}"))) });
    }
    world.market.handle_feed(FX, &feed, world.now);
    let beyond = limits::MARKET_NEWS_MAX + 1;
    assert_eq!(world.market.counters.instruments_refused_total, beyond as u64);
    let told = std::iter::from_fn(|| world.market.poll_news()).collect::<Vec<_>>();
    assert_eq!(told.len(), limits::MARKET_NEWS_MAX);
    assert!(matches!(told[0], News::Refused { why: ListingRefusal::Full, .. }));
}

/// As the venue's thread does it before each connection.
fn forget_refused(floor: &mut Floor, nth: usize, source: SourceId) {
    let market = &floor.world.market;
    floor.links[nth].session.forget_refused(|number, name| market.may_list_again(source, number, name));
}

/// The link is made anew and takes these.
fn take_only(floor: &mut Floor, names: &[&str]) {
    floor.links[0].cut();
    floor.run();
    let World { market, .. } = &mut floor.world;
    let config = SessionConfig {
        gateway: "gw1".into(),
        venue: "fx".into(),
        key: "secret".into(),
        heartbeat_ms: HEARTBEAT_MS,
        fence: 0,
        instruments: names.iter().map(|name| symbol(name)).collect(),
    };
    market.reserve(&config.instruments, FX);
    floor.links[0].session.set_config(config);
    floor.run();
    forget_refused(floor, 0, FX);
    // As the venue's thread does it in the same turn.
    let World { market, now, .. } = &mut floor.world;
    market.handle_timeout(*now);
    floor.run();
}

#[test]
fn what_a_link_takes_no_more_is_delisted_and_its_orders_are_cancelled_over_the_next_connection() {
    let mut floor = Floor::new(vec![Link::new(FX, Form::Json, &["EURUSD", "GBPUSD"])]);
    floor.connect();
    floor.buy("a");
    floor.run();
    take_only(&mut floor, &["GBPUSD"]);
    let refused = floor.buy("b");
    floor.run();
    let error = &floor.replies[&refused]["error"];
    assert_eq!(
        (&error["code"], &error["data"]["reason"]),
        (&json!(10012), &json!("the instrument is delisted"))
    );
    assert_eq!(
        floor.links[0].venue.orders.values().filter(|order| order.state == StatusState::Open).count(),
        1
    );
    floor.connect();
    let last = floor.events.last().unwrap()["orders"][0].clone();
    assert_eq!((&last["order_state"], &last["cancel_reason"]), (&json!("cancelled"), &json!("delisted")));
    assert!(floor.links[0].venue.orders.values().all(|order| order.state == StatusState::Cancelled));
    let listed = floor.ask("public/get_instruments", &json!({"currency": "any"}));
    let names: Vec<&str> = listed["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of["instrument_name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["BTC-PERPETUAL", "GBPUSD"]);

    // Taken again it is another, and is traded.
    take_only(&mut floor, &[]);
    floor.connect();
    let order = floor.buy("c");
    floor.run();
    assert_eq!(
        floor.replies[&order]["result"]["order"]["order_state"], "open",
        "{:?}",
        floor.replies[&order]
    );
    let one = floor.ask("public/get_instrument", &json!({"instrument_name": "EURUSD"}));
    assert_eq!(one["result"]["instrument_id"], 3);
}

#[test]
fn a_name_that_was_freed_may_be_another_s() {
    let other = SourceId(2);
    let mut floor = Floor::new(vec![
        Link::new(FX, Form::Json, &["EURUSD", "GBPUSD"]),
        Link::new(other, Form::Json, &["EURUSD"]),
    ]);
    floor.links[0].connect(floor.world.now);
    floor.run();
    take_only(&mut floor, &["GBPUSD"]);
    floor.connect();
    let order = floor.buy("a");
    floor.run();
    assert_eq!(floor.replies[&order]["result"]["order"]["order_state"], "open");
    assert_eq!(floor.links[1].venue.executed.len(), 1);
}

#[test]
fn what_was_refused_while_it_was_another_s_is_taken_once_that_one_has_freed_it() {
    let other = SourceId(2);
    let mut floor = Floor::new(vec![
        Link::new(FX, Form::Json, &["EURUSD", "GBPUSD"]),
        Link::new(other, Form::Json, &["EURUSD"]),
    ]);
    floor.links[0].connect(floor.world.now);
    floor.run();
    floor.links[1].connect(floor.world.now);
    floor.run();
    // Nothing is free yet: the link keeps its number, however often it is asked.
    forget_refused(&mut floor, 1, other);
    floor.links[1].cut();
    floor.run();
    floor.links[1].connect(floor.world.now);
    floor.run();
    assert_eq!(floor.world.market.counters.instruments_refused_total, 1);
    take_only(&mut floor, &["GBPUSD"]);
    forget_refused(&mut floor, 1, other);
    floor.links[1].cut();
    floor.run();
    floor.connect();
    let order = floor.buy("a");
    floor.run();
    assert_eq!(floor.replies[&order]["result"]["order"]["order_state"], "open");
    assert_eq!(floor.links[1].venue.executed.len(), 1);
}
