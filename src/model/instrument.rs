//! Instruments: what can be quoted, with the increments that its prices and amounts keep. PURE.

use std::fmt;

use super::decimal::{Amount, Price};

/// Bytes of an instrument's name at most; a CME spread such as `ESH4-ESM4` or `BTC-27DEC26-100000-C` is well below.
pub const SYMBOL_BYTES_MAX: usize = 31;

/// An instrument's or a currency's name: 1 to 31 of `A-Z a-z 0-9 _ - : /`. A full stop is not among them, since it
/// separates the parts of a channel. The private fields make every `Symbol` a legal one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol {
    bytes: [u8; SYMBOL_BYTES_MAX],
    len: u8,
}

/// Why a text is not a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolError {
    Empty,
    TooLong,
    /// A byte outside the set.
    Character(u8),
}

impl fmt::Display for SymbolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SymbolError::Empty => f.write_str("empty name"),
            SymbolError::TooLong => write!(f, "name longer than {SYMBOL_BYTES_MAX} bytes"),
            SymbolError::Character(byte) => write!(f, "character {:?} in a name", char::from(*byte)),
        }
    }
}

impl std::error::Error for SymbolError {}

impl Symbol {
    /// # Errors
    /// See [`SymbolError`].
    pub fn parse(text: &[u8]) -> Result<Symbol, SymbolError> {
        if text.is_empty() {
            return Err(SymbolError::Empty);
        }
        if text.len() > SYMBOL_BYTES_MAX {
            return Err(SymbolError::TooLong);
        }
        let mut bytes = [0; SYMBOL_BYTES_MAX];
        for (place, byte) in bytes.iter_mut().zip(text) {
            if !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'-' | b':' | b'/') {
                return Err(SymbolError::Character(*byte));
            }
            *place = *byte;
        }
        let len = u8::try_from(text.len()).map_err(|_| SymbolError::TooLong)?;
        Ok(Symbol { bytes, len })
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("invariant: `parse` makes symbols of ASCII alone")
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Deribit's `kind` of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InstrumentKind {
    Future,
    Option,
    Spot,
    FutureCombo,
    OptionCombo,
}

impl InstrumentKind {
    pub const ALL: [InstrumentKind; 5] = [
        InstrumentKind::Future,
        InstrumentKind::Option,
        InstrumentKind::Spot,
        InstrumentKind::FutureCombo,
        InstrumentKind::OptionCombo,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            InstrumentKind::Future => "future",
            InstrumentKind::Option => "option",
            InstrumentKind::Spot => "spot",
            InstrumentKind::FutureCombo => "future_combo",
            InstrumentKind::OptionCombo => "option_combo",
        }
    }
}

/// What a feed says of an instrument before its first price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    pub name: Symbol,
    pub kind: InstrumentKind,
    pub base_currency: Symbol,
    pub quote_currency: Symbol,
    /// The smallest price increment; positive.
    pub tick_size: Price,
    /// Decimals that prices are printed with.
    pub price_decimals: u8,
    /// The smallest order amount; positive.
    pub min_trade_amount: Amount,
    /// Decimals that amounts are printed with.
    pub amount_decimals: u8,
    /// Amount units in one contract; positive.
    pub contract_size: Amount,
    /// Milliseconds since 1970; 0 where the feed does not tell.
    pub creation_timestamp_ms: u64,
    /// Milliseconds since 1970; `None` for what does not expire.
    pub expiration_timestamp_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), SymbolError>) {
        assert_eq!(Symbol::parse(text.as_bytes()).map(|symbol| assert_eq!(symbol.as_str(), text)), expected);
    }

    #[test]
    fn takes_names_as_exchanges_write_them() {
        for name in ["BTC-PERPETUAL", "ESH4", "EUR_USD", "ESH4-ESM4", "UD:1V:GN", "x"] {
            check(name, Ok(()));
        }
    }

    #[test]
    fn refuses_what_would_break_a_channel() {
        check("", Err(SymbolError::Empty));
        check("A.B", Err(SymbolError::Character(b'.')));
        check("*", Err(SymbolError::Character(b'*')));
        check("a\"b", Err(SymbolError::Character(b'"')));
        check(&"A".repeat(32), Err(SymbolError::TooLong));
    }
}
