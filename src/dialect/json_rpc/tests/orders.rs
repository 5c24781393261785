//! Orders, user trades, positions and accounts as they are written.

use serde_json::{Value, json};

use super::{amount, future, market, price, symbol, written};
use crate::dialect::json_rpc::*;
use crate::model::decimal::{Amount, Price, UNIT};
use crate::model::ids::{InstrumentId, Seq};
use crate::model::instrument::{Instrument, InstrumentKind};
use crate::model::market::Direction;
use crate::model::order::*;

const NOW_NS: u64 = 1_700_000_000_123_456_789;

fn instrument_id() -> InstrumentId {
    InstrumentId(0)
}

fn resting() -> Order {
    Order {
        id: OrderId(4_711),
        account: AccountId(0),
        instrument: instrument_id(),
        direction: Direction::Buy,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::No,
        reduce_only: false,
        label: Label::parse("a \"b\""),
        state: OrderState::Open,
        price: Some(price("4810.25")),
        amount: amount("100"),
        filled: amount("3"),
        filled_notional: i128::from(3 * 4_810 * UNIT) + i128::from(UNIT / 2),
        is_replaced: false,
        cancel_reason: None,
        created_ns: NOW_NS,
        updated_ns: NOW_NS + 5_000_000,
    }
}

fn fill() -> Fill {
    Fill {
        order: OrderId(4_711),
        instrument: instrument_id(),
        trade_seq: Seq(2),
        direction: Direction::Sell,
        liquidity: Liquidity::Taker,
        order_type: OrderType::Limit,
        state: OrderState::Filled,
        post_only: PostOnly::No,
        reduce_only: true,
        label: Label::parse("x"),
        price: price("4810.25"),
        amount: amount("25"),
        profit: -i128::from(UNIT) / 4,
        tick_direction: 2,
        mark_price: price("4810.125"),
        timestamp_ns: NOW_NS,
        is_self_trade: false,
    }
}

fn read(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    serde_json::from_str(&written(write)).unwrap()
}

#[test]
fn an_order_has_deribit_s_fields_and_exact_digits() {
    let text = written(|out| write_order(out, &resting(), &future()));
    assert_eq!(
        text,
        "{\"order_id\":\"4711\",\"order_state\":\"open\",\"order_type\":\"limit\",\
         \"time_in_force\":\"good_til_cancelled\",\"instrument_name\":\"ESH4\",\
         \"creation_timestamp\":1700000000123,\"last_update_timestamp\":1700000000128,\"direction\":\"buy\",\
         \"price\":4810.25,\"label\":\"a \\\"b\\\"\",\"post_only\":false,\"reduce_only\":false,\"replaced\":false,\
         \"is_liquidation\":false,\"api\":true,\"web\":false,\"mobile\":false,\"mmp\":false,\
         \"risk_reducing\":false,\"amount\":100,\"max_show\":100,\"contracts\":2,\"filled_amount\":3,\
         \"average_price\":4810.166666667}"
    );
}

#[test]
fn an_order_tells_each_of_its_states_types_and_reasons() {
    let with = |change: fn(&mut Order)| {
        let mut order = resting();
        change(&mut order);
        read(|out| write_order(out, &order, &future()))
    };
    assert_eq!(with(|order| order.price = None)["price"], "market_price");
    assert_eq!(with(|order| order.order_type = OrderType::Market)["order_type"], "market");
    assert_eq!(with(|order| order.label = None)["label"], "");
    assert_eq!(with(|order| order.is_replaced = true)["replaced"], true);
    assert_eq!(with(|order| order.reduce_only = true)["reduce_only"], true);
    let slid = with(|order| order.post_only = PostOnly::Slide);
    assert_eq!((&slid["post_only"], &slid["reject_post_only"]), (&json!(true), &json!(false)));
    let rejecting = with(|order| order.post_only = PostOnly::Reject);
    assert_eq!((&rejecting["post_only"], &rejecting["reject_post_only"]), (&json!(true), &json!(true)));
    assert_eq!(with(|_| {}).get("reject_post_only"), None);
    assert_eq!(with(|_| {}).get("cancel_reason"), None);
    let ioc = with(|order| order.time_in_force = TimeInForce::ImmediateOrCancel);
    assert_eq!(ioc["time_in_force"], "immediate_or_cancel");
    let fok = with(|order| order.time_in_force = TimeInForce::FillOrKill);
    assert_eq!(fok["time_in_force"], "fill_or_kill");
    for (state, word) in [
        (OrderState::Filled, "filled"),
        (OrderState::Cancelled, "cancelled"),
        (OrderState::Rejected, "rejected"),
        (OrderState::Unknown, "unknown"),
    ] {
        let order = Order { state, ..resting() };
        assert_eq!(read(|out| write_order(out, &order, &future()))["order_state"], word);
    }
    for (reason, word) in [
        (CancelReason::UserRequest, "user_request"),
        (CancelReason::Disconnect, "cancel_on_disconnect"),
        (CancelReason::Timeout, "cancel_all_after"),
        (CancelReason::Immediate, "immediate_or_cancel"),
        (CancelReason::SelfMatch, "self_match"),
        (CancelReason::Killed, "halted"),
        (CancelReason::Venue, "venue"),
    ] {
        let order = Order { cancel_reason: Some(reason), ..resting() };
        assert_eq!(read(|out| write_order(out, &order, &future()))["cancel_reason"], word);
    }
}

#[test]
fn an_average_is_rounded_half_away_from_zero_at_the_ninth_decimal_and_0_of_nothing() {
    let average = |filled: i64, filled_notional: i128| {
        let order = Order { filled: Amount(filled), filled_notional, ..resting() };
        let text = written(|out| write_order(out, &order, &future()));
        let (_, rest) = text.split_once("\"average_price\":").unwrap();
        rest.trim_end_matches('}').to_owned()
    };
    assert_eq!(average(0, 0), "0.00");
    assert_eq!(average(3 * UNIT, 10 * i128::from(UNIT)), "3.333333333");
    assert_eq!(average(3 * UNIT, 20 * i128::from(UNIT)), "6.666666667");
    assert_eq!(average(2 * UNIT, 1), "0.000000001");
    assert_eq!(average(3 * UNIT, 1), "0.00");
    assert_eq!(average(2 * UNIT, -1), "-0.000000001");
    assert_eq!(average(UNIT, 12_500_000_000), "12.50");
    let most = notional(Price(i64::MAX), Amount(i64::MAX));
    assert_eq!(average(i64::MAX, most), "9223372036.854775807");
}

#[test]
fn a_fill_is_a_user_trade_with_the_public_trade_s_id() {
    let text = written(|out| write_fill(out, &fill(), &future()));
    assert_eq!(
        text,
        "{\"trade_seq\":2,\"trade_id\":\"ESH4-2\",\"order_id\":\"4711\",\"matching_id\":null,\
         \"instrument_name\":\"ESH4\",\"timestamp\":1700000000123,\"order_type\":\"limit\",\"state\":\"filled\",\
         \"direction\":\"sell\",\"liquidity\":\"T\",\"price\":4810.25,\"amount\":25,\"contracts\":0.5,\
         \"tick_direction\":2,\"mark_price\":4810.125,\"index_price\":4810.125,\"profit_loss\":-0.25,\"fee\":0,\
         \"fee_currency\":\"USD\",\"label\":\"x\",\"post_only\":false,\"reduce_only\":true,\"self_trade\":false,\
         \"mmp\":false,\"risk_reducing\":false,\"api\":true}"
    );
    let state = market();
    let public = read(|out| write_trades(out, &state, state.trades()));
    assert_eq!(public[1]["trade_id"], "ESH4-2");
    let unnamed = Fill { label: None, liquidity: Liquidity::Maker, ..fill() };
    let unnamed = read(|out| write_fill(out, &unnamed, &future()));
    assert_eq!((unnamed.get("label"), &unnamed["liquidity"]), (None, &json!("M")));
}

#[test]
fn what_was_placed_says_whether_it_was_placed_before() {
    let one = written(|out| write_placed(out, b"{\"order_id\":\"1\"}", b"{\"a\":1},{\"a\":2}", false));
    assert_eq!(one, "{\"order\":{\"order_id\":\"1\"},\"trades\":[{\"a\":1},{\"a\":2}]}");
    let again = written(|out| write_placed(out, b"{}", b"", true));
    assert_eq!(again, "{\"order\":{},\"trades\":[],\"repeated\":true}");
}

#[test]
fn changes_hold_three_lists() {
    let text = written(|out| write_changes(out, "ESH4", b"{},{}", b"", b"{\"size\":1}"));
    assert_eq!(
        text,
        "{\"instrument_name\":\"ESH4\",\"orders\":[{},{}],\"trades\":[],\"positions\":[{\"size\":1}]}"
    );
}

#[test]
fn a_position_is_valued_at_the_mark_price() {
    // The market's mark price is 4810.125.
    let check = |size: i64, cost: i64, realized: i64, expected: Value| {
        let position = Position {
            instrument: instrument_id(),
            size: size * UNIT,
            cost: i128::from(cost) * i128::from(UNIT),
            realized: i128::from(realized) * i128::from(UNIT),
        };
        let read = read(|out| write_open_position(out, &position, &market()));
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&read[name], value, "{name}");
        }
    };
    check(
        2,
        9600,
        7,
        json!({"instrument_name": "ESH4", "kind": "future", "direction": "buy", "size": 2, "size_currency": 2,
            "delta": 2, "average_price": 4800.0, "mark_price": 4810.125, "index_price": 4810.125,
            "floating_profit_loss": 20.25, "realized_profit_loss": 7, "total_profit_loss": 27.25,
            "initial_margin": 0, "maintenance_margin": 0, "open_orders_margin": 0, "settlement_price": 0,
            "estimated_liquidation_price": 0, "leverage": 1, "realized_funding": 0, "interest_value": 0}),
    );
    check(
        -2,
        -9600,
        0,
        json!({"direction": "sell", "size": -2, "average_price": 4800.0, "floating_profit_loss": -20.25}),
    );
    check(
        0,
        0,
        -3,
        json!({"direction": "zero", "size": 0, "average_price": 0.0, "floating_profit_loss": 0,
            "total_profit_loss": -3}),
    );
}

#[test]
fn lists_are_written_with_commas_and_a_spot_order_is_not_liquidated() {
    let spot = Instrument { kind: InstrumentKind::Spot, ..future() };
    let (order, instrument) = (resting(), future());
    let list = read(|out| write_orders(out, [(&order, &instrument), (&order, &spot)]));
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!((&list[0]["is_liquidation"], list[0].get("is_rebalance")), (&json!(false), None));
    assert_eq!((list[1].get("is_liquidation"), &list[1]["is_rebalance"]), (None, &json!(false)));
    assert_eq!(written(|out| write_orders(out, [])), "[]");
    assert_eq!(written(|out| write_open_positions(out, [])), "[]");
    let trades = read(|out| write_user_trades(out, [(&fill(), &future()), (&fill(), &future())], true));
    assert_eq!((trades["trades"].as_array().unwrap().len(), &trades["has_more"]), (2, &json!(true)));
}

#[test]
fn an_account_is_summed_up_in_one_currency() {
    let unit = i128::from(UNIT);
    let summary = AccountSummary {
        currency: symbol("USD"),
        balance: 1_000 * unit,
        equity: 1_010 * unit + 1,
        available: 990 * unit,
        realized: -5 * unit,
        unrealized: 10 * unit + 1,
    };
    let text = written(|out| write_account_summary(out, &summary));
    assert!(text.contains("\"equity\":1010.000000001,"), "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["currency"], "USD");
    assert_eq!(value["balance"], 1000);
    assert_eq!(value["available_funds"], 990);
    assert_eq!((&value["session_rpl"], &value["initial_margin"]), (&json!(-5), &json!(0)));
    assert!(text.contains("\"total_pl\":5.000000001,"), "{text}");
}

#[test]
fn small_results_are_small() {
    let cod = |scope, on| written(|out| write_cancel_on_disconnect(out, scope, on));
    assert_eq!(cod(DisconnectScope::Connection, true), "{\"scope\":\"connection\",\"enabled\":true}");
    assert_eq!(cod(DisconnectScope::Account, false), "{\"scope\":\"account\",\"enabled\":false}");
    assert_eq!(written(|out| write_count(out, 3)), "3");
}
