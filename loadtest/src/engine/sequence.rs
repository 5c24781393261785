//! The order of what one subscriber is told of one stream: what is missing, what came twice, what came late. PURE.
//! Invariant: a number is counted once as told, however often and late it comes; what is missing is never less than what was
//! left out, as long as nothing comes more than 128 numbers late.

/// Numbers behind the newest of which it is known whether they were told.
const MEMORY: u64 = 128;

/// See the file's head. Numbers begin with 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Track {
    /// The number that ought to come next; 0 while the first is not known.
    next: u64,
    /// Bit `n`: whether number `next - 1 - n` was told.
    told: u128,
}

/// What a number was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In its place, after so many that were left out.
    After {
        missing: u64,
    },
    Duplicate,
    /// After a later one; it had been counted as missing.
    Late,
}

impl Track {
    /// Of a subscriber that is there before number 1.
    pub(crate) const fn from_the_first() -> Track {
        Track { next: 1, told: 0 }
    }

    /// Takes what was told.
    pub(crate) fn take(&mut self, number: u64) -> Place {
        if self.next == 0 {
            *self = Track { next: number + 1, told: 1 };
            return Place::After { missing: 0 };
        }
        if self.next <= number {
            let missing = number - self.next;
            let step = u32::try_from(missing + 1).unwrap_or(u32::MAX);
            self.told = self.told.checked_shl(step).unwrap_or(0) | 1;
            self.next = number + 1;
            return Place::After { missing };
        }
        let behind = self.next - 1 - number;
        if MEMORY <= behind || self.told & (1 << behind) != 0 {
            return Place::Duplicate;
        }
        self.told |= 1 << behind;
        Place::Late
    }

    /// The newest number; 0 where there was none, `None` where none could be expected.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(track: Track, numbers: &[u64]) -> (u64, u64, u64) {
        let mut track = track;
        let (mut missing, mut twice, mut late) = (0, 0, 0);
        for number in numbers {
            match track.take(*number) {
                Place::After { missing: more } => missing += more,
                Place::Duplicate => twice += 1,
                Place::Late => {
                    late += 1;
                    missing -= 1;
                }
            }
        }
        (missing, twice, late)
    }

    #[test]
    fn counts_what_is_missing_what_came_twice_and_what_came_late() {
        for (numbers, counted) in [
            (&[1, 2, 3][..], (0, 0, 0)),
            (&[2, 3], (1, 0, 0)),
            (&[1, 5], (3, 0, 0)),
            (&[1, 1, 2, 2, 2], (0, 3, 0)),
            (&[1, 3, 2, 4], (0, 0, 1)),
            (&[3, 2, 1], (0, 0, 2)),
            (&[3, 2, 2, 1, 3], (0, 2, 2)),
            (&[1, 4, 2, 6], (2, 0, 1)),
            (&[1, 200, 72], (198, 1, 0)),
            (&[1, 200, 73], (197, 0, 1)),
        ] {
            assert_eq!(places(Track::from_the_first(), numbers), counted, "{numbers:?}");
        }
    }

    #[test]
    fn a_subscriber_that_comes_later_misses_nothing_before_its_first() {
        assert_eq!(places(Track::default(), &[70, 71, 73]), (1, 0, 0));
        assert_eq!(Track::default().newest(), None);
        assert_eq!(Track::from_the_first().newest(), Some(0));
    }
}
