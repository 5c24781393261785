//! Requests on one book, without the simulated traders' own life. Prices are told in ticks, amounts in lots.

use super::*;
use crate::backend::paper::book::Met;
use crate::backend::paper::catalogue::listings;
use crate::model::ids::InstrumentId;

const GTC: TimeInForce = TimeInForce::GoodTilCancelled;
const IOC: TimeInForce = TimeInForce::ImmediateOrCancel;
const FOK: TimeInForce = TimeInForce::FillOrKill;

/// A book with nobody but those who are told to trade.
struct Floor {
    pit: Pit,
    tick: i64,
    lot: i64,
}

impl Floor {
    fn new() -> Floor {
        let listing = &listings(1)[0];
        Floor {
            pit: Pit::new(listing),
            tick: listing.definition.tick_size.0,
            lot: listing.definition.min_trade_amount.0,
        }
    }

    /// With a simulated trader's asks at 101, 102 and 103, and bids at 99, 98 and 97, ten lots each.
    fn quoted() -> Floor {
        let mut floor = Floor::new();
        for at in 1..=3 {
            floor.simulate(Side::Ask, 100 + at, 10);
            floor.simulate(Side::Bid, 100 - at, 10);
        }
        floor
    }

    fn simulate(&mut self, side: Side, ticks: i64, lots: i64) {
        let mut out = Outcome::default();
        let (price, amount) = (Price(ticks * self.tick), Amount(lots * self.lot));
        let order = Resting { side, price, amount, filled: Amount::ZERO, owner: None };
        self.pit.book.place_limit(order, &mut out).unwrap();
    }

    fn spec(&self, direction: Direction, ticks: i64, lots: i64) -> NewOrder {
        NewOrder {
            instrument: InstrumentId(0),
            direction,
            order_type: OrderType::Limit,
            price: Some(Price(ticks * self.tick)),
            amount: Amount(lots * self.lot),
            time_in_force: GTC,
            post_only: PostOnly::No,
            reduce_only: false,
            label: None,
            valid_until_ms: None,
        }
    }

    /// What is told of a request, in its order.
    fn execute(&mut self, request: &VenueRequest) -> Vec<String> {
        let mut out = Outcome::default();
        let executed = self.pit.execute(request, &mut out);
        self.pit.book.assert_invariants();
        let mut told = vec![self.report(executed.answer)];
        for met in &out.met {
            told.push(match met {
                Met::Filled(fill) => format!(
                    "{} at {} with {} for {}",
                    fill.amount.0 / self.lot,
                    fill.price.0 / self.tick,
                    fill.maker_order.map_or("a trader".to_owned(), |order| order.0.to_string()),
                    executed.taker.unwrap().0,
                ),
                Met::SelfMatch(order) => format!("{} cancelled SelfMatch", order.0),
            });
        }
        told.extend(executed.end.map(|report| self.report(report)));
        for update in &out.touched {
            assert_eq!(update.amount, self.pit.book.amount_at(update.side, update.price));
        }
        let is_told = told.len() > 1 || !out.touched.is_empty();
        let is_refused = matches!(
            executed.answer,
            VenueReport::Rejected { .. }
                | VenueReport::AmendRejected { .. }
                | VenueReport::CancelRejected { .. }
        );
        assert!(!(is_refused && is_told), "a refusal changed something: {told:?}");
        told
    }

    fn report(&self, report: VenueReport) -> String {
        let (ticks, lots) = (|price: Price| price.0 / self.tick, |amount: Amount| amount.0 / self.lot);
        match report {
            VenueReport::Accepted { order, price: None } => format!("{} accepted", order.0),
            VenueReport::Accepted { order, price: Some(price) } => {
                format!("{} accepted at {}", order.0, ticks(price))
            }
            VenueReport::Rejected { order, why } => format!("{} rejected {why:?}", order.0),
            VenueReport::Amended { order, price, total } => {
                format!("{} amended to {} at {}", order.0, lots(total), ticks(price))
            }
            VenueReport::AmendRejected { order, why } => format!("{} not amended {why:?}", order.0),
            VenueReport::Cancelled { order, why } => format!("{} cancelled {why:?}", order.0),
            VenueReport::CancelRejected { order, why } => format!("{} not cancelled {why:?}", order.0),
        }
    }

    fn place(&mut self, order: u64, account: u32, spec: NewOrder) -> Vec<String> {
        self.execute(&VenueRequest::New { order: OrderId(order), account: AccountId(account), spec })
    }

    fn buy(&mut self, order: u64, account: u32, ticks: i64, lots: i64) -> Vec<String> {
        self.place(order, account, self.spec(Direction::Buy, ticks, lots))
    }

    fn sell(&mut self, order: u64, account: u32, ticks: i64, lots: i64) -> Vec<String> {
        self.place(order, account, self.spec(Direction::Sell, ticks, lots))
    }

    fn amend(&mut self, order: u64, ticks: Option<i64>, lots: i64, post_only: PostOnly) -> Vec<String> {
        self.execute(&VenueRequest::Amend {
            order: OrderId(order),
            instrument: InstrumentId(0),
            price: ticks.map(|ticks| Price(ticks * self.tick)),
            total: Amount(lots * self.lot),
            post_only,
        })
    }

    fn cancel(&mut self, order: u64) -> Vec<String> {
        self.execute(&VenueRequest::Cancel { order: OrderId(order), instrument: InstrumentId(0) })
    }

    /// The lots that a client's order has left.
    fn left(&self, order: u64) -> Option<i64> {
        let resting = self.pit.book.order(self.pit.book.find(OrderId(order))?)?;
        Some(resting.amount.0 / self.lot)
    }
}

fn market(spec: NewOrder) -> NewOrder {
    NewOrder { order_type: OrderType::Market, price: None, ..spec }
}

#[test]
fn a_limit_order_takes_what_it_reaches_and_the_rest_waits_for_others() {
    let mut floor = Floor::quoted();
    assert_eq!(
        floor.buy(1, 1, 102, 25),
        ["1 accepted at 102", "10 at 101 with a trader for 1", "10 at 102 with a trader for 1"]
    );
    assert_eq!(floor.left(1), Some(5));
    assert_eq!(floor.sell(2, 2, 102, 3), ["2 accepted at 102", "3 at 102 with 1 for 2"]);
    assert_eq!((floor.left(1), floor.left(2)), (Some(2), None));
}

#[test]
fn at_one_price_the_earlier_order_is_filled_first_whoever_s_it_is() {
    let mut floor = Floor::quoted();
    floor.buy(1, 1, 99, 4);
    floor.simulate(Side::Bid, 99, 2);
    floor.buy(2, 2, 99, 4);
    assert_eq!(
        floor.sell(3, 3, 99, 17),
        [
            "3 accepted at 99",
            "10 at 99 with a trader for 3",
            "4 at 99 with 1 for 3",
            "2 at 99 with a trader for 3",
            "1 at 99 with 2 for 3"
        ]
    );
    assert_eq!((floor.left(1), floor.left(2), floor.left(3)), (None, Some(3), None));
}

#[test]
fn what_an_immediate_order_does_not_find_is_cancelled_after_its_fills() {
    for spec in [
        market(Floor::new().spec(Direction::Sell, 1, 40)),
        NewOrder { time_in_force: IOC, ..Floor::new().spec(Direction::Sell, 97, 40) },
    ] {
        let mut floor = Floor::quoted();
        let told = floor.place(1, 1, spec);
        assert_eq!(
            told[1..4],
            ["10 at 99 with a trader for 1", "10 at 98 with a trader for 1", "10 at 97 with a trader for 1"]
        );
        assert_eq!(told[4..], ["1 cancelled Immediate"]);
        assert_eq!(floor.left(1), None);
    }
    let mut floor = Floor::quoted();
    let unreached = NewOrder { time_in_force: IOC, ..floor.spec(Direction::Buy, 100, 1) };
    assert_eq!(floor.place(1, 1, unreached), ["1 accepted at 100", "1 cancelled Immediate"]);
}

#[test]
fn a_market_order_that_finds_all_it_wants_is_just_filled_and_names_no_price() {
    let mut floor = Floor::quoted();
    let spec = market(floor.spec(Direction::Buy, 1, 3));
    assert_eq!(floor.place(1, 1, spec), ["1 accepted", "3 at 101 with a trader for 1"]);
}

#[test]
fn a_market_order_is_refused_where_there_is_no_price() {
    let mut floor = Floor::new();
    floor.simulate(Side::Bid, 99, 10);
    for (order, time_in_force) in [(1, GTC), (2, IOC), (3, FOK)] {
        let spec = NewOrder { time_in_force, ..market(floor.spec(Direction::Buy, 1, 3)) };
        assert_eq!(floor.place(order, 1, spec), [format!("{order} rejected VenueRefused")]);
    }
}

#[test]
fn fill_or_kill_is_filled_to_the_last_lot_or_changes_nothing() {
    let mut floor = Floor::quoted();
    let fok = |floor: &Floor, ticks, lots| NewOrder {
        time_in_force: FOK,
        ..floor.spec(Direction::Buy, ticks, lots)
    };
    assert_eq!(floor.place(1, 1, fok(&floor, 102, 21)), ["1 rejected FillOrKill"]);
    assert_eq!(
        floor.place(2, 1, fok(&floor, 102, 20)),
        ["2 accepted at 102", "10 at 101 with a trader for 2", "10 at 102 with a trader for 2"]
    );
    assert_eq!(floor.place(3, 1, market(fok(&floor, 1, 11))), ["3 rejected FillOrKill"]);
    // What it would take from its own account is not there for it.
    floor.sell(4, 1, 103, 5);
    assert_eq!(floor.place(5, 1, fok(&floor, 103, 11)), ["5 rejected FillOrKill"]);
    assert_eq!(floor.left(4), Some(5));
    assert_eq!(
        floor.place(6, 2, fok(&floor, 103, 11)),
        ["6 accepted at 103", "10 at 103 with a trader for 6", "1 at 103 with 4 for 6"]
    );
}

#[test]
fn an_order_cancels_those_of_its_own_account_that_it_meets_and_goes_on() {
    let mut floor = Floor::quoted();
    floor.sell(1, 7, 101, 4);
    floor.sell(2, 8, 101, 4);
    floor.sell(3, 7, 102, 4);
    floor.sell(4, 7, 103, 4);
    assert_eq!(
        floor.buy(5, 7, 102, 25),
        [
            "5 accepted at 102",
            "10 at 101 with a trader for 5",
            "1 cancelled SelfMatch",
            "4 at 101 with 2 for 5",
            "10 at 102 with a trader for 5",
            "3 cancelled SelfMatch",
        ]
    );
    assert_eq!((floor.left(4), floor.left(5)), (Some(4), Some(1)));
}

#[test]
fn what_must_not_take_is_moved_by_one_tick_from_the_best_or_refused() {
    let mut floor = Floor::quoted();
    let post = |floor: &Floor, direction, ticks, post_only| NewOrder {
        post_only,
        ..floor.spec(direction, ticks, 1)
    };
    let spec = post(&floor, Direction::Buy, 103, PostOnly::Slide);
    assert_eq!(floor.place(1, 1, spec), ["1 accepted at 100"]);
    let spec = post(&floor, Direction::Sell, 100, PostOnly::Slide);
    assert_eq!(floor.place(2, 2, spec), ["2 accepted at 101"]);
    let spec = post(&floor, Direction::Sell, 100, PostOnly::Reject);
    assert_eq!(floor.place(3, 2, spec), ["3 rejected PostOnly"]);
    let spec = post(&floor, Direction::Buy, 100, PostOnly::Reject);
    assert_eq!(floor.place(4, 2, spec), ["4 accepted at 100"]);
    let spec = market(post(&floor, Direction::Buy, 100, PostOnly::Slide));
    assert_eq!(floor.place(5, 2, spec), ["5 rejected PostOnly"]);
    // There is no price below the lowest.
    let mut floor = Floor::new();
    floor.simulate(Side::Ask, 1, 1);
    let spec = post(&floor, Direction::Buy, 1, PostOnly::Slide);
    assert_eq!(floor.place(6, 2, spec), ["6 rejected PostOnly"]);
}

#[test]
fn an_order_that_is_made_smaller_keeps_its_place_and_any_other_amendment_loses_it() {
    let smaller = (None, 3, ["3 at 100 with 1 for 9", "2 at 100 with 2 for 9"]);
    let same = (Some(100), 4, ["4 at 100 with 1 for 9", "1 at 100 with 2 for 9"]);
    let larger = (None, 5, ["4 at 100 with 2 for 9", "1 at 100 with 1 for 9"]);
    for (ticks, lots, expected) in [smaller, same, larger] {
        let mut floor = Floor::quoted();
        floor.buy(1, 1, 100, 4);
        floor.buy(2, 2, 100, 4);
        assert_eq!(floor.amend(1, ticks, lots, PostOnly::No), [format!("1 amended to {lots} at 100")]);
        assert_eq!(floor.sell(9, 3, 100, 5)[1..], expected, "{ticks:?} {lots}");
    }
}

#[test]
fn an_order_that_went_to_another_price_and_came_back_is_last_in_line() {
    let mut floor = Floor::quoted();
    floor.buy(1, 1, 100, 4);
    floor.buy(2, 2, 100, 4);
    assert_eq!(floor.amend(1, Some(98), 4, PostOnly::No), ["1 amended to 4 at 98"]);
    assert_eq!(floor.amend(1, Some(100), 4, PostOnly::No), ["1 amended to 4 at 100"]);
    assert_eq!(floor.sell(3, 3, 100, 4)[1..], ["4 at 100 with 2 for 3"]);
}

#[test]
fn an_amended_order_may_take_unless_it_must_not() {
    let mut floor = Floor::quoted();
    floor.buy(1, 1, 100, 4);
    assert_eq!(floor.amend(1, Some(101), 4, PostOnly::Reject), ["1 not amended PostOnly"]);
    assert_eq!(floor.amend(1, Some(101), 6, PostOnly::Slide), ["1 amended to 6 at 100"]);
    assert_eq!(
        floor.amend(1, Some(101), 12, PostOnly::No),
        ["1 amended to 12 at 101", "10 at 101 with a trader for 1"]
    );
    assert_eq!(floor.left(1), Some(2));
    assert_eq!(floor.amend(1, Some(102), 19, PostOnly::No)[1..], ["9 at 102 with a trader for 1"]);
    assert_eq!(floor.left(1), None);
}

#[test]
fn an_amendment_says_the_whole_amount_and_what_was_filled_of_it_is_not_filled_again() {
    let mut floor = Floor::quoted();
    floor.buy(1, 1, 101, 12);
    floor.sell(2, 2, 101, 1);
    assert_eq!(floor.left(1), Some(1), "11 of 12 are filled");
    assert_eq!(floor.amend(1, Some(100), 15, PostOnly::No), ["1 amended to 15 at 100"]);
    assert_eq!(floor.left(1), Some(4));
    floor.sell(3, 2, 100, 2);
    assert_eq!(floor.amend(1, None, 14, PostOnly::No), ["1 amended to 14 at 100"]);
    assert_eq!(floor.left(1), Some(1));
    assert_eq!(floor.amend(1, None, 5, PostOnly::No), ["1 amended to 13 at 100"]);
    assert_eq!(floor.left(1), None);
}

#[test]
fn what_does_not_rest_is_neither_amended_nor_cancelled() {
    let mut floor = Floor::quoted();
    assert_eq!(floor.amend(1, None, 4, PostOnly::No), ["1 not amended OrderNotFound"]);
    assert_eq!(floor.cancel(1), ["1 not cancelled OrderNotFound"]);
    floor.buy(1, 1, 100, 4);
    assert_eq!(floor.cancel(1), ["1 cancelled UserRequest"]);
    assert_eq!(floor.cancel(1), ["1 not cancelled OrderNotFound"]);
    floor.buy(2, 1, 101, 10);
    assert_eq!(floor.cancel(2), ["2 not cancelled OrderNotFound"]);
}

#[test]
fn prices_off_the_ticks_and_amounts_off_the_lots_are_refused_everywhere() {
    let mut floor = Floor::quoted();
    floor.buy(1, 1, 90, 4);
    let (tick, lot) = (floor.tick, floor.lot);
    let prices = [
        (0, "PriceTick"),
        (-tick, "PriceTick"),
        (tick + 1, "PriceTick"),
        (i64::MIN, "PriceTick"),
        ((TICKS_MAX + 1) * tick, "PriceTooHigh"),
    ];
    for (price, why) in prices {
        let spec = NewOrder { price: Some(Price(price)), ..floor.spec(Direction::Sell, 1, 1) };
        assert_eq!(floor.place(2, 1, spec), [format!("2 rejected {why}")], "{price}");
        let amended = VenueRequest::Amend {
            order: OrderId(1),
            instrument: InstrumentId(0),
            price: Some(Price(price)),
            total: Amount(lot),
            post_only: PostOnly::No,
        };
        assert_eq!(floor.execute(&amended), [format!("1 not amended {why}")], "{price}");
    }
    for amount in [0, -lot, lot + 1, lot / 2, i64::MIN] {
        let spec = NewOrder { amount: Amount(amount), ..floor.spec(Direction::Buy, 1, 1) };
        assert_eq!(floor.place(2, 1, spec), ["2 rejected InvalidAmount"], "{amount}");
        let amended = VenueRequest::Amend {
            order: OrderId(1),
            instrument: InstrumentId(0),
            price: None,
            total: Amount(amount),
            post_only: PostOnly::No,
        };
        assert_eq!(floor.execute(&amended), ["1 not amended InvalidAmount"], "{amount}");
    }
}

#[test]
fn a_book_full_of_clients_orders_takes_no_more_to_rest_but_still_trades_and_amends() {
    let mut floor = Floor::quoted();
    let mut out = Outcome::default();
    let max = limits::PAPER_CLIENT_ORDERS_PER_BOOK_MAX;
    for order in 0..u64::from(max) {
        let spec = floor.spec(Direction::Buy, 90, 1);
        let request = VenueRequest::New { order: OrderId(order), account: AccountId(1), spec };
        out.clear();
        floor.pit.execute(&request, &mut out);
    }
    assert_eq!(floor.pit.book.client_order_count(), max);
    let next = u64::from(max);
    assert_eq!(floor.buy(next, 2, 90, 1), [format!("{next} rejected VenueRefused")]);
    assert_eq!(floor.buy(next, 2, 101, 11), [format!("{next} rejected VenueRefused")]);
    assert_eq!(floor.buy(next, 2, 101, 10).len(), 2);
    assert_eq!(floor.amend(0, Some(91), 2, PostOnly::No), ["0 amended to 2 at 91"]);
    // One order meets them all: no more than are in the book.
    let told = floor.sell(next, 2, 90, i64::from(max) + 31);
    assert_eq!(told.len(), 1 + 3 + max as usize);
    assert_eq!(floor.pit.book.client_order_count(), 0);
}

#[test]
fn a_side_with_many_levels_takes_more_orders_at_those_levels_only() {
    let mut floor = Floor::new();
    let max = i64::try_from(limits::PAPER_LEVELS_PER_SIDE_MAX).unwrap();
    for ticks in 1..=max {
        assert_eq!(floor.buy(u64::try_from(ticks).unwrap(), 1, ticks, 1).len(), 1);
    }
    assert_eq!(floor.buy(9_001, 1, max + 1, 1), ["9001 rejected VenueRefused"]);
    assert_eq!(floor.amend(1, Some(max + 1), 1, PostOnly::No), ["1 not amended VenueRefused"]);
    assert_eq!(floor.buy(9_002, 1, max, 1), [format!("9002 accepted at {max}")]);
    assert_eq!(floor.sell(9_003, 2, max + 1, 1), [format!("9003 accepted at {}", max + 1)]);
    // The simulated traders' room is their own.
    floor.simulate(Side::Ask, max + 2, 1);
    assert_eq!(floor.pit.book.level_count(Side::Ask), 2);
}

#[test]
fn what_could_not_be_counted_is_refused() {
    let mut floor = Floor::quoted();
    let huge = SIDE_AMOUNT_MAX / floor.lot - 100;
    assert_eq!(floor.buy(1, 1, 90, huge), ["1 accepted at 90"]);
    assert_eq!(floor.buy(2, 1, 91, 101), ["2 rejected VenueRefused"]);
    assert_eq!(floor.amend(1, None, i64::MAX / floor.lot, PostOnly::No), ["1 not amended VenueRefused"]);
    let all = NewOrder { time_in_force: IOC, ..floor.spec(Direction::Sell, 1, i64::MAX / floor.lot) };
    assert_eq!(floor.place(3, 2, all).len(), 1 + 4 + 1);
}
