//! How clients are sent away at a stop: over a time, not all at once. PURE. Home: its shard.
//! Invariant: no more are due than there are, and none twice.

use crate::limits;

/// How far a shard is with sending its clients away.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaving {
    pub(super) begun_ns: u64,
    pub(super) clients: usize,
    pub(super) told: usize,
}

impl Leaving {
    /// How many more are to be told by now: in proportion to the time, the first few at once.
    pub(super) fn due(&self, spread_ns: u64, now_ns: u64) -> usize {
        let elapsed_ns = now_ns - self.begun_ns;
        let by_now = if elapsed_ns >= spread_ns {
            self.clients
        } else {
            let share = self.clients as u128 * u128::from(elapsed_ns) / u128::from(spread_ns);
            usize::try_from(share).map_or(self.clients, |share| share.max(limits::STOP_CLIENTS_AT_ONCE))
        };
        by_now.min(self.clients).saturating_sub(self.told)
    }
}
