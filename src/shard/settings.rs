//! What of a shard can be set again while it runs. Home: its shard, at the start of a turn.

use crate::hub::HubConfig;
use crate::spin::SpinAccount;

use super::{Farewell, Shard, Spin};

/// What the configuration sets of a shard, and may set again.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    pub hub: HubConfig,
    pub spin: Spin,
    pub pace_ns_max: u64,
    pub farewell: Farewell,
}

impl Shard {
    /// Goes by newer settings from this turn on, if there are any.
    pub(super) fn take_settings(&mut self) {
        let Some(newer) = self.newer_settings.take() else { return };
        let ShardSettings { hub, spin, pace_ns_max, farewell } = ShardSettings::clone(&newer);
        self.hub.handle_config(hub, self.now);
        self.pace.set_wait_max(pace_ns_max);
        if self.spin != spin {
            (self.spin, self.spin_account) = (spin, spin.account());
        }
        self.farewell = farewell;
        self.act();
    }
}

impl Spin {
    /// The account of who spins so; where it always spins, nobody looks at it.
    pub(super) fn account(self) -> SpinAccount {
        match self {
            Spin::ForNs(longest_ns) => SpinAccount::new(longest_ns),
            Spin::Always => SpinAccount::new(0),
        }
    }
}
