//! What a client can do wrong after the handshake, and the close code it earns.
//!
//! PURE. Allocates: never. Invariant: `reason` fits a close frame (RFC 6455 §5.5: 123 bytes).

use super::CloseCode;

/// A breach of RFC 6455 or of our limits. The connection is failed with [`Fault::close_code`] (RFC 6455 §7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A reserved bit is set that no agreed extension uses in this frame (§5.2; RFC 7692 §6).
    ReservedBits,
    /// An opcode of 3 to 7 or 11 to 15 (§5.2).
    ReservedOpcode,
    /// A control frame without FIN (§5.5).
    ControlFragmented,
    /// A control frame of more than 125 bytes (§5.5).
    ControlTooLong,
    /// A continuation frame while no message is open (§5.4).
    ContinuationWithoutStart,
    /// A text or binary frame while a fragmented message is open (§5.4).
    DataWithinMessage,
    /// A client's frame without a mask (§5.1).
    NotMasked,
    /// A payload length in more bytes than it needs (§5.2).
    LengthNotMinimal,
    /// A 64-bit payload length with its most significant bit set (§5.2).
    LengthOverflow,
    /// A data frame longer than `frame_bytes_max` (§10.4).
    FrameTooBig,
    /// A message longer than `message_bytes_max` (§10.4).
    MessageTooBig,
    /// A message of more frames than `fragments_max` (§10.4).
    TooManyFragments,
    /// A text message that is not UTF-8 (§8.1).
    TextNotUtf8,
    /// A close payload of one byte (§5.5.1).
    CloseTruncated,
    /// A close code that may not be sent (§7.4).
    CloseCodeIllegal,
    /// A close reason that is not UTF-8 (§5.5.1, §8.1).
    CloseReasonNotUtf8,
    /// A compressed message that is no DEFLATE data, or ends inside a block (RFC 7692 §7.2.2).
    DeflateInvalid,
    /// More compressed messages are incomplete than this thread holds inflaters for.
    InflatersExhausted,
}

impl Fault {
    /// Every fault, in the order a frame's bytes reveal them.
    pub const ALL: [Self; 18] = [
        Self::ReservedBits,
        Self::ReservedOpcode,
        Self::ControlFragmented,
        Self::ControlTooLong,
        Self::ContinuationWithoutStart,
        Self::DataWithinMessage,
        Self::NotMasked,
        Self::LengthNotMinimal,
        Self::LengthOverflow,
        Self::FrameTooBig,
        Self::MessageTooBig,
        Self::TooManyFragments,
        Self::TextNotUtf8,
        Self::CloseTruncated,
        Self::CloseCodeIllegal,
        Self::CloseReasonNotUtf8,
        Self::DeflateInvalid,
        Self::InflatersExhausted,
    ];

    /// Its name in counters and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved_bits",
            Self::ReservedOpcode => "reserved_opcode",
            Self::ControlFragmented => "control_fragmented",
            Self::ControlTooLong => "control_too_long",
            Self::ContinuationWithoutStart => "continuation_without_start",
            Self::DataWithinMessage => "data_within_message",
            Self::NotMasked => "not_masked",
            Self::LengthNotMinimal => "length_not_minimal",
            Self::LengthOverflow => "length_overflow",
            Self::FrameTooBig => "frame_too_big",
            Self::MessageTooBig => "message_too_big",
            Self::TooManyFragments => "too_many_fragments",
            Self::TextNotUtf8 => "text_not_utf8",
            Self::CloseTruncated => "close_truncated",
            Self::CloseCodeIllegal => "close_code_illegal",
            Self::CloseReasonNotUtf8 => "close_reason_not_utf8",
            Self::DeflateInvalid => "deflate_invalid",
            Self::InflatersExhausted => "inflaters_exhausted",
        }
    }

    /// The close code to answer with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits | Self::ReservedOpcode | Self::NotMasked => CloseCode::PROTOCOL_ERROR,
            Self::ControlFragmented | Self::ControlTooLong => CloseCode::PROTOCOL_ERROR,
            Self::ContinuationWithoutStart | Self::DataWithinMessage => CloseCode::PROTOCOL_ERROR,
            Self::LengthNotMinimal | Self::LengthOverflow => CloseCode::PROTOCOL_ERROR,
            Self::CloseTruncated | Self::CloseCodeIllegal => CloseCode::PROTOCOL_ERROR,
            Self::TextNotUtf8 | Self::CloseReasonNotUtf8 => CloseCode::INVALID_PAYLOAD,
            // The framing is right; what the message holds is not what its type says.
            Self::DeflateInvalid => CloseCode::INVALID_PAYLOAD,
            Self::InflatersExhausted => CloseCode::TRY_AGAIN_LATER,
            Self::FrameTooBig | Self::MessageTooBig => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyFragments => CloseCode::POLICY_VIOLATION,
        }
    }

    /// The close reason to answer with.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bits set that no negotiated extension uses here",
            Self::ReservedOpcode => "reserved opcode",
            Self::ControlFragmented => "fragmented control frame",
            Self::ControlTooLong => "control frame longer than 125 bytes",
            Self::ContinuationWithoutStart => "continuation frame without a message to continue",
            Self::DataWithinMessage => "new message before the fragmented one ended",
            Self::NotMasked => "frame from a client is not masked",
            Self::LengthNotMinimal => "payload length not in its shortest form",
            Self::LengthOverflow => "payload length with its most significant bit set",
            Self::FrameTooBig => "frame too big",
            Self::MessageTooBig => "message too big",
            Self::TooManyFragments => "message in too many fragments",
            Self::TextNotUtf8 => "text message is not UTF-8",
            Self::CloseTruncated => "close payload of one byte",
            Self::CloseCodeIllegal => "close code that may not be sent",
            Self::CloseReasonNotUtf8 => "close reason is not UTF-8",
            Self::DeflateInvalid => "compressed message is no whole DEFLATE data",
            Self::InflatersExhausted => "too many compressed messages are incomplete",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::close::REASON_BYTES_MAX;

    #[test]
    fn every_fault_has_a_close_code_that_may_be_sent_and_a_reason_that_fits() {
        for fault in Fault::ALL {
            assert_eq!(
                CloseCode::received(fault.close_code().value()),
                Some(fault.close_code()),
                "{fault:?}"
            );
            assert!(!fault.reason().is_empty() && fault.reason().len() <= REASON_BYTES_MAX, "{fault:?}");
        }
    }
}
