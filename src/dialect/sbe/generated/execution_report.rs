//! ExecutionReport: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::types::{
    CancelReason, ExecType, Liquidity, OrdStatus, OrdType, OrderFlags, PostOnly, Side, TickDirection,
    TimeInForce,
};
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{
    Body, Decimal, DecodeError, HEADER_BYTES, Header, at, put, unless, write_text,
};
use crate::model::decimal::{Amount, Price};

/// What became of an order: `user.orders.…`; a fill of one: `user.trades.…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutionReport {
    /// The life of the stream: milliseconds since 1970.
    pub epoch: u64,
    /// The place in the account's stream.
    pub seq: u64,
    /// The place of the channel's event before it.
    pub prev_seq: u64,
    /// When its home stamped it.
    pub sending_time: u64,
    pub order_id: u64,
    /// Of the order; null of a market order and of a fill.
    pub price: Option<Price>,
    /// Of the order in all; null of a fill.
    pub amount: Option<Amount>,
    /// Null of a fill.
    pub filled_amount: Option<Amount>,
    /// Null of a fill.
    pub average_price: Option<Price>,
    /// Of the order; null of a fill.
    pub created_time: Option<u64>,
    /// Of the order's last change, or of the fill.
    pub updated_time: u64,
    /// Of a fill: the market's trade that it is one side of.
    pub trade_seq: Option<u64>,
    /// Of a fill.
    pub last_price: Option<Price>,
    /// Of a fill.
    pub last_amount: Option<Amount>,
    /// At a fill.
    pub mark_price: Option<Price>,
    /// Of a fill: what it realised, in the quote currency.
    pub profit: Option<Decimal>,
    pub instrument_id: u32,
    pub exec_type: ExecType,
    pub ord_status: OrdStatus,
    pub side: Side,
    pub ord_type: OrdType,
    /// Null of a fill.
    pub time_in_force: Option<TimeInForce>,
    pub post_only: PostOnly,
    /// Null where it is not cancelled.
    pub cancel_reason: Option<CancelReason>,
    pub flags: OrderFlags,
    /// Of a fill.
    pub liquidity: Option<Liquidity>,
    /// Of a fill.
    pub tick_direction: Option<TickDirection>,
}

impl ExecutionReport {
    pub const TEMPLATE_ID: u16 = 32;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 143;
    const HEADER: Header = Header {
        block_length: ExecutionReport::BLOCK_LENGTH,
        template_id: ExecutionReport::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header. `label`: The client's own name of the order, up to 64 bytes; empty where there is none.
    ///
    /// # Panics
    /// By a text of more than 65,535 bytes.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, label: &str) {
        let mut bytes = [0; HEADER_BYTES + 143];
        put::<0, _, _>(&mut bytes, ExecutionReport::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.epoch.to_le_bytes());
        put::<16, _, _>(&mut bytes, self.seq.to_le_bytes());
        put::<24, _, _>(&mut bytes, self.prev_seq.to_le_bytes());
        put::<32, _, _>(&mut bytes, self.sending_time.to_le_bytes());
        put::<40, _, _>(&mut bytes, self.order_id.to_le_bytes());
        put::<48, _, _>(&mut bytes, self.price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<56, _, _>(&mut bytes, self.amount.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<64, _, _>(&mut bytes, self.filled_amount.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<72, _, _>(&mut bytes, self.average_price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<80, _, _>(&mut bytes, self.created_time.unwrap_or(u64::MAX).to_le_bytes());
        put::<88, _, _>(&mut bytes, self.updated_time.to_le_bytes());
        put::<96, _, _>(&mut bytes, self.trade_seq.unwrap_or(u64::MAX).to_le_bytes());
        put::<104, _, _>(&mut bytes, self.last_price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<112, _, _>(&mut bytes, self.last_amount.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<120, _, _>(&mut bytes, self.mark_price.map_or(i64::MIN, |units| units.0).to_le_bytes());
        put::<128, _, _>(&mut bytes, Decimal::to_nullable_bytes(self.profit));
        put::<137, _, _>(&mut bytes, self.instrument_id.to_le_bytes());
        put::<141, _, _>(&mut bytes, [self.exec_type.to_wire()]);
        put::<142, _, _>(&mut bytes, [self.ord_status.to_wire()]);
        put::<143, _, _>(&mut bytes, [self.side.to_wire()]);
        put::<144, _, _>(&mut bytes, [self.ord_type.to_wire()]);
        put::<145, _, _>(&mut bytes, [self.time_in_force.map_or(0, TimeInForce::to_wire)]);
        put::<146, _, _>(&mut bytes, [self.post_only.to_wire()]);
        put::<147, _, _>(&mut bytes, [self.cancel_reason.map_or(255, CancelReason::to_wire)]);
        put::<148, _, _>(&mut bytes, [self.flags.to_wire()]);
        put::<149, _, _>(&mut bytes, [self.liquidity.map_or(255, Liquidity::to_wire)]);
        put::<150, _, _>(&mut bytes, [self.tick_direction.map_or(0, TickDirection::to_wire)]);
        out.extend_from_slice(&bytes);
        write_text(out, label);
    }
}

/// A received [`ExecutionReport`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct ExecutionReportView<'a> {
    block: &'a [u8; 143],
    label: &'a str,
}

impl<'a> ExecutionReportView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<ExecutionReportView<'a>, DecodeError> {
        let mut body = Body::open(frame, ExecutionReport::HEADER)?;
        let (block, _) = body.block()?;
        let label = body.text("label", 0)?;
        body.close()?;
        Ok(ExecutionReportView { block, label })
    }

    /// The life of the stream: milliseconds since 1970.
    #[inline]
    #[must_use]
    pub fn epoch(&self) -> u64 {
        u64::from_le_bytes(at::<0, _, _>(self.block))
    }

    /// The place in the account's stream.
    #[inline]
    #[must_use]
    pub fn seq(&self) -> u64 {
        u64::from_le_bytes(at::<8, _, _>(self.block))
    }

    /// The place of the channel's event before it.
    #[inline]
    #[must_use]
    pub fn prev_seq(&self) -> u64 {
        u64::from_le_bytes(at::<16, _, _>(self.block))
    }

    /// When its home stamped it.
    #[inline]
    #[must_use]
    pub fn sending_time(&self) -> u64 {
        u64::from_le_bytes(at::<24, _, _>(self.block))
    }

    #[inline]
    #[must_use]
    pub fn order_id(&self) -> u64 {
        u64::from_le_bytes(at::<32, _, _>(self.block))
    }

    /// Of the order; null of a market order and of a fill.
    #[inline]
    #[must_use]
    pub fn price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<40, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// Of the order in all; null of a fill.
    #[inline]
    #[must_use]
    pub fn amount(&self) -> Option<Amount> {
        unless(i64::from_le_bytes(at::<48, _, _>(self.block)), i64::MIN).map(Amount)
    }

    /// Null of a fill.
    #[inline]
    #[must_use]
    pub fn filled_amount(&self) -> Option<Amount> {
        unless(i64::from_le_bytes(at::<56, _, _>(self.block)), i64::MIN).map(Amount)
    }

    /// Null of a fill.
    #[inline]
    #[must_use]
    pub fn average_price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<64, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// Of the order; null of a fill.
    #[inline]
    #[must_use]
    pub fn created_time(&self) -> Option<u64> {
        unless(u64::from_le_bytes(at::<72, _, _>(self.block)), u64::MAX)
    }

    /// Of the order's last change, or of the fill.
    #[inline]
    #[must_use]
    pub fn updated_time(&self) -> u64 {
        u64::from_le_bytes(at::<80, _, _>(self.block))
    }

    /// Of a fill: the market's trade that it is one side of.
    #[inline]
    #[must_use]
    pub fn trade_seq(&self) -> Option<u64> {
        unless(u64::from_le_bytes(at::<88, _, _>(self.block)), u64::MAX)
    }

    /// Of a fill.
    #[inline]
    #[must_use]
    pub fn last_price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<96, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// Of a fill.
    #[inline]
    #[must_use]
    pub fn last_amount(&self) -> Option<Amount> {
        unless(i64::from_le_bytes(at::<104, _, _>(self.block)), i64::MIN).map(Amount)
    }

    /// At a fill.
    #[inline]
    #[must_use]
    pub fn mark_price(&self) -> Option<Price> {
        unless(i64::from_le_bytes(at::<112, _, _>(self.block)), i64::MIN).map(Price)
    }

    /// Of a fill: what it realised, in the quote currency.
    #[inline]
    #[must_use]
    pub fn profit(&self) -> Option<Decimal> {
        Decimal::from_nullable_bytes(at::<120, _, _>(self.block))
    }

    #[inline]
    #[must_use]
    pub fn instrument_id(&self) -> u32 {
        u32::from_le_bytes(at::<129, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn exec_type(&self) -> Result<ExecType, DecodeError> {
        ExecType::from_wire("exec_type", at::<133, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn ord_status(&self) -> Result<OrdStatus, DecodeError> {
        OrdStatus::from_wire("ord_status", at::<134, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn side(&self) -> Result<Side, DecodeError> {
        Side::from_wire("side", at::<135, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn ord_type(&self) -> Result<OrdType, DecodeError> {
        OrdType::from_wire("ord_type", at::<136, _, _>(self.block))
    }

    /// Null of a fill.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn time_in_force(&self) -> Result<Option<TimeInForce>, DecodeError> {
        TimeInForce::from_nullable("time_in_force", at::<137, _, _>(self.block))
    }

    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn post_only(&self) -> Result<PostOnly, DecodeError> {
        PostOnly::from_wire("post_only", at::<138, _, _>(self.block))
    }

    /// Null where it is not cancelled.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn cancel_reason(&self) -> Result<Option<CancelReason>, DecodeError> {
        CancelReason::from_nullable("cancel_reason", at::<139, _, _>(self.block))
    }

    #[inline]
    #[must_use]
    pub fn flags(&self) -> OrderFlags {
        OrderFlags::from_wire(at::<140, _, _>(self.block))
    }

    /// Of a fill.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn liquidity(&self) -> Result<Option<Liquidity>, DecodeError> {
        Liquidity::from_nullable("liquidity", at::<141, _, _>(self.block))
    }

    /// Of a fill.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn tick_direction(&self) -> Result<Option<TickDirection>, DecodeError> {
        TickDirection::from_nullable("tick_direction", at::<142, _, _>(self.block))
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
    pub fn fields(&self) -> Result<ExecutionReport, DecodeError> {
        Ok(ExecutionReport {
            epoch: self.epoch(),
            seq: self.seq(),
            prev_seq: self.prev_seq(),
            sending_time: self.sending_time(),
            order_id: self.order_id(),
            price: self.price(),
            amount: self.amount(),
            filled_amount: self.filled_amount(),
            average_price: self.average_price(),
            created_time: self.created_time(),
            updated_time: self.updated_time(),
            trade_seq: self.trade_seq(),
            last_price: self.last_price(),
            last_amount: self.last_amount(),
            mark_price: self.mark_price(),
            profit: self.profit(),
            instrument_id: self.instrument_id(),
            exec_type: self.exec_type()?,
            ord_status: self.ord_status()?,
            side: self.side()?,
            ord_type: self.ord_type()?,
            time_in_force: self.time_in_force()?,
            post_only: self.post_only()?,
            cancel_reason: self.cancel_reason()?,
            flags: self.flags(),
            liquidity: self.liquidity()?,
            tick_direction: self.tick_direction()?,
        })
    }
}
