//! Ticks of currencies as CSV: histdata.com's and TrueFX's. PURE. Home: the venue thread.
//!
//! - histdata: `20200101 170000065,1.121200,1.121720,0` (date and time to the millisecond in New York's winter time all
//!   year, UTC-5; bid; ask; volume, always 0). The instrument is in the file's name.
//! - TrueFX: `EUR/USD,20130101 22:00:00.295,1.31920,1.31932` in UTC, or with a heading
//!   `timestamp,bid,ask` and `2013-01-01 22:00:00.295000+00:00,86.655,86.728`, the instrument in the file's name.
//!
//! Neither tells amounts: each side is shown with an amount of 1. Legal: bid equal to ask, empty lines, CR LF.
//! Refused: crossed, zero and negative prices, time that runs backwards, a last line that was cut off.

use std::io::Read;

use super::listing::{Listings, symbol};
use super::{Bytes, Fault, PROFILE_RECORDS_MAX, Step, Ticks};
use crate::backend::replay::error::Place;
use crate::model::book::Level;
use crate::model::decimal::{Amount, Price, UNIT};
use crate::model::instrument::InstrumentKind;
use crate::model::market::{FeedBuffer, FeedEvent, FeedInstrument};

/// Bytes of a line at most; the longest legal one has about 60.
const LINE_BYTES_MAX: usize = 512;
/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 16 * 1024;
/// The only instrument of a recording whose name has it.
const FROM_FILE_NAME: u32 = 0;
/// histdata's clock is behind UTC by this.
const NEW_YORK_WINTER_NS: u64 = 5 * 3_600 * 1_000_000_000;

/// How the columns are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    HistData,
    /// With the pair in the first column.
    TrueFx,
    /// With a heading and without the pair.
    TrueFxHeaded,
}

impl Layout {
    /// The layout of a file that begins so.
    pub fn sniff(head: &[u8]) -> Option<Layout> {
        let line = head.split(|byte| *byte == b'\n').next()?;
        let first = line.split(|byte| *byte == b',').next()?;
        if line.trim_ascii_end() == b"timestamp,bid,ask" {
            return Some(Layout::TrueFxHeaded);
        }
        if first.len() == 7 && first[3] == b'/' && pair(&first[..3], &first[4..]).is_some() {
            return Some(Layout::TrueFx);
        }
        let is_number = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit);
        let stamped = first.len() == 18 && first[8] == b' ';
        (stamped && is_number(&first[..8]) && is_number(&first[9..])).then_some(Layout::HistData)
    }

    const fn columns(self) -> usize {
        match self {
            Layout::HistData | Layout::TrueFx => 4,
            Layout::TrueFxHeaded => 3,
        }
    }
}

/// One tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tick<'a> {
    pair: Option<&'a [u8]>,
    timestamp_ns: u64,
    bid: Price,
    ask: Price,
}

/// The increments of a recording's first prices; stops at the first line that is wrong, which the replay then names.
pub fn profile(bytes: Bytes, layout: Layout) -> Ticks {
    let mut ticks = Ticks::default();
    let mut lines = Lines::new(bytes);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    while lines.number < PROFILE_RECORDS_MAX {
        let Ok(Some(line)) = lines.next() else { break };
        if is_heading(layout, line) {
            continue;
        }
        let Ok(tick) = parse(layout, line) else { break };
        let key = key_of(&mut keys, tick.pair);
        ticks.see(key, tick.bid.0);
        ticks.see(key, tick.ask.0);
    }
    ticks
}

pub struct CsvDecoder {
    lines: Lines,
    layout: Layout,
    name: String,
    listings: Listings,
    /// The pairs of a file that has them in a column, in the order of their first line.
    pairs: Vec<Vec<u8>>,
    records_read: u64,
    last_ns: u64,
    /// Books to clear before anything else: the recording has begun again.
    restarted: bool,
}

impl CsvDecoder {
    pub fn open(bytes: Bytes, layout: Layout, file_name: &str, ticks: Ticks) -> CsvDecoder {
        CsvDecoder {
            lines: Lines::new(bytes),
            layout,
            name: instrument_name(file_name),
            listings: Listings::new(ticks),
            pairs: Vec::new(),
            records_read: 0,
            last_ns: 0,
            restarted: false,
        }
    }

    pub fn restart(&mut self, bytes: Bytes) {
        self.lines = Lines::new(bytes);
        self.records_read = 0;
        self.last_ns = 0;
        self.restarted = true;
    }

    pub fn records_read(&self) -> u64 {
        self.records_read
    }

    pub fn read(&mut self, out: &mut FeedBuffer) -> Result<Step, Fault> {
        let layout = self.layout;
        let Some(line) = self.lines.next()? else {
            if self.records_read == 0 {
                return Err(Fault::file("has no ticks"));
            }
            return Ok(Step::End);
        };
        if is_heading(layout, line) {
            return Ok(Step::Quiet);
        }
        let line = line.to_vec();
        let at = Place::Line(self.lines.number);
        let fault = |reason: String| Fault { place: at, reason };
        let tick = parse(layout, &line).map_err(fault)?;
        if tick.timestamp_ns < self.last_ns {
            return Err(fault("time runs backwards: earlier than the line before it".to_owned()));
        }
        self.last_ns = tick.timestamp_ns;
        self.records_read += 1;
        if std::mem::take(&mut self.restarted) {
            self.listings.clear_all(tick.timestamp_ns, out);
        }
        let instrument = self
            .instrument(tick.pair, out)
            .ok_or_else(|| fault("more instruments than a recording may have".to_owned()))?;
        let level = |price| Some(Level { price, amount: Amount(UNIT) });
        out.events.push(FeedEvent::Quote {
            instrument,
            bid: level(tick.bid),
            ask: level(tick.ask),
            timestamp_ns: tick.timestamp_ns,
        });
        Ok(Step::Moment { recorded_ns: tick.timestamp_ns })
    }

    fn instrument(&mut self, pair: Option<&[u8]>, out: &mut FeedBuffer) -> Option<FeedInstrument> {
        let key = key_of(&mut self.pairs, pair);
        if let Some(number) = self.listings.number(key) {
            return Some(number);
        }
        let name = match pair {
            Some(pair) => String::from_utf8_lossy(pair).to_uppercase(),
            None => self.name.clone(),
        };
        self.listings.list(key, Some(&name), InstrumentKind::Spot, out)
    }
}

/// The number of a pair among those seen; few, so a list will do.
fn key_of(pairs: &mut Vec<Vec<u8>>, pair: Option<&[u8]>) -> u32 {
    let Some(pair) = pair else { return FROM_FILE_NAME };
    let at = pairs.iter().position(|seen| seen == pair).unwrap_or_else(|| {
        pairs.push(pair.to_vec());
        pairs.len() - 1
    });
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn is_heading(layout: Layout, line: &[u8]) -> bool {
    layout == Layout::TrueFxHeaded && line == b"timestamp,bid,ask"
}

fn parse(layout: Layout, line: &[u8]) -> Result<Tick<'_>, String> {
    let mut columns: [&[u8]; 4] = [&[]; 4];
    let count = line.split(|byte| *byte == b',').count();
    if count != layout.columns() {
        return Err(format!("{count} columns where {} belong", layout.columns()));
    }
    for (place, column) in columns.iter_mut().zip(line.split(|byte| *byte == b',')) {
        *place = column;
    }
    let [first, second, third, fourth] = columns;
    let (pair, time, bid, ask) = match layout {
        Layout::HistData | Layout::TrueFxHeaded => (None, first, second, third),
        Layout::TrueFx => (Some(first), second, third, fourth),
    };
    if let Some(text) = pair
        && (text.len() != 7 || text[3] != b'/' || self::pair(&text[..3], &text[4..]).is_none())
    {
        return Err(format!("\"{}\" is not a pair such as EUR/USD", text.escape_ascii()));
    }
    let stamp = match layout {
        Layout::HistData => histdata_time(time),
        Layout::TrueFx | Layout::TrueFxHeaded => truefx_time(time),
    };
    let timestamp_ns = stamp.ok_or_else(|| format!("\"{}\" is not a time", time.escape_ascii()))?;
    let price = |name: &str, text: &[u8]| match Price::parse(text) {
        Err(error) => Err(format!("{name} \"{}\" is {error}", text.escape_ascii())),
        Ok(price) if price.0 == 0 => Err(format!("{name} is zero")),
        Ok(price) if price.0 < 0 => Err(format!("{name} {} is negative", text.escape_ascii())),
        Ok(price) => Ok(price),
    };
    let (bid, ask) = (price("bid", bid)?, price("ask", ask)?);
    if bid > ask {
        return Err("crossed: the bid is above the ask".to_owned());
    }
    if layout == Layout::HistData && Amount::parse(fourth).is_err() {
        return Err(format!("volume \"{}\" is not a number", fourth.escape_ascii()));
    }
    Ok(Tick { pair, timestamp_ns, bid, ask })
}

/// `20200101 170000065`.
fn histdata_time(text: &[u8]) -> Option<u64> {
    if text.len() != 18 || text[8] != b' ' {
        return None;
    }
    let day_ns = day_ns(number(&text[..4])?, number(&text[4..6])?, number(&text[6..8])?)?;
    let time = &text[9..];
    let of_day = time_ns(number(&time[..2])?, number(&time[2..4])?, number(&time[4..6])?)?;
    Some(day_ns + of_day + number(&time[6..])? * 1_000_000 + NEW_YORK_WINTER_NS)
}

/// `20130101 22:00:00.295` or `2013-01-01 22:00:00.295000+00:00`, in UTC.
fn truefx_time(text: &[u8]) -> Option<u64> {
    let (date, time) = text.split_at_checked(text.iter().position(|byte| *byte == b' ' || *byte == b'T')?)?;
    let day_ns = match date {
        [y @ .., b'-', m1, m2, b'-', d1, d2] if y.len() == 4 => {
            day_ns(number(y)?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)?
        }
        _ if date.len() == 8 => day_ns(number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?)?,
        _ => return None,
    };
    let time = &time[1..];
    let time = time.strip_suffix(b"+00:00").or_else(|| time.strip_suffix(b"Z")).unwrap_or(time);
    if time.len() < 8 || time[2] != b':' || time[5] != b':' {
        return None;
    }
    let of_day = time_ns(number(&time[..2])?, number(&time[3..5])?, number(&time[6..8])?)?;
    let fraction = match &time[8..] {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            let scale = (digits.len()..9).fold(1, |scale, _| scale * 10);
            number(digits)? * scale
        }
        _ => return None,
    };
    Some(day_ns + of_day + fraction)
}

/// At most nine digits.
fn number(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')))
}

fn time_ns(hour: u64, minute: u64, second: u64) -> Option<u64> {
    // 60 is a leap second.
    (hour < 24 && minute < 60 && second <= 60).then(|| ((hour * 60 + minute) * 60 + second) * 1_000_000_000)
}

/// Midnight of a day of the Gregorian calendar, 1970 to 2299, in nanoseconds since 1970.
fn day_ns(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = lengths.get(..usize::try_from(month.checked_sub(1)?).ok()?)?;
    let length = lengths.get(before.len())?;
    if !(1970..2300).contains(&year) || day == 0 || day > *length {
        return None;
    }
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    Some((years + before.iter().sum::<u64>() + day - 1) * 86_400 * 1_000_000_000)
}

/// The instrument that a file's name tells: `EUR_USD` from `eurusd-2020.csv` or `DAT_ASCII_EURUSD_T_202001.csv`, else
/// the name up to its first full stop.
fn instrument_name(file_name: &str) -> String {
    let words = file_name.split(|c: char| !c.is_ascii_alphabetic());
    let pair =
        words.map(str::as_bytes).filter(|word| word.len() == 6 && !word.eq_ignore_ascii_case(b"truefx"));
    match pair.filter_map(|word| self::pair(&word[..3], &word[3..])).next() {
        Some(name) => name,
        None => file_name.split('.').next().unwrap_or_default().to_uppercase(),
    }
}

fn pair(base: &[u8], quote: &[u8]) -> Option<String> {
    let is_code = |code: &[u8]| code.iter().all(u8::is_ascii_alphabetic);
    if !is_code(base) || !is_code(quote) {
        return None;
    }
    let text = format!("{}_{}", String::from_utf8_lossy(base), String::from_utf8_lossy(quote));
    symbol(&text.to_uppercase()).map(|symbol| symbol.as_str().to_owned())
}

/// The lines of a reader, in bounded memory.
struct Lines {
    bytes: Bytes,
    buffer: Vec<u8>,
    /// What of the buffer is taken.
    taken: usize,
    ended: bool,
    /// The last line's, counted from 1.
    number: u64,
    last_length: usize,
}

impl Lines {
    fn new(bytes: Bytes) -> Lines {
        Lines { bytes, buffer: Vec::new(), taken: 0, ended: false, number: 0, last_length: 0 }
    }

    /// The next line that is not empty, without its end.
    fn next(&mut self) -> Result<Option<&[u8]>, Fault> {
        loop {
            let rest = &self.buffer[self.taken..];
            if let Some(length) = memchr::memchr(b'\n', rest) {
                let start = self.taken;
                self.taken += length + 1;
                self.number += 1;
                let end = start + self.buffer[start..start + length].trim_ascii_end().len();
                if length > LINE_BYTES_MAX {
                    return Err(self.too_long());
                }
                if end > start {
                    self.last_length = end - start;
                    return Ok(Some(&self.buffer[start..end]));
                }
                continue;
            }
            if rest.len() > LINE_BYTES_MAX {
                self.number += 1;
                return Err(self.too_long());
            }
            if self.ended {
                return self.unterminated();
            }
            self.fill()?;
        }
    }

    /// A last line without an end: whole if it is as long as the one before it, else cut off, and then its numbers may
    /// be cut as well.
    fn unterminated(&mut self) -> Result<Option<&[u8]>, Fault> {
        let start = std::mem::replace(&mut self.taken, self.buffer.len());
        let line = self.buffer[start..].trim_ascii_end();
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if line.len() < self.last_length {
            return Err(Fault {
                place: Place::Line(self.number),
                reason: "the last line is cut off: the file is truncated".to_owned(),
            });
        }
        Ok(Some(line))
    }

    fn fill(&mut self) -> Result<(), Fault> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let length = self.buffer.len();
        self.buffer.resize(length + CHUNK_BYTES, 0);
        let read = loop {
            match self.bytes.read(&mut self.buffer[length..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
        let reason = |error: std::io::Error| Fault {
            place: Place::Line(self.number + 1),
            reason: format!("cannot be read: {error}"),
        };
        self.ended = read.map_err(reason)? == 0;
        Ok(())
    }

    fn too_long(&self) -> Fault {
        Fault { place: Place::Line(self.number), reason: format!("longer than {LINE_BYTES_MAX} bytes") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_of_both_kinds() {
        // `date -u -d '2020-01-01 22:00:00' +%s` and `date -u -d '2013-01-01 22:00:00' +%s`.
        assert_eq!(histdata_time(b"20200101 170000065"), Some(1_577_916_000_065_000_000));
        assert_eq!(truefx_time(b"2013-01-01 22:00:00.295000+00:00"), Some(1_357_077_600_295_000_000));
        assert_eq!(truefx_time(b"20130101 22:00:00.295"), Some(1_357_077_600_295_000_000));
        assert_eq!(truefx_time(b"2013-01-01T22:00:00Z"), Some(1_357_077_600_000_000_000));
    }

    #[test]
    fn refuses_what_is_not_a_time() {
        for text in ["", "20200101", "20201301 170000065", "20200230 170000065", "20200101 250000065"] {
            assert_eq!(histdata_time(text.as_bytes()), None, "{text}");
        }
        for text in
            ["", " ", "2013-01-01", "2013-01-01 22:00", "2013-01-01 22:00:00.", "2013-01-01 22:00:00+02:00"]
        {
            assert_eq!(truefx_time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn finds_the_instrument_in_a_file_s_name() {
        for (name, expected) in [
            ("eurusd-20200101.histdata.csv", "EUR_USD"),
            ("usdjpy-20130101.truefx.csv", "USD_JPY"),
            ("DAT_ASCII_XAUUSD_T_202001.csv", "XAU_USD"),
            ("ticks.csv", "TICKS"),
        ] {
            assert_eq!(instrument_name(name), expected, "{name}");
        }
    }
}
