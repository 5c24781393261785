//! UTF-8 of text messages (RFC 6455 §8.1): whole ones at once, split ones piece by piece.
//!
//! PURE. Allocates: in `TextAssembly` only. Invariants: `text` is valid and each byte was checked as it came; the
//! `tail` is a proper prefix of some character, so an impossible byte is refused with the piece it arrives in.

/// The bytes are not UTF-8 (RFC 3629), or can no longer become it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUtf8;

/// Checks a whole text. No second check is needed to use it as `str`.
#[inline]
pub fn validate(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| InvalidUtf8)
}

/// A text that arrives in pieces which may end inside a character.
#[derive(Debug, Default)]
pub struct TextAssembly {
    text: String,
    /// The bytes of a character that is not whole yet: up to three between calls.
    tail: [u8; 4],
    tail_bytes: u8,
}

impl TextAssembly {
    /// Appends `piece`; at most `more_bytes_max` follow it, which bounds the memory taken ahead.
    pub fn push(&mut self, piece: &[u8], more_bytes_max: usize) -> Result<(), InvalidUtf8> {
        let missing =
            spare_wanted(self.text.len(), self.text.capacity(), self.bytes() + piece.len(), more_bytes_max);
        self.text.reserve_exact(missing);

        let piece = self.complete_tail(piece)?;
        match simdutf8::compat::from_utf8(piece) {
            Ok(text) => self.text.push_str(text),
            Err(error) if error.error_len().is_some() => return Err(InvalidUtf8),
            Err(_) => self.push_up_to_tail(piece),
        }
        Ok(())
    }

    /// The text, if it does not end inside a character.
    pub fn finish(self) -> Result<String, InvalidUtf8> {
        if self.tail_bytes == 0 { Ok(self.text) } else { Err(InvalidUtf8) }
    }

    /// Bytes pushed so far.
    pub fn bytes(&self) -> usize {
        self.text.len() + usize::from(self.tail_bytes)
    }

    /// Heap bytes held.
    pub fn capacity_bytes(&self) -> usize {
        self.text.capacity()
    }

    /// Feeds the open character from the front of `piece`; gives what is left of `piece`.
    fn complete_tail<'p>(&mut self, mut piece: &'p [u8]) -> Result<&'p [u8], InvalidUtf8> {
        while self.tail_bytes > 0
            && let Some((&byte, rest)) = piece.split_first()
        {
            self.tail[usize::from(self.tail_bytes)] = byte;
            self.tail_bytes += 1;
            piece = rest;
            match std::str::from_utf8(&self.tail[..usize::from(self.tail_bytes)]) {
                Ok(character) => {
                    self.text.push_str(character);
                    self.tail_bytes = 0;
                }
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8),
                Err(_) => assert!(self.tail_bytes < 4, "a character of four bytes is whole or invalid"),
            }
        }
        Ok(piece)
    }

    /// Takes a piece that is valid up to an unfinished character at its end.
    fn push_up_to_tail(&mut self, piece: &[u8]) {
        if let Some(chunk) = piece.utf8_chunks().next() {
            self.text.push_str(chunk.valid());
            self.tail[..chunk.invalid().len()].copy_from_slice(chunk.invalid());
            self.tail_bytes = u8::try_from(chunk.invalid().len()).expect("invariant: at most three bytes");
        }
    }
}

/// How much room to reserve beyond `len` for a buffer that must hold `needed` bytes now and at most `more_max` later:
/// doubling, so that a length which was only announced costs nothing, but never beyond what can come.
pub(super) fn spare_wanted(len: usize, capacity: usize, needed: usize, more_max: usize) -> usize {
    if needed <= capacity {
        return 0;
    }
    needed.max((2 * capacity).min(needed + more_max)) - len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `bytes` one by one. Gives the index of the byte that was refused, or its length if the end was.
    fn refused_at(bytes: &[u8]) -> Option<usize> {
        let mut assembly = TextAssembly::default();
        for (index, byte) in bytes.iter().enumerate() {
            if assembly.push(&[*byte], 0).is_err() {
                return Some(index);
            }
        }
        assembly.finish().is_err().then_some(bytes.len())
    }

    fn check(bytes: &[u8], expected: Option<usize>) {
        assert_eq!(refused_at(bytes), expected, "one by one: {bytes:02x?}");
        assert_eq!(validate(bytes).is_err(), expected.is_some(), "whole: {bytes:02x?}");
        let mut assembly = TextAssembly::default();
        let pushed = assembly.push(bytes, 0);
        // A fault inside is seen at once, an unfinished end only at the end.
        assert_eq!(
            pushed.is_err(),
            expected.is_some_and(|index| index < bytes.len()),
            "at once: {bytes:02x?}"
        );
    }

    #[test]
    fn accepts_the_edges_of_each_length() {
        for character in ['\0', '\u{7f}', '\u{80}', '\u{7ff}', '\u{800}', '\u{d7ff}', '\u{e000}', '\u{ffff}']
        {
            check(character.to_string().as_bytes(), None);
        }
        check("\u{10000}\u{10ffff}".as_bytes(), None);
        check("κόσμε ✓ 𝄞".as_bytes(), None);
        check(b"", None);
    }

    #[test]
    fn rejects_overlong_forms_at_the_first_impossible_byte() {
        check(b"\xc0\x80", Some(0));
        check(b"\xc1\xbf", Some(0));
        check(b"a\xe0\x80\x80", Some(2));
        check(b"\xe0\x9f\xbf", Some(1));
        check(b"\xf0\x80\x80\x80", Some(1));
        check(b"\xf0\x8f\xbf\xbf", Some(1));
    }

    #[test]
    fn rejects_surrogates() {
        check(b"\xed\xa0\x80", Some(1));
        check(b"\xed\xbf\xbf", Some(1));
        check(b"\xed\xa0\xbd\xed\xb8\x80", Some(1));
        check(b"\xed\x9f\xbf", None);
    }

    #[test]
    fn rejects_what_lies_beyond_u_10ffff() {
        check(b"\xf4\x90\x80\x80", Some(1));
        check(b"\xf5\x80\x80\x80", Some(0));
        check(b"\xff", Some(0));
        check(b"\xfe", Some(0));
        check(b"\xf4\x8f\xbf\xbf", None);
    }

    #[test]
    fn rejects_stray_and_missing_continuation_bytes() {
        check(b"\x80", Some(0));
        check(b"ok\xbf", Some(2));
        check(b"\xc3a", Some(1));
        check(b"\xe2\x82a", Some(2));
        check(b"\xf0\x9d\x84a", Some(3));
    }

    #[test]
    fn rejects_a_text_that_ends_inside_a_character() {
        check(b"\xc3", Some(1));
        check(b"a\xe2\x82", Some(3));
        check(b"\xf0\x9d\x84", Some(3));
    }

    #[test]
    fn memory_grows_with_what_arrived_and_not_with_what_was_announced() {
        let mut assembly = TextAssembly::default();
        assembly.push(b"0123456789", 1_000_000).unwrap();
        assert!(assembly.capacity_bytes() <= 64, "{}", assembly.capacity_bytes());
        for _ in 1..100 {
            assembly.push(b"0123456789", 1_000_000).unwrap();
        }
        assert!(assembly.capacity_bytes() <= 2 * assembly.bytes());
        assembly.push(&[b'x'; 1000], 0).unwrap();
        assert_eq!(assembly.capacity_bytes(), 2000, "what ends the message takes no memory ahead");
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library_on_any_bytes_in_any_pieces(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xe2), Just(0x82), Just(0xf0), Just(0x9f)], 0..24),
            piece_bytes in 1_usize..6,
        ) {
            let expected = match std::str::from_utf8(&bytes) {
                Ok(_) => None,
                // The standard library knows the fault from the bytes up to and with the impossible one.
                Err(_) => Some((0..bytes.len()).find(|end| {
                    std::str::from_utf8(&bytes[..=*end]).is_err_and(|e| e.error_len().is_some())
                }).unwrap_or(bytes.len())),
            };
            prop_assert_eq!(refused_at(&bytes), expected);
            let mut assembly = TextAssembly::default();
            let pushed: Result<(), InvalidUtf8> = bytes.chunks(piece_bytes).try_for_each(|p| assembly.push(p, 7));
            let whole = pushed.and_then(|()| assembly.finish());
            prop_assert_eq!(whole, String::from_utf8(bytes).map_err(|_| InvalidUtf8));
        }
    }
}
