//! OrderAck: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::types::{
    CancelReason, Liquidity, OrdStatus, OrdType, OrderFlags, PostOnly, Side, TickDirection, TimeInForce,
};
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{
    Body, Decimal, DecodeError, Entries, Entry, HEADER_BYTES, Header, at, put, unless, write_group,
    write_text,
};
use crate::model::decimal::{Amount, Price};

/// A request about an order is done: the order as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderAck {
    /// Chosen by the client; comes back in the answer.
    pub correlation_id: u64,
    /// When the request came in.
    pub received_time: u64,
    /// When this was written.
    pub sending_time: u64,
    pub order_id: u64,
    /// Null of a market order.
    pub price: Option<Price>,
    /// In all.
    pub amount: Amount,
    pub filled_amount: Amount,
    /// Of the fills; 0 where there are none.
    pub average_price: Price,
    pub created_time: u64,
    pub updated_time: u64,
    pub instrument_id: u32,
    pub ord_status: OrdStatus,
    pub side: Side,
    pub ord_type: OrdType,
    pub time_in_force: TimeInForce,
    pub post_only: PostOnly,
    /// Null where it is not cancelled.
    pub cancel_reason: Option<CancelReason>,
    pub flags: OrderFlags,
}

impl OrderAck {
    pub const TEMPLATE_ID: u16 = 30;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 91;
    const HEADER: Header = Header {
        block_length: OrderAck::BLOCK_LENGTH,
        template_id: OrderAck::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header. `label`: The client's own name of the order, up to 64 bytes; empty where there is none.
    ///
    /// # Panics
    /// By a text of more than 65,535 bytes.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, fills: impl IntoIterator<Item = OrderFill>, label: &str) {
        let mut bytes = [0; HEADER_BYTES + 91];
        put::<0, _, _>(&mut bytes, OrderAck::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.correlation_id.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.received_time.to_le_bytes());
        put::<24, _, _>(&mut bytes, self.sending_time.to_le_bytes());
        put::<32, _, _>(&mut bytes, self.order_id.to_le_bytes());
        put::<40, _, _>(&mut bytes, self.price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<48, _, _>(&mut bytes, self.amount.0.to_le_bytes());
        put::<56, _, _>(&mut bytes, self.filled_amount.0.to_le_bytes());
        put::<64, _, _>(&mut bytes, self.average_price.0.to_le_bytes());
        put::<72, _, _>(&mut bytes, self.created_time.to_le_bytes());
        put::<80, _, _>(&mut bytes, self.updated_time.to_le_bytes());
        put::<88, _, _>(&mut bytes, self.instrument_id.to_le_bytes());
        put::<92, _, _>(&mut bytes, [self.ord_status.to_wire()]);
        put::<93, _, _>(&mut bytes, [self.side.to_wire()]);
        put::<94, _, _>(&mut bytes, [self.ord_type.to_wire()]);
        put::<95, _, _>(&mut bytes, [self.time_in_force.to_wire()]);
        put::<96, _, _>(&mut bytes, [self.post_only.to_wire()]);
        put::<97, _, _>(&mut bytes, [self.cancel_reason.map_or(255, CancelReason::to_wire)]);
        put::<98, _, _>(&mut bytes, [self.flags.to_wire()]);
        out.extend_from_slice(&bytes);
        write_group(out, fills);
        write_text(out, label);
    }
}

/// A received [`OrderAck`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct OrderAckView<'a> {
    block: &'a [u8; 91],
    fills: Entries<'a, OrderFill>,
    label: &'a str,
}

impl<'a> OrderAckView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<OrderAckView<'a>, DecodeError> {
        let mut body = Body::open(frame, OrderAck::HEADER)?;
        let (block, _) = body.block()?;
        let fills = body.group(0)?;
        let label = body.text("label", 0)?;
        body.close()?;
        Ok(OrderAckView { block, fills, label })
    }

    /// Chosen by the client; comes back in the answer.
    #[inline]
    #[must_use]
    pub fn correlation_id(&self) -> u64 {
        u64::from_le_bytes(at::<0, _, _>(self.block))
    }

    /// When the request came in.
    #[inline]
    #[must_use]
    pub fn received_time(&self) -> u64 {
        u64::from_le_bytes(at::<8, _, _>(self.block))
    }

    /// When this was written.
    #[inline]
    #[must_use]
    pub fn sending_time(&self) -> u64 {
        u64::from_le_bytes(at::<16, _, _>(self.block))
    }

    #[inline]
    #[must_use]
    pub fn order_id(&self) -> u64 {
        u64::from_le_bytes(at::<24, _, _>(self.block))
    }

    /// Null of a market order.
    #[inline]
    #[must_use]
    pub fn price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<32, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// In all.
    #[inline]
    #[must_use]
    pub fn amount(&self) -> Amount {
        Amount(i64::from_le_bytes(at::<40, _, _>(self.block)))
    }

    #[inline]
    #[must_use]
    pub fn filled_amount(&self) -> Amount {
        Amount(i64::from_le_bytes(at::<48, _, _>(self.block)))
    }

    /// Of the fills; 0 where there are none.
    #[inline]
    #[must_use]
    pub fn average_price(&self) -> Price {
        Price(i64::from_le_bytes(at::<56, _, _>(self.block)))
    }

    #[inline]
    #[must_use]
    pub fn created_time(&self) -> u64 {
        u64::from_le_bytes(at::<64, _, _>(self.block))
    }

    #[inline]
    #[must_use]
    pub fn updated_time(&self) -> u64 {
        u64::from_le_bytes(at::<72, _, _>(self.block))
    }

    #[inline]
    #[must_use]
    pub fn instrument_id(&self) -> u32 {
        u32::from_le_bytes(at::<80, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn ord_status(&self) -> Result<OrdStatus, DecodeError> {
        OrdStatus::from_wire("ord_status", at::<84, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn side(&self) -> Result<Side, DecodeError> {
        Side::from_wire("side", at::<85, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn ord_type(&self) -> Result<OrdType, DecodeError> {
        OrdType::from_wire("ord_type", at::<86, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn time_in_force(&self) -> Result<TimeInForce, DecodeError> {
        TimeInForce::from_wire("time_in_force", at::<87, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn post_only(&self) -> Result<PostOnly, DecodeError> {
        PostOnly::from_wire("post_only", at::<88, _, _>(self.block))
    }

    /// Null where it is not cancelled.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn cancel_reason(&self) -> Result<Option<CancelReason>, DecodeError> {
        CancelReason::from_nullable("cancel_reason", at::<89, _, _>(self.block))
    }

    #[inline]
    #[must_use]
    pub fn flags(&self) -> OrderFlags {
        OrderFlags::from_wire(at::<90, _, _>(self.block))
    }

    #[must_use]
    pub fn fills(&self) -> Entries<'a, OrderFill> {
        self.fills
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
    pub fn fields(&self) -> Result<OrderAck, DecodeError> {
        Ok(OrderAck {
            correlation_id: self.correlation_id(),
            received_time: self.received_time(),
            sending_time: self.sending_time(),
            order_id: self.order_id(),
            price: self.price(),
            amount: self.amount(),
            filled_amount: self.filled_amount(),
            average_price: self.average_price(),
            created_time: self.created_time(),
            updated_time: self.updated_time(),
            instrument_id: self.instrument_id(),
            ord_status: self.ord_status()?,
            side: self.side()?,
            ord_type: self.ord_type()?,
            time_in_force: self.time_in_force()?,
            post_only: self.post_only()?,
            cancel_reason: self.cancel_reason()?,
            flags: self.flags(),
        })
    }
}

/// An entry of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderFill {
    /// Counts an instrument's trades from 1.
    pub trade_seq: u64,
    /// By the feed.
    pub event_time: u64,
    pub price: Price,
    pub amount: Amount,
    /// At the trade.
    pub mark_price: Price,
    /// What it realised, in the quote currency.
    pub profit: Decimal,
    /// Whether the order rested or took.
    pub liquidity: Liquidity,
    pub tick_direction: TickDirection,
}

impl Entry for OrderFill {
    const BYTES_MIN: usize = 51;
    const BLOCK_LENGTH: u16 = 51;

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; 51];
        put::<0, _, _>(&mut bytes, self.trade_seq.to_le_bytes());
        put::<8, _, _>(&mut bytes, self.event_time.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.price.0.to_le_bytes());
        put::<24, _, _>(&mut bytes, self.amount.0.to_le_bytes());
        put::<32, _, _>(&mut bytes, self.mark_price.0.to_le_bytes());
        put::<40, _, _>(&mut bytes, self.profit.to_bytes());
        put::<49, _, _>(&mut bytes, [self.liquidity.to_wire()]);
        put::<50, _, _>(&mut bytes, [self.tick_direction.to_wire()]);
        out.extend_from_slice(&bytes);
    }

    #[inline]
    fn read(block: &[u8]) -> Result<OrderFill, DecodeError> {
        let Some((block, _)) = block.split_first_chunk::<51>() else {
            return Err(DecodeError::Truncated);
        };
        Ok(OrderFill {
            trade_seq: u64::from_le_bytes(at::<0, _, _>(block)),
            event_time: u64::from_le_bytes(at::<8, _, _>(block)),
            price: Price(i64::from_le_bytes(at::<16, _, _>(block))),
            amount: Amount(i64::from_le_bytes(at::<24, _, _>(block))),
            mark_price: Price(i64::from_le_bytes(at::<32, _, _>(block))),
            profit: Decimal::from_bytes(at::<40, _, _>(block)),
            liquidity: Liquidity::from_wire("liquidity", at::<49, _, _>(block))?,
            tick_direction: TickDirection::from_wire("tick_direction", at::<50, _, _>(block))?,
        })
    }
}
