//! A price-level order book. PURE. Home: the market's home and, as a replica, every shard.
//! Invariants: each side is strictly sorted with the best price last, and no level has amount zero.

use super::decimal::{Amount, Price};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Bid,
    Ask,
}

/// All resting amount at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub price: Price,
    pub amount: Amount,
}

/// The new state of one level; amount zero means the level is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelUpdate {
    pub side: Side,
    pub price: Price,
    pub amount: Amount,
}

/// What an update did to the book, in the words of Deribit's deltas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelAction {
    New,
    Change,
    Delete,
    /// The level already had this amount, or was absent and stays so: nothing to tell.
    Unchanged,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Ascending: the best bid is last, so that work at the top of the book moves few levels.
    bids: Vec<Level>,
    /// Descending: the best ask is last.
    asks: Vec<Level>,
}

impl Book {
    /// The best bid, then deeper.
    pub fn bids(&self) -> impl ExactSizeIterator<Item = Level> + '_ {
        self.bids.iter().rev().copied()
    }

    /// The best ask, then deeper.
    pub fn asks(&self) -> impl ExactSizeIterator<Item = Level> + '_ {
        self.asks.iter().rev().copied()
    }

    #[must_use]
    pub fn best_bid(&self) -> Option<Level> {
        self.bids.last().copied()
    }

    #[must_use]
    pub fn best_ask(&self) -> Option<Level> {
        self.asks.last().copied()
    }

    /// The amount resting at a price; zero where there is none.
    #[must_use]
    pub fn amount_at(&self, side: Side, price: Price) -> Amount {
        let levels = self.side(side);
        match find(levels, side, price) {
            Ok(at) => levels[at].amount,
            Err(_) => Amount::ZERO,
        }
    }

    /// Levels on both sides.
    #[must_use]
    pub fn level_count(&self) -> usize {
        self.bids.len() + self.asks.len()
    }

    pub fn apply(&mut self, update: LevelUpdate) -> LevelAction {
        let levels = match update.side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        };
        let gone = update.amount <= Amount::ZERO;
        match find(levels, update.side, update.price) {
            Ok(at) if gone => {
                levels.remove(at);
                LevelAction::Delete
            }
            Ok(at) if levels[at].amount == update.amount => LevelAction::Unchanged,
            Ok(at) => {
                levels[at].amount = update.amount;
                LevelAction::Change
            }
            Err(_) if gone => LevelAction::Unchanged,
            Err(at) => {
                levels.insert(at, Level { price: update.price, amount: update.amount });
                LevelAction::New
            }
        }
    }

    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    fn side(&self, side: Side) -> &[Level] {
        match side {
            Side::Bid => &self.bids,
            Side::Ask => &self.asks,
        }
    }
}

/// Where a price is, or belongs, on a side that is sorted with the best last.
fn find(levels: &[Level], side: Side, price: Price) -> Result<usize, usize> {
    match side {
        Side::Bid => levels.binary_search_by(|level| level.price.cmp(&price)),
        Side::Ask => levels.binary_search_by(|level| price.cmp(&level.price)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn set(book: &mut Book, side: Side, price: i64, amount: i64) -> LevelAction {
        book.apply(LevelUpdate { side, price: Price(price), amount: Amount(amount) })
    }

    #[test]
    fn says_what_an_update_did() {
        let mut book = Book::default();
        assert_eq!(set(&mut book, Side::Bid, 10, 5), LevelAction::New);
        assert_eq!(set(&mut book, Side::Bid, 10, 5), LevelAction::Unchanged);
        assert_eq!(set(&mut book, Side::Bid, 10, 6), LevelAction::Change);
        assert_eq!(set(&mut book, Side::Bid, 9, 0), LevelAction::Unchanged);
        assert_eq!(set(&mut book, Side::Bid, 10, 0), LevelAction::Delete);
        assert_eq!(book, Book::default());
    }

    #[test]
    fn has_the_highest_bid_and_the_lowest_ask_first() {
        let mut book = Book::default();
        for (price, amount) in [(9, 1), (11, 2), (10, 3)] {
            set(&mut book, Side::Bid, price, amount);
            set(&mut book, Side::Ask, price + 10, amount);
        }
        assert_eq!(book.bids().map(|level| level.price.0).collect::<Vec<_>>(), [11, 10, 9]);
        assert_eq!(book.asks().map(|level| level.price.0).collect::<Vec<_>>(), [19, 20, 21]);
        assert_eq!(book.amount_at(Side::Ask, Price(20)), Amount(3));
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(updates in prop::collection::vec((any::<bool>(), 0i64..20, 0i64..4), 0..200)) {
            let mut book = Book::default();
            let (mut bids, mut asks) = (BTreeMap::new(), BTreeMap::new());
            for (bid, price, amount) in updates {
                let (side, map) = if bid { (Side::Bid, &mut bids) } else { (Side::Ask, &mut asks) };
                set(&mut book, side, price, amount);
                if amount == 0 { map.remove(&price); } else { map.insert(price, amount); }
            }
            let seen: Vec<_> = book.bids().map(|level| (level.price.0, level.amount.0)).collect();
            prop_assert_eq!(seen, bids.into_iter().rev().collect::<Vec<_>>());
            let seen: Vec<_> = book.asks().map(|level| (level.price.0, level.amount.0)).collect();
            prop_assert_eq!(seen, asks.into_iter().collect::<Vec<_>>());
        }
    }
}
