//! Prices and amounts as scaled integers: units of 1e-9, so that the feed's decimals are kept exactly and never become
//! floats. PURE. Invariant: parsing and printing a text of at most nine decimals gives the same number back.

use std::fmt;

/// Decimals that an integer unit holds.
pub const DECIMALS_MAX: u8 = 9;
/// Units in 1.
pub const UNIT: i64 = 1_000_000_000;

/// A price in units of 1e-9 of the quote currency. Range ±9,223,372,036.854775807.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Price(pub i64);

/// A quantity in units of 1e-9 of the instrument's amount unit. Never negative where it is a size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Amount(pub i64);

/// Why a text is not a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// Not `-?digits[.digits]`.
    Malformed,
    /// More than nine decimals that are not zero: it could not be kept exactly.
    TooManyDecimals,
    /// Beyond ±9,223,372,036.854775807.
    OutOfRange,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecimalError::Malformed => "not a decimal number",
            DecimalError::TooManyDecimals => "more than nine decimals",
            DecimalError::OutOfRange => "out of range (9,223,372,036.854775807 is the largest)",
        })
    }
}

impl std::error::Error for DecimalError {}

impl Price {
    /// # Errors
    /// See [`DecimalError`].
    pub fn parse(text: &[u8]) -> Result<Price, DecimalError> {
        parse(text).map(Price)
    }
}

impl Amount {
    pub const ZERO: Amount = Amount(0);

    /// # Errors
    /// See [`DecimalError`].
    pub fn parse(text: &[u8]) -> Result<Amount, DecimalError> {
        parse(text).map(Amount)
    }
}

/// Parses `-?digits[.digits]` (no exponent, no sign `+`, no empty part) into units of 1e-9.
fn parse(text: &[u8]) -> Result<i64, DecimalError> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &[][..]),
    };
    if whole.is_empty() || (point.is_some() && fraction.is_empty()) {
        return Err(DecimalError::Malformed);
    }
    let mut units: i64 = 0;
    for byte in whole {
        units = push_digit(units, *byte)?;
    }
    let mut places = 0;
    for byte in fraction {
        if places == DECIMALS_MAX {
            match byte {
                b'0' => continue,
                b'1'..=b'9' => return Err(DecimalError::TooManyDecimals),
                _ => return Err(DecimalError::Malformed),
            }
        }
        units = push_digit(units, *byte)?;
        places += 1;
    }
    for _ in places..DECIMALS_MAX {
        units = units.checked_mul(10).ok_or(DecimalError::OutOfRange)?;
    }
    Ok(if negative { -units } else { units })
}

fn push_digit(units: i64, byte: u8) -> Result<i64, DecimalError> {
    if !byte.is_ascii_digit() {
        return Err(DecimalError::Malformed);
    }
    let digit = i64::from(byte - b'0');
    units.checked_mul(10).and_then(|tens| tens.checked_add(digit)).ok_or(DecimalError::OutOfRange)
}

/// A quotient in units of 1e-9 of two numbers in such units, rounded half away from zero; 0 where it is by zero. All
/// that an order or a position can hold is exact; beyond that it saturates.
#[must_use]
pub fn quotient(dividend: i128, divisor: i64) -> i128 {
    let (magnitude, by) = (dividend.unsigned_abs(), u128::from(divisor.unsigned_abs()));
    if by == 0 {
        return 0;
    }
    let unit = u128::from(UNIT.unsigned_abs());
    // The rest is below 2^63, so that a billion of it fits.
    let fraction = (magnitude % by * unit * 2 + by) / (by * 2);
    let units = (magnitude / by).saturating_mul(unit).saturating_add(fraction);
    let units = i128::try_from(units).unwrap_or(i128::MAX);
    if (dividend < 0) == (divisor < 0) { units } else { -units }
}

/// Appends `units` with exactly `decimals` decimals, or more where that alone would lose digits.
pub fn write_units(out: &mut Vec<u8>, units: i128, decimals: u8) {
    if units < 0 {
        out.push(b'-');
    }
    const UNITS: u64 = UNIT.unsigned_abs();
    let mut text = itoa::Buffer::new();
    // Nearly all numbers fit 64 bits, where division is several times as fast.
    let mut fraction = match u64::try_from(units.unsigned_abs()) {
        Ok(magnitude) => {
            out.extend_from_slice(text.format(magnitude / UNITS).as_bytes());
            magnitude % UNITS
        }
        Err(_) => {
            let magnitude = units.unsigned_abs();
            out.extend_from_slice(text.format(magnitude / u128::from(UNITS)).as_bytes());
            u64::try_from(magnitude % u128::from(UNITS)).expect("invariant: a remainder of 1e9 is less")
        }
    };
    let mut digits = [b'0'; DECIMALS_MAX as usize];
    let mut used = 0;
    for place in (0..DECIMALS_MAX as usize).rev() {
        let digit = u8::try_from(fraction % 10).expect("invariant: a remainder of 10 is less");
        fraction /= 10;
        digits[place] = b'0' + digit;
        if digit != 0 && used == 0 {
            used = place + 1;
        }
    }
    let shown = used.max(usize::from(decimals.min(DECIMALS_MAX)));
    if shown > 0 {
        out.push(b'.');
        out.extend_from_slice(&digits[..shown]);
    }
}

impl Price {
    /// Appends the price with at least `decimals` decimals.
    pub fn write(self, out: &mut Vec<u8>, decimals: u8) {
        write_units(out, i128::from(self.0), decimals);
    }
}

impl Amount {
    /// Appends the amount with at least `decimals` decimals.
    pub fn write(self, out: &mut Vec<u8>, decimals: u8) {
        write_units(out, i128::from(self.0), decimals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, decimals: u8, expected: &str) {
        let printed = match Price::parse(text.as_bytes()) {
            Ok(price) => {
                let mut out = Vec::new();
                price.write(&mut out, decimals);
                String::from_utf8(out).unwrap()
            }
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(printed, expected, "{text}");
    }

    #[test]
    fn keeps_the_feed_s_decimals_exactly() {
        check("4810.25", 2, "4810.25");
        check("4810", 2, "4810.00");
        check("1.12105", 5, "1.12105");
        check("0.000000001", 0, "0.000000001");
        check("-0.5", 1, "-0.5");
        check("7", 0, "7");
        check("9223372036.854775807", 0, "9223372036.854775807");
        check("1.1000000000000", 2, "1.10");
    }

    #[test]
    fn never_prints_fewer_digits_than_the_number_has() {
        check("1.125", 2, "1.125");
    }

    #[test]
    fn refuses_what_is_not_a_decimal() {
        for text in ["", "-", ".", "1.", ".5", "+1", "1e5", "1,0", "0x1", "NaN", " 1"] {
            check(text, 0, "Malformed");
        }
        check("0.0000000001", 0, "TooManyDecimals");
        check("9223372036.854775808", 0, "OutOfRange");
        check("99999999999", 0, "OutOfRange");
    }
}
