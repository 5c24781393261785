//! The naive model that the hubs are held against: books as trees built straight from the feed, lists of all trades and
//! of all messages that were published. PURE. It shares no code with the hub: own books, own decimals, own checksum.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::model::book::Side;

/// A level: price and amount in units of 1e-9.
pub(super) type NaiveLevel = (i64, i64);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NaiveBook {
    pub(super) bids: BTreeMap<i64, i64>,
    pub(super) asks: BTreeMap<i64, i64>,
}

impl NaiveBook {
    fn side(&mut self, side: Side) -> &mut BTreeMap<i64, i64> {
        match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        }
    }

    /// Sets a level, zero deletes it; whether that changed the book.
    pub(super) fn set(&mut self, side: Side, (price, amount): NaiveLevel) -> bool {
        let levels = self.side(side);
        if amount == 0 {
            levels.remove(&price).is_some()
        } else {
            levels.insert(price, amount) != Some(amount)
        }
    }

    #[must_use]
    pub(super) fn best_bids(&self, count: usize) -> Vec<NaiveLevel> {
        self.bids.iter().rev().take(count).map(|(price, amount)| (*price, *amount)).collect()
    }

    #[must_use]
    pub(super) fn best_asks(&self, count: usize) -> Vec<NaiveLevel> {
        self.asks.iter().take(count).map(|(price, amount)| (*price, *amount)).collect()
    }

    /// Bids and asks rounded away from the middle to groups of `step`, amounts added.
    #[must_use]
    pub(super) fn grouped(&self, step: i64, depth: usize) -> (Vec<NaiveLevel>, Vec<NaiveLevel>) {
        let mut grouped = NaiveBook::default();
        for (price, amount) in &self.bids {
            *grouped.bids.entry(price.div_euclid(step) * step).or_default() += amount;
        }
        for (price, amount) in &self.asks {
            *grouped.asks.entry((price + step - 1).div_euclid(step) * step).or_default() += amount;
        }
        (grouped.best_bids(depth), grouped.best_asks(depth))
    }

    /// The checksum of `docs/protocol.md`.
    #[must_use]
    pub(super) fn checksum(&self, price_decimals: usize, amount_decimals: usize) -> u32 {
        let (bids, asks) = (self.best_bids(10), self.best_asks(10));
        let mut parts = Vec::new();
        for at in 0..10 {
            for (price, amount) in [bids.get(at), asks.get(at)].into_iter().flatten() {
                parts.push(format!("{}:{}", print(*price, price_decimals), print(*amount, amount_decimals)));
            }
        }
        crc32(parts.join(":").as_bytes())
    }
}

/// Units of 1e-9 with at least `decimals` decimals.
#[must_use]
pub(super) fn print(units: i64, decimals: usize) -> String {
    let mut text = format!("{}.{:09}", units / 1_000_000_000, units % 1_000_000_000);
    let least = text.len() - 9 + decimals;
    while text.len() > least && text.ends_with('0') {
        text.pop();
    }
    text.trim_end_matches('.').to_string()
}

/// A printed number in units of 1e-9.
///
/// # Panics
/// If it is no decimal of at most nine places.
#[must_use]
pub(super) fn units(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 9, "more than nine decimals: {text}");
    let padded = format!("{whole}{fraction:0<9}");
    padded.parse().unwrap_or_else(|_| panic!("not a decimal: {text}"))
}

/// CRC-32 of zlib and PNG, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |mut crc: u32, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
        crc
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NaiveTrade {
    pub(super) price: i64,
    pub(super) amount: i64,
    pub(super) buy: bool,
}

/// An instrument as the feed has told it.
#[derive(Debug)]
pub(super) struct NaiveInstrument {
    pub(super) name: String,
    pub(super) price_decimals: usize,
    pub(super) amount_decimals: usize,
    pub(super) tick: i64,
    /// The book at each change id, from the empty one at 0.
    pub(super) books: Vec<Rc<NaiveBook>>,
    pub(super) trades: Vec<NaiveTrade>,
    pub(super) open: bool,
    /// Nothing more is told of it.
    pub(super) delisted: bool,
    /// Feed events in all: no channel can have more.
    pub(super) events: u64,
}

impl NaiveInstrument {
    /// The book now.
    ///
    /// # Panics
    /// Never: there is a book from the start.
    #[must_use]
    pub(super) fn book(&self) -> &Rc<NaiveBook> {
        self.books.last().expect("an instrument starts with an empty book")
    }

    /// The book is this one from now on.
    pub(super) fn change_to(&mut self, book: NaiveBook) {
        self.books.push(Rc::new(book));
    }
}

/// A message that some client has tried to publish.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) channel: String,
    pub(super) data: String,
    pub(super) sent_step: u64,
    pub(super) position: Option<(u64, u64)>,
}

/// All that was said, by whom it was said.
#[derive(Debug, Default)]
pub(super) struct Reference {
    pub(super) instruments: Vec<NaiveInstrument>,
    /// By serial number.
    pub(super) published: Vec<Published>,
    /// By channel and position, the notification's data: what every client must have been told alike.
    told: BTreeMap<String, BTreeMap<(u64, u64), String>>,
    /// The message at a position.
    serials: BTreeMap<String, BTreeMap<(u64, u64), usize>>,
    /// The newest position that is known of a channel.
    newest: BTreeMap<String, (u64, u64)>,
    /// What hostile clients have published, by channel; some of it, maybe, more than once.
    unchecked: BTreeMap<String, BTreeSet<String>>,
    pub(super) unchecked_count: usize,
    /// What is tried on each client topic, at most what its sequence can have reached.
    attempts: BTreeMap<String, u64>,
}

impl Reference {
    #[must_use]
    pub(super) fn instrument(&self, name: &str) -> Option<&NaiveInstrument> {
        self.instruments.iter().find(|instrument| instrument.name == name)
    }

    /// A client sends a message; `write` makes its data of its serial number.
    pub(super) fn publish(&mut self, channel: &str, step: u64, write: impl FnOnce(usize) -> String) -> usize {
        let serial = self.published.len();
        let published =
            Published { channel: channel.to_string(), data: write(serial), sent_step: step, position: None };
        self.published.push(published);
        *self.attempts.entry(channel.to_string()).or_default() += 1;
        serial
    }

    /// A hostile client sends a message, which may be published or not.
    pub(super) fn publish_unchecked(&mut self, channel: &str, data: &str) {
        self.unchecked.entry(channel.to_string()).or_default().insert(data.to_string());
        self.unchecked_count += 1;
        *self.attempts.entry(channel.to_string()).or_default() += 1;
    }

    /// Whether a hostile client has published just this.
    #[must_use]
    pub(super) fn is_unchecked(&self, channel: &str, data: &str) -> bool {
        self.unchecked.get(channel).is_some_and(|known| known.contains(data))
    }

    /// A message is known to stand at a position, which no other may hold.
    pub(super) fn place(&mut self, channel: &str, serial: usize, position: (u64, u64)) {
        let published = &mut self.published[serial];
        assert_eq!(published.channel, channel, "message {serial} came out on another channel");
        let known = *published.position.get_or_insert(position);
        assert_eq!(known, position, "message {serial} of {channel} stands at two positions");
        let at = self.serials.entry(channel.to_string()).or_default().entry(position).or_insert(serial);
        assert_eq!(*at, serial, "two messages of {channel} stand at {position:?}");
        self.see(channel, position);
    }

    /// A position exists.
    pub(super) fn see(&mut self, channel: &str, position: (u64, u64)) {
        let newest = self.newest.entry(channel.to_string()).or_insert(position);
        *newest = (*newest).max(position);
    }

    /// Every client is told the same event in the same bytes.
    pub(super) fn tell(&mut self, channel: &str, position: (u64, u64), data: &str) {
        self.see(channel, position);
        let told = self.told.entry(channel.to_string()).or_default();
        match told.get(&position) {
            Some(known) => assert_eq!(known, data, "{channel} at {position:?} was told in two ways"),
            None => {
                told.insert(position, data.to_string());
            }
        }
    }

    #[must_use]
    pub(super) fn newest(&self, channel: &str) -> Option<(u64, u64)> {
        self.newest.get(channel).copied()
    }

    /// Epochs of which events are known.
    #[must_use]
    pub(super) fn epochs(&self, channel: &str) -> usize {
        let mut epochs: Vec<u64> =
            self.told.get(channel).into_iter().flatten().map(|((epoch, _), _)| *epoch).collect();
        epochs.dedup();
        epochs.len()
    }

    /// No more events than this can have been stamped on a channel.
    #[must_use]
    pub(super) fn events_max(&self, channel: &str) -> u64 {
        match self.attempts.get(channel) {
            Some(attempts) => *attempts,
            None => {
                let name = channel.split('.').nth(1).unwrap_or_default();
                self.instrument(name).map_or(0, |instrument| instrument.events)
            }
        }
    }

    /// The first event's sequence among those of an epoch that were published after a step.
    #[must_use]
    pub(super) fn first_after(&self, channel: &str, step: u64) -> Option<(u64, u64)> {
        let serials = self.serials.get(channel)?;
        serials
            .iter()
            .filter(|(_, serial)| self.published[**serial].sent_step > step)
            .map(|(position, _)| *position)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_decimals() {
        for (text, decimals) in [("4810.25", 2), ("4810.00", 2), ("7", 0), ("0.000000001", 0), ("1.50", 2)] {
            assert_eq!(print(units(text), decimals), text);
        }
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
