//! Links of a node that has no market: it follows another's. Home: the venue's thread.
//!
//! Invariants: a link that rests has no connection and makes none; each that begins again is as at the start, for a market that knows nothing of it.

use crate::hub::market::MarketHome;
use crate::model::time::Now;

use super::{Links, Session};

impl Links {
    /// Ends all connections, and takes none from here on.
    pub(in crate::venue) fn rest(&mut self, market: &mut MarketHome, now: Now) {
        self.is_resting = true;
        for nth in 0..self.links.len() {
            self.cut_off(nth, market, now);
            self.links[nth].reach = None;
        }
    }

    /// Brings all that they have to this market from here on.
    pub(in crate::venue) fn begin(&mut self, market: &mut MarketHome, now: Now) {
        self.is_resting = false;
        for link in self.links.iter_mut().filter(|link| !link.is_removed) {
            link.session = Session::new(link.setup.session.clone());
            link.reach = link.setup.reach(now);
            (link.is_failing, link.welcomed_total) = (false, 0);
            link.forget_attempt();
            link.announce(market, now);
        }
    }
}
