//! Which instruments a recording has: their names, their increments and their numbers in the feed. PURE.
//! Home: the venue thread. Invariant: numbers are given in the order of listing, and names are not repeated.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::paper::catalogue::decimals;
use crate::model::decimal::{Amount, Price, UNIT};
use crate::model::instrument::{Instrument, InstrumentKind, SYMBOL_BYTES_MAX, Symbol};
use crate::model::market::{FeedBuffer, FeedEvent, FeedInstrument};

/// Instruments of one recording at most: an exchange's whole board; each costs a book.
pub const INSTRUMENTS_MAX: usize = 16_384;

/// The largest increment that all prices seen of an instrument are multiples of, and 1 is too.
#[derive(Clone, Debug, Default)]
pub struct Ticks(BTreeMap<u32, i64>);

impl Ticks {
    /// Takes a price, in units of 1e-9, into account.
    pub fn see(&mut self, key: u32, price: i64) {
        if self.0.len() >= INSTRUMENTS_MAX && !self.0.contains_key(&key) {
            return;
        }
        let tick = self.0.entry(key).or_insert(UNIT);
        *tick = gcd(*tick, price);
    }

    /// One ten-thousandth where nothing was seen.
    fn of(&self, key: u32) -> i64 {
        self.0.get(&key).copied().unwrap_or(UNIT / 10_000)
    }
}

fn gcd(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a.checked_rem(b).unwrap_or(0));
    }
    a.checked_abs().filter(|tick| *tick > 0).unwrap_or(1)
}

/// What a recording's own definition says of an instrument.
#[derive(Clone, Debug)]
pub struct Definition {
    pub name: String,
    pub kind: InstrumentKind,
    pub base: String,
    pub quote: String,
    /// In units of 1e-9; `None` where it is undefined.
    pub tick: Option<i64>,
    /// Nanoseconds since 1970; `None` where it does not expire.
    pub expiration_ns: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Listings {
    ticks: Ticks,
    numbers: BTreeMap<u32, FeedInstrument>,
    names: BTreeSet<Symbol>,
    definitions: BTreeMap<u32, Definition>,
}

impl Listings {
    pub fn new(ticks: Ticks) -> Listings {
        Listings { ticks, ..Listings::default() }
    }

    pub fn number(&self, key: u32) -> Option<FeedInstrument> {
        self.numbers.get(&key).copied()
    }

    /// Tells that all books are empty, as a recording begins again.
    pub fn clear_all(&self, timestamp_ns: u64, out: &mut FeedBuffer) {
        for number in (0_u32..).take(self.numbers.len()) {
            let levels = out.push_levels([]);
            out.events.push(FeedEvent::Cleared { instrument: FeedInstrument(number), levels, timestamp_ns });
        }
    }

    /// Keeps a definition for when its instrument is first seen; a later one of the same instrument replaces it.
    pub fn define(&mut self, key: u32, definition: Definition) {
        if self.definitions.len() < INSTRUMENTS_MAX || self.definitions.contains_key(&key) {
            self.definitions.insert(key, definition);
        }
    }

    /// Lists an instrument that is seen for the first time. `None` past [`INSTRUMENTS_MAX`].
    pub fn list(
        &mut self,
        key: u32,
        name: Option<&str>,
        kind: InstrumentKind,
        out: &mut FeedBuffer,
    ) -> Option<FeedInstrument> {
        if self.numbers.len() >= INSTRUMENTS_MAX {
            return None;
        }
        let definition = self.definitions.get(&key);
        let text = definition.map(|definition| definition.name.as_str()).or(name);
        let name = self.name(key, text);
        let (base, quote) = match definition {
            Some(definition) => (definition.base.clone(), definition.quote.clone()),
            None => currencies(name.as_str()),
        };
        let tick = definition.and_then(|definition| definition.tick).unwrap_or_else(|| self.ticks.of(key));
        let expiration_ns = definition.and_then(|definition| definition.expiration_ns);
        let instrument = Instrument {
            name,
            kind: definition.map_or(kind, |definition| definition.kind),
            base_currency: symbol(&base).unwrap_or(name),
            quote_currency: symbol(&quote).unwrap_or(name),
            tick_size: Price(tick),
            price_decimals: decimals(tick),
            min_trade_amount: Amount(UNIT),
            amount_decimals: 0,
            contract_size: Amount(UNIT),
            creation_timestamp_ms: 0,
            expiration_timestamp_ms: expiration_ns.map(|ns| ns / 1_000_000),
        };
        let number = FeedInstrument(u32::try_from(self.numbers.len()).ok()?);
        self.numbers.insert(key, number);
        self.names.insert(name);
        out.events.push(FeedEvent::Listed { definition: Box::new(instrument) });
        Some(number)
    }

    /// The name as far as it is legal and free, else with the recording's number, else the number alone, with another
    /// behind it where other instruments call themselves so.
    fn name(&self, key: u32, text: Option<&str>) -> Symbol {
        let named = text.filter(|text| !text.is_empty());
        let own = named.into_iter().flat_map(|text| [text.to_owned(), format!("{text}-{key}")]);
        let numbered = (0..=self.names.len()).map(|number| format!("ID{key}-{number}"));
        own.chain([format!("ID{key}")])
            .chain(numbered)
            .filter_map(|choice| symbol(&choice))
            .find(|choice| !self.names.contains(choice))
            .expect("invariant: there are more numbers than names that are taken, and each fits")
    }
}

/// The text with what a name may not have replaced by `_`; `None` where it is empty or too long.
pub fn symbol(text: &str) -> Option<Symbol> {
    if text.len() > SYMBOL_BYTES_MAX {
        return None;
    }
    let legal = |byte: u8| match byte {
        b'-' | b':' => byte,
        _ if byte.is_ascii_alphanumeric() => byte,
        _ => b'_',
    };
    let bytes: Vec<u8> = text.bytes().map(legal).collect();
    Symbol::parse(&bytes).ok()
}

/// What is bought and what it is paid in, as far as a name tells: `EUR_USD`, or a future such as `ESH4`.
fn currencies(name: &str) -> (String, String) {
    if let Some((base, quote)) = name.split_once('_')
        && base.len() == 3
        && quote.len() == 3
    {
        return (base.to_owned(), quote.to_owned());
    }
    let without_year = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let root = without_year.strip_suffix(|c: char| "FGHJKMNQUVXZ".contains(c));
    let root = root.filter(|root| !root.is_empty() && without_year.len() < name.len());
    (root.unwrap_or(name).to_owned(), "USD".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_increment_of_prices() {
        let check = |prices: &[i64], expected: i64| {
            let mut ticks = Ticks::default();
            prices.iter().for_each(|price| ticks.see(1, *price));
            assert_eq!(ticks.of(1), expected);
        };
        check(&[4_810_250_000_000, 4_810_000_000_000], 250_000_000);
        check(&[1_121_200_000, 1_121_210_000], 10_000);
        check(&[-50_000_000], 50_000_000);
        check(&[i64::MIN, 0], 512);
        check(&[], 100_000);
    }

    #[test]
    fn names_are_made_legal_and_never_repeated() {
        let mut listings = Listings::default();
        let mut out = FeedBuffer::default();
        let long = "X".repeat(40);
        let names = [Some("ES.v.0"), Some("ES.v.0"), None, Some(long.as_str()), Some("")];
        // Whatever the others call themselves, each has one.
        let taken = [Some("ID10"), Some("ID10-0"), Some("ID10-1"), Some("ID10-9"), None];
        for (key, name) in (1..).zip(names.into_iter().chain(taken)) {
            assert!(listings.list(key, name, InstrumentKind::Future, &mut out).is_some());
        }
        let listed = |event: &FeedEvent| match event {
            FeedEvent::Listed { definition } => Some(definition.name.as_str().to_owned()),
            FeedEvent::Levels { .. }
            | FeedEvent::Cleared { .. }
            | FeedEvent::Quote { .. }
            | FeedEvent::Trade { .. }
            | FeedEvent::Report(_)
            | FeedEvent::State { .. } => None,
        };
        let names: Vec<_> = out.events.iter().filter_map(listed).collect();
        assert_eq!(names[..5], ["ES_v_0", "ES_v_0-2", "ID3", "ID4", "ID5"]);
        assert_eq!(names[5..], ["ID10", "ID10-0", "ID10-1", "ID10-9", "ID10-2"]);
    }

    #[test]
    fn reads_currencies_from_names() {
        let check =
            |name, base: &str, quote: &str| assert_eq!(currencies(name), (base.to_owned(), quote.to_owned()));
        check("EUR_USD", "EUR", "USD");
        check("ESH4", "ES", "USD");
        check("6EZ24", "6E", "USD");
        check("ES_v_0", "ES_v_0", "USD");
    }
}
