//! Placing and editing: replies, events, labels, what waits while an order is under way.

use super::*;
use crate::model::order::VenueReport;

#[test]
fn an_order_that_rests_is_answered_as_open_and_told_once() {
    let mut floor = Floor::new();
    let placed = floor.done(0, place(buy(100, 5)));
    assert_eq!(short(&placed["order"]), "open 0.0/5.0@100.0");
    assert_eq!(placed["trades"], serde_json::json!([]));
    assert_eq!(placed["order"]["order_id"], FIRST.to_string());
    assert_eq!(floor.told(0), ["0 open 0.0/5.0"]);
}

#[test]
fn the_reply_holds_the_trades_that_the_order_made_at_once() {
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Sell, 100, 2);
    floor.venue.quote(BTC, Direction::Sell, 101, 2);
    let placed = floor.done(0, place(buy(102, 5)));
    assert_eq!(short(&placed["order"]), "open 4.0/5.0@102.0");
    let prices: Vec<&Value> =
        placed["trades"].as_array().unwrap().iter().map(|fill| &fill["price"]).collect();
    assert_eq!(prices, [100.0, 101.0]);
    assert_eq!(placed["trades"][0]["liquidity"], "T");
    assert_eq!(floor.told(0), ["0 open 4.0/5.0 2 trades"]);
}

#[test]
fn both_sides_of_a_trade_are_told_of_it() {
    let mut floor = Floor::new();
    floor.done(0, place(buy(100, 5)));
    floor.done(1, place(sell(99, 3)));
    assert_eq!(floor.told(0), ["0 open 0.0/5.0", "0 open 3.0/5.0 1 trades"]);
    assert_eq!(floor.told(1), ["1 filled 3.0/3.0 1 trades"]);
}

#[test]
fn events_of_an_account_are_numbered_without_a_gap_whatever_others_do() {
    let mut floor = Floor::new();
    for round in 0..10 {
        floor.done(round % 3, place(buy(90 + i64::from(round), 1)));
        floor.done(2, place(sell(90, 1)));
    }
    for account in 0..3 {
        let own = floor.events.iter().filter(|told| told.account.0 == account);
        let numbers: Vec<u64> = own.map(|told| told.seq).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "of {account}");
        assert!(numbers.len() > 5);
    }
}

#[test]
fn what_the_venue_refuses_is_answered_and_told_to_nobody() {
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Sell, 100, 2);
    let taking = NewOrder { post_only: PostOnly::Reject, ..labelled("a", buy(100, 1)) };
    assert_eq!(floor.ask(0, place(taking)), Err(OrderRefusal::PostOnly));
    let whole = NewOrder { time_in_force: TimeInForce::FillOrKill, ..buy(100, 3) };
    assert_eq!(floor.ask(0, place(whole)), Err(OrderRefusal::FillOrKill));
    assert_eq!(floor.told(0), [""; 0]);
    // Nothing was done under the label, so it may be used.
    let placed = floor.done(0, place(labelled("a", buy(99, 1))));
    assert_eq!((short(&placed["order"]), &placed["repeated"]), ("open 0.0/1.0@99.0".into(), &Value::Null));
}

#[test]
fn what_is_left_of_an_immediate_order_is_cancelled() {
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Sell, 100, 2);
    let order = NewOrder { time_in_force: TimeInForce::ImmediateOrCancel, ..buy(100, 3) };
    let placed = floor.done(0, place(order));
    assert_eq!(short(&placed["order"]), "cancelled 2.0/3.0@100.0");
    assert_eq!(placed["order"]["cancel_reason"], "immediate_or_cancel");
    let market = NewOrder { order_type: OrderType::Market, price: None, ..buy(1, 1) };
    assert_eq!(floor.ask(0, place(market)), Err(OrderRefusal::VenueRefused));
}

#[test]
fn a_repeat_of_a_label_gets_the_first_order_as_it_is_now_and_never_a_second_one() {
    let mut floor = Floor::new();
    let first = floor.done(0, place(labelled("a", buy(100, 5))));
    assert_eq!(first["repeated"], Value::Null);
    floor.done(1, place(sell(100, 1)));
    floor.done(1, place(sell(99, 2)));
    let again = floor.done(0, place(labelled("a", sell(777, 9))));
    assert_eq!(again["repeated"], true);
    assert_eq!(short(&again["order"]), "open 3.0/5.0@100.0");
    let amounts: Vec<&Value> =
        again["trades"].as_array().unwrap().iter().map(|fill| &fill["amount"]).collect();
    assert_eq!(amounts, [1.0, 2.0]);
    // Others may use the same label, and the order may be closed.
    assert_eq!(floor.done(1, place(labelled("a", buy(90, 1))))["repeated"], Value::Null);
    floor.done(0, cancel(OrderId(FIRST)));
    let closed = floor.done(0, place(labelled("a", buy(100, 5))));
    assert_eq!(
        (short(&closed["order"]), &closed["repeated"]),
        ("cancelled 3.0/5.0@100.0".into(), &true.into())
    );
    assert_eq!(floor.venue.received.len(), 4);
    assert_eq!(floor.desk.counters.repeats_total, 2);
}

#[test]
fn a_repeat_while_the_first_is_under_way_waits_for_its_answer() {
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Sell, 100, 1);
    let first = floor.send(0, place(labelled("a", buy(100, 5))));
    let again = floor.send(0, place(labelled("a", buy(100, 5))));
    floor.take();
    let third = floor.send(0, place(labelled("a", buy(100, 5))));
    assert!(floor.answers.is_empty());
    floor.run();
    for (ticket, is_repeat) in [(first, Value::Null), (again, true.into()), (third, true.into())] {
        let placed = floor.answers[&ticket].clone().unwrap();
        assert_eq!(placed["repeated"], is_repeat);
        assert_eq!(
            (short(&placed["order"]), placed["trades"].as_array().unwrap().len()),
            ("open 1.0/5.0@100.0".into(), 1)
        );
    }
    assert_eq!(floor.venue.received.len(), 1);
    // Refused together too.
    let refused = NewOrder { post_only: PostOnly::Reject, ..labelled("b", sell(1, 5)) };
    let tickets = [floor.send(0, place(refused)), floor.send(0, place(refused))];
    floor.run();
    assert_eq!(
        tickets.map(|ticket| floor.answers[&ticket].clone()),
        [const { Err(OrderRefusal::PostOnly) }; 2]
    );
}

#[test]
fn an_order_whose_time_is_over_is_not_sent() {
    let mut floor = Floor::new();
    let now_ms = floor.now.unix_ns / MS;
    let until =
        |valid_until_ms| NewOrder { valid_until_ms: Some(valid_until_ms), ..labelled("a", buy(100, 1)) };
    assert_eq!(floor.ask(0, place(until(now_ms))), Err(OrderRefusal::TimedOut));
    // Nor one whose time is over while no link takes it.
    let ticket = floor.send(0, place(until(now_ms + 2)));
    floor.wait_ms(2);
    floor.run();
    assert_eq!(floor.answers[&ticket], Err(OrderRefusal::TimedOut));
    assert!(floor.venue.received.is_empty());
    assert_eq!(floor.done(0, place(until(now_ms + 3)))["repeated"], Value::Null);
    // A repeat tells what became of the first, even late.
    floor.wait_ms(10);
    assert_eq!(floor.done(0, place(until(now_ms + 3)))["repeated"], true);
}

#[test]
fn an_edit_moves_the_order_and_may_trade() {
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Sell, 110, 1);
    let id = floor.id(0, buy(100, 5));
    let edited = floor.done(0, edit(id, Some(101), Some(4)));
    assert_eq!(short(&edited["order"]), "open 0.0/4.0@101.0");
    assert_eq!(edited["order"]["replaced"], true);
    let edited = floor.done(0, edit(id, Some(110), None));
    assert_eq!(
        (short(&edited["order"]), edited["trades"].as_array().unwrap().len()),
        ("open 1.0/4.0@110.0".into(), 1)
    );
    // The new amount is the whole one.
    assert_eq!(short(&floor.done(0, edit(id, None, Some(3)))["order"]), "open 1.0/3.0@110.0");
    assert_eq!(floor.venue.resting[0].left, Amount(2 * UNIT));
    assert_eq!(floor.ask(0, edit(id, None, Some(1))), Err(OrderRefusal::AmountBelowFilled));
    assert_eq!(floor.ask(1, edit(id, None, Some(2))), Err(OrderRefusal::OrderNotFound));
    floor.done(0, cancel(id));
    assert_eq!(floor.ask(0, edit(id, None, Some(2))), Err(OrderRefusal::AlreadyClosed));
}

#[test]
fn an_order_is_edited_by_its_label() {
    let mut floor = Floor::new();
    floor.done(0, place(labelled("mine", buy(100, 5))));
    let by_label = |text: &str| {
        OrderRequest::Edit(EditOrder {
            order: OrderRef::Label(Label::parse(text).unwrap()),
            instrument: None,
            amount: None,
            price: Some(Price(90 * UNIT)),
            post_only: None,
            reduce_only: None,
            valid_until_ms: None,
        })
    };
    assert_eq!(short(&floor.done(0, by_label("mine"))["order"]), "open 0.0/5.0@90.0");
    assert_eq!(floor.ask(0, by_label("other")), Err(OrderRefusal::OrderNotFound));
    assert_eq!(floor.ask(1, by_label("mine")), Err(OrderRefusal::OrderNotFound));
    // Amount and price are meant for the instrument that is named with the label.
    let OrderRequest::Edit(named) = by_label("mine") else { unreachable!() };
    let of = |instrument| OrderRequest::Edit(EditOrder { instrument: Some(instrument), ..named });
    assert_eq!(floor.ask(0, of(EUR)), Err(OrderRefusal::OrderNotFound));
    assert!(floor.ask(0, of(BTC)).is_ok());
}

#[test]
fn edits_of_an_order_under_way_go_to_the_venue_one_after_the_other() {
    let mut floor = Floor::new();
    let first = floor.send(0, place(buy(100, 5)));
    floor.take();
    let id = OrderId(FIRST);
    let edits = [floor.send(0, edit(id, Some(101), None)), floor.send(0, edit(id, None, Some(7)))];
    assert_eq!(floor.take(), 0, "one step at a time");
    floor.run();
    let shown =
        [first, edits[0], edits[1]].map(|ticket| short(&floor.answers[&ticket].as_ref().unwrap()["order"]));
    assert_eq!(shown, ["open 0.0/5.0@100.0", "open 0.0/5.0@101.0", "open 0.0/7.0@101.0"]);
    assert_eq!(
        (floor.venue.resting[0].price, floor.venue.resting[0].left),
        (Price(101 * UNIT), Amount(7 * UNIT))
    );
}

/// An order for 10 at 90, an edit to `amount` on its way, and 4 filled before it is there.
fn crossed(amount: i64) -> (Floor, OrderId, u32) {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(90, 10));
    let ticket = floor.send(0, edit(id, None, Some(amount)));
    floor.take();
    let seller = VenueRequest::New { order: OrderId(1), account: AccountId(9), spec: sell(90, 4) };
    floor.venue.handle(&seller, &mut floor.happened);
    (floor, id, ticket)
}

#[test]
fn an_edit_that_crosses_a_fill_makes_the_order_no_larger_than_was_asked_for() {
    let (mut floor, _, ticket) = crossed(12);
    floor.run();
    assert_eq!(short(&floor.answers[&ticket].as_ref().unwrap()["order"]), "open 4.0/12.0@90.0");
    assert_eq!(floor.venue.resting[0].left, Amount(8 * UNIT));
    floor.venue.quote(BTC, Direction::Sell, 90, 20);
    floor.done(1, place(sell(90, 20)));
    assert_eq!(floor.told(0).last().unwrap(), "0 filled 12.0/12.0 1 trades");
    assert_eq!(floor.desk.counters.overfills_total, 0);
}

#[test]
fn an_edit_to_no_more_than_was_filled_meanwhile_ends_the_order_or_is_refused() {
    for amount in [4, 3] {
        let (mut floor, id, ticket) = crossed(amount);
        floor.run();
        assert_eq!(short(&floor.answers[&ticket].as_ref().unwrap()["order"]), "filled 4.0/4.0@90.0");
        assert_eq!(floor.ask(0, cancel(id)), Err(OrderRefusal::AlreadyClosed));
        assert_eq!(floor.done(0, open_orders()), Value::Array(Vec::new()));
        let holding = floor.desk.accounts[AccountId(0)].holdings.of(BTC);
        assert_eq!((holding.position.size, holding.working), (4 * UNIT, [0, 0]));
    }
    // A venue may refuse instead.
    let (mut floor, id, ticket) = crossed(4);
    floor.sent.clear();
    let why = OrderRefusal::AmountBelowFilled;
    floor.happened.push_back(Happening::Report(VenueReport::AmendRejected { order: id, why }));
    floor.run();
    assert_eq!(floor.answers[&ticket], Err(why));
    assert_eq!(short(&floor.done(0, OrderRequest::OrderState { order: id })), "open 4.0/10.0@90.0");
}

#[test]
fn an_edit_that_the_order_does_not_live_to_see_is_refused() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(100, 5));
    let first = floor.send(0, edit(id, Some(101), None));
    floor.take();
    let second = floor.send(0, edit(id, Some(102), None));
    // It is filled before the edit arrives.
    floor.venue.handle(
        &VenueRequest::New { order: OrderId(1), account: AccountId(9), spec: sell(100, 5) },
        &mut floor.happened,
    );
    floor.run();
    assert_eq!(floor.answers[&first], Err(OrderRefusal::AlreadyClosed));
    assert_eq!(floor.answers[&second], Err(OrderRefusal::AlreadyClosed));
    assert_eq!(floor.told(0), ["0 open 0.0/5.0", "0 filled 5.0/5.0 1 trades"]);
    assert_eq!(floor.desk.waiters.len(), 0);
}
