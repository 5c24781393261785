//! Reduce-only orders beyond what is left to reduce: cancelled in the next settlement, the newest first. PURE.
//!
//! Fills and edits only note whose orders are to be looked at: an account's are gone through once a settlement, however many of
//! them were filled.

use crate::model::ids::InstrumentId;
use crate::model::market::Direction;
use crate::model::order::{AccountId, CancelReason, Order};

use super::Desk;
use super::holdings::{Holding, side};
use super::orders::{NOWHERE, Slot};

/// What is beyond, of buy and of sell orders.
pub(super) type Beyond = [i128; 2];

fn beyond(holding: &Holding) -> Beyond {
    [Direction::Buy, Direction::Sell]
        .map(|direction| holding.reducing[side(direction)] - i128::from(holding.closable(direction)))
}

impl Desk {
    /// The order has become reduce-only, or is it no more.
    pub(super) fn move_reducing(&mut self, slot: Slot) {
        let held = &self.orders[slot];
        let Order { account, instrument, direction, reduce_only, .. } = held.order;
        let change = if reduce_only { held.working } else { -held.working };
        self.accounts[account].holdings.of_mut(instrument).reducing[side(direction)] += i128::from(change);
    }

    /// There is less to reduce, or more that would: is it too much?
    pub(super) fn note_reducing(&mut self, account: AccountId, instrument: InstrumentId) {
        let known = &mut self.accounts[account];
        let is_beyond = beyond(&known.holdings.of(instrument)).iter().any(|beyond| *beyond > 0);
        if is_beyond && !std::mem::replace(&mut known.is_to_trim, true) {
            self.to_trim.push(account);
        }
    }

    /// Cancels what is beyond, of all that were noted.
    pub(super) fn trim_reducing(&mut self) {
        let mut rest = std::mem::take(&mut self.beyond);
        while let Some(account) = self.to_trim.pop() {
            self.accounts[account].is_to_trim = false;
            rest.clear();
            rest.extend(self.accounts[account].holdings.iter().map(beyond));
            self.trim(account, &mut rest);
        }
        self.beyond = rest;
    }

    /// `rest` is what is beyond in each holding of the account.
    fn trim(&mut self, account: AccountId, rest: &mut [Beyond]) {
        let mut left = rest.iter().flatten().filter(|beyond| **beyond > 0).count();
        let mut at = self.accounts[account].open.tail;
        while left > 0 && at != NOWHERE {
            self.counters.looked_at_total += 1;
            let held = &self.orders[at];
            let (working, Order { instrument, direction, reduce_only, .. }) = (held.working, held.order);
            if reduce_only && let Some(place) = self.accounts[account].holdings.place(instrument) {
                let beyond = &mut rest[place][side(direction)];
                if *beyond > 0 {
                    *beyond -= i128::from(working);
                    left -= usize::from(*beyond <= 0);
                    self.want_cancel(at, CancelReason::Venue, None);
                }
            }
            at = self.orders.before(at);
        }
    }
}
