//! What clients ask to know.

use super::*;
use crate::model::order::UserTradesQuery;

fn trades(query: UserTradesQuery) -> OrderRequest {
    OrderRequest::UserTrades(query)
}

const ALL: UserTradesQuery = UserTradesQuery {
    filter: Filter { instrument: Some(BTC), kind: None, currency: None },
    start_seq: None,
    end_seq: None,
    start_timestamp_ms: None,
    end_timestamp_ms: None,
    count: 100,
    is_ascending: true,
};

#[test]
fn open_orders_are_the_account_s_own_that_are_open() {
    let mut floor = Floor::new();
    floor.done(0, place(buy(90, 1)));
    floor.done(0, place(NewOrder { instrument: EUR, ..buy(91, 1) }));
    let gone = floor.id(0, buy(92, 1));
    floor.done(0, cancel(gone));
    floor.done(1, place(buy(93, 1)));
    floor.send(0, place(buy(94, 1)));
    let prices = |orders: Value| -> Vec<f64> {
        orders.as_array().unwrap().iter().map(|order| order["price"].as_f64().unwrap()).collect()
    };
    let mut of = |filter| prices(floor.done_now(0, OrderRequest::OpenOrders { filter }));
    assert_eq!(of(Filter::default()), [90.0, 91.0], "the last is still under way");
    assert_eq!(of(Filter { instrument: Some(EUR), ..Filter::default() }), [91.0]);
    assert_eq!(of(Filter { kind: Some(InstrumentKind::Future), ..Filter::default() }), [90.0]);
    assert_eq!(of(Filter { currency: Some(symbol("USD")), ..Filter::default() }), [90.0, 91.0]);
    assert_eq!(of(Filter { currency: Some(symbol("XYZ")), ..Filter::default() }), [0.0; 0]);
}

#[test]
fn an_order_is_known_by_number_and_label_to_its_account_only() {
    let mut floor = Floor::new();
    let id = floor.id(0, labelled("a", buy(90, 1)));
    let by_label = |currency| OrderRequest::OrderStateByLabel { label: Label::parse("a").unwrap(), currency };
    assert_eq!(short(&floor.done(0, OrderRequest::OrderState { order: id })), "open 0.0/1.0@90.0");
    assert_eq!(floor.ask(1, OrderRequest::OrderState { order: id }), Err(OrderRefusal::OrderNotFound));
    assert_eq!(short(&floor.done(0, by_label(None))[0]), "open 0.0/1.0@90.0");
    assert_eq!(floor.done(0, by_label(Some(symbol("EUR")))), serde_json::json!([]));
    assert_eq!(floor.done(1, by_label(None)), serde_json::json!([]));
}

#[test]
fn user_trades_come_in_the_order_and_number_that_is_asked_for() {
    let mut floor = Floor::new();
    for price in 100..105 {
        floor.venue.quote(BTC, Direction::Sell, price, 1);
        floor.wait_ms(10);
        floor.done(0, place(buy(price, 1)));
    }
    let now_ms = floor.now.unix_ns / MS;
    let mut of = |query| {
        let result = floor.done(0, trades(query));
        let prices: Vec<i64> = result["trades"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fill| fill["price"].as_f64().unwrap() as i64)
            .collect();
        (prices, result["has_more"].as_bool().unwrap())
    };
    assert_eq!(of(ALL), (vec![100, 101, 102, 103, 104], false));
    assert_eq!(of(UserTradesQuery { count: 2, ..ALL }), (vec![100, 101], true));
    assert_eq!(of(UserTradesQuery { count: 2, is_ascending: false, ..ALL }), (vec![104, 103], true));
    assert_eq!(of(UserTradesQuery { start_seq: Some(2), end_seq: Some(3), ..ALL }), (vec![101, 102], false));
    let (start_timestamp_ms, end_timestamp_ms) = (Some(now_ms - 20), Some(now_ms - 10));
    assert_eq!(of(UserTradesQuery { start_timestamp_ms, end_timestamp_ms, ..ALL }), (vec![102, 103], false));
    let filtered = |filter| UserTradesQuery { filter, ..ALL };
    assert_eq!(of(filtered(Filter { instrument: Some(EUR), ..Filter::default() })), (vec![], false));
    floor.venue.quote(EUR, Direction::Sell, 10, 1);
    floor.done(0, place(NewOrder { instrument: EUR, ..buy(10, 1) }));
    let mut names = |filter, count| -> Vec<String> {
        let result =
            floor.done(0, trades(UserTradesQuery { count, is_ascending: false, ..filtered(filter) }));
        let told = result["trades"].as_array().unwrap();
        told.iter().map(|fill| fill["instrument_name"].as_str().unwrap().to_owned()).collect()
    };
    let (btc, eur) = (names(ALL.filter, 1).remove(0), names(Filter::default(), 1).remove(0));
    assert_ne!(btc, eur);
    assert_eq!(names(Filter::default(), 2), [eur.clone(), btc]);
    assert_eq!(names(Filter { currency: Some(symbol("EUR")), ..Filter::default() }, 9), [eur]);
}

#[test]
fn positions_and_the_summary_are_at_mark_prices() {
    let mut floor = Floor::with(DeskConfig { opening_balance: 1_000 * i128::from(UNIT), ..config() });
    floor.venue.quote(BTC, Direction::Sell, 100, 2);
    floor.venue.quote(EUR, Direction::Sell, 10, 1);
    floor.venue.quote(EUR, Direction::Buy, 9, 1);
    floor.done(0, place(buy(100, 2)));
    for order in [buy(10, 1), sell(9, 1)] {
        floor.done(0, place(NewOrder { instrument: EUR, ..order }));
    }
    // Another's trade moves the mark price, which is the last one here.
    floor.venue.quote(BTC, Direction::Sell, 103, 1);
    floor.done(1, place(buy(103, 1)));
    let all = floor.done(0, OrderRequest::Positions { filter: Filter::default() });
    assert_eq!(all.as_array().unwrap().len(), 1, "what is closed is none");
    assert_eq!((&all[0]["size"], &all[0]["floating_profit_loss"]), (&2.0.into(), &6.into()));
    let none = floor.done(0, OrderRequest::Position { instrument: EUR });
    assert_eq!((&none["direction"], &none["realized_profit_loss"]), (&"zero".into(), &Value::from(-1)));
    let summary = floor.done(0, OrderRequest::AccountSummary { currency: symbol("USD") });
    assert_eq!((&summary["balance"], &summary["equity"]), (&999.into(), &1005.into()));
    let other = floor.done(0, OrderRequest::AccountSummary { currency: symbol("EUR") });
    assert_eq!((&other["balance"], &other["equity"]), (&1000.into(), &1000.into()));
    let all = floor.done(0, OrderRequest::AccountSummaries);
    assert_eq!(all, serde_json::json!({ "summaries": [summary] }), "all is quoted in one currency here");
}

#[test]
fn closed_orders_come_newest_first_and_without_those_of_which_nothing_was_filled() {
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Sell, 100, 3);
    let filled = floor.id(0, buy(100, 1));
    let gone = floor.id(0, buy(90, 1));
    let open = floor.id(0, buy(91, 1));
    floor.done(0, cancel(gone));
    let later = floor.id(0, buy(100, 2));
    let mut of = |include_unfilled, offset, count, filter| -> Vec<String> {
        let asked = OrderRequest::OrderHistory { filter, count, offset, include_unfilled };
        let told = floor.done(0, asked);
        told.as_array().unwrap().iter().map(|order| order["order_id"].as_str().unwrap().to_owned()).collect()
    };
    let ids = |ids: &[OrderId]| -> Vec<String> { ids.iter().map(|id| id.0.to_string()).collect() };
    let all = Filter::default();
    assert_eq!(of(false, 0, 20, all), ids(&[later, filled]));
    assert_eq!(of(true, 0, 20, all), ids(&[later, gone, filled]));
    assert_eq!(of(true, 1, 1, all), ids(&[gone]));
    assert_eq!(of(true, 0, 20, Filter { instrument: Some(EUR), ..all }), ids(&[]));
    assert!(!of(true, 0, 20, all).contains(&open.0.to_string()));
}
