//! The methods of order entry: what they ask the desk for, and what they refuse by name.

use serde_json::{Value, json};

use super::{amount, price, symbol};
use crate::auth::Scope;
use crate::dialect::json_rpc::*;
use crate::model::decimal::Amount;
use crate::model::ids::InstrumentId;
use crate::model::instrument::InstrumentKind;
use crate::model::market::Direction;
use crate::model::order::*;

const ESH4: InstrumentId = InstrumentId(5);

fn called(method: &str, params: &Value) -> Result<OrderRequest, Failure> {
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    called_text(&text)
}

fn called_text(text: &str) -> Result<OrderRequest, Failure> {
    let Incoming::Single(parsed) = decode(text.as_bytes()) else { panic!("{text}") };
    let Method::Order(call) = parsed.call? else { panic!("{text}") };
    call.resolve(|name| (name == "ESH4").then_some((ESH4, amount("50"))))
}

fn told(failure: Failure) -> (i32, &'static str, &'static str) {
    (failure.code, failure.param.unwrap_or_default(), failure.reason.unwrap_or_default())
}

fn merged(base: &Value, more: &Value) -> Value {
    let mut params = base.clone();
    for (name, value) in more.as_object().unwrap() {
        params[name] = value.clone();
    }
    params
}

fn plain() -> NewOrder {
    NewOrder {
        instrument: ESH4,
        direction: Direction::Buy,
        order_type: OrderType::Limit,
        price: Some(price("4810.25")),
        amount: amount("100"),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::No,
        reduce_only: false,
        label: None,
        valid_until_ms: None,
    }
}

#[test]
fn takes_new_orders_as_deribit_s_clients_write_them() {
    let least = json!({"instrument_name": "ESH4", "amount": 100, "price": 4810.25});
    let check = |method: &str, more: Value, expected: NewOrder| {
        let params = merged(&least, &more);
        assert_eq!(called(method, &params), Ok(OrderRequest::Place(expected)), "{params}");
    };
    check("private/buy", json!({}), plain());
    check("private/sell", json!({"type": "limit"}), NewOrder { direction: Direction::Sell, ..plain() });
    check(
        "private/buy",
        json!({"type": "market", "price": null, "time_in_force": "immediate_or_cancel"}),
        NewOrder {
            order_type: OrderType::Market,
            price: None,
            time_in_force: TimeInForce::ImmediateOrCancel,
            ..plain()
        },
    );
    check(
        "private/buy",
        json!({"time_in_force": "fill_or_kill", "reduce_only": true, "label": "x \"y\" é", "post_only": false}),
        NewOrder {
            time_in_force: TimeInForce::FillOrKill,
            reduce_only: true,
            label: Label::parse("x \"y\" é"),
            ..plain()
        },
    );
    check("private/buy", json!({"post_only": true}), NewOrder { post_only: PostOnly::Slide, ..plain() });
    check(
        "private/buy",
        json!({"post_only": true, "reject_post_only": true, "time_in_force": "good_til_cancelled"}),
        NewOrder { post_only: PostOnly::Reject, ..plain() },
    );
    check("private/buy", json!({"label": "", "max_show": 100, "mmp": false, "access": 1}), plain());
    check("private/buy", json!({"valid_until": 9}), NewOrder { valid_until_ms: Some(9), ..plain() });
    check(
        "private/buy",
        json!({"valid_until": 9, "deadline": 7}),
        NewOrder { valid_until_ms: Some(7), ..plain() },
    );
    check("private/buy", json!({"amount": "1e2", "price": "4810.25"}), plain());
    check("private/buy", json!({"amount": null, "contracts": 2}), plain());
    check("private/buy", json!({"contracts": "2.0"}), plain());
}

#[test]
fn numbers_are_taken_exactly_as_they_are_written() {
    let order = |amount: &str, price: &str| {
        called_text(&format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"private/buy\",\"params\":{{\"instrument_name\":\"ESH4\",\
             \"amount\":{amount},\"price\":{price}}}}}"
        ))
    };
    let Ok(OrderRequest::Place(placed)) = order("1e-05", "1.0e3") else { panic!() };
    assert_eq!((placed.amount, placed.price), (Amount(10_000), Some(price("1000"))));
    let Ok(OrderRequest::Place(placed)) = order("\"0.1\"", "-2.5") else { panic!() };
    assert_eq!((placed.amount, placed.price), (amount("0.1"), Some(price("-2.5"))));
    for (quantity, at, expected) in [
        ("1e-10", "1", (10021, "amount", "more than nine decimals")),
        ("1e10", "1", (10021, "amount", "out of range")),
        ("0", "1", (10021, "amount", "must be more than 0")),
        ("-1", "1", (10021, "amount", "must be more than 0")),
        ("\"ten\"", "1", (-32602, "amount", "wrong format")),
        ("true", "1", (-32602, "amount", "wrong format")),
        ("1", "1e-10", (10026, "price", "more than nine decimals")),
        ("1", "1e10", (10023, "price", "out of range")),
        ("1", "\"market_price\"", (-32602, "price", "wrong format")),
        ("1", "[1]", (-32602, "price", "wrong format")),
    ] {
        assert_eq!(order(quantity, at).map_err(told), Err(expected), "{quantity} {at}");
    }
}

#[test]
fn refuses_by_name_what_does_not_fit_or_is_not_offered() {
    let least = json!({"instrument_name": "ESH4", "amount": 100, "price": 4810.25});
    let times = "must be one of good_til_cancelled, immediate_or_cancel, fill_or_kill";
    let label = "must be 1 to 64 bytes without control characters";
    let shown = "must be the amount: all of it is shown";
    for (more, expected) in [
        (json!({"instrument_name": null}), (-32602, "instrument_name", "value required")),
        (json!({"instrument_name": "NONE"}), (13020, "instrument_name", "unknown instrument")),
        (json!({"amount": null}), (-32602, "amount", "value required")),
        (json!({"price": null}), (-32602, "price", "value required")),
        (json!({"type": "market"}), (-32602, "price", "a market order has none")),
        (json!({"type": "stop_limit"}), (-32602, "type", "must be one of limit, market")),
        (json!({"time_in_force": "good_til_day"}), (-32602, "time_in_force", times)),
        (json!({"label": "x".repeat(65)}), (-32602, "label", label)),
        (json!({"label": 7}), (-32602, "label", "wrong format")),
        (json!({"reject_post_only": true}), (-32602, "reject_post_only", "takes post_only")),
        (
            json!({"post_only": true, "time_in_force": "fill_or_kill"}),
            (11055, "post_only", "only of a limit order that may rest"),
        ),
        (
            json!({"post_only": true, "type": "market", "price": null}),
            (11055, "post_only", "only of a limit order that may rest"),
        ),
        (json!({"post_only": "true"}), (-32602, "post_only", "wrong format")),
        (json!({"max_show": 50}), (10036, "max_show", shown)),
        (json!({"display_amount": 0.5}), (10036, "display_amount", shown)),
        (json!({"max_show": 0}), (10021, "max_show", "must be more than 0")),
        (json!({"contracts": 3}), (10021, "contracts", "not the same as amount")),
        (json!({"amount": null, "contracts": 1e9}), (10021, "contracts", "no amount is that many")),
        (json!({"contracts": 0}), (10021, "contracts", "must be more than 0")),
        (json!({"valid_until": "soon"}), (-32602, "valid_until", "wrong format")),
        (json!({"deadline": -1}), (-32602, "deadline", "wrong format")),
        (json!({"trigger": "last_price"}), (-32602, "trigger", "not offered here")),
        (json!({"trigger_price": 1}), (-32602, "trigger_price", "not offered here")),
        (json!({"trigger_offset": 1}), (-32602, "trigger_offset", "not offered here")),
        (
            json!({"linked_order_type": "one_cancels_other"}),
            (-32602, "linked_order_type", "not offered here"),
        ),
        (
            json!({"trigger_fill_condition": "first_hit"}),
            (-32602, "trigger_fill_condition", "not offered here"),
        ),
        (json!({"otoco_config": []}), (-32602, "otoco_config", "not offered here")),
        (json!({"advanced": "usd"}), (-32602, "advanced", "not offered here")),
        (json!({"mmp": true}), (-32602, "mmp", "not offered here")),
    ] {
        let params = merged(&least, &more);
        assert_eq!(called("private/buy", &params).map_err(told), Err(expected), "{params}");
    }
}

#[test]
fn edits_change_what_they_name_and_nothing_else() {
    let nothing = EditOrder {
        order: OrderRef::Id(OrderId(17)),
        instrument: None,
        amount: None,
        price: None,
        post_only: None,
        reduce_only: None,
        valid_until_ms: None,
    };
    let check = |method: &str, params: Value, expected: EditOrder| {
        assert_eq!(called(method, &params), Ok(OrderRequest::Edit(expected)), "{params}");
    };
    check("private/edit", json!({"order_id": "17"}), nothing);
    check(
        "private/edit",
        json!({"order_id": "17", "amount": 3, "price": 2.5, "post_only": false, "reduce_only": false,
            "deadline": 8}),
        EditOrder {
            amount: Some(amount("3")),
            price: Some(price("2.5")),
            post_only: Some(PostOnly::No),
            reduce_only: Some(false),
            valid_until_ms: Some(8),
            ..nothing
        },
    );
    let label = OrderRef::Label(Label::parse("x").unwrap());
    let named = EditOrder { order: label, instrument: Some(ESH4), ..nothing };
    check(
        "private/edit_by_label",
        json!({"label": "x", "instrument_name": "ESH4", "contracts": 0.5, "post_only": true}),
        EditOrder { amount: Some(amount("25")), post_only: Some(PostOnly::Slide), ..named },
    );
    for (method, params, expected) in [
        ("private/edit", json!({}), (-32602, "order_id", "value required")),
        ("private/edit", json!({"order_id": 17}), (-32602, "order_id", "wrong format")),
        ("private/edit", json!({"order_id": "ETH-17"}), (10025, "order_id", "")),
        (
            "private/edit",
            json!({"order_id": "17", "contracts": 1}),
            (-32602, "contracts", "not offered here: tell the amount"),
        ),
        ("private/edit", json!({"order_id": "17", "mmp": true}), (-32602, "mmp", "not offered here")),
        ("private/edit_by_label", json!({"label": "x"}), (-32602, "instrument_name", "value required")),
        ("private/edit_by_label", json!({"instrument_name": "ESH4"}), (-32602, "label", "value required")),
        (
            "private/edit_by_label",
            json!({"label": "x", "instrument_name": "Z"}),
            (13020, "instrument_name", "unknown instrument"),
        ),
    ] {
        assert_eq!(called(method, &params).map_err(told), Err(expected), "{method} {params}");
    }
}

#[test]
fn an_order_id_is_a_plain_number_in_a_string() {
    let state = |id: &str| called("private/get_order_state", &json!({ "order_id": id })).map_err(told);
    assert_eq!(state("1"), Ok(OrderRequest::OrderState { order: OrderId(1) }));
    let largest = (1 << 53) - 1;
    assert_eq!(state("9007199254740991"), Ok(OrderRequest::OrderState { order: OrderId(largest) }));
    for id in ["", "0", "007", "+1", "-1", "1.0", "9007199254740992", "99999999999999999999", " 1", "x"] {
        assert_eq!(state(id), Err((10025, "order_id", "")), "{id}");
    }
}

#[test]
fn cancels_one_order_or_many() {
    let filter = Filter::default();
    let esh4 = Filter { instrument: Some(ESH4), ..filter };
    let (usd, x) = (symbol("USD"), Label::parse("x").unwrap());
    let futures = Filter { kind: Some(InstrumentKind::Future), currency: Some(usd), ..filter };
    for (method, params, expected) in [
        (
            "private/cancel",
            json!({"order_id": "17", "valid_until": 5}),
            OrderRequest::Cancel { order: OrderId(17), valid_until_ms: Some(5) },
        ),
        (
            "private/cancel_by_label",
            json!({"label": "x"}),
            OrderRequest::CancelByLabel { label: x, currency: None },
        ),
        (
            "private/cancel_by_label",
            json!({"label": "x", "currency": "USD"}),
            OrderRequest::CancelByLabel { label: x, currency: Some(usd) },
        ),
        ("private/cancel_all", json!({"detailed": false}), OrderRequest::CancelAll { filter }),
        (
            "private/cancel_all_by_instrument",
            json!({"instrument_name": "ESH4", "type": "all"}),
            OrderRequest::CancelAll { filter: esh4 },
        ),
        (
            "private/cancel_all_by_currency",
            json!({"currency": "USD", "kind": "future", "type": "limit"}),
            OrderRequest::CancelAll { filter: futures },
        ),
        (
            "private/cancel_all_after",
            json!({"timeout": 5000}),
            OrderRequest::CancelAllAfter { timeout_ms: Some(5000) },
        ),
        (
            "private/cancel_all_after",
            json!({"timeout": 0}),
            OrderRequest::CancelAllAfter { timeout_ms: None },
        ),
    ] {
        assert_eq!(called(method, &params), Ok(expected), "{method} {params}");
    }
    let timeout = "must be 0 to turn it off, or 100 to 86400000 milliseconds";
    for (method, params, expected) in [
        ("private/cancel", json!({}), (-32602, "order_id", "value required")),
        ("private/cancel_by_label", json!({}), (-32602, "label", "value required")),
        ("private/cancel_all", json!({"detailed": true}), (-32602, "detailed", "not offered here")),
        (
            "private/cancel_all_by_instrument",
            json!({"instrument_name": "ESH4", "type": "stop"}),
            (-32602, "type", "must be one of all, limit"),
        ),
        ("private/cancel_all_by_instrument", json!({}), (-32602, "instrument_name", "value required")),
        ("private/cancel_all_by_currency", json!({}), (-32602, "currency", "value required")),
        ("private/cancel_all_after", json!({}), (-32602, "timeout", "value required")),
        ("private/cancel_all_after", json!({"timeout": 99}), (-32602, "timeout", timeout)),
        ("private/cancel_all_after", json!({"timeout": 86_400_001}), (-32602, "timeout", timeout)),
        ("private/cancel_all_after", json!({"timeout": u64::MAX}), (-32602, "timeout", timeout)),
    ] {
        assert_eq!(called(method, &params).map_err(told), Err(expected), "{method} {params}");
    }
}

#[test]
fn asks_for_orders_trades_positions_and_money() {
    let filter = Filter::default();
    let esh4 = Filter { instrument: Some(ESH4), ..filter };
    let btc = Filter { currency: Some(symbol("BTC")), ..filter };
    let options = Filter { kind: Some(InstrumentKind::Option), ..filter };
    for (method, params, expected) in [
        ("private/get_open_orders", json!({"type": "all"}), OrderRequest::OpenOrders { filter }),
        ("private/get_open_orders", json!({"kind": "option"}), OrderRequest::OpenOrders { filter: options }),
        ("private/get_open_orders", json!({"kind": "any"}), OrderRequest::OpenOrders { filter }),
        (
            "private/get_open_orders_by_instrument",
            json!({"instrument_name": "ESH4"}),
            OrderRequest::OpenOrders { filter: esh4 },
        ),
        (
            "private/get_open_orders_by_currency",
            json!({"currency": "BTC"}),
            OrderRequest::OpenOrders { filter: btc },
        ),
        (
            "private/get_open_orders_by_currency",
            json!({"currency": "any"}),
            OrderRequest::OpenOrders { filter },
        ),
        (
            "private/get_order_state_by_label",
            json!({"label": "x", "currency": "BTC"}),
            OrderRequest::OrderStateByLabel {
                label: Label::parse("x").unwrap(),
                currency: Some(symbol("BTC")),
            },
        ),
        (
            "private/get_position",
            json!({"instrument_name": "ESH4"}),
            OrderRequest::Position { instrument: ESH4 },
        ),
        ("private/get_positions", json!({}), OrderRequest::Positions { filter }),
        ("private/get_positions", json!({"currency": "BTC"}), OrderRequest::Positions { filter: btc }),
        (
            "private/get_account_summary",
            json!({"currency": "USD", "extended": true}),
            OrderRequest::AccountSummary { currency: symbol("USD") },
        ),
    ] {
        assert_eq!(called(method, &params), Ok(expected), "{method} {params}");
    }
    for (method, params, expected) in [
        ("private/get_open_orders", json!({"kind": "share"}), "kind"),
        ("private/get_open_orders_by_currency", json!({"currency": "B.C"}), "currency"),
        ("private/get_open_orders", json!({"type": "stop_all"}), "type"),
        ("private/get_positions", json!({"subaccount_id": 3}), "subaccount_id"),
        ("private/get_account_summary", json!({}), "currency"),
        ("private/get_account_summary", json!({"currency": "any thing"}), "currency"),
    ] {
        let failure = called(method, &params).unwrap_err();
        assert_eq!((failure.code, failure.param), (-32602, Some(expected)), "{method} {params}");
    }
}

#[test]
fn asks_for_closed_orders_and_all_balances() {
    let filter = Filter::default();
    let btc = Filter { currency: Some(symbol("BTC")), ..filter };
    for (method, params, expected) in [
        ("private/get_account_summaries", json!({"extended": true}), OrderRequest::AccountSummaries),
        (
            "private/get_order_history_by_instrument",
            json!({"instrument_name": "ESH4", "count": 1000}),
            OrderRequest::OrderHistory {
                filter: Filter { instrument: Some(ESH4), ..filter },
                count: 1000,
                offset: 0,
                include_unfilled: false,
            },
        ),
        (
            "private/get_order_history_by_currency",
            json!({"currency": "BTC", "offset": 3, "include_unfilled": true}),
            OrderRequest::OrderHistory { filter: btc, count: 20, offset: 3, include_unfilled: true },
        ),
    ] {
        assert_eq!(called(method, &params), Ok(expected), "{method} {params}");
    }
}

#[test]
fn refuses_a_question_by_the_parameter_that_is_missing_or_odd() {
    for (method, params, expected) in [
        ("private/get_account_summaries", json!({"subaccount_id": 3}), "subaccount_id"),
        ("private/get_order_history_by_instrument", json!({"count": 3}), "instrument_name"),
        ("private/get_order_history_by_currency", json!({"count": 3}), "currency"),
        ("private/get_order_history_by_currency", json!({"currency": "BTC", "count": 1001}), "count"),
        ("private/get_user_trades_by_currency", json!({}), "currency"),
    ] {
        let failure = called(method, &params).unwrap_err();
        assert_eq!((failure.code, failure.param), (-32602, Some(expected)), "{method} {params}");
    }
}

#[test]
fn asks_for_user_trades_by_sequence_time_and_order() {
    let least = UserTradesQuery {
        filter: Filter { instrument: Some(ESH4), ..Filter::default() },
        start_seq: None,
        end_seq: None,
        start_timestamp_ms: None,
        end_timestamp_ms: None,
        count: 10,
        is_ascending: false,
    };
    let check = |method: &str, params: Value, expected: UserTradesQuery| {
        assert_eq!(called(method, &params), Ok(OrderRequest::UserTrades(expected)), "{params}");
    };
    let by_instrument = "private/get_user_trades_by_instrument";
    check(by_instrument, json!({"instrument_name": "ESH4", "include_old": true}), least);
    check(
        by_instrument,
        json!({"instrument_name": "ESH4", "start_seq": 1, "end_seq": 2, "start_timestamp": 3, "end_timestamp": 4,
            "count": 1000, "sorting": "asc"}),
        UserTradesQuery {
            start_seq: Some(1),
            end_seq: Some(2),
            start_timestamp_ms: Some(3),
            end_timestamp_ms: Some(4),
            count: 1000,
            is_ascending: true,
            ..least
        },
    );
    check(
        "private/get_user_trades_by_instrument_and_time",
        json!({"instrument_name": "ESH4", "start_timestamp": 3}),
        UserTradesQuery { start_timestamp_ms: Some(3), ..least },
    );
    let filter = Filter { currency: Some(symbol("BTC")), ..Filter::default() };
    for (method, start_timestamp_ms) in [
        ("private/get_user_trades_by_currency", None),
        ("private/get_user_trades_by_currency_and_time", Some(3)),
    ] {
        check(
            method,
            json!({"currency": "BTC", "start_timestamp": start_timestamp_ms}),
            UserTradesQuery { filter, start_timestamp_ms, ..least },
        );
    }
    for (params, param) in [
        (json!({"instrument_name": "ESH4", "count": 1001}), "count"),
        (json!({"instrument_name": "ESH4", "count": 0}), "count"),
        (json!({"instrument_name": "ESH4", "sorting": "up"}), "sorting"),
        (json!({}), "instrument_name"),
    ] {
        assert_eq!(called(by_instrument, &params).unwrap_err().param, Some(param), "{params}");
    }
}

#[test]
fn sets_what_happens_at_a_disconnect_and_the_kill_switch() {
    let (connection, account) = (DisconnectScope::Connection, DisconnectScope::Account);
    for (method, params, expected) in [
        (
            "private/enable_cancel_on_disconnect",
            json!({}),
            OrderRequest::EnableCancelOnDisconnect { scope: connection },
        ),
        (
            "private/disable_cancel_on_disconnect",
            json!({"scope": "account"}),
            OrderRequest::DisableCancelOnDisconnect { scope: account },
        ),
        (
            "private/get_cancel_on_disconnect",
            json!({"scope": "connection"}),
            OrderRequest::GetCancelOnDisconnect { scope: connection },
        ),
        ("private/halt_trading", json!({}), OrderRequest::Halt { is_on: true, everybody: false }),
        (
            "private/resume_trading",
            json!({"everybody": true}),
            OrderRequest::Halt { is_on: false, everybody: true },
        ),
    ] {
        assert_eq!(called(method, &params), Ok(expected), "{method} {params}");
    }
    let failure = called("private/enable_cancel_on_disconnect", &json!({"scope": "all"})).unwrap_err();
    assert_eq!(told(failure), (-32602, "scope", "must be one of connection, account"));
}

#[test]
fn each_method_of_order_entry_is_known_and_needs_a_scope() {
    let scopes = [
        (Scope::TradeReadWrite, "buy sell edit edit_by_label cancel cancel_by_label cancel_all"),
        (Scope::TradeReadWrite, "cancel_all_by_instrument cancel_all_by_currency cancel_all_after"),
        (Scope::TradeRead, "get_open_orders get_open_orders_by_instrument get_open_orders_by_currency"),
        (Scope::TradeRead, "get_order_state get_order_state_by_label get_user_trades_by_instrument"),
        (Scope::TradeRead, "get_user_trades_by_instrument_and_time get_position get_positions"),
        (Scope::AccountRead, "get_account_summary get_cancel_on_disconnect"),
        (Scope::AccountReadWrite, "enable_cancel_on_disconnect disable_cancel_on_disconnect"),
        (Scope::AccountReadWrite, "halt_trading resume_trading"),
    ];
    for (scope, names) in scopes {
        for name in names.split(' ') {
            let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"private/{name}\"}}");
            let Incoming::Single(parsed) = decode(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(parsed.access, Access::Scoped(scope), "{name}");
            assert_ne!(parsed.call, Err(Failure::METHOD_NOT_FOUND), "{name}");
        }
    }
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"private/close_position"}"#;
    let Incoming::Single(parsed) = decode(text.as_bytes()) else { panic!("{text}") };
    assert_eq!(parsed.call, Err(Failure::METHOD_NOT_FOUND));
    assert!(size_of::<Method<'_>>() <= 256, "a call is moved about: {}", size_of::<Method<'_>>());
}
