//! All orders that the desk knows, open and remembered. PURE.
//!
//! Invariants: an order is in exactly one list of its account, `open` or `closed`; a label names at most one order of an
//! account, which is in the table.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::{Index, IndexMut};

use slab::Slab;

use crate::model::decimal::{Amount, Price};
use crate::model::hasher::FixedHasher;
use crate::model::order::{AccountId, CancelReason, ExecType, Label, Order, OrderId, OrderState, PostOnly};

use super::output::ByteRange;

type Hashed<K> = HashMap<K, Slot, BuildHasherDefault<FixedHasher>>;

/// Where an order is in the table, and a waiting request in its own.
pub(super) type Slot = u32;
/// No slot.
pub(super) const NOWHERE: Slot = Slot::MAX;
/// No fill.
pub(super) const NO_FILL: u64 = u64::MAX;

/// What the venue was, or is to be, asked for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    New,
    Amend(Amendment),
    Cancel,
}

/// An edit, checked and in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amendment {
    pub price: Option<Price>,
    /// Its amount, what is filled included.
    pub total: Amount,
    pub post_only: PostOnly,
    pub reduce_only: bool,
}

/// A step that the venue has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub step: Step,
    /// Whether a link took it; before that nobody else has seen it.
    pub is_sent: bool,
    pub valid_until_ms: Option<u64>,
}

/// An order, and what is under way with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Its state is `Unknown` until the venue accepts it.
    pub order: Order,
    /// By which connection it was placed; 0 for none that could go.
    pub connection: u64,
    pub pending: Option<Pending>,
    /// The step that was sent when the link died.
    pub doubt: Option<Step>,
    /// It is to be cancelled, as soon as nothing else is pending; stays until the venue has answered.
    pub cancel_wanted: Option<CancelReason>,
    /// When that would be too late, in milliseconds since 1970.
    pub cancel_until_ms: Option<u64>,
    /// When it is to be asked for again, on the monotonic clock, where the venue has refused a cancel of our own.
    pub cancel_again_ns: Option<u64>,
    /// How often in a row it has.
    pub cancels_refused: u32,
    /// The request to cancel many that waits for this one.
    pub sweep: Slot,
    /// The requests that wait for it, oldest first.
    pub waiters: Chain,
    /// What of it counts as working in its account's holding.
    pub working: i64,
    /// Its newest fill that is kept, by the account's count.
    pub last_fill: u64,
    /// Its fills since the last settlement, oldest first.
    pub fresh: Chain,
    /// Why it is told of in the next settlement, if it is.
    pub touched: Option<ExecType>,
    /// What was encoded of it, and in which settlement.
    pub encoded: (u64, Encoded),
    prev: Slot,
    next: Slot,
}

/// An order's bytes in a settlement.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Encoded {
    pub order: ByteRange,
    /// Its fills since the settlement before.
    pub trades: Option<ByteRange>,
}

/// As `limits.rs` reckons.
const _: () = assert!(size_of::<Held>() <= 400);

/// Two ends of something linked by slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub head: Slot,
    pub tail: Slot,
    pub len: u32,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { head: NOWHERE, tail: NOWHERE, len: 0 }
    }
}

impl Held {
    pub(super) fn new(order: Order, connection: u64) -> Held {
        Held {
            order,
            connection,
            pending: None,
            doubt: None,
            cancel_wanted: None,
            cancel_until_ms: None,
            cancel_again_ns: None,
            cancels_refused: 0,
            sweep: NOWHERE,
            waiters: Chain::default(),
            working: 0,
            last_fill: NO_FILL,
            fresh: Chain::default(),
            touched: None,
            encoded: (0, Encoded::default()),
            prev: NOWHERE,
            next: NOWHERE,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.order.state.is_final()
    }

    /// Whether the venue has not yet said that it exists, nor a link died over it.
    pub(super) fn is_being_placed(&self) -> bool {
        matches!(self.pending, Some(Pending { step: Step::New, .. }))
    }

    /// Whether it was open when last heard of.
    pub(super) fn is_open(&self) -> bool {
        !self.is_closed() && !self.is_being_placed()
    }

    /// How much of it may still be filled, whatever the venue makes of what is under way.
    pub(super) fn fillable(&self) -> i64 {
        if self.is_closed() {
            return 0;
        }
        let amended = |step: Option<Step>| match step {
            Some(Step::Amend(amendment)) => amendment.total.0 - self.order.filled.0,
            Some(Step::New | Step::Cancel) | None => 0,
        };
        let pending = amended(self.pending.map(|pending| pending.step));
        self.order.left().0.max(pending).max(amended(self.doubt))
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Orders {
    held: Slab<Held>,
    by_id: Hashed<OrderId>,
    by_label: Hashed<(AccountId, Label)>,
}

impl Orders {
    pub(super) fn insert(&mut self, held: Held, open: &mut Chain) -> Slot {
        let order = held.order;
        let slot = u32::try_from(self.held.insert(held)).expect("invariant: orders are bounded below 2^32");
        self.by_id.insert(order.id, slot);
        if let Some(label) = order.label {
            let before = self.by_label.insert((order.account, label), slot);
            assert!(before.is_none(), "invariant: a label that is remembered is a repeat: {label:?}");
        }
        self.push(slot, open);
        slot
    }

    pub(super) fn find(&self, id: OrderId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    /// The order of this id if it is this account's.
    pub(super) fn find_own(&self, id: OrderId, account: AccountId) -> Option<Slot> {
        self.find(id).filter(|slot| self[*slot].order.account == account)
    }

    pub(super) fn find_label(&self, account: AccountId, label: Label) -> Option<Slot> {
        self.by_label.get(&(account, label)).copied()
    }

    /// Nothing was done under this label: it may be used.
    pub(super) fn release_label(&mut self, slot: Slot) {
        let Order { account, label, .. } = self[slot].order;
        if let Some(label) = label
            && self.by_label.get(&(account, label)) == Some(&slot)
        {
            self.by_label.remove(&(account, label));
        }
    }

    /// From the open ones to the closed ones; one that never was is the first to be forgotten.
    pub(super) fn close(&mut self, slot: Slot, state: OrderState, open: &mut Chain, closed: &mut Chain) {
        assert!(state.is_final() && !self[slot].is_closed(), "invariant: an order is closed once: {state:?}");
        self[slot].order.state = state;
        self.unlink(slot, open);
        // Nobody knows the number of an order that was refused, unless its outcome was unknown first.
        if state == OrderState::Rejected && self[slot].doubt.is_none() {
            self.push_first(slot, closed);
        } else {
            self.push(slot, closed);
        }
    }

    /// Forgets the account's order that was closed first.
    pub(super) fn forget_oldest(&mut self, closed: &mut Chain) {
        let slot = closed.head;
        self.unlink(slot, closed);
        self.release_label(slot);
        let held = self.held.remove(slot as usize);
        self.by_id.remove(&held.order.id);
        assert!(
            held.waiters.len == 0 && held.touched.is_none(),
            "invariant: what is told is not forgotten before"
        );
    }

    /// The next newer order of the same list.
    pub(super) fn after(&self, slot: Slot) -> Slot {
        self[slot].next
    }

    /// The next older order of the same list.
    pub(super) fn before(&self, slot: Slot) -> Slot {
        self[slot].prev
    }

    /// The orders of a list, oldest first.
    pub(super) fn iter(&self, chain: Chain) -> impl Iterator<Item = (Slot, &Held)> {
        let first = Some(chain.head).filter(|slot| *slot != NOWHERE);
        std::iter::successors(first, |slot| Some(self.after(*slot)).filter(|next| *next != NOWHERE))
            .map(|slot| (slot, &self[slot]))
    }

    /// The orders of a list, newest first.
    pub(super) fn newest_first(&self, chain: Chain) -> impl Iterator<Item = &Held> {
        let last = Some(chain.tail).filter(|slot| *slot != NOWHERE);
        std::iter::successors(last, |slot| Some(self.before(*slot)).filter(|next| *next != NOWHERE))
            .map(|slot| &self[slot])
    }

    /// All orders, in no order that means anything, the same in every run.
    pub(super) fn all(&self) -> impl Iterator<Item = (Slot, &Held)> {
        self.held.iter().map(|(slot, held)| {
            (u32::try_from(slot).expect("invariant: orders are bounded below 2^32"), held)
        })
    }

    /// The end of the range that slots lie in.
    pub(super) fn slots_end(&self) -> Slot {
        u32::try_from(self.held.capacity()).expect("invariant: orders are bounded below 2^32")
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Held> {
        self.held.get(slot as usize)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let id = size_of::<(OrderId, Slot)>() + 1;
        let label = size_of::<((AccountId, Label), Slot)>() + 1;
        self.held.capacity() * size_of::<Held>()
            + self.by_id.capacity() * id
            + self.by_label.capacity() * label
    }

    fn push(&mut self, slot: Slot, chain: &mut Chain) {
        let tail = std::mem::replace(&mut chain.tail, slot);
        self[slot].prev = tail;
        self[slot].next = NOWHERE;
        if tail == NOWHERE {
            chain.head = slot;
        } else {
            self[tail].next = slot;
        }
        chain.len += 1;
    }

    fn push_first(&mut self, slot: Slot, chain: &mut Chain) {
        let head = std::mem::replace(&mut chain.head, slot);
        self[slot].prev = NOWHERE;
        self[slot].next = head;
        if head == NOWHERE {
            chain.tail = slot;
        } else {
            self[head].prev = slot;
        }
        chain.len += 1;
    }

    fn unlink(&mut self, slot: Slot, chain: &mut Chain) {
        let Held { prev, next, .. } = self[slot];
        if prev == NOWHERE {
            chain.head = next;
        } else {
            self[prev].next = next;
        }
        if next == NOWHERE {
            chain.tail = prev;
        } else {
            self[next].prev = prev;
        }
        chain.len -= 1;
    }
}

impl Index<Slot> for Orders {
    type Output = Held;

    fn index(&self, slot: Slot) -> &Held {
        &self.held[slot as usize]
    }
}

impl IndexMut<Slot> for Orders {
    fn index_mut(&mut self, slot: Slot) -> &mut Held {
        &mut self.held[slot as usize]
    }
}
