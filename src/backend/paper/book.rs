//! An order book with price-time priority: every order by its id, first in first out within a price. PURE.
//! Home: the venue thread; simulated traders and clients meet on it.
//! Invariants (checked by `assert_invariants`): the best bid is below the best ask; no level is empty; a level's
//! amount is the sum of its orders; amounts are only ever moved from orders to fills or given back by a cancel; no two
//! orders of one account ever meet.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::model::book::{Level, LevelUpdate, Side};
use crate::model::decimal::{Amount, Price};
use crate::model::order::{AccountId, OrderId};

/// The end of a list of orders.
const NIL: u32 = u32::MAX;

/// Where an order rests. The slot is reused, the generation is not, so an id of a dead order finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RestingId {
    slot: u32,
    generation: u32,
}

/// A client's order and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub account: AccountId,
    pub order: OrderId,
}

/// What an order is while it rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resting {
    pub side: Side,
    pub price: Price,
    /// What is left of it; positive.
    pub amount: Amount,
    /// What was filled of it.
    pub filled: Amount,
    /// `None` of a simulated trader's.
    pub owner: Option<Owner>,
}

/// One match: the resting order gave `amount` at its own price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    pub maker: RestingId,
    /// The resting order, where it is a client's.
    pub maker_order: Option<OrderId>,
    pub taker_side: Side,
    pub price: Price,
    pub amount: Amount,
    /// What the resting order has left; at zero it is gone.
    pub maker_left: Amount,
}

/// What an order met on its way through the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    Filled(Fill),
    /// This resting order is of the same account: it was cancelled.
    SelfMatch(OrderId),
}

/// What one or more actions did; reused, so that matching allocates nothing once warm.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order of matching.
    pub met: Vec<Met>,
    /// Each touched level once, with its amount after the last action; see [`OrderBook::settle`].
    pub touched: Vec<LevelUpdate>,
    /// Levels touched since they were last settled, some more than once.
    marks: Vec<(Side, Price)>,
}

impl Outcome {
    pub fn clear(&mut self) {
        self.met.clear();
        self.touched.clear();
        self.marks.clear();
    }

    fn mark(&mut self, side: Side, price: Price) {
        // One order mostly touches one level many times in a row.
        if self.marks.last() != Some(&(side, price)) {
            self.marks.push((side, price));
        }
    }
}

/// What became of a limit order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub filled: Amount,
    /// The rest, unless nothing is left.
    pub resting: Option<RestingId>,
}

/// Why an order is refused; the book is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceError {
    /// The amount is zero or negative.
    AmountNotPositive,
    /// The book holds as many orders as it may.
    BookFull,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    /// `None` while the slot is free.
    order: Option<Resting>,
    /// The order that came earlier at the same price.
    previous: u32,
    /// The order that came later at the same price; in a free slot, the next free one.
    next: u32,
}

#[derive(Debug)]
struct Queue {
    level: Level,
    first: u32,
    last: u32,
    /// How many of its orders are simulated traders'.
    simulated: u32,
}

/// One side of the book.
#[derive(Debug, Default)]
struct Half {
    /// The best is last: bids ascend, asks descend.
    queues: Vec<Queue>,
    /// Levels where a simulated trader has an order.
    simulated_levels: usize,
    /// Of all its orders.
    amount: i64,
}

#[derive(Debug)]
pub struct OrderBook {
    slots: Vec<Slot>,
    free: u32,
    orders_max: u32,
    orders: u32,
    bids: Half,
    asks: Half,
    /// Clients' resting orders. Looked up by key only, and the hasher's key is fixed.
    clients: HashMap<OrderId, RestingId, BuildHasherDefault<DefaultHasher>>,
}

impl OrderBook {
    /// A book of at most `orders_max` resting orders. What orders need of memory is asked for here, and used by and by; the
    /// table of clients' orders is twice as large as it must be, so that it never grows.
    #[must_use]
    pub fn new(orders_max: u32) -> OrderBook {
        let orders_max = orders_max.min(NIL - 1);
        let slots = orders_max as usize;
        OrderBook {
            slots: Vec::with_capacity(slots),
            free: NIL,
            orders_max,
            orders: 0,
            bids: Half::default(),
            asks: Half::default(),
            clients: HashMap::with_capacity_and_hasher(2 * slots, BuildHasherDefault::default()),
        }
    }

    /// Matches against the other side up to its price; what is left rests behind all that rests at that price. Orders of
    /// the same account that it meets are cancelled.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn place_limit(&mut self, order: Resting, out: &mut Outcome) -> Result<Placed, PlaceError> {
        let Resting { side, price, amount, filled: before, owner } = order;
        if amount <= Amount::ZERO {
            return Err(PlaceError::AmountNotPositive);
        }
        if self.orders >= self.orders_max {
            return Err(PlaceError::BookFull);
        }
        let filled = self.take(side, Some(price), amount, owner.map(|owner| owner.account), out);
        let (left, all) = (Amount(amount.0 - filled.0), Amount(before.0 + filled.0));
        let resting =
            (left > Amount::ZERO).then(|| self.rest(Resting { amount: left, filled: all, ..order }, out));
        Ok(Placed { filled, resting })
    }

    /// Matches against the other side, up to `limit` where there is one; what is left is cancelled, and so are orders
    /// of the same account that it meets. Returns what was filled.
    ///
    /// # Errors
    /// [`PlaceError::AmountNotPositive`].
    pub fn place_immediate(
        &mut self,
        side: Side,
        limit: Option<Price>,
        amount: Amount,
        account: Option<AccountId>,
        out: &mut Outcome,
    ) -> Result<Amount, PlaceError> {
        if amount <= Amount::ZERO {
            return Err(PlaceError::AmountNotPositive);
        }
        Ok(self.take(side, limit, amount, account, out))
    }

    /// Takes a resting order out; `None` if it no longer rests.
    pub fn cancel(&mut self, id: RestingId, out: &mut Outcome) -> Option<Resting> {
        let order = self.order(id)?;
        let at = self.queue_at(order.side, order.price).expect("invariant: a resting order has a level");
        self.unlink(order, at, id.slot);
        out.mark(order.side, order.price);
        Some(order)
    }

    /// Makes a resting order smaller; it keeps its place.
    ///
    /// # Panics
    /// If the order does not rest, or `amount` is not positive or more than it has: our bug.
    pub fn reduce(&mut self, id: RestingId, amount: Amount, out: &mut Outcome) {
        let order = self.order(id).expect("invariant: who reduces an order has just found it");
        assert!(Amount::ZERO < amount && amount <= order.amount, "invariant: {amount:?} of {order:?}");
        let at = self.queue_at(order.side, order.price).expect("invariant: a resting order has a level");
        self.shrink(Resting { amount, ..order }, at, id.slot, order.amount.0 - amount.0);
        out.mark(order.side, order.price);
    }

    /// How much of `amount` an order of this account would be filled at once, up to `limit` where there is one.
    #[must_use]
    pub fn reachable(
        &self,
        side: Side,
        limit: Option<Price>,
        amount: Amount,
        account: Option<AccountId>,
    ) -> Amount {
        let mut left = amount.0;
        for queue in self.half(other(side)).queues.iter().rev() {
            if !reaches(side, limit, queue.level.price) {
                break;
            }
            let mut at = queue.first;
            while at != NIL && left > 0 {
                let slot = &self.slots[at as usize];
                let order = slot.order.expect("invariant: a queued slot has an order");
                if !is_of(order, account) {
                    left -= left.min(order.amount.0);
                }
                at = slot.next;
            }
            if left == 0 {
                break;
            }
        }
        Amount(amount.0 - left)
    }

    /// Says what the touched levels hold now, each once, in the order of side and price.
    ///
    /// # Panics
    /// If an earlier moment's levels have not been cleared: our bug.
    pub fn settle(&self, out: &mut Outcome) {
        assert!(out.touched.is_empty(), "invariant: a moment is told before the next one happens");
        out.marks.sort_unstable();
        out.marks.dedup();
        let Outcome { touched, marks, .. } = out;
        touched.extend(marks.drain(..).map(|(side, price)| LevelUpdate {
            side,
            price,
            amount: self.amount_at(side, price),
        }));
    }

    /// The order, if it rests.
    #[must_use]
    pub fn order(&self, id: RestingId) -> Option<Resting> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.order.filter(|_| slot.generation == id.generation)
    }

    /// A client's order, if it rests.
    #[must_use]
    pub fn find(&self, order: OrderId) -> Option<RestingId> {
        self.clients.get(&order).copied()
    }

    /// Clients' resting orders, in the order of their numbers.
    #[must_use]
    pub fn client_orders(&self) -> Vec<OrderId> {
        let owners = self.slots.iter().filter_map(|slot| slot.order?.owner);
        let mut orders: Vec<OrderId> = owners.map(|owner| owner.order).collect();
        orders.sort_unstable();
        orders
    }

    /// Resting orders.
    #[must_use]
    pub fn order_count(&self) -> u32 {
        self.orders
    }

    /// Resting orders of clients.
    #[must_use]
    pub fn client_order_count(&self) -> u32 {
        u32::try_from(self.clients.len()).expect("invariant: at most orders_max")
    }

    /// Levels of one side.
    #[must_use]
    pub fn level_count(&self, side: Side) -> usize {
        self.half(side).queues.len()
    }

    /// Levels of one side where a simulated trader has an order.
    #[must_use]
    pub fn simulated_level_count(&self, side: Side) -> usize {
        self.half(side).simulated_levels
    }

    /// What rests on one side.
    #[must_use]
    pub fn side_amount(&self, side: Side) -> Amount {
        Amount(self.half(side).amount)
    }

    /// What rests at a price; zero where there is no level.
    #[must_use]
    pub fn amount_at(&self, side: Side, price: Price) -> Amount {
        self.queue_at(side, price).map_or(Amount::ZERO, |at| self.half(side).queues[at].level.amount)
    }

    #[must_use]
    pub fn best(&self, side: Side) -> Option<Level> {
        self.half(side).queues.last().map(|queue| queue.level)
    }

    /// The price farthest from the other side at which a simulated trader has an order, and the last such order in line.
    #[must_use]
    pub fn last_simulated(&self, side: Side) -> Option<(Price, RestingId)> {
        let queue = self.half(side).queues.iter().find(|queue| queue.simulated > 0)?;
        let mut at = queue.last;
        while self.slots[at as usize].order.is_some_and(|order| order.owner.is_some()) {
            at = self.slots[at as usize].previous;
        }
        Some((queue.level.price, RestingId { slot: at, generation: self.slots[at as usize].generation }))
    }

    /// The levels of one side, best first.
    pub fn levels(&self, side: Side) -> impl ExactSizeIterator<Item = Level> + '_ {
        self.half(side).queues.iter().rev().map(|queue| queue.level)
    }

    /// # Panics
    /// Where the book contradicts itself: our bug.
    pub fn assert_invariants(&self) {
        if let (Some(bid), Some(ask)) = (self.best(Side::Bid), self.best(Side::Ask)) {
            assert!(bid.price < ask.price, "crossed: {bid:?} {ask:?}");
        }
        let (mut orders, mut owned) = (0, 0);
        for side in [Side::Bid, Side::Ask] {
            assert!(self.levels(side).zip(self.levels(side).skip(1)).all(|(near, far)| match side {
                Side::Bid => near.price > far.price,
                Side::Ask => near.price < far.price,
            }));
            for queue in &self.half(side).queues {
                let (mut sum, mut simulated, mut at, mut before) = (0, 0, queue.first, NIL);
                while at != NIL {
                    let slot = &self.slots[at as usize];
                    let order = slot.order.expect("invariant: a queued slot has an order");
                    assert_eq!((order.side, order.price, slot.previous), (side, queue.level.price, before));
                    assert!(order.amount > Amount::ZERO);
                    let id = RestingId { slot: at, generation: slot.generation };
                    match order.owner {
                        Some(owner) => assert_eq!(self.find(owner.order), Some(id)),
                        None => simulated += 1,
                    }
                    owned += u32::from(order.owner.is_some());
                    sum += order.amount.0;
                    orders += 1;
                    (before, at) = (at, slot.next);
                }
                assert_eq!((queue.last, queue.level.amount), (before, Amount(sum)));
                assert_eq!(queue.simulated, simulated);
                assert!(sum > 0, "an empty level");
            }
            let half = self.half(side);
            assert_eq!(half.simulated_levels, half.queues.iter().filter(|queue| queue.simulated > 0).count());
            assert_eq!(half.amount, half.queues.iter().map(|queue| queue.level.amount.0).sum::<i64>());
        }
        assert_eq!((orders, owned), (self.orders, self.client_order_count()));
    }

    fn take(
        &mut self,
        side: Side,
        limit: Option<Price>,
        amount: Amount,
        account: Option<AccountId>,
        out: &mut Outcome,
    ) -> Amount {
        let maker_side = other(side);
        let mut left = amount.0;
        while left > 0 {
            let Some(queue) = self.half(maker_side).queues.last() else { break };
            let (price, slot) = (queue.level.price, queue.first);
            if !reaches(side, limit, price) {
                break;
            }
            let at = self.half(maker_side).queues.len() - 1;
            let maker = self.slots[slot as usize].order.expect("invariant: a queued slot has an order");
            let id = RestingId { slot, generation: self.slots[slot as usize].generation };
            let maker_order = maker.owner.map(|owner| owner.order);
            out.mark(maker_side, price);
            if let Some(own) = maker_order.filter(|_| is_of(maker, account)) {
                self.unlink(maker, at, slot);
                out.met.push(Met::SelfMatch(own));
                continue;
            }
            let amount = left.min(maker.amount.0);
            left -= amount;
            let maker_left = Amount(maker.amount.0 - amount);
            if maker_left == Amount::ZERO {
                self.unlink(maker, at, slot);
            } else {
                let filled = Amount(maker.filled.0 + amount);
                self.shrink(Resting { amount: maker_left, filled, ..maker }, at, slot, amount);
            }
            let amount = Amount(amount);
            out.met.push(Met::Filled(Fill {
                maker: id,
                maker_order,
                taker_side: side,
                price,
                amount,
                maker_left,
            }));
        }
        Amount(amount.0 - left)
    }

    fn rest(&mut self, order: Resting, out: &mut Outcome) -> RestingId {
        let Resting { side, price, amount, filled: _, owner } = order;
        let slot = self.allocate(order);
        let simulated = u32::from(owner.is_none());
        let found = self.queue_at(side, price);
        let half = self.half_mut(side);
        half.amount += amount.0;
        match found {
            Ok(at) => {
                let queue = &mut half.queues[at];
                let before = std::mem::replace(&mut queue.last, slot);
                queue.level.amount.0 += amount.0;
                half.simulated_levels += usize::from(queue.simulated == 0 && simulated == 1);
                queue.simulated += simulated;
                self.slots[before as usize].next = slot;
                self.slots[slot as usize].previous = before;
            }
            Err(at) => {
                let level = Level { price, amount };
                half.simulated_levels += usize::from(simulated == 1);
                half.queues.insert(at, Queue { level, first: slot, last: slot, simulated });
            }
        }
        out.mark(side, price);
        let id = RestingId { slot, generation: self.slots[slot as usize].generation };
        if let Some(Owner { order, .. }) = owner {
            let before = self.clients.insert(order, id);
            assert_eq!(before, None, "invariant: the desk gives each order a number of its own: {order:?}");
        }
        id
    }

    fn allocate(&mut self, order: Resting) -> u32 {
        self.orders += 1;
        if self.free == NIL {
            let slot = u32::try_from(self.slots.len()).expect("invariant: at most orders_max slots");
            self.slots.push(Slot { generation: 0, order: Some(order), previous: NIL, next: NIL });
            return slot;
        }
        let at = self.free;
        let slot = &mut self.slots[at as usize];
        self.free = std::mem::replace(&mut slot.next, NIL);
        slot.previous = NIL;
        slot.order = Some(order);
        at
    }

    /// The order is this from now on, and so much smaller.
    fn shrink(&mut self, order: Resting, at: usize, slot: u32, by: i64) {
        self.slots[slot as usize].order = Some(order);
        let half = self.half_mut(order.side);
        half.amount -= by;
        half.queues[at].level.amount.0 -= by;
    }

    /// Takes an order out of its queue and frees its slot.
    fn unlink(&mut self, order: Resting, at: usize, slot: u32) {
        let free = self.free;
        let gone = &mut self.slots[slot as usize];
        let (previous, next) = (gone.previous, gone.next);
        gone.order = None;
        gone.generation = gone.generation.wrapping_add(1);
        gone.next = free;
        self.free = slot;
        self.orders -= 1;
        if let Some(owner) = order.owner {
            self.clients.remove(&owner.order);
        }
        if previous != NIL {
            self.slots[previous as usize].next = next;
        }
        if next != NIL {
            self.slots[next as usize].previous = previous;
        }
        let half = self.half_mut(order.side);
        half.amount -= order.amount.0;
        let queue = &mut half.queues[at];
        if previous == NIL {
            queue.first = next;
        }
        if next == NIL {
            queue.last = previous;
        }
        queue.level.amount.0 -= order.amount.0;
        if order.owner.is_none() {
            queue.simulated -= 1;
            half.simulated_levels -= usize::from(queue.simulated == 0);
        }
        if queue.first == NIL {
            half.queues.remove(at);
        }
    }

    /// Where a price is, or belongs.
    fn queue_at(&self, side: Side, price: Price) -> Result<usize, usize> {
        let queues = &self.half(side).queues;
        match side {
            Side::Bid => queues.binary_search_by(|queue| queue.level.price.cmp(&price)),
            Side::Ask => queues.binary_search_by(|queue| price.cmp(&queue.level.price)),
        }
    }

    fn half(&self, side: Side) -> &Half {
        match side {
            Side::Bid => &self.bids,
            Side::Ask => &self.asks,
        }
    }

    fn half_mut(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        }
    }
}

/// The side that an order of this side takes from.
#[must_use]
pub const fn other(side: Side) -> Side {
    match side {
        Side::Bid => Side::Ask,
        Side::Ask => Side::Bid,
    }
}

fn reaches(side: Side, limit: Option<Price>, price: Price) -> bool {
    limit.is_none_or(|limit| match side {
        Side::Bid => price <= limit,
        Side::Ask => price >= limit,
    })
}

fn is_of(order: Resting, account: Option<AccountId>) -> bool {
    order.owner.is_some_and(|owner| Some(owner.account) == account)
}

#[cfg(test)]
mod tests;
