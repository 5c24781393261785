//! GapNotice: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::types::{Channel, Interval};
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{Body, DecodeError, HEADER_BYTES, Header, at, put, unless};

/// Events of a stream that this connection is not told: from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapNotice {
    /// The life of the stream: milliseconds since 1970.
    pub epoch: u64,
    /// The first that is not told.
    pub begin_seq: u64,
    /// The last that is not told.
    pub end_seq: u64,
    /// When it was written.
    pub sending_time: u64,
    /// Null of an account's stream.
    pub instrument_id: Option<u32>,
    /// Of which channel.
    pub channel: Channel,
    /// How often the channel speaks; `raw` where it has no interval.
    pub interval: Option<Interval>,
    /// Ticks of a group; 0 for `none`, null of other channels.
    pub group_ticks: Option<u16>,
    /// Levels a side; null of other channels.
    pub depth: Option<u8>,
}

impl GapNotice {
    pub const TEMPLATE_ID: u16 = 2;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 41;
    const HEADER: Header = Header {
        block_length: GapNotice::BLOCK_LENGTH,
        template_id: GapNotice::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; HEADER_BYTES + 41];
        put::<0, _, _>(&mut bytes, GapNotice::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.epoch.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.begin_seq.to_le_bytes());
        put::<24, _, _>(&mut bytes, self.end_seq.to_le_bytes());
        put::<32, _, _>(&mut bytes, self.sending_time.to_le_bytes());
        put::<40, _, _>(&mut bytes, self.instrument_id.unwrap_or(u32::MAX).to_le_bytes());
        put::<44, _, _>(&mut bytes, [self.channel.to_wire()]);
        put::<45, _, _>(&mut bytes, [self.interval.map_or(255, Interval::to_wire)]);
        put::<46, _, _>(&mut bytes, self.group_ticks.unwrap_or(u16::MAX).to_le_bytes());
        put::<48, _, _>(&mut bytes, self.depth.unwrap_or(u8::MAX).to_le_bytes());
        out.extend_from_slice(&bytes);
    }
}

/// A received [`GapNotice`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct GapNoticeView<'a> {
    block: &'a [u8; 41],
}

impl<'a> GapNoticeView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<GapNoticeView<'a>, DecodeError> {
        let mut body = Body::open(frame, GapNotice::HEADER)?;
        let (block, _) = body.block()?;
        body.close()?;
        Ok(GapNoticeView { block })
    }

    /// The life of the stream: milliseconds since 1970.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        u64::from_le_bytes(at::<0, _, _>(self.block))
    }

    /// The first that is not told.
    #[inline]
    #[must_use]
    pub fn begin_seq(&self) -> u64 {
        u64::from_le_bytes(at::<8, _, _>(self.block))
    }

    /// The last that is not told.
    #[inline]
    #[must_use]
    pub fn end_seq(&self) -> u64 {
        u64::from_le_bytes(at::<16, _, _>(self.block))
    }

    /// When it was written.
    #[inline]
    #[must_use]
    pub fn sending_time(&self) -> u64 {
        u64::from_le_bytes(at::<24, _, _>(self.block))
    }

    /// Null of an account's stream.
    #[inline]
    #[must_use]
    pub fn instrument_id(&self) -> Option<u32> {
        unless(u32::from_le_bytes(at::<32, _, _>(self.block)), u32::MAX)
    }

    /// Of which channel.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn channel(&self) -> Result<Channel, DecodeError> {
        Channel::from_wire("channel", at::<36, _, _>(self.block))
    }

    /// How often the channel speaks; `raw` where it has no interval.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn interval(&self) -> Result<Option<Interval>, DecodeError> {
        Interval::from_nullable("interval", at::<37, _, _>(self.block))
    }

    /// Ticks of a group; 0 for `none`, null of other channels.
    #[inline]
    #[must_use]
    pub fn group_ticks(&self) -> Option<u16> {
        unless(u16::from_le_bytes(at::<38, _, _>(self.block)), u16::MAX)
    }

    /// Levels a side; null of other channels.
    #[inline]
    #[must_use]
    pub fn depth(&self) -> Option<u8> {
        unless(u8::from_le_bytes(at::<40, _, _>(self.block)), u8::MAX)
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<GapNotice, DecodeError> {
        Ok(GapNotice {
            epoch: self.epoch(),
            begin_seq: self.begin_seq(),
            end_seq: self.end_seq(),
            sending_time: self.sending_time(),
            instrument_id: self.instrument_id(),
            channel: self.channel()?,
            interval: self.interval()?,
            group_ticks: self.group_ticks(),
            depth: self.depth(),
        })
    }
}
