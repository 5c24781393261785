//! Ticker: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::types::{Interval, MarketState};
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{Body, Decimal, DecodeError, HEADER_BYTES, Header, at, put, unless};
use crate::model::decimal::{Amount, Price};

/// `ticker.{i}.{interval}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticker {
    /// The life of the stream: milliseconds since 1970.
    pub epoch: u64,
    /// The place in the stream, from 1.
    pub seq: u64,
    /// When its home stamped it.
    pub sending_time: u64,
    /// The time of the newest event, by the feed.
    pub event_time: u64,
    /// As `instrument_id` of `public/get_instruments`.
    pub instrument_id: u32,
    /// How often the channel speaks.
    pub interval: Interval,
    /// Whether it trades.
    pub state: MarketState,
    /// Null where the side is empty.
    pub bid_price: Option<Price>,
    /// 0 where the side is empty.
    pub bid_amount: Amount,
    /// Null where the side is empty.
    pub ask_price: Option<Price>,
    /// 0 where the side is empty.
    pub ask_amount: Amount,
    /// Null where nothing traded.
    pub last_price: Option<Price>,
    /// Also the index price.
    pub mark_price: Price,
    /// Of the rolling day.
    pub high: Option<Price>,
    /// Of the rolling day.
    pub low: Option<Price>,
    /// Of the rolling day, in amount units.
    pub volume: Decimal,
    /// Of the rolling day, in the quote currency.
    pub turnover: Decimal,
    /// Of the rolling day, in percent.
    pub price_change: Option<Decimal>,
}

impl Ticker {
    pub const TEMPLATE_ID: u16 = 10;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 129;
    const HEADER: Header = Header {
        block_length: Ticker::BLOCK_LENGTH,
        template_id: Ticker::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; HEADER_BYTES + 129];
        put::<0, _, _>(&mut bytes, Ticker::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.epoch.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.seq.to_le_bytes());
        put::<24, _, _>(&mut bytes, self.sending_time.to_le_bytes());
        put::<32, _, _>(&mut bytes, self.event_time.to_le_bytes());
        put::<40, _, _>(&mut bytes, self.instrument_id.to_le_bytes());
        put::<44, _, _>(&mut bytes, [self.interval.to_wire()]);
        put::<45, _, _>(&mut bytes, [self.state.to_wire()]);
        put::<46, _, _>(&mut bytes, self.bid_price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<54, _, _>(&mut bytes, self.bid_amount.0.to_le_bytes());
        put::<62, _, _>(&mut bytes, self.ask_price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<70, _, _>(&mut bytes, self.ask_amount.0.to_le_bytes());
        put::<78, _, _>(&mut bytes, self.last_price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<86, _, _>(&mut bytes, self.mark_price.0.to_le_bytes());
        put::<94, _, _>(&mut bytes, self.high.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<102, _, _>(&mut bytes, self.low.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<110, _, _>(&mut bytes, self.volume.to_bytes());
        put::<119, _, _>(&mut bytes, self.turnover.to_bytes());
        put::<128, _, _>(&mut bytes, Decimal::to_nullable_bytes(self.price_change));
        out.extend_from_slice(&bytes);
    }
}

/// A received [`Ticker`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct TickerView<'a> {
    block: &'a [u8; 129],
}

impl<'a> TickerView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<TickerView<'a>, DecodeError> {
        let mut body = Body::open(frame, Ticker::HEADER)?;
        let (block, _) = body.block()?;
        body.close()?;
        Ok(TickerView { block })
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

    /// The time of the newest event, by the feed.
    #[inline]
    #[must_use]
    pub fn event_time(&self) -> u64 {
        u64::from_le_bytes(at::<24, _, _>(self.block))
    }

    /// As `instrument_id` of `public/get_instruments`.
    #[inline]
    #[must_use]
    pub fn instrument_id(&self) -> u32 {
        u32::from_le_bytes(at::<32, _, _>(self.block))
    }

    /// How often the channel speaks.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn interval(&self) -> Result<Interval, DecodeError> {
        Interval::from_wire("interval", at::<36, _, _>(self.block))
    }

    /// Whether it trades.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn state(&self) -> Result<MarketState, DecodeError> {
        MarketState::from_wire("state", at::<37, _, _>(self.block))
    }

    /// Null where the side is empty.
    #[inline]
    #[must_use]
    pub fn bid_price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<38, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// 0 where the side is empty.
    #[inline]
    #[must_use]
    pub fn bid_amount(&self) -> Amount {
        Amount(i64::from_le_bytes(at::<46, _, _>(self.block)))
    }

    /// Null where the side is empty.
    #[inline]
    #[must_use]
    pub fn ask_price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<54, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// 0 where the side is empty.
    #[inline]
    #[must_use]
    pub fn ask_amount(&self) -> Amount {
        Amount(i64::from_le_bytes(at::<62, _, _>(self.block)))
    }

    /// Null where nothing traded.
    #[inline]
    #[must_use]
    pub fn last_price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<70, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// Also the index price.
    #[inline]
    #[must_use]
    pub fn mark_price(&self) -> Price {
        Price(i64::from_le_bytes(at::<78, _, _>(self.block)))
    }

    /// Of the rolling day.
    #[inline]
    #[must_use]
    pub fn high(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<86, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// Of the rolling day.
    #[inline]
    #[must_use]
    pub fn low(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<94, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// Of the rolling day, in amount units.
    #[inline]
    #[must_use]
    pub fn volume(&self) -> Decimal {
        Decimal::from_bytes(at::<102, _, _>(self.block))
    }

    /// Of the rolling day, in the quote currency.
    #[inline]
    #[must_use]
    pub fn turnover(&self) -> Decimal {
        Decimal::from_bytes(at::<111, _, _>(self.block))
    }

    /// Of the rolling day, in percent.
    #[inline]
    #[must_use]
    pub fn price_change(&self) -> Option<Decimal> {
        Decimal::from_nullable_bytes(at::<120, _, _>(self.block))
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<Ticker, DecodeError> {
        Ok(Ticker {
            epoch: self.epoch(),
            seq: self.seq(),
            sending_time: self.sending_time(),
            event_time: self.event_time(),
            instrument_id: self.instrument_id(),
            interval: self.interval()?,
            state: self.state()?,
            bid_price: self.bid_price(),
            bid_amount: self.bid_amount(),
            ask_price: self.ask_price(),
            ask_amount: self.ask_amount(),
            last_price: self.last_price(),
            mark_price: self.mark_price(),
            high: self.high(),
            low: self.low(),
            volume: self.volume(),
            turnover: self.turnover(),
            price_change: self.price_change(),
        })
    }
}
