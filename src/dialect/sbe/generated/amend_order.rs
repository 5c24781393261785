//! AmendOrder: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::types::{Flag, PostOnly};
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{Body, DecodeError, HEADER_BYTES, Header, at, put, unless, write_text};
use crate::model::decimal::{Amount, Price};

/// Another amount or price of an order; what is null stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmendOrder {
    /// Chosen by the client; comes back in the answer.
    pub correlation_id: u64,
    /// Null: by its label.
    pub order_id: Option<u64>,
    pub price: Option<Price>,
    /// In all, what is filled included.
    pub amount: Option<Amount>,
    /// Not to be sent to the venue at this time or later.
    pub valid_until: Option<u64>,
    /// Of which the order has to be; needed with a label.
    pub instrument_id: Option<u32>,
    pub post_only: Option<PostOnly>,
    pub reduce_only: Option<Flag>,
}

impl AmendOrder {
    pub const TEMPLATE_ID: u16 = 21;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 46;
    const HEADER: Header = Header {
        block_length: AmendOrder::BLOCK_LENGTH,
        template_id: AmendOrder::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header. `label`: The client's own name of the order, up to 64 bytes; empty where there is none.
    ///
    /// # Panics
    /// By a text of more than 65,535 bytes.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, label: &str) {
        let mut bytes = [0; HEADER_BYTES + 46];
        put::<0, _, _>(&mut bytes, AmendOrder::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.correlation_id.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.order_id.unwrap_or(u64::MAX).to_le_bytes());
        put::<24, _, _>(&mut bytes, self.price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<32, _, _>(&mut bytes, self.amount.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<40, _, _>(&mut bytes, self.valid_until.unwrap_or(u64::MAX).to_le_bytes());
        put::<48, _, _>(&mut bytes, self.instrument_id.unwrap_or(u32::MAX).to_le_bytes());
        put::<52, _, _>(&mut bytes, [self.post_only.map_or(255, PostOnly::to_wire)]);
        put::<53, _, _>(&mut bytes, [self.reduce_only.map_or(255, Flag::to_wire)]);
        out.extend_from_slice(&bytes);
        write_text(out, label);
    }
}

/// A received [`AmendOrder`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct AmendOrderView<'a> {
    block: &'a [u8; 46],
    label: &'a str,
}

impl<'a> AmendOrderView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<AmendOrderView<'a>, DecodeError> {
        let mut body = Body::open(frame, AmendOrder::HEADER)?;
        let (block, _) = body.block()?;
        let label = body.text("label", 0)?;
        body.close()?;
        Ok(AmendOrderView { block, label })
    }

    /// Chosen by the client; comes back in the answer.
    #[inline]
    #[must_use]
    pub fn correlation_id(&self) -> u64 {
        u64::from_le_bytes(at::<0, _, _>(self.block))
    }

    /// Null: by its label.
    #[inline]
    #[must_use]
    pub fn order_id(&self) -> Option<u64> {
        unless(u64::from_le_bytes(at::<8, _, _>(self.block)), u64::MAX)
    }

    #[inline]
    #[must_use]
    pub fn price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<16, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// In all, what is filled included.
    #[inline]
    #[must_use]
    pub fn amount(&self) -> Option<Amount> {
        unless(i64::from_le_bytes(at::<24, _, _>(self.block)), i64::MIN).map(Amount)
    }

    /// Not to be sent to the venue at this time or later.
    #[inline]
    #[must_use]
    pub fn valid_until(&self) -> Option<u64> {
        unless(u64::from_le_bytes(at::<32, _, _>(self.block)), u64::MAX)
    }

    /// Of which the order has to be; needed with a label.
    #[inline]
    #[must_use]
    pub fn instrument_id(&self) -> Option<u32> {
        unless(u32::from_le_bytes(at::<40, _, _>(self.block)), u32::MAX)
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn post_only(&self) -> Result<Option<PostOnly>, DecodeError> {
        PostOnly::from_nullable("post_only", at::<44, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn reduce_only(&self) -> Result<Option<Flag>, DecodeError> {
        Flag::from_nullable("reduce_only", at::<45, _, _>(self.block))
    }

    /// The client's own name of the order, up to 64 bytes; empty where there is none.
    #[must_use]
    pub fn label(&self) -> &'a str {
        self.label
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<AmendOrder, DecodeError> {
        Ok(AmendOrder {
            correlation_id: self.correlation_id(),
            order_id: self.order_id(),
            price: self.price(),
            amount: self.amount(),
            valid_until: self.valid_until(),
            instrument_id: self.instrument_id(),
            post_only: self.post_only()?,
            reduce_only: self.reduce_only()?,
        })
    }
}
