//! CancelOrder: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{Body, DecodeError, HEADER_BYTES, Header, at, put, unless};

/// The end of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelOrder {
    /// Chosen by the client; comes back in the answer.
    pub correlation_id: u64,
    pub order_id: u64,
    /// Not to be sent to the venue at this time or later.
    pub valid_until: Option<u64>,
}

impl CancelOrder {
    pub const TEMPLATE_ID: u16 = 22;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 24;
    const HEADER: Header = Header {
        block_length: CancelOrder::BLOCK_LENGTH,
        template_id: CancelOrder::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; HEADER_BYTES + 24];
        put::<0, _, _>(&mut bytes, CancelOrder::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.correlation_id.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.order_id.to_le_bytes());
        put::<24, _, _>(&mut bytes, self.valid_until.unwrap_or(u64::MAX).to_le_bytes());
        out.extend_from_slice(&bytes);
    }
}

/// A received [`CancelOrder`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct CancelOrderView<'a> {
    block: &'a [u8; 24],
}

impl<'a> CancelOrderView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<CancelOrderView<'a>, DecodeError> {
        let mut body = Body::open(frame, CancelOrder::HEADER)?;
        let (block, _) = body.block()?;
        body.close()?;
        Ok(CancelOrderView { block })
    }

    /// Chosen by the client; comes back in the answer.
    #[inline]
    #[must_use]
    pub fn correlation_id(&self) -> u64 {
        u64::from_le_bytes(at::<0, _, _>(self.block))
    }

    #[inline]
    #[must_use]
    pub fn order_id(&self) -> u64 {
        u64::from_le_bytes(at::<8, _, _>(self.block))
    }

    /// Not to be sent to the venue at this time or later.
    #[inline]
    #[must_use]
    pub fn valid_until(&self) -> Option<u64> {
        unless(u64::from_le_bytes(at::<16, _, _>(self.block)), u64::MAX)
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<CancelOrder, DecodeError> {
        Ok(CancelOrder {
            correlation_id: self.correlation_id(),
            order_id: self.order_id(),
            valid_until: self.valid_until(),
        })
    }
}
