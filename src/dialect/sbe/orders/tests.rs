//! Messages of orders: what each asks for, how each that is none is refused, and what answers and reports say once they are passed on.

use super::generated::{CancelReason, ExecutionReportView, Flag, OrdStatus, OrderAckView, RejectView};
use super::*;
use crate::model::decimal::UNIT;
use crate::model::market::Direction;
use crate::model::order::{
    AccountId, Liquidity, NewOrder as Asked, OrderRefusal, OrderState, OrderType, PostOnly, TimeInForce,
};

const NEW: NewOrder = NewOrder {
    correlation_id: 7,
    price: Some(Price(100 * UNIT)),
    amount: Amount(10 * UNIT),
    valid_until: Some(1_700_000_000_000_999_999),
    instrument_id: 3,
    side: generated::Side::Sell,
    ord_type: generated::OrdType::Limit,
    time_in_force: generated::TimeInForce::GoodTilCancelled,
    post_only: generated::PostOnly::Reject,
    flags: OrderFlags { reduce_only: true, replaced: true, repeated: true, self_trade: true },
};
const AMEND: AmendOrder = AmendOrder {
    correlation_id: 8,
    order_id: Some(42),
    price: None,
    amount: Some(Amount(UNIT)),
    valid_until: None,
    instrument_id: None,
    post_only: Some(generated::PostOnly::Slide),
    reduce_only: Some(Flag::No),
};
const CANCEL: CancelOrder = CancelOrder { correlation_id: 9, order_id: 42, valid_until: Some(1_999_999) };

fn new(order: NewOrder, label: &str) -> Vec<u8> {
    let mut message = Vec::new();
    order.encode(&mut message, label);
    message
}

fn amended(amend: AmendOrder, label: &str) -> Vec<u8> {
    let mut message = Vec::new();
    amend.encode(&mut message, label);
    message
}

fn cancelled(cancel: CancelOrder) -> Vec<u8> {
    let mut message = Vec::new();
    cancel.encode(&mut message);
    message
}

fn decoded(message: &[u8]) -> Result<OrderRequest, Failure> {
    decode_order_message(message).unwrap().request
}

/// Code, reason and what is at fault.
fn check_refused(message: &[u8], code: i32, reason: Option<&str>, param: Option<&str>) {
    let failure = decoded(message).unwrap_err();
    assert_eq!((failure.code, failure.reason, failure.param), (code, reason, param), "{message:?}");
}

#[test]
fn a_new_order_says_all_that_one_in_json_can() {
    let message = new(NEW, "mine");
    let OrderMessage { template_id, correlation_id, request } = decode_order_message(&message).unwrap();
    assert_eq!((template_id, correlation_id), (20, Some(7)));
    let expected = Asked {
        instrument: InstrumentId(3),
        direction: Direction::Sell,
        order_type: OrderType::Limit,
        price: Some(Price(100 * UNIT)),
        amount: Amount(10 * UNIT),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::Reject,
        reduce_only: true,
        label: Label::parse("mine"),
        valid_until_ms: Some(1_700_000_000_000),
    };
    assert_eq!(request, Ok(OrderRequest::Place(expected)));
    let market = NewOrder {
        price: None,
        ord_type: generated::OrdType::Market,
        time_in_force: generated::TimeInForce::FillOrKill,
        post_only: generated::PostOnly::No,
        side: generated::Side::Buy,
        flags: OrderFlags::default(),
        valid_until: None,
        ..NEW
    };
    let expected = Asked {
        direction: Direction::Buy,
        order_type: OrderType::Market,
        price: None,
        time_in_force: TimeInForce::FillOrKill,
        post_only: PostOnly::No,
        reduce_only: false,
        label: None,
        valid_until_ms: None,
        ..expected
    };
    assert_eq!(decoded(&new(market, "")), Ok(OrderRequest::Place(expected)));
}

#[test]
fn the_correlation_that_is_none_is_refused_and_the_one_below_it_is_as_good_as_any() {
    let (none, last) = (u64::MAX, u64::MAX - 1);
    let messages = |correlation_id| {
        [
            new(NewOrder { correlation_id, ..NEW }, ""),
            amended(AmendOrder { correlation_id, ..AMEND }, ""),
            cancelled(CancelOrder { correlation_id, ..CANCEL }),
        ]
    };
    for message in messages(none) {
        check_refused(&message, -32602, Some("value required"), Some("correlation_id"));
        assert_eq!(decode_order_message(&message).unwrap().correlation_id, None);
    }
    for message in messages(last) {
        let decoded = decode_order_message(&message).unwrap();
        assert!(decoded.request.is_ok() && decoded.correlation_id == Some(last), "{decoded:?}");
    }
    // What else is wrong with it comes first.
    check_refused(&messages(none)[0][..20], -32700, Some("the message is cut off"), None);
}

#[test]
fn an_order_is_amended_by_its_number_or_its_label_and_cancelled_by_its_number() {
    let edit = EditOrder {
        order: OrderRef::Id(OrderId(42)),
        instrument: None,
        amount: Some(Amount(UNIT)),
        price: None,
        post_only: Some(PostOnly::Slide),
        reduce_only: Some(false),
        valid_until_ms: None,
    };
    assert_eq!(decoded(&amended(AMEND, "")), Ok(OrderRequest::Edit(edit)));
    let by_label = AmendOrder {
        order_id: None,
        instrument_id: Some(3),
        amount: None,
        price: Some(Price(-1)),
        post_only: None,
        reduce_only: None,
        ..AMEND
    };
    let edit = EditOrder {
        order: OrderRef::Label(Label::parse("é").unwrap()),
        instrument: Some(InstrumentId(3)),
        amount: None,
        price: Some(Price(-1)),
        post_only: None,
        reduce_only: None,
        valid_until_ms: None,
    };
    assert_eq!(decoded(&amended(by_label, "é")), Ok(OrderRequest::Edit(edit)));
    assert_eq!(
        decoded(&cancelled(CANCEL)),
        Ok(OrderRequest::Cancel { order: OrderId(42), valid_until_ms: Some(1) })
    );
    let both = Some("not beside an order's number");
    check_refused(&amended(AMEND, "x"), -32602, both, Some("label"));
    let nameless = AmendOrder { order_id: None, ..AMEND };
    check_refused(&amended(nameless, ""), -32602, Some("value required"), Some("order_id"));
    check_refused(&amended(nameless, "x"), -32602, Some("value required"), Some("instrument_id"));
}

#[test]
fn terms_that_do_not_fit_are_refused_as_in_json() {
    let market = generated::OrdType::Market;
    let bad_label = Some("must be 1 to 64 bytes without control characters");
    check_refused(&new(NewOrder { price: None, ..NEW }, ""), -32602, Some("value required"), Some("price"));
    let of_market = NewOrder { ord_type: market, post_only: generated::PostOnly::No, ..NEW };
    check_refused(&new(of_market, ""), -32602, Some("a market order has none"), Some("price"));
    let taker = NewOrder { time_in_force: generated::TimeInForce::ImmediateOrCancel, ..NEW };
    let rests = Some("only of a limit order that may rest");
    check_refused(&new(taker, ""), 11055, rests, Some("post_only"));
    for amount in [0, -1, i64::MIN] {
        let order = NewOrder { amount: Amount(amount), ..NEW };
        check_refused(&new(order, ""), 10021, Some("must be more than 0"), Some("amount"));
    }
    let nothing = AmendOrder { amount: Some(Amount(0)), ..AMEND };
    check_refused(&amended(nothing, ""), 10021, Some("must be more than 0"), Some("amount"));
    check_refused(&new(NEW, &"x".repeat(65)), -32602, bad_label, Some("label"));
    check_refused(&new(NEW, "a\nb"), -32602, bad_label, Some("label"));
}

#[test]
fn what_is_no_message_of_the_schema_is_refused_by_its_reason_and_with_its_correlation() {
    let whole = new(NEW, "mine");
    for len in 0..HEADER_BYTES {
        assert_eq!(decode_order_message(&whole[..len]), None, "no header in {len} bytes");
    }
    for len in HEADER_BYTES..whole.len() {
        check_refused(&whole[..len], -32700, Some("the message is cut off"), None);
        let correlation_id = decode_order_message(&whole[..len]).unwrap().correlation_id;
        assert_eq!(correlation_id, (len >= HEADER_BYTES + 8).then_some(7), "{len} bytes");
    }
    let with = |at: usize, byte: u8| {
        let mut message = whole.clone();
        message[at] = byte;
        message
    };
    let invalid = |at: usize, byte: u8, reason: &str, param: &str| {
        check_refused(&with(at, byte), -32600, Some(reason), Some(param));
    };
    invalid(4, 2, "another schema", "schema_id");
    invalid(6, 1, "a later version of the schema", "version");
    invalid(0, 42, "a block that is longer than the schema has it", "block_length");
    invalid(0, 40, "a block that is shorter than the schema has it", "block_length");
    check_refused(&[&whole[..], b"x"].concat(), -32700, Some("bytes follow the message"), None);
    check_refused(&[&whole[..], &whole].concat(), -32700, Some("bytes follow the message"), None);
    let last = whole.len() - 1;
    check_refused(&with(last, 0xff), -32602, Some("not UTF-8"), Some("label"));
    for (at, field) in [(36, "side"), (37, "ord_type"), (38, "time_in_force"), (39, "post_only")] {
        check_refused(&with(HEADER_BYTES + at, 9), -32602, Some("unknown value"), Some(field));
    }
    // What only the gateway says, and what nobody does.
    for template_id in [1, 10, 11, 30, 31, 32, 255] {
        check_refused(&with(2, template_id), -32601, None, None);
        assert_eq!(decode_order_message(&with(2, template_id)).unwrap().correlation_id, None);
    }
}

#[test]
fn no_bytes_are_more_than_they_say_and_none_bring_it_down() {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut draw = |count: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % count as u64).unwrap()
    };
    let whole = [new(NEW, "mine"), amended(AMEND, "mine"), amended(AMEND, ""), cancelled(CANCEL)];
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let mut message = whole[draw(whole.len())].clone();
        for _ in 0..draw(4) {
            let at = draw(message.len());
            message[at] = u8::try_from(draw(256)).unwrap();
        }
        message.truncate(message.len() - draw(3) * draw(2));
        let Some(OrderMessage { correlation_id, request, .. }) = decode_order_message(&message) else {
            assert!(message.len() < HEADER_BYTES);
            continue;
        };
        match request {
            Err(_) => refused += 1,
            Ok(request) => {
                taken += 1;
                assert_eq!(correlation_id.unwrap().to_le_bytes(), message[8..16]);
                let amount = if let OrderRequest::Place(order) = request {
                    Some(order.amount)
                } else if let OrderRequest::Edit(edit) = request {
                    edit.amount
                } else {
                    assert!(matches!(request, OrderRequest::Cancel { .. }), "{request:?}");
                    None
                };
                assert!(amount.is_none_or(|amount| amount > Amount::ZERO), "{request:?}");
            }
        }
    }
    assert!(taken > 10_000 && refused > 10_000, "{taken} taken, {refused} refused");
}

fn order() -> Order {
    Order {
        id: OrderId(42),
        account: AccountId(1),
        instrument: InstrumentId(3),
        direction: Direction::Buy,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::ImmediateOrCancel,
        post_only: PostOnly::No,
        reduce_only: true,
        label: Label::parse("mine"),
        state: OrderState::Cancelled,
        price: Some(Price(101 * UNIT)),
        amount: Amount(4 * UNIT),
        filled: Amount(3 * UNIT),
        filled_notional: 301 * i128::from(UNIT),
        is_replaced: true,
        cancel_reason: Some(order::CancelReason::Immediate),
        created_ns: 11,
        updated_ns: 12,
    }
}

fn fill() -> Fill {
    Fill {
        order: OrderId(42),
        instrument: InstrumentId(3),
        trade_seq: Seq(5),
        direction: Direction::Buy,
        liquidity: Liquidity::Taker,
        order_type: OrderType::Limit,
        state: OrderState::Open,
        post_only: PostOnly::No,
        reduce_only: true,
        label: Label::parse("mine"),
        price: Price(100 * UNIT),
        amount: Amount(2 * UNIT),
        profit: i128::from(i64::MAX) * 1_000,
        tick_direction: 2,
        mark_price: Price(99 * UNIT),
        timestamp_ns: 10,
        is_self_trade: true,
    }
}

const ANSWERING: Answering =
    Answering { correlation_id: Some(7), template_id: 20, received_unix_ns: 21, sent_unix_ns: 22 };

#[test]
fn an_acknowledgement_says_what_it_answers_and_the_order_as_it_is_with_its_fills() {
    let (mut ack, mut message) = (Vec::new(), b"before".to_vec());
    write_order_ack(&mut ack, &order(), true, &[fill(), fill()]);
    write_ack_for(&mut message, &ack, ANSWERING);
    let view = OrderAckView::decode(&message[6..]).unwrap();
    let told = view.fields().unwrap();
    assert_eq!((told.correlation_id, told.received_time, told.sending_time), (7, 21, 22));
    assert_eq!((told.order_id, told.instrument_id, view.label()), (42, 3, "mine"));
    assert_eq!((told.price, told.amount), (Some(Price(101 * UNIT)), Amount(4 * UNIT)));
    assert_eq!((told.filled_amount, told.average_price), (Amount(3 * UNIT), Price(100_333_333_333)));
    assert_eq!((told.created_time, told.updated_time), (11, 12));
    assert_eq!((told.ord_status, told.cancel_reason), (OrdStatus::Cancelled, Some(CancelReason::Immediate)));
    assert_eq!(
        (told.side, told.ord_type, told.time_in_force, told.post_only),
        (
            generated::Side::Buy,
            generated::OrdType::Limit,
            generated::TimeInForce::ImmediateOrCancel,
            generated::PostOnly::No
        )
    );
    let flags = OrderFlags { reduce_only: true, replaced: true, repeated: true, self_trade: false };
    assert_eq!(told.flags, flags);
    let fills: Vec<OrderFill> = view.fills().iter().map(Result::unwrap).collect();
    assert_eq!(fills.len(), 2);
    assert_eq!((fills[0].trade_seq, fills[0].event_time, fills[0].amount), (5, 10, Amount(2 * UNIT)));
    assert_eq!((fills[0].price, fills[0].mark_price), (Price(100 * UNIT), Price(99 * UNIT)));
    assert_eq!(fills[0].profit, Decimal { mantissa: i64::MAX, exponent: -6 });
    assert_eq!(
        (fills[0].liquidity, fills[0].tick_direction),
        (generated::Liquidity::Taker, generated::TickDirection::Minus)
    );
}

#[test]
fn an_order_that_rests_is_open_until_something_of_it_is_filled() {
    for (filled, status) in [(0, OrdStatus::Open), (1, OrdStatus::PartiallyFilled)] {
        let mut ack = Vec::new();
        let order = Order { state: OrderState::Open, filled: Amount(filled), filled_notional: 0, ..order() };
        write_order_ack(&mut ack, &order, false, []);
        assert_eq!(OrderAckView::decode(&ack).unwrap().ord_status(), Ok(status));
        assert_eq!(OrderAckView::decode(&ack).unwrap().average_price(), Price(0));
    }
}

#[test]
fn a_reject_says_what_the_error_in_json_does() {
    let cases = [
        (OrderRefusal::OrderNotFound, None, None),
        (OrderRefusal::OutcomeUnknown { order: OrderId(42) }, Some(42), None),
        (OrderRefusal::TooManyRequests { credits_left: 1, retry_after_ms: 2 }, None, Some((1, 2))),
        (OrderRefusal::InvalidAmount, None, None),
    ];
    for (refusal, order, credits) in cases {
        let failure = crate::dialect::json_rpc::order_failure(refusal);
        let mut message = Vec::new();
        write_reject(&mut message, failure, ANSWERING);
        let view = RejectView::decode(&message).unwrap();
        let told = view.fields().unwrap();
        assert_eq!((told.correlation_id, told.ref_template_id), (Some(7), Some(20)));
        assert_eq!((told.received_time, told.sending_time), (21, 22));
        assert_eq!((told.code, view.message()), (failure.code, failure.message));
        assert_eq!(view.reason(), failure.reason.unwrap_or_default());
        assert_eq!(view.param(), failure.param.unwrap_or_default());
        assert_eq!((told.order_id, told.credits_left.zip(told.retry_after_ms)), (order, credits));
    }
}

#[test]
fn reports_stand_at_their_place_and_those_of_one_orders_fills_are_equally_long() {
    let place = ReportPlace { epoch: Epoch(31), seq: Seq(33), prev_seq: Seq(32), unix_ns: 34 };
    let (mut report, mut message) = (Vec::new(), Vec::new());
    write_order_report(&mut report, &order(), ExecType::Cancelled);
    write_report_at(&mut message, &report, place);
    let view = ExecutionReportView::decode(&message).unwrap();
    let told = view.fields().unwrap();
    assert_eq!((told.epoch, told.seq, told.prev_seq, told.sending_time), (31, 33, 32, 34));
    assert_eq!((told.exec_type, told.ord_status), (generated::ExecType::Cancelled, OrdStatus::Cancelled));
    assert_eq!((told.amount, told.filled_amount), (Some(Amount(4 * UNIT)), Some(Amount(3 * UNIT))));
    assert_eq!((told.trade_seq, told.last_price, told.profit, told.liquidity), (None, None, None, None));
    assert_eq!(
        (told.order_id, told.cancel_reason, view.label()),
        (42, Some(CancelReason::Immediate), "mine")
    );

    let mut reports = Vec::new();
    write_fill_report(&mut reports, &fill());
    let report_bytes = reports.len();
    write_fill_report(&mut reports, &Fill { profit: -1, state: OrderState::Filled, ..fill() });
    assert_eq!(reports.len(), 2 * report_bytes);
    for (report, status) in
        reports.chunks_exact(report_bytes).zip([OrdStatus::PartiallyFilled, OrdStatus::Filled])
    {
        message.clear();
        write_report_at(&mut message, report, place);
        let view = ExecutionReportView::decode(&message).unwrap();
        let told = view.fields().unwrap();
        assert_eq!((told.epoch, told.seq, told.prev_seq, told.sending_time), (31, 33, 32, 34));
        assert_eq!((told.exec_type, told.ord_status), (generated::ExecType::Trade, status));
        assert_eq!(
            (told.amount, told.price, told.filled_amount, told.created_time),
            (None, None, None, None)
        );
        assert_eq!((told.trade_seq, told.last_price), (Some(5), Some(Price(100 * UNIT))));
        assert_eq!((told.last_amount, told.mark_price), (Some(Amount(2 * UNIT)), Some(Price(99 * UNIT))));
        assert!(told.flags.self_trade && told.flags.reduce_only);
        assert_eq!(view.label(), "mine");
    }
}
