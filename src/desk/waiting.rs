//! Requests that wait for the venue's word on an order. PURE.
//!
//! Invariant: a waiter is in the chain of exactly one order, or in none and answered.

use crate::limits;
use crate::model::decimal::{Amount, Price};
use crate::model::encoding::Encoding;
use crate::model::ids::{HomeId, Ticket};
use crate::model::order::{AccountId, Ask, OrderRefusal, PostOnly};

use super::Desk;
use super::orders::{NOWHERE, Slot};
use super::output::{ByteRange, Output};
use super::settle::Due;

/// A request that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub account: AccountId,
    pub to: HomeId,
    pub ticket: Ticket,
    pub encoding: Encoding,
    pub wait: Wait,
    pub next: Slot,
}

/// What for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// It placed the order.
    Place,
    /// It asked for the same order again.
    Repeat,
    /// The venue was asked, or is to be once it is the turn of this edit.
    Edit {
        edit: Edit,
        is_asked: bool,
    },
    Cancel,
}

/// An edit of a known order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edit {
    pub amount: Option<Amount>,
    pub price: Option<Price>,
    pub post_only: Option<PostOnly>,
    pub reduce_only: Option<bool>,
    pub valid_until_ms: Option<u64>,
}

impl Desk {
    /// Whether one more request of this account may wait for this order, or for a new one.
    ///
    /// # Errors
    /// [`OrderRefusal::Full`]
    pub(super) fn check_waiting(&self, account: AccountId, slot: Option<Slot>) -> Result<(), OrderRefusal> {
        let of_order = slot.map_or(0, |slot| self.orders[slot].waiters.len);
        let is_full = self.waiters.len() >= self.config.waiting_max as usize
            || self.accounts[account].waiting >= self.config.waiting_per_account_max
            || of_order >= limits::WAITING_PER_ORDER_MAX;
        if is_full { Err(OrderRefusal::Full) } else { Ok(()) }
    }

    pub(super) fn wait(&mut self, ask: &Ask, slot: Slot, wait: Wait) {
        let Ask { account, ticket, client, encoding, .. } = *ask;
        let waiter = Waiter { account, to: client.home, ticket, encoding, wait, next: NOWHERE };
        let key = u32::try_from(self.waiters.insert(waiter)).expect("invariant: bounded by waiting_max");
        self.accounts[account].waiting += 1;
        self.append(slot, key);
    }

    /// Those that wait for this get their answer: with what is known in the next settlement, or a refusal.
    pub(super) fn release(
        &mut self,
        slot: Slot,
        selects: impl Fn(&Wait) -> bool,
        outcome: Result<(), OrderRefusal>,
    ) {
        let mut key = std::mem::take(&mut self.orders[slot].waiters).head;
        while key != NOWHERE {
            let waiter = self.waiters[key as usize];
            if selects(&waiter.wait) {
                self.waiters.remove(key as usize);
                self.accounts[waiter.account].waiting -= 1;
                let Waiter { to, ticket, encoding, wait, .. } = waiter;
                match outcome {
                    Ok(()) => self.due.push(Due { slot, to, ticket, encoding, wait }),
                    Err(why) => self.answer(to, ticket, Err(why)),
                }
            } else {
                self.append(slot, key);
            }
            key = waiter.next;
        }
    }

    /// The edit whose turn it is.
    pub(super) fn next_edit(&self, slot: Slot) -> Option<(Slot, Edit)> {
        let mut key = self.orders[slot].waiters.head;
        while key != NOWHERE {
            let waiter = &self.waiters[key as usize];
            if let Wait::Edit { edit, is_asked: false } = waiter.wait {
                return Some((key, edit));
            }
            key = waiter.next;
        }
        None
    }

    pub(super) fn answer(&mut self, to: HomeId, ticket: Ticket, outcome: Result<ByteRange, OrderRefusal>) {
        self.counters.answers_total += 1;
        if let Err(why) = outcome {
            self.counters.refusals_total += 1;
            self.counters.full_total += u64::from(why == OrderRefusal::Full);
            self.counters.throttled_total += u64::from(matches!(why, OrderRefusal::TooManyRequests { .. }));
        }
        self.outputs.push_back(Output::Answer { to, ticket, outcome });
    }

    fn append(&mut self, slot: Slot, key: Slot) {
        self.waiters[key as usize].next = NOWHERE;
        let chain = &mut self.orders[slot].waiters;
        let tail = std::mem::replace(&mut chain.tail, key);
        if tail == NOWHERE {
            chain.head = key;
        } else {
            self.waiters[tail as usize].next = key;
        }
        chain.len += 1;
    }
}
