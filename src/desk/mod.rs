//! The desk: the one writer of accounts, orders, labels, positions, credits and of what becomes of orders when a client or a
//! link goes. PURE. Home: the venue's thread, for all venues.
//!
//! What goes in: `handle_ask`, `handle_departure`, `handle_report`, `handle_trade`, `handle_link_up`, `handle_link_down`,
//! `handle_reconciled`, `handle_delisted`, `handle_timeout`. Then `settle`, which makes answers and events of it. What comes out:
//! `poll_request` for the venue, `poll_output` for clients, `poll_timeout`. A driver with a venue that answers at once does
//! `handle_ask`, then while there is a request: the venue's reports and fills in the order in which they happened, `settle`.
//! `market` is indexed by `InstrumentId` and the same all through a settlement.
//!
//! Invariants: each ask has exactly one answer. Of each order at most one step (new, amend, cancel) is with the venue;
//! what is asked meanwhile waits, a cancel before edits. Nothing is sent twice: what a dying link had taken is in doubt until
//! the venue tells, what it had not taken is given up. A fill counts whatever state its order is in. The events of an account
//! are numbered without a gap, whether or not somebody is told.

mod accounts;
mod asks;
mod checks;
mod config;
mod connections;
mod counters;
mod delisting;
mod halting;
mod holdings;
mod links;
mod orders;
mod output;
mod queries;
mod reducing;
mod reports;
mod retries;
mod sbe;
mod settle;
mod sweeps;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeSet, VecDeque};

use slab::Slab;

pub use self::config::{DeskConfig, InstrumentLimits};
pub use self::counters::DeskCounters;
pub use self::links::InDoubt;
pub use self::output::{ByteRange, JsonEvent, Output, SbeEvent, Wanted};

use self::accounts::{Accounts, KeptFill};
use self::config::LimitsByName;
use self::connections::Connections;
use self::delisting::Delisting;
use self::halting::Halting;
use self::orders::{Orders, Pending, Slot, Step};
use self::reducing::Beyond;
use self::retries::Retries;
use self::settle::{Due, Fresh};
use self::sweeps::{Sweep, Swept};
use self::waiting::{Wait, Waiter};
use crate::limits;
use crate::model::ids::InstrumentId;
use crate::model::instrument::Symbol;
use crate::model::order::{AccountId, CancelReason, NewOrder, OrderId, OrderRefusal, VenueRequest};
use crate::model::time::Now;

const NS_PER_MS: u64 = 1_000_000;

/// See the file's head.
#[derive(Debug)]
pub struct Desk {
    config: DeskConfig,
    /// Of instruments whose orders have limits of their own.
    own_limits: LimitsByName,
    next_order: OrderId,
    accounts: Accounts,
    orders: Orders,
    connections: Connections,
    waiters: Slab<Waiter>,
    sweeps: Slab<Sweep>,
    /// By instrument: whether a link takes its orders.
    links: Vec<bool>,
    /// Orders that are to be cancelled once a link takes their instrument's.
    unlinked: BTreeSet<(InstrumentId, Slot)>,
    /// Orders whose pending step no link has taken yet, and some that have none any more.
    requests: VecDeque<(Slot, OrderId)>,
    /// When dead-man timers run out.
    deadlines: BTreeSet<(u64, AccountId)>,
    retries: Retries,
    /// The kill switch of all, and what is still to be cancelled since it was thrown.
    is_halted: bool,
    halting: Option<Halting>,
    /// What is still to be cancelled since its instrument was delisted.
    delisting: Delisting,
    open_count: u32,
    closed_count: u32,
    fills_count: u32,
    /// Counts settlements.
    settlement: u64,
    /// Orders that are told of in the next settlement, that may take their next step, accounts whose orders closed.
    touched: Vec<Slot>,
    stirred: Vec<Slot>,
    crowded: Vec<AccountId>,
    /// Accounts whose reduce-only orders may be too many, and room to reckon in.
    to_trim: Vec<AccountId>,
    beyond: Vec<Beyond>,
    due: Vec<Due>,
    fresh: Vec<Fresh>,
    outputs: VecDeque<Output>,
    bytes: Vec<u8>,
    /// A value under way to `bytes`.
    scratch: Vec<u8>,
    pub counters: DeskCounters,
}

impl Desk {
    /// A desk whose first order has this number, which is to be above all that clients may remember: the time of the start in
    /// microseconds, say. All links are down.
    #[must_use]
    pub fn new(config: DeskConfig, first_order: OrderId) -> Desk {
        Desk {
            config,
            own_limits: LimitsByName::default(),
            next_order: first_order,
            accounts: Accounts::default(),
            orders: Orders::default(),
            connections: Connections::default(),
            waiters: Slab::new(),
            sweeps: Slab::new(),
            links: Vec::new(),
            unlinked: BTreeSet::new(),
            requests: VecDeque::new(),
            deadlines: BTreeSet::new(),
            retries: Retries::default(),
            is_halted: false,
            halting: None,
            delisting: Delisting::default(),
            open_count: 0,
            closed_count: 0,
            fills_count: 0,
            settlement: 0,
            touched: Vec::new(),
            stirred: Vec::new(),
            crowded: Vec::new(),
            to_trim: Vec::new(),
            beyond: Vec::new(),
            due: Vec::new(),
            fresh: Vec::new(),
            outputs: VecDeque::new(),
            bytes: Vec::new(),
            scratch: Vec::new(),
            counters: DeskCounters::default(),
        }
    }

    /// Judges by this from the next request on; what an account began with stays.
    pub fn set_config(&mut self, config: DeskConfig) {
        let DeskConfig { opening_balance, cancel_on_disconnect, .. } = self.config;
        self.config = DeskConfig { opening_balance, cancel_on_disconnect, ..config };
    }

    /// Judges orders in these instruments, whenever they are listed, by these limits from the next request on, and by no others that
    /// were set before.
    pub fn set_instrument_limits(&mut self, limits: impl IntoIterator<Item = (Symbol, InstrumentLimits)>) {
        self.own_limits = limits.into_iter().collect();
    }

    /// The next request for a venue, which counts as sent from here on. One whose time was over before is answered as timed
    /// out instead.
    pub fn poll_request(&mut self, now: Now) -> Option<VenueRequest> {
        while let Some((slot, id)) = self.requests.pop_front() {
            let Some(held) = self.orders.get(slot).filter(|held| held.order.id == id) else { continue };
            let Some(pending) = held.pending.filter(|pending| !pending.is_sent) else { continue };
            if is_over(pending.valid_until_ms, now) {
                self.withdraw(slot, OrderRefusal::TimedOut, now);
                continue;
            }
            self.orders[slot].pending = Some(Pending { is_sent: true, ..pending });
            return Some(self.request(slot, pending));
        }
        None
    }

    /// Whether [`Desk::poll_request`] may have something.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// What is to be told next; its bytes are there until the next call that is not `poll_output` or `bytes`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The bytes of an output.
    #[must_use]
    pub fn bytes(&self, range: ByteRange) -> &[u8] {
        &self.bytes[range.start as usize..][..range.len as usize]
    }

    /// When [`Desk::handle_timeout`] has something to do next, on the monotonic clock, in nanoseconds; 0 for at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.halting.is_some() || self.delisting.is_due() {
            return Some(0);
        }
        let timer = self.deadlines.first().map(|(deadline_ns, _)| *deadline_ns);
        [timer, self.retries.poll_timeout()].into_iter().flatten().min()
    }

    /// Goes on with the kill switch and with delistings, asks again for cancels that were refused, runs dead-man timers out: as far as a turn should
    /// go, and by one account's orders more.
    pub fn handle_timeout(&mut self, now: Now) {
        self.begin();
        let mut left = limits::DESK_ORDERS_PER_TIMEOUT;
        left -= self.halt_on(left);
        left -= self.delist_on(left);
        left -= self.cancel_again(left, now);
        while left > 0
            && let Some((deadline_ns, account)) = self.deadlines.first().copied()
            && deadline_ns <= now.mono_ns
        {
            self.deadlines.pop_first();
            self.accounts[account].deadline_ns = None;
            left = left.saturating_sub(self.accounts[account].open.len + 1);
            self.cancel_each(account, CancelReason::Timeout, |_| true);
        }
    }

    /// What the order is in, if it is known.
    #[must_use]
    pub fn instrument_of(&self, order: OrderId) -> Option<InstrumentId> {
        self.orders.find(order).map(|slot| self.orders[slot].order.instrument)
    }

    /// Whether two orders are of the same account.
    fn are_of_one_account(&self, one: OrderId, other: OrderId) -> bool {
        let account = |id: OrderId| self.orders.find(id).map(|slot| self.orders[slot].order.account);
        account(one).is_some_and(|of| account(other) == Some(of))
    }

    /// Bytes of memory that the desk holds, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.accounts.memory_bytes()
            + self.fills_count as usize * size_of::<KeptFill>()
            + self.orders.memory_bytes()
            + self.connections.memory_bytes()
            + self.waiters.capacity() * size_of::<Waiter>()
            + self.sweeps.capacity() * size_of::<Sweep>()
            + self.retries.memory_bytes()
            + self.unlinked.len() * 2 * size_of::<(InstrumentId, Slot)>()
            + self.requests.capacity() * size_of::<(Slot, OrderId)>()
            + self.fresh.capacity() * size_of::<Fresh>()
            + self.bytes.capacity()
    }

    /// What was polled is done with.
    fn begin(&mut self) {
        if self.outputs.is_empty() {
            self.bytes.clear();
        }
    }

    /// Whether a link takes orders of the instrument.
    fn is_linked(&self, instrument: InstrumentId) -> bool {
        self.links.get(instrument.index()).copied().unwrap_or(false)
    }

    /// The step becomes pending and waits for a link to take it.
    fn start(&mut self, slot: Slot, step: Step, valid_until_ms: Option<u64>) {
        let held = &mut self.orders[slot];
        assert!(held.pending.is_none(), "invariant: one step at a time: {:?} then {step:?}", held.pending);
        held.pending = Some(Pending { step, is_sent: false, valid_until_ms });
        if step == Step::Cancel {
            held.cancel_again_ns = None;
        }
        self.requests.push_back((slot, held.order.id));
        self.count_working(slot);
    }

    fn request(&self, slot: Slot, pending: Pending) -> VenueRequest {
        let order = self.orders[slot].order;
        let (id, instrument) = (order.id, order.instrument);
        match pending.step {
            Step::New => VenueRequest::New {
                order: id,
                account: order.account,
                spec: NewOrder {
                    instrument,
                    direction: order.direction,
                    order_type: order.order_type,
                    price: order.price,
                    amount: order.amount,
                    time_in_force: order.time_in_force,
                    post_only: order.post_only,
                    reduce_only: order.reduce_only,
                    label: order.label,
                    valid_until_ms: pending.valid_until_ms,
                },
            },
            Step::Amend(amendment) => VenueRequest::Amend {
                order: id,
                instrument,
                price: amendment.price,
                total: amendment.total,
                post_only: amendment.post_only,
            },
            Step::Cancel => VenueRequest::Cancel { order: id, instrument },
        }
    }

    /// The step that no link has taken is given up: whoever waits for it is refused.
    fn withdraw(&mut self, slot: Slot, why: OrderRefusal, now: Now) {
        let pending = self.orders[slot].pending.take();
        match pending.map(|pending| pending.step) {
            Some(Step::New) => self.end_unplaced(slot, why, now),
            Some(Step::Amend(_)) => {
                self.release(slot, |wait| matches!(wait, Wait::Edit { is_asked: true, .. }), Err(why));
                self.count_working(slot);
            }
            Some(Step::Cancel) => self.end_cancel(slot, why, Swept::NotSent),
            None => panic!("invariant: only what is pending is withdrawn"),
        }
        self.stirred.push(slot);
    }
}

/// Whether that time has come.
fn is_over(valid_until_ms: Option<u64>, now: Now) -> bool {
    valid_until_ms.is_some_and(|until_ms| until_ms <= now.unix_ns / NS_PER_MS)
}
