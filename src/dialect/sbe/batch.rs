//! Several messages in one frame: before each its length, so that one that is not known can be passed over. PURE. Allocates: never.
//!
//! Invariant: what is split off lies within the frame; each step takes a length at least.

/// Before each message: how long it is, in 16 bits; 0 where it takes the rest of the frame, as one beyond 65,535 bytes does.
pub const BATCHED_LENGTH_BYTES: usize = 2;

/// The length as it is written.
#[inline]
#[must_use]
pub fn batched_length(message_bytes: usize) -> [u8; BATCHED_LENGTH_BYTES] {
    u16::try_from(message_bytes).unwrap_or(0).to_le_bytes()
}

/// The first message of a frame, and what follows it; `None` where the frame ends before the message does.
#[must_use]
pub fn split_batch(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = frame.split_first_chunk()?;
    match u16::from_le_bytes(*length) {
        0 => Some((rest, &[])),
        length => rest.split_at_checked(usize::from(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_by_its_lengths_and_one_that_lies_is_none() {
        assert_eq!(split_batch(&[2, 0, 7, 8, 1, 0, 9]), Some((&[7, 8][..], &[1, 0, 9][..])));
        assert_eq!(split_batch(&[0, 0, 7, 8, 9]), Some((&[7, 8, 9][..], &[][..])));
        assert_eq!(split_batch(&[0, 0]), Some((&[][..], &[][..])));
        for cut in [&[][..], &[1], &[1, 0], &[3, 0, 7, 8], &[0xff, 0xff, 0]] {
            assert_eq!(split_batch(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn a_length_is_told_where_16_bits_tell_it() {
        assert_eq!((batched_length(1), batched_length(65_535)), ([1, 0], [0xff, 0xff]));
        assert_eq!((batched_length(65_536), batched_length(1 << 20)), ([0, 0], [0, 0]));
    }
}
