//! The market in SBE: tickers, quotes, books and trades as the messages that tell them. PURE.
//!
//! Prices and amounts have all their digits, in units of 1e-9. What JSON tells of an instrument by its name, this tells by its number,
//! and what JSON tells by the channel's name, by the message, its interval and, where it is grouped, its group and depth.

use crate::dialect::json_rpc;
use crate::model::book::{Level, LevelAction, LevelUpdate, Side};
use crate::model::channel::{Checksum, Depth, Group, Interval, MarketChannel};
use crate::model::decimal::{Amount, Price};
use crate::model::grouping::{GroupedLevel, grouped_asks, grouped_bids};
use crate::model::ids::{InstrumentId, Position, Seq};
use crate::model::market::{Direction, InstrumentState, MarketState, Trade};

use super::generated as message;
use super::wire::Decimal;

/// Where a message stands in a stream, and when it was stamped, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub position: Position,
    pub unix_ns: u64,
}

/// `ticker.{i}.{interval}`.
pub fn write_ticker(
    out: &mut Vec<u8>,
    instrument: InstrumentId,
    interval: Interval,
    state: &InstrumentState,
    stamp: Stamp,
) {
    let (bid, ask) = (state.book.best_bid(), state.book.best_ask());
    let stats = state.stats();
    let ticker = message::Ticker {
        epoch: stamp.position.epoch.0,
        seq: stamp.position.seq.0,
        sending_time: stamp.unix_ns,
        event_time: state.timestamp_ns,
        instrument_id: instrument.0,
        interval: written_interval(interval),
        state: match state.state {
            MarketState::Open => message::MarketState::Open,
            MarketState::Closed | MarketState::Delisted => message::MarketState::Closed,
        },
        bid_price: bid.map(|level| level.price),
        bid_amount: amount_of(bid),
        ask_price: ask.map(|level| level.price),
        ask_amount: amount_of(ask),
        last_price: state.last_trade().map(|trade| trade.price),
        mark_price: state.mark_price(),
        high: stats.extremes.map(|extremes| extremes.high),
        low: stats.extremes.map(|extremes| extremes.low),
        volume: Decimal::from_units(stats.volume),
        turnover: Decimal::from_units(stats.turnover),
        price_change: state.change_percent().map(Decimal::from_units),
    };
    ticker.encode(out);
}

/// `quote.{i}`.
#[inline]
pub fn write_quote(out: &mut Vec<u8>, instrument: InstrumentId, state: &InstrumentState, stamp: Stamp) {
    let (bid, ask) = (state.book.best_bid(), state.book.best_ask());
    let quote = message::Quote {
        epoch: stamp.position.epoch.0,
        seq: stamp.position.seq.0,
        sending_time: stamp.unix_ns,
        event_time: state.timestamp_ns,
        instrument_id: instrument.0,
        bid_price: bid.map(|level| level.price),
        bid_amount: amount_of(bid),
        ask_price: ask.map(|level| level.price),
        ask_amount: amount_of(ask),
    };
    quote.encode(out);
}

/// `trades.{i}.{interval}`: the trades of one notification, the oldest first.
pub fn write_trades(
    out: &mut Vec<u8>,
    instrument: InstrumentId,
    interval: Interval,
    trades: &[Trade],
    stamp: Stamp,
) {
    let head = message::Trade {
        epoch: stamp.position.epoch.0,
        seq: stamp.position.seq.0,
        sending_time: stamp.unix_ns,
        instrument_id: instrument.0,
        interval: written_interval(interval),
    };
    head.encode(out, trades.iter().map(trade_entry));
}

/// The whole of `book.{i}.{interval}`, the best levels first.
pub fn write_book_snapshot(
    out: &mut Vec<u8>,
    instrument: InstrumentId,
    interval: Interval,
    checksum: Checksum,
    state: &InstrumentState,
    stamp: Stamp,
) {
    let head = message::BookSnapshot {
        checksum: checksum_of(out, checksum, state),
        ..snapshot_head(instrument, interval, state, stamp)
    };
    let level = |level: Level| message::BookLevel { price: level.price, amount: level.amount };
    head.encode(out, state.book.bids().map(level), state.book.asks().map(level));
}

/// `book.{i}.{group}.{depth}.{interval}`. A price or an amount beyond 64 bits, which rounding up and adding may come to, is told as the
/// largest there is.
pub fn write_grouped_book(
    out: &mut Vec<u8>,
    instrument: InstrumentId,
    (group, depth, interval): (Group, Depth, Interval),
    state: &InstrumentState,
    stamp: Stamp,
) {
    let head = message::BookSnapshot {
        group_ticks: Some(group.ticks_or_none().unwrap_or(0)),
        depth: Some(written_depth(depth)),
        ..snapshot_head(instrument, interval, state, stamp)
    };
    let level = |level: GroupedLevel| message::BookLevel {
        price: Price(saturated(level.price)),
        amount: Amount(saturated(level.amount)),
    };
    let bids = grouped_bids(state, group, depth).map(level);
    head.encode(out, bids, grouped_asks(state, group, depth).map(level));
}

/// What changed of `book.{i}.{interval}` since `previous`; the state is the one after the changes.
pub fn write_book_change(
    out: &mut Vec<u8>,
    instrument: InstrumentId,
    (interval, checksum): (Interval, Checksum),
    state: &InstrumentState,
    (previous, changes): (Seq, &[(LevelAction, LevelUpdate)]),
    stamp: Stamp,
) {
    let head = message::BookDelta {
        epoch: stamp.position.epoch.0,
        seq: stamp.position.seq.0,
        sending_time: stamp.unix_ns,
        event_time: state.timestamp_ns,
        change_id: state.change_id.0,
        prev_change_id: previous.0,
        checksum: checksum_of(out, checksum, state),
        instrument_id: instrument.0,
        interval: written_interval(interval),
    };
    let of = |side: Side| {
        let own = changes.iter().filter(move |(_, update)| update.side == side);
        own.filter_map(|(action, update)| book_change(*action, *update))
    };
    head.encode(out, of(Side::Bid), of(Side::Ask));
}

/// That the events of a channel between two that are told are not.
pub fn write_gap_notice(
    out: &mut Vec<u8>,
    instrument: InstrumentId,
    channel: MarketChannel,
    (first, last): (Position, Seq),
    unix_ns: u64,
) {
    let (told, grouping) = match channel {
        MarketChannel::Ticker { .. } => (message::Channel::Ticker, None),
        MarketChannel::Quote => (message::Channel::Quote, None),
        MarketChannel::Trades { .. } => (message::Channel::Trades, None),
        MarketChannel::Book { .. } => (message::Channel::Book, None),
        MarketChannel::GroupedBook { group, depth, .. } => {
            (message::Channel::GroupedBook, Some((group, depth)))
        }
    };
    let notice = message::GapNotice {
        epoch: first.epoch.0,
        begin_seq: first.seq.0,
        end_seq: last.0,
        sending_time: unix_ns,
        instrument_id: Some(instrument.0),
        channel: told,
        interval: Some(written_interval(channel.interval())),
        group_ticks: grouping.map(|(group, _)| group.ticks_or_none().unwrap_or(0)),
        depth: grouping.map(|(_, depth)| written_depth(depth)),
    };
    notice.encode(out);
}

/// What the server says at the end of an interval of `public/set_heartbeat`.
pub fn write_heartbeat(out: &mut Vec<u8>, kind: json_rpc::Heartbeat, unix_ns: u64) {
    let kind = match kind {
        json_rpc::Heartbeat::Beat => message::HeartbeatKind::Beat,
        json_rpc::Heartbeat::TestRequest => message::HeartbeatKind::TestRequest,
    };
    message::Heartbeat { sending_time: unix_ns, kind }.encode(out);
}

fn snapshot_head(
    instrument: InstrumentId,
    interval: Interval,
    state: &InstrumentState,
    stamp: Stamp,
) -> message::BookSnapshot {
    message::BookSnapshot {
        epoch: stamp.position.epoch.0,
        seq: stamp.position.seq.0,
        sending_time: stamp.unix_ns,
        event_time: state.timestamp_ns,
        change_id: state.change_id.0,
        checksum: None,
        instrument_id: instrument.0,
        group_ticks: None,
        depth: None,
        interval: written_interval(interval),
    }
}

fn trade_entry(trade: &Trade) -> message::TradeEntry {
    message::TradeEntry {
        trade_seq: trade.trade_seq.0,
        event_time: trade.timestamp_ns,
        price: trade.price,
        amount: trade.amount,
        mark_price: trade.mark_price,
        side: match trade.direction {
            Direction::Buy => message::Side::Buy,
            Direction::Sell => message::Side::Sell,
        },
        tick_direction: match trade.tick_direction {
            0 => message::TickDirection::Plus,
            1 => message::TickDirection::ZeroPlus,
            2 => message::TickDirection::Minus,
            _ => message::TickDirection::ZeroMinus,
        },
    }
}

/// `None` where nothing is to be told.
fn book_change(action: LevelAction, update: LevelUpdate) -> Option<message::BookChange> {
    let (action, amount) = match action {
        LevelAction::New => (message::LevelAction::New, update.amount),
        LevelAction::Change => (message::LevelAction::Change, update.amount),
        LevelAction::Delete => (message::LevelAction::Delete, Amount::ZERO),
        LevelAction::Unchanged => return None,
    };
    Some(message::BookChange { price: update.price, amount, action })
}

/// Of the text that JSON prints, put behind `out` and taken away again.
fn checksum_of(out: &mut Vec<u8>, checksum: Checksum, state: &InstrumentState) -> Option<u64> {
    match checksum {
        Checksum::Absent => None,
        Checksum::Crc32 => Some(u64::from(json_rpc::checksum_at_end(out, &state.book, &state.definition))),
    }
}

const fn written_interval(interval: Interval) -> message::Interval {
    match interval {
        Interval::Raw => message::Interval::Raw,
        Interval::Ms100 => message::Interval::Ms100,
        Interval::Agg2 => message::Interval::Agg2,
    }
}

fn written_depth(depth: Depth) -> u8 {
    u8::try_from(depth.levels()).expect("invariant: a depth is 1, 10 or 20")
}

/// 0 where the side is empty.
fn amount_of(level: Option<Level>) -> Amount {
    level.map_or(Amount::ZERO, |level| level.amount)
}

fn saturated(units: i128) -> i64 {
    i64::try_from(units).unwrap_or(if units < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::channel::Channel;
    use crate::model::ids::Epoch;
    use crate::model::instrument::{Instrument, InstrumentKind, Symbol};

    fn state() -> InstrumentState {
        let symbol = |text: &str| Symbol::parse(text.as_bytes()).unwrap();
        InstrumentState::new(Arc::new(Instrument {
            name: symbol("A"),
            kind: InstrumentKind::Future,
            base_currency: symbol("B"),
            quote_currency: symbol("C"),
            tick_size: Price(1_000_000_000),
            price_decimals: 0,
            min_trade_amount: Amount(1_000_000_000),
            amount_decimals: 0,
            contract_size: Amount(1_000_000_000),
            creation_timestamp_ms: 0,
            expiration_timestamp_ms: None,
        }))
    }

    #[test]
    fn what_rounding_up_and_adding_take_beyond_64_bits_is_told_as_the_largest() {
        let mut state = state();
        for price in [i64::MAX - 1, i64::MAX] {
            state.apply_level(LevelUpdate {
                side: Side::Ask,
                price: Price(price),
                amount: Amount(i64::MAX - 7),
            });
        }
        let channel = Channel::parse("book.A.100.10.raw", Checksum::Absent);
        let Some(Channel::Instrument {
            channel: MarketChannel::GroupedBook { group, depth, interval }, ..
        }) = channel
        else {
            panic!("{channel:?}")
        };
        let mut frame = Vec::new();
        let stamp = Stamp { position: Position { epoch: Epoch(1), seq: Seq(2) }, unix_ns: 3 };
        write_grouped_book(&mut frame, InstrumentId(0), (group, depth, interval), &state, stamp);
        let told = message::BookSnapshotView::decode(&frame).unwrap();
        let asks: Vec<_> = told.asks().iter().map(Result::unwrap).collect();
        assert_eq!(asks, [message::BookLevel { price: Price(i64::MAX), amount: Amount(i64::MAX) }]);
    }
}
