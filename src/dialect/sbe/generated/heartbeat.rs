//! Heartbeat: the codec of the message. PURE. Written from docs/sbe/tickring.xml by `tests/sbe`, not by hand.

use super::types::HeartbeatKind;
use super::{SCHEMA_ID, SCHEMA_VERSION};
use crate::dialect::sbe::wire::{Body, DecodeError, HEADER_BYTES, Header, at, put};

/// The server is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// When it was written.
    pub sending_time: u64,
    /// Whether an answer is asked for.
    pub kind: HeartbeatKind,
}

impl Heartbeat {
    pub const TEMPLATE_ID: u16 = 1;
    /// Bytes of its fields as they are written.
    pub const BLOCK_LENGTH: u16 = 9;
    const HEADER: Header = Header {
        block_length: Heartbeat::BLOCK_LENGTH,
        template_id: Heartbeat::TEMPLATE_ID,
        schema_id: SCHEMA_ID,
        version: SCHEMA_VERSION,
    };

    /// Appends the message with its header.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; HEADER_BYTES + 9];
        put::<0, _, _>(&mut bytes, Heartbeat::HEADER.to_bytes());
        put::<8, _, _>(&mut bytes, self.sending_time.to_le_bytes());
        put::<16, _, _>(&mut bytes, [self.kind.to_wire()]);
        out.extend_from_slice(&bytes);
    }
}

/// A received [`Heartbeat`], read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatView<'a> {
    block: &'a [u8; 9],
}

impl<'a> HeartbeatView<'a> {
    /// # Errors
    /// Bytes that are no such message.
    #[inline]
    pub fn decode(frame: &'a [u8]) -> Result<HeartbeatView<'a>, DecodeError> {
        let mut body = Body::open(frame, Heartbeat::HEADER)?;
        let (block, _) = body.block()?;
        body.close()?;
        Ok(HeartbeatView { block })
    }

    /// When it was written.
    #[inline]
    #[must_use]
    pub fn sending_time(&self) -> u64 {
        u64::from_le_bytes(at::<0, _, _>(self.block))
    }

    /// Whether an answer is asked for.
    ///
    /// # Errors
    /// A value that is not known.
    #[inline]
    pub fn kind(&self) -> Result<HeartbeatKind, DecodeError> {
        HeartbeatKind::from_wire("kind", at::<8, _, _>(self.block))
    }

    /// All fields, without groups and texts.
    ///
    /// # Errors
    /// A value of an enumeration that is not known.
    pub fn fields(&self) -> Result<Heartbeat, DecodeError> {
        Ok(Heartbeat { sending_time: self.sending_time(), kind: self.kind()? })
    }
}
