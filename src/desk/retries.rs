//! Cancels of the desk's own (a disconnect, a timer, the kill switch, a reduce-only order with nothing to reduce) that a venue
//! refused: asked for again after a while, so many times. PURE.
//!
//! What a client asked for and was refused is the client's to ask again. An order that the venue lets nobody cancel is given
//! up at last, counted, and open as it was: somebody has to look.

use std::collections::VecDeque;

use crate::limits;
use crate::model::order::{CancelReason, OrderId};
use crate::model::time::Now;

use super::Desk;
use super::orders::{Slot, Step};

/// Orders to be cancelled again, the soonest first: all wait equally long.
#[derive(Debug, Default)]
pub(super) struct Retries {
    waiting: VecDeque<(u64, Slot, OrderId)>,
}

impl Retries {
    /// When the first is due, on the monotonic clock.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.waiting.front().map(|(due_ns, ..)| *due_ns)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<(u64, Slot, OrderId)>()
    }
}

impl Desk {
    /// The venue has refused to cancel what is to be cancelled for this reason of our own.
    pub(super) fn cancel_later(&mut self, slot: Slot, reason: CancelReason, now: Now) {
        let held = &mut self.orders[slot];
        held.cancels_refused += 1;
        if held.cancels_refused >= limits::CANCELS_REFUSED_MAX {
            held.cancels_refused = 0;
            self.counters.cancels_given_up_total += 1;
            return;
        }
        let due_ns = now.mono_ns.saturating_add(limits::CANCEL_RETRY_NS);
        held.cancel_wanted = Some(reason);
        held.cancel_until_ms = None;
        held.cancel_again_ns = Some(due_ns);
        self.retries.waiting.push_back((due_ns, slot, held.order.id));
    }

    /// Asks again for what is due, `orders_max` at most; how many there were.
    pub(super) fn cancel_again(&mut self, orders_max: u32, now: Now) -> u32 {
        let mut count = 0;
        while count < orders_max
            && let Some((due_ns, slot, order)) = self.retries.waiting.front().copied()
            && due_ns <= now.mono_ns
        {
            self.retries.waiting.pop_front();
            count += 1;
            // It may be over, or have been asked for meanwhile.
            let held = self.orders.get(slot);
            let waits = held.is_some_and(|held| {
                held.order.id == order && held.cancel_again_ns == Some(due_ns) && !held.is_closed()
            });
            if waits {
                self.orders[slot].cancel_again_ns = None;
                self.cancel_if_wanted(slot);
            }
        }
        count
    }

    /// The cancel that is wanted becomes the order's step, if nothing is pending, now or once a link takes it.
    pub(super) fn cancel_if_wanted(&mut self, slot: Slot) {
        let held = &self.orders[slot];
        let (until_ms, instrument) = (held.cancel_until_ms, held.order.instrument);
        if held.cancel_wanted.is_none() || held.pending.is_some() {
            return;
        }
        if self.is_linked(instrument) {
            self.start(slot, Step::Cancel, until_ms);
        } else {
            self.unlinked.insert((instrument, slot));
        }
    }
}
