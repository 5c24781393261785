//! Links of a node that has no market: it follows another's. Home: the venue's thread.
//!
//! Invariants: a link that rests has no connection and makes none; each that begins again is as at the start, for a market that knows nothing of it.

use crate::backend::tcp::session::SessionConfig;
use crate::hub::market::MarketHome;
use crate::model::time::Now;
use crate::ring::How;

use super::{Action, Links, Owner, Session};

impl Links {
    /// Ends all connections, and takes none from here on.
    pub(in crate::venue) fn rest(&mut self, market: &mut MarketHome, now: Now) {
        self.is_resting = true;
        for nth in 0..self.links.len() {
            self.cut_off(nth, market, now);
            self.links[nth].reach = None;
        }
        // Who has not said yet which link it is goes elsewhere too.
        for (conn, owner) in &mut self.conns {
            if matches!(owner, Owner::Greeting(..)) {
                *owner = Owner::Cutting;
                self.actions.push_back(Action::Close(*conn, How::Abort));
            }
        }
    }

    /// Brings all that they have to this market from here on, which is owned by that fence.
    pub(in crate::venue) fn begin(&mut self, fence: u64, market: &mut MarketHome, now: Now) {
        self.is_resting = false;
        self.begun += 1;
        self.fence = fence;
        for nth in 0..self.links.len() {
            let config = self.of_run(&self.links[nth].setup.session);
            let link = &mut self.links[nth];
            link.session = Session::new(config);
            if link.is_removed {
                // It may come again: what its session listed was another market's.
                continue;
            }
            link.reach = link.setup.reach(now);
            (link.is_failing, link.is_outdated, link.welcomed_total) = (false, false, 0);
            link.forget_attempt();
            link.announce(market, now);
        }
    }

    /// How venues are greeted: by the fence of this node's market. Each of its markets is another run of the gateway to them, which has
    /// forgotten the orders of those before.
    pub(super) fn of_run(&self, config: &SessionConfig) -> SessionConfig {
        let mut config = SessionConfig { fence: self.fence, ..config.clone() };
        if self.begun > 0 {
            config.gateway = format!("{}.{}", config.gateway, self.begun).into();
        }
        config
    }
}
