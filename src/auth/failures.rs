//! How often somebody may try: a bucket that drains at so many a minute. One for each connection at its shard, and a table
//! of them by address for what has failed. PURE.
//!
//! Invariant: the table is as large when a million addresses have failed as when none has. Addresses that fall into the
//! same bucket share it; who does not know the key of their hash can't choose whom to share with.

use crate::limits;

const MINUTE_NS: u64 = 60_000_000_000;

/// Holds one minute's worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// What it holds, in parts of a minute.
    level: u64,
    drained_ns: u64,
}

impl Bucket {
    /// Whether no more goes in; never where `per_minute_max` is 0, which sets no limit.
    pub fn is_full(&mut self, per_minute_max: u32, now_ns: u64) -> bool {
        // A rate of 32 bits for a minute is within 64 bits; a longer silence empties the bucket all the same.
        let drained =
            now_ns.saturating_sub(self.drained_ns).min(MINUTE_NS).saturating_mul(per_minute_max.into());
        self.drained_ns = now_ns;
        self.level = self.level.saturating_sub(drained);
        per_minute_max > 0 && self.level.saturating_add(MINUTE_NS) > MINUTE_NS * u64::from(per_minute_max)
    }

    /// One more.
    pub fn fill(&mut self) {
        self.level = self.level.saturating_add(MINUTE_NS);
    }
}

/// What has failed of late, by address.
#[derive(Debug)]
pub(super) struct Failures {
    buckets: Vec<Bucket>,
    per_minute_max: u32,
}

impl Failures {
    pub(super) fn new(per_minute_max: u32) -> Failures {
        Failures { buckets: vec![Bucket::default(); limits::FAILURE_BUCKETS], per_minute_max }
    }

    /// Whether an address has failed so often that nothing of it is looked at.
    pub(super) fn is_full(&mut self, address: u64, now_ns: u64) -> bool {
        let per_minute_max = self.per_minute_max;
        self.bucket(address).is_full(per_minute_max, now_ns)
    }

    pub(super) fn note(&mut self, address: u64) {
        self.bucket(address).fill();
    }

    fn bucket(&mut self, address: u64) -> &mut Bucket {
        let count = self.buckets.len() as u64;
        let at = usize::try_from(address % count).expect("less than a table's length");
        &mut self.buckets[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_may_come_at_once_and_then_one_for_each_that_drains() {
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert!(!bucket.is_full(3, 5));
            bucket.fill();
        }
        assert!(bucket.is_full(3, 5));
        assert!(bucket.is_full(3, 4 + MINUTE_NS / 3));
        assert!(!bucket.is_full(3, 6 + MINUTE_NS / 3));
        bucket.fill();
        assert!(bucket.is_full(3, 6 + MINUTE_NS / 3));
        assert!(!bucket.is_full(3, u64::MAX));
    }

    #[test]
    fn zero_sets_no_limit() {
        let mut bucket = Bucket::default();
        for _ in 0..10_000 {
            assert!(!bucket.is_full(0, 5));
            bucket.fill();
        }
    }

    #[test]
    fn one_address_does_not_use_up_anothers() {
        let mut failures = Failures::new(2);
        for _ in 0..2 {
            failures.note(7);
        }
        assert!(failures.is_full(7, 1) && !failures.is_full(8, 1));
        assert!(failures.is_full(7 + limits::FAILURE_BUCKETS as u64, 1), "they share a bucket");
    }
}
