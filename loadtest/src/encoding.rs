//! What clients have of a server beside JSON: SBE, by docs/sbe.md. PURE. It shares no code with the server's.

/// What a client is told its market data in, and sends its orders in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Encoding {
    Json,
    Sbe,
}

/// Of messages that are read or written here; version 0.
pub(crate) const SCHEMA: u16 = 1;
/// Of a message: length of the block, template, schema, version.
pub(crate) const HEADER_BYTES: usize = 8;

impl Encoding {
    /// Header fields of an upgrade that ask for it.
    pub(crate) const fn fields(self) -> &'static str {
        match self {
            Encoding::Json => "",
            Encoding::Sbe => "Sec-WebSocket-Protocol: sbe.tickring.v1\r\n",
        }
    }
}

/// The number at an offset of a message, if it is that long.
pub(crate) fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

/// As [`u16_at`].
pub(crate) fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// As [`u16_at`].
pub(crate) fn u64_at(message: &[u8], at: usize) -> Option<u64> {
    message.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The template of a message of the schema, and the bytes of its block.
pub(crate) fn template(message: &[u8]) -> Option<(u16, usize)> {
    let is_known = u16_at(message, 4)? == SCHEMA;
    let block = usize::from(u16_at(message, 0)?);
    (is_known && HEADER_BYTES + block <= message.len()).then_some((u16_at(message, 2)?, block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_of_the_schema_and_as_long_as_its_header_says() {
        let message = [2_u16, 30, 1, 0, 7].map(u16::to_le_bytes).concat();
        assert_eq!(template(&message), Some((30, 2)));
        assert_eq!(template(&message[..9]), None);
        assert_eq!(template(&[2_u16, 30, 2, 0, 7].map(u16::to_le_bytes).concat()), None);
        assert_eq!(template(b"{}"), None);
    }
}
