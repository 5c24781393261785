//! How a shard sends its clients away at a stop, and when it is done. Home: its shard.
//!
//! Invariant: it ends when its clients and those of others that it answers have gone, or its time is over.

use crate::limits;

use super::Shard;

/// How far a shard is with sending its clients away.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaving {
    pub(super) begun_ns: u64,
    pub(super) clients: usize,
    pub(super) told: usize,
}

impl Leaving {
    /// How many more are to be told by now: in proportion to the time, the first few at once.
    fn due(&self, spread_ns: u64, now_ns: u64) -> usize {
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

impl Shard {
    pub(super) fn take_stop(&mut self) {
        if self.stop_by_ns.is_none() && self.stop.is_told() {
            self.stop_by_ns = Some(self.now.mono_ns + self.farewell.within_ns);
            self.ring.stop_accepting();
            let clients = self.hub.begin_shutdown(self.now);
            self.leaving = Leaving { begun_ns: self.now.mono_ns, clients, told: 0 };
        }
        if self.hub.has_untold() {
            self.hub.tell_platform(limits::STOP_NOTICES_PER_TURN, self.now);
        }
        if self.leaving.told < self.leaving.clients {
            let count = self.leaving.due(self.farewell.spread_ns, self.now.mono_ns);
            self.hub.shut_down(count, self.now);
            self.leaving.told += count;
            self.act();
        }
    }

    /// Whether its clients have gone, and those of other shards, which it answers until then.
    pub(super) fn has_stopped(&mut self) -> bool {
        let Some(by_ns) = self.stop_by_ns else { return false };
        // The desk is to hear who has gone.
        if self.hub.connection_count() == 0 && !self.carry.is_waiting() {
            self.serving = None;
        }
        (self.hub.connection_count() == 0 && self.stop.is_deserted()) || self.now.mono_ns >= by_ns
    }
}
