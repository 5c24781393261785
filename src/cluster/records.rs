//! What an owner's market tells the nodes that follow, a record at a time: written from a sealed batch, read into another. PURE.
//!
//! Invariants: a record that was read is one that a shard may be given as far as it says itself: each frame is one whole message of WebSocket, or some
//! that report of one account's order, homes and numbers are within bounds. Whether it fits what was told before, the reader's replica knows.

use std::sync::Arc;

use crate::hub::batch::{Batch, ByteRange, JoinOutcome, Record};
use crate::hub::deflation::Windows;
use crate::limits;
use crate::model::book::{Level, LevelUpdate, Side};
use crate::model::ids::{HomeId, InstrumentId, TopicId};
use crate::model::instrument::{Instrument, InstrumentKind};
use crate::model::link::{LinkIdentity, LinkKind, LinkState, LinkStatus};
use crate::model::market::{
    DayStats, Direction, HourStats, InstrumentState, MarketState, STATS_HOURS, TRADES_KEPT_MAX, Trade,
};
use crate::model::order::is_countable;
use crate::ws::frame::{are_server_messages, is_server_message};

use super::wire::{Put, Reader, WireFault, number_of};

mod kind {
    pub(super) const LISTED: u8 = 1;
    pub(super) const LEVELS: u8 = 2;
    pub(super) const TRADED: u8 = 3;
    pub(super) const STATE: u8 = 4;
    pub(super) const LINKS: u8 = 5;
    pub(super) const IMAGE: u8 = 6;
    pub(super) const FRAME: u8 = 7;
    pub(super) const DEFLATED: u8 = 8;
    pub(super) const REPLAYED: u8 = 9;
    pub(super) const JOINED: u8 = 10;
    pub(super) const GAP: u8 = 11;
    pub(super) const WORDS: u8 = 12;
}

const SIDES: [Side; 2] = [Side::Bid, Side::Ask];
const DIRECTIONS: [Direction; 2] = [Direction::Buy, Direction::Sell];
const STATES: [MarketState; 3] = [MarketState::Open, MarketState::Closed, MarketState::Delisted];
const OUTCOMES: [JoinOutcome; 4] =
    [JoinOutcome::Fresh, JoinOutcome::Recovered, JoinOutcome::NotRecovered, JoinOutcome::Refused];
const LINK_KINDS: [LinkKind; 4] = [LinkKind::Paper, LinkKind::Replay, LinkKind::Tcp, LinkKind::Mt5];
const LINK_STATES: [LinkState; 5] =
    [LinkState::Connecting, LinkState::Reconciling, LinkState::Up, LinkState::Down, LinkState::GivenUp];

/// Bytes of a level, a trade and a link at least.
const LEVEL_BYTES: usize = 1 + 8 + 8;
const TRADE_BYTES: usize = 8 + 8 + 8 + 1 + 8 + 1 + 8;
const LINK_BYTES_MIN: usize = 1 + 1 + 8 + 4 + 4 + 4 + 1;
/// More than any decimals that a price is printed with.
const DECIMALS_MAX: u8 = 9;
/// Sums of an hour beyond this are no sums of trades, and those of a day could overflow.
const HOUR_SUM_MAX: i128 = i128::MAX / 64;

/// Appends a record of a batch; whether it is one that crosses to nodes that follow. Whom `Replayed`, `Joined` and `Gap` are for is a home of the
/// node that follows, as that has asked.
pub fn write_record(out: &mut Vec<u8>, batch: &Batch, record: &Record) -> bool {
    match record {
        Record::Listed { .. }
        | Record::Levels { .. }
        | Record::Traded { .. }
        | Record::StateChanged { .. }
        | Record::Links { .. }
        | Record::Image { .. } => write_state(out, batch, record),
        Record::Frame { .. }
        | Record::Deflated { .. }
        | Record::Replayed { .. }
        | Record::Joined { .. }
        | Record::Gap { .. } => write_stream(out, batch, record),
        Record::Join { .. }
        | Record::Windows { .. }
        | Record::Leave { .. }
        | Record::Publish { .. }
        | Record::Published { .. }
        | Record::Ask { .. }
        | Record::Answered { .. }
        | Record::Departed { .. }
        | Record::MessageAsk { .. }
        | Record::MessagesWritten { .. }
        | Record::Message { .. }
        | Record::Reset => return false,
    }
    true
}

/// Those that build a replica.
fn write_state(out: &mut Vec<u8>, batch: &Batch, record: &Record) {
    if let Record::Listed { definition } = record {
        out.put_u8(kind::LISTED);
        put_instrument(out, definition);
    } else if let Record::Levels { instrument, levels, change_id, timestamp_ns } = record {
        out.put_u8(kind::LEVELS);
        out.put_u32(instrument.0);
        out.put_u64(change_id.0);
        out.put_u64(*timestamp_ns);
        let updates = levels.of(&batch.levels);
        put_levels(out, updates.len(), updates.iter().copied());
    } else if let Record::Traded { instrument, trade } = record {
        out.put_u8(kind::TRADED);
        out.put_u32(instrument.0);
        put_trade(out, trade);
    } else if let Record::StateChanged { instrument, state, timestamp_ns } = record {
        out.put_u8(kind::STATE);
        out.put_u32(instrument.0);
        out.put_u8(number_of(*state, &STATES));
        out.put_u64(*timestamp_ns);
    } else if let Record::Links { links } = record {
        out.put_u8(kind::LINKS);
        out.put_count(links.len());
        links.iter().for_each(|link| put_link(out, link));
    } else if let Record::Image { instrument, state } = record {
        out.put_u8(kind::IMAGE);
        out.put_u32(instrument.0);
        put_image(out, state);
    }
}

/// Those of topics' streams.
fn write_stream(out: &mut Vec<u8>, batch: &Batch, record: &Record) {
    if let Record::Frame { topic, seq, prev_seq, change_id, frame } = record {
        out.put_u8(kind::FRAME);
        put_topic_id(out, *topic);
        [seq, prev_seq, change_id].into_iter().for_each(|number| out.put_u64(number.0));
        out.put_run(batch.slice(*frame));
    } else if let Record::Deflated { windows, frame } = record {
        out.put_u8(kind::DEFLATED);
        out.put_u8(windows.bits());
        out.put_run(batch.slice(*frame));
    } else if let Record::Replayed { to, ticket, seq, frame } = record {
        out.put(&[kind::REPLAYED, to.0]);
        out.put_ticket(*ticket);
        out.put_u64(seq.0);
        out.put_run(batch.slice(*frame));
    } else if let Record::Joined { to, ticket, topic, epoch, seq, change_id, outcome } = record {
        out.put(&[kind::JOINED, to.0]);
        out.put_ticket(*ticket);
        put_topic_id(out, *topic);
        [epoch.0, seq.0, change_id.0].into_iter().for_each(|number| out.put_u64(number));
        out.put_u8(number_of(*outcome, &OUTCOMES));
    } else if let Record::Gap { to } = record {
        out.put(&[kind::GAP, to.0]);
    }
}

/// Reads the next record into a batch; topics are of the home `market`, which stands for the owner's here.
///
/// # Errors
/// The bytes are no record; the batch may have got bytes of it then, and no record.
pub(super) fn read_record(reader: &mut Reader<'_>, market: HomeId, out: &mut Batch) -> Result<(), WireFault> {
    let record = match reader.u8()? {
        kind::LISTED => Record::Listed { definition: Arc::new(instrument(reader)?) },
        kind::LEVELS => {
            let (instrument, change_id) = (instrument_id(reader)?, reader.seq()?);
            let timestamp_ns = reader.u64()?;
            let levels = out.push_levels(&levels(reader)?);
            Record::Levels { instrument, levels, change_id, timestamp_ns }
        }
        kind::TRADED => Record::Traded { instrument: instrument_id(reader)?, trade: trade(reader)? },
        kind::STATE => Record::StateChanged {
            instrument: instrument_id(reader)?,
            state: reader.pick(&STATES)?,
            timestamp_ns: reader.u64()?,
        },
        kind::LINKS => {
            let count = reader.count(LINK_BYTES_MIN)?;
            Record::Links { links: (0..count).map(|_| link(reader)).collect::<Result<_, WireFault>>()? }
        }
        kind::IMAGE => Record::Image { instrument: instrument_id(reader)?, state: Arc::new(image(reader)?) },
        kind::FRAME => Record::Frame {
            topic: topic_id(reader, market)?,
            seq: reader.seq()?,
            prev_seq: reader.seq()?,
            change_id: reader.seq()?,
            frame: frame(reader, false, out)?,
        },
        kind::DEFLATED => {
            let windows = Windows::from_bits(reader.u8()?).ok_or(WireFault::Value)?;
            Record::Deflated { windows, frame: frame(reader, true, out)? }
        }
        kind::REPLAYED => Record::Replayed {
            to: home(reader)?,
            ticket: reader.ticket()?,
            seq: reader.seq()?,
            frame: frame(reader, false, out)?,
        },
        kind::JOINED => joined(reader, market)?,
        kind::GAP => Record::Gap { to: home(reader)? },
        _ => return Err(WireFault::Value),
    };
    out.records.push(record);
    Ok(())
}

/// Words of desk and office to one node: all that was said at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// They count up from 1 for each node since it greeted.
    pub number: u64,
    /// As `commands` writes them.
    pub bytes: Vec<u8>,
}

pub(super) fn write_words(out: &mut Vec<u8>, number: u64, words: &[u8]) {
    out.put_u8(kind::WORDS);
    out.put_u64(number);
    out.put_run(words);
}

/// Reads words, if they come next.
///
/// # Errors
/// They do, and are none.
pub(super) fn read_words(reader: &mut Reader<'_>) -> Result<Option<Words>, WireFault> {
    let mut ahead = *reader;
    if ahead.u8()? != kind::WORDS {
        return Ok(None);
    }
    let words = Words { number: ahead.seq()?.0, bytes: ahead.run()?.to_vec() };
    *reader = ahead;
    Ok(Some(words))
}

fn put_topic_id(out: &mut Vec<u8>, topic: TopicId) {
    out.put_u32(topic.slot);
    out.put_u32(topic.generation);
}

fn topic_id(reader: &mut Reader<'_>, market: HomeId) -> Result<TopicId, WireFault> {
    let topic = TopicId { home: market, slot: reader.u32()?, generation: reader.u32()? };
    if (topic.slot as usize) < limits::TOPICS_PER_HOME_MAX { Ok(topic) } else { Err(WireFault::Value) }
}

/// `u32::MAX` is the slot of a topic that a home has refused, and of no other: shards use slots as indices.
fn joined(reader: &mut Reader<'_>, market: HomeId) -> Result<Record, WireFault> {
    let (to, ticket) = (home(reader)?, reader.ticket()?);
    let topic = TopicId { home: market, slot: reader.u32()?, generation: reader.u32()? };
    let (epoch, seq, change_id) = (reader.epoch()?, reader.seq()?, reader.seq()?);
    let outcome = reader.pick(&OUTCOMES)?;
    let is_slot = match outcome {
        JoinOutcome::Refused => topic.slot == u32::MAX,
        JoinOutcome::Fresh | JoinOutcome::Recovered | JoinOutcome::NotRecovered => {
            (topic.slot as usize) < limits::TOPICS_PER_HOME_MAX
        }
    };
    let joined = Record::Joined { to, ticket, topic, epoch, seq, change_id, outcome };
    if is_slot { Ok(joined) } else { Err(WireFault::Value) }
}

fn home(reader: &mut Reader<'_>) -> Result<HomeId, WireFault> {
    let number = reader.u8()?;
    if usize::from(number) < limits::HOMES_MAX { Ok(HomeId(number)) } else { Err(WireFault::Value) }
}

fn instrument_id(reader: &mut Reader<'_>) -> Result<InstrumentId, WireFault> {
    let number = reader.u32()?;
    if (number as usize) < limits::INSTRUMENTS_MAX { Ok(InstrumentId(number)) } else { Err(WireFault::Value) }
}

fn frame(reader: &mut Reader<'_>, compressed: bool, out: &mut Batch) -> Result<ByteRange, WireFault> {
    let bytes = reader.run()?;
    let is_told = if compressed { is_server_message(bytes, true) } else { are_server_messages(bytes) };
    if is_told { Ok(out.push_bytes(bytes)) } else { Err(WireFault::Value) }
}

fn put_levels(out: &mut Vec<u8>, count: usize, updates: impl Iterator<Item = LevelUpdate>) {
    out.put_count(count);
    for update in updates {
        out.put_u8(number_of(update.side, &SIDES));
        out.put(&update.price.0.to_le_bytes());
        out.put(&update.amount.0.to_le_bytes());
    }
}

fn levels(reader: &mut Reader<'_>) -> Result<Vec<LevelUpdate>, WireFault> {
    let count = reader.count(LEVEL_BYTES)?;
    (0..count)
        .map(|_| {
            let side = reader.pick(&SIDES)?;
            Ok(LevelUpdate { side, price: reader.price()?, amount: reader.amount()? })
        })
        .collect()
}

fn put_trade(out: &mut Vec<u8>, trade: &Trade) {
    out.put_u64(trade.trade_seq.0);
    out.put(&trade.price.0.to_le_bytes());
    out.put(&trade.amount.0.to_le_bytes());
    out.put_u8(number_of(trade.direction, &DIRECTIONS));
    out.put_u64(trade.timestamp_ns);
    out.put_u8(trade.tick_direction);
    out.put(&trade.mark_price.0.to_le_bytes());
}

fn trade(reader: &mut Reader<'_>) -> Result<Trade, WireFault> {
    let trade = Trade {
        trade_seq: reader.seq()?,
        price: reader.price()?,
        amount: reader.amount()?,
        direction: reader.pick(&DIRECTIONS)?,
        timestamp_ns: reader.u64()?,
        tick_direction: reader.pick(&[0, 1, 2, 3])?,
        mark_price: reader.price()?,
    };
    if is_countable(trade.price, trade.amount) { Ok(trade) } else { Err(WireFault::Value) }
}

fn put_instrument(out: &mut Vec<u8>, definition: &Instrument) {
    out.put_symbol(&definition.name);
    out.put_u8(number_of(definition.kind, &InstrumentKind::ALL));
    out.put_symbol(&definition.base_currency);
    out.put_symbol(&definition.quote_currency);
    out.put(&definition.tick_size.0.to_le_bytes());
    out.put_u8(definition.price_decimals);
    out.put(&definition.min_trade_amount.0.to_le_bytes());
    out.put_u8(definition.amount_decimals);
    out.put(&definition.contract_size.0.to_le_bytes());
    out.put_u64(definition.creation_timestamp_ms);
    out.put_u8(u8::from(definition.expiration_timestamp_ms.is_some()));
    definition.expiration_timestamp_ms.into_iter().for_each(|ms| out.put_u64(ms));
}

fn instrument(reader: &mut Reader<'_>) -> Result<Instrument, WireFault> {
    let definition = Instrument {
        name: reader.symbol()?,
        kind: reader.pick(&InstrumentKind::ALL)?,
        base_currency: reader.symbol()?,
        quote_currency: reader.symbol()?,
        tick_size: reader.price()?,
        price_decimals: reader.u8()?,
        min_trade_amount: reader.amount()?,
        amount_decimals: reader.u8()?,
        contract_size: reader.amount()?,
        creation_timestamp_ms: reader.u64()?,
        expiration_timestamp_ms: if reader.flag()? { Some(reader.u64()?) } else { None },
    };
    let is_positive = [definition.tick_size.0, definition.min_trade_amount.0, definition.contract_size.0]
        .into_iter()
        .all(|size| size > 0);
    let is_printable =
        definition.price_decimals <= DECIMALS_MAX && definition.amount_decimals <= DECIMALS_MAX;
    if is_positive && is_printable { Ok(definition) } else { Err(WireFault::Value) }
}

fn put_image(out: &mut Vec<u8>, state: &InstrumentState) {
    put_instrument(out, &state.definition);
    out.put_u8(number_of(state.state, &STATES));
    out.put_u64(state.change_id.0);
    out.put_u64(state.timestamp_ns);
    let level = |side| move |level: Level| LevelUpdate { side, price: level.price, amount: level.amount };
    let bids = state.book.bids().map(level(Side::Bid));
    put_levels(out, state.book.level_count(), bids.chain(state.book.asks().map(level(Side::Ask))));
    out.put_count(state.trades().len());
    state.trades().for_each(|trade| put_trade(out, trade));
    let day = state.day();
    out.put_u64(day.last_hour);
    for hour in &day.hours {
        out.put_u64(hour.hour);
        out.put(&hour.volume.to_le_bytes());
        out.put(&hour.turnover.to_le_bytes());
        out.put_u8(u8::from(hour.first.is_some()));
        let prices = [hour.first.unwrap_or_default(), hour.high, hour.low];
        prices.iter().for_each(|price| out.put(&price.0.to_le_bytes()));
    }
}

fn image(reader: &mut Reader<'_>) -> Result<InstrumentState, WireFault> {
    let definition = Arc::new(instrument(reader)?);
    let (state, change_id, timestamp_ns) = (reader.pick(&STATES)?, reader.seq()?, reader.u64()?);
    let levels = levels(reader)?;
    let count = reader.count(TRADE_BYTES)?;
    if count > TRADES_KEPT_MAX {
        return Err(WireFault::Value);
    }
    let trades = (0..count).map(|_| trade(reader)).collect::<Result<Vec<_>, WireFault>>()?;
    let mut day = DayStats { last_hour: reader.seq()?.0, hours: [HourStats::default(); STATS_HOURS] };
    for hour in &mut day.hours {
        *hour = self::hour(reader)?;
    }
    let mut image = InstrumentState::restored(definition, &trades, day);
    // From the deepest: a book has its best last, so that none of them moves others.
    for level in levels.iter().rev() {
        image.apply_level(*level);
    }
    if image.book.level_count() != levels.len() {
        return Err(WireFault::Value);
    }
    (image.state, image.change_id, image.timestamp_ns) = (state, change_id, timestamp_ns);
    Ok(image)
}

fn hour(reader: &mut Reader<'_>) -> Result<HourStats, WireFault> {
    let (hour, volume, turnover) = (reader.u64()?, reader.i128()?, reader.i128()?);
    let (has_first, first) = (reader.flag()?, reader.price()?);
    let is_sum = |sum: i128| (-HOUR_SUM_MAX..=HOUR_SUM_MAX).contains(&sum);
    if !is_sum(volume) || !is_sum(turnover) || (!has_first && first.0 != 0) {
        return Err(WireFault::Value);
    }
    let first = has_first.then_some(first);
    Ok(HourStats { hour, volume, turnover, first, high: reader.price()?, low: reader.price()? })
}

fn put_link(out: &mut Vec<u8>, link: &LinkStatus) {
    out.put_u8(number_of(link.identity.kind, &LINK_KINDS));
    out.put_u8(number_of(link.state, &LINK_STATES));
    out.put_u64(link.since_ms);
    out.put_u32(link.instruments);
    out.put_run(link.identity.venue.as_bytes());
    out.put_run(link.identity.link.as_bytes());
    out.put_u8(u8::from(link.last_reason.is_some()));
    link.last_reason.iter().for_each(|reason| out.put_run(reason.as_bytes()));
}

fn link(reader: &mut Reader<'_>) -> Result<LinkStatus, WireFault> {
    let (kind, state) = (reader.pick(&LINK_KINDS)?, reader.pick(&LINK_STATES)?);
    let (since_ms, instruments) = (reader.u64()?, reader.u32()?);
    let identity = LinkIdentity { kind, venue: reader.text()?.into(), link: reader.text()?.into() };
    let last_reason = if reader.flag()? { Some(reader.text()?.into()) } else { None };
    Ok(LinkStatus { identity, state, since_ms, instruments, last_reason })
}

#[cfg(test)]
mod tests;
