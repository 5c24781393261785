//! Farewell: the codec of the message. PURE. Written from tests/sbe/evolution/after.xml by `tests/sbe`, not by hand.

use super::{SCHEMA_ID, SCHEMA_VERSION};
use tickring::dialect::sbe::wire::{Body, DecodeError, HEADER_BYTES, Header, at, put};

/// A message that was not there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    pub number: u64,
}

impl Farewell {
    pub const TEMPLATE_ID: u16 = 3;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 8;
    const HEADER: Header = Header {
        block_length: Farewell::BLOCK_LENGTH,
        template_id: Farewell::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; HEADER_BYTES + 8];
        put::<0, _, _>(&mut bytes, Farewell::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.number.to_le_bytes());
        out.extend_from_slice(&bytes);
    }
}

/// A received [`Farewell`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct FarewellView<'a> {
    block: &'a [u8; 8],
}

impl<'a> FarewellView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<FarewellView<'a>, DecodeError> {
        let mut body = Body::open(frame, Farewell::HEADER)?;
        let (block, _) = body.block()?;
        body.close()?;
        Ok(FarewellView { block })
    }

    #[inline]
    #[must_use]
    pub fn number(&self) -> u64 {
        u64::from_le_bytes(at::<0, _, _>(self.block))
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<Farewell, DecodeError> {
        Ok(Farewell { number: self.number() })
    }
}
