//! What the desk says in SBE: by chance, and held against what it says in JSON of the same.

use serde_json::json;

use super::*;
use crate::dialect::sbe::generated::{
    ExecType, ExecutionReport, ExecutionReportView, Liquidity, OrdStatus, OrderAckView, OrderFill,
};
use crate::model::order::CancelReason;

/// The same desk, asked and heard in SBE.
fn floor_in_sbe() -> Floor {
    let mut floor = Floor::new();
    (floor.encoding, floor.wanted) = (Encoding::Sbe, Wanted::default().and(Encoding::Sbe));
    floor
}

fn number(units: i64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "the numbers of tests are small")]
    let number = units as f64 / UNIT as f64;
    json!(number)
}

fn state(status: OrdStatus) -> &'static str {
    match status {
        OrdStatus::Open | OrdStatus::PartiallyFilled => "open",
        OrdStatus::Filled => "filled",
        OrdStatus::Cancelled => "cancelled",
        OrdStatus::Rejected => "rejected",
        OrdStatus::Unknown => "unknown",
    }
}

fn as_number(value: &Value) -> Value {
    value.as_f64().map_or(Value::Null, |number| json!(number))
}

/// What both say of an order.
fn order_of_json(order: &Value) -> Value {
    json!([
        order["order_id"],
        order["order_state"],
        as_number(&order["filled_amount"]),
        as_number(&order["amount"]),
        as_number(&order["price"]),
        as_number(&order["average_price"]),
        order["label"],
        order["replaced"],
        order["reduce_only"],
        order["cancel_reason"].as_str().is_some(),
        order["last_update_timestamp"],
    ])
}

fn order_of_report(report: &ExecutionReport, label: &str) -> Value {
    json!([
        report.order_id.to_string(),
        state(report.ord_status),
        number(report.filled_amount.unwrap().0),
        number(report.amount.unwrap().0),
        report.price.map_or(Value::Null, |price| number(price.0)),
        number(report.average_price.unwrap().0),
        label,
        report.flags.replaced,
        report.flags.reduce_only,
        report.cancel_reason.is_some(),
        report.updated_time / MS,
    ])
}

fn order_of_ack(view: &OrderAckView<'_>) -> Value {
    let ack = view.fields().unwrap();
    json!([
        ack.order_id.to_string(),
        state(ack.ord_status),
        number(ack.filled_amount.0),
        number(ack.amount.0),
        ack.price.map_or(Value::Null, |price| number(price.0)),
        number(ack.average_price.0),
        view.label(),
        ack.flags.replaced,
        ack.flags.reduce_only,
        ack.cancel_reason.is_some(),
        ack.updated_time / MS,
    ])
}

fn fill_of_json(trade: &Value) -> Value {
    json!([trade["trade_seq"], as_number(&trade["price"]), as_number(&trade["amount"]), trade["liquidity"]])
}

fn letter(liquidity: Liquidity) -> &'static str {
    match liquidity {
        Liquidity::Maker => "M",
        Liquidity::Taker => "T",
    }
}

fn fill_of_ack(fill: &OrderFill) -> Value {
    json!([fill.trade_seq, number(fill.price.0), number(fill.amount.0), letter(fill.liquidity)])
}

/// One request of both desks, and that they say the same.
fn ask_both(json: &mut Floor, sbe: &mut Floor, account: u32, request: OrderRequest) {
    let ticket = sbe.send(account, request);
    sbe.run();
    let told = sbe.answers.remove(&ticket).expect("each ask is answered");
    let answer = json.ask(account, request);
    assert_eq!(told.is_ok(), answer.is_ok(), "{request:?}: {told:?}, {answer:?}");
    match answer {
        Err(why) => assert_eq!(told, Err(why)),
        Ok(answer) => {
            let ack = sbe.acks.remove(&ticket).unwrap();
            let view = OrderAckView::decode(&ack).unwrap();
            let is_cancel = matches!(request, OrderRequest::Cancel { .. });
            let order = if is_cancel { &answer } else { &answer["order"] };
            assert_eq!(order_of_ack(&view), order_of_json(order), "{request:?}");
            assert_eq!(view.flags().repeated, answer["repeated"] == true, "{request:?}");
            let fills: Vec<Value> = view.fills().iter().map(|fill| fill_of_ack(&fill.unwrap())).collect();
            let trades = answer["trades"].as_array().cloned().unwrap_or_default();
            assert_eq!(fills, trades.iter().map(fill_of_json).collect::<Vec<_>>(), "{request:?}");
        }
    }
}

/// The same events, in the same order.
fn compare_events(json: &mut Floor, sbe: &mut Floor) -> usize {
    let (events, reports) = (std::mem::take(&mut json.events), std::mem::take(&mut sbe.reports));
    assert_eq!(events.len(), reports.len());
    for (event, report) in events.iter().zip(&reports) {
        assert_eq!((event.account, event.seq), (report.account, report.seq));
        let view = ExecutionReportView::decode(&report.order).unwrap();
        assert_eq!(order_of_report(&view.fields().unwrap(), view.label()), order_of_json(&event.order));
        let fills: Vec<Value> = report
            .fills
            .iter()
            .map(|report| {
                let fill = ExecutionReportView::decode(report).unwrap().fields().unwrap();
                assert_eq!(fill.exec_type, ExecType::Trade);
                let (price, amount) = (fill.last_price.unwrap(), fill.last_amount.unwrap());
                json!([fill.trade_seq, number(price.0), number(amount.0), letter(fill.liquidity.unwrap())])
            })
            .collect();
        assert_eq!(fills, event.trades.iter().map(fill_of_json).collect::<Vec<_>>());
    }
    events.iter().map(|event| event.trades.len()).sum()
}

#[test]
fn whatever_is_asked_the_desk_says_the_same_in_sbe_as_in_json() {
    let (mut json, mut sbe) = (Floor::new(), floor_in_sbe());
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut draw = |count: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % count
    };
    let mut trades = 0;
    for _ in 0..2_000 {
        let account = draw(3) as u32;
        let request = match draw(10) {
            0..6 => {
                let direction = if draw(2) == 0 { Direction::Buy } else { Direction::Sell };
                let order = limit(direction, 95 + draw(10) as i64, 1 + draw(9) as i64);
                place(match draw(6) {
                    0 => labelled(&format!("label {}", draw(40)), order),
                    1 => NewOrder { time_in_force: TimeInForce::ImmediateOrCancel, ..order },
                    2 => NewOrder { order_type: OrderType::Market, price: None, ..order },
                    3 => NewOrder { post_only: PostOnly::Slide, ..order },
                    4 => NewOrder { reduce_only: true, ..order },
                    _ => order,
                })
            }
            6..8 => {
                let (order, price) = (OrderId(FIRST + draw(400)), 95 + draw(10) as i64);
                edit(order, Some(price), Some(1 + draw(9) as i64))
            }
            _ => cancel(OrderId(FIRST + draw(400))),
        };
        let waited_ms = draw(3);
        json.wait_ms(waited_ms);
        sbe.wait_ms(waited_ms);
        ask_both(&mut json, &mut sbe, account, request);
        trades += compare_events(&mut json, &mut sbe);
    }
    assert!(trades > 300, "{trades}");
    assert!(json.desk.counters.repeats_total > 10);
    assert_eq!(json.desk.counters, sbe.desk.counters);
}

#[test]
fn a_report_says_why_it_is_sent() {
    let mut floor = floor_in_sbe();
    let newest = |floor: &mut Floor| {
        let reports = std::mem::take(&mut floor.reports);
        let own = reports.iter().filter(|report| report.account == AccountId(0));
        own.map(|report| ExecutionReportView::decode(&report.order).unwrap().exec_type().unwrap())
            .collect::<Vec<ExecType>>()
    };
    let ask = |floor: &mut Floor, account: u32, request: OrderRequest| {
        let ticket = floor.send(account, request);
        floor.run();
        assert!(floor.answers[&ticket].is_ok(), "{request:?}: {:?}", floor.answers[&ticket]);
        OrderId(OrderAckView::decode(&floor.acks[&ticket]).unwrap().order_id())
    };
    let order = ask(&mut floor, 0, place(buy(100, 5)));
    assert_eq!(newest(&mut floor), [ExecType::New]);
    ask(&mut floor, 0, edit(order, Some(101), None));
    assert_eq!(newest(&mut floor), [ExecType::Replaced]);
    ask(&mut floor, 1, place(sell(101, 2)));
    assert_eq!(newest(&mut floor), [ExecType::Trade]);
    ask(&mut floor, 0, cancel(order));
    assert_eq!(newest(&mut floor), [ExecType::Cancelled]);
    let rest = NewOrder { time_in_force: TimeInForce::ImmediateOrCancel, ..buy(90, 1) };
    ask(&mut floor, 0, place(rest));
    assert_eq!(newest(&mut floor), [ExecType::Cancelled], "what is left of it, at once");
    let lost = floor.send(0, place(buy(100, 1)));
    floor.take();
    floor.cut();
    assert!(matches!(floor.answers[&lost], Err(OrderRefusal::OutcomeUnknown { .. })));
    assert_eq!(newest(&mut floor), [ExecType::OrderStatus]);
    floor.reconnect();
    assert_eq!(newest(&mut floor), [ExecType::Rejected], "it never reached the venue");
}

#[test]
fn an_event_that_nobody_wants_is_counted_and_encoded_in_nothing() {
    let mut floor = Floor::new();
    floor.wanted = Wanted::default();
    let id = floor.id(0, buy(100, 5));
    assert!(floor.events.is_empty() && floor.reports.is_empty());
    floor.wanted = Wanted::default().and(Encoding::Json).and(Encoding::Sbe);
    floor.done(0, cancel(id));
    assert_eq!((floor.events[0].seq, floor.reports[0].seq, floor.events.len()), (2, 2, 1));
    let view = ExecutionReportView::decode(&floor.reports[0].order).unwrap();
    assert_eq!(
        view.cancel_reason().unwrap().map(|reason| reason as u8),
        Some(CancelReason::UserRequest as u8)
    );
}
