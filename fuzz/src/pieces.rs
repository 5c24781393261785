//! How a stream is cut into reads: lengths that the fuzzer chooses, beside the bytes themselves, so that a mutation of one
//! leaves the other alone.

/// Reads that are cut by length before the rest comes whole: what bounds a target that looks at all again with each read.
const CUTS_MAX: usize = 64;

/// The lengths at the front of an input, and the rest of it: one byte says how many lengths follow (of its lowest four bits),
/// each is a byte.
#[must_use]
pub fn take_lengths(input: &[u8]) -> (&[u8], &[u8]) {
    let Some((count, rest)) = input.split_first() else { return (&[], &[]) };
    rest.split_at(usize::from(count & 0x0f).min(rest.len()))
}

/// Cuts `bytes` into reads of these lengths, over and over; a length of 0 is all that is left. None is empty.
pub fn cut<'b>(lengths: &[u8], mut bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
    let mut lengths = lengths.iter().cycle().take(CUTS_MAX);
    std::iter::from_fn(move || {
        let len = match lengths.next() {
            None | Some(0) => bytes.len(),
            Some(len) => usize::from(*len).min(bytes.len()),
        };
        let (piece, rest) = bytes.split_at(len);
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_into_the_lengths_asked_for_and_loses_nothing() {
        let (lengths, bytes) = take_lengths(&[2, 1, 3, b'a', b'b', b'c', b'd', b'e', b'f']);
        assert_eq!(cut(lengths, bytes).collect::<Vec<_>>(), [&b"a"[..], b"bcd", b"e", b"f"]);
        assert_eq!(cut(&[], b"abc").collect::<Vec<_>>(), [&b"abc"[..]]);
        assert_eq!(cut(&[1, 0], b"abc").collect::<Vec<_>>(), [&b"a"[..], b"bc"]);
        assert_eq!(cut(&[1], &[7; 1000]).map(<[u8]>::len).sum::<usize>(), 1000);
        assert_eq!(take_lengths(&[15, 1]), (&[1][..], &[][..]));
        assert_eq!(cut(&[1], &[]).count(), 0);
    }
}
