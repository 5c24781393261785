//! A deflate bomb: a small compressed message that expands a hundredfold and more. RFC 1951, RFC 7692 §7.2.1. PURE.
//! Written by hand, since a run of zeros needs next to nothing of a compressor.

/// A compressed message's payload, without the four bytes that RFC 7692 §7.2.1 takes off, that expands to
/// `1 + 258 * matches` zero bytes.
pub(crate) fn zeros(matches: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    // Not the last block; fixed codes.
    bits.number(0, 1);
    bits.number(1, 2);
    bits.code(0b0011_0000, 8);
    for _ in 0..matches {
        // 285, 258 bytes without extra bits, and distance 0, the byte before.
        bits.code(0b1100_0101, 8);
        bits.code(0, 5);
    }
    // The block's end, then an empty stored block, whose header is followed by what is taken off.
    bits.code(0, 7);
    bits.number(0, 3);
    bits.bytes
}

/// Bits as RFC 1951 §3.1.1 packs them: from the lowest of each byte on.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Used of the last byte; 0 or 8 begin another.
    used: u32,
}

impl Bits {
    fn bit(&mut self, bit: u8) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
            self.used = 0;
        }
        let last = self.bytes.last_mut().expect("invariant: pushed when none is begun");
        *last |= bit << self.used;
        self.used += 1;
    }

    /// A number, its lowest bit first.
    fn number(&mut self, value: u8, bits: u32) {
        (0..bits).for_each(|at| self.bit(value >> at & 1));
    }

    /// A Huffman code, its highest bit first.
    fn code(&mut self, code: u8, bits: u32) {
        (0..bits).rev().for_each(|at| self.bit(code >> at & 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_to_the_bit_what_an_inflater_took() {
        // zlib 1.2.13 made 517 zero bytes of these and 00 00 ff ff.
        assert_eq!(zeros(2), [0x62, 0x18, 0x05, 0xa3, 0x00, 0x00]);
    }

    #[test]
    fn grows_by_thirteen_bits_for_each_match() {
        assert_eq!(zeros(36_000).len(), (3 + 8 + 36_000 * 13 + 7 + 3_usize).div_ceil(8));
    }
}
