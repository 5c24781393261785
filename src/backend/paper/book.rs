//! An order book with price-time priority: every order by its id, first in first out within a price. PURE.
//! Home: the venue thread; the paper market and the paper venue match on it.
//! Invariants (checked by `assert_invariants`): the best bid is below the best ask; no level is empty; a level's
//! amount is the sum of its orders; amounts are only ever moved from orders to fills or given back by a cancel.

use crate::model::book::{Level, LevelUpdate, Side};
use crate::model::decimal::{Amount, Price};

/// The end of a list of orders.
const NIL: u32 = u32::MAX;

/// A resting order. The slot is reused, the generation is not, so an id of a dead order finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId {
    slot: u32,
    generation: u32,
}

/// What an order is while it rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub side: Side,
    pub price: Price,
    /// What is left of it; positive.
    pub amount: Amount,
}

/// One match: the resting order gave `amount` at its own price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    pub maker: OrderId,
    pub price: Price,
    pub amount: Amount,
    /// What the resting order has left; at zero it is gone.
    pub maker_left: Amount,
}

/// What one or more actions did; reused, so that matching allocates nothing once warm.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order of matching.
    pub fills: Vec<Fill>,
    /// Each touched level once, with its amount after the last action.
    pub touched: Vec<LevelUpdate>,
}

impl Outcome {
    pub fn clear(&mut self) {
        self.fills.clear();
        self.touched.clear();
    }

    fn touch(&mut self, side: Side, price: Price, amount: Amount) {
        let seen = self.touched.iter_mut().find(|update| update.price == price && update.side == side);
        match seen {
            Some(update) => update.amount = amount,
            None => self.touched.push(LevelUpdate { side, price, amount }),
        }
    }
}

/// What became of a limit order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub filled: Amount,
    /// The rest, unless nothing is left.
    pub resting: Option<OrderId>,
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
    order: Option<Order>,
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
}

#[derive(Debug)]
pub struct OrderBook {
    slots: Vec<Slot>,
    free: u32,
    orders_max: u32,
    orders: u32,
    /// Ascending: the best bid is last.
    bids: Vec<Queue>,
    /// Descending: the best ask is last.
    asks: Vec<Queue>,
}

impl OrderBook {
    /// A book of at most `orders_max` resting orders.
    #[must_use]
    pub fn new(orders_max: u32) -> OrderBook {
        OrderBook {
            slots: Vec::new(),
            free: NIL,
            orders_max: orders_max.min(NIL - 1),
            orders: 0,
            bids: Vec::new(),
            asks: Vec::new(),
        }
    }

    /// Matches against the other side up to `limit`; what is left rests behind all that rests at that price.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn place_limit(
        &mut self,
        side: Side,
        limit: Price,
        amount: Amount,
        out: &mut Outcome,
    ) -> Result<Placed, PlaceError> {
        self.check(amount)?;
        let filled = self.take(side, Some(limit), amount, out);
        let rest = Amount(amount.0 - filled.0);
        let resting = (rest > Amount::ZERO).then(|| self.rest(side, limit, rest, out));
        Ok(Placed { filled, resting })
    }

    /// Matches against the other side, up to `limit` where there is one; what is left is cancelled. Returns what was
    /// filled.
    ///
    /// # Errors
    /// [`PlaceError::AmountNotPositive`].
    pub fn place_immediate(
        &mut self,
        side: Side,
        limit: Option<Price>,
        amount: Amount,
        out: &mut Outcome,
    ) -> Result<Amount, PlaceError> {
        if amount <= Amount::ZERO {
            return Err(PlaceError::AmountNotPositive);
        }
        Ok(self.take(side, limit, amount, out))
    }

    /// Takes a resting order out; `None` if it no longer rests.
    pub fn cancel(&mut self, id: OrderId, out: &mut Outcome) -> Option<Order> {
        let order = self.order(id)?;
        let at = self.queue_at(order.side, order.price).expect("invariant: a resting order has a level");
        let left = self.unlink(order, at, id.slot);
        out.touch(order.side, order.price, left);
        Some(order)
    }

    /// The order, if it rests.
    #[must_use]
    pub fn order(&self, id: OrderId) -> Option<Order> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.order.filter(|_| slot.generation == id.generation)
    }

    /// Resting orders.
    #[must_use]
    pub fn order_count(&self) -> u32 {
        self.orders
    }

    /// Levels of one side.
    #[must_use]
    pub fn level_count(&self, side: Side) -> usize {
        self.queues(side).len()
    }

    #[must_use]
    pub fn best(&self, side: Side) -> Option<Level> {
        self.queues(side).last().map(|queue| queue.level)
    }

    /// The price farthest from the other side.
    #[must_use]
    pub fn worst(&self, side: Side) -> Option<Level> {
        self.queues(side).first().map(|queue| queue.level)
    }

    /// The last order in line at the price farthest from the other side.
    #[must_use]
    pub fn last_in_line(&self, side: Side) -> Option<OrderId> {
        let slot = self.queues(side).first()?.last;
        Some(OrderId { slot, generation: self.slots[slot as usize].generation })
    }

    /// The levels of one side, best first.
    pub fn levels(&self, side: Side) -> impl ExactSizeIterator<Item = Level> + '_ {
        self.queues(side).iter().rev().map(|queue| queue.level)
    }

    /// # Panics
    /// Where the book contradicts itself: our bug.
    pub fn assert_invariants(&self) {
        if let (Some(bid), Some(ask)) = (self.best(Side::Bid), self.best(Side::Ask)) {
            assert!(bid.price < ask.price, "crossed: {bid:?} {ask:?}");
        }
        let mut orders = 0;
        for side in [Side::Bid, Side::Ask] {
            assert!(self.levels(side).zip(self.levels(side).skip(1)).all(|(near, far)| match side {
                Side::Bid => near.price > far.price,
                Side::Ask => near.price < far.price,
            }));
            for queue in self.queues(side) {
                let (mut sum, mut at, mut before) = (0, queue.first, NIL);
                while at != NIL {
                    let slot = &self.slots[at as usize];
                    let order = slot.order.expect("invariant: a queued slot has an order");
                    assert_eq!((order.side, order.price, slot.previous), (side, queue.level.price, before));
                    assert!(order.amount > Amount::ZERO);
                    sum += order.amount.0;
                    orders += 1;
                    (before, at) = (at, slot.next);
                }
                assert_eq!((queue.last, queue.level.amount), (before, Amount(sum)));
                assert!(sum > 0, "an empty level");
            }
        }
        assert_eq!(orders, self.orders);
    }

    fn check(&self, amount: Amount) -> Result<(), PlaceError> {
        if amount <= Amount::ZERO {
            return Err(PlaceError::AmountNotPositive);
        }
        if self.orders >= self.orders_max {
            return Err(PlaceError::BookFull);
        }
        Ok(())
    }

    fn take(&mut self, side: Side, limit: Option<Price>, amount: Amount, out: &mut Outcome) -> Amount {
        let maker_side = other(side);
        let mut left = amount.0;
        while left > 0 {
            let Some(queue) = self.queues(maker_side).last() else { break };
            let (price, slot) = (queue.level.price, queue.first);
            let out_of_reach = limit.is_some_and(|limit| match side {
                Side::Bid => price > limit,
                Side::Ask => price < limit,
            });
            if out_of_reach {
                break;
            }
            let at = self.queues(maker_side).len() - 1;
            let maker = self.slots[slot as usize].order.expect("invariant: a queued slot has an order");
            let id = OrderId { slot, generation: self.slots[slot as usize].generation };
            let amount = left.min(maker.amount.0);
            left -= amount;
            let maker_left = Amount(maker.amount.0 - amount);
            let level_left = if maker_left == Amount::ZERO {
                self.unlink(maker, at, slot)
            } else {
                self.slots[slot as usize].order = Some(Order { amount: maker_left, ..maker });
                let level = &mut self.queues_mut(maker_side)[at].level;
                level.amount.0 -= amount;
                level.amount
            };
            out.fills.push(Fill { maker: id, price, amount: Amount(amount), maker_left });
            out.touch(maker_side, price, level_left);
        }
        Amount(amount.0 - left)
    }

    fn rest(&mut self, side: Side, price: Price, amount: Amount, out: &mut Outcome) -> OrderId {
        let slot = self.allocate(Order { side, price, amount });
        let level_amount = match self.queue_at(side, price) {
            Ok(at) => {
                let queue = &mut self.queues_mut(side)[at];
                let before = std::mem::replace(&mut queue.last, slot);
                queue.level.amount.0 += amount.0;
                let level_amount = queue.level.amount;
                self.slots[before as usize].next = slot;
                self.slots[slot as usize].previous = before;
                level_amount
            }
            Err(at) => {
                let level = Level { price, amount };
                self.queues_mut(side).insert(at, Queue { level, first: slot, last: slot });
                amount
            }
        };
        out.touch(side, price, level_amount);
        OrderId { slot, generation: self.slots[slot as usize].generation }
    }

    fn allocate(&mut self, order: Order) -> u32 {
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

    /// Takes an order out of its queue and frees its slot; returns what is left of the level.
    fn unlink(&mut self, order: Order, at: usize, slot: u32) -> Amount {
        let free = self.free;
        let gone = &mut self.slots[slot as usize];
        let (previous, next) = (gone.previous, gone.next);
        gone.order = None;
        gone.generation = gone.generation.wrapping_add(1);
        gone.next = free;
        self.free = slot;
        self.orders -= 1;
        if previous != NIL {
            self.slots[previous as usize].next = next;
        }
        if next != NIL {
            self.slots[next as usize].previous = previous;
        }
        let queues = self.queues_mut(order.side);
        let queue = &mut queues[at];
        if previous == NIL {
            queue.first = next;
        }
        if next == NIL {
            queue.last = previous;
        }
        queue.level.amount.0 -= order.amount.0;
        let left = queue.level.amount;
        if queue.first == NIL {
            queues.remove(at);
        }
        left
    }

    /// Where a price is, or belongs.
    fn queue_at(&self, side: Side, price: Price) -> Result<usize, usize> {
        match side {
            Side::Bid => self.bids.binary_search_by(|queue| queue.level.price.cmp(&price)),
            Side::Ask => self.asks.binary_search_by(|queue| price.cmp(&queue.level.price)),
        }
    }

    fn queues(&self, side: Side) -> &[Queue] {
        match side {
            Side::Bid => &self.bids,
            Side::Ask => &self.asks,
        }
    }

    fn queues_mut(&mut self, side: Side) -> &mut Vec<Queue> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(book: &mut OrderBook, side: Side, price: i64, amount: i64) -> (Placed, Outcome) {
        let mut out = Outcome::default();
        let placed = book.place_limit(side, Price(price), Amount(amount), &mut out).unwrap();
        book.assert_invariants();
        (placed, out)
    }

    #[test]
    fn fills_the_best_price_first_and_within_it_the_earliest_order() {
        let mut book = OrderBook::new(100);
        let late_price = place(&mut book, Side::Ask, 11, 5).0.resting.unwrap();
        let first = place(&mut book, Side::Ask, 10, 3).0.resting.unwrap();
        let second = place(&mut book, Side::Ask, 10, 3).0.resting.unwrap();
        let (placed, out) = place(&mut book, Side::Bid, 11, 7);
        assert_eq!(placed, Placed { filled: Amount(7), resting: None });
        let fills: Vec<_> = out
            .fills
            .iter()
            .map(|fill| (fill.maker, fill.price.0, fill.amount.0, fill.maker_left.0))
            .collect();
        assert_eq!(fills, [(first, 10, 3, 0), (second, 10, 3, 0), (late_price, 11, 1, 4)]);
        let touched: Vec<_> = out.touched.iter().map(|update| (update.price.0, update.amount.0)).collect();
        assert_eq!(touched, [(10, 0), (11, 4)]);
    }

    #[test]
    fn what_a_limit_order_leaves_rests_and_an_immediate_order_leaves_nothing() {
        let mut book = OrderBook::new(100);
        place(&mut book, Side::Ask, 10, 3);
        let (placed, _) = place(&mut book, Side::Bid, 10, 5);
        let rest = book.order(placed.resting.unwrap()).unwrap();
        assert_eq!(rest, Order { side: Side::Bid, price: Price(10), amount: Amount(2) });
        let mut out = Outcome::default();
        let filled = book.place_immediate(Side::Ask, None, Amount(9), &mut out).unwrap();
        assert_eq!((filled, book.order_count()), (Amount(2), 0));
        let filled = book.place_immediate(Side::Ask, Some(Price(1)), Amount(9), &mut out).unwrap();
        assert_eq!(filled, Amount::ZERO);
    }

    #[test]
    fn a_dead_order_s_id_finds_nothing_even_when_its_slot_is_reused() {
        let mut book = OrderBook::new(100);
        let dead = place(&mut book, Side::Bid, 10, 1).0.resting.unwrap();
        let mut out = Outcome::default();
        assert!(book.cancel(dead, &mut out).is_some());
        let alive = place(&mut book, Side::Bid, 9, 1).0.resting.unwrap();
        assert_eq!((dead.slot, book.cancel(dead, &mut out)), (alive.slot, None));
        assert!(book.order(alive).is_some());
    }

    #[test]
    fn refuses_an_order_without_an_amount_and_one_too_many() {
        let mut book = OrderBook::new(1);
        let mut out = Outcome::default();
        let mut try_to = |amount| book.place_limit(Side::Bid, Price(1), Amount(amount), &mut out);
        assert_eq!(try_to(0), Err(PlaceError::AmountNotPositive));
        assert_eq!(try_to(-1), Err(PlaceError::AmountNotPositive));
        assert!(try_to(1).is_ok());
        assert_eq!(try_to(1), Err(PlaceError::BookFull));
    }

    #[derive(Clone, Copy, Debug)]
    enum Action {
        Limit(bool, i64, i64),
        Immediate(bool, i64),
        Cancel(usize),
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            4 => (any::<bool>(), 1i64..20, 1i64..9).prop_map(|(bid, price, amount)| Action::Limit(bid, price, amount)),
            1 => (any::<bool>(), 1i64..20).prop_map(|(bid, amount)| Action::Immediate(bid, amount)),
            2 => any::<usize>().prop_map(Action::Cancel),
        ]
    }

    /// The same market as a plain list of orders in the order of their arrival.
    #[derive(Default)]
    struct Naive(Vec<(usize, Side, i64, i64)>);

    impl Naive {
        fn take(&mut self, side: Side, limit: Option<i64>, mut left: i64) -> (Vec<(usize, i64, i64)>, i64) {
            let mut fills = Vec::new();
            while left > 0 {
                let reach = |price: i64| {
                    limit.is_none_or(|limit| if side == Side::Bid { price <= limit } else { price >= limit })
                };
                let against =
                    self.0.iter().enumerate().filter(|(_, order)| order.1 != side && reach(order.2));
                // `min_by_key` takes the first of equals: the earliest.
                let best =
                    against.min_by_key(|(_, order)| if side == Side::Bid { order.2 } else { -order.2 });
                let Some(at) = best.map(|(at, _)| at) else { break };
                let order = &mut self.0[at];
                let amount = left.min(order.3);
                left -= amount;
                order.3 -= amount;
                fills.push((order.0, order.2, amount));
                self.0.retain(|order| order.3 > 0);
            }
            (fills, left)
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_list_of_orders(actions in prop::collection::vec(action(), 0..150)) {
            let (mut book, mut naive) = (OrderBook::new(1_000), Naive::default());
            let mut ids: Vec<OrderId> = Vec::new();
            let side_of = |bid| if bid { Side::Bid } else { Side::Ask };
            for action in actions {
                let mut out = Outcome::default();
                let expected = match action {
                    Action::Limit(bid, price, amount) => {
                        let side = side_of(bid);
                        let placed = book.place_limit(side, Price(price), Amount(amount), &mut out).unwrap();
                        let (fills, left) = naive.take(side, Some(price), amount);
                        prop_assert_eq!(placed.filled.0, amount - left);
                        if let Some(id) = placed.resting {
                            ids.push(id);
                            naive.0.push((ids.len() - 1, side, price, left));
                        }
                        fills
                    }
                    Action::Immediate(bid, amount) => {
                        let filled = book.place_immediate(side_of(bid), None, Amount(amount), &mut out).unwrap();
                        let (fills, left) = naive.take(side_of(bid), None, amount);
                        prop_assert_eq!(filled.0, amount - left);
                        fills
                    }
                    Action::Cancel(at) => {
                        if !ids.is_empty() {
                            let at = at % ids.len();
                            let cancelled = book.cancel(ids[at], &mut out).is_some();
                            let before = naive.0.len();
                            naive.0.retain(|order| order.0 != at);
                            prop_assert_eq!(cancelled, naive.0.len() < before);
                        }
                        Vec::new()
                    }
                };
                book.assert_invariants();
                let fills: Vec<_> = out.fills.iter().map(|fill| {
                    (ids.iter().position(|id| *id == fill.maker).unwrap(), fill.price.0, fill.amount.0)
                }).collect();
                prop_assert_eq!(fills, expected);
                for update in &out.touched {
                    let sum: i64 = naive.0.iter()
                        .filter(|order| order.1 == update.side && order.2 == update.price.0)
                        .map(|order| order.3).sum();
                    prop_assert_eq!(update.amount.0, sum);
                }
            }
        }
    }
}
