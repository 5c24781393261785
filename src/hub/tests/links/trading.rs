//! The market of an instrument while its link comes and goes, and what its venue says of it.

use super::*;

#[test]
fn an_instrument_of_a_link_trades_while_the_link_is_up() {
    let mut floor = Floor::of_one(Form::Json);
    floor.connect();
    assert_eq!(floor.ticker_state(), "open");
    let first = floor.buy("a");
    floor.run();
    assert_eq!(floor.replies[&first]["result"]["order"]["order_state"], "open");
    floor.links[0].cut();
    floor.run();
    assert_eq!(floor.ticker_state(), "closed");
    let second = floor.buy("b");
    floor.run();
    assert_eq!(floor.replies[&second]["error"]["code"], 13028);
    floor.connect();
    assert_eq!(floor.ticker_state(), "open");
    let third = floor.buy("c");
    floor.run();
    assert_eq!(floor.replies[&third]["result"]["order"]["order_state"], "open");
    let states: Vec<Value> =
        floor.told("ticker.EURUSD.raw").iter().map(|ticker| ticker["state"].clone()).collect();
    let mut changes = states;
    changes.dedup();
    assert_eq!(changes, ["open", "closed", "open"], "it is told to those who listen");
    assert_eq!(floor.links[0].venue.executed.len(), 2);
    floor.judge();
}

#[test]
fn before_its_link_takes_orders_a_listed_instrument_is_closed() {
    let mut world = World::new(1);
    world.market.set_desk(DeskConfig::default(), Trading::Open, world.now);
    let mut feed = FeedBuffer::default();
    for (source, state) in [(FX, MarketState::Closed), (SourceId::FEED, MarketState::Open)] {
        feed.events = vec![FeedEvent::Listed { definition: instrument(&format!("I-{}", source.0)) }];
        world.market.handle_feed(source, &feed, world.now);
        let listed = world.market.instruments().last().unwrap();
        assert_eq!((listed.state, source), (state, source));
    }
    world.carry();
    let replica = |at: usize| world.hubs[0].cache().instruments().nth(at).unwrap().1.state;
    assert_eq!((replica(0), replica(1)), (MarketState::Closed, MarketState::Open));
}

#[test]
fn what_a_venue_said_of_its_market_outlives_a_cut() {
    let mut floor = Floor::of_one(Form::Binary);
    floor.connect();
    for (word, expected, code) in
        [(MarketState::Closed, "closed", Value::from(10012)), (MarketState::Open, "open", Value::Null)]
    {
        let state = Message::State { instrument: symbol("EURUSD"), state: word, time_ms: 5 };
        floor.links[0].venue.session.tell(&state, &[]);
        floor.run();
        floor.links[0].cut();
        floor.run();
        assert_eq!(floor.ticker_state(), "closed");
        floor.connect();
        assert_eq!(floor.ticker_state(), expected);
        let order = floor.buy(expected);
        floor.run();
        assert_eq!(floor.replies[&order]["error"]["code"], code);
    }
}

#[test]
fn several_books_in_one_piece_are_applied_as_they_came() {
    let mut floor = Floor::of_one(Form::Binary);
    floor.connect();
    let levels: Vec<LevelUpdate> = [(Side::Bid, 7), (Side::Ask, 9), (Side::Bid, 6), (Side::Ask, 9)]
        .into_iter()
        .zip([2, 3, 4, 0])
        .map(|((side, price), amount)| LevelUpdate {
            side,
            price: Price(price * LOT),
            amount: Amount(amount * LOT),
        })
        .collect();
    for (is_snapshot, start, count) in [(true, 0, 2), (false, 2, 1), (false, 3, 1)] {
        let range = LevelRange { start, count };
        let book = BookUpdate { instrument: symbol("EURUSD"), is_snapshot, levels: range, time_ms: 4 };
        floor.links[0].venue.session.tell(&Message::Book(book), &levels);
    }
    let link = &mut floor.links[0];
    let bytes = link.venue.session.unsent().to_vec();
    link.venue.session.handle_sent(bytes.len());
    link.session.handle_bytes(&bytes, floor.world.now);
    floor.run();
    let told = floor.told("book.EURUSD.raw");
    let sides = |book: &Value| (book["bids"].clone(), book["asks"].clone());
    assert_eq!(
        told[told.len() - 3..].iter().map(sides).collect::<Vec<_>>(),
        [
            (json!([["new", 7.0, 2]]), json!([["new", 9.0, 3]])),
            (json!([["new", 6.0, 4]]), json!([])),
            (json!([]), json!([["delete", 9.0, 0]])),
        ]
    );
}
