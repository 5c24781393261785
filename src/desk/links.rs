//! Links to venues that go down and come up, and what they leave in doubt. PURE.
//!
//! What no link had taken was not sent, and is given up. What was sent and not answered is in doubt: its client is told that
//! the outcome is unknown, the order is `Unknown`, and the venue's reports settle it, told on the private channels. Nothing
//! is sent again, but cancels of the desk's own (a disconnect, a timer, the kill switch), which do no harm twice.

use crate::model::ids::InstrumentId;
use crate::model::order::{AccountId, CancelReason, ExecType, OrderId, OrderRefusal, OrderState};
use crate::model::time::Now;

use super::Desk;
use super::orders::{Slot, Step};
use super::sweeps::Swept;
use super::waiting::Wait;

/// An order that a link has to ask its venue about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InDoubt {
    pub order: OrderId,
    pub account: AccountId,
    pub instrument: InstrumentId,
    /// Whether it is unknown if the venue ever had it; else it had, and it is unknown whether it was amended or cancelled.
    pub is_new: bool,
}

impl Desk {
    /// A link takes orders of these instruments from now on.
    pub fn handle_link_up(&mut self, instruments: &[InstrumentId], _now: Now) {
        self.begin();
        for instrument in instruments {
            if self.links.len() <= instrument.index() {
                self.links.resize(instrument.index() + 1, false);
            }
            self.links[instrument.index()] = true;
            // Only those that wait for it: a venue may list its instruments one by one, each time it comes back.
            let own = (*instrument, Slot::MIN)..=(*instrument, Slot::MAX);
            while let Some((_, slot)) = self.unlinked.range(own.clone()).next().copied() {
                self.unlinked.remove(&(*instrument, slot));
                self.cancel_if_wanted(slot);
            }
        }
    }

    /// The link that took orders of these instruments is dead.
    pub fn handle_link_down(&mut self, instruments: &[InstrumentId], now: Now) {
        self.begin();
        for instrument in instruments {
            if let Some(is_up) = self.links.get_mut(instrument.index()) {
                *is_up = false;
            }
        }
        // A connection that came to nothing changes nothing, as often as it may come.
        let slots_end = if instruments.is_empty() { 0 } else { self.orders.slots_end() };
        for slot in 0..slots_end {
            let Some(held) = self.orders.get(slot).filter(|held| !self.is_linked(held.order.instrument))
            else {
                continue;
            };
            // Nothing is pending with a link that was down before.
            match held.pending {
                Some(pending) if pending.is_sent => self.doubt(slot, pending.step),
                Some(pending) => self.give_up(slot, pending.step, now),
                // It waits for a cancel that the venue has refused and will be asked for again.
                None if held.waiters.len > 0 => self.refuse_queued(slot),
                None => self.cancel_if_wanted(slot),
            }
        }
        self.requests.retain(|(slot, id)| {
            self.orders.get(*slot).is_some_and(|held| held.order.id == *id && held.pending.is_some())
        });
    }

    /// The venue has told all that it knows of these instruments' orders. What is still in doubt never reached it: a new
    /// order was not sent, an order that was to be amended or cancelled is as it was. The instruments are in their order.
    pub fn handle_reconciled(&mut self, instruments: &[InstrumentId], now: Now) {
        self.begin();
        for slot in 0..self.orders.slots_end() {
            let Some(held) = self.orders.get(slot) else { continue };
            match held.doubt.filter(|_| instruments.binary_search(&held.order.instrument).is_ok()) {
                Some(Step::New) => self.end_unplaced(slot, OrderRefusal::NotSent, now),
                Some(Step::Amend(_) | Step::Cancel) => self.end_doubt(slot),
                None => {}
            }
        }
    }

    /// What a link that is up again has to ask about.
    pub fn in_doubt(&self) -> impl Iterator<Item = InDoubt> {
        self.orders.all().filter_map(|(_, held)| {
            let is_new = held.doubt? == Step::New;
            let order = &held.order;
            Some(InDoubt { order: order.id, account: order.account, instrument: order.instrument, is_new })
        })
    }

    /// The step was sent, and nobody knows what became of it.
    fn doubt(&mut self, slot: Slot, step: Step) {
        let held = &mut self.orders[slot];
        held.pending = None;
        // An older doubt says more: whether the order exists at all.
        if held.doubt.is_none() {
            held.doubt = Some(step);
        }
        held.order.state = OrderState::Unknown;
        self.counters.doubts_total += 1;
        let unknown = OrderRefusal::OutcomeUnknown { order: held.order.id };
        self.release(
            slot,
            move |wait| match (wait, step) {
                (Wait::Place | Wait::Repeat, Step::New) | (Wait::Cancel, Step::Cancel) => true,
                (Wait::Edit { is_asked, .. }, Step::Amend(_)) => *is_asked,
                _ => false,
            },
            Err(unknown),
        );
        if step == Step::Cancel {
            self.end_sweep(slot, Swept::Unknown);
        }
        self.refuse_queued(slot);
        self.count_working(slot);
        self.touch(slot, ExecType::Status);
    }

    /// The step was not sent.
    fn give_up(&mut self, slot: Slot, step: Step, now: Now) {
        let is_own = self.orders[slot].cancel_wanted.filter(|reason| *reason != CancelReason::UserRequest);
        self.withdraw(slot, OrderRefusal::NotSent, now);
        if step == Step::Cancel {
            self.orders[slot].cancel_wanted = is_own;
        }
        self.refuse_queued(slot);
    }

    /// What waits behind a step that a dead link leaves was not sent either.
    fn refuse_queued(&mut self, slot: Slot) {
        self.release(slot, |_| true, Err(OrderRefusal::NotSent));
        self.end_sweep(slot, Swept::NotSent);
        let held = &mut self.orders[slot];
        held.cancel_wanted = held.cancel_wanted.filter(|reason| *reason != CancelReason::UserRequest);
        self.cancel_if_wanted(slot);
    }
}
