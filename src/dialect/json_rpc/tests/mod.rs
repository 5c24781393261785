//! The dialect as texts: what comes in, what goes out. Each output is read back by an independent parser.

mod decoding;
mod documented;
mod login;
mod messages;
mod notifications;
mod order_calls;
mod orders;
mod refusals;
mod replies;

use std::sync::Arc;

use serde_json::Value;

use crate::model::book::{LevelAction, LevelUpdate, Side};
use crate::model::decimal::{Amount, Price};
use crate::model::ids::Seq;
use crate::model::instrument::{Instrument, InstrumentKind, Symbol};
use crate::model::market::{Direction, InstrumentState};

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text.as_bytes()).unwrap()
}

fn price(text: &str) -> Price {
    Price::parse(text.as_bytes()).unwrap()
}

fn amount(text: &str) -> Amount {
    Amount::parse(text.as_bytes()).unwrap()
}

fn future() -> Instrument {
    Instrument {
        name: symbol("ESH4"),
        kind: InstrumentKind::Future,
        base_currency: symbol("ES"),
        quote_currency: symbol("USD"),
        tick_size: price("0.25"),
        price_decimals: 2,
        min_trade_amount: amount("1"),
        amount_decimals: 0,
        contract_size: amount("50"),
        creation_timestamp_ms: 1_500_000_000_000,
        expiration_timestamp_ms: Some(1_710_000_000_000),
    }
}

fn update(side: Side, at: &str, size: &str) -> LevelUpdate {
    LevelUpdate { side, price: price(at), amount: amount(size) }
}

fn empty_market() -> InstrumentState {
    let mut state = InstrumentState::new(Arc::new(future()));
    state.timestamp_ns = 1_700_000_000_123_456_789;
    state
}

/// Two levels a side, two trades.
fn market() -> InstrumentState {
    let mut state = empty_market();
    for level in [
        update(Side::Bid, "4810.00", "22"),
        update(Side::Bid, "4809.75", "31"),
        update(Side::Ask, "4810.25", "28"),
        update(Side::Ask, "4810.50", "40"),
    ] {
        assert_eq!(state.apply_level(level), LevelAction::New);
    }
    state.change_id = Seq(7);
    for (at, direction) in [("4800.00", Direction::Buy), ("4810.25", Direction::Sell)] {
        let trade = state.stamp_trade(price(at), amount("3"), direction, 1_700_000_000_000_000_000);
        state.record_trade(trade);
    }
    state
}

/// What a writer writes, as text that another parser accepts.
fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    let read: Result<Value, _> = serde_json::from_slice(&out);
    let text = String::from_utf8(out).unwrap();
    assert!(read.is_ok(), "{read:?} in {text}");
    text
}
