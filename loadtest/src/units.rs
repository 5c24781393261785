//! Numbers as people read them: durations, bytes, counts, shares, dates. PURE.
//! Invariant: three significant digits, and never `0` for what is not zero.

use crate::clock::{MILLISECOND_NS, SECOND_NS};

/// `850 ns`, `12.3 us`, `4.56 ms`, `1.20 s`.
pub(crate) fn duration(ns: f64) -> String {
    let units = [("s", SECOND_NS as f64), ("ms", MILLISECOND_NS as f64), ("us", 1_000.0)];
    match units.iter().find(|(_, size)| *size <= ns.abs()) {
        Some((unit, size)) => format!("{} {unit}", digits(ns / size)),
        None => format!("{} ns", digits(ns)),
    }
}

/// `1.23 GiB`, `64.0 MiB`, `2.00 KiB`, `100 B`.
pub(crate) fn bytes(count: f64) -> String {
    let units = [("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1_024.0)];
    match units.iter().find(|(_, size)| *size <= count.abs()) {
        Some((unit, size)) => format!("{} {unit}", digits(count / size)),
        None => format!("{} B", digits(count)),
    }
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let plain = number.to_string();
    let mut text = String::new();
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 %` of a share between 0 and 1.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

/// Three significant digits, whole numbers from a thousand on with separators, no exponent.
pub(crate) fn digits(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || !size.is_finite() {
        return if size == 0.0 { "0".to_owned() } else { "-".to_owned() };
    }
    if size >= 999.5 {
        let plain = format!("{:.0}", size);
        let grouped = plain.parse().map_or(plain, count);
        return if value < 0.0 { format!("-{grouped}") } else { grouped };
    }
    // The bounds are those at which rounding reaches the next digit.
    let places = [99.95, 9.995, 0.9995, 0.09995, 0.009_995, 0.000_999_5];
    let after = places.iter().position(|bound| *bound <= size).unwrap_or(places.len());
    format!("{value:.after$}")
}

/// `2026-11-22 04:36:58 UTC`.
pub(crate) fn date(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a day since 1970-01-01, by eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_the_largest_unit_that_leaves_a_digit_before_the_point() {
        let texts = [0.0, 1.0, 850.0, 12_345.0, 999_600.0, 4_560_000.0, 1.2e9, 61e9].map(duration);
        assert_eq!(
            texts,
            ["0 ns", "1.00 ns", "850 ns", "12.3 us", "1,000 us", "4.56 ms", "1.20 s", "61.0 s"]
        );
    }

    #[test]
    fn what_is_small_keeps_its_digits_and_is_never_shown_as_nothing() {
        let texts = [0.0, 0.5, 0.099_96, 0.001_234, 0.000_05, 9.996, 99.96, 999.4, 999.6, -1_234.0];
        assert_eq!(
            texts.map(digits),
            ["0", "0.500", "0.100", "0.00123", "0.000050", "10.0", "100", "999", "1,000", "-1,234"]
        );
    }

    #[test]
    fn bytes_and_counts_and_shares_have_their_signs() {
        assert_eq!([100.0, 2_048.0, 67_108_864.0].map(bytes), ["100 B", "2.00 KiB", "64.0 MiB"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(percent(0.125), "12.5 %");
    }

    #[test]
    fn dates_know_leap_days() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(1_709_164_800_000), "2024-02-29 00:00:00 UTC");
        assert_eq!(date(1_795_322_218_999), "2026-11-22 04:36:58 UTC");
        assert_eq!(date(4_107_542_400_000), "2100-03-01 00:00:00 UTC");
    }
}
