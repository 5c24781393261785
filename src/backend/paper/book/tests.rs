//! The book by itself.

use proptest::prelude::*;

use super::*;

fn place(book: &mut OrderBook, side: Side, price: i64, amount: i64) -> (Placed, Outcome) {
    let mut out = Outcome::default();
    let placed = book.place_limit(side, Price(price), Amount(amount), None, &mut out).unwrap();
    book.settle(&mut out);
    book.assert_invariants();
    (placed, out)
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
    assert_eq!(rest, Resting { side: Side::Bid, price: Price(10), amount: Amount(2), owner: None });
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
    let mut try_to = |amount| book.place_limit(Side::Bid, Price(1), Amount(amount), None, &mut out);
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
            let against = self.0.iter().enumerate().filter(|(_, order)| order.1 != side && reach(order.2));
            // `min_by_key` takes the first of equals: the earliest.
            let best = against.min_by_key(|(_, order)| if side == Side::Bid { order.2 } else { -order.2 });
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
        let mut ids: Vec<RestingId> = Vec::new();
        let side_of = |bid| if bid { Side::Bid } else { Side::Ask };
        for action in actions {
            let mut out = Outcome::default();
            let expected = match action {
                Action::Limit(bid, price, amount) => {
                    let side = side_of(bid);
                    let placed = book.place_limit(side, Price(price), Amount(amount), None, &mut out).unwrap();
                    let (fills, left) = naive.take(side, Some(price), amount);
                    prop_assert_eq!(placed.filled.0, amount - left);
                    if let Some(id) = placed.resting {
                        ids.push(id);
                        naive.0.push((ids.len() - 1, side, price, left));
                    }
                    fills
                }
                Action::Immediate(bid, amount) => {
                    let filled = book.place_immediate(side_of(bid), None, Amount(amount), None, &mut out).unwrap();
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
            book.settle(&mut out);
            book.assert_invariants();
            let fills: Vec<_> = fills(&out).map(|fill| {
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
