//! The book by itself.

use proptest::prelude::*;

use super::*;

fn place(book: &mut OrderBook, side: Side, price: i64, amount: i64) -> (Placed, Outcome) {
    let mut out = Outcome::default();
    let placed = book.place_limit(new_order(side, price, amount), &mut out).unwrap();
    book.settle(&mut out);
    book.assert_invariants();
    (placed, out)
}

fn new_order(side: Side, price: i64, amount: i64) -> Resting {
    Resting { side, price: Price(price), amount: Amount(amount), filled: Amount::ZERO, owner: None }
}

fn fills(out: &Outcome) -> impl Iterator<Item = Fill> + '_ {
    out.met.iter().map(|met| match met {
        Met::Filled(fill) => *fill,
        Met::SelfMatch(order) => panic!("nobody here has an account: {order:?}"),
    })
}

#[test]
fn fills_the_best_price_first_and_within_it_the_earliest_order() {
    let mut book = OrderBook::new(100);
    let late_price = place(&mut book, Side::Ask, 11, 5).0.resting.unwrap();
    let first = place(&mut book, Side::Ask, 10, 3).0.resting.unwrap();
    let second = place(&mut book, Side::Ask, 10, 3).0.resting.unwrap();
    let (placed, out) = place(&mut book, Side::Bid, 11, 7);
    assert_eq!(placed, Placed { filled: Amount(7), resting: None });
    let fills: Vec<_> =
        fills(&out).map(|fill| (fill.maker, fill.price.0, fill.amount.0, fill.maker_left.0)).collect();
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
    assert_eq!(rest, Resting { filled: Amount(3), ..new_order(Side::Bid, 10, 2) });
    let mut out = Outcome::default();
    let filled = book.place_immediate(Side::Ask, None, Amount(9), None, &mut out).unwrap();
    assert_eq!((filled, book.order_count()), (Amount(2), 0));
    let filled = book.place_immediate(Side::Ask, Some(Price(1)), Amount(9), None, &mut out).unwrap();
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
    let mut try_to = |amount| book.place_limit(new_order(Side::Bid, 1, amount), &mut out);
    assert_eq!(try_to(0), Err(PlaceError::AmountNotPositive));
    assert_eq!(try_to(-1), Err(PlaceError::AmountNotPositive));
    assert!(try_to(1).is_ok());
    assert_eq!(try_to(1), Err(PlaceError::BookFull));
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Limit(Order),
    /// Without a limit where the price is zero.
    Immediate(Order),
    Cancel(usize),
    Reduce(usize, i64),
}

#[derive(Clone, Copy, Debug)]
struct Order {
    number: u64,
    side: Side,
    price: i64,
    amount: i64,
    /// Zero: a simulated trader.
    account: u32,
}

impl Order {
    fn owner(&self) -> Option<Owner> {
        let owner = Owner { account: AccountId(self.account), order: OrderId(self.number) };
        (self.account > 0).then_some(owner)
    }

    fn limit(&self) -> Option<Price> {
        (self.price > 0).then_some(Price(self.price))
    }
}

fn order(prices: std::ops::Range<i64>) -> impl Strategy<Value = Order> {
    (any::<bool>(), prices, 1i64..9, 0u32..4).prop_map(|(bid, price, amount, account)| {
        let side = if bid { Side::Bid } else { Side::Ask };
        Order { number: 0, side, price, amount, account }
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => order(1..20).prop_map(Action::Limit),
        1 => order(0..20).prop_map(Action::Immediate),
        1 => any::<usize>().prop_map(Action::Cancel),
        1 => (any::<usize>(), 1i64..9).prop_map(|(at, amount)| Action::Reduce(at, amount)),
    ]
}

/// What was met, by the numbers of the orders: how much at which price, or `None` of what was cancelled.
type Meeting = (u64, Option<(i64, i64)>);

/// The same market as a plain list of orders in the order of their arrival.
#[derive(Clone, Default)]
struct Naive(Vec<Order>);

impl Naive {
    /// Returns what was met and what is left.
    fn take(&mut self, taker: Order) -> (Vec<Meeting>, i64) {
        let (mut met, mut left) = (Vec::new(), taker.amount);
        while left > 0 {
            let reach = |price: i64| match (taker.price, taker.side) {
                (0, _) => true,
                (limit, Side::Bid) => price <= limit,
                (limit, Side::Ask) => price >= limit,
            };
            let against =
                self.0.iter().enumerate().filter(|(_, order)| order.side != taker.side && reach(order.price));
            // `min_by_key` takes the first of equals: the earliest.
            let best = against
                .min_by_key(|(_, order)| if taker.side == Side::Bid { order.price } else { -order.price });
            let Some(at) = best.map(|(at, _)| at) else { break };
            let maker = self.0[at];
            if taker.account > 0 && maker.account == taker.account {
                self.0.remove(at);
                met.push((maker.number, None));
                continue;
            }
            let amount = left.min(maker.amount);
            left -= amount;
            self.0[at].amount -= amount;
            met.push((maker.number, Some((maker.price, amount))));
            self.0.retain(|order| order.amount > 0);
        }
        (met, left)
    }
}

/// The book, and what it is compared with.
#[derive(Default)]
struct Pair {
    naive: Naive,
    /// By the orders' numbers; `None` of those that never rested.
    ids: Vec<Option<RestingId>>,
    out: Outcome,
}

impl Pair {
    fn act(&mut self, book: &mut OrderBook, action: Action) -> Vec<Meeting> {
        let number = self.ids.len() as u64;
        match action {
            Action::Limit(order) => {
                let order = Order { number, ..order };
                let (met, left) = self.take(book, order);
                let wanted =
                    Resting { owner: order.owner(), ..new_order(order.side, order.price, order.amount) };
                let placed = book.place_limit(wanted, &mut self.out).unwrap();
                assert_eq!((placed.filled.0, placed.resting.is_some()), (order.amount - left, left > 0));
                self.ids.push(placed.resting);
                if left > 0 {
                    self.naive.0.push(Order { amount: left, ..order });
                }
                met
            }
            Action::Immediate(order) => {
                let order = Order { number, ..order };
                let (met, left) = self.take(book, order);
                let account = order.owner().map(|owner| owner.account);
                let amount = Amount(order.amount);
                let filled =
                    book.place_immediate(order.side, order.limit(), amount, account, &mut self.out).unwrap();
                assert_eq!(filled.0, order.amount - left);
                self.ids.push(None);
                met
            }
            Action::Cancel(at) => {
                let Some(id) = self.resting(at) else { return Vec::new() };
                let before = self.naive.0.len();
                let at = at % self.ids.len();
                self.naive.0.retain(|order| order.number != at as u64);
                assert_eq!(book.cancel(id, &mut self.out).is_some(), self.naive.0.len() < before);
                Vec::new()
            }
            Action::Reduce(at, amount) => {
                let Some(id) = self.resting(at) else { return Vec::new() };
                let at = (at % self.ids.len()) as u64;
                if let Some(order) = self.naive.0.iter_mut().find(|order| order.number == at) {
                    order.amount = amount.min(order.amount);
                    book.reduce(id, Amount(order.amount), &mut self.out);
                }
                Vec::new()
            }
        }
    }

    fn resting(&self, at: usize) -> Option<RestingId> {
        self.ids[at.checked_rem(self.ids.len())?]
    }

    /// What the list says of an order; the book must foresee as much.
    fn take(&mut self, book: &OrderBook, order: Order) -> (Vec<Meeting>, i64) {
        let (met, left) = self.naive.take(order);
        let account = order.owner().map(|owner| owner.account);
        let reachable = book.reachable(order.side, order.limit(), Amount(order.amount), account);
        assert_eq!(reachable.0, order.amount - left);
        (met, left)
    }

    fn number(&self, id: RestingId) -> u64 {
        self.ids.iter().position(|known| *known == Some(id)).unwrap() as u64
    }
}

proptest! {
    #[test]
    fn agrees_with_a_plain_list_of_orders(actions in prop::collection::vec(action(), 0..150)) {
        let (mut book, mut pair) = (OrderBook::new(1_000), Pair::default());
        for action in actions {
            pair.out.clear();
            let expected = pair.act(&mut book, action);
            book.settle(&mut pair.out);
            book.assert_invariants();
            let met: Vec<Meeting> = pair.out.met.iter().map(|met| match met {
                Met::Filled(fill) => {
                    let number = pair.number(fill.maker);
                    if let Some(order) = fill.maker_order {
                        assert_eq!(order.0, number);
                    }
                    (number, Some((fill.price.0, fill.amount.0)))
                }
                Met::SelfMatch(order) => (order.0, None),
            }).collect();
            prop_assert_eq!(met, expected);
            for update in &pair.out.touched {
                let sum: i64 = pair.naive.0.iter()
                    .filter(|order| order.side == update.side && order.price == update.price.0)
                    .map(|order| order.amount).sum();
                prop_assert_eq!(update.amount.0, sum);
            }
            for side in [Side::Bid, Side::Ask] {
                let of_side = || pair.naive.0.iter().filter(|order| order.side == side);
                let sum: i64 = of_side().map(|order| order.amount).sum();
                prop_assert_eq!(book.side_amount(side), Amount(sum));
                // The last of the simulated traders' orders at the farthest of their prices.
                let far = |order: &&Order| if side == Side::Bid { -order.price } else { order.price };
                let last = of_side().filter(|order| order.account == 0).max_by_key(far);
                let last = last.map(|order| (Price(order.price), order.number));
                prop_assert_eq!(book.last_simulated(side).map(|(price, id)| (price, pair.number(id))), last);
            }
        }
    }
}
