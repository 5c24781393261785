//! NewOrder: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::types::{OrdType, OrderFlags, PostOnly, Side, TimeInForce};
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{Body, DecodeError, HEADER_BYTES, Header, at, put, unless, write_text};
use crate::model::decimal::{Amount, Price};

/// A new order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Chosen by the client; comes back in the answer.
    pub correlation_id: u64,
    /// Null of a market order.
    pub price: Option<Price>,
    pub amount: Amount,
    /// Not to be sent to the venue at this time or later.
    pub valid_until: Option<u64>,
    /// As `instrument_id` of `public/get_instruments`.
    pub instrument_id: u32,
    pub side: Side,
    pub ord_type: OrdType,
    pub time_in_force: TimeInForce,
    /// What becomes of it where it would take liquidity.
    pub post_only: PostOnly,
    /// `reduceOnly`; the others are passed over.
    pub flags: OrderFlags,
}

impl NewOrder {
    pub const TEMPLATE_ID: u16 = 20;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 41;
    const HEADER: Header = Header {
        block_length: NewOrder::BLOCK_LENGTH,
        template_id: NewOrder::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header. `label`: The client's own name of the order, up to 64 bytes; empty where there is none.
    ///
    /// # Panics
    /// By a text of more than 65,535 bytes.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, label: &str) {
        let mut bytes = [0; HEADER_BYTES + 41];
        put::<0, _, _>(&mut bytes, NewOrder::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.correlation_id.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<24, _, _>(&mut bytes, self.amount.0.to_le_bytes());
        put::<32, _, _>(&mut bytes, self.valid_until.unwrap_or(u64::MAX).to_le_bytes());
        put::<40, _, _>(&mut bytes, self.instrument_id.to_le_bytes());
        put::<44, _, _>(&mut bytes, [self.side.to_wire()]);
        put::<45, _, _>(&mut bytes, [self.ord_type.to_wire()]);
        put::<46, _, _>(&mut bytes, [self.time_in_force.to_wire()]);
        put::<47, _, _>(&mut bytes, [self.post_only.to_wire()]);
        put::<48, _, _>(&mut bytes, [self.flags.to_wire()]);
        out.extend_from_slice(&bytes);
        write_text(out, label);
    }
}

/// A received [`NewOrder`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct NewOrderView<'a> {
    block: &'a [u8; 41],
    label: &'a str,
}

impl<'a> NewOrderView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<NewOrderView<'a>, DecodeError> {
        let mut body = Body::open(frame, NewOrder::HEADER)?;
        let (block, _) = body.block()?;
        let label = body.text("label", 0)?;
        body.close()?;
        Ok(NewOrderView { block, label })
    }

    /// Chosen by the client; comes back in the answer.
    #[inline]
    #[must_use]
    pub fn correlation_id(&self) -> u64 {
        u64::from_le_bytes(at::<0, _, _>(self.block))
    }

    /// Null of a market order.
    #[inline]
    #[must_use]
    pub fn price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<8, _, _>(self.block)), i64::MIN).map(Price)
    }

    #[inline]
    #[must_use]
    pub fn amount(&self) -> Amount {
        Amount(i64::from_le_bytes(at::<16, _, _>(self.block)))
    }

    /// Not to be sent to the venue at this time or later.
    #[inline]
    #[must_use]
    pub fn valid_until(&self) -> Option<u64> {
        unless(u64::from_le_bytes(at::<24, _, _>(self.block)), u64::MAX)
    }

    /// As `instrument_id` of `public/get_instruments`.
    #[inline]
    #[must_use]
    pub fn instrument_id(&self) -> u32 {
        u32::from_le_bytes(at::<32, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn side(&self) -> Result<Side, DecodeError> {
        Side::from_wire("side", at::<36, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn ord_type(&self) -> Result<OrdType, DecodeError> {
        OrdType::from_wire("ord_type", at::<37, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn time_in_force(&self) -> Result<TimeInForce, DecodeError> {
        TimeInForce::from_wire("time_in_force", at::<38, _, _>(self.block))
    }

    /// What becomes of it where it would take liquidity.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn post_only(&self) -> Result<PostOnly, DecodeError> {
        PostOnly::from_wire("post_only", at::<39, _, _>(self.block))
    }

    /// `reduceOnly`; the others are passed over.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> OrderFlags {
        OrderFlags::from_wire(at::<40, _, _>(self.block))
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
    pub fn fields(&self) -> Result<NewOrder, DecodeError> {
        Ok(NewOrder {
            correlation_id: self.correlation_id(),
            price: self.price(),
            amount: self.amount(),
            valid_until: self.valid_until(),
            instrument_id: self.instrument_id(),
            side: self.side()?,
            ord_type: self.ord_type()?,
            time_in_force: self.time_in_force()?,
            post_only: self.post_only()?,
            flags: self.flags(),
        })
    }
}
