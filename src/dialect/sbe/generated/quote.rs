//! Quote: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{Body, DecodeError, HEADER_BYTES, Header, at, put, unless};
use crate::model::decimal::{Amount, Price};

/// `quote.{i}`: the best bid and ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
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
    /// Null where the side is empty.
    pub bid_price: Option<Price>,
    /// 0 where the side is empty.
    pub bid_amount: Amount,
    /// Null where the side is empty.
    pub ask_price: Option<Price>,
    /// 0 where the side is empty.
    pub ask_amount: Amount,
}

impl Quote {
    pub const TEMPLATE_ID: u16 = 11;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 68;
    const HEADER: Header = Header {
        block_length: Quote::BLOCK_LENGTH,
        template_id: Quote::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; HEADER_BYTES + 68];
        put::<0, _, _>(&mut bytes, Quote::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.epoch.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.seq.to_le_bytes());
        put::<24, _, _>(&mut bytes, self.sending_time.to_le_bytes());
        put::<32, _, _>(&mut bytes, self.event_time.to_le_bytes());
        put::<40, _, _>(&mut bytes, self.instrument_id.to_le_bytes());
        put::<44, _, _>(&mut bytes, self.bid_price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<52, _, _>(&mut bytes, self.bid_amount.0.to_le_bytes());
        put::<60, _, _>(&mut bytes, self.ask_price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<68, _, _>(&mut bytes, self.ask_amount.0.to_le_bytes());
        out.extend_from_slice(&bytes);
    }
}

/// A received [`Quote`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct QuoteView<'a> {
    block: &'a [u8; 68],
}

impl<'a> QuoteView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<QuoteView<'a>, DecodeError> {
        let mut body = Body::open(frame, Quote::HEADER)?;
        let (block, _) = body.block()?;
        body.close()?;
        Ok(QuoteView { block })
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

    /// Null where the side is empty.
    #[inline]
    #[must_use]
    pub fn bid_price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<36, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// 0 where the side is empty.
    #[inline]
    #[must_use]
    pub fn bid_amount(&self) -> Amount {
        Amount(i64::from_le_bytes(at::<44, _, _>(self.block)))
    }

    /// Null where the side is empty.
    #[inline]
    #[must_use]
    pub fn ask_price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<52, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// 0 where the side is empty.
    #[inline]
    #[must_use]
    pub fn ask_amount(&self) -> Amount {
        Amount(i64::from_le_bytes(at::<60, _, _>(self.block)))
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<Quote, DecodeError> {
        Ok(Quote {
            epoch: self.epoch(),
            seq: self.seq(),
            sending_time: self.sending_time(),
            event_time: self.event_time(),
            instrument_id: self.instrument_id(),
            bid_price: self.bid_price(),
            bid_amount: self.bid_amount(),
            ask_price: self.ask_price(),
            ask_amount: self.ask_amount(),
        })
    }
}
