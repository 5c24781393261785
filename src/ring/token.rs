//! What a submission carries and its completion brings back: which operation, on whose behalf.
//!
//! Home: one shard. Sixty-four bits: operation 8, generation 24, slot 32. The generation lets a completion that comes
//! after its connection is gone be told from one that belongs to the slot's next owner.

/// The generation is the part of a token that is not the slot or the operation.
pub(super) const GENERATION_BITS: u32 = 24;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// The operations a ring submits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Accept = 1,
    CancelAccept = 2,
    Receive = 3,
    CancelReceive = 4,
    Send = 5,
    CancelSend = 6,
    Shutdown = 7,
    Close = 8,
    Doorbell = 9,
    Connect = 10,
    CancelConnect = 11,
    Install = 12,
}

impl Operation {
    const fn from_bits(bits: u64) -> Option<Operation> {
        Some(match bits {
            1 => Operation::Accept,
            2 => Operation::CancelAccept,
            3 => Operation::Receive,
            4 => Operation::CancelReceive,
            5 => Operation::Send,
            6 => Operation::CancelSend,
            7 => Operation::Shutdown,
            8 => Operation::Close,
            9 => Operation::Doorbell,
            10 => Operation::Connect,
            11 => Operation::CancelConnect,
            12 => Operation::Install,
            _ => return None,
        })
    }
}

/// The `user_data` of a submission. For a listener's operations `slot` is the listener, and `generation` the place among its
/// accepts. For those of an outgoing connection that is not made yet, `slot` is its place, and `generation` 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) operation: Operation,
    pub(super) generation: u32,
    pub(super) slot: u32,
}

impl Token {
    pub(super) const fn bits(self) -> u64 {
        (self.operation as u64) << 56 | ((self.generation & GENERATION_MASK) as u64) << 32 | self.slot as u64
    }

    /// `None` for a bit pattern no ring submits.
    pub(super) fn from_bits(bits: u64) -> Option<Token> {
        let operation = Operation::from_bits(bits >> 56)?;
        #[expect(clippy::cast_possible_truncation, reason = "the low half and the middle 24 bits are meant")]
        let (slot, generation) = (bits as u32, (bits >> 32) as u32 & GENERATION_MASK);
        Some(Token { operation, generation, slot })
    }
}

/// The generation after `generation`, of [`GENERATION_BITS`] bits; never 0, which no connection has.
pub(super) const fn next_generation(generation: u32) -> u32 {
    if generation >= GENERATION_MASK { 1 } else { generation + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_survives_the_kernel() {
        for bits in 1..=12 {
            let operation = Operation::from_bits(bits).unwrap();
            assert_eq!(operation as u64, bits);
            for (generation, slot) in [(0, 0), (1, u32::MAX), (GENERATION_MASK, 7)] {
                let token = Token { operation, generation, slot };
                assert_eq!(Token::from_bits(token.bits()), Some(token));
            }
        }
    }

    #[test]
    fn a_foreign_pattern_is_no_token() {
        assert_eq!(Token::from_bits(0), None);
        assert_eq!(Token::from_bits(u64::MAX), None);
    }

    #[test]
    fn a_generation_wraps_past_zero() {
        assert_eq!(next_generation(1), 2);
        assert_eq!(next_generation(GENERATION_MASK), 1);
    }
}
