//! What is looked at before the venue is asked.

use super::*;
use crate::model::book::{LevelUpdate, Side};
use crate::model::market::MarketState;
use crate::model::order::VenueReport;

fn refused(floor: &mut Floor, order: NewOrder) -> OrderRefusal {
    let sent = floor.venue.received.len();
    let why = floor.ask(0, place(order)).expect_err("it is to be refused");
    assert_eq!(floor.venue.received.len(), sent, "what is refused does not reach the venue");
    why
}

fn trade_at(floor: &mut Floor, price: i64) {
    let state = &mut floor.market[0];
    let trade = state.stamp_trade(Price(price * UNIT), Amount(UNIT), Direction::Buy, 1);
    state.record_trade(trade);
}

#[test]
fn prices_keep_the_tick_and_amounts_the_smallest_step() {
    let mut floor = Floor::new();
    for price in [0, -1, UNIT / 2 - 1, UNIT + 1] {
        let order = NewOrder { price: Some(Price(price)), ..buy(1, 1) };
        assert_eq!(refused(&mut floor, order), OrderRefusal::PriceTick, "{price}");
    }
    assert_eq!(refused(&mut floor, NewOrder { price: None, ..buy(1, 1) }), OrderRefusal::PriceTick);
    for amount in [0, -1, UNIT / 10 - 1, UNIT + 1, i64::MIN] {
        let order = NewOrder { amount: Amount(amount), ..buy(1, 1) };
        assert_eq!(refused(&mut floor, order), OrderRefusal::InvalidAmount, "{amount}");
    }
    let id = floor.id(0, NewOrder { price: Some(Price(UNIT / 2)), amount: Amount(UNIT / 10), ..buy(1, 1) });
    let edited = EditOrder {
        order: OrderRef::Id(id),
        instrument: None,
        amount: None,
        price: Some(Price(7)),
        post_only: None,
        reduce_only: None,
        valid_until_ms: None,
    };
    assert_eq!(floor.ask(0, OrderRequest::Edit(edited)), Err(OrderRefusal::PriceTick));
    let edited = EditOrder { price: None, amount: Some(Amount(7)), ..edited };
    assert_eq!(floor.ask(0, OrderRequest::Edit(edited)), Err(OrderRefusal::InvalidAmount));
}

#[test]
fn an_instrument_that_is_closed_takes_cancels_only() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(90, 1));
    floor.market[0].state = MarketState::Closed;
    assert_eq!(refused(&mut floor, buy(90, 1)), OrderRefusal::BookClosed);
    assert_eq!(floor.ask(0, edit(id, Some(91), None)), Err(OrderRefusal::BookClosed));
    assert!(floor.ask(0, cancel(id)).is_ok());
}

#[test]
fn an_order_is_no_larger_than_the_largest_by_amount_and_by_value() {
    let mut floor = Floor::with(DeskConfig {
        order_amount_max: Amount(10 * UNIT),
        order_notional_max: 500 * i128::from(UNIT),
        ..config()
    });
    assert_eq!(refused(&mut floor, buy(1, 11)), OrderRefusal::AmountTooLarge);
    assert_eq!(refused(&mut floor, sell(51, 10)), OrderRefusal::NotionalTooLarge);
    let id = floor.id(0, sell(50, 10));
    assert_eq!(floor.ask(0, edit(id, None, Some(11))), Err(OrderRefusal::AmountTooLarge));
    assert_eq!(floor.ask(0, edit(id, Some(51), None)), Err(OrderRefusal::NotionalTooLarge));
    // An order at any price is weighed by the last one.
    trade_at(&mut floor, 51);
    let market = NewOrder { order_type: OrderType::Market, price: None, ..buy(1, 10) };
    assert_eq!(refused(&mut floor, market), OrderRefusal::NotionalTooLarge);
}

const MARKET: fn(NewOrder) -> NewOrder =
    |order| NewOrder { order_type: OrderType::Market, price: None, ..order };

fn show(floor: &mut Floor, side: Side, price: i64) {
    let update = LevelUpdate { side, price: Price(price * UNIT), amount: Amount(UNIT) };
    floor.market[0].apply_level(update);
}

#[test]
fn a_market_order_is_weighed_by_the_price_that_it_would_meet() {
    let order_notional_max = 500 * i128::from(UNIT);
    let mut floor = Floor::with(DeskConfig { order_notional_max, ..config() });
    trade_at(&mut floor, 10);
    show(&mut floor, Side::Bid, 40);
    show(&mut floor, Side::Ask, 51);
    assert_eq!(refused(&mut floor, MARKET(buy(1, 10))), OrderRefusal::NotionalTooLarge);
    assert_eq!(refused(&mut floor, MARKET(sell(1, 13))), OrderRefusal::NotionalTooLarge);
    floor.venue.quote(BTC, Direction::Buy, 40, 12);
    floor.done(0, place(MARKET(sell(1, 12))));
}

#[test]
fn a_market_order_is_held_to_the_band_by_the_price_that_it_would_meet() {
    let mut floor = Floor::with(DeskConfig { price_band_bp: 500, ..config() });
    trade_at(&mut floor, 100);
    show(&mut floor, Side::Bid, 94);
    show(&mut floor, Side::Ask, 106);
    assert_eq!(refused(&mut floor, MARKET(buy(1, 1))), OrderRefusal::PriceTooHigh);
    assert_eq!(refused(&mut floor, MARKET(sell(1, 1))), OrderRefusal::PriceTooLow);
    show(&mut floor, Side::Bid, 95);
    show(&mut floor, Side::Ask, 105);
    floor.venue.quote(BTC, Direction::Buy, 95, 1);
    floor.venue.quote(BTC, Direction::Sell, 105, 1);
    floor.done(0, place(MARKET(buy(1, 1))));
    trade_at(&mut floor, 100);
    floor.done(0, place(MARKET(sell(1, 1))));
}

#[test]
fn a_market_order_without_any_known_price_is_refused_where_a_limit_is_set() {
    for limits in
        [DeskConfig { price_band_bp: 500, ..config() }, DeskConfig { order_notional_max: 1, ..config() }]
    {
        let mut floor = Floor::with(limits);
        assert_eq!(refused(&mut floor, MARKET(buy(1, 1))), OrderRefusal::NoReferencePrice);
    }
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Sell, 9, 1);
    floor.done(0, place(MARKET(buy(1, 1))));
    // One side's price is a price.
    let mut floor = Floor::with(DeskConfig { price_band_bp: 500, ..config() });
    show(&mut floor, Side::Bid, 9);
    floor.venue.quote(BTC, Direction::Sell, 9, 1);
    floor.done(0, place(MARKET(buy(1, 1))));
}

#[test]
fn open_orders_can_make_no_larger_position_than_the_largest() {
    let mut floor = Floor::with(DeskConfig { position_max: Amount(10 * UNIT), ..config() });
    floor.venue.quote(BTC, Direction::Sell, 90, 4);
    floor.done(0, place(buy(90, 4)));
    let id = floor.id(0, buy(80, 5));
    assert_eq!(refused(&mut floor, buy(80, 2)), OrderRefusal::AmountTooLarge);
    assert_eq!(floor.ask(0, edit(id, None, Some(7))), Err(OrderRefusal::AmountTooLarge));
    floor.done(0, edit(id, None, Some(6)));
    // The other way there is room for the position besides.
    floor.done(0, place(sell(200, 14)));
    assert_eq!(refused(&mut floor, sell(200, 1)), OrderRefusal::AmountTooLarge);
    floor.done(0, cancel(id));
    floor.done(0, place(buy(80, 6)));
}

#[test]
fn what_an_edit_under_way_or_in_doubt_may_make_of_an_order_counts() {
    let mut floor = Floor::with(DeskConfig { position_max: Amount(10 * UNIT), ..config() });
    let id = floor.id(0, buy(80, 5));
    floor.send(0, edit(id, None, Some(9)));
    floor.take();
    for _ in 0..2 {
        assert_eq!(refused_now(&mut floor, buy(80, 2)), OrderRefusal::AmountTooLarge);
        floor.cut();
        floor.link_up();
    }
    floor.reconnect();
    floor.done(0, place(buy(80, 5)));
    // It counts as what it was again where the edit is refused.
    let id = OrderId(FIRST);
    floor.send(0, edit(id, None, Some(3)));
    floor.take();
    floor
        .happened
        .push_back(Happening::Report(VenueReport::AmendRejected { order: id, why: OrderRefusal::Full }));
    floor.sent.clear();
    floor.run();
    assert_eq!(floor.desk.accounts[AccountId(0)].holdings.of(BTC).working, [i128::from(10 * UNIT), 0]);
}

/// Of what the desk refuses by itself, while the venue is not heard.
fn refused_now(floor: &mut Floor, order: NewOrder) -> OrderRefusal {
    let ticket = floor.send(0, place(order));
    floor.answers[&ticket].clone().expect_err("it is to be refused")
}

#[test]
fn the_band_holds_what_would_cost() {
    let mut floor = Floor::with(DeskConfig { price_band_bp: 500, ..config() });
    let id = floor.id(0, buy(7_777, 1));
    floor.done(0, cancel(id));
    for (side, price) in [(Side::Bid, 99), (Side::Ask, 101)] {
        let update = LevelUpdate { side, price: Price(price * UNIT), amount: Amount(UNIT) };
        floor.market[0].apply_level(update);
    }
    assert_eq!(refused(&mut floor, buy(106, 1)), OrderRefusal::PriceTooHigh);
    assert_eq!(refused(&mut floor, sell(94, 1)), OrderRefusal::PriceTooLow);
    // The last price goes before what the book says.
    trade_at(&mut floor, 200);
    assert_eq!(refused(&mut floor, sell(189, 1)), OrderRefusal::PriceTooLow);
    assert_eq!(refused(&mut floor, buy(211, 1)), OrderRefusal::PriceTooHigh);
    for order in [buy(210, 1), sell(211, 1), buy(1, 1), sell(9_999, 1)] {
        floor.done(0, place(order));
    }
    let id = floor.id(0, buy(10, 1));
    assert_eq!(floor.ask(0, edit(id, Some(211), None)), Err(OrderRefusal::PriceTooHigh));
}

#[test]
fn the_same_order_without_a_label_a_moment_later_is_a_duplicate() {
    let mut floor = Floor::with(DeskConfig { duplicate_window_ms: 50, ..config() });
    floor.done(0, place(buy(90, 1)));
    assert_eq!(refused(&mut floor, buy(90, 1)), OrderRefusal::Duplicate);
    for order in [
        buy(90, 2),
        buy(91, 1),
        sell(90, 1),
        labelled("a", buy(90, 1)),
        NewOrder { instrument: EUR, ..buy(90, 1) },
    ] {
        floor.done(0, place(order));
    }
    floor.done(1, place(buy(90, 1)));
    floor.wait_ms(50);
    floor.done(0, place(buy(90, 1)));
}

#[test]
fn credits_are_taken_and_come_back_with_time() {
    let mut floor = Floor::with(DeskConfig {
        credits_max: 6,
        credits_per_s: 2,
        place_credits: 3,
        cancel_credits: 1,
        query_credits: 1,
        ..config()
    });
    let id = floor.id(0, buy(90, 1));
    assert!(floor.ask(0, cancel(id)).is_ok());
    assert_eq!(
        refused(&mut floor, buy(90, 1)),
        OrderRefusal::TooManyRequests { credits_left: 2, retry_after_ms: 500 }
    );
    floor.done(0, open_orders());
    floor.done(0, open_orders());
    let none = OrderRefusal::TooManyRequests { credits_left: 0, retry_after_ms: 500 };
    assert_eq!(floor.ask(0, open_orders()), Err(none));
    // What is for the worst moment is free, and others have their own.
    for request in [
        OrderRequest::CancelAllAfter { timeout_ms: None },
        OrderRequest::Halt { is_on: false, everybody: false },
    ] {
        floor.done(0, request);
    }
    floor.done(1, place(buy(90, 1)));
    floor.wait_ms(499);
    let little = OrderRefusal::TooManyRequests { credits_left: 0, retry_after_ms: 1 };
    assert_eq!(floor.ask(0, open_orders()), Err(little));
    floor.wait_ms(1);
    floor.done(0, open_orders());
    floor.wait_ms(1_000_000);
    floor.done(0, place(buy(90, 1)));
    floor.done(0, place(buy(91, 1)));
    assert_eq!(
        refused(&mut floor, buy(90, 1)),
        OrderRefusal::TooManyRequests { credits_left: 0, retry_after_ms: 1_500 }
    );
    assert_eq!(floor.desk.counters.throttled_total, 4);
}

#[test]
fn to_cancel_all_is_free_unless_there_is_nothing_to_cancel() {
    let limits = DeskConfig { credits_max: 3, credits_per_s: 1, place_credits: 2, ..config() };
    let mut floor = Floor::with(limits);
    let all = OrderRequest::CancelAll { filter: Filter::default() };
    let others = Filter { instrument: Some(EUR), ..Filter::default() };
    floor.done(0, place(buy(90, 1)));
    assert_eq!(floor.done(0, OrderRequest::CancelAll { filter: others }), 0);
    let none = OrderRefusal::TooManyRequests { credits_left: 0, retry_after_ms: 1_000 };
    assert_eq!(floor.ask(0, OrderRequest::CancelAll { filter: others }), Err(none));
    assert_eq!(floor.done(0, all), 1);
    assert_eq!(floor.ask(0, all), Err(none));
}

#[test]
fn a_reduce_only_order_is_cut_to_what_there_is_to_reduce() {
    let mut floor = Floor::new();
    let reducing = |order: NewOrder| NewOrder { reduce_only: true, ..order };
    assert_eq!(refused(&mut floor, reducing(sell(200, 1))), OrderRefusal::ReduceOnly);
    floor.venue.quote(BTC, Direction::Sell, 90, 5);
    floor.done(0, place(buy(90, 5)));
    assert_eq!(refused(&mut floor, reducing(buy(80, 1))), OrderRefusal::ReduceOnly);
    let first = floor.id(0, reducing(sell(200, 3)));
    let second = floor.done(0, place(reducing(sell(201, 3))));
    assert_eq!(short(&second["order"]), "open 0.0/2.0@201.0");
    assert_eq!(refused(&mut floor, reducing(sell(202, 1))), OrderRefusal::ReduceOnly);
    let edited = floor.done(0, edit(first, None, Some(9)));
    assert_eq!(short(&edited["order"]), "open 0.0/3.0@200.0");
    // An order that makes the position smaller takes the newest of them with it, which there is nothing left for.
    floor.told(0);
    floor.venue.quote(BTC, Direction::Buy, 70, 1);
    floor.done(0, place(sell(70, 1)));
    assert_eq!(floor.told(0), ["3 filled 1.0/1.0 1 trades", "2 cancelled 0.0/2.0"]);
    let holding = floor.desk.accounts[AccountId(0)].holdings.of(BTC);
    assert_eq!((holding.reducing, holding.working), ([0, i128::from(3 * UNIT)], [0, i128::from(3 * UNIT)]));
}

#[test]
fn many_fills_in_one_settlement_go_through_the_orders_that_reduce_once() {
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Sell, 90, 200);
    floor.done(0, place(buy(90, 200)));
    for at in 0..200 {
        floor.done(0, place(NewOrder { reduce_only: true, ..sell(200 + at, 1) }));
    }
    floor.done(0, place(sell(500, 1)));
    for _ in 0..150 {
        floor.venue.quote(BTC, Direction::Buy, 80, 1);
    }
    let before = floor.desk.counters.looked_at_total;
    floor.done(0, place(sell(80, 150)));
    assert!(floor.desk.counters.looked_at_total - before <= 201);
    let holding = floor.desk.accounts[AccountId(0)].holdings.of(BTC);
    assert_eq!((holding.position.size, holding.reducing), (50 * UNIT, [0, i128::from(50 * UNIT)]));
    let kept = floor.venue.resting.iter().map(|resting| resting.price.0 / UNIT).filter(|price| *price < 500);
    assert_eq!(kept.collect::<Vec<_>>(), (200..250).collect::<Vec<_>>(), "the older ones are kept");
}

#[test]
fn an_order_becomes_reduce_only_by_an_edit_and_stops_being_so() {
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Sell, 90, 5);
    floor.done(0, place(buy(90, 5)));
    let id = floor.id(0, sell(200, 7));
    let edit = |reduce_only| {
        OrderRequest::Edit(EditOrder {
            order: OrderRef::Id(id),
            instrument: None,
            amount: Some(Amount(7 * UNIT)),
            price: None,
            post_only: None,
            reduce_only: Some(reduce_only),
            valid_until_ms: None,
        })
    };
    assert_eq!(short(&floor.done(0, edit(true))["order"]), "open 0.0/5.0@200.0");
    let reducing = |floor: &Floor| floor.desk.accounts[AccountId(0)].holdings.of(BTC).reducing[1];
    assert_eq!(reducing(&floor), i128::from(5 * UNIT));
    assert_eq!(short(&floor.done(0, edit(false))["order"]), "open 0.0/7.0@200.0");
    assert_eq!(reducing(&floor), 0);
}

#[test]
fn an_order_that_becomes_reduce_only_when_there_is_nothing_left_to_reduce_is_cancelled() {
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Buy, 90, 1);
    floor.done(0, place(sell(90, 1)));
    floor.done(0, place(buy(85, 1)));
    let id = floor.id(0, buy(80, 4));
    let OrderRequest::Edit(request) = edit(id, None, None) else { unreachable!() };
    let edited = floor.send(0, OrderRequest::Edit(EditOrder { reduce_only: Some(true), ..request }));
    floor.take();
    // The other order closes the position before the edit arrives.
    let seller = VenueRequest::New { order: OrderId(1), account: AccountId(9), spec: sell(85, 1) };
    floor.venue.handle(&seller, &mut floor.happened);
    floor.run();
    assert!(floor.answers[&edited].is_ok());
    assert_eq!(floor.told(0).last().unwrap(), "2 cancelled 0.0/1.0");
    assert!(floor.venue.resting.is_empty());
}

#[test]
fn an_order_of_more_value_than_can_be_counted_is_refused() {
    let most = Amount(i64::MAX);
    let mut floor = Floor::with(DeskConfig { order_amount_max: most, position_max: most, ..config() });
    const MANY: i64 = 9_000_000_000;
    assert_eq!(floor.ask(0, place(sell(MANY, MANY))), Err(OrderRefusal::NotionalTooLarge));
    floor.done(0, place(sell(MANY, 1_000_000)));
}

#[test]
fn orders_that_close_a_position_are_no_more_than_can_be_counted() {
    let most = Amount(i64::MAX);
    let mut floor = Floor::with(DeskConfig { order_amount_max: most, position_max: most, ..config() });
    const MANY: i64 = 9_000_000_000;
    floor.venue.quote(BTC, Direction::Buy, 90, MANY);
    floor.done(0, place(sell(90, MANY)));
    // Filled, both together would leave it as long as it is short now.
    assert!(floor.ask(0, place(buy(80, MANY))).is_ok());
    assert_eq!(floor.ask(0, place(buy(80, MANY))), Err(OrderRefusal::AmountTooLarge));
    let working = floor.desk.accounts[AccountId(0)].holdings.of(BTC).working;
    assert_eq!(working, [i128::from(MANY * UNIT), 0]);
}

#[test]
fn an_instrument_may_have_limits_of_its_own_from_the_next_request_on() {
    let mut floor = Floor::with(DeskConfig { order_amount_max: Amount(5 * UNIT), ..config() });
    let own = |order_amount_max, price_band_bp| {
        let limits = InstrumentLimits { order_amount_max, price_band_bp, ..InstrumentLimits::default() };
        [(symbol("EUR_USD"), limits)]
    };
    let in_euros = |amount| place(NewOrder { instrument: EUR, ..buy(90, amount) });
    assert_eq!(floor.ask(0, in_euros(6)), Err(OrderRefusal::AmountTooLarge));
    floor.desk.set_instrument_limits(own(Some(Amount(7 * UNIT)), None));
    assert!(floor.ask(0, in_euros(7)).is_ok());
    assert_eq!(floor.ask(0, in_euros(8)), Err(OrderRefusal::AmountTooLarge));
    assert_eq!(floor.ask(0, place(buy(90, 6))), Err(OrderRefusal::AmountTooLarge), "not of others");
    // The next ones replace them all: a band holds a market order to a price that nobody knows here.
    floor.desk.set_instrument_limits(own(None, Some(100)));
    assert_eq!(floor.ask(0, in_euros(7)), Err(OrderRefusal::AmountTooLarge));
    let market = NewOrder { order_type: OrderType::Market, price: None, ..buy(90, 1) };
    let refused = Err(OrderRefusal::NoReferencePrice);
    assert_eq!(floor.ask(0, place(NewOrder { instrument: EUR, ..market })), refused);
    assert_ne!(floor.ask(0, place(market)), refused);
}
