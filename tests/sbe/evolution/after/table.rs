//! Table: the codec of the message. PURE. Written from tests/sbe/evolution/after.xml by `tests/sbe`, not by hand.

use super::{SCHEMA_ID, SCHEMA_VERSION};
use tickring::dialect::sbe::wire::{
    Body, DecodeError, Entries, Entry, HEADER_BYTES, Header, at, put, write_group,
};
use tickring::model::decimal::Price;

/// A message without texts that has another group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    pub number: u64,
}

impl Table {
    pub const TEMPLATE_ID: u16 = 2;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 8;
    const HEADER: Header = Header {
        block_length: Table::BLOCK_LENGTH,
        template_id: Table::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header.
    #[inline]
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        lines: impl IntoIterator<Item = TableLine>,
        notes: impl IntoIterator<Item = Note>,
    ) {
        let mut bytes = [0; HEADER_BYTES + 8];
        put::<0, _, _>(&mut bytes, Table::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.number.to_le_bytes());
        out.extend_from_slice(&bytes);
        write_group(out, lines);
        write_group(out, notes);
    }
}

/// A received [`Table`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct TableView<'a> {
    block: &'a [u8; 8],
    lines: Entries<'a, TableLine>,
    notes: Entries<'a, Note>,
}

impl<'a> TableView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<TableView<'a>, DecodeError> {
        let mut body = Body::open(frame, Table::HEADER)?;
        let (block, _) = body.block()?;
        let lines = body.group(0)?;
        let notes = body.group(1)?;
        body.close()?;
        Ok(TableView { block, lines, notes })
    }

    #[inline]
    #[must_use]
    pub fn number(&self) -> u64 {
        u64::from_le_bytes(at::<0, _, _>(self.block))
    }

    #[must_use]
    pub fn lines(&self) -> Entries<'a, TableLine> {
        self.lines
    }

    #[must_use]
    pub fn notes(&self) -> Entries<'a, Note> {
        self.notes
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<Table, DecodeError> {
        Ok(Table { number: self.number() })
    }
}

/// An entry of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLine {
    pub price: Price,
}

impl Entry for TableLine {
    const BYTES_MIN: usize = 8;
    const BLOCK_LENGTH: u16 = 8;

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; 8];
        put::<0, _, _>(&mut bytes, self.price.0.to_le_bytes());
        out.extend_from_slice(&bytes);
    }

    #[inline]
    fn read(block: &[u8]) -> Result<TableLine, DecodeError> {
        let Some((block, _)) = block.split_first_chunk::<8>() else {
            return Err(DecodeError::Truncated);
        };
        Ok(TableLine { price: Price(i64::from_le_bytes(at::<0, _, _>(block))) })
    }
}

/// An entry of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    pub number: u64,
}

impl Entry for Note {
    const BYTES_MIN: usize = 8;
    const BLOCK_LENGTH: u16 = 8;

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; 8];
        put::<0, _, _>(&mut bytes, self.number.to_le_bytes());
        out.extend_from_slice(&bytes);
    }

    #[inline]
    fn read(block: &[u8]) -> Result<Note, DecodeError> {
        let Some((block, _)) = block.split_first_chunk::<8>() else {
            return Err(DecodeError::Truncated);
        };
        Ok(Note { number: u64::from_le_bytes(at::<0, _, _>(block)) })
    }
}
