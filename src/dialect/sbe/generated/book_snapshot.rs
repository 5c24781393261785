//! BookSnapshot: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::types::Interval;
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{
    Body, DecodeError, Entries, Entry, HEADER_BYTES, Header, at, put, unless, write_group,
};
use crate::model::decimal::{Amount, Price};

/// A whole book: `book.{i}.{interval}` at its beginning, `book.{i}.{group}.{depth}.{interval}` always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookSnapshot {
    /// The life of the stream: milliseconds since 1970.
    pub epoch: u64,
    /// The place in the stream, from 1.
    pub seq: u64,
    /// When its home stamped it.
    pub sending_time: u64,
    /// The time of the newest event, by the feed.
    pub event_time: u64,
    /// Counts the changes of the book.
    pub change_id: u64,
    /// The CRC32 of the top levels, where it is asked for.
    pub checksum: Option<u64>,
    /// As `instrument_id` of `public/get_instruments`.
    pub instrument_id: u32,
    /// Ticks of a group; 0 for `none`, null of a book that is not grouped.
    pub group_ticks: Option<u16>,
    /// Levels a side; null of a book that is not grouped.
    pub depth: Option<u8>,
    /// How often the channel speaks.
    pub interval: Interval,
}

impl BookSnapshot {
    pub const TEMPLATE_ID: u16 = 13;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 56;
    const HEADER: Header = Header {
        block_length: BookSnapshot::BLOCK_LENGTH,
        template_id: BookSnapshot::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header.
    #[inline]
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        bids: impl IntoIterator<Item = BookLevel>,
        asks: impl IntoIterator<Item = BookLevel>,
    ) {
        let mut bytes = [0; HEADER_BYTES + 56];
        put::<0, _, _>(&mut bytes, BookSnapshot::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.epoch.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.seq.to_le_bytes());
        put::<24, _, _>(&mut bytes, self.sending_time.to_le_bytes());
        put::<32, _, _>(&mut bytes, self.event_time.to_le_bytes());
        put::<40, _, _>(&mut bytes, self.change_id.to_le_bytes());
        put::<48, _, _>(&mut bytes, self.checksum.unwrap_or(u64::MAX).to_le_bytes());
        put::<56, _, _>(&mut bytes, self.instrument_id.to_le_bytes());
        put::<60, _, _>(&mut bytes, self.group_ticks.unwrap_or(u16::MAX).to_le_bytes());
        put::<62, _, _>(&mut bytes, self.depth.unwrap_or(u8::MAX).to_le_bytes());
        put::<63, _, _>(&mut bytes, [self.interval.to_wire()]);
        out.extend_from_slice(&bytes);
        write_group(out, bids);
        write_group(out, asks);
    }
}

/// A received [`BookSnapshot`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct BookSnapshotView<'a> {
    block: &'a [u8; 56],
    bids: Entries<'a, BookLevel>,
    asks: Entries<'a, BookLevel>,
}

impl<'a> BookSnapshotView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<BookSnapshotView<'a>, DecodeError> {
        let mut body = Body::open(frame, BookSnapshot::HEADER)?;
        let (block, _) = body.block()?;
        let bids = body.group(0)?;
        let asks = body.group(0)?;
        body.close()?;
        Ok(BookSnapshotView { block, bids, asks })
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

    /// Counts the changes of the book.
    #[inline]
    #[must_use]
    pub fn change_id(&self) -> u64 {
        u64::from_le_bytes(at::<32, _, _>(self.block))
    }

    /// The CRC32 of the top levels, where it is asked for.
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> Option<u64> {
        unless(u64::from_le_bytes(at::<40, _, _>(self.block)), u64::MAX)
    }

    /// As `instrument_id` of `public/get_instruments`.
    #[inline]
    #[must_use]
    pub fn instrument_id(&self) -> u32 {
        u32::from_le_bytes(at::<48, _, _>(self.block))
    }

    /// Ticks of a group; 0 for `none`, null of a book that is not grouped.
    #[inline]
    #[must_use]
    pub fn group_ticks(&self) -> Option<u16> {
        unless(u16::from_le_bytes(at::<52, _, _>(self.block)), u16::MAX)
    }

    /// Levels a side; null of a book that is not grouped.
    #[inline]
    #[must_use]
    pub fn depth(&self) -> Option<u8> {
        unless(u8::from_le_bytes(at::<54, _, _>(self.block)), u8::MAX)
    }

    /// How often the channel speaks.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn interval(&self) -> Result<Interval, DecodeError> {
        Interval::from_wire("interval", at::<55, _, _>(self.block))
    }

    #[must_use]
    pub fn bids(&self) -> Entries<'a, BookLevel> {
        self.bids
    }

    #[must_use]
    pub fn asks(&self) -> Entries<'a, BookLevel> {
        self.asks
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<BookSnapshot, DecodeError> {
        Ok(BookSnapshot {
            epoch: self.epoch(),
            seq: self.seq(),
            sending_time: self.sending_time(),
            event_time: self.event_time(),
            change_id: self.change_id(),
            checksum: self.checksum(),
            instrument_id: self.instrument_id(),
            group_ticks: self.group_ticks(),
            depth: self.depth(),
            interval: self.interval()?,
        })
    }
}

/// An entry of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLevel {
    pub price: Price,
    pub amount: Amount,
}

impl Entry for BookLevel {
    const BYTES_MIN: usize = 16;
    const BLOCK_LENGTH: u16 = 16;

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; 16];
        put::<0, _, _>(&mut bytes, self.price.0.to_le_bytes());
        put::<8, _, _>(&mut bytes, self.amount.0.to_le_bytes());
        out.extend_from_slice(&bytes);
    }

    #[inline]
    fn read(block: &[u8]) -> Result<BookLevel, DecodeError> {
        let Some((block, _)) = block.split_first_chunk::<16>() else {
            return Err(DecodeError::Truncated);
        };
        Ok(BookLevel {
            price: Price(i64::from_le_bytes(at::<0, _, _>(block))),
            amount: Amount(i64::from_le_bytes(at::<8, _, _>(block))),
        })
    }
}
