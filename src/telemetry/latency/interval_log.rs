//! Histograms in HdrHistogram's interval log, as its tools of all languages read it: text, a line for each stage of each thread, the
//! histogram as V2, compressed, in base64. PURE.
//!
//! Values are nanoseconds; the largest that a line tells beside its histogram is in milliseconds, as is the format's custom. Tags are
//! `stage.thread`.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use data_encoding::BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use crate::model::time::Now;

use super::{Collection, Histograms};

const NS_PER_MS: f64 = 1e6;

/// The interval under way as a log. Stages without a value are left out.
#[must_use]
pub fn interval_log(collection: &Collection, now: Now) -> String {
    let begun = collection.interval_begun();
    let all = collection.interval_of_all();
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let written =
        write(&mut bytes, &mut serializer, begun, now, collection.interval().chain([("all", &all)]));
    assert!(written.is_some(), "a vector takes all, and every histogram of ours can be written");
    String::from_utf8(bytes).expect("invariant: the log is ASCII, as names of stages and threads are")
}

fn write<'a>(
    out: &mut Vec<u8>,
    serializer: &mut V2DeflateSerializer,
    begun: Now,
    now: Now,
    threads: impl Iterator<Item = (&'a str, &'a Histograms)>,
) -> Option<()> {
    let start = UNIX_EPOCH + Duration::from_nanos(begun.unix_ns);
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(concat!(
            "[tickring ",
            env!("CARGO_PKG_VERSION"),
            ": values in nanoseconds, tags stage.thread]"
        ))
        .with_start_time(start)
        .with_base_time(start)
        .with_max_value_divisor(NS_PER_MS)
        .begin_log_with(out, serializer)
        .ok()?;
    let length = Duration::from_nanos(now.mono_ns.saturating_sub(begun.mono_ns));
    for (thread, histograms) in threads {
        for (stage, histogram) in histograms.each().filter(|(_, histogram)| !histogram.is_empty()) {
            let tag = format!("{}.{thread}", stage.label());
            log.write_histogram(histogram, Duration::ZERO, length, Tag::new(&tag)).ok()?;
        }
    }
    Some(())
}

/// One line of a log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Empty where the line has none.
    pub tag: String,
    pub begun_s: f64,
    pub length_s: f64,
    pub histogram: Histogram<u64>,
}

/// Why a text is no interval log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFault {
    /// A line that is none of a log's; counted from 1 among those that have a histogram.
    Line(usize),
    /// A histogram that cannot be read.
    Histogram(usize),
    Empty,
}

impl fmt::Display for LogFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogFault::Line(number) => write!(f, "interval {number} is no line of a histogram log"),
            LogFault::Histogram(number) => write!(f, "the histogram of interval {number} is damaged"),
            LogFault::Empty => f.write_str("it has no histogram"),
        }
    }
}

/// All histograms of a log, in their order.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn read(text: &[u8]) -> Result<Vec<Entry>, LogFault> {
    let mut entries = Vec::new();
    let mut deserializer = Deserializer::new();
    // The parser wants the end of the last line.
    let text = match text.trim_ascii_end() {
        b"" => Vec::new(),
        text => [text, b"\n"].concat(),
    };
    for entry in IntervalLogIterator::new(&text) {
        let number = entries.len() + 1;
        match entry {
            Ok(LogEntry::Interval(interval)) => {
                let bytes = BASE64.decode(interval.encoded_histogram().as_bytes());
                let bytes = bytes.map_err(|_| LogFault::Histogram(number))?;
                let histogram = deserializer.deserialize(&mut bytes.as_slice());
                entries.push(Entry {
                    tag: interval.tag().map_or("", |tag| tag.as_str()).to_owned(),
                    begun_s: interval.start_timestamp().as_secs_f64(),
                    length_s: interval.duration().as_secs_f64(),
                    histogram: histogram.map_err(|_| LogFault::Histogram(number))?,
                });
            }
            Ok(LogEntry::StartTime(_) | LogEntry::BaseTime(_)) => {}
            Err(_) => return Err(LogFault::Line(number)),
        }
    }
    if entries.is_empty() { Err(LogFault::Empty) } else { Ok(entries) }
}
