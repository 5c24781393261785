//! The bytes of a link cut into lines. PURE. Home: one link.
//!
//! Invariants: a line that comes in one piece is not copied; of one that comes in several, at most `line_bytes_max` are kept; of a
//! longer one its beginning is told as soon as it is too long, and its last bytes at its end.

/// Bytes of the end of a line that was too long: room for its id.
const TAIL_BYTES: usize = 64;

/// What a kept buffer may have grown to before it is given back.
const KEPT_BYTES: usize = 64 * 1024;

/// What the bytes of a link are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Without its end; it may be empty.
    Line(&'a [u8]),
    /// The beginning of a line that is longer than may be; the rest is skipped.
    TooLong(&'a [u8]),
    /// The last bytes of that line.
    SkippedTo(&'a [u8]),
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Lines {
    line_bytes_max: usize,
    /// Of the line that has begun, or, while skipping, its last bytes.
    partial: Vec<u8>,
    is_skipping: bool,
    /// Of the line that is skipped.
    skipped_bytes: usize,
}

impl Lines {
    #[must_use]
    pub const fn new(line_bytes_max: usize) -> Lines {
        Lines { line_bytes_max, partial: Vec::new(), is_skipping: false, skipped_bytes: 0 }
    }

    /// Takes bytes as they come, and tells each piece as it is whole.
    pub fn take(&mut self, mut bytes: &[u8], tell: &mut dyn FnMut(Piece<'_>)) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..at], &bytes[at + 1..]);
            bytes = rest;
            if self.partial.is_empty() && !self.is_skipping && line.len() <= self.line_bytes_max {
                tell(Piece::Line(line.trim_ascii()));
                continue;
            }
            self.keep(line, tell);
            if std::mem::take(&mut self.is_skipping) {
                tell(Piece::SkippedTo(&self.partial));
            } else {
                tell(Piece::Line(self.partial.trim_ascii()));
            }
            self.partial.clear();
            self.partial.shrink_to(KEPT_BYTES);
        }
        self.keep(bytes, tell);
    }

    /// Bytes that were skipped of the line that has begun.
    #[must_use]
    pub const fn skipped_bytes(&self) -> usize {
        if self.is_skipping { self.skipped_bytes } else { 0 }
    }

    /// Of lines that begin from now on, and of the one that has begun if it is not longer yet.
    pub fn set_line_bytes_max(&mut self, line_bytes_max: usize) {
        self.line_bytes_max = line_bytes_max;
    }

    /// Forgets what has begun: another connection begins.
    pub fn clear(&mut self) {
        self.partial.clear();
        self.partial.shrink_to(KEPT_BYTES);
        self.is_skipping = false;
    }

    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.partial.capacity()
    }

    fn keep(&mut self, bytes: &[u8], tell: &mut dyn FnMut(Piece<'_>)) {
        if !self.is_skipping {
            let room = self.line_bytes_max.saturating_sub(self.partial.len());
            if bytes.len() <= room {
                self.partial.extend_from_slice(bytes);
                return;
            }
            self.partial.extend_from_slice(&bytes[..room]);
            tell(Piece::TooLong(&self.partial));
            (self.is_skipping, self.skipped_bytes) = (true, 0);
            self.partial.clear();
            return self.keep_tail(&bytes[room..]);
        }
        self.keep_tail(bytes);
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        self.skipped_bytes = self.skipped_bytes.saturating_add(bytes.len());
        self.partial.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let surplus = self.partial.len().saturating_sub(TAIL_BYTES);
        self.partial.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(lines: &mut Lines, bytes: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        lines.take(bytes, &mut |piece| {
            all.push(match piece {
                Piece::Line(line) => text(line),
                Piece::TooLong(head) => format!("too long: {}", text(head)),
                Piece::SkippedTo(tail) => format!("skipped to: {}", text(tail)),
            });
        });
        all
    }

    #[test]
    fn lines_are_told_without_their_ends_and_the_space_around_them() {
        assert_eq!(told(&mut Lines::new(10), b"a\r\n\n b \nc"), ["a", "", "b"]);
    }

    #[test]
    fn a_line_of_exactly_what_may_be_is_a_line_and_one_byte_more_is_too_long() {
        assert_eq!(
            told(&mut Lines::new(3), b"abc\nabcd\nx\n"),
            ["abc", "too long: abc", "skipped to: d", "x"]
        );
    }

    #[test]
    fn the_beginning_of_an_endless_line_is_told_at_once_and_no_more_than_its_end_kept() {
        let mut lines = Lines::new(4);
        assert_eq!(told(&mut lines, b"abcdef"), ["too long: abcd"]);
        for _ in 0..1000 {
            assert!(told(&mut lines, &[b'x'; 1000]).is_empty());
        }
        assert!(lines.memory_bytes() <= 4096, "{}", lines.memory_bytes());
        let tail = told(&mut lines, b"end\ny\n");
        assert_eq!((tail[0].len(), tail[1].as_str()), ("skipped to: ".len() + TAIL_BYTES, "y"));
        assert!(tail[0].ends_with("xend"));
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_pieces_are_the_same(
            text in "[ab\n]{0,60}",
            cuts in proptest::collection::vec(0usize..60, 0..8),
        ) {
            let whole = told(&mut Lines::new(5), text.as_bytes());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut lines = Lines::new(5);
            let cut: Vec<String> =
                cuts.windows(2).flat_map(|cut| told(&mut lines, &text.as_bytes()[cut[0]..cut[1]])).collect();
            prop_assert_eq!(cut, whole);
        }
    }
}
