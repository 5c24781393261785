//! Books told by level: the ten best of MBP-10 as differences, the best of MBP-1. PURE. Home: the venue thread.
//! Invariant: what a consumer has after each difference is exactly the levels of the last record.

use ::dbn::{BidAskPair, UNDEF_PRICE};

use crate::model::book::{Level, LevelUpdate, Side};
use crate::model::decimal::{Amount, Price, UNIT};

/// Levels a side of MBP-10.
pub const DEPTH: usize = 10;

/// What the last record had.
#[derive(Clone, Debug, Default)]
pub struct TopTen {
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl TopTen {
    /// The updates from the last record to this one, in `out`: what is gone (or fell out of the ten) at amount zero
    /// first, so that a book in between is never crossed by it.
    pub fn replace(&mut self, levels: &[BidAskPair], out: &mut Vec<LevelUpdate>) {
        out.clear();
        let sides = [(Side::Bid, &mut self.bids), (Side::Ask, &mut self.asks)];
        let mut fresh = Vec::with_capacity(2 * DEPTH);
        for (side, before) in sides {
            let after: Vec<Level> = levels.iter().filter_map(|pair| level(pair, side)).collect();
            let stays = |level: &Level| after.iter().any(|other| other.price == level.price);
            for gone in before.iter().filter(|level| !stays(level)) {
                out.push(LevelUpdate { side, price: gone.price, amount: Amount::ZERO });
            }
            for level in after.iter().filter(|level| !before.contains(level)) {
                fresh.push(LevelUpdate { side, price: level.price, amount: level.amount });
            }
            *before = after;
        }
        out.append(&mut fresh);
    }

    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }
}

/// One side of a pair; `None` where that side is empty.
pub fn level(pair: &BidAskPair, side: Side) -> Option<Level> {
    let (price, size) = match side {
        Side::Bid => (pair.bid_px, pair.bid_sz),
        Side::Ask => (pair.ask_px, pair.ask_sz),
    };
    (price != UNDEF_PRICE && size > 0).then(|| Level { price: Price(price), amount: amount(size) })
}

/// A size as an amount: 2^32 of them fit.
pub fn amount(size: u32) -> Amount {
    Amount(i64::from(size) * UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::book::Book;

    fn pair(bid: i64, bid_sz: u32, ask: i64, ask_sz: u32) -> BidAskPair {
        BidAskPair { bid_px: bid, ask_px: ask, bid_sz, ask_sz, bid_ct: 1, ask_ct: 1 }
    }

    #[test]
    fn differences_lead_from_each_record_to_the_next() {
        let records = [
            vec![pair(10, 1, 11, 1), pair(9, 2, 12, 2)],
            vec![pair(10, 3, 11, 1), pair(8, 2, UNDEF_PRICE, 0)],
            vec![pair(UNDEF_PRICE, 0, 9, 4), pair(UNDEF_PRICE, 0, 11, 1)],
            vec![pair(12, 1, 13, 1)],
        ];
        let (mut top, mut book, mut updates) = (TopTen::default(), Book::default(), Vec::new());
        for record in records {
            top.replace(&record, &mut updates);
            for update in &updates {
                book.apply(*update);
            }
            let side = |side| record.iter().filter_map(|pair| level(pair, side)).collect::<Vec<_>>();
            assert_eq!(book.bids().collect::<Vec<_>>(), side(Side::Bid));
            assert_eq!(book.asks().collect::<Vec<_>>(), side(Side::Ask));
        }
    }
}
