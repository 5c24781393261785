//! What the paper market lists: a dozen instruments with increments as their exchanges have them, and as many made-up
//! ones as a load test asks for. PURE. Home: the venue thread, at start.

use crate::model::decimal::{Amount, Price, UNIT};
use crate::model::instrument::{Instrument, InstrumentKind, Symbol};

/// What one listing is made of. Prices and amounts as text, so that they read as an exchange prints them.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: &'static str,
    kind: InstrumentKind,
    base: &'static str,
    quote: &'static str,
    /// Where the price starts and what it tends back to.
    start: &'static str,
    tick: &'static str,
    /// The smallest order.
    lot: &'static str,
    contract: &'static str,
    /// Seconds since 1970.
    expires: Option<u64>,
    /// Instruments with the same number move together.
    underlying: usize,
    /// How often it is chosen, relative to the others.
    activity: u16,
}

/// A listing with what the simulation needs to know of it.
#[derive(Clone, Debug)]
pub struct Listing {
    pub definition: Instrument,
    /// The starting price, in ticks.
    pub start_ticks: i64,
    /// Instruments with the same number move together.
    pub underlying: usize,
    /// How often it is chosen, relative to the others; positive.
    pub activity: u16,
}

const FUTURE: InstrumentKind = InstrumentKind::Future;
const SPOT: InstrumentKind = InstrumentKind::Spot;

#[rustfmt::skip]
const ENTRIES: [Entry; 12] = [
    Entry { name: "BTC-PERPETUAL", kind: FUTURE, base: "BTC", quote: "USD", start: "65000", tick: "0.5", lot: "10", contract: "10", expires: None, underlying: 0, activity: 8 },
    Entry { name: "ETH-PERPETUAL", kind: FUTURE, base: "ETH", quote: "USD", start: "3400", tick: "0.05", lot: "1", contract: "1", expires: None, underlying: 1, activity: 6 },
    Entry { name: "SOL_USDC-PERPETUAL", kind: FUTURE, base: "SOL", quote: "USDC", start: "150", tick: "0.01", lot: "0.1", contract: "0.1", expires: None, underlying: 2, activity: 4 },
    Entry { name: "BTC-25JUN27", kind: FUTURE, base: "BTC", quote: "USD", start: "66200", tick: "2.5", lot: "10", contract: "10", expires: Some(1_813_910_400), underlying: 0, activity: 2 },
    Entry { name: "BTC_USDC", kind: SPOT, base: "BTC", quote: "USDC", start: "64990", tick: "1", lot: "0.0001", contract: "0.0001", expires: None, underlying: 0, activity: 4 },
    Entry { name: "EUR_USD", kind: SPOT, base: "EUR", quote: "USD", start: "1.1212", tick: "0.00001", lot: "1000", contract: "1", expires: None, underlying: 3, activity: 5 },
    Entry { name: "USD_JPY", kind: SPOT, base: "USD", quote: "JPY", start: "150.2", tick: "0.001", lot: "1000", contract: "1", expires: None, underlying: 4, activity: 4 },
    Entry { name: "GBP_USD", kind: SPOT, base: "GBP", quote: "USD", start: "1.2734", tick: "0.00001", lot: "1000", contract: "1", expires: None, underlying: 5, activity: 3 },
    Entry { name: "ESH7", kind: FUTURE, base: "ES", quote: "USD", start: "6810.25", tick: "0.25", lot: "1", contract: "1", expires: Some(1_805_463_000), underlying: 6, activity: 8 },
    Entry { name: "NQH7", kind: FUTURE, base: "NQ", quote: "USD", start: "24750", tick: "0.25", lot: "1", contract: "1", expires: Some(1_805_463_000), underlying: 7, activity: 6 },
    Entry { name: "CLH7", kind: FUTURE, base: "CL", quote: "USD", start: "71.35", tick: "0.01", lot: "1", contract: "1", expires: Some(1_803_324_600), underlying: 8, activity: 4 },
    Entry { name: "GCJ7", kind: FUTURE, base: "GC", quote: "USD", start: "4105.3", tick: "0.1", lot: "1", contract: "1", expires: Some(1_808_933_400), underlying: 9, activity: 4 },
];

/// The first `count` listings: the dozen, then `SIM13-PERPETUAL`, `SIM14-PERPETUAL` and so on, each on its own.
#[must_use]
pub fn listings(count: usize) -> Vec<Listing> {
    let known = ENTRIES.iter().map(|entry| entry.list(entry.name.as_bytes(), entry.underlying));
    let further = (ENTRIES.len()..count).map(|at| {
        let entry = Entry { base: "SIM", start: "100", tick: "0.01", ..ENTRIES[2] };
        entry.list(format!("SIM{}-PERPETUAL", at + 1).as_bytes(), at)
    });
    known.chain(further).take(count).collect()
}

impl Entry {
    fn list(&self, name: &[u8], underlying: usize) -> Listing {
        const FIXED: &str = "invariant: the catalogue is a constant and tested";
        let symbol = |text: &[u8]| Symbol::parse(text).expect(FIXED);
        let amount = |text: &str| Amount::parse(text.as_bytes()).expect(FIXED);
        let (tick, start) = (Price::parse(self.tick.as_bytes()), Price::parse(self.start.as_bytes()));
        let (tick, start) = (tick.expect(FIXED), start.expect(FIXED));
        let lot = amount(self.lot);
        Listing {
            definition: Instrument {
                name: symbol(name),
                kind: self.kind,
                base_currency: symbol(self.base.as_bytes()),
                quote_currency: symbol(self.quote.as_bytes()),
                tick_size: tick,
                price_decimals: decimals(tick.0),
                min_trade_amount: lot,
                amount_decimals: decimals(lot.0),
                contract_size: amount(self.contract),
                creation_timestamp_ms: 0,
                expiration_timestamp_ms: self.expires.map(|seconds| seconds * 1_000),
            },
            start_ticks: start.0 / tick.0,
            underlying,
            activity: self.activity,
        }
    }
}

/// The decimals that multiples of this many units of 1e-9 need.
#[must_use]
pub fn decimals(units: i64) -> u8 {
    let mut power = UNIT;
    let mut count = 0;
    while units % power != 0 {
        power /= 10;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::paper::traders::TICKS_MAX;

    #[test]
    fn every_listing_starts_on_a_tick_and_has_a_name_of_its_own() {
        let listings = listings(40);
        assert_eq!(listings.len(), 40);
        let mut names: Vec<_> = listings.iter().map(|listing| listing.definition.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 40);
        for (listing, entry) in listings.iter().zip(ENTRIES) {
            let start = Price::parse(entry.start.as_bytes()).unwrap();
            let tick = listing.definition.tick_size.0;
            assert_eq!(listing.start_ticks * tick, start.0, "{}", entry.name);
            // A fair value moves by half at most; one tick beyond the last is still a number.
            assert!(2 * listing.start_ticks < TICKS_MAX && (TICKS_MAX + 1).checked_mul(tick).is_some());
        }
    }

    #[test]
    fn counts_the_decimals_of_an_increment() {
        for (units, expected) in [(250_000_000, 2), (UNIT, 0), (10 * UNIT, 0), (10_000, 5), (1, 9), (0, 0)] {
            assert_eq!(decimals(units), expected, "{units}");
        }
    }
}
