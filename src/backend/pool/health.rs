//! Probes of one address that nobody asked for: when the next is due, and what those that ended say. PURE. Home: its pool.
//!
//! Invariants: one probe at a time; an address is well until so many probes in a row failed, and then ill until so many in a row
//! ended well.

/// How an address is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// From one probe to the next, in nanoseconds.
    pub every_ns: u64,
    /// How long one may take, in nanoseconds.
    pub timeout_ns: u64,
    /// Failed ones in a row after which an address is ill, at least 1.
    pub ill_after: u32,
    /// Good ones in a row after which it is well again, at least 1.
    pub well_after: u32,
}

/// See the file's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    is_ill: bool,
    /// Probes in a row that say the opposite.
    against: u32,
    due_ns: u64,
    is_asked: bool,
}

impl Health {
    /// One whose first probe is due after a part of the interval that `chance` decides.
    pub(super) const fn new(config: Option<HealthConfig>, now_ns: u64, chance: u64) -> Health {
        let wait_ns = match config {
            Some(HealthConfig { every_ns, .. }) => chance % (every_ns + 1),
            None => 0,
        };
        Health { is_ill: false, against: 0, due_ns: now_ns.saturating_add(wait_ns), is_asked: false }
    }

    /// Whether a probe is to be sent now; it then is under way.
    pub(super) fn poll(&mut self, config: HealthConfig, now_ns: u64) -> bool {
        if self.is_asked || self.due_ns > now_ns {
            return false;
        }
        (self.is_asked, self.due_ns) = (true, now_ns.saturating_add(config.every_ns));
        true
    }

    /// A probe ended.
    pub(super) fn end(&mut self, config: HealthConfig, is_good: bool) {
        self.is_asked = false;
        if is_good != self.is_ill {
            self.against = 0;
            return;
        }
        self.against += 1;
        let enough = if self.is_ill { config.well_after } else { config.ill_after };
        if self.against >= enough {
            (self.is_ill, self.against) = (!self.is_ill, 0);
        }
    }

    /// A probe was not sent.
    pub(super) fn skip(&mut self) {
        self.is_asked = false;
    }

    /// Nobody probes any more: who is not asked is well.
    pub(super) fn forget(&mut self) {
        (self.is_ill, self.against) = (false, 0);
    }

    pub(super) const fn is_ill(&self) -> bool {
        self.is_ill
    }

    /// When the next probe is due.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        (!self.is_asked).then_some(self.due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: HealthConfig = HealthConfig { every_ns: 100, timeout_ns: 50, ill_after: 3, well_after: 2 };

    fn after(probes: &[bool]) -> Vec<bool> {
        let mut health = Health::new(Some(CONFIG), 0, 0);
        let mut now_ns = 0;
        let told = probes.iter().map(|is_good| {
            assert!(health.poll(CONFIG, now_ns));
            health.end(CONFIG, *is_good);
            now_ns += 100;
            health.is_ill()
        });
        told.collect()
    }

    #[test]
    fn failed_probes_in_a_row_make_it_ill_and_good_ones_in_a_row_well() {
        assert_eq!(after(&[false, false, true, false, false]), [false; 5]);
        let ill_then_well = [false, false, false, true, false, true, true];
        assert_eq!(after(&ill_then_well), [false, false, true, true, true, true, false]);
    }

    #[test]
    fn one_probe_at_a_time_and_the_next_after_the_interval() {
        let mut health = Health::new(Some(CONFIG), 1000, 33);
        assert_eq!((health.poll(CONFIG, 1032), health.poll_timeout()), (false, Some(1033)));
        assert!(health.poll(CONFIG, 1033));
        assert_eq!((health.poll(CONFIG, 5000), health.poll_timeout()), (false, None));
        health.end(CONFIG, true);
        assert_eq!(health.poll_timeout(), Some(1133));
    }
}
