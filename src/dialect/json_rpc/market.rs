//! The market's values: tickers, quotes, books and trades, as results and as the data of notifications. PURE.
//!
//! Prices carry at least the instrument's price decimals and amounts its amount decimals, digits never lost. Timestamps
//! are the feed's, in milliseconds. Where a side is empty its best price is null and its best amount 0; where nothing
//! traded, last price and the day's extremes are null. A simulated venue has no index of its own: the index price is
//! the mark price.

use super::checksum::checksum_at_end;
use super::methods::{LastTradesParams, Sorting};
use super::text::{push, push_list, push_price, push_string, push_unsigned};
use crate::model::book::{Level, LevelAction, LevelUpdate, Side};
use crate::model::channel::{Checksum, Depth, Group};
use crate::model::decimal::write_units;
use crate::model::grouping::{GroupedLevel, grouped_asks, grouped_bids};
use crate::model::ids::Seq;
use crate::model::instrument::Instrument;
use crate::model::market::{InstrumentState, Trade};

const NS_PER_MS: u64 = 1_000_000;

/// `public/ticker` and `ticker.{i}.{interval}`.
pub fn write_ticker(out: &mut Vec<u8>, state: &InstrumentState) {
    push(out, "{\"timestamp\":");
    push_unsigned(out, state.timestamp_ns / NS_PER_MS);
    write_summary(out, state);
    write_best(out, state);
    out.push(b'}');
}

/// `quote.{i}`.
pub fn write_quote(out: &mut Vec<u8>, state: &InstrumentState) {
    push(out, "{\"timestamp\":");
    push_unsigned(out, state.timestamp_ns / NS_PER_MS);
    write_name(out, state);
    write_best(out, state);
    out.push(b'}');
}

/// `public/get_order_book`: at most `depth` levels of each side.
pub fn write_order_book(out: &mut Vec<u8>, state: &InstrumentState, depth: u16) {
    let levels_max = usize::from(depth);
    push(out, "{\"timestamp\":");
    push_unsigned(out, state.timestamp_ns / NS_PER_MS);
    push(out, ",\"change_id\":");
    push_unsigned(out, state.change_id.0);
    write_summary(out, state);
    write_best(out, state);
    let mut pair = |out: &mut Vec<u8>, level: Level| write_pair(out, state, level);
    push(out, ",\"bids\":[");
    push_list(out, state.book.bids().take(levels_max), &mut pair);
    push(out, "],\"asks\":[");
    push_list(out, state.book.asks().take(levels_max), &mut pair);
    push(out, "]}");
}

/// The first notification of `book.{i}.{interval}`: the whole book, each level `["new",price,amount]`.
pub fn write_book_snapshot(out: &mut Vec<u8>, state: &InstrumentState, checksum: Checksum) {
    push(out, "{\"type\":\"snapshot\",\"timestamp\":");
    push_unsigned(out, state.timestamp_ns / NS_PER_MS);
    write_name(out, state);
    push(out, ",\"change_id\":");
    push_unsigned(out, state.change_id.0);
    let mut triple = |out: &mut Vec<u8>, level: Level| {
        push(out, "[\"new\",");
        level.price.write(out, state.definition.price_decimals);
        out.push(b',');
        level.amount.write(out, state.definition.amount_decimals);
        out.push(b']');
    };
    push(out, ",\"bids\":[");
    push_list(out, state.book.bids(), &mut triple);
    push(out, "],\"asks\":[");
    push_list(out, state.book.asks(), &mut triple);
    out.push(b']');
    write_checksum(out, state, checksum);
    out.push(b'}');
}

/// A later notification of `book.{i}.{interval}`: what changed since `prev_change_id`. The state is the one after the
/// changes; a change that is [`LevelAction::Unchanged`] is left out.
pub fn write_book_change(
    out: &mut Vec<u8>,
    state: &InstrumentState,
    prev_change_id: Seq,
    change_id: Seq,
    changes: &[(LevelAction, LevelUpdate)],
    checksum: Checksum,
) {
    push(out, "{\"type\":\"change\",\"timestamp\":");
    push_unsigned(out, state.timestamp_ns / NS_PER_MS);
    write_name(out, state);
    push(out, ",\"change_id\":");
    push_unsigned(out, change_id.0);
    push(out, ",\"prev_change_id\":");
    push_unsigned(out, prev_change_id.0);
    for (name, side) in [(",\"bids\":[", Side::Bid), (",\"asks\":[", Side::Ask)] {
        push(out, name);
        let told = changes
            .iter()
            .filter(|(action, update)| update.side == side && *action != LevelAction::Unchanged);
        push_list(out, told, |out, (action, update)| write_level_change(out, state, *action, *update));
        out.push(b']');
    }
    write_checksum(out, state, checksum);
    out.push(b'}');
}

/// `book.{i}.{group}.{depth}.{interval}`: levels in groups of ticks, bids rounded down, asks up, amounts added.
pub fn write_grouped_book(out: &mut Vec<u8>, state: &InstrumentState, group: Group, depth: Depth) {
    push(out, "{\"timestamp\":");
    push_unsigned(out, state.timestamp_ns / NS_PER_MS);
    write_name(out, state);
    push(out, ",\"change_id\":");
    push_unsigned(out, state.change_id.0);
    let mut level = |out: &mut Vec<u8>, level: GroupedLevel| {
        out.push(b'[');
        write_units(out, level.price, state.definition.price_decimals);
        out.push(b',');
        write_units(out, level.amount, state.definition.amount_decimals);
        out.push(b']');
    };
    push(out, ",\"bids\":[");
    push_list(out, grouped_bids(state, group, depth), &mut level);
    push(out, "],\"asks\":[");
    push_list(out, grouped_asks(state, group, depth), &mut level);
    push(out, "]}");
}

/// `trades.{i}.{interval}`: the trades of one notification, oldest first.
pub fn write_trades<'t>(
    out: &mut Vec<u8>,
    state: &InstrumentState,
    trades: impl IntoIterator<Item = &'t Trade>,
) {
    out.push(b'[');
    push_list(out, trades, |out, trade| write_trade(out, state, trade));
    out.push(b']');
}

/// `public/get_last_trades_by_instrument`, out of the trades that are kept. `has_more` tells whether the range holds
/// kept trades beyond `count`.
pub fn write_last_trades(out: &mut Vec<u8>, state: &InstrumentState, asked: &LastTradesParams<'_>) {
    let count_max = usize::from(asked.count);
    let in_range = |trade: &&Trade| {
        let timestamp_ms = trade.timestamp_ns / NS_PER_MS;
        asked.start_seq.is_none_or(|start| start <= trade.trade_seq.0)
            && asked.end_seq.is_none_or(|end| trade.trade_seq.0 <= end)
            && asked.start_timestamp_ms.is_none_or(|start| start <= timestamp_ms)
            && asked.end_timestamp_ms.is_none_or(|end| timestamp_ms <= end)
    };
    push(out, "{\"trades\":");
    match asked.sorting {
        Sorting::Ascending => write_trades(out, state, state.trades().filter(in_range).take(count_max)),
        Sorting::Descending => {
            write_trades(out, state, state.trades().rev().filter(in_range).take(count_max));
        }
    }
    let has_more = state.trades().filter(in_range).nth(count_max).is_some();
    push(out, if has_more { ",\"has_more\":true}" } else { ",\"has_more\":false}" });
}

/// A trade's id: `"ESH4-17"`, the same in what everybody and in what its parties are told.
pub(super) fn write_trade_id(out: &mut Vec<u8>, instrument: &Instrument, trade_seq: Seq) {
    out.push(b'"');
    out.extend_from_slice(instrument.name.as_bytes());
    out.push(b'-');
    push_unsigned(out, trade_seq.0);
    out.push(b'"');
}

fn write_name(out: &mut Vec<u8>, state: &InstrumentState) {
    push(out, ",\"instrument_name\":\"");
    out.extend_from_slice(state.definition.name.as_bytes());
    out.push(b'"');
}

/// What `ticker` and `get_order_book` share, but for the best prices.
fn write_summary(out: &mut Vec<u8>, state: &InstrumentState) {
    let decimals = state.definition.price_decimals;
    let mark_price = state.mark_price();
    write_name(out, state);
    push(out, ",\"state\":\"");
    push(out, state.state.as_str());
    push(out, "\",\"stats\":");
    write_stats(out, state);
    push(out, ",\"last_price\":");
    push_price(out, state.last_trade().map(|trade| trade.price), decimals);
    for name in [",\"mark_price\":", ",\"index_price\":", ",\"estimated_delivery_price\":"] {
        push(out, name);
        mark_price.write(out, decimals);
    }
    push(out, ",\"open_interest\":0,\"min_price\":0,\"max_price\":9223372036");
}

fn write_best(out: &mut Vec<u8>, state: &InstrumentState) {
    let (bid, ask) = (state.book.best_bid(), state.book.best_ask());
    for (price_name, amount_name, level) in [
        (",\"best_bid_price\":", ",\"best_bid_amount\":", bid),
        (",\"best_ask_price\":", ",\"best_ask_amount\":", ask),
    ] {
        push(out, price_name);
        push_price(out, level.map(|level| level.price), state.definition.price_decimals);
        push(out, amount_name);
        match level {
            Some(level) => level.amount.write(out, state.definition.amount_decimals),
            None => out.push(b'0'),
        }
    }
}

fn write_stats(out: &mut Vec<u8>, state: &InstrumentState) {
    let (stats, decimals) = (state.stats(), state.definition.price_decimals);
    push(out, "{\"volume\":");
    write_units(out, stats.volume, state.definition.amount_decimals);
    for name in [",\"volume_usd\":", ",\"volume_notional\":"] {
        push(out, name);
        write_units(out, stats.turnover, 0);
    }
    push(out, ",\"price_change\":");
    match state.change_percent() {
        Some(percent) => write_units(out, percent, 4),
        None => push(out, "null"),
    }
    push(out, ",\"high\":");
    push_price(out, stats.extremes.map(|extremes| extremes.high), decimals);
    push(out, ",\"low\":");
    push_price(out, stats.extremes.map(|extremes| extremes.low), decimals);
    out.push(b'}');
}

fn write_pair(out: &mut Vec<u8>, state: &InstrumentState, level: Level) {
    out.push(b'[');
    level.price.write(out, state.definition.price_decimals);
    out.push(b',');
    level.amount.write(out, state.definition.amount_decimals);
    out.push(b']');
}

fn write_level_change(out: &mut Vec<u8>, state: &InstrumentState, action: LevelAction, update: LevelUpdate) {
    let (word, amount) = match action {
        LevelAction::New => ("[\"new\",", Some(update.amount)),
        LevelAction::Change => ("[\"change\",", Some(update.amount)),
        LevelAction::Delete | LevelAction::Unchanged => ("[\"delete\",", None),
    };
    push(out, word);
    update.price.write(out, state.definition.price_decimals);
    out.push(b',');
    match amount {
        Some(amount) => amount.write(out, state.definition.amount_decimals),
        None => out.push(b'0'),
    }
    out.push(b']');
}

fn write_checksum(out: &mut Vec<u8>, state: &InstrumentState, checksum: Checksum) {
    match checksum {
        Checksum::Absent => {}
        Checksum::Crc32 => {
            let crc = checksum_at_end(out, &state.book, &state.definition);
            push(out, ",\"checksum\":");
            push_unsigned(out, u64::from(crc));
        }
    }
}

fn write_trade(out: &mut Vec<u8>, state: &InstrumentState, trade: &Trade) {
    let decimals = state.definition.price_decimals;
    push(out, "{\"trade_seq\":");
    push_unsigned(out, trade.trade_seq.0);
    push(out, ",\"trade_id\":");
    write_trade_id(out, &state.definition, trade.trade_seq);
    push(out, ",\"timestamp\":");
    push_unsigned(out, trade.timestamp_ns / NS_PER_MS);
    push(out, ",\"price\":");
    trade.price.write(out, decimals);
    push(out, ",\"amount\":");
    trade.amount.write(out, state.definition.amount_decimals);
    push(out, ",\"direction\":");
    push_string(out, trade.direction.as_str());
    write_name(out, state);
    push(out, ",\"tick_direction\":");
    push_unsigned(out, u64::from(trade.tick_direction));
    for name in [",\"mark_price\":", ",\"index_price\":"] {
        push(out, name);
        trade.mark_price.write(out, decimals);
    }
    out.push(b'}');
}
