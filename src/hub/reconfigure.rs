//! Other settings while clients are connected. PURE. Home: one shard.
//!
//! Invariant: between two calls of the driver all of a hub goes by one configuration; what a connection was told already (its
//! window, its subscriptions) stays as it was.

use std::sync::Arc;

use crate::model::time::Now;

use super::rates::Rates;
use super::session::Service;
use super::{Hub, HubConfig};

impl Hub {
    /// Goes by another configuration from now on, for those who are connected too: it looks at each of them once. Its keys are not
    /// taken: those come by [`Hub::handle_keyring`].
    ///
    /// # Panics
    /// It has other listeners: those are of the start.
    pub fn handle_config(&mut self, config: HubConfig, now: Now) {
        assert_eq!(
            config.listeners.len(),
            self.config.listeners.len(),
            "invariant: listeners are of the start"
        );
        self.now = now;
        self.home.set_limits(config.history);
        self.home.set_deflation(config.deflation);
        self.overload.set_marks(config.overload);
        let (receive, rates) = (config.receive, config.rates);
        let is_routed_anew = config.routes != self.config.routes || config.calls != self.config.calls;
        let other_rates = rates != self.config.rates;
        self.config = HubConfig { keyring: Arc::clone(&self.config.keyring), ..config };
        if is_routed_anew {
            self.forget_results();
            self.plan_processors();
        }
        for slot in 0..self.sessions.len() {
            let Some(session) = self.sessions[slot].as_deref_mut() else { continue };
            if session.service != Service::Echo {
                session.receiver.set_limits(receive);
            }
            if other_rates {
                session.rates = Rates::of(rates, now.mono_ns);
            }
            // A deadline that comes later is found out when the entry for the earlier one comes due.
            let conn = session.conn;
            self.arm_deadline(conn);
        }
    }
}
