//! Outliers among a backend's addresses: who fails much more often than the others together gets no calls for a while. PURE. Home: its
//! pool.
//!
//! A breaker sees faults in a row; this sees an address that fails every third call while the others fail none.
//!
//! Invariant: at most half of the addresses are ejected at a time, and never the only one.

use crate::limits;

/// When an address is an outlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionConfig {
    /// How often addresses are compared, by what ended since, in nanoseconds.
    pub interval_ns: u64,
    /// Calls that must have ended, of an address and of the others together, for it to be judged.
    pub calls_min: u32,
    /// By how many percentage points its share of faults has to exceed that of the others together; 1 to 100.
    pub worse_percent: u32,
    /// For how long it is ejected the first time, in nanoseconds; each time in a row for as long again, up to
    /// `limits::EJECTION_TIMES_MAX` times.
    pub ejected_ns: u64,
}

/// What is known of one address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    calls: u32,
    faults: u32,
    ejected_until_ns: Option<u64>,
    /// In a row: each interval without one takes one away.
    times: u32,
}

impl Record {
    pub(super) fn end(&mut self, is_fault: bool) {
        self.calls = self.calls.saturating_add(1);
        self.faults = self.faults.saturating_add(u32::from(is_fault));
    }

    pub(super) fn is_ejected(&self, now_ns: u64) -> bool {
        self.ejected_until_ns.is_some_and(|until_ns| until_ns > now_ns)
    }

    fn eject(&mut self, config: EjectionConfig, now_ns: u64) {
        self.times = (self.times + 1).min(limits::EJECTION_TIMES_MAX);
        let for_ns = config.ejected_ns.saturating_mul(u64::from(self.times));
        self.ejected_until_ns = Some(now_ns.saturating_add(for_ns));
    }
}

/// Compares addresses and begins another interval; how many were ejected.
pub(super) fn judge(records: &mut [&mut Record], config: EjectionConfig, now_ns: u64) -> u64 {
    let ejected_before = records.iter().filter(|record| record.is_ejected(now_ns)).count();
    let room = (records.len() / 2).saturating_sub(ejected_before);
    let sum = |of: fn(&Record) -> u32| records.iter().map(|record| u64::from(of(record))).sum::<u64>();
    let (calls, faults) = (sum(|record| record.calls), sum(|record| record.faults));
    let mut outliers: Vec<(u64, usize)> = Vec::new();
    for (place, record) in records.iter().enumerate() {
        let (own_calls, own_faults) = (u64::from(record.calls), u64::from(record.faults));
        let others = (calls - own_calls, faults - own_faults);
        let calls_min = u64::from(config.calls_min.max(1));
        if record.is_ejected(now_ns) || own_calls < calls_min || others.0 < calls_min {
            continue;
        }
        let (own, others) = (percent(own_faults, own_calls), percent(others.1, others.0));
        if own >= others + u64::from(config.worse_percent.max(1)) {
            outliers.push((own, place));
        }
    }
    // The worst first.
    outliers.sort_by_key(|(percent, place)| (std::cmp::Reverse(*percent), *place));
    outliers.truncate(room);
    for (place, record) in records.iter_mut().enumerate() {
        if outliers.iter().any(|(_, outlier)| *outlier == place) {
            record.eject(config, now_ns);
        } else if !record.is_ejected(now_ns) {
            record.times = record.times.saturating_sub(1);
        }
        (record.calls, record.faults) = (0, 0);
    }
    outliers.len() as u64
}

const fn percent(part: u64, whole: u64) -> u64 {
    part * 100 / whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: EjectionConfig =
        EjectionConfig { interval_ns: 1000, calls_min: 10, worse_percent: 30, ejected_ns: 5000 };

    fn records<const N: usize>(of: [(u32, u32); N]) -> [Record; N] {
        of.map(|(calls, faults)| Record { calls, faults, ..Record::default() })
    }

    fn judged(records: &mut [Record], now_ns: u64) -> u64 {
        let mut all: Vec<&mut Record> = records.iter_mut().collect();
        judge(&mut all, CONFIG, now_ns)
    }

    fn ejected(records: &[Record], now_ns: u64) -> Vec<usize> {
        (0..records.len()).filter(|place| records[*place].is_ejected(now_ns)).collect()
    }

    #[test]
    fn who_fails_much_more_often_than_the_others_is_ejected_for_a_while() {
        let mut records = records([(100, 1), (100, 34), (100, 4)]);
        assert_eq!(judged(&mut records, 0), 1);
        assert_eq!((ejected(&records, 4999), ejected(&records, 5000)), (vec![1], vec![]));
    }

    #[test]
    fn all_that_fail_alike_stay() {
        for of in [[(100, 90), (100, 95), (100, 100)], [(100, 0), (100, 29), (100, 0)]] {
            let mut records = records(of);
            assert_eq!(judged(&mut records, 0), 0);
        }
    }

    #[test]
    fn few_calls_are_no_verdict() {
        let mut own = records([(100, 0), (9, 9)]);
        assert_eq!(judged(&mut own, 0), 0);
        let mut others = records([(9, 0), (100, 100)]);
        assert_eq!(judged(&mut others, 0), 0);
    }

    #[test]
    fn at_most_half_are_ejected_the_worst_of_them_and_never_the_only_one() {
        let mut three = records([(100, 80), (100, 0), (100, 90)]);
        assert_eq!(judged(&mut three, 0), 1);
        assert_eq!(ejected(&three, 0), [2]);
        three[0] = Record { calls: 100, faults: 100, ..Record::default() };
        three[1] = Record { calls: 100, faults: 0, ..Record::default() };
        assert_eq!(judged(&mut three, 1), 0);
        let mut one = records([(100, 100)]);
        assert_eq!(judged(&mut one, 0), 0);
    }

    #[test]
    fn who_is_ejected_again_stays_out_longer_and_a_quiet_interval_forgives() {
        let mut records = records([(100, 100), (100, 0)]);
        judged(&mut records, 0);
        let again = |records: &mut [Record], now_ns| {
            (records[0].calls, records[0].faults, records[1].calls) = (100, 100, 100);
            judged(records, now_ns)
        };
        assert_eq!(again(&mut records, 5000), 1);
        assert_eq!((records[0].is_ejected(14_999), records[0].is_ejected(15_000)), (true, false));
        assert_eq!(judged(&mut records, 15_000), 0);
        assert_eq!(again(&mut records, 16_000), 1);
        assert_eq!((records[0].is_ejected(25_999), records[0].is_ejected(26_000)), (true, false));
    }
}
