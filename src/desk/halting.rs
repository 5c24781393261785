//! The kill switch. PURE.
//!
//! Of one account it cancels at once. Of everybody it refuses new orders from the first moment, and goes through the table of
//! orders a part at a time, as [`Desk::handle_timeout`] is called, so that no turn is as long as all orders are many.

use crate::limits;
use crate::model::order::{AccountId, CancelReason, OrderId};

use super::Desk;
use super::orders::Slot;

/// How far the orders of everybody are gone through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Halting {
    next: Slot,
    /// Orders from here on came after the switch was thrown, once it was lifted.
    below: OrderId,
}

impl Desk {
    /// The kill switch, of one account or of all.
    pub(super) fn halt(&mut self, account: AccountId, is_on: bool, everybody: bool) {
        if everybody {
            return self.halt_everybody(is_on);
        }
        self.accounts[account].is_halted = is_on;
        if is_on {
            self.cancel_each(account, CancelReason::Killed, |_| true);
        }
    }

    /// The kill switch of all: for a client that may, and for who operates the gateway.
    pub fn halt_everybody(&mut self, is_on: bool) {
        self.is_halted = is_on;
        if is_on {
            self.halting = Some(Halting { next: 0, below: self.next_order });
            self.halt_on(limits::DESK_ORDERS_PER_TIMEOUT);
        }
    }

    /// Whether nobody may trade.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.is_halted
    }

    /// Goes on with cancelling everybody's orders, `orders_max` at most; how many were looked at.
    pub(super) fn halt_on(&mut self, orders_max: u32) -> u32 {
        let Some(Halting { next, below }) = self.halting else { return 0 };
        let all = self.orders.slots_end();
        let end = all.min(next.saturating_add(orders_max));
        for slot in next..end {
            let is_meant =
                self.orders.get(slot).is_some_and(|held| !held.is_closed() && held.order.id < below);
            if is_meant {
                self.counters.cancels_on_halt_total += 1;
                self.want_cancel(slot, CancelReason::Killed, None);
            }
        }
        self.halting = (end < all).then_some(Halting { next: end, below });
        self.counters.looked_at_total += u64::from(end - next);
        end - next
    }
}
