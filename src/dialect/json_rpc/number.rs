//! Prices and amounts as clients write them: JSON's numbers with their exponents, or the same in a string. PURE. Exact:
//! what can't be kept in units of 1e-9 is refused, never rounded.

use super::params::Param;
use super::scan::{Kind, Value};
use crate::model::decimal::{DECIMALS_MAX, DecimalError};

/// The digits of the largest number of units.
const DIGITS_MAX: usize = 19;

impl Param<'_> {
    /// In units of 1e-9; `None` where the parameter is absent.
    ///
    /// # Errors
    /// See [`DecimalError`]; what is neither number nor string is malformed.
    pub(super) fn units(self) -> Result<Option<i64>, DecimalError> {
        self.value.map(read_units).transpose()
    }
}

pub(crate) fn read_units(value: Value<'_>) -> Result<i64, DecimalError> {
    match value.kind() {
        Kind::Number => parse_units(value.text().as_bytes()),
        Kind::String => parse_units(value.string().ok_or(DecimalError::Malformed)?.as_bytes()),
        Kind::Object | Kind::Array | Kind::Boolean | Kind::Null => Err(DecimalError::Malformed),
    }
}

/// Parses `-?digits[.digits][e[+-]digits]` into units of 1e-9.
fn parse_units(text: &[u8]) -> Result<i64, DecimalError> {
    let (is_negative, magnitude) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match magnitude.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&magnitude[..at], parse_exponent(&magnitude[at + 1..])?),
        None => (magnitude, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) if at + 1 < mantissa.len() => (&mantissa[..at], &mantissa[at + 1..]),
        Some(_) => return Err(DecimalError::Malformed),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(DecimalError::Malformed);
    }
    let units = shift(whole, fraction, exponent)?;
    Ok(if is_negative { -units } else { units })
}

/// `[+-]digits`. An exponent beyond any sense is as good as the largest: what it is of is zero or out of range.
fn parse_exponent(text: &[u8]) -> Result<i64, DecimalError> {
    let (is_negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(DecimalError::Malformed);
    }
    const EXPONENT_MAX: i64 = 1 << 40;
    let exponent = digits
        .iter()
        .fold(0, |exponent: i64, digit| (exponent * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX));
    Ok(if is_negative { -exponent } else { exponent })
}

/// The digits of both parts times 10 to the exponent, in units. All are digits.
fn shift(whole: &[u8], fraction: &[u8], exponent: i64) -> Result<i64, DecimalError> {
    let is_zero = |digit: &&u8| **digit == b'0';
    let zeros_before = whole.iter().chain(fraction).take_while(is_zero).count();
    let zeros_behind = whole.iter().chain(fraction).rev().take_while(is_zero).count();
    let total = whole.len() + fraction.len();
    if zeros_before == total {
        return Ok(0);
    }
    let significant = total - zeros_before - zeros_behind;
    let length = |count: usize| i64::try_from(count).expect("invariant: a message is far below 2^63 bytes");
    let places = i64::from(DECIMALS_MAX) + exponent - length(fraction.len()) + length(zeros_behind);
    // Its last digit is not zero.
    if places < 0 {
        return Err(DecimalError::TooManyDecimals);
    }
    if significant > DIGITS_MAX || places > length(DIGITS_MAX) {
        return Err(DecimalError::OutOfRange);
    }
    let mut units: i64 = 0;
    for digit in whole.iter().chain(fraction).skip(zeros_before).take(significant) {
        units = push_digit(units, digit - b'0')?;
    }
    for _ in 0..places {
        units = push_digit(units, 0)?;
    }
    Ok(units)
}

fn push_digit(units: i64, digit: u8) -> Result<i64, DecimalError> {
    let tens = units.checked_mul(10).ok_or(DecimalError::OutOfRange)?;
    tens.checked_add(i64::from(digit)).ok_or(DecimalError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::decimal::{Price, UNIT, write_units};

    fn check(text: &str, expected: Result<i64, DecimalError>) {
        assert_eq!(parse_units(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn takes_numbers_as_clients_of_all_languages_write_them() {
        for (text, units) in [
            ("10", 10 * UNIT),
            ("10.0", 10 * UNIT),
            ("0.1", UNIT / 10),
            ("1e-05", 10_000),
            ("1e-5", 10_000),
            ("1E-9", 1),
            ("1.0e3", 1_000 * UNIT),
            ("1e+3", 1_000 * UNIT),
            ("64000.5", 64_000 * UNIT + UNIT / 2),
            ("0.00001000000000", 10_000),
            ("12345678900e-10", 1_234_567_890),
            ("0.000001e6", UNIT),
            ("-2.5", -5 * UNIT / 2),
            ("0", 0),
            ("-0.0", 0),
            ("0e999999999999999999999", 0),
            ("0.0e-999999999999999999999", 0),
            ("9223372036.854775807", i64::MAX),
            ("9223372036854775807e-9", i64::MAX),
            ("-9223372036.854775807", -i64::MAX),
            ("1.10000000000000000000000000", 11 * UNIT / 10),
            ("0.000000000000000000001e20", UNIT / 10),
        ] {
            check(text, Ok(units));
        }
    }

    #[test]
    fn refuses_what_does_not_fit_rather_than_round_it() {
        for text in ["1e-10", "0.1234567891", "1.5e-9", "1e-999999999999999999999"] {
            check(text, Err(DecimalError::TooManyDecimals));
        }
        for text in ["9223372036.854775808", "1e10", "1e999999999999999999999", "99999999999999999999"] {
            check(text, Err(DecimalError::OutOfRange));
        }
        for text in
            ["", "-", "+1", ".5", "1.", "1.e3", "e3", "1e", "1e+", "1e1.5", "0x10", "NaN", "1 ", "1,0", "--1"]
        {
            check(text, Err(DecimalError::Malformed));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_feed_s_parser_and_with_itself_in_another_form(units in -i64::MAX..=i64::MAX) {
            let mut text = Vec::new();
            write_units(&mut text, i128::from(units), 0);
            prop_assert_eq!(parse_units(&text), Ok(units));
            prop_assert_eq!(Price::parse(&text), Ok(Price(units)));
            prop_assert_eq!(parse_units(format!("{units}e-9").as_bytes()), Ok(units));
            prop_assert_eq!(parse_units(format!("{units}000E-12").as_bytes()), Ok(units));
        }

        #[test]
        fn never_panics(text in "[-+0-9.eE]{0,60}") {
            let _ = parse_units(text.as_bytes());
        }
    }
}
