//! One frame of each message, in `samples.txt`, which a decoder that nobody here wrote reads (`check.py`): what it is to find in them is
//! written there by hand.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tickring::dialect::sbe::generated::*;
use tickring::dialect::sbe::wire::Decimal;
use tickring::model::decimal::{Amount, Price};

const EPOCH: u64 = 1_795_242_557_732;
const NS: u64 = 1_795_242_557_734_542_168;

fn frame(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

fn market() -> Vec<(&'static str, Vec<u8>)> {
    let ticker = Ticker {
        epoch: EPOCH,
        seq: 1,
        sending_time: NS,
        event_time: NS - 1,
        instrument_id: 7,
        interval: Interval::Ms100,
        state: MarketState::Open,
        bid_price: Some(Price(64_000_500_000_000)),
        bid_amount: Amount(30_000_000_000),
        ask_price: None,
        ask_amount: Amount(0),
        last_price: Some(Price(-1)),
        mark_price: Price(64_000_250_000_000),
        high: None,
        low: Some(Price(63_000_000_000_000)),
        volume: Decimal::from_units(5_500_000_000),
        turnover: Decimal::from_units(12_345_678_901_234_567_890_123),
        price_change: None,
    };
    let quote = Quote {
        epoch: EPOCH,
        seq: 2,
        sending_time: NS,
        event_time: NS - 2,
        instrument_id: 8,
        bid_price: None,
        bid_amount: Amount(0),
        ask_price: Some(Price(1_121_050_000)),
        ask_amount: Amount(1),
    };
    vec![("Ticker", frame(|out| ticker.encode(out))), ("Quote", frame(|out| quote.encode(out)))]
}

fn trades_and_books() -> Vec<(&'static str, Vec<u8>)> {
    let (epoch, sending_time, event_time, instrument_id) = (EPOCH, NS, NS - 3, 7);
    let trade = |trade_seq, side, tick_direction| TradeEntry {
        trade_seq,
        event_time: NS - trade_seq,
        price: Price(64_000_000_000_000),
        amount: Amount(10_000_000_000),
        mark_price: Price(64_000_250_000_000),
        side,
        tick_direction,
    };
    let trades = [trade(4, Side::Buy, TickDirection::ZeroPlus), trade(5, Side::Sell, TickDirection::Minus)];
    let head = Trade { epoch, seq: 3, sending_time, instrument_id, interval: Interval::Raw };
    let level = |price, amount| BookLevel { price: Price(price), amount: Amount(amount) };
    let snapshot = BookSnapshot {
        epoch,
        seq: 4,
        sending_time,
        event_time,
        change_id: 11,
        checksum: Some(u64::from(u32::MAX)),
        instrument_id,
        group_ticks: Some(0),
        depth: None,
        interval: Interval::Agg2,
    };
    let change = |price, amount, action| BookChange { price: Price(price), amount: Amount(amount), action };
    let delta = BookDelta {
        epoch,
        seq: 5,
        sending_time,
        event_time,
        change_id: 12,
        prev_change_id: 11,
        checksum: None,
        instrument_id,
        interval: Interval::Raw,
    };
    let changes = [change(2, 3, LevelAction::New), change(4, 0, LevelAction::Delete)];
    vec![
        ("Trade", frame(|out| head.encode(out, trades))),
        ("BookSnapshot", frame(|out| snapshot.encode(out, [level(9, 1), level(8, 2)], [level(10, 3)]))),
        ("BookDelta", frame(|out| delta.encode(out, [], changes))),
    ]
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let order = NewOrder {
        correlation_id: 101,
        price: Some(Price(64_000_500_000_000)),
        amount: Amount(30_000_000_000),
        valid_until: None,
        instrument_id: 7,
        side: Side::Sell,
        ord_type: OrdType::Limit,
        time_in_force: TimeInForce::FillOrKill,
        post_only: PostOnly::Slide,
        flags: OrderFlags { reduce_only: true, ..OrderFlags::default() },
    };
    let amendment = AmendOrder {
        correlation_id: 102,
        order_id: None,
        price: None,
        amount: Some(Amount(20_000_000_000)),
        valid_until: Some(NS),
        instrument_id: Some(7),
        post_only: None,
        reduce_only: Some(Flag::Yes),
    };
    let cancel = CancelOrder { correlation_id: 103, order_id: 17, valid_until: None };
    vec![
        ("NewOrder", frame(|out| order.encode(out, "Ordre n° 7"))),
        ("AmendOrder", frame(|out| amendment.encode(out, "mine-1"))),
        ("CancelOrder", frame(|out| cancel.encode(out))),
    ]
}

fn order_ack() -> Vec<u8> {
    let ack = OrderAck {
        correlation_id: 101,
        received_time: NS - 9,
        sending_time: NS,
        order_id: 17,
        price: None,
        amount: Amount(30_000_000_000),
        filled_amount: Amount(10_000_000_000),
        average_price: Price(64_000_500_000_000),
        created_time: NS - 8,
        updated_time: NS - 7,
        instrument_id: 7,
        ord_status: OrdStatus::PartiallyFilled,
        side: Side::Buy,
        ord_type: OrdType::Market,
        time_in_force: TimeInForce::ImmediateOrCancel,
        post_only: PostOnly::No,
        cancel_reason: None,
        flags: OrderFlags { replaced: true, self_trade: true, ..OrderFlags::default() },
    };
    let fill = OrderFill {
        trade_seq: 9,
        event_time: NS - 7,
        price: Price(64_000_500_000_000),
        amount: Amount(10_000_000_000),
        mark_price: Price(64_000_250_000_000),
        profit: Decimal::from_units(-2_500_000_000),
        liquidity: Liquidity::Taker,
        tick_direction: TickDirection::Plus,
    };
    frame(|out| ack.encode(out, [fill], "mine-1"))
}

fn execution_report() -> Vec<u8> {
    let report = ExecutionReport {
        epoch: EPOCH,
        seq: 30,
        prev_seq: 28,
        sending_time: NS,
        order_id: 17,
        price: Some(Price(64_000_500_000_000)),
        amount: None,
        filled_amount: Some(Amount(10_000_000_000)),
        average_price: None,
        created_time: None,
        updated_time: NS - 7,
        trade_seq: Some(9),
        last_price: Some(Price(64_000_500_000_000)),
        last_amount: Some(Amount(10_000_000_000)),
        mark_price: None,
        profit: Some(Decimal::from_units(0)),
        instrument_id: 7,
        exec_type: ExecType::Trade,
        ord_status: OrdStatus::Unknown,
        side: Side::Sell,
        ord_type: OrdType::Limit,
        time_in_force: None,
        post_only: PostOnly::Reject,
        cancel_reason: Some(CancelReason::Halted),
        flags: OrderFlags { repeated: true, ..OrderFlags::default() },
        liquidity: Some(Liquidity::Maker),
        tick_direction: None,
    };
    frame(|out| report.encode(out, ""))
}

fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let reject = Reject {
        correlation_id: None,
        received_time: NS - 9,
        sending_time: NS,
        order_id: None,
        code: -32_602,
        credits_left: Some(0),
        retry_after_ms: Some(250),
        ref_template_id: Some(20),
    };
    vec![
        ("OrderAck", order_ack()),
        ("Reject", frame(|out| reject.encode(out, "Invalid params", "wrong format", "side"))),
        ("ExecutionReport", execution_report()),
    ]
}

fn notices() -> Vec<(&'static str, Vec<u8>)> {
    let heartbeat = Heartbeat { sending_time: NS, kind: HeartbeatKind::TestRequest };
    let gap = GapNotice {
        epoch: EPOCH,
        begin_seq: 6,
        end_seq: 8,
        sending_time: NS,
        instrument_id: None,
        channel: Channel::UserTrades,
        interval: None,
        group_ticks: Some(250),
        depth: Some(20),
    };
    vec![("Heartbeat", frame(|out| heartbeat.encode(out))), ("GapNotice", frame(|out| gap.encode(out)))]
}

#[test]
fn the_samples_are_what_the_codecs_write() {
    let mut text = String::new();
    for (name, frame) in [notices(), market(), trades_and_books(), requests(), answers()].concat() {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(text, "{name} {hex}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sbe/samples.txt");
    if std::env::var_os("TICKRING_WRITE_DOCS").is_some() {
        fs::write(&path, &text).expect("the samples can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "tests/sbe/samples.txt is not what the codecs write");
}
