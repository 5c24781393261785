//! Trade: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::types::{Interval, Side, TickDirection};
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{
    Body, DecodeError, Entries, Entry, HEADER_BYTES, Header, at, put, write_group,
};
use crate::model::decimal::{Amount, Price};

/// `trades.{i}.{interval}`: the trades of one notification, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The life of the stream: milliseconds since 1970.
    pub epoch: u64,
    /// The place in the stream, from 1.
    pub seq: u64,
    /// When its home stamped it.
    pub sending_time: u64,
    /// As `instrument_id` of `public/get_instruments`.
    pub instrument_id: u32,
    /// How often the channel speaks.
    pub interval: Interval,
}

impl Trade {
    pub const TEMPLATE_ID: u16 = 12;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 29;
    const HEADER: Header = Header {
        block_length: Trade::BLOCK_LENGTH,
        template_id: Trade::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, trades: impl IntoIterator<Item = TradeEntry>) {
        let mut bytes = [0; HEADER_BYTES + 29];
        put::<0, _, _>(&mut bytes, Trade::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.epoch.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.seq.to_le_bytes());
        put::<24, _, _>(&mut bytes, self.sending_time.to_le_bytes());
        put::<32, _, _>(&mut bytes, self.instrument_id.to_le_bytes());
        put::<36, _, _>(&mut bytes, [self.interval.to_wire()]);
        out.extend_from_slice(&bytes);
        write_group(out, trades);
    }
}

/// A received [`Trade`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct TradeView<'a> {
    block: &'a [u8; 29],
    trades: Entries<'a, TradeEntry>,
}

impl<'a> TradeView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<TradeView<'a>, DecodeError> {
        let mut body = Body::open(frame, Trade::HEADER)?;
        let (block, _) = body.block()?;
        let trades = body.group(0)?;
        body.close()?;
        Ok(TradeView { block, trades })
    }

    /// The life of the stream: milliseconds since 1970.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        u64::from_le_bytes(at::<0, _, _>(self.block))
    }

    /// The place in the stream, from 1.
    #[inline]
    #[must_use]
    pub fn seq(&self) -> u64 {
        u64::from_le_bytes(at::<8, _, _>(self.block))
    }

    /// When its home stamped it.
    #[inline]
    #[must_use]
    pub fn sending_time(&self) -> u64 {
        u64::from_le_bytes(at::<16, _, _>(self.block))
    }

    /// As `instrument_id` of `public/get_instruments`.
    #[inline]
    #[must_use]
    pub fn instrument_id(&self) -> u32 {
        u32::from_le_bytes(at::<24, _, _>(self.block))
    }

    /// How often the channel speaks.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn interval(&self) -> Result<Interval, DecodeError> {
        Interval::from_wire("interval", at::<28, _, _>(self.block))
    }

    #[must_use]
    pub fn trades(&self) -> Entries<'a, TradeEntry> {
        self.trades
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<Trade, DecodeError> {
        Ok(Trade {
            epoch: self.epoch(),
            seq: self.seq(),
            sending_time: self.sending_time(),
            instrument_id: self.instrument_id(),
            interval: self.interval()?,
        })
    }
}

/// An entry of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradeEntry {
    /// Counts an instrument's trades from 1.
    pub trade_seq: u64,
    /// By the feed.
    pub event_time: u64,
    pub price: Price,
    pub amount: Amount,
    /// At the trade.
    pub mark_price: Price,
    /// That took liquidity.
    pub side: Side,
    pub tick_direction: TickDirection,
}

impl Entry for TradeEntry {
    const BYTES_MIN: usize = 42;
    const BLOCK_LENGTH: u16 = 42;

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; 42];
        put::<0, _, _>(&mut bytes, self.trade_seq.to_le_bytes());
        put::<8, _, _>(&mut bytes, self.event_time.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.price.0.to_le_bytes());
        put::<24, _, _>(&mut bytes, self.amount.0.to_le_bytes());
        put::<32, _, _>(&mut bytes, self.mark_price.0.to_le_bytes());
        put::<40, _, _>(&mut bytes, [self.side.to_wire()]);
        put::<41, _, _>(&mut bytes, [self.tick_direction.to_wire()]);
        out.extend_from_slice(&bytes);
    }

    #[inline]
    fn read(block: &[u8]) -> Result<TradeEntry, DecodeError> {
        let Some((block, _)) = block.split_first_chunk::<42>() else {
            return Err(DecodeError::Truncated);
        };
        Ok(TradeEntry {
            trade_seq: u64::from_le_bytes(at::<0, _, _>(block)),
            event_time: u64::from_le_bytes(at::<8, _, _>(block)),
            price: Price(i64::from_le_bytes(at::<16, _, _>(block))),
            amount: Amount(i64::from_le_bytes(at::<24, _, _>(block))),
            mark_price: Price(i64::from_le_bytes(at::<32, _, _>(block))),
            side: Side::from_wire("side", at::<40, _, _>(block))?,
            tick_direction: TickDirection::from_wire("tick_direction", at::<41, _, _>(block))?,
        })
    }
}
