//! Any values of the messages, for tests. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::*;
use crate::dialect::sbe::tests::{Choices, Sample};
use crate::dialect::sbe::wire::Decimal;
use crate::model::decimal::{Amount, Price};

impl Sample for Heartbeat {
    fn sample(choices: &mut Choices) -> Heartbeat {
        Heartbeat {
            sending_time: u64::from_le_bytes(choices.bytes()),
            kind: choices.one_of(HeartbeatKind::ALL),
        }
    }
}

impl Sample for GapNotice {
    fn sample(choices: &mut Choices) -> GapNotice {
        GapNotice {
            epoch: u64::from_le_bytes(choices.bytes()),
            begin_seq: u64::from_le_bytes(choices.bytes()),
            end_seq: u64::from_le_bytes(choices.bytes()),
            sending_time: u64::from_le_bytes(choices.bytes()),
            instrument_id: choices.maybe(|choices| u32::from_le_bytes(choices.bytes())),
            channel: choices.one_of(Channel::ALL),
            interval: choices.maybe(|choices| choices.one_of(Interval::ALL)),
            group_ticks: choices.maybe(|choices| u16::from_le_bytes(choices.bytes())),
            depth: choices.maybe(|choices| u8::from_le_bytes(choices.bytes())),
        }
    }
}

impl Sample for Ticker {
    fn sample(choices: &mut Choices) -> Ticker {
        Ticker {
            epoch: u64::from_le_bytes(choices.bytes()),
            seq: u64::from_le_bytes(choices.bytes()),
            sending_time: u64::from_le_bytes(choices.bytes()),
            event_time: u64::from_le_bytes(choices.bytes()),
            instrument_id: u32::from_le_bytes(choices.bytes()),
            interval: choices.one_of(Interval::ALL),
            state: choices.one_of(MarketState::ALL),
            bid_price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            bid_amount: Amount(i64::from_le_bytes(choices.bytes())),
            ask_price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            ask_amount: Amount(i64::from_le_bytes(choices.bytes())),
            last_price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            mark_price: Price(i64::from_le_bytes(choices.bytes())),
            high: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            low: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            volume: Decimal::from_bytes(choices.bytes()),
            turnover: Decimal::from_bytes(choices.bytes()),
            price_change: choices.maybe(|choices| Decimal::from_bytes(choices.bytes())),
        }
    }
}

impl Sample for Quote {
    fn sample(choices: &mut Choices) -> Quote {
        Quote {
            epoch: u64::from_le_bytes(choices.bytes()),
            seq: u64::from_le_bytes(choices.bytes()),
            sending_time: u64::from_le_bytes(choices.bytes()),
            event_time: u64::from_le_bytes(choices.bytes()),
            instrument_id: u32::from_le_bytes(choices.bytes()),
            bid_price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            bid_amount: Amount(i64::from_le_bytes(choices.bytes())),
            ask_price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            ask_amount: Amount(i64::from_le_bytes(choices.bytes())),
        }
    }
}

impl Sample for Trade {
    fn sample(choices: &mut Choices) -> Trade {
        Trade {
            epoch: u64::from_le_bytes(choices.bytes()),
            seq: u64::from_le_bytes(choices.bytes()),
            sending_time: u64::from_le_bytes(choices.bytes()),
            instrument_id: u32::from_le_bytes(choices.bytes()),
            interval: choices.one_of(Interval::ALL),
        }
    }
}

impl Sample for TradeEntry {
    fn sample(choices: &mut Choices) -> TradeEntry {
        TradeEntry {
            trade_seq: u64::from_le_bytes(choices.bytes()),
            event_time: u64::from_le_bytes(choices.bytes()),
            price: Price(i64::from_le_bytes(choices.bytes())),
            amount: Amount(i64::from_le_bytes(choices.bytes())),
            mark_price: Price(i64::from_le_bytes(choices.bytes())),
            side: choices.one_of(Side::ALL),
            tick_direction: choices.one_of(TickDirection::ALL),
        }
    }
}

impl Sample for BookSnapshot {
    fn sample(choices: &mut Choices) -> BookSnapshot {
        BookSnapshot {
            epoch: u64::from_le_bytes(choices.bytes()),
            seq: u64::from_le_bytes(choices.bytes()),
            sending_time: u64::from_le_bytes(choices.bytes()),
            event_time: u64::from_le_bytes(choices.bytes()),
            change_id: u64::from_le_bytes(choices.bytes()),
            checksum: choices.maybe(|choices| u64::from_le_bytes(choices.bytes())),
            instrument_id: u32::from_le_bytes(choices.bytes()),
            group_ticks: choices.maybe(|choices| u16::from_le_bytes(choices.bytes())),
            depth: choices.maybe(|choices| u8::from_le_bytes(choices.bytes())),
            interval: choices.one_of(Interval::ALL),
        }
    }
}

impl Sample for BookLevel {
    fn sample(choices: &mut Choices) -> BookLevel {
        BookLevel {
            price: Price(i64::from_le_bytes(choices.bytes())),
            amount: Amount(i64::from_le_bytes(choices.bytes())),
        }
    }
}

impl Sample for BookDelta {
    fn sample(choices: &mut Choices) -> BookDelta {
        BookDelta {
            epoch: u64::from_le_bytes(choices.bytes()),
            seq: u64::from_le_bytes(choices.bytes()),
            sending_time: u64::from_le_bytes(choices.bytes()),
            event_time: u64::from_le_bytes(choices.bytes()),
            change_id: u64::from_le_bytes(choices.bytes()),
            prev_change_id: u64::from_le_bytes(choices.bytes()),
            checksum: choices.maybe(|choices| u64::from_le_bytes(choices.bytes())),
            instrument_id: u32::from_le_bytes(choices.bytes()),
            interval: choices.one_of(Interval::ALL),
        }
    }
}

impl Sample for BookChange {
    fn sample(choices: &mut Choices) -> BookChange {
        BookChange {
            price: Price(i64::from_le_bytes(choices.bytes())),
            amount: Amount(i64::from_le_bytes(choices.bytes())),
            action: choices.one_of(LevelAction::ALL),
        }
    }
}

impl Sample for NewOrder {
    fn sample(choices: &mut Choices) -> NewOrder {
        NewOrder {
            correlation_id: u64::from_le_bytes(choices.bytes()),
            price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            amount: Amount(i64::from_le_bytes(choices.bytes())),
            valid_until: choices.maybe(|choices| u64::from_le_bytes(choices.bytes())),
            instrument_id: u32::from_le_bytes(choices.bytes()),
            side: choices.one_of(Side::ALL),
            ord_type: choices.one_of(OrdType::ALL),
            time_in_force: choices.one_of(TimeInForce::ALL),
            post_only: choices.one_of(PostOnly::ALL),
            flags: OrderFlags::from_wire(choices.bytes()),
        }
    }
}

impl Sample for AmendOrder {
    fn sample(choices: &mut Choices) -> AmendOrder {
        AmendOrder {
            correlation_id: u64::from_le_bytes(choices.bytes()),
            order_id: choices.maybe(|choices| u64::from_le_bytes(choices.bytes())),
            price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            amount: choices.maybe(|choices| Amount(i64::from_le_bytes(choices.bytes()))),
            valid_until: choices.maybe(|choices| u64::from_le_bytes(choices.bytes())),
            instrument_id: choices.maybe(|choices| u32::from_le_bytes(choices.bytes())),
            post_only: choices.maybe(|choices| choices.one_of(PostOnly::ALL)),
            reduce_only: choices.maybe(|choices| choices.one_of(Flag::ALL)),
        }
    }
}

impl Sample for CancelOrder {
    fn sample(choices: &mut Choices) -> CancelOrder {
        CancelOrder {
            correlation_id: u64::from_le_bytes(choices.bytes()),
            order_id: u64::from_le_bytes(choices.bytes()),
            valid_until: choices.maybe(|choices| u64::from_le_bytes(choices.bytes())),
        }
    }
}

impl Sample for OrderAck {
    fn sample(choices: &mut Choices) -> OrderAck {
        OrderAck {
            correlation_id: u64::from_le_bytes(choices.bytes()),
            received_time: u64::from_le_bytes(choices.bytes()),
            sending_time: u64::from_le_bytes(choices.bytes()),
            order_id: u64::from_le_bytes(choices.bytes()),
            price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            amount: Amount(i64::from_le_bytes(choices.bytes())),
            filled_amount: Amount(i64::from_le_bytes(choices.bytes())),
            average_price: Price(i64::from_le_bytes(choices.bytes())),
            created_time: u64::from_le_bytes(choices.bytes()),
            updated_time: u64::from_le_bytes(choices.bytes()),
            instrument_id: u32::from_le_bytes(choices.bytes()),
            ord_status: choices.one_of(OrdStatus::ALL),
            side: choices.one_of(Side::ALL),
            ord_type: choices.one_of(OrdType::ALL),
            time_in_force: choices.one_of(TimeInForce::ALL),
            post_only: choices.one_of(PostOnly::ALL),
            cancel_reason: choices.maybe(|choices| choices.one_of(CancelReason::ALL)),
            flags: OrderFlags::from_wire(choices.bytes()),
        }
    }
}

impl Sample for OrderFill {
    fn sample(choices: &mut Choices) -> OrderFill {
        OrderFill {
            trade_seq: u64::from_le_bytes(choices.bytes()),
            event_time: u64::from_le_bytes(choices.bytes()),
            price: Price(i64::from_le_bytes(choices.bytes())),
            amount: Amount(i64::from_le_bytes(choices.bytes())),
            mark_price: Price(i64::from_le_bytes(choices.bytes())),
            profit: Decimal::from_bytes(choices.bytes()),
            liquidity: choices.one_of(Liquidity::ALL),
            tick_direction: choices.one_of(TickDirection::ALL),
        }
    }
}

impl Sample for Reject {
    fn sample(choices: &mut Choices) -> Reject {
        Reject {
            correlation_id: choices.maybe(|choices| u64::from_le_bytes(choices.bytes())),
            received_time: u64::from_le_bytes(choices.bytes()),
            sending_time: u64::from_le_bytes(choices.bytes()),
            order_id: choices.maybe(|choices| u64::from_le_bytes(choices.bytes())),
            code: i32::from_le_bytes(choices.bytes()),
            credits_left: choices.maybe(|choices| u32::from_le_bytes(choices.bytes())),
            retry_after_ms: choices.maybe(|choices| u32::from_le_bytes(choices.bytes())),
            ref_template_id: choices.maybe(|choices| u16::from_le_bytes(choices.bytes())),
        }
    }
}

impl Sample for ExecutionReport {
    fn sample(choices: &mut Choices) -> ExecutionReport {
        ExecutionReport {
            epoch: u64::from_le_bytes(choices.bytes()),
            seq: u64::from_le_bytes(choices.bytes()),
            prev_seq: u64::from_le_bytes(choices.bytes()),
            sending_time: u64::from_le_bytes(choices.bytes()),
            order_id: u64::from_le_bytes(choices.bytes()),
            price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            amount: choices.maybe(|choices| Amount(i64::from_le_bytes(choices.bytes()))),
            filled_amount: choices.maybe(|choices| Amount(i64::from_le_bytes(choices.bytes()))),
            average_price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            created_time: choices.maybe(|choices| u64::from_le_bytes(choices.bytes())),
            updated_time: u64::from_le_bytes(choices.bytes()),
            trade_seq: choices.maybe(|choices| u64::from_le_bytes(choices.bytes())),
            last_price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            last_amount: choices.maybe(|choices| Amount(i64::from_le_bytes(choices.bytes()))),
            mark_price: choices.maybe(|choices| Price(i64::from_le_bytes(choices.bytes()))),
            profit: choices.maybe(|choices| Decimal::from_bytes(choices.bytes())),
            instrument_id: u32::from_le_bytes(choices.bytes()),
            exec_type: choices.one_of(ExecType::ALL),
            ord_status: choices.one_of(OrdStatus::ALL),
            side: choices.one_of(Side::ALL),
            ord_type: choices.one_of(OrdType::ALL),
            time_in_force: choices.maybe(|choices| choices.one_of(TimeInForce::ALL)),
            post_only: choices.one_of(PostOnly::ALL),
            cancel_reason: choices.maybe(|choices| choices.one_of(CancelReason::ALL)),
            flags: OrderFlags::from_wire(choices.bytes()),
            liquidity: choices.maybe(|choices| choices.one_of(Liquidity::ALL)),
            tick_direction: choices.maybe(|choices| choices.one_of(TickDirection::ALL)),
        }
    }
}
