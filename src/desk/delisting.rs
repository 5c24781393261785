//! Instruments that are traded no more. PURE.
//!
//! New orders are refused from the first moment, by the market's state. Open ones are gone through a part at a time, as
//! [`Desk::handle_timeout`] is called, as those of the kill switch are, once for all instruments that go in the same turn; an order
//! whose link is down is cancelled once it is up.

use std::collections::BTreeSet;

use crate::model::ids::InstrumentId;
use crate::model::order::CancelReason;

use super::Desk;
use super::orders::Slot;

/// How far all orders are gone through.
#[derive(Debug, Default)]
pub(super) struct Delisting {
    /// Of these instruments; none where nothing is to be done.
    instruments: BTreeSet<InstrumentId>,
    next: Slot,
}

impl Delisting {
    pub(super) fn is_due(&self) -> bool {
        !self.instruments.is_empty()
    }
}

impl Desk {
    /// The instrument is traded no more: its open orders are to be cancelled, from the next [`Desk::handle_timeout`] on. The market
    /// says so already.
    pub fn handle_delisted(&mut self, instrument: InstrumentId) {
        self.delisting.instruments.insert(instrument);
        self.delisting.next = 0;
    }

    /// Goes on with cancelling, `orders_max` at most; how many were looked at.
    pub(super) fn delist_on(&mut self, orders_max: u32) -> u32 {
        if !self.delisting.is_due() {
            return 0;
        }
        let (next, all) = (self.delisting.next, self.orders.slots_end());
        let end = all.min(next.saturating_add(orders_max));
        for slot in next..end {
            // Each once, however often the walk begins anew.
            let is_meant = self.orders.get(slot).is_some_and(|held| {
                !held.is_closed()
                    && held.cancel_wanted != Some(CancelReason::Delisted)
                    && self.delisting.instruments.contains(&held.order.instrument)
            });
            if is_meant {
                self.counters.cancels_on_delisting_total += 1;
                self.want_cancel(slot, CancelReason::Delisted, None);
            }
        }
        self.delisting.next = end;
        if end == all {
            self.delisting.instruments.clear();
        }
        self.counters.looked_at_total += u64::from(end - next);
        end - next
    }
}
