//! Accounts: what each has open, holds, has been filled, may still ask for. PURE.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

use crate::model::decimal::{Amount, Price};
use crate::model::ids::{InstrumentId, Seq};
use crate::model::market::Direction;
use crate::model::order::{AccountId, Fill, NewOrder, OrderRefusal};
use crate::model::time::Now;

use super::NS_PER_MS;
use super::config::DeskConfig;
use super::holdings::Holdings;
use super::orders::Chain;

/// Orders that are remembered to recognise a duplicate: an account's newest without a label.
const RECENT_MAX: usize = 8;
const SECOND_NS: u64 = 1_000_000_000;

/// One account.
#[derive(Debug)]
pub(super) struct Account {
    pub open: Chain,
    pub closed: Chain,
    pub fills: Fills,
    pub holdings: Holdings,
    pub credits: Credits,
    recent: [Option<Recent>; RECENT_MAX],
    recent_next: usize,
    pub is_halted: bool,
    /// When the dead-man timer runs out, on the monotonic clock.
    pub deadline_ns: Option<u64>,
    /// Whether its new connections begin with cancel-on-disconnect.
    pub begins_guarded: bool,
    /// Of its newest event.
    pub seq: Seq,
    /// Requests that wait for a venue.
    pub waiting: u32,
    /// Requests to cancel many that are under way.
    pub sweeps: u32,
    /// Whether its reduce-only orders are looked at in the next settlement.
    pub is_to_trim: bool,
}

impl Account {
    fn new(config: &DeskConfig, now: Now) -> Account {
        Account {
            open: Chain::default(),
            closed: Chain::default(),
            fills: Fills::default(),
            holdings: Holdings::default(),
            credits: Credits::full(config.credits_max, now),
            recent: [None; RECENT_MAX],
            recent_next: 0,
            is_halted: false,
            deadline_ns: None,
            begins_guarded: config.cancel_on_disconnect,
            seq: Seq::default(),
            waiting: 0,
            sweeps: 0,
            is_to_trim: false,
        }
    }

    /// Whether the same order without a label came within the window before.
    pub(super) fn is_duplicate(&self, order: &NewOrder, window_ms: u32, now: Now) -> bool {
        let window_ns = u64::from(window_ms) * NS_PER_MS;
        let shape = OrderShape::of(order);
        order.label.is_none()
            && self
                .recent
                .iter()
                .flatten()
                .any(|recent| recent.shape == shape && now.mono_ns.saturating_sub(recent.mono_ns) < window_ns)
    }

    /// Notes an order that went to the venue.
    pub(super) fn note_recent(&mut self, order: &NewOrder, now: Now) {
        if order.label.is_none() {
            self.recent[self.recent_next] =
                Some(Recent { shape: OrderShape::of(order), mono_ns: now.mono_ns });
            self.recent_next = (self.recent_next + 1) % RECENT_MAX;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Recent {
    shape: OrderShape,
    mono_ns: u64,
}

/// What makes two orders the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OrderShape {
    instrument: InstrumentId,
    direction: Direction,
    price: Option<Price>,
    amount: Amount,
}

impl OrderShape {
    fn of(order: &NewOrder) -> OrderShape {
        let NewOrder { instrument, direction, price, amount, .. } = *order;
        OrderShape { instrument, direction, price, amount }
    }
}

/// A leaky bucket: credits are taken by requests and come back with time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credits {
    /// In billionths of a credit.
    left: u64,
    refilled_ns: u64,
}

impl Credits {
    fn full(credits_max: u32, now: Now) -> Credits {
        Credits { left: u64::from(credits_max) * SECOND_NS, refilled_ns: now.mono_ns }
    }

    /// Takes so many, or all that there are: for what was done already.
    pub(super) fn owe(&mut self, count: u32, config: &DeskConfig) {
        if config.credits_per_s > 0 {
            self.left = self.left.saturating_sub(u64::from(count) * SECOND_NS);
        }
    }

    /// Takes so many.
    ///
    /// # Errors
    /// That there are not so many, how many there are, and when there will be.
    pub(super) fn take(&mut self, count: u32, config: &DeskConfig, now: Now) -> Result<(), OrderRefusal> {
        let per_s = u64::from(config.credits_per_s);
        if per_s == 0 {
            return Ok(());
        }
        let max = u64::from(config.credits_max) * SECOND_NS;
        // Longer than it takes to fill it changes nothing, and keeps the product within 64 bits.
        let waited_ns = now.mono_ns.saturating_sub(self.refilled_ns).min(max / per_s + 1);
        self.left = (self.left + waited_ns * per_s).min(max);
        self.refilled_ns = now.mono_ns;
        let wanted = u64::from(count) * SECOND_NS;
        if let Some(left) = self.left.checked_sub(wanted) {
            self.left = left;
            return Ok(());
        }
        let retry_after_ms = (wanted - self.left).div_ceil(per_s).div_ceil(NS_PER_MS);
        Err(OrderRefusal::TooManyRequests {
            credits_left: u32::try_from(self.left / SECOND_NS).unwrap_or(u32::MAX),
            retry_after_ms: u32::try_from(retry_after_ms).unwrap_or(u32::MAX),
        })
    }
}

/// A fill that is kept, and the one before it of the same order.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptFill {
    pub fill: Fill,
    pub before: u64,
}

/// As `limits.rs` reckons.
const _: () = assert!(size_of::<KeptFill>() <= 256);

/// The newest fills of an account, counted from 0 since its first.
#[derive(Debug, Default)]
pub(super) struct Fills {
    kept: VecDeque<KeptFill>,
    /// The count of the oldest that is kept.
    first: u64,
}

impl Fills {
    /// Keeps a fill and says by which count.
    pub(super) fn push(&mut self, kept: KeptFill) -> u64 {
        self.kept.push_back(kept);
        self.first + self.kept.len() as u64 - 1
    }

    pub(super) fn forget_oldest(&mut self) {
        if self.kept.pop_front().is_some() {
            self.first += 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// `None` where it is forgotten.
    pub(super) fn get(&self, count: u64) -> Option<&KeptFill> {
        let at = usize::try_from(count.checked_sub(self.first)?).ok()?;
        self.kept.get(at)
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Fill> {
        self.kept.iter().map(|kept| &kept.fill)
    }
}

/// All accounts by their number.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    table: Vec<Option<Box<Account>>>,
    known_count: usize,
}

impl Accounts {
    /// Whether there is an account of this number, which is made where there is room.
    pub(super) fn ensure(&mut self, id: AccountId, config: &DeskConfig, now: Now) -> bool {
        if id.0 >= config.accounts_max {
            return false;
        }
        if self.table.len() <= id.index() {
            self.table.resize_with(id.index() + 1, || None);
        }
        let place = &mut self.table[id.index()];
        if place.is_none() {
            *place = Some(Box::new(Account::new(config, now)));
            self.known_count += 1;
        }
        true
    }

    #[cfg(test)]
    pub(super) fn get(&self, id: AccountId) -> Option<&Account> {
        self.table.get(id.index())?.as_deref()
    }

    /// What accounts take that each hold a few positions, without their fills.
    pub(super) fn memory_bytes(&self) -> usize {
        self.table.capacity() * size_of::<Option<Box<Account>>>()
            + self.known_count * (size_of::<Account>() + Holdings::USUAL_BYTES)
    }
}

const KNOWN: &str = "invariant: an account of an order or a request is in the table";

impl Index<AccountId> for Accounts {
    type Output = Account;

    fn index(&self, id: AccountId) -> &Account {
        self.table[id.index()].as_deref().expect(KNOWN)
    }
}

impl IndexMut<AccountId> for Accounts {
    fn index_mut(&mut self, id: AccountId) -> &mut Account {
        self.table[id.index()].as_deref_mut().expect(KNOWN)
    }
}
