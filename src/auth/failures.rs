//! How often somebody may try: a bucket that drains at so many a minute. One for each connection at its shard, and tables
//! of them by address and by network for what has failed. PURE.
//!
//! Invariant: the tables are as large when a million addresses have failed as when none has. Addresses that fall into the
//! same bucket share it; who does not know the key of their hash can't choose whom to share with. Who has all addresses of
//! a network fills as many buckets as `limits::FAILING_ADDRESSES_PER_NETWORK` of them would, not the table.

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

/// What has failed of late. An address is a keyed hash: of itself in the low half, of its network in the high one.
#[derive(Debug)]
pub(super) struct Failures {
    of_addresses: Vec<Bucket>,
    of_networks: Vec<Bucket>,
    per_minute_max: u32,
}

impl Failures {
    pub(super) fn new(per_minute_max: u32) -> Failures {
        let empty = || vec![Bucket::default(); limits::FAILURE_BUCKETS];
        Failures { of_addresses: empty(), of_networks: empty(), per_minute_max }
    }

    pub(super) fn set_max(&mut self, per_minute_max: u32) {
        self.per_minute_max = per_minute_max;
    }

    /// Whether an address, or its network, has failed so often that nothing of it is looked at.
    pub(super) fn is_full(&mut self, address: u64, now_ns: u64) -> bool {
        let per_minute_max = self.per_minute_max;
        let of_network_max = per_minute_max.saturating_mul(limits::FAILING_ADDRESSES_PER_NETWORK);
        let [own, network] = self.buckets(address);
        own.is_full(per_minute_max, now_ns) || network.is_full(of_network_max, now_ns)
    }

    pub(super) fn note(&mut self, address: u64) {
        self.buckets(address).into_iter().for_each(Bucket::fill);
    }

    fn buckets(&mut self, address: u64) -> [&mut Bucket; 2] {
        let at = |half: u64, count: usize| {
            usize::try_from(half % count as u64).expect("invariant: a remainder of a table's length is less")
        };
        let own = at(address & u64::from(u32::MAX), self.of_addresses.len());
        let network = at(address >> 32, self.of_networks.len());
        [&mut self.of_addresses[own], &mut self.of_networks[network]]
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

    #[test]
    fn a_network_fails_as_often_as_sixteen_of_its_addresses_and_fills_no_other() {
        let mut failures = Failures::new(2);
        let address = |network: u64, host: u64| network << 32 | host;
        let mut noted = 0;
        for host in 0..1000 {
            while !failures.is_full(address(5, host), 1) {
                failures.note(address(5, host));
                noted += 1;
            }
        }
        assert_eq!(noted, 2 * limits::FAILING_ADDRESSES_PER_NETWORK);
        assert!(!failures.is_full(address(6, 999), 1), "another network's");
        assert!(!failures.is_full(address(5, 999), 1 + MINUTE_NS), "a minute later");
    }
}
