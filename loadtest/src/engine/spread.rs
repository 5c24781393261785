//! From the first to the last subscriber's delivery of the same publish, for the publishes that are on their way. PURE.
//! Invariant: bounded: a publish that is not everybody's before as many others came is forgotten, and counts nowhere.

/// Publishes that may be on their way, a power of two.
const WINDOW: usize = 1 << 15;

#[derive(Debug, Clone, Copy, Default)]
struct Open {
    /// The publish's number plus one; 0 is none.
    publish: u64,
    first_ns: u64,
    told: u32,
}

/// See the file's head.
pub(crate) struct Spread {
    open: Vec<Open>,
}

impl Spread {
    pub(crate) fn new() -> Spread {
        Spread { open: vec![Open::default(); WINDOW] }
    }

    /// One of `audience` subscribers was told; the spread once all were.
    pub(crate) fn told(&mut self, publish: u64, audience: u32, now_ns: u64) -> Option<u64> {
        let place = usize::try_from(publish % WINDOW as u64).expect("invariant: below WINDOW");
        let open = &mut self.open[place];
        if open.publish != publish + 1 {
            *open = Open { publish: publish + 1, first_ns: now_ns, told: 0 };
        }
        open.told += 1;
        if open.told < audience || audience < 2 {
            return None;
        }
        let spread_ns = now_ns.saturating_sub(open.first_ns);
        open.told = 0;
        open.first_ns = now_ns;
        Some(spread_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_over_when_all_were_told() {
        let mut spread = Spread::new();
        assert_eq!(spread.told(7, 3, 100), None);
        assert_eq!(spread.told(8, 3, 110), None);
        assert_eq!(spread.told(7, 3, 150), None);
        assert_eq!(spread.told(7, 3, 190), Some(90));
        assert_eq!(spread.told(8, 3, 200), None);
        assert_eq!(spread.told(8, 3, 200), Some(90));
    }

    #[test]
    fn one_that_too_many_others_followed_is_forgotten() {
        let mut spread = Spread::new();
        assert_eq!(spread.told(1, 2, 0), None);
        assert_eq!(spread.told(1 + WINDOW as u64, 2, 5), None);
        assert_eq!(spread.told(1, 2, 9), None);
    }

    #[test]
    fn one_subscriber_has_no_spread() {
        assert_eq!(Spread::new().told(1, 1, 5), None);
    }
}
