//! A book of one instrument built order by order, as Databento's MBO schema tells it. PURE. Home: the venue thread.
//!
//! Sources: databento.com/docs/schemas/mbo, …/conventions/mbo-snapshot and the order book examples there. Add, modify
//! and cancel change the book; trade, fill and none do not, since cancels follow every fill; clear empties it. What
//! one event did is told at `F_LAST`. A snapshot is adds with `F_SNAPSHOT`, since February 2024 after a clear; where
//! its last one lacks `F_LAST`, as in recordings of 2023, it is told before the first record that is not part of it.
//!
//! Legal though odd: a cancel or modification of an order that was never shown (the recording begins in mid-session;
//! counted; a modification then adds the order), a modification to size 0 (it takes the order out), a crossed book
//! (before the opening), negative prices (spreads; crude oil in April 2020). Refused: an added order that rests
//! already, an order without price, side or size, a cancel of more than rests, two publishers in one book, more than
//! `limits::RECORDED_LEVELS_MAX` levels.
//! Invariant: a level's amount is the sum of its orders.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use ::dbn::{Action, MboMsg, Side as DbnSide, UNDEF_PRICE};

use crate::limits::RECORDED_LEVELS_MAX;
use crate::model::book::{Book, LevelUpdate, Side};
use crate::model::decimal::{Amount, Price, UNIT};
use crate::model::market::{FeedBuffer, FeedEvent, FeedInstrument};

#[derive(Clone, Copy, Debug)]
struct Resting {
    side: Side,
    price: Price,
    size: u32,
}

#[derive(Debug)]
pub struct MboBook {
    instrument: FeedInstrument,
    publisher: u16,
    /// The hasher's key is fixed, so runs repeat exactly.
    orders: HashMap<u64, Resting, BuildHasherDefault<DefaultHasher>>,
    sums: Book,
    /// Levels that this event has touched so far, with repetitions; at most twice as many as a book may have.
    touched: Vec<(Side, Price)>,
    /// Whether this event has emptied the book.
    cleared: bool,
    /// Whether the last record was part of a snapshot.
    in_snapshot: bool,
    timestamp_ns: u64,
    /// Cancels and modifications of orders that were never shown.
    pub orders_unknown: u64,
}

impl MboBook {
    pub fn new(instrument: FeedInstrument, publisher: u16) -> MboBook {
        MboBook {
            instrument,
            publisher,
            orders: HashMap::default(),
            sums: Book::default(),
            touched: Vec::new(),
            cleared: false,
            in_snapshot: false,
            timestamp_ns: 0,
            orders_unknown: 0,
        }
    }

    /// Forgets all orders, as the recording begins again.
    pub fn restart(&mut self) {
        self.orders.clear();
        self.sums.clear();
        self.touched.clear();
        self.cleared = false;
    }

    /// Applies one record; to tell its trade is the caller's.
    pub fn apply(&mut self, message: &MboMsg, timestamp_ns: u64, out: &mut FeedBuffer) -> Result<(), String> {
        if message.hd.publisher_id != self.publisher {
            return Err(format!(
                "publisher {} beside {} in one book: consolidated recordings are not supported",
                message.hd.publisher_id, self.publisher
            ));
        }
        let in_snapshot = message.flags.is_snapshot();
        if std::mem::replace(&mut self.in_snapshot, in_snapshot) && !in_snapshot {
            self.flush(out);
        }
        self.timestamp_ns = timestamp_ns;
        let action = message.action().map_err(|_| unknown("action", message.action.cast_unsigned()))?;
        match action {
            Action::Add if message.flags.is_tob() => self.replace_top(message),
            Action::Add => self.add(message),
            Action::Modify => self.modify(message),
            Action::Cancel => self.cancel(message),
            Action::Clear => {
                self.restart();
                self.cleared = true;
                Ok(())
            }
            Action::Trade | Action::Fill | Action::None => Ok(()),
        }
    }

    /// Tells what the event did, if it did anything.
    pub fn flush(&mut self, out: &mut FeedBuffer) {
        let (instrument, timestamp_ns) = (self.instrument, self.timestamp_ns);
        self.touched.sort_unstable();
        self.touched.dedup();
        let sums = &self.sums;
        let touched = self.touched.drain(..);
        let updates =
            touched.map(|(side, price)| LevelUpdate { side, price, amount: sums.amount_at(side, price) });
        if self.cleared {
            let levels = out.push_levels(updates.filter(|update| update.amount > Amount::ZERO));
            out.events.push(FeedEvent::Cleared { instrument, levels, timestamp_ns });
            self.cleared = false;
            return;
        }
        let levels = out.push_levels(updates);
        if levels.count > 0 {
            out.events.push(FeedEvent::Levels { instrument, levels, timestamp_ns });
        }
    }

    /// The book as the records so far have it.
    pub fn sums(&self) -> &Book {
        &self.sums
    }

    fn add(&mut self, message: &MboMsg) -> Result<(), String> {
        let order = resting(message)?;
        if order.size == 0 {
            return Err(format!("order {} added with size 0", message.order_id));
        }
        if self.orders.contains_key(&message.order_id) {
            return Err(format!("order {} added, but it rests already", message.order_id));
        }
        self.change(order.side, order.price, i64::from(order.size))?;
        self.orders.insert(message.order_id, order);
        Ok(())
    }

    fn modify(&mut self, message: &MboMsg) -> Result<(), String> {
        let order = resting(message)?;
        match self.orders.remove(&message.order_id) {
            Some(before) => self.change(before.side, before.price, -i64::from(before.size))?,
            None => self.orders_unknown += 1,
        }
        if order.size > 0 {
            self.change(order.side, order.price, i64::from(order.size))?;
            self.orders.insert(message.order_id, order);
        }
        Ok(())
    }

    fn cancel(&mut self, message: &MboMsg) -> Result<(), String> {
        let Some(order) = self.orders.get_mut(&message.order_id) else {
            self.orders_unknown += 1;
            return Ok(());
        };
        let Some(left) = order.size.checked_sub(message.size) else {
            return Err(format!(
                "order {} cancelled by {}, but only {} rest",
                message.order_id, message.size, order.size
            ));
        };
        order.size = left;
        let (side, price) = (order.side, order.price);
        if left == 0 {
            self.orders.remove(&message.order_id);
        }
        self.change(side, price, -i64::from(message.size))
    }

    /// A feed of tops only (`F_TOB`): this level is now the whole side; an undefined price empties it.
    fn replace_top(&mut self, message: &MboMsg) -> Result<(), String> {
        let side = book_side(message)?;
        let stale: Vec<Price> = match side {
            Side::Bid => self.sums.bids().map(|level| level.price).collect(),
            Side::Ask => self.sums.asks().map(|level| level.price).collect(),
        };
        for price in stale {
            self.sums.apply(LevelUpdate { side, price, amount: Amount::ZERO });
            self.touch(side, price)?;
        }
        if message.price == UNDEF_PRICE || message.size == 0 {
            return Ok(());
        }
        self.change(side, Price(message.price), i64::from(message.size))
    }

    fn change(&mut self, side: Side, price: Price, size: i64) -> Result<(), String> {
        let before = self.sums.amount_at(side, price);
        let amount = size
            .checked_mul(UNIT)
            .and_then(|units| before.0.checked_add(units))
            .filter(|amount| *amount >= 0)
            .ok_or_else(|| "a level's amount is out of range".to_owned())?;
        self.sums.apply(LevelUpdate { side, price, amount: Amount(amount) });
        if self.sums.level_count() > RECORDED_LEVELS_MAX {
            return Err(format!("a book of more than {RECORDED_LEVELS_MAX} levels"));
        }
        self.touch(side, price)
    }

    fn touch(&mut self, side: Side, price: Price) -> Result<(), String> {
        self.touched.push((side, price));
        if self.touched.len() > 2 * RECORDED_LEVELS_MAX {
            self.touched.sort_unstable();
            self.touched.dedup();
            if self.touched.len() > RECORDED_LEVELS_MAX {
                return Err(format!("an event that changes more than {RECORDED_LEVELS_MAX} levels"));
            }
        }
        Ok(())
    }
}

fn resting(message: &MboMsg) -> Result<Resting, String> {
    if message.price == UNDEF_PRICE {
        return Err(format!("order {} has no price", message.order_id));
    }
    // A size beyond 2^31 is nobody's order; `UNDEF_ORDER_SIZE` is one.
    if i32::try_from(message.size).is_err() {
        return Err(format!("order {} has the impossible size {}", message.order_id, message.size));
    }
    Ok(Resting { side: book_side(message)?, price: Price(message.price), size: message.size })
}

fn book_side(message: &MboMsg) -> Result<Side, String> {
    match message.side().map_err(|_| unknown("side", message.side.cast_unsigned()))? {
        DbnSide::Bid => Ok(Side::Bid),
        DbnSide::Ask => Ok(Side::Ask),
        DbnSide::None => Err(format!("order {} has no side", message.order_id)),
    }
}

pub(super) fn unknown(what: &str, byte: u8) -> String {
    format!("{what} '{}' is not one of the format's", byte.escape_ascii())
}
