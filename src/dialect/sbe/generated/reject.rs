//! Reject: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{Body, DecodeError, HEADER_BYTES, Header, at, put, unless, write_text};

/// A request is refused: nothing is done, but where the reason says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Of the request; null where it can not be read.
    pub correlation_id: Option<u64>,
    /// When the request came in.
    pub received_time: u64,
    /// When this was written.
    pub sending_time: u64,
    /// By which to ask what became of it.
    pub order_id: Option<u64>,
    /// As the errors of JSON-RPC have it.
    pub code: i32,
    pub credits_left: Option<u32>,
    /// When an order is affordable again.
    pub retry_after_ms: Option<u32>,
    /// Of the request; null where it can not be read.
    pub ref_template_id: Option<u16>,
}

impl Reject {
    pub const TEMPLATE_ID: u16 = 31;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 46;
    const HEADER: Header = Header {
        block_length: Reject::BLOCK_LENGTH,
        template_id: Reject::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header. `message`: What the code is called. `reason`: More of it; may be empty. `param`: What is at fault; may be empty.
    ///
    /// # Panics
    /// By a text of more than 65,535 bytes.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>, message: &str, reason: &str, param: &str) {
        let mut bytes = [0; HEADER_BYTES + 46];
        put::<0, _, _>(&mut bytes, Reject::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.correlation_id.unwrap_or(u64::MAX).to_le_bytes());
        put::<16, _, _>(&mut bytes, self.received_time.to_le_bytes());
        put::<24, _, _>(&mut bytes, self.sending_time.to_le_bytes());
        put::<32, _, _>(&mut bytes, self.order_id.unwrap_or(u64::MAX).to_le_bytes());
        put::<40, _, _>(&mut bytes, self.code.to_le_bytes());
        put::<44, _, _>(&mut bytes, self.credits_left.unwrap_or(u32::MAX).to_le_bytes());
        put::<48, _, _>(&mut bytes, self.retry_after_ms.unwrap_or(u32::MAX).to_le_bytes());
        put::<52, _, _>(&mut bytes, self.ref_template_id.unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(&bytes);
        write_text(out, message);
        write_text(out, reason);
        write_text(out, param);
    }
}

/// A received [`Reject`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct RejectView<'a> {
    block: &'a [u8; 46],
    message: &'a str,
    reason: &'a str,
    param: &'a str,
}

impl<'a> RejectView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<RejectView<'a>, DecodeError> {
        let mut body = Body::open(frame, Reject::HEADER)?;
        let (block, _) = body.block()?;
        let message = body.text("message", 0)?;
        let reason = body.text("reason", 0)?;
        let param = body.text("param", 0)?;
        body.close()?;
        Ok(RejectView { block, message, reason, param })
    }

    /// Of the request; null where it can not be read.
    #[inline]
    #[must_use]
    pub fn correlation_id(&self) -> Option<u64> {
        unless(u64::from_le_bytes(at::<0, _, _>(self.block)), u64::MAX)
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

    /// By which to ask what became of it.
    #[inline]
    #[must_use]
    pub fn order_id(&self) -> Option<u64> {
        unless(u64::from_le_bytes(at::<24, _, _>(self.block)), u64::MAX)
    }

    /// As the errors of JSON-RPC have it.
    #[inline]
    #[must_use]
    pub fn code(&self) -> i32 {
        i32::from_le_bytes(at::<32, _, _>(self.block))
    }

    #[inline]
    #[must_use]
    pub fn credits_left(&self) -> Option<u32> {
        unless(u32::from_le_bytes(at::<36, _, _>(self.block)), u32::MAX)
    }

    /// When an order is affordable again.
    #[inline]
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u32> {
        unless(u32::from_le_bytes(at::<40, _, _>(self.block)), u32::MAX)
    }

    /// Of the request; null where it can not be read.
    #[inline]
    #[must_use]
    pub fn ref_template_id(&self) -> Option<u16> {
        unless(u16::from_le_bytes(at::<44, _, _>(self.block)), u16::MAX)
    }

    /// What the code is called.
    #[must_use]
    pub fn message(&self) -> &'a str {
        self.message
    }

    /// More of it; may be empty.
    #[must_use]
    pub fn reason(&self) -> &'a str {
        self.reason
    }

    /// What is at fault; may be empty.
    #[must_use]
    pub fn param(&self) -> &'a str {
        self.param
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<Reject, DecodeError> {
        Ok(Reject {
            correlation_id: self.correlation_id(),
            received_time: self.received_time(),
            sending_time: self.sending_time(),
            order_id: self.order_id(),
            code: self.code(),
            credits_left: self.credits_left(),
            retry_after_ms: self.retry_after_ms(),
            ref_template_id: self.ref_template_id(),
        })
    }
}
