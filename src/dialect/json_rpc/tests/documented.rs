//! The examples of orders in `docs/protocol.md`: each request is taken, and each reply is what the writers write.

use std::sync::Arc;

use super::{amount, price, symbol, update};
use crate::dialect::json_rpc::*;
use crate::model::book::Side;
use crate::model::channel::Channel;
use crate::model::decimal::UNIT;
use crate::model::ids::{InstrumentId, Seq};
use crate::model::instrument::{Instrument, InstrumentKind};
use crate::model::link::{LinkIdentity, LinkKind, LinkState, LinkStatus};
use crate::model::market::{Direction, InstrumentState};
use crate::model::order::*;

const PAGE: &str = include_str!("../../../../docs/protocol.md");
const NOW_NS: u64 = 1_795_242_557_741_000_000;

fn perpetual() -> Instrument {
    Instrument {
        name: symbol("BTC-PERPETUAL"),
        kind: InstrumentKind::Future,
        base_currency: symbol("BTC"),
        quote_currency: symbol("USD"),
        tick_size: price("0.5"),
        price_decimals: 1,
        min_trade_amount: amount("10"),
        amount_decimals: 0,
        contract_size: amount("10"),
        creation_timestamp_ms: 0,
        expiration_timestamp_ms: None,
    }
}

fn order() -> Order {
    Order {
        id: OrderId(17),
        account: AccountId(0),
        instrument: InstrumentId(0),
        direction: Direction::Buy,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::No,
        reduce_only: false,
        label: Label::parse("mine-1"),
        state: OrderState::Open,
        price: Some(price("64000.5")),
        amount: amount("30"),
        filled: amount("10"),
        filled_notional: notional(price("64000.5"), amount("10")),
        is_replaced: false,
        cancel_reason: None,
        created_ns: NOW_NS,
        updated_ns: NOW_NS,
    }
}

fn fill() -> Fill {
    Fill {
        order: OrderId(17),
        instrument: InstrumentId(0),
        trade_seq: Seq(9),
        direction: Direction::Buy,
        liquidity: Liquidity::Taker,
        order_type: OrderType::Limit,
        state: OrderState::Open,
        post_only: PostOnly::No,
        reduce_only: false,
        label: Label::parse("mine-1"),
        price: price("64000.5"),
        amount: amount("10"),
        profit: 0,
        tick_direction: 0,
        mark_price: price("64000.25"),
        timestamp_ns: NOW_NS,
        is_self_trade: false,
    }
}

/// What the writer of a method's result writes.
fn result_of(method: &str) -> String {
    let (order, fill, instrument) = (order(), fill(), perpetual());
    let mut state = InstrumentState::new(Arc::new(perpetual()));
    for level in [update(Side::Bid, "64000.0", "10"), update(Side::Ask, "64000.5", "20")] {
        state.apply_level(level);
    }
    let position = Position {
        instrument: InstrumentId(0),
        size: amount("10").0,
        cost: order.filled_notional,
        realized: 0,
    };
    let balance = i128::from(1_000_000 * UNIT);
    let summary = AccountSummary {
        currency: symbol("USD"),
        balance,
        equity: balance,
        available: balance,
        realized: 0,
        unrealized: 0,
    };
    let cancelled = Order {
        state: OrderState::Cancelled,
        cancel_reason: Some(CancelReason::UserRequest),
        updated_ns: NOW_NS + 58_000_000,
        ..order
    };
    let out = &mut Vec::new();
    match method {
        "private/buy" => {
            let (mut order_json, mut trades_json) = (Vec::new(), Vec::new());
            write_order(&mut order_json, &order, &instrument);
            write_fill(&mut trades_json, &fill, &instrument);
            write_placed(out, &order_json, &trades_json, false);
        }
        "private/get_order_state" => write_order(out, &order, &instrument),
        "private/cancel" => write_order(out, &cancelled, &instrument),
        "private/get_order_state_by_label"
        | "private/get_open_orders"
        | "private/get_open_orders_by_instrument"
        | "private/get_open_orders_by_currency" => write_orders(out, [(&order, &instrument)]),
        "private/get_order_history_by_instrument" | "private/get_order_history_by_currency" => {
            write_orders(out, [(&cancelled, &instrument)]);
        }
        "private/get_user_trades_by_instrument" | "private/get_user_trades_by_currency" => {
            write_user_trades(out, [(&fill, &instrument)], false)
        }
        "private/get_position" => write_open_position(out, &position, &state),
        "private/get_positions" => write_open_positions(out, [(&position, &state)]),
        "private/get_account_summary" => write_account_summary(out, &summary),
        "private/get_account_summaries" => write_account_summaries(out, &[summary]),
        "private/get_cancel_on_disconnect" => {
            write_cancel_on_disconnect(out, DisconnectScope::Connection, true);
        }
        "private/cancel_all" => write_count(out, 2),
        _ if method.starts_with("private/cancel_") && !method.ends_with("after") => write_count(out, 0),
        _ => write_ok(out),
    }
    String::from_utf8(std::mem::take(out)).unwrap()
}

/// What refuses the example of this method.
fn refusal_of(method: &str) -> Failure {
    order_failure(match method {
        "private/sell" => OrderRefusal::TooManyRequests { credits_left: 0, retry_after_ms: 12 },
        "private/edit" => OrderRefusal::OutcomeUnknown { order: OrderId(17) },
        "private/edit_by_label" => OrderRefusal::AmountBelowFilled,
        _ => panic!("{method} is not refused"),
    })
}

#[test]
fn the_documented_venues_are_answered_as_documented() {
    let (_, section) = PAGE.split_once("\n## Venues\n").unwrap();
    let (_, rest) = section.split_once("\n> ").unwrap();
    let (request, rest) = rest.split_once("\n< ").unwrap();
    let (told, _) = rest.split_once('\n').unwrap();
    let Incoming::Single(parsed) = decode(request.as_bytes()) else { panic!("{request}") };
    assert_eq!(parsed.call, Ok(Method::Venues));
    let link = |kind, venue: &str, link: &str| LinkIdentity { kind, venue: venue.into(), link: link.into() };
    let links = [
        LinkStatus {
            identity: link(LinkKind::Paper, "paper", "paper"),
            state: LinkState::Up,
            since_ms: 1_795_242_550_000,
            instruments: 12,
            last_reason: None,
        },
        LinkStatus {
            identity: link(LinkKind::Tcp, "fx", "fx.2"),
            state: LinkState::Down,
            since_ms: 1_795_242_557_736,
            instruments: 0,
            last_reason: Some("silent for too long".into()),
        },
    ];
    let mut written = Vec::new();
    open_result(&mut written, parsed.id.unwrap());
    write_venues(&mut written, &links);
    let precision = Precision::Microseconds;
    close_reply(&mut written, Stamps { in_unix_ns: NOW_NS, out_unix_ns: NOW_NS, precision });
    assert_eq!(told, String::from_utf8(written).unwrap());
    let (_, table) = section.split_once("| member |").unwrap();
    let kinds = [LinkKind::Paper, LinkKind::Replay, LinkKind::Tcp, LinkKind::Mt5].map(LinkKind::as_str);
    let states =
        [LinkState::Connecting, LinkState::Reconciling, LinkState::Up, LinkState::Down, LinkState::GivenUp];
    for word in kinds.into_iter().chain(states.map(LinkState::as_str)) {
        assert!(table.contains(&format!("`{word}`")), "{word} is not documented");
    }
}

#[test]
fn the_documented_platform_state_is_subscribed_to_and_told_as_documented() {
    let (_, section) = PAGE.split_once("\n**Platform state.**").unwrap();
    let lines: Vec<&str> = section.lines().skip_while(|line| !line.starts_with("> ")).take(3).collect();
    let line = |at: usize| lines[at].get(2..).unwrap();
    let Incoming::Single(parsed) = decode(line(0).as_bytes()) else { panic!("{}", line(0)) };
    let Ok(Method::Subscribe(params)) = parsed.call else { panic!("{:?}", parsed.call) };
    assert_eq!(params.channels, ["platform_state"]);
    let channel = Channel::parse(&params.channels[0], params.checksum);
    assert_eq!(channel, Some(Channel::PlatformState));
    let mut written = Vec::new();
    open_result(&mut written, parsed.id.unwrap());
    write_channels(&mut written, params.channels.iter().map(|channel| &**channel));
    let (in_unix_ns, out_unix_ns) = (NOW_NS, NOW_NS + 12_000);
    close_reply(&mut written, Stamps { in_unix_ns, out_unix_ns, precision: Precision::Microseconds });
    assert_eq!(line(1), String::from_utf8(written).unwrap());
    let mut written = Vec::new();
    write_maintenance(&mut written, NOW_NS);
    assert_eq!(line(2), String::from_utf8(written).unwrap());
}

#[test]
fn the_documented_orders_are_taken_and_answered_as_documented() {
    let (_, section) = PAGE.split_once("\n## Orders\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut lines = section.lines().filter(|line| line.starts_with("> ") || line.starts_with("< "));
    let mut methods = Vec::new();
    while let (Some(request), Some(reply)) = (lines.next(), lines.next()) {
        let (request, reply) = (request.strip_prefix("> ").unwrap(), reply.strip_prefix("< ").unwrap());
        let Incoming::Single(parsed) = decode(request.as_bytes()) else { panic!("{request}") };
        let Ok(Method::Order(call)) = parsed.call else { panic!("{request}: {:?}", parsed.call) };
        let resolved =
            call.resolve(|name| (name == "BTC-PERPETUAL").then_some((InstrumentId(0), amount("10"))));
        assert!(resolved.is_ok(), "{request}: {resolved:?}");
        let value: serde_json::Value = serde_json::from_str(request).unwrap();
        let method = value["method"].as_str().unwrap().to_owned();
        let told: serde_json::Value =
            serde_json::from_str(reply).unwrap_or_else(|error| panic!("{error}: {reply}"));
        let stamps = Stamps {
            in_unix_ns: told["usIn"].as_u64().unwrap() * 1000,
            out_unix_ns: told["usOut"].as_u64().unwrap() * 1000,
            precision: Precision::Microseconds,
        };
        let mut written = Vec::new();
        if told.get("error").is_some() {
            write_error(&mut written, parsed.id.unwrap(), refusal_of(&method), stamps);
        } else {
            open_result(&mut written, parsed.id.unwrap());
            written.extend_from_slice(result_of(&method).as_bytes());
            close_reply(&mut written, stamps);
        }
        assert_eq!(reply, String::from_utf8(written).unwrap(), "{method}");
        methods.push(method);
    }
    let (table, _) = section.split_once("\n\n**").unwrap();
    let named = table.split('`').filter(|word| word.starts_with("private/"));
    let without_example: Vec<_> = named.filter(|name| !methods.iter().any(|method| method == name)).collect();
    assert!(without_example.is_empty(), "{without_example:?}");
    assert!(methods.len() >= 24, "{methods:?}");
}
