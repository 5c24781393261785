//! Positions, cash and profit.

use proptest::prelude::*;

use super::super::holdings::{Holdings, sign};
use super::*;
use crate::model::order::notional;

/// `size cost realized` after each trade, in whole numbers.
fn check(trades: &[(i64, i64)], expected: &[(i64, i128, i128)]) {
    let mut holdings = Holdings::default();
    for ((amount, price), expected) in trades.iter().zip(expected) {
        let direction = if *amount > 0 { Direction::Buy } else { Direction::Sell };
        let traded = Amount(amount.abs() * UNIT);
        let holding = holdings.of_mut(BTC);
        holding.trade(direction, traded, notional(Price(price * UNIT), traded)).unwrap();
        let position = holding.position;
        let whole = i128::from(UNIT);
        assert_eq!((position.size / UNIT, position.cost / whole, position.realized / whole), *expected);
    }
}

#[test]
fn a_position_grows_shrinks_and_turns() {
    check(&[(2, 100), (2, 110), (-1, 120), (-3, 100)], &[(2, 200, 0), (4, 420, 0), (3, 315, 15), (0, 0, 0)]);
    check(&[(-2, 100), (3, 90), (-1, 80)], &[(-2, -200, 0), (1, 90, 20), (0, 0, 10)]);
    check(&[(2, 100), (-5, 110), (3, 100)], &[(2, 200, 0), (-3, -330, 20), (0, 0, 50)]);
}

#[test]
fn a_fill_tells_what_it_realised() {
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Sell, 100, 2);
    floor.venue.quote(BTC, Direction::Buy, 90, 2);
    let opened = floor.done(0, place(buy(100, 2)));
    assert_eq!(opened["trades"][0]["profit_loss"], 0);
    let closed = floor.done(0, place(sell(90, 1)));
    assert_eq!(closed["trades"][0]["profit_loss"], -10);
    let told = floor.events.last().unwrap();
    let position = told.position.as_ref().unwrap();
    assert_eq!(
        (&position["size"], &position["realized_profit_loss"]),
        (&Value::from(1.0), &Value::from(-10))
    );
    assert_eq!((told.instrument, told.trades.len()), (BTC, 1));
}

#[test]
fn a_trade_with_oneself_leaves_nothing_behind() {
    let mut floor = Floor::new();
    floor.done(0, place(buy(100, 2)));
    let placed = floor.done(0, place(sell(100, 2)));
    assert_eq!(placed["trades"][0]["self_trade"], true);
    let position = floor.desk.accounts[AccountId(0)].holdings.of(BTC).position;
    assert_eq!((position.size, position.cost, position.realized), (0, 0, 0));
    assert_eq!(floor.told(0), ["0 open 0.0/2.0", "1 filled 2.0/2.0 1 trades", "0 filled 2.0/2.0 1 trades"]);
}

#[test]
fn a_fill_that_cannot_be_counted_is_dropped_and_said_so() {
    let mut floor = Floor::with(DeskConfig {
        position_max: Amount(i64::MAX),
        order_amount_max: Amount(i64::MAX),
        ..config()
    });
    let most = i64::MAX - i64::MAX % (UNIT / 10);
    let whole = NewOrder { amount: Amount(most), ..buy(100, 1) };
    let id = floor.id(0, whole);
    for amount in [most, i64::MAX] {
        floor.happened.push_back(Happening::Trade {
            instrument: BTC,
            price: Price(100 * UNIT),
            amount: Amount(amount),
            direction: Direction::Sell,
            maker: Some(id),
            taker: None,
        });
    }
    floor.run();
    assert_eq!((floor.desk.counters.fills_total, floor.desk.counters.strange_fills_total), (1, 1));
    assert_eq!(floor.desk.accounts[AccountId(0)].holdings.of(BTC).position.size, most);
}

proptest! {
    #[test]
    fn cash_is_realised_profit_without_the_cost_of_what_is_open_to_the_unit(
        trades in prop::collection::vec((prop::bool::ANY, 1i64..i64::MAX / 64, 1i64..i64::MAX / 64), 1..60),
    ) {
        let mut holdings = Holdings::default();
        let (mut cash, mut realized) = (0, 0);
        for (is_buy, amount, price) in trades {
            let direction = if is_buy { Direction::Buy } else { Direction::Sell };
            let value = notional(Price(price), Amount(amount));
            cash -= value * i128::from(sign(direction));
            let holding = holdings.of_mut(BTC);
            realized += holding.trade(direction, Amount(amount), value).unwrap();
            let position = holding.position;
            prop_assert_eq!(position.realized, realized);
            prop_assert_eq!(cash, position.realized - position.cost);
            prop_assert!(position.size != 0 || position.cost == 0);
            prop_assert!(position.cost.signum() * i128::from(position.size.signum()) >= 0);
        }
    }
}
