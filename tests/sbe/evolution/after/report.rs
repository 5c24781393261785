//! Report: the codec of the message. PURE. Written from tests/sbe/evolution/after.xml by `tests/sbe`, not by hand.

use super::types::Colour;
use super::{SCHEMA_ID, SCHEMA_VERSION};
use tickring::dialect::sbe::wire::{
    Body, Decimal, DecodeError, Entries, Entry, HEADER_BYTES, Header, added, at, put, unless, write_group,
    write_text,
};
use tickring::model::decimal::Price;

/// A message that has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub number: u64,
    pub colour: Colour,
    pub mark: Option<Price>,
    pub background: Option<Colour>,
    pub sum: Option<Decimal>,
    pub count: Option<u32>,
}

impl Report {
    pub const TEMPLATE_ID: u16 = 1;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 31;
    const HEADER: Header = Header {
        block_length: Report::BLOCK_LENGTH,
        template_id: Report::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header.
    ///
    /// # Panics
    /// By a text of more than 65,535 bytes.
    #[inline]
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        lines: impl IntoIterator<Item = Line>,
        label: &str,
        reason: &str,
    ) {
        let mut bytes = [0; HEADER_BYTES + 31];
        put::<0, _, _>(&mut bytes, Report::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.number.to_le_bytes());
        put::<16, _, _>(&mut bytes, [self.colour.to_wire()]);
        put::<17, _, _>(&mut bytes, self.mark.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<25, _, _>(&mut bytes, [self.background.map_or(255, Colour::to_wire)]);
        put::<26, _, _>(&mut bytes, Decimal::to_nullable_bytes(self.sum));
        put::<35, _, _>(&mut bytes, self.count.unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&bytes);
        write_group(out, lines);
        write_text(out, label);
        write_text(out, reason);
    }
}

/// A received [`Report`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct ReportView<'a> {
    block: &'a [u8; 9],
    /// What later versions have added.
    added: &'a [u8],
    lines: Entries<'a, Line>,
    label: &'a str,
    reason: &'a str,
}

impl<'a> ReportView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<ReportView<'a>, DecodeError> {
        let mut body = Body::open(frame, Report::HEADER)?;
        let (block, added) = body.block()?;
        let lines = body.group(0)?;
        let label = body.text("label", 0)?;
        let reason = body.text("reason", 1)?;
        body.close()?;
        Ok(ReportView { block, added, lines, label, reason })
    }

    #[inline]
    #[must_use]
    pub fn number(&self) -> u64 {
        u64::from_le_bytes(at::<0, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn colour(&self) -> Result<Colour, DecodeError> {
        Colour::from_wire("colour", at::<8, _, _>(self.block))
    }

    #[inline]
    #[must_use]
    pub fn mark(&self) -> Option<Price> {
        match added(self.added, 9 - self.block.len()) {
            Some(bytes) => unless(i64::from_le_bytes(bytes), i64::MIN).map(Price),
            None => None,
        }
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn background(&self) -> Result<Option<Colour>, DecodeError> {
        match added(self.added, 17 - self.block.len()) {
            Some(bytes) => Colour::from_nullable("background", bytes),
            None => Ok(None),
        }
    }

    #[inline]
    #[must_use]
    pub fn sum(&self) -> Option<Decimal> {
        match added(self.added, 18 - self.block.len()) {
            Some(bytes) => Decimal::from_nullable_bytes(bytes),
            None => None,
        }
    }

    #[inline]
    #[must_use]
    pub fn count(&self) -> Option<u32> {
        match added(self.added, 27 - self.block.len()) {
            Some(bytes) => unless(u32::from_le_bytes(bytes), u32::MAX),
            None => None,
        }
    }

    #[must_use]
    pub fn lines(&self) -> Entries<'a, Line> {
        self.lines
    }

    #[must_use]
    pub fn label(&self) -> &'a str {
        self.label
    }

    #[must_use]
    pub fn reason(&self) -> &'a str {
        self.reason
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<Report, DecodeError> {
        Ok(Report {
            number: self.number(),
            colour: self.colour()?,
            mark: self.mark(),
            background: self.background()?,
            sum: self.sum(),
            count: self.count(),
        })
    }
}

/// An entry of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub price: Price,
    pub weight: Option<u32>,
    pub colour: Option<Colour>,
}

impl Entry for Line {
    const BYTES_MIN: usize = 8;
    const BLOCK_LENGTH: u16 = 13;

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; 13];
        put::<0, _, _>(&mut bytes, self.price.0.to_le_bytes());
        put::<8, _, _>(&mut bytes, self.weight.unwrap_or(u32::MAX).to_le_bytes());
        put::<12, _, _>(&mut bytes, [self.colour.map_or(255, Colour::to_wire)]);
        out.extend_from_slice(&bytes);
    }

    #[inline]
    fn read(block: &[u8]) -> Result<Line, DecodeError> {
        let Some((block, rest)) = block.split_first_chunk::<8>() else {
            return Err(DecodeError::Truncated);
        };
        Ok(Line {
            price: Price(i64::from_le_bytes(at::<0, _, _>(block))),
            weight: match added(rest, 0) {
                Some(bytes) => unless(u32::from_le_bytes(bytes), u32::MAX),
                None => None,
            },
            colour: match added(rest, 4) {
                Some(bytes) => Colour::from_nullable("colour", bytes)?,
                None => None,
            },
        })
    }
}
