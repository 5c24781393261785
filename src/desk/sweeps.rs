//! Cancelling: one order, many at once, by a client's word, a disconnect, a timer or the kill switch. PURE.
//!
//! What the desk cancels by itself stays wanted while a link is down and is asked for when it is up, and is asked for again where
//! the venue refuses (`retries.rs`); what a client asked for is not, since the client was told.

use crate::dialect::json_rpc;
use crate::limits;
use crate::model::ids::{HomeId, Ticket};
use crate::model::order::{AccountId, Ask, CancelReason, OrderId, OrderRefusal};
use crate::model::time::Now;

use super::orders::{Held, NOWHERE, Slot, Step};
use super::waiting::Wait;
use super::{Desk, NS_PER_MS};

/// A request to cancel many that waits for the last of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    account: AccountId,
    to: HomeId,
    ticket: Ticket,
    /// Orders that the venue has yet to tell of.
    left: u32,
    cancelled: u32,
    /// Whether some were not sent.
    has_unsent: bool,
    /// One of those whose outcome is unknown.
    unknown: Option<OrderId>,
}

/// What became of one order of a sweep.
#[derive(Clone, Copy, Debug)]
pub(super) enum Swept {
    Cancelled,
    /// It closed otherwise, or the venue refused.
    NotCancelled,
    NotSent,
    Unknown,
}

impl Desk {
    /// Cancels those of the account's orders, or `only` this one, that are meant, and tells how many; the number comes when
    /// the venue has told of all.
    pub(super) fn sweep(
        &mut self,
        ask: &Ask,
        only: Option<Slot>,
        is_meant: impl Fn(&Held) -> bool,
    ) -> Result<Option<u32>, OrderRefusal> {
        let Ask { account, ticket, client, .. } = *ask;
        if self.accounts[account].sweeps >= limits::SWEEPS_PER_ACCOUNT_MAX {
            return Err(OrderRefusal::TooManyCancels);
        }
        let key = u32::try_from(self.sweeps.vacant_key()).expect("invariant: few for each account");
        let mut left = 0;
        let mut has_unlinked = false;
        let mut slot = only.unwrap_or(self.accounts[account].open.head);
        self.counters.looked_at_total += only.map_or(u64::from(self.accounts[account].open.len), |_| 1);
        while slot != NOWHERE {
            let next = if only.is_some() { NOWHERE } else { self.orders.after(slot) };
            let held = &self.orders[slot];
            // An order of another sweep is that one's to count.
            if held.sweep == NOWHERE && is_meant(held) {
                if self.is_linked(held.order.instrument) {
                    self.orders[slot].sweep = key;
                    left += 1;
                    self.want_cancel(slot, CancelReason::UserRequest, None);
                } else {
                    has_unlinked = true;
                }
            }
            slot = next;
        }
        if left == 0 {
            return if has_unlinked { Err(OrderRefusal::VenueUnavailable) } else { Ok(Some(0)) };
        }
        let sweep = Sweep {
            account,
            to: client.home,
            ticket,
            left,
            cancelled: 0,
            has_unsent: has_unlinked,
            unknown: None,
        };
        self.sweeps.insert(sweep);
        self.accounts[account].sweeps += 1;
        Ok(None)
    }

    /// Cancels the account's orders that are meant, for a reason of our own.
    pub(super) fn cancel_each(
        &mut self,
        account: AccountId,
        reason: CancelReason,
        is_meant: impl Fn(&Held) -> bool,
    ) {
        let mut slot = self.accounts[account].open.head;
        self.counters.looked_at_total += u64::from(self.accounts[account].open.len);
        while slot != NOWHERE {
            let next = self.orders.after(slot);
            if is_meant(&self.orders[slot]) {
                match reason {
                    CancelReason::Disconnect => self.counters.cancels_on_disconnect_total += 1,
                    CancelReason::Timeout => self.counters.cancels_on_timeout_total += 1,
                    CancelReason::Killed => self.counters.cancels_on_halt_total += 1,
                    CancelReason::UserRequest
                    | CancelReason::Immediate
                    | CancelReason::SelfMatch
                    | CancelReason::Venue
                    | CancelReason::Delisted => {}
                }
                self.want_cancel(slot, reason, None);
            }
            slot = next;
        }
    }

    /// The order is to be cancelled: now, or once the venue has answered what is pending.
    pub(super) fn want_cancel(&mut self, slot: Slot, reason: CancelReason, valid_until_ms: Option<u64>) {
        let held = &mut self.orders[slot];
        assert!(!held.is_closed(), "invariant: only an open order is cancelled");
        match held.cancel_wanted {
            None => {
                held.cancel_wanted = Some(reason);
                held.cancel_until_ms = valid_until_ms;
            }
            Some(wanted) => {
                if wanted == CancelReason::UserRequest {
                    held.cancel_wanted = Some(reason);
                }
                // Whoever gives it the longer time decides.
                let both = held.cancel_until_ms.zip(valid_until_ms);
                held.cancel_until_ms = both.map(|(one, other)| one.max(other));
            }
        }
        let until_ms = held.cancel_until_ms;
        match held.pending.as_mut() {
            Some(pending) if pending.step == Step::Cancel => pending.valid_until_ms = until_ms,
            Some(_) => {}
            // What was refused waits for its time, unless a client asks now.
            None if held.cancel_again_ns.is_some() && reason != CancelReason::UserRequest => {}
            None => self.cancel_if_wanted(slot),
        }
    }

    /// The cancel did not happen, and the order is as it was.
    pub(super) fn end_cancel(&mut self, slot: Slot, why: OrderRefusal, swept: Swept) {
        self.orders[slot].cancel_wanted = None;
        self.release(slot, |wait| matches!(wait, Wait::Cancel), Err(why));
        self.end_sweep(slot, swept);
    }

    /// The sweep that waits for this order, if one does, waits for it no more.
    pub(super) fn end_sweep(&mut self, slot: Slot, swept: Swept) {
        let key = std::mem::replace(&mut self.orders[slot].sweep, NOWHERE);
        if key == NOWHERE {
            return;
        }
        let order = self.orders[slot].order.id;
        let sweep = &mut self.sweeps[key as usize];
        sweep.left -= 1;
        match swept {
            Swept::Cancelled => sweep.cancelled += 1,
            Swept::NotCancelled => {}
            Swept::NotSent => sweep.has_unsent = true,
            Swept::Unknown => sweep.unknown = Some(order),
        }
        if sweep.left > 0 {
            return;
        }
        let Sweep { account, to, ticket, cancelled, has_unsent, unknown, .. } =
            self.sweeps.remove(key as usize);
        self.accounts[account].sweeps -= 1;
        let outcome = match unknown {
            Some(order) => Err(OrderRefusal::OutcomeUnknown { order }),
            None if has_unsent && cancelled == 0 => Err(OrderRefusal::NotSent),
            None => Ok(self.write(|out| json_rpc::write_count(out, u64::from(cancelled)))),
        };
        self.answer(to, ticket, outcome);
    }

    /// Sets the account's dead-man timer, or turns it off.
    pub(super) fn set_deadline(&mut self, account: AccountId, timeout_ms: Option<u32>, now: Now) {
        let deadline_ns = timeout_ms
            .filter(|timeout_ms| *timeout_ms > 0)
            .map(|timeout_ms| now.mono_ns.saturating_add(u64::from(timeout_ms) * NS_PER_MS));
        let before = std::mem::replace(&mut self.accounts[account].deadline_ns, deadline_ns);
        if let Some(before) = before {
            self.deadlines.remove(&(before, account));
        }
        if let Some(deadline_ns) = deadline_ns {
            self.deadlines.insert((deadline_ns, account));
        }
    }
}
