//! Report: the codec of the message. PURE. Written from tests/sbe/evolution/before.xml by `tests/sbe`, not by hand.

use super::types::Colour;
use super::{SCHEMA_ID, SCHEMA_VERSION};
use tickring::dialect::sbe::wire::{
    Body, DecodeError, Entries, Entry, HEADER_BYTES, Header, at, put, write_group, write_text,
};
use tickring::model::decimal::Price;

/// A message that will have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub number: u64,
    pub colour: Colour,
}

impl Report {
    pub const TEMPLATE_ID: u16 = 1;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 9;
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
    pub fn encode(&self, out: &mut Vec<u8>, lines: impl IntoIterator<Item = Line>, label: &str) {
        let mut bytes = [0; HEADER_BYTES + 9];
        put::<0, _, _>(&mut bytes, Report::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.number.to_le_bytes());
        put::<16, _, _>(&mut bytes, [self.colour.to_wire()]);
        out.extend_from_slice(&bytes);
        write_group(out, lines);
        write_text(out, label);
    }
}

/// A received [`Report`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct ReportView<'a> {
    block: &'a [u8; 9],
    lines: Entries<'a, Line>,
    label: &'a str,
}

impl<'a> ReportView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<ReportView<'a>, DecodeError> {
        let mut body = Body::open(frame, Report::HEADER)?;
        let (block, _) = body.block()?;
        let lines = body.group(0)?;
        let label = body.text("label", 0)?;
        body.close()?;
        Ok(ReportView { block, lines, label })
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

    #[must_use]
    pub fn lines(&self) -> Entries<'a, Line> {
        self.lines
    }

    #[must_use]
    pub fn label(&self) -> &'a str {
        self.label
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<Report, DecodeError> {
        Ok(Report { number: self.number(), colour: self.colour()? })
    }
}

/// An entry of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub price: Price,
}

impl Entry for Line {
    const BYTES_MIN: usize = 8;
    const BLOCK_LENGTH: u16 = 8;

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; 8];
        put::<0, _, _>(&mut bytes, self.price.0.to_le_bytes());
        out.extend_from_slice(&bytes);
    }

    #[inline]
    fn read(block: &[u8]) -> Result<Line, DecodeError> {
        let Some((block, _)) = block.split_first_chunk::<8>() else {
            return Err(DecodeError::Truncated);
        };
        Ok(Line { price: Price(i64::from_le_bytes(at::<0, _, _>(block))) })
    }
}
