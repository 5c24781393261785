//! Unmasking in place (RFC 6455 §5.3).
//!
//! PURE. Allocates: never. Invariant: unmasking a payload in pieces, each with the offset it has in the payload, gives
//! the same bytes as unmasking it whole.

/// XORs `bytes` with `mask`, where `bytes[0]` is the payload's byte `payload_offset`.
///
/// Eight bytes a step in a loop without branches, which the compiler turns into vector instructions.
#[inline]
pub fn unmask(bytes: &mut [u8], mask: [u8; 4], payload_offset: usize) {
    let mask = rotated(mask, payload_offset);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    // Eight is a multiple of four, so the tail begins where the mask does.
    for (byte, key) in tail.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

/// The mask as it applies from byte `payload_offset` on.
const fn rotated(mask: [u8; 4], payload_offset: usize) -> [u8; 4] {
    let [a, b, c, d] = mask;
    match payload_offset % 4 {
        0 => [a, b, c, d],
        1 => [b, c, d, a],
        2 => [c, d, a, b],
        _ => [d, a, b, c],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unmasks_the_example_of_the_rfc() {
        let mut bytes = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut bytes, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&bytes, b"Hello");
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition_byte_by_byte_at_every_offset(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), mask: [u8; 4], offset in 0_usize..1000,
        ) {
            let expected: Vec<u8> = bytes.iter().enumerate().map(|(i, b)| b ^ mask[(offset + i) % 4]).collect();
            let mut actual = bytes;
            unmask(&mut actual, mask, offset);
            prop_assert_eq!(actual, expected);
        }

        #[test]
        fn continues_across_pieces(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), mask: [u8; 4], cut: prop::sample::Index,
        ) {
            let mut whole = bytes.clone();
            unmask(&mut whole, mask, 0);
            let at = cut.index(bytes.len() + 1);
            let mut pieces = bytes;
            unmask(&mut pieces[..at], mask, 0);
            unmask(&mut pieces[at..], mask, at);
            prop_assert_eq!(pieces, whole);
        }
    }
}
