//! How fast one client may send: messages and bytes a second. PURE. Home: one shard.
//!
//! A bucket each, which drains at the configured rate and holds one second's worth. Invariant: between any two moments
//! that are t seconds apart, no more than rate × (t + 1) is let through.

use super::incident::Closing;

const SECOND_NS: u64 = 1_000_000_000;

/// What a client may send in a second, or at once after a second of silence; 0 sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Whole messages and control frames.
    pub messages_per_s_max: u32,
    /// Bytes after the upgrade, frame headers included; of compressed ones, what they make.
    pub bytes_per_s_max: u32,
}

/// What one client has sent of late.
#[derive(Debug)]
pub struct Rates {
    messages: Bucket,
    bytes: Bucket,
}

impl Rates {
    /// None where nothing is limited.
    #[must_use]
    pub fn of(limits: RateLimits, now_ns: u64) -> Option<Box<Rates>> {
        let RateLimits { messages_per_s_max, bytes_per_s_max } = limits;
        let bucket = |per_s_max: u32| Bucket { per_s_max: per_s_max.into(), level: 0, drained_ns: now_ns };
        let rates = Rates { messages: bucket(messages_per_s_max), bytes: bucket(bytes_per_s_max) };
        (limits != RateLimits::default()).then(|| Box::new(rates))
    }

    /// Counts what has been received.
    ///
    /// # Errors
    /// The rate that is exceeded by it.
    pub fn count(&mut self, messages: u64, bytes: u64, now_ns: u64) -> Result<(), Closing> {
        if !self.messages.admits(messages, now_ns) {
            return Err(Closing::MessageRate);
        }
        if !self.bytes.admits(bytes, now_ns) {
            return Err(Closing::ByteRate);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Bucket {
    /// 0 for no limit.
    per_s_max: u64,
    /// What it holds, in billionths.
    level: u64,
    drained_ns: u64,
}

impl Bucket {
    /// Fills in `count`, if there is room for it.
    fn admits(&mut self, count: u64, now_ns: u64) -> bool {
        if self.per_s_max == 0 {
            return true;
        }
        // A rate of 32 bits for a second is within 64 bits; a longer silence empties the bucket all the same.
        let drained = now_ns.saturating_sub(self.drained_ns).min(SECOND_NS) * self.per_s_max;
        self.drained_ns = now_ns;
        self.level = self.level.saturating_sub(drained);
        let level = self.level.saturating_add(count.saturating_mul(SECOND_NS));
        let has_room = level <= self.per_s_max * SECOND_NS;
        if has_room {
            self.level = level;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(messages_per_s_max: u32, bytes_per_s_max: u32) -> RateLimits {
        RateLimits { messages_per_s_max, bytes_per_s_max }
    }

    #[test]
    fn one_seconds_worth_may_come_at_once_and_no_more() {
        let mut rates = Rates::of(limits(3, 1000), 5).unwrap();
        for _ in 0..3 {
            assert_eq!(rates.count(1, 10, 5), Ok(()));
        }
        assert_eq!(rates.count(1, 10, 5), Err(Closing::MessageRate));
        assert_eq!(rates.count(0, 970, 5), Ok(()), "what is refused does not count");
        assert_eq!(rates.count(0, 1, 5), Err(Closing::ByteRate));
        // A third of a second is room for one of three.
        assert_eq!(rates.count(1, 0, 5 + SECOND_NS / 3), Err(Closing::MessageRate));
        assert_eq!(rates.count(1, 0, 6 + SECOND_NS / 3), Ok(()));
        assert_eq!(rates.count(3, 1000, u64::MAX), Ok(()));
    }

    #[test]
    fn zero_sets_no_limit() {
        assert!(Rates::of(limits(0, 0), 0).is_none());
        let mut rates = Rates::of(limits(0, 1), 0).unwrap();
        assert_eq!(rates.count(u64::MAX, 1, 0), Ok(()));
        let mut rates = Rates::of(limits(u32::MAX, 0), 0).unwrap();
        assert_eq!(rates.count(u64::from(u32::MAX), u64::MAX, 0), Ok(()));
        assert_eq!(rates.count(1, 0, 0), Err(Closing::MessageRate));
    }

    proptest! {
        #[test]
        fn no_span_of_time_lets_more_through(
            per_s_max in 1u32..50,
            steps in prop::collection::vec((0u64..400_000_000, 1u64..5), 1..200),
        ) {
            let mut rates = Rates::of(limits(per_s_max, 0), 0).unwrap();
            let mut now_ns = 0;
            let mut passed: Vec<(u64, u64)> = Vec::new();
            for (wait_ns, count) in steps {
                now_ns += wait_ns;
                if rates.count(count, 0, now_ns).is_ok() {
                    passed.push((now_ns, count));
                }
            }
            for (from, (from_ns, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (at_ns, count) in &passed[from..] {
                    sum += u128::from(*count) * u128::from(SECOND_NS);
                    let most = u128::from(per_s_max) * u128::from(at_ns - from_ns + SECOND_NS);
                    prop_assert!(sum <= most);
                }
            }
        }
    }
}
