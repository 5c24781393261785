//! The `[service]` table: how the process lives and ends. Home: the main thread.

use serde::{Deserialize, Serialize};

use super::check::Range;
use crate::limits;

/// What happens at a stop.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    /// From the signal to the process's end, at most.
    pub drain_timeout_s: u32,
    /// Clients are closed over this time.
    pub drain_spread_ms: u32,
}

impl Default for Service {
    fn default() -> Service {
        Service { drain_timeout_s: 10, drain_spread_ms: 1_000 }
    }
}

impl Service {
    pub(super) fn ranges(&self) -> [Range; 2] {
        [
            Range {
                key: "service.drain_timeout_s",
                value: self.drain_timeout_s.into(),
                min: 1,
                max: 3600,
                unit: "s",
                hint: "by default 10; keep TimeoutStopSec= of the unit above it",
            },
            Range {
                key: "service.drain_spread_ms",
                value: self.drain_spread_ms.into(),
                min: 0,
                max: u64::from(self.drain_timeout_s) * 1000,
                unit: "ms",
                hint: "0 closes all at once; no more than service.drain_timeout_s",
            },
        ]
    }

    /// How long a shard's clients may take to go. What is left of the timeout is the venue's, for its links, and the threads'.
    #[must_use]
    pub fn clients_gone_within_ns(&self, close_timeout_ns: u64) -> u64 {
        let usual_ns =
            u64::from(self.drain_spread_ms) * 1_000_000 + close_timeout_ns + limits::STOP_MARGIN_NS;
        let all_ns = u64::from(self.drain_timeout_s) * 1_000_000_000;
        usual_ns.min(all_ns.saturating_sub(limits::LINK_CLOSING_NS).max(all_ns / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_as_long_as_they_need_and_the_timeout_leaves() {
        let within = |drain_timeout_s, drain_spread_ms| {
            Service { drain_timeout_s, drain_spread_ms }.clients_gone_within_ns(2_000_000_000) / 1_000_000
        };
        assert_eq!(within(10, 1_000), 4_000);
        assert_eq!(within(10, 10_000), 9_000);
        assert_eq!(within(1, 0), 500);
    }
}
