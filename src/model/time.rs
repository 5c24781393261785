//! Time as an argument. Only `src/clock.rs` makes a [`Now`] from a real clock; tests and the simulation make their own.

/// One reading of both clocks, taken once per stage of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds on the monotonic clock: deadlines and durations.
    pub mono_ns: u64,
    /// Nanoseconds since 1970-01-01T00:00:00Z: what clients are told.
    pub unix_ns: u64,
}

impl Now {
    /// The same instant moved forward by `ns` nanoseconds on both clocks.
    #[must_use]
    pub const fn plus_ns(self, ns: u64) -> Now {
        Now { mono_ns: self.mono_ns + ns, unix_ns: self.unix_ns + ns }
    }
}

/// A moment as a log has it: `2026-11-22T04:31:44.123Z`.
#[must_use]
pub fn utc_text(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / DAY_MS);
    let ms = unix_ms % DAY_MS;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// The other way; none for a text that is not written so.
#[must_use]
pub fn unix_ms(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is_punctuated = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':'), (19, '.'), (23, 'Z')]
        .into_iter()
        .all(|(at, mark)| text.get(at..).is_some_and(|rest| rest.starts_with(mark)));
    if !is_punctuated || text.len() != 24 {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, ms) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    let is_day = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    let is_time = hour < 24 && minute < 60 && second < 60;
    (is_day && is_time)
        .then(|| days(year, month, day) * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms)
}

const DAY_MS: u64 = 86_400_000;
/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: u64 = 146_097;
/// From the first of March of the year 0, where leap days come last, to 1970.
const DAYS_TO_1970: u64 = 719_468;

/// Year, month and day of a day since 1970 (Howard Hinnant, chrono-compatible low-level date algorithms).
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + DAYS_TO_1970;
    let (era, of_era) = (day / ERA_DAYS, day % ERA_DAYS);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_based = (5 * of_year + 2) / 153;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    (era * 400 + year + u64::from(month <= 2), month, of_year - (153 * march_based + 2) / 5 + 1)
}

/// The day since 1970 of a date from then on.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let of_era = year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + of_year;
    year / 400 * ERA_DAYS + of_era - DAYS_TO_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_and_read_as_the_calendar_has_it() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_001, "2024-02-29T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc_text(ms), text);
            assert_eq!(unix_ms(text), Some(ms));
        }
        for day in 0..100_000 {
            assert_eq!(unix_ms(&utc_text(day * DAY_MS + 1)), Some(day * DAY_MS + 1));
        }
    }

    #[test]
    fn a_text_that_is_no_moment_is_none() {
        for odd in [
            "",
            "1969-12-31T23:59:59.999Z",
            "2026-13-01T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01 00:00:00.000Z",
            "2026-01-01T00:00:00.000",
            "2026-01-01T00:00:00.000Zx",
            "+026-01-01T00:00:00.000Z",
            "2026-01-é1T00:00:00.000Z",
        ] {
            assert_eq!(unix_ms(odd), None, "{odd}");
        }
    }
}
